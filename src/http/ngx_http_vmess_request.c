
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_request.h"


static void ngx_http_vmess_request_event_handler(ngx_event_t *ev);
static void ngx_http_vmess_request_cleanup(void *data);


/* few others add a cleanup, and those before ours are called while it waits */

ngx_http_vmess_ctx_t *
ngx_http_vmess_request_lookup(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;

    for (cln = r->main->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_vmess_request_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_vmess_request_open(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;
    ngx_http_cleanup_t  *cln;

    r = ctx->request;
    c = r->connection;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_vmess_request_cleanup;
    cln->data = ctx;

    ctx->transport = transport;
    ctx->data = data;
    ctx->pos = r->header_in->pos;

    ctx->handler = ngx_http_vmess_request_closed;

    ctx->event.handler = ngx_http_vmess_request_event_handler;
    ctx->event.data = ctx;
    ctx->event.log = c->log;

    ctx->timer.handler = ngx_http_vmess_request_event_handler;
    ctx->timer.data = ctx;
    ctx->timer.log = c->log;

    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_OPEN);

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_request_start(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t         *r;
    ngx_vmess_vconn_addrs_t     addrs;
    ngx_http_vmess_loc_conf_t  *vlcf;

    r = ctx->request;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (ngx_vmess_vconn_addrs(&addrs, r->connection) == NGX_OK) {
        ctx->vconn = ngx_vmess_vconn_create(&addrs, ctx->transport->carrier,
                                            ctx, *vlcf->listen);
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_start(ctx->vconn);
    }

    /* refused, or closed by the server, or there is no connection */

    if (ctx->state == NGX_HTTP_VMESS_REFUSED
        || (ctx->state == NGX_HTTP_VMESS_OPEN && ctx->vconn == NULL))
    {
        return ngx_http_vmess_request_give_back(ctx);
    }

    r->read_event_handler = ctx->transport->read;
    r->write_event_handler = ngx_http_vmess_request_write_handler;

    return NGX_DONE;
}


ngx_int_t
ngx_http_vmess_request_take(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data)
{
    if (ngx_http_vmess_request_open(ctx, transport, data) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_vmess_request_start(ctx);
}


void
ngx_http_vmess_request_set_state(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_state_e state)
{
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ctx->request->connection->log, 0,
                   "http vmess state %d to %d", ctx->state, state);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ctx->state = state;
}


void
ngx_http_vmess_request_set_timer(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_handler_pt handler, ngx_msec_t timer)
{
    ctx->timeout = handler;

    ngx_add_timer(&ctx->timer, timer);
}


static void
ngx_http_vmess_request_event_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ev->data;
    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    if (ev == &ctx->timer) {
        ctx->timeout(ctx);

    } else {
        ctx->handler(ctx);
    }

    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_http_vmess_request_verdict(void *data, ngx_uint_t authentic)
{
    ngx_http_vmess_ctx_t *ctx = data;

    if (authentic) {
        return ctx->state < NGX_HTTP_VMESS_ANSWERED
               ? ngx_http_vmess_request_answer(ctx) : NGX_OK;
    }

    if (ctx->state != NGX_HTTP_VMESS_OPEN) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_REFUSED);

    return NGX_OK;
}


/* the virtual connection is going; the request must not go before it is gone */

void
ngx_http_vmess_request_close(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ctx->vconn = NULL;

    ngx_post_event(&ctx->event, &ngx_posted_events);
}


void
ngx_http_vmess_request_closed(ngx_http_vmess_ctx_t *ctx)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "http vmess session closed, state %d", ctx->state);

    if (c->error) {
        ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else if (ctx->state == NGX_HTTP_VMESS_ANSWERED && !r->header_sent) {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);

    } else if (ctx->state == NGX_HTTP_VMESS_ANSWERED) {

        ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_CLOSED);

        if (ctx->transport->drain == NULL
            || ctx->transport->drain(ctx) == NGX_OK)
        {
            ngx_http_vmess_request_finish(ctx);
        }

    } else {
        ngx_http_vmess_request_decline(ctx);
    }
}


void
ngx_http_vmess_request_decline(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    rc = ngx_http_vmess_request_give_back(ctx);

    if (rc != NGX_DECLINED) {
        ngx_http_vmess_request_finalize(ctx, rc);
        return;
    }

    r = ctx->request;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;
    r->phase_handler = ctx->rewrite ? ctx->rewrite : r->phase_handler + 1;

    ngx_http_core_run_phases(r);
}


