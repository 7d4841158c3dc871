
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_SOCKET_H_INCLUDED_
#define _NGX_VMESS_KCP_SOCKET_H_INCLUDED_


#include "ngx_vmess_vconn.h"
#include "proto/ngx_vmess_kcp_packet.h"
#include "proto/ngx_vmess_kcp.h"


/*
 * mKCP on a listening socket of UDP: its datagrams come here, not to nginx,
 * and its sessions are virtual connections.  A session is a worker's, as its
 * datagrams are by "reuseport"; it ends when the worker is told to quit.
 */

typedef struct {
    ngx_vmess_kcp_conf_t       kcp;
    ngx_uint_t                 seal;         /* NGX_VMESS_KCP_SEAL_... */
    ngx_str_t                  seed;
    ngx_uint_t                 header;       /* NGX_VMESS_KCP_HEADER_... */
    ngx_str_t                  domain;

    ngx_uint_t                 max;          /* sessions of a socket, */
    ngx_uint_t                 max_source;   /* and of an address in it */

    ngx_vmess_listen_t        *listen;       /* for sessions */
} ngx_vmess_kcp_socket_conf_t;


/*
 * Takes over a listening socket of this worker, whose connection is in epoll.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_kcp_socket_listen(ngx_cycle_t *cycle, ngx_listening_t *ls,
    ngx_vmess_kcp_socket_conf_t *conf);


#endif /* _NGX_VMESS_KCP_SOCKET_H_INCLUDED_ */
