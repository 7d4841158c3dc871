
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_users.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_process.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_wake.h"


/* attempts to get the lock of the zone, before it is waited for in ms */

#define NGX_VMESS_USERS_SPIN   1000

/* ms for which it is, whatever is known of who has it */

#define NGX_VMESS_USERS_STEAL  5000

/* removed users that are looked at under one lock */

#define NGX_VMESS_USERS_REAP   1024


static void ngx_vmess_users_wait(ngx_vmess_zone_t *zone);
static void ngx_vmess_users_begin(ngx_vmess_zone_t *zone);
static void ngx_vmess_users_reap_locked(ngx_vmess_zone_t *zone);


ngx_vmess_user_conf_t *
ngx_vmess_users_lookup(ngx_vmess_zone_t *zone, ngx_str_t *name)
{
    /* the name comes first in it */

    return (ngx_vmess_user_conf_t *)
               ngx_str_rbtree_lookup(&zone->names, name,
                                     ngx_crc32_long(name->data, name->len));
}


ngx_int_t
ngx_vmess_users_where(ngx_vmess_zone_t *zone, ngx_str_t *name, ngx_str_t *file,
    ngx_uint_t *line)
{
    ngx_vmess_user_conf_t  *conf;

    conf = ngx_vmess_users_lookup(zone, name);

    if (conf == NULL) {
        return NGX_DECLINED;
    }

    file->data = conf->file_name;
    file->len = ngx_strlen(conf->file_name);
    *line = conf->line;

    return NGX_OK;
}


ngx_vmess_table_t *
ngx_vmess_users_lock(ngx_vmess_zone_t *zone)
{
    ngx_vmess_users_wait(zone);

    ngx_vmess_users_begin(zone);

    return zone->sh->table;
}


/*
 * Old workers have a zone whose size has changed since, and the master knows
 * that no more: who waits looks whether it is for a process that has died.  Its
 * pid may be another worker's by then, and nobody has the lock for long.
 */

static void
ngx_vmess_users_wait(ngx_vmess_zone_t *zone)
{
    ngx_pid_t     pid;
    ngx_uint_t    i;
    ngx_shmtx_t  *mutex;

    mutex = &zone->shpool->mutex;

    for (i = 0; !ngx_shmtx_trylock(mutex); i++) {

        if (i < NGX_VMESS_USERS_SPIN) {
            ngx_sched_yield();
            continue;
        }

        ngx_msleep(1);

        pid = (ngx_pid_t) *mutex->lock;

        if (pid && !ngx_vmess_process_alive(pid)) {
            (void) ngx_shmtx_force_unlock(mutex, pid);
            continue;
        }

        if (i < NGX_VMESS_USERS_SPIN + NGX_VMESS_USERS_STEAL) {
            continue;
        }

        i = NGX_VMESS_USERS_SPIN;

        if (pid && ngx_shmtx_force_unlock(mutex, pid)) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                          "vmess_users \"%V\": the lock was not released by "
                          "process %P, and is taken", &zone->name, pid);
        }
    }
}


ngx_uint_t
ngx_vmess_users_reap(ngx_vmess_zone_t *zone)
{
    ngx_uint_t  more;

    if (!ngx_vmess_table_has_removed(zone->sh->table)
        || !ngx_shmtx_trylock(&zone->shpool->mutex))
    {
        return 0;
    }

    ngx_vmess_users_begin(zone);

    more = zone->sh->reaping;

    ngx_vmess_users_unlock(zone);

    return more;
}


/* what somebody who died has changed ends flows as well */

static void
ngx_vmess_users_begin(ngx_vmess_zone_t *zone)
{
    ngx_vmess_table_t  *t;

    t = zone->sh->table;

    zone->ends = ngx_vmess_table_ends(t);

    ngx_vmess_table_begin(t);

    ngx_vmess_users_reap_locked(zone);
}


static void
ngx_vmess_users_reap_locked(ngx_vmess_zone_t *zone)
{
    ngx_vmess_table_t  *t;

    t = zone->sh->table;

    if (!ngx_vmess_table_has_removed(t)
        || !ngx_vmess_epoch_settled(zone->sh))
    {
        zone->sh->reaping = 0;
        return;
    }

    if (!zone->sh->reaping) {

        if ((ngx_msec_int_t) (ngx_current_msec - zone->sh->reaped)
            < NGX_VMESS_USER_GRACE)
        {
            return;
        }

        zone->sh->reaped = ngx_current_msec;
    }

    zone->sh->reaping = ngx_vmess_table_reap_some(t, zone->sh->epoch,
                                                  NGX_VMESS_USER_GRACE,
                                                  NGX_VMESS_USERS_REAP);
}


void
ngx_vmess_users_unlock(ngx_vmess_zone_t *zone)
{
    ngx_uint_t  ends;

    ends = ngx_vmess_table_ends(zone->sh->table);

    ngx_vmess_table_end(zone->sh->table);

    ngx_shmtx_unlock(&zone->shpool->mutex);

    if (ends != zone->ends) {
        ngx_vmess_wake_workers(zone);
    }
}


void
ngx_vmess_users_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    uint32_t                owner;
    ngx_str_t               name;
    ngx_uint_t              i, n, capacity;
    ngx_vmess_zone_t      **zones;
    ngx_vmess_user_info_t   info;

    owner = ngx_vmess_filter_most(zone->conf, &n, &capacity);

    ngx_str_set(&name, "that is gone");

    zones = zone->conf->zones.elts;

    for (i = 0; i < zone->conf->zones.nelts; i++) {

        if (ngx_vmess_table_find_owner(zones[i]->sh->table, owner, &info)
            == NGX_OK)
        {
            name = info.value.name;
            break;
        }
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "vmess_users \"%V\": replay filter is full, "
                  "user \"%V\" has %ui of its %ui entries",
                  &zone->name, &name, n, capacity);

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}
