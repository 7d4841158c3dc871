
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_UPGRADE_H_INCLUDED_
#define _NGX_HTTP_VMESS_UPGRADE_H_INCLUDED_


#include "ngx_http_vmess_raw.h"


/* 1 if the request asks for "Connection: upgrade", "Upgrade: websocket" */
ngx_uint_t ngx_http_vmess_upgrade_test(ngx_http_request_t *r);

/* 1 if it has the one of these, and the other */
ngx_uint_t ngx_http_vmess_upgrade_websocket(ngx_http_request_t *r);
ngx_uint_t ngx_http_vmess_upgrade_connection(ngx_http_request_t *r);

/* as ngx_http_vmess_request_send_header(), "101 Switching Protocols" */
ngx_int_t ngx_http_vmess_upgrade_answer(ngx_http_vmess_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_UPGRADE_H_INCLUDED_ */
