
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_LIST_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_LIST_H_INCLUDED_


#include "ngx_http_vmess_api_query.h"


/*
 * Content handler of the list of users: looks at some of them at a time, and
 * writes what is to be shown as fast as the client takes it
 */
ngx_int_t ngx_http_vmess_api_list(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_LIST_H_INCLUDED_ */
