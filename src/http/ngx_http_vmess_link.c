
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_link.h"


/*
 * A link is a stream socket between two workers.  The worker with the session
 * gets, behind the greeting, the body of a request, in frames of a length of 4
 * bytes and data; the empty frame is the last.  It sends back statuses of the
 * upload, a byte each.
 */

#define NGX_HTTP_VMESS_LINK_BUFFER    (64 * 1024)
#define NGX_HTTP_VMESS_LINK_FRAME     4

/* sent in one go */
#define NGX_HTTP_VMESS_LINK_BURST     (256 * 1024)

/* sent before the client is known to be authentic */
#define NGX_HTTP_VMESS_LINK_FIRST     4096


/* at the worker with the request */

struct ngx_http_vmess_link_s {
    ngx_connection_t            *connection;
    ngx_http_vmess_upload_t     *upload;
    ngx_buf_t                   *buf;
    size_t                       first;      /* may be sent yet */

    unsigned                     authentic:1;
    unsigned                     ended:1;
};


/* at the worker with the session */

typedef struct {
    ngx_connection_t            *connection;
    ngx_http_vmess_upload_t      upload;
    u_char                       frame[NGX_HTTP_VMESS_LINK_FRAME];
    size_t                       n;          /* of frame */
    size_t                       left;       /* of the data of the frame */
} ngx_http_vmess_end_t;


static void ngx_http_vmess_link_read_handler(ngx_event_t *rev);
static void ngx_http_vmess_link_write_handler(ngx_event_t *wev);
static void ngx_http_vmess_link_tell(ngx_http_vmess_link_t *link,
    u_char status);

static void ngx_http_vmess_link_accept(ngx_connection_t *c,
    ngx_vmess_greeting_t *greeting);
static void ngx_http_vmess_link_end_handler(ngx_event_t *rev);
static ssize_t ngx_http_vmess_link_end_read(void *data, u_char *buf,
    size_t size);
static void ngx_http_vmess_link_end_tell(ngx_http_vmess_upload_t *upload,
    u_char status);
static void ngx_http_vmess_link_end_close(ngx_http_vmess_end_t *end);


void
ngx_http_vmess_link_init(void)
{
    ngx_vmess_worker_set_handler(NGX_VMESS_WORKER_XHTTP,
                                 ngx_http_vmess_link_accept);
}


void
ngx_http_vmess_link_connect(ngx_http_vmess_upload_t *upload,
    ngx_http_request_t *r, ngx_vmess_owner_t *owner, u_char *sid)
{
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_vmess_greeting_t    greeting;
    ngx_http_vmess_link_t  *link;

    link = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_link_t));
    b = ngx_create_temp_buf(r->pool, NGX_HTTP_VMESS_LINK_BUFFER);

    if (link == NULL || b == NULL) {
        goto declined;
    }

    ngx_memzero(&greeting, sizeof(ngx_vmess_greeting_t));

    greeting.kind = NGX_VMESS_WORKER_XHTTP;
    greeting.number = upload->seq;
    ngx_memcpy(greeting.id, sid, NGX_VMESS_WORKER_ID_LEN);

    c = ngx_vmess_worker_connect(owner, &greeting, r->connection->log);
    if (c == NULL) {
        goto declined;
    }

    link->connection = c;
    link->upload = upload;
    link->buf = b;
    link->first = NGX_HTTP_VMESS_LINK_FIRST;

    upload->link = link;

    c->data = link;
    c->read->handler = ngx_http_vmess_link_read_handler;
    c->write->handler = ngx_http_vmess_link_write_handler;

    /* a worker that quits waits for timers only */

    ngx_add_timer(c->read, NGX_MAX_INT32_VALUE);

    ngx_http_vmess_link_pump(link);

    return;

declined:

    upload->tell(upload, NGX_HTTP_VMESS_UPLOAD_DECLINED);
}


void
ngx_http_vmess_link_pump(ngx_http_vmess_link_t *link)
{
    size_t                    size, sent;
    uint32_t                  len;
    ssize_t                   n;
    ngx_buf_t                *b;
    ngx_connection_t         *c;
    ngx_http_vmess_upload_t  *upload;

    c = link->connection;
    b = link->buf;
    upload = link->upload;

    sent = 0;

    for ( ;; ) {

        if (sent >= NGX_HTTP_VMESS_LINK_BURST) {

            /* a client and a worker that are both fast: others have a turn */

            ngx_post_event(c->write, &ngx_posted_next_events);
            return;
        }

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
            sent += n;
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

        n = upload->read(upload->data, b->start + NGX_HTTP_VMESS_LINK_FRAME,
                         size);

        if (n == NGX_AGAIN) {
            return;
        }

        if (n == NGX_ERROR) {

            /* without an end the session gets an error, too */

            ngx_http_vmess_link_tell(link, NGX_HTTP_VMESS_UPLOAD_FAILED);
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

            /* the worker with the session has gone */

            status = link->authentic ? NGX_HTTP_VMESS_UPLOAD_DONE
                                     : NGX_HTTP_VMESS_UPLOAD_DECLINED;
        }

        if (status != NGX_HTTP_VMESS_UPLOAD_AUTHENTIC) {
            ngx_http_vmess_link_tell(link, status);
            return;
        }

        link->authentic = 1;
        link->upload->tell(link->upload, status);
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


static void
ngx_http_vmess_link_tell(ngx_http_vmess_link_t *link, u_char status)
{
    ngx_http_vmess_upload_t  *upload;

    upload = link->upload;

    ngx_http_vmess_link_close(link);

    upload->tell(upload, status);
}


void
ngx_http_vmess_link_close(ngx_http_vmess_link_t *link)
{
    link->upload->link = NULL;

    ngx_close_connection(link->connection);
}


static void
ngx_http_vmess_link_accept(ngx_connection_t *c,
    ngx_vmess_greeting_t *greeting)
{
    ngx_http_vmess_end_t      *end;
    ngx_http_vmess_session_t  *session;

    end = ngx_calloc(sizeof(ngx_http_vmess_end_t), ngx_cycle->log);
    if (end == NULL) {
        ngx_close_connection(c);
        return;
    }

    end->connection = c;

    end->upload.seq = greeting->number;
    end->upload.read = ngx_http_vmess_link_end_read;
    end->upload.tell = ngx_http_vmess_link_end_tell;
    end->upload.data = end;

    c->data = end;
    c->read->handler = ngx_http_vmess_link_end_handler;

    session = ngx_http_vmess_session_lookup(greeting->id);

    if (session == NULL || session->download == NULL) {
        ngx_http_vmess_link_end_tell(&end->upload,
                                     NGX_HTTP_VMESS_UPLOAD_DECLINED);
        return;
    }

    ngx_http_vmess_session_add(session, &end->upload);
}


static void
ngx_http_vmess_link_end_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_http_vmess_end_t  *end;

    c = rev->data;
    end = c->data;

    /* the other end closes first only if its client is gone */

    if (!ngx_http_vmess_session_wake(&end->upload) && rev->pending_eof) {
        ngx_http_vmess_session_drop(&end->upload);
        ngx_http_vmess_link_end_close(end);
    }
}


static ssize_t
ngx_http_vmess_link_end_read(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_end_t *end = data;

    ssize_t            n;
    uint32_t           len;
    ngx_connection_t  *c;

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
