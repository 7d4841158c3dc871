
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_visitor.h"
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_limit.h"
#include "ngx_stream_vmess_loop.h"
#include "event/ngx_vmess_handshake.h"
#include "event/ngx_vmess_output.h"


struct ngx_stream_vmess_visit_s {
    size_t                  passed;      /* bytes that the site was given */
    ngx_event_t             timer;       /* of the handshake */
    ngx_event_t             verdict;     /* posted: the session comes back */
    ngx_event_t             note;        /* timer: the fallback may lead back */

    /* the server with VMess, and what modules had for it */

    void                  **ctx;
    void                  **srv_conf;
    ngx_int_t               phase_handler;

    unsigned                held:1;      /* the site has sent something */
    unsigned                back:1;      /* verdict was posted */
};


static void ngx_stream_vmess_visitor_cleanup(void *data);
static ssize_t ngx_stream_vmess_visitor_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_stream_vmess_visitor_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ngx_uint_t ngx_stream_vmess_visitor_closed(ngx_stream_session_t *s);
static void ngx_stream_vmess_visitor_timeout(ngx_event_t *ev);
static void ngx_stream_vmess_visitor_note(ngx_event_t *ev);
static void ngx_stream_vmess_visitor_back(ngx_event_t *ev);
static void ngx_stream_vmess_visitor_restore(ngx_stream_session_t *s,
    ngx_stream_vmess_visit_t *visit);
static void ngx_stream_vmess_visitor_close_upstream(ngx_stream_session_t *s);


ngx_uint_t
ngx_stream_vmess_visitor_may(ngx_stream_session_t *s)
{
    ngx_stream_vmess_srv_conf_t   *vscf;
    ngx_stream_vmess_main_conf_t  *vmcf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    /*
     * Other handlers, such as "pass", cannot be undone; and carriers have
     * timeouts of their own.
     */

    return vscf->fallback_server
           && vscf->fallback_server->handler == vmcf->proxy_handler
           && ngx_vmess_vconn_get(s->connection) == NULL;
}


