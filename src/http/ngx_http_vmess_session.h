
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_SESSION_H_INCLUDED_
#define _NGX_HTTP_VMESS_SESSION_H_INCLUDED_


#include "ngx_http_vmess_body.h"
#include "event/ngx_vmess_worker.h"


/*
 * XHTTP: the download of a session is one request.  The upload is others,
 * which come before or after it, in any order, on any connection and at any
 * worker.  The worker with the download has the session; others send it what
 * they receive, through links.
 */

/* what an upload is told, also through a link, but for the last one */

#define NGX_HTTP_VMESS_UPLOAD_AUTHENTIC  'A' /* the site will not get it */
#define NGX_HTTP_VMESS_UPLOAD_DONE       'K' /* taken, or not wanted */
#define NGX_HTTP_VMESS_UPLOAD_DECLINED   'D' /* it is the site's */
#define NGX_HTTP_VMESS_UPLOAD_FAILED     'F' /* its body could not be read */


typedef struct ngx_http_vmess_session_s  ngx_http_vmess_session_t;
typedef struct ngx_http_vmess_upload_s   ngx_http_vmess_upload_t;
typedef struct ngx_http_vmess_link_s     ngx_http_vmess_link_t;


/*
 * A request that brings some or all of the upload of an XHTTP session, and is
 * in that session, or behind a link to the worker that has it
 */

struct ngx_http_vmess_upload_s {
    ngx_queue_t                  queue;
    ngx_http_vmess_session_t    *session;
    ngx_http_vmess_link_t       *link;
    int64_t                      seq;        /* NGX_VMESS_XHTTP_NO_SEQ: all */

    /* as c->recv; the end is the end of the packet */
    ssize_t                    (*read)(void *data, u_char *buf, size_t size);

    /* NGX_HTTP_VMESS_UPLOAD_*, of which only the first is not the last */
    void                       (*tell)(ngx_http_vmess_upload_t *upload,
                                       u_char status);

    /* another worker has the session */
    void                       (*forward)(ngx_http_vmess_upload_t *upload,
                                          ngx_vmess_owner_t *owner);
    void                        *data;

    unsigned                     started:1;  /* something of it was read, */
    unsigned                     taken:1;    /* and the end */
};


/* of a request that is the download */

typedef struct {
    ngx_http_vmess_body_t        body;
    ngx_http_vmess_session_t    *session;    /* NULL once it is closed */
} ngx_http_vmess_download_t;


struct ngx_http_vmess_session_s {
    ngx_vmess_session_node_t     node;
    ngx_http_vmess_ctx_t        *download;   /* NULL until it comes */

    ngx_queue_t                  uploads;    /* in the order of seq */
    ngx_uint_t                   nuploads;
    int64_t                      next;       /* seq to be read */

    ngx_event_t                  timer;      /* while there is no download */
    ngx_event_t                  gap;        /* a packet is missing */
    ngx_msec_t                   timeout;    /* for that */
    ngx_msec_t                   start;
    ngx_msec_t                   delay;

    unsigned                     authentic:1;
    unsigned                     eof:1;
    unsigned                     error:1;
};


/* the session of this worker with that identifier, or NULL */
ngx_http_vmess_session_t *ngx_http_vmess_session_lookup(u_char *sid);

/* the same, created if there is none; NULL: no memory */
ngx_http_vmess_session_t *ngx_http_vmess_session_get(u_char *sid);

/*
 * Makes the session this worker's; NGX_DECLINED if it is another's, or has
 * ended, NGX_ERROR if there are too many, which was logged.
 */
ngx_int_t ngx_http_vmess_session_open(ngx_http_vmess_session_t *s,
    ngx_http_vmess_ctx_t *download);

/* 1 if it is open, at whatever worker */
ngx_uint_t ngx_http_vmess_session_alive(u_char *sid);

/* the client is authentic */
void ngx_http_vmess_session_accept(ngx_http_vmess_session_t *s);

/* ends it, tells its uploads, and frees it */
void ngx_http_vmess_session_close(ngx_http_vmess_session_t *s);

/*
 * Adds an upload; it is told at once if it is a duplicate, or another stream,
 * or one too many
 */
void ngx_http_vmess_session_add(ngx_http_vmess_session_t *s,
    ngx_http_vmess_upload_t *upload);

/* the upload ends before its time */
void ngx_http_vmess_session_drop(ngx_http_vmess_upload_t *upload);

/* there may be something to read; 0 if it is not to be read yet */
ngx_uint_t ngx_http_vmess_session_wake(ngx_http_vmess_upload_t *upload);

/* as c->recv, from the uploads in their order */
ssize_t ngx_http_vmess_session_read(ngx_http_vmess_session_t *s, u_char *buf,
    size_t size);


#endif /* _NGX_HTTP_VMESS_SESSION_H_INCLUDED_ */
