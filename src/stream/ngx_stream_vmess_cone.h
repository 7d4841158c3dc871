
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_CONE_H_INCLUDED_
#define _NGX_STREAM_VMESS_CONE_H_INCLUDED_


#include "ngx_stream_vmess_module.h"


/*
 * A session of datagrams to and from any peer (XUDP): one socket, connected to
 * none.  Through the proxy module each datagram has its peer in front of it.
 * Called when the upstream is "vmess_target" and its peers are known.
 */
void ngx_stream_vmess_cone_init(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_CONE_H_INCLUDED_ */
