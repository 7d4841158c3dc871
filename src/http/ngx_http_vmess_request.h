
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_REQUEST_H_INCLUDED_
#define _NGX_HTTP_VMESS_REQUEST_H_INCLUDED_


#include "ngx_vmess.h"
#include <ngx_http.h>
#include "event/ngx_vmess_vconn.h"
#include "ngx_http_vmess_compat.h"
#include "ngx_http_vmess_filter.h"


#define NGX_HTTP_VMESS_WEBSOCKET    0x0002
#define NGX_HTTP_VMESS_HTTPUPGRADE  0x0004
#define NGX_HTTP_VMESS_GRPC         0x0008
#define NGX_HTTP_VMESS_HTTP         0x0010
#define NGX_HTTP_VMESS_XHTTP        0x0020


typedef struct {
    ngx_array_t                passes;       /* of ngx_http_vmess_pass_t */
    ngx_array_t               *shares;       /* see ngx_http_vmess_share.c */
} ngx_http_vmess_main_conf_t;


typedef struct {
    ngx_vmess_listen_t       **listen;       /* set after the last merge */
    ngx_uint_t                 transports;
    ngx_str_t                  early_data;   /* name of a header */
    ngx_msec_t                 heartbeat;    /* 0: none */
    void                     **unlimited[2]; /* r->loc_conf of sessions */

    /* the location itself, also in "if" and "limit_except" */
    ngx_http_core_loc_conf_t  *location;
} ngx_http_vmess_loc_conf_t;


/* a "vmess_pass" */

typedef struct {
    ngx_http_vmess_loc_conf_t *vlcf;
    ngx_http_core_srv_conf_t  *cscf;
    u_char                    *file_name;
    ngx_uint_t                 line;
} ngx_http_vmess_pass_t;


/*
 * The states of a request, which only go forward.
 *
 * NEW        no transport has taken it: ngx_http_vmess_request_open()
 * OPEN       it may be the site's yet
 * REFUSED    it is the site's when its virtual connection has gone:
 *            ngx_http_vmess_request_verdict()
 * AUTHENTIC  not answered, but the site will not get it
 * ANSWERED   the response header was sent: ngx_http_vmess_request_send_header()
 * CLOSED     its session has ended, and the response is to:
 *            ngx_http_vmess_request_closed()
 * DECLINED   it is the site's: ngx_http_vmess_request_decline()
 * DONE       it was finalized: ngx_http_vmess_request_finalize()
 */

typedef enum {
    NGX_HTTP_VMESS_NEW = 0,
    NGX_HTTP_VMESS_OPEN,
    NGX_HTTP_VMESS_REFUSED,
    NGX_HTTP_VMESS_AUTHENTIC,
    NGX_HTTP_VMESS_ANSWERED,
    NGX_HTTP_VMESS_CLOSED,
    NGX_HTTP_VMESS_DECLINED,
    NGX_HTTP_VMESS_DONE
} ngx_http_vmess_state_e;


typedef struct ngx_http_vmess_ctx_s  ngx_http_vmess_ctx_t;
typedef struct ngx_http_vmess_saved_s  ngx_http_vmess_saved_t;

typedef void (*ngx_http_vmess_handler_pt)(ngx_http_vmess_ctx_t *ctx);


/* what carries a session, each in its own file; functions may be NULL */

typedef struct {
    ngx_uint_t                 mask;         /* in "vmess_pass" */

    /* warns if it was named in a location or server that cannot have it */
    void                     (*check)(ngx_conf_t *cf,
                                      ngx_http_vmess_pass_t *pass);

    /* 1 if the request may be a client's, as far as its header tells */
    ngx_uint_t               (*candidate)(ngx_http_request_t *r);

    /* takes the candidate, or NGX_DECLINED if it is none of the transport */
    ngx_int_t                (*handler)(ngx_http_request_t *r,
                                        ngx_http_vmess_ctx_t *ctx);

    const ngx_vmess_carrier_t *carrier;

    /* r->read_event_handler */
    void                     (*read)(ngx_http_request_t *r);

    /* sends the response header; NGX_OK or NGX_ERROR */
    ngx_int_t                (*answer)(ngx_http_vmess_ctx_t *ctx);

    /* sends what waits; NGX_OK, NGX_AGAIN, or NGX_ERROR: the client is gone */
    ngx_int_t                (*flush)(ngx_http_vmess_ctx_t *ctx);

    /* makes the request whole again for the site: NGX_DECLINED or a status */
    ngx_int_t                (*decline)(ngx_http_vmess_ctx_t *ctx);

    /*
     * Before the end: NGX_AGAIN if ngx_http_vmess_request_finish() comes later
     */
    ngx_int_t                (*drain)(ngx_http_vmess_ctx_t *ctx);

    /* the last bytes of the response */
    void                     (*finish)(ngx_http_vmess_ctx_t *ctx);

    /* ends what belongs to the transport alone; may be called again */
    void                     (*cleanup)(ngx_http_vmess_ctx_t *ctx);
} ngx_http_vmess_transport_t;


