
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_xudp.h"
#include "ngx_vmess_worker.h"


/* a session waits so long for its client, in ms, and so many of a worker */
#define NGX_VMESS_XUDP_ORPHAN   60000
#define NGX_VMESS_XUDP_ORPHANS  1024

/* for the answer of another worker, in ms */
#define NGX_VMESS_XUDP_TIMEOUT  1000

/* of the zone of users, for names */
#define NGX_VMESS_XUDP_SHARE    32


/* in shared memory: who has the session of that name */

typedef struct {
    ngx_rbtree_node_t          node;
    ngx_vmess_user_t          *user;
    u_char                     global_id[NGX_VMESS_MUX_GLOBAL_ID_LEN];
    ngx_pid_t                  pid;
    uint32_t                   random;
} ngx_vmess_xudp_name_t;


/*
 * A worker asks for a session on a connection of its own.  The answer is a
 * byte, and the socket of the session with it, if there was one.
 */

typedef struct {
    ngx_vmess_user_t          *user;
    u_char                     global_id[NGX_VMESS_MUX_GLOBAL_ID_LEN];
} ngx_vmess_xudp_claim_t;


static ngx_int_t ngx_vmess_xudp_share(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_xudp_name_t *owner);
static ngx_vmess_xudp_name_t *ngx_vmess_xudp_lookup(ngx_vmess_zone_t *zone,
    ngx_uint_t hash, ngx_vmess_user_t *user, u_char *global_id);
static void ngx_vmess_xudp_sweep(ngx_vmess_zone_t *zone);
static ngx_uint_t ngx_vmess_xudp_hash(ngx_vmess_user_t *user,
    u_char *global_id);
static void ngx_vmess_xudp_orphan_handler(ngx_event_t *ev);

static void ngx_vmess_xudp_address(ngx_str_t *name, ngx_pid_t pid,
    uint32_t random);
static ngx_connection_t *ngx_vmess_xudp_connection(ngx_socket_t s,
    ngx_event_handler_pt handler);
static ngx_int_t ngx_vmess_xudp_claim(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_xudp_name_t *owner);
static void ngx_vmess_xudp_answer_handler(ngx_event_t *rev);
static void ngx_vmess_xudp_accept_handler(ngx_event_t *rev);
static void ngx_vmess_xudp_claim_handler(ngx_event_t *rev);
static ngx_int_t ngx_vmess_xudp_send(ngx_socket_t s, ngx_socket_t passed);
static ngx_int_t ngx_vmess_xudp_recv(ngx_socket_t s, ngx_socket_t *passed);


/* of this worker */

static ngx_rbtree_t       ngx_vmess_xudp_names;
static ngx_rbtree_node_t  ngx_vmess_xudp_sentinel;
static ngx_uint_t         ngx_vmess_xudp_orphans;
static uint32_t           ngx_vmess_xudp_random;     /* 0: it has no socket */


void
ngx_vmess_xudp_init(ngx_cycle_t *cycle)
{
    u_char               text[NGX_VMESS_WORKER_NAME];
    uint32_t             random;
    ngx_str_t            name;
    ngx_uint_t           i;
    ngx_socket_t         s;
    ngx_vmess_conf_t    *vcf;
    ngx_vmess_zone_t   **zone;

    ngx_rbtree_init(&ngx_vmess_xudp_names, &ngx_vmess_xudp_sentinel,
                    ngx_rbtree_insert_value);

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    if (vcf->zones.nelts == 0) {
        return;
    }

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_vmess_xudp_sweep(zone[i]);
    }

    if (RAND_bytes((u_char *) &random, sizeof(uint32_t)) != 1) {
        ngx_ssl_error(NGX_LOG_ALERT, cycle->log, 0, "RAND_bytes() failed");
        return;
    }

    random |= 1;

    name.data = text;
    ngx_vmess_xudp_address(&name, ngx_pid, random);

    s = ngx_vmess_worker_listen(SOCK_SEQPACKET, &name, "XUDP", cycle->log);

    if (s == (ngx_socket_t) -1
        || ngx_vmess_xudp_connection(s, ngx_vmess_xudp_accept_handler) == NULL)
    {
        return;
    }

    ngx_vmess_xudp_random = random;
}


