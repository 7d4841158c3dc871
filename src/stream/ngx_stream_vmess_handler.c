
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_handler.h"
#include "ngx_stream_vmess_detour.h"
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_loop.h"
#include "ngx_stream_vmess_proxy.h"
#include "ngx_stream_vmess_target.h"
#include "ngx_stream_vmess_visitor.h"
#include "event/ngx_vmess_ident.h"
#include "event/ngx_vmess_output.h"
#include "event/ngx_vmess_handshake.h"


/* the name of a target that stands for packetaddr */

#define NGX_VMESS_PACKETADDR  "sp.packet-addr.v2fly.arpa"


static ngx_int_t ngx_stream_vmess_handler_read(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_handler_create_ctx(ngx_stream_session_t *s);
static void ngx_stream_vmess_handler_evict(ngx_vmess_pending_t *pending);
static ngx_int_t ngx_stream_vmess_handler_wait(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_handler_returned(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_handler_authentic(ngx_stream_session_t *s);
static ngx_vmess_status_e ngx_stream_vmess_handler_allowed(
    ngx_vmess_connection_t *vc);
static void ngx_stream_vmess_handler_forbid(ngx_stream_session_t *s,
    ngx_vmess_status_e status);
static ngx_int_t ngx_stream_vmess_handler_open_mux(ngx_stream_session_t *s);
static void ngx_stream_vmess_handler_close_mux(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t error);
static ngx_int_t ngx_stream_vmess_handler_open_flow(ngx_stream_session_t *s,
    ngx_vmess_mux_flow_t *flow);
static ngx_int_t ngx_stream_vmess_handler_route(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_handler_first_packet(ngx_stream_session_t *s);
static ngx_uint_t ngx_stream_vmess_handler_cipher(ngx_vmess_header_t *h);
static ngx_int_t ngx_stream_vmess_handler_fallback(ngx_stream_session_t *s);


ngx_int_t
ngx_stream_vmess_handler(ngx_stream_session_t *s)
{
    ngx_connection_t             *c;
    ngx_vmess_vconn_t            *vconn;
    ngx_vmess_mux_flow_t         *flow;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    c = s->connection;

    if (vscf->zone == NULL || (ctx && ctx->done)) {
        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        vconn = ngx_vmess_vconn_get(c);

        if (vconn && vconn->data == NULL) {
            return NGX_ERROR;
        }

        flow = ngx_vmess_mux_flow_get(c);

        if (flow) {
            return flow->mux ? ngx_stream_vmess_handler_open_flow(s, flow)
                             : NGX_ERROR;
        }

        if (c->type != SOCK_STREAM) {
            return NGX_DECLINED;
        }
    }

    if (ctx && ctx->waiting) {
        return ngx_stream_vmess_handler_first_packet(s);
    }

    if (c->close) {
        vconn = ngx_vmess_vconn_get(c);

        if (vconn == NULL || !vconn->evicted) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0, "shutdown timeout");
        }

        return NGX_STREAM_OK;
    }

    if (ctx && ctx->returned) {
        return ngx_stream_vmess_handler_returned(s);
    }

    if (ctx == NULL) {

        if (ngx_stream_vmess_handler_create_ctx(s) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    }

    return ctx->resolver ? NGX_AGAIN : ngx_stream_vmess_handler_read(s);
}


/* the header, and what is read of a client that has none */

static ngx_int_t
ngx_stream_vmess_handler_read(ngx_stream_session_t *s)
{
    ngx_int_t                     rc;
    ngx_connection_t             *c;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    c = s->connection;

    c->log->action = "reading VMess header";

    if (ctx->draining) {

        if (c->read->timedout
            || ngx_vmess_handshake_drain(ctx->vc) == NGX_DONE)
        {
            return NGX_STREAM_BAD_REQUEST;
        }

        return ngx_stream_vmess_handler_wait(s);
    }

    if (c->read->timedout) {
        c->read->timedout = 0;

        if (!ctx->hurried && ngx_stream_vmess_visitor_may(s)
            && (ngx_msec_int_t) (ctx->deadline - ngx_current_msec) > 0)
        {
            return ngx_stream_vmess_visitor_start(s);
        }

        ngx_vmess_handshake_refuse(ctx->vc, NGX_VMESS_STATUS_TIMEOUT);

        return ngx_stream_vmess_handler_fallback(s);
    }

    rc = ngx_vmess_handshake_read(ctx->vc);

    switch (rc) {

    case NGX_AGAIN:

        if (ctx->vc->disguised && ctx->vc->prompt && !ctx->hurried) {

            /* to this request the site has an answer */

            ctx->hurried = 1;
            ngx_add_timer(c->read, vscf->disguise_wait);
        }

        return ngx_stream_vmess_handler_wait(s);

    case NGX_DECLINED:
        return ngx_stream_vmess_handler_fallback(s);

    case NGX_OK:

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        return ngx_stream_vmess_handler_authentic(s);

    default: /* NGX_ERROR */
        return NGX_STREAM_BAD_REQUEST;
    }
}


static ngx_int_t
ngx_stream_vmess_handler_create_ctx(ngx_stream_session_t *s)
{
    ngx_connection_t             *c;
    ngx_vmess_vconn_t            *vconn;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    c = s->connection;

    ctx = ngx_pcalloc(c->pool, sizeof(ngx_stream_vmess_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->vc = ngx_vmess_connection_create(c, vscf->zone);
    if (ctx->vc == NULL) {
        return NGX_ERROR;
    }

    ctx->conf = vscf;
    ctx->number = c->number;

    ctx->vc->account.factor = vscf->factor - NGX_VMESS_ACCOUNT_FACTOR;
    ctx->vc->data = s;
    ctx->vc->allowed = ngx_stream_vmess_handler_allowed;
    ctx->vc->half_close = ngx_stream_vmess_proxy_half_close;
    ctx->vc->rate.delay = ngx_stream_vmess_proxy_delay;
    ctx->vc->rate.data = s;

    ngx_vmess_connection_carrier(c, &ctx->carrier);

    vconn = ngx_vmess_vconn_get(c);

    if (vconn == NULL) {
        ctx->vc->disguise = vscf->disguise;

        ctx->vc->pending.evict = ngx_stream_vmess_handler_evict;
        ctx->vc->pending.data = s;

        if (ngx_vmess_pending_add(&ctx->vc->pending, c->sockaddr, 1, c->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ctx->vc->prompt = (vconn || vscf->fallback_server);

    ngx_stream_set_ctx(s, ctx, ngx_stream_vmess_module);

    /* those of the TLS handshake may still be there */

    c->read->handler = ngx_stream_session_handler;
    c->write->handler = ngx_stream_session_handler;

    return NGX_OK;
}


/* one of too many: its time is over */

static void
ngx_stream_vmess_handler_evict(ngx_vmess_pending_t *pending)
{
    ngx_stream_session_t *s = pending->data;

    ngx_event_t             *rev;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    ctx->deadline = ngx_current_msec;

    if (ctx->visit) {
        ngx_stream_vmess_visitor_expire(s);
        return;
    }

    rev = s->connection->read;

    rev->timedout = 1;

    ngx_post_event(rev, &ngx_posted_events);
}


static ngx_int_t
ngx_stream_vmess_handler_wait(ngx_stream_session_t *s)
{
    ngx_msec_t                    timeout;
    ngx_connection_t             *c;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    c = s->connection;

    /* one deadline, however slowly the bytes come */

    if (!c->read->timer_set) {
        vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
        ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

        timeout = vscf->handshake_timeout;
        ctx->deadline = ngx_current_msec + timeout;

        if (!ctx->waiting && ngx_stream_vmess_visitor_may(s)) {
            timeout = ngx_min(timeout, NGX_STREAM_VMESS_SOON);
        }

        ngx_add_timer(c->read, timeout);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


/* a visitor has sent a header: the phases before were left, and are not run */

static ngx_int_t
ngx_stream_vmess_handler_returned(ngx_stream_session_t *s)
{
    ngx_int_t                      rc;
    ngx_stream_vmess_ctx_t        *ctx;
    ngx_stream_vmess_main_conf_t  *vmcf;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    ctx->returned = 0;

    /* of a header that is wrong */

    if (!ngx_vmess_status(ctx->vc->status)->authentic) {
        return NGX_STREAM_BAD_REQUEST;
    }

    if (vmcf->limit_handler) {
        rc = vmcf->limit_handler(s);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return ngx_stream_vmess_handler_authentic(s);
}


static ngx_int_t
ngx_stream_vmess_handler_authentic(ngx_stream_session_t *s)
{
    ngx_str_t                    *name;
    ngx_uint_t                    command;
    ngx_connection_t             *c;
    ngx_vmess_vconn_t            *vconn;
    ngx_vmess_connection_t       *vc;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    c = s->connection;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vc = ctx->vc;

    vconn = ngx_vmess_vconn_get(c);

    if (vconn && ngx_vmess_vconn_verdict(vconn, 1) == NGX_ERROR) {
        return NGX_ERROR;
    }

    command = vc->header.command;

    if (command == NGX_VMESS_CMD_TCP) {
        ngx_str_set(&ctx->network, "tcp");
    }

    if (command == NGX_VMESS_CMD_UDP) {
        ctx->udp = 1;
        ngx_str_set(&ctx->network, "udp");
    }

    if (vc->status != NGX_VMESS_STATUS_OK) {
        ngx_stream_vmess_handler_forbid(s, vc->status);
        return NGX_STREAM_FORBIDDEN;
    }

    /* nginx does it for proxied streams alone, when they are connected */

    cscf = ngx_stream_get_module_srv_conf(s, ngx_stream_core_module);

    if (cscf->tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK) {
        return NGX_ERROR;
    }

    if (vscf->detour_from && ngx_stream_vmess_detour_switch(s) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_vmess_account_open(&vc->account);

    if (ngx_vmess_handshake_finish(vc) != NGX_OK) {
        return NGX_ERROR;
    }

    if (command == NGX_VMESS_CMD_MUX) {
        return ngx_stream_vmess_handler_open_mux(s);
    }

    if (command == NGX_VMESS_CMD_UDP) {

        name = &vc->header.address.domain;

        vc->packetaddr = vc->header.address.type == NGX_VMESS_ADDR_DOMAIN
                         && name->len == sizeof(NGX_VMESS_PACKETADDR) - 1
                         && ngx_strncmp(name->data, NGX_VMESS_PACKETADDR,
                                        name->len) == 0;

        return ngx_stream_vmess_handler_first_packet(s);
    }

    return ngx_stream_vmess_handler_route(s);
}


/* whether the server has the cipher and the command of a good header */

static ngx_vmess_status_e
ngx_stream_vmess_handler_allowed(ngx_vmess_connection_t *vc)
{
    ngx_uint_t                    cipher;
    ngx_stream_session_t         *s;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    s = vc->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vscf = ctx->conf;

    cipher = ngx_stream_vmess_handler_cipher(&vc->header);

    /* the old cipher is for those with the old header */

    if (!(vscf->ciphers & cipher)
        || (cipher == NGX_STREAM_VMESS_CFB && vc->account.limits.alter_id == 0
            && !vc->account.temporary))
    {
        return NGX_VMESS_STATUS_CIPHER;
    }

    /* NGX_STREAM_VMESS_TCP and others are bits of their commands */

    return (vscf->commands & (1 << vc->header.command))
           ? NGX_VMESS_STATUS_OK : NGX_VMESS_STATUS_COMMAND;
}


static void
ngx_stream_vmess_handler_forbid(ngx_stream_session_t *s,
    ngx_vmess_status_e status)
{
    ngx_connection_t        *c;
    ngx_vmess_connection_t  *vc;
    ngx_stream_vmess_ctx_t  *ctx;
    static ngx_str_t         mux = ngx_string("mux");

    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vc = ctx->vc;

    vc->status = status;

    if (ctx->mux) {
        ngx_vmess_account_refuse(&vc->account, status);

    } else {

        /* the verdict about its header */

        ngx_vmess_ident_refuse(&vc->account, status, NULL);
    }

    if (status == NGX_VMESS_STATUS_CIPHER) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "client of user \"%V\" requested cipher \"%V\", "
                      "which is not allowed",
                      &vc->account.user->name,
                      ngx_vmess_handshake_security_name(&vc->header));
        return;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "client of user \"%V\" requested command \"%V\", "
                  "which is not allowed",
                  &vc->account.user->name,
                  ctx->network.len ? &ctx->network : &mux);
}


/* the session becomes that of a connection with others in it */

static ngx_int_t
ngx_stream_vmess_handler_open_mux(ngx_stream_session_t *s)
{
    ngx_connection_t             *c;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_vmess_mux_connection_t   *mux;
    ngx_stream_vmess_srv_conf_t  *vscf;

    c = s->connection;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    mux = ngx_pcalloc(c->pool, sizeof(ngx_vmess_mux_connection_t));
    if (mux == NULL) {
        return NGX_ERROR;
    }

    mux->connection = c;
    mux->vc = ctx->vc;
    mux->listen = &vscf->flows;
    mux->max = vscf->mux_streams;
    mux->limit = vscf->mux_buffer;
    mux->close = ngx_stream_vmess_handler_close_mux;

    /* the end of the client's data is that of all */

    ctx->vc->data = NULL;

    c->log->action = "proxying sub-connections";

    return ngx_vmess_mux_connection_start(mux) == NGX_OK ? NGX_AGAIN
                                                         : NGX_ERROR;
}


static void
ngx_stream_vmess_handler_close_mux(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t error)
{
    ngx_stream_finalize_session(mux->connection->data,
                                error ? NGX_STREAM_BAD_REQUEST : NGX_STREAM_OK);
}


/* a session of mux: its client is known, and what it wants */

static ngx_int_t
ngx_stream_vmess_handler_open_flow(ngx_stream_session_t *s,
    ngx_vmess_mux_flow_t *flow)
{
    ngx_uint_t               command;
    ngx_vmess_header_t      *h;
    ngx_vmess_connection_t  *vc, *parent;
    ngx_stream_vmess_ctx_t  *ctx, *pctx;

    parent = flow->mux->vc;

    pctx = ngx_stream_get_module_ctx(
                          (ngx_stream_session_t *) parent->connection->data,
                          ngx_stream_vmess_module);

    if (ngx_stream_vmess_handler_create_ctx(s) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    ctx->carrier = pctx->carrier;
    ctx->number = parent->connection->number;
    ctx->mux = 1;
    ctx->mux_id = flow->id;

    vc = ctx->vc;

    ngx_vmess_account_copy(&vc->account, &parent->account);

    h = &vc->header;

    h->command = NGX_VMESS_CMD_MUX;
    h->security = parent->header.security;
    h->opt = parent->header.opt;
    h->address = flow->address;
    h->address.domain.data = h->address.data;

    if (flow->udp) {
        ctx->udp = 1;
        ngx_str_set(&ctx->network, "udp");
    } else {
        ngx_str_set(&ctx->network, "tcp");
    }

    command = flow->udp ? NGX_STREAM_VMESS_UDP : NGX_STREAM_VMESS_TCP;

    if (!(ctx->conf->commands & command)) {
        ngx_stream_vmess_handler_forbid(s, NGX_VMESS_STATUS_COMMAND);
        return NGX_STREAM_FORBIDDEN;
    }

    if (ngx_vmess_handshake_admit(vc) != NGX_OK) {
        flow->refused = 1;
        return NGX_STREAM_FORBIDDEN;
    }

    ngx_vmess_account_open(&vc->account);

    ngx_vmess_mux_flow_limit(s->connection);

    return flow->udp ? ngx_stream_vmess_handler_first_packet(s)
                     : ngx_stream_vmess_handler_route(s);
}


static ngx_int_t
ngx_stream_vmess_handler_route(ngx_stream_session_t *s)
{
    ngx_int_t                rc;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    rc = ngx_stream_vmess_target_find(s);

    if (rc == NGX_OK) {
        ctx->done = 1;
        return NGX_DECLINED;
    }

    return rc;
}


/* a session of datagrams starts with the first, which nginx counts */

static ngx_int_t
ngx_stream_vmess_handler_first_packet(ngx_stream_session_t *s)
{
    ssize_t                  n;
    ngx_buf_t               *b;
    ngx_connection_t        *c;
    ngx_stream_vmess_ctx_t  *ctx;

    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (c->read->timedout || c->close) {
        return NGX_STREAM_OK;
    }

    b = c->buffer;

    if (b == NULL) {
        b = ngx_create_temp_buf(c->pool, sizeof(ngx_vmess_peer_t)
                                         + NGX_VMESS_CHUNK_DATA);
        if (b == NULL) {
            return NGX_ERROR;
        }

        /* it may get its peer in front of it */

        b->pos += sizeof(ngx_vmess_peer_t);
        b->last = b->pos;

        c->buffer = b;
    }

    n = c->recv(c, b->last, b->end - b->last);

    if (n == NGX_AGAIN) {
        ctx->waiting = 1;
        return ngx_stream_vmess_handler_wait(s);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    ctx->waiting = 0;

    b->last += n;
    s->received += n;

    return ngx_stream_vmess_handler_route(s);
}


static ngx_uint_t
ngx_stream_vmess_handler_cipher(ngx_vmess_header_t *h)
{
    switch (h->security) {

    case NGX_VMESS_SEC_AES_128_GCM:
        return NGX_STREAM_VMESS_AES_128_GCM;

    case NGX_VMESS_SEC_CHACHA20:
        return NGX_STREAM_VMESS_CHACHA20;

    case NGX_VMESS_SEC_NONE:
        return (h->opt & NGX_VMESS_OPT_CHUNK) ? NGX_STREAM_VMESS_NONE
                                              : NGX_STREAM_VMESS_ZERO;

    default: /* NGX_VMESS_SEC_AES_128_CFB */
        return NGX_STREAM_VMESS_CFB;
    }
}


static ngx_int_t
ngx_stream_vmess_handler_fallback(ngx_stream_session_t *s)
{
    ngx_connection_t             *c;
    ngx_vmess_vconn_t            *vconn;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    c = s->connection;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    /* a carrier that has not answered has the site to fall back to */

    vconn = ngx_vmess_vconn_get(c);

    if (vconn && ngx_vmess_vconn_verdict(vconn, 0) == NGX_OK) {
        return NGX_STREAM_BAD_REQUEST;
    }

    if (vscf->fallback_server == NULL) {
        ctx->draining = 1;

        if (ctx->vc->status == NGX_VMESS_STATUS_TIMEOUT
            || ngx_vmess_handshake_drain(ctx->vc) == NGX_DONE)
        {
            return NGX_STREAM_BAD_REQUEST;
        }

        return ngx_stream_vmess_handler_wait(s);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (ngx_stream_vmess_loop_enter(s) != NGX_OK) {
        return NGX_STREAM_BAD_GATEWAY;
    }

    ngx_vmess_connection_pass(ctx->vc);

    ctx->moved = 1;

    ngx_stream_vmess_fallback_move(s, vscf->fallback_server);

    return NGX_DONE;
}
