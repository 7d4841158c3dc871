
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_SESSION_H_INCLUDED_
#define _NGX_HTTP_VMESS_SESSION_H_INCLUDED_


#include "ngx_http_vmess_body.h"


/*
 * XHTTP: the download of a session is one request, the upload is others, which
 * come before it or after it, in any order, on any connection and at any
 * worker.  The worker with the download has the session; others send it what
 * they receive, through links.
 */

#define NGX_HTTP_VMESS_SID_LEN  20           /* SHA-1 of names */
#define NGX_HTTP_VMESS_KEY_LEN  16


/* what an upload is told, also through a link */

#define NGX_HTTP_VMESS_UPLOAD_AUTHENTIC  'A' /* the site will not get it */
#define NGX_HTTP_VMESS_UPLOAD_DONE       'K' /* taken, or not wanted */
#define NGX_HTTP_VMESS_UPLOAD_DECLINED   'D' /* it is the site's */


typedef struct ngx_http_vmess_session_s  ngx_http_vmess_session_t;
typedef struct ngx_http_vmess_upload_s   ngx_http_vmess_upload_t;
typedef struct ngx_http_vmess_link_s     ngx_http_vmess_link_t;


/* a request that brings some or all of the upload of an XHTTP session */

struct ngx_http_vmess_upload_s {
    ngx_queue_t                  queue;
    ngx_http_vmess_session_t    *session;    /* NULL if it is in none */
    int64_t                      seq;        /* NGX_VMESS_XHTTP_NO_SEQ: all */

    /* as c->recv; the end is the end of the packet */
    ssize_t                    (*read)(ngx_http_vmess_upload_t *upload,
                                       u_char *buf, size_t size);

    /* NGX_HTTP_VMESS_UPLOAD_*, of which only the first is not the last */
    void                       (*tell)(ngx_http_vmess_upload_t *upload,
                                       u_char status);
    void                        *data;

    unsigned                     started:1;
    unsigned                     taken:1;
};


/* of a request of XHTTP */

typedef struct {
    ngx_http_vmess_body_t        body;
    ngx_http_vmess_session_t    *session;    /* of which it is the download */
    ngx_http_vmess_upload_t      upload;
    ngx_http_vmess_link_t       *link;       /* for the upload */

    unsigned                     done:1;     /* the upload was told so */
    unsigned                     error:1;
} ngx_http_vmess_xhttp_t;


typedef struct {
    ngx_rbtree_node_t            node;
    u_char                       sid[NGX_HTTP_VMESS_SID_LEN];
} ngx_http_vmess_sid_t;


struct ngx_http_vmess_session_s {
    ngx_http_vmess_sid_t         id;
    ngx_http_vmess_ctx_t        *download;   /* NULL until it comes */

    ngx_queue_t                  uploads;    /* in the order of seq */
    ngx_uint_t                   nuploads;
    int64_t                      next;       /* seq to be read */

    ngx_event_t                  timer;      /* while there is no download */
    ngx_msec_t                   start;
    ngx_msec_t                   delay;

    unsigned                     authentic:1;
    unsigned                     eof:1;
    unsigned                     error:1;
};


/* the zone of all workers' sessions: creates it, and uses it in a worker */
ngx_int_t ngx_http_vmess_session_add_zone(ngx_conf_t *cf,
    ngx_http_vmess_main_conf_t *vmcf);
void ngx_http_vmess_session_init(ngx_shm_zone_t *zone);

/* random bytes of the zone, NGX_HTTP_VMESS_KEY_LEN of them */
u_char *ngx_http_vmess_session_key(void);

/*
 * The session of this worker with that identifier; one that has none is
 * created.  NULL: no memory.
 */
ngx_http_vmess_session_t *ngx_http_vmess_session_get(u_char *sid);
ngx_http_vmess_session_t *ngx_http_vmess_session_lookup(u_char *sid);

/*
 * Makes the session this worker's; NGX_DECLINED if it is another's, or has
 * ended, NGX_ERROR if the zone is full, which was logged.
 */
ngx_int_t ngx_http_vmess_session_open(ngx_http_vmess_session_t *s,
    ngx_http_vmess_ctx_t *download);

/* the worker that has it, 0 if it has ended, NGX_ERROR if there is none */
ngx_pid_t ngx_http_vmess_session_owner(u_char *sid);

/* the client is authentic */
void ngx_http_vmess_session_accept(ngx_http_vmess_session_t *s);

void ngx_http_vmess_session_close(ngx_http_vmess_session_t *s);

/*
 * Adds an upload; it is told at once if it is a duplicate, or another stream,
 * or one too many
 */
void ngx_http_vmess_upload_add(ngx_http_vmess_session_t *s,
    ngx_http_vmess_upload_t *upload);

/* the upload ends before its time */
void ngx_http_vmess_upload_abort(ngx_http_vmess_upload_t *upload);

/* there may be something to read; 0 if it is not to be read yet */
ngx_uint_t ngx_http_vmess_upload_wake(ngx_http_vmess_upload_t *upload);

/* as c->recv, from the uploads in their order */
ssize_t ngx_http_vmess_session_read(ngx_http_vmess_session_t *s, u_char *buf,
    size_t size);


/* opens the socket of this worker; without it sessions stay at one worker */
void ngx_http_vmess_link_init(ngx_cycle_t *cycle);

/*
 * Sends the upload of a request to the worker that has the session; the
 * upload is told what that session says.
 */
void ngx_http_vmess_link_connect(ngx_http_vmess_ctx_t *ctx, ngx_pid_t pid,
    u_char *sid);

/* there may be more of the body to send */
void ngx_http_vmess_link_pump(ngx_http_vmess_link_t *link);
void ngx_http_vmess_link_close(ngx_http_vmess_link_t *link);


#endif /* _NGX_HTTP_VMESS_SESSION_H_INCLUDED_ */
