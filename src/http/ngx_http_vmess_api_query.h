
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_QUERY_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_QUERY_H_INCLUDED_


#include "ngx_http_vmess_api_field.h"


/* of a sorted page, and what holds if no limit is given */

#define NGX_HTTP_VMESS_API_PAGE_MAX   1000
#define NGX_HTTP_VMESS_API_PAGE       100


/* what users a list has */

typedef struct {
    ngx_uint_t                   limit;    /* 0: all */
    ngx_str_t                    after;    /* "next" of the page before */
    ngx_str_t                    name;     /* is a part of it */
    ngx_uint_t                   status;   /* a bit for each */
    ngx_uint_t                   origin;   /* 0: any */
    uint32_t                     fields;
    ngx_http_vmess_api_field_t  *sort;     /* NULL: as they come */
    ngx_uint_t                   reverse;
} ngx_http_vmess_api_query_t;


/* reads the arguments of the request; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_api_query_parse(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_error_t *err);

/* the same for lists that have "limit" and "after" only */
ngx_int_t ngx_http_vmess_api_query_page(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_error_t *err);

/* 1 if the user is one of those */
ngx_uint_t ngx_http_vmess_api_query_match(ngx_http_vmess_api_query_t *q,
    ngx_http_vmess_api_info_t *info);


#endif /* _NGX_HTTP_VMESS_API_QUERY_H_INCLUDED_ */
