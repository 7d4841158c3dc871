
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_crypto.h"


ngx_vmess_crypto_t  ngx_vmess_crypto;

static EVP_CIPHER_CTX  *ngx_vmess_crypto_aes_ctx;


ngx_int_t
ngx_vmess_crypto_init(void)
{
    ngx_uint_t   i;
    EVP_CIPHER  *cipher;

    static struct {
        EVP_CIPHER  **cipher;
        const char   *name;
    } fetch[] = {
        { &ngx_vmess_crypto.aes_128_gcm, "AES-128-GCM" },
        { &ngx_vmess_crypto.chacha20_poly1305, "ChaCha20-Poly1305" },
        { &ngx_vmess_crypto.aes_128_cfb, "AES-128-CFB" },
        { &ngx_vmess_crypto.aes_128_ecb, "AES-128-ECB" }
    };

    if (ngx_vmess_crypto_aes_ctx) {
        return NGX_OK;
    }

    for (i = 0; i < sizeof(fetch) / sizeof(fetch[0]); i++) {

        if (*fetch[i].cipher) {
            continue;
        }

        cipher = EVP_CIPHER_fetch(NULL, fetch[i].name, NULL);
        if (cipher == NULL) {
            return NGX_ERROR;
        }

        *fetch[i].cipher = cipher;
    }

    ngx_vmess_crypto_aes_ctx = EVP_CIPHER_CTX_new();
    if (ngx_vmess_crypto_aes_ctx == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_crypto_aes_decrypt(const u_char *key, const u_char *in, u_char *out)
{
    int                n;
    const EVP_CIPHER  *cipher;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    cipher = ngx_vmess_crypto.aes_128_ecb;

    if (EVP_CIPHER_CTX_get0_cipher(ngx_vmess_crypto_aes_ctx) == cipher) {
        cipher = NULL;
    }

    if (EVP_CipherInit_ex2(ngx_vmess_crypto_aes_ctx, cipher, key, NULL, 0, NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    /* with padding libcrypto would keep the block until the final call */

    if (cipher && EVP_CIPHER_CTX_set_padding(ngx_vmess_crypto_aes_ctx, 0) != 1)
    {
        return NGX_ERROR;
    }

    if (EVP_DecryptUpdate(ngx_vmess_crypto_aes_ctx, out, &n, in, 16) != 1
        || n != 16)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
