
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_peer.h"


/* RFC 8305, 5.  Connection Attempts: milliseconds until the next one */

#define NGX_STREAM_VMESS_PEER_DELAY  250


/* attempts at once, besides that of the proxy module */

#define NGX_STREAM_VMESS_PEER_MAX    3


typedef struct ngx_stream_vmess_peer_s  ngx_stream_vmess_peer_t;


typedef struct {
    ngx_stream_vmess_peer_t     *peer;
    ngx_peer_connection_t        pc;         /* pc.connection: NULL if none */
} ngx_stream_vmess_attempt_t;


struct ngx_stream_vmess_peer_s {
    ngx_stream_session_t        *session;
    ngx_uint_t                   next;       /* the address tried next */
    ngx_uint_t                   last;       /* of datagrams, where it ends */
    ngx_msec_t                   since;      /* when a datagram was sent */
    ngx_event_t                  timer;
    ngx_stream_vmess_attempt_t   attempts[NGX_STREAM_VMESS_PEER_MAX];
};


static ngx_int_t ngx_stream_vmess_peer_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_stream_vmess_peer_address(ngx_stream_vmess_peer_t *peer,
    ngx_peer_connection_t *pc);
static void ngx_stream_vmess_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_stream_vmess_peer_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type);
#if (NGX_SSL)
static ngx_int_t ngx_stream_vmess_peer_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_vmess_peer_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static ngx_uint_t ngx_stream_vmess_peer_connecting(
    ngx_stream_vmess_peer_t *peer);
static void ngx_stream_vmess_peer_wait(ngx_stream_vmess_peer_t *peer);
static void ngx_stream_vmess_peer_timer_handler(ngx_event_t *ev);
static void ngx_stream_vmess_peer_try(ngx_stream_vmess_peer_t *peer);
static void ngx_stream_vmess_peer_connect_handler(ngx_event_t *ev);
static void ngx_stream_vmess_peer_use(ngx_stream_vmess_attempt_t *attempt);
static void ngx_stream_vmess_peer_stop(void *data);


ngx_int_t
ngx_stream_vmess_peer_init(ngx_stream_session_t *s)
{
    ngx_uint_t                i;
    ngx_pool_cleanup_t       *cln;
    ngx_stream_upstream_t    *u;
    ngx_stream_vmess_ctx_t   *ctx;
    ngx_stream_vmess_peer_t  *peer;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    peer = ngx_pcalloc(s->connection->pool, sizeof(ngx_stream_vmess_peer_t));
    if (peer == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(s->connection->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_stream_vmess_peer_stop;
    cln->data = peer;

    peer->session = s;

    peer->timer.handler = ngx_stream_vmess_peer_timer_handler;
    peer->timer.data = peer;
    peer->timer.log = s->connection->log;

    for (i = 0; i < NGX_STREAM_VMESS_PEER_MAX; i++) {
        peer->attempts[i].peer = peer;
    }

    u = s->upstream;

    u->peer.data = peer;
    u->peer.get = ngx_stream_vmess_peer_get;
    u->peer.free = ngx_stream_vmess_peer_free;
    u->peer.notify = ngx_stream_vmess_peer_notify;
    u->peer.tries = ctx->naddrs;
#if (NGX_SSL)
    u->peer.set_session = ngx_stream_vmess_peer_set_session;
    u->peer.save_session = ngx_stream_vmess_peer_save_session;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_peer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_vmess_peer_t *peer = data;

    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_peer_connection_t       *other;
    ngx_stream_vmess_attempt_t  *attempt;

    /* one that is connecting already becomes that of the proxy module */

    attempt = peer->attempts;

    for (i = 0; i < NGX_STREAM_VMESS_PEER_MAX; i++) {

        other = &attempt[i].pc;

        if (other->connection) {
            pc->connection = other->connection;
            pc->sockaddr = other->sockaddr;
            pc->socklen = other->socklen;
            pc->name = other->name;

            other->connection = NULL;

            ngx_stream_vmess_peer_wait(peer);

            return NGX_AGAIN;
        }
    }

    rc = ngx_stream_vmess_peer_address(peer, pc);

    if (rc == NGX_OK) {
        ngx_stream_vmess_peer_wait(peer);
    }

    return rc;
}


/* NGX_OK; NGX_BUSY if there are no more; NGX_ERROR */

static ngx_int_t
ngx_stream_vmess_peer_address(ngx_stream_vmess_peer_t *peer,
    ngx_peer_connection_t *pc)
{
    ngx_str_t               *name;
    ngx_pool_t              *pool;
    ngx_resolver_addr_t     *addr;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(peer->session, ngx_stream_vmess_module);

    if (peer->next == ctx->naddrs) {
        return NGX_BUSY;
    }

    pool = peer->session->connection->pool;

    name = ngx_palloc(pool, sizeof(ngx_str_t) + NGX_SOCKADDR_STRLEN);
    if (name == NULL) {
        return NGX_ERROR;
    }

    addr = &ctx->addrs[peer->next++];

    name->data = (u_char *) (name + 1);
    name->len = ngx_sock_ntop(addr->sockaddr, addr->socklen, name->data,
                              NGX_SOCKADDR_STRLEN, 1);

    pc->cached = 0;
    pc->connection = NULL;
    pc->sockaddr = addr->sockaddr;
    pc->socklen = addr->socklen;
    pc->name = name;

    return NGX_OK;
}


static void
ngx_stream_vmess_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    if (pc->tries) {
        pc->tries--;
    }
}


static void
ngx_stream_vmess_peer_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    if (type == NGX_STREAM_UPSTREAM_NOTIFY_CONNECT) {
        ngx_stream_vmess_peer_stop(data);
    }
}


