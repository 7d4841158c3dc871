
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_H_INCLUDED_
#define _NGX_VMESS_STATE_H_INCLUDED_


#include "ngx_vmess_zone.h"


/*
 * What outlives a restart of a zone: "state" of vmess_users.  The master reads
 * it when the memory of a zone is new, and never writes.  One worker writes,
 * that which has the file "lock" locked; the kernel unlocks it when it dies.
 * Whoever gets the lock begins a journal and makes a snapshot, as what is there
 * may end within a record.
 */


/*
 * Has the zone keep what outlives a restart in that directory, relative to the
 * prefix of nginx; NGX_OK, or NGX_ERROR after an error that was logged
 */
ngx_int_t ngx_vmess_state_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_str_t *name);

/* a worker starts, or ends as it should: then what it has counted is written */
void ngx_vmess_state_init_worker(ngx_cycle_t *cycle);
void ngx_vmess_state_exit_worker(ngx_cycle_t *cycle);

/*
 * Has what was changed until now saved at once, and returns a number for
 * ngx_vmess_state_saved(), 0: there is nothing to be waited for.
 */
ngx_uint_t ngx_vmess_state_ask(ngx_vmess_zone_t *zone);

/*
 * NGX_OK        it is on the disk
 * NGX_AGAIN     not yet
 * NGX_DECLINED  it could not be written, which was logged, and will be as soon
 *               as it can
 */
ngx_int_t ngx_vmess_state_saved(ngx_vmess_zone_t *zone, ngx_uint_t number);


#endif /* _NGX_VMESS_STATE_H_INCLUDED_ */
