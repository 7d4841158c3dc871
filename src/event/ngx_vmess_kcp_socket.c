
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_socket.h"


#define NGX_VMESS_KCP_DATAGRAM  65535

/* a session starts with one of its first segments, in whatever order */
#define NGX_VMESS_KCP_FIRST     32

/* datagrams taken in one event */
#define NGX_VMESS_KCP_BATCH     256

/* conv and the peer's address */
#define NGX_VMESS_KCP_KEY       (sizeof(uint16_t) + sizeof(ngx_sockaddr_t))


/* sessions of one address */

typedef struct {
    ngx_str_node_t               node;
    u_char                       addr[16];
    ngx_uint_t                   n;
} ngx_vmess_kcp_source_t;


typedef struct {
    ngx_vmess_kcp_socket_conf_t *conf;
    ngx_listening_t             *listening;
    ngx_connection_t            *connection;  /* to send, a descriptor of its
                                                 own */
    ngx_vmess_kcp_packet_t       packet;

    ngx_rbtree_t                 sessions;
    ngx_rbtree_node_t            sessions_sentinel;
    ngx_rbtree_t                 sources;
    ngx_rbtree_node_t            sources_sentinel;
    ngx_queue_t                  all;

    /* those that end for others, in this order */

    ngx_queue_t                  ended;       /* without a source */
    ngx_queue_t                  fresh;       /* their peer may be anybody */
    ngx_queue_t                  proved;      /* it has its address */

    ngx_uint_t                   n;
    ngx_uint_t                   max;
    ngx_event_t                  quit;
} ngx_vmess_kcp_socket_t;


typedef struct {
    ngx_str_node_t               node;
    u_char                       key[NGX_VMESS_KCP_KEY];
    ngx_queue_t                  all;
    ngx_queue_t                  queue;       /* one of these, or none */
    ngx_vmess_kcp_socket_t      *socket;
    ngx_vmess_kcp_source_t      *source;      /* NULL: it has ended, and only
                                                 tells the peer */
    ngx_vmess_vconn_t           *vconn;       /* NULL: it has closed */
    ngx_vmess_kcp_t              kcp;
    ngx_event_t                  event;       /* something is to be sent */
    ngx_uint_t                   proved;

    ngx_sockaddr_t               sockaddr;
    socklen_t                    socklen;
    ngx_sockaddr_t               local;
    socklen_t                    local_len;
} ngx_vmess_kcp_session_t;


static void ngx_vmess_kcp_socket_read_handler(ngx_event_t *rev);
static socklen_t ngx_vmess_kcp_socket_local(struct msghdr *msg,
    ngx_listening_t *ls, ngx_sockaddr_t *local);
static void ngx_vmess_kcp_socket_datagram(ngx_vmess_kcp_socket_t *ks, u_char *p,
    size_t len, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local, socklen_t local_len);
static ngx_vmess_kcp_session_t *ngx_vmess_kcp_session_create(
    ngx_vmess_kcp_socket_t *ks, ngx_str_t *key, ngx_uint_t conv,
    ngx_sockaddr_t *sockaddr, socklen_t socklen, ngx_sockaddr_t *local,
    socklen_t local_len);
static ngx_int_t ngx_vmess_kcp_session_start(ngx_vmess_kcp_session_t *ksn);
static ngx_int_t ngx_vmess_kcp_session_evict(ngx_vmess_kcp_socket_t *ks);
static void ngx_vmess_kcp_session_prove(ngx_vmess_kcp_session_t *ksn);
static void *ngx_vmess_kcp_session_find(ngx_rbtree_t *tree, ngx_str_t *key);
static void ngx_vmess_kcp_session_insert(ngx_rbtree_t *tree,
    ngx_str_node_t *node, u_char *data, ngx_str_t *key);
static ngx_vmess_kcp_source_t *ngx_vmess_kcp_session_get_source(
    ngx_vmess_kcp_socket_t *ks, ngx_sockaddr_t *sockaddr);
static void ngx_vmess_kcp_session_put_source(ngx_vmess_kcp_socket_t *ks,
    ngx_vmess_kcp_source_t *source);
