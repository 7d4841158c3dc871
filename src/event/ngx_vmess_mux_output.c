
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_mux_output.h"


#define NGX_VMESS_MUX_OUTPUT_BURST  (64 * 1024)   /* sent at once */


static ngx_int_t ngx_vmess_mux_output_write(ngx_vmess_mux_output_t *out,
    u_char *p, size_t len);
static void ngx_vmess_mux_output_taken(ngx_vmess_mux_output_t *out,
    size_t size);


/* frames being made; the layers below use the scratch area of the worker */

static u_char  ngx_vmess_mux_output_frames[NGX_VMESS_MUX_OUTPUT_BURST];


ngx_int_t
ngx_vmess_mux_output_init(ngx_vmess_mux_output_t *out, ngx_connection_t *c,
    ngx_uint_t max)
{
    out->connection = c;

    /* of each sub-connection, and of a frame that belongs to none */

    out->ends = ngx_pnalloc(c->pool, (max + 1) * NGX_VMESS_MUX_HEADER_LEN);

    return out->ends ? NGX_OK : NGX_ERROR;
}


ssize_t
ngx_vmess_mux_output_send(ngx_vmess_mux_output_t *out, ngx_uint_t id,
    u_char *buf, size_t size)
{
    u_char     *p, *last;
    size_t      len, n;
    ngx_int_t   rc;

    if (out->rest.start || out->ends_len) {
        return NGX_AGAIN;
    }

    p = ngx_vmess_mux_output_frames;
    last = p + NGX_VMESS_MUX_OUTPUT_BURST;
    n = 0;

    while (n < size) {

        len = ngx_min(size - n, NGX_VMESS_MUX_DATA_LEN);

        if ((size_t) (last - p) < NGX_VMESS_MUX_HEADER_MAX + len) {
            break;
        }

        p += NGX_VMESS_MUX_HEADER_LEN + NGX_VMESS_MUX_LENGTH_LEN;

        ngx_vmess_mux_header(p, id, NGX_VMESS_MUX_KEEP, NGX_VMESS_MUX_DATA,
                             NULL, len);

        p = ngx_cpymem(p, buf + n, len);
        n += len;
    }

    rc = ngx_vmess_mux_output_write(out, ngx_vmess_mux_output_frames,
                                    p - ngx_vmess_mux_output_frames);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_vmess_mux_output_taken(out, n);

    return n;
}


ngx_int_t
ngx_vmess_mux_output_send_packet(ngx_vmess_mux_output_t *out, ngx_uint_t id,
    struct sockaddr *sa, ngx_buf_t *b)
{
    u_char     *p, *start;
    size_t      size;
    ngx_int_t   rc;

    if (out->rest.start || out->ends_len) {
        return NGX_AGAIN;
    }

    size = b->last - b->pos;
    start = ngx_vmess_mux_output_frames + NGX_VMESS_MUX_HEADER_MAX;

    p = ngx_vmess_mux_header(start, id, NGX_VMESS_MUX_KEEP, NGX_VMESS_MUX_DATA,
                             sa, size);

    ngx_memcpy(start, b->pos, size);

    rc = ngx_vmess_mux_output_write(out, p, start - p + size);

    if (rc == NGX_OK) {
        ngx_vmess_mux_output_taken(out, size);
    }

    return rc;
}


static void
ngx_vmess_mux_output_taken(ngx_vmess_mux_output_t *out, size_t size)
{
    out->sent += size;

    if (out->connection->buffered || out->rest.start) {
        ngx_post_event(out->connection->write, &ngx_posted_events);
    }
}


void
ngx_vmess_mux_output_end(ngx_vmess_mux_output_t *out, ngx_uint_t id,
    ngx_uint_t opt)
{
    u_char  *p;

    p = out->ends + out->ends_len + NGX_VMESS_MUX_HEADER_LEN;

    ngx_vmess_mux_header(p, id, NGX_VMESS_MUX_END, opt, NULL, 0);

    out->ends_len += NGX_VMESS_MUX_HEADER_LEN;

    ngx_post_event(out->connection->write, &ngx_posted_events);
}


/* NGX_OK: taken, all of it, NGX_AGAIN: nothing, or NGX_ERROR */

static ngx_int_t
ngx_vmess_mux_output_write(ngx_vmess_mux_output_t *out, u_char *p, size_t len)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = out->connection;

    if (c->write->error) {
        return NGX_ERROR;
    }

    n = c->send(c, p, len);

    if (n == NGX_AGAIN && ngx_vmess_connection_get(c)->out.raw) {

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

    out->rest.start = ngx_alloc(len, c->log);
    if (out->rest.start == NULL) {

        /* nothing may come behind what was sent of it */

        c->write->error = 1;

        return NGX_ERROR;
    }

    out->rest.pos = out->rest.start;
    out->rest.last = ngx_cpymem(out->rest.pos, p, len);

    return NGX_OK;
}


ngx_int_t
ngx_vmess_mux_output_flush(ngx_vmess_mux_output_t *out)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = out->connection;
    b = &out->rest;

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

    if (out->ends_len) {

        rc = ngx_vmess_mux_output_write(out, out->ends, out->ends_len);

        if (rc != NGX_OK) {
            return rc;
        }

        out->ends_len = 0;

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
