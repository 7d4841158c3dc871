
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_utf8.h"


ngx_int_t
ngx_vmess_utf8_check(ngx_vmess_utf8_t *u, u_char ch)
{
    if (u->left) {

        if (ch < u->min || ch > u->max) {
            u->left = 0;
            return NGX_ERROR;
        }

        u->min = 0x80;
        u->max = 0xbf;
        u->ch = u->ch << 6 | (ch & 0x3f);

        return --u->left ? NGX_AGAIN : NGX_OK;
    }

    if (ch < 0x80) {
        u->ch = ch;
        return NGX_OK;
    }

    if (ch < 0xc2 || ch > 0xf4) {
        return NGX_ERROR;
    }

    u->left = (ch < 0xe0) ? 1 : (ch < 0xf0) ? 2 : 3;
    u->ch = ch & (0x3f >> u->left);

    /* RFC 3629, 4.  Syntax of UTF-8 Byte Sequences */

    u->min = (ch == 0xe0) ? 0xa0 : (ch == 0xf0) ? 0x90 : 0x80;
    u->max = (ch == 0xed) ? 0x9f : (ch == 0xf4) ? 0x8f : 0xbf;

    return NGX_AGAIN;
}


uint32_t
ngx_vmess_utf8_next(u_char **p, u_char *last)
{
    u_char            *start;
    ngx_int_t          rc;
    ngx_vmess_utf8_t   u;

    if (**p < 0x80) {
        return *(*p)++;
    }

    ngx_memzero(&u, sizeof(ngx_vmess_utf8_t));

    start = *p;

    do {
        rc = ngx_vmess_utf8_check(&u, *(*p)++);
    } while (rc == NGX_AGAIN && *p < last);

    if (rc == NGX_OK) {
        return u.ch;
    }

    /* of more than one byte, the last may be the first of another */

    if (rc == NGX_ERROR && *p - start > 1) {
        (*p)--;
    }

    return 0xfffd;
}


u_char *
ngx_vmess_utf8_create(u_char *p, uint32_t ch)
{
    if (ch < 0x80) {
        *p++ = (u_char) ch;
        return p;
    }

    if (ch < 0x800) {
        *p++ = (u_char) (0xc0 | ch >> 6);

    } else {

        if (ch < 0x10000) {
            *p++ = (u_char) (0xe0 | ch >> 12);

        } else {
            *p++ = (u_char) (0xf0 | ch >> 18);
            *p++ = (u_char) (0x80 | (ch >> 12 & 0x3f));
        }

        *p++ = (u_char) (0x80 | (ch >> 6 & 0x3f));
    }

    *p++ = (u_char) (0x80 | (ch & 0x3f));

    return p;
}
