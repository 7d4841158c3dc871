
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_mux_connection.h"
#include "ngx_vmess_xudp.h"


#define NGX_VMESS_MUX_BUFFER   (16 * 1024)   /* read from the client at once */
#define NGX_VMESS_MUX_READS    16            /* then others have their turn */
#define NGX_VMESS_MUX_BURST    (64 * 1024)   /* sent to it at once */

/* without a sub-connection, in ms; clients do it after 16 s */
#define NGX_VMESS_MUX_IDLE     60000


struct ngx_vmess_mux_data_s {
    ngx_vmess_mux_data_t        *next;
    size_t                       size;       /* of all of it */
    u_char                      *pos;
    u_char                      *last;
    u_char                       data[1];
};


static void ngx_vmess_mux_read_handler(ngx_event_t *rev);
static void ngx_vmess_mux_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_vmess_mux_read_client(ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_parse(ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_frame(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_invalid(ngx_vmess_mux_connection_t *mux,
    char *what, ngx_uint_t id);
static ngx_vmess_mux_flow_t *ngx_vmess_mux_lookup(
    ngx_vmess_mux_connection_t *mux, ngx_uint_t id);
static ngx_int_t ngx_vmess_mux_open(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_attach(ngx_vmess_mux_connection_t *mux,
    ngx_vmess_mux_flow_t *flow, ngx_uint_t id);
static void ngx_vmess_mux_detach(ngx_vmess_mux_flow_t *flow);
static ngx_int_t ngx_vmess_mux_deliver(ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_peer(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_address_t *address, ngx_vmess_peer_t *peer);
static void ngx_vmess_mux_end(ngx_vmess_mux_connection_t *mux, ngx_uint_t id,
    ngx_uint_t opt);
static void ngx_vmess_mux_forget(ngx_vmess_mux_flow_t *flow);
static ngx_int_t ngx_vmess_mux_write(ngx_vmess_mux_connection_t *mux,
    u_char *p, size_t len);
static ngx_int_t ngx_vmess_mux_flush(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_wake(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_events(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_close(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t error);
static void ngx_vmess_mux_cleanup(void *data);

static ssize_t ngx_vmess_mux_recv(void *data, u_char *buf, size_t size);
static ssize_t ngx_vmess_mux_recv_packet(ngx_vmess_mux_flow_t *flow,
    u_char *buf, size_t size);
static void ngx_vmess_mux_taken(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_data_t *d);
static ssize_t ngx_vmess_mux_send(void *data, u_char *buf, size_t size);
static ngx_chain_t *ngx_vmess_mux_send_packets(ngx_connection_t *fc,
    ngx_chain_t *in, off_t limit);
static void ngx_vmess_mux_flow_close(void *data);


static const ngx_vmess_carrier_t  ngx_vmess_mux_carrier = {
    ngx_string("mux"),
    ngx_vmess_mux_recv,
    ngx_vmess_mux_send,
    NULL,
    ngx_vmess_mux_flow_close,
    0
};


/* frames being made; the layers below use the scratch area of the worker */

static u_char  ngx_vmess_mux_scratch[NGX_VMESS_MUX_BURST];


void
ngx_vmess_mux_close_flow(ngx_vmess_mux_flow_t *flow)
{
    ngx_vmess_vconn_abort(flow->vconn);
    ngx_vmess_mux_flow_close(flow);
}


ngx_vmess_mux_flow_t *
ngx_vmess_mux_get_flow(ngx_connection_t *c)
{
    ngx_vmess_vconn_t  *vconn;

    vconn = ngx_vmess_vconn_get(c);

    return (vconn && vconn->carrier == &ngx_vmess_mux_carrier) ? vconn->data
                                                               : NULL;
}


ngx_int_t
ngx_vmess_mux_start(ngx_vmess_mux_connection_t *mux)
{
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;

    c = mux->connection;

    /* of each sub-connection, and of a frame that belongs to none */

    mux->ends = ngx_pnalloc(c->pool, (mux->max + 1) * NGX_VMESS_MUX_HEADER_LEN);
    cln = ngx_pool_cleanup_add(c->pool, 0);

    if (mux->ends == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_vmess_mux_cleanup;
    cln->data = mux;

    ngx_rbtree_init(&mux->rbtree, &mux->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&mux->flows);
    ngx_queue_init(&mux->waiting);

    mux->vc->mux = mux;

    c->read->handler = ngx_vmess_mux_read_handler;
    c->write->handler = ngx_vmess_mux_write_handler;

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_vmess_mux_read_handler(ngx_event_t *rev)
{
    ngx_connection_t            *c;
    ngx_vmess_mux_connection_t  *mux;

    c = rev->data;
    mux = ngx_vmess_connection_get(c)->mux;

    if (mux->done) {
        return;
    }

    if (c->close) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "shutdown timeout");
        ngx_vmess_mux_close(mux, 0);
        return;
    }

    if (rev->timedout) {
        ngx_vmess_mux_close(mux, 0);
        return;
    }

    if (ngx_vmess_mux_read_client(mux) == NGX_OK) {
        ngx_vmess_mux_events(mux);
    }
}


static void
ngx_vmess_mux_write_handler(ngx_event_t *wev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_vmess_mux_connection_t  *mux;

    c = wev->data;
    mux = ngx_vmess_connection_get(c)->mux;

    if (mux->done) {
        return;
    }

    rc = ngx_vmess_mux_flush(mux);

    if (rc == NGX_ERROR) {
        ngx_vmess_mux_close(mux, 1);
        return;
    }

    if (rc == NGX_OK) {
        ngx_vmess_mux_wake(mux);

        /* it may have stopped for a full queue of End frames */

        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_vmess_mux_events(mux);
}


/* NGX_OK, or NGX_DONE if the connection is being closed */

static ngx_int_t
ngx_vmess_mux_read_client(ngx_vmess_mux_connection_t *mux)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_uint_t         reads;
    ngx_connection_t  *c;

    c = mux->connection;
    b = &mux->in;

    for (reads = 0; /* void */ ; reads++) {

        rc = ngx_vmess_mux_parse(mux);

        if (rc == NGX_ERROR) {
            ngx_vmess_mux_close(mux, 1);
            return NGX_DONE;
        }

        if (rc == NGX_BUSY) {
            return NGX_OK;
        }

        /* all was taken */

        if (reads == NGX_VMESS_MUX_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        if (b->start == NULL) {
            b->start = ngx_alloc(NGX_VMESS_MUX_BUFFER, c->log);
            if (b->start == NULL) {
                ngx_vmess_mux_close(mux, 1);
                return NGX_DONE;
            }

            b->end = b->start + NGX_VMESS_MUX_BUFFER;
        }

        b->pos = b->start;
        b->last = b->start;

        n = c->recv(c, b->start, NGX_VMESS_MUX_BUFFER);

        if (n == NGX_AGAIN) {
            ngx_vmess_connection_free_buf(b);
            return NGX_OK;
        }

        /* a client that resets has gone, as for the stream proxy */

        if (n <= 0) {
            ngx_vmess_mux_close(mux, 0);
            return NGX_DONE;
        }

        b->last = b->start + n;
        mux->received += n;
    }
}


/* NGX_AGAIN: all was taken, NGX_BUSY: what is left must wait, or NGX_ERROR */

static ngx_int_t
ngx_vmess_mux_parse(ngx_vmess_mux_connection_t *mux)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_vmess_mux_t  *m;

    b = &mux->in;
    m = &mux->frame;

    while (b->pos < b->last) {

        if (mux->held || mux->ends_len) {
            return NGX_BUSY;
        }

        if (m->length) {

            if (ngx_vmess_mux_deliver(mux) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        rc = ngx_vmess_mux_read(m, b);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc == NGX_ERROR) {
            ngx_vmess_mux_invalid(mux, "Mux.Cool frame", 0);
            return NGX_ERROR;
        }

        if (ngx_vmess_mux_frame(mux) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


/* a header of a frame is read: whose is it? */

static ngx_int_t
ngx_vmess_mux_frame(ngx_vmess_mux_connection_t *mux)
{
    ngx_vmess_mux_t       *m;
    ngx_vmess_mux_flow_t  *flow;

    m = &mux->frame;

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, mux->connection->log, 0,
                   "vmess mux frame id:%ui status:%ui length:%uz",
                   m->id, m->status, m->length);

    mux->flow = NULL;

    flow = ngx_vmess_mux_lookup(mux, m->id);

    switch (m->status) {

    case NGX_VMESS_MUX_NEW:

        if (flow) {
            ngx_log_error(NGX_LOG_INFO, mux->connection->log, 0,
                          "client opened sub-connection %ui twice", m->id);
            ngx_vmess_mux_end(mux, m->id, NGX_VMESS_MUX_ERROR);
            return NGX_OK;
        }

        return ngx_vmess_mux_open(mux);

    case NGX_VMESS_MUX_KEEP:

        if (flow && flow->udp && m->bad_address) {
            ngx_vmess_mux_invalid(mux, "peer of a datagram in", 1);

            ngx_vmess_mux_close_flow(flow);

        } else if (flow) {
            mux->flow = flow;

        } else if (m->length) {
            ngx_vmess_mux_end(mux, m->id, 0);
        }

        return NGX_OK;

    case NGX_VMESS_MUX_END:

        if (flow) {
            flow->ended = 1;
            ngx_rbtree_delete(&mux->rbtree, &flow->node);

            ngx_vmess_xudp_unname(flow);

            if (m->opt & NGX_VMESS_MUX_ERROR) {
                ngx_vmess_mux_close_flow(flow);

            } else {
                ngx_vmess_vconn_wake(flow->vconn, 0);
            }
        }

        return NGX_OK;

    default: /* NGX_VMESS_MUX_KEEPALIVE */
        return NGX_OK;
    }
}


static void
ngx_vmess_mux_invalid(ngx_vmess_mux_connection_t *mux, char *what,
    ngx_uint_t id)
{
    u_char            *p, *last, number[sizeof(" sub-connection 65535")],
                       domain[NGX_VMESS_ADDRESS_ESCAPED + 3];
    ngx_vmess_mux_t   *m;

    m = &mux->frame;

    p = number;
    last = domain;

    if (id) {
        p = ngx_sprintf(p, " sub-connection %ui", m->id);
    }

    if (m->err == m->address.err && m->address.domain.len) {
        *last++ = ' ';
        *last++ = '"';
        last = ngx_vmess_address_escape(&m->address, last);
        *last++ = '"';
    }

    ngx_log_error(NGX_LOG_INFO, mux->connection->log, 0,
                  "client sent invalid %s%*s: %s%*s",
                  what, (size_t) (p - number), number, m->err,
                  (size_t) (last - domain), domain);
}


static ngx_vmess_mux_flow_t *
ngx_vmess_mux_lookup(ngx_vmess_mux_connection_t *mux, ngx_uint_t id)
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


static ngx_int_t
ngx_vmess_mux_open(ngx_vmess_mux_connection_t *mux)
{
    ngx_int_t                 rc;
    ngx_connection_t         *c, *fc;
    ngx_vmess_mux_t          *m;
    ngx_vmess_peer_t          peer;
    ngx_vmess_user_t         *user;
    ngx_vmess_mux_flow_t     *flow;
    ngx_vmess_vconn_addrs_t   addrs;

    m = &mux->frame;
    c = mux->connection;
    user = mux->vc->account.user;
    flow = NULL;

    if (m->bad_address) {
        ngx_vmess_mux_invalid(mux, "target of", 1);
        goto refused;
    }

    /* a sub-connection is a new flow, however old the connection is */

    if (ngx_vmess_account_check(mux->vc->zone, &mux->vc->account) != NGX_OK) {

        (void) ngx_atomic_fetch_add(&user->refused, 1);

        if (!mux->revoked) {
            mux->revoked = 1;

            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "client opened a sub-connection of user \"%V\", who "
                          "is gone or has another id", &user->name.str);
        }

        goto refused;
    }

    if (m->has_global_id) {
        flow = ngx_vmess_xudp_find(mux->vc->zone, user, m->global_id);
    }

    if (flow && (flow->mux == mux || mux->n < mux->max)) {

        if (flow->listen == mux->listen
            && ngx_vmess_mux_peer(flow, &m->address, &peer) == NGX_OK)
        {

            /* the client comes again: its session goes on */

            if (flow->mux) {
                ngx_vmess_mux_end(flow->mux, flow->id, 0);
            }

            flow->peer = peer;

            ngx_vmess_mux_detach(flow);
            ngx_vmess_mux_attach(mux, flow, m->id);

            return NGX_OK;
        }

        /*
         * Its new target has a name, which the session cannot resolve, or
         * the rules of another server are for it: the old session loses its
         * name, and ends if it waits for the client that comes here
         */

        if (flow->mux) {
            ngx_vmess_xudp_unname(flow);

        } else {
            ngx_vmess_mux_close_flow(flow);
        }
    }

    if (mux->n >= mux->max) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "client opened more than %ui sub-connections", mux->max);
        goto refused;
    }

    flow = ngx_calloc(sizeof(ngx_vmess_mux_flow_t), c->log);
    if (flow == NULL) {
        return NGX_ERROR;
    }

    flow->vconn = ngx_vmess_vconn_addrs(&addrs, c) == NGX_OK
                  ? ngx_vmess_vconn_create(&addrs, &ngx_vmess_mux_carrier,
                                           flow, mux->listen)
                  : NULL;

    if (flow->vconn == NULL) {
        ngx_free(flow);
        goto refused;
    }

    flow->in_last = &flow->in;
    flow->user = user;
    flow->zone = mux->vc->zone;
    flow->listen = mux->listen;
    flow->adopted = (ngx_socket_t) -1;
    flow->udp = (m->network == NGX_VMESS_MUX_UDP);

    /* XUDP has one session, of that number, or a Global ID */

    flow->xudp = (flow->udp && (m->id == 0 || m->has_global_id));

    flow->address = m->address;
    flow->address.domain.data = flow->address.data;

    if (flow->udp) {
        fc = flow->vconn->connection;
        fc->type = SOCK_DGRAM;
        fc->send_chain = ngx_vmess_mux_send_packets;
    }

    rc = m->has_global_id ? ngx_vmess_xudp_set_name(flow, m->global_id)
                          : NGX_OK;

    ngx_vmess_mux_attach(mux, flow, m->id);

    if (rc == NGX_OK) {

        /* may close it at once */

        ngx_vmess_vconn_start(flow->vconn);
    }

    return NGX_OK;

refused:

    ngx_vmess_mux_end(mux, m->id, NGX_VMESS_MUX_ERROR);

    return NGX_OK;
}


static void
ngx_vmess_mux_attach(ngx_vmess_mux_connection_t *mux,
    ngx_vmess_mux_flow_t *flow, ngx_uint_t id)
{
    ngx_connection_t  *c;

    c = mux->connection;

    flow->mux = mux;
    flow->id = id;
    flow->node.key = id;

    ngx_rbtree_insert(&mux->rbtree, &flow->node);
    ngx_queue_insert_tail(&mux->flows, &flow->all);
    mux->n++;

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    mux->flow = flow;
}


static void
ngx_vmess_mux_detach(ngx_vmess_mux_flow_t *flow)
{
    ngx_connection_t            *c;
    ngx_vmess_mux_connection_t  *mux;

    mux = flow->mux;

    if (mux == NULL) {
        ngx_vmess_xudp_adopt(flow);
        return;
    }

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
        ngx_add_timer(c->read, NGX_VMESS_MUX_IDLE);
    }
}


/*
 * Data of a frame.  A datagram is kept whole, or dropped if there is no room:
 * it holds up nothing.
 */

static ngx_int_t
ngx_vmess_mux_deliver(ngx_vmess_mux_connection_t *mux)
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

        /* the next one is held whatever its size, this is for those behind it */

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

        if (flow->xudp) {

            peer = (ngx_vmess_peer_t *) d->data;
            *peer = flow->peer;

            rc = (m->status == NGX_VMESS_MUX_KEEP && m->has_address)
                 ? ngx_vmess_mux_peer(flow, &m->address, peer) : NGX_OK;

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


/*
 * The peer of a datagram, none if it is the target of the flow.  NGX_DECLINED:
 * it has another name, which cannot be resolved here.
 */

static ngx_int_t
ngx_vmess_mux_peer(ngx_vmess_mux_flow_t *flow, ngx_vmess_address_t *address,
    ngx_vmess_peer_t *peer)
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


/*
 * Nothing is read from the client while End frames wait, so there is room for
 * one of each sub-connection and another one.
 */

static void
ngx_vmess_mux_end(ngx_vmess_mux_connection_t *mux, ngx_uint_t id,
    ngx_uint_t opt)
{
    u_char  *p;

    p = mux->ends + mux->ends_len + NGX_VMESS_MUX_HEADER_LEN;

    ngx_vmess_mux_header(p, id, NGX_VMESS_MUX_END, opt, NULL, 0);

    mux->ends_len += NGX_VMESS_MUX_HEADER_LEN;

    ngx_post_event(mux->connection->write, &ngx_posted_events);
}


/* NGX_OK: taken, all of it, NGX_AGAIN: nothing, or NGX_ERROR */

static ngx_int_t
ngx_vmess_mux_write(ngx_vmess_mux_connection_t *mux, u_char *p, size_t len)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = mux->connection;

    if (c->write->error) {
        return NGX_ERROR;
    }

    n = c->send(c, p, len);

    if (n == NGX_AGAIN && mux->vc->out.raw) {

        /* TLS may have begun to send it, and must be given it again */

        n = 0;
    }

    if (n == NGX_AGAIN || n == NGX_ERROR) {
        return n;
    }

    if ((size_t) n == len) {
        return NGX_OK;
    }

    /* frames must not be cut */

    p += n;
    len -= n;

    mux->out.start = ngx_alloc(len, c->log);
    if (mux->out.start == NULL) {
        return NGX_ERROR;
    }

    mux->out.pos = mux->out.start;
    mux->out.last = ngx_cpymem(mux->out.pos, p, len);

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_mux_flush(ngx_vmess_mux_connection_t *mux)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = mux->connection;
    b = &mux->out;

    /* TLS must not be asked to write after an error */

    if (c->write->error) {
        return NGX_ERROR;
    }

    while (b->start) {

        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            return n;
        }

        b->pos += n;

        if (b->pos == b->last) {
            ngx_vmess_connection_free_buf(b);
        }
    }

    if (mux->ends_len) {

        rc = ngx_vmess_mux_write(mux, mux->ends, mux->ends_len);

        if (rc != NGX_OK) {
            return rc;
        }

        mux->ends_len = 0;

        if (b->start) {
            return NGX_AGAIN;
        }
    }

    if (c->buffered && c->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    /* without chunks nothing is held, and yet nothing more can be sent */

    return (c->buffered || !c->write->ready) ? NGX_AGAIN : NGX_OK;
}


static void
ngx_vmess_mux_wake(ngx_vmess_mux_connection_t *mux)
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


static void
ngx_vmess_mux_events(ngx_vmess_mux_connection_t *mux)
{
    ngx_connection_t  *c;

    c = mux->connection;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_vmess_mux_close(mux, 1);
        return;
    }

    if (mux->n == 0 && !c->read->timer_set) {
        ngx_add_timer(c->read, NGX_VMESS_MUX_IDLE);
    }
}


static void
ngx_vmess_mux_close(ngx_vmess_mux_connection_t *mux, ngx_uint_t error)
{
    mux->done = 1;
    mux->close(mux, error);
}


/* the connection goes, and all that is in it */

static void
ngx_vmess_mux_cleanup(void *data)
{
    ngx_vmess_mux_connection_t *mux = data;

    ngx_queue_t           *q, *next;
    ngx_vmess_mux_flow_t  *flow;

    mux->done = 1;

    for (q = ngx_queue_head(&mux->flows);
         q != ngx_queue_sentinel(&mux->flows);
         q = next)
    {
        next = ngx_queue_next(q);
        flow = ngx_queue_data(q, ngx_vmess_mux_flow_t, all);

        if (ngx_vmess_xudp_orphan(flow) == NGX_OK) {
            ngx_vmess_mux_detach(flow);
            continue;
        }

        ngx_vmess_vconn_abort(flow->vconn);
        ngx_vmess_mux_forget(flow);
    }

    if (mux->packet) {
        ngx_free(mux->packet);
    }

    ngx_vmess_connection_free_buf(&mux->in);
    ngx_vmess_connection_free_buf(&mux->out);
}


static void
ngx_vmess_mux_forget(ngx_vmess_mux_flow_t *flow)
{
    ngx_vmess_mux_data_t  *d;

    ngx_vmess_mux_detach(flow);

    ngx_vmess_xudp_close(flow);

    while (flow->in) {
        d = flow->in;
        flow->in = d->next;
        ngx_free(d);
    }

    ngx_free(flow);
}


static ssize_t
ngx_vmess_mux_recv(void *data, u_char *buf, size_t size)
{
    ngx_vmess_mux_flow_t *flow = data;

    size_t                 n, len;
    ngx_vmess_mux_data_t  *d;

    if (flow->udp) {
        return ngx_vmess_mux_recv_packet(flow, buf, size);
    }

    n = 0;

    while (flow->in && n < size) {

        d = flow->in;

        len = ngx_min((size_t) (d->last - d->pos), size - n);

        ngx_memcpy(buf + n, d->pos, len);

        d->pos += len;
        n += len;

        if (d->pos == d->last) {
            ngx_vmess_mux_taken(flow, d);
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
ngx_vmess_mux_recv_packet(ngx_vmess_mux_flow_t *flow, u_char *buf, size_t size)
{
    size_t                   n;
    ngx_connection_t        *fc;
    ngx_vmess_mux_data_t    *d;
    ngx_vmess_connection_t  *vc;

    fc = flow->vconn->connection;
    vc = ngx_vmess_connection_get(fc);

    while (flow->in) {

        d = flow->in;

        if (flow->xudp && !vc->cone) {
            ngx_memcpy(&vc->peer, d->pos, sizeof(ngx_vmess_peer_t));
            d->pos += sizeof(ngx_vmess_peer_t);
        }

        n = d->last - d->pos;

        if (n <= size) {
            ngx_memcpy(buf, d->pos, n);
        }

        ngx_vmess_mux_taken(flow, d);

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
ngx_vmess_mux_taken(ngx_vmess_mux_flow_t *flow, ngx_vmess_mux_data_t *d)
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
ngx_vmess_mux_send(void *data, u_char *buf, size_t size)
{
    ngx_vmess_mux_flow_t *flow = data;

    u_char                      *p, *start, *last;
    size_t                       len, n;
    ngx_int_t                    rc;
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

    if (mux->out.start || mux->ends_len) {
        goto again;
    }

    p = ngx_vmess_mux_scratch;
    last = p + NGX_VMESS_MUX_BURST;
    n = 0;

    while (n < size) {

        len = ngx_min(size - n, NGX_VMESS_MUX_DATA_LEN);

        if ((size_t) (last - p) < NGX_VMESS_MUX_HEADER_MAX + len) {
            break;
        }

        start = p + NGX_VMESS_MUX_HEADER_LEN + NGX_VMESS_MUX_LENGTH_LEN;

        ngx_vmess_mux_header(start, flow->id, NGX_VMESS_MUX_KEEP,
                             NGX_VMESS_MUX_DATA, NULL, len);

        p = ngx_cpymem(start, buf + n, len);
        n += len;
    }

    rc = ngx_vmess_mux_write(mux, ngx_vmess_mux_scratch,
                             p - ngx_vmess_mux_scratch);

    if (rc == NGX_OK) {

        if (mux->connection->buffered || mux->out.start) {
            ngx_post_event(mux->connection->write, &ngx_posted_events);
        }

        mux->sent += n;

        return n;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

again:

    if (!flow->waiting) {
        flow->waiting = 1;
        ngx_queue_insert_tail(&mux->waiting, &flow->queue);

        ngx_post_event(mux->connection->write, &ngx_posted_events);
    }

    return NGX_AGAIN;
}


/* a datagram is sent whole, or not at all */

static ngx_chain_t *
ngx_vmess_mux_send_packets(ngx_connection_t *fc, ngx_chain_t *in, off_t limit)
{
    u_char                      *p, *start;
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

        if (mux == NULL || mux->done || flow->ended
            || mux->out.start || mux->ends_len
            || size == 0 || size > NGX_VMESS_MUX_DATA_LEN)
        {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, fc->log, 0,
                           "vmess datagram dropped, size:%uz", size);
            b->pos = b->last;
            continue;
        }

        start = ngx_vmess_mux_scratch + NGX_VMESS_MUX_HEADER_MAX;

        p = ngx_vmess_mux_header(start, flow->id, NGX_VMESS_MUX_KEEP,
                                 NGX_VMESS_MUX_DATA, sa, size);

        ngx_memcpy(start, b->pos, size);
        b->pos = b->last;

        rc = ngx_vmess_mux_write(mux, p, start - p + size);

        if (rc == NGX_ERROR) {
            fc->write->error = 1;
            return NGX_CHAIN_ERROR;
        }

        if (rc == NGX_OK) {
            fc->sent += size;
            vc->sent++;
            mux->sent += size;
        }
    }

    if (mux && (mux->connection->buffered || mux->out.start)) {
        ngx_post_event(mux->connection->write, &ngx_posted_events);
    }

    return NULL;
}


static void
ngx_vmess_mux_flow_close(void *data)
{
    ngx_vmess_mux_flow_t *flow = data;

    if (flow->mux && !flow->ended) {
        ngx_vmess_mux_end(flow->mux, flow->id, 0);
    }

    ngx_vmess_mux_forget(flow);
}
