
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_vconn.h"


static ngx_connection_t *ngx_vmess_vconn_get_connection(
    ngx_vmess_vconn_addrs_t *addrs);
static ngx_int_t ngx_vmess_vconn_set_addrs(ngx_connection_t *c,
    ngx_vmess_vconn_addrs_t *addrs);
static ngx_int_t ngx_vmess_vconn_text(ngx_pool_t *pool, ngx_str_t *s);
static void ngx_vmess_vconn_empty_handler(ngx_event_t *ev);
static ssize_t ngx_vmess_vconn_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_vmess_vconn_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_chain_t *ngx_vmess_vconn_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static void ngx_vmess_vconn_evict(ngx_vmess_pending_t *pending);
static void ngx_vmess_vconn_cleanup(void *data);

#if (NGX_DEBUG)
static void ngx_vmess_vconn_assert(ngx_vmess_vconn_t *vconn, ngx_event_t *ev,
    ngx_uint_t ended, ssize_t n, size_t size);
#else
#define ngx_vmess_vconn_assert(vconn, ev, ended, n, size)  (void) ended
#endif


static ngx_vmess_vconn_slot_t    *ngx_vmess_vconn_slots;
static ngx_connection_t    *ngx_vmess_first_connection;


u_char                     *ngx_vmess_scratch;


