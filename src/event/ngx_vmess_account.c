
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_account.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_hint.h"
#include "ngx_vmess_detour.h"
#include "proto/ngx_vmess_hash.h"


/* ms until it is noticed that another worker has died, or limits were changed */

#define NGX_VMESS_ACCOUNT_TICK    1000

/* and until a limit ends flows, if there is one */

#define NGX_VMESS_ACCOUNT_LIMIT   250


#define ngx_vmess_account_refs(account)                                       \
    (&(account)->user->refs[(account)->zone->epoch & 1])

#define ngx_vmess_account_flows(account)                                      \
    (&(account)->user->flows[(account)->zone->epoch & 1])


static ngx_int_t ngx_vmess_account_find_hint(ngx_vmess_account_t *account,
    uint64_t *hint, uint32_t tag, const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_account_find(ngx_vmess_account_t *account,
    ngx_uint_t *slot, const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_account_find_token(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_account_take(ngx_vmess_account_t *account,
    ngx_uint_t slot, const u_char *eauid, time_t now);
static ngx_vmess_status_e ngx_vmess_account_known(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now, ngx_log_t *log);
static ngx_vmess_status_e ngx_vmess_account_filtered(ngx_vmess_zone_t *zone,
    ngx_int_t rc, ngx_log_t *log);
static void ngx_vmess_account_taint(ngx_vmess_account_t *account,
    const u_char *eauid);
static ngx_vmess_status_e ngx_vmess_account_limit(ngx_vmess_user_t *user,
    ngx_vmess_limits_t *limits);
static ngx_vmess_status_e ngx_vmess_account_standing(
    ngx_vmess_account_t *account);
static void ngx_vmess_account_begin(ngx_vmess_account_t *account);
static ngx_int_t ngx_vmess_account_add(ngx_vmess_account_t *account);
static ngx_int_t ngx_vmess_account_enter(ngx_vmess_account_t *account);
static void ngx_vmess_account_end(ngx_vmess_account_t *account,
    ngx_vmess_status_e status);
static void ngx_vmess_account_enforce(ngx_vmess_zone_t *zone);
static void ngx_vmess_account_watch(ngx_vmess_account_t *account);
static void ngx_vmess_account_hold(ngx_vmess_account_t *account);
static void ngx_vmess_account_hasten(ngx_vmess_zone_t *zone);
static void ngx_vmess_account_tick_handler(ngx_event_t *ev);
static void ngx_vmess_account_recount(ngx_vmess_zone_t *zone);


static ngx_vmess_status_t  ngx_vmess_account_statuses[NGX_VMESS_STATUSES] = {
    { ngx_string(""), 0, NULL },
    { ngx_string("ok"), 1, NULL },
    { ngx_string("unknown"), 0, "is gone or has another id" },
    { ngx_string("disabled"), 0, "is disabled" },
    { ngx_string("expired"), 0, "has expired" },
    { ngx_string("limited"), 0, "has used up the quota" },
    { ngx_string("kicked"), 0, "was kicked" },
    { ngx_string("max_conns"), 0, "has as many flows as allowed" },
    { ngx_string("max_ips"), 0, "comes from as many addresses as allowed" },
    { ngx_string("time"), 0, NULL },
    { ngx_string("replay"), 0, NULL },
    { ngx_string("full"), 0, NULL },
    { ngx_string("clock"), 0, NULL },
    { ngx_string("tag"), 0, NULL },
    { ngx_string("header"), 0, NULL },
    { ngx_string("timeout"), 0, NULL },
    { ngx_string("truncated"), 0, NULL },
    { ngx_string("cipher"), 1, NULL },
    { ngx_string("command"), 1, NULL },
    { ngx_string("denied"), 1, NULL },
    { ngx_string("unresolved"), 1, NULL }
};


ngx_vmess_status_t *
ngx_vmess_account_status(ngx_vmess_status_e status)
{
    return &ngx_vmess_account_statuses[status];
}


ngx_vmess_status_e
ngx_vmess_account_auth(ngx_vmess_account_t *account, struct sockaddr *sockaddr,
    const u_char *eauid, ngx_log_t *log)
{
    time_t              now;
    uint32_t            tag;
    uint64_t           *hint;
    ngx_int_t           rc;
    ngx_uint_t          slot;
    ngx_vmess_status_e  status;

    now = ngx_time();
    tag = 0;

    hint = ngx_vmess_hint_get(account->zone->sh, sockaddr, &tag);

    rc = ngx_vmess_account_find_hint(account, hint, tag, eauid, now);

    if (rc != NGX_OK) {
        rc = ngx_vmess_account_find(account, &slot, eauid, now);

        if (rc == NGX_OK && hint && !account->temporary) {
            ngx_vmess_hint_add(hint, tag, slot);
        }
    }

    if (rc != NGX_OK
        && ngx_vmess_account_find_token(account, eauid, now) != NGX_OK)
    {
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    status = ngx_vmess_account_known(account, eauid, now, log);

    if (status == NGX_VMESS_STATUS_OK) {
        status = ngx_vmess_account_limit(account->user, &account->limits);

        if (status != NGX_VMESS_STATUS_OK) {

            /* nor must it be good when there is no such limit any more */

            ngx_vmess_account_taint(account, eauid);
        }
    }

    if (status != NGX_VMESS_STATUS_OK) {
        ngx_vmess_account_try_rest(account, eauid);
    }

    return status;
}


static ngx_int_t
ngx_vmess_account_find_hint(ngx_vmess_account_t *account, uint64_t *hint,
    uint32_t tag, const u_char *eauid, time_t now)
{
    int64_t             t;
    uint64_t            h;
    ngx_uint_t          k;
    ngx_vmess_table_t  *table;

    if (hint == NULL) {
        return NGX_DECLINED;
    }

    table = account->zone->sh->table;

    for (k = 0; k < NGX_VMESS_HINTS; k++) {
        h = hint[k];

        if ((uint32_t) (h >> 32) == tag
            && ngx_vmess_hit_try(table, (uint32_t) h, eauid, &t)
            && ngx_vmess_account_take(account, (uint32_t) h, eauid, now)
               == NGX_OK)
        {
            account->tried = 0;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* a key that fits and is not good, as it has just changed, is passed over */

static ngx_int_t
ngx_vmess_account_find(ngx_vmess_account_t *account, ngx_uint_t *slot,
    const u_char *eauid, time_t now)
{
    int64_t             t;
    ngx_uint_t          i;
    ngx_vmess_table_t  *table;

    table = account->zone->sh->table;

    for (i = 0; /* void */ ; i++) {

        i = ngx_vmess_hit_scan(table, i, eauid, &t);

        if (i == NGX_VMESS_SLOT_NONE) {
            return NGX_DECLINED;
        }

        if (ngx_vmess_account_take(account, i, eauid, now) == NGX_OK) {
            account->tried = i + 1;
            *slot = i;
            return NGX_OK;
        }
    }
}


/* when all keys were tried */

static ngx_int_t
ngx_vmess_account_find_token(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now)
{
    int64_t                   t;
    ngx_uint_t                i;
    ngx_vmess_zone_t         *zone;
    ngx_vmess_legacy_user_t  *user;

    zone = account->zone;

    if (zone->tokens == NULL
        || ngx_vmess_token_find(zone->tokens, eauid, now, &i, &t) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    user = &zone->legacy[i];

    if (user->serial == 0
        || ngx_vmess_account_take(account, user->slot, NULL, now) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* the slot may be another user's by now */

    if (account->serial != user->serial) {
        ngx_vmess_account_close(account);
        return NGX_DECLINED;
    }

    account->time = t;
    account->legacy = 1;

    return NGX_OK;
}


/* makes the user of a slot that of the account: the reference is counted */

static ngx_int_t
ngx_vmess_account_take(ngx_vmess_account_t *account, ngx_uint_t slot,
    const u_char *eauid, time_t now)
{
    ngx_int_t           rc;
    ngx_vmess_hit_t     hit;
    ngx_vmess_table_t  *table;

    table = account->zone->sh->table;

    rc = ngx_vmess_hit_take(table, slot, eauid, now, &hit);

    if (rc == NGX_OK) {
        account->user = hit.user;

        ngx_vmess_account_hold(account);

        rc = ngx_vmess_hit_check(table, &hit, now);

        if (rc != NGX_OK) {
            ngx_vmess_account_close(account);
        }
    }

    if (rc == NGX_OK) {
        ngx_memcpy(account->cmd_key, hit.cmd_key, NGX_VMESS_KEY_LEN);
        account->owner = hit.owner;
        account->limits = hit.limits;
        account->serial = hit.serial;
        account->temporary = hit.temporary;
        account->time = hit.time;
    }

    ngx_explicit_memzero(&hit, sizeof(ngx_vmess_hit_t));

    return rc;
}


/*
 * Whether the id was used.  It is not claimed yet: a client that sends no more
 * leaves nothing behind.
 */

static ngx_vmess_status_e
ngx_vmess_account_known(ngx_vmess_account_t *account, const u_char *eauid,
    time_t now, ngx_log_t *log)
{
    time_t             expires;
    ngx_int_t          rc;
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    if (ngx_vmess_auth_check_time(account->time, now) != NGX_OK) {

        /* its time may come, and then it must not be good any more */

        if (account->time > now && account->time <= now + NGX_VMESS_EARLY) {
            ngx_vmess_account_taint(account, eauid);
        }

        return NGX_VMESS_STATUS_TIME;
    }

    /* it may have been used before a restart */

    if (account->time <= zone->sh->started) {
        return NGX_VMESS_STATUS_TIME;
    }

    expires = account->time + NGX_VMESS_TIME_WINDOW;

    rc = ngx_vmess_filter_find(zone->conf, eauid, account->owner, expires);

    return ngx_vmess_account_filtered(zone, rc, log);
}


ngx_vmess_status_e
ngx_vmess_account_claim(ngx_vmess_account_t *account, const u_char *eauid,
    const u_char *key, const u_char *iv, ngx_log_t *log)
{
    u_char             data[3 * 16], digest[32];
    ngx_int_t          rc;
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    if (!account->legacy) {

        if (ngx_vmess_auth_check_time(account->time, ngx_time()) != NGX_OK) {
            return NGX_VMESS_STATUS_TIME;
        }

        rc = ngx_vmess_filter_add(zone->conf, eauid, account->owner,
                                  account->time + NGX_VMESS_TIME_WINDOW);

        if (rc != NGX_OK) {
            return ngx_vmess_account_filtered(zone, rc, log);
        }
    }

    ngx_memcpy(data, account->cmd_key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 16, key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 32, iv, NGX_VMESS_IV_LEN);

    ngx_vmess_hash_sha256(digest, data, sizeof(data));

    ngx_explicit_memzero(data, sizeof(data));

    /* counted from the client's time, as the clock here may be set meanwhile */

    rc = ngx_vmess_filter_add(zone->conf, digest, account->owner,
                              account->time + NGX_VMESS_SESSION_WINDOW);

    account->kicks = account->user->kicks;

    return ngx_vmess_account_filtered(zone, rc, log);
}


/* what an answer of the replay filter means for the header */

static ngx_vmess_status_e
ngx_vmess_account_filtered(ngx_vmess_zone_t *zone, ngx_int_t rc, ngx_log_t *log)
{
    static time_t  full, clock;

    switch (rc) {

    case NGX_OK:
        return NGX_VMESS_STATUS_OK;

    case NGX_DECLINED:
        return NGX_VMESS_STATUS_REPLAY;

    case NGX_ABORT:

        if (clock != ngx_time()) {
            clock = ngx_time();

            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": the clock was put back, ids of "
                          "a time that has been before are refused",
                          &zone->name);
        }

        return NGX_VMESS_STATUS_CLOCK;

    default: /* NGX_BUSY */

        if (full != ngx_time()) {
            full = ngx_time();
            ngx_vmess_users_log_full(zone, log);
        }

        return NGX_VMESS_STATUS_FULL;
    }
}


/* claims the id of a header that was refused, or its token */

static void
ngx_vmess_account_taint(ngx_vmess_account_t *account, const u_char *eauid)
{
    (void) ngx_vmess_filter_add(account->zone->conf, eauid, account->owner,
                                account->time + NGX_VMESS_TIME_WINDOW);
}


void
ngx_vmess_account_try_rest(ngx_vmess_account_t *account, const u_char *eauid)
{
    int64_t            t;
    ngx_uint_t         i;
    ngx_vmess_zone_t  *zone;

    /* a token is looked for when all keys were tried */

    if (account->legacy) {
        return;
    }

    zone = account->zone;

    /* the key that fits ends a scan: go on behind it */

    for (i = account->tried; i < NGX_VMESS_SLOT_NONE; i++) {
        i = ngx_vmess_hit_scan(zone->sh->table, i, eauid, &t);
    }

    if (zone->tokens) {
        (void) ngx_vmess_token_find(zone->tokens, eauid, ngx_time(), &i, &t);
    }
}


ngx_vmess_status_e
ngx_vmess_account_check(ngx_vmess_account_t *account, ngx_uint_t flow)
{
    ngx_vmess_limits_t  *limits;

    limits = &account->limits;

    if (ngx_vmess_hit_knows(account->user, account->serial, ngx_time(),
                              limits)
        != NGX_OK)
    {
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    if (flow && limits->max_conns
        && *ngx_vmess_account_flows(account) >= limits->max_conns)
    {
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    if (account->limits.max_ips
        && ngx_vmess_clients_check(account->zone->sh->clients,
                                   account->user->serial,
                                   account->connection->sockaddr,
                                   account->limits.max_ips,
                                   account->zone->epoch & 1)
           == NGX_DECLINED)
    {
        return NGX_VMESS_STATUS_MAX_IPS;
    }

    return ngx_vmess_account_limit(account->user, limits);
}


/* of limits that end flows as well */

static ngx_vmess_status_e
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


/* whether a flow may go on */

static ngx_vmess_status_e
ngx_vmess_account_standing(ngx_vmess_account_t *account)
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


ngx_vmess_status_e
ngx_vmess_account_admit(ngx_vmess_account_t *account, ngx_uint_t flow)
{
    ngx_vmess_status_e  status;

    status = ngx_vmess_account_check(account, flow);

    if (status != NGX_VMESS_STATUS_OK) {
        return status;
    }

    if (flow && ngx_vmess_account_add(account) != NGX_OK) {
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    /* the last one: an address that was silent is lost then */

    if (account->limits.max_ips
        && ngx_vmess_account_enter(account) != NGX_OK)
    {
        ngx_vmess_account_leave(account);
        return NGX_VMESS_STATUS_MAX_IPS;
    }

    account->admitted = 1;

    return NGX_VMESS_STATUS_OK;
}


/* workers may come here at once: none of them counts one too many, even to see */

static ngx_int_t
ngx_vmess_account_add(ngx_vmess_account_t *account)
{
    ngx_uint_t          max;
    ngx_atomic_t       *flows;
    ngx_atomic_uint_t   n;

    flows = ngx_vmess_account_flows(account);
    max = account->limits.max_conns;

    do {
        n = *flows;

        if (max && n >= max) {
            return NGX_DECLINED;
        }

    } while (!ngx_atomic_cmp_set(flows, n, n + 1));

    account->counted = 1;

    return NGX_OK;
}


/* holds the client's address as long as the flow is open */

static ngx_int_t
ngx_vmess_account_enter(ngx_vmess_account_t *account)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;
    static time_t      full;

    c = account->connection;

    rc = ngx_vmess_clients_enter(account->zone->sh->clients,
                                 account->user->serial, c->sockaddr,
                                 account->limits.max_ips,
                                 account->zone->epoch & 1, &account->client);

    if (rc == NGX_BUSY && full != ngx_time()) {
        full = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "vmess_users \"%V\": no room for more addresses of "
                      "users with \"max_ips=\", use a larger size",
                      &account->zone->name);
    }

    return rc;
}


void
ngx_vmess_account_open(ngx_vmess_account_t *account)
{
    ngx_vmess_clients_t  *clients;

    clients = account->zone->sh->clients;

    ngx_vmess_clients_keep(clients, &account->client);

    if (!account->counted) {
        ngx_vmess_clients_leave(clients, &account->client,
                                account->zone->epoch & 1);
        return;
    }

    account->opened = 1;
    account->since = ngx_time();

    ngx_vmess_usage_open(&account->user->usage, ngx_time());

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

    if (limits->quota && !account->ended
        && ngx_vmess_usage_used(usage, limits, ngx_time()) >= limits->quota)
    {
        ngx_vmess_account_end(account, NGX_VMESS_STATUS_LIMITED);

        /* flows that are silent, and those of other workers */

        (void) ngx_atomic_fetch_add(&account->zone->sh->exhausted, 1);
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

static void
ngx_vmess_account_end(ngx_vmess_account_t *account, ngx_vmess_status_e status)
{
    ngx_connection_t  *c;

    c = account->connection;

    account->ended = 1;

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "flow of user \"%V\", who %s, is closed",
                  &account->user->name,
                  ngx_vmess_account_status(status)->who);

    c->close = 1;
    c->read->timedout = 1;

    ngx_post_event(c->read, &ngx_posted_events);
}


/* ends what limits do not allow any more, if there may be something */

static void
ngx_vmess_account_enforce(ngx_vmess_zone_t *zone)
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

        status = ngx_vmess_account_standing(account);

        if (status != NGX_VMESS_STATUS_OK) {
            if (account->admitted) {    /* others are refused later */
                ngx_vmess_account_end(account, status);
            }

            continue;
        }

        ngx_vmess_account_watch(account);
    }
}


/* there may be a limit that ends the account's flow */

static void
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

    ngx_vmess_account_hasten(zone);

    if (expires && (zone->expires == 0 || zone->expires > expires)) {
        zone->expires = expires;
    }
}


static void
ngx_vmess_account_hasten(ngx_vmess_zone_t *zone)
{
    if (!zone->limited) {
        zone->limited = 1;
        ngx_add_timer(&zone->ticker, NGX_VMESS_ACCOUNT_LIMIT);
    }
}


void
ngx_vmess_account_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status, const u_char *eauid)
{
    (void) ngx_atomic_fetch_add(&account->user->usage.refused, 1);

    if (eauid
        && (account->legacy || status == NGX_VMESS_STATUS_TAG
            || status == NGX_VMESS_STATUS_HEADER))
    {
        ngx_vmess_account_taint(account, eauid);
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
        (void) ngx_atomic_fetch_add(ngx_vmess_account_flows(account), -1);

        if (account->opened) {
            account->user->usage.seen = ngx_time();
        }
    }
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


/* counts the account, of which the user was set, as one of this worker */

static void
ngx_vmess_account_hold(ngx_vmess_account_t *account)
{
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    ngx_vmess_account_watch(account);

    account->number = ++zone->naccounts;

    ngx_queue_insert_tail(&zone->accounts, &account->queue);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), 1);
}


/* also without a client: what a process that died has counted is to go */

void
ngx_vmess_account_init_worker(ngx_cycle_t *cycle)
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

        ev->handler = ngx_vmess_account_tick_handler;
        ev->data = zone[i];
        ev->log = cycle->log;
        ev->cancelable = 1;

        ngx_add_timer(ev, NGX_VMESS_ACCOUNT_TICK);
    }
}


static void
ngx_vmess_account_tick_handler(ngx_event_t *ev)
{
    ngx_vmess_zone_t *zone = ev->data;

    ngx_vmess_account_enforce(zone);

    if (ngx_current_msec - zone->settled >= NGX_VMESS_ACCOUNT_TICK) {
        zone->settled = ngx_current_msec;

        if (ngx_vmess_epoch_settle(zone) == NGX_DONE) {
            ngx_vmess_account_recount(zone);
        }

        ngx_vmess_users_reap(zone);
    }

    ngx_add_timer(ev, zone->limited ? NGX_VMESS_ACCOUNT_LIMIT
                                    : NGX_VMESS_ACCOUNT_TICK);
}


/* counts all accounts of this worker in the present epoch */

static void
ngx_vmess_account_recount(ngx_vmess_zone_t *zone)
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
