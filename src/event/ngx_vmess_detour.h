
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
 * given away, in two slots of the table: one of even periods, one of odd.
 */

/*
 * The temporary id of a user now, made known to all workers; random is a number
 * that goes with it.
 *
 * serial  of the user's own id
 *
 * NGX_OK, or NGX_DECLINED: the user has gone, or has no such id.
 */
ngx_int_t ngx_vmess_detour_id(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    uint32_t serial, u_char *id, uint32_t *random);


#endif /* _NGX_VMESS_DETOUR_H_INCLUDED_ */