ngx_int_t
ngx_http_vmess_request_give_back(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_DECLINED);

    ngx_http_vmess_request_cleanup(ctx);

    return ctx->transport->decline ? ctx->transport->decline(ctx)
                                   : NGX_DECLINED;
}


void
ngx_http_vmess_request_finish(ngx_http_vmess_ctx_t *ctx)
{
    if (ctx->transport->finish) {
        ctx->transport->finish(ctx);
    }

    ngx_http_vmess_request_finalize(ctx, NGX_OK);
}


/* the request may go on without us: as another, to which an error page leads */

void
ngx_http_vmess_request_finalize(ngx_http_vmess_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_DONE);

    ngx_http_vmess_request_cleanup(ctx);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    /* nobody sends on what else comes of the body */

    r->request_body_no_buffering = 0;

    ngx_http_finalize_request(r, rc);
}


static void
ngx_http_vmess_request_cleanup(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    if (ctx->transport->cleanup) {
        ctx->transport->cleanup(ctx);
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_abort(ctx->vconn);
        ctx->vconn = NULL;
    }

    if (ctx->event.posted) {
        ngx_delete_posted_event((&ctx->event));
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}


void
ngx_http_vmess_request_client_gone(ngx_http_vmess_ctx_t *ctx)
{
    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                  "client prematurely closed stream");

    ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


/*
 * ngx_http_test_reading() finalizes the request on its own, and "post_action"
 * would go on with it while the session is there.
 */

void
ngx_http_vmess_request_test_reading(ngx_http_vmess_ctx_t *ctx)
{
    int                  n;
    char                 buf[1];
    ngx_err_t            err;
    ngx_event_t         *rev;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;
    rev = c->read;
    err = 0;

    if (r->http_version >= NGX_HTTP_VERSION_20) {

        if (!c->error && !rev->error) {
            return;
        }

    } else if (!rev->pending_eof) {

        n = recv(c->fd, buf, 1, MSG_PEEK);

        if (n == -1) {
            err = ngx_socket_errno;
        }

        if (n > 0 || err == NGX_EAGAIN) {

            if ((ngx_event_flags & NGX_USE_LEVEL_EVENT) && rev->active
                && ngx_del_event(rev, NGX_READ_EVENT, 0) != NGX_OK)
            {
                ngx_http_vmess_request_finalize(ctx, NGX_ERROR);
            }

            return;
        }
    }

    c->error = 1;

    ngx_log_error(NGX_LOG_INFO, c->log, err,
                  "client prematurely closed connection");

    ngx_http_vmess_request_finalize(ctx, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


void
ngx_http_vmess_request_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx && ctx->vconn) {
        ngx_vmess_vconn_wake(ctx->vconn, 0);
    }
}


void
ngx_http_vmess_request_write_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx == NULL) {
        return;
    }

    rc = ctx->transport->flush ? ctx->transport->flush(ctx) : NGX_OK;

    if (rc == NGX_AGAIN) {
        return;
    }

    /* the only event of a stream with output, when its connection goes */

    if (rc == NGX_ERROR) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_wake(ctx->vconn, 1);
    }
}


ngx_int_t
ngx_http_vmess_request_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    /* what came from a client that has gone is taken nevertheless */

    if (r->connection->error) {
        ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_ANSWERED);
        return NGX_OK;
    }

    if (ctx->transport->answer(ctx) == NGX_OK) {
        return NGX_OK;
    }

    /* nothing of it gets into another response */

    if (!r->header_sent) {
        ngx_http_clean_header(r);
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_vmess_request_send_header(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;

    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_ANSWERED);

    /* what the client has, or wants, of a file */

    r->disable_not_modified = 1;
    r->allow_ranges = 0;
    r->single_range = 0;

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    rc = ngx_http_vmess_filter_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_vmess_filter_special(r, NGX_HTTP_FLUSH) == NGX_ERROR
        || ngx_http_vmess_compat_flush_header(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_request_add(ngx_list_t *headers, char *name, char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_vmess_header_next(h);
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


ngx_str_t *
ngx_http_vmess_request_header(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return &h[i].value;
            }
        }
    }

    return NULL;
}
