
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_tap.h"


static ssize_t ngx_http_vmess_tap_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
#if (NGX_HTTP_V2)
static ngx_int_t ngx_http_vmess_tap_preread(ngx_http_vmess_ctx_t *ctx);
#endif
static ngx_int_t ngx_http_vmess_tap_put_back(ngx_http_vmess_ctx_t *ctx);


/* of what comes from now on the site may get all */

ngx_int_t
ngx_http_vmess_tap_open(ngx_http_vmess_ctx_t *ctx)
{
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_http_vmess_tap_t  *tap;

    r = ctx->request;
    c = r->connection;
    tap = ctx->data;

    tap->header_in = r->header_in;
    tap->request_length = r->request_length;
    tap->content_length = r->headers_in.content_length_n;

    if (r->http_version == NGX_HTTP_VERSION_20) {
        return NGX_OK;
    }

#if (NGX_HTTP_V3)

    if (r->v3_parse) {
        tap->parse = r->v3_parse->body;
    }

#endif

    if (ngx_http_vmess_tap_keep(ctx, r->header_in->pos,
                                r->header_in->last - r->header_in->pos)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    tap->recv = c->recv;
    c->recv = ngx_http_vmess_tap_recv;

    return NGX_OK;
}


static ssize_t
ngx_http_vmess_tap_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                n;
    ngx_http_vmess_ctx_t  *ctx;
    ngx_http_vmess_tap_t  *tap;

    ctx = ngx_http_vmess_request_lookup(c->data);
    tap = ctx->data;

    n = tap->recv(c, buf, size);

    if (n > 0 && ctx->state <= NGX_HTTP_VMESS_REFUSED
        && ngx_http_vmess_tap_keep(ctx, buf, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return n;
}


ngx_int_t
ngx_http_vmess_tap_keep(ngx_http_vmess_ctx_t *ctx, u_char *data, size_t size)
{
    size_t                 len;
    ngx_buf_t             *b, *kept;
    ngx_pool_t            *pool;
    ngx_http_vmess_tap_t  *tap;

    pool = ctx->request->pool;
    tap = ctx->data;
    kept = tap->buf;

    len = kept ? kept->last - kept->pos : 0;

    if (kept == NULL || (size_t) (kept->end - kept->last) < size) {

        /* never from the small allocations of a pool, as it is freed */

        b = ngx_create_temp_buf(pool, ngx_max(2 * (len + size),
                                              ngx_pagesize));
        if (b == NULL) {
            return NGX_ERROR;
        }

        if (kept) {
            b->last = ngx_cpymem(b->last, kept->pos, len);
            ngx_pfree(pool, kept->start);
        }

        tap->buf = b;
        kept = b;
    }

    kept->last = ngx_cpymem(kept->last, data, size);

    return NGX_OK;
}


void
ngx_http_vmess_tap_forget(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_tap_t  *tap;

    tap = ctx->data;

    ngx_http_vmess_tap_close(ctx);

    if (tap->buf) {
        ngx_pfree(ctx->request->pool, tap->buf->start);
        tap->buf = NULL;
    }
}


void
ngx_http_vmess_tap_close(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_tap_t  *tap;

    tap = ctx->data;

    if (tap->recv) {
        ctx->request->connection->recv = tap->recv;
        tap->recv = NULL;
    }
}


/*
 * What came of the body is put where nginx keeps it before somebody reads: the
 * site may read or discard it, with its own limits, and at the time when it
 * does so anyway.
 */

ngx_int_t
ngx_http_vmess_tap_restore(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t              rc;
    ngx_http_request_t    *r;
    ngx_http_vmess_tap_t  *tap;

    r = ctx->request;
    tap = ctx->data;

#if (NGX_HTTP_V2)

    rc = r->stream ? ngx_http_vmess_tap_preread(ctx)
                   : ngx_http_vmess_tap_put_back(ctx);
#else

    rc = ngx_http_vmess_tap_put_back(ctx);

#endif

    r->request_length = tap->request_length;
    r->headers_in.content_length_n = tap->content_length;

    return rc;
}


#if (NGX_HTTP_V2)

static ngx_int_t
ngx_http_vmess_tap_preread(ngx_http_vmess_ctx_t *ctx)
{
    ngx_buf_t             *b, *kept, *preread;
    ngx_http_request_t    *r;
    ngx_http_v2_stream_t  *stream;
    ngx_http_vmess_tap_t  *tap;

    r = ctx->request;
    tap = ctx->data;
    stream = r->stream;

    /* there was nothing to read, or no memory to do so */

    if (r->request_body == NULL || r->request_body->buf == NULL) {
        return NGX_OK;
    }

    b = r->request_body->buf;
    kept = tap->buf;

    if (b->end - b->start >= NGX_HTTP_VMESS_TAP_HEAD) {
        b->pos = b->start;
    }

    if (kept) {

        /*
         * The buffer was too small for a header, and a window was sent: there
         * is room for all that the client may send until it is read.
         */

        preread = ngx_create_temp_buf(r->pool, (kept->last - kept->pos)
                                               + (b->last - b->pos)
                                               + stream->recv_window);
        if (preread == NULL) {
            return NGX_ERROR;
        }

        preread->last = ngx_cpymem(preread->last, kept->pos,
                                   kept->last - kept->pos);
        preread->last = ngx_cpymem(preread->last, b->pos, b->last - b->pos);

        b = preread;
    }

    stream->preread = b->pos < b->last ? b : NULL;

    return NGX_OK;
}

#endif


/*
 * Into the buffer of the request's header, or into another that nginx may free,
 * or use for other requests of the connection, as its large ones.
 */

static ngx_int_t
ngx_http_vmess_tap_put_back(ngx_http_vmess_ctx_t *ctx)
{
    size_t                     size;
    ngx_buf_t                 *b, *kept;
    ngx_chain_t               *cl;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_connection_t     *hc;
    ngx_http_vmess_tap_t      *tap;
    ngx_http_core_srv_conf_t  *cscf;

    r = ctx->request;
    c = r->connection;
    tap = ctx->data;
    kept = tap->buf;

    size = kept->last - kept->pos;
    b = tap->header_in;
    b->pos = ctx->pos;

    if ((size_t) (b->end - b->pos) < size) {

        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

        size = ngx_max(size, cscf->large_client_header_buffers.size);

        b = ngx_create_temp_buf(c->pool, size);
        cl = ngx_alloc_chain_link(c->pool);

        if (b == NULL || cl == NULL) {
            return NGX_ERROR;
        }

        hc = r->http_connection;

        cl->buf = b;
        cl->next = hc->busy;

        hc->busy = cl;
        hc->nbusy++;
    }

    b->last = ngx_cpymem(b->pos, kept->pos, kept->last - kept->pos);

    r->header_in = b;

#if (NGX_HTTP_V3)

    if (r->v3_parse) {
        r->v3_parse->body = tap->parse;
    }

#endif

    return NGX_OK;
}
