
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_EXPLAIN_H_INCLUDED_
#define _NGX_HTTP_VMESS_EXPLAIN_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/*
 * For a request that no transport takes: if it looks like a client's, logs
 * why, and returns 1.  A proxy on the way may have changed it, or the client
 * is configured for another path.
 */
ngx_uint_t ngx_http_vmess_explain_request(ngx_http_request_t *r);


#endif /* _NGX_HTTP_VMESS_EXPLAIN_H_INCLUDED_ */