ngx_vmess_mux_flow_t *
ngx_vmess_xudp_find(ngx_vmess_user_t *user, u_char *global_id)
{
    ngx_uint_t             hash;
    ngx_rbtree_node_t     *node;
    ngx_vmess_mux_flow_t  *flow;

    node = ngx_vmess_xudp_names.root;
    hash = ngx_vmess_xudp_hash(user, global_id);

    while (node != &ngx_vmess_xudp_sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        flow = ngx_rbtree_data(node, ngx_vmess_mux_flow_t, name);

        /* clients choose their ids: those of one user are nothing to others */

        if (flow->user == user
            && ngx_memcmp(flow->global_id, global_id,
                          NGX_VMESS_MUX_GLOBAL_ID_LEN) == 0)
        {
            return flow;
        }

        /* another one of the same key is at worst not found */

        node = node->right;
    }

    return NULL;
}


ngx_int_t
ngx_vmess_xudp_set_name(ngx_vmess_mux_flow_t *flow, u_char *global_id)
{
    ngx_vmess_xudp_name_t  owner;

    flow->named = 1;
    flow->name.key = ngx_vmess_xudp_hash(flow->user, global_id);
    ngx_memcpy(flow->global_id, global_id, NGX_VMESS_MUX_GLOBAL_ID_LEN);

    ngx_rbtree_insert(&ngx_vmess_xudp_names, &flow->name);

    if (ngx_vmess_xudp_random == 0
        || ngx_vmess_xudp_share(flow, &owner) != NGX_AGAIN)
    {
        return NGX_OK;
    }

    return ngx_vmess_xudp_claim(flow, &owner);
}


/*
 * Makes this worker the one with the session.  NGX_AGAIN: it was owner's;
 * NGX_OK or, if there is no room, NGX_DECLINED.
 */

