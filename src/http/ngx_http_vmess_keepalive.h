
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_KEEPALIVE_H_INCLUDED_
#define _NGX_HTTP_VMESS_KEEPALIVE_H_INCLUDED_


#include "ngx_http_vmess_session.h"


/*
 * HTTP/1.1 connections that bring packets of XHTTP.  A client writes the next
 * packet into an idle connection, and would not notice that it was closed at
 * that moment: while the session lives, such connections are closed neither by
 * a timeout, nor by a worker that quits, nor for the number of their requests.
 */


/* 1 if the connection is to be kept behind this packet of a session */
ngx_uint_t ngx_http_vmess_keepalive_test(ngx_http_request_t *r, u_char *sid);

/*
 * Answers and ends the request, and keeps its connection; timeout is what that
 * is given when the session has ended, 0: it is closed
 */
void ngx_http_vmess_keepalive_finish(ngx_http_vmess_ctx_t *ctx, u_char *sid,
    ngx_msec_t timeout);


#endif /* _NGX_HTTP_VMESS_KEEPALIVE_H_INCLUDED_ */
