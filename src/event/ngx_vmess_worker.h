
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_WORKER_H_INCLUDED_
#define _NGX_VMESS_WORKER_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * Unix sockets between workers, in the abstract namespace, which leaves no
 * files behind.  Anyone may listen on such a name, and connect to it: workers
 * are told from others by their credentials.
 */

#define NGX_VMESS_WORKER_NAME  64


/*
 * A socket of type that listens under a name, at most NGX_VMESS_WORKER_NAME
 * bytes, or -1, which was logged; what has to do without it is for the log.
 * These sockets, and those below, are not blocking.
 */
ngx_socket_t ngx_vmess_worker_listen(int type, ngx_str_t *name, char *what,
    ngx_log_t *log);

/* a socket connected to that of worker pid, or -1, which was logged */
ngx_socket_t ngx_vmess_worker_connect(int type, ngx_str_t *name,
    ngx_pid_t pid, ngx_log_t *log);

/* the next connection of a worker to a socket that listens, -1: none now */
ngx_socket_t ngx_vmess_worker_accept(ngx_socket_t ls, ngx_log_t *log);


#endif /* _NGX_VMESS_WORKER_H_INCLUDED_ */
