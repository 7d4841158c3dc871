
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHARE_H_INCLUDED_
#define _NGX_VMESS_SHARE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/* the longest fields, in bytes; a longer name is cut */

#define NGX_VMESS_SHARE_NAME_MAX   255
#define NGX_VMESS_SHARE_FIELD_MAX  255
#define NGX_VMESS_SHARE_PATH_MAX   1024

/* no link, and no entry of a configuration, is longer than this */

#define NGX_VMESS_SHARE_TEXT_MAX   16384


typedef enum {
    NGX_VMESS_SHARE_TCP = 0,
    NGX_VMESS_SHARE_TCP_HTTP,      /* vmess_http_header */
    NGX_VMESS_SHARE_WS,
    NGX_VMESS_SHARE_HTTPUPGRADE,
    NGX_VMESS_SHARE_GRPC,
    NGX_VMESS_SHARE_H2,
    NGX_VMESS_SHARE_XHTTP,
    NGX_VMESS_SHARE_KCP,
    NGX_VMESS_SHARE_QUIC,
    NGX_VMESS_SHARE_TRANSPORTS
} ngx_vmess_share_transport_e;


typedef enum {
    NGX_VMESS_SHARE_AUTO = 0,
    NGX_VMESS_SHARE_AES_128_GCM,
    NGX_VMESS_SHARE_CHACHA20,
    NGX_VMESS_SHARE_NONE,
    NGX_VMESS_SHARE_ZERO,
    NGX_VMESS_SHARE_SECURITIES
} ngx_vmess_share_security_e;


/*
 * What a client needs for one carrier of one server and one user, who owns the
 * texts.  Fields that do not belong to the transport are not read.
 */

typedef struct {
    ngx_str_t                      name;       /* to show: any text */
    ngx_str_t                      host;       /* name, or an address without
                                                  brackets */
    in_port_t                      port;       /* host byte order */
    u_char                         id[NGX_VMESS_ID_LEN];

    ngx_vmess_share_security_e     security;
    ngx_vmess_share_transport_e    transport;

    ngx_str_t                      path;       /* as in a request; of gRPC the
                                                  name of the service, or that
                                                  of the method: "/a/Name" */
    ngx_str_t                      http_host;  /* Host, or :authority; empty:
                                                  see ngx_vmess_share_host(); of
                                                  mKCP the domain of "dns" */
    ngx_str_t                      mode;       /* of gRPC and XHTTP; empty: what
                                                  clients do by themselves */
    ngx_str_t                      header;     /* the disguise of mKCP, "none"
                                                  if empty */
    ngx_str_t                      seed;       /* of mKCP */
    size_t                         early_data; /* bytes, 0: none; of WebSocket
                                                  and HTTPUpgrade */

    ngx_str_t                      sni;        /* empty: the host */
    ngx_str_t                      alpn;       /* with commas; may be empty */
    ngx_str_t                      fp;         /* the fingerprint a client is
                                                  to show; may be empty */
    unsigned                       tls:1;
} ngx_vmess_share_t;


/* words that most formats have in common */

extern ngx_str_t  ngx_vmess_share_securities[NGX_VMESS_SHARE_SECURITIES];
extern ngx_str_t  ngx_vmess_share_transports[NGX_VMESS_SHARE_TRANSPORTS];


/*
 * Whether fields are what they say, so that they can be in links and
 * configurations: NULL, or what is wrong, to be put behind "the share has".
 * Writers take only what was checked, but for the name, which may change.
 */
const char *ngx_vmess_share_check(ngx_vmess_share_t *share);

/*
 * Makes a name of any text that may be written: without blanks around it, at
 * most NGX_VMESS_SHARE_NAME_MAX bytes, the host's if nothing is left.
 */
void ngx_vmess_share_trim(ngx_vmess_share_t *share);

/* whether it is gRPC with a method of its own, which few clients can have */
ngx_uint_t ngx_vmess_share_has_method(ngx_vmess_share_t *share);

/* what to give explicitly, as clients differ in what they take without it */
ngx_str_t *ngx_vmess_share_sni(ngx_vmess_share_t *share);
ngx_str_t *ngx_vmess_share_host(ngx_vmess_share_t *share);

/*
 * The next of the names in alpn, which is at *p at first NULL.  NGX_OK, or
 * NGX_DONE behind the last.
 */
ngx_int_t ngx_vmess_share_alpn(ngx_vmess_share_t *share, u_char **p,
    ngx_str_t *name);


#endif /* _NGX_VMESS_SHARE_H_INCLUDED_ */
