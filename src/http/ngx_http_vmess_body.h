
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_BODY_H_INCLUDED_
#define _NGX_HTTP_VMESS_BODY_H_INCLUDED_


#include "ngx_http_vmess_tap.h"


#define NGX_HTTP_VMESS_BODY_MAX  (64 * 1024)


/*
 * A session in the body of the request, read without buffering, and that of
 * the response; the first in the data of its transport.
 */

typedef struct {
    ngx_http_vmess_tap_t       tap;
    void                     **loc_conf;     /* of the site */
    size_t                     read;         /* may be the site's yet */

    ngx_buf_t                  out;
    ngx_chain_t                out_chain;
} ngx_http_vmess_body_t;


/*
 * As ngx_http_vmess_request_open(), and opens the body: NGX_OK, or what to
 * return.  Without data it is a body alone.
 */
ngx_int_t ngx_http_vmess_body_open(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data);

/*
 * As ngx_http_vmess_request_take(); NGX_DECLINED also if the body is not there
 */
ngx_int_t ngx_http_vmess_body_take(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data);

/*
 * Writes to the body of the response; takes all, NGX_HTTP_VMESS_BODY_MAX bytes
 * and a header of a frame at most, or nothing: returns as c->send
 */
ssize_t ngx_http_vmess_body_write(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* NGX_OK if all that was taken is sent, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_http_vmess_body_flush(ngx_http_vmess_ctx_t *ctx);

/* as ngx_http_vmess_request_send_header() */
ngx_int_t ngx_http_vmess_body_answer(ngx_http_vmess_ctx_t *ctx);

/* of a carrier, in bytes as they are; the first for all who read the body */
ssize_t ngx_http_vmess_body_recv(void *data, u_char *buf, size_t size);
ssize_t ngx_http_vmess_body_send(void *data, u_char *buf, size_t size);

/* of a transport */
void ngx_http_vmess_body_read_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_vmess_body_ready(ngx_http_vmess_ctx_t *ctx);
ngx_int_t ngx_http_vmess_body_decline(ngx_http_vmess_ctx_t *ctx);
ngx_int_t ngx_http_vmess_body_drain(ngx_http_vmess_ctx_t *ctx);
void ngx_http_vmess_body_finish(ngx_http_vmess_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_BODY_H_INCLUDED_ */
