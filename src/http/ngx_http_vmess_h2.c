
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_module.h"


static ngx_int_t ngx_http_vmess_h2_answer(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_h2_answer_raw(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_h2_recv(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_h2_late_handler(ngx_event_t *ev);


static const ngx_vmess_carrier_t  ngx_http_vmess_h2_carrier = {
    ngx_string("http"),
    ngx_http_vmess_h2_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_verdict,
    ngx_http_vmess_close
};


static const ngx_vmess_carrier_t  ngx_http_vmess_h2_raw_carrier = {
    ngx_string("http"),
    ngx_http_vmess_raw_recv,
    ngx_http_vmess_raw_send,
    ngx_http_vmess_verdict,
    ngx_http_vmess_close
};


/*
 * The bodies of a request and its response are the two directions.  Over
 * HTTP/1.1 a request without a body is followed by bytes as they are.
 */

ngx_int_t
ngx_http_vmess_h2_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    /* other methods are the site's, unless it has asked for this transport */

    if (r->method != NGX_HTTP_PUT
        && ((vlcf->transports & NGX_CONF_BITMASK_SET)
            || (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_OPTIONS))))
    {
        return NGX_DECLINED;
    }

    if (r->headers_in.content_length_n != -1) {
        return NGX_DECLINED;
    }

    if (r->http_version >= NGX_HTTP_VERSION_20) {

        if (!r->headers_in.chunked) {
            return NGX_DECLINED;
        }

        ctx->answer = ngx_http_vmess_h2_answer;
        ctx->finish = ngx_http_vmess_body_finish;

        ctx->late.handler = ngx_http_vmess_h2_late_handler;
        ctx->late.data = ctx;
        ctx->late.log = r->connection->log;

        return ngx_http_vmess_body_start(ctx, &ngx_http_vmess_h2_carrier);
    }

    /* clients send the request together with the first data */

    if (r->http_version != NGX_HTTP_VERSION_11 || r->headers_in.chunked
        || r->headers_in.upgrade
        || r->header_in->pos == r->header_in->last)
    {
        return NGX_DECLINED;
    }

    ctx->answer = ngx_http_vmess_h2_answer_raw;

    return ngx_http_vmess_start(ctx, &ngx_http_vmess_h2_raw_carrier);
}


static ngx_int_t
ngx_http_vmess_h2_answer(ngx_http_vmess_ctx_t *ctx)
{
    if (ngx_http_vmess_add_header(&ctx->request->headers_out.headers,
                                  "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->request->headers_out.status = NGX_HTTP_OK;

    return ngx_http_vmess_send_header(ctx);
}


static ngx_int_t
ngx_http_vmess_h2_answer_raw(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    /* neither a length nor chunks: till the end, as HTTP/1.0 has it */

    r->http_version = NGX_HTTP_VERSION_10;

    ngx_http_vmess_raw_open(ctx);

    return ngx_http_vmess_h2_answer(ctx);
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

    if (n == NGX_AGAIN && !ctx->answered && !ctx->late.posted) {
        ngx_post_event(&ctx->late, &ngx_posted_next_events);
    }

    return n;
}


static void
ngx_http_vmess_h2_late_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    if (ctx->answered || ctx->vconn == NULL) {
        return;
    }

    ngx_http_set_log_request(c->log, r);

    if (ngx_http_vmess_h2_answer(ctx) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }

    ngx_http_run_posted_requests(c);
}