#if (NGX_SSL)

/* sessions of "proxy_ssl" are not kept: targets are the clients' */

static ngx_int_t
ngx_stream_vmess_peer_set_session(ngx_peer_connection_t *pc, void *data)
{
    return NGX_OK;
}


static void
ngx_stream_vmess_peer_save_session(ngx_peer_connection_t *pc, void *data)
{
}

#endif


/*
 * Does the proxy module still wait for its connection? It may have one, with
 * which it does the handshake of "proxy_ssl"; or none any more, as the session
 * has ended, and TLS of the client is being shut down.
 */

static ngx_uint_t
ngx_stream_vmess_peer_connecting(ngx_stream_vmess_peer_t *peer)
{
    ngx_stream_upstream_t  *u;

    u = peer->session->upstream;

    if (u->peer.connection == NULL || u->connected) {
        return 0;
    }

#if (NGX_SSL)

    if (u->peer.connection->ssl) {
        return 0;
    }

#endif

    return 1;
}


static void
ngx_stream_vmess_peer_wait(ngx_stream_vmess_peer_t *peer)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(peer->session, ngx_stream_vmess_module);

    if (peer->next < ctx->naddrs
        && peer->session->connection->type == SOCK_STREAM)
    {
        ngx_add_timer(&peer->timer, NGX_STREAM_VMESS_PEER_DELAY);
    }
}


static void
ngx_stream_vmess_peer_timer_handler(ngx_event_t *ev)
{
    ngx_stream_vmess_peer_try(ev->data);
}


/* connects to the next address, beside what is connecting */

static void
ngx_stream_vmess_peer_try(ngx_stream_vmess_peer_t *peer)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_stream_upstream_t       *u;
    ngx_stream_vmess_attempt_t  *attempt;

    if (!ngx_stream_vmess_peer_connecting(peer)) {
        return;
    }

    u = peer->session->upstream;

    for (i = 0; i < NGX_STREAM_VMESS_PEER_MAX; i++) {
        if (peer->attempts[i].pc.connection == NULL) {
            break;
        }
    }

    if (i == NGX_STREAM_VMESS_PEER_MAX) {
        return;
    }

    attempt = &peer->attempts[i];

    for ( ;; ) {

        attempt->pc = u->peer;

        if (ngx_stream_vmess_peer_address(peer, &attempt->pc) != NGX_OK) {
            attempt->pc.connection = NULL;
            return;
        }

        attempt->pc.get = ngx_event_get_peer;

        rc = ngx_event_connect_peer(&attempt->pc);

        if (rc == NGX_OK || rc == NGX_AGAIN) {
            break;
        }

        attempt->pc.connection = NULL;

        if (u->peer.tries) {
            u->peer.tries--;
        }
    }

    if (rc == NGX_OK) {
        ngx_stream_vmess_peer_use(attempt);
        return;
    }

    c = attempt->pc.connection;

    c->data = attempt;
    c->read->handler = ngx_stream_vmess_peer_connect_handler;
    c->write->handler = ngx_stream_vmess_peer_connect_handler;

    ngx_stream_vmess_peer_wait(peer);
}


