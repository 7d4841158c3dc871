
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_mux_flow.h"


struct ngx_vmess_mux_data_s {
    ngx_vmess_mux_data_t        *next;
    size_t                       size;       /* of all of it */
    u_char                      *pos;
    u_char                      *last;
    u_char                       data[1];
};


static void ngx_vmess_mux_flow_start(void *data);
static void ngx_vmess_mux_flow_attach(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_flow_detach(ngx_vmess_mux_flow_t *flow);
static ssize_t ngx_vmess_mux_flow_recv_limited(ngx_connection_t *fc,
    u_char *buf, size_t size);
static ngx_chain_t *ngx_vmess_mux_flow_send_limited(ngx_connection_t *fc,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_vmess_mux_flow_recv(void *data, u_char *buf, size_t size);
static ssize_t ngx_vmess_mux_flow_recv_packet(ngx_vmess_mux_flow_t *flow,
    u_char *buf, size_t size);
static void ngx_vmess_mux_flow_taken(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_data_t *d);
static ssize_t ngx_vmess_mux_flow_send(void *data, u_char *buf, size_t size);
static ngx_chain_t *ngx_vmess_mux_flow_send_packets(ngx_connection_t *fc,
    ngx_chain_t *in, off_t limit);
static void ngx_vmess_mux_flow_close(void *data);


static const ngx_vmess_carrier_t  ngx_vmess_mux_flow_carrier = {
    ngx_string("mux"),
    ngx_vmess_mux_flow_recv,
    ngx_vmess_mux_flow_send,
    NULL,
    ngx_vmess_mux_flow_close,
    0
};


ngx_vmess_mux_flow_t *
ngx_vmess_mux_flow_get(ngx_connection_t *c)
{
    ngx_vmess_vconn_t  *vconn;

    vconn = ngx_vmess_vconn_get(c);

    return (vconn && vconn->carrier == &ngx_vmess_mux_flow_carrier)
           ? vconn->data : NULL;
}


ngx_vmess_mux_flow_t *
ngx_vmess_mux_flow_find(ngx_vmess_mux_connection_t *mux, ngx_uint_t id)
{
    ngx_rbtree_node_t  *node;

    node = mux->rbtree.root;

    while (node != &mux->sentinel) {

        if (id == node->key) {
            return (ngx_vmess_mux_flow_t *) node;
        }

        node = (id < node->key) ? node->left : node->right;
    }

    return NULL;
}


ngx_int_t
ngx_vmess_mux_flow_open(ngx_vmess_mux_connection_t *mux)
{
    ngx_int_t                 rc;
    ngx_connection_t         *c, *fc;
    ngx_vmess_mux_t          *m;
    ngx_vmess_mux_flow_t     *flow;
    ngx_vmess_vconn_addrs_t   addrs;

    m = &mux->frame;
    c = mux->connection;

    flow = ngx_calloc(sizeof(ngx_vmess_mux_flow_t), c->log);
    if (flow == NULL) {
        return NGX_ERROR;
    }

    flow->vconn = ngx_vmess_vconn_addrs(&addrs, c) == NGX_OK
                  ? ngx_vmess_vconn_create(&addrs, &ngx_vmess_mux_flow_carrier,
                                           flow, mux->listen)
                  : NULL;

    if (flow->vconn == NULL) {
        ngx_free(flow);
        return NGX_DECLINED;
    }

    flow->in_last = &flow->in;
    flow->udp = (m->network == NGX_VMESS_MUX_UDP);

    /* XUDP has one session, of that number, or a Global ID */

    flow->peers = (flow->udp && (m->id == 0 || m->has_global_id));

    flow->address = m->address;
    flow->address.domain.data = flow->address.data;

    flow->xudp.adopted = (ngx_socket_t) -1;
    flow->xudp.listen = mux->listen;
    flow->xudp.data = flow;
    flow->xudp.start = ngx_vmess_mux_flow_start;
    flow->xudp.close = ngx_vmess_mux_flow_abort;

    if (flow->udp) {
        fc = flow->vconn->connection;
        fc->type = SOCK_DGRAM;
        fc->send_chain = ngx_vmess_mux_flow_send_packets;
    }

    rc = m->has_global_id
         ? ngx_vmess_xudp_set_name(&flow->xudp, mux->vc->account.zone,
                                   mux->vc->account.user, m->global_id)
         : NGX_OK;

    ngx_vmess_mux_flow_attach(flow, mux);

    if (rc == NGX_OK) {
        ngx_vmess_mux_flow_start(flow);
    }

    return NGX_OK;
}


static void
ngx_vmess_mux_flow_start(void *data)
{
    ngx_vmess_mux_flow_t *flow = data;

    ngx_vmess_vconn_start(flow->vconn);
}


void
ngx_vmess_mux_flow_move(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_connection_t *mux, ngx_vmess_peer_t *peer)
{
    if (flow->mux) {
        ngx_vmess_mux_output_end(&flow->mux->output, flow->id, 0);
        ngx_vmess_mux_flow_detach(flow);
    }

    ngx_vmess_xudp_adopt(&flow->xudp);

    flow->vconn->connection->idle = 0;
    flow->peer = *peer;

    ngx_vmess_mux_flow_attach(flow, mux);
}


static void
ngx_vmess_mux_flow_attach(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_connection_t *mux)
{
    ngx_connection_t  *c;

    c = mux->connection;

    flow->mux = mux;
    flow->id = mux->frame.id;
    flow->node.key = flow->id;

    ngx_rbtree_insert(&mux->rbtree, &flow->node);
    ngx_queue_insert_tail(&mux->flows, &flow->all);
    mux->n++;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    mux->flow = flow;
}


static void
ngx_vmess_mux_flow_detach(ngx_vmess_mux_flow_t *flow)
{
    ngx_connection_t            *c;
    ngx_vmess_mux_connection_t  *mux;

    mux = flow->mux;
    c = mux->connection;

    flow->mux = NULL;

    if (!flow->ended) {
        ngx_rbtree_delete(&mux->rbtree, &flow->node);
    }

    if (flow->waiting) {
        flow->waiting = 0;
        ngx_queue_remove(&flow->queue);
    }

    ngx_queue_remove(&flow->all);
    mux->n--;

    if (mux->flow == flow) {
        mux->flow = NULL;

        if (mux->packet) {
            ngx_free(mux->packet);
            mux->packet = NULL;
        }

        if (mux->held && !mux->done) {
            mux->held = 0;
            ngx_post_event(c->read, &ngx_posted_events);
        }
    }

    if (mux->n == 0 && !mux->done) {
        ngx_add_timer(c->read, NGX_VMESS_MUX_FLOW_IDLE);
    }
}


ngx_int_t
ngx_vmess_mux_flow_peer(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_address_t *address, ngx_vmess_peer_t *peer)
{
    socklen_t             socklen;
    ngx_sockaddr_t        sa;
    ngx_vmess_address_t  *target;

    ngx_memzero(peer, sizeof(ngx_vmess_peer_t));

    if (address->type == NGX_VMESS_ADDR_DOMAIN) {
        target = &flow->address;

        return (address->port == target->port
                && target->type == NGX_VMESS_ADDR_DOMAIN
                && address->domain.len == target->domain.len
                && ngx_memcmp(address->domain.data, target->domain.data,
                              target->domain.len) == 0)
               ? NGX_OK : NGX_DECLINED;
    }

    socklen = ngx_vmess_address_sockaddr(address, &sa);

    ngx_vmess_peer_create(peer, &sa, socklen);

    return NGX_OK;
}


ngx_int_t
ngx_vmess_mux_flow_deliver(ngx_vmess_mux_connection_t *mux)
{
    size_t                 len, size;
    ngx_int_t              rc;
    ngx_buf_t             *b;
    ngx_vmess_peer_t      *peer;
    ngx_vmess_mux_t       *m;
    ngx_vmess_mux_flow_t  *flow;
    ngx_vmess_mux_data_t  *d;

    b = &mux->in;
    m = &mux->frame;
    flow = mux->flow;

    len = ngx_min(m->length, (size_t) (b->last - b->pos));

    if (flow == NULL) {
        goto taken;
    }

    d = mux->packet;

    if (d == NULL) {

        size = sizeof(ngx_vmess_mux_data_t)
               + (flow->udp ? sizeof(ngx_vmess_peer_t) + m->length : len);

        /* the next one is held whatever its size: this is for others */

        if (flow->udp && flow->in
            && flow->held - flow->in->size + size > mux->limit)
        {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, mux->connection->log, 0,
                           "vmess datagram dropped, size:%uz", m->length);
            mux->flow = NULL;
            goto taken;
        }

        d = ngx_alloc(size, mux->connection->log);
        if (d == NULL) {
            return NGX_ERROR;
        }

        d->next = NULL;
        d->size = size;
        d->pos = d->data;
        d->last = d->data;

        if (flow->peers) {

            peer = (ngx_vmess_peer_t *) d->data;
            *peer = flow->peer;

            rc = (m->status == NGX_VMESS_MUX_KEEP && m->has_address)
                 ? ngx_vmess_mux_flow_peer(flow, &m->address, peer) : NGX_OK;

            if (rc != NGX_OK) {
                ngx_free(d);
                mux->flow = NULL;
                goto taken;
            }

            d->last += sizeof(ngx_vmess_peer_t);
        }
    }

    d->last = ngx_cpymem(d->last, b->pos, len);

    if (flow->udp && len < m->length) {
        mux->packet = d;
        goto taken;
    }

    mux->packet = NULL;

    *flow->in_last = d;
    flow->in_last = &d->next;
    flow->held += d->size;

    if (!flow->udp && flow->held > mux->limit) {
        mux->held = 1;
    }

    ngx_vmess_vconn_wake(flow->vconn, 0);

taken:

    b->pos += len;
    m->length -= len;

    return NGX_OK;
}


void
ngx_vmess_mux_flow_end(ngx_vmess_mux_flow_t *flow, ngx_uint_t error)
{
    flow->ended = 1;
    ngx_rbtree_delete(&flow->mux->rbtree, &flow->node);

    ngx_vmess_xudp_unname(&flow->xudp);

    if (error) {
        ngx_vmess_mux_flow_abort(flow);
        return;
    }

    ngx_vmess_vconn_wake(flow->vconn, 0);
}


void
ngx_vmess_mux_flow_abort(void *data)
{
    ngx_vmess_mux_flow_t *flow = data;

    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(flow->vconn->connection);

    if (vc) {
        ngx_vmess_account_leave(&vc->account);
    }

    ngx_vmess_vconn_abort(flow->vconn);
    ngx_vmess_mux_flow_close(flow);
}


void
ngx_vmess_mux_flow_wake(ngx_vmess_mux_connection_t *mux)
{
    ngx_queue_t           *q, *next;
    ngx_vmess_mux_flow_t  *flow;

    for (q = ngx_queue_head(&mux->waiting);
         q != ngx_queue_sentinel(&mux->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        flow = ngx_queue_data(q, ngx_vmess_mux_flow_t, queue);

        ngx_queue_remove(q);
        flow->waiting = 0;

        ngx_vmess_vconn_wake(flow->vconn, 1);
    }
}


void
ngx_vmess_mux_flow_leave(ngx_vmess_mux_connection_t *mux)
{
    ngx_queue_t           *q, *next;
    ngx_vmess_mux_flow_t  *flow;

    for (q = ngx_queue_head(&mux->flows);
         q != ngx_queue_sentinel(&mux->flows);
         q = next)
    {
        next = ngx_queue_next(q);
        flow = ngx_queue_data(q, ngx_vmess_mux_flow_t, all);

        ngx_vmess_mux_flow_detach(flow);

        if (ngx_vmess_xudp_orphan(&flow->xudp) == NGX_OK) {

            /* not what a worker that quits waits for */

            flow->vconn->connection->idle = 1;
            continue;
        }

        ngx_vmess_mux_flow_abort(flow);
    }

    if (mux->packet) {
        ngx_free(mux->packet);
    }
}


/* between the server and the virtual connection, as a layer is */

void
ngx_vmess_mux_flow_limit(ngx_connection_t *c)
{
    c->recv = ngx_vmess_mux_flow_recv_limited;
    c->send_chain = ngx_vmess_mux_flow_send_limited;
}


static ssize_t
ngx_vmess_mux_flow_recv_limited(ngx_connection_t *fc, u_char *buf, size_t size)
{
    size_t                   len;
    ssize_t                  n;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(fc);

    if (ngx_vmess_rate_read(&vc->rate, &vc->account) != NGX_OK) {
        return NGX_AGAIN;
    }

    n = vc->recv(fc, buf, size);

    if (n > 0) {
        len = n - (vc->cone ? sizeof(ngx_vmess_peer_t) : 0);

        ngx_vmess_account_count_flow(&vc->account, len, 0);
        ngx_vmess_rate_received(&vc->rate, &vc->account, len);
        ngx_vmess_account_touch(&vc->account);
    }

    return n;
}


static ngx_chain_t *
ngx_vmess_mux_flow_send_limited(ngx_connection_t *fc, ngx_chain_t *in,
    off_t limit)
{
    off_t                    sent;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(fc);

    sent = fc->sent;

    in = vc->send_chain(fc, in, limit);

    sent = fc->sent - sent;

    ngx_vmess_account_count_flow(&vc->account, 0, sent);
    ngx_vmess_rate_sent(&vc->rate, &vc->account, sent);

    if (sent) {
        ngx_vmess_account_touch(&vc->account);
    }

    return in;
}


static ssize_t
ngx_vmess_mux_flow_recv(void *data, u_char *buf, size_t size)
{
    ngx_vmess_mux_flow_t *flow = data;

    size_t                 n, len;
    ngx_vmess_mux_data_t  *d;

    if (flow->udp) {
        return ngx_vmess_mux_flow_recv_packet(flow, buf, size);
    }

    n = 0;

    while (flow->in && n < size) {

        d = flow->in;

        len = ngx_min((size_t) (d->last - d->pos), size - n);

        ngx_memcpy(buf + n, d->pos, len);

        d->pos += len;
        n += len;

        if (d->pos == d->last) {
            ngx_vmess_mux_flow_taken(flow, d);
        }
    }

    if (n) {

        if (flow->mux) {
            flow->mux->taken += n;
        }

        return n;
    }

    return flow->ended ? 0 : NGX_AGAIN;
}


static ssize_t
ngx_vmess_mux_flow_recv_packet(ngx_vmess_mux_flow_t *flow, u_char *buf,
    size_t size)
{
    size_t                   n;
    ngx_connection_t        *fc;
    ngx_vmess_mux_data_t    *d;
    ngx_vmess_connection_t  *vc;

    fc = flow->vconn->connection;
    vc = ngx_vmess_connection_get(fc);

    while (flow->in) {

        d = flow->in;

        if (flow->peers && !vc->cone) {
            ngx_memcpy(&vc->peer, d->pos, sizeof(ngx_vmess_peer_t));
            d->pos += sizeof(ngx_vmess_peer_t);
        }

        n = d->last - d->pos;

        if (n <= size) {
            ngx_memcpy(buf, d->pos, n);
        }

        ngx_vmess_mux_flow_taken(flow, d);

        if (n <= size) {
            vc->received++;

            if (flow->mux) {
                flow->mux->taken += n - (vc->cone ? sizeof(ngx_vmess_peer_t)
                                                  : 0);
            }

            return n;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, fc->log, 0,
                       "vmess datagram dropped, size:%uz", n);
    }

    if (flow->ended) {

        /* a session of datagrams knows no end of input */

        fc->close = 1;
        ngx_post_event(fc->read, &ngx_posted_events);
    }

    return NGX_AGAIN;
}


static void
ngx_vmess_mux_flow_taken(ngx_vmess_mux_flow_t *flow, ngx_vmess_mux_data_t *d)
{
    ngx_vmess_mux_connection_t  *mux;

    mux = flow->mux;

    flow->held -= d->size;
    flow->in = d->next;

    if (flow->in == NULL) {
        flow->in_last = &flow->in;
    }

    ngx_free(d);

    /* one that is over its limit has the last frame: it alone holds all up */

    if (mux && mux->held && mux->flow == flow
        && flow->held <= mux->limit / 2)
    {
        mux->held = 0;
        ngx_post_event(mux->connection->read, &ngx_posted_events);
    }
}


static ssize_t
ngx_vmess_mux_flow_send(void *data, u_char *buf, size_t size)
{
    ngx_vmess_mux_flow_t *flow = data;

    ssize_t                      n;
    ngx_vmess_mux_connection_t  *mux;

    mux = flow->mux;

    if (mux && flow->ended && flow->discarded < mux->limit) {

        /* End is that of both directions, but what came before it arrives */

        flow->discarded += size;

        return size;
    }

    if (flow->ended || mux == NULL || mux->done) {
        return NGX_ERROR;
    }

    n = ngx_vmess_mux_output_send(&mux->output, flow->id, buf, size);

    if (n == NGX_AGAIN && !flow->waiting) {
        flow->waiting = 1;
        ngx_queue_insert_tail(&mux->waiting, &flow->queue);

        ngx_post_event(mux->connection->write, &ngx_posted_events);
    }

    return n;
}


/* a datagram is sent whole, or not at all */

static ngx_chain_t *
ngx_vmess_mux_flow_send_packets(ngx_connection_t *fc, ngx_chain_t *in,
    off_t limit)
{
    size_t                       size;
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_sockaddr_t               sockaddr;
    struct sockaddr             *sa;
    ngx_vmess_peer_t             peer;
    ngx_vmess_mux_flow_t        *flow;
    ngx_vmess_connection_t      *vc;
    ngx_vmess_mux_connection_t  *mux;

    flow = ngx_vmess_vconn_get(fc)->data;
    vc = ngx_vmess_connection_get(fc);

    if (flow == NULL) {
        fc->write->error = 1;
        return NGX_CHAIN_ERROR;
    }

    mux = flow->mux;

    for ( /* void */ ; in; in = in->next) {

        b = in->buf;

        if (ngx_buf_special(b)) {
            continue;
        }

        sa = NULL;

        if (vc->cone && ngx_vmess_peer_parse(&peer, b) == NGX_OK
            && peer.socklen)
        {
            ngx_memcpy(&sockaddr, peer.sockaddr, peer.socklen);
            sa = &sockaddr.sockaddr;
        }

        size = b->last - b->pos;
        rc = NGX_AGAIN;

        if (mux && !mux->done && !flow->ended
            && size && size <= NGX_VMESS_MUX_DATA_LEN)
        {
            rc = ngx_vmess_mux_output_send_packet(&mux->output, flow->id, sa,
                                                  b);
        }

        b->pos = b->last;

        if (rc == NGX_ERROR) {
            fc->write->error = 1;
            return NGX_CHAIN_ERROR;
        }

        if (rc == NGX_AGAIN) {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, fc->log, 0,
                           "vmess datagram dropped, size:%uz", size);
            continue;
        }

        fc->sent += size;
        vc->sent++;
    }

    return NULL;
}


static void
ngx_vmess_mux_flow_close(void *data)
{
    ngx_vmess_mux_flow_t *flow = data;

    ngx_vmess_mux_data_t        *d;
    ngx_vmess_mux_connection_t  *mux;

    mux = flow->mux;

    if (mux) {

        if (!flow->ended) {
            ngx_vmess_mux_output_end(&mux->output, flow->id,
                                     flow->refused ? NGX_VMESS_MUX_ERROR : 0);
        }

        ngx_vmess_mux_flow_detach(flow);
    }

    ngx_vmess_xudp_close(&flow->xudp);

    while (flow->in) {
        d = flow->in;
        flow->in = d->next;
        ngx_free(d);
    }

    ngx_free(flow);
}
