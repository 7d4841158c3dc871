
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_hint.h"
#include "proto/ngx_vmess_address.h"


uint64_t *
ngx_vmess_hint_get(ngx_vmess_zone_sh_t *sh, struct sockaddr *sockaddr,
    uint32_t *tag)
{
    u_char    addr[16];
    uint32_t  hash;

    if (ngx_vmess_address_network(sockaddr, addr) != NGX_OK) {
        return NULL;
    }

    hash = ngx_murmur_hash2(addr, sizeof(addr));
    *tag = ngx_crc32_short(addr, sizeof(addr));

    return &sh->hints[(hash & sh->hints_mask) & ~(NGX_VMESS_HINTS - 1)];
}


void
ngx_vmess_hint_add(uint64_t *hint, uint32_t tag, ngx_uint_t i)
{
    ngx_uint_t  k;

    for (k = NGX_VMESS_HINTS - 1; k > 0; k--) {
        hint[k] = hint[k - 1];
    }

    hint[0] = (uint64_t) tag << 32 | i;
}
