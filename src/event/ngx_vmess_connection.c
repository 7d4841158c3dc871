
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_connection.h"


/* the least that is read from the transport, if it has so much */

#define NGX_VMESS_BURST_MIN  (16 * 1024)


static void ngx_vmess_connection_cleanup(void *data);
static ssize_t ngx_vmess_connection_recv_chunks(ngx_vmess_connection_t *vc,
    u_char *buf, size_t size);
static ssize_t ngx_vmess_connection_recv_raw(ngx_vmess_connection_t *vc,
    u_char *buf, size_t size);
static ssize_t ngx_vmess_connection_recv_end(ngx_vmess_connection_t *vc);
static ngx_int_t ngx_vmess_connection_pass_end(ngx_vmess_connection_t *vc);
static ssize_t ngx_vmess_connection_recv_pass(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_vmess_connection_recv_passed(ngx_vmess_connection_t *vc,
    u_char *buf, size_t size);
static ngx_int_t ngx_vmess_connection_hold(ngx_vmess_connection_t *vc,
    ngx_str_t *plain, ngx_buf_t *b);


ngx_vmess_connection_t *
ngx_vmess_connection_create(ngx_connection_t *c, ngx_vmess_zone_t *zone)
{
    ngx_str_t                name;
    ngx_pool_cleanup_t      *cln;
    ngx_vmess_connection_t  *vc;

    if (ngx_vmess_vconn_init_slots(c->log) != NGX_OK) {
        return NULL;
    }

    /* "pass" from a server with VMess to another one */

    if (ngx_vmess_connection_get(c)) {
        ngx_log_error(NGX_LOG_ERR, c->log, 0,
                      "VMess inside of VMess is not possible");
        return NULL;
    }

    vc = ngx_pcalloc(c->pool, sizeof(ngx_vmess_connection_t));
    if (vc == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_vmess_connection_cleanup;
    cln->data = vc;

    vc->connection = c;
    vc->account.zone = zone;
    vc->account.connection = c;
    vc->recv = c->recv;
    vc->send = c->send;
    vc->send_chain = c->send_chain;

    ngx_vmess_vconn_slot(c)->layer = vc;

    ngx_vmess_connection_carrier(c, &name);

    vc->account.carrier = ngx_vmess_counters_carrier(&name);

    return vc;
}


static void
ngx_vmess_connection_cleanup(void *data)
{
    ngx_vmess_connection_t *vc = data;

    ngx_vmess_account_close(&vc->account);

    ngx_vmess_pending_remove(&vc->pending);

    ngx_vmess_connection_free_buf(&vc->raw);
    ngx_vmess_connection_free_buf(&vc->sealed);

    ngx_vmess_chunk_cleanup(&vc->in);
    ngx_vmess_chunk_cleanup(&vc->out);

    ngx_vmess_vconn_slot(vc->connection)->layer = NULL;

    ngx_explicit_memzero(vc, sizeof(ngx_vmess_connection_t));
}


ngx_vmess_connection_t *
ngx_vmess_connection_get(ngx_connection_t *c)
{
    return ngx_vmess_vconn_slot(c)->layer;
}


void
ngx_vmess_connection_carrier(ngx_connection_t *c, ngx_str_t *name)
{
    ngx_vmess_vconn_t  *vconn;

    ngx_str_set(name, "tcp");

#if (NGX_SSL)
    if (c->ssl) {
        ngx_str_set(name, "tls");
    }
#endif

    vconn = ngx_vmess_vconn_get(c);

    if (vconn) {
        *name = vconn->carrier->name;
    }
}


void
ngx_vmess_connection_pass(ngx_vmess_connection_t *vc)
{
    ngx_connection_t  *c;

    c = vc->connection;

    c->recv = ngx_vmess_connection_recv_pass;

    vc->raw.pos = vc->raw.start;

    if (vc->eof) {
        vc->eof = 0;
        vc->ended = 1;
        c->read->eof = 0;
    }

    if (vc->ended || vc->raw.pos != vc->raw.last) {
        c->read->ready = 1;
    }
}


ssize_t
ngx_vmess_connection_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t                   len;
    ssize_t                  n;
    ngx_uint_t               more;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(c);

    if (ngx_vmess_rate_read(&vc->rate, &vc->account) != NGX_OK) {
        return NGX_AGAIN;
    }

    len = 0;

    if (vc->plain.len) {
        len = ngx_min(vc->plain.len, size);

        ngx_memcpy(buf, vc->plain.data, len);

        vc->plain.data += len;
        vc->plain.len -= len;

        if (vc->plain.len == 0 && vc->raw.pos == vc->raw.last) {
            ngx_vmess_connection_free_buf(&vc->raw);
        }
    }

    n = NGX_AGAIN;

    if (len < size && !vc->ended && !vc->eof && !vc->error) {

        n = vc->in.raw
            ? ngx_vmess_connection_recv_raw(vc, buf + len, size - len)
            : ngx_vmess_connection_recv_chunks(vc, buf + len, size - len);

        if (n > 0) {
            len += n;
        }
    }

    if (len) {
        ngx_vmess_account_count(&vc->account, len, 0);
        ngx_vmess_rate_received(&vc->rate, &vc->account, len);
        ngx_vmess_account_touch(&vc->account);

        /* no event of the socket will tell of what is held here */

        more = vc->plain.len || vc->ended || vc->eof || vc->error
               || (size_t) (vc->raw.last - vc->raw.pos)
                  >= ngx_vmess_chunk_need(&vc->in);

        return ngx_vmess_vconn_received(c, len, more);
    }

    if (vc->error) {
        n = NGX_ERROR;

    } else if (vc->eof) {
        n = 0;

    } else if (vc->ended) {
        n = ngx_vmess_connection_recv_end(vc);
    }

    return ngx_vmess_vconn_received(c, n, 0);
}


/*
 * Returns the number of bytes opened into buf; or NGX_AGAIN; or 0 with
 * vc->ended, vc->eof or vc->error set, which may be set beside data as well.
 */

static ssize_t
ngx_vmess_connection_recv_chunks(ngx_vmess_connection_t *vc, u_char *buf,
    size_t size)
{
    size_t             want, len;
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t          b;
    ngx_str_t          out, plain;
    ngx_connection_t  *c;

    c = vc->connection;
    len = 0;

    ngx_str_null(&plain);

    b.start = ngx_vmess_scratch;
    b.end = ngx_vmess_scratch + NGX_VMESS_SCRATCH;
    b.pos = b.start;
    b.last = b.start;

    if (vc->raw.start) {
        b.last = ngx_cpymem(b.start, vc->raw.pos, vc->raw.last - vc->raw.pos);
    }

    for ( ;; ) {

        rc = NGX_OK;

        while (len < size) {

            out.data = buf + len;
            out.len = size - len;

            rc = ngx_vmess_chunk_open(&vc->in, &b, &out);

            if (rc != NGX_OK) {
                break;
            }

            if (out.data == buf + len) {
                len += out.len;
                continue;
            }

            /* a chunk larger than the room left was opened in place */

            plain = out;

            out.len = size - len;
            ngx_memcpy(buf + len, plain.data, out.len);

            plain.data += out.len;
            plain.len -= out.len;

            len = size;
        }

        if (len || rc != NGX_AGAIN) {
            break;
        }

        /* as much as the reader takes, and what chunks add to it */

        want = size + size / 64 + NGX_VMESS_CHUNK_OVERHEAD;
        want = ngx_max(want, NGX_VMESS_BURST_MIN);
        want = ngx_min(want, NGX_VMESS_BURST);

        if ((size_t) (b.end - b.last) < want) {
            ngx_memmove(b.start, b.pos, b.last - b.pos);
            b.last -= b.pos - b.start;
            b.pos = b.start;
            want = ngx_min(want, (size_t) (b.end - b.last));
        }

        n = vc->recv(c, b.last, want);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            vc->error = 1;
            rc = NGX_OK;
            break;
        }

        if (n == 0) {
            vc->eof = 1;
            rc = NGX_OK;

            if (b.pos != b.last) {
                ngx_log_error(NGX_LOG_INFO, c->log, 0,
                              "client closed connection inside a VMess chunk");
                vc->error = 1;
            }

            break;
        }

        b.last += n;
    }

    if (rc == NGX_DONE) {
        vc->ended = 1;
        b.last = b.pos;
    }

    if (rc == NGX_ERROR) {
        vc->error = 1;

        if (vc->in.err) {
            ngx_log_error(NGX_LOG_INFO, c->log, 0,
                          "client sent invalid VMess chunk: %s", vc->in.err);
        } else {
            ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                          "opening VMess chunk failed");
        }
    }

    if (vc->error) {
        b.last = b.pos;
    }

    if (ngx_vmess_connection_hold(vc, &plain, &b) != NGX_OK) {
        vc->error = 1;
    }

    if (len == 0 && rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    return len;
}


