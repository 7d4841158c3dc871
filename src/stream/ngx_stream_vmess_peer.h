
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_PEER_H_INCLUDED_
#define _NGX_STREAM_VMESS_PEER_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * Makes the addresses of a target the peers of its session, tried in their
 * order.  A stream does not wait for one to fail: while it connects, others are
 * tried as well, and the first that is connected is used.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_stream_vmess_peer_init(ngx_stream_session_t *s);

/*
 * A datagram is about to be sent to the target: as long as nothing has come
 * from an address, later ones go to the next.
 */
void ngx_stream_vmess_peer_datagram(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_PEER_H_INCLUDED_ */
