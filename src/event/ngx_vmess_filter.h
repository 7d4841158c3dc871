
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_FILTER_H_INCLUDED_
#define _NGX_VMESS_FILTER_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_replay.h"


/*
 * The replay filter of all zones, so that an id is good once wherever it is
 * known.  Its size follows from that of the zones; when it changes, there is a
 * new filter.  A configuration names the earlier ones as well, as long as old
 * workers may accept ids there: an id has to be new to all of them.
 */

typedef struct {
    ngx_shm_zone_t            *shm_zone;
    ngx_slab_pool_t           *shpool;
    ngx_vmess_replay_t        *replay;
    ngx_uint_t                 serial;
    ngx_msec_t                 until;      /* 0: the current one */
} ngx_vmess_filter_t;


/*
 * Adds the filters of a configuration that was read, the current one last.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_filter_init_conf(ngx_cycle_t *cycle,
    ngx_vmess_conf_t *vcf);

/* called when the configuration cannot fail any more */
void ngx_vmess_filter_publish(ngx_vmess_conf_t *vcf, ngx_cycle_t *cycle);

/*
 * Adds a key to all filters, or looks for it, as ngx_vmess_replay_add() and
 * ngx_vmess_replay_find() do.  If one before the current filter has no room,
 * it is closed, and the others decide.
 */
ngx_int_t ngx_vmess_filter_add(ngx_vmess_conf_t *vcf, const u_char *key,
    uint32_t owner, time_t expires);
ngx_int_t ngx_vmess_filter_find(ngx_vmess_conf_t *vcf, const u_char *key,
    uint32_t owner, time_t expires);

/* the owner that has most of the current one, and its keys and all that fit */
uint32_t ngx_vmess_filter_most(ngx_vmess_conf_t *vcf, ngx_uint_t *n,
    ngx_uint_t *capacity);

/* keys of the current one, and all that fit */
ngx_uint_t ngx_vmess_filter_fill(ngx_vmess_conf_t *vcf, ngx_uint_t *capacity);


#endif /* _NGX_VMESS_FILTER_H_INCLUDED_ */
