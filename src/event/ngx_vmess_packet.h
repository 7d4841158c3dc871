
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PACKET_H_INCLUDED_
#define _NGX_VMESS_PACKET_H_INCLUDED_


#include "ngx_vmess_connection.h"


/*
 * The layer of a flow of datagrams, in c->recv and c->send_chain: a chunk is a
 * datagram (VMess, "UDP").
 *
 * recv returns one datagram; a datagram larger than the room is dropped.  The
 * end of the client's data ends the session: it sets c->close.
 *
 * With vc->packetaddr the client names the peer of each datagram, and is told
 * the peer of each answer.  With vc->cone the peer is a ngx_vmess_peer_t in
 * front of the datagram here; without it, all datagrams go to the first peer.
 *
 * send takes everything it is given.  It drops what the client does not take
 * at once, as a network would, and what does not fit a chunk.
 */

ssize_t ngx_vmess_packet_recv(ngx_connection_t *c, u_char *buf, size_t size);
ngx_chain_t *ngx_vmess_packet_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);


#endif /* _NGX_VMESS_PACKET_H_INCLUDED_ */
