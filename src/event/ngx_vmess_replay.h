
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_REPLAY_H_INCLUDED_
#define _NGX_VMESS_REPLAY_H_INCLUDED_


#include "ngx_vmess.h"


#define NGX_VMESS_REPLAY_KEY_LEN  16


/*
 * A set of keys of NGX_VMESS_REPLAY_KEY_LEN bytes, each kept until its own
 * second has passed: EAuIDs and digests of sessions.  It lives in one block of
 * shared memory without pointers, so that it may be mapped anywhere, and it is
 * exact: a key is never forgotten early, and when there is no room, new keys
 * are refused.
 *
 * Expired keys are forgotten only when their room is needed, and their times
 * are kept: when the clock is put back, such keys are either known, or known
 * to have been forgotten.
 *
 * Each key has an owner, a number other than 0.  One owner alone takes 5/6 of
 * the set; the next take as large a part of what is left, except for a
 * sixteenth of the set, which is for owners with few keys, who share it.  Keys
 * to be kept for more than ten minutes may take a tenth of the set.
 *
 * All functions are called with the set locked.  A caller may die at any
 * instruction: the next one repairs the set first.
 */


/* makes an empty set of size bytes at p; random is any secret number */
ngx_vmess_replay_t *ngx_vmess_replay_create(void *p, size_t size,
    uint64_t random, time_t now);

/*
 * Adds a key to be kept as long as now <= expires, in seconds.
 *
 * NGX_OK        it was not there
 * NGX_DECLINED  it was
 * NGX_ABORT     it may have been: the clock was put back, and keys of that time
 *               have been forgotten
 * NGX_BUSY      no room for this owner, or the set was closed
 */
ngx_int_t ngx_vmess_replay_add(ngx_vmess_replay_t *r, const u_char *key,
    uint32_t owner, time_t expires, time_t now);

/* what ngx_vmess_replay_add() would return, without adding the key */
ngx_int_t ngx_vmess_replay_find(ngx_vmess_replay_t *r, const u_char *key,
    uint32_t owner, time_t expires, time_t now);

/* lets no more keys in */
void ngx_vmess_replay_close(ngx_vmess_replay_t *r);

/* takes all keys that expired before now for forgotten */
void ngx_vmess_replay_forget(ngx_vmess_replay_t *r, time_t now);

/* the number of keys that fit */
ngx_uint_t ngx_vmess_replay_capacity(ngx_vmess_replay_t *r);

/* the number of keys, of which some may have expired; no lock is needed */
ngx_uint_t ngx_vmess_replay_keys(ngx_vmess_replay_t *r);

/* the number of keys of the owner that has most; no lock is needed */
ngx_uint_t ngx_vmess_replay_most(ngx_vmess_replay_t *r, uint32_t *owner);


#endif /* _NGX_VMESS_REPLAY_H_INCLUDED_ */
