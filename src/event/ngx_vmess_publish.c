
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_publish.h"
#include "ngx_vmess_counters.h"
#include "ngx_vmess_edit.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_remove.h"
#include "ngx_vmess_table_room.h"
#include "ngx_vmess_table_set.h"
#include "ngx_vmess_table_temporary.h"


/* users that are looked at or changed under one lock */

#define NGX_VMESS_PUBLISH_SLICE     256

/* ms: a worker is given to apply a list to its end */

#define NGX_VMESS_PUBLISH_PATIENCE  2000


/* what a configuration needs in the table */

typedef struct {
    ngx_uint_t                 users;
    ngx_uint_t                 slots;
    ngx_uint_t                 freed;      /* slots, of users that go */
    ngx_uint_t                 keys;       /* users that need them made */
} ngx_vmess_need_t;


/* temporary ids of an id that goes to another user, or other memory */

typedef struct {
    u_char                     id[NGX_VMESS_ID_LEN];
    time_t                     refresh;
    time_t                     until[2];
    u_char                     cmd_key[2][NGX_VMESS_KEY_LEN];
    ngx_vmess_auth_key_t       key[2];
} ngx_vmess_saved_t;


static ngx_int_t ngx_vmess_publish_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ngx_vmess_publish_reserve(ngx_vmess_zone_t *zone,
    ngx_log_t *log);
static ngx_int_t ngx_vmess_publish_reserve_count(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need, ngx_log_t *log);
static ngx_vmess_user_t *ngx_vmess_publish_reserve_taken(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf);
static void ngx_vmess_publish_reserve_need(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf, ngx_vmess_need_t *need);
static void ngx_vmess_publish_reserve_count_others(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need);
static ngx_int_t ngx_vmess_publish_reserve_make_keys(ngx_vmess_zone_t *zone,
    ngx_log_t *log);
static void ngx_vmess_publish_reserve_log_size(ngx_vmess_zone_t *zone,
    ngx_vmess_need_t *need, ngx_log_t *log);
