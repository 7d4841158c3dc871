
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_USAGE_H_INCLUDED_
#define _NGX_VMESS_USAGE_H_INCLUDED_


#include "ngx_vmess_limits.h"


/*
 * The period of a quota.  It is written whole by one who has the table locked:
 * to the half that is not in use, which then is, by one store.
 */

typedef struct {
    time_t                     start;      /* 0: none has begun yet */
    time_t                     next;       /* begins then, 0: never */
    off_t                      base;       /* counted before the start */
    ngx_atomic_uint_t          up;         /* as they were at the last reset */
    ngx_atomic_uint_t          down;
    ngx_vmess_period_t         reset;      /* "next" was calculated for */
} ngx_vmess_usage_period_t;


/*
 * What a user has used, in shared memory: it outlives reloads, and zeroed bytes
 * are a new user.  Counters are added to without a lock, and never put back.
 */

typedef struct {
    ngx_atomic_t               up;         /* bytes from the client */
    ngx_atomic_t               down;       /* bytes to the client */
    ngx_atomic_t               extra;      /* what factors add, or take away */
    ngx_atomic_t               total;      /* flows opened */
    ngx_atomic_t               refused;    /* headers refused */
    ngx_atomic_t               first;      /* time of the first flow, 0: none */
    volatile time_t            seen;       /* last time a flow was there */

    volatile ngx_uint_t        version;    /* its last bit tells which counts */
    ngx_vmess_usage_period_t   period[2];
} ngx_vmess_usage_t;


/* what a user may do, by limits that do not depend on other flows */

typedef enum {
    NGX_VMESS_USAGE_ACTIVE = 0,
    NGX_VMESS_USAGE_DISABLED,
    NGX_VMESS_USAGE_LIMITED,
    NGX_VMESS_USAGE_EXPIRED,
    NGX_VMESS_USAGE_ON_HOLD    /* active, but the time has not begun */
} ngx_vmess_usage_e;


ngx_vmess_usage_e ngx_vmess_usage_status(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now);

/* a flow was opened: "hold" is over with the first one */
void ngx_vmess_usage_open(ngx_vmess_usage_t *usage, time_t now);

/*
 * the user expires then, by "expires" or by "hold"; 0: never, or not known yet
 */
time_t ngx_vmess_usage_expires(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits);

/* bytes that counted towards the quota since the period began */
off_t ngx_vmess_usage_used(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now);

/*
 * Whether ngx_vmess_usage_begin() is to be called: before anything is counted,
 * as that is where the period will begin.  Cheap.
 */
ngx_uint_t ngx_vmess_usage_due(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now);

/* begins a period, if it is due; the table is locked */
void ngx_vmess_usage_begin(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now);

/* begins a period now, whatever is due; the table is locked */
void ngx_vmess_usage_reset(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now);

/* a copy of the period that has begun last, which may be due to end */
void ngx_vmess_usage_period(ngx_vmess_usage_t *usage,
    ngx_vmess_usage_period_t *period);


#endif /* _NGX_VMESS_USAGE_H_INCLUDED_ */
