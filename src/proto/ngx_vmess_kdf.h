
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KDF_H_INCLUDED_
#define _NGX_VMESS_KDF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/* the labels that start a path; the order is that of a table in the .c file */

typedef enum {
    NGX_VMESS_KDF_EAUID = 0,
    NGX_VMESS_KDF_LENGTH_KEY,
    NGX_VMESS_KDF_LENGTH_NONCE,
    NGX_VMESS_KDF_HEADER_KEY,
    NGX_VMESS_KDF_HEADER_NONCE,
    NGX_VMESS_KDF_RESPONSE_LENGTH_KEY,
    NGX_VMESS_KDF_RESPONSE_LENGTH_NONCE,
    NGX_VMESS_KDF_RESPONSE_KEY,
    NGX_VMESS_KDF_RESPONSE_NONCE,
    NGX_VMESS_KDF_AUTH_LENGTH,
    NGX_VMESS_KDF_LABELS
} ngx_vmess_kdf_label_e;

/*
 * KDF (VMess, "KDF"): nested HMAC-SHA256.
 *
 * out, len  the first len bytes of the result, at most 32
 * key       NGX_VMESS_KEY_LEN bytes: the message of the innermost hash
 * label     first element of the path
 * path, n   the other elements, at most NGX_VMESS_KDF_PATH, of at most 64 bytes
 */

#define NGX_VMESS_KDF_PATH  2

void ngx_vmess_kdf(u_char *out, size_t len, const u_char *key,
    ngx_vmess_kdf_label_e label, const ngx_str_t *path, ngx_uint_t n);


#endif /* _NGX_VMESS_KDF_H_INCLUDED_ */
