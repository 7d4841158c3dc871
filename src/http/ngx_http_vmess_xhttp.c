
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_xhttp.h"
#include "ngx_http_vmess_keepalive.h"
#include "proto/ngx_vmess_xhttp.h"


/* between runs of padding in the response to a streamed upload, in seconds */

#define NGX_HTTP_VMESS_PADDING_PAUSE_MIN  20
#define NGX_HTTP_VMESS_PADDING_PAUSE_MAX  80

/* of the rest of a packet that is not wanted, read in one go */

#define NGX_HTTP_VMESS_UPLOAD_BURST  (256 * 1024)

/* of a client that has gone, for a session that has not started, in ms */

#define NGX_HTTP_VMESS_UPLOAD_WAIT  5000


static ngx_int_t ngx_http_vmess_xhttp_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_xhttp_parse(ngx_http_request_t *r,
    ngx_str_t *name, int64_t *seq);
static void ngx_http_vmess_xhttp_sid(ngx_http_request_t *r, ngx_str_t *name,
    u_char *sid);
static ngx_int_t ngx_http_vmess_xhttp_download(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_xhttp_t *x, u_char *sid);
static ngx_int_t ngx_http_vmess_xhttp_upload(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_xhttp_t *x, u_char *sid);
static ngx_int_t ngx_http_vmess_xhttp_answer(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_xhttp_headers(ngx_http_vmess_ctx_t *ctx);
static size_t ngx_http_vmess_xhttp_padding(u_char *buf);

static ssize_t ngx_http_vmess_xhttp_recv(void *data, u_char *buf, size_t size);
static ngx_int_t ngx_http_vmess_xhttp_verdict(void *data,
    ngx_uint_t authentic);
static void ngx_http_vmess_xhttp_close(void *data);
static void ngx_http_vmess_xhttp_cleanup(ngx_http_vmess_ctx_t *ctx);

static void ngx_http_vmess_xhttp_download_read_handler(ngx_http_request_t *r);
static void ngx_http_vmess_upload_read_handler(ngx_http_request_t *r);
static void ngx_http_vmess_upload_test(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_upload_read(ngx_http_vmess_upload_t *upload,
    u_char *buf, size_t size);
static void ngx_http_vmess_upload_tell(ngx_http_vmess_upload_t *upload,
    u_char status);
static void ngx_http_vmess_upload_evict(ngx_vmess_pending_t *pending);
static void ngx_http_vmess_upload_handler(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_upload_drain(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_timeout(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_gone(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_upload_answer(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_upload_padding(ngx_http_vmess_ctx_t *ctx);


/* a request whose body is the upload, too: "stream-one" */

static const ngx_vmess_carrier_t  ngx_http_vmess_xhttp_one_carrier = {
    ngx_string("xhttp"),
    ngx_http_vmess_body_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


static const ngx_vmess_carrier_t  ngx_http_vmess_xhttp_carrier = {
    ngx_string("xhttp"),
    ngx_http_vmess_xhttp_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_xhttp_verdict,
    ngx_http_vmess_xhttp_close,
    1
};


const ngx_http_vmess_transport_t  ngx_http_vmess_xhttp_transport = {
    NGX_HTTP_VMESS_XHTTP,
    ngx_http_vmess_xhttp_candidate,
    ngx_http_vmess_xhttp_handler,
    &ngx_http_vmess_xhttp_one_carrier,
    ngx_http_vmess_body_read_handler,
    ngx_http_vmess_xhttp_answer,
    ngx_http_vmess_body_ready,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_body_finish,
    ngx_http_vmess_body_cleanup
};


static const ngx_http_vmess_transport_t
    ngx_http_vmess_xhttp_download_transport =
{
    NGX_HTTP_VMESS_XHTTP,
    NULL,                                  /* candidate */
    NULL,                                  /* handler */
    &ngx_http_vmess_xhttp_carrier,
    ngx_http_vmess_xhttp_download_read_handler,
    ngx_http_vmess_xhttp_answer,
    ngx_http_vmess_body_flush,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_body_finish,
    ngx_http_vmess_xhttp_cleanup
};


/* has no virtual connection */

static const ngx_http_vmess_transport_t  ngx_http_vmess_upload_transport = {
    NGX_HTTP_VMESS_XHTTP,
    NULL,                                  /* candidate */
    NULL,                                  /* handler */
    NULL,                                  /* carrier */
    ngx_http_vmess_upload_read_handler,
    ngx_http_vmess_upload_answer,
    ngx_http_vmess_body_flush,
    ngx_http_vmess_body_decline,
    NULL,                                  /* drain */
    ngx_http_vmess_body_finish,
    ngx_http_vmess_xhttp_cleanup
};


/* no client waits for a response header before it sends */

static ngx_int_t
ngx_http_vmess_xhttp_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    u_char                   sid[NGX_VMESS_WORKER_ID_LEN];
    int64_t                  seq;
    ngx_str_t                name;
    ngx_http_vmess_xhttp_t  *x;

    if (ngx_http_vmess_xhttp_parse(r, &name, &seq) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (name.len == 0 && !r->headers_in.chunked) {
        return NGX_DECLINED;
    }

    if (name.len && r->method == NGX_HTTP_GET
        && seq != NGX_VMESS_XHTTP_NO_SEQ)
    {
        return NGX_DECLINED;
    }

    x = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_xhttp_t));
    if (x == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (name.len == 0) {
        return ngx_http_vmess_body_take(ctx, &ngx_http_vmess_xhttp_transport,
                                        x);
    }

    ngx_http_vmess_xhttp_sid(r, &name, sid);

    if (r->method == NGX_HTTP_GET) {
        return ngx_http_vmess_xhttp_download(ctx, x, sid);
    }

    x->upload.seq = seq;
    ngx_memcpy(x->sid, sid, NGX_VMESS_WORKER_ID_LEN);

    return ngx_http_vmess_xhttp_upload(ctx, x, sid);
}


static ngx_int_t
ngx_http_vmess_xhttp_parse(ngx_http_request_t *r, ngx_str_t *name,
    int64_t *seq)
{
    ngx_str_t                   rest;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;

    if (r->http_version < NGX_HTTP_VERSION_11
        || (r->method & (NGX_HTTP_HEAD|NGX_HTTP_OPTIONS|NGX_HTTP_TRACE
                         |NGX_HTTP_CONNECT))
        || !ngx_http_vmess_xhttp_candidate(r))
    {
        return NGX_DECLINED;
    }

    /* the base path is the name of the location and a slash */

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);
    clcf = vlcf->location;

    if (clcf->named || clcf->name.len == 0
#if (NGX_PCRE)
        || clcf->regex
#endif
        || r->uri.len < clcf->name.len)
    {
        return NGX_DECLINED;
    }

    rest.data = r->uri.data + clcf->name.len;
    rest.len = r->uri.len - clcf->name.len;

    if (rest.len && rest.data[-1] != '/') {

        if (rest.data[0] != '/') {
            return NGX_DECLINED;
        }

        rest.data++;
        rest.len--;
    }

    return ngx_vmess_xhttp_path(&rest, name, seq);
}


/* 1 if the request has padding */

ngx_uint_t
ngx_http_vmess_xhttp_candidate(ngx_http_request_t *r)
{
    size_t  padding;

    padding = ngx_http_vmess_xhttp_length(r);

    return padding >= NGX_HTTP_VMESS_PADDING_MIN
           && padding <= NGX_HTTP_VMESS_PADDING_MAX;
}


size_t
ngx_http_vmess_xhttp_length(ngx_http_request_t *r)
{
    return ngx_vmess_xhttp_padding(r->headers_in.referer
                                   ? &r->headers_in.referer->value : NULL,
                                   &r->args);
}


static void
ngx_http_vmess_xhttp_sid(ngx_http_request_t *r, ngx_str_t *name, u_char *sid)
{
    ngx_str_t                   names[2];
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    names[0] = (*vlcf->listen)->name;
    names[1] = *name;

    ngx_vmess_worker_id(sid, NGX_VMESS_WORKER_XHTTP, names, 2);
}


static ngx_int_t
ngx_http_vmess_xhttp_download(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_xhttp_t *x, u_char *sid)
{
    ngx_int_t                  rc;
    ngx_http_vmess_session_t  *s;

    s = ngx_http_vmess_session_get(sid);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_vmess_session_open(s, ctx) != NGX_OK) {
        return NGX_DECLINED;
    }

    x->session = s;

    /* the session asks the download for it */

    ctx->data = x;

    rc = ngx_http_vmess_body_take(ctx,
                                  &ngx_http_vmess_xhttp_download_transport, x);

    if (ctx->vconn == NULL && x->session) {
        ngx_http_vmess_session_close(x->session);
    }

    return rc;
}


static ngx_int_t
ngx_http_vmess_xhttp_upload(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_xhttp_t *x, u_char *sid)
{
    ngx_int_t                  rc;
    ngx_vmess_owner_t          owner;
    ngx_http_request_t        *r;
    ngx_http_vmess_session_t  *s;

    r = ctx->request;

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

    rc = ngx_http_vmess_body_open(ctx, &ngx_http_vmess_upload_transport, x);

    if (rc != NGX_OK) {
        return rc;
    }

    r->read_event_handler = ctx->transport->read;
    r->write_event_handler = ngx_http_vmess_request_write_handler;

    ctx->handler = ngx_http_vmess_upload_handler;

    x->upload.read = ngx_http_vmess_upload_read;
    x->upload.tell = ngx_http_vmess_upload_tell;
    x->upload.data = ctx;

    /* it has no virtual connection, but may wait as long as one */

    x->pending.evict = ngx_http_vmess_upload_evict;
    x->pending.data = ctx;

    (void) ngx_vmess_pending_add(&x->pending, r->connection->sockaddr, 1,
                                 r->connection->log);

    if (s) {
        ngx_http_vmess_session_add(s, &x->upload);

    } else {
        ngx_http_vmess_link_connect(ctx, &owner, sid);
    }

    /* the client may have gone already: there is no other event of that */

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_vmess_xhttp_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_list_t          *headers;
    ngx_http_request_t  *r;

    r = ctx->request;
    headers = &r->headers_out.headers;

    if (ngx_http_vmess_xhttp_headers(ctx) != NGX_OK
        || ngx_http_vmess_request_add_header(headers, "X-Accel-Buffering", "no")
           != NGX_OK
        || ngx_http_vmess_request_add_header(headers, "Cache-Control",
                                             "no-store")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    return ngx_http_vmess_body_answer(ctx);
}


static ngx_int_t
ngx_http_vmess_xhttp_headers(ngx_http_vmess_ctx_t *ctx)
{
    u_char              *p;
    ngx_list_t          *headers;
    ngx_http_request_t  *r;

    r = ctx->request;
    headers = &r->headers_out.headers;

    p = ngx_pnalloc(r->pool, NGX_HTTP_VMESS_PADDING_MAX + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p[ngx_http_vmess_xhttp_padding(p)] = '\0';

    r->headers_out.status = NGX_HTTP_OK;

    if (ngx_http_vmess_request_add_header(headers,
                                          "Access-Control-Allow-Origin", "*")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_request_add_header(headers, "X-Padding", (char *) p);
}


static size_t
ngx_http_vmess_xhttp_padding(u_char *buf)
{
    size_t  len;

    len = NGX_HTTP_VMESS_PADDING_MIN
          + ngx_random() % (NGX_HTTP_VMESS_PADDING_MAX
                            - NGX_HTTP_VMESS_PADDING_MIN + 1);

    ngx_memset(buf, 'X', len);

    return len;
}


static ssize_t
ngx_http_vmess_xhttp_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    return ngx_http_vmess_session_read(x->session, buf, size);
}


static ngx_int_t
ngx_http_vmess_xhttp_verdict(void *data, ngx_uint_t authentic)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    if (authentic) {
        ngx_http_vmess_session_accept(x->session);
    }

    return ngx_http_vmess_request_verdict(data, authentic);
}


static void
ngx_http_vmess_xhttp_close(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    ngx_http_vmess_session_close(x->session);

    ngx_http_vmess_request_close(data);
}


static void
ngx_http_vmess_xhttp_cleanup(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    ngx_http_vmess_body_cleanup(ctx);

    if (x->session) {
        ngx_http_vmess_session_close(x->session);
    }

    if (x->link) {
        ngx_http_vmess_link_close(x->link);
    }

    ngx_http_vmess_session_drop(&x->upload);

    ngx_vmess_pending_remove(&x->pending);
}


/* what the client sends comes by other requests */

static void
ngx_http_vmess_xhttp_download_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx && r->connection->error) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    ngx_http_vmess_body_read_handler(r);
}


static void
ngx_http_vmess_upload_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t    *ctx;
    ngx_http_vmess_xhttp_t  *x;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx == NULL) {
        return;
    }

    if (r->connection->error) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    x = ctx->data;

    if (x->link) {
        ngx_http_vmess_link_pump(x->link);
        return;
    }

    if (x->done) {
        ngx_post_event(&ctx->event, &ngx_posted_events);
        return;
    }

    if (!ngx_http_vmess_session_wake(&x->upload) && x->upload.session) {
        ngx_http_vmess_upload_test(ctx);
    }
}


/*
 * While nobody reads the body, the only event is that the client is gone.  It
 * may close the connection when it has sent all, as Xray does at random with
 * HTTP/1.1: then what it sent counts, for some time if its session has not
 * started, or else as long as that.
 */

static void
ngx_http_vmess_upload_test(ngx_http_vmess_ctx_t *ctx)
{
    int                      n, err;
    socklen_t                len;
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_vmess_xhttp_t  *x;

    r = ctx->request;
    c = r->connection;
    x = ctx->data;

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

    if (x->upload.session->download == NULL && !ctx->timer.timer_set) {
        ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_upload_gone,
                                         NGX_HTTP_VMESS_UPLOAD_WAIT);
    }
}


static void
ngx_http_vmess_upload_gone(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    if (x->upload.session && x->upload.session->download == NULL) {
        ctx->request->connection->error = 1;

        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    }
}


static ssize_t
ngx_http_vmess_upload_read(ngx_http_vmess_upload_t *upload, u_char *buf,
    size_t size)
{
    return ngx_http_vmess_body_read(upload->data, buf, size);
}


/* called from within other connections: the request must not end here */

static void
ngx_http_vmess_upload_tell(ngx_http_vmess_upload_t *upload, u_char status)
{
    ngx_http_vmess_ctx_t    *ctx;
    ngx_http_vmess_xhttp_t  *x;

    ctx = upload->data;
    x = ctx->data;

    ngx_vmess_pending_remove(&x->pending);

    switch (status) {

    case NGX_HTTP_VMESS_UPLOAD_AUTHENTIC:

        if (ctx->state == NGX_HTTP_VMESS_OPEN) {
            ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_AUTHENTIC);
        }

        ngx_http_vmess_body_forget(ctx);

        if (upload->seq != NGX_VMESS_XHTTP_NO_SEQ) {
            return;
        }

        break;

    case NGX_HTTP_VMESS_UPLOAD_DONE:

        if (ctx->state == NGX_HTTP_VMESS_OPEN) {
            ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_AUTHENTIC);
            ngx_http_vmess_body_forget(ctx);
        }

        x->done = 1;
        break;

    default: /* NGX_HTTP_VMESS_UPLOAD_DECLINED */

        if (ctx->state == NGX_HTTP_VMESS_OPEN) {
            ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_REFUSED);

        } else {
            x->error = 1;
        }

        break;
    }

    ngx_post_event(&ctx->event, &ngx_posted_events);
}


