
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CRYPTO_H_INCLUDED_
#define _NGX_VMESS_CRYPTO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


typedef struct {
    EVP_CIPHER_CTX  *ctx;      /* NULL until ngx_vmess_aead_init() */
} ngx_vmess_aead_t;

typedef struct {
    EVP_CIPHER_CTX  *ctx;      /* NULL until ngx_vmess_cfb_init() */
} ngx_vmess_cfb_t;


/*
 * Fetches the algorithms from libcrypto, once a process; further calls cost
 * nothing.  NGX_ERROR if libcrypto lacks one.
 */
ngx_int_t ngx_vmess_crypto_init(void);

/*
 * Prepares one key for one direction (seal: 1, open: 0).
 *
 * security  NGX_VMESS_SEC_AES_128_GCM or NGX_VMESS_SEC_CHACHA20, whose key is
 *           expanded by MD5 (VMess, "Body", AEAD chunk)
 * key       NGX_VMESS_KEY_LEN bytes
 *
 * May be called again with another key: the libcrypto context is reused.
 * NGX_OK or NGX_ERROR (libcrypto failed).
 */
ngx_int_t ngx_vmess_aead_init(ngx_vmess_aead_t *aead, ngx_uint_t security,
    const u_char *key, ngx_uint_t seal);

/* frees the context and with it the key; does nothing if there is none */
void ngx_vmess_aead_cleanup(ngx_vmess_aead_t *aead);

/*
 * Seals len bytes of in into out, len + NGX_VMESS_TAG_LEN bytes; out may be
 * in.  nonce is NGX_VMESS_NONCE_LEN bytes, aad may be NULL.
 * NGX_OK or NGX_ERROR (libcrypto failed).
 */
ngx_int_t ngx_vmess_aead_seal(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out);

/*
 * Opens len bytes of in, tag included and last, into out, len
 * - NGX_VMESS_TAG_LEN bytes; out may be in.
 *
 * NGX_OK        opened
 * NGX_DECLINED  wrong tag or len too short; out holds garbage
 * NGX_ERROR     libcrypto failed
 */
ngx_int_t ngx_vmess_aead_open(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out);

/*
 * AES-128-CFB with 128 bits of feedback, a stream in one direction (encrypt:
 * 1, decrypt: 0): key and iv are 16 bytes; further pieces of any length go on
 * where the last one ended, and out may be in.
 * NGX_OK or NGX_ERROR (libcrypto failed).
 */
ngx_int_t ngx_vmess_cfb_init(ngx_vmess_cfb_t *cfb, const u_char *key,
    const u_char *iv, ngx_uint_t encrypt);
ngx_int_t ngx_vmess_cfb_crypt(ngx_vmess_cfb_t *cfb, const u_char *in,
    size_t len, u_char *out);

/* frees the context and with it the key; does nothing if there is none */
void ngx_vmess_cfb_cleanup(ngx_vmess_cfb_t *cfb);

/* AES-128-ECB of one block by libcrypto; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_crypto_aes_decrypt(const u_char *key, const u_char *in,
    u_char *out);

/* one-shot hashes; out is 16, 20 and 32 bytes */
void ngx_vmess_hash_md5(u_char *out, const u_char *data, size_t len);
void ngx_vmess_hash_sha1(u_char *out, const u_char *data, size_t len);
void ngx_vmess_hash_sha256(u_char *out, const u_char *data, size_t len);

/* 32-bit FNV-1a */
uint32_t ngx_vmess_hash_fnv1a(const u_char *data, size_t len);

/* the same as it is on the wire, NGX_VMESS_FNV1A_LEN bytes */

#define NGX_VMESS_FNV1A_LEN  4

void ngx_vmess_hash_fnv1a_sum(u_char *sum, const u_char *data, size_t len);

/* 1 if equal; the time depends on len alone */
ngx_uint_t ngx_vmess_equal(const void *a, const void *b, size_t len);


#endif /* _NGX_VMESS_CRYPTO_H_INCLUDED_ */
