
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_xhttp.h"


#define NGX_VMESS_XHTTP_PADDING  "x_padding"
#define NGX_VMESS_XHTTP_SEQ_MAX  0x7fffffffffffffff


static ngx_int_t ngx_vmess_xhttp_is_padding(u_char *p, u_char *last);
static ngx_int_t ngx_vmess_xhttp_length(u_char *p, u_char *last, size_t *len);
static ngx_int_t ngx_vmess_xhttp_decode(u_char **p, u_char *last);
static ngx_int_t ngx_vmess_xhttp_hex(u_char ch);


ngx_int_t
ngx_vmess_xhttp_path(ngx_str_t *rest, ngx_str_t *sid, int64_t *seq)
{
    u_char   *p, *last;
    int64_t   n;

    p = rest->data;
    last = p + rest->len;

    sid->data = p;
    sid->len = 0;
    *seq = NGX_VMESS_XHTTP_NO_SEQ;

    if (p == last) {
        return NGX_OK;
    }

    while (p < last && *p != '/') {
        p++;
    }

    sid->len = p - rest->data;

    if (sid->len == 0 || sid->len > NGX_VMESS_XHTTP_SID_MAX) {
        return NGX_DECLINED;
    }

    if (p == last || ++p == last || *p == '/') {
        return NGX_OK;
    }

    for (n = 0; p < last && *p != '/'; p++) {

        if (*p < '0' || *p > '9'
            || n > (NGX_VMESS_XHTTP_SEQ_MAX - (*p - '0')) / 10)
        {
            return NGX_DECLINED;
        }

        n = n * 10 + (*p - '0');
    }

    *seq = n;

    return NGX_OK;
}


/*
 * As Go parses a query: pairs with a semicolon or a wrong escape do not
 * count, and of those left the first does.
 */

size_t
ngx_vmess_xhttp_padding(ngx_str_t *referer, ngx_str_t *args)
{
    size_t   len;
    u_char  *p, *pair, *value, *end, *last;

    if (referer && referer->len) {
        p = referer->data;
        last = p + referer->len;

        end = ngx_strlchr(p, last, '#');

        if (end) {
            last = end;
        }

        p = ngx_strlchr(p, last, '?');

        if (p == NULL) {
            return 0;
        }

        p++;

    } else if (args) {
        p = args->data;
        last = p + args->len;

    } else {
        return 0;
    }

    while (p < last) {

        pair = p;
        end = ngx_strlchr(p, last, '&');

        if (end) {
            p = end + 1;

        } else {
            end = last;
            p = last;
        }

        if (ngx_strlchr(pair, end, ';')) {
            continue;
        }

        value = ngx_strlchr(pair, end, '=');

        if (!ngx_vmess_xhttp_is_padding(pair, value ? value : end)) {
            continue;
        }

        if (value == NULL) {
            return 0;
        }

        if (ngx_vmess_xhttp_length(value + 1, end, &len) == NGX_OK) {
            return len;
        }
    }

    return 0;
}


static ngx_int_t
ngx_vmess_xhttp_is_padding(u_char *p, u_char *last)
{
    size_t  i;

    for (i = 0; p < last; i++) {

        if (i == sizeof(NGX_VMESS_XHTTP_PADDING) - 1
            || ngx_vmess_xhttp_decode(&p, last) != NGX_VMESS_XHTTP_PADDING[i])
        {
            return 0;
        }
    }

    return i == sizeof(NGX_VMESS_XHTTP_PADDING) - 1;
}


static ngx_int_t
ngx_vmess_xhttp_length(u_char *p, u_char *last, size_t *len)
{
    size_t  n;

    for (n = 0; p < last; n++) {

        if (ngx_vmess_xhttp_decode(&p, last) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    *len = n;

    return NGX_OK;
}


/* returns a byte, *p moves past what stands for it; p < last */

static ngx_int_t
ngx_vmess_xhttp_decode(u_char **p, u_char *last)
{
    u_char     ch;
    ngx_int_t  high, low;

    ch = *(*p)++;

    if (ch == '+') {
        return ' ';
    }

    if (ch != '%') {
        return ch;
    }

    if (last - *p < 2) {
        return NGX_ERROR;
    }

    high = ngx_vmess_xhttp_hex((*p)[0]);
    low = ngx_vmess_xhttp_hex((*p)[1]);

    if (high == NGX_ERROR || low == NGX_ERROR) {
        return NGX_ERROR;
    }

    *p += 2;

    return high << 4 | low;
}


static ngx_int_t
ngx_vmess_xhttp_hex(u_char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }

    ch = ngx_tolower(ch);

    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }

    return NGX_ERROR;
}
