
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_keepalive.h"


/* how often it is looked whether the session lives, in ms */

#define NGX_HTTP_VMESS_KEEPALIVE_INTERVAL  1000


/* of a connection, in its pool */

typedef struct {
    ngx_connection_t            *connection;
    ngx_http_connection_t       *hc;         /* c->data between requests, */
    ngx_event_handler_pt         handler;    /* and that of c->read */
    ngx_msec_t                   timeout;
    ngx_event_t                  event;      /* posted: a request has ended */
    ngx_event_t                  timer;
    u_char                       sid[NGX_VMESS_WORKER_ID_LEN];
} ngx_http_vmess_keepalive_t;


static ngx_http_vmess_keepalive_t *ngx_http_vmess_keepalive_get(
    ngx_connection_t *c);
static void ngx_http_vmess_keepalive_handler(ngx_event_t *ev);
static void ngx_http_vmess_keepalive_release(ngx_http_vmess_keepalive_t *ka);
static void ngx_http_vmess_keepalive_cleanup(void *data);


ngx_uint_t
ngx_http_vmess_keepalive_test(ngx_http_request_t *r, u_char *sid)
{
    return r->http_version == NGX_HTTP_VERSION_11
           && r->headers_in.connection_type != NGX_HTTP_CONNECTION_CLOSE
           && !r->reading_body
           && !ngx_terminate
           && ngx_http_vmess_session_alive(sid);
}


void
ngx_http_vmess_keepalive_finish(ngx_http_vmess_ctx_t *ctx, u_char *sid,
    ngx_msec_t timeout)
{
    sig_atomic_t                 exiting;
    ngx_http_request_t          *r;
    ngx_http_vmess_keepalive_t  *ka;

    r = ctx->request;

    ka = ngx_http_vmess_keepalive_get(r->connection);

    if (ka == NULL) {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);
        return;
    }

    ka->hc = r->http_connection;
    ka->timeout = timeout;
    ngx_memcpy(ka->sid, sid, NGX_VMESS_WORKER_ID_LEN);

    ngx_post_event(&ka->event, &ngx_posted_events);

    /* in a worker that quits a connection is not kept otherwise */

    exiting = ngx_exiting;
    ngx_exiting = 0;

    r->keepalive = 1;

    if (ngx_http_vmess_request_answer(ctx) == NGX_OK) {
        ngx_http_vmess_request_finish(ctx);

    } else {
        ngx_http_vmess_request_finalize(ctx, NGX_ERROR);
    }

    ngx_exiting = exiting;
}


static ngx_http_vmess_keepalive_t *
ngx_http_vmess_keepalive_get(ngx_connection_t *c)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_vmess_keepalive_t  *ka;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_vmess_keepalive_cleanup) {
            return cln->data;
        }
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_vmess_keepalive_t));
    if (cln == NULL) {
        return NULL;
    }

    ka = cln->data;

    ngx_memzero(ka, sizeof(ngx_http_vmess_keepalive_t));

    cln->handler = ngx_http_vmess_keepalive_cleanup;

    ka->connection = c;

    ka->event.handler = ngx_http_vmess_keepalive_handler;
    ka->event.data = ka;
    ka->event.log = c->log;

    ka->timer.handler = ngx_http_vmess_keepalive_handler;
    ka->timer.data = ka;
    ka->timer.log = c->log;

    return ka;
}


static void
ngx_http_vmess_keepalive_handler(ngx_event_t *ev)
{
    ngx_uint_t                   waiting;
    ngx_connection_t            *c;
    ngx_http_vmess_keepalive_t  *ka;

    ka = ev->data;
    c = ka->connection;

    if (ev == &ka->event && c->data == ka->hc) {
        ka->handler = c->read->handler;
    }

    /* not one that is being read from, or that TLS shuts down */

    waiting = c->data == ka->hc && c->read->handler == ka->handler;

    if (!ngx_http_vmess_session_alive(ka->sid)) {

        if (waiting) {
            ngx_http_vmess_keepalive_release(ka);
        }

        return;
    }

    if (waiting) {

        /* as while a request is read; the handler of nginx deletes a timer */

        c->idle = 0;
        ngx_reusable_connection(c, 0);

        ngx_add_timer(c->read, NGX_MAX_INT32_VALUE);
    }

    ngx_add_timer(&ka->timer, NGX_HTTP_VMESS_KEEPALIVE_INTERVAL);
}


/* the session has ended: a connection as any other */

static void
ngx_http_vmess_keepalive_release(ngx_http_vmess_keepalive_t *ka)
{
    ngx_connection_t  *c;

    c = ka->connection;

    if (ngx_exiting || ka->timeout == 0) {
        c->close = 1;
        c->read->handler(c->read);
        return;
    }

    c->idle = 1;
    ngx_reusable_connection(c, 1);

    ngx_add_timer(c->read, ka->timeout);
}


static void
ngx_http_vmess_keepalive_cleanup(void *data)
{
    ngx_http_vmess_keepalive_t *ka = data;

    if (ka->event.posted) {
        ngx_delete_posted_event((&ka->event));
    }

    if (ka->timer.timer_set) {
        ngx_del_timer(&ka->timer);
    }
}
