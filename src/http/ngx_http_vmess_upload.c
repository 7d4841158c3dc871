
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_upload.h"
#include "ngx_http_vmess_keepalive.h"
#include "ngx_http_vmess_link.h"
#include "ngx_http_vmess_padding.h"
#include "proto/ngx_vmess_xhttp.h"


/* between runs of padding in the response to a stream, in seconds */

#define NGX_HTTP_VMESS_PADDING_PAUSE_MIN  20
#define NGX_HTTP_VMESS_PADDING_PAUSE_MAX  80

/* of the rest of a packet that is not wanted, read in one go */

#define NGX_HTTP_VMESS_UPLOAD_BURST  (256 * 1024)

/* of a client that has gone, for a session that has not started, in ms */

#define NGX_HTTP_VMESS_UPLOAD_WAIT  5000


typedef struct {
    ngx_http_vmess_body_t        body;
    ngx_http_vmess_upload_t      upload;
    u_char                       sid[NGX_VMESS_WORKER_ID_LEN];
    ngx_vmess_pending_t          pending;    /* until it is told */
    u_char                       end;        /* DONE or FAILED, or 0 */
} ngx_http_vmess_upload_body_t;


static void ngx_http_vmess_upload_forward(ngx_http_vmess_upload_t *upload,
    ngx_vmess_owner_t *owner);
static void ngx_http_vmess_upload_read_handler(ngx_http_request_t *r);
static void ngx_http_vmess_upload_test(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_gone(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_tell(ngx_http_vmess_upload_t *upload,
    u_char status);
static void ngx_http_vmess_upload_evict(ngx_vmess_pending_t *pending);
static void ngx_http_vmess_upload_handler(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_upload_drain(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_timeout(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_upload_answer(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_padding(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_cleanup(ngx_http_vmess_ctx_t *ctx);


/* has no virtual connection */

static const ngx_http_vmess_transport_t  ngx_http_vmess_upload_transport = {
    NGX_HTTP_VMESS_XHTTP,
    NULL,                                  /* check */
    NULL,                                  /* candidate */
    NULL,                                  /* handler */
    NULL,                                  /* carrier */
    ngx_http_vmess_upload_read_handler,
    ngx_http_vmess_upload_answer,
    ngx_http_vmess_body_flush,
    ngx_http_vmess_body_decline,
    NULL,                                  /* drain */
    ngx_http_vmess_body_finish,
    ngx_http_vmess_upload_cleanup
};


ngx_int_t
ngx_http_vmess_upload_take(ngx_http_vmess_ctx_t *ctx, u_char *sid,
    int64_t seq)
{
    ngx_int_t                      rc;
    ngx_vmess_owner_t              owner;
    ngx_http_request_t            *r;
    ngx_http_vmess_session_t      *s;
    ngx_http_vmess_upload_body_t  *u;

    r = ctx->request;

    u = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_upload_body_t));
    if (u == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s = ngx_http_vmess_session_lookup(sid);

    if (s == NULL) {

        if (ngx_vmess_worker_owner(sid, &owner) != NGX_OK) {
            s = ngx_http_vmess_session_get(sid);
            if (s == NULL) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }

        } else if (owner.pid == 0) {
            ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_DECLINED);
            return NGX_DECLINED;
        }
    }

    rc = ngx_http_vmess_body_open(ctx, &ngx_http_vmess_upload_transport, u);

    if (rc != NGX_OK) {
        return rc;
    }

    r->read_event_handler = ctx->transport->read;
    r->write_event_handler = ngx_http_vmess_request_write_handler;

    ctx->handler = ngx_http_vmess_upload_handler;

    ngx_memcpy(u->sid, sid, NGX_VMESS_WORKER_ID_LEN);

    u->upload.seq = seq;
    u->upload.read = ngx_http_vmess_body_recv;
    u->upload.tell = ngx_http_vmess_upload_tell;
    u->upload.forward = ngx_http_vmess_upload_forward;
    u->upload.data = ctx;

    /* it has no virtual connection, but may wait as long as one */

    u->pending.evict = ngx_http_vmess_upload_evict;
    u->pending.data = ctx;

    (void) ngx_vmess_pending_add(&u->pending, r->connection->sockaddr, 1,
                                 r->connection->log);

    if (s) {
        ngx_http_vmess_session_add(s, &u->upload);

    } else {
        ngx_http_vmess_link_connect(&u->upload, r, &owner, sid);
    }

    /* the client may have gone already: there is no other event of that */

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    return NGX_DONE;
}


static void
ngx_http_vmess_upload_forward(ngx_http_vmess_upload_t *upload,
    ngx_vmess_owner_t *owner)
{
    ngx_http_vmess_ctx_t          *ctx;
    ngx_http_vmess_upload_body_t  *u;

    ctx = upload->data;
    u = ctx->data;

    ngx_http_vmess_link_connect(upload, ctx->request, owner, u->sid);
}


static void
ngx_http_vmess_upload_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t          *ctx;
    ngx_http_vmess_upload_body_t  *u;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx == NULL) {
        return;
    }

    if (r->connection->error) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    u = ctx->data;

    if (u->upload.link) {
        ngx_http_vmess_link_pump(u->upload.link);
        return;
    }

    if (u->end) {
        ngx_post_event(&ctx->event, &ngx_posted_events);
        return;
    }

    if (!ngx_http_vmess_session_wake(&u->upload) && u->upload.session) {
        ngx_http_vmess_upload_test(ctx);
    }
}


/*
 * While nobody reads the body, the only event is that the client is gone.  It
 * may close the connection once it has sent everything, as Xray does at random
 * with HTTP/1.1: then what it sent counts, for some time if its session has
 * not started, and otherwise as long as the session.
 */

static void
ngx_http_vmess_upload_test(ngx_http_vmess_ctx_t *ctx)
{
    int                            n, err;
    socklen_t                      len;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_vmess_upload_body_t  *u;

    r = ctx->request;
    c = r->connection;
    u = ctx->data;

    if (r->http_version >= NGX_HTTP_VERSION_20) {

        if (r->reading_body) {
            ngx_http_vmess_request_test_reading(ctx);
        }

        return;
    }

    if (!c->read->pending_eof) {
        return;
    }

    n = 0;
    err = 0;
    len = sizeof(int);

    (void) ioctl(c->fd, FIONREAD, &n);
    (void) getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len);

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        n += SSL_pending(c->ssl->connection);
    }
#endif

    if (r->reading_body && (n == 0 || err)) {
        ngx_http_vmess_request_test_reading(ctx);
        return;
    }

    if (u->upload.session->download == NULL && !ctx->timer.timer_set) {
        ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_upload_gone,
                                         NGX_HTTP_VMESS_UPLOAD_WAIT);
    }
}


