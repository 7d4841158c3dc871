
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_packet.h"
#include "ngx_vmess_output.h"
#include "proto/ngx_vmess_packetaddr.h"


/* wire bytes held between datagrams: a chunk, and what comes with it */

#define NGX_VMESS_PACKET_BUFFER                                               \
    (2 + NGX_VMESS_TAG_LEN + NGX_VMESS_CHUNK_MAX)


/* how often a client is read from, at most, until there is a datagram */

#define NGX_VMESS_PACKET_READS  16


/* wire bytes of datagrams that are written together */

#define NGX_VMESS_PACKET_BURST  65536


/* before the payload of a datagram, once its peer is there, or none */

#define NGX_VMESS_PACKET_ROOM                                                 \
    (sizeof(ngx_vmess_peer_t) - NGX_VMESS_PACKETADDR_IPV4_LEN)


static ssize_t ngx_vmess_packet_peer(ngx_vmess_connection_t *vc, u_char *buf,
    u_char *p, size_t len);
static u_char *ngx_vmess_packet_source(ngx_vmess_connection_t *vc,
    ngx_buf_t *b, size_t *len);
static ssize_t ngx_vmess_packet_end(ngx_vmess_connection_t *vc);
static ngx_int_t ngx_vmess_packet_collect(ngx_vmess_connection_t *vc);


ssize_t
ngx_vmess_packet_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    u_char                  *p, *start;
    ssize_t                  n;
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_str_t                out;
    ngx_uint_t               reads;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(c);
    b = &vc->raw;
    reads = 0;

    if (vc->ended || vc->error) {
        return ngx_vmess_packet_end(vc);
    }

    if (ngx_vmess_rate_read(&vc->rate, &vc->account) != NGX_OK) {
        return NGX_AGAIN;
    }

    p = buf;

    if (vc->packetaddr) {

        if (size < NGX_VMESS_PACKET_ROOM) {
            return NGX_AGAIN;
        }

        p += NGX_VMESS_PACKET_ROOM;
        size -= NGX_VMESS_PACKET_ROOM;
    }

    for ( ;; ) {

        out.data = p;
        out.len = size;

        rc = ngx_vmess_chunk_open(&vc->in, b, &out);

        if (rc == NGX_OK) {

            if (out.data != p && out.len > size) {
                ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                               "vmess datagram dropped, size:%uz", out.len);
                continue;
            }

            if (out.data != p) {
                ngx_memcpy(p, out.data, out.len);
            }

            n = out.len;

            if (vc->packetaddr) {
                n = ngx_vmess_packet_peer(vc, buf, p, out.len);

                if (n == NGX_DECLINED) {
                    continue;
                }
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

            start = ngx_alloc(NGX_VMESS_PACKET_BUFFER, c->log);
            if (start == NULL) {
                vc->error = 1;
                return ngx_vmess_packet_end(vc);
            }

            n = b->last - b->pos;

            if (n) {
                ngx_memcpy(start, b->pos, n);
            }

            ngx_vmess_connection_free_buf(b);

            b->start = start;
            b->pos = start;
            b->last = start + n;
            b->end = start + NGX_VMESS_PACKET_BUFFER;

        } else {
            ngx_memmove(b->start, b->pos, b->last - b->pos);
            b->last -= b->pos - b->start;
            b->pos = b->start;
        }

        /* none of much was good: others have their turn */

        if (reads++ == NGX_VMESS_PACKET_READS) {
            c->read->ready = 1;
            ngx_post_event(c->read, &ngx_posted_next_events);
            return NGX_AGAIN;
        }

        n = vc->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {

            if (b->pos == b->last) {
                ngx_vmess_connection_free_buf(b);
            }

            return NGX_AGAIN;
        }

        if (n <= 0) {
            vc->error = 1;
            return ngx_vmess_packet_end(vc);
        }

        b->last += n;
    }

    vc->received++;

    ngx_vmess_account_count(&vc->account, out.len, 0);
    ngx_vmess_rate_received(&vc->rate, &vc->account, out.len);
    ngx_vmess_account_touch(&vc->account);

    /* no event of the socket will tell of what is held here */

    if (b->pos != b->last) {
        c->read->ready = 1;
    }

    return n;
}


/*
 * A datagram with its peer is at p, NGX_VMESS_PACKET_ROOM bytes behind buf:
 * returns the bytes in buf of what the reader wants, or NGX_DECLINED.
 */

static ssize_t
ngx_vmess_packet_peer(ngx_vmess_connection_t *vc, u_char *buf, u_char *p,
    size_t len)
{
    u_char               *last;
    size_t                size;
    socklen_t             socklen;
    ngx_sockaddr_t        sa;
    ngx_vmess_peer_t      peer;
    ngx_vmess_address_t   address;

    last = p + len;

    if (ngx_vmess_packetaddr_parse(&address, &p, last) != NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_EVENT, vc->connection->log, 0,
                       "vmess datagram dropped: %s", address.err);
        return NGX_DECLINED;
    }

    socklen = ngx_vmess_address_sockaddr(&address, &sa);

    ngx_vmess_peer_create(&peer, &sa, socklen);

    /* the first is the target of the flow */

    if (vc->peer.socklen == 0) {
        vc->peer = peer;
        vc->header.address = address;
    }

    size = 0;

    if (vc->cone) {
        size = sizeof(ngx_vmess_peer_t);
        ngx_memcpy(buf, &peer, size);
    }

    if (buf + size != p) {
        ngx_memmove(buf + size, p, last - p);
    }

    return size + (last - p);
}


