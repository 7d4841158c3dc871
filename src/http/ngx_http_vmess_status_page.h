
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_STATUS_PAGE_H_INCLUDED_
#define _NGX_HTTP_VMESS_STATUS_PAGE_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/*
 * The page of a status for people: the same bytes for all.  Its script asks
 * the status and the API for what it shows.  Its sources are in folder "page".
 */

typedef struct {
    ngx_str_t                  policy;     /* Content-Security-Policy */
    ngx_str_t                  etag;
} ngx_http_vmess_status_page_t;


/* headers of the page, in memory of the configuration; NULL: no memory */
ngx_http_vmess_status_page_t *ngx_http_vmess_status_page_create(ngx_conf_t *cf);

/* answers with the page; returns what the request is finalized with */
ngx_int_t ngx_http_vmess_status_page_send(ngx_http_request_t *r,
    ngx_http_vmess_status_page_t *page);


#endif /* _NGX_HTTP_VMESS_STATUS_PAGE_H_INCLUDED_ */
