
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_session.h"
#include "event/ngx_vmess_log.h"
#include "proto/ngx_vmess_xhttp.h"


/* a session waits so long for its download, in ms */
#define NGX_HTTP_VMESS_SESSION_WAIT  30000

/* and looks for it at other workers, at first in ms */
#define NGX_HTTP_VMESS_SESSION_POLL  5
#define NGX_HTTP_VMESS_SESSION_POLL_MAX  1000

/* an ended session is remembered for late uploads, in seconds */
#define NGX_HTTP_VMESS_SESSION_KEEP  30

#define NGX_HTTP_VMESS_UPLOADS_MAX   256


static void ngx_http_vmess_session_timer_handler(ngx_event_t *ev);
static void ngx_http_vmess_session_remove(ngx_http_vmess_upload_t *upload);
static ngx_http_vmess_upload_t *ngx_http_vmess_session_due(
    ngx_http_vmess_session_t *s);
static void ngx_http_vmess_session_watch(ngx_http_vmess_session_t *s);
static void ngx_http_vmess_session_gap_handler(ngx_event_t *ev);


static ngx_vmess_log_limit_t  ngx_http_vmess_session_limit = {
    1, NGX_LOG_ALERT, "XHTTP sessions were refused", 0, 0
};


ngx_http_vmess_session_t *
ngx_http_vmess_session_lookup(u_char *sid)
{
    return (ngx_http_vmess_session_t *) ngx_vmess_worker_find(sid);
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

    ngx_memcpy(s->node.id, sid, NGX_VMESS_WORKER_ID_LEN);

    ngx_vmess_worker_insert(&s->node);

    ngx_queue_init(&s->uploads);

    s->start = ngx_current_msec;
    s->delay = NGX_HTTP_VMESS_SESSION_POLL;

    s->timer.handler = ngx_http_vmess_session_timer_handler;
    s->timer.data = s;
    s->timer.log = ngx_cycle->log;

    ngx_add_timer(&s->timer, s->delay);

    s->gap.handler = ngx_http_vmess_session_gap_handler;
    s->gap.data = s;
    s->gap.log = ngx_cycle->log;

    return s;
}


ngx_int_t
ngx_http_vmess_session_open(ngx_http_vmess_session_t *s,
    ngx_http_vmess_ctx_t *download)
{
    ngx_int_t                  rc;
    ngx_vmess_owner_t          owner;
    ngx_http_core_loc_conf_t  *clcf;

    if (s->download) {
        return NGX_DECLINED;
    }

    rc = ngx_vmess_worker_claim(s->node.id, 0, &owner);

    if (rc == NGX_OK) {
        clcf = ngx_http_get_module_loc_conf(download->request,
                                            ngx_http_core_module);
        s->timeout = clcf->client_body_timeout;
        s->download = download;
        ngx_del_timer(&s->timer);
    }

    if (rc == NGX_ERROR
        && ngx_vmess_log_allowed(&ngx_http_vmess_session_limit,
                                 ngx_cycle->log))
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "too many XHTTP sessions");
    }

    return rc;
}


/* the download may have come to another worker */

static void
ngx_http_vmess_session_timer_handler(ngx_event_t *ev)
{
    ngx_int_t                  rc;
    ngx_queue_t               *q;
    ngx_vmess_owner_t          owner;
    ngx_http_vmess_upload_t   *upload;
    ngx_http_vmess_session_t  *s;

    s = ev->data;

    s->delay = ngx_min(s->delay * 2, NGX_HTTP_VMESS_SESSION_POLL_MAX);

    rc = ngx_vmess_worker_owner(s->node.id, &owner);

    if (rc != NGX_OK
        && ngx_current_msec - s->start < NGX_HTTP_VMESS_SESSION_WAIT
        && !ngx_queue_empty(&s->uploads))
    {
        ngx_add_timer(&s->timer, s->delay);
        return;
    }

    while (rc == NGX_OK && owner.pid && owner.pid != ngx_pid
           && !ngx_queue_empty(&s->uploads))
    {

        q = ngx_queue_head(&s->uploads);
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        ngx_http_vmess_session_remove(upload);
        upload->forward(upload, &owner);
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
            ngx_http_vmess_session_remove(upload);
            upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DONE);
        }
    }

    ngx_http_vmess_session_watch(s);
}


