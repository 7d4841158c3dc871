
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_session.h"
#include "proto/ngx_vmess_xhttp.h"


#define NGX_HTTP_VMESS_SESSION_ZONE  (8 * 1024 * 1024)

/* a session waits so long for its download, in ms */
#define NGX_HTTP_VMESS_SESSION_WAIT  30000

/* and looks for it at other workers, at first in ms */
#define NGX_HTTP_VMESS_SESSION_POLL  5
#define NGX_HTTP_VMESS_SESSION_POLL_MAX  1000

/* an ended session is remembered for late uploads, in seconds */
#define NGX_HTTP_VMESS_SESSION_KEEP  30

#define NGX_HTTP_VMESS_UPLOADS_MAX   256


/* in the zone: which worker has the session */

typedef struct {
    ngx_http_vmess_sid_t         id;
    ngx_queue_t                  queue;
    ngx_pid_t                    pid;        /* 0: ended */
    time_t                       expires;    /* if it has */
} ngx_http_vmess_owner_t;

typedef struct {
    u_char                       key[NGX_HTTP_VMESS_KEY_LEN];
    ngx_rbtree_t                 rbtree;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  live;
    ngx_queue_t                  ended;      /* the oldest is the last */
} ngx_http_vmess_owners_t;


static ngx_int_t ngx_http_vmess_session_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_vmess_sid_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_http_vmess_sid_t *ngx_http_vmess_sid_lookup(ngx_rbtree_t *rbtree,
    u_char *sid);
static ngx_uint_t ngx_http_vmess_sid_hash(u_char *sid);
static ngx_int_t ngx_http_vmess_session_claim(u_char *sid);
static void ngx_http_vmess_session_expire(ngx_http_vmess_owners_t *owners,
    ngx_slab_pool_t *shpool, ngx_uint_t force);
static void ngx_http_vmess_session_forget(ngx_http_vmess_owners_t *owners,
    ngx_slab_pool_t *shpool, ngx_http_vmess_owner_t *owner);
static void ngx_http_vmess_session_release(u_char *sid);
static void ngx_http_vmess_session_timer_handler(ngx_event_t *ev);
static void ngx_http_vmess_upload_remove(ngx_http_vmess_upload_t *upload);
static ngx_http_vmess_upload_t *ngx_http_vmess_session_due(
    ngx_http_vmess_session_t *s);


static ngx_shm_zone_t     *ngx_http_vmess_session_zone;

/* of this worker */

static ngx_rbtree_t        ngx_http_vmess_sessions;
static ngx_rbtree_node_t   ngx_http_vmess_sessions_sentinel;


ngx_int_t
ngx_http_vmess_session_add_zone(ngx_conf_t *cf,
    ngx_http_vmess_main_conf_t *vmcf)
{
    static ngx_str_t  name = ngx_string("ngx_http_vmess_sessions");

    vmcf->zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_VMESS_SESSION_ZONE,
                                       &ngx_http_vmess_module);
    if (vmcf->zone == NULL) {
        return NGX_ERROR;
    }

    vmcf->zone->init = ngx_http_vmess_session_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_session_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_vmess_owners_t  *owners;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    owners = ngx_slab_alloc(shpool, sizeof(ngx_http_vmess_owners_t));
    if (owners == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes(owners->key, NGX_HTTP_VMESS_KEY_LEN) != 1) {
        ngx_ssl_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "RAND_bytes() failed");
        return NGX_ERROR;
    }

    ngx_rbtree_init(&owners->rbtree, &owners->sentinel,
                    ngx_http_vmess_sid_insert);
    ngx_queue_init(&owners->live);
    ngx_queue_init(&owners->ended);

    shpool->data = owners;
    shpool->log_nomem = 0;
    shm_zone->data = owners;

    return NGX_OK;
}


