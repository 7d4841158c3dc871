
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

/*
 * The temporary id of a user now, made known to all workers; random is a number
 * that goes with it.
 *
 * number  of the user's record when it was found
 *
 * NGX_OK, or NGX_DECLINED: the user has gone, or has no such id.
 */
ngx_int_t ngx_vmess_detour_id(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    ngx_uint_t number, u_char *id, uint32_t *random);

/*
 * Looks for a temporary id in all slots.
 *
 * NGX_OK        slot is that of the id, slot % users->n the number of its user,
 *               and t as by a scan of users
 * NGX_DECLINED  there is none
 */
ngx_int_t ngx_vmess_detour_find(ngx_vmess_users_t *users, const u_char *eauid,
    ngx_uint_t *slot, int64_t *t);

/* makes the key of a user that of its id in the slot */
void ngx_vmess_detour_key(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users,
    ngx_uint_t slot, u_char *cmd_key);


#endif /* _NGX_VMESS_DETOUR_H_INCLUDED_ */
