
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_publish_reserve.h"
#include "ngx_vmess_publish_replace.h"
#include "ngx_vmess_edit.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_room.h"


/* what a configuration needs in the table */

typedef struct {
    ngx_uint_t                 users;
    ngx_uint_t                 slots;
    ngx_uint_t                 freed;      /* slots, of users that go */
    ngx_uint_t                 keys;       /* users that need them made */
} ngx_vmess_need_t;


static ngx_int_t ngx_vmess_publish_reserve_count(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need, ngx_log_t *log);
static ngx_vmess_user_t *ngx_vmess_publish_reserve_taken(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf);
static void ngx_vmess_publish_reserve_need(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf, ngx_vmess_need_t *need);
static void ngx_vmess_publish_reserve_count_others(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need);
static void ngx_vmess_publish_reserve_log_size(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need, ngx_log_t *log);


ngx_int_t
ngx_vmess_publish_reserve(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    ngx_int_t           rc;
    ngx_vmess_need_t    need;
    ngx_vmess_table_t  *t;

    ngx_memzero(&need, sizeof(ngx_vmess_need_t));

    if (ngx_vmess_publish_reserve_count(zone, &need, log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_vmess_publish_reserve_count_others(zone, &need);

    zone->nkeys = need.keys;

    t = ngx_vmess_users_lock(zone);

    ngx_vmess_edit_bury(zone);

    /* users without flows need not stay */

    if (ngx_vmess_epoch_settled(zone->sh)) {
        ngx_vmess_table_reap(t, zone->sh->epoch, 0);
    }

    rc = ngx_vmess_table_room_reserve(t, need.users, need.slots);

    if (rc != NGX_OK) {
        zone->tight = 1;
        rc = ngx_vmess_table_room_reserve(t, need.users,
                                          need.slots
                                          - ngx_min(need.slots, need.freed));
    }

    ngx_vmess_users_unlock(zone);

    if (rc != NGX_OK) {
        ngx_vmess_publish_reserve_log_size(zone, &need, log);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_publish_reserve_count(ngx_vmess_zone_t *zone, ngx_vmess_need_t *need,
    ngx_log_t *log)
{
    ngx_uint_t               i, k;
    ngx_vmess_zone_t        *old;
    ngx_vmess_user_t        *user;
    ngx_vmess_table_t       *t, *from;
    ngx_vmess_user_conf_t  **conf;

    old = ngx_vmess_publish_replace_old(zone);
    conf = zone->users.elts;

    for (i = 0; i < zone->users.nelts; /* void */) {

        t = ngx_vmess_users_lock(zone);

        /* nobody else has new memory, so the order does not matter */

        from = old ? ngx_vmess_users_lock(old) : t;

        user = NULL;

        for (k = 0; k < NGX_VMESS_PUBLISH_SLICE && i < zone->users.nelts; k++) {

            user = ngx_vmess_publish_reserve_taken(zone, from, conf[i]);

            if (user) {
                i++;
                break;
            }

            ngx_vmess_publish_reserve_need(zone, t, conf[i++], need);
        }

        if (old) {
            ngx_vmess_users_unlock(old);
        }

        ngx_vmess_users_unlock(zone);

        if (user) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "user \"%V\" in vmess_users \"%V\" in %s:%ui has the "
                          "id of user \"%V\", who was made at run time, give "
                          "each one of its own",
                          &conf[i - 1]->value.name, &zone->name,
                          conf[i - 1]->file_name, conf[i - 1]->line,
                          &user->name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a user that has an id of one of the configuration, and does not go */

static ngx_vmess_user_t *
ngx_vmess_publish_reserve_taken(ngx_vmess_zone_t *zone, ngx_vmess_table_t *t,
    ngx_vmess_user_conf_t *conf)
{
    ngx_uint_t         k;
    ngx_vmess_user_t  *user;

    for (k = 0; k < conf->value.ids; k++) {

        user = ngx_vmess_table_find_id(t, conf->value.id[k]);

        if (user && user->conf->origin == NGX_VMESS_ORIGIN_API
            && ngx_vmess_users_lookup(zone, &user->name) == NULL)
        {
            return user;
        }
    }

    return NULL;
}


static void
ngx_vmess_publish_reserve_need(ngx_vmess_zone_t *zone, ngx_vmess_table_t *t,
    ngx_vmess_user_conf_t *conf, ngx_vmess_need_t *need)
{
    ngx_uint_t         k, slots;
    ngx_vmess_user_t  *user, *other;

    user = ngx_vmess_table_find(t, &conf->value.name);

    slots = 0;

    for (k = 0; k < conf->value.ids; k++) {

        other = ngx_vmess_table_find_id(t, conf->value.id[k]);

        slots += (other == NULL || other != user);
    }

    if (slots) {
        conf->keys = NGX_CONF_UNSET_PTR;
        need->keys++;
    }

    if (zone->refresh
        && (user == NULL || user->temporary[0] == NGX_VMESS_SLOT_NONE))
    {
        slots += 2;
    }

    need->users += (user == NULL);
    need->slots += slots;
}


/* users that go, and those made at run time if the memory is new */

static void
ngx_vmess_publish_reserve_count_others(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need)
{
    ngx_uint_t              i, n;
    ngx_vmess_zone_t       *old;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   info;

    t = zone->sh->table;
    n = ngx_vmess_table_max(t);

    for (i = 0; i < n; i++) {

        if (ngx_vmess_table_get(t, i, &info) == NGX_OK
            && info.value.origin == NGX_VMESS_ORIGIN_CONF
            && ngx_vmess_users_lookup(zone, &info.value.name) == NULL)
        {
            need->freed += info.value.ids;
        }
    }

    old = ngx_vmess_publish_replace_old(zone);
    if (old == NULL) {
        goto done;
    }

    t = old->sh->table;
    n = ngx_vmess_table_max(t);

    for (i = 0; i < n; i++) {

        if (ngx_vmess_table_get(t, i, &info) == NGX_OK
            && info.value.origin == NGX_VMESS_ORIGIN_API
            && ngx_vmess_users_lookup(zone, &info.value.name) == NULL)
        {
            need->users++;
            need->slots += info.value.ids + (zone->refresh ? 2 : 0);
        }
    }

done:

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}


/* of ids that are new, as it takes too long for the time of a lock */

ngx_int_t
ngx_vmess_publish_reserve_make_keys(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t               i, n;
    ngx_vmess_user_conf_t  **conf;

    if (zone->nkeys == 0) {
        return NGX_OK;
    }

    zone->keys = ngx_alloc(zone->nkeys * sizeof(ngx_vmess_value_keys_t), log);
    if (zone->keys == NULL) {
        return NGX_ERROR;
    }

    conf = zone->users.elts;

    for (i = 0, n = 0; i < zone->users.nelts; i++) {

        if (conf[i]->keys == NULL) {
            continue;
        }

        conf[i]->keys = &zone->keys[n++];

        if (ngx_vmess_table_keys(&conf[i]->value, conf[i]->keys) != NGX_OK) {
            ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                          "vmess_users \"%V\": key of user \"%V\" failed",
                          &zone->name, &conf[i]->value.name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* hints, addresses, what nginx has beside, and the other half */

static void
ngx_vmess_publish_reserve_log_size(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need, ngx_log_t *log)
{
    size_t                   size;
    ngx_uint_t               i, n, ids;
    ngx_vmess_table_t       *t;
    ngx_vmess_user_info_t    info;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;
    n = zone->users.nelts;
    ids = 0;

    for (i = 0; i < n; i++) {
        ids += conf[i]->value.ids + (zone->refresh ? 2 : 0);
    }

    t = zone->sh->table;

    for (i = 0; i < ngx_vmess_table_max(t); i++) {

        if (ngx_vmess_table_get(t, i, &info) == NGX_OK
            && info.value.origin == NGX_VMESS_ORIGIN_API
            && ngx_vmess_users_lookup(zone, &info.value.name) == NULL)
        {
            n++;
            ids += info.value.ids + (zone->refresh ? 2 : 0);
        }
    }

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));

    n = ngx_max(n, need->users);
    ids = ngx_max(ids, need->slots);

    size = ngx_vmess_table_size(n, ids);
    size = ngx_max((size + size / 8 + 96 * 1024) * 2,
                   zone->size + 64 * 1024);

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "vmess_users \"%V\": %ui users do not fit into %uzk of "
                  "shared memory (half of it is the replay filter), "
                  "use a size of %uzk or more",
                  &zone->name, n, zone->size / 1024, size / 1024);
}
