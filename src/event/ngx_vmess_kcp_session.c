
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_session.h"
#include "proto/ngx_vmess_address.h"


/* a session starts with one of its first segments, in whatever order */
#define NGX_VMESS_KCP_FIRST     32


/* sessions of one address */

struct ngx_vmess_kcp_source_s {
    ngx_str_node_t               node;
    u_char                       addr[16];
    ngx_uint_t                   n;
};


static ngx_vmess_kcp_session_t *ngx_vmess_kcp_session_create(
    ngx_vmess_kcp_socket_t *ks, ngx_str_t *key, ngx_uint_t conv,
    ngx_sockaddr_t *sockaddr, socklen_t socklen, ngx_sockaddr_t *local);
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
static ssize_t ngx_vmess_kcp_session_recv(void *data, u_char *buf,
    size_t size);
static ssize_t ngx_vmess_kcp_session_send(void *data, u_char *buf,
    size_t size);
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


ngx_vmess_kcp_session_t *
ngx_vmess_kcp_session_get(ngx_vmess_kcp_socket_t *ks,
    ngx_vmess_kcp_segment_t *seg, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local)
{
    uint16_t                  conv;
    ngx_str_t                 key;
    ngx_vmess_kcp_session_t  *ksn;
    u_char                    data[NGX_VMESS_KCP_KEY];

    conv = (uint16_t) seg->conv;

    key.data = data;
    key.len = ngx_cpymem(ngx_cpymem(data, &conv, sizeof(uint16_t)),
                         sockaddr, socklen)
              - data;

    ksn = ngx_vmess_kcp_session_find(&ks->sessions, &key);

    if (ksn) {
        return ksn;
    }

    if (seg->command != NGX_VMESS_KCP_DATA
        || seg->number >= NGX_VMESS_KCP_FIRST || ngx_exiting)
    {
        return NULL;
    }

    return ngx_vmess_kcp_session_create(ks, &key, seg->conv, sockaddr, socklen,
                                        local);
}


static ngx_vmess_kcp_session_t *
ngx_vmess_kcp_session_create(ngx_vmess_kcp_socket_t *ks, ngx_str_t *key,
    ngx_uint_t conv, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local)
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
    ngx_memcpy(&ksn->local, local, ks->listening->socklen);

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
    addrs.local_socklen = ks->listening->socklen;
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


void
ngx_vmess_kcp_session_input(ngx_vmess_kcp_session_t *ksn, ngx_str_t *segments)
{
    (void) ngx_vmess_kcp_input(&ksn->kcp, segments->data, segments->len,
                               ngx_current_msec);

    if (ksn->kcp.validated && ksn->kcp.small && ksn->source) {
        ngx_vmess_kcp_session_prove(ksn);
    }

    ngx_vmess_kcp_session_wake(ksn);

    ngx_post_event(&ksn->event, &ngx_posted_events);
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

    (void) ngx_vmess_address_network(&sockaddr->sockaddr, addr);

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
    c->local_socklen = ks->listening->socklen;

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


void
ngx_vmess_kcp_session_terminate_all(ngx_vmess_kcp_socket_t *ks)
{
    u_char                   *p;
    ngx_queue_t              *q, *next;
    ngx_vmess_kcp_segment_t   seg;
    ngx_vmess_kcp_session_t  *ksn;
    u_char                    buffer[NGX_VMESS_KCP_HEAD_MAX
                                     + NGX_VMESS_KCP_COMMAND_LEN
                                     + NGX_VMESS_KCP_TAIL_MAX];

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = NGX_VMESS_KCP_TERMINATE;

    p = buffer + NGX_VMESS_KCP_HEAD_MAX;

    for (q = ngx_queue_head(&ks->all);
         q != ngx_queue_sentinel(&ks->all);
         q = next)
    {
        next = ngx_queue_next(q);
        ksn = ngx_queue_data(q, ngx_vmess_kcp_session_t, all);

        /* not more than came from an address that is not proved */

        if (!ksn->kcp.mute
            && (ksn->kcp.validated
                || ksn->kcp.credit >= ks->conf->kcp.overhead
                                      + NGX_VMESS_KCP_COMMAND_LEN))
        {
            seg.conv = ksn->kcp.conv;

            (void) ngx_vmess_kcp_segment_create(p, &seg);
            (void) ngx_vmess_kcp_session_send_datagram(ksn, p,
                                                   NGX_VMESS_KCP_COMMAND_LEN);
        }

        ngx_vmess_kcp_session_free(ksn);
    }
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
