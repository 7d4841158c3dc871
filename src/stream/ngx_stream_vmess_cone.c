
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_cone.h"
#include "ngx_stream_vmess_rule.h"
#include "ngx_stream_vmess_peer.h"


/* the addresses of a session that its filter lets in, the last ones used */

#define NGX_STREAM_VMESS_CONTACTS  1024


/* datagrams dropped in a row, before others have their turn */

#define NGX_STREAM_VMESS_DROPS     64


typedef struct {
    ngx_str_node_t               node;
    ngx_queue_t                  queue;
    u_char                       addr[16];
} ngx_stream_vmess_contact_t;


struct ngx_stream_vmess_contacts_s {
    ngx_rbtree_t                 rbtree;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  queue;      /* the latest first */
    ngx_uint_t                   n;
};


static void ngx_stream_vmess_cone_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
static void ngx_stream_vmess_cone_disconnect(ngx_connection_t *c);
static ngx_int_t ngx_stream_vmess_cone_socket(ngx_connection_t *c,
    ngx_socket_t s);
static ssize_t ngx_stream_vmess_cone_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_stream_vmess_cone_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static struct sockaddr *ngx_stream_vmess_cone_peer(ngx_stream_session_t *s,
    ngx_vmess_peer_t *peer, socklen_t *socklen);
static struct sockaddr *ngx_stream_vmess_cone_map(struct sockaddr *sa,
    socklen_t *socklen);
static socklen_t ngx_stream_vmess_cone_unmap(ngx_sockaddr_t *sa,
    socklen_t socklen);
static void ngx_stream_vmess_cone_contact(ngx_stream_session_t *s,
    struct sockaddr *sa);
static ngx_uint_t ngx_stream_vmess_cone_known(ngx_stream_session_t *s,
    struct sockaddr *sa);
static ngx_stream_vmess_contact_t *ngx_stream_vmess_cone_find(
    ngx_stream_vmess_contacts_t *contacts, u_char *addr);


void
ngx_stream_vmess_cone_init(ngx_stream_session_t *s)
{
    s->upstream->peer.notify = ngx_stream_vmess_cone_notify;
}


/* the socket was connected to the target, nothing was sent yet */

static void
ngx_stream_vmess_cone_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    int                      domain;
    socklen_t                len;
    ngx_buf_t               *b;
    ngx_connection_t        *c, *fc;
    ngx_vmess_mux_flow_t    *flow;
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;
    ngx_stream_vmess_ctx_t  *ctx;

    /* since 1.31 the first byte of an answer is told here as well */

    if (type != NGX_STREAM_UPSTREAM_NOTIFY_CONNECT) {
        return;
    }

    c = pc->connection;
    s = c->data;
    fc = s->connection;
    vc = ngx_vmess_connection_get(fc);
    flow = ngx_vmess_mux_flow_get(fc);

    c->recv = ngx_stream_vmess_cone_recv;
    c->send_chain = ngx_stream_vmess_cone_send_chain;

    if (!vc->packetaddr && (flow == NULL || !flow->peers)) {

        /* one peer, whose answers come from any address of its host */

        ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

        if (ctx->naddrs == 1 || pc->local
            || ngx_stream_vmess_cone_socket(c, (ngx_socket_t) -1) != NGX_OK)
        {
            ngx_stream_vmess_cone_disconnect(c);
            return;
        }

        ctx->mapped = 1;

        return;
    }

    if (flow && flow->xudp.adopted != (ngx_socket_t) -1
        && ngx_stream_vmess_cone_socket(c, flow->xudp.adopted) == NGX_OK)
    {
        flow->xudp.adopted = (ngx_socket_t) -1;

    } else if (pc->local
               || ngx_stream_vmess_cone_socket(c, (ngx_socket_t) -1) != NGX_OK)
    {
        /* peers of one family only */

        ngx_stream_vmess_cone_disconnect(c);
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    len = sizeof(int);

    ctx->mapped = getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0
                  && domain == AF_INET6;

    if (flow) {
        flow->xudp.socket = c;
    }

    vc->cone = 1;

    b = fc->buffer;

    b->pos -= sizeof(ngx_vmess_peer_t);
    ngx_memcpy(b->pos, &vc->peer, sizeof(ngx_vmess_peer_t));

    s->received += sizeof(ngx_vmess_peer_t);
}


/* its port is taken when something is sent, and kept then */

static void
ngx_stream_vmess_cone_disconnect(ngx_connection_t *c)
{
    struct sockaddr  sa;

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNSPEC;

    if (connect(c->fd, &sa, sizeof(struct sockaddr)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "connect(AF_UNSPEC) failed");
    }
}


