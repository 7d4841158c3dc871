
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_MODULE_H_INCLUDED_
#define _NGX_HTTP_VMESS_MODULE_H_INCLUDED_


#include "ngx_vmess.h"
#include <ngx_http.h>
#include "event/ngx_vmess_vconn.h"
#include "proto/ngx_vmess_ws.h"


#define NGX_HTTP_VMESS_WEBSOCKET    0x0002
#define NGX_HTTP_VMESS_HTTPUPGRADE  0x0004


typedef struct {
    ngx_vmess_listen_t       **listen;       /* set after the last merge */
    ngx_uint_t                 transports;
    ngx_str_t                  early_data;   /* name of a header */
} ngx_http_vmess_loc_conf_t;


typedef struct ngx_http_vmess_ctx_s  ngx_http_vmess_ctx_t;


/* a request handed over, the owner of a virtual connection */

struct ngx_http_vmess_ctx_s {
    ngx_http_request_t        *request;
    ngx_vmess_vconn_t         *vconn;        /* NULL once it is closed */
    ngx_event_t                closed;

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

    unsigned                   answered:1;
    unsigned                   declined:1;
    unsigned                   eof:1;
    unsigned                   error:1;
};


/*
 * Hands the request to the stream server of its location: NGX_DONE, or
 * NGX_DECLINED if the client was found not to be authentic at once, and the
 * request is the site's; or a status.
 */
ngx_int_t ngx_http_vmess_start(ngx_http_vmess_ctx_t *ctx,
    const ngx_vmess_carrier_t *carrier);

/* ngx_vmess_carrier_t */
ngx_int_t ngx_http_vmess_verdict(void *data, ngx_uint_t authentic);
void ngx_http_vmess_close(void *data);

/*
 * Sends "101 Switching Protocols" with what is in r->headers_out;
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_switch(ngx_http_vmess_ctx_t *ctx);

/*
 * Reads from the client, what nginx has read already first; returns as
 * c->recv
 */
ssize_t ngx_http_vmess_read_client(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* writes to the client; bytes or NGX_AGAIN or NGX_ERROR */
ssize_t ngx_http_vmess_write_client(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* early data into buf, of which there must be some */
ssize_t ngx_http_vmess_read_early(ngx_http_vmess_ctx_t *ctx, u_char *buf,
    size_t size);

/* a header of the request by its name in lower case, or NULL */
ngx_str_t *ngx_http_vmess_header(ngx_http_request_t *r, ngx_str_t *name);

/* 1 if the request asks for "Connection: upgrade", "Upgrade: websocket" */
ngx_uint_t ngx_http_vmess_is_upgrade(ngx_http_request_t *r);

/* a transport: NGX_DECLINED if the request is none of it */
ngx_int_t ngx_http_vmess_ws_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);

/* sends a control frame that waits; NGX_OK, NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_http_vmess_ws_send_control(ngx_http_vmess_ctx_t *ctx);

ngx_int_t ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);


extern ngx_module_t  ngx_http_vmess_module;


#endif /* _NGX_HTTP_VMESS_MODULE_H_INCLUDED_ */
