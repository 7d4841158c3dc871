
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_enforce.h"


/* ms until it is seen that another worker has died, or limits were changed */

#define NGX_VMESS_ENFORCE_TICK    1000


static void ngx_vmess_enforce_tick_handler(ngx_event_t *ev);
static void ngx_vmess_enforce_limits(ngx_vmess_zone_t *zone);
static ngx_vmess_status_e ngx_vmess_enforce_standing(
    ngx_vmess_account_t *account);
static void ngx_vmess_enforce_recount(ngx_vmess_zone_t *zone);


/* also without a client: what a process that died has counted is to go */

void
ngx_vmess_enforce_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_event_t        *ev;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        ngx_vmess_epoch_register(zone[i]);

        ev = &zone[i]->ticker;

        ev->handler = ngx_vmess_enforce_tick_handler;
        ev->data = zone[i];
        ev->log = cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_VMESS_ENFORCE_TICK);
    }
}


static void
ngx_vmess_enforce_tick_handler(ngx_event_t *ev)
{
    ngx_vmess_zone_t *zone = ev->data;

    ngx_vmess_enforce_limits(zone);

    if (ngx_current_msec - zone->settled >= NGX_VMESS_ENFORCE_TICK) {
        zone->settled = ngx_current_msec;

        if (ngx_vmess_epoch_settle(zone) == NGX_DONE) {
            ngx_vmess_enforce_recount(zone);
        }

        ngx_vmess_users_reap(zone);
    }

    ngx_add_timer(ev, zone->limited ? NGX_VMESS_ACCOUNT_LIMIT
                                    : NGX_VMESS_ENFORCE_TICK);
}


/* ends what limits do not allow any more, if there may be something */

static void
ngx_vmess_enforce_limits(ngx_vmess_zone_t *zone)
{
    ngx_uint_t            changes;
    ngx_queue_t          *q;
    ngx_vmess_account_t  *account;
    ngx_vmess_status_e    status;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;
    changes = ngx_vmess_table_changes(sh->table);

    if ((zone->expires == 0 || zone->expires > ngx_time())
        && zone->exhausted == sh->exhausted
        && zone->enforced == changes)
    {
        return;
    }

    zone->expires = 0;
    zone->limited = 0;
    zone->exhausted = sh->exhausted;
    zone->enforced = changes;

    for (q = ngx_queue_head(&zone->accounts);
         q != ngx_queue_sentinel(&zone->accounts);
         q = ngx_queue_next(q))
    {
        account = ngx_queue_data(q, ngx_vmess_account_t, queue);

        if (account->ended) {
            continue;
        }

        status = ngx_vmess_enforce_standing(account);

        if (status != NGX_VMESS_STATUS_OK) {
            if (account->admitted) {    /* others are refused later */
                ngx_vmess_account_end(account, status);
            }

            continue;
        }

        ngx_vmess_account_watch(account);
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

        /* look soon whether the user has come again */

        zone->enforced = ngx_vmess_table_changes(zone->sh->table) - 1;
        ngx_vmess_account_hasten(zone);

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
            (void) ngx_atomic_fetch_add(ngx_vmess_account_flows(account), 1);
        }

        ngx_vmess_clients_count(zone->sh->clients, &account->client,
                                zone->epoch & 1);
    }

    ngx_vmess_epoch_enter(zone);
}