static void ngx_vmess_kcp_session_event_handler(ngx_event_t *ev);
static void ngx_vmess_kcp_session_wake(ngx_vmess_kcp_session_t *ksn);
static void ngx_vmess_kcp_session_flush(ngx_vmess_kcp_session_t *ksn);
static ngx_int_t ngx_vmess_kcp_session_send_datagram(
    ngx_vmess_kcp_session_t *ksn, u_char *p, size_t len);
static void ngx_vmess_kcp_session_free(ngx_vmess_kcp_session_t *ksn);
static void ngx_vmess_kcp_socket_quit_handler(ngx_event_t *rev);
static void ngx_vmess_kcp_socket_empty_handler(ngx_event_t *ev);
static void *ngx_vmess_kcp_socket_alloc(void *data, size_t size);
static void ngx_vmess_kcp_socket_free(void *data, void *p, size_t size);

static ssize_t ngx_vmess_kcp_session_recv(void *data, u_char *buf, size_t size);
static ssize_t ngx_vmess_kcp_session_send(void *data, u_char *buf, size_t size);
static ngx_int_t ngx_vmess_kcp_session_verdict(void *data,
    ngx_uint_t authentic);
static void ngx_vmess_kcp_session_closed(void *data);


static const ngx_vmess_carrier_t  ngx_vmess_kcp_session_carrier = {
    ngx_string("mkcp"),
    ngx_vmess_kcp_session_recv,
    ngx_vmess_kcp_session_send,
    ngx_vmess_kcp_session_verdict,
    ngx_vmess_kcp_session_closed,
    0
};


ngx_int_t
ngx_vmess_kcp_socket_listen(ngx_cycle_t *cycle, ngx_listening_t *ls,
    ngx_vmess_kcp_socket_conf_t *conf)
{
    uint16_t                 start;
    ngx_socket_t             s;
    ngx_connection_t        *c;
    ngx_vmess_kcp_socket_t  *ks;

    ks = ngx_pcalloc(cycle->pool, sizeof(ngx_vmess_kcp_socket_t));
    if (ks == NULL) {
        return NGX_ERROR;
    }

    ks->conf = conf;
    ks->listening = ls;

    ngx_rbtree_init(&ks->sessions, &ks->sessions_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&ks->sources, &ks->sources_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&ks->all);
    ngx_queue_init(&ks->ended);
    ngx_queue_init(&ks->fresh);
    ngx_queue_init(&ks->proved);

    /* datagrams of anybody must not take the connections of other clients */

    ks->max = ngx_min(conf->max, cycle->connection_n / 2);

    if (RAND_bytes((u_char *) &start, sizeof(uint16_t)) != 1
        || ngx_vmess_kcp_packet_init(&ks->packet, conf->seal, &conf->seed,
                                     conf->header, &conf->domain, start)
           != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0, "starting mKCP failed");
        return NGX_ERROR;
    }

    conf->kcp.overhead = ks->packet.head + ks->packet.tail;
    conf->kcp.alloc = ngx_vmess_kcp_socket_alloc;
    conf->kcp.free = ngx_vmess_kcp_socket_free;

    ngx_vmess_kcp_conf_init(&conf->kcp);

    /* sessions have something to say when the worker closes what listens */

    s = fcntl(ls->fd, F_DUPFD_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno,
                      "fcntl(F_DUPFD_CLOEXEC) failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    c->data = ks;
    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->type = SOCK_DGRAM;
    c->log_error = NGX_ERROR_INFO;
    c->listening = ls;
    c->read->handler = ngx_vmess_kcp_socket_quit_handler;
    c->write->handler = ngx_vmess_kcp_socket_empty_handler;
    c->write->ready = 1;
    c->idle = 1;

    ks->connection = c;

    ks->quit.handler = ngx_vmess_kcp_socket_empty_handler;
    ks->quit.log = cycle->log;

    ls->connection->data = ks;
    ls->connection->read->handler = ngx_vmess_kcp_socket_read_handler;

    return NGX_OK;
}


