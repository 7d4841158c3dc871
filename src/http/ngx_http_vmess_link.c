
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_session.h"
#include "event/ngx_vmess_worker.h"


/*
 * A link is a stream socket between two workers.  To the worker with the
 * session go a greeting and the body of a request, in frames of a length of 4
 * bytes and data, of which the empty one is the last; from it come statuses of
 * the upload, a byte each.
 */

#define NGX_HTTP_VMESS_LINK_MAGIC     0x564d5831

#define NGX_HTTP_VMESS_LINK_BUFFER    (64 * 1024)
#define NGX_HTTP_VMESS_LINK_FRAME     4

/* sent before the client is known to be authentic */
#define NGX_HTTP_VMESS_LINK_FIRST     4096

/* for the greeting, in ms */
#define NGX_HTTP_VMESS_LINK_TIMEOUT   5000


typedef struct {
    uint32_t                     magic;
    u_char                       sid[NGX_HTTP_VMESS_SID_LEN];
    int64_t                      seq;
} ngx_http_vmess_greeting_t;


/* at the worker with the request */

struct ngx_http_vmess_link_s {
    ngx_connection_t            *connection;
    ngx_http_vmess_ctx_t        *ctx;
    ngx_buf_t                   *buf;
    size_t                       first;      /* may be sent yet */

    unsigned                     authentic:1;
    unsigned                     ended:1;
};


/* at the worker with the session */

typedef struct {
    ngx_connection_t            *connection;
    ngx_http_vmess_upload_t      upload;
    ngx_http_vmess_greeting_t    greeting;
    u_char                       frame[NGX_HTTP_VMESS_LINK_FRAME];
    size_t                       n;          /* of greeting or frame */
    size_t                       left;       /* of the data of the frame */
} ngx_http_vmess_end_t;


static void ngx_http_vmess_link_address(ngx_str_t *name, ngx_pid_t pid);
static ngx_connection_t *ngx_http_vmess_link_connection(ngx_socket_t s,
    ngx_log_t *log);
static void ngx_http_vmess_link_read_handler(ngx_event_t *rev);
static void ngx_http_vmess_link_write_handler(ngx_event_t *wev);
static void ngx_http_vmess_link_lost(ngx_http_vmess_link_t *link);
static void ngx_http_vmess_link_tell(ngx_http_vmess_link_t *link,
    u_char status);
static void ngx_http_vmess_link_status(ngx_http_vmess_ctx_t *ctx,
    u_char status);

static void ngx_http_vmess_link_accept_handler(ngx_event_t *ev);
static void ngx_http_vmess_link_accept(ngx_socket_t s);
static void ngx_http_vmess_link_greeting_handler(ngx_event_t *rev);
static void ngx_http_vmess_link_end_handler(ngx_event_t *rev);
static void ngx_http_vmess_link_empty_handler(ngx_event_t *ev);
static ssize_t ngx_http_vmess_link_end_read(ngx_http_vmess_upload_t *upload,
    u_char *buf, size_t size);
static void ngx_http_vmess_link_end_tell(ngx_http_vmess_upload_t *upload,
    u_char status);
static void ngx_http_vmess_link_end_close(ngx_http_vmess_end_t *end);


