
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_publish.h"
#include "ngx_vmess_publish_replace.h"
#include "ngx_vmess_publish_reserve.h"
#include "ngx_vmess_publish_temporary.h"
#include "ngx_vmess_counters.h"
#include "ngx_vmess_table_remove.h"
#include "ngx_vmess_table_room.h"
#include "ngx_vmess_table_set.h"
#include "ngx_vmess_table_temporary.h"


static ngx_int_t ngx_vmess_publish_init(ngx_shm_zone_t *shm_zone, void *data);
static void ngx_vmess_publish_cleanup(void *data);
static void ngx_vmess_publish_set(ngx_vmess_zone_t *zone, ngx_log_t *log);
static ngx_vmess_table_e ngx_vmess_publish_set_user(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf, ngx_log_t *log);
static void ngx_vmess_publish_set_defaults(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_remove(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_set_refresh(ngx_vmess_zone_t *zone);


ngx_vmess_zone_t *
ngx_vmess_publish_add(ngx_conf_t *cf, ngx_str_t *name, size_t size)
{
    ngx_vmess_zone_t    *zone;
    ngx_pool_cleanup_t  *cln;

    zone = ngx_vmess_zone_add(cf, name, size, ngx_vmess_publish_init);
    if (zone == NULL) {
        return NULL;
    }

    if (ngx_array_init(&zone->users, cf->pool, 16,
                       sizeof(ngx_vmess_user_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_vmess_publish_cleanup;
    cln->data = zone;

    return zone;
}


/*
 * Live users must not change here: what follows in ngx_init_cycle() may fail,
 * and then the old configuration stays.
 */

static ngx_int_t
ngx_vmess_publish_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_vmess_zone_t *ozone = data;

    ngx_vmess_zone_t  *zone;

    zone = shm_zone->data;

    if (ozone) {
        zone->sh = ozone->sh;
        zone->shpool = ozone->shpool;

    } else if (ngx_vmess_zone_create(zone, shm_zone->shm.log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (zone->load
        && zone->load(zone, ozone || ngx_vmess_publish_replace_old(zone),
                      shm_zone->shm.log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_vmess_publish_reserve(zone, shm_zone->shm.log) != NGX_OK) {
        return NGX_ERROR;
    }

    /* new memory goes whole if the configuration fails */

    zone->reserved = (ozone != NULL);

    return ngx_vmess_publish_reserve_make_keys(zone, shm_zone->shm.log);
}


static void
ngx_vmess_publish_cleanup(void *data)
{
    ngx_vmess_zone_t *zone = data;

    ngx_vmess_table_t  *t;

    if (zone->keys) {
        ngx_explicit_memzero(zone->keys,
                             zone->nkeys * sizeof(ngx_vmess_value_keys_t));
        ngx_free(zone->keys);
        zone->keys = NULL;
    }

    if (zone->reserved) {
        zone->reserved = 0;

        t = ngx_vmess_users_lock(zone);

        (void) ngx_vmess_table_room_reserve(t, 0, 0);

        ngx_vmess_users_unlock(zone);
    }
}


void
ngx_vmess_publish(ngx_vmess_zone_t *zone, ngx_cycle_t *cycle)
{
    ngx_vmess_zone_t  *old;

    /* reading the configuration took a while, and users may come and go */

    ngx_time_update();

    ngx_vmess_publish_set_refresh(zone);

    /*
     * An id must not be missing for long: one that goes from user to user is
     * taken away when it is set, if there is room for both users.
     */

    if (zone->tight) {
        ngx_vmess_publish_remove(zone);
    }

    ngx_vmess_publish_set(zone, cycle->log);

    ngx_vmess_publish_remove(zone);

    ngx_vmess_alter_publish(zone);

    zone->generation = ++zone->rows->generation;

    old = ngx_vmess_publish_replace_old(zone);

    if (old) {
        ngx_vmess_publish_replace_inherit(zone, old, cycle->log);
        ngx_vmess_publish_replace(zone, old);
    }

    ngx_vmess_publish_set_defaults(zone);

    ngx_vmess_publish_cleanup(zone);

    ngx_log_error(NGX_LOG_INFO, cycle->log, 0,
                  "vmess_users \"%V\": %ui users", &zone->name,
                  ngx_vmess_table_count(zone->sh->table));
}


static void
ngx_vmess_publish_set(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t               i, k;
    ngx_vmess_table_t       *t;
    ngx_vmess_table_e        rc;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;

    for (i = 0; i < zone->users.nelts; /* void */) {

        t = ngx_vmess_users_lock(zone);

        rc = NGX_VMESS_TABLE_SAME;

        for (k = 0; k < NGX_VMESS_PUBLISH_SLICE && i < zone->users.nelts; k++) {

            rc = ngx_vmess_publish_set_user(zone, t, conf[i++], log);

            if (rc > NGX_VMESS_TABLE_CHANGED) {
                break;
            }
        }

        ngx_vmess_users_unlock(zone);

        if (rc > NGX_VMESS_TABLE_CHANGED) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": no room for user \"%V\"",
                          &zone->name, &conf[i - 1]->value.name);
        }
    }
}


static ngx_vmess_table_e
ngx_vmess_publish_set_user(ngx_vmess_zone_t *zone, ngx_vmess_table_t *t,
    ngx_vmess_user_conf_t *conf, ngx_log_t *log)
{
    ngx_uint_t          taken;
    ngx_vmess_user_t   *user;
    ngx_vmess_saved_t   saved;
    ngx_vmess_table_e   rc;

    taken = 0;

    while ((rc = ngx_vmess_table_set(t, &conf->value, conf->keys, &user))
           == NGX_VMESS_TABLE_TAKEN)
    {
        ngx_vmess_publish_temporary_save(t, user, &saved);

        taken = 1;

        if (user->conf->origin == NGX_VMESS_ORIGIN_API
            && ngx_vmess_users_lookup(zone, &user->name) == NULL)
        {
            /* the API was given the id after all of them were looked at */

            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": the id of user \"%V\", who was "
                          "made at run time, went to user \"%V\" in %s:%ui, "
                          "and the former is removed",
                          &zone->name, &user->name, &conf->value.name,
                          conf->file_name, conf->line);
        }

        /* who is in the configuration gets another id, and has his counters */

        if (ngx_vmess_users_lookup(zone, &user->name) == NULL
            || ngx_vmess_table_set_aside(t, user, &conf->value) != NGX_OK)
        {
            ngx_vmess_table_remove(t, user);
        }
    }

    if (taken) {
        ngx_vmess_publish_temporary_add(t, &saved);
    }

    return rc;
}


static void
ngx_vmess_publish_remove(ngx_vmess_zone_t *zone)
{
    ngx_uint_t          i, k, n;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    n = ngx_vmess_table_max(zone->sh->table);

    for (i = 0; i < n; /* void */) {

        t = ngx_vmess_users_lock(zone);

        for (k = 0; k < NGX_VMESS_PUBLISH_SLICE && i < n; k++) {

            user = ngx_vmess_table_user(t, i++);

            if (ngx_vmess_table_used(user)
                && user->conf->origin == NGX_VMESS_ORIGIN_CONF
                && ngx_vmess_users_lookup(zone, &user->name) == NULL)
            {
                ngx_vmess_table_remove(t, user);
            }
        }

        ngx_vmess_users_unlock(zone);
    }
}


/* users of the API have what the configuration says for all */

static void
ngx_vmess_publish_set_defaults(ngx_vmess_zone_t *zone)
{
    ngx_uint_t              i, k, n;
    ngx_vmess_user_t       *user;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   info;

    (void) ngx_vmess_users_lock(zone);

    zone->sh->defaults = zone->defaults;

    ngx_vmess_users_unlock(zone);

    n = ngx_vmess_table_max(zone->sh->table);

    for (i = 0; i < n; /* void */) {

        t = ngx_vmess_users_lock(zone);

        for (k = 0; k < NGX_VMESS_PUBLISH_SLICE && i < n; k++, i++) {

            user = ngx_vmess_table_user(t, i);

            if (!ngx_vmess_table_used(user)
                || user->conf->origin != NGX_VMESS_ORIGIN_API
                || ngx_vmess_table_get(t, i, &info) != NGX_OK)
            {
                continue;
            }

            ngx_vmess_limits_inherit(&info.value.limits, &zone->defaults);

            (void) ngx_vmess_table_set(t, &info.value, NULL, NULL);

            ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
        }

        ngx_vmess_users_unlock(zone);
    }
}


static void
ngx_vmess_publish_set_refresh(ngx_vmess_zone_t *zone)
{
    ngx_uint_t          i, k, n;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    t = zone->sh->table;

    if (ngx_vmess_table_temporary_refresh(t) == zone->refresh) {
        return;
    }

    ngx_vmess_table_temporary_set_refresh(t, zone->refresh);

    n = ngx_vmess_table_max(t);

    for (i = 0; i < n; /* void */) {

        (void) ngx_vmess_users_lock(zone);

        for (k = 0; k < NGX_VMESS_PUBLISH_SLICE && i < n; k++) {

            user = ngx_vmess_table_user(t, i++);

            if (ngx_vmess_table_used(user)) {
                ngx_vmess_table_temporary_add(t, user);
            }
        }

        ngx_vmess_users_unlock(zone);
    }
}
