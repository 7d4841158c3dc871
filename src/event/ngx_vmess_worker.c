
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>
#include "ngx_vmess_worker.h"
#include "ngx_vmess_log.h"
#include "ngx_vmess_process.h"

#include <sys/un.h>


/* some 80,000 sessions */

#define NGX_VMESS_WORKER_ZONE      (4 * 1024 * 1024)

#define NGX_VMESS_WORKER_MAGIC     0x564d5832
#define NGX_VMESS_WORKER_SECRET    16

#define NGX_VMESS_WORKER_BACKLOG   511

/* connections accepted in one go */
#define NGX_VMESS_WORKER_ACCEPTS   16

/* for the greeting, and until there may be a descriptor again, in ms */
#define NGX_VMESS_WORKER_TIMEOUT   5000
#define NGX_VMESS_WORKER_PAUSE     500

/* unix(7), "Autobind feature": a null byte and five hexadecimal digits */
#define NGX_VMESS_WORKER_NAME_LEN  6


/* where a worker listens, written by itself, the pid last */

typedef struct {
    volatile uint32_t          pid;        /* 0: nowhere */
    uint64_t                   socket;
} ngx_vmess_worker_slot_t;


typedef struct {
    u_char                     secret[NGX_VMESS_WORKER_SECRET];
    ngx_vmess_registry_t      *registry;
    ngx_vmess_worker_slot_t    slots[NGX_MAX_PROCESSES];
} ngx_vmess_worker_sh_t;


static ngx_int_t ngx_vmess_worker_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_vmess_worker_listen(ngx_cycle_t *cycle);
static void ngx_vmess_worker_announce(uint32_t pid);
static ngx_uint_t ngx_vmess_worker_other(ngx_pid_t pid);
static ngx_vmess_registry_t *ngx_vmess_worker_lock(void);
static void ngx_vmess_worker_unlock(ngx_vmess_registry_t *registry);
static void ngx_vmess_worker_accept_handler(ngx_event_t *rev);
static void ngx_vmess_worker_greeting_handler(ngx_event_t *rev);
static void ngx_vmess_worker_empty_handler(ngx_event_t *ev);
static ngx_connection_t *ngx_vmess_worker_connection(ngx_socket_t s,
    ngx_log_t *log);
static ngx_uint_t ngx_vmess_worker_trusted(ngx_socket_t s, ngx_pid_t pid);


static ngx_shm_zone_t               *ngx_vmess_worker_zone;

static ngx_vmess_worker_handler_pt   ngx_vmess_worker_handlers[
                                                      NGX_VMESS_WORKER_KINDS];

/* of this worker */

static ngx_rbtree_t                  ngx_vmess_worker_sessions;
static ngx_rbtree_node_t             ngx_vmess_worker_sentinel;
static uint64_t                      ngx_vmess_worker_socket;

static ngx_vmess_log_limit_t         ngx_vmess_worker_limit = {
    10, NGX_LOG_ALERT, "messages on sockets of workers were left out", 0, 0
};


ngx_int_t
ngx_vmess_worker_add_zone(ngx_conf_t *cf)
{
    ngx_vmess_conf_t  *vcf;

    static ngx_str_t   name = ngx_string("ngx_vmess_sessions");

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    /* with a tag of its own: it is not one of users */

    vcf->sessions = ngx_shared_memory_add(cf, &name, NGX_VMESS_WORKER_ZONE,
                                          &ngx_vmess_worker_zone);
    if (vcf->sessions == NULL) {
        return NGX_ERROR;
    }

    vcf->sessions->init = ngx_vmess_worker_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_worker_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    void                   *p;
    size_t                  size;
    ngx_slab_pool_t        *shpool;
    ngx_vmess_worker_sh_t  *sh;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_vmess_worker_sh_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    size = shpool->pfree * ngx_pagesize;

    p = ngx_slab_alloc(shpool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes(sh->secret, NGX_VMESS_WORKER_SECRET) != 1) {
        ngx_ssl_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "RAND_bytes() failed");
        return NGX_ERROR;
    }

    sh->registry = ngx_vmess_registry_create(p, size);

    shpool->data = sh;
    shm_zone->data = sh;

    return NGX_OK;
}


void
ngx_vmess_worker_init(ngx_cycle_t *cycle)
{
    ngx_vmess_conf_t      *vcf;
    ngx_vmess_registry_t  *registry;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    if (vcf->sessions == NULL) {
        return;
    }

    ngx_vmess_worker_zone = vcf->sessions;

    ngx_rbtree_init(&ngx_vmess_worker_sessions, &ngx_vmess_worker_sentinel,
                    ngx_str_rbtree_insert_value);

    /* this worker may have come in place of one that crashed */

    registry = ngx_vmess_worker_lock();
    ngx_vmess_registry_sweep(registry, ngx_vmess_worker_other);
    ngx_vmess_worker_unlock(registry);

    ngx_vmess_worker_announce(0);

    ngx_vmess_worker_listen(cycle);
}


