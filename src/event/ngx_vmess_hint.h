
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HINT_H_INCLUDED_
#define _NGX_VMESS_HINT_H_INCLUDED_


#include "ngx_vmess_zone.h"


#define NGX_VMESS_HINTS  8       /* of one address: a cache line */


/*
 * The hints of an address: numbers of users last seen from it, each with the
 * address's tag in its upper half.  Written without a lock; a hint that is
 * wrong or torn only costs the time to try one key.  NULL: the address has
 * none.
 */
uint64_t *ngx_vmess_hint_get(ngx_vmess_zone_sh_t *sh,
    struct sockaddr *sockaddr, uint32_t *tag);

/* adds a user as the newest, the oldest falls out */
void ngx_vmess_hint_add(uint64_t *hint, uint32_t tag, ngx_uint_t i);


#endif /* _NGX_VMESS_HINT_H_INCLUDED_ */
