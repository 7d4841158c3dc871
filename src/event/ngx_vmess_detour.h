
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_DETOUR_H_INCLUDED_
#define _NGX_VMESS_DETOUR_H_INCLUDED_


#include "ngx_vmess_users.h"


/*
 * Temporary ids of users, for clients that are told to go on at another port
 * ("vmess_detour").  A user has one in each period of zone->refresh seconds,
 * made of its key, the period and a secret of the zone, and good until the end
 * of the next period.  Of each only the key for EAuID is kept, once it was
 * given away, in two tables of the users: one of even periods, one of odd.
 */

/* allocates the tables; called with the zone locked.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_users_add_temporary(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);

/* frees them; called with the zone locked */
void ngx_vmess_users_free_temporary(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);

/* takes over what is good yet from the tables before */
void ngx_vmess_users_copy_temporary(ngx_vmess_users_t *users,
    ngx_vmess_users_t *old);

/*
 * The temporary id of a user now, made known to all workers; random is a number
 * that goes with it.  NGX_OK, or NGX_DECLINED: the user has gone, or has no
 * such id.
 */
ngx_int_t ngx_vmess_detour_id(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, u_char *id, uint32_t *random);

/*
 * The number of the user with that temporary id, users->n if there is none;
 * *t as by a scan of users.  The account's key is replaced by that of the id.
 */
ngx_uint_t ngx_vmess_detour_scan(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users, const u_char *eauid,
    ngx_vmess_account_t *account, int64_t *t);


#endif /* _NGX_VMESS_DETOUR_H_INCLUDED_ */
