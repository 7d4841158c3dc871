
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PUBLISH_H_INCLUDED_
#define _NGX_VMESS_PUBLISH_H_INCLUDED_


#include "ngx_vmess_alter.h"


/* What a configuration does with the table of a zone. */


/*
 * Adds a zone to the configuration, whose users are to be put into zone->users;
 * NULL after an error that was logged
 */
ngx_vmess_zone_t *ngx_vmess_publish_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size);

/*
 * Makes the users of a new configuration those of the zone.  Called when
 * the configuration cannot fail any more.
 */
void ngx_vmess_publish(ngx_vmess_zone_t *zone, ngx_cycle_t *cycle);


#endif /* _NGX_VMESS_PUBLISH_H_INCLUDED_ */