static void
ngx_vmess_kcp_socket_read_handler(ngx_event_t *rev)
{
    ssize_t                  n;
    ngx_err_t                err;
    socklen_t                local_len;
    ngx_uint_t               i;
    struct iovec             iov;
    struct msghdr            msg;
    ngx_sockaddr_t           sa, local;
    ngx_connection_t        *lc;
    ngx_vmess_kcp_socket_t  *ks;
    static u_char            buffer[NGX_VMESS_KCP_DATAGRAM];

    union {
        struct cmsghdr  align;
        u_char          space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control;

    lc = rev->data;
    ks = lc->data;

    /* level-triggered: the rest is the next event */

    for (i = 0; i < NGX_VMESS_KCP_BATCH; i++) {

        iov.iov_base = buffer;
        iov.iov_len = sizeof(buffer);

        ngx_memzero(&msg, sizeof(struct msghdr));

        msg.msg_name = &sa;
        msg.msg_namelen = sizeof(ngx_sockaddr_t);
        msg.msg_iov = &iov;
        msg.msg_iovlen = 1;
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);

        n = recvmsg(lc->fd, &msg, 0);

        if (n == -1) {
            err = ngx_socket_errno;

            if (err != NGX_EAGAIN && err != NGX_EINTR) {
                ngx_log_error(NGX_LOG_ALERT, rev->log, err,
                              "recvmsg() failed");
            }

            return;
        }

        if (msg.msg_flags & (MSG_TRUNC|MSG_CTRUNC)
            || msg.msg_namelen > sizeof(ngx_sockaddr_t))
        {
            continue;
        }

        local_len = ngx_vmess_kcp_socket_local(&msg, ks->listening, &local);

        /* nothing could be sent back */

        if (ngx_inet_get_port(&sa.sockaddr) == 0
            || ngx_inet_wildcard(&local.sockaddr))
        {
            continue;
        }

        ngx_vmess_kcp_socket_datagram(ks, buffer, n, &sa, msg.msg_namelen,
                                      &local, local_len);
    }
}


/* the address that a datagram was sent to, which answers must come from */

static socklen_t
ngx_vmess_kcp_socket_local(struct msghdr *msg, ngx_listening_t *ls,
    ngx_sockaddr_t *local)
{
    struct cmsghdr     *cmsg;
    struct in_pktinfo   pkt;
#if (NGX_HAVE_INET6)
    struct in6_pktinfo  pkt6;
#endif

    ngx_memcpy(local, ls->sockaddr, ls->socklen);

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {

        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO
            && ls->sockaddr->sa_family == AF_INET)
        {
            ngx_memcpy(&pkt, CMSG_DATA(cmsg), sizeof(struct in_pktinfo));
            local->sockaddr_in.sin_addr = pkt.ipi_addr;
        }

#if (NGX_HAVE_INET6)
        if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO
            && ls->sockaddr->sa_family == AF_INET6)
        {
            ngx_memcpy(&pkt6, CMSG_DATA(cmsg), sizeof(struct in6_pktinfo));
            local->sockaddr_in6.sin6_addr = pkt6.ipi6_addr;
        }
#endif
    }

    return ls->socklen;
}


static void
ngx_vmess_kcp_socket_datagram(ngx_vmess_kcp_socket_t *ks, u_char *p, size_t len,
    ngx_sockaddr_t *sockaddr, socklen_t socklen, ngx_sockaddr_t *local,
    socklen_t local_len)
{
    u_char                   *pos;
    uint16_t                  conv;
    ngx_str_t                 segments, key;
    ngx_vmess_kcp_segment_t   seg;
    ngx_vmess_kcp_session_t  *ksn;
    u_char                    data[NGX_VMESS_KCP_KEY];

    if (ngx_vmess_kcp_packet_open(&ks->packet, p, len, &segments) != NGX_OK) {
        return;
    }

    pos = segments.data;

    if (ngx_vmess_kcp_segment_parse(&seg, &pos, segments.data + segments.len)
        != NGX_OK)
    {
        return;
    }

    conv = (uint16_t) seg.conv;

    key.data = data;
    key.len = ngx_cpymem(ngx_cpymem(data, &conv, sizeof(uint16_t)),
                         sockaddr, socklen)
              - data;

    ksn = ngx_vmess_kcp_session_find(&ks->sessions, &key);

    if (ksn == NULL) {

        if (seg.command != NGX_VMESS_KCP_DATA
            || seg.number >= NGX_VMESS_KCP_FIRST || ngx_exiting)
        {
            return;
        }

        ksn = ngx_vmess_kcp_session_create(ks, &key, seg.conv, sockaddr,
                                           socklen, local, local_len);
        if (ksn == NULL) {
            return;
        }
    }

    (void) ngx_vmess_kcp_input(&ksn->kcp, segments.data, segments.len,
                               ngx_current_msec);

    if (ksn->kcp.validated && ksn->kcp.small && ksn->source) {
        ngx_vmess_kcp_session_prove(ksn);
    }

    ngx_vmess_kcp_session_wake(ksn);

    ngx_post_event(&ksn->event, &ngx_posted_events);
}