static void ngx_vmess_publish_cleanup(void *data);
static ngx_vmess_zone_t *ngx_vmess_publish_replace_old(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_set(ngx_vmess_zone_t *zone, ngx_log_t *log);
static ngx_vmess_table_e ngx_vmess_publish_set_user(ngx_vmess_zone_t *zone,
    ngx_vmess_table_t *t, ngx_vmess_user_conf_t *conf);
static void ngx_vmess_publish_set_defaults(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_remove(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_set_refresh(ngx_vmess_zone_t *zone);
static void ngx_vmess_publish_replace_inherit(ngx_vmess_zone_t *zone,
    ngx_vmess_zone_t *old, ngx_log_t *log);
static void ngx_vmess_publish_temporary_save(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_saved_t *saved);
static void ngx_vmess_publish_temporary_add(ngx_vmess_table_t *t,
    ngx_vmess_saved_t *saved);
static void ngx_vmess_publish_replace(ngx_vmess_zone_t *zone,
    ngx_vmess_zone_t *old);


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


static ngx_int_t
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

static ngx_int_t
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


/* the zone of that name in the configuration before, if its size was another */

static ngx_vmess_zone_t *
ngx_vmess_publish_replace_old(ngx_vmess_zone_t *zone)
{
    ngx_vmess_zone_t  *old;

    if (ngx_vmess_zone_old_conf(zone->cycle) == NULL) {
        return NULL;
    }

    old = ngx_vmess_zone_lookup(zone->cycle->old_cycle, &zone->name);

    if (old == NULL || old->sh == NULL || old->sh == zone->sh) {
        return NULL;
    }

    return old;
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

            rc = ngx_vmess_publish_set_user(zone, t, conf[i++]);

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
    ngx_vmess_user_conf_t *conf)
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


/* what is in the memory of another size; nobody knows the new one yet */

static void
ngx_vmess_publish_replace_inherit(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old,
    ngx_log_t *log)
{
    ngx_uint_t              i, n;
    ngx_vmess_user_t       *user;
    ngx_vmess_saved_t       saved;
    ngx_vmess_table_t      *t, *from;
    ngx_vmess_table_e       rc;
    ngx_vmess_user_info_t   info;

    ngx_memcpy(zone->sh->secret, old->sh->secret, NGX_VMESS_SECRET_LEN);

    /*
     * What old workers would change from now on would be lost.  A list that one
     * of them applies is not to be there in part.
     */

    from = ngx_vmess_users_lock(old);

    for (i = 0; i < NGX_VMESS_PUBLISH_PATIENCE && ngx_vmess_edit_is_open(old);
         i++)
    {
        ngx_vmess_users_unlock(old);
        ngx_msleep(1);
        from = ngx_vmess_users_lock(old);
    }

    old->sh->replaced = 1;

    ngx_vmess_users_unlock(old);

    n = ngx_vmess_table_max(from);

    for (i = 0; i < n; i++) {

        if (ngx_vmess_table_get(from, i, &info) != NGX_OK) {
            continue;
        }

        ngx_vmess_publish_temporary_save(from, ngx_vmess_table_user(from, i),
                                         &saved);

        rc = NGX_VMESS_TABLE_SAME;

        t = ngx_vmess_users_lock(zone);

        user = ngx_vmess_table_find(t, &info.value.name);

        if (user == NULL && info.value.origin == NGX_VMESS_ORIGIN_API) {
            rc = ngx_vmess_table_set(t, &info.value, NULL, &user);
        }

        if (user && rc <= NGX_VMESS_TABLE_CHANGED) {
            user->usage = info.usage;
        }

        ngx_vmess_publish_temporary_add(t, &saved);

        ngx_vmess_users_unlock(zone);

        if (rc > NGX_VMESS_TABLE_CHANGED) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": no room for user \"%V\"",
                          &zone->name, &info.value.name);
        }
    }

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}


/* temporary ids of a user that are good yet, by the memory of any zone */

static void
ngx_vmess_publish_temporary_save(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_vmess_saved_t *saved)
{
    ngx_uint_t       k;
    ngx_vmess_hit_t  hit;

    ngx_memzero(saved, sizeof(ngx_vmess_saved_t));

    ngx_memcpy(saved->id, user->conf->id[NGX_VMESS_USER_OWN],
               NGX_VMESS_ID_LEN);

    saved->refresh = ngx_vmess_table_temporary_refresh(t);

    for (k = 0; k < 2; k++) {

        if (user->temporary[k] == NGX_VMESS_SLOT_NONE
            || ngx_vmess_hit_take(t, user->temporary[k], NULL, ngx_time(),
                                   &hit)
               != NGX_OK
            || ngx_vmess_auth_method()->init(&saved->key[k], hit.cmd_key)
               != NGX_OK)
        {
            continue;
        }

        ngx_memcpy(saved->cmd_key[k], hit.cmd_key, NGX_VMESS_KEY_LEN);

        saved->until[k] = ngx_vmess_table_temporary_until(t, user, hit.serial,
                                                          k);
    }

    ngx_explicit_memzero(&hit, sizeof(ngx_vmess_hit_t));
}


/* gives them to the user that has the id now, if there is one */

static void
ngx_vmess_publish_temporary_add(ngx_vmess_table_t *t, ngx_vmess_saved_t *saved)
{
    ngx_uint_t         k;
    ngx_vmess_user_t  *user;

    user = ngx_vmess_table_find_id(t, saved->id);

    for (k = 0; k < 2; k++) {

        if (user && saved->until[k]
            && ngx_vmess_table_temporary_refresh(t) == saved->refresh)
        {
            (void) ngx_vmess_table_temporary_set(t, user,
                                    user->conf->serial[NGX_VMESS_USER_OWN], k,
                                    saved->cmd_key[k], &saved->key[k],
                                    saved->until[k]);
        }
    }

    ngx_explicit_memzero(saved, sizeof(ngx_vmess_saved_t));
}


/* for connections of old workers: they know the old memory */

static void
ngx_vmess_publish_replace(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old)
{
    ngx_uint_t              i, n;
    ngx_vmess_user_t       *user, *ouser;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   info;

    n = ngx_vmess_table_max(old->sh->table);

    for (i = 0; i < n; i++) {

        t = ngx_vmess_users_lock(old);

        ouser = ngx_vmess_table_user(t, i);

        if (ngx_vmess_table_used(ouser)) {

            user = ngx_vmess_table_find(zone->sh->table, &ouser->name);

            if (user == NULL
                || ngx_vmess_table_get(zone->sh->table,
                              ngx_vmess_table_number(zone->sh->table, user),
                              &info)
                   != NGX_OK
                || ngx_vmess_table_set(t, &info.value, NULL, NULL)
                   > NGX_VMESS_TABLE_CHANGED)
            {
                ngx_vmess_table_remove(t, ouser);
            }
        }

        ngx_vmess_users_unlock(old);
    }

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}
