
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_REWRITE_H_INCLUDED_
#define _NGX_HTTP_VMESS_REWRITE_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/*
 * For a request that passes by the rewrite module: runs the "set" directives
 * at the start of its location, so that access rules, limits and logs have
 * their variables; NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_rewrite_set(ngx_http_vmess_ctx_t *ctx);

/*
 * The request comes back to the rewrite module, which finds variables and
 * captures as they were, and thus runs each "set" with an effect once
 */
void ngx_http_vmess_rewrite_restore(ngx_http_vmess_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_REWRITE_H_INCLUDED_ */
