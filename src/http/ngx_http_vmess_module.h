
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_MODULE_H_INCLUDED_
#define _NGX_HTTP_VMESS_MODULE_H_INCLUDED_


#include "ngx_vmess.h"
#include <ngx_http.h>
#include "event/ngx_vmess_vconn.h"
#include "proto/ngx_vmess_ws.h"
#include "proto/ngx_vmess_grpc.h"
#include "ngx_http_vmess_compat.h"


#define NGX_HTTP_VMESS_WEBSOCKET    0x0002
#define NGX_HTTP_VMESS_HTTPUPGRADE  0x0004
#define NGX_HTTP_VMESS_GRPC         0x0008
#define NGX_HTTP_VMESS_HTTP         0x0010
#define NGX_HTTP_VMESS_XHTTP        0x0020


typedef struct {
    ngx_shm_zone_t            *zone;         /* of XHTTP sessions, or NULL */
    ngx_uint_t                 passes;       /* there is a "vmess_pass" */
} ngx_http_vmess_main_conf_t;


typedef struct {
    ngx_vmess_listen_t       **listen;       /* set after the last merge */
    ngx_uint_t                 transports;
    ngx_str_t                  early_data;   /* name of a header */
    ngx_msec_t                 heartbeat;    /* 0: none */
    void                     **unlimited;    /* r->loc_conf of sessions */
} ngx_http_vmess_loc_conf_t;


typedef struct ngx_http_vmess_ctx_s      ngx_http_vmess_ctx_t;
typedef struct ngx_http_vmess_session_s  ngx_http_vmess_session_t;
typedef struct ngx_http_vmess_upload_s   ngx_http_vmess_upload_t;
typedef struct ngx_http_vmess_link_s     ngx_http_vmess_link_t;


/* a request that brings some or all of the upload of an XHTTP session */

struct ngx_http_vmess_upload_s {
    ngx_queue_t                queue;
    ngx_http_vmess_session_t  *session;      /* NULL if it is in none */
    int64_t                    seq;          /* NGX_VMESS_XHTTP_NO_SEQ: all */

    /* as c->recv; the end is the end of the packet */
    ssize_t                  (*read)(ngx_http_vmess_upload_t *upload,
                                     u_char *buf, size_t size);

    /* NGX_HTTP_VMESS_UPLOAD_*, of which only the first is not the last */
    void                     (*tell)(ngx_http_vmess_upload_t *upload,
                                     u_char status);
    void                      *data;

    unsigned                   started:1;
    unsigned                   taken:1;
};


/* a request handed over, the owner of a virtual connection */

struct ngx_http_vmess_ctx_s {
    ngx_http_request_t        *request;
    ngx_vmess_vconn_t         *vconn;        /* NULL once it is closed */
    ngx_int_t                  rewrite;      /* handler passed by, or 0 */
    ngx_event_t                closed;
    ngx_event_t                late;         /* to answer, end or ping */

    /* sends the response header; NGX_OK or NGX_ERROR */
    ngx_int_t                (*answer)(ngx_http_vmess_ctx_t *ctx);

    /* the session has ended: the last bytes, may be NULL */
    void                     (*finish)(ngx_http_vmess_ctx_t *ctx);

    ngx_str_t                  early;        /* data not read yet */

    /* WebSocket */

    ngx_str_t                  key;
    ngx_str_t                  protocol;     /* to be echoed */
    ngx_vmess_ws_t             ws;
    u_char                     header[NGX_VMESS_WS_HEADER_MAX];
    size_t                     header_len;   /* at its end, to be sent */
    size_t                     left;         /* of the frame being sent */
    u_char                     control[NGX_VMESS_WS_HEADER_MAX
                                       + NGX_VMESS_WS_CONTROL_MAX];
    u_char                    *control_pos;
    u_char                    *control_last;

    /* a session in bodies */

    void                     **loc_conf;     /* of the site */
    ngx_chain_t               *saved;        /* while the site may get it */
    ngx_chain_t               *saved_last;
    off_t                      saved_size;
    ngx_buf_t                  out;
    ngx_chain_t                out_chain;
    ngx_vmess_grpc_t           grpc;

    /* XHTTP */

    ngx_http_vmess_session_t  *session;      /* of which it is the download */
    ngx_http_vmess_upload_t    upload;
    ngx_http_vmess_link_t     *link;         /* for the upload */

    unsigned                   tried:1;
    unsigned                   body:1;
    unsigned                   authentic:1;
    unsigned                   done:1;
    unsigned                   answered:1;
    unsigned                   declined:1;
    unsigned                   eof:1;
    unsigned                   error:1;
};


/*
 * Hands the request to the stream server of its location: NGX_DONE, or
 * NGX_DECLINED if the client was found not to be authentic at once, or if no
 * connection is free, and the request is the site's; or a status.
 */
