
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PACKET_H_INCLUDED_
#define _NGX_VMESS_PACKET_H_INCLUDED_


#include "ngx_vmess_connection.h"


/*
 * The layer of a flow of datagrams, in c->recv and c->send_chain: a chunk is
 * a datagram (VMess, "UDP").
 *
 * recv takes one datagram; one that is larger than the room is dropped.  The
 * end of the client's data ends the session: it sets c->close.
 *
 * With vc->packetaddr the client tells the peer of each datagram, and is told
 * that of each answer; with vc->cone it is a ngx_vmess_peer_t in front of the
 * datagram here, and otherwise the first peer is that of all.
 *
 * send takes all that it is given, and drops what the client does not take at
 * once, as a network does, and what a chunk cannot hold.
 */

ssize_t ngx_vmess_packet_recv(ngx_connection_t *c, u_char *buf, size_t size);
ngx_chain_t *ngx_vmess_packet_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);


#endif /* _NGX_VMESS_PACKET_H_INCLUDED_ */
