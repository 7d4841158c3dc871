
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_FLOW_H_INCLUDED_
#define _NGX_STREAM_VMESS_FLOW_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * Adds a server that proxies to an address, as if it was configured with
 * "proxy_pass" and nothing else.  NULL after an error that was logged.
 */
ngx_stream_core_srv_conf_t *ngx_stream_vmess_fallback_add_server(ngx_conf_t *cf,
    ngx_str_t *address);

/* learns what "proxy_pass" makes of a server; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_proxy_init(ngx_conf_t *cf);

/* finds the server with "vmess_listen name", NULL if there is none */
ngx_stream_core_srv_conf_t *ngx_stream_vmess_listen_find(ngx_conf_t *cf,
    ngx_str_t *name);

/* makes a server with "vmess_listen" known to carriers; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_listen_add(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/*
 * The same for connections inside of those of the server: sub-connections of
 * mux and sessions of mKCP
 */
ngx_int_t ngx_stream_vmess_listen_add_flows(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/*
 * Phase handler, the first of the preaccess phase: what connections are
 * charged with after it is given back on a move.
 */
ngx_int_t ngx_stream_vmess_fallback_mark_handler(ngx_stream_session_t *s);

/*
 * Moves a session to another server: its phases start from the first, with
 * nothing left of the server it comes from.  The caller returns to the phase
 * engine.
 */
void ngx_stream_vmess_fallback_move(ngx_stream_session_t *s,
    ngx_stream_core_srv_conf_t *cscf);

/* ngx_vmess_half_close_pt: shuts the connection to the upstream down */
ngx_int_t ngx_stream_vmess_proxy_half_close(ngx_connection_t *c);


#endif /* _NGX_STREAM_VMESS_FLOW_H_INCLUDED_ */
