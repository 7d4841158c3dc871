
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_H_INCLUDED_
#define _NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_H_INCLUDED_


#include "ngx_http_vmess_subscription.h"


/* adds headers that only the page has; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_subscription_page_headers(ngx_http_request_t *r);

/*
 * A page for people, in one buffer: what is used, until when, the address as a
 * QR code, and links by which clients take it.  NULL: no memory.
 */
ngx_chain_t *ngx_http_vmess_subscription_page(
    ngx_http_vmess_subscription_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_H_INCLUDED_ */
