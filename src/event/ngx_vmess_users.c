
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_users.h"
#include "ngx_vmess_filter.h"
#include "proto/ngx_vmess_id.h"


/* tokens made in a step, if there are no more, and ms between steps */

#define NGX_VMESS_USERS_STEP      1000
#define NGX_VMESS_USERS_INTERVAL  5


static ngx_int_t ngx_vmess_users_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ngx_vmess_users_create(ngx_vmess_zone_t *zone,
    ngx_log_t *log);
static ngx_vmess_users_t *ngx_vmess_users_alloc(ngx_vmess_zone_t *zone,
    ngx_uint_t n);
static ngx_vmess_user_t *ngx_vmess_users_counters(ngx_vmess_zone_t *zone,
    ngx_str_node_t *name);
static void ngx_vmess_users_add_tokens(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);
static ngx_int_t ngx_vmess_users_add_temporary(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);
static void ngx_vmess_users_free(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);
static ngx_vmess_zone_t *ngx_vmess_users_replaced(ngx_vmess_zone_t *zone,
    ngx_cycle_t *cycle);
static void ngx_vmess_users_inherit(ngx_vmess_zone_t *zone,
    ngx_vmess_zone_t *old);
static void ngx_vmess_users_copy_temporary(ngx_vmess_users_t *users,
    ngx_vmess_users_t *old);
static void ngx_vmess_users_stamp(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);
static void ngx_vmess_users_reclaim(ngx_vmess_zone_t *zone);
static void ngx_vmess_users_sweep(ngx_vmess_zone_t *zone);
static void ngx_vmess_users_refresh_handler(ngx_event_t *ev);


