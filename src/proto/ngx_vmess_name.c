
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_name.h"
#include "ngx_vmess_utf8.h"


static ngx_uint_t ngx_vmess_name_is_invisible(uint32_t ch);


ngx_int_t
ngx_vmess_name_check(const ngx_str_t *name)
{
    u_char            *p, *last;
    ngx_int_t          rc;
    ngx_vmess_utf8_t   u;

    ngx_memzero(&u, sizeof(ngx_vmess_utf8_t));

    rc = NGX_OK;
    last = name->data + name->len;

    for (p = name->data; p < last; p++) {

        rc = ngx_vmess_utf8_check(&u, *p);

        if (rc == NGX_AGAIN) {
            continue;
        }

        if (rc == NGX_ERROR || u.ch <= ' ' || u.ch == '"' || u.ch == '\\'
            || ngx_vmess_name_is_invisible(u.ch))
        {
            return NGX_ERROR;
        }
    }

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


/* Unicode: controls, spaces, format characters, fillers, variations, tags */

static ngx_uint_t
ngx_vmess_name_is_invisible(uint32_t ch)
{
    ngx_uint_t              i;
    static const uint32_t   ranges[][2] = {
        { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x61c, 0x61c },
        { 0x115f, 0x1160 }, { 0x1680, 0x1680 }, { 0x17b4, 0x17b5 },
        { 0x180b, 0x180f }, { 0x2000, 0x200f }, { 0x2028, 0x202f },
        { 0x205f, 0x206f }, { 0x2800, 0x2800 }, { 0x3000, 0x3000 },
        { 0x3164, 0x3164 }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
        { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb }, { 0xe0000, 0xe0fff }
    };

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ch >= ranges[i][0] && ch <= ranges[i][1]) {
            return 1;
        }
    }

    return 0;
}
