
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_KCP_H_INCLUDED_
#define _NGX_STREAM_VMESS_KCP_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_kcp" */
char *ngx_stream_vmess_kcp(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* gives the worker's sockets of servers with it to mKCP; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_kcp_init(ngx_cycle_t *cycle);


#endif /* _NGX_STREAM_VMESS_KCP_H_INCLUDED_ */
