
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


/* a peer is an address of IPv4 or IPv6 */

static ngx_inline void
ngx_vmess_packet_set_peer(ngx_vmess_peer_t *peer, ngx_sockaddr_t *sa,
    socklen_t socklen)
{
    ngx_memzero(peer, sizeof(ngx_vmess_peer_t));

    peer->socklen = (u_char) socklen;
    ngx_memcpy(peer->sockaddr, sa, socklen);
}


/*
 * Takes the peer off a datagram.  NGX_DECLINED if there is none, as other
 * modules may have changed what is between the two layers: nothing is taken.
 */

static ngx_inline ngx_int_t
ngx_vmess_packet_get_peer(ngx_buf_t *b, ngx_vmess_peer_t *peer)
{
    sa_family_t       family;
    ngx_vmess_peer_t  got;

    if ((size_t) (b->last - b->pos) < sizeof(ngx_vmess_peer_t)) {
        return NGX_DECLINED;
    }

    ngx_memcpy(&got, b->pos, sizeof(ngx_vmess_peer_t));
    ngx_memcpy(&family, got.sockaddr + offsetof(struct sockaddr, sa_family),
               sizeof(sa_family_t));

    switch (got.socklen) {

    case 0:
        break;

    case sizeof(struct sockaddr_in):
        if (family != AF_INET) {
            return NGX_DECLINED;
        }

        break;

#if (NGX_HAVE_INET6)
    case sizeof(struct sockaddr_in6):
        if (family != AF_INET6) {
            return NGX_DECLINED;
        }

        break;
#endif

    default:
        return NGX_DECLINED;
    }

    *peer = got;
    b->pos += sizeof(ngx_vmess_peer_t);

    return NGX_OK;
}


#endif /* _NGX_VMESS_PACKET_H_INCLUDED_ */
