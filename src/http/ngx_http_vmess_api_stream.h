
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_STREAM_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_STREAM_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/*
 * An answer of any length: it is written into one buffer, which is filled anew
 * as fast as the client takes it
 */

typedef struct {
    ngx_vmess_json_out_t         jo;       /* writes into the buffer */
    ngx_str_t                    type;     /* of the content, empty: JSON */
    ngx_buf_t                   *buf;      /* empty, or what waits to be sent */
    unsigned                     full:1;   /* what is next does not fit */
    unsigned                     done:1;   /* all is written */
} ngx_http_vmess_api_stream_t;


/*
 * Sends the header, and makes the buffer.  NGX_AGAIN: the answer may be
 * written; other: what the request is finalized with.
 */
ngx_int_t ngx_http_vmess_api_stream_start(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_stream_t *st);

/*
 * Gives the client what was written, or lets go on what waits; returns what the
 * step is to return.  With an empty buffer the next step writes more.
 */
ngx_int_t ngx_http_vmess_api_stream_output(ngx_http_request_t *r,
    ngx_http_vmess_api_stream_t *st);


#endif /* _NGX_HTTP_VMESS_API_STREAM_H_INCLUDED_ */