static void
ngx_http_vmess_upload_gone(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_upload_body_t  *u;

    u = ctx->data;

    if (u->upload.session && u->upload.session->download == NULL) {
        ctx->request->connection->error = 1;

        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    }
}


/* called from within other connections: the request must not end here */

static void
ngx_http_vmess_upload_tell(ngx_http_vmess_upload_t *upload, u_char status)
{
    ngx_http_vmess_ctx_t          *ctx;
    ngx_http_vmess_upload_body_t  *u;

    ctx = upload->data;
    u = ctx->data;

    ngx_vmess_pending_remove(&u->pending);

    if (status == NGX_HTTP_VMESS_UPLOAD_DECLINED) {

        if (ngx_http_vmess_request_verdict(ctx, 0) != NGX_OK) {
            u->end = NGX_HTTP_VMESS_UPLOAD_FAILED;
        }

    } else if (ctx->state == NGX_HTTP_VMESS_OPEN) {
        ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_AUTHENTIC);

        ngx_http_vmess_tap_forget(ctx);
    }

    if (status == NGX_HTTP_VMESS_UPLOAD_DONE
        || status == NGX_HTTP_VMESS_UPLOAD_FAILED)
    {
        u->end = status;
    }

    /* a packet is answered when it is taken */

    if (status == NGX_HTTP_VMESS_UPLOAD_AUTHENTIC
        && upload->seq != NGX_VMESS_XHTTP_NO_SEQ)
    {
        return;
    }

    ngx_post_event(&ctx->event, &ngx_posted_events);
}


