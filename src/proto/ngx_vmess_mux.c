
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_mux.h"


/* metadata of New up to the port, which an address of any type exceeds */

#define NGX_VMESS_MUX_NEW_MIN  8


static ngx_int_t ngx_vmess_mux_fill(ngx_vmess_mux_t *m, ngx_buf_t *b,
    size_t size);
static ngx_int_t ngx_vmess_mux_parse(ngx_vmess_mux_t *m);
static ngx_int_t ngx_vmess_mux_new(ngx_vmess_mux_t *m, u_char *p,
    u_char *last);
static void ngx_vmess_mux_keep(ngx_vmess_mux_t *m, u_char *p, u_char *last);
static ngx_int_t ngx_vmess_mux_address(ngx_vmess_mux_t *m, u_char **p,
    u_char *last);
static ngx_uint_t ngx_vmess_mux_empty_label(u_char *p);


ngx_int_t
ngx_vmess_mux_read(ngx_vmess_mux_t *m, ngx_buf_t *b)
{
    u_char  *p;
    size_t   len;

    enum {
        sw_start = 0,
        sw_metadata,
        sw_length
    };

    len = ngx_min((size_t) (b->last - b->pos), m->length);

    b->pos += len;
    m->length -= len;

    if (m->length) {
        return NGX_AGAIN;
    }

    switch (m->state) {

    case sw_start:

        if (ngx_vmess_mux_fill(m, b, NGX_VMESS_MUX_LENGTH_LEN) != NGX_OK) {
            return NGX_AGAIN;
        }

        len = m->data[0] << 8 | m->data[1];

        if (len < NGX_VMESS_MUX_META_MIN || len > NGX_VMESS_MUX_META_MAX) {
            m->err = "invalid length of metadata";
            return NGX_ERROR;
        }

        m->size = NGX_VMESS_MUX_LENGTH_LEN + len;
        m->state = sw_metadata;

        /* fall through */

    case sw_metadata:

        if (ngx_vmess_mux_fill(m, b, m->size) != NGX_OK) {
            return NGX_AGAIN;
        }

        if (ngx_vmess_mux_parse(m) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!(m->opt & NGX_VMESS_MUX_DATA)) {
            break;
        }

        m->state = sw_length;

        /* fall through */

    default: /* sw_length */

        if (ngx_vmess_mux_fill(m, b, m->size + NGX_VMESS_MUX_LENGTH_LEN)
            != NGX_OK)
        {
            return NGX_AGAIN;
        }

        p = m->data + m->size;
        m->length = p[0] << 8 | p[1];
    }

    m->n = 0;
    m->state = sw_start;

    return NGX_OK;
}


/* takes from b what the header lacks of size bytes */

static ngx_int_t
ngx_vmess_mux_fill(ngx_vmess_mux_t *m, ngx_buf_t *b, size_t size)
{
    size_t  len;

    len = ngx_min((size_t) (b->last - b->pos), size - m->n);

    ngx_memcpy(m->data + m->n, b->pos, len);

    b->pos += len;
    m->n += len;

    return (m->n == size) ? NGX_OK : NGX_AGAIN;
}


/* Mux.Cool, "Metadata" */

static ngx_int_t
ngx_vmess_mux_parse(ngx_vmess_mux_t *m)
{
    u_char  *p, *last;

    p = m->data + NGX_VMESS_MUX_LENGTH_LEN;
    last = m->data + m->size;

    m->id = p[0] << 8 | p[1];
    m->status = p[2];
    m->opt = p[3];

    m->network = 0;
    m->has_address = 0;
    m->has_global_id = 0;
    m->bad_address = 0;
    m->err = NULL;

    ngx_memzero(m->global_id, NGX_VMESS_MUX_GLOBAL_ID_LEN);

    p += NGX_VMESS_MUX_META_MIN;

    switch (m->status) {

    case NGX_VMESS_MUX_NEW:
        return ngx_vmess_mux_new(m, p, last);

    case NGX_VMESS_MUX_KEEP:
        ngx_vmess_mux_keep(m, p, last);
        return NGX_OK;

    case NGX_VMESS_MUX_END:
    case NGX_VMESS_MUX_KEEPALIVE:
        return NGX_OK;

    default:
        m->err = "unknown status";
        return NGX_ERROR;
    }
}


/* Mux.Cool, "New Sub-connection"; what follows the target is not ours */

