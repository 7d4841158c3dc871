
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_http.h"


#define NGX_VMESS_HTTP_DATE_LEN  (sizeof("Mon, 28 Sep 1970 06:00:00 GMT") - 1)


static ngx_int_t ngx_vmess_http_check_bytes(u_char *p, u_char *last);
static ngx_int_t ngx_vmess_http_check_line(const ngx_vmess_http_conf_t *conf,
    u_char *p, u_char *last);
static ngx_int_t ngx_vmess_http_check_host(const ngx_vmess_http_conf_t *conf,
    u_char *p, u_char *last);
static ngx_int_t ngx_vmess_http_find(ngx_array_t *values, u_char *p,
    u_char *last);


static const u_char  ngx_vmess_http_version[] = " HTTP/1.";

/* what Xray and v2ray send if nothing is configured */

static const u_char  ngx_vmess_http_head[] =
    "HTTP/1.1 200 OK" CRLF
    "Content-Type: application/octet-stream" CRLF
    "Transfer-Encoding: chunked" CRLF
    "Connection: keep-alive" CRLF
    "Pragma: no-cache" CRLF
    "Cache-Control: private, no-cache" CRLF
    "Date: ";


ngx_int_t
ngx_vmess_http_read(ngx_vmess_http_t *ht, const ngx_vmess_http_conf_t *conf,
    ngx_buf_t *b)
{
    u_char  *p, *last;
    size_t   size;

    size = ngx_min(b->last - b->pos, NGX_VMESS_HTTP_MAX);
    last = b->pos + size;

    ht->err = NULL;

    if (!ht->line) {

        p = ngx_strlchr(b->pos + ht->scanned, last, LF);

        if (ngx_vmess_http_check_bytes(b->pos, p ? p : last) != NGX_OK) {
            ht->err = "no HTTP request";
            return NGX_DECLINED;
        }

        if (p == NULL) {
            ht->scanned = size;
            goto again;
        }

        if (ngx_vmess_http_check_line(conf, b->pos, p) != NGX_OK) {
            ht->err = "other HTTP request";
            return NGX_DECLINED;
        }

        /* this end of a line may be the first half of that of the head */

        ht->scanned = p - 1 - b->pos;
        ht->line = 1;
    }

    for (p = b->pos + ht->scanned; last - p >= 4; p++) {

        if (p[0] != CR || p[1] != LF || p[2] != CR || p[3] != LF) {
            continue;
        }

        if (ngx_vmess_http_check_host(conf, b->pos, p + 2) != NGX_OK) {
            ht->err = "other host in HTTP request";
            return NGX_DECLINED;
        }

        b->pos = p + 4;

        return NGX_OK;
    }

    ht->scanned = p - b->pos;

again:

    if (size == NGX_VMESS_HTTP_MAX) {
        ht->err = "too long HTTP request";
        return NGX_DECLINED;
    }

    return NGX_AGAIN;
}


/* what no server waits for the rest of: a site says so at once */

static ngx_int_t
ngx_vmess_http_check_bytes(u_char *p, u_char *last)
{
    if (p < last && *p == ' ') {
        return NGX_DECLINED;
    }

    for ( /* void */ ; p < last && *p != ' '; p++) {
        if ((*p < 'A' || *p > 'Z') && *p != '_' && *p != '-') {
            return NGX_DECLINED;
        }
    }

    for ( /* void */ ; p < last; p++) {
        if ((*p < 0x20 && *p != CR) || *p == 0x7f) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* method, path with or without a query, version, and CR before last */

static ngx_int_t
ngx_vmess_http_check_line(const ngx_vmess_http_conf_t *conf, u_char *p,
    u_char *last)
{
    u_char  *start, *end;
    size_t   len;

    /* the version, one digit of it, and CR */

    len = sizeof(ngx_vmess_http_version) - 1;

    if ((size_t) (last - p) < len + 2) {
        return NGX_DECLINED;
    }

    end = last - len - 2;

    if (ngx_memcmp(end, ngx_vmess_http_version, len) != 0
        || end[len] < '0' || end[len] > '9' || end[len + 1] != CR)
    {
        return NGX_DECLINED;
    }

    for (start = p; p < end && *p >= 'A' && *p <= 'Z'; p++) { /* void */ }

    if (p == start || p == end || *p != ' ') {
        return NGX_DECLINED;
    }

    len = p - start;

    if (conf->method.len
        && (conf->method.len != len
            || ngx_memcmp(conf->method.data, start, len) != 0))
    {
        return NGX_DECLINED;
    }

    for (start = ++p; p < end && *p > ' ' && *p != '?'; p++) { /* void */ }

    last = p;

    for ( /* void */ ; p < end && *p > ' '; p++) { /* void */ }

    if (last == start || p != end) {
        return NGX_DECLINED;
    }

    return ngx_vmess_http_find(conf->paths, start, last);
}


/* p .. last are whole lines, the first is that of the request */

static ngx_int_t
ngx_vmess_http_check_host(const ngx_vmess_http_conf_t *conf, u_char *p,
    u_char *last)
{
    u_char  *end, *port, host[256];
    size_t   len;

    static const u_char  name[] = "host:";

    if (conf->hosts == NULL) {
        return NGX_OK;
    }

    len = sizeof(name) - 1;

    for ( /* void */ ; /* void */ ; p = end + 1) {

        end = ngx_strlchr(p, last, LF);

        if (end == NULL) {
            return NGX_DECLINED;
        }

        if ((size_t) (end - p) < len) {
            continue;
        }

        ngx_strlow(host, p, len);

        if (ngx_memcmp(host, name, len) == 0) {
            break;
        }
    }

    for (p += len; p < end && *p == ' '; p++) { /* void */ }

    while (end > p && end[-1] <= ' ') {
        end--;
    }

    if (end - p > (ssize_t) sizeof(host)) {
        return NGX_DECLINED;
    }

    ngx_strlow(host, p, end - p);

    last = host + (end - p);

    /* digits behind a colon; an IPv6 address has them within brackets */

    for (port = last; port > host && port[-1] >= '0' && port[-1] <= '9'; port--)
    {
        /* void */
    }

    if (port > host && port[-1] == ':') {
        last = port - 1;
    }

    return ngx_vmess_http_find(conf->hosts, host, last);
}


static ngx_int_t
ngx_vmess_http_find(ngx_array_t *values, u_char *p, u_char *last)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (values == NULL) {
        return NGX_OK;
    }

    value = values->elts;

    for (i = 0; i < values->nelts; i++) {

        if (value[i].len == (size_t) (last - p)
            && ngx_memcmp(value[i].data, p, value[i].len) == 0)
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


u_char *
ngx_vmess_http_response(u_char *p, const ngx_str_t *date)
{
    p = ngx_cpymem(p, ngx_vmess_http_head, sizeof(ngx_vmess_http_head) - 1);
    p = ngx_cpymem(p, date->data, ngx_min(date->len, NGX_VMESS_HTTP_DATE_LEN));

    return ngx_cpymem(p, CRLF CRLF, sizeof(CRLF CRLF) - 1);
}
