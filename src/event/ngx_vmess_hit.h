
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HIT_H_INCLUDED_
#define _NGX_VMESS_HIT_H_INCLUDED_


#include "ngx_vmess_table.h"


/* Whom a client is of: readers of the table, which take no lock. */


/* a key that fitted: of whom, and what is configured of him */

typedef struct {
    ngx_vmess_user_t          *user;
    ngx_uint_t                 slot;
    uint32_t                   serial;     /* of the user's id */
    ngx_uint_t                 temporary;  /* by an id made of that one */
    int64_t                    time;       /* as by a scan */
    uint32_t                   owner;      /* of ids in the replay filter */
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    ngx_vmess_limits_t         limits;
} ngx_vmess_hit_t;


/*
 * Looks for a key that an EAuID was made with, from a slot on.
 *
 * time  gets that stamped by the client, in seconds
 *
 * Returns its slot; NGX_VMESS_SLOT_NONE if there is none.  Takes no lock.
 */
ngx_uint_t ngx_vmess_hit_scan(ngx_vmess_table_t *t, ngx_uint_t slot,
    const u_char *eauid, int64_t *time);

/* whether the key of one slot fits, which may be any number, as by a scan */
ngx_uint_t ngx_vmess_hit_try(ngx_vmess_table_t *t, ngx_uint_t slot,
    const u_char *eauid, int64_t *time);

/*
 * Whose the key is that was found to fit.  Without a lock it may be somebody
 * else's the next moment: _check() looks once more, after a reference to
 * hit->user was counted.
 *
 * eauid   has to fit still; NULL: whatever key it is
 *
 * NGX_OK        hit is set
 * NGX_DECLINED  it is not good any more: go on behind it
 */
ngx_int_t ngx_vmess_hit_take(ngx_vmess_table_t *t, ngx_uint_t slot,
    const u_char *eauid, time_t now, ngx_vmess_hit_t *hit);
ngx_int_t ngx_vmess_hit_check(ngx_vmess_table_t *t, ngx_vmess_hit_t *hit,
    time_t now);

/*
 * Whether a user has the id with the serial number yet.
 *
 * limits  get a copy of what is configured of the user now, in any case
 *
 * NGX_OK
 * NGX_AGAIN     the user was removed, and may come again in a moment
 * NGX_DECLINED  it has gone, or has another id
 */
ngx_int_t ngx_vmess_hit_knows(ngx_vmess_user_t *user, uint32_t serial,
    time_t now, ngx_vmess_limits_t *limits);

/*
 * The CmdKey of a user whose own id has that serial number: NGX_OK, or
 * NGX_DECLINED, it has another one.  Takes no lock.
 */
ngx_int_t ngx_vmess_hit_own(ngx_vmess_user_t *user, uint32_t serial,
    u_char *cmd_key);


#endif /* _NGX_VMESS_HIT_H_INCLUDED_ */