static void
ngx_http_vmess_upload_evict(ngx_vmess_pending_t *pending)
{
    ngx_http_vmess_ctx_t *ctx = pending->data;

    ngx_http_vmess_upload_body_t  *u;

    u = ctx->data;

    if (u->upload.link) {
        ngx_http_vmess_link_close(u->upload.link);
    }

    ngx_http_vmess_session_drop(&u->upload);

    ngx_http_vmess_upload_tell(&u->upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
}


static void
ngx_http_vmess_upload_handler(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_uint_t                     done;
    ngx_connection_t              *c;
    ngx_http_request_t            *r;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_vmess_upload_body_t  *u;

    u = ctx->data;
    r = ctx->request;
    c = r->connection;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "http vmess upload seq:%L end:%d state %d",
                   u->upload.seq, u->end, ctx->state);

    done = (u->end == NGX_HTTP_VMESS_UPLOAD_DONE);

    rc = (done && !c->error) ? ngx_http_vmess_upload_drain(ctx) : NGX_OK;

    if (c->error || rc == NGX_ERROR) {
        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else if (rc == NGX_AGAIN) {

        /* answered when all of it was read */

    } else if (u->end == NGX_HTTP_VMESS_UPLOAD_FAILED) {
        ngx_http_vmess_request_finalize(ctx,
                                        ctx->state == NGX_HTTP_VMESS_ANSWERED
                                        ? NGX_ERROR : NGX_HTTP_BAD_REQUEST);

    } else if (ctx->state == NGX_HTTP_VMESS_REFUSED) {
        ngx_http_vmess_request_decline(ctx);

    } else if (done && ctx->state != NGX_HTTP_VMESS_ANSWERED
               && u->upload.seq != NGX_VMESS_XHTTP_NO_SEQ
               && ngx_http_vmess_keepalive_test(r, u->sid))
    {
        clcf = u->body.loc_conf[ngx_http_core_module.ctx_index];

        ngx_http_vmess_keepalive_finish(ctx, u->sid, clcf->keepalive_timeout);

    } else if (ctx->state != NGX_HTTP_VMESS_ANSWERED
               && ngx_http_vmess_request_answer(ctx) != NGX_OK)
    {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);

    } else if (done) {
        ngx_http_vmess_request_finish(ctx);
    }
}


/*
 * Over HTTP/1.1 other packets may be behind one that was not read to its end,
 * and nginx would close the connection under them.
 */

static ngx_int_t
ngx_http_vmess_upload_drain(ngx_http_vmess_ctx_t *ctx)
{
    size_t                         size;
    ssize_t                        n;
    ngx_http_request_t            *r;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_vmess_upload_body_t  *u;
    u_char                         buf[4096];

    r = ctx->request;
    u = ctx->data;

    if (r->http_version != NGX_HTTP_VERSION_11
        || u->upload.seq == NGX_VMESS_XHTTP_NO_SEQ)
    {
        return NGX_OK;
    }

    for (size = 0; size < NGX_HTTP_VMESS_UPLOAD_BURST; size += n) {

        n = ngx_http_vmess_body_recv(ctx, buf, sizeof(buf));

        if (n == 0) {
            return NGX_OK;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            goto again;
        }
    }

    ngx_post_event(&ctx->event, &ngx_posted_next_events);

again:

    if (!ctx->timer.timer_set) {
        clcf = u->body.loc_conf[ngx_http_core_module.ctx_index];

        ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_upload_timeout,
                                         clcf->client_body_timeout);
    }

    return NGX_AGAIN;
}


static void
ngx_http_vmess_upload_timeout(ngx_http_vmess_ctx_t *ctx)
{
    ngx_connection_t  *c;

    c = ctx->request->connection;

    ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");

    c->timedout = 1;

    ngx_http_vmess_request_finalize(ctx, NGX_HTTP_REQUEST_TIME_OUT);
}


static ngx_int_t
ngx_http_vmess_upload_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t            *r;
    ngx_http_vmess_upload_body_t  *u;

    r = ctx->request;
    u = ctx->data;

    if (ngx_http_vmess_padding_headers(r, u->end == 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (u->end) {
        r->headers_out.content_length_n = 0;
    }

    if (ngx_http_vmess_body_answer(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    /* clients without a Referer do not expect any */

    if (u->end == 0 && r->headers_in.referer) {
        ctx->timer.cancelable = 1;

        ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_upload_padding,
                                         0);
    }

    return NGX_OK;
}


/* so that nothing on the way takes the response for a dead one */

static void
ngx_http_vmess_upload_padding(ngx_http_vmess_ctx_t *ctx)
{
    u_char  buf[NGX_HTTP_VMESS_PADDING_MAX];

    if (ngx_http_vmess_body_write(ctx, buf, ngx_http_vmess_padding_create(buf))
        == NGX_ERROR)
    {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);
        return;
    }

    ngx_add_timer(&ctx->timer,
                  1000 * (NGX_HTTP_VMESS_PADDING_PAUSE_MIN
                          + ngx_random() % (NGX_HTTP_VMESS_PADDING_PAUSE_MAX
                                            - NGX_HTTP_VMESS_PADDING_PAUSE_MIN
                                            + 1)));
}


static void
ngx_http_vmess_upload_cleanup(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_upload_body_t  *u;

    u = ctx->data;

    ngx_http_vmess_tap_close(ctx);

    if (u->upload.link) {
        ngx_http_vmess_link_close(u->upload.link);
    }

    ngx_http_vmess_session_drop(&u->upload);

    ngx_vmess_pending_remove(&u->pending);
}