ngx_vmess_zone_t *
ngx_vmess_users_add(ngx_conf_t *cf, ngx_str_t *name, size_t size)
{
    ngx_vmess_zone_t  *zone;

    zone = ngx_vmess_zone_add(cf, name, size, ngx_vmess_users_init);
    if (zone == NULL) {
        return NULL;
    }

    if (ngx_array_init(&zone->users, cf->pool, 16,
                       sizeof(ngx_vmess_user_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return zone;
}


/*
 * Live users must not change here: what follows in ngx_init_cycle() may fail,
 * and then the old configuration stays.
 */

static ngx_int_t
ngx_vmess_users_init(ngx_shm_zone_t *shm_zone, void *data)
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

    return ngx_vmess_users_create(zone, shm_zone->shm.log);
}


static ngx_int_t
ngx_vmess_users_create(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t                      i, n;
    ngx_vmess_users_t              *users;
    ngx_vmess_zone_sh_t            *sh;
    ngx_vmess_user_conf_t         **conf;
    const ngx_vmess_auth_method_t  *method;

    sh = zone->sh;
    conf = zone->users.elts;
    n = zone->users.nelts;

    method = ngx_vmess_auth_method();

    ngx_shmtx_lock(&zone->shpool->mutex);

    /* of a configuration that failed later */

    if (sh->pending) {
        ngx_vmess_users_free(zone, sh->pending);
        sh->pending = NULL;
    }

    /* what no worker reads any more makes room */

    ngx_vmess_users_reclaim(zone);

    users = ngx_vmess_users_alloc(zone, n);
    if (users == NULL) {
        goto nomem;
    }

    for (i = 0; i < n; i++) {

        users->records[i].user = ngx_vmess_users_counters(zone, &conf[i]->name);

        if (users->records[i].user == NULL) {
            goto nomem;
        }
    }

    sh->pending = users;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    /* nobody but us looks at what is pending: no lock for the keys */

    for (i = 0; i < n; i++) {

        ngx_memcpy(users->records[i].cmd_key, conf[i]->cmd_key,
                   NGX_VMESS_KEY_LEN);

        ngx_memcpy(&users->records[i].owner, conf[i]->cmd_key,
                   sizeof(uint32_t));
        users->records[i].owner |= 1;

        if (method->init(&users->keys[i], conf[i]->cmd_key) != NGX_OK) {
            ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                          "vmess_users \"%V\": key of user \"%V\" failed",
                          &zone->name, &conf[i]->name.str);
            return NGX_ERROR;
        }
    }

    /* no token may fit a key that is not in use yet */

    if (users->temporary
        && RAND_bytes((u_char *) users->temporary,
                      2 * n * sizeof(ngx_vmess_auth_key_t)) != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    if (users->tokens) {
        ngx_vmess_users_add_tokens(zone, users);
    }

    return NGX_OK;

nomem:

    if (users) {
        ngx_vmess_users_free(zone, users);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "vmess_users \"%V\": %ui users do not fit into %uzk of "
                  "shared memory (half of it is the replay filter, and a "
                  "reload needs room for the old users and the new), "
                  "use a size of %uzk or more",
                  &zone->name, n, zone->size / 1024,
                  ngx_max(zone->size * 2,
                          n * 1536 + 4 * ngx_vmess_token_size(zone->nlegacy)
                          + (zone->refresh ? 8 * n
                             * sizeof(ngx_vmess_auth_key_t) : 0))
                  / 1024);

    return NGX_ERROR;
}


/* called with the zone locked, as the three below */

static ngx_vmess_users_t *
ngx_vmess_users_alloc(ngx_vmess_zone_t *zone, ngx_uint_t n)
{
    void               *p;
    ngx_vmess_users_t  *users;

    users = ngx_slab_calloc_locked(zone->shpool, sizeof(ngx_vmess_users_t));
    if (users == NULL) {
        return NULL;
    }

    users->n = n;

    if (n == 0) {
        return users;
    }

    users->keys = ngx_slab_alloc_locked(zone->shpool,
                                        n * sizeof(ngx_vmess_auth_key_t));
    users->records = ngx_slab_alloc_locked(zone->shpool,
                                           n * sizeof(ngx_vmess_record_t));

    if (zone->nlegacy) {
        users->tokens_size = ngx_vmess_token_size(zone->nlegacy);

        p = ngx_slab_alloc_locked(zone->shpool, users->tokens_size);
        if (p) {
            users->tokens = ngx_vmess_token_create(p, zone->nlegacy);
        }
    }

    if (users->keys == NULL || users->records == NULL
        || (zone->nlegacy && users->tokens == NULL)
        || ngx_vmess_users_add_temporary(zone, users) != NGX_OK)
    {
        ngx_vmess_users_free(zone, users);
        return NULL;
    }

    return users;
}


static ngx_int_t
ngx_vmess_users_add_temporary(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    if (zone->refresh == 0 || users->n == 0) {
        return NGX_OK;
    }

    users->refresh = zone->refresh;
    users->temporary = ngx_slab_calloc_locked(zone->shpool,
                                  2 * users->n * sizeof(ngx_vmess_auth_key_t));
    users->until = ngx_slab_calloc_locked(zone->shpool,
                                          2 * users->n * sizeof(time_t));

    return (users->temporary && users->until) ? NGX_OK : NGX_ERROR;
}


static ngx_vmess_user_t *
ngx_vmess_users_counters(ngx_vmess_zone_t *zone, ngx_str_node_t *name)
{
    ngx_vmess_user_t    *user;
    ngx_vmess_bucket_t  *buckets;

    user = (ngx_vmess_user_t *) ngx_str_rbtree_lookup(&zone->sh->names,
                                                      &name->str,
                                                      name->node.key);
    if (user) {
        return user;
    }

    /* apart, as a user with it would take a slot of twice the size */

    buckets = ngx_slab_calloc_locked(zone->shpool,
                                     2 * sizeof(ngx_vmess_bucket_t));
    if (buckets == NULL) {
        return NULL;
    }

    user = ngx_slab_calloc_locked(zone->shpool,
                                  sizeof(ngx_vmess_user_t) + name->str.len);
    if (user == NULL) {
        ngx_slab_free_locked(zone->shpool, buckets);
        return NULL;
    }

    user->buckets = buckets;

    user->name.node.key = name->node.key;
    user->name.str.len = name->str.len;
    user->name.str.data = (u_char *) &user[1];

    ngx_memcpy(user->name.str.data, name->str.data, name->str.len);

    ngx_rbtree_insert(&zone->sh->names, &user->name.node);

    return user;
}


static void
ngx_vmess_users_free(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    if (users->keys) {
        ngx_explicit_memzero(users->keys,
                             users->n * sizeof(ngx_vmess_auth_key_t));
        ngx_slab_free_locked(zone->shpool, users->keys);
    }

    if (users->records) {
        ngx_explicit_memzero(users->records,
                             users->n * sizeof(ngx_vmess_record_t));
        ngx_slab_free_locked(zone->shpool, users->records);
    }

    if (users->tokens) {
        ngx_explicit_memzero(users->tokens, users->tokens_size);
        ngx_slab_free_locked(zone->shpool, users->tokens);
    }

    if (users->temporary) {
        ngx_explicit_memzero(users->temporary,
                             2 * users->n * sizeof(ngx_vmess_auth_key_t));
        ngx_slab_free_locked(zone->shpool, users->temporary);
    }

    if (users->until) {
        ngx_slab_free_locked(zone->shpool, users->until);
    }

    ngx_slab_free_locked(zone->shpool, users);
}


/* the tokens of all seconds that count, before anybody asks for them */

static void
ngx_vmess_users_add_tokens(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    u_char                   id[NGX_VMESS_ID_LEN];
    ngx_uint_t               i, n;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;

    for (i = 0; i < users->n; i++) {

        ngx_memcpy(id, conf[i]->uuid, NGX_VMESS_ID_LEN);

        for (n = conf[i]->limits.alter_id; n; n--) {
            ngx_vmess_id_next(id, id);
            ngx_vmess_token_add(users->tokens, id, i);
        }
    }

    ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

    if (!ngx_test_config) {
        (void) ngx_vmess_token_refresh(users->tokens, NULL, ngx_time(),
                                       NGX_MAX_UINT32_VALUE, ngx_pid);
    }
}


void
ngx_vmess_users_publish(ngx_vmess_zone_t *zone, ngx_cycle_t *cycle)
{
    ngx_vmess_zone_t     *old;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    old = ngx_vmess_users_replaced(zone, cycle);
    if (old) {
        ngx_vmess_users_inherit(zone, old);
    }

    ngx_shmtx_lock(&zone->shpool->mutex);

    ngx_vmess_users_stamp(zone, sh->pending);

    if (sh->users) {
        ngx_vmess_users_copy_temporary(sh->pending, sh->users);

        sh->users->next = sh->retired;
        sh->retired = sh->users;
    }

    sh->users = sh->pending;
    sh->pending = NULL;

    /* workers look at the limits of a new generation once */

    ngx_vmess_memory_barrier();

    sh->generation++;

    ngx_vmess_users_reclaim(zone);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_log_error(NGX_LOG_INFO, cycle->log, 0,
                  "vmess_users \"%V\": %ui users", &zone->name,
                  sh->users->n);
}


/* the zone of that name in the configuration before, if its size was another */

static ngx_vmess_zone_t *
ngx_vmess_users_replaced(ngx_vmess_zone_t *zone, ngx_cycle_t *cycle)
{
    ngx_vmess_zone_t  *old;

    if (ngx_vmess_zone_old_conf(cycle) == NULL) {
        return NULL;
    }

    old = ngx_vmess_zone_lookup(cycle->old_cycle, &zone->name);

    if (old == NULL || old->sh == NULL || old->sh == zone->sh) {
        return NULL;
    }

    return old;
}


static void
ngx_vmess_users_inherit(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old)
{
    ngx_uint_t               i;
    ngx_vmess_user_t        *from, *to;
    ngx_vmess_record_t      *record;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;
    record = zone->sh->pending->records;

    for (i = 0; i < zone->sh->pending->n; i++) {

        to = record[i].user;
        from = (ngx_vmess_user_t *)
                   ngx_str_rbtree_lookup(&old->sh->names, &to->name.str,
                                         to->name.node.key);
        if (from) {
            to->up = from->up;
            to->down = from->down;
            to->total = from->total;
            to->refused = from->refused;

            /* for connections of old workers: they know the old zone */

            from->limits = conf[i]->limits;

            if (from->generation == old->sh->generation
                && ngx_vmess_equal(
                           old->sh->users->records[from->number].cmd_key,
                           record[i].cmd_key, NGX_VMESS_KEY_LEN))
            {
                from->generation++;
            }
        }
    }

    ngx_vmess_memory_barrier();

    old->sh->generation++;

    ngx_memcpy(zone->sh->secret, old->sh->secret, NGX_VMESS_SECRET_LEN);

    ngx_vmess_users_copy_temporary(zone->sh->pending, old->sh->users);
}


/* takes over temporary ids that are good yet from the tables before */

static void
ngx_vmess_users_copy_temporary(ngx_vmess_users_t *users, ngx_vmess_users_t *old)
{
    ngx_uint_t           i, k, m, slot;
    ngx_vmess_record_t  *record;

    if (users->temporary == NULL || old->refresh != users->refresh) {
        return;
    }

    k = 0;

    for (i = 0; i < 2 * old->n; i++) {

        if (old->until[i] < ngx_time()) {
            continue;
        }

        record = &old->records[i % old->n];

        /* mostly in the same order */

        for (m = 0; m < users->n; m++, k++) {

            k %= users->n;

            if (ngx_memcmp(users->records[k].cmd_key, record->cmd_key,
                           NGX_VMESS_KEY_LEN)
                == 0)
            {
                break;
            }
        }

        if (m == users->n) {
            continue;
        }

        slot = i / old->n * users->n + k;

        users->temporary[slot] = old->temporary[i];
        users->until[slot] = old->until[i];
    }
}


/*
 * Stamps the users of a new configuration, and those whose key is another one
 * than in the configuration before, and gives them what is configured.  Called
 * with the zone locked, before the tables and sh->generation become those of
 * the new configuration.
 */

static void
ngx_vmess_users_stamp(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    ngx_uint_t               i, generation;
    ngx_vmess_user_t        *user;
    ngx_vmess_record_t      *record, *old;
    ngx_vmess_zone_sh_t     *sh;
    ngx_vmess_user_conf_t  **conf;

    sh = zone->sh;
    conf = zone->users.elts;

    generation = sh->generation + 1;
    users->generation = generation;

    for (i = 0; i < users->n; i++) {

        record = &users->records[i];
        user = record->user;

        /* those in use have a number there */

        old = (sh->users && user->generation == sh->generation)
              ? &sh->users->records[user->number] : NULL;

        if (old == NULL
            || ngx_vmess_equal(old->cmd_key, record->cmd_key,
                               NGX_VMESS_KEY_LEN) == 0)
        {
            user->changed = generation;
        }

        user->limits = conf[i]->limits;
        user->number = i;
        user->generation = generation;
    }
}


/*
 * Frees the tables of earlier configurations that no worker is reading just
 * now.  A worker names the table in its slot, then makes sure that it is
 * still the published one.  Called with the zone locked.
 */

static void
ngx_vmess_users_reclaim(ngx_vmess_zone_t *zone)
{
    ngx_uint_t            i;
    ngx_vmess_users_t    *users, **p;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    ngx_vmess_memory_barrier();

    for (p = &sh->retired; *p; /* void */) {

        users = *p;

        for (i = 0; i < NGX_MAX_PROCESSES; i++) {
            if (sh->readers[i] == users) {
                break;
            }
        }

        if (i < NGX_MAX_PROCESSES) {
            p = &users->next;
            continue;
        }

        *p = users->next;
        ngx_vmess_users_free(zone, users);
    }

    if (sh->retired == NULL) {
        ngx_vmess_users_sweep(zone);
    }
}


/*
 * Drops the counters of users that are configured no more, once nobody
 * refers to them.  Called with the zone locked and no old table left from which
 * a worker could take such a user.
 */

static void
ngx_vmess_users_sweep(ngx_vmess_zone_t *zone)
{
    ngx_vmess_user_t     *user;
    ngx_rbtree_node_t    *node, *next;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    if (sh->names.root == &sh->sentinel || !ngx_vmess_zone_settled(sh)) {
        return;
    }

    for (node = ngx_rbtree_min(sh->names.root, &sh->sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(&sh->names, node);

        user = (ngx_vmess_user_t *) node;

        if (user->generation == sh->generation || user->refs[sh->epoch & 1]) {
            continue;
        }

        ngx_rbtree_delete(&sh->names, node);
        ngx_slab_free_locked(zone->shpool, user->buckets);
        ngx_slab_free_locked(zone->shpool, user);
    }
}


void
ngx_vmess_users_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_event_t        *ev;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        if (zone[i]->nlegacy == 0) {
            continue;
        }

        ev = &zone[i]->refresher;

        ev->handler = ngx_vmess_users_refresh_handler;
        ev->data = zone[i];
        ev->log = cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_VMESS_USERS_INTERVAL);
    }
}