ngx_int_t
ngx_stream_vmess_visitor_start(ngx_stream_session_t *s)
{
    size_t                        size;
    ngx_connection_t             *c;
    ngx_pool_cleanup_t           *cln;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_visit_t     *visit;
    ngx_stream_vmess_srv_conf_t  *vscf;

    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    if (ngx_stream_vmess_loop_enter(s) != NGX_OK) {
        return NGX_STREAM_BAD_GATEWAY;
    }

    size = sizeof(void *) * ngx_stream_max_module;

    visit = ngx_pcalloc(c->pool, sizeof(ngx_stream_vmess_visit_t));
    cln = ngx_pool_cleanup_add(c->pool, 0);

    if (visit == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    visit->ctx = ngx_palloc(c->pool, size);
    if (visit->ctx == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_stream_vmess_visitor_cleanup;
    cln->data = visit;

    ngx_memcpy(visit->ctx, s->ctx, size);
    visit->srv_conf = s->srv_conf;
    visit->phase_handler = s->phase_handler;

    visit->timer.handler = ngx_stream_vmess_visitor_timeout;
    visit->timer.data = s;
    visit->timer.log = c->log;

    visit->verdict.handler = ngx_stream_vmess_visitor_back;
    visit->verdict.data = s;
    visit->verdict.log = c->log;

    visit->note.handler = ngx_stream_vmess_visitor_note;
    visit->note.data = s;
    visit->note.log = c->log;

    ngx_add_timer(&visit->timer, ctx->deadline - ngx_current_msec);
    ngx_add_timer(&visit->note, 0);

    ctx->visit = visit;
    ctx->moved = 1;

    c->recv = ngx_stream_vmess_visitor_recv;
    c->send = ngx_vmess_output_send;
    c->send_chain = ngx_stream_vmess_visitor_send_chain;

    if (ctx->vc->raw.last != ctx->vc->raw.start) {
        c->read->ready = 1;
    }

    ngx_stream_vmess_fallback_move(s, vscf->fallback_server);

    /* what the fallback's server counts is given back if the session is */

    return ngx_stream_vmess_limit_mark(c->pool) == NGX_OK ? NGX_DONE
                                                          : NGX_ERROR;
}


static void
ngx_stream_vmess_visitor_cleanup(void *data)
{
    ngx_stream_vmess_visit_t *visit = data;

    if (visit->timer.timer_set) {
        ngx_del_timer(&visit->timer);
    }

    if (visit->verdict.posted) {
        ngx_delete_posted_event(&visit->verdict);
    }

    if (visit->note.timer_set) {
        ngx_del_timer(&visit->note);
    }
}


/* the site gets what is no header yet, and as soon as that is known */

static ssize_t
ngx_stream_vmess_visitor_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                        n;
    ngx_buf_t                    *b;
    ngx_msec_t                    wait;
    ngx_stream_session_t         *s;
    ngx_vmess_connection_t       *vc;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_visit_t     *visit;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vc = ngx_vmess_connection_get(c);
    s = vc->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    visit = ctx->visit;
    b = &vc->raw;

    if (visit->back) {
        return NGX_AGAIN;
    }

    if (visit->passed == (size_t) (b->last - b->start)) {

        switch (ngx_vmess_handshake_read(vc)) {

        case NGX_AGAIN:

            if (vc->disguised && !ctx->hurried) {

                /* to this request the site has an answer */

                ctx->hurried = 1;

                vscf = visit->srv_conf[ngx_stream_vmess_module.ctx_index];
                wait = ctx->deadline - ngx_current_msec;

                if ((ngx_msec_int_t) wait
                    > (ngx_msec_int_t) vscf->disguise_wait)
                {
                    ngx_add_timer(&visit->timer, vscf->disguise_wait);
                }
            }

            break;

        case NGX_DECLINED:
            ngx_stream_vmess_visitor_stop(s);
            return c->recv(c, buf, size);

        default:

            /*
             * NGX_OK, or NGX_ERROR after a header that is authentic and
             * wrong: the proxy module, which is asking, cannot go now.  What
             * is behind the header, such as an end, was told, and stays ready
             */

            visit->back = 1;
            ngx_post_event(&visit->verdict, &ngx_posted_events);

            return NGX_AGAIN;
        }
    }

    n = ngx_min(size, b->last - b->start - visit->passed);

    if (n == 0) {
        return NGX_AGAIN;
    }

    ngx_memcpy(buf, b->start + visit->passed, n);
    visit->passed += n;

    if (visit->passed != (size_t) (b->last - b->start)) {
        c->read->ready = 1;
    }

    return n;
}


static ngx_chain_t *
ngx_stream_vmess_visitor_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;
    ngx_stream_vmess_ctx_t  *ctx;

    vc = ngx_vmess_connection_get(c);
    s = vc->data;

    if (ngx_stream_vmess_visitor_closed(s)) {
        return c->send_chain(c, in, limit);
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    ctx->visit->held = 1;

    return in;
}


/*
 * If the site sends something before its end, such as "408", or too much to be
 * held, the session becomes the site's.
 */

static ngx_uint_t
ngx_stream_vmess_visitor_closed(ngx_stream_session_t *s)
{
    ngx_stream_upstream_t   *u;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    u = s->upstream;

    if (ctx->visit->back || u == NULL || u->peer.connection == NULL
        || (!u->peer.connection->read->eof
            && u->upstream_buf.last != u->upstream_buf.end))
    {
        return 0;
    }

    ngx_vmess_handshake_refuse(ctx->vc, NGX_VMESS_STATUS_TIMEOUT);

    ngx_stream_vmess_visitor_stop(s);

    return 1;
}


void
ngx_stream_vmess_visitor_expire(ngx_stream_session_t *s)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    /* not from here: the call comes from within another session */

    ngx_add_timer(&ctx->visit->timer, 1);
}


static void
ngx_stream_vmess_visitor_timeout(ngx_event_t *ev)
{
    ngx_stream_session_t    *s;
    ngx_stream_vmess_ctx_t  *ctx;

    s = ev->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx->visit->back) {
        return;
    }

    ngx_vmess_handshake_refuse(ctx->vc, NGX_VMESS_STATUS_TIMEOUT);

    ngx_stream_vmess_visitor_stop(s);
}


