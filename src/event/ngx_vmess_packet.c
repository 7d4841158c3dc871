
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_packet.h"
#include "ngx_vmess_output.h"


/* wire bytes are held here between datagrams: a chunk, and what comes with it */

#define NGX_VMESS_PACKET_BUFFER                                               \
    (2 + NGX_VMESS_TAG_LEN + NGX_VMESS_CHUNK_MAX)


static ssize_t ngx_vmess_packet_end(ngx_vmess_connection_t *vc);


ssize_t
ngx_vmess_packet_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    u_char                  *p;
    ssize_t                  n;
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_str_t                out;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_get_connection(c);
    b = &vc->raw;

    if (vc->ended || vc->error) {
        return ngx_vmess_packet_end(vc);
    }

    for ( ;; ) {

        out.data = buf;
        out.len = size;

        rc = ngx_vmess_chunk_open(&vc->in, b, &out);

        if (rc == NGX_OK) {

            if (out.data != buf && out.len > size) {
                ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                               "vmess datagram dropped, size:%uz", out.len);
                continue;
            }

            if (out.data != buf) {
                ngx_memcpy(buf, out.data, out.len);
            }

            break;
        }

        if (rc == NGX_DONE) {
            vc->ended = 1;
            return ngx_vmess_packet_end(vc);
        }

        if (rc == NGX_ERROR) {

            if (vc->in.err) {
                ngx_log_error(NGX_LOG_INFO, c->log, 0,
                              "client sent invalid VMess chunk: %s",
                              vc->in.err);
            } else {
                ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                              "opening VMess chunk failed");
            }

            vc->error = 1;
            return ngx_vmess_packet_end(vc);
        }

        /* NGX_AGAIN */

        if (b->end - b->start < NGX_VMESS_PACKET_BUFFER) {

            p = ngx_alloc(NGX_VMESS_PACKET_BUFFER, c->log);
            if (p == NULL) {
                vc->error = 1;
                return ngx_vmess_packet_end(vc);
            }

            n = b->last - b->pos;

            if (n) {
                ngx_memcpy(p, b->pos, n);
            }

            ngx_vmess_release(b);

            b->start = p;
            b->pos = p;
            b->last = p + n;
            b->end = p + NGX_VMESS_PACKET_BUFFER;

        } else {
            ngx_memmove(b->start, b->pos, b->last - b->pos);
            b->last -= b->pos - b->start;
            b->pos = b->start;
        }

        n = vc->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {

            if (b->pos == b->last) {
                ngx_vmess_release(b);
            }

            return NGX_AGAIN;
        }

        if (n <= 0) {
            vc->error = 1;
            return ngx_vmess_packet_end(vc);
        }

        b->last += n;
    }

    (void) ngx_atomic_fetch_add(&vc->account.user->up, out.len);

    /* no event of the socket will tell of what is held here */

    if (b->pos != b->last) {
        c->read->ready = 1;
    }

    return out.len;
}


/* a session of datagrams knows no end of input */

static ssize_t
ngx_vmess_packet_end(ngx_vmess_connection_t *vc)
{
    ngx_connection_t  *c;

    c = vc->connection;

    ngx_vmess_release(&vc->raw);

    c->read->ready = 0;
    c->close = 1;

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_AGAIN;
}


ssize_t
ngx_vmess_packet_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_buf_t    b;
    ngx_chain_t  out;

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = buf;
    b.last = buf + size;
    b.memory = 1;

    out.buf = &b;
    out.next = NULL;

    if (ngx_vmess_packet_send_chain(c, &out, 0) == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    return size;
}


ngx_chain_t *
ngx_vmess_packet_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                    sent, plain;
    u_char                  *p, *start, *last;
    size_t                   size;
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_get_connection(c);

    sent = c->sent;
    plain = 0;

    rc = ngx_vmess_flush(vc);

    while (in && rc == NGX_OK) {

        start = ngx_vmess_scratch + NGX_VMESS_HEADROOM;
        last = start + NGX_VMESS_BURST;
        p = start;

        if (!vc->responded) {
            p = ngx_cpymem(p, vc->response, NGX_VMESS_RESPONSE_LEN);
            vc->responded = 1;
        }

        for ( /* void */ ; in; in = in->next) {

            b = in->buf;

            if (ngx_buf_special(b)) {
                continue;
            }

            size = b->last - b->pos;

            if (size && size <= NGX_VMESS_CHUNK_DATA) {

                if ((size_t) (last - p) < size + NGX_VMESS_CHUNK_OVERHEAD) {
                    break;
                }

                rc = ngx_vmess_seal(vc, b->pos, size, &p);

                if (rc != NGX_OK) {
                    break;
                }

                plain += size;

            } else {
                ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                               "vmess datagram dropped, size:%uz", size);
            }

            b->pos = b->last;
        }

        if (rc == NGX_OK && p != start) {
            rc = ngx_vmess_write_sealed(vc, start, p);
        }
    }

    if (rc == NGX_ERROR) {
        c->write->error = 1;
        return NGX_CHAIN_ERROR;
    }

    /* the client does not keep up */

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
    }

    (void) ngx_atomic_fetch_add(&vc->account.user->down, plain);

    /* $bytes_sent is of the flow, not of the wire */

    c->sent = sent + plain;

    return NULL;
}