void
ngx_http_vmess_link_init(ngx_cycle_t *cycle)
{
    u_char             text[NGX_VMESS_WORKER_NAME];
    ngx_str_t          name;
    ngx_socket_t       s;
    ngx_connection_t  *c;

    name.data = text;
    ngx_http_vmess_link_address(&name, ngx_pid);

    s = ngx_vmess_worker_listen(SOCK_STREAM, &name, "XHTTP", cycle->log);

    if (s == (ngx_socket_t) -1) {
        return;
    }

    c = ngx_get_connection(s, cycle->log);
    if (c == NULL) {
        goto failed;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->read->channel = 1;
    c->read->handler = ngx_http_vmess_link_accept_handler;

    /* not again and again while there is no descriptor for a connection */

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        goto failed;
    }

    return;

failed:

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


/* with random bytes: containers may share names and numbers of processes */

static void
ngx_http_vmess_link_address(ngx_str_t *name, ngx_pid_t pid)
{
    u_char  *p;

    p = ngx_cpymem(name->data, "ngx_vmess.", 10);
    p = ngx_hex_dump(p, ngx_http_vmess_session_key(), NGX_HTTP_VMESS_KEY_LEN);
    p = ngx_sprintf(p, ".%P", pid);

    name->len = p - name->data;
}


static ngx_connection_t *
ngx_http_vmess_link_connection(ngx_socket_t s, ngx_log_t *log)
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

    c->read->handler = ngx_http_vmess_link_empty_handler;
    c->write->handler = ngx_http_vmess_link_empty_handler;

    if (ngx_add_conn(c) == NGX_ERROR) {
        ngx_free_connection(c);
        return NULL;
    }

    return c;
}


void
ngx_http_vmess_link_connect(ngx_http_vmess_ctx_t *ctx, ngx_pid_t pid,
    u_char *sid)
{
    u_char                      text[NGX_VMESS_WORKER_NAME];
    ngx_str_t                   name;
    ngx_buf_t                  *b;
    ngx_log_t                  *log;
    ngx_pool_t                 *pool;
    ngx_socket_t                s;
    ngx_connection_t           *c;
    ngx_http_vmess_link_t      *link;
    ngx_http_vmess_xhttp_t     *x;
    ngx_http_vmess_greeting_t  *greeting;

    x = ctx->data;
    log = ctx->request->connection->log;
    pool = ctx->request->pool;

    link = ngx_pcalloc(pool, sizeof(ngx_http_vmess_link_t));
    b = ngx_create_temp_buf(pool, NGX_HTTP_VMESS_LINK_BUFFER);

    if (link == NULL || b == NULL) {
        goto declined;
    }

    name.data = text;
    ngx_http_vmess_link_address(&name, pid);

    s = ngx_vmess_worker_connect(SOCK_STREAM, &name, pid, log);

    if (s == (ngx_socket_t) -1) {
        goto declined;
    }

    c = ngx_http_vmess_link_connection(s, log);
    if (c == NULL) {
        goto failed;
    }

    greeting = (ngx_http_vmess_greeting_t *) b->pos;

    ngx_memzero(greeting, sizeof(ngx_http_vmess_greeting_t));

    greeting->magic = NGX_HTTP_VMESS_LINK_MAGIC;
    greeting->seq = x->upload.seq;
    ngx_memcpy(greeting->sid, sid, NGX_HTTP_VMESS_SID_LEN);

    b->last = b->pos + sizeof(ngx_http_vmess_greeting_t);

    link->connection = c;
    link->ctx = ctx;
    link->buf = b;
    link->first = NGX_HTTP_VMESS_LINK_FIRST;

    x->link = link;

    c->data = link;
    c->read->handler = ngx_http_vmess_link_read_handler;
    c->write->handler = ngx_http_vmess_link_write_handler;

    /* a worker that quits waits for timers only */

    ngx_add_timer(c->read, NGX_MAX_INT32_VALUE);

    ngx_http_vmess_link_pump(link);

    return;

failed:

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }

declined:

    x->upload.tell(&x->upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
}


