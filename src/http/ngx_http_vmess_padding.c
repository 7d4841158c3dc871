
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_padding.h"
#include "proto/ngx_vmess_xhttp.h"


size_t
ngx_http_vmess_padding_length(ngx_http_request_t *r)
{
    return ngx_vmess_xhttp_padding(r->headers_in.referer
                                   ? &r->headers_in.referer->value : NULL,
                                   &r->args);
}


ngx_uint_t
ngx_http_vmess_padding_test(ngx_http_request_t *r)
{
    size_t  padding;

    padding = ngx_http_vmess_padding_length(r);

    return padding >= NGX_HTTP_VMESS_PADDING_MIN
           && padding <= NGX_HTTP_VMESS_PADDING_MAX;
}


size_t
ngx_http_vmess_padding_create(u_char *buf)
{
    size_t  len;

    len = NGX_HTTP_VMESS_PADDING_MIN
          + ngx_random() % (NGX_HTTP_VMESS_PADDING_MAX
                            - NGX_HTTP_VMESS_PADDING_MIN + 1);

    ngx_memset(buf, 'X', len);

    return len;
}


ngx_int_t
ngx_http_vmess_padding_headers(ngx_http_request_t *r, ngx_uint_t stream)
{
    u_char      *p;
    ngx_list_t  *headers;

    headers = &r->headers_out.headers;

    p = ngx_pnalloc(r->pool, NGX_HTTP_VMESS_PADDING_MAX + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p[ngx_http_vmess_padding_create(p)] = '\0';

    r->headers_out.status = NGX_HTTP_OK;

    if (ngx_http_vmess_request_add(headers, "Access-Control-Allow-Origin", "*")
        != NGX_OK
        || ngx_http_vmess_request_add(headers, "X-Padding", (char *) p)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (stream
        && (ngx_http_vmess_request_add(headers, "X-Accel-Buffering", "no")
            != NGX_OK
            || ngx_http_vmess_request_add(headers, "Cache-Control", "no-store")
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
