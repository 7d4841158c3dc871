
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_xudp.h"
#include "proto/ngx_vmess_mux.h"


/* a session waits so long for its client, in ms, and so many of a worker */
#define NGX_VMESS_XUDP_ORPHAN   60000
#define NGX_VMESS_XUDP_ORPHANS  1024

/* for the answer of another worker, in ms */
#define NGX_VMESS_XUDP_TIMEOUT  1000


static void ngx_vmess_xudp_id(u_char *id, ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *global_id);
static int64_t ngx_vmess_xudp_server(ngx_vmess_xudp_t *x);
static void ngx_vmess_xudp_orphan_handler(ngx_event_t *ev);

static ngx_int_t ngx_vmess_xudp_claim(ngx_vmess_xudp_t *x,
    ngx_vmess_owner_t *owner);
static void ngx_vmess_xudp_answer_handler(ngx_event_t *rev);
static void ngx_vmess_xudp_accept(ngx_connection_t *c,
    ngx_vmess_greeting_t *greeting);
static ngx_int_t ngx_vmess_xudp_send(ngx_socket_t s, ngx_socket_t passed);
static ngx_int_t ngx_vmess_xudp_recv(ngx_socket_t s, ngx_socket_t *passed);


/* of this worker */

static ngx_uint_t  ngx_vmess_xudp_orphans;


void
ngx_vmess_xudp_init(void)
{
    ngx_vmess_worker_set_handler(NGX_VMESS_WORKER_XUDP, ngx_vmess_xudp_accept);
}


/* clients choose their ids: those of one user are nothing to others */

static void
ngx_vmess_xudp_id(u_char *id, ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    u_char *global_id)
{
    ngx_str_t  names[3];

    names[0] = zone->name;
    names[1] = user->name;
    names[2].data = global_id;
    names[2].len = NGX_VMESS_MUX_GLOBAL_ID_LEN;

    ngx_vmess_worker_id(id, NGX_VMESS_WORKER_XUDP, names, 3);
}


/* a number of the server of a session, the same at all workers */

static int64_t
ngx_vmess_xudp_server(ngx_vmess_xudp_t *x)
{
    u_char   id[NGX_VMESS_WORKER_ID_LEN];
    int64_t  number;

    ngx_vmess_worker_id(id, NGX_VMESS_WORKER_XUDP, &x->listen->server, 1);

    ngx_memcpy(&number, id, sizeof(int64_t));

    return number;
}


ngx_vmess_xudp_t *
ngx_vmess_xudp_find(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    u_char *global_id)
{
    u_char  id[NGX_VMESS_WORKER_ID_LEN];

    ngx_vmess_xudp_id(id, zone, user, global_id);

    return (ngx_vmess_xudp_t *) ngx_vmess_worker_find(id);
}


ngx_int_t
ngx_vmess_xudp_set_name(ngx_vmess_xudp_t *x, ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *global_id)
{
    ngx_int_t          rc;
    ngx_vmess_owner_t  owner;

    x->named = 1;

    ngx_vmess_xudp_id(x->name.id, zone, user, global_id);

    ngx_vmess_worker_insert(&x->name);

    rc = ngx_vmess_worker_claim(x->name.id, 1, &owner);

    /* without room in the registry it stays at this worker */

    return (rc == NGX_DECLINED && owner.pid != ngx_pid)
           ? ngx_vmess_xudp_claim(x, &owner) : NGX_OK;
}


void
ngx_vmess_xudp_unname(ngx_vmess_xudp_t *x)
{
    if (!x->named) {
        return;
    }

    x->named = 0;

    ngx_vmess_worker_delete(&x->name);
    ngx_vmess_worker_release(x->name.id, 0);
}


void
ngx_vmess_xudp_replace(ngx_vmess_xudp_t *x)
{
    ngx_vmess_xudp_unname(x);

    if (x->orphan) {
        x->close(x->data);
    }
}


ngx_int_t
ngx_vmess_xudp_orphan(ngx_vmess_xudp_t *x)
{
    if (!x->named || x->claim || ngx_exiting
        || ngx_vmess_xudp_orphans == NGX_VMESS_XUDP_ORPHANS)
    {
        return NGX_DECLINED;
    }

    x->timer.handler = ngx_vmess_xudp_orphan_handler;
    x->timer.data = x;
    x->timer.log = ngx_cycle->log;

    ngx_add_timer(&x->timer, NGX_VMESS_XUDP_ORPHAN);

    x->orphan = 1;
    ngx_vmess_xudp_orphans++;

    return NGX_OK;
}


void
ngx_vmess_xudp_adopt(ngx_vmess_xudp_t *x)
{
    if (!x->orphan) {
        return;
    }

    if (x->timer.timer_set) {
        ngx_del_timer(&x->timer);
    }

    x->orphan = 0;
    ngx_vmess_xudp_orphans--;
}


