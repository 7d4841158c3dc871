
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_PADDING_H_INCLUDED_
#define _NGX_HTTP_VMESS_PADDING_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/* XHTTP: padding of the request, and of what we send ourselves, in bytes */

#define NGX_HTTP_VMESS_PADDING_MIN  100
#define NGX_HTTP_VMESS_PADDING_MAX  1000


/* how much of it the request has, and 1 if that is as much as a client's */
size_t ngx_http_vmess_padding_length(ngx_http_request_t *r);
ngx_uint_t ngx_http_vmess_padding_test(ngx_http_request_t *r);

/* writes NGX_HTTP_VMESS_PADDING_MAX bytes at most; returns how many */
size_t ngx_http_vmess_padding_create(u_char *buf);

/*
 * Adds the headers of an answer, and those of a stream, which nothing on the
 * way is to hold; NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_padding_headers(ngx_http_request_t *r,
    ngx_uint_t stream);


#endif /* _NGX_HTTP_VMESS_PADDING_H_INCLUDED_ */
