
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CFB_H_INCLUDED_
#define _NGX_VMESS_CFB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


typedef struct {
    EVP_CIPHER_CTX  *ctx;      /* NULL until ngx_vmess_cfb_init() */
} ngx_vmess_cfb_t;


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


#endif /* _NGX_VMESS_CFB_H_INCLUDED_ */
