
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_zone.h"
#include "ngx_vmess_worker.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_users.h"
#include "ngx_vmess_detour.h"
#include "ngx_vmess_token.h"
#include "proto/ngx_vmess_proto.h"


/* tokens made in a step, if there are no more, and ms between steps */

#define NGX_VMESS_USERS_STEP      1000
#define NGX_VMESS_USERS_INTERVAL  5

/* ms until it is noticed that another worker has died */

#define NGX_VMESS_ACCOUNT_SETTLE  1000


static void ngx_vmess_users_refresh_handler(ngx_event_t *ev);
static ngx_int_t ngx_vmess_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ngx_vmess_zone_create(ngx_vmess_zone_t *zone, ngx_log_t *log);
static ngx_vmess_zone_t *ngx_vmess_users_replaced(ngx_vmess_zone_t *zone,
    ngx_cycle_t *cycle);
static void ngx_vmess_users_inherit(ngx_vmess_zone_t *zone,
    ngx_vmess_zone_t *old);
static void ngx_vmess_account_settle_handler(ngx_event_t *ev);
static void ngx_vmess_account_settle(ngx_vmess_zone_t *zone);
static ngx_uint_t ngx_vmess_zone_settled(ngx_vmess_zone_sh_t *sh);
static void ngx_vmess_users_sweep(ngx_vmess_zone_t *zone);


ngx_vmess_zone_t *
ngx_vmess_zone_add(ngx_conf_t *cf, ngx_str_t *name, size_t size)
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
    zone->size = size;

    if (ngx_array_init(&zone->users, cf->pool, 16,
                       sizeof(ngx_vmess_user_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_queue_init(&zone->accounts);
    ngx_rbtree_init(&zone->names, &zone->sentinel, ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&zone->ids, &zone->sentinel, ngx_str_rbtree_insert_value);

    zone->shm_zone = ngx_shared_memory_add(cf, name, size - size / 2,
                                           &ngx_vmess_module);
    if (zone->shm_zone == NULL) {
        return NULL;
    }

    zone->shm_zone->init = ngx_vmess_zone_init;
    zone->shm_zone->data = zone;

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


/*
 * Live users must not change here: what follows in ngx_init_cycle() may fail,
 * and then the old configuration stays.
 */

static ngx_int_t
ngx_vmess_zone_init(ngx_shm_zone_t *shm_zone, void *data)
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
ngx_vmess_zone_create(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
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

    ngx_rbtree_init(&sh->names, &sh->sentinel, ngx_str_rbtree_insert_value);

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

    return NGX_OK;
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

    ngx_vmess_users_stamp(sh, sh->pending);

    if (sh->users) {
        ngx_vmess_users_copy_temporary(sh->pending, sh->users);

        sh->users->next = sh->retired;
        sh->retired = sh->users;
    }

    sh->users = sh->pending;
    sh->pending = NULL;
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


static void
ngx_vmess_users_inherit(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old)
{
    ngx_uint_t            i;
    ngx_vmess_user_t     *from, *to;
    ngx_vmess_record_t   *record;

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

            if (from->generation == old->sh->generation
                && ngx_vmess_equal(
                           old->sh->users->records[from->number].cmd_key,
                           record[i].cmd_key, NGX_VMESS_KEY_LEN))
            {
                from->generation++;
            }
        }
    }

    old->sh->generation++;

    ngx_memcpy(zone->sh->secret, old->sh->secret, NGX_VMESS_SECRET_LEN);

    ngx_vmess_users_copy_temporary(zone->sh->pending, old->sh->users);
}


/*
 * Frees the tables of earlier configurations that no worker is reading just
 * now.  A worker names the table in its slot, then makes sure that it is
 * still the published one.  Called with the zone locked.
 */

void
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
        ngx_slab_free_locked(zone->shpool, user);
    }
}


