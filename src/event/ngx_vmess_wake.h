
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_WAKE_H_INCLUDED_
#define _NGX_VMESS_WAKE_H_INCLUDED_


#include "ngx_vmess_zone.h"


/*
 * A change that ends flows wakes all workers, which look for them at once.  If
 * the one who has made it is killed before that, they do so in a second.
 */


/* a worker starts: NGX_OK, or NGX_ERROR, which was logged */
ngx_int_t ngx_vmess_wake_init_worker(ngx_cycle_t *cycle);

/*
 * Flows of users of the zone are to end.  However many changes there are, this
 * comes to workers every 50 ms at most.  In the master it does nothing: that
 * rings once its changes are made.
 */
void ngx_vmess_wake_workers(ngx_vmess_zone_t *zone);


#endif /* _NGX_VMESS_WAKE_H_INCLUDED_ */
