
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_
#define _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_


#include "ngx_vmess_connection.h"
#include "ngx_vmess_worker.h"
#include "ngx_vmess_packet.h"
#include "proto/ngx_vmess_mux.h"


/*
 * One connection of a client with many sub-connections (Mux.Cool), each a
 * virtual connection that is handed to a server.
 *
 * Mux.Cool has no flow control: what a sub-connection does not take is held,
 * up to a limit, and then nothing more is read from the client.
 */

typedef struct ngx_vmess_mux_data_s  ngx_vmess_mux_data_t;


/* a sub-connection, the owner of its virtual connection */

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

    /* XUDP: for a client that comes again */

    ngx_vmess_session_node_t     name;       /* by user and Global ID */
    ngx_vmess_peer_t             peer;       /* of datagrams without one */
    ngx_vmess_user_t            *user;
    ngx_vmess_zone_t            *zone;
    ngx_vmess_listen_t          *listen;     /* its server */
    ngx_event_t                  timer;
    ngx_connection_t            *socket;     /* connected to no peer, or NULL */
    ngx_connection_t            *claim;      /* not started: asks for it */
    ngx_socket_t                 adopted;    /* of the session before, or -1 */

    unsigned                     named:1;
    unsigned                     udp:1;
    unsigned                     xudp:1;     /* each datagram may have a peer */
    unsigned                     waiting:1;
    unsigned                     ended:1;    /* by the client */
} ngx_vmess_mux_flow_t;


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

    off_t                        received;   /* bytes, those taken by */
    off_t                        taken;      /* sub-connections, and those */
    off_t                        sent;       /* sent by them */

    ngx_vmess_mux_t              frame;
    ngx_vmess_mux_flow_t        *flow;       /* of the frame, or NULL */
    ngx_vmess_mux_data_t        *packet;     /* a datagram not yet whole */
    ngx_buf_t                    in;         /* read from the client */

    ngx_buf_t                    out;        /* rest of a frame */
    u_char                      *ends;       /* End frames to be sent */
    size_t                       ends_len;
    ngx_queue_t                  waiting;

    /* closes the connection, after an error or not */
    void                       (*close)(ngx_vmess_mux_connection_t *mux,
                                        ngx_uint_t error);

    unsigned                     held:1;     /* a flow is over its limit */
    unsigned                     revoked:1;  /* its user is gone */
    unsigned                     done:1;
};


/*
 * Takes the connection over, with events of its own.  mux has all fields up to
 * "limit" set, and close; it is in the pool of the connection.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_mux_start(ngx_vmess_mux_connection_t *mux);

/* ends a sub-connection for its client, if it has one, and for its session */
void ngx_vmess_mux_close_flow(ngx_vmess_mux_flow_t *flow);

/* the sub-connection that c is, or NULL */
ngx_vmess_mux_flow_t *ngx_vmess_mux_get_flow(ngx_connection_t *c);


#endif /* _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_ */