static void
ngx_vmess_worker_listen(ngx_cycle_t *cycle)
{
    socklen_t            len;
    ngx_socket_t         s;
    ngx_connection_t    *c;
    struct sockaddr_un   sun;

    s = ngx_socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        goto failed;
    }

    /* an address without a name is given one that nobody has */

    ngx_memzero(&sun, sizeof(struct sockaddr_un));
    sun.sun_family = AF_UNIX;

    if (bind(s, (struct sockaddr *) &sun, sizeof(sa_family_t)) == -1
        || listen(s, NGX_VMESS_WORKER_BACKLOG) == -1)
    {
        goto failed;
    }

    len = sizeof(struct sockaddr_un);

    if (getsockname(s, (struct sockaddr *) &sun, &len) == -1
        || len != offsetof(struct sockaddr_un, sun_path)
                  + NGX_VMESS_WORKER_NAME_LEN)
    {
        goto failed;
    }

    c = ngx_get_connection(s, cycle->log);
    if (c == NULL) {
        goto failed;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->read->handler = ngx_vmess_worker_accept_handler;
    c->read->cancelable = 1;

    /* a worker that quits keeps it */

    c->read->channel = 1;

    /* not again and again while there is no descriptor for a connection */

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        goto failed;
    }

    ngx_memcpy(&ngx_vmess_worker_socket, sun.sun_path,
               NGX_VMESS_WORKER_NAME_LEN);

    ngx_vmess_worker_announce(ngx_pid);

    return;

failed:

    ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_socket_errno,
                  "socket for other workers failed, XHTTP and XUDP sessions "
                  "are limited to one");

    if (s != (ngx_socket_t) -1) {
        (void) ngx_close_socket(s);
    }
}


static void
ngx_vmess_worker_announce(uint32_t pid)
{
    ngx_vmess_worker_sh_t    *sh;
    ngx_vmess_worker_slot_t  *slot;

    sh = ngx_vmess_worker_zone->data;
    slot = &sh->slots[ngx_process_slot];

    slot->pid = 0;

    ngx_vmess_memory_barrier();

    slot->socket = ngx_vmess_worker_socket;

    ngx_vmess_memory_barrier();

    slot->pid = pid;
}


void
ngx_vmess_worker_exit(void)
{
    if (ngx_vmess_worker_zone) {
        ngx_vmess_worker_announce(0);
    }
}


