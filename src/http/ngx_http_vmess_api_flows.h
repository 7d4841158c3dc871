
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_FLOWS_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_FLOWS_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/*
 * Content handlers of lists of flows that are open now: asks one worker after
 * the other, and writes what they tell as fast as the client takes it.  One
 * that is silent for a second is left out, and counted in "missing".
 */

/* of the user ctx->name, if there is one */
ngx_int_t ngx_http_vmess_api_flows_user(ngx_http_vmess_api_ctx_t *ctx);

/* of all users */
ngx_int_t ngx_http_vmess_api_flows_all(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_FLOWS_H_INCLUDED_ */