static ngx_int_t
ngx_vmess_mux_new(ngx_vmess_mux_t *m, u_char *p, u_char *last)
{
    ngx_uint_t  i;

    if (m->size < NGX_VMESS_MUX_LENGTH_LEN + NGX_VMESS_MUX_NEW_MIN) {
        m->err = "no target";
        return NGX_ERROR;
    }

    m->network = *p++;

    if (m->network != NGX_VMESS_MUX_TCP && m->network != NGX_VMESS_MUX_UDP) {
        m->err = "unknown network";
        return NGX_ERROR;
    }

    if (ngx_vmess_mux_address(m, &p, last) != NGX_OK) {

        /* Go peers find out as late as they resolve such a name */

        if (p[2] == NGX_VMESS_ADDR_DOMAIN && m->address.err
            && ngx_vmess_mux_empty_label(p + 3))
        {
            m->bad_address = 1;
            return NGX_OK;
        }

        return NGX_ERROR;
    }

    /* Xray puts Global ID before data only, and zeros for none */

    if (m->network == NGX_VMESS_MUX_UDP && (m->opt & NGX_VMESS_MUX_DATA)
        && last - p >= NGX_VMESS_MUX_GLOBAL_ID_LEN)
    {
        ngx_memcpy(m->global_id, p, NGX_VMESS_MUX_GLOBAL_ID_LEN);

        for (i = 0; i < NGX_VMESS_MUX_GLOBAL_ID_LEN; i++) {
            if (m->global_id[i]) {
                m->has_global_id = 1;
                break;
            }
        }
    }

    return NGX_OK;
}


/*
 * Mux.Cool, "Keep Sub-connection", and the address of a datagram that XUDP
 * adds.  Any other first byte starts padding.
 */

static void
ngx_vmess_mux_keep(ngx_vmess_mux_t *m, u_char *p, u_char *last)
{
    if (p == last || *p != NGX_VMESS_MUX_UDP) {
        return;
    }

    m->network = *p++;

    if (ngx_vmess_mux_address(m, &p, last) != NGX_OK) {
        m->bad_address = 1;
    }
}


static ngx_int_t
ngx_vmess_mux_address(ngx_vmess_mux_t *m, u_char **p, u_char *last)
{
    ngx_int_t  rc;

    rc = ngx_vmess_address_parse(&m->address, p, last);

    if (rc == NGX_OK) {
        m->has_address = 1;
        return NGX_OK;
    }

    m->err = (rc == NGX_AGAIN) ? "address is longer than metadata"
                               : m->address.err;
    return NGX_ERROR;
}


/* a domain with its length in front */

static ngx_uint_t
ngx_vmess_mux_empty_label(u_char *p)
{
    u_char  prev, *last;

    last = p + 1 + *p;
    prev = '.';

    while (++p < last) {

        if (*p == '.' && prev == '.') {
            return 1;
        }

        prev = *p;
    }

    return 0;
}


u_char *
ngx_vmess_mux_header(u_char *last, ngx_uint_t id, ngx_uint_t status,
    ngx_uint_t opt, struct sockaddr *sa, size_t len)
{
    u_char     *p, *start, *addr;
    size_t      n, size;
    in_port_t   port;

    n = ngx_vmess_address_bytes(sa, &addr, &port);
    size = NGX_VMESS_MUX_META_MIN + (n ? 1 + 2 + 1 + n : 0);

    start = last - NGX_VMESS_MUX_LENGTH_LEN - size;

    if (opt & NGX_VMESS_MUX_DATA) {
        start -= NGX_VMESS_MUX_LENGTH_LEN;
    }

    p = start;

    *p++ = (u_char) (size >> 8);
    *p++ = (u_char) size;
    *p++ = (u_char) (id >> 8);
    *p++ = (u_char) id;
    *p++ = (u_char) status;
    *p++ = (u_char) opt;

    if (n) {
        *p++ = NGX_VMESS_MUX_UDP;
        *p++ = (u_char) (port >> 8);
        *p++ = (u_char) port;
        *p++ = (n == 4) ? NGX_VMESS_ADDR_IPV4 : NGX_VMESS_ADDR_IPV6;

        p = ngx_cpymem(p, addr, n);
    }

    if (opt & NGX_VMESS_MUX_DATA) {
        *p++ = (u_char) (len >> 8);
        *p = (u_char) len;
    }

    return start;
}
