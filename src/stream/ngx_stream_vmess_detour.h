
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_DETOUR_H_INCLUDED_
#define _NGX_STREAM_VMESS_DETOUR_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_detour" */
char *ngx_stream_vmess_detour(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* of a server with "vmess_detour": NGX_OK, or NGX_ERROR with a message */
ngx_int_t ngx_stream_vmess_detour_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/* once all listening sockets are known: warns of ports that have none */
void ngx_stream_vmess_detour_listen(ngx_cycle_t *cycle);

/*
 * Tells an authentic client in the response to go on at another port, with
 * another id.  NGX_OK, even if it has no such id; NGX_ERROR without memory.
 */
ngx_int_t ngx_stream_vmess_detour_switch(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_DETOUR_H_INCLUDED_ */
