
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_H2_H_INCLUDED_
#define _NGX_HTTP_VMESS_H2_H_INCLUDED_


#include "ngx_http_vmess_request.h"


extern const ngx_http_vmess_transport_t  ngx_http_vmess_h2_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_h2_raw_transport;


#endif /* _NGX_HTTP_VMESS_H2_H_INCLUDED_ */