static ngx_int_t
ngx_vmess_xudp_share(ngx_vmess_mux_flow_t *flow, ngx_vmess_xudp_name_t *owner)
{
    ngx_int_t               rc;
    ngx_vmess_zone_t       *zone;
    ngx_vmess_zone_sh_t    *sh;
    ngx_vmess_xudp_name_t  *name;

    zone = flow->zone;
    sh = zone->sh;

    rc = NGX_OK;

    ngx_shmtx_lock(&zone->shpool->mutex);

    name = ngx_vmess_xudp_lookup(zone, flow->name.key, flow->user,
                                 flow->global_id);

    if (name) {
        *owner = *name;

        if (name->pid != ngx_pid) {
            rc = NGX_AGAIN;
        }

    } else if (sh->nsessions * sizeof(ngx_vmess_xudp_name_t)
               < zone->shm_zone->shm.size / NGX_VMESS_XUDP_SHARE)
    {
        name = ngx_slab_alloc_locked(zone->shpool,
                                     sizeof(ngx_vmess_xudp_name_t));
        if (name) {
            name->node.key = flow->name.key;
            name->user = flow->user;
            ngx_memcpy(name->global_id, flow->global_id,
                       NGX_VMESS_MUX_GLOBAL_ID_LEN);

            ngx_rbtree_insert(&sh->sessions, &name->node);
            sh->nsessions++;
        }
    }

    if (name) {
        name->pid = ngx_pid;
        name->random = ngx_vmess_xudp_random;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    return name ? rc : NGX_DECLINED;
}


/* called with the zone locked */

static ngx_vmess_xudp_name_t *
ngx_vmess_xudp_lookup(ngx_vmess_zone_t *zone, ngx_uint_t hash,
    ngx_vmess_user_t *user, u_char *global_id)
{
    ngx_rbtree_node_t      *node;
    ngx_vmess_xudp_name_t  *name;

    node = zone->sh->sessions.root;

    while (node != &zone->sh->sessions_sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        name = (ngx_vmess_xudp_name_t *) node;

        if (name->user == user
            && ngx_memcmp(name->global_id, global_id,
                          NGX_VMESS_MUX_GLOBAL_ID_LEN) == 0)
        {
            return name;
        }

        node = node->right;
    }

    return NULL;
}


/* what workers that died have left */

static void
ngx_vmess_xudp_sweep(ngx_vmess_zone_t *zone)
{
    ngx_rbtree_node_t      *node, *next;
    ngx_vmess_zone_sh_t    *sh;
    ngx_vmess_xudp_name_t  *name;

    sh = zone->sh;

    ngx_shmtx_lock(&zone->shpool->mutex);

    node = (sh->sessions.root == &sh->sessions_sentinel)
           ? NULL
           : ngx_rbtree_min(sh->sessions.root, &sh->sessions_sentinel);

    for ( /* void */ ; node; node = next) {
        next = ngx_rbtree_next(&sh->sessions, node);
        name = (ngx_vmess_xudp_name_t *) node;

        if (kill(name->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_rbtree_delete(&sh->sessions, node);
            ngx_slab_free_locked(zone->shpool, name);
            sh->nsessions--;
        }
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


void
ngx_vmess_xudp_unname(ngx_vmess_mux_flow_t *flow)
{
    ngx_vmess_zone_t       *zone;
    ngx_vmess_xudp_name_t  *name;

    if (!flow->named) {
        return;
    }

    flow->named = 0;
    ngx_rbtree_delete(&ngx_vmess_xudp_names, &flow->name);

    zone = flow->zone;

    ngx_shmtx_lock(&zone->shpool->mutex);

    name = ngx_vmess_xudp_lookup(zone, flow->name.key, flow->user,
                                 flow->global_id);

    if (name && name->pid == ngx_pid) {
        ngx_rbtree_delete(&zone->sh->sessions, &name->node);
        ngx_slab_free_locked(zone->shpool, name);
        zone->sh->nsessions--;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);
}


static ngx_uint_t
ngx_vmess_xudp_hash(ngx_vmess_user_t *user, u_char *global_id)
{
    uint64_t  hash;

    ngx_memcpy(&hash, global_id, NGX_VMESS_MUX_GLOBAL_ID_LEN);

    return (ngx_uint_t) hash ^ (uintptr_t) user;
}


ngx_int_t
ngx_vmess_xudp_orphan(ngx_vmess_mux_flow_t *flow)
{
    if (!flow->named || flow->ended || flow->claim || ngx_exiting
        || ngx_vmess_xudp_orphans == NGX_VMESS_XUDP_ORPHANS)
    {
        return NGX_DECLINED;
    }

    /* not what a worker that quits waits for */

    flow->vconn->connection->idle = 1;

    flow->timer.handler = ngx_vmess_xudp_orphan_handler;
    flow->timer.data = flow;
    flow->timer.log = flow->vconn->connection->log;

    ngx_add_timer(&flow->timer, NGX_VMESS_XUDP_ORPHAN);

    ngx_vmess_xudp_orphans++;

    return NGX_OK;
}


void
ngx_vmess_xudp_adopt(ngx_vmess_mux_flow_t *flow)
{
    flow->vconn->connection->idle = 0;

    if (flow->timer.timer_set) {
        ngx_del_timer(&flow->timer);
    }

    ngx_vmess_xudp_orphans--;
}


void
ngx_vmess_xudp_close(ngx_vmess_mux_flow_t *flow)
{
    ngx_vmess_xudp_unname(flow);

    if (flow->claim) {
        ngx_close_connection(flow->claim);
    }

    if (flow->adopted != (ngx_socket_t) -1
        && ngx_close_socket(flow->adopted) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


/* the client has not come again */

static void
ngx_vmess_xudp_orphan_handler(ngx_event_t *ev)
{
    ngx_vmess_mux_close_flow(ev->data);
}


static void
ngx_vmess_xudp_address(ngx_str_t *name, ngx_pid_t pid, uint32_t random)
{
    name->len = ngx_sprintf(name->data, "ngx_vmess.%P.%08xD", pid, random)
                - name->data;
}


/* of a socket, which is closed if there is none */

static ngx_connection_t *
ngx_vmess_xudp_connection(ngx_socket_t s, ngx_event_handler_pt handler)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(s, ngx_cycle->log);
    if (c == NULL) {
        goto failed;
    }

    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = handler;

    /* not one that a worker which quits should have closed */

    c->read->channel = 1;

    /* once: there may be no descriptor for what waits */

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        goto failed;
    }

    return c;

failed:

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }

    return NULL;
}


/* NGX_AGAIN: the owner of the name was asked, NGX_OK: it has gone */

static ngx_int_t
ngx_vmess_xudp_claim(ngx_vmess_mux_flow_t *flow, ngx_vmess_xudp_name_t *owner)
{
    u_char                   text[NGX_VMESS_WORKER_NAME];
    ngx_str_t                name;
    ngx_socket_t             s;
    ngx_connection_t        *c;
    ngx_vmess_xudp_claim_t   claim;

    name.data = text;
    ngx_vmess_xudp_address(&name, owner->pid, owner->random);

    s = ngx_vmess_worker_connect(SOCK_SEQPACKET, &name, owner->pid,
                                 ngx_cycle->log);

    if (s == (ngx_socket_t) -1) {
        return NGX_OK;
    }

    ngx_memzero(&claim, sizeof(ngx_vmess_xudp_claim_t));

    claim.user = flow->user;
    ngx_memcpy(claim.global_id, flow->global_id, NGX_VMESS_MUX_GLOBAL_ID_LEN);

    if (send(s, &claim, sizeof(ngx_vmess_xudp_claim_t), MSG_NOSIGNAL) == -1) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_socket_errno,
                      "send() to worker %P failed", owner->pid);

        (void) ngx_close_socket(s);
        return NGX_OK;
    }

    c = ngx_vmess_xudp_connection(s, ngx_vmess_xudp_answer_handler);
    if (c == NULL) {
        return NGX_OK;
    }

    c->data = flow;
    flow->claim = c;

    ngx_add_timer(c->read, NGX_VMESS_XUDP_TIMEOUT);

    return NGX_AGAIN;
}


static void
ngx_vmess_xudp_answer_handler(ngx_event_t *rev)
{
    ngx_socket_t           s;
    ngx_connection_t      *c;
    ngx_vmess_mux_flow_t  *flow;

    c = rev->data;
    flow = c->data;

    s = (ngx_socket_t) -1;

    if (!rev->timedout && ngx_vmess_xudp_recv(c->fd, &s) == NGX_AGAIN) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, flow->vconn->connection->log, 0,
                   "vmess xudp session from another worker, socket: %d", s);

    ngx_close_connection(c);

    flow->claim = NULL;
    flow->adopted = s;

    ngx_vmess_vconn_start(flow->vconn);
}


