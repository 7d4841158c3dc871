
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_
#define _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_


#include "ngx_http_vmess_session.h"


/* padding of the request, and of what we send ourselves */

#define NGX_HTTP_VMESS_PADDING_MIN  100
#define NGX_HTTP_VMESS_PADDING_MAX  1000


/* 1 if the request has padding */
ngx_uint_t ngx_http_vmess_xhttp_candidate(ngx_http_request_t *r);

/* how many bytes of it */
size_t ngx_http_vmess_xhttp_length(ngx_http_request_t *r);


extern const ngx_http_vmess_transport_t  ngx_http_vmess_xhttp_transport;


#endif /* _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_ */
