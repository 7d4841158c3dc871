
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_MUX_H_INCLUDED_
#define _NGX_VMESS_MUX_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_address.h"


/* Mux.Cool, "Metadata", and what XUDP adds to it */

#define NGX_VMESS_MUX_NEW           1        /* status */
#define NGX_VMESS_MUX_KEEP          2
#define NGX_VMESS_MUX_END           3
#define NGX_VMESS_MUX_KEEPALIVE     4

#define NGX_VMESS_MUX_DATA          0x01     /* option */
#define NGX_VMESS_MUX_ERROR         0x02

#define NGX_VMESS_MUX_TCP           1        /* network */
#define NGX_VMESS_MUX_UDP           2

#define NGX_VMESS_MUX_LENGTH_LEN    2        /* of metadata and of data */
#define NGX_VMESS_MUX_META_MIN      4        /* id, status, option */
#define NGX_VMESS_MUX_META_MAX      512
#define NGX_VMESS_MUX_GLOBAL_ID_LEN 8

/* data that a frame can have, and that peers put into one */

#define NGX_VMESS_MUX_DATA_MAX      65535
#define NGX_VMESS_MUX_DATA_LEN      8192

/* a header that we write: it has no domain */

#define NGX_VMESS_MUX_HEADER_LEN                                              \
    (NGX_VMESS_MUX_LENGTH_LEN + NGX_VMESS_MUX_META_MIN)

#define NGX_VMESS_MUX_HEADER_MAX                                              \
    (NGX_VMESS_MUX_HEADER_LEN + 1 + 2 + 1 + 16 + NGX_VMESS_MUX_LENGTH_LEN)


/* reader of the frames of one direction; zeroed at the start */

typedef struct {
    ngx_uint_t            state;
    size_t                n;                 /* bytes of the header read */
    size_t                size;              /* length and metadata */

    size_t                length;            /* data of the frame not yet
                                                taken, the caller's */
    ngx_uint_t            id;
    ngx_uint_t            status;
    ngx_uint_t            opt;
    ngx_uint_t            network;           /* 0 without an address */
    ngx_vmess_address_t   address;

    /* all zero, which means none, unless has_global_id */

    u_char                global_id[NGX_VMESS_MUX_GLOBAL_ID_LEN];

    unsigned              has_address:1;
    unsigned              has_global_id:1;
    unsigned              bad_address:1;     /* err says why */

    const char           *err;

    u_char                data[NGX_VMESS_MUX_LENGTH_LEN
                               + NGX_VMESS_MUX_META_MAX
                               + NGX_VMESS_MUX_LENGTH_LEN];
} ngx_vmess_mux_t;


/*
 * Reads the header of the next frame (Mux.Cool, "Frame format").  The
 * m->length bytes of data behind it are not read: the caller takes them from b
 * as they come and lowers m->length.  What is left of it at the next call is
 * skipped.  If m->n or m->length is not zero at the end of the stream, a frame
 * was truncated.
 *
 * has_address is set for New, and for Keep with the address of a datagram.
 * bad_address: frames stay in step, but the sub-connection cannot go on, as
 * the address in Keep is invalid or the name in New has an empty label.
 * has_global_id is set for New with UDP and data.
 *
 * NGX_OK     fields are filled in, valid until the next call
 * NGX_AGAIN  all of b was taken: more bytes are needed
 * NGX_ERROR  m->err says what is wrong: the connection cannot go on
 */
ngx_int_t ngx_vmess_mux_read(ngx_vmess_mux_t *m, ngx_buf_t *b);

/*
 * Creates the header of a frame other than New right before last, at most
 * NGX_VMESS_MUX_HEADER_MAX bytes; returns its start.
 *
 * sa   sender of the datagram, or NULL; other than IPv4 and IPv6 is as NULL
 * len  size of the data, up to NGX_VMESS_MUX_DATA_MAX, which is there if opt
 *      has NGX_VMESS_MUX_DATA
 */
u_char *ngx_vmess_mux_header(u_char *last, ngx_uint_t id, ngx_uint_t status,
    ngx_uint_t opt, struct sockaddr *sa, size_t len);


#endif /* _NGX_VMESS_MUX_H_INCLUDED_ */
