
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CRYPTO_H_INCLUDED_
#define _NGX_VMESS_CRYPTO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Algorithms are process-wide, like libcrypto itself: an implicit fetch on
 * each use would cost more than the cryptography of a small chunk.
 */

typedef struct {
    EVP_CIPHER  *aes_128_gcm;
    EVP_CIPHER  *chacha20_poly1305;
    EVP_CIPHER  *aes_128_cfb;
    EVP_CIPHER  *aes_128_ecb;
} ngx_vmess_crypto_t;


/*
 * Fetches the algorithms from libcrypto, once a process; further calls cost
 * nothing.  NGX_ERROR if libcrypto lacks one.
 */
ngx_int_t ngx_vmess_crypto_init(void);

/* AES-128-ECB of one block by libcrypto; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_crypto_aes_decrypt(const u_char *key, const u_char *in,
    u_char *out);


extern ngx_vmess_crypto_t  ngx_vmess_crypto;


#endif /* _NGX_VMESS_CRYPTO_H_INCLUDED_ */
