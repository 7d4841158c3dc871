
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_aead.h"
#include "ngx_vmess_crypto.h"
#include "ngx_vmess_hash.h"


ngx_int_t
ngx_vmess_aead_init(ngx_vmess_aead_t *aead, ngx_uint_t security,
    const u_char *key, ngx_uint_t seal)
{
    int                rc;
    u_char             expanded[2 * NGX_VMESS_KEY_LEN];
    const EVP_CIPHER  *cipher;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    if (aead->ctx == NULL) {
        aead->ctx = EVP_CIPHER_CTX_new();
        if (aead->ctx == NULL) {
            return NGX_ERROR;
        }
    }

    cipher = ngx_vmess_crypto.aes_128_gcm;

    if (security == NGX_VMESS_SEC_CHACHA20) {
        cipher = ngx_vmess_crypto.chacha20_poly1305;

        ngx_vmess_hash_md5(expanded, key, NGX_VMESS_KEY_LEN);
        ngx_vmess_hash_md5(expanded + NGX_VMESS_KEY_LEN, expanded,
                           NGX_VMESS_KEY_LEN);

        key = expanded;
    }

    /* naming the cipher again would free and allocate all of the context */

    if (EVP_CIPHER_CTX_get0_cipher(aead->ctx) == cipher) {
        cipher = NULL;
    }

    rc = EVP_CipherInit_ex2(aead->ctx, cipher, key, NULL, seal ? 1 : 0, NULL);

    if (key == expanded) {
        ngx_explicit_memzero(expanded, sizeof(expanded));
    }

    return (rc == 1) ? NGX_OK : NGX_ERROR;
}


void
ngx_vmess_aead_cleanup(ngx_vmess_aead_t *aead)
{
    EVP_CIPHER_CTX_free(aead->ctx);
    aead->ctx = NULL;
}


ngx_int_t
ngx_vmess_aead_seal(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out)
{
    int  n;

    if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, nonce, -1, NULL) != 1) {
        return NGX_ERROR;
    }

    if (aad && EVP_EncryptUpdate(aead->ctx, NULL, &n, aad, aad_len) != 1) {
        return NGX_ERROR;
    }

    if (len && EVP_EncryptUpdate(aead->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    /* both are stream ciphers: the final call yields no bytes but the tag */

    out += len;

    if (EVP_EncryptFinal_ex(aead->ctx, out, &n) != 1) {
        return NGX_ERROR;
    }

    if (EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG,
                            NGX_VMESS_TAG_LEN, out)
        != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_aead_open(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out)
{
    int     n;
    u_char  unused[NGX_VMESS_TAG_LEN];

    if (len < NGX_VMESS_TAG_LEN) {
        return NGX_DECLINED;
    }

    len -= NGX_VMESS_TAG_LEN;

    if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, nonce, -1, NULL) != 1) {
        return NGX_ERROR;
    }

    if (aad && EVP_DecryptUpdate(aead->ctx, NULL, &n, aad, aad_len) != 1) {
        return NGX_ERROR;
    }

    if (len && EVP_DecryptUpdate(aead->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    /* libcrypto only reads the tag, but its prototype has no const */

    if (EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG,
                            NGX_VMESS_TAG_LEN, (void *) (in + len))
        != 1)
    {
        return NGX_ERROR;
    }

    if (EVP_DecryptFinal_ex(aead->ctx, unused, &n) != 1) {

        /* the peer's fault: nothing may be left for the next connection */

        ERR_clear_error();

        return NGX_DECLINED;
    }

    return NGX_OK;
}
