
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_H_INCLUDED_
#define _NGX_VMESS_KCP_H_INCLUDED_


#include "ngx_vmess_kcp_types.h"
#include "ngx_vmess_kcp_send.h"
#include "ngx_vmess_kcp_recv.h"


/*
 * Computes what depends on the settings: mtu, NGX_VMESS_KCP_MTU_MIN and more,
 * overhead, packet->head + packet->tail, and tti in the limits of its own.
 */
void ngx_vmess_kcp_conf_init(ngx_vmess_kcp_conf_t *conf);

/*
 * Starts a session: either the peer's, after a first segment that is not
 * Terminate, or one of our own.
 *
 * conv    number of the session
 * random  any number, secret until the peer has proved by an echo of it that
 *         it has the address it claims.  Until then, or until the caller sets
 *         kcp->validated, not more is sent than was received, and what the
 *         peer says of our segments is not heard
 * now     ms of a monotonic clock; only the low 32 bits count
 */
void ngx_vmess_kcp_init(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_conf_t *conf,
    ngx_uint_t conv, uint32_t random, ngx_msec_t now);

/*
 * The caller may set kcp->small, and kcp->mute, before the first segment: the
 * session has windows of NGX_VMESS_KCP_SMALL bytes, and sends nothing at all,
 * until this tells that its peer is known.
 */
void ngx_vmess_kcp_accept(ngx_vmess_kcp_t *kcp);

/* frees all memory of the session, whatever its state */
void ngx_vmess_kcp_cleanup(ngx_vmess_kcp_t *kcp);

/*
 * Takes the segments of a datagram.  Then there may be something to read,
 * room to write, and something to send at once.
 *
 * NGX_OK        at least one segment was taken
 * NGX_DECLINED  nothing of this session
 */
ngx_int_t ngx_vmess_kcp_input(ngx_vmess_kcp_t *kcp, u_char *p, size_t len,
    ngx_msec_t now);

/*
 * Fills p with segments of the next datagram, at most conf->size bytes, and
 * returns their size.  To be called until it returns 0: there is nothing to
 * send now.
 */
size_t ngx_vmess_kcp_output(ngx_vmess_kcp_t *kcp, u_char *p, ngx_msec_t now);

/*
 * Returns the time in ms in which ngx_vmess_kcp_output() is to be called, if
 * nothing is read, written or received before: 0 if at once, and
 * (ngx_msec_t) -1 if never, the session is terminated.
 */
ngx_msec_t ngx_vmess_kcp_wakeup(ngx_vmess_kcp_t *kcp, ngx_msec_t now);

/*
 * Closes the session: what was written is sent for a while, then the peer is
 * told.  Goes on until kcp->state is ngx_vmess_kcp_terminated.
 */
void ngx_vmess_kcp_close(ngx_vmess_kcp_t *kcp, ngx_msec_t now);


#endif /* _NGX_VMESS_KCP_H_INCLUDED_ */
