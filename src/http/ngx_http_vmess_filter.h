
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_FILTER_H_INCLUDED_
#define _NGX_HTTP_VMESS_FILTER_H_INCLUDED_


#include "ngx_vmess.h"
#include <ngx_http.h>


/*
 * A session is not content of the site: filters for content must not change,
 * delay or count it.  These are ngx_http_send_header(),
 * ngx_http_output_filter() and ngx_http_send_special() with no filters for
 * bodies but those that form the response of HTTP/1.1, HTTP/2 and HTTP/3.
 */

ngx_int_t ngx_http_vmess_filter_header(ngx_http_request_t *r);
ngx_int_t ngx_http_vmess_filter_output(ngx_http_request_t *r, ngx_chain_t *in);
ngx_int_t ngx_http_vmess_filter_special(ngx_http_request_t *r,
    ngx_uint_t flags);


extern ngx_module_t  ngx_http_vmess_filter_module;


#endif /* _NGX_HTTP_VMESS_FILTER_H_INCLUDED_ */