ngx_int_t ngx_http_vmess_start(ngx_http_vmess_ctx_t *ctx,
    const ngx_vmess_carrier_t *carrier);

/* ngx_vmess_carrier_t */
ngx_int_t ngx_http_vmess_verdict(void *data, ngx_uint_t authentic);
void ngx_http_vmess_close(void *data);

/* the request becomes the site's; the last when its body is whole again */
void ngx_http_vmess_decline(ngx_http_vmess_ctx_t *ctx);
void ngx_http_vmess_go_on(ngx_http_vmess_ctx_t *ctx);

/* of the request with the context */
void ngx_http_vmess_cleanup(void *data);
void ngx_http_vmess_write_handler(ngx_http_request_t *r);

/* the client of a session in bodies has gone: ends the request */
void ngx_http_vmess_client_gone(ngx_http_request_t *r);

/*
 * Sends the response header that is in r->headers_out, without delay;
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_send_header(ngx_http_vmess_ctx_t *ctx);

/*
 * Adds a header to those of the response or its trailers, of strings that are
 * terminated and stay; NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_add_header(ngx_list_t *headers, char *name,
    char *value);

/* a header of the request by its name in lower case, or NULL */
ngx_str_t *ngx_http_vmess_header(ngx_http_request_t *r, ngx_str_t *name);

/* a transport: NGX_DECLINED if the request is none of it */
ngx_int_t ngx_http_vmess_ws_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);

/* sends a control frame that waits; NGX_OK, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_http_vmess_ws_send_control(ngx_http_vmess_ctx_t *ctx);

ngx_int_t ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);

/* 1 if the request asks for "Connection: upgrade", "Upgrade: websocket" */
ngx_uint_t ngx_http_vmess_upgrade_test(ngx_http_request_t *r);

/* as ngx_http_vmess_send_header(), "101 Switching Protocols" */
ngx_int_t ngx_http_vmess_upgrade_answer(ngx_http_vmess_ctx_t *ctx);

ngx_int_t ngx_http_vmess_xhttp_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
ngx_uint_t ngx_http_vmess_xhttp_candidate(ngx_http_request_t *r);
ngx_int_t ngx_http_vmess_grpc_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
ngx_int_t ngx_http_vmess_h2_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);

/* a session on the connection itself, which ends with it */
void ngx_http_vmess_raw_open(ngx_http_vmess_ctx_t *ctx);

/*
 * Reads from the client, what nginx has read already first; returns as
 * c->recv
 */
ssize_t ngx_http_vmess_raw_read(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* writes to the client; bytes or NGX_AGAIN or NGX_ERROR */
ssize_t ngx_http_vmess_raw_write(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* recv and send of a session in bytes as they are */
ssize_t ngx_http_vmess_raw_recv(void *data, u_char *buf, size_t size);
ssize_t ngx_http_vmess_raw_send(void *data, u_char *buf, size_t size);

/*
 * A session in the body of the request, read without buffering, and that of
 * the response.  Opens the former: NGX_OK, or a status.
 */
ngx_int_t ngx_http_vmess_body_open(ngx_http_vmess_ctx_t *ctx);

/* opens it and starts the session, as ngx_http_vmess_start() */
ngx_int_t ngx_http_vmess_body_start(ngx_http_vmess_ctx_t *ctx,
    const ngx_vmess_carrier_t *carrier);

/* reads from the body of the request; returns as c->recv */
ssize_t ngx_http_vmess_body_read(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/*
 * Writes to the body of the response; takes all, NGX_HTTP_VMESS_BODY_MAX bytes
 * and a header of a frame at most, or nothing: returns as c->send
 */
ssize_t ngx_http_vmess_body_write(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

#define NGX_HTTP_VMESS_BODY_MAX  (64 * 1024)

/* recv and send of a session in bodies as they are */
ssize_t ngx_http_vmess_body_recv(void *data, u_char *buf, size_t size);
ssize_t ngx_http_vmess_body_send(void *data, u_char *buf, size_t size);

/* NGX_OK if all that was taken is sent, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_http_vmess_body_flush(ngx_http_vmess_ctx_t *ctx);

/* the site will not get what was read */
void ngx_http_vmess_body_forget(ngx_http_vmess_ctx_t *ctx);

/* the session has ended: ends the request */
void ngx_http_vmess_body_close(ngx_http_vmess_ctx_t *ctx);

/* ends the response */
void ngx_http_vmess_body_finish(ngx_http_vmess_ctx_t *ctx);

/*
 * The request becomes the site's, for which its body must be whole:
 * NGX_DECLINED if it is, NGX_DONE if the rest comes later, or a status
 */
ngx_int_t ngx_http_vmess_body_restore(ngx_http_vmess_ctx_t *ctx);


extern ngx_module_t  ngx_http_vmess_module;


#endif /* _NGX_HTTP_VMESS_MODULE_H_INCLUDED_ */
