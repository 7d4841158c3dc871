
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_SESSION_H_INCLUDED_
#define _NGX_VMESS_KCP_SESSION_H_INCLUDED_


#include "ngx_vmess_vconn.h"
#include "proto/ngx_vmess_kcp_packet.h"
#include "proto/ngx_vmess_kcp.h"


/* the largest datagram */
#define NGX_VMESS_KCP_DATAGRAM  65535

/* conv and the peer's address */
#define NGX_VMESS_KCP_KEY       (sizeof(uint16_t) + sizeof(ngx_sockaddr_t))


typedef struct ngx_vmess_kcp_source_s  ngx_vmess_kcp_source_t;


typedef struct {
    ngx_vmess_kcp_conf_t       kcp;
    ngx_uint_t                 seal;         /* NGX_VMESS_KCP_SEAL_... */
    ngx_str_t                  seed;
    ngx_uint_t                 header;       /* NGX_VMESS_KCP_HEADER_... */
    ngx_str_t                  domain;

    ngx_uint_t                 max;          /* sessions of a socket, */
    ngx_uint_t                 max_source;   /* and of an address in it */

    ngx_vmess_listen_t        *listen;       /* for sessions */
} ngx_vmess_kcp_socket_conf_t;


typedef struct {
    ngx_vmess_kcp_socket_conf_t *conf;
    ngx_listening_t             *listening;
    ngx_connection_t            *connection;  /* to send, a descriptor of its
                                                 own */
    ngx_vmess_kcp_packet_t       packet;

    ngx_rbtree_t                 sessions;
    ngx_rbtree_node_t            sessions_sentinel;
    ngx_rbtree_t                 sources;
    ngx_rbtree_node_t            sources_sentinel;
    ngx_queue_t                  all;

    /* those that end for others, in this order */

    ngx_queue_t                  ended;       /* without a source */
    ngx_queue_t                  fresh;       /* their peer may be anybody */
    ngx_queue_t                  proved;      /* it has its address */

    ngx_uint_t                   n;
    ngx_uint_t                   max;
    ngx_event_t                  quit;
} ngx_vmess_kcp_socket_t;


typedef struct {
    ngx_str_node_t               node;
    u_char                       key[NGX_VMESS_KCP_KEY];
    ngx_queue_t                  all;
    ngx_queue_t                  queue;       /* one of these, or none */
    ngx_vmess_kcp_socket_t      *socket;
    ngx_vmess_kcp_source_t      *source;      /* NULL: it has ended, and only
                                                 tells the peer */
    ngx_vmess_vconn_t           *vconn;       /* NULL: it has closed */
    ngx_vmess_kcp_t              kcp;
    ngx_event_t                  event;       /* something is to be sent */
    ngx_uint_t                   proved;

    ngx_sockaddr_t               sockaddr;
    socklen_t                    socklen;
    ngx_sockaddr_t               local;       /* as long as the socket's */
} ngx_vmess_kcp_session_t;


/*
 * Returns the session of a datagram that came from sockaddr to local and starts
 * with seg; a new one, if seg may start it and there is room.  NULL if not.
 */
ngx_vmess_kcp_session_t *ngx_vmess_kcp_session_get(ngx_vmess_kcp_socket_t *ks,
    ngx_vmess_kcp_segment_t *seg, ngx_sockaddr_t *sockaddr, socklen_t socklen,
    ngx_sockaddr_t *local);

/* takes the segments of a datagram */
void ngx_vmess_kcp_session_input(ngx_vmess_kcp_session_t *ksn,
    ngx_str_t *segments);

/* ends all sessions of a socket at once: each peer is told, if it may be */
void ngx_vmess_kcp_session_terminate_all(ngx_vmess_kcp_socket_t *ks);


#endif /* _NGX_VMESS_KCP_SESSION_H_INCLUDED_ */
