
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_process.h"

#include <sys/eventfd.h>
#include <sys/mman.h>


static void ngx_vmess_process_cleanup(void *data);


/*
 * A process has a lock on the byte of its pid in the file: the kernel takes it
 * back in whatever way the process ends.
 */

static ngx_fd_t    ngx_vmess_process_file = NGX_INVALID_FILE;
static ngx_fd_t    ngx_vmess_process_bell = NGX_INVALID_FILE;

static ngx_uint_t  ngx_vmess_process_confs;


ngx_int_t
ngx_vmess_process_create(ngx_cycle_t *cycle)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_vmess_process_cleanup;

    if (ngx_vmess_process_confs++ == 0) {
        ngx_vmess_process_file = memfd_create("vmess", MFD_CLOEXEC);
        ngx_vmess_process_bell = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);
    }

    if (ngx_vmess_process_file == NGX_INVALID_FILE
        || ngx_vmess_process_bell == NGX_INVALID_FILE)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "memfd_create() or eventfd() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_vmess_process_cleanup(void *data)
{
    if (--ngx_vmess_process_confs) {
        return;
    }

    (void) close(ngx_vmess_process_file);
    (void) close(ngx_vmess_process_bell);

    ngx_vmess_process_file = NGX_INVALID_FILE;
    ngx_vmess_process_bell = NGX_INVALID_FILE;
}


ngx_int_t
ngx_vmess_process_init(ngx_cycle_t *cycle)
{
    struct flock  fl;

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;
    fl.l_start = ngx_pid;
    fl.l_len = 1;

    if (fcntl(ngx_vmess_process_file, F_SETLK, &fl) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "fcntl(F_SETLK) failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_vmess_process_alive(ngx_pid_t pid)
{
    struct flock  fl;

    if (pid == ngx_pid) {
        return 1;
    }

    /*
     * The master has no lock: it loses it when it becomes a daemon.  A child of
     * one that has died has another parent.
     */

    if (pid == ngx_parent) {
        return ngx_getppid() == pid;
    }

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;
    fl.l_start = pid;
    fl.l_len = 1;

    return fcntl(ngx_vmess_process_file, F_GETLK, &fl) == -1
           || fl.l_type != F_UNLCK;
}


/*
 * The eventfd is never read, as that would be for one worker only: each write
 * is an edge for all of them.
 */

ngx_int_t
ngx_vmess_process_listen(ngx_cycle_t *cycle, ngx_event_handler_pt handler)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(ngx_vmess_process_bell, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->read->handler = handler;

    /* a worker that quits keeps it */

    c->read->channel = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_vmess_process_ring(ngx_log_t *log)
{
    uint64_t  n;

    n = 1;

    if (write(ngx_vmess_process_bell, &n, sizeof(uint64_t)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "write() to an eventfd failed");
    }
}
