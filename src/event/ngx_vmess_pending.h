
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PENDING_H_INCLUDED_
#define _NGX_VMESS_PENDING_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * What clients may use of a worker without an id: connections, requests and
 * streams of those not yet known to be authentic.  They are counted for the
 * worker and for each client address, with IPv6 for its /64.  When there are
 * too many, the oldest has to go: a new client needs but a moment, and clients
 * that wait must not lock it out.
 *
 * Addresses have to be proved: where they may be spoofed, as with mKCP, the
 * carrier has limits of its own.
 */

typedef struct ngx_vmess_pending_s         ngx_vmess_pending_t;
typedef struct ngx_vmess_pending_source_s  ngx_vmess_pending_source_t;


struct ngx_vmess_pending_s {
    ngx_queue_t                  queue;    /* of the worker */
    ngx_queue_t                  siblings; /* of the address */
    ngx_vmess_pending_source_t  *source;
    ngx_uint_t                   weight;   /* 0 if it is not counted */

    /*
     * It has to go, and is no longer counted.  Posts an event, as the call
     * comes from within other connections.
     */
    void                       (*evict)(ngx_vmess_pending_t *pending);
    void                        *data;
};


/*
 * Counts a client, of which evict and data are set.
 *
 * weight  connections of the worker, apart from that of the client
 *
 * NGX_OK, or NGX_ERROR if there is no memory.
 */
ngx_int_t ngx_vmess_pending_add(ngx_vmess_pending_t *pending,
    struct sockaddr *sockaddr, ngx_uint_t weight, ngx_log_t *log);

/* it is authentic, refused, or gone; does nothing if it is not counted */
void ngx_vmess_pending_remove(ngx_vmess_pending_t *pending);


#endif /* _NGX_VMESS_PENDING_H_INCLUDED_ */
