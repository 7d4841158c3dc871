
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_socket.h"


/* datagrams taken in one event */
#define NGX_VMESS_KCP_BATCH  256


static void ngx_vmess_kcp_socket_read_handler(ngx_event_t *rev);
static void ngx_vmess_kcp_socket_local(struct msghdr *msg,
    ngx_listening_t *ls, ngx_sockaddr_t *local);
static void ngx_vmess_kcp_socket_datagram(ngx_vmess_kcp_socket_t *ks,
    u_char *p, size_t len, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local);
static void ngx_vmess_kcp_socket_quit_handler(ngx_event_t *rev);
static void ngx_vmess_kcp_socket_empty_handler(ngx_event_t *ev);
static void *ngx_vmess_kcp_socket_alloc(void *data, size_t size);
static void ngx_vmess_kcp_socket_free(void *data, void *p, size_t size);


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

        ngx_vmess_kcp_socket_local(&msg, ks->listening, &local);

        /* nothing could be sent back */

        if (ngx_inet_get_port(&sa.sockaddr) == 0
            || ngx_inet_wildcard(&local.sockaddr))
        {
            continue;
        }

        ngx_vmess_kcp_socket_datagram(ks, buffer, n, &sa, msg.msg_namelen,
                                      &local);
    }
}


/* the address that a datagram was sent to, which answers must come from */

static void
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
}


static void
ngx_vmess_kcp_socket_datagram(ngx_vmess_kcp_socket_t *ks, u_char *p, size_t len,
    ngx_sockaddr_t *sockaddr, socklen_t socklen, ngx_sockaddr_t *local)
{
    u_char                   *pos;
    ngx_str_t                 segments;
    ngx_vmess_kcp_segment_t   seg;
    ngx_vmess_kcp_session_t  *ksn;

    if (ngx_vmess_kcp_packet_open(&ks->packet, p, len, &segments) != NGX_OK) {
        return;
    }

    pos = segments.data;

    if (ngx_vmess_kcp_segment_parse(&seg, &pos, segments.data + segments.len)
        != NGX_OK)
    {
        return;
    }

    ksn = ngx_vmess_kcp_session_get(ks, &seg, sockaddr, socklen, local);

    if (ksn) {
        ngx_vmess_kcp_session_input(ksn, &segments);
    }
}


/*
 * The worker quits, and the datagrams of its sessions go to another one: peers
 * are told once, as nothing that they say will be heard.
 */

static void
ngx_vmess_kcp_socket_quit_handler(ngx_event_t *rev)
{
    ngx_connection_t        *c;
    ngx_vmess_kcp_socket_t  *ks;

    c = rev->data;
    ks = c->data;

    ngx_vmess_kcp_session_terminate_all(ks);

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