ngx_int_t
ngx_vmess_vconn_init_slots(ngx_log_t *log)
{
    if (ngx_vmess_vconn_slots) {
        return NGX_OK;
    }

    if (ngx_vmess_scratch == NULL) {
        ngx_vmess_scratch = ngx_alloc(NGX_VMESS_SCRATCH, log);
        if (ngx_vmess_scratch == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_vmess_vconn_slots = ngx_calloc(ngx_cycle->connection_n
                                 * sizeof(ngx_vmess_vconn_slot_t), log);
    if (ngx_vmess_vconn_slots == NULL) {
        return NGX_ERROR;
    }

    ngx_vmess_first_connection = ngx_cycle->connections;

    return NGX_OK;
}


ngx_vmess_vconn_slot_t *
ngx_vmess_vconn_slot(ngx_connection_t *c)
{
    return &ngx_vmess_vconn_slots[c - ngx_vmess_first_connection];
}


ngx_vmess_listen_t *
ngx_vmess_vconn_lookup(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_uint_t           i;
    ngx_vmess_conf_t    *vcf;
    ngx_vmess_listen_t  *listen;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    listen = vcf->listens.elts;

    for (i = 0; i < vcf->listens.nelts; i++) {

        if (listen[i].name.len == name->len
            && ngx_strncmp(listen[i].name.data, name->data, name->len) == 0)
        {
            return &listen[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_vmess_vconn_addrs(ngx_vmess_vconn_addrs_t *addrs, ngx_connection_t *c)
{
    /* not the address of a wildcard socket, and a stream of it has the same */

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    addrs->sockaddr = c->sockaddr;
    addrs->socklen = c->socklen;
    addrs->local_sockaddr = c->local_sockaddr;
    addrs->local_socklen = c->local_socklen;
    addrs->text = c->addr_text;
    addrs->proxy_protocol = c->proxy_protocol;
    addrs->log = c->log;

    return NGX_OK;
}


ngx_vmess_vconn_t *
ngx_vmess_vconn_create(ngx_vmess_vconn_addrs_t *addrs,
    const ngx_vmess_carrier_t *carrier, void *data,
    ngx_vmess_listen_t *listen)
{
    ngx_pool_t          *pool;
    ngx_connection_t    *c;
    ngx_vmess_vconn_t   *vconn;
    ngx_pool_cleanup_t  *cln;

    if (ngx_vmess_vconn_init_slots(addrs->log) != NGX_OK) {
        return NULL;
    }

    c = ngx_vmess_vconn_get_connection(addrs);
    if (c == NULL) {
        return NULL;
    }

    vconn = ngx_pcalloc(c->pool, sizeof(ngx_vmess_vconn_t));
    cln = ngx_pool_cleanup_add(c->pool, 0);

    if (vconn == NULL || cln == NULL) {
        pool = c->pool;
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    vconn->pending.evict = ngx_vmess_vconn_evict;
    vconn->pending.data = vconn;

    if (carrier->weight
        && ngx_vmess_pending_add(&vconn->pending, c->sockaddr,
                                 carrier->weight, addrs->log)
           != NGX_OK)
    {
        pool = c->pool;
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    cln->handler = ngx_vmess_vconn_cleanup;
    cln->data = vconn;

    vconn->carrier = carrier;
    vconn->connection = c;
    vconn->data = data;

    c->listening = listen->listening;

#if (NGX_HAVE_INET6)
    if (c->local_sockaddr->sa_family == AF_INET6) {
        c->listening = listen->listening6;
    }
#endif

    ngx_vmess_vconn_slot(c)->vconn = vconn;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    return vconn;
}


static ngx_connection_t *
ngx_vmess_vconn_get_connection(ngx_vmess_vconn_addrs_t *addrs)
{
    ngx_log_t         *log;
    ngx_pool_t        *pool;
    ngx_socket_t       s;
    ngx_connection_t  *c;

    /* half-close reaches past c->send to the descriptor */

    s = ngx_socket(AF_UNIX, SOCK_STREAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, addrs->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NULL;
    }

    c = ngx_get_connection(s, addrs->log);

    if (c == NULL) {
        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, addrs->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }

        return NULL;
    }

    pool = ngx_create_pool(512, addrs->log);
    if (pool == NULL) {
        ngx_close_connection(c);
        return NULL;
    }

    log = ngx_palloc(pool, sizeof(ngx_log_t));

    if (log == NULL) {
        ngx_destroy_pool(pool);
        ngx_close_connection(c);
        return NULL;
    }

    *log = ngx_cycle->new_log;
    log->handler = NULL;
    log->data = NULL;

    c->pool = pool;
    pool->log = log;
    c->log = log;
    c->read->log = log;
    c->write->log = log;

    c->type = SOCK_STREAM;
    c->recv = ngx_vmess_vconn_recv;
    c->send = ngx_vmess_vconn_send;
    c->send_chain = ngx_vmess_vconn_send_chain;

    if (ngx_vmess_vconn_set_addrs(c, addrs) != NGX_OK) {
        ngx_close_connection(c);
        ngx_destroy_pool(pool);
        return NULL;
    }

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;

    /* never given to epoll, whose events would say nothing */

    c->read->active = 1;
    c->write->active = 1;

    c->read->ready = 1;
    c->write->ready = 1;

    c->read->handler = ngx_vmess_vconn_empty_handler;
    c->write->handler = ngx_vmess_vconn_empty_handler;

    return c;
}


/* copies, as what they are from may be closed before */

static ngx_int_t
ngx_vmess_vconn_set_addrs(ngx_connection_t *c, ngx_vmess_vconn_addrs_t *addrs)
{
    ngx_proxy_protocol_t  *pp;

    c->sockaddr = ngx_palloc(c->pool, addrs->socklen);
    c->local_sockaddr = ngx_palloc(c->pool, addrs->local_socklen);

    if (c->sockaddr == NULL || c->local_sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, addrs->sockaddr, addrs->socklen);
    ngx_memcpy(c->local_sockaddr, addrs->local_sockaddr,
               addrs->local_socklen);

    c->socklen = addrs->socklen;
    c->local_socklen = addrs->local_socklen;
    c->addr_text = addrs->text;

    if (ngx_vmess_vconn_text(c->pool, &c->addr_text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (addrs->proxy_protocol == NULL) {
        return NGX_OK;
    }

    pp = ngx_palloc(c->pool, sizeof(ngx_proxy_protocol_t));
    if (pp == NULL) {
        return NGX_ERROR;
    }

    *pp = *addrs->proxy_protocol;

    if (ngx_vmess_vconn_text(c->pool, &pp->src_addr) != NGX_OK
        || ngx_vmess_vconn_text(c->pool, &pp->dst_addr) != NGX_OK
        || ngx_vmess_vconn_text(c->pool, ngx_vmess_proxy_protocol_tlvs(pp))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    c->proxy_protocol = pp;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_vconn_text(ngx_pool_t *pool, ngx_str_t *s)
{
    if (s == NULL || s->len == 0) {
        return NGX_OK;
    }

    s->data = ngx_pstrdup(pool, s);

    return s->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_vmess_vconn_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "vmess vconn event");
}


void
ngx_vmess_vconn_start(ngx_vmess_vconn_t *vconn)
{
    ngx_connection_t  *c;

    c = vconn->connection;

    c->listening->handler(c);
}


ngx_vmess_vconn_t *
ngx_vmess_vconn_get(ngx_connection_t *c)
{
    return ngx_vmess_vconn_slots ? ngx_vmess_vconn_slot(c)->vconn : NULL;
}


ngx_int_t
ngx_vmess_vconn_verdict(ngx_vmess_vconn_t *vconn, ngx_uint_t authentic)
{
    if (authentic) {
        ngx_vmess_pending_remove(&vconn->pending);
    }

    return vconn->data ? vconn->carrier->verdict(vconn->data, authentic)
                       : NGX_DECLINED;
}


/* the owner of a client that it has not answered takes it back */

static void
ngx_vmess_vconn_evict(ngx_vmess_pending_t *pending)
{
    ngx_vmess_vconn_t *vconn = pending->data;

    vconn->evicted = 1;
    vconn->connection->close = 1;

    ngx_vmess_vconn_wake(vconn, 0);
}


void
ngx_vmess_vconn_wake(ngx_vmess_vconn_t *vconn, ngx_uint_t write)
{
    ngx_event_t  *ev;

    ev = write ? vconn->connection->write : vconn->connection->read;

    ev->ready = 1;

    ngx_post_event(ev, &ngx_posted_events);
}


void
ngx_vmess_vconn_yield(ngx_vmess_vconn_t *vconn)
{
    ngx_event_t  *rev;

    rev = vconn->connection->read;

    /* the proxy of streams looks at it before it reads */

    rev->ready = 1;

    ngx_post_event(rev, &ngx_posted_next_events);
}


void
ngx_vmess_vconn_abort(ngx_vmess_vconn_t *vconn)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = vconn->connection;

    vconn->data = NULL;

    if (c->read->handler == ngx_vmess_vconn_empty_handler) {

        /* not started: nobody else closes it */

#if (NGX_STAT_STUB)
        (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

        pool = c->pool;

        ngx_close_connection(c);
        ngx_destroy_pool(pool);

        return;
    }

    c->error = 1;
    c->read->error = 1;
    c->read->eof = 1;
    c->write->error = 1;
    c->close = 1;

    ngx_vmess_vconn_wake(vconn, 0);
}


static ssize_t
ngx_vmess_vconn_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t             n;
    ngx_uint_t          ended;
    ngx_event_t        *rev;
    ngx_vmess_vconn_t  *vconn;

    rev = c->read;
    vconn = ngx_vmess_vconn_get(c);

    if (vconn->data == NULL || vconn->evicted) {
        return ngx_vmess_vconn_received(c, NGX_ERROR, 0);
    }

    /* before the call, in which the owner may report what is new */

    rev->ready = 0;
    ended = rev->eof || rev->error;

    n = vconn->carrier->recv(vconn->data, buf, size);

    ngx_vmess_vconn_assert(vconn, rev, ended, n, size);

    return ngx_vmess_vconn_received(c, n, n > 0);
}


ssize_t
ngx_vmess_vconn_received(ngx_connection_t *c, ssize_t n, ngx_uint_t more)
{
    ngx_event_t  *rev;

    rev = c->read;

    if (n > 0) {

        /* an end that was seen already comes behind this */

        rev->eof = 0;
        rev->error = 0;

        if (more) {
            rev->ready = 1;
        }

        return n;
    }

    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    rev->ready = 0;

    if (n == 0) {
        rev->eof = 1;
        return 0;
    }

    rev->error = 1;

    return NGX_ERROR;
}


static ssize_t
ngx_vmess_vconn_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t             n;
    ngx_uint_t          ended;
    ngx_event_t        *wev;
    ngx_vmess_vconn_t  *vconn;

    wev = c->write;
    vconn = ngx_vmess_vconn_get(c);

    if (vconn->data == NULL || vconn->evicted) {
        wev->ready = 0;
        wev->error = 1;
        return NGX_ERROR;
    }

    if (size == 0) {
        return 0;
    }

    wev->ready = 0;
    ended = wev->eof || wev->error;

    n = vconn->carrier->send(vconn->data, buf, size);

    ngx_vmess_vconn_assert(vconn, wev, ended, n, size);

    if (n > 0) {
        wev->ready = 1;
        c->sent += n;
        return n;
    }

    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    wev->error = 1;

    return NGX_ERROR;
}


#if (NGX_DEBUG)

/* an owner that has ended itself in the call has set the flags of an end */

static void
ngx_vmess_vconn_assert(ngx_vmess_vconn_t *vconn, ngx_event_t *ev,
    ngx_uint_t ended, ssize_t n, size_t size)
{
    if ((n > (ssize_t) size)
        || (n < 0 && n != NGX_AGAIN && n != NGX_ERROR)
        || (vconn->data && (ended != (ngx_uint_t) (ev->eof || ev->error)
                            || ev->pending_eof)))
    {
        ngx_log_error(NGX_LOG_ALERT, ev->log, 0,
                      "vmess carrier \"%V\" returned %z for %uz bytes with "
                      "eof:%d error:%d pending_eof:%d", &vconn->carrier->name,
                      n, size, ev->eof, ev->error, ev->pending_eof);

        ngx_debug_point();
    }
}

#endif


/* the chain is copied, to have headroom for the frames of carriers */

static ngx_chain_t *
ngx_vmess_vconn_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    u_char       *p, *last;
    size_t        size;
    ssize_t       n;
    ngx_chain_t  *cl;

    if (limit == 0) {
        limit = NGX_MAX_OFF_T_VALUE;
    }

    for ( ;; ) {

        p = ngx_vmess_scratch + NGX_VMESS_HEADROOM;
        last = p + (size_t) ngx_min((off_t) NGX_VMESS_BURST, limit);

        for (cl = in; cl; cl = cl->next) {

            if (ngx_buf_special(cl->buf)) {
                continue;
            }

            size = ngx_min(cl->buf->last - cl->buf->pos, last - p);

            p = ngx_cpymem(p, cl->buf->pos, size);

            if (p == last) {
                break;
            }
        }

        size = p - ngx_vmess_scratch - NGX_VMESS_HEADROOM;

        if (size == 0) {
            return ngx_chain_update_sent(in, 0);
        }

        n = ngx_vmess_vconn_send(c, ngx_vmess_scratch + NGX_VMESS_HEADROOM,
                                 size);

        if (n == NGX_ERROR) {
            return NGX_CHAIN_ERROR;
        }

        if (n == NGX_AGAIN) {
            return in;
        }

        in = ngx_chain_update_sent(in, n);
        limit -= n;

        /* until NGX_AGAIN: only then is the owner told of the next event */

        if (in == NULL || limit == 0) {
            return in;
        }
    }
}


static void
ngx_vmess_vconn_cleanup(void *data)
{
    ngx_vmess_vconn_t *vconn = data;

    ngx_vmess_vconn_slot(vconn->connection)->vconn = NULL;

    ngx_vmess_pending_remove(&vconn->pending);

    if (vconn->data) {
        vconn->carrier->close(vconn->data);
    }
}
