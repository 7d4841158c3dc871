
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_
#define _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* before 1.23.0 response headers stay in the TLS buffer of HTTP/2 */

static ngx_inline ngx_int_t
ngx_http_vmess_flush_header(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2 && nginx_version < 1023000)

    ngx_connection_t  *c;

    if (r->stream) {
        c = r->stream->connection->connection;

        if (c->buffered && c->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}


#endif /* _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_ */