void
ngx_vmess_xudp_close(ngx_vmess_xudp_t *x)
{
    ngx_vmess_xudp_unname(x);
    ngx_vmess_xudp_adopt(x);

    if (x->claim) {
        ngx_close_connection(x->claim);
    }

    if (x->adopted != (ngx_socket_t) -1
        && ngx_close_socket(x->adopted) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


/* the client has not come again */

static void
ngx_vmess_xudp_orphan_handler(ngx_event_t *ev)
{
    ngx_vmess_xudp_t *x = ev->data;

    x->close(x->data);
}


/* NGX_AGAIN: the owner of the name was asked, NGX_OK: it has gone */

static ngx_int_t
ngx_vmess_xudp_claim(ngx_vmess_xudp_t *x, ngx_vmess_owner_t *owner)
{
    ngx_connection_t      *c;
    ngx_vmess_greeting_t   greeting;

    ngx_memzero(&greeting, sizeof(ngx_vmess_greeting_t));

    greeting.kind = NGX_VMESS_WORKER_XUDP;
    greeting.number = ngx_vmess_xudp_server(x);
    ngx_memcpy(greeting.id, x->name.id, NGX_VMESS_WORKER_ID_LEN);

    c = ngx_vmess_worker_connect(owner, &greeting, ngx_cycle->log);
    if (c == NULL) {
        return NGX_OK;
    }

    c->data = x;
    c->read->handler = ngx_vmess_xudp_answer_handler;

    x->claim = c;

    ngx_add_timer(c->read, NGX_VMESS_XUDP_TIMEOUT);

    return NGX_AGAIN;
}


static void
ngx_vmess_xudp_answer_handler(ngx_event_t *rev)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;
    ngx_vmess_xudp_t  *x;

    c = rev->data;
    x = c->data;

    s = (ngx_socket_t) -1;

    if (!rev->timedout && ngx_vmess_xudp_recv(c->fd, &s) == NGX_AGAIN) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "vmess xudp session from another worker, socket: %d", s);

    ngx_close_connection(c);

    x->claim = NULL;
    x->adopted = s;

    x->start(x->data);
}


/*
 * The client has come to another worker, which has the name now.  Its session
 * ends here if its socket goes there.  With another server it is another
 * session; one that has no socket yet, or whose socket could not be passed, as
 * the other worker does not wait for it any more, keeps the client it has.
 * Without a client nobody would find it: it ends as well.
 */

static void
ngx_vmess_xudp_accept(ngx_connection_t *c, ngx_vmess_greeting_t *greeting)
{
    ngx_int_t          rc;
    ngx_socket_t       s;
    ngx_vmess_xudp_t  *x;

    x = (ngx_vmess_xudp_t *) ngx_vmess_worker_find(greeting->id);

    s = (x && x->socket && ngx_vmess_xudp_server(x) == greeting->number)
        ? x->socket->fd : (ngx_socket_t) -1;

    rc = ngx_vmess_xudp_send(c->fd, s);

    if (rc != NGX_OK && ngx_socket_errno != NGX_EPIPE) {
        ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                      "sendmsg() to another worker failed");
    }

    if (x && (rc != NGX_OK || s == (ngx_socket_t) -1)) {
        ngx_vmess_xudp_replace(x);

    } else if (x) {

        /* its events would come here as long as it is open there */

        (void) ngx_del_conn(x->socket, 0);

        x->close(x->data);
    }

    ngx_close_connection(c);
}


/* passed is -1 for none */

static ngx_int_t
ngx_vmess_xudp_send(ngx_socket_t s, ngx_socket_t passed)
{
    u_char            byte;
    struct iovec      iov;
    struct msghdr     msg;
    struct cmsghdr   *cmsg;

    union {
        struct cmsghdr  align;
        u_char          space[CMSG_SPACE(sizeof(int))];
    } control;

    ngx_memzero(&msg, sizeof(struct msghdr));
    ngx_memzero(&control, sizeof(control));

    byte = 0;
    iov.iov_base = &byte;
    iov.iov_len = 1;

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;

    if (passed != (ngx_socket_t) -1) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);

        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        ngx_memcpy(CMSG_DATA(cmsg), &passed, sizeof(int));
    }

    return sendmsg(s, &msg, MSG_NOSIGNAL) == 1 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_vmess_xudp_recv(ngx_socket_t s, ngx_socket_t *passed)
{
    u_char            byte;
    ssize_t           n;
    struct iovec      iov;
    struct msghdr     msg;
    struct cmsghdr   *cmsg;

    union {
        struct cmsghdr  align;
        u_char          space[CMSG_SPACE(sizeof(int))];
    } control;

    ngx_memzero(&msg, sizeof(struct msghdr));

    iov.iov_base = &byte;
    iov.iov_len = 1;

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control);

    n = recvmsg(s, &msg, MSG_CMSG_CLOEXEC);

    if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    cmsg = (n == 1) ? CMSG_FIRSTHDR(&msg) : NULL;

    if (cmsg && cmsg->cmsg_level == SOL_SOCKET
        && cmsg->cmsg_type == SCM_RIGHTS)
    {
        ngx_memcpy(passed, CMSG_DATA(cmsg), sizeof(int));
    }

    return NGX_OK;
}
