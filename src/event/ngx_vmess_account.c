
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_account.h"
#include "ngx_vmess_wake.h"


static void ngx_vmess_account_begin(ngx_vmess_account_t *account);


/* of limits that end flows as well */

ngx_vmess_status_e
ngx_vmess_account_limit(ngx_vmess_user_t *user, ngx_vmess_limits_t *limits)
{
    switch (ngx_vmess_usage_status(&user->usage, limits, ngx_time())) {

    case NGX_VMESS_USAGE_DISABLED:
        return NGX_VMESS_STATUS_DISABLED;

    case NGX_VMESS_USAGE_EXPIRED:
        return NGX_VMESS_STATUS_EXPIRED;

    case NGX_VMESS_USAGE_LIMITED:
        return NGX_VMESS_STATUS_LIMITED;

    default: /* NGX_VMESS_USAGE_ACTIVE, _ON_HOLD */
        return NGX_VMESS_STATUS_OK;
    }
}


void
ngx_vmess_account_open(ngx_vmess_account_t *account)
{
    ngx_vmess_clients_t  *clients;

    clients = account->zone->sh->clients;

    ngx_vmess_history_enter(account->zone->history, account->user->serial,
                            &account->history);

    ngx_vmess_clients_keep(clients, &account->client);

    if (!account->counted) {
        ngx_vmess_clients_leave(clients, &account->client,
                                account->zone->epoch & 1);
        return;
    }

    account->opened = 1;
    account->since = ngx_time();

    ngx_vmess_usage_open(&account->user->usage, ngx_time());

    ngx_vmess_counters_add(
               ngx_vmess_account_counters(account)->flows[account->carrier], 1);

    account->user->usage.seen = ngx_time();
}


void
ngx_vmess_account_copy(ngx_vmess_account_t *account, ngx_vmess_account_t *from)
{
    ngx_connection_t  *c;

    c = account->connection;

    *account = *from;
    account->connection = c;
    account->ended = 0;
    account->rest = 0;
    account->up = 0;
    account->down = 0;
    account->client.client = NULL;

    ngx_memzero(&account->history, sizeof(ngx_vmess_history_flow_t));

    ngx_vmess_account_hold(account);
}


void
ngx_vmess_account_touch(ngx_vmess_account_t *account)
{
    if (account->client.client && !account->ended
        && ngx_vmess_clients_touch(&account->client) != NGX_OK)
    {
        ngx_vmess_account_end(account, NGX_VMESS_STATUS_MAX_IPS);
    }
}


void
ngx_vmess_account_count(ngx_vmess_account_t *account, off_t up, off_t down)
{
    off_t                extra;
    ngx_vmess_usage_t   *usage;
    ngx_vmess_limits_t  *limits;

    usage = &account->user->usage;
    limits = ngx_vmess_user_limits(account->user);

    ngx_vmess_account_count_flow(account, up, down);

    ngx_vmess_account_begin(account);

    if (account->factor) {
        extra = (up + down) * account->factor + account->rest;

        account->rest = extra % NGX_VMESS_ACCOUNT_FACTOR;

        (void) ngx_atomic_fetch_add(&usage->extra,
                                    extra / NGX_VMESS_ACCOUNT_FACTOR);
    }

    if (up) {
        (void) ngx_atomic_fetch_add(&usage->up, up);
    }

    if (down) {
        (void) ngx_atomic_fetch_add(&usage->down, down);
    }

    ngx_vmess_counters_bytes(ngx_vmess_account_counters(account),
                             account->carrier, up, down);

    ngx_vmess_history_count(account->zone->history, &account->history, up,
                            down);

    if (limits->quota && !account->ended
        && ngx_vmess_usage_used(usage, limits, ngx_time()) >= limits->quota)
    {
        ngx_vmess_account_end(account, NGX_VMESS_STATUS_LIMITED);

        /* flows that are silent, and those of other workers */

        (void) ngx_atomic_fetch_add(&account->zone->sh->exhausted, 1);

        ngx_vmess_wake_workers(account->zone);
    }
}


/* begins a period of the quota that is due */

static void
ngx_vmess_account_begin(ngx_vmess_account_t *account)
{
    ngx_vmess_user_t  *user;

    user = account->user;

    if (!ngx_vmess_usage_due(&user->usage, ngx_vmess_user_limits(user),
                             ngx_time()))
    {
        return;
    }

    (void) ngx_vmess_users_lock(account->zone);

    ngx_vmess_usage_begin(&user->usage, ngx_vmess_user_limits(user),
                          ngx_time());

    ngx_vmess_users_unlock(account->zone);
}


/*
 * Closes a connection as "worker_shutdown_timeout" does: who has the connection
 * looks at c->close in its next event, but for preread, which knows a timeout.
 */

