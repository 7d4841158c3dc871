
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_raw.h"
#include "ngx_http_vmess_body.h"


static ngx_uint_t ngx_http_vmess_h2_candidate(ngx_http_request_t *r);
static ngx_uint_t ngx_http_vmess_h2_raw_candidate(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_h2_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_h2_raw_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_uint_t ngx_http_vmess_h2_test(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_h2_answer(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_h2_raw_answer(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_h2_recv(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_h2_event(ngx_http_vmess_ctx_t *ctx);


static const ngx_vmess_carrier_t  ngx_http_vmess_h2_carrier = {
    ngx_string("http"),
    ngx_http_vmess_h2_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


static const ngx_vmess_carrier_t  ngx_http_vmess_h2_raw_carrier = {
    ngx_string("http"),
    ngx_http_vmess_raw_recv,
    ngx_http_vmess_raw_send,
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


/* the bodies of a request and its response are the two directions */

const ngx_http_vmess_transport_t  ngx_http_vmess_h2_transport = {
    NGX_HTTP_VMESS_HTTP,
    NULL,                                  /* check */
    ngx_http_vmess_h2_candidate,
    ngx_http_vmess_h2_handler,
    &ngx_http_vmess_h2_carrier,
    ngx_http_vmess_body_read_handler,
    ngx_http_vmess_h2_answer,
    ngx_http_vmess_body_ready,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_body_finish,
    ngx_http_vmess_tap_close
};


/* over HTTP/1.1 a request without a body is followed by bytes as they are */

const ngx_http_vmess_transport_t  ngx_http_vmess_h2_raw_transport = {
    NGX_HTTP_VMESS_HTTP,
    NULL,                                  /* check */
    ngx_http_vmess_h2_raw_candidate,
    ngx_http_vmess_h2_raw_handler,
    &ngx_http_vmess_h2_raw_carrier,
    ngx_http_vmess_request_read_handler,
    ngx_http_vmess_h2_raw_answer,
    NULL,                                  /* flush */
    ngx_http_vmess_raw_decline,
    NULL,                                  /* drain */
    NULL,                                  /* finish */
    NULL                                   /* cleanup */
};


static ngx_uint_t
ngx_http_vmess_h2_candidate(ngx_http_request_t *r)
{
    return r->http_version >= NGX_HTTP_VERSION_20 && r->headers_in.chunked
           && ngx_http_vmess_h2_test(r);
}


static ngx_uint_t
ngx_http_vmess_h2_raw_candidate(ngx_http_request_t *r)
{
    /* clients send the request together with the first data */

    return r->http_version == NGX_HTTP_VERSION_11 && !r->headers_in.chunked
           && r->headers_in.upgrade == NULL
           && r->header_in->pos != r->header_in->last
           && ngx_http_vmess_h2_test(r);
}


static ngx_int_t
ngx_http_vmess_h2_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    return ngx_http_vmess_body_take(ctx, &ngx_http_vmess_h2_transport, NULL);
}


static ngx_int_t
ngx_http_vmess_h2_raw_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    return ngx_http_vmess_request_take(ctx, &ngx_http_vmess_h2_raw_transport,
                                       NULL);
}


static ngx_uint_t
ngx_http_vmess_h2_test(ngx_http_request_t *r)
{
    ngx_http_vmess_loc_conf_t  *vlcf;

    if (r->headers_in.content_length_n != -1) {
        return 0;
    }

    if (r->method == NGX_HTTP_PUT) {
        return 1;
    }

    /* other methods are the site's, unless it has asked for this transport */

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    return !(vlcf->transports & NGX_CONF_BITMASK_SET)
           && !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_OPTIONS));
}


static ngx_int_t
ngx_http_vmess_h2_answer(ngx_http_vmess_ctx_t *ctx)
{
    if (ngx_http_vmess_request_add(&ctx->request->headers_out.headers,
                                   "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->request->headers_out.status = NGX_HTTP_OK;

    return ngx_http_vmess_body_answer(ctx);
}


static ngx_int_t
ngx_http_vmess_h2_raw_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_vmess_request_add(&r->headers_out.headers, "Cache-Control",
                                   "no-store")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* neither a length nor chunks: till the end, as HTTP/1.0 has it */

    r->http_version = NGX_HTTP_VERSION_10;

    ngx_http_vmess_raw_open(ctx);

    r->headers_out.status = NGX_HTTP_OK;

    return ngx_http_vmess_request_send_header(ctx);
}


static ssize_t
ngx_http_vmess_h2_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ssize_t  n;

    n = ngx_http_vmess_body_recv(ctx, buf, size);

    /*
     * Some clients send no data before the answer.  What has arrived together
     * with the request is examined first.
     */

    if (n == NGX_AGAIN && ctx->state == NGX_HTTP_VMESS_OPEN) {
        ctx->handler = ngx_http_vmess_h2_event;

        ngx_post_event(&ctx->event, &ngx_posted_next_events);
    }

    return n;
}


static void
ngx_http_vmess_h2_event(ngx_http_vmess_ctx_t *ctx)
{
    if (ctx->vconn == NULL) {
        ngx_http_vmess_request_closed(ctx);
        return;
    }

    if (ctx->state == NGX_HTTP_VMESS_OPEN
        && ngx_http_vmess_request_answer(ctx) != NGX_OK)
    {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);
    }
}
