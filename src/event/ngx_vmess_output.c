
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_connection.h"
#include "ngx_vmess_output.h"


#define NGX_VMESS_RANDOM  4096


static ngx_chain_t *ngx_vmess_output_skip(ngx_vmess_connection_t *vc,
    ngx_chain_t *in);
static ngx_int_t ngx_vmess_output_end(ngx_vmess_connection_t *vc);
static ngx_int_t ngx_vmess_output_write_sealed(ngx_vmess_connection_t *vc,
    u_char *pos, u_char *last);
static ngx_int_t ngx_vmess_output_write(ngx_vmess_connection_t *vc,
    u_char **pos, u_char *last);


ssize_t
ngx_vmess_output_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_buf_t    b;
    ngx_chain_t  out, *cl;

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = buf;
    b.last = buf + size;
    b.memory = 1;

    out.buf = &b;
    out.next = NULL;

    cl = c->send_chain(c, &out, 0);

    if (cl == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    return b.pos == buf ? NGX_AGAIN : b.pos - buf;
}


ngx_chain_t *
ngx_vmess_output_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    off_t                    sent, plain;
    u_char                  *p, *pos, *last;
    size_t                   size, n;
    ngx_int_t                rc;
    ngx_vmess_connection_t  *vc;

    vc = ngx_vmess_connection_get(c);

    sent = c->sent;
    plain = 0;

    rc = ngx_vmess_output_flush(vc);

    while (rc == NGX_OK && in) {

        if (vc->out.raw && vc->responded) {

            /* no chunks: the layer below does it all */

            c->sent = sent;
            in = vc->send_chain(c, in, limit);

            plain = c->sent - sent;
            rc = in == NGX_CHAIN_ERROR ? NGX_ERROR : NGX_AGAIN;

            break;
        }

        p = ngx_vmess_scratch + NGX_VMESS_HEADROOM;
        last = p + NGX_VMESS_BURST;

        if (!vc->responded) {
            p = ngx_cpymem(p, vc->response.data, vc->response.len);
            vc->responded = 1;
        }

        for ( ;; ) {

            in = ngx_vmess_output_skip(vc, in);

            if (in == NULL) {
                break;
            }

            /*
             * Xray loses data that it reads together with the end of TLS
             * while it waits for the response header: without an end chunk,
             * the header is a record of its own.  TLS may be below a carrier.
             */

            if ((vc->out.raw || vc->out.stream) && plain == 0
                && p != ngx_vmess_scratch + NGX_VMESS_HEADROOM)
            {
                break;
            }

            if (in->buf->in_file) {
                ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                              "\"sendfile\" is not possible over VMess");
                rc = NGX_ERROR;
                break;
            }

            size = in->buf->last - in->buf->pos;

            if (limit && (off_t) size > limit - plain) {
                size = (size_t) (limit - plain);
            }

            while (size) {

                /* equal chunks, rather than full ones and a rest */

                n = (size + NGX_VMESS_CHUNK_DATA - 1) / NGX_VMESS_CHUNK_DATA;
                n = (size + n - 1) / n;

                if ((size_t) (last - p) < n + NGX_VMESS_CHUNK_OVERHEAD) {
                    break;
                }

                rc = ngx_vmess_output_seal(vc, in->buf->pos, n, &p);

                if (rc != NGX_OK) {
                    break;
                }

                in->buf->pos += n;
                plain += n;
                size -= n;
            }

            if (in->buf->pos != in->buf->last) {
                break;
            }
        }

        if (rc != NGX_OK) {
            break;
        }

        pos = ngx_vmess_scratch + NGX_VMESS_HEADROOM;

        if (pos == p) {
            break;
        }

        rc = ngx_vmess_output_write_sealed(vc, pos, p);

        if (limit && plain >= limit) {
            break;
        }
    }

    if (rc == NGX_AGAIN) {
        in = ngx_vmess_output_skip(vc, in);
    }

    if (rc == NGX_OK) {
        rc = ngx_vmess_output_end(vc);
    }

    /* $bytes_sent is of the flow, not of the wire */

    c->sent = sent + plain;

    ngx_vmess_account_count(&vc->account, 0, plain);
    ngx_vmess_rate_sent(&vc->rate, &vc->account, plain);

    if (plain) {
        ngx_vmess_account_touch(&vc->account);
    }

    if (rc == NGX_ERROR) {
        c->write->error = 1;
        return NGX_CHAIN_ERROR;
    }

    return in;
}


/*
 * Buffers without bytes do not wait for others to be sent: a caller reuses
 * them as soon as the data before is taken.  Behind the last one the end chunk
 * is due.
 */