static void
ngx_vmess_users_refresh_handler(ngx_event_t *ev)
{
    ngx_int_t           rc;
    ngx_msec_t          delay;
    ngx_vmess_zone_t   *zone;
    ngx_vmess_users_t  *users;

    zone = ev->data;

    if (ngx_exiting) {
        return;
    }

    users = ngx_vmess_users_acquire(zone->sh);

    rc = users->tokens
         ? ngx_vmess_token_refresh(users->tokens, &zone->shpool->mutex,
                                   ngx_time(),
                                   ngx_max(NGX_VMESS_USERS_STEP,
                                           zone->nlegacy / 50),
                                   ngx_pid)
         : NGX_DECLINED;

    ngx_vmess_users_release(zone->sh);

    delay = (rc == NGX_AGAIN) ? NGX_VMESS_USERS_INTERVAL : 1000;

    ngx_add_timer(ev, delay);
}


/*
 * Names the table of users as being read by this worker, which keeps it from
 * being freed, without a lock that anybody would wait for.
 */

ngx_vmess_users_t *
ngx_vmess_users_acquire(ngx_vmess_zone_sh_t *sh)
{
    ngx_vmess_users_t  *users;

    do {
        users = sh->users;
        sh->readers[ngx_process_slot] = users;

        /* the name must be seen by others before the check is made */

        ngx_vmess_memory_barrier();

    } while (users != sh->users);

    return users;
}


void
ngx_vmess_users_release(ngx_vmess_zone_sh_t *sh)
{
    ngx_vmess_memory_barrier();

    sh->readers[ngx_process_slot] = NULL;
}


void
ngx_vmess_users_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    u_char              buf[NGX_VMESS_USER_NAME_MAX];
    uint32_t            owner;
    ngx_str_t           name;
    ngx_uint_t          i, k, n, capacity;
    ngx_vmess_users_t  *users;
    ngx_vmess_zone_t  **zones;

    owner = ngx_vmess_filter_most(zone->conf, &n, &capacity);

    ngx_str_set(&name, "that is gone");

    zones = zone->conf->zones.elts;

    for (k = 0; k < zone->conf->zones.nelts; k++) {

        users = ngx_vmess_users_acquire(zones[k]->sh);

        for (i = 0; i < users->n; i++) {
            if (users->records[i].owner == owner) {
                name = users->records[i].user->name.str;
                ngx_memcpy(buf, name.data, name.len);
                name.data = buf;
                break;
            }
        }

        ngx_vmess_users_release(zones[k]->sh);
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "vmess_users \"%V\": replay filter is full, "
                  "user \"%V\" has %ui of its %ui entries",
                  &zone->name, &name, n, capacity);
}