void
ngx_vmess_account_end(ngx_vmess_account_t *account, ngx_vmess_status_e status)
{
    ngx_connection_t  *c;

    c = account->connection;

    account->ended = 1;

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "flow of user \"%V\", who %s, is closed",
                  &account->user->name,
                  ngx_vmess_status(status)->who);

    c->close = 1;
    c->read->timedout = 1;

    ngx_post_event(c->read, &ngx_posted_events);
}


/* there may be a limit that ends the account's flow */

void
ngx_vmess_account_watch(ngx_vmess_account_t *account)
{
    time_t                 expires;
    ngx_vmess_zone_t      *zone;
    ngx_vmess_usage_t     *usage;
    ngx_vmess_user_set_t  *conf;

    zone = account->zone;
    conf = account->user->conf;

    usage = &account->user->usage;

    expires = ngx_vmess_usage_expires(usage, &conf->limits);

    if (conf->limits.hold && usage->first == 0) {

        /* look again: another worker may open the first flow */

        expires = ngx_time() + 1;
    }

    if (conf->until && conf->serial[NGX_VMESS_USER_ALSO] == account->serial
        && (expires == 0 || expires > conf->until))
    {
        expires = conf->until;
    }

    if (expires == 0 && conf->limits.quota == 0) {
        return;
    }

    if (!zone->limited) {
        zone->limited = 1;
        ngx_add_timer(&zone->ticker, NGX_VMESS_ACCOUNT_LIMIT);
    }

    if (expires && (zone->expires == 0 || zone->expires > expires)) {
        zone->expires = expires;
    }
}


void
ngx_vmess_account_log(ngx_vmess_account_t *account, ngx_log_t *log)
{
    ngx_vmess_user_t  *user;

    user = account->user;

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "vmess user \"%V\": up:%uA down:%uA flows:%uA total:%uA "
                  "refused:%uA",
                  &user->name, user->usage.up, user->usage.down,
                  *ngx_vmess_account_flows(account), user->usage.total,
                  user->usage.refused);
}


void
ngx_vmess_account_leave(ngx_vmess_account_t *account)
{
    ngx_vmess_clients_leave(account->zone->sh->clients, &account->client,
                            account->zone->epoch & 1);

    if (account->counted) {
        account->counted = 0;
        ngx_vmess_account_add_flow(account, -1);

        if (account->opened) {
            account->user->usage.seen = ngx_time();
        }
    }
}


void
ngx_vmess_account_add_flow(ngx_vmess_account_t *account, ngx_int_t n)
{
    ngx_uint_t  set;

    set = account->zone->epoch & 1;

    (void) ngx_atomic_fetch_add(ngx_vmess_account_flows(account), n);

    ngx_vmess_counters_add(
           ngx_vmess_account_counters(account)->open[set][account->carrier], n);
}


void
ngx_vmess_account_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status)
{
    (void) ngx_atomic_fetch_add(&account->user->usage.refused, 1);

    ngx_vmess_counters_add(
        ngx_vmess_account_counters(account)->refused[account->carrier][status],
        1);
}


void
ngx_vmess_account_close(ngx_vmess_account_t *account)
{
    ngx_queue_t               *q;
    ngx_vmess_account_walk_t  *walk;

    if (account->user == NULL) {
        return;
    }

    ngx_vmess_account_leave(account);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), -1);

    for (q = ngx_queue_head(&account->zone->walks);
         q != ngx_queue_sentinel(&account->zone->walks);
         q = ngx_queue_next(q))
    {
        walk = ngx_queue_data(q, ngx_vmess_account_walk_t, queue);

        if (walk->next == &account->queue) {
            walk->next = ngx_queue_next(&account->queue);
        }
    }

    ngx_queue_remove(&account->queue);

    account->user = NULL;
}


void
ngx_vmess_account_walk_start(ngx_vmess_account_walk_t *walk,
    ngx_vmess_zone_t *zone)
{
    walk->zone = zone;
    walk->next = ngx_queue_head(&zone->accounts);

    ngx_queue_insert_tail(&zone->walks, &walk->queue);
}


ngx_vmess_account_t *
ngx_vmess_account_walk_next(ngx_vmess_account_walk_t *walk)
{
    ngx_queue_t  *q;

    q = walk->next;

    if (q == ngx_queue_sentinel(&walk->zone->accounts)) {
        return NULL;
    }

    walk->next = ngx_queue_next(q);

    return ngx_queue_data(q, ngx_vmess_account_t, queue);
}


void
ngx_vmess_account_walk_stop(ngx_vmess_account_walk_t *walk)
{
    ngx_queue_remove(&walk->queue);
}


/* counts the account, of which user and serial were set, as of this worker */

void
ngx_vmess_account_hold(ngx_vmess_account_t *account)
{
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    ngx_vmess_account_watch(account);

    account->number = ++zone->naccounts;

    ngx_queue_insert_tail(&zone->accounts, &account->queue);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), 1);
}
