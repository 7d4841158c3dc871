
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_BULK_EDIT_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_BULK_EDIT_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/*
 * Content handler of changes to many users: PUT makes the users of the API
 * those of the body, PATCH changes those in the body.  Either all of it is
 * done, or nothing: meanwhile nobody else changes users, and there is room for
 * it.
 */
ngx_int_t ngx_http_vmess_api_bulk_edit(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_BULK_EDIT_H_INCLUDED_ */
