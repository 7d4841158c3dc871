
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_body.h"


#define NGX_HTTP_VMESS_BODY_PAUSE  1000      /* ms */


static void ngx_http_vmess_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_body_unlimit(ngx_http_vmess_ctx_t *ctx);
#if (NGX_HTTP_V2)
static ssize_t ngx_http_vmess_body_read_stream(ngx_http_vmess_ctx_t *ctx,
    u_char *buf, size_t size);
#endif
static ngx_uint_t ngx_http_vmess_body_left(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_body_drain_handler(ngx_http_request_t *r);


ngx_int_t
ngx_http_vmess_body_take(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = ctx->request->connection;

    rc = ngx_http_vmess_body_open(ctx, transport, data);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_vmess_request_start(ctx);

    /* the client may have gone already: there is no other event of that */

    if (rc == NGX_DONE && ctx->state != NGX_HTTP_VMESS_DECLINED
        && c->read->ready)
    {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return rc;
}


ngx_int_t
ngx_http_vmess_body_open(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    /* read by another module, or before a redirect */

    if (r->request_body || r->discard_body) {
        return NGX_DECLINED;
    }

    /* whether a client is told to go on is the site's matter */

    if (r->headers_in.expect && !r->expect_tested
        && r->http_version == NGX_HTTP_VERSION_11)
    {
        return NGX_DECLINED;
    }

    if (data == NULL) {
        data = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_body_t));
        if (data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_http_vmess_request_open(ctx, transport, data) != NGX_OK
        || ngx_http_vmess_body_unlimit(ctx) != NGX_OK
        || ngx_http_vmess_tap_open(ctx) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_vmess_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {

        /* what is wrong with the body is found by the site, if it reads it */

        return ngx_http_vmess_request_give_back(ctx);
    }

#if (NGX_HTTP_V2)

    /* a body that is already whole would be buffered */

    if (r->stream && rc == NGX_AGAIN && !r->request_body_no_buffering) {
        r->request_body_no_buffering = 1;
        r->reading_body = 1;
    }

#endif

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_OK;
}


/* an unbuffered body is read by recv */

static void
ngx_http_vmess_body_handler(ngx_http_request_t *r)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "http vmess body handler");
}


/*
 * The limits of a site's requests must not apply to sessions, whose timeouts
 * are those of the stream server.
 */

static ngx_int_t
ngx_http_vmess_body_unlimit(ngx_http_vmess_ctx_t *ctx)
{
    void                      **conf;
    ngx_uint_t                  http2;
    ngx_http_request_t         *r;
    ngx_http_vmess_body_t      *body;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;

    r = ctx->request;
    body = ctx->data;

    http2 = (r->http_version == NGX_HTTP_VERSION_20);

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->unlimited[http2] == NULL) {

        conf = ngx_palloc(ngx_cycle->pool, ngx_http_max_module
                                           * sizeof(void *));
        clcf = ngx_palloc(ngx_cycle->pool, sizeof(ngx_http_core_loc_conf_t));

        if (conf == NULL || clcf == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(conf, r->loc_conf, ngx_http_max_module * sizeof(void *));

        *clcf = *(ngx_http_core_loc_conf_t *)
                    ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        clcf->client_max_body_size = 0;
        clcf->client_body_timeout = NGX_MAX_INT32_VALUE;

        /* see ngx_http_vmess_keepalive.h */

        clcf->keepalive_timeout = ngx_max(clcf->keepalive_timeout, 1000);

        /*
         * What came before the request is handled must not go to a file.  Of
         * HTTP/2 it all fits in what nginx keeps, and with a buffer of no more
         * than that no window is sent: see ngx_http_vmess_body_read_stream().
         */

        clcf->client_body_buffer_size = http2 ? 1 : NGX_HTTP_VMESS_BODY_MAX;

        conf[ngx_http_core_module.ctx_index] = clcf;

        vlcf->unlimited[http2] = conf;
    }

    body->loc_conf = r->loc_conf;
    r->loc_conf = vlcf->unlimited[http2];

    return NGX_OK;
}


ssize_t
ngx_http_vmess_body_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    size_t                    n, len;
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_http_request_t       *r;
    ngx_http_vmess_body_t    *body;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;
    body = ctx->data;
    n = 0;

#if (NGX_HTTP_V2)

    if (r->stream) {
        return ngx_http_vmess_body_read_stream(ctx, buf, size);
    }

