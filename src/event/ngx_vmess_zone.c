
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_zone.h"
#include "ngx_vmess_counters.h"
#include "ngx_vmess_history.h"
#include "ngx_vmess_worker.h"
#include "proto/ngx_vmess_proto.h"


static ngx_int_t ngx_vmess_zone_add_counters(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone);
static ngx_int_t ngx_vmess_zone_init_counters(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_vmess_zone_touch(ngx_shm_t *shm);


ngx_vmess_zone_t *
ngx_vmess_zone_add(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    ngx_shm_zone_init_pt init)
{
    ngx_vmess_conf_t  *vcf;
    ngx_vmess_zone_t  *zone, **zonep;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    if (ngx_vmess_zone_lookup(cf->cycle, name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate vmess_users \"%V\"", name);
        return NULL;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    zone->name = *name;
    zone->conf = vcf;
    zone->cycle = cf->cycle;
    zone->size = size;

    ngx_queue_init(&zone->accounts);
    ngx_queue_init(&zone->walks);
    ngx_rbtree_init(&zone->names, &zone->sentinel, ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&zone->ids, &zone->sentinel, ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&zone->subscriptions, &zone->sentinel,
                    ngx_str_rbtree_insert_value);

    zone->shm_zone = ngx_shared_memory_add(cf, name, size - size / 2,
                                           &ngx_vmess_module);
    if (zone->shm_zone == NULL) {
        return NULL;
    }

    zone->shm_zone->init = init;
    zone->shm_zone->data = zone;

    if (ngx_vmess_zone_add_counters(cf, zone) != NGX_OK) {
        return NULL;
    }

    zonep = ngx_array_push(&vcf->zones);
    if (zonep == NULL) {
        return NULL;
    }

    *zonep = zone;

    /* for sessions of datagrams */

    if (ngx_vmess_worker_add_zone(cf) != NGX_OK) {
        return NULL;
    }

    return zone;
}


/*
 * Counters have memory of their own, so that a zone has room for as many users
 * as before.  The name has the size: what is counted is about users of that
 * memory.
 */

static ngx_int_t
ngx_vmess_zone_add_counters(ngx_conf_t *cf, ngx_vmess_zone_t *zone)
{
    size_t           size;
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    size = sizeof("vmess_status_") - 1 + zone->name.len + 1 + NGX_SIZE_T_LEN;

    name.data = ngx_pnalloc(cf->pool, size);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    name.len = ngx_sprintf(name.data, "vmess_status_%V_%uz", &zone->name,
                           zone->size)
               - name.data;

    /* with what a slab pool takes */

    size = ngx_vmess_counters_size(zone->size) + zone->size / 64;
    size = ngx_align(size + size / 64 + 16 * ngx_pagesize, ngx_pagesize);

    shm_zone = ngx_shared_memory_add(cf, &name, size, &ngx_vmess_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_vmess_zone_init_counters;
    shm_zone->data = zone;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_zone_init_counters(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_vmess_zone_t *ozone = data;

    u_char            *p;
    size_t             size, history;
    ngx_slab_pool_t   *shpool;
    ngx_vmess_zone_t  *zone;

    zone = shm_zone->data;

    if (ozone) {
        zone->rows = ozone->rows;
        zone->history = ozone->history;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    size = ngx_align(ngx_vmess_counters_size(zone->size),
                     sizeof(ngx_atomic_t));
    history = zone->size / 64;

    p = ngx_slab_calloc(shpool, size + history);
    if (p == NULL) {
        return NGX_ERROR;
    }

    zone->rows = ngx_vmess_counters_create(p,
                                       ngx_vmess_counters_size(zone->size));
    zone->history = ngx_vmess_history_create(p + size, history);

    return NGX_OK;
}


ngx_vmess_zone_t **
ngx_vmess_zone_refer(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_str_t             *value;
    ngx_vmess_conf_t      *vcf;
    ngx_vmess_zone_t     **zone;
    ngx_vmess_zone_ref_t  *ref;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_zone_t *));
    ref = ngx_array_push(&vcf->refs);

    if (zone == NULL || ref == NULL) {
        return NULL;
    }

    value = cf->args->elts;

    ref->name = *name;
    ref->zone = zone;
    ref->directive = value[0];
    ref->file_name = cf->conf_file->file.name.data;
    ref->line = cf->conf_file->line;

    return zone;
}


ngx_int_t
ngx_vmess_zone_resolve(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf)
{
    ngx_uint_t             i;
    ngx_vmess_zone_ref_t  *ref;

    ref = vcf->refs.elts;

    for (i = 0; i < vcf->refs.nelts; i++) {

        *ref[i].zone = ngx_vmess_zone_lookup(cycle, &ref[i].name);

        if (*ref[i].zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "unknown zone \"%V\" in \"%V\" in %s:%ui, it must "
                          "be that of \"vmess_users %V\" in stream",
                          &ref[i].name, &ref[i].directive, ref[i].file_name,
                          ref[i].line, &ref[i].name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_vmess_zone_t *
ngx_vmess_zone_lookup(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        if (zone[i]->name.len == name->len
            && ngx_strncmp(zone[i]->name.data, name->data, name->len) == 0)
        {
            return zone[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_vmess_zone_create(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    void                 *p;
    size_t                size;
    ngx_slab_pool_t      *shpool;
    ngx_vmess_zone_sh_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm_zone->shm.addr;
    zone->shpool = shpool;

    if (!ngx_test_config) {
        ngx_vmess_zone_touch(&zone->shm_zone->shm);
    }

    size = sizeof(" in vmess_users \"\"") + zone->name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, size);
    if (shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shpool->log_ctx, " in vmess_users \"%V\"%Z", &zone->name);

    /* the caller says in its own words what does not fit */

    shpool->log_nomem = 0;

    sh = ngx_slab_calloc(shpool, sizeof(ngx_vmess_zone_sh_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    shpool->data = sh;
    zone->sh = sh;

    if (RAND_bytes(sh->secret, NGX_VMESS_SECRET_LEN) != 1) {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    /* 1/64 of the size is for the hints */

    for (size = 4096; size * 2 <= zone->size / 64; size *= 2) { /* void */ }

    sh->hints = ngx_slab_calloc(shpool, size);
    if (sh->hints == NULL) {
        return NGX_ERROR;
    }

    sh->hints_mask = size / sizeof(uint64_t) - 1;

    /* and twice of it for addresses */

    size = zone->size / 32;

    p = ngx_slab_alloc(shpool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sh->clients = ngx_vmess_clients_create(p, size);

    /* all the rest is for users: nothing is allocated from now on */

    size = shpool->pfree * ngx_pagesize;

    p = ngx_slab_alloc(shpool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sh->table = ngx_vmess_table_create(p, size);

    if (sh->table == NULL) {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* makes all pages present, as no lock should be held for that */

static void
ngx_vmess_zone_touch(ngx_shm_t *shm)
{
    u_char  *p;

    for (p = shm->addr; p < shm->addr + shm->size; p += ngx_pagesize) {
        (void) ngx_atomic_fetch_add((ngx_atomic_t *) p, 0);
    }
}


ngx_vmess_conf_t *
ngx_vmess_zone_old_conf(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    cycle = cycle->old_cycle;

    if (cycle->conf_ctx == NULL) {
        return NULL;
    }

    /* modules are not in the order of their indices */

    for (i = 0; i < cycle->modules_n; i++) {

        if (cycle->modules[i] == &ngx_vmess_module) {
            return (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx,
                                                     ngx_vmess_module);
        }
    }

    return NULL;
}