static void
ngx_stream_vmess_peer_connect_handler(ngx_event_t *ev)
{
    int                          err;
    socklen_t                    len;
    ngx_connection_t            *c;
    ngx_stream_upstream_t       *u;
    ngx_stream_vmess_attempt_t  *attempt;

    c = ev->data;
    attempt = c->data;

    if (!ngx_stream_vmess_peer_connecting(attempt->peer)) {
        ngx_stream_vmess_peer_stop(attempt->peer);
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err == 0) {
        ngx_stream_vmess_peer_use(attempt);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, c->log, err, "connect() to \"%V\" failed",
                  attempt->pc.name);

    ngx_close_connection(c);
    attempt->pc.connection = NULL;

    u = attempt->peer->session->upstream;

    if (u->peer.tries) {
        u->peer.tries--;
    }

    ngx_stream_vmess_peer_try(attempt->peer);
}


/* it was connected first: it takes the place of what the proxy module has */

static void
ngx_stream_vmess_peer_use(ngx_stream_vmess_attempt_t *attempt)
{
    ngx_connection_t       *c, *old;
    ngx_stream_session_t   *s;
    ngx_stream_upstream_t  *u;

    s = attempt->peer->session;
    u = s->upstream;

    old = u->peer.connection;
    c = attempt->pc.connection;
    attempt->pc.connection = NULL;

    u->peer.connection = c;
    u->peer.sockaddr = attempt->pc.sockaddr;
    u->peer.socklen = attempt->pc.socklen;
    u->peer.name = attempt->pc.name;

    if (u->peer.tries) {
        u->peer.tries--;
    }

    u->state->peer = u->peer.name;

    c->data = s;
    c->log = old->log;
    c->pool = old->pool;
    c->read->log = old->log;
    c->write->log = old->log;
    c->read->handler = old->read->handler;
    c->write->handler = old->write->handler;

    /* the handler deletes it, and looks for errors again */

    ngx_add_timer(c->write, NGX_STREAM_VMESS_PEER_DELAY);

    ngx_close_connection(old);

    ngx_stream_vmess_peer_stop(attempt->peer);

    c->write->handler(c->write);
}


static void
ngx_stream_vmess_peer_stop(void *data)
{
    ngx_stream_vmess_peer_t *peer = data;

    ngx_uint_t                   i;
    ngx_stream_vmess_attempt_t  *attempt;

    if (peer->timer.timer_set) {
        ngx_del_timer(&peer->timer);
    }

    attempt = peer->attempts;

    for (i = 0; i < NGX_STREAM_VMESS_PEER_MAX; i++) {

        if (attempt[i].pc.connection) {
            ngx_close_connection(attempt[i].pc.connection);
            attempt[i].pc.connection = NULL;
        }
    }
}


void
ngx_stream_vmess_peer_datagram(ngx_stream_session_t *s)
{
    ngx_resolver_addr_t      *addr;
    ngx_stream_upstream_t    *u;
    ngx_stream_vmess_ctx_t   *ctx;
    ngx_stream_vmess_peer_t  *peer;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    u = s->upstream;
    peer = u->peer.data;

    if (ctx->naddrs == 1 || u->received || peer->last == ctx->naddrs) {
        return;
    }

    if (peer->since == 0) {
        peer->since = ngx_current_msec;
        return;
    }

    if (ngx_current_msec - peer->since < NGX_STREAM_VMESS_PEER_DELAY) {
        return;
    }

    peer->since = ngx_current_msec;

    /* each of them once, and the first in the end */

    do {
        if (peer->next == ctx->naddrs) {
            peer->next = 0;
        }

        addr = &ctx->addrs[peer->next++];

        if (++peer->last == ctx->naddrs) {
            break;
        }

    } while (!ctx->mapped
             && addr->sockaddr->sa_family != u->peer.sockaddr->sa_family);

    if (!ctx->mapped
        && addr->sockaddr->sa_family != u->peer.sockaddr->sa_family)
    {
        return;
    }

    u->peer.sockaddr = addr->sockaddr;
    u->peer.socklen = addr->socklen;
}