#endif

    for ( ;; ) {

        while (rb->bufs && n < size) {

            cl = rb->bufs;
            b = cl->buf;

            len = ngx_min((size_t) (b->last - b->pos), size - n);

            /* that of the end of a body has no memory */

            if (len) {
                ngx_memcpy(buf + n, b->pos, len);
            }

            b->pos += len;
            n += len;

            if (b->pos == b->last) {
                rb->bufs = cl->next;
                ngx_free_chain(r->pool, cl);
            }
        }

        if (n) {

            /* what has no end is no VMess header */

            if (ctx->state == NGX_HTTP_VMESS_OPEN
                && body->read > NGX_HTTP_VMESS_BODY_MAX)
            {
                return NGX_ERROR;
            }

            body->read += n;

            return n;
        }

        if (r->connection->error) {
            return NGX_ERROR;
        }

        if (!r->reading_body) {
            return 0;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return NGX_ERROR;
        }

        if (rc == NGX_AGAIN && rb->bufs == NULL) {
            return NGX_AGAIN;
        }
    }
}


#if (NGX_HTTP_V2)

/*
 * The body of an HTTP/2 stream is taken from the buffer to which nginx copies
 * it.  While the site may get the request the buffer is kept, and it is as
 * large as what a client may send before somebody reads: as no window is sent
 * then, the site gets the stream as if nobody had read.
 */

static ssize_t
ngx_http_vmess_body_read_stream(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size)
{
    size_t                     window;
    ngx_int_t                  rc;
    ngx_buf_t                 *b;
    ngx_uint_t                 keep;
    ngx_http_request_t        *r;
    ngx_http_vmess_body_t     *body;
    ngx_http_request_body_t   *rb;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    rb = r->request_body;
    body = ctx->data;

    keep = (ctx->state == NGX_HTTP_VMESS_OPEN);

    for ( ;; ) {

        b = rb->buf;

        if (b && b->pos < b->last) {

            size = ngx_min(size, (size_t) (b->last - b->pos));

            ngx_memcpy(buf, b->pos, size);
            b->pos += size;

            r->request_length += size;
            rb->received += size;

            /* a buffer for which a header may be too long is replaced */

            if (keep && b->end - b->start < NGX_HTTP_VMESS_TAP_HEAD
                && ngx_http_vmess_tap_keep(ctx, buf, size) != NGX_OK)
            {
                return NGX_ERROR;
            }

            return size;
        }

        if (r->connection->error) {
            return NGX_ERROR;
        }

        if (b == NULL || r->stream->in_closed) {
            r->reading_body = 0;

            return r->headers_in.content_length_n == -1
                   || r->headers_in.content_length_n == rb->received
                   ? 0 : NGX_ERROR;
        }

        if (keep && b->end - b->start >= NGX_HTTP_VMESS_TAP_HEAD) {

            /* what has no end is no VMess header */

            return b->last == b->end ? NGX_ERROR : NGX_AGAIN;
        }

        /* from now on as large a window as the location has for bodies */

        clcf = body->loc_conf[ngx_http_core_module.ctx_index];

        window = keep ? NGX_HTTP_VMESS_BODY_MAX
                      : ngx_max(NGX_HTTP_VMESS_BODY_MAX,
                                clcf->client_body_buffer_size);
        window = ngx_min(window, NGX_HTTP_V2_MAX_WINDOW);

        if ((size_t) (b->end - b->start) < window) {

            /* without memory the site gets what is in the buffer there is */

            b = ngx_create_temp_buf(r->pool, window);
            if (b == NULL) {
                return NGX_ERROR;
            }

            ngx_pfree(r->pool, rb->buf->start);
            rb->buf = b;
        }

        /* the buffer is empty: this sends a window */

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return NGX_ERROR;
        }

        if (rb->buf->pos == rb->buf->last) {
            return NGX_AGAIN;
        }
    }
}

#endif


/* 1 if something of the body is here, and not read yet */

static ngx_uint_t
ngx_http_vmess_body_left(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

#if (NGX_HTTP_V2)

    if (r->stream) {
        return rb->buf && rb->buf->pos < rb->buf->last;
    }

#endif

    return rb->bufs != NULL;
}


ssize_t
ngx_http_vmess_body_send(void *data, u_char *buf, size_t size)
{
    size = ngx_min(size, NGX_HTTP_VMESS_BODY_MAX);

    return ngx_http_vmess_body_write(data, buf, size);
}