void
ngx_http_vmess_session_init(ngx_shm_zone_t *zone)
{
    ngx_queue_t              *q, *next;
    ngx_slab_pool_t          *shpool;
    ngx_http_vmess_owner_t   *owner;
    ngx_http_vmess_owners_t  *owners;

    ngx_http_vmess_session_zone = zone;

    ngx_rbtree_init(&ngx_http_vmess_sessions,
                    &ngx_http_vmess_sessions_sentinel,
                    ngx_http_vmess_sid_insert);

    /* this worker may have come in place of one that crashed */

    owners = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    for (q = ngx_queue_head(&owners->live);
         q != ngx_queue_sentinel(&owners->live);
         q = next)
    {
        next = ngx_queue_next(q);
        owner = ngx_queue_data(q, ngx_http_vmess_owner_t, queue);

        if (kill(owner->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_http_vmess_session_forget(owners, shpool, owner);
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


u_char *
ngx_http_vmess_session_key(void)
{
    ngx_http_vmess_owners_t  *owners;

    owners = ngx_http_vmess_session_zone->data;

    return owners->key;
}


static void
ngx_http_vmess_sid_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t     **p;
    ngx_http_vmess_sid_t   *n, *t;

    for ( ;; ) {

        n = (ngx_http_vmess_sid_t *) node;
        t = (ngx_http_vmess_sid_t *) temp;

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_memcmp(n->sid, t->sid, NGX_HTTP_VMESS_SID_LEN) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_http_vmess_sid_t *
ngx_http_vmess_sid_lookup(ngx_rbtree_t *rbtree, u_char *sid)
{
    ngx_int_t           rc;
    ngx_uint_t          hash;
    ngx_rbtree_node_t  *node;

    hash = ngx_http_vmess_sid_hash(sid);
    node = rbtree->root;

    while (node != rbtree->sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        rc = ngx_memcmp(sid, ((ngx_http_vmess_sid_t *) node)->sid,
                        NGX_HTTP_VMESS_SID_LEN);

        if (rc == 0) {
            return (ngx_http_vmess_sid_t *) node;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


static ngx_uint_t
ngx_http_vmess_sid_hash(u_char *sid)
{
    uint32_t  hash;

    ngx_memcpy(&hash, sid, sizeof(uint32_t));

    return hash;
}


ngx_http_vmess_session_t *
ngx_http_vmess_session_lookup(u_char *sid)
{
    return (ngx_http_vmess_session_t *)
               ngx_http_vmess_sid_lookup(&ngx_http_vmess_sessions, sid);
}


ngx_http_vmess_session_t *
ngx_http_vmess_session_get(u_char *sid)
{
    ngx_http_vmess_session_t  *s;

    s = ngx_http_vmess_session_lookup(sid);

    if (s) {
        return s;
    }

    s = ngx_calloc(sizeof(ngx_http_vmess_session_t), ngx_cycle->log);
    if (s == NULL) {
        return NULL;
    }

    ngx_memcpy(s->id.sid, sid, NGX_HTTP_VMESS_SID_LEN);
    s->id.node.key = ngx_http_vmess_sid_hash(sid);

    ngx_rbtree_insert(&ngx_http_vmess_sessions, &s->id.node);

    ngx_queue_init(&s->uploads);

    s->start = ngx_current_msec;
    s->delay = NGX_HTTP_VMESS_SESSION_POLL;

    s->timer.handler = ngx_http_vmess_session_timer_handler;
    s->timer.data = s;
    s->timer.log = ngx_cycle->log;

    ngx_add_timer(&s->timer, s->delay);

    return s;
}


ngx_int_t
ngx_http_vmess_session_open(ngx_http_vmess_session_t *s,
    ngx_http_vmess_ctx_t *download)
{
    ngx_int_t  rc;

    if (s->download) {
        return NGX_DECLINED;
    }

    rc = ngx_http_vmess_session_claim(s->id.sid);

    if (rc == NGX_OK) {
        s->download = download;
        ngx_del_timer(&s->timer);
    }

    return rc;
}


static ngx_int_t
ngx_http_vmess_session_claim(u_char *sid)
{
    ngx_int_t                 rc;
    ngx_slab_pool_t          *shpool;
    ngx_http_vmess_owner_t   *owner;
    ngx_http_vmess_owners_t  *owners;

    owners = ngx_http_vmess_session_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_vmess_session_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_http_vmess_session_expire(owners, shpool, 0);

    if (ngx_http_vmess_sid_lookup(&owners->rbtree, sid)) {
        rc = NGX_DECLINED;
        goto done;
    }

    owner = ngx_slab_alloc_locked(shpool, sizeof(ngx_http_vmess_owner_t));

    if (owner == NULL) {
        ngx_http_vmess_session_expire(owners, shpool, 1);

        owner = ngx_slab_alloc_locked(shpool, sizeof(ngx_http_vmess_owner_t));

        if (owner == NULL) {
            rc = NGX_ERROR;
            goto done;
        }
    }

    ngx_memcpy(owner->id.sid, sid, NGX_HTTP_VMESS_SID_LEN);
    owner->id.node.key = ngx_http_vmess_sid_hash(sid);
    owner->pid = ngx_pid;

    ngx_rbtree_insert(&owners->rbtree, &owner->id.node);
    ngx_queue_insert_head(&owners->live, &owner->queue);

    rc = NGX_OK;

done:

    ngx_shmtx_unlock(&shpool->mutex);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "too many XHTTP sessions");
    }

    return rc;
}


/* called with the zone locked; "force" makes room for one more */

static void
ngx_http_vmess_session_expire(ngx_http_vmess_owners_t *owners,
    ngx_slab_pool_t *shpool, ngx_uint_t force)
{
    ngx_queue_t             *q;
    ngx_http_vmess_owner_t  *owner;

    while (!ngx_queue_empty(&owners->ended)) {

        q = ngx_queue_last(&owners->ended);
        owner = ngx_queue_data(q, ngx_http_vmess_owner_t, queue);

        if (!force && owner->expires > ngx_time()) {
            return;
        }

        force = 0;

        ngx_http_vmess_session_forget(owners, shpool, owner);
    }
}


static void
ngx_http_vmess_session_forget(ngx_http_vmess_owners_t *owners,
    ngx_slab_pool_t *shpool, ngx_http_vmess_owner_t *owner)
{
    ngx_queue_remove(&owner->queue);
    ngx_rbtree_delete(&owners->rbtree, &owner->id.node);
    ngx_slab_free_locked(shpool, owner);
}


/* an ended session stays for a while, to be told from one that is to come */

static void
ngx_http_vmess_session_release(u_char *sid)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_vmess_owner_t   *owner;
    ngx_http_vmess_owners_t  *owners;

    owners = ngx_http_vmess_session_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_vmess_session_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    owner = (ngx_http_vmess_owner_t *)
                ngx_http_vmess_sid_lookup(&owners->rbtree, sid);

    if (owner && owner->pid == ngx_pid) {

        ngx_queue_remove(&owner->queue);
        ngx_queue_insert_head(&owners->ended, &owner->queue);

        owner->pid = 0;
        owner->expires = ngx_time() + NGX_HTTP_VMESS_SESSION_KEEP;
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_pid_t
ngx_http_vmess_session_owner(u_char *sid)
{
    ngx_pid_t                 pid;
    ngx_slab_pool_t          *shpool;
    ngx_http_vmess_owner_t   *owner;
    ngx_http_vmess_owners_t  *owners;

    owners = ngx_http_vmess_session_zone->data;
    shpool = (ngx_slab_pool_t *) ngx_http_vmess_session_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    owner = (ngx_http_vmess_owner_t *)
                ngx_http_vmess_sid_lookup(&owners->rbtree, sid);

    pid = owner ? owner->pid : NGX_ERROR;

    ngx_shmtx_unlock(&shpool->mutex);

    return pid;
}


/* the download may have come to another worker */

static void
ngx_http_vmess_session_timer_handler(ngx_event_t *ev)
{
    ngx_pid_t                  pid;
    ngx_queue_t               *q;
    ngx_http_vmess_upload_t   *upload;
    ngx_http_vmess_session_t  *s;

    s = ev->data;

    s->delay = ngx_min(s->delay * 2, NGX_HTTP_VMESS_SESSION_POLL_MAX);

    pid = ngx_http_vmess_session_owner(s->id.sid);

    if (pid == NGX_ERROR
        && ngx_current_msec - s->start < NGX_HTTP_VMESS_SESSION_WAIT
        && !ngx_queue_empty(&s->uploads))
    {
        ngx_add_timer(&s->timer, s->delay);
        return;
    }

    while (pid > 0 && pid != ngx_pid && !ngx_queue_empty(&s->uploads)) {

        q = ngx_queue_head(&s->uploads);
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        ngx_http_vmess_upload_remove(upload);
        ngx_http_vmess_link_connect(upload->data, pid, s->id.sid);
    }

    ngx_http_vmess_session_close(s);
}


void
ngx_http_vmess_session_accept(ngx_http_vmess_session_t *s)
{
    ngx_queue_t              *q, *next;
    ngx_http_vmess_upload_t  *upload;

    s->authentic = 1;

    for (q = ngx_queue_head(&s->uploads);
         q != ngx_queue_sentinel(&s->uploads);
         q = next)
    {
        next = ngx_queue_next(q);
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_AUTHENTIC);

        if (upload->taken) {
            ngx_http_vmess_upload_remove(upload);
            upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DONE);
        }
    }
}


void
ngx_http_vmess_session_close(ngx_http_vmess_session_t *s)
{
    ngx_queue_t              *q;
    ngx_http_vmess_xhttp_t   *x;
    ngx_http_vmess_upload_t  *upload;

    while (!ngx_queue_empty(&s->uploads)) {

        q = ngx_queue_head(&s->uploads);
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        ngx_http_vmess_upload_remove(upload);

        upload->tell(upload, s->authentic ? NGX_HTTP_VMESS_UPLOAD_DONE
                                          : NGX_HTTP_VMESS_UPLOAD_DECLINED);
    }

    if (s->download) {
        x = s->download->data;
        x->session = NULL;

        ngx_http_vmess_session_release(s->id.sid);
    }

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    ngx_rbtree_delete(&ngx_http_vmess_sessions, &s->id.node);
    ngx_free(s);
}


void
ngx_http_vmess_upload_add(ngx_http_vmess_session_t *s,
    ngx_http_vmess_upload_t *upload)
{
    ngx_queue_t              *q;
    ngx_http_vmess_upload_t  *other;

    for (q = ngx_queue_last(&s->uploads);
         q != ngx_queue_sentinel(&s->uploads);
         q = ngx_queue_prev(q))
    {
        other = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        if (other->seq == upload->seq) {

            /* a second stream, or a packet that comes again */

            upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
            return;
        }

        if (other->seq < upload->seq) {
            break;
        }
    }

    if (upload->seq < s->next && upload->seq != NGX_VMESS_XHTTP_NO_SEQ
        && s->authentic)
    {
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DONE);
        return;
    }

    if (s->eof || s->nuploads == NGX_HTTP_VMESS_UPLOADS_MAX) {
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
        return;
    }

    ngx_queue_insert_after(q, &upload->queue);

    s->nuploads++;
    upload->session = s;

    if (s->authentic) {
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_AUTHENTIC);
    }

    ngx_http_vmess_upload_wake(upload);
}


static void
ngx_http_vmess_upload_remove(ngx_http_vmess_upload_t *upload)
{
    ngx_queue_remove(&upload->queue);
    upload->session->nuploads--;
    upload->session = NULL;
}


void
ngx_http_vmess_upload_abort(ngx_http_vmess_upload_t *upload)
{
    ngx_http_vmess_session_t  *s;

    s = upload->session;

    if (s == NULL) {
        return;
    }

    ngx_http_vmess_upload_remove(upload);

    /* one of which nothing was read may come again */

    if (upload->started && !upload->taken) {
        s->error = 1;

        if (s->download && s->download->vconn) {
            ngx_vmess_vconn_wake(s->download->vconn, 0);
        }
    }
}


ngx_uint_t
ngx_http_vmess_upload_wake(ngx_http_vmess_upload_t *upload)
{
    ngx_http_vmess_session_t  *s;

    s = upload->session;

    if (s && s->download && s->download->vconn
        && ngx_http_vmess_session_due(s) == upload)
    {
        ngx_vmess_vconn_wake(s->download->vconn, 0);
        return 1;
    }

    return 0;
}


/* the upload that is to be read next, NULL if it is still to come */

static ngx_http_vmess_upload_t *
ngx_http_vmess_session_due(ngx_http_vmess_session_t *s)
{
    ngx_queue_t              *q;
    ngx_http_vmess_upload_t  *upload;

    for (q = ngx_queue_head(&s->uploads);
         q != ngx_queue_sentinel(&s->uploads);
         q = ngx_queue_next(q))
    {
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        if (!upload->taken) {
            return (upload->seq == s->next
                    || upload->seq == NGX_VMESS_XHTTP_NO_SEQ)
                   ? upload : NULL;
        }
    }

    return NULL;
}


ssize_t
ngx_http_vmess_session_read(ngx_http_vmess_session_t *s, u_char *buf,
    size_t size)
{
    ssize_t                   n;
    ngx_http_vmess_upload_t  *upload;

    for ( ;; ) {

        if (s->error) {
            return NGX_ERROR;
        }

        if (s->eof) {
            return 0;
        }

        upload = ngx_http_vmess_session_due(s);

        if (upload == NULL) {
            return NGX_AGAIN;
        }

        n = upload->read(upload, buf, size);

        if (n > 0) {
            upload->started = 1;
            return n;
        }

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n == NGX_ERROR && upload->started) {
            s->error = 1;
            continue;
        }

        if (n == NGX_ERROR) {

            /* one of which nothing was read may come again */

            ngx_http_vmess_upload_remove(upload);
            upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
            continue;
        }

        if (upload->seq == NGX_VMESS_XHTTP_NO_SEQ) {
            s->eof = 1;

        } else {
            s->next++;
        }

        /* until the client is authentic, the site may get it yet */

        if (!s->authentic) {
            upload->taken = 1;
            continue;
        }

        ngx_http_vmess_upload_remove(upload);
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DONE);
    }
}