static void
ngx_vmess_xudp_accept_handler(ngx_event_t *rev)
{
    ngx_socket_t       s;
    ngx_connection_t  *c, *lc;

    lc = rev->data;

    for ( ;; ) {

        s = ngx_vmess_worker_accept(lc->fd, rev->log);

        if (s == (ngx_socket_t) -1) {
            return;
        }

        c = ngx_vmess_xudp_connection(s, ngx_vmess_xudp_claim_handler);

        if (c) {
            ngx_add_timer(c->read, NGX_VMESS_XUDP_TIMEOUT);
        }
    }
}


/* the client has come to another worker */

static void
ngx_vmess_xudp_claim_handler(ngx_event_t *rev)
{
    ssize_t                  n;
    ngx_socket_t             s;
    ngx_connection_t        *c;
    ngx_vmess_mux_flow_t    *flow;
    ngx_vmess_xudp_claim_t   claim;

    c = rev->data;

    n = recv(c->fd, &claim, sizeof(ngx_vmess_xudp_claim_t), 0);

    if (n == -1 && ngx_socket_errno == NGX_EAGAIN && !rev->timedout) {
        return;
    }

    if (n == (ssize_t) sizeof(ngx_vmess_xudp_claim_t)) {

        flow = ngx_vmess_xudp_find(claim.user, claim.global_id);
        s = (ngx_socket_t) -1;

        if (flow && flow->socket) {
            s = flow->socket->fd;

            /* its events would come here as long as it is open there */

            (void) ngx_del_conn(flow->socket, 0);
        }

        if (ngx_vmess_xudp_send(c->fd, s) != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                          "sendmsg() to another worker failed");
        }

        /*
         * One that waits for its own answer keeps its client, but without the
         * name: as an orphan nobody could find it
         */

        if (flow && flow->claim) {
            ngx_vmess_xudp_unname(flow);

        } else if (flow) {
            ngx_vmess_mux_close_flow(flow);
        }
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