void
ngx_http_vmess_link_pump(ngx_http_vmess_link_t *link)
{
    size_t                   size;
    uint32_t                 len;
    ssize_t                  n;
    ngx_buf_t               *b;
    ngx_connection_t        *c;
    ngx_http_vmess_xhttp_t  *x;

    c = link->connection;
    b = link->buf;

    for ( ;; ) {

        while (b->pos < b->last) {

            n = c->send(c, b->pos, b->last - b->pos);

            if (n == NGX_AGAIN) {
                return;
            }

            if (n == NGX_ERROR) {

                /* closed by the other end: what it said is yet to be read */

                b->pos = b->last;
                link->ended = 1;
                return;
            }

            b->pos += n;
        }

        if (link->ended) {
            return;
        }

        size = b->end - b->start - NGX_HTTP_VMESS_LINK_FRAME;

        if (!link->authentic) {
            size = ngx_min(size, link->first);

            if (size == 0) {
                return;
            }
        }

        n = ngx_http_vmess_body_read(link->ctx,
                                     b->start + NGX_HTTP_VMESS_LINK_FRAME,
                                     size);
        if (n == NGX_AGAIN) {
            return;
        }

        if (n == NGX_ERROR) {

            /* without an end the session gets an error, too */

            x = link->ctx->data;
            x->error = 1;

            ngx_http_vmess_link_tell(link, NGX_HTTP_VMESS_UPLOAD_DONE);
            return;
        }

        if (n == 0) {
            link->ended = 1;
        }

        if (!link->authentic) {
            link->first -= n;
        }

        len = (uint32_t) n;
        ngx_memcpy(b->start, &len, NGX_HTTP_VMESS_LINK_FRAME);

        b->pos = b->start;
        b->last = b->start + NGX_HTTP_VMESS_LINK_FRAME + n;
    }
}


static void
ngx_http_vmess_link_read_handler(ngx_event_t *rev)
{
    ssize_t                 n;
    u_char                  status;
    ngx_connection_t       *c;
    ngx_http_vmess_link_t  *link;

    c = rev->data;
    link = c->data;

    for ( ;; ) {

        n = c->recv(c, &status, 1);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {

            ngx_http_vmess_link_lost(link);
            return;
        }

        if (status != NGX_HTTP_VMESS_UPLOAD_AUTHENTIC) {
            ngx_http_vmess_link_tell(link, status);
            return;
        }

        link->authentic = 1;
        ngx_http_vmess_link_status(link->ctx, status);
    }

    ngx_http_vmess_link_pump(link);
}


static void
ngx_http_vmess_link_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_http_vmess_link_pump(c->data);
}


/* the worker with the session has gone */

static void
ngx_http_vmess_link_lost(ngx_http_vmess_link_t *link)
{
    ngx_http_vmess_link_tell(link, link->authentic
                                   ? NGX_HTTP_VMESS_UPLOAD_DONE
                                   : NGX_HTTP_VMESS_UPLOAD_DECLINED);
}


static void
ngx_http_vmess_link_tell(ngx_http_vmess_link_t *link, u_char status)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = link->ctx;

    ngx_http_vmess_link_close(link);

    ngx_http_vmess_link_status(ctx, status);
}


static void
ngx_http_vmess_link_status(ngx_http_vmess_ctx_t *ctx, u_char status)
{
    ngx_http_vmess_xhttp_t  *x;

    x = ctx->data;

    x->upload.tell(&x->upload, status);
}


void
ngx_http_vmess_link_close(ngx_http_vmess_link_t *link)
{
    ngx_http_vmess_xhttp_t  *x;

    x = link->ctx->data;
    x->link = NULL;

    ngx_close_connection(link->connection);
}


static void
ngx_http_vmess_link_accept_handler(ngx_event_t *ev)
{
    ngx_socket_t       s;
    ngx_connection_t  *lc;

    lc = ev->data;

    for ( ;; ) {

        s = ngx_vmess_worker_accept(lc->fd, ev->log);

        if (s == (ngx_socket_t) -1) {
            return;
        }

        ngx_http_vmess_link_accept(s);
    }
}


static void
ngx_http_vmess_link_accept(ngx_socket_t s)
{
    ngx_connection_t      *c;
    ngx_http_vmess_end_t  *end;

    end = NULL;

    end = ngx_calloc(sizeof(ngx_http_vmess_end_t), ngx_cycle->log);
    if (end == NULL) {
        goto failed;
    }

    c = ngx_http_vmess_link_connection(s, ngx_cycle->log);
    if (c == NULL) {
        goto failed;
    }

    end->connection = c;

    c->data = end;
    c->read->handler = ngx_http_vmess_link_greeting_handler;

    ngx_add_timer(c->read, NGX_HTTP_VMESS_LINK_TIMEOUT);

    return;

failed:

    if (end) {
        ngx_free(end);
    }

    if (ngx_close_socket(s) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_socket_errno,
                      ngx_close_socket_n " failed");
    }
}


