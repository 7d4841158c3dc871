
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_mux_connection.h"
#include "ngx_vmess_admit.h"
#include "ngx_vmess_ident.h"


/* read from the client at once, and so often: then others have their turn */

#define NGX_VMESS_MUX_CONNECTION_BUFFER  (16 * 1024)
#define NGX_VMESS_MUX_CONNECTION_READS   16


static void ngx_vmess_mux_connection_read_handler(ngx_event_t *rev);
static void ngx_vmess_mux_connection_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_vmess_mux_connection_read(
    ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_connection_parse(
    ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_connection_frame(
    ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_connection_new(ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_connection_again(
    ngx_vmess_mux_connection_t *mux);
static ngx_int_t ngx_vmess_mux_connection_admit(
    ngx_vmess_mux_connection_t *mux, ngx_vmess_mux_flow_t *flow);
static void ngx_vmess_mux_connection_invalid(ngx_vmess_mux_connection_t *mux,
    char *what, ngx_uint_t id);
static void ngx_vmess_mux_connection_events(ngx_vmess_mux_connection_t *mux);
static void ngx_vmess_mux_connection_close(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t error);
static void ngx_vmess_mux_connection_cleanup(void *data);


ngx_int_t
ngx_vmess_mux_connection_start(ngx_vmess_mux_connection_t *mux)
{
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;

    c = mux->connection;

    if (ngx_vmess_mux_output_init(&mux->output, c, mux->max) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_vmess_mux_connection_cleanup;
    cln->data = mux;

    ngx_rbtree_init(&mux->rbtree, &mux->sentinel, ngx_rbtree_insert_value);
    ngx_queue_init(&mux->flows);
    ngx_queue_init(&mux->waiting);

    mux->vc->mux = mux;

    c->read->handler = ngx_vmess_mux_connection_read_handler;
    c->write->handler = ngx_vmess_mux_connection_write_handler;

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_OK;
}


static void
ngx_vmess_mux_connection_read_handler(ngx_event_t *rev)
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
        ngx_vmess_mux_connection_close(mux, 0);
        return;
    }

    if (rev->timedout) {
        ngx_vmess_mux_connection_close(mux, 0);
        return;
    }

    if (ngx_vmess_mux_connection_read(mux) == NGX_OK) {
        ngx_vmess_mux_connection_events(mux);
    }
}


static void
ngx_vmess_mux_connection_write_handler(ngx_event_t *wev)
{
    ngx_int_t                    rc;
    ngx_connection_t            *c;
    ngx_vmess_mux_connection_t  *mux;

    c = wev->data;
    mux = ngx_vmess_connection_get(c)->mux;

    if (mux->done) {
        return;
    }

    rc = ngx_vmess_mux_output_flush(&mux->output);

    if (rc == NGX_ERROR) {
        ngx_vmess_mux_connection_close(mux, 1);
        return;
    }

    if (rc == NGX_OK) {
        ngx_vmess_mux_flow_wake(mux);

        /* it may have stopped for a full queue of End frames */

        ngx_post_event(c->read, &ngx_posted_events);
    }

    ngx_vmess_mux_connection_events(mux);
}


/* NGX_OK, or NGX_DONE if the connection is being closed */

static ngx_int_t
ngx_vmess_mux_connection_read(ngx_vmess_mux_connection_t *mux)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_uint_t         reads;
    ngx_connection_t  *c;

    c = mux->connection;
    b = &mux->in;

    for (reads = 0; /* void */ ; reads++) {

        rc = ngx_vmess_mux_connection_parse(mux);

        if (rc == NGX_ERROR) {
            ngx_vmess_mux_connection_close(mux, 1);
            return NGX_DONE;
        }

        if (rc == NGX_BUSY) {
            return NGX_OK;
        }

        /* all was taken */

        if (reads == NGX_VMESS_MUX_CONNECTION_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        if (b->start == NULL) {
            b->start = ngx_alloc(NGX_VMESS_MUX_CONNECTION_BUFFER, c->log);
            if (b->start == NULL) {
                ngx_vmess_mux_connection_close(mux, 1);
                return NGX_DONE;
            }

            b->end = b->start + NGX_VMESS_MUX_CONNECTION_BUFFER;
        }

        b->pos = b->start;
        b->last = b->start;

        n = c->recv(c, b->start, NGX_VMESS_MUX_CONNECTION_BUFFER);

        if (n == NGX_AGAIN) {
            ngx_vmess_connection_free_buf(b);
            return NGX_OK;
        }

        /* a client that resets has gone, as for the stream proxy */

        if (n <= 0) {
            ngx_vmess_mux_connection_close(mux, 0);
            return NGX_DONE;
        }

        b->last = b->start + n;
        mux->received += n;
    }
}


/* NGX_AGAIN: all was taken, NGX_BUSY: what is left must wait, or NGX_ERROR */

static ngx_int_t
ngx_vmess_mux_connection_parse(ngx_vmess_mux_connection_t *mux)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_vmess_mux_t  *m;

    b = &mux->in;
    m = &mux->frame;

    while (b->pos < b->last) {

        if (mux->held || mux->output.ends_len) {
            return NGX_BUSY;
        }

        if (m->length) {

            if (ngx_vmess_mux_flow_deliver(mux) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        rc = ngx_vmess_mux_read(m, b);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc == NGX_ERROR) {
            ngx_vmess_mux_connection_invalid(mux, "Mux.Cool frame", 0);
            return NGX_ERROR;
        }

        if (ngx_vmess_mux_connection_frame(mux) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_AGAIN;
}


/* a header of a frame is read: whose is it? */

static ngx_int_t
ngx_vmess_mux_connection_frame(ngx_vmess_mux_connection_t *mux)
{
    ngx_vmess_mux_t       *m;
    ngx_vmess_mux_flow_t  *flow;

    m = &mux->frame;

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, mux->connection->log, 0,
                   "vmess mux frame id:%ui status:%ui length:%uz",
                   m->id, m->status, m->length);

    mux->flow = NULL;

    flow = ngx_vmess_mux_flow_find(mux, m->id);

    switch (m->status) {

    case NGX_VMESS_MUX_NEW:

        if (flow) {
            ngx_log_error(NGX_LOG_INFO, mux->connection->log, 0,
                          "client opened sub-connection %ui twice", m->id);
            ngx_vmess_mux_output_end(&mux->output, m->id, NGX_VMESS_MUX_ERROR);
            return NGX_OK;
        }

        return ngx_vmess_mux_connection_new(mux);

    case NGX_VMESS_MUX_KEEP:

        if (flow && flow->udp && m->bad_address) {
            ngx_vmess_mux_connection_invalid(mux, "peer of a datagram in", 1);

            ngx_vmess_mux_flow_abort(flow);

        } else if (flow) {
            mux->flow = flow;

        } else if (m->length) {
            ngx_vmess_mux_output_end(&mux->output, m->id, 0);
        }

        return NGX_OK;

    case NGX_VMESS_MUX_END:

        if (flow) {
            ngx_vmess_mux_flow_end(flow, m->opt & NGX_VMESS_MUX_ERROR);
        }

        return NGX_OK;

    default: /* NGX_VMESS_MUX_KEEPALIVE */
        return NGX_OK;
    }
}


static ngx_int_t
ngx_vmess_mux_connection_new(ngx_vmess_mux_connection_t *mux)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_vmess_mux_t     *m;
    ngx_vmess_status_e   status;

    m = &mux->frame;
    c = mux->connection;

    if (m->bad_address) {
        ngx_vmess_mux_connection_invalid(mux, "target of", 1);
        goto refused;
    }

    /* a sub-connection is a new flow, however old the connection is */

    status = ngx_vmess_admit_check(&mux->vc->account, 0);

    if (status == NGX_VMESS_STATUS_OK) {

        if (m->has_global_id && ngx_vmess_mux_connection_again(mux) == NGX_OK) {
            return NGX_OK;
        }

        /* its session may be at another worker, and ends before this starts */

        status = ngx_vmess_admit_check(&mux->vc->account, !m->has_global_id);
    }

    if (status != NGX_VMESS_STATUS_OK) {

        ngx_vmess_account_refuse(&mux->vc->account, status);

        if (!mux->revoked) {
            mux->revoked = 1;

            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "client opened a sub-connection of user \"%V\", "
                          "who %s", &mux->vc->account.user->name,
                          ngx_vmess_status(status)->who);
        }

        goto refused;
    }

    if (mux->n >= mux->max) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "client opened more than %ui sub-connections", mux->max);
        goto refused;
    }

    rc = ngx_vmess_mux_flow_open(mux);

    if (rc != NGX_DECLINED) {
        return rc;
    }

refused:

    ngx_vmess_mux_output_end(&mux->output, m->id, NGX_VMESS_MUX_ERROR);

    return NGX_OK;
}


