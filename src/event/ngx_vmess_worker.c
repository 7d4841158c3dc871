
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_worker.h"

#include <sys/un.h>


#define NGX_VMESS_WORKER_BACKLOG  511


static ngx_uint_t ngx_vmess_worker_trusted(ngx_socket_t s, ngx_pid_t pid);
static ngx_socket_t ngx_vmess_worker_socket(int type, ngx_str_t *name,
    struct sockaddr_un *sun, socklen_t *socklen, ngx_log_t *log);


ngx_socket_t
ngx_vmess_worker_listen(int type, ngx_str_t *name, char *what, ngx_log_t *log)
{
    socklen_t           socklen;
    ngx_socket_t        s;
    struct sockaddr_un  sun;

    s = ngx_vmess_worker_socket(type, name, &sun, &socklen, log);

    if (s == (ngx_socket_t) -1) {
        return s;
    }

    if (bind(s, (struct sockaddr *) &sun, socklen) == -1
        || listen(s, NGX_VMESS_WORKER_BACKLOG) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      "socket for other workers failed, %s sessions are "
                      "limited to one", what);

        (void) ngx_close_socket(s);

        return (ngx_socket_t) -1;
    }

    return s;
}


ngx_socket_t
ngx_vmess_worker_connect(int type, ngx_str_t *name, ngx_pid_t pid,
    ngx_log_t *log)
{
    socklen_t           socklen;
    ngx_socket_t        s;
    struct sockaddr_un  sun;

    s = ngx_vmess_worker_socket(type, name, &sun, &socklen, log);

    if (s == (ngx_socket_t) -1) {
        return s;
    }

    if (connect(s, (struct sockaddr *) &sun, socklen) == -1) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_socket_errno,
                      "connect() to worker %P failed", pid);
        goto failed;
    }

    if (!ngx_vmess_worker_trusted(s, pid)) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "socket of worker %P is not its own", pid);
        goto failed;
    }

    return s;

failed:

    (void) ngx_close_socket(s);

    return (ngx_socket_t) -1;
}


ngx_socket_t
ngx_vmess_worker_accept(ngx_socket_t ls, ngx_log_t *log)
{
    ngx_err_t     err;
    ngx_socket_t  s;

    for ( ;; ) {

        s = accept4(ls, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (s == (ngx_socket_t) -1) {
            err = ngx_socket_errno;

            if (err == NGX_EINTR || err == NGX_ECONNABORTED) {
                continue;
            }

            if (err != NGX_EAGAIN) {
                ngx_log_error(NGX_LOG_ALERT, log, err,
                              "accept4() from another worker failed");
            }

            return s;
        }

        if (ngx_vmess_worker_trusted(s, 0)) {
            return s;
        }

        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "connection of another user to the socket of a worker");

        (void) ngx_close_socket(s);
    }
}


static ngx_socket_t
ngx_vmess_worker_socket(int type, ngx_str_t *name, struct sockaddr_un *sun,
    socklen_t *socklen, ngx_log_t *log)
{
    ngx_socket_t  s;

    ngx_memzero(sun, sizeof(struct sockaddr_un));

    sun->sun_family = AF_UNIX;
    ngx_memcpy(&sun->sun_path[1], name->data, name->len);

    *socklen = offsetof(struct sockaddr_un, sun_path) + 1 + name->len;

    s = ngx_socket(AF_UNIX, type|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_socket_n " failed");
    }

    return s;
}


/* of our user, and of process pid, unless it is 0 */

static ngx_uint_t
ngx_vmess_worker_trusted(ngx_socket_t s, ngx_pid_t pid)
{
    socklen_t     len;
    struct ucred  cred;

    len = sizeof(struct ucred);

    return getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0
           && cred.uid == geteuid()
           && (pid == 0 || cred.pid == pid);
}
