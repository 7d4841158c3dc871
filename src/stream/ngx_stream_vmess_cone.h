
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_CONE_H_INCLUDED_
#define _NGX_STREAM_VMESS_CONE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * Prepares the socket of a session of datagrams, if the upstream is
 * "vmess_target" and its addresses are known.  It is connected to no peer:
 * what comes from any address is an answer, unless "vmess_udp_filter" is on.
 * If the client names the peer of each datagram (XUDP, packetaddr), datagrams
 * have their peers in front of them on their way through the proxy module.
 */
void ngx_stream_vmess_cone_init(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_CONE_H_INCLUDED_ */
