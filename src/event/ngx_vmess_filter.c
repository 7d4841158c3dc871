
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_filter.h"
#include "ngx_vmess_zone.h"
#include "proto/ngx_vmess_proto.h"


/*
 * How long a filter is kept for old workers, in seconds: the longest lifetime
 * of a key, plus some for a header that they may be reading.
 */

#define NGX_VMESS_FILTER_KEEP  (NGX_VMESS_EARLY                               \
                                + 2 * NGX_VMESS_TIME_WINDOW                   \
                                + NGX_VMESS_SESSION_WINDOW)


static ngx_int_t ngx_vmess_filter_create(ngx_cycle_t *cycle,
    ngx_vmess_conf_t *vcf, size_t size, ngx_uint_t serial, ngx_msec_t until);
static ngx_int_t ngx_vmess_filter_init(ngx_shm_zone_t *shm_zone, void *data);


static char  ngx_vmess_filter_tag;


ngx_int_t
ngx_vmess_filter_init_conf(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf)
{
    size_t                size;
    ngx_uint_t            i, n, serial;
    ngx_msec_t            until;
    ngx_vmess_conf_t     *ovcf;
    ngx_vmess_zone_t    **zone;
    ngx_vmess_filter_t  **old;

    size = 0;
    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        size += zone[i]->size / 2;
    }

    serial = 0;

    ovcf = ngx_vmess_zone_old_conf(cycle);

    if (ovcf) {
        old = ovcf->filters.elts;
        n = ovcf->filters.nelts;

        for (i = 0; i < n; i++) {

            serial = old[i]->serial;
            until = old[i]->until;

            if (until == 0) {

                if (old[i]->shm_zone->shm.size == size) {
                    break;
                }

                until = ngx_current_msec + NGX_VMESS_FILTER_KEEP * 1000;
                until += (until == 0);

            } else if ((ngx_msec_int_t) (until - ngx_current_msec) <= 0) {
                vcf->forget = 1;
                serial++;
                continue;
            }

            if (ngx_vmess_filter_create(cycle, vcf, old[i]->shm_zone->shm.size,
                                        serial, until)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            vcf->forget = 1;
            serial++;
        }
    }

    if (size == 0) {
        return NGX_OK;
    }

    return ngx_vmess_filter_create(cycle, vcf, size, serial, 0);
}


static ngx_int_t
ngx_vmess_filter_create(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf, size_t size,
    ngx_uint_t serial, ngx_msec_t until)
{
    ngx_str_t             name;
    ngx_conf_t            cf;
    ngx_vmess_filter_t   *filter, **filterp;

    filter = ngx_pcalloc(cycle->pool, sizeof(ngx_vmess_filter_t));
    if (filter == NULL) {
        return NGX_ERROR;
    }

    filter->serial = serial;
    filter->until = until;

    name.data = ngx_pnalloc(cycle->pool,
                            sizeof("vmess_replay_") - 1 + NGX_INT_T_LEN);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    name.len = ngx_sprintf(name.data, "vmess_replay_%ui", serial) - name.data;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = cycle->log;

    filter->shm_zone = ngx_shared_memory_add(&cf, &name, size,
                                             &ngx_vmess_filter_tag);
    if (filter->shm_zone == NULL) {
        return NGX_ERROR;
    }

    filter->shm_zone->init = ngx_vmess_filter_init;
    filter->shm_zone->data = filter;

    filterp = ngx_array_push(&vcf->filters);
    if (filterp == NULL) {
        return NGX_ERROR;
    }

    *filterp = filter;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_filter_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_vmess_filter_t *ofilter = data;

    void                *p;
    size_t               size;
    uint64_t             random;
    ngx_slab_pool_t     *shpool;
    ngx_vmess_filter_t  *filter;

    filter = shm_zone->data;

    if (ofilter) {
        filter->shpool = ofilter->shpool;
        filter->replay = ofilter->replay;
        return NGX_OK;
    }

    /* of a slab pool, as nginx unlocks that when a worker dies */

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    size = shpool->pfree * ngx_pagesize;

    p = ngx_slab_alloc(shpool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (RAND_bytes((u_char *) &random, sizeof(random)) != 1) {
        ngx_ssl_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "RAND_bytes() failed");
        return NGX_ERROR;
    }

    filter->shpool = shpool;
    filter->replay = ngx_vmess_replay_create(p, size, random, ngx_time());

    return NGX_OK;
}


