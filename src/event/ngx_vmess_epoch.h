
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_EPOCH_H_INCLUDED_
#define _NGX_VMESS_EPOCH_H_INCLUDED_


#include "ngx_vmess_zone.h"


/*
 * What workers count in users and give back: flows and references.  A worker
 * that was killed gives nothing back, so there are two sets of these counters:
 * when one has died, a new epoch begins with the other set, cleared, and all
 * workers count there anew what they have.
 */


/* a worker starts, or ends as it should */
void ngx_vmess_epoch_init_process(ngx_vmess_zone_t *zone);
void ngx_vmess_epoch_exit_process(ngx_vmess_zone_t *zone);

/* from now on this worker has counters in the zone, in zone->epoch */
void ngx_vmess_epoch_register(ngx_vmess_zone_t *zone);

/* whether all workers are in the present epoch */
ngx_uint_t ngx_vmess_epoch_settled(ngx_vmess_zone_sh_t *sh);

/*
 * Begins a new epoch if a worker has died or left in a hurry.  As there are
 * counters of two epochs, all workers have to be in the present one before.
 *
 * NGX_OK    nothing has changed
 * NGX_DONE  zone->epoch is a new one: the worker has to count what it has
 *           there, and then to call ngx_vmess_epoch_enter()
 */
ngx_int_t ngx_vmess_epoch_settle(ngx_vmess_zone_t *zone);
void ngx_vmess_epoch_enter(ngx_vmess_zone_t *zone);


#endif /* _NGX_VMESS_EPOCH_H_INCLUDED_ */
