
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_enforce.h"
#include "ngx_vmess_wake.h"


/* ms until it is seen that another worker has died, before it woke others */

#define NGX_VMESS_ENFORCE_TICK    1000

/* and until it is seen whether a user who was removed has come again */

#define NGX_VMESS_ENFORCE_ABSENT  100

/* accounts that are looked at in one go */

#define NGX_VMESS_ENFORCE_SLICE   256


typedef struct {
    ngx_vmess_zone_t          *zone;
    ngx_vmess_account_walk_t   walk;
    ngx_uint_t                 walking;
    ngx_uint_t                 reaping;
} ngx_vmess_enforce_t;


static void ngx_vmess_enforce_tick_handler(ngx_event_t *ev);
static ngx_uint_t ngx_vmess_enforce_due(ngx_vmess_zone_t *zone);
static void ngx_vmess_enforce_slice(ngx_vmess_enforce_t *enforce);
static void ngx_vmess_enforce_limits(ngx_vmess_account_t *account);
static ngx_vmess_status_e ngx_vmess_enforce_standing(
    ngx_vmess_account_t *account);
static void ngx_vmess_enforce_recount(ngx_vmess_zone_t *zone);


/* also without a client: what a process that died has counted is to go */

ngx_int_t
ngx_vmess_enforce_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    ngx_event_t          *ev;
    ngx_vmess_conf_t     *vcf;
    ngx_vmess_zone_t    **zone;
    ngx_vmess_enforce_t  *enforce;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    enforce = ngx_pcalloc(cycle->pool,
                          vcf->zones.nelts * sizeof(ngx_vmess_enforce_t));
    if (enforce == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < vcf->zones.nelts; i++) {

        enforce[i].zone = zone[i];
        zone[i]->settled = ngx_current_msec;

        ngx_vmess_epoch_register(zone[i]);

        ev = &zone[i]->ticker;

        ev->handler = ngx_vmess_enforce_tick_handler;
        ev->data = &enforce[i];
        ev->log = cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_VMESS_ENFORCE_TICK);
    }

    return ngx_vmess_wake_init_worker(cycle);
}


static void
ngx_vmess_enforce_tick_handler(ngx_event_t *ev)
{
    ngx_vmess_enforce_t *enforce = ev->data;

    ngx_vmess_zone_t  *zone;

    zone = enforce->zone;

    if (enforce->walking || ngx_vmess_enforce_due(zone)) {
        ngx_vmess_enforce_slice(enforce);

        if (enforce->walking) {
            ngx_post_event(ev, &ngx_posted_next_events);

        } else if (zone->enforced != ngx_vmess_table_ends(zone->sh->table)) {

            /* was woken amid the walk */

            ngx_vmess_wake_workers(zone);
        }
    }

    if (zone->epoch != zone->sh->epoch
        || ngx_current_msec - zone->settled >= NGX_VMESS_ENFORCE_TICK)
    {
        zone->settled = ngx_current_msec;

        zone->rows->workers[ngx_process_slot].connections =
                       ngx_cycle->connection_n - ngx_cycle->free_connection_n;

        if (ngx_vmess_epoch_settle(zone) == NGX_DONE) {
            ngx_vmess_enforce_recount(zone);
        }

        enforce->reaping = 1;
    }

    if (enforce->reaping) {
        enforce->reaping = ngx_vmess_users_reap(zone);

        if (enforce->reaping) {
            ngx_post_event(ev, &ngx_posted_next_events);
        }
    }

    /* a worker that was woken does not begin to wait anew */

    if (zone->absent) {

        if (ev->timer_set) {
            ngx_del_timer(ev);    /* it would be kept, as not much later */
        }

        ngx_add_timer(ev, NGX_VMESS_ENFORCE_ABSENT);

    } else if (!ev->timer_set) {
        ngx_add_timer(ev, zone->limited ? NGX_VMESS_ACCOUNT_LIMIT
                                        : NGX_VMESS_ENFORCE_TICK);
    }
}


/* whether there may be something that limits do not allow any more */

static ngx_uint_t
ngx_vmess_enforce_due(ngx_vmess_zone_t *zone)
{
    ngx_uint_t            ends;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;
    ends = ngx_vmess_table_ends(sh->table);

    if ((zone->expires == 0 || zone->expires > ngx_time())
        && zone->exhausted == sh->exhausted
        && zone->enforced == ends
        && !zone->absent)
    {
        return 0;
    }

    zone->expires = 0;
    zone->limited = 0;
    zone->absent = 0;
    zone->exhausted = sh->exhausted;
    zone->enforced = ends;

    ngx_vmess_memory_barrier();

    return 1;
}


/* what changes meanwhile is for the next walk */

static void
ngx_vmess_enforce_slice(ngx_vmess_enforce_t *enforce)
{
    ngx_uint_t            i;
    ngx_vmess_account_t  *account;

    if (!enforce->walking) {
        enforce->walking = 1;
        ngx_vmess_account_walk_start(&enforce->walk, enforce->zone);
    }

    for (i = 0; i < NGX_VMESS_ENFORCE_SLICE; i++) {

        account = ngx_vmess_account_walk_next(&enforce->walk);

        if (account == NULL) {
            ngx_vmess_account_walk_stop(&enforce->walk);
            enforce->walking = 0;
            return;
        }

        ngx_vmess_enforce_limits(account);
    }
}


static void
ngx_vmess_enforce_limits(ngx_vmess_account_t *account)
{
    ngx_vmess_status_e  status;

    if (account->ended) {
        return;
    }

    status = ngx_vmess_enforce_standing(account);

    if (status == NGX_VMESS_STATUS_OK) {
        ngx_vmess_account_watch(account);
        return;
    }

    if (account->admitted) {    /* others are refused later */
        ngx_vmess_account_end(account, status);
    }
}


/* whether a flow may go on */

static ngx_vmess_status_e
ngx_vmess_enforce_standing(ngx_vmess_account_t *account)
{
    ngx_vmess_zone_t    *zone;
    ngx_vmess_limits_t   limits;

    zone = account->zone;

    switch (ngx_vmess_hit_knows(account->user, account->serial, ngx_time(),
                                  &limits))
    {
    case NGX_OK:
        break;

    case NGX_AGAIN:

        zone->absent = 1;
        return NGX_VMESS_STATUS_OK;

    default: /* NGX_DECLINED */
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    if (account->kicks != account->user->kicks) {
        return NGX_VMESS_STATUS_KICKED;
    }

    return ngx_vmess_account_limit(account->user, &limits);
}


/* counts all accounts of this worker in the present epoch */

static void
ngx_vmess_enforce_recount(ngx_vmess_zone_t *zone)
{
    ngx_queue_t          *q;
    ngx_vmess_account_t  *account;

    for (q = ngx_queue_head(&zone->accounts);
         q != ngx_queue_sentinel(&zone->accounts);
         q = ngx_queue_next(q))
    {
        account = ngx_queue_data(q, ngx_vmess_account_t, queue);

        (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), 1);

        if (account->counted) {
            ngx_vmess_account_add_flow(account, 1);
        }

        ngx_vmess_clients_count(zone->sh->clients, &account->client,
                                zone->epoch & 1);
    }

    ngx_vmess_epoch_enter(zone);
}
