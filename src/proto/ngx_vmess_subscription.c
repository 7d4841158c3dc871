
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_hash.h"
#include "ngx_vmess_subscription.h"


#define NGX_VMESS_SUBSCRIPTION_LABEL  "vmess subscription"


ngx_uint_t
ngx_vmess_subscription_check(ngx_str_t *token)
{
    u_char  ch, *p, *last;

    if (token->len < NGX_VMESS_SUBSCRIPTION_MIN
        || token->len > NGX_VMESS_SUBSCRIPTION_MAX)
    {
        return 0;
    }

    last = token->data + token->len;

    for (p = token->data; p < last; p++) {
        ch = ngx_tolower(*p);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
            && ch != '_' && ch != '-')
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_vmess_subscription_text(u_char *p, const u_char *random)
{
    ngx_str_t  src, dst;

    src.data = (u_char *) random;
    src.len = NGX_VMESS_SUBSCRIPTION_RANDOM;
    dst.data = p;

    ngx_encode_base64url(&dst, &src);
}


void
ngx_vmess_subscription_derive(u_char *p, const u_char *id)
{
    u_char  *last, digest[32],
             data[sizeof(NGX_VMESS_SUBSCRIPTION_LABEL) - 1 + NGX_VMESS_ID_LEN];

    last = ngx_cpymem(data, NGX_VMESS_SUBSCRIPTION_LABEL,
                      sizeof(NGX_VMESS_SUBSCRIPTION_LABEL) - 1);
    ngx_memcpy(last, id, NGX_VMESS_ID_LEN);

    ngx_vmess_hash_sha256(digest, data, sizeof(data));

    ngx_vmess_subscription_text(p, digest);

    ngx_explicit_memzero(data, sizeof(data));
    ngx_explicit_memzero(digest, sizeof(digest));
}


void
ngx_vmess_subscription_digest(u_char *digest, const u_char *key,
    ngx_str_t *token)
{
    u_char  *p, hash[32],
             data[NGX_VMESS_SUBSCRIPTION_KEY + NGX_VMESS_SUBSCRIPTION_MAX];

    p = ngx_cpymem(data, key, NGX_VMESS_SUBSCRIPTION_KEY);
    p = ngx_cpymem(p, token->data,
                   ngx_min(token->len, NGX_VMESS_SUBSCRIPTION_MAX));

    ngx_vmess_hash_sha256(hash, data, p - data);

    ngx_memcpy(digest, hash, NGX_VMESS_SUBSCRIPTION_DIGEST);

    ngx_explicit_memzero(data, sizeof(data));
}