/*
 * The client comes again: its session goes on, NGX_OK.  NGX_DECLINED: there is
 * none, or its new target has a name, which the session cannot resolve, or the
 * rules of another server are for it.
 */

static ngx_int_t
ngx_vmess_mux_connection_again(ngx_vmess_mux_connection_t *mux)
{
    ngx_vmess_mux_t       *m;
    ngx_vmess_peer_t       peer;
    ngx_vmess_xudp_t      *x;
    ngx_vmess_mux_flow_t  *flow;

    m = &mux->frame;

    x = ngx_vmess_xudp_find(mux->vc->account.zone, mux->vc->account.user,
                            m->global_id);
    if (x == NULL) {
        return NGX_DECLINED;
    }

    flow = x->data;

    if (flow->mux != mux && mux->n >= mux->max) {
        return NGX_DECLINED;
    }

    if (x->listen != mux->listen
        || ngx_vmess_mux_flow_peer(flow, &m->address, &peer) != NGX_OK
        || ngx_vmess_mux_connection_admit(mux, flow) != NGX_OK)
    {
        ngx_vmess_xudp_replace(x);
        return NGX_DECLINED;
    }

    ngx_vmess_mux_flow_move(flow, mux, &peer);

    return NGX_OK;
}


/* the address may be another one than that of the connection before */

static ngx_int_t
ngx_vmess_mux_connection_admit(ngx_vmess_mux_connection_t *mux,
    ngx_vmess_mux_flow_t *flow)
{
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(flow->vconn->connection);

    return vc ? ngx_vmess_admit_move(&vc->account, &mux->vc->account) : NGX_OK;
}


static void
ngx_vmess_mux_connection_invalid(ngx_vmess_mux_connection_t *mux, char *what,
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


static void
ngx_vmess_mux_connection_events(ngx_vmess_mux_connection_t *mux)
{
    ngx_connection_t  *c;

    c = mux->connection;

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_vmess_mux_connection_close(mux, 1);
        return;
    }

    if (mux->n == 0 && !c->read->timer_set) {
        ngx_add_timer(c->read, NGX_VMESS_MUX_FLOW_IDLE);
    }
}


static void
ngx_vmess_mux_connection_close(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t error)
{
    mux->done = 1;
    mux->close(mux, error);
}


static void
ngx_vmess_mux_connection_cleanup(void *data)
{
    ngx_vmess_mux_connection_t *mux = data;

    mux->done = 1;

    ngx_vmess_mux_flow_leave(mux);

    ngx_vmess_connection_free_buf(&mux->in);
    ngx_vmess_connection_free_buf(&mux->output.rest);
}