ssize_t
ngx_http_vmess_body_write(ngx_http_vmess_ctx_t *ctx, u_char *buf, size_t size)
{
    ngx_int_t               rc;
    ngx_buf_t              *b;
    ngx_http_vmess_body_t  *body;

    /* nobody gets it, but what came before is the target's yet */

    if (ctx->request->connection->error && ngx_http_vmess_body_left(ctx)) {
        return size;
    }

    rc = ngx_http_vmess_body_flush(ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    body = ctx->data;
    b = &body->out;

    /* never from the small allocations of a pool, which cannot be freed */

    b->start = ngx_palloc(ctx->request->pool,
                          ngx_max(size, ngx_pagesize));
    if (b->start == NULL) {
        return NGX_ERROR;
    }

    b->pos = b->start;
    b->last = ngx_cpymem(b->start, buf, size);
    b->temporary = 1;
    b->flush = 1;

    body->out_chain.buf = b;
    body->out_chain.next = NULL;

    if (ngx_http_vmess_filter_output(ctx->request, &body->out_chain)
        == NGX_ERROR
        || ngx_http_vmess_body_flush(ctx) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return size;
}


ngx_int_t
ngx_http_vmess_body_flush(ngx_http_vmess_ctx_t *ctx)
{
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_vmess_body_t  *body;

    r = ctx->request;
    c = r->connection;
    body = ctx->data;
    b = &body->out;

    if (c->error) {
        return NGX_ERROR;
    }

    if (b->pos != b->last || r->out || c->buffered) {

        if (ngx_http_vmess_filter_output(r, NULL) == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (b->pos != b->last || r->out || c->buffered) {

            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                return NGX_ERROR;
            }

            return NGX_AGAIN;
        }
    }

    if (b->start) {
        ngx_pfree(r->pool, b->start);
        b->start = NULL;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_body_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_tap_forget(ctx);

    return ngx_http_vmess_request_send_header(ctx);
}


void
ngx_http_vmess_body_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx == NULL) {
        return;
    }

    /* what came before an error is the target's yet: see c->recv */

    if (r->connection->error && ctx->vconn == NULL) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    /* all of the body is read: what else may come is an end */

    if (!r->connection->error
        && !r->reading_body && !ngx_http_vmess_body_left(ctx))
    {
        ngx_http_vmess_request_test_reading(ctx);
        return;
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_wake(ctx->vconn, 0);
    }
}


ngx_int_t
ngx_http_vmess_body_ready(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_vmess_body_flush(ctx);

    if (rc == NGX_ERROR && ctx->vconn) {

        /* first reads what came before, then finds that nobody listens */

        ngx_vmess_vconn_wake(ctx->vconn, 0);

        return NGX_OK;
    }

    return rc;
}


/*
 * Over HTTP/1.1 and HTTP/3 clients lose data that they read together with the
 * end of a response.  The end chunk of VMess has told them already: the end
 * comes with that of the request, or after a pause.
 */

ngx_int_t
ngx_http_vmess_body_drain(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (r->http_version == NGX_HTTP_VERSION_20 || r->connection->error) {
        return NGX_OK;
    }

    ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_request_finish,
                                     NGX_HTTP_VMESS_BODY_PAUSE);

    r->read_event_handler = ngx_http_vmess_body_drain_handler;

    ngx_http_vmess_body_drain_handler(r);

    return NGX_AGAIN;
}


static void
ngx_http_vmess_body_drain_handler(ngx_http_request_t *r)
{
    ssize_t                n;
    ngx_uint_t             i;
    ngx_http_vmess_ctx_t  *ctx;
    u_char                 buf[4096];

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx == NULL) {
        return;
    }

    i = NGX_HTTP_VMESS_BODY_MAX / sizeof(buf);

    do {
        if (i-- == 0) {
            ngx_post_event(r->connection->read, &ngx_posted_next_events);
            return;
        }

        if (!r->reading_body && r->request_body->bufs == NULL) {

            /* finalizes the request if the client is gone */

            ngx_http_vmess_request_test_reading(ctx);
            return;
        }

        n = ngx_http_vmess_body_recv(ctx, buf, sizeof(buf));

    } while (n > 0);

    if (n == NGX_ERROR) {
        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    if (n == 0) {
        ngx_http_vmess_request_finish(ctx);
    }
}


void
ngx_http_vmess_body_finish(ngx_http_vmess_ctx_t *ctx)
{
    if (!ctx->request->connection->error) {
        (void) ngx_http_vmess_filter_special(ctx->request, NGX_HTTP_LAST);
    }
}


/* the request is as it was */

ngx_int_t
ngx_http_vmess_body_decline(ngx_http_vmess_ctx_t *ctx)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_vmess_body_t  *body;

    r = ctx->request;
    c = r->connection;
    body = ctx->data;

    r->loc_conf = body->loc_conf;

    if (ngx_http_vmess_tap_restore(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    r->request_body = NULL;
    r->reading_body = 0;
    r->request_body_no_buffering = 0;

    return NGX_DECLINED;
}
