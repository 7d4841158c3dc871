
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_filter.h"


static ngx_int_t ngx_http_vmess_filter_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_vmess_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_vmess_filter_init,            /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


/*
 * Not a filter, but a place in their order: behind those that form responses
 * and before all others, see "config".
 */

ngx_module_t  ngx_http_vmess_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_filter_module_ctx,     /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_vmess_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_vmess_next_body_filter;


ngx_int_t
ngx_http_vmess_filter_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_send_header(r);

    /* a filter may hold the header until it has seen a body */

    if (rc == NGX_OK && !r->header_sent) {
        rc = ngx_http_vmess_next_header_filter(r);
    }

    return rc;
}


ngx_int_t
ngx_http_vmess_filter_output(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t  rc;

    rc = ngx_http_vmess_next_body_filter(r, in);

    if (rc == NGX_ERROR) {

        /* NGX_ERROR may be returned by any filter */

        r->connection->error = 1;
    }

    return rc;
}


ngx_int_t
ngx_http_vmess_filter_special(ngx_http_request_t *r, ngx_uint_t flags)
{
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last_buf = (flags & NGX_HTTP_LAST) ? 1 : 0;
    b->flush = (flags & NGX_HTTP_FLUSH) ? 1 : 0;

    out.buf = b;
    out.next = NULL;

    return ngx_http_vmess_filter_output(r, &out);
}


static ngx_int_t
ngx_http_vmess_filter_init(ngx_conf_t *cf)
{
    ngx_http_vmess_next_header_filter = ngx_http_top_header_filter;
    ngx_http_vmess_next_body_filter = ngx_http_top_body_filter;

    return NGX_OK;
}
