
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_AEAD_H_INCLUDED_
#define _NGX_VMESS_AEAD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


typedef struct {
    EVP_CIPHER_CTX  *ctx;      /* NULL until ngx_vmess_aead_init() */
} ngx_vmess_aead_t;


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


#endif /* _NGX_VMESS_AEAD_H_INCLUDED_ */
