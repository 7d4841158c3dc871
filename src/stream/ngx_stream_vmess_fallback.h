
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_FALLBACK_H_INCLUDED_
#define _NGX_STREAM_VMESS_FALLBACK_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_fallback" */
char *ngx_stream_vmess_fallback(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Finds the server to which one with VMess falls back, if any.  NGX_OK, or
 * NGX_ERROR after an error that was logged.
 */
ngx_int_t ngx_stream_vmess_fallback_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/*
 * Phase handler, the first of the preaccess phase: a move gives back what
 * connections are charged after it.
 */
ngx_int_t ngx_stream_vmess_fallback_mark_handler(ngx_stream_session_t *s);

/*
 * Moves a session to another server: its phases start over, with nothing left
 * of the server it comes from.  The caller returns to the phase engine.
 */
void ngx_stream_vmess_fallback_move(ngx_stream_session_t *s,
    ngx_stream_core_srv_conf_t *cscf);


#endif /* _NGX_STREAM_VMESS_FALLBACK_H_INCLUDED_ */
