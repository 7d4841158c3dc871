
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_ws.h"
#include "ngx_vmess_hash.h"


static ngx_int_t ngx_vmess_ws_check(ngx_vmess_ws_t *ws);
static void ngx_vmess_ws_unmask(ngx_vmess_ws_t *ws, u_char *out, u_char *p,
    size_t len);


ngx_int_t
ngx_vmess_ws_read(ngx_vmess_ws_t *ws, ngx_buf_t *b, u_char **out)
{
    u_char  ch;
    size_t  len;

    enum {
        sw_start = 0,
        sw_length,
        sw_length_more,
        sw_mask,
        sw_payload
    };

    for ( ;; ) {

        if (ws->state == sw_payload) {

            len = b->last - b->pos;

            if (len > ws->length) {
                len = (size_t) ws->length;
            }

            if (ws->opcode & 0x8) {
                ngx_vmess_ws_unmask(ws, ws->control + ws->control_len, b->pos,
                                    len);
                ws->control_len += len;

            } else {
                ngx_vmess_ws_unmask(ws, *out, b->pos, len);
                *out += len;
            }

            b->pos += len;
            ws->length -= len;

            if (ws->length) {
                return NGX_AGAIN;
            }

            ws->state = sw_start;

            if (ws->opcode & 0x8) {
                return NGX_DONE;
            }
        }

        if (b->pos == b->last) {
            return NGX_AGAIN;
        }

        ch = *b->pos++;

        switch (ws->state) {

        case sw_start:

            if (ch & 0x70) {
                ws->err = "reserved bits are set";
                return NGX_ERROR;
            }

            ws->final = ch >> 7;
            ws->opcode = ch & 0x0f;
            ws->state = sw_length;

            break;

        case sw_length:

            if (!(ch & 0x80)) {
                ws->err = "frame is not masked";
                return NGX_ERROR;
            }

            ws->length = ch & 0x7f;
            ws->n = 0;

            if (ngx_vmess_ws_check(ws) != NGX_OK) {
                return NGX_ERROR;
            }

            if (ws->length == 126) {
                ws->length = 0;
                ws->n = 2;
                ws->state = sw_length_more;

            } else if (ws->length == 127) {
                ws->length = 0;
                ws->n = 8;
                ws->state = sw_length_more;

            } else {
                ws->state = sw_mask;
            }

            break;

        case sw_length_more:

            ws->length = ws->length << 8 | ch;

            if (--ws->n) {
                break;
            }

            if (ws->length >> 63) {
                ws->err = "invalid length";
                return NGX_ERROR;
            }

            ws->state = sw_mask;

            break;

        default: /* sw_mask */

            ws->mask[ws->n++] = ch;

            if (ws->n == 4) {
                ws->offset = 0;
                ws->control_len = 0;
                ws->state = sw_payload;
            }

            break;
        }
    }
}


/* RFC 6455, 5.4.  Fragmentation, 5.5.  Control Frames */

static ngx_int_t
ngx_vmess_ws_check(ngx_vmess_ws_t *ws)
{
    switch (ws->opcode) {

    case NGX_VMESS_WS_CONTINUATION:

        if (!ws->fragmented) {
            ws->err = "continuation of no message";
            return NGX_ERROR;
        }

        ws->fragmented = !ws->final;

        return NGX_OK;

    case NGX_VMESS_WS_TEXT:
    case NGX_VMESS_WS_BINARY:

        if (ws->fragmented) {
            ws->err = "new message inside of another";
            return NGX_ERROR;
        }

        ws->fragmented = !ws->final;

        return NGX_OK;

    case NGX_VMESS_WS_CLOSE:
    case NGX_VMESS_WS_PING:
    case NGX_VMESS_WS_PONG:

        if (!ws->final || ws->length > NGX_VMESS_WS_CONTROL_MAX) {
            ws->err = "control frame is fragmented or too long";
            return NGX_ERROR;
        }

        return NGX_OK;

    default:
        ws->err = "unknown opcode";
        return NGX_ERROR;
    }
}


/* out is p or before it, and may overlap what follows */

static void
ngx_vmess_ws_unmask(ngx_vmess_ws_t *ws, u_char *out, u_char *p, size_t len)
{
    u_char      mask[8];
    uint64_t    m, v;
    ngx_uint_t  i;

    for (i = 0; i < 8; i++) {
        mask[i] = ws->mask[(ws->offset + i) & 3];
    }

    ws->offset = (ws->offset + len) & 3;

    ngx_memcpy(&m, mask, 8);

    while (len >= 8) {
        ngx_memcpy(&v, p, 8);
        v ^= m;
        ngx_memcpy(out, &v, 8);

        p += 8;
        out += 8;
        len -= 8;
    }

    for (i = 0; i < len; i++) {
        out[i] = p[i] ^ mask[i];
    }
}


u_char *
ngx_vmess_ws_header(u_char *p, ngx_uint_t opcode, size_t len)
{
    ngx_uint_t  i;
    uint64_t    n;

    n = len;

    if (len <= 125) {
        *--p = (u_char) len;

    } else if (len <= 65535) {
        *--p = (u_char) len;
        *--p = (u_char) (len >> 8);
        *--p = 126;

    } else {
        for (i = 0; i < 8; i++) {
            *--p = (u_char) n;
            n >>= 8;
        }

        *--p = 127;
    }

    *--p = (u_char) (0x80 | opcode);

    return p;
}


/* RFC 6455, 4.2.2.  Sending the Server's Opening Handshake */

void
ngx_vmess_ws_accept(u_char *out, ngx_str_t *key)
{
    u_char     data[NGX_VMESS_WS_KEY_LEN + 36], digest[20];
    ngx_str_t  src, dst;

    ngx_memcpy(data, key->data, NGX_VMESS_WS_KEY_LEN);
    ngx_memcpy(data + NGX_VMESS_WS_KEY_LEN,
               "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);

    ngx_vmess_hash_sha1(digest, data, sizeof(data));

    src.data = digest;
    src.len = sizeof(digest);
    dst.data = out;

    ngx_encode_base64(&dst, &src);
}


/* as Xray does: either alphabet, and padding anywhere */

ngx_int_t
ngx_vmess_ws_early_data(ngx_str_t *out, ngx_str_t *src)
{
    u_char      *p, ch;
    uint32_t     bits;
    ngx_uint_t   i, n;

    p = out->data;
    bits = 0;
    n = 0;

    for (i = 0; i < src->len; i++) {

        ch = src->data[i];

        if (ch == '=') {
            continue;
        }

        if (ch >= 'A' && ch <= 'Z') {
            ch -= 'A';

        } else if (ch >= 'a' && ch <= 'z') {
            ch = ch - 'a' + 26;

        } else if (ch >= '0' && ch <= '9') {
            ch = ch - '0' + 52;

        } else if (ch == '-' || ch == '+') {
            ch = 62;

        } else if (ch == '_' || ch == '/') {
            ch = 63;

        } else {
            return NGX_DECLINED;
        }

        bits = bits << 6 | ch;

        if (n++ % 4) {
            *p++ = (u_char) (bits >> (6 - 2 * ((n - 1) % 4)));
        }
    }

    out->len = p - out->data;

    return out->len && n % 4 != 1 ? NGX_OK : NGX_DECLINED;
}
