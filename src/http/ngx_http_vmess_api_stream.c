
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_stream.h"


#define NGX_HTTP_VMESS_API_STREAM_BUFFER  32768


static void ngx_http_vmess_api_stream_type(ngx_http_request_t *r,
    ngx_str_t *type);
static ngx_int_t ngx_http_vmess_api_stream_wait(ngx_http_request_t *r);
static void ngx_http_vmess_api_stream_write_handler(ngx_http_request_t *r);


ngx_int_t
ngx_http_vmess_api_stream_start(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_stream_t *st)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_vmess_api_prepare(r, NGX_HTTP_OK, -1);

    if (st->type.len) {
        ngx_http_vmess_api_stream_type(r, &st->type);
    }

    rc = ngx_http_vmess_api_send_header(r);

    if (rc != NGX_OK || r->header_only) {
        return rc;
    }

    st->buf = ngx_create_temp_buf(r->pool, NGX_HTTP_VMESS_API_STREAM_BUFFER);
    if (st->buf == NULL) {
        return NGX_ERROR;
    }

    st->buf->tag = (ngx_buf_tag_t) &ngx_http_vmess_api_module;

    st->jo.pos = st->buf->start;
    st->jo.last = st->buf->end;

    r->write_event_handler = ngx_http_vmess_api_stream_write_handler;

    /* that a stream of HTTP/2 has ended is told as an event of reading */

    r->read_event_handler = r->discard_body
                            ? ngx_http_discarded_request_body_handler
                            : ngx_http_test_reading;

    return NGX_AGAIN;
}


static void
ngx_http_vmess_api_stream_type(ngx_http_request_t *r, ngx_str_t *type)
{
    u_char  *p;

    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;

    /* what follows the type are parameters, it has its own charset */

    p = ngx_strlchr(type->data, type->data + type->len, ';');

    if (p) {
        r->headers_out.content_type_len = p - type->data;
    }
}


ngx_int_t
ngx_http_vmess_api_stream_output(ngx_http_request_t *r,
    ngx_http_vmess_api_stream_t *st)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    b = st->buf;

    if (ngx_buf_size(b)) {
        rc = ngx_http_output_filter(r, NULL);

    } else {
        b->pos = b->start;
        b->last = st->jo.pos;
        b->flush = !st->done;
        b->last_buf = st->done && r == r->main;
        b->last_in_chain = st->done;

        out.buf = b;
        out.next = NULL;

        rc = ngx_http_output_filter(r, &out);
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (st->done) {

        /* what is not sent yet nginx sends on its own */

        return NGX_OK;
    }

    if (ngx_buf_size(b)) {
        return ngx_http_vmess_api_stream_wait(r);
    }

    st->jo.pos = b->start;
    st->full = 0;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_stream_wait(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


static void
ngx_http_vmess_api_stream_write_handler(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_vmess_api_ctx_t  *ctx;

    wev = r->connection->write;
    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_api_module);

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    /* a turn is to come, unless it waits */

    if (ctx->event.posted) {
        return;
    }

    if (!wev->delayed && wev->timer_set) {
        ngx_del_timer(wev);
    }

    ngx_http_vmess_api_run(ctx);
}