ngx_uint_t
ngx_http_vmess_session_alive(u_char *sid)
{
    ngx_vmess_owner_t          owner;
    ngx_http_vmess_session_t  *s;

    s = ngx_http_vmess_session_lookup(sid);

    if (s && s->download) {
        return 1;
    }

    return ngx_vmess_worker_owner(sid, &owner) == NGX_OK
           && owner.pid && owner.pid != ngx_pid;
}


void
ngx_http_vmess_session_close(ngx_http_vmess_session_t *s)
{
    ngx_queue_t                *q;
    ngx_http_vmess_upload_t    *upload;
    ngx_http_vmess_download_t  *d;

    while (!ngx_queue_empty(&s->uploads)) {

        q = ngx_queue_head(&s->uploads);
        upload = ngx_queue_data(q, ngx_http_vmess_upload_t, queue);

        ngx_http_vmess_session_remove(upload);

        upload->tell(upload, s->authentic ? NGX_HTTP_VMESS_UPLOAD_DONE
                                          : NGX_HTTP_VMESS_UPLOAD_DECLINED);
    }

    if (s->download) {
        d = s->download->data;
        d->session = NULL;

        ngx_vmess_worker_release(s->node.id, NGX_HTTP_VMESS_SESSION_KEEP);
    }

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    if (s->gap.timer_set) {
        ngx_del_timer(&s->gap);
    }

    ngx_vmess_worker_delete(&s->node);
    ngx_free(s);
}


void
ngx_http_vmess_session_add(ngx_http_vmess_session_t *s,
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

    /* the one for which they wait is not one too many */

    if (s->eof
        || (s->nuploads >= NGX_HTTP_VMESS_UPLOADS_MAX
            && upload->seq != s->next))
    {
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
        return;
    }

    ngx_queue_insert_after(q, &upload->queue);

    s->nuploads++;
    upload->session = s;

    if (s->authentic) {
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_AUTHENTIC);
    }

    ngx_http_vmess_session_watch(s);

    ngx_http_vmess_session_wake(upload);
}


static void
ngx_http_vmess_session_remove(ngx_http_vmess_upload_t *upload)
{
    ngx_queue_remove(&upload->queue);
    upload->session->nuploads--;
    upload->session = NULL;
}


void
ngx_http_vmess_session_drop(ngx_http_vmess_upload_t *upload)
{
    ngx_http_vmess_session_t  *s;

    s = upload->session;

    if (s == NULL) {
        return;
    }

    ngx_http_vmess_session_remove(upload);

    ngx_http_vmess_session_watch(s);

    /* one of which nothing was read may come again */

    if (upload->started && !upload->taken) {
        s->error = 1;

        if (s->download && s->download->vconn) {
            ngx_vmess_vconn_wake(s->download->vconn, 0);
        }
    }
}


ngx_uint_t
ngx_http_vmess_session_wake(ngx_http_vmess_upload_t *upload)
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


/* packets that wait for one before them do so for some time */

static void
ngx_http_vmess_session_watch(ngx_http_vmess_session_t *s)
{
    if (s->authentic && !ngx_queue_empty(&s->uploads)
        && ngx_http_vmess_session_due(s) == NULL)
    {
        if (!s->gap.timer_set) {
            ngx_add_timer(&s->gap, s->timeout);
        }

    } else if (s->gap.timer_set) {
        ngx_del_timer(&s->gap);
    }
}


static void
ngx_http_vmess_session_gap_handler(ngx_event_t *ev)
{
    ngx_http_vmess_session_t  *s;

    s = ev->data;

    ngx_log_error(NGX_LOG_INFO, s->download->request->connection->log,
                  NGX_ETIMEDOUT,
                  "client sent %ui packets of XHTTP session behind packet %L, "
                  "which is missing", s->nuploads, s->next);

    s->error = 1;

    if (s->download->vconn) {
        ngx_vmess_vconn_wake(s->download->vconn, 0);
    }
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
            ngx_http_vmess_session_watch(s);
            return NGX_AGAIN;
        }

        n = upload->read(upload->data, buf, size);

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

            ngx_http_vmess_session_remove(upload);
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

        ngx_http_vmess_session_remove(upload);
        upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DONE);
    }
}
