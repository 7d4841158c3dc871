
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_LISTEN_H_INCLUDED_
#define _NGX_STREAM_VMESS_LISTEN_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * What accepts connections inside others: servers of nginx without a socket.
 */

/* the directive "vmess_listen" */
char *ngx_stream_vmess_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

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


#endif /* _NGX_STREAM_VMESS_LISTEN_H_INCLUDED_ */