static ngx_chain_t *
ngx_vmess_output_skip(ngx_vmess_connection_t *vc, ngx_chain_t *in)
{
    for ( /* void */ ; in; in = in->next) {

        if (!ngx_buf_special(in->buf)
            && (in->buf->in_file || in->buf->pos != in->buf->last))
        {
            break;
        }

        if (in->buf->last_buf && vc->out.end
            && vc->connection->data == vc->data)
        {
            vc->ending = 1;
        }
    }

    return in;
}


/*
 * Xray and v2ray lose data that they read together with the end of TLS, so the
 * end chunk, which they can do without then, is a record of its own.
 */

static ngx_int_t
ngx_vmess_output_end(ngx_vmess_connection_t *vc)
{
    u_char     *p;
    ngx_int_t   rc;
    u_char      buf[NGX_VMESS_HEADROOM + NGX_VMESS_CHUNK_OVERHEAD];

    if (!vc->ending || vc->finished) {
        return NGX_OK;
    }

    vc->finished = 1;

    p = buf + NGX_VMESS_HEADROOM;

    rc = ngx_vmess_output_seal(vc, NULL, 0, &p);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_vmess_output_write_sealed(vc, buf + NGX_VMESS_HEADROOM, p);
}


/* padding takes fresh random bytes from a stock of the worker */

ngx_int_t
ngx_vmess_output_seal(ngx_vmess_connection_t *vc, u_char *data, size_t len,
    u_char **p)
{
    ngx_int_t      rc;
    static u_char  random[NGX_VMESS_RANDOM];
    static size_t  used = NGX_VMESS_RANDOM;

    if (vc->out.padded) {

        if (NGX_VMESS_RANDOM - used < NGX_VMESS_PADDING_MAX) {

            if (RAND_bytes(random, NGX_VMESS_RANDOM) != 1) {
                ngx_ssl_error(NGX_LOG_ERR, vc->connection->log, 0,
                              "RAND_bytes() failed");
                return NGX_ERROR;
            }

            used = 0;
        }

        rc = ngx_vmess_chunk_seal(&vc->out, data, len, random + used, p);

        used += NGX_VMESS_PADDING_MAX;

    } else {
        rc = ngx_vmess_chunk_seal(&vc->out, data, len, NULL, p);
    }

    if (rc != NGX_OK) {
        ngx_ssl_error(NGX_LOG_ERR, vc->connection->log, 0,
                      "sealing VMess chunk failed");
    }

    return rc;
}


/* NGX_OK: nothing is held here or below */

ngx_int_t
ngx_vmess_output_flush(ngx_vmess_connection_t *vc)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = vc->connection;

    if (vc->sealed.start) {

        rc = ngx_vmess_output_write(vc, &vc->sealed.pos, vc->sealed.last);

        if (rc != NGX_OK) {

            /* layers below may know its length: nothing is put behind it */

            vc->sealed.end = vc->sealed.last;

            return rc;
        }

        ngx_vmess_connection_free_buf(&vc->sealed);

        c->buffered &= ~NGX_VMESS_BUFFERED;
    }

    if (c->buffered & NGX_LOWLEVEL_BUFFERED) {

        if (vc->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
            return NGX_ERROR;
        }

        if (c->buffered & NGX_LOWLEVEL_BUFFERED) {
            return NGX_AGAIN;
        }
    }

    return ngx_vmess_output_end(vc);
}


/*
 * Writes what was sealed, in front of which there are NGX_VMESS_HEADROOM
 * bytes; what does not go is kept.  NGX_OK, NGX_AGAIN or NGX_ERROR
 */

static ngx_int_t
ngx_vmess_output_write_sealed(ngx_vmess_connection_t *vc, u_char *pos,
    u_char *last)
{
    ngx_int_t  rc;

    rc = ngx_vmess_output_write(vc, &pos, last);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* kept, as it cannot be sealed again */

    vc->sealed.start = ngx_alloc(NGX_VMESS_HEADROOM + (last - pos),
                                 vc->connection->log);
    if (vc->sealed.start == NULL) {
        return NGX_ERROR;
    }

    vc->sealed.pos = vc->sealed.start + NGX_VMESS_HEADROOM;
    vc->sealed.last = ngx_cpymem(vc->sealed.pos, pos, last - pos);
    vc->sealed.end = vc->sealed.last;

    vc->connection->buffered |= NGX_VMESS_BUFFERED;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_vmess_output_write(ngx_vmess_connection_t *vc, u_char **pos, u_char *last)
{
    ssize_t  n;

    while (*pos < last) {

        n = vc->send(vc->connection, *pos, last - *pos);

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            return n;
        }

        *pos += n;
    }

    return NGX_OK;
}
