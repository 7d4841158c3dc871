
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_alter.h"
#include "ngx_vmess_table_find.h"
#include "proto/ngx_vmess_id.h"


/* tokens made in a step, if there are no more, and ms between steps */

#define NGX_VMESS_ALTER_STEP      1000
#define NGX_VMESS_ALTER_INTERVAL  5


static ngx_int_t ngx_vmess_alter_init(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_vmess_alter_refresh_handler(ngx_event_t *ev);


static ngx_uint_t  ngx_vmess_alter_tag;


/* tokens are those of one configuration: its workers have them to the end */

ngx_int_t
ngx_vmess_alter_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone)
{
    size_t           size;
    ngx_str_t        name;
    ngx_shm_zone_t  *shm_zone;

    if (zone->nlegacy == 0) {
        return NGX_OK;
    }

    name.len = zone->name.len + sizeof(" tokens") - 1;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "%V tokens", &zone->name);

    size = ngx_vmess_token_size(zone->nlegacy)
           + zone->users.nelts * sizeof(ngx_vmess_legacy_user_t);

    /* nginx takes a hundredth for itself */

    shm_zone = ngx_shared_memory_add(cf, &name,
                                     size + size / 64 + 16 * ngx_pagesize,
                                     &ngx_vmess_alter_tag);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_vmess_alter_init;
    shm_zone->data = zone;
    shm_zone->noreuse = 1;

    zone->tokens_zone = shm_zone;

    return NGX_OK;
}


/* the tokens of all seconds that count, before anybody asks for them */

static ngx_int_t
ngx_vmess_alter_init(ngx_shm_zone_t *shm_zone, void *data)
{
    u_char                  *p, id[NGX_VMESS_ID_LEN];
    size_t                   size;
    ngx_uint_t               i, k, n;
    ngx_slab_pool_t         *shpool;
    ngx_vmess_zone_t        *zone;
    ngx_vmess_user_conf_t  **conf;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    size = ngx_vmess_token_size(zone->nlegacy);

    p = ngx_slab_alloc(shpool, size + zone->users.nelts
                                      * sizeof(ngx_vmess_legacy_user_t));
    if (p == NULL) {
        return NGX_ERROR;
    }

    zone->legacy = (ngx_vmess_legacy_user_t *) p;
    zone->tokens = ngx_vmess_token_create(&zone->legacy[zone->users.nelts],
                                          zone->nlegacy);

    conf = zone->users.elts;

    for (i = 0, k = 0; i < zone->users.nelts; i++) {

        n = conf[i]->value.limits.alter_id;

        if (n == 0) {
            continue;
        }

        ngx_memcpy(id, conf[i]->value.id[NGX_VMESS_USER_OWN],
                   NGX_VMESS_ID_LEN);

        for ( /* void */ ; n; n--) {
            ngx_vmess_id_next(id, id);
            ngx_vmess_token_add(zone->tokens, id, k);
        }

        zone->legacy[k++].serial = 0;
    }

    ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

    if (!ngx_test_config) {
        (void) ngx_vmess_token_refresh(zone->tokens, NULL, ngx_time(),
                                       NGX_MAX_UINT32_VALUE, ngx_pid);
    }

    return NGX_OK;
}


/* whose the tokens are */

void
ngx_vmess_alter_publish(ngx_vmess_zone_t *zone)
{
    ngx_uint_t               i, k;
    ngx_vmess_user_t        *user;
    ngx_vmess_table_t       *t;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;

    for (i = 0, k = 0; i < zone->users.nelts; i++) {

        if (conf[i]->value.limits.alter_id == 0) {
            continue;
        }

        t = ngx_vmess_users_lock(zone);

        user = ngx_vmess_table_find(t, &conf[i]->value.name);

        if (user) {
            zone->legacy[k].slot = user->conf->slot[NGX_VMESS_USER_OWN];
            zone->legacy[k].serial = user->conf->serial[NGX_VMESS_USER_OWN];
        }

        ngx_vmess_users_unlock(zone);

        k++;
    }
}


void
ngx_vmess_alter_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_event_t        *ev;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        if (zone[i]->tokens == NULL) {
            continue;
        }

        ev = &zone[i]->refresher;

        ev->handler = ngx_vmess_alter_refresh_handler;
        ev->data = zone[i];
        ev->log = cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_VMESS_ALTER_INTERVAL);
    }
}


static void
ngx_vmess_alter_refresh_handler(ngx_event_t *ev)
{
    ngx_int_t          rc;
    ngx_msec_t         delay;
    ngx_slab_pool_t   *shpool;
    ngx_vmess_zone_t  *zone;

    zone = ev->data;

    if (ngx_exiting) {
        return;
    }

    shpool = (ngx_slab_pool_t *) zone->tokens_zone->shm.addr;

    rc = ngx_vmess_token_refresh(zone->tokens, &shpool->mutex, ngx_time(),
                                 ngx_max(NGX_VMESS_ALTER_STEP,
                                         zone->nlegacy / 50),
                                 ngx_pid);

    delay = (rc == NGX_AGAIN) ? NGX_VMESS_ALTER_INTERVAL : 1000;

    ngx_add_timer(ev, delay);
}