extern const ngx_http_vmess_transport_t  ngx_http_vmess_ws_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_upgrade_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_xhttp_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_grpc_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_h2_transport;
extern const ngx_http_vmess_transport_t  ngx_http_vmess_h2_raw_transport;


/* a request handed over, the owner of a virtual connection */

struct ngx_http_vmess_ctx_s {
    ngx_http_request_t        *request;
    ngx_http_vmess_state_e     state;
    const ngx_http_vmess_transport_t
                              *transport;
    void                      *data;         /* of the transport */

    ngx_vmess_vconn_t         *vconn;        /* NULL once it is closed */
    ngx_int_t                  rewrite;      /* handler passed by, or 0 */
    ngx_http_vmess_saved_t    *saved;        /* before that, or NULL */
    ngx_int_t                  access;       /* what its handler returned */
    u_char                    *pos;          /* behind the request */

    ngx_event_t                event;        /* posted, and never a timer */
    ngx_http_vmess_handler_pt  handler;      /* for it */
    ngx_event_t                timer;        /* of a state, and not posted */
    ngx_http_vmess_handler_pt  timeout;      /* for it */

    unsigned                   explained:1;  /* why no transport takes it */
};


/*
 * The context of a request that a transport has taken, or NULL.  nginx clears
 * r->ctx on internal redirects and when a filter finalizes a request.
 */
ngx_http_vmess_ctx_t *ngx_http_vmess_request_lookup(ngx_http_request_t *r);

/* the transport takes the request; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_request_open(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data);

/*
 * Hands the request, which is open, to the stream server of its location:
 * NGX_DONE, or NGX_DECLINED if the client was found not to be authentic at
 * once, or if no connection is free, and the request is the site's; or a
 * status.
 */
ngx_int_t ngx_http_vmess_request_start(ngx_http_vmess_ctx_t *ctx);

/* both: opens it, and starts it */
ngx_int_t ngx_http_vmess_request_take(ngx_http_vmess_ctx_t *ctx,
    const ngx_http_vmess_transport_t *transport, void *data);

/* what belonged to the last state is over */
void ngx_http_vmess_request_set_state(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_state_e state);

/* calls the handler after so many ms, if the state does not change */
void ngx_http_vmess_request_set_timer(ngx_http_vmess_ctx_t *ctx,
    ngx_http_vmess_handler_pt handler, ngx_msec_t timer);

/* ngx_vmess_carrier_t */
ngx_int_t ngx_http_vmess_request_verdict(void *data, ngx_uint_t authentic);
void ngx_http_vmess_request_close(void *data);

/* handles the event: the session has ended */
void ngx_http_vmess_request_closed(ngx_http_vmess_ctx_t *ctx);

/* the request becomes the site's: NGX_DECLINED or a status, to the phases */
ngx_int_t ngx_http_vmess_request_give_back(ngx_http_vmess_ctx_t *ctx);

/* the same once they have been left: runs them, or ends the request */
void ngx_http_vmess_request_decline(ngx_http_vmess_ctx_t *ctx);

/* ends the response, and the request */
void ngx_http_vmess_request_finish(ngx_http_vmess_ctx_t *ctx);

/* in place of ngx_http_finalize_request() for a request that is open */
void ngx_http_vmess_request_finalize(ngx_http_vmess_ctx_t *ctx, ngx_int_t rc);

/* the client of a session has gone: ends the request */
void ngx_http_vmess_request_client_gone(ngx_http_vmess_ctx_t *ctx);

/* as ngx_http_test_reading(): ends the request if its client has gone */
void ngx_http_vmess_request_test_reading(ngx_http_vmess_ctx_t *ctx);

/* r->read_event_handler and r->write_event_handler */
void ngx_http_vmess_request_read_handler(ngx_http_request_t *r);
void ngx_http_vmess_request_write_handler(ngx_http_request_t *r);

/* answers the client; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_request_answer(ngx_http_vmess_ctx_t *ctx);

/*
 * Sends the response header that is in r->headers_out, without delay;
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_request_send_header(ngx_http_vmess_ctx_t *ctx);

/*
 * Adds a header to those of the response or its trailers, of strings that are
 * terminated and stay; NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_vmess_request_add(ngx_list_t *headers, char *name,
    char *value);

/* a header of the request by its name in lower case, or NULL */
ngx_str_t *ngx_http_vmess_request_header(ngx_http_request_t *r,
    ngx_str_t *name);


extern ngx_module_t  ngx_http_vmess_module;


#endif /* _NGX_HTTP_VMESS_REQUEST_H_INCLUDED_ */
