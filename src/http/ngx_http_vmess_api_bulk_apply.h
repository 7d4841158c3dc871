
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_BULK_APPLY_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_BULK_APPLY_H_INCLUDED_


#include "ngx_http_vmess_api_bulk.h"


/*
 * Steps that change users, while an edit is open and room is kept.  First those
 * go that go, as others may get their ids and their room; then it names the
 * next step, which sets the users of the body.  NGX_AGAIN, or NGX_DONE: all is
 * done.
 */
ngx_int_t ngx_http_vmess_api_bulk_apply_clear(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_bulk_apply_set(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_BULK_APPLY_H_INCLUDED_ */