/*
 * Replaces the socket of a connection with the one given, or with a new one of
 * IPv6, which reaches IPv4 peers as well.  NGX_OK or NGX_ERROR.
 */

static ngx_int_t
ngx_stream_vmess_cone_socket(ngx_connection_t *c, ngx_socket_t s)
{
    int           off;
    ngx_uint_t    own;

    own = 0;

    if (s == (ngx_socket_t) -1) {
        own = 1;
        off = 0;

        s = ngx_socket(AF_INET6, SOCK_DGRAM, 0);

        if (s == (ngx_socket_t) -1) {
            ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, ngx_socket_errno,
                           "vmess " ngx_socket_n " failed");
            return NGX_ERROR;
        }

        if (setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(int)) == -1
            || ngx_nonblocking(s) == -1)
        {
            goto failed;
        }
    }

    /* what c->fd was leaves epoll as it is closed */

    if (dup3(s, c->fd, O_CLOEXEC) == -1) {
        goto failed;
    }

    (void) ngx_close_socket(s);

    (void) ngx_del_conn(c, NGX_CLOSE_EVENT);

    if (ngx_add_conn(c) != NGX_OK) {

        /* its timeout ends the session */

        ngx_log_error(NGX_LOG_ALERT, c->log, 0, "no events of a socket");
    }

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                  "socket of datagrams failed");

    if (own) {
        (void) ngx_close_socket(s);
    }

    return NGX_ERROR;
}


/*
 * Datagrams are not truncated, and an ICMP error for one does not end the
 * session, as it would in nginx.
 */

static ssize_t
ngx_stream_vmess_cone_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                   room;
    ssize_t                  n;
    socklen_t                socklen;
    ngx_err_t                err;
    ngx_uint_t               i;
    ngx_sockaddr_t           sa;
    ngx_vmess_peer_t         peer;
    ngx_stream_session_t    *s;
    ngx_vmess_connection_t  *vc;

    s = c->data;
    vc = ngx_vmess_connection_get(s->connection);

    room = vc->cone ? sizeof(ngx_vmess_peer_t) : 0;

    if (size <= room) {
        return NGX_AGAIN;
    }

    for (i = 0; /* void */ ; i++) {

        if (i == NGX_STREAM_VMESS_DROPS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_AGAIN;
        }

        socklen = sizeof(ngx_sockaddr_t);
        sa.sockaddr.sa_family = AF_UNSPEC;

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

        socklen = ngx_stream_vmess_cone_unmap(&sa, socklen);

        if (n <= (ssize_t) (size - room)
            && socklen <= sizeof(peer.sockaddr)
            && ngx_stream_vmess_cone_known(s, &sa.sockaddr))
        {
            break;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_STREAM, c->log, 0,
                       "vmess datagram dropped, size:%z", n);
    }

    if (room == 0) {
        return n;
    }

    ngx_vmess_peer_create(&peer, &sa, socklen);

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
    ngx_stream_vmess_ctx_t  *ctx;

    s = c->data;
    vc = ngx_vmess_connection_get(s->connection);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        if (ngx_buf_special(b)) {
            continue;
        }

        peer.socklen = 0;

        if (vc->cone) {

            /* the header of "proxy_protocol" has no peer */

            if (ngx_vmess_peer_parse(&peer, b) != NGX_OK) {
                b->pos = b->last;
                continue;
            }

            s->received -= sizeof(ngx_vmess_peer_t);
        }

        sa = ngx_stream_vmess_cone_peer(s, &peer, &socklen);

        if (sa) {
            ngx_stream_vmess_cone_contact(s, sa);

            if (ctx->mapped && sa->sa_family == AF_INET) {
                sa = ngx_stream_vmess_cone_map(sa, &socklen);
            }

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


/* where a datagram goes, to the target if it says nothing; NULL: forbidden */

static struct sockaddr *
ngx_stream_vmess_cone_peer(ngx_stream_session_t *s, ngx_vmess_peer_t *peer,
    socklen_t *socklen)
{
    in_port_t                port;
    struct sockaddr         *sa;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (peer->socklen == 0) {
        ngx_stream_vmess_peer_datagram(s);

        *socklen = s->upstream->peer.socklen;
        return s->upstream->peer.sockaddr;
    }

    sa = &ctx->peer.sockaddr;

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

    if (port == 0 || (sa->sa_family == AF_INET6 && !ctx->mapped)) {
        return NULL;
    }

    if (ngx_stream_vmess_rule_check(s, NULL, sa, port) != NGX_OK) {
        if (!ctx->forbidden) {
            ctx->forbidden = 1;

            ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                          "datagrams of user \"%V\" to forbidden targets are "
                          "dropped", &ctx->vc->account.user->name);
        }

        return NULL;
    }

    ctx->peer_len = peer->socklen;
    *socklen = peer->socklen;

    return sa;
}