ngx_int_t
ngx_vmess_worker_next(ngx_uint_t *slot, ngx_vmess_owner_t *owner)
{
    ngx_uint_t                i;
    ngx_vmess_worker_sh_t    *sh;
    ngx_vmess_worker_slot_t  *s;

    sh = ngx_vmess_worker_zone->data;

    for (i = *slot; i < NGX_MAX_PROCESSES; i++) {

        s = &sh->slots[i];

        owner->pid = (ngx_pid_t) s->pid;

        ngx_vmess_memory_barrier();

        owner->socket = s->socket;

        ngx_vmess_memory_barrier();

        if (owner->pid
            && owner->pid == (ngx_pid_t) s->pid
            && ngx_vmess_process_alive(owner->pid))
        {
            *slot = i;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* one that has sessions: this worker has none yet */

static ngx_uint_t
ngx_vmess_worker_other(ngx_pid_t pid)
{
    return pid != ngx_pid && ngx_vmess_process_alive(pid);
}


void
ngx_vmess_worker_set_handler(ngx_vmess_worker_kind_e kind,
    ngx_vmess_worker_handler_pt handler)
{
    ngx_vmess_worker_handlers[kind] = handler;
}


void
ngx_vmess_worker_id(u_char *id, ngx_vmess_worker_kind_e kind, ngx_str_t *names,
    ngx_uint_t n)
{
    uint32_t                len;
    ngx_sha1_t              sha1;
    ngx_uint_t              i;
    ngx_vmess_worker_sh_t  *sh;

    sh = ngx_vmess_worker_zone->data;
    len = kind;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, sh->secret, NGX_VMESS_WORKER_SECRET);
    ngx_sha1_update(&sha1, &len, sizeof(uint32_t));

    for (i = 0; i < n; i++) {
        len = names[i].len;

        ngx_sha1_update(&sha1, &len, sizeof(uint32_t));
        ngx_sha1_update(&sha1, names[i].data, names[i].len);
    }

    ngx_sha1_final(id, &sha1);
}


static ngx_inline ngx_uint_t
ngx_vmess_worker_hash(u_char *id)
{
    uint32_t  hash;

    ngx_memcpy(&hash, id, sizeof(uint32_t));

    return hash;
}


void
ngx_vmess_worker_insert(ngx_vmess_session_node_t *node)
{
    node->node.node.key = ngx_vmess_worker_hash(node->id);
    node->node.str.data = node->id;
    node->node.str.len = NGX_VMESS_WORKER_ID_LEN;

    ngx_rbtree_insert(&ngx_vmess_worker_sessions, &node->node.node);
}


void
ngx_vmess_worker_delete(ngx_vmess_session_node_t *node)
{
    ngx_rbtree_delete(&ngx_vmess_worker_sessions, &node->node.node);
}


ngx_vmess_session_node_t *
ngx_vmess_worker_find(u_char *id)
{
    ngx_str_t  name;

    name.data = id;
    name.len = NGX_VMESS_WORKER_ID_LEN;

    return (ngx_vmess_session_node_t *)
               ngx_str_rbtree_lookup(&ngx_vmess_worker_sessions, &name,
                                     ngx_vmess_worker_hash(id));
}


/* the lock of a slab pool: the master releases that of a worker that died */

static ngx_vmess_registry_t *
ngx_vmess_worker_lock(void)
{
    ngx_slab_pool_t        *shpool;
    ngx_vmess_worker_sh_t  *sh;

    shpool = (ngx_slab_pool_t *) ngx_vmess_worker_zone->shm.addr;
    sh = ngx_vmess_worker_zone->data;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_vmess_registry_begin(sh->registry);

    return sh->registry;
}


static void
ngx_vmess_worker_unlock(ngx_vmess_registry_t *registry)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) ngx_vmess_worker_zone->shm.addr;

    ngx_vmess_registry_end(registry);

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_int_t
ngx_vmess_worker_claim(u_char *id, ngx_uint_t take, ngx_vmess_owner_t *owner)
{
    ngx_int_t                    rc;
    ngx_vmess_registry_t        *registry;
    ngx_vmess_registry_entry_t  *e;

    registry = ngx_vmess_worker_lock();

    e = ngx_vmess_registry_find(registry, id);

    if (e) {
        rc = NGX_DECLINED;

        owner->pid = (ngx_pid_t) e->pid;
        owner->socket = e->socket;

        if (take && e->pid) {
            ngx_vmess_registry_take(e, ngx_pid, ngx_vmess_worker_socket);
        }

    } else {
        e = ngx_vmess_registry_add(registry, id, ngx_pid,
                                   ngx_vmess_worker_socket, ngx_time());

        rc = e ? NGX_OK : NGX_ERROR;
    }

    ngx_vmess_worker_unlock(registry);

    return rc;
}


ngx_int_t
ngx_vmess_worker_owner(u_char *id, ngx_vmess_owner_t *owner)
{
    ngx_vmess_registry_t        *registry;
    ngx_vmess_registry_entry_t  *e;

    registry = ngx_vmess_worker_lock();

    e = ngx_vmess_registry_find(registry, id);

    if (e) {
        owner->pid = (ngx_pid_t) e->pid;
        owner->socket = e->socket;
    }

    ngx_vmess_worker_unlock(registry);

    return e ? NGX_OK : NGX_DECLINED;
}


void
ngx_vmess_worker_release(u_char *id, time_t keep)
{
    ngx_vmess_registry_t        *registry;
    ngx_vmess_registry_entry_t  *e;

    registry = ngx_vmess_worker_lock();

    e = ngx_vmess_registry_find(registry, id);

    if (e && (ngx_pid_t) e->pid == ngx_pid) {
        ngx_vmess_registry_release(registry, e, keep ? ngx_time() + keep : 0);
    }

    ngx_vmess_worker_unlock(registry);
}


ngx_connection_t *
ngx_vmess_worker_connect(ngx_vmess_owner_t *owner,
    ngx_vmess_greeting_t *greeting, ngx_log_t *log)
{
    ngx_socket_t         s;
    ngx_connection_t    *c;
    struct sockaddr_un   sun;

    s = ngx_socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NULL;
    }

    ngx_memzero(&sun, sizeof(struct sockaddr_un));

    sun.sun_family = AF_UNIX;
    ngx_memcpy(sun.sun_path, &owner->socket, NGX_VMESS_WORKER_NAME_LEN);

    if (connect(s, (struct sockaddr *) &sun,
                offsetof(struct sockaddr_un, sun_path)
                + NGX_VMESS_WORKER_NAME_LEN)
        == -1)
    {
        if (ngx_vmess_log_allowed(&ngx_vmess_worker_limit, log)) {
            ngx_log_error(NGX_LOG_ERR, log, ngx_socket_errno,
                          "connect() to worker %P failed", owner->pid);
        }

        goto failed;
    }

    if (!ngx_vmess_worker_trusted(s, owner->pid)) {

        if (ngx_vmess_log_allowed(&ngx_vmess_worker_limit, log)) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "socket of worker %P is not its own", owner->pid);
        }

        goto failed;
    }

    greeting->magic = NGX_VMESS_WORKER_MAGIC;

    if (send(s, greeting, sizeof(ngx_vmess_greeting_t), MSG_NOSIGNAL)
        != (ssize_t) sizeof(ngx_vmess_greeting_t))
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_socket_errno,
                      "send() to worker %P failed", owner->pid);
        goto failed;
    }

    c = ngx_vmess_worker_connection(s, log);

    if (c) {
        return c;
    }