/* a data section without chunks */

static ssize_t
ngx_vmess_connection_recv_raw(ngx_vmess_connection_t *vc, u_char *buf,
    size_t size)
{
    size_t   len;
    ssize_t  n;

    len = vc->raw.last - vc->raw.pos;

    if (len) {
        len = ngx_min(len, size);

        ngx_memcpy(buf, vc->raw.pos, len);
        vc->raw.pos += len;

        if (vc->raw.pos == vc->raw.last) {
            ngx_vmess_connection_free_buf(&vc->raw);
        }

        return len;
    }

    n = vc->recv(vc->connection, buf, size);

    if (n == NGX_ERROR) {
        vc->error = 1;
        return 0;
    }

    if (n == 0) {
        vc->eof = 1;
    }

    return n;
}


/*
 * The client sent its end chunk, but may still wait for the reply, as after
 * a half-close of TCP; told of the end of input, the stream proxy would close
 * the session, unless "proxy_half_close" is on.  So the end is only passed on
 * to the target, and the session ends with the target's data, or with the
 * client's connection.
 */

static ssize_t
ngx_vmess_connection_recv_end(ngx_vmess_connection_t *vc)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = vc->connection;

    if (!vc->passed) {

        rc = ngx_vmess_connection_pass_end(vc);

        if (rc != NGX_OK) {
            return rc == NGX_AGAIN ? NGX_AGAIN : 0;
        }
    }

    n = vc->recv(c, ngx_vmess_scratch, NGX_VMESS_BURST_MIN);

    if (n <= 0) {
        return n;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "client sent data after its end");

    vc->eof = 1;

    return 0;
}


