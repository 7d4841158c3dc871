
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_
#define _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_


#include "ngx_http_vmess_body.h"


extern const ngx_http_vmess_transport_t  ngx_http_vmess_xhttp_transport;


#endif /* _NGX_HTTP_VMESS_XHTTP_H_INCLUDED_ */