void
ngx_vmess_zone_init_process(ngx_vmess_zone_t *zone)
{
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    /* of a worker that died in this slot */

    sh->readers[ngx_process_slot] = NULL;

    if (sh->slots[ngx_process_slot].pid) {
        sh->lost = 1;

        ngx_vmess_memory_barrier();

        sh->slots[ngx_process_slot].pid = 0;
    }

    ngx_queue_init(&zone->accounts);
    zone->registered = 0;
}


void
ngx_vmess_zone_exit_process(ngx_vmess_zone_t *zone)
{
    if (!zone->registered) {
        return;
    }

    if (!ngx_queue_empty(&zone->accounts)) {

        /* told to be quick */

        zone->sh->lost = 1;

        ngx_vmess_memory_barrier();
    }

    zone->sh->slots[ngx_process_slot].pid = 0;
}


void
ngx_vmess_account_register(ngx_vmess_zone_t *zone)
{
    ngx_event_t          *ev;
    ngx_vmess_slot_sh_t  *slot;

    slot = &zone->sh->slots[ngx_process_slot];

    do {
        zone->epoch = zone->sh->epoch;

        slot->epoch = zone->epoch;
        slot->pid = ngx_pid;

        /* as in ngx_vmess_users_acquire() */

        ngx_vmess_memory_barrier();

    } while (zone->epoch != zone->sh->epoch);

    zone->registered = 1;

    ev = &zone->settler;

    ev->handler = ngx_vmess_account_settle_handler;
    ev->data = zone;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_VMESS_ACCOUNT_SETTLE);
}


static void
ngx_vmess_account_settle_handler(ngx_event_t *ev)
{
    ngx_vmess_zone_t *zone = ev->data;

    ngx_vmess_account_settle(zone);

    ngx_add_timer(ev, NGX_VMESS_ACCOUNT_SETTLE);
}


/*
 * Begins a new epoch if a worker has died, and enters the one that somebody has
 * begun.  As there are counters of two epochs, all workers have to be in the
 * present one before.
 */

static void
ngx_vmess_account_settle(ngx_vmess_zone_t *zone)
{
    uint32_t              next;
    ngx_uint_t            i;
    ngx_vmess_user_t     *user;
    ngx_rbtree_node_t    *node;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    if (zone->epoch != sh->epoch) {
        ngx_vmess_account_recount(zone);
    }

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {

        if (sh->slots[i].pid == 0
            || kill((ngx_pid_t) sh->slots[i].pid, 0) == 0
            || ngx_errno != NGX_ESRCH)
        {
            continue;
        }

        ngx_shmtx_lock(&zone->shpool->mutex);

        /* unless another one has been started there meanwhile */

        if (sh->slots[i].pid && kill((ngx_pid_t) sh->slots[i].pid, 0) == -1) {
            sh->lost = 1;

            ngx_vmess_memory_barrier();

            sh->readers[i] = NULL;
            sh->slots[i].pid = 0;
        }

        ngx_shmtx_unlock(&zone->shpool->mutex);
    }

    if (!sh->lost) {
        return;
    }

    ngx_shmtx_lock(&zone->shpool->mutex);

    next = sh->epoch + 1;

    if (sh->lost && next == zone->epoch + 1 && ngx_vmess_zone_settled(sh)) {

        node = (sh->names.root == &sh->sentinel)
               ? NULL : ngx_rbtree_min(sh->names.root, &sh->sentinel);

        for ( /* void */ ; node; node = ngx_rbtree_next(&sh->names, node)) {
            user = (ngx_vmess_user_t *) node;

            user->flows[next & 1] = 0;
            user->refs[next & 1] = 0;
        }

        ngx_vmess_memory_barrier();

        sh->epoch = next;

        ngx_vmess_memory_barrier();

        sh->lost = 0;
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (zone->epoch != sh->epoch) {
        ngx_vmess_account_recount(zone);
    }
}


/* whether all workers are in the present epoch */

static ngx_uint_t
ngx_vmess_zone_settled(ngx_vmess_zone_sh_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        if (sh->slots[i].pid && sh->slots[i].epoch != sh->epoch) {
            return 0;
        }
    }

    return 1;
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