void
ngx_stream_vmess_visitor_stop(ngx_stream_session_t *s)
{
    ngx_connection_t          *c;
    ngx_vmess_connection_t    *vc;
    ngx_stream_vmess_ctx_t    *ctx;
    ngx_stream_vmess_visit_t  *visit;

    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    vc = ctx->vc;
    visit = ctx->visit;

    ctx->visit = NULL;

    ngx_stream_vmess_visitor_cleanup(visit);

    c->send = vc->send;
    c->send_chain = vc->send_chain;

    ngx_vmess_connection_pass(vc);

    vc->raw.pos += visit->passed;

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    if (visit->held) {
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


/* there may never be data, before which it is done for others */

static void
ngx_stream_vmess_visitor_note(ngx_event_t *ev)
{
    ngx_stream_session_t  *s;

    s = ev->data;

    if (s->upstream == NULL || s->upstream->peer.connection == NULL) {

        /* the name of the site is being resolved */

        ngx_add_timer(ev, NGX_STREAM_VMESS_SOON / 5);
        return;
    }

    ngx_stream_vmess_loop_note(s);
}


/* the server with VMess goes on, with nothing left of that of the fallback */

static void
ngx_stream_vmess_visitor_back(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_stream_session_t         *s;
    ngx_vmess_connection_t       *vc;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_visit_t     *visit;
    ngx_stream_core_srv_conf_t   *cscf;

    s = ev->data;
    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, 0,
                   "vmess visitor is authentic");

    vc = ctx->vc;
    visit = ctx->visit;

    ctx->visit = NULL;

    ngx_stream_vmess_visitor_cleanup(visit);
    ngx_stream_vmess_visitor_close_upstream(s);
    ngx_stream_vmess_loop_leave(ctx);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->delayed = 0;
    c->read->timedout = 0;
    c->write->delayed = 0;
    c->write->timedout = 0;

    c->buffered &= ~NGX_STREAM_WRITE_BUFFERED;
    c->buffer = NULL;
    s->received = 0;

    c->recv = vc->recv;
    c->send = vc->send;
    c->send_chain = vc->send_chain;

    cscf = visit->srv_conf[ngx_stream_core_module.ctx_index];

    ngx_stream_vmess_fallback_move(s, cscf);

    ngx_stream_vmess_visitor_restore(s, visit);

    c->write->handler = ngx_stream_session_handler;

    s->phase_handler = visit->phase_handler;

    ctx->moved = 0;
    ctx->returned = 1;

    ngx_stream_core_run_phases(s);
}


/*
 * The contexts of modules may point into the buffer that is gone, so they get
 * back those of before.  But njs looks for its context when its timers and
 * cleanups are called, whichever server they belong to.
 */

static void
ngx_stream_vmess_visitor_restore(ngx_stream_session_t *s,
    ngx_stream_vmess_visit_t *visit)
{
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; ngx_cycle->modules[i]; i++) {

        module = ngx_cycle->modules[i];

        if (module->type == NGX_STREAM_MODULE
            && ngx_strcmp(module->name, "ngx_stream_js_module") != 0)
        {
            s->ctx[module->ctx_index] = visit->ctx[module->ctx_index];
        }
    }
}


/* as ngx_stream_proxy_finalize(), but for the session */

static void
ngx_stream_vmess_visitor_close_upstream(ngx_stream_session_t *s)
{
    ngx_connection_t       *pc;
    ngx_stream_upstream_t  *u;

    u = s->upstream;

    s->upstream = NULL;
    s->upstream_states = NULL;
    s->log_handler = NULL;

    if (u == NULL) {
        return;
    }

    if (u->resolved && u->resolved->ctx) {
        ngx_resolve_name_done(u->resolved->ctx);
        u->resolved->ctx = NULL;
    }

    if (u->peer.free && u->peer.sockaddr) {
        u->peer.free(&u->peer, u->peer.data, 0);
        u->peer.sockaddr = NULL;
    }

    pc = u->peer.connection;

    if (pc == NULL) {
        return;
    }

#if (NGX_STREAM_SSL || NGX_SSL)

    if (pc->ssl) {
        pc->ssl->no_wait_shutdown = 1;
        (void) ngx_ssl_shutdown(pc);
    }

#endif

    ngx_close_connection(pc);
    u->peer.connection = NULL;
}
