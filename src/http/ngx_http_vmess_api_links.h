
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_LINKS_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_LINKS_H_INCLUDED_


#include "ngx_http_vmess_api_user.h"


/* content handler of the share links of a user, ctx->name */
ngx_int_t ngx_http_vmess_api_links(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_LINKS_H_INCLUDED_ */
