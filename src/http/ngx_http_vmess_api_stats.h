
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_STATS_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_STATS_H_INCLUDED_


#include "ngx_http_vmess_api_field.h"


/* content handlers: what the zone is, and sums over all of its users */

ngx_int_t ngx_http_vmess_api_stats_index(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_stats_sums(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_STATS_H_INCLUDED_ */
