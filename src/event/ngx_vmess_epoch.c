
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_epoch.h"
#include "ngx_vmess_counters.h"
#include "ngx_vmess_process.h"
#include "ngx_vmess_wake.h"


static ngx_int_t ngx_vmess_epoch_lost(ngx_vmess_zone_sh_t *sh);
static void ngx_vmess_epoch_begin(ngx_vmess_zone_t *zone);


void
ngx_vmess_epoch_init_process(ngx_vmess_zone_t *zone)
{
    ngx_vmess_worker_sh_t  *worker;

    worker = &zone->sh->workers[ngx_process_slot];

    /* of a worker that died in this slot */

    if (worker->pid) {
        zone->sh->lost = 1;

        ngx_vmess_memory_barrier();

        worker->pid = 0;
    }

    ngx_queue_init(&zone->accounts);
    ngx_queue_init(&zone->walks);
    zone->registered = 0;
}


void
ngx_vmess_epoch_exit_process(ngx_vmess_zone_t *zone)
{
    if (!zone->registered) {
        return;
    }

    if (!ngx_queue_empty(&zone->accounts)) {

        /* told to be quick */

        zone->sh->lost = 1;

        ngx_vmess_memory_barrier();
    }

    zone->sh->workers[ngx_process_slot].pid = 0;
}


void
ngx_vmess_epoch_register(ngx_vmess_zone_t *zone)
{
    ngx_vmess_worker_sh_t  *worker;

    worker = &zone->sh->workers[ngx_process_slot];

    zone->rows->workers[ngx_process_slot].generation = zone->generation;
    zone->rows->workers[ngx_process_slot].connections = 0;

    do {
        zone->epoch = zone->sh->epoch;

        worker->epoch = zone->epoch;
        worker->pid = ngx_pid;

        /* the name must be seen by others before the check is made */

        ngx_vmess_memory_barrier();

    } while (zone->epoch != zone->sh->epoch);

    zone->registered = 1;
}


ngx_uint_t
ngx_vmess_epoch_settled(ngx_vmess_zone_sh_t *sh)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        if (sh->workers[i].pid && sh->workers[i].epoch != sh->epoch) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_vmess_epoch_settle(ngx_vmess_zone_t *zone)
{
    ngx_vmess_table_t    *t;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;
    t = sh->table;

    if (zone->epoch != sh->epoch) {
        zone->epoch = sh->epoch;
        return NGX_DONE;
    }

    /*
     * The lock is only tried: the master knows that of an old zone no more, and
     * who dies with it keeps it.
     */

    if (!ngx_vmess_epoch_lost(sh)
        || !ngx_shmtx_trylock(&zone->shpool->mutex))
    {
        return NGX_OK;
    }

    /* a change that was not finished is seen, though nobody makes others */

    ngx_vmess_table_begin(t);

    ngx_vmess_epoch_begin(zone);

    ngx_vmess_table_end(t);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (zone->epoch != sh->epoch) {
        zone->epoch = sh->epoch;

        /* others are to count anew soon: until then no user is freed */

        ngx_vmess_wake_workers(zone);

        return NGX_DONE;
    }

    return NGX_OK;
}


/* whether somebody has gone with counters, or has died yet */

static ngx_int_t
ngx_vmess_epoch_lost(ngx_vmess_zone_sh_t *sh)
{
    uint32_t    pid;
    ngx_uint_t  i;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {

        pid = sh->workers[i].pid;

        if (pid && !ngx_vmess_process_alive(pid)) {
            return 1;
        }
    }

    return sh->lost;
}


/* called with the zone locked */

static void
ngx_vmess_epoch_begin(ngx_vmess_zone_t *zone)
{
    uint32_t              next;
    ngx_uint_t            i, n;
    ngx_vmess_user_t     *user;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {

        if (sh->workers[i].pid == 0
            || ngx_vmess_process_alive(sh->workers[i].pid))
        {
            continue;
        }

        sh->lost = 1;

        ngx_vmess_memory_barrier();

        sh->workers[i].pid = 0;
    }

    next = sh->epoch + 1;

    if (!sh->lost || next != zone->epoch + 1 || !ngx_vmess_epoch_settled(sh)) {
        return;
    }

    n = ngx_vmess_table_max(sh->table);

    for (i = 0; i < n; i++) {
        user = ngx_vmess_table_user(sh->table, i);

        user->flows[next & 1] = 0;
        user->refs[next & 1] = 0;
    }

    ngx_vmess_clients_clear(sh->clients, next & 1);
    ngx_vmess_counters_clear(zone->rows, next & 1);

    ngx_vmess_memory_barrier();

    sh->epoch = next;

    ngx_vmess_memory_barrier();

    sh->lost = 0;
}


void
ngx_vmess_epoch_enter(ngx_vmess_zone_t *zone)
{
    ngx_vmess_memory_barrier();

    zone->sh->workers[ngx_process_slot].epoch = zone->epoch;
}
