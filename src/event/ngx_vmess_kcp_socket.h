
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_SOCKET_H_INCLUDED_
#define _NGX_VMESS_KCP_SOCKET_H_INCLUDED_


#include "ngx_vmess_kcp_session.h"


/*
 * mKCP on a listening socket of UDP: its datagrams come here, not to nginx,
 * and its sessions are virtual connections.  A session is a worker's, as its
 * datagrams are by "reuseport"; it ends when the worker is told to quit.
 */

/*
 * Takes over a listening socket of this worker, whose connection is in epoll.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_kcp_socket_listen(ngx_cycle_t *cycle, ngx_listening_t *ls,
    ngx_vmess_kcp_socket_conf_t *conf);


#endif /* _NGX_VMESS_KCP_SOCKET_H_INCLUDED_ */
