
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PUBLISH_REPLACE_H_INCLUDED_
#define _NGX_VMESS_PUBLISH_REPLACE_H_INCLUDED_


#include "ngx_vmess_users.h"


/* A zone of another size has other memory, which gets what was in the old. */


/*
 * The zone of that name in the configuration before, if its size was another,
 * or NULL
 */
ngx_vmess_zone_t *ngx_vmess_publish_replace_old(ngx_vmess_zone_t *zone);

/*
 * Copies users, what they have used, and their temporary ids.  Called once
 * users of the configuration are in the table of the zone.
 */
void ngx_vmess_publish_replace_inherit(ngx_vmess_zone_t *zone,
    ngx_vmess_zone_t *old, ngx_log_t *log);

/* makes users of the old memory what they are in that of the zone now */
void ngx_vmess_publish_replace(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old);


#endif /* _NGX_VMESS_PUBLISH_REPLACE_H_INCLUDED_ */