static ngx_vmess_kcp_session_t *
ngx_vmess_kcp_session_create(ngx_vmess_kcp_socket_t *ks, ngx_str_t *key,
    ngx_uint_t conv, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local, socklen_t local_len)
{
    uint32_t                  random;
    ngx_log_t                *log;
    ngx_vmess_kcp_source_t   *source;
    ngx_vmess_kcp_session_t  *ksn;

    log = ks->connection->log;

    if (RAND_bytes((u_char *) &random, sizeof(uint32_t)) != 1) {
        return NULL;
    }

    /* an address that has too many does not end those of others */

    source = ngx_vmess_kcp_session_get_source(ks, sockaddr);
    if (source == NULL) {
        return NULL;
    }

    if (ks->n >= ks->max && ngx_vmess_kcp_session_evict(ks) != NGX_OK) {
        ngx_vmess_kcp_session_put_source(ks, source);
        return NULL;
    }

    ksn = ngx_calloc(sizeof(ngx_vmess_kcp_session_t), log);
    if (ksn == NULL) {
        ngx_vmess_kcp_session_put_source(ks, source);
        return NULL;
    }

    ksn->socket = ks;
    ksn->source = source;

    ngx_memcpy(&ksn->sockaddr, sockaddr, socklen);
    ksn->socklen = socklen;
    ngx_memcpy(&ksn->local, local, local_len);
    ksn->local_len = local_len;

    ksn->event.handler = ngx_vmess_kcp_session_event_handler;
    ksn->event.data = ksn;
    ksn->event.log = log;

    ngx_vmess_kcp_init(&ksn->kcp, &ks->conf->kcp, conv, random,
                       ngx_current_msec);

    /*
     * A datagram with the right seed may have been recorded: only a header
     * that is authentic, which comes without any answer, is answered
     */

    ksn->kcp.small = 1;
    ksn->kcp.mute = (ks->conf->seal == NGX_VMESS_KCP_SEAL_GCM);

    ngx_vmess_kcp_session_insert(&ks->sessions, &ksn->node, ksn->key, key);
    ngx_queue_insert_tail(&ks->all, &ksn->all);
    ngx_queue_insert_tail(&ks->fresh, &ksn->queue);
    ks->n++;

    if (ngx_vmess_kcp_session_start(ksn) != NGX_OK) {
        ngx_vmess_kcp_session_free(ksn);
        return NULL;
    }

    return ksn;
}


static ngx_int_t
ngx_vmess_kcp_session_start(ngx_vmess_kcp_session_t *ksn)
{
    u_char                    text[NGX_SOCKADDR_STRLEN];
    ngx_vmess_kcp_socket_t   *ks;
    ngx_vmess_vconn_addrs_t   addrs;

    ks = ksn->socket;

    addrs.sockaddr = &ksn->sockaddr.sockaddr;
    addrs.socklen = ksn->socklen;
    addrs.local_sockaddr = &ksn->local.sockaddr;
    addrs.local_socklen = ksn->local_len;
    addrs.text.data = text;
    addrs.text.len = ngx_sock_ntop(addrs.sockaddr, addrs.socklen, text,
                                   sizeof(text), 0);
    addrs.proxy_protocol = NULL;
    addrs.log = ks->connection->log;

    ksn->vconn = ngx_vmess_vconn_create(&addrs, &ngx_vmess_kcp_session_carrier,
                                        ksn, ks->conf->listen);
    if (ksn->vconn == NULL) {
        return NGX_ERROR;
    }

    ngx_vmess_vconn_start(ksn->vconn);

    return NGX_OK;
}


/* makes room for a session; NGX_DECLINED: all are of authentic clients */

