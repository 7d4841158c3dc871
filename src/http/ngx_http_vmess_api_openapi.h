
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_OPENAPI_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_OPENAPI_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/* content handler of the document that describes the API */
ngx_int_t ngx_http_vmess_api_openapi(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_OPENAPI_H_INCLUDED_ */