static void
ngx_http_vmess_upload_evict(ngx_vmess_pending_t *pending)
{
    ngx_http_vmess_ctx_t *ctx = pending->data;

    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    if (x->link) {
        ngx_http_vmess_link_close(x->link);
    }

    ngx_http_vmess_session_drop(&x->upload);

    ngx_http_vmess_upload_tell(&x->upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
}


static void
ngx_http_vmess_upload_handler(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_vmess_xhttp_t    *x;
    ngx_http_core_loc_conf_t  *clcf;

    x = ctx->data;
    r = ctx->request;
    c = r->connection;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "http vmess upload seq:%L done:%ui state %d",
                   x->upload.seq, (ngx_uint_t) x->done, ctx->state);

    rc = (x->done && !x->error && !c->error) ? ngx_http_vmess_upload_drain(ctx)
                                             : NGX_OK;

    if (c->error || rc == NGX_ERROR) {
        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else if (rc == NGX_AGAIN) {

        /* answered when all of it was read */

    } else if (x->error) {
        ngx_http_vmess_request_finalize(ctx,
                                        ctx->state == NGX_HTTP_VMESS_ANSWERED
                                        ? NGX_ERROR : NGX_HTTP_BAD_REQUEST);

    } else if (ctx->state == NGX_HTTP_VMESS_REFUSED) {
        ngx_http_vmess_request_decline(ctx);

    } else if (x->done && ctx->state != NGX_HTTP_VMESS_ANSWERED
               && x->upload.seq != NGX_VMESS_XHTTP_NO_SEQ
               && ngx_http_vmess_keepalive_test(r, x->sid))
    {
        clcf = x->body.loc_conf[ngx_http_core_module.ctx_index];

        ngx_http_vmess_keepalive_finish(ctx, x->sid, clcf->keepalive_timeout);

    } else if (ctx->state != NGX_HTTP_VMESS_ANSWERED
               && ngx_http_vmess_request_answer(ctx) != NGX_OK)
    {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);

    } else if (x->done) {
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
    size_t                     size;
    ssize_t                    n;
    ngx_http_request_t        *r;
    ngx_http_vmess_xhttp_t    *x;
    ngx_http_core_loc_conf_t  *clcf;
    u_char                     buf[4096];

    r = ctx->request;
    x = ctx->data;

    if (r->http_version != NGX_HTTP_VERSION_11
        || x->upload.seq == NGX_VMESS_XHTTP_NO_SEQ)
    {
        return NGX_OK;
    }

    for (size = 0; size < NGX_HTTP_VMESS_UPLOAD_BURST; size += n) {

        n = ngx_http_vmess_body_read(ctx, buf, sizeof(buf));

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
        clcf = x->body.loc_conf[ngx_http_core_module.ctx_index];

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
    ngx_list_t              *headers;
    ngx_http_request_t      *r;
    ngx_http_vmess_xhttp_t  *x;

    r = ctx->request;
    x = ctx->data;
    headers = &r->headers_out.headers;

    if (ngx_http_vmess_xhttp_headers(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (x->done) {
        r->headers_out.content_length_n = 0;

        return ngx_http_vmess_body_answer(ctx);
    }

    if (ngx_http_vmess_request_add_header(headers, "X-Accel-Buffering", "no")
        != NGX_OK
        || ngx_http_vmess_request_add_header(headers, "Cache-Control",
                                             "no-store")
           != NGX_OK
        || ngx_http_vmess_body_answer(ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* clients without a Referer do not expect any */

    if (r->headers_in.referer) {
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

    if (ngx_http_vmess_body_write(ctx, buf, ngx_http_vmess_xhttp_padding(buf))
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