static ngx_int_t
ngx_vmess_kcp_session_evict(ngx_vmess_kcp_socket_t *ks)
{
    ngx_queue_t  *q;

    if (!ngx_queue_empty(&ks->ended)) {
        q = ngx_queue_head(&ks->ended);

    } else if (!ngx_queue_empty(&ks->fresh)) {
        q = ngx_queue_head(&ks->fresh);

    } else if (!ngx_queue_empty(&ks->proved)) {
        q = ngx_queue_head(&ks->proved);

    } else {
        return NGX_DECLINED;
    }

    ngx_vmess_kcp_session_free(ngx_queue_data(q, ngx_vmess_kcp_session_t,
                                              queue));

    return NGX_OK;
}


static void
ngx_vmess_kcp_session_prove(ngx_vmess_kcp_session_t *ksn)
{
    if (ksn->proved) {
        return;
    }

    ksn->proved = 1;

    ngx_queue_remove(&ksn->queue);
    ngx_queue_insert_tail(&ksn->socket->proved, &ksn->queue);
}


/* nodes start with that of the tree, and equal hashes are ordered as well */

static void *
ngx_vmess_kcp_session_find(ngx_rbtree_t *tree, ngx_str_t *key)
{
    return ngx_str_rbtree_lookup(tree, key,
                                 ngx_crc32_short(key->data, key->len));
}


static void
ngx_vmess_kcp_session_insert(ngx_rbtree_t *tree, ngx_str_node_t *node,
    u_char *data, ngx_str_t *key)
{
    ngx_memcpy(data, key->data, key->len);

    node->str.data = data;
    node->str.len = key->len;
    node->node.key = ngx_crc32_short(data, key->len);

    ngx_rbtree_insert(tree, &node->node);
}


/* counts one more session of an address, NULL if it has too many */

static ngx_vmess_kcp_source_t *
ngx_vmess_kcp_session_get_source(ngx_vmess_kcp_socket_t *ks,
    ngx_sockaddr_t *sockaddr)
{
    u_char                   addr[16];
    ngx_str_t                key;
    ngx_vmess_kcp_source_t  *source;

    ngx_memzero(addr, sizeof(addr));

#if (NGX_HAVE_INET6)

    /* a host of IPv6 has a network of addresses */

    if (sockaddr->sockaddr.sa_family == AF_INET6) {
        ngx_memcpy(addr, &sockaddr->sockaddr_in6.sin6_addr,
                   IN6_IS_ADDR_V4MAPPED(&sockaddr->sockaddr_in6.sin6_addr)
                   ? 16 : 8);
    } else
#endif
    {
        ngx_memcpy(addr, &sockaddr->sockaddr_in.sin_addr, 4);
    }

    key.data = addr;
    key.len = sizeof(addr);

    source = ngx_vmess_kcp_session_find(&ks->sources, &key);

    if (source) {

        if (source->n >= ks->conf->max_source) {
            return NULL;
        }

        source->n++;
        return source;
    }

    source = ngx_alloc(sizeof(ngx_vmess_kcp_source_t), ks->connection->log);
    if (source == NULL) {
        return NULL;
    }

    source->n = 1;

    ngx_vmess_kcp_session_insert(&ks->sources, &source->node, source->addr,
                                 &key);

    return source;
}


static void
ngx_vmess_kcp_session_put_source(ngx_vmess_kcp_socket_t *ks,
    ngx_vmess_kcp_source_t *source)
{
    if (--source->n == 0) {
        ngx_rbtree_delete(&ks->sources, &source->node.node);
        ngx_free(source);
    }
}


static void
ngx_vmess_kcp_session_event_handler(ngx_event_t *ev)
{
    ngx_vmess_kcp_session_flush(ev->data);
}


/* tells the virtual connection what it may do */

static void
ngx_vmess_kcp_session_wake(ngx_vmess_kcp_session_t *ksn)
{
    ngx_connection_t  *c;

    if (ksn->vconn == NULL) {
        return;
    }

    c = ksn->vconn->connection;

    if (!c->read->ready && ngx_vmess_kcp_recv_ready(&ksn->kcp)) {
        ngx_vmess_vconn_wake(ksn->vconn, 0);
    }

    if (!c->write->ready && ngx_vmess_kcp_send_ready(&ksn->kcp)) {
        ngx_vmess_vconn_wake(ksn->vconn, 1);
    }
}


