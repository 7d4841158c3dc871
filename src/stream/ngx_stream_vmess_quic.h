
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_QUIC_H_INCLUDED_
#define _NGX_STREAM_VMESS_QUIC_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_quic" */
char *ngx_stream_vmess_quic(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* prepares a server with it; NGX_OK or NGX_ERROR, which was logged */
ngx_int_t ngx_stream_vmess_quic_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/* gives the sockets of such servers to QUIC, before they are opened */
void ngx_stream_vmess_quic_listen(ngx_cycle_t *cycle);

/* for a worker, when they are */
void ngx_stream_vmess_quic_init(ngx_cycle_t *cycle);


#endif /* _NGX_STREAM_VMESS_QUIC_H_INCLUDED_ */
