
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_SEND_H_INCLUDED_
#define _NGX_VMESS_KCP_SEND_H_INCLUDED_


#include "ngx_vmess_kcp_types.h"


/* What we send: segments, until the peer has them, when, and how often. */

/*
 * Writes up to size bytes, which is not 0.
 *
 * > 0        bytes taken
 * NGX_AGAIN  no room, or no memory
 * NGX_ERROR  the peer, or we, closed the session
 */
ssize_t ngx_vmess_kcp_send(ngx_vmess_kcp_t *kcp, const u_char *p,
    size_t size);

/* 1 if ngx_vmess_kcp_send() would not return NGX_AGAIN */
ngx_uint_t ngx_vmess_kcp_send_ready(ngx_vmess_kcp_t *kcp);

/*
 * Returns ms until a segment is to be sent in limit bytes, or
 * NGX_VMESS_KCP_NEVER.
 */
uint32_t ngx_vmess_kcp_send_wait(ngx_vmess_kcp_t *kcp, size_t limit);

/* adds segments that are due at p, before last, and returns their end */
u_char *ngx_vmess_kcp_send_output(ngx_vmess_kcp_t *kcp, u_char *p,
    u_char *last);

/*
 * Returns bytes of segments that may be sent in a datagram to a peer that is
 * not validated, without those kept for copies of the first segment.
 */
size_t ngx_vmess_kcp_send_spare(ngx_vmess_kcp_t *kcp);

/* takes an Ack */
void ngx_vmess_kcp_send_input(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);

/* takes what a command tells of segments that have come */
void ngx_vmess_kcp_send_confirmed(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);

/* drops what the peer has not got, and frees the window */
void ngx_vmess_kcp_send_clear(ngx_vmess_kcp_t *kcp);


#endif /* _NGX_VMESS_KCP_SEND_H_INCLUDED_ */
