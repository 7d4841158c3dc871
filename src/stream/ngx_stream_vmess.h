
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_H_INCLUDED_
#define _NGX_STREAM_VMESS_H_INCLUDED_


#include "ngx_vmess.h"
#include <ngx_stream.h>
#include "event/ngx_vmess_connection.h"
#include "event/ngx_vmess_mux_connection.h"
#include "event/ngx_vmess_kcp_socket.h"


#define NGX_STREAM_VMESS_AES_128_GCM  0x0002
#define NGX_STREAM_VMESS_CHACHA20     0x0004
#define NGX_STREAM_VMESS_NONE         0x0008
#define NGX_STREAM_VMESS_ZERO         0x0010
#define NGX_STREAM_VMESS_CFB          0x0020

#define NGX_STREAM_VMESS_TCP          0x0002
#define NGX_STREAM_VMESS_UDP          0x0004
#define NGX_STREAM_VMESS_MUX          0x0008


/* addresses of a name: which are used, and which are tried first */

#define NGX_STREAM_VMESS_ANY          0
#define NGX_STREAM_VMESS_IPV4         1
#define NGX_STREAM_VMESS_IPV6         2
#define NGX_STREAM_VMESS_PREFER_IPV4  3
#define NGX_STREAM_VMESS_PREFER_IPV6  4


typedef struct ngx_stream_vmess_contacts_s   ngx_stream_vmess_contacts_t;
typedef struct ngx_stream_vmess_visit_s      ngx_stream_vmess_visit_t;
typedef struct ngx_stream_vmess_quic_conf_s  ngx_stream_vmess_quic_conf_t;


typedef struct {
    ngx_stream_handler_pt          limit_handler;    /* of "limit_conn" */
    void                         **limit_conf;       /* its srv_conf */
    ngx_shm_zone_t                *loop_zone;
    ngx_stream_content_handler_pt  proxy_handler;    /* of "proxy_pass" */

    ngx_array_t                    addrs;            /* of this machine,
                                                        16 bytes each */
    ngx_uint_t                     ipv6;             /* one is a public one */
    ngx_uint_t                     off;              /* "vmess off" is there */

} ngx_stream_vmess_main_conf_t;


typedef struct {
    ngx_str_t                      zone_name;    /* "off": none */
    ngx_vmess_zone_t              *zone;

    ngx_str_t                      listen;

    ngx_str_t                      fallback;     /* "off": none */
    ngx_stream_core_srv_conf_t    *fallback_server;

    ngx_uint_t                     ciphers;
    ngx_uint_t                     commands;

    ngx_vmess_listen_t             flows;        /* of mux */
    ngx_vmess_listen_t             sessions;     /* of mKCP */
    ngx_uint_t                     mux_streams;
    size_t                         mux_buffer;
    ngx_uint_t                     factor;           /* thousandths */
    ngx_flag_t                     udp_filter;

    ngx_vmess_kcp_socket_conf_t   *kcp;          /* NULL: none */
    ngx_stream_vmess_quic_conf_t  *quic;         /* NULL: none */

    ngx_vmess_http_conf_t         *disguise;     /* NULL: none */
    ngx_msec_t                     disguise_wait;

    in_port_t                      detour_from;  /* 0: none */
    in_port_t                      detour_to;
    time_t                         detour_refresh;
    ngx_msec_t                     handshake_timeout;

    ngx_array_t                   *rules;        /* ngx_stream_vmess_rule_t */
    ngx_stream_complex_value_t    *resolve;
    ngx_uint_t                     family;       /* NGX_STREAM_VMESS_... */

    ngx_array_t                   *offers;       /* of ngx_vmess_offer_t *,
                                                    NULL: none */

    u_char                        *file_name;    /* of "vmess" */
    ngx_uint_t                     line;

    char                          *unused;       /* a directive without it */
} ngx_stream_vmess_srv_conf_t;


/* the session of a server with "vmess"; kept when it goes to a fallback */

typedef struct {
    ngx_vmess_connection_t        *vc;
    ngx_stream_vmess_srv_conf_t   *conf;         /* of that server */

    ngx_str_t                      carrier;
    ngx_str_t                      network;      /* "tcp", "udp", or empty */
    ngx_atomic_uint_t              number;       /* of the carrier */
    ngx_uint_t                     mux_id;
    ngx_uint_t                     status;       /* for $status, or zero */

    ngx_msec_t                     deadline;     /* of the handshake */
    ngx_stream_vmess_visit_t      *visit;        /* NULL: none */

    /* a fallback that leads back */

    ngx_uint_t                     hops;         /* fallbacks in a row */
    ngx_atomic_uint_t              noted;        /* number of the upstream's
                                                    connection */
    ngx_atomic_uint_t              note;         /* in its slot, */
    ngx_atomic_t                  *slot;         /* or NULL */

    /* the target */

    ngx_recv_pt                    recv;         /* of a rate, or NULL */
    ngx_resolver_ctx_t            *resolver;
    ngx_resolver_addr_t           *addrs;        /* those permitted */
    ngx_uint_t                     naddrs;
    ngx_str_t                      host;         /* text, no brackets */
    ngx_str_t                      addr;         /* text of addrs[0] */
    ngx_sockaddr_t                 peer;         /* of the last datagram */
    socklen_t                      peer_len;
    ngx_stream_vmess_contacts_t   *contacts;     /* "vmess_udp_filter" */
    ngx_str_t                      refusal;      /* why it has no addrs */
    ngx_vmess_status_e             refused;      /* and in one word */

    unsigned                       mux:1;        /* a sub-connection */
    unsigned                       udp:1;
    unsigned                       mapped:1;     /* its socket is of IPv6 */
    unsigned                       moved:1;
    unsigned                       returned:1;   /* a visitor is authentic */
    unsigned                       draining:1;
    unsigned                       hurried:1;    /* see "wait=" */
    unsigned                       forbidden:1;  /* some datagrams were */
    unsigned                       waiting:1;    /* for the first datagram */
    unsigned                       preread_ended:1;
    unsigned                       async:1;
    unsigned                       done:1;
} ngx_stream_vmess_ctx_t;


extern ngx_module_t  ngx_stream_vmess_module;


#endif /* _NGX_STREAM_VMESS_H_INCLUDED_ */
