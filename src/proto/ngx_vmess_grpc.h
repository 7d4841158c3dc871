
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_GRPC_H_INCLUDED_
#define _NGX_VMESS_GRPC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_VMESS_GRPC_PREFIX_LEN   5        /* flag and length of a message */
#define NGX_VMESS_GRPC_MESSAGE_MAX  (4 * 1024 * 1024)

#define NGX_VMESS_GRPC_FIELD_MAX    (1 + 5)  /* tag and length */

#define NGX_VMESS_GRPC_HEADER_MAX                                             \
    (NGX_VMESS_GRPC_PREFIX_LEN + NGX_VMESS_GRPC_FIELD_MAX)

/* of data in a message: its header is shorter than the maximum */
#define NGX_VMESS_GRPC_DATA_MAX                                               \
    (NGX_VMESS_GRPC_MESSAGE_MAX - NGX_VMESS_GRPC_FIELD_MAX)


/* parser of the messages of one direction; zeroed at the start */

typedef struct {
    ngx_uint_t                 state;        /* 0: between messages */
    uint64_t                   value;        /* number at hand */
    ngx_uint_t                 n;            /* bytes of it read */
    size_t                     rest;         /* of the message, after field */
    size_t                     length;       /* what is left of the field */

    unsigned                   data:1;       /* the field is field 1 */

    const char                *err;
} ngx_vmess_grpc_t;


/*
 * Takes messages Hunk and MultiHunk from b and moves the data of their fields
 * together to *out, which is at b->pos or before it in the same memory; *out
 * moves past it, and is never past b->pos.  Messages are of at most
 * NGX_VMESS_GRPC_MESSAGE_MAX bytes, empty ones are allowed.  At the end of the
 * stream a state other than zero means that a message was cut.
 *
 * NGX_AGAIN  all of b was taken: more bytes are needed
 * NGX_ERROR  g->err says what is wrong, what came before is at *out
 */
ngx_int_t ngx_vmess_grpc_read(ngx_vmess_grpc_t *g, ngx_buf_t *b, u_char **out);

/*
 * Creates the header of a message with size bytes of data, in one field, right
 * before last, at most NGX_VMESS_GRPC_HEADER_MAX bytes; returns its start.
 * size is 1 .. NGX_VMESS_GRPC_DATA_MAX: light clients cannot read an empty
 * message, and others refuse longer ones.
 */
u_char *ngx_vmess_grpc_header(u_char *last, size_t size);


#endif /* _NGX_VMESS_GRPC_H_INCLUDED_ */