/* NGX_AGAIN: no event tells of it, but the reader asks once it has written */

static ngx_int_t
ngx_vmess_connection_pass_end(ngx_vmess_connection_t *vc)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = vc->connection;

    rc = c->data == vc->data ? vc->half_close(c) : NGX_DECLINED;

    if (rc == NGX_OK) {
        vc->passed = 1;
    }

    if (rc == NGX_AGAIN) {
        c->read->ready = 1;
    }

    return rc;
}


/* c->recv of a connection that went to a fallback */

static ssize_t
ngx_vmess_connection_recv_pass(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t                  n;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(c);

    n = vc->raw.last - vc->raw.pos;

    if (n) {
        n = ngx_min((size_t) n, size);

        ngx_memcpy(buf, vc->raw.pos, n);
        vc->raw.pos += n;

        if (vc->raw.pos != vc->raw.last) {
            return ngx_vmess_vconn_received(c, n, 1);
        }

        ngx_vmess_connection_free_buf(&vc->raw);

        return ngx_vmess_vconn_received(c, n, vc->ended);
    }

    ngx_vmess_connection_free_buf(&vc->raw);

    n = ngx_vmess_connection_recv_passed(vc, buf, size);

    return ngx_vmess_vconn_received(c, n, 0);
}


static ssize_t
ngx_vmess_connection_recv_passed(ngx_vmess_connection_t *vc, u_char *buf,
    size_t size)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = vc->connection;

    if (!vc->ended) {
        n = vc->recv(c, buf, size);

        if (n != 0 || c->data != vc->data) {
            return n;
        }

        vc->ended = 1;
        c->read->eof = 0;
    }

    if (!vc->passed) {

        rc = ngx_vmess_connection_pass_end(vc);

        if (rc != NGX_OK) {
            return rc == NGX_AGAIN ? NGX_AGAIN : 0;
        }
    }

    n = vc->recv(c, buf, size);

    if (n == 0) {
        c->read->eof = 0;
        c->read->ready = 0;
        return NGX_AGAIN;
    }

    return n;
}


/*
 * Keeps what is left in the scratch area: plaintext, which lies before b->pos,
 * and wire bytes.
 */

static ngx_int_t
ngx_vmess_connection_hold(ngx_vmess_connection_t *vc, ngx_str_t *plain,
    ngx_buf_t *b)
{
    u_char  *p;
    size_t   len, size;

    len = b->last - b->pos;
    size = plain->len + len;

    if (size == 0) {
        ngx_vmess_connection_free_buf(&vc->raw);
        return NGX_OK;
    }

    if ((size_t) (vc->raw.end - vc->raw.start) < size) {

        ngx_vmess_connection_free_buf(&vc->raw);

        p = ngx_alloc(size, vc->connection->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        vc->raw.start = p;
        vc->raw.end = p + size;
    }

    p = vc->raw.start;

    vc->plain.data = p;
    vc->plain.len = plain->len;

    if (plain->len) {
        p = ngx_cpymem(p, plain->data, plain->len);
    }

    vc->raw.pos = p;
    vc->raw.last = ngx_cpymem(p, b->pos, len);

    return NGX_OK;
}


void
ngx_vmess_connection_free_buf(ngx_buf_t *b)
{
    if (b->start) {
        ngx_free(b->start);
        ngx_memzero(b, sizeof(ngx_buf_t));
    }
}