static void
ngx_vmess_kcp_session_flush(ngx_vmess_kcp_session_t *ksn)
{
    u_char          *p;
    size_t           len;
    ngx_msec_t       delay;
    static u_char    buffer[NGX_VMESS_KCP_HEAD_MAX + NGX_VMESS_KCP_DATAGRAM];

    p = buffer + NGX_VMESS_KCP_HEAD_MAX;

    for ( ;; ) {
        len = ngx_vmess_kcp_output(&ksn->kcp, p, ngx_current_msec);

        if (len == 0) {
            break;
        }

        /* what the socket does not take is lost, and sent again */

        if (ngx_vmess_kcp_session_send_datagram(ksn, p, len) != NGX_OK) {
            break;
        }
    }

    ngx_vmess_kcp_session_wake(ksn);

    /* v2ray seldom answers the end, which is told for some seconds then */

    if (ksn->source && ksn->vconn == NULL
        && ksn->kcp.state == ngx_vmess_kcp_terminating)
    {
        ngx_vmess_kcp_session_put_source(ksn->socket, ksn->source);
        ksn->source = NULL;

        ngx_queue_remove(&ksn->queue);
        ngx_queue_insert_tail(&ksn->socket->ended, &ksn->queue);
    }

    delay = ngx_vmess_kcp_wakeup(&ksn->kcp, ngx_current_msec);

    if (delay == (ngx_msec_t) -1 && ksn->vconn == NULL) {
        ngx_vmess_kcp_session_free(ksn);
        return;
    }

    if (ksn->event.timer_set) {
        ngx_del_timer(&ksn->event);
    }

    if (delay == (ngx_msec_t) -1) {

        /* the server reads what has come, and the end, and closes */

        return;
    }

    ngx_add_timer(&ksn->event, ngx_max(delay, 1));
}


static ngx_int_t
ngx_vmess_kcp_session_send_datagram(ngx_vmess_kcp_session_t *ksn, u_char *p,
    size_t len)
{
    u_char                   random[NGX_VMESS_KCP_RANDOM_LEN];
    ngx_buf_t                b;
    ngx_chain_t              out, *cl;
    ngx_connection_t        *c;
    ngx_vmess_kcp_socket_t  *ks;

    ks = ksn->socket;
    c = ks->connection;

    if (RAND_bytes(random, sizeof(random)) != 1
        || ngx_vmess_kcp_packet_seal(&ks->packet, p, len, random) != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "sealing a datagram failed");
        return NGX_ERROR;
    }

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = p - ks->packet.head;
    b.last = p + len + ks->packet.tail;
    b.memory = 1;
    b.flush = 1;

    out.buf = &b;
    out.next = NULL;

    c->sockaddr = &ksn->sockaddr.sockaddr;
    c->socklen = ksn->socklen;
    c->local_sockaddr = &ksn->local.sockaddr;
    c->local_socklen = ksn->local_len;

    cl = ngx_udp_send_chain(c, &out, 0);

    c->write->ready = 1;
    c->write->error = 0;

    return cl ? NGX_AGAIN : NGX_OK;
}


static void
ngx_vmess_kcp_session_free(ngx_vmess_kcp_session_t *ksn)
{
    ngx_vmess_kcp_socket_t  *ks;

    ks = ksn->socket;

    if (ksn->vconn) {
        ngx_vmess_vconn_abort(ksn->vconn);
    }

    if (ksn->event.timer_set) {
        ngx_del_timer(&ksn->event);
    }

    if (ksn->event.posted) {
        ngx_delete_posted_event(&ksn->event);
    }

    ngx_rbtree_delete(&ks->sessions, &ksn->node.node);
    ngx_queue_remove(&ksn->all);
    ngx_queue_remove(&ksn->queue);
    ks->n--;

    if (ksn->source) {
        ngx_vmess_kcp_session_put_source(ks, ksn->source);
    }

    ngx_vmess_kcp_cleanup(&ksn->kcp);

    ngx_free(ksn);
}


/*
 * The worker quits, and the datagrams of its sessions go to another one: peers
 * are told once, as nothing that they say will be heard.
 */

