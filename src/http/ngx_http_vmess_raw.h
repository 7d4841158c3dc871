
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_RAW_H_INCLUDED_
#define _NGX_HTTP_VMESS_RAW_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/* a session on the connection itself, which ends with it */
void ngx_http_vmess_raw_open(ngx_http_vmess_ctx_t *ctx);

/*
 * Reads from the client, what nginx has read already first; returns as
 * c->recv
 */
ssize_t ngx_http_vmess_raw_read(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* of a carrier, in bytes as they are */
ssize_t ngx_http_vmess_raw_recv(void *data, u_char *buf, size_t size);
ssize_t ngx_http_vmess_raw_send(void *data, u_char *buf, size_t size);

/* of a transport */
ngx_int_t ngx_http_vmess_raw_decline(ngx_http_vmess_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_RAW_H_INCLUDED_ */
