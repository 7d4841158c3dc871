
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_cone.h"
#include "ngx_stream_vmess_rule.h"


static void ngx_stream_vmess_cone_connected(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static ssize_t ngx_stream_vmess_cone_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_stream_vmess_cone_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static struct sockaddr *ngx_stream_vmess_cone_peer(ngx_stream_session_t *s,
    ngx_vmess_peer_t *peer, socklen_t *socklen);


void
ngx_stream_vmess_cone_init(ngx_stream_session_t *s)
{
    s->upstream->peer.notify = ngx_stream_vmess_cone_connected;
}


/* the socket was connected to the first peer, nothing was sent yet */

static void
ngx_stream_vmess_cone_connected(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_buf_t               *b;
    struct sockaddr          sa;
    ngx_connection_t        *c, *fc;
    ngx_vmess_mux_flow_t    *flow;
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;

    c = pc->connection;
    s = c->data;
    fc = s->connection;
    vc = ngx_vmess_get_connection(fc);
    flow = ngx_vmess_mux_get_flow(fc);

    c->recv = ngx_stream_vmess_cone_recv;
    c->send_chain = ngx_stream_vmess_cone_send_chain;

    if (!vc->packetaddr && (flow == NULL || !flow->xudp)) {
        return;
    }

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNSPEC;

    if (connect(c->fd, &sa, sizeof(struct sockaddr)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "connect(AF_UNSPEC) failed");
        return;
    }

    vc->cone = 1;

    b = fc->buffer;

    b->pos -= sizeof(ngx_vmess_peer_t);
    ngx_memcpy(b->pos, &vc->peer, sizeof(ngx_vmess_peer_t));

    s->received += sizeof(ngx_vmess_peer_t);
}


/*
 * Datagrams are not cut, and what ICMP tells of one is not the end of the
 * session, as it would be to nginx.
 */

static ssize_t
ngx_stream_vmess_cone_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                   room;
    ssize_t                  n;
    socklen_t                socklen;
    ngx_err_t                err;
    ngx_sockaddr_t           sa;
    ngx_vmess_peer_t         peer;
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;

    s = c->data;
    vc = ngx_vmess_get_connection(s->connection);

    room = vc->cone ? sizeof(ngx_vmess_peer_t) : 0;

    if (size <= room) {
        return NGX_AGAIN;
    }

    for ( ;; ) {

        socklen = sizeof(ngx_sockaddr_t);

        n = recvfrom(c->fd, buf + room, size - room, MSG_TRUNC, &sa.sockaddr,
                     &socklen);

        if (n == -1) {
            err = ngx_socket_errno;

            switch (err) {

            case NGX_EAGAIN:
                c->read->ready = 0;
                return NGX_AGAIN;

            case NGX_EINTR:
            case NGX_ECONNREFUSED:
            case NGX_ENETDOWN:
            case NGX_ENETUNREACH:
            case NGX_EHOSTDOWN:
            case NGX_EHOSTUNREACH:
                ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, err,
                               "vmess recvfrom() failed");
                continue;

            default:
                ngx_log_error(NGX_LOG_ALERT, c->log, err,
                              "recvfrom() failed");
                c->read->error = 1;
                return NGX_ERROR;
            }
        }

        if (n <= (ssize_t) (size - room) && socklen <= sizeof(peer.sockaddr)) {
            break;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_STREAM, c->log, 0,
                       "vmess datagram dropped, size:%z", n);
    }

    if (room == 0) {
        return n;
    }

    ngx_memzero(&peer, sizeof(ngx_vmess_peer_t));

    peer.socklen = (u_char) socklen;
    ngx_memcpy(peer.sockaddr, &sa, socklen);

    ngx_memcpy(buf, &peer, sizeof(ngx_vmess_peer_t));

    /* the proxy counts what it is given */

    s->upstream->received -= room;

    return n + room;
}


static ngx_chain_t *
ngx_stream_vmess_cone_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    ssize_t                  n;
    ngx_buf_t               *b;
    socklen_t                socklen;
    struct sockaddr         *sa;
    ngx_vmess_peer_t         peer;
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;

    s = c->data;
    vc = ngx_vmess_get_connection(s->connection);

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        if (ngx_buf_special(b)) {
            continue;
        }

        sa = NULL;
        socklen = 0;

        if (vc->cone && (size_t) (b->last - b->pos) >= sizeof(ngx_vmess_peer_t))
        {
            ngx_memcpy(&peer, b->pos, sizeof(ngx_vmess_peer_t));
            b->pos += sizeof(ngx_vmess_peer_t);

            s->received -= sizeof(ngx_vmess_peer_t);

            sa = ngx_stream_vmess_cone_peer(s, &peer, &socklen);
        }

        if (sa || !vc->cone) {
            n = sendto(c->fd, b->pos, b->last - b->pos, 0, sa, socklen);

            if (n == -1) {
                ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, ngx_socket_errno,
                               "vmess sendto() failed");
            } else {
                c->sent += n;
            }
        }

        b->pos = b->last;
    }

    return NULL;
}


/* the address of a datagram, NULL if it is forbidden */

static struct sockaddr *
ngx_stream_vmess_cone_peer(ngx_stream_session_t *s, ngx_vmess_peer_t *peer,
    socklen_t *socklen)
{
    in_port_t                     port;
    ngx_connection_t             *pc;
    struct sockaddr              *sa;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (peer->socklen == 0) {
        *socklen = s->upstream->peer.socklen;
        return s->upstream->peer.sockaddr;
    }

    sa = &ctx->peer.sockaddr;
    pc = s->upstream->peer.connection;

    /* mostly that of the datagram before */

    if (ctx->peer_len == peer->socklen
        && ngx_memcmp(sa, peer->sockaddr, peer->socklen) == 0)
    {
        *socklen = ctx->peer_len;
        return sa;
    }

    ctx->peer_len = 0;

    ngx_memcpy(sa, peer->sockaddr, peer->socklen);

    port = ngx_inet_get_port(sa);

    if (sa->sa_family != ctx->addrs[0].sockaddr->sa_family || port == 0) {
        return NULL;
    }

    if (ngx_stream_vmess_check(vscf->rules, NULL, sa, port, pc->log)
        != NGX_OK)
    {
        if (!ctx->forbidden) {
            ctx->forbidden = 1;

            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "datagrams of user \"%V\" to forbidden targets are "
                          "dropped", &ctx->vc->account.user->name.str);
        }

        return NULL;
    }

    ctx->peer_len = peer->socklen;
    *socklen = peer->socklen;

    return sa;
}
