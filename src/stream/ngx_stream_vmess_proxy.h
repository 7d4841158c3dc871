
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_PROXY_H_INCLUDED_
#define _NGX_STREAM_VMESS_PROXY_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * The proxy module, to which all sessions go: its configuration is private, but
 * its directives are not.
 */

/* learns what "proxy_pass" makes of a server; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_proxy_init(ngx_conf_t *cf);

/* the directive "proxy_pass address" in a server; returns what that returns */
char *ngx_stream_vmess_proxy_pass(ngx_conf_t *cf, ngx_stream_conf_ctx_t *ctx,
    ngx_str_t *address);

/* ngx_vmess_half_close_pt: shuts the connection to the upstream down */
ngx_int_t ngx_stream_vmess_proxy_half_close(ngx_connection_t *c);

/* ngx_vmess_rate_pt of a session, which holds up the proxy */
ngx_int_t ngx_stream_vmess_proxy_delay(void *data, ngx_uint_t down,
    ngx_msec_t delay);


#endif /* _NGX_STREAM_VMESS_PROXY_H_INCLUDED_ */