void
ngx_vmess_filter_publish(ngx_vmess_conf_t *vcf, ngx_cycle_t *cycle)
{
    ngx_vmess_filter_t  *filter, **filters;

    if (vcf->zones.nelts == 0) {
        return;
    }

    filters = vcf->filters.elts;
    filter = filters[vcf->filters.nelts - 1];

    if (vcf->forget) {

        /* what had expired in others will not be found */

        ngx_shmtx_lock(&filter->shpool->mutex);

        ngx_vmess_replay_forget(filter->replay, ngx_time());

        ngx_shmtx_unlock(&filter->shpool->mutex);
    }

    ngx_log_error(NGX_LOG_INFO, cycle->log, 0,
                  "replay filter of %ui entries",
                  ngx_vmess_replay_capacity(filter->replay));
}


ngx_int_t
ngx_vmess_filter_add(ngx_vmess_conf_t *vcf, const u_char *key, uint32_t owner,
    time_t expires)
{
    time_t                now;
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_vmess_filter_t  **filter;

    now = ngx_time();
    filter = vcf->filters.elts;
    rc = NGX_BUSY;

    for (i = 0; i < vcf->filters.nelts; i++) {

        ngx_shmtx_lock(&filter[i]->shpool->mutex);

        rc = ngx_vmess_replay_add(filter[i]->replay, key, owner, expires, now);

        if (rc == NGX_BUSY && filter[i]->until) {

            /* nor may those who know no other let the key in */

            ngx_vmess_replay_close(filter[i]->replay);
            rc = NGX_OK;
        }

        ngx_shmtx_unlock(&filter[i]->shpool->mutex);

        if (rc != NGX_OK) {
            break;
        }
    }

    return rc;
}


ngx_int_t
ngx_vmess_filter_find(ngx_vmess_conf_t *vcf, const u_char *key, uint32_t owner,
    time_t expires)
{
    time_t                now;
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_vmess_filter_t  **filter;

    now = ngx_time();
    filter = vcf->filters.elts;
    rc = NGX_BUSY;

    for (i = 0; i < vcf->filters.nelts; i++) {

        ngx_shmtx_lock(&filter[i]->shpool->mutex);

        rc = ngx_vmess_replay_find(filter[i]->replay, key, owner, expires, now);

        ngx_shmtx_unlock(&filter[i]->shpool->mutex);

        if (rc != NGX_OK && !(rc == NGX_BUSY && filter[i]->until)) {
            break;
        }
    }

    return rc;
}


uint32_t
ngx_vmess_filter_most(ngx_vmess_conf_t *vcf, ngx_uint_t *n,
    ngx_uint_t *capacity)
{
    uint32_t              owner;
    ngx_vmess_filter_t  **filter;

    filter = vcf->filters.elts;
    filter += vcf->filters.nelts - 1;

    *n = ngx_vmess_replay_most((*filter)->replay, &owner);
    *capacity = ngx_vmess_replay_capacity((*filter)->replay);

    return owner;
}


ngx_uint_t
ngx_vmess_filter_fill(ngx_vmess_conf_t *vcf, ngx_uint_t *capacity)
{
    ngx_vmess_filter_t  **filter;

    filter = vcf->filters.elts;
    filter += vcf->filters.nelts - 1;

    *capacity = ngx_vmess_replay_capacity((*filter)->replay);

    return ngx_vmess_replay_keys((*filter)->replay);
}
