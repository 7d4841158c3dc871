
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_grpc.h"


/* types of fields; groups are not in use since long, and not taken */

#define NGX_VMESS_GRPC_VARINT      0
#define NGX_VMESS_GRPC_FIXED64     1
#define NGX_VMESS_GRPC_BYTES       2
#define NGX_VMESS_GRPC_FIXED32     5

#define NGX_VMESS_GRPC_VARINT_MAX  10        /* bytes */
#define NGX_VMESS_GRPC_NUMBER_MAX  0x1fffffff

/* field 1 is the only one of Hunk and MultiHunk */

#define NGX_VMESS_GRPC_TAG         (1 << 3 | NGX_VMESS_GRPC_BYTES)


static ngx_int_t ngx_vmess_grpc_varint(ngx_vmess_grpc_t *g, u_char ch);


ngx_int_t
ngx_vmess_grpc_read(ngx_vmess_grpc_t *g, ngx_buf_t *b, u_char **out)
{
    u_char     ch;
    size_t     len;
    ngx_int_t  rc;

    enum {
        sw_start = 0,
        sw_length,
        sw_tag,
        sw_varint,
        sw_field_length,
        sw_field
    };

    for ( ;; ) {

        if (g->state == sw_field) {

            len = ngx_min((size_t) (b->last - b->pos), g->length);

            if (g->data) {

                if (*out != b->pos) {
                    ngx_memmove(*out, b->pos, len);
                }

                *out += len;
            }

            b->pos += len;
            g->length -= len;

            if (g->length) {
                return NGX_AGAIN;
            }

            g->state = g->rest ? sw_tag : sw_start;
        }

        if (b->pos == b->last) {
            return NGX_AGAIN;
        }

        ch = *b->pos++;

        switch (g->state) {

        case sw_start:

            if (ch) {
                g->err = (ch == 1) ? "message is compressed"
                                   : "invalid message flag";
                return NGX_ERROR;
            }

            g->value = 0;
            g->state = sw_length;

            break;

        case sw_length:

            g->value = g->value << 8 | ch;

            if (++g->n < NGX_VMESS_GRPC_PREFIX_LEN - 1) {
                break;
            }

            if (g->value > NGX_VMESS_GRPC_MESSAGE_MAX) {
                g->err = "message is too long";
                return NGX_ERROR;
            }

            g->n = 0;
            g->rest = (size_t) g->value;
            g->state = g->rest ? sw_tag : sw_start;

            break;

        case sw_tag:

            rc = ngx_vmess_grpc_varint(g, ch);

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_AGAIN) {
                break;
            }

            if (g->value >> 3 == 0
                || g->value >> 3 > NGX_VMESS_GRPC_NUMBER_MAX)
            {
                g->err = "invalid field number";
                return NGX_ERROR;
            }

            switch (g->value & 7) {

            case NGX_VMESS_GRPC_VARINT:
                g->state = sw_varint;
                len = 1;
                break;

            case NGX_VMESS_GRPC_FIXED64:
                g->state = sw_field;
                len = 8;
                break;

            case NGX_VMESS_GRPC_BYTES:
                g->state = sw_field_length;
                len = 1;
                break;

            case NGX_VMESS_GRPC_FIXED32:
                g->state = sw_field;
                len = 4;
                break;

            default:
                g->err = "invalid field type";
                return NGX_ERROR;
            }

            if (g->rest < len) {
                g->err = "field is longer than its message";
                return NGX_ERROR;
            }

            /* field 1 of another type is an unknown field */

            g->data = (g->value == NGX_VMESS_GRPC_TAG);

            if (g->state == sw_field) {
                g->length = len;
                g->rest -= len;
            }

            break;

        case sw_varint:

            rc = ngx_vmess_grpc_varint(g, ch);

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_OK) {
                g->state = g->rest ? sw_tag : sw_start;
            }

            break;

        default: /* sw_field_length */

            rc = ngx_vmess_grpc_varint(g, ch);

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_AGAIN) {
                break;
            }

            if (g->value > g->rest) {
                g->err = "field is longer than its message";
                return NGX_ERROR;
            }

            g->length = (size_t) g->value;
            g->rest -= g->length;
            g->state = sw_field;

            break;
        }
    }
}


/* Protocol Buffers, "Base 128 Varints": the next byte of g->value */

static ngx_int_t
ngx_vmess_grpc_varint(ngx_vmess_grpc_t *g, u_char ch)
{
    g->rest--;

    if (g->n == 0) {
        g->value = 0;
    }

    /* the last byte has one bit */

    if (g->n == NGX_VMESS_GRPC_VARINT_MAX - 1 && ch > 1) {
        g->err = "number is too long";
        return NGX_ERROR;
    }

    g->value |= (uint64_t) (ch & 0x7f) << (7 * g->n);

    if (!(ch & 0x80)) {
        g->n = 0;
        return NGX_OK;
    }

    if (g->rest == 0) {
        g->err = "field is longer than its message";
        return NGX_ERROR;
    }

    g->n++;

    return NGX_AGAIN;
}


u_char *
ngx_vmess_grpc_header(u_char *last, size_t size)
{
    u_char   *p, *start;
    size_t    n;
    uint32_t  len;

    n = 2;

    for (len = (uint32_t) size >> 7; len; len >>= 7) {
        n++;
    }

    start = last - NGX_VMESS_GRPC_PREFIX_LEN - n;
    len = (uint32_t) (n + size);

    p = start;

    *p++ = 0;
    *p++ = (u_char) (len >> 24);
    *p++ = (u_char) (len >> 16);
    *p++ = (u_char) (len >> 8);
    *p++ = (u_char) len;

    *p++ = NGX_VMESS_GRPC_TAG;

    for (len = (uint32_t) size; len > 0x7f; len >>= 7) {
        *p++ = (u_char) (len | 0x80);
    }

    *p = (u_char) len;

    return start;
}
