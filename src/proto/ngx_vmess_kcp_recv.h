
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_RECV_H_INCLUDED_
#define _NGX_VMESS_KCP_RECV_H_INCLUDED_


#include "ngx_vmess_kcp_types.h"


/* What the peer sends: its segments, until they are read, and Acks of them. */

/*
 * Reads up to size bytes, which is not 0.  Afterwards there may be a window to
 * announce: see ngx_vmess_kcp_wakeup().
 *
 * > 0        bytes read
 * 0          the peer, or we, closed the session, and all was read
 * NGX_AGAIN  nothing yet
 * NGX_ERROR  kcp->err says why the rest will not come
 */
ssize_t ngx_vmess_kcp_recv(ngx_vmess_kcp_t *kcp, u_char *p, size_t size);

/* 1 if ngx_vmess_kcp_recv() would not return NGX_AGAIN */
ngx_uint_t ngx_vmess_kcp_recv_ready(ngx_vmess_kcp_t *kcp);

/* takes a segment with data */
void ngx_vmess_kcp_recv_input(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);

/* the peer knows that what is before next has come */
void ngx_vmess_kcp_recv_confirmed(ngx_vmess_kcp_t *kcp, uint32_t next);

/*
 * Returns ms until an Ack is to be sent in limit bytes, or NGX_VMESS_KCP_NEVER.
 */
uint32_t ngx_vmess_kcp_recv_wait(ngx_vmess_kcp_t *kcp, size_t limit);

/* adds Acks that are due at p, before last, and returns their end */
u_char *ngx_vmess_kcp_recv_output(ngx_vmess_kcp_t *kcp, u_char *p,
    u_char *last);

/* drops what was not read, and frees the window */
void ngx_vmess_kcp_recv_clear(ngx_vmess_kcp_t *kcp);


#endif /* _NGX_VMESS_KCP_RECV_H_INCLUDED_ */