/* a session of datagrams knows no end of input */

static ssize_t
ngx_vmess_packet_end(ngx_vmess_connection_t *vc)
{
    ngx_connection_t  *c;

    c = vc->connection;

    ngx_vmess_connection_free_buf(&vc->raw);

    c->read->ready = 0;
    c->close = 1;

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_AGAIN;
}


ngx_chain_t *
ngx_vmess_packet_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                    sent, plain;
    u_char                  *p, *data;
    size_t                   size, len;
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(c);

    sent = c->sent;
    plain = 0;

    rc = in ? NGX_OK : ngx_vmess_output_flush(vc);

    for ( /* void */ ; in && rc == NGX_OK; in = in->next) {

        b = in->buf;

        if (ngx_buf_special(b)) {
            rc = ngx_vmess_output_flush(vc);
            continue;
        }

        data = b->pos;
        size = b->last - b->pos;
        len = size;

        if (vc->packetaddr) {
            data = ngx_vmess_packet_source(vc, b, &len);
            size = b->last - b->pos;
        }

        b->pos = b->last;

        if (size == 0 || len > NGX_VMESS_CHUNK_DATA) {
            ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                           "vmess datagram dropped, size:%uz", size);
            continue;
        }

        rc = ngx_vmess_packet_collect(vc);

        if (rc != NGX_OK) {
            break;
        }

        p = vc->sealed.last;

        /* a response header alone would tell nothing */

        if (!vc->responded) {
            p = ngx_cpymem(p, vc->response.data, vc->response.len);
        }

        rc = ngx_vmess_output_seal(vc, data, len, &p);

        if (rc == NGX_OK) {
            vc->responded = 1;
            vc->sealed.last = p;
            vc->sent++;
            plain += size;
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

    ngx_vmess_account_count(&vc->account, 0, plain);
    ngx_vmess_rate_sent(&vc->rate, &vc->account, plain);
    ngx_vmess_account_touch(&vc->account);

    /* $bytes_sent is of the flow, not of the wire */

    c->sent = sent + plain;

    return NULL;
}


/*
 * Datagrams come one by one: those of one turn of the event loop are written
 * at its end, together.  Makes room for one: NGX_OK, NGX_AGAIN or NGX_ERROR
 */

static ngx_int_t
ngx_vmess_packet_collect(ngx_vmess_connection_t *vc)
{
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    b = &vc->sealed;

    if (b->start
        && (size_t) (b->end - b->last) >= vc->response.len
                                          + NGX_VMESS_CHUNK_DATA
                                          + NGX_VMESS_CHUNK_OVERHEAD)
    {
        return NGX_OK;
    }

    rc = ngx_vmess_output_flush(vc);

    if (rc != NGX_OK) {
        return rc;
    }

    c = vc->connection;

    b->start = ngx_alloc(NGX_VMESS_HEADROOM + NGX_VMESS_PACKET_BURST, c->log);
    if (b->start == NULL) {
        return NGX_ERROR;
    }

    b->pos = b->start + NGX_VMESS_HEADROOM;
    b->last = b->pos;
    b->end = b->pos + NGX_VMESS_PACKET_BURST;

    c->buffered |= NGX_VMESS_BUFFERED;

    ngx_post_event(c->write, &ngx_posted_events);

    return NGX_OK;
}


/*
 * Puts the source of a datagram in front of it, in place of its peer, which
 * b->pos passes; len is of both together
 */

static u_char *
ngx_vmess_packet_source(ngx_vmess_connection_t *vc, ngx_buf_t *b, size_t *len)
{
    u_char            *p, *start;
    size_t             size;
    ngx_sockaddr_t     sa;
    ngx_vmess_peer_t   peer;
    static u_char      packet[NGX_VMESS_PACKETADDR_MAX + NGX_VMESS_CHUNK_DATA];

    peer = vc->peer;

    if (vc->cone) {
        (void) ngx_vmess_peer_parse(&peer, b);
    }

    size = b->last - b->pos;

    /* too much, unless it turns out well */

    *len = NGX_VMESS_CHUNK_DATA + 1;

    if (size > NGX_VMESS_CHUNK_DATA) {
        return NULL;
    }

    start = packet + NGX_VMESS_PACKETADDR_MAX;

    ngx_memcpy(start, b->pos, size);

    ngx_memzero(&sa, sizeof(ngx_sockaddr_t));
    ngx_memcpy(&sa, peer.sockaddr, peer.socklen);

    p = ngx_vmess_packetaddr_create(start, &sa.sockaddr);

    if (p) {
        *len = start + size - p;
    }

    return p;
}