static void
ngx_vmess_kcp_socket_quit_handler(ngx_event_t *rev)
{
    u_char                   *p;
    ngx_queue_t              *q, *next;
    ngx_connection_t         *c;
    ngx_vmess_kcp_socket_t   *ks;
    ngx_vmess_kcp_segment_t   seg;
    ngx_vmess_kcp_session_t  *ksn;
    u_char                    buffer[NGX_VMESS_KCP_HEAD_MAX
                                     + NGX_VMESS_KCP_COMMAND_LEN
                                     + NGX_VMESS_KCP_TAIL_MAX];

    c = rev->data;
    ks = c->data;

    for (q = ngx_queue_head(&ks->all);
         q != ngx_queue_sentinel(&ks->all);
         q = next)
    {
        next = ngx_queue_next(q);
        ksn = ngx_queue_data(q, ngx_vmess_kcp_session_t, all);

        /* not more than came from an address that is not proved */

        if (ksn->kcp.mute) {
            ngx_vmess_kcp_session_free(ksn);
            continue;
        }

        if (!ksn->kcp.validated
            && ksn->kcp.credit < ks->conf->kcp.overhead
                                 + NGX_VMESS_KCP_COMMAND_LEN)
        {
            ngx_vmess_kcp_session_free(ksn);
            continue;
        }

        ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

        seg.conv = ksn->kcp.conv;
        seg.command = NGX_VMESS_KCP_TERMINATE;

        p = buffer + NGX_VMESS_KCP_HEAD_MAX;

        (void) ngx_vmess_kcp_segment_create(p, &seg);
        (void) ngx_vmess_kcp_session_send_datagram(ksn, p,
                                                   NGX_VMESS_KCP_COMMAND_LEN);

        ngx_vmess_kcp_session_free(ksn);
    }

    ngx_vmess_kcp_packet_cleanup(&ks->packet);

    ngx_close_connection(c);

    /* what was posted does not wait for events */

    ngx_post_event(&ks->quit, &ngx_posted_next_events);
}


static void
ngx_vmess_kcp_socket_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "vmess kcp event");
}


static void *
ngx_vmess_kcp_socket_alloc(void *data, size_t size)
{
    return ngx_alloc(size, ngx_cycle->log);
}


static void
ngx_vmess_kcp_socket_free(void *data, void *p, size_t size)
{
    ngx_free(p);
}


static ssize_t
ngx_vmess_kcp_session_recv(void *data, u_char *buf, size_t size)
{
    ngx_vmess_kcp_session_t *ksn = data;

    ssize_t  n;

    n = ngx_vmess_kcp_recv(&ksn->kcp, buf, size);

    if (n > 0) {

        /* there may be a window to announce */

        ngx_post_event(&ksn->event, &ngx_posted_events);
    }

    if (n == NGX_ERROR) {
        ngx_log_error(NGX_LOG_INFO, ksn->vconn->connection->log, 0,
                      "mKCP session failed: %s",
                      ksn->kcp.err ? ksn->kcp.err : "no memory");
    }

    return n;
}


static ssize_t
ngx_vmess_kcp_session_send(void *data, u_char *buf, size_t size)
{
    ngx_vmess_kcp_session_t *ksn = data;

    ssize_t  n;

    n = ngx_vmess_kcp_send(&ksn->kcp, buf, size);

    if (n > 0) {
        ngx_post_event(&ksn->event, &ngx_posted_events);
    }

    return n;
}


static ngx_int_t
ngx_vmess_kcp_session_verdict(void *data, ngx_uint_t authentic)
{
    ngx_vmess_kcp_session_t *ksn = data;

    if (!authentic) {

        /* no fallback could be heard */

        return ksn->kcp.mute ? NGX_OK : NGX_DECLINED;
    }

    /* nobody else's datagrams end it any more */

    ngx_queue_remove(&ksn->queue);
    ngx_queue_init(&ksn->queue);

    ngx_vmess_kcp_accept(&ksn->kcp);

    ngx_post_event(&ksn->event, &ngx_posted_events);

    return NGX_DECLINED;
}


static void
ngx_vmess_kcp_session_closed(void *data)
{
    ngx_vmess_kcp_session_t *ksn = data;

    ksn->vconn = NULL;

    ngx_vmess_kcp_close(&ksn->kcp, ngx_current_msec);

    ngx_post_event(&ksn->event, &ngx_posted_events);
}
