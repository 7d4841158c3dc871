
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_REPLAY_H_INCLUDED_
#define _NGX_VMESS_REPLAY_H_INCLUDED_


#include "ngx_vmess.h"


#define NGX_VMESS_REPLAY_KEY_LEN  16


/*
 * A set of keys of NGX_VMESS_REPLAY_KEY_LEN bytes, each kept until its own
 * second has passed: EAuIDs and digests of sessions.  It lives in one block
 * of shared memory without pointers, so that it may be mapped anywhere, and
 * it is exact: a key is never forgotten early, and when all entries are
 * taken, new keys are refused.
 */


/* makes an empty set of size bytes at p; random is any odd secret number */
ngx_vmess_replay_t *ngx_vmess_replay_create(void *p, size_t size,
    uint64_t random);

/*
 * Adds a key to be kept as long as now <= expires, in seconds.
 *
 * NGX_OK        it was not there
 * NGX_DECLINED  it was, or it may have been: the clock was put back, and keys
 *               as old as this one have been dropped
 * NGX_BUSY      all entries are taken by keys still to be kept
 */
ngx_int_t ngx_vmess_replay_add(ngx_vmess_replay_t *r, const u_char *key,
    time_t expires, time_t now);

/* NGX_OK if the key was added and is to be kept at now, else NGX_DECLINED */
ngx_int_t ngx_vmess_replay_find(ngx_vmess_replay_t *r, const u_char *key,
    time_t now);

/* adds to r all keys of old that are still to be kept */
void ngx_vmess_replay_copy(ngx_vmess_replay_t *r, ngx_vmess_replay_t *old,
    time_t now);

/* the number of keys that fit */
ngx_uint_t ngx_vmess_replay_capacity(ngx_vmess_replay_t *r);


#endif /* _NGX_VMESS_REPLAY_H_INCLUDED_ */
