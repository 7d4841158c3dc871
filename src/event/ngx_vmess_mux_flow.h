
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_MUX_FLOW_H_INCLUDED_
#define _NGX_VMESS_MUX_FLOW_H_INCLUDED_


#include "ngx_vmess_connection.h"
#include "ngx_vmess_xudp.h"
#include "ngx_vmess_mux_output.h"
#include "proto/ngx_vmess_mux.h"


/*
 * A sub-connection (Mux.Cool): the owner of a virtual connection that is handed
 * to a server.
 */

typedef struct ngx_vmess_mux_data_s  ngx_vmess_mux_data_t;


typedef struct {
    ngx_rbtree_node_t            node;       /* by id */
    ngx_queue_t                  all;
    ngx_queue_t                  queue;      /* of those that wait to send */
    ngx_vmess_mux_connection_t  *mux;        /* NULL: its client is gone */
    ngx_vmess_vconn_t           *vconn;
    ngx_uint_t                   id;
    ngx_vmess_address_t          address;

    ngx_vmess_mux_data_t        *in;         /* data not read yet */
    ngx_vmess_mux_data_t       **in_last;
    size_t                       held;       /* memory that it takes */
    size_t                       discarded;  /* bytes sent after the end */

    ngx_vmess_xudp_t             xudp;       /* for a client that comes again */
    ngx_vmess_peer_t             peer;       /* of datagrams without one */

    unsigned                     udp:1;
    unsigned                     peers:1;    /* each datagram may have one */
    unsigned                     waiting:1;
    unsigned                     ended:1;    /* by the client */
    unsigned                     refused:1;  /* by a limit of the user */
} ngx_vmess_mux_flow_t;


/* a connection of a client as its sub-connections know it */

struct ngx_vmess_mux_connection_s {
    ngx_connection_t            *connection;
    ngx_vmess_connection_t      *vc;
    ngx_vmess_listen_t          *listen;     /* for sub-connections */
    ngx_uint_t                   max;        /* sub-connections at once */
    size_t                       limit;      /* bytes held for one */

    ngx_rbtree_t                 rbtree;     /* those that are not ended */
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  flows;      /* all, and their number */
    ngx_uint_t                   n;
    ngx_queue_t                  waiting;    /* to send */

    off_t                        received;   /* bytes, and those taken by */
    off_t                        taken;      /* sub-connections */

    ngx_vmess_mux_t              frame;
    ngx_vmess_mux_flow_t        *flow;       /* of the frame, or NULL */
    ngx_vmess_mux_data_t        *packet;     /* a datagram not yet whole */
    ngx_buf_t                    in;         /* read from the client */

    ngx_vmess_mux_output_t       output;

    /* closes the connection, after an error or not */
    void                       (*close)(ngx_vmess_mux_connection_t *mux,
                                        ngx_uint_t error);

    unsigned                     held:1;     /* a flow is over its limit */
    unsigned                     revoked:1;  /* its user is gone */
    unsigned                     done:1;
};


/* a connection without a sub-connection, in ms; clients do it after 16 s */
#define NGX_VMESS_MUX_FLOW_IDLE  60000


/* the sub-connection that c is, or NULL */
ngx_vmess_mux_flow_t *ngx_vmess_mux_flow_get(ngx_connection_t *c);

/* its bytes count for the rate of the user from now on */
void ngx_vmess_mux_flow_limit(ngx_connection_t *c);

/* that of an id, NULL if there is none that its client has not ended */
ngx_vmess_mux_flow_t *ngx_vmess_mux_flow_find(ngx_vmess_mux_connection_t *mux,
    ngx_uint_t id);

/*
 * Opens the sub-connection of a frame New and hands it to its server, which may
 * close it at once.  NGX_OK, NGX_DECLINED: there was no connection for it, or
 * NGX_ERROR.
 */
ngx_int_t ngx_vmess_mux_flow_open(ngx_vmess_mux_connection_t *mux);

/* the client comes again on this connection, with that frame and its peer */
void ngx_vmess_mux_flow_move(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_mux_connection_t *mux, ngx_vmess_peer_t *peer);

/*
 * The peer of a datagram, none if it is the target of the flow.  NGX_DECLINED:
 * it has another name, which cannot be resolved here.
 */
ngx_int_t ngx_vmess_mux_flow_peer(ngx_vmess_mux_flow_t *flow,
    ngx_vmess_address_t *address, ngx_vmess_peer_t *peer);

/*
 * Takes data of the frame from mux->in, for mux->flow if it is set.  A datagram
 * is kept whole, or dropped if there is no room: it holds up nothing.  NGX_OK
 * or NGX_ERROR.
 */
ngx_int_t ngx_vmess_mux_flow_deliver(ngx_vmess_mux_connection_t *mux);

/* the client has ended it, with an error or not */
void ngx_vmess_mux_flow_end(ngx_vmess_mux_flow_t *flow, ngx_uint_t error);

/* ends it for its client, if it has one, and for its session */
void ngx_vmess_mux_flow_abort(void *data);

/* the connection can be written to: those that wait may send */
void ngx_vmess_mux_flow_wake(ngx_vmess_mux_connection_t *mux);

/* the connection goes, and all that is in it */
void ngx_vmess_mux_flow_leave(ngx_vmess_mux_connection_t *mux);


#endif /* _NGX_VMESS_MUX_FLOW_H_INCLUDED_ */
