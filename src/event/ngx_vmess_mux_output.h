
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_MUX_OUTPUT_H_INCLUDED_
#define _NGX_VMESS_MUX_OUTPUT_H_INCLUDED_


#include "ngx_vmess_connection.h"
#include "proto/ngx_vmess_mux.h"


/*
 * What is sent to a client with sub-connections (Mux.Cool).  Frames are made
 * when the connection takes them, and must not be cut: until the rest of one is
 * sent, there are no others.  End frames wait for that, but are never lost.
 */

typedef struct {
    ngx_connection_t          *connection;
    ngx_buf_t                  rest;         /* of a frame */
    u_char                    *ends;         /* End frames to be sent */
    size_t                     ends_len;
    off_t                      sent;         /* bytes of sub-connections */
} ngx_vmess_mux_output_t;


/* max is that of sub-connections at once.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_mux_output_init(ngx_vmess_mux_output_t *out,
    ngx_connection_t *c, ngx_uint_t max);

/*
 * Sends data of a sub-connection, "size" bytes of buf or fewer.
 *
 * n > 0      so many were taken
 * NGX_AGAIN  none, until ngx_vmess_mux_output_flush() returns NGX_OK
 * NGX_ERROR  the connection cannot go on
 */
ssize_t ngx_vmess_mux_output_send(ngx_vmess_mux_output_t *out, ngx_uint_t id,
    u_char *buf, size_t size);

/*
 * The same for a datagram of up to NGX_VMESS_MUX_DATA_LEN bytes, whose sender
 * is sa, or NULL: NGX_OK, NGX_AGAIN or NGX_ERROR.
 */
ngx_int_t ngx_vmess_mux_output_send_packet(ngx_vmess_mux_output_t *out,
    ngx_uint_t id, struct sockaddr *sa, ngx_buf_t *b);

/*
 * Queues the End frame of a sub-connection, or of an id that is none.  Nothing
 * may be read from the client while End frames wait, so there is room for one
 * of each sub-connection and another one.
 */
void ngx_vmess_mux_output_end(ngx_vmess_mux_output_t *out, ngx_uint_t id,
    ngx_uint_t opt);

/* sends what waits: NGX_OK if nothing is left, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_vmess_mux_output_flush(ngx_vmess_mux_output_t *out);


#endif /* _NGX_VMESS_MUX_OUTPUT_H_INCLUDED_ */
