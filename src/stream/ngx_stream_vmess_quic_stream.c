
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_quic_stream.h"
#include "ngx_stream_vmess_compat.h"


#if (NGX_VMESS_QUIC)


/*
 * How long a client has to end its stream when all was sent to it, in ms.
 * v2ray loses what it reads together with the end of a stream, so it has to see
 * the end that VMess has itself before.  sing-box does not look for that one,
 * and waits for the end of the stream; by default it alone offers "h3".  Told
 * to send no more, both forget what they have not read yet.
 */

#define NGX_STREAM_VMESS_QUIC_LINGER  5000


typedef struct {
    ngx_connection_t            *connection;  /* the stream */
    ngx_vmess_vconn_t           *vconn;       /* NULL: it has closed */
    unsigned                     authentic:1;
    unsigned                     patient:1;   /* the client is no sing-box */
    unsigned                     chunks:1;    /* which have their own end */
} ngx_stream_vmess_quic_stream_t;


static void ngx_stream_vmess_quic_stream_read_handler(ngx_event_t *rev);
static void ngx_stream_vmess_quic_stream_write_handler(ngx_event_t *wev);
static void ngx_stream_vmess_quic_stream_linger(ngx_connection_t *c);
static ssize_t ngx_stream_vmess_quic_stream_recv(void *data, u_char *buf,
    size_t size);
static ssize_t ngx_stream_vmess_quic_stream_send(void *data, u_char *buf,
    size_t size);
static ngx_int_t ngx_stream_vmess_quic_stream_verdict(void *data,
    ngx_uint_t authentic);
static void ngx_stream_vmess_quic_stream_closed(void *data);
static void ngx_stream_vmess_quic_stream_close(ngx_connection_t *c);


static const ngx_vmess_carrier_t  ngx_stream_vmess_quic_stream_carrier = {
    ngx_string("quic"),
    ngx_stream_vmess_quic_stream_recv,
    ngx_stream_vmess_quic_stream_send,
    ngx_stream_vmess_quic_stream_verdict,
    ngx_stream_vmess_quic_stream_closed,
    2
};


void
ngx_stream_vmess_quic_stream_init(ngx_connection_t *c)
{
    unsigned int                         len;
    const unsigned char                 *alpn;
    ngx_vmess_vconn_addrs_t              addrs;
    ngx_stream_core_srv_conf_t          *cscf;
    ngx_stream_vmess_srv_conf_t         *vscf;
    ngx_stream_vmess_quic_stream_t      *st;
    ngx_stream_vmess_quic_connection_t  *qc;

    qc = c->quic->parent->data;
    qc->streams++;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    st = ngx_pcalloc(c->pool, sizeof(ngx_stream_vmess_quic_stream_t));

    if (st == NULL || (c->quic->id & NGX_QUIC_STREAM_UNIDIRECTIONAL)) {
        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    st->connection = c;

    SSL_get0_alpn_selected(c->ssl->connection, &alpn, &len);
    st->patient = (len != 2 || ngx_strncmp(alpn, "h3", 2) != 0);

    c->data = st;
    c->read->handler = ngx_stream_vmess_quic_stream_read_handler;
    c->write->handler = ngx_stream_vmess_quic_stream_write_handler;

    cscf = ngx_vmess_listening_server(c->listening);
    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    st->vconn = ngx_vmess_vconn_addrs(&addrs, c) == NGX_OK
                ? ngx_vmess_vconn_create(&addrs,
                                         &ngx_stream_vmess_quic_stream_carrier,
                                         st, &vscf->sessions)
                : NULL;

    if (st->vconn == NULL) {
        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    ngx_vmess_vconn_start(st->vconn);
}


static void
ngx_stream_vmess_quic_stream_read_handler(ngx_event_t *rev)
{
    ngx_connection_t                *c;
    ngx_stream_vmess_quic_stream_t  *st;

    c = rev->data;
    st = c->data;

    if (c->close || rev->timedout) {

        /* the QUIC connection is being closed, or the client did not end */

        if (st->vconn) {
            ngx_vmess_vconn_abort(st->vconn);
        }

        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    if (st->vconn) {
        ngx_vmess_vconn_wake(st->vconn, 0);
        return;
    }

    ngx_stream_vmess_quic_stream_linger(c);
}


static void
ngx_stream_vmess_quic_stream_write_handler(ngx_event_t *wev)
{
    ngx_connection_t                *c;
    ngx_stream_vmess_quic_stream_t  *st;

    c = wev->data;
    st = c->data;

    if (st->vconn) {
        ngx_vmess_vconn_wake(st->vconn, 1);
    }
}


/* the session is over: the stream goes when the client has ended it, too */

static void
ngx_stream_vmess_quic_stream_linger(ngx_connection_t *c)
{
    ssize_t                          n;
    u_char                           buf[4096];
    ngx_stream_vmess_quic_stream_t  *st;

    st = c->data;

    if (!st->authentic) {
        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    if ((!st->patient || !st->chunks)
        && ngx_quic_shutdown_stream(c, NGX_WRITE_SHUTDOWN) != NGX_OK)
    {
        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    do {
        n = c->recv(c, buf, sizeof(buf));
    } while (n > 0);

    if (n != NGX_AGAIN) {
        ngx_stream_vmess_quic_stream_close(c);
        return;
    }

    if (!c->read->timer_set) {
        ngx_add_timer(c->read, NGX_STREAM_VMESS_QUIC_LINGER);
    }
}


static ssize_t
ngx_stream_vmess_quic_stream_recv(void *data, u_char *buf, size_t size)
{
    ngx_stream_vmess_quic_stream_t *st = data;

    return st->connection->recv(st->connection, buf, size);
}


static ssize_t
ngx_stream_vmess_quic_stream_send(void *data, u_char *buf, size_t size)
{
    ngx_stream_vmess_quic_stream_t *st = data;

    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_vconn_slot(st->vconn->connection)->layer;

    st->chunks = vc && vc->responded && !vc->out.raw && !vc->out.stream;

    return st->connection->send(st->connection, buf, size);
}


static ngx_int_t
ngx_stream_vmess_quic_stream_verdict(void *data, ngx_uint_t authentic)
{
    ngx_stream_vmess_quic_stream_t *st = data;

    ngx_stream_vmess_quic_connection_t  *qc;

    if (authentic) {
        qc = st->connection->quic->parent->data;

        st->authentic = 1;
        qc->authentic = 1;
    }

    return NGX_DECLINED;
}


static void
ngx_stream_vmess_quic_stream_closed(void *data)
{
    ngx_stream_vmess_quic_stream_t *st = data;

    st->vconn = NULL;

    /* not from here: the call may come from one of the stream's own */

    ngx_post_event(st->connection->read, &ngx_posted_events);
}


/*
 * nginx sends what there is yet, and the end; a client that has not ended is
 * told to, as a stream counts until both have
 */

static void
ngx_stream_vmess_quic_stream_close(ngx_connection_t *c)
{
    ngx_stream_vmess_quic_connection_t  *qc;

    qc = c->quic->parent->data;
    qc->streams--;

    ngx_stream_vmess_quic_stream_free(c);
}


void
ngx_stream_vmess_quic_stream_free(ngx_connection_t *c)
{
    ngx_pool_t  *pool;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    c->destroyed = 1;

    pool = c->pool;

    ngx_close_connection(c);

    ngx_destroy_pool(pool);
}


#endif
