
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_raw.h"


void
ngx_http_vmess_raw_open(ngx_http_vmess_ctx_t *ctx)
{
#if (NGX_SSL)
    ngx_connection_t  *c = ctx->request->connection;
#endif

    ctx->request->keepalive = 0;

#if (NGX_SSL)

    /* what TLS could not take goes on from another place in memory */

    if (c->ssl) {
        SSL_set_mode(c->ssl->connection,
                     SSL_MODE_ENABLE_PARTIAL_WRITE
                     |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

#endif
}


ssize_t
ngx_http_vmess_raw_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    /*
     * What came with the request is early data: it may tell whether to
     * answer at all.
     */

    if (ctx->state == NGX_HTTP_VMESS_OPEN
        && ctx->request->header_in->pos == ctx->request->header_in->last
        && ngx_http_vmess_request_answer(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_raw_read(ctx, buf, size);
}


/* what was read of the data behind the request may be another request */

ngx_int_t
ngx_http_vmess_raw_decline(ngx_http_vmess_ctx_t *ctx)
{
    ctx->request->header_in->pos = ctx->pos;

    return NGX_DECLINED;
}


ssize_t
ngx_http_vmess_raw_read(ngx_http_vmess_ctx_t *ctx, u_char *buf, size_t size)
{
    ssize_t              n;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    n = r->header_in->last - r->header_in->pos;

    if (n) {
        n = ngx_min((size_t) n, size);

        ngx_memcpy(buf, r->header_in->pos, n);
        r->header_in->pos += n;

        return n;
    }

    n = c->recv(c, buf, size);

    if (n == NGX_AGAIN && ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return n;
}


ssize_t
ngx_http_vmess_raw_send(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ssize_t              n;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    /* the response header goes first */

    if (r->out || c->buffered) {

        if (ngx_http_vmess_filter_output(r, NULL) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (r->out || c->buffered) {
            goto again;
        }
    }

    n = c->send(c, buf, size);

    if (n != NGX_AGAIN) {
        return n;
    }

again:

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}