/* an address of IPv4 for a socket of IPv6, and back */

static struct sockaddr *
ngx_stream_vmess_cone_map(struct sockaddr *sa, socklen_t *socklen)
{
    struct sockaddr_in          *sin;
    static struct sockaddr_in6   sin6;

    sin = (struct sockaddr_in *) sa;

    ngx_memzero(&sin6, sizeof(struct sockaddr_in6));

    sin6.sin6_family = AF_INET6;
    sin6.sin6_port = sin->sin_port;
    (void) ngx_vmess_address_mapped(sa, sin6.sin6_addr.s6_addr);

    *socklen = sizeof(struct sockaddr_in6);

    return (struct sockaddr *) &sin6;
}


static socklen_t
ngx_stream_vmess_cone_unmap(ngx_sockaddr_t *sa, socklen_t socklen)
{
    struct sockaddr_in    sin;
    struct sockaddr_in6  *sin6;

    sin6 = &sa->sockaddr_in6;

    if (sa->sockaddr.sa_family != AF_INET6
        || !IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
    {
        return socklen;
    }

    ngx_memzero(&sin, sizeof(struct sockaddr_in));

    sin.sin_family = AF_INET;
    sin.sin_port = sin6->sin6_port;
    ngx_memcpy(&sin.sin_addr, &sin6->sin6_addr.s6_addr[12], 4);

    sa->sockaddr_in = sin;

    return sizeof(struct sockaddr_in);
}


/* "vmess_udp_filter": the client sends to that address */

static void
ngx_stream_vmess_cone_contact(ngx_stream_session_t *s, struct sockaddr *sa)
{
    u_char                        addr[16];
    ngx_queue_t                  *q;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_contact_t   *contact;
    ngx_stream_vmess_srv_conf_t  *vscf;
    ngx_stream_vmess_contacts_t  *contacts;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    if (!vscf->udp_filter) {
        return;
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    contacts = ctx->contacts;

    if (contacts == NULL) {
        contacts = ngx_pcalloc(s->connection->pool,
                               sizeof(ngx_stream_vmess_contacts_t));
        if (contacts == NULL) {
            return;
        }

        ngx_rbtree_init(&contacts->rbtree, &contacts->sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&contacts->queue);

        ctx->contacts = contacts;
    }

    (void) ngx_vmess_address_mapped(sa, addr);

    contact = ngx_stream_vmess_cone_find(contacts, addr);

    if (contact) {
        ngx_queue_remove(&contact->queue);
        ngx_queue_insert_head(&contacts->queue, &contact->queue);
        return;
    }

    if (contacts->n < NGX_STREAM_VMESS_CONTACTS) {

        contact = ngx_palloc(s->connection->pool,
                             sizeof(ngx_stream_vmess_contact_t));
        if (contact == NULL) {
            return;
        }

        contacts->n++;

    } else {
        q = ngx_queue_last(&contacts->queue);
        contact = ngx_queue_data(q, ngx_stream_vmess_contact_t, queue);

        ngx_queue_remove(q);
        ngx_rbtree_delete(&contacts->rbtree, &contact->node.node);
    }

    ngx_memcpy(contact->addr, addr, 16);

    contact->node.str.data = contact->addr;
    contact->node.str.len = 16;
    contact->node.node.key = ngx_crc32_short(addr, 16);

    ngx_rbtree_insert(&contacts->rbtree, &contact->node.node);
    ngx_queue_insert_head(&contacts->queue, &contact->queue);
}


static ngx_uint_t
ngx_stream_vmess_cone_known(ngx_stream_session_t *s, struct sockaddr *sa)
{
    u_char                        addr[16];
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    if (!vscf->udp_filter) {
        return 1;
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx->contacts == NULL) {
        return 0;
    }

    (void) ngx_vmess_address_mapped(sa, addr);

    return ngx_stream_vmess_cone_find(ctx->contacts, addr) != NULL;
}


static ngx_stream_vmess_contact_t *
ngx_stream_vmess_cone_find(ngx_stream_vmess_contacts_t *contacts, u_char *addr)
{
    ngx_str_t  name;

    name.data = addr;
    name.len = 16;

    return (ngx_stream_vmess_contact_t *)
               ngx_str_rbtree_lookup(&contacts->rbtree, &name,
                                     ngx_crc32_short(addr, 16));
}
