
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PEER_H_INCLUDED_
#define _NGX_VMESS_PEER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The peer of a datagram, in front of it between a client that tells it and a
 * socket that is connected to none; socklen is 0 for the target of the flow.
 */

typedef struct {
    u_char    socklen;
    u_char    sockaddr[31];
} ngx_vmess_peer_t;


/*
 * Takes the peer off a datagram.  NGX_OK, or NGX_DECLINED if there is none, as
 * other modules may have changed what is between the two layers: nothing is
 * taken, and peer is left alone.
 */
ngx_int_t ngx_vmess_peer_parse(ngx_vmess_peer_t *peer, ngx_buf_t *b);

/* creates the record of an address of IPv4 or IPv6 */
void ngx_vmess_peer_create(ngx_vmess_peer_t *peer, ngx_sockaddr_t *sa,
    socklen_t socklen);


#endif /* _NGX_VMESS_PEER_H_INCLUDED_ */
