
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_WS_H_INCLUDED_
#define _NGX_VMESS_WS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_VMESS_WS_KEY_LEN      24     /* of Sec-WebSocket-Key */
#define NGX_VMESS_WS_ACCEPT_LEN   28
#define NGX_VMESS_WS_HEADER_MAX   14     /* of a frame, masked */
#define NGX_VMESS_WS_CONTROL_MAX  125

#define NGX_VMESS_WS_CONTINUATION 0x0
#define NGX_VMESS_WS_TEXT         0x1
#define NGX_VMESS_WS_BINARY       0x2
#define NGX_VMESS_WS_CLOSE        0x8
#define NGX_VMESS_WS_PING         0x9
#define NGX_VMESS_WS_PONG         0xa


/* parser of the frames of a client (RFC 6455, 5.  Data Framing) */

typedef struct {
    ngx_uint_t                 state;
    ngx_uint_t                 opcode;       /* of the frame at hand */
    ngx_uint_t                 final;
    uint64_t                   length;       /* what is left of its payload */
    ngx_uint_t                 n;            /* bytes of a field read */
    u_char                     mask[4];
    ngx_uint_t                 offset;       /* in the mask */

    unsigned                   fragmented:1; /* a message goes on */

    /* a control frame, whole when ngx_vmess_ws_read() returns NGX_DONE */

    size_t                     control_len;
    u_char                     control[NGX_VMESS_WS_CONTROL_MAX];

    const char                *err;
} ngx_vmess_ws_t;


/*
 * Takes frames from b and moves their payload, unmasked, together to *out,
 * which is at b->pos or before it in the same memory; *out moves past it.
 *
 * NGX_AGAIN  all of b was taken: more bytes are needed
 * NGX_DONE   a control frame is whole: ws->opcode, control, control_len; call
 *            again for what is behind it
 * NGX_ERROR  ws->err says what is wrong
 */
ngx_int_t ngx_vmess_ws_read(ngx_vmess_ws_t *ws, ngx_buf_t *b, u_char **out);

/*
 * Creates the header of an unmasked final frame right before p, at most 10
 * bytes; returns its start.
 */
u_char *ngx_vmess_ws_header(u_char *p, ngx_uint_t opcode, size_t len);

/* Sec-WebSocket-Accept of a key; out is NGX_VMESS_WS_ACCEPT_LEN bytes */
void ngx_vmess_ws_accept(u_char *out, ngx_str_t *key);

/*
 * Decodes early data in base64url or base64, padding optional.  out is of
 * ngx_base64_decoded_length(src->len) bytes.  NGX_OK with at least one byte,
 * or NGX_DECLINED: no early data.
 */
ngx_int_t ngx_vmess_ws_early_data(ngx_str_t *out, ngx_str_t *src);


#endif /* _NGX_VMESS_WS_H_INCLUDED_ */