static void
ngx_http_vmess_link_greeting_handler(ngx_event_t *rev)
{
    ssize_t                    n;
    ngx_connection_t          *c;
    ngx_http_vmess_end_t      *end;
    ngx_http_vmess_session_t  *session;

    c = rev->data;
    end = c->data;

    if (rev->timedout) {
        ngx_http_vmess_link_end_close(end);
        return;
    }

    while (end->n < sizeof(ngx_http_vmess_greeting_t)) {

        n = c->recv(c, (u_char *) &end->greeting + end->n,
                    sizeof(ngx_http_vmess_greeting_t) - end->n);

        if (n == NGX_AGAIN) {
            return;
        }

        if (n <= 0) {
            ngx_http_vmess_link_end_close(end);
            return;
        }

        end->n += n;
    }

    ngx_del_timer(rev);

    if (end->greeting.magic != NGX_HTTP_VMESS_LINK_MAGIC) {
        ngx_http_vmess_link_end_close(end);
        return;
    }

    end->n = 0;

    end->upload.seq = end->greeting.seq;
    end->upload.read = ngx_http_vmess_link_end_read;
    end->upload.tell = ngx_http_vmess_link_end_tell;
    end->upload.data = end;

    rev->handler = ngx_http_vmess_link_end_handler;

    session = ngx_http_vmess_session_lookup(end->greeting.sid);

    if (session == NULL || session->download == NULL) {
        ngx_http_vmess_link_end_tell(&end->upload,
                                     NGX_HTTP_VMESS_UPLOAD_DECLINED);
        return;
    }

    ngx_http_vmess_upload_add(session, &end->upload);
}


static void
ngx_http_vmess_link_end_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_http_vmess_end_t  *end;

    c = rev->data;
    end = c->data;

    /* the other end closes first only if its client is gone */

    if (!ngx_http_vmess_upload_wake(&end->upload) && rev->pending_eof) {
        ngx_http_vmess_upload_abort(&end->upload);
        ngx_http_vmess_link_end_close(end);
    }
}


static void
ngx_http_vmess_link_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, ev->log, 0, "vmess link event");
}


static ssize_t
ngx_http_vmess_link_end_read(ngx_http_vmess_upload_t *upload, u_char *buf,
    size_t size)
{
    ssize_t                n;
    uint32_t               len;
    ngx_connection_t      *c;
    ngx_http_vmess_end_t  *end;

    end = upload->data;
    c = end->connection;

    while (end->left == 0) {

        n = c->recv(c, end->frame + end->n,
                    NGX_HTTP_VMESS_LINK_FRAME - end->n);

        if (n <= 0) {
            return n == NGX_AGAIN ? NGX_AGAIN : NGX_ERROR;
        }

        end->n += n;

        if (end->n == NGX_HTTP_VMESS_LINK_FRAME) {

            ngx_memcpy(&len, end->frame, NGX_HTTP_VMESS_LINK_FRAME);

            if (len == 0) {
                return 0;
            }

            end->n = 0;
            end->left = len;
        }
    }

    n = c->recv(c, buf, ngx_min(size, end->left));

    if (n <= 0) {
        return n == NGX_AGAIN ? NGX_AGAIN : NGX_ERROR;
    }

    end->left -= n;

    return n;
}


static void
ngx_http_vmess_link_end_tell(ngx_http_vmess_upload_t *upload, u_char status)
{
    ngx_connection_t      *c;
    ngx_http_vmess_end_t  *end;

    end = upload->data;
    c = end->connection;

    /* two bytes at most: they always fit, unless the other end is gone */

    (void) c->send(c, &status, 1);

    if (status != NGX_HTTP_VMESS_UPLOAD_AUTHENTIC) {
        ngx_http_vmess_link_end_close(end);
    }
}


static void
ngx_http_vmess_link_end_close(ngx_http_vmess_end_t *end)
{
    ngx_close_connection(end->connection);
    ngx_free(end);
}
