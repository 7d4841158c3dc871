
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_BODY_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_BODY_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"
#include "proto/ngx_vmess_json.h"


/*
 * Takes an event of the JSON in the body: NGX_OK, also when it is whole; or
 * NGX_ERROR, and err says what is wrong
 */
typedef ngx_int_t (*ngx_http_vmess_api_body_pt)(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);


/* what ctx->data was before, while the body is read */
void *ngx_http_vmess_api_body_data(ngx_http_vmess_api_ctx_t *ctx);

/*
 * Reads the body of a request as JSON, in slices, and goes on with a step once
 * all of it was taken.  Returns what a content handler does.
 */
ngx_int_t ngx_http_vmess_api_body_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_body_pt event, ngx_http_vmess_api_step_pt next);


#endif /* _NGX_HTTP_VMESS_API_BODY_H_INCLUDED_ */
