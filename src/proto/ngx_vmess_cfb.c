
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_crypto.h"


ngx_int_t
ngx_vmess_cfb_init(ngx_vmess_cfb_t *cfb, const u_char *key, const u_char *iv,
    ngx_uint_t encrypt)
{
    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    if (cfb->ctx == NULL) {
        cfb->ctx = EVP_CIPHER_CTX_new();
        if (cfb->ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (EVP_CipherInit_ex2(cfb->ctx, ngx_vmess_crypto.aes_128_cfb, key, iv,
                           encrypt ? 1 : 0, NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_cfb_crypt(ngx_vmess_cfb_t *cfb, const u_char *in, size_t len,
    u_char *out)
{
    int  n;

    /* a stream cipher: as many bytes come out, and there is no final call */

    if (len && EVP_CipherUpdate(cfb->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_vmess_cfb_cleanup(ngx_vmess_cfb_t *cfb)
{
    EVP_CIPHER_CTX_free(cfb->ctx);
    cfb->ctx = NULL;
}
