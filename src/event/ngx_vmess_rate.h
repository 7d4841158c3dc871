
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_RATE_H_INCLUDED_
#define _NGX_VMESS_RATE_H_INCLUDED_


#include "ngx_vmess_account.h"


/*
 * The speed of a user, all flows of all workers together, and of each direction
 * by itself.  A flow is not held up by what it does, but after that: it waits
 * for as long as its bytes should have taken.
 */

#define NGX_VMESS_RATE_UP    0
#define NGX_VMESS_RATE_DOWN  1


/*
 * Nothing is to be read for so many ms: of the flow's client, or, with "down",
 * of what sends to the client.  NGX_OK, or NGX_DECLINED: that cannot be held
 * up.
 */
typedef ngx_int_t (*ngx_vmess_rate_pt)(void *data, ngx_uint_t down,
    ngx_msec_t delay);


/* what a flow has done in a direction, and not waited for yet */

typedef struct {
    uint64_t                   owed;       /* bytes */
    uint64_t                   rest;       /* not yet in the user's account */
    uint64_t                   speed;      /* of the flow, bytes per second */
    ngx_msec_t                 updated;
    ngx_msec_t                 period;     /* the last it was counted in */
} ngx_vmess_rate_side_t;


typedef struct {
    ngx_vmess_rate_pt          delay;
    void                      *data;
    ngx_vmess_rate_side_t      sides[2];
} ngx_vmess_rate_t;


/*
 * Whether the flow of an account may read from its client: NGX_OK, or NGX_AGAIN
 * after delay() was called.  A wait may be over before all is paid.
 */
ngx_int_t ngx_vmess_rate_read(ngx_vmess_rate_t *rate,
    ngx_vmess_account_t *account);

/* the same of what sends to the client */
ngx_int_t ngx_vmess_rate_write(ngx_vmess_rate_t *rate,
    ngx_vmess_account_t *account);

/* counts bytes of payload that were read from the client */
void ngx_vmess_rate_received(ngx_vmess_rate_t *rate,
    ngx_vmess_account_t *account, size_t n);

/* counts bytes of payload for the client, and calls delay() if need be */
void ngx_vmess_rate_sent(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account,
    size_t n);


#endif /* _NGX_VMESS_RATE_H_INCLUDED_ */