failed:

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }

    return NULL;
}


static void
ngx_vmess_worker_accept_handler(ngx_event_t *rev)
{
    ngx_err_t          err;
    ngx_uint_t         n;
    ngx_socket_t       s;
    ngx_connection_t  *c, *lc;

    lc = rev->data;

    for (n = 0; n < NGX_VMESS_WORKER_ACCEPTS; n++) {

        s = accept4(lc->fd, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC);

        if (s == (ngx_socket_t) -1) {
            err = ngx_socket_errno;

            if (err == NGX_EAGAIN) {
                return;
            }

            if (err == NGX_EINTR || err == NGX_ECONNABORTED) {
                continue;
            }

            if (ngx_vmess_log_allowed(&ngx_vmess_worker_limit, rev->log)) {
                ngx_log_error(NGX_LOG_ALERT, rev->log, err,
                              "accept4() from another worker failed");
            }

            ngx_add_timer(rev, NGX_VMESS_WORKER_PAUSE);
            return;
        }

        if (!ngx_vmess_worker_trusted(s, 0)) {

            if (ngx_vmess_log_allowed(&ngx_vmess_worker_limit, rev->log)) {
                ngx_log_error(NGX_LOG_ALERT, rev->log, 0,
                              "connection of another user to the socket of a "
                              "worker");
            }

            goto close;
        }

        c = ngx_vmess_worker_connection(s, ngx_cycle->log);

        if (c) {
            c->read->handler = ngx_vmess_worker_greeting_handler;
            ngx_add_timer(c->read, NGX_VMESS_WORKER_TIMEOUT);
            continue;
        }

    close:

        if (ngx_close_socket(s) == -1) {
            ngx_log_error(NGX_LOG_ALERT, rev->log, ngx_socket_errno,
                          ngx_close_socket_n " failed");
        }
    }

    /* others may wait, but so does all that this worker has to do */

    ngx_post_event(rev, &ngx_posted_next_events);
}


static void
ngx_vmess_worker_greeting_handler(ngx_event_t *rev)
{
    ssize_t                       n;
    ngx_connection_t             *c;
    ngx_vmess_greeting_t          greeting;
    ngx_vmess_worker_handler_pt   handler;

    c = rev->data;

    if (rev->timedout) {
        ngx_close_connection(c);
        return;
    }

    /* sent in one, and therefore received so */

    n = c->recv(c, (u_char *) &greeting, sizeof(ngx_vmess_greeting_t));

    if (n == NGX_AGAIN) {
        return;
    }

    if (n != (ssize_t) sizeof(ngx_vmess_greeting_t)
        || greeting.magic != NGX_VMESS_WORKER_MAGIC
        || greeting.kind >= NGX_VMESS_WORKER_KINDS
        || ngx_vmess_worker_handlers[greeting.kind] == NULL)
    {
        ngx_close_connection(c);
        return;
    }

    ngx_del_timer(rev);

    rev->handler = ngx_vmess_worker_empty_handler;

    handler = ngx_vmess_worker_handlers[greeting.kind];
    handler(c, &greeting);
}


static void
ngx_vmess_worker_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "vmess worker event");
}


static ngx_connection_t *
ngx_vmess_worker_connection(ngx_socket_t s, ngx_log_t *log)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(s, log);
    if (c == NULL) {
        return NULL;
    }

    c->log = log;
    c->read->log = log;
    c->write->log = log;

    c->recv = ngx_recv;
    c->send = ngx_send;

    c->log_error = NGX_ERROR_INFO;

    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    c->read->handler = ngx_vmess_worker_empty_handler;
    c->write->handler = ngx_vmess_worker_empty_handler;

    if (ngx_add_conn(c) == NGX_ERROR) {
        ngx_free_connection(c);
        return NULL;
    }

    return c;
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
