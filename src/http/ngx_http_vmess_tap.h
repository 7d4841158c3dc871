
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_TAP_H_INCLUDED_
#define _NGX_HTTP_VMESS_TAP_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/* more than any VMess header has, in frames of a usual size, too */

#define NGX_HTTP_VMESS_TAP_HEAD  1024


/*
 * What came of a body, and all that reads it, while the request may be the
 * site's; the first in the data of its transport.
 */

typedef struct {
    ngx_buf_t                 *buf;          /* as it came */
    ngx_recv_pt                recv;         /* of the connection, or NULL */
    ngx_buf_t                 *header_in;
    off_t                      request_length;
    off_t                      content_length;
#if (NGX_HTTP_V3)
    ngx_http_v3_parse_data_t   parse;
#endif
} ngx_http_vmess_tap_t;


/* the site may get all that comes from now on; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_tap_open(ngx_http_vmess_ctx_t *ctx);

/* c->recv is that of the connection again; may be called again */
void ngx_http_vmess_tap_close(ngx_http_vmess_ctx_t *ctx);

/* what was read by other ways than c->recv; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_tap_keep(ngx_http_vmess_ctx_t *ctx, u_char *data,
    size_t size);

/* closes it, and the site will not get what was read */
void ngx_http_vmess_tap_forget(ngx_http_vmess_ctx_t *ctx);

/* the site gets the body as if nobody had read; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_tap_restore(ngx_http_vmess_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_TAP_H_INCLUDED_ */
