
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PUBLISH_RESERVE_H_INCLUDED_
#define _NGX_VMESS_PUBLISH_RESERVE_H_INCLUDED_


#include "ngx_vmess_users.h"


/*
 * What a configuration needs, as long as it may fail: no user is changed.  Both
 * return NGX_OK, or NGX_ERROR after an error that was logged.
 */


/* users that are looked at or changed under one lock */

#define NGX_VMESS_PUBLISH_SLICE     256


/* reserves room for users of a zone, and marks those who need keys */
ngx_int_t ngx_vmess_publish_reserve(ngx_vmess_zone_t *zone, ngx_log_t *log);

/* makes keys of these, to zone->keys, which is to be wiped and freed */
ngx_int_t ngx_vmess_publish_reserve_make_keys(ngx_vmess_zone_t *zone,
    ngx_log_t *log);


#endif /* _NGX_VMESS_PUBLISH_RESERVE_H_INCLUDED_ */
