
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_UPLOAD_H_INCLUDED_
#define _NGX_HTTP_VMESS_UPLOAD_H_INCLUDED_


#include "ngx_http_vmess_session.h"


/*
 * Takes a request whose body is a packet of the session, or with
 * NGX_VMESS_XHTTP_NO_SEQ all of its upload; NGX_DONE, or what a phase handler
 * returns
 */
ngx_int_t ngx_http_vmess_upload_take(ngx_http_vmess_ctx_t *ctx, u_char *sid,
    int64_t seq);


#endif /* _NGX_HTTP_VMESS_UPLOAD_H_INCLUDED_ */
