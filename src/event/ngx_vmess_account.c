
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


static void ngx_vmess_account_set(ngx_vmess_account_t *account,
    ngx_vmess_users_t *users, ngx_uint_t i);
static ngx_vmess_status_e ngx_vmess_account_known(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now, ngx_log_t *log);
static ngx_vmess_status_e ngx_vmess_account_filtered(ngx_vmess_zone_t *zone,
    ngx_int_t rc, ngx_log_t *log);
static void ngx_vmess_account_taint(ngx_vmess_account_t *account,
    const u_char *eauid);
static ngx_vmess_status_e ngx_vmess_account_limit(ngx_vmess_user_t *user);
static void ngx_vmess_account_end(ngx_vmess_account_t *account,
    ngx_vmess_status_e status);
static void ngx_vmess_account_enforce(ngx_vmess_zone_t *zone);
static void ngx_vmess_account_watch(ngx_vmess_account_t *account);
static void ngx_vmess_account_hold(ngx_vmess_account_t *account);
static void ngx_vmess_account_register(ngx_vmess_zone_t *zone);
static void ngx_vmess_account_tick_handler(ngx_event_t *ev);
static void ngx_vmess_account_settle(ngx_vmess_zone_t *zone);
static void ngx_vmess_account_recount(ngx_vmess_zone_t *zone);


static ngx_vmess_status_t  ngx_vmess_account_statuses[NGX_VMESS_STATUSES] = {
    { ngx_string(""), 0, NULL },
    { ngx_string("ok"), 1, NULL },
    { ngx_string("unknown"), 0, "is gone or has another id" },
    { ngx_string("disabled"), 0, "is disabled" },
    { ngx_string("expired"), 0, "has expired" },
    { ngx_string("limited"), 0, "has used up the quota" },
    { ngx_string("max_conns"), 0, "has as many flows as allowed" },
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
    int64_t                         t;
    time_t                          now;
    uint32_t                        tag;
    uint64_t                       *hint, h;
    ngx_uint_t                      i, k, n, slot;
    ngx_vmess_zone_t               *zone;
    ngx_vmess_users_t              *users;
    ngx_vmess_status_e              status;
    ngx_vmess_zone_sh_t            *sh;
    const ngx_vmess_auth_method_t  *method;

    zone = account->zone;
    sh = zone->sh;
    now = ngx_time();
    method = ngx_vmess_auth_method();

    users = ngx_vmess_users_acquire(sh);

    n = users->n;
    i = n;
    k = 0;
    tag = 0;

    hint = ngx_vmess_hint_get(sh, sockaddr, &tag);

    if (hint) {

        for (k = 0; k < NGX_VMESS_HINTS; k++) {
            h = hint[k];

            if ((uint32_t) (h >> 32) != tag || (uint32_t) h >= n) {
                continue;
            }

            i = (uint32_t) h;

            if (method->scan(users->keys, i, i + 1, eauid, &t) == i) {
                break;
            }

            i = n;
        }
    }

    if (i == n) {
        k = NGX_VMESS_HINTS;
        i = method->scan(users->keys, 0, n, eauid, &t);
    }

    if (i < n) {
        ngx_vmess_account_set(account, users, i);
        account->tried = (k < NGX_VMESS_HINTS) ? 0 : i + 1;

    } else if (ngx_vmess_detour_find(users, eauid, &slot, &t) == NGX_OK) {
        ngx_vmess_account_set(account, users, slot % n);
        ngx_vmess_detour_key(zone, users, slot, account->cmd_key);
        account->temporary = 1;
        account->tried = n;
        account->tried_temporary = slot + 1;

    } else if (users->tokens
               && ngx_vmess_token_find(users->tokens, eauid, now, &i, &t)
                  == NGX_OK)
    {
        ngx_vmess_account_set(account, users, i);
        account->legacy = 1;
        account->tried = n;

    } else {
        ngx_vmess_users_release(sh);
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    account->time = t;

    ngx_vmess_account_hold(account);

    ngx_vmess_users_release(sh);

    status = ngx_vmess_account_known(account, eauid, now, log);

    if (status == NGX_VMESS_STATUS_OK) {
        status = ngx_vmess_account_limit(account->user);
    }

    if (status != NGX_VMESS_STATUS_OK) {
        ngx_vmess_account_try_rest(account, eauid);
        return status;
    }

    if (hint && k == NGX_VMESS_HINTS && !account->temporary
        && !account->legacy)
    {
        ngx_vmess_hint_add(hint, tag, i);
    }

    return NGX_VMESS_STATUS_OK;
}


/* fills in an account by a record, but for how it was found */

static void
ngx_vmess_account_set(ngx_vmess_account_t *account, ngx_vmess_users_t *users,
    ngx_uint_t i)
{
    ngx_vmess_record_t  *record;

    record = &users->records[i];

    account->user = record->user;
    ngx_memcpy(account->cmd_key, record->cmd_key, NGX_VMESS_KEY_LEN);
    account->owner = record->owner;
    account->limits = record->user->limits;
    account->number = i;
    account->generation = users->generation;
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

    expires = account->time + NGX_VMESS_TIME_WINDOW;

    rc = ngx_vmess_filter_find(zone->conf, eauid, account->owner, expires);

    return ngx_vmess_account_filtered(zone, rc, log);
}


ngx_vmess_status_e
ngx_vmess_account_claim(ngx_vmess_account_t *account, const u_char *eauid,
    const u_char *key, const u_char *iv, ngx_uint_t flow, ngx_log_t *log)
{
    u_char              data[3 * 16], digest[32];
    ngx_int_t           rc;
    ngx_vmess_zone_t   *zone;
    ngx_vmess_status_e  status;

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

    if (rc != NGX_OK) {
        return ngx_vmess_account_filtered(zone, rc, log);
    }

    status = ngx_vmess_account_check(account, flow);

    account->claimed = (status == NGX_VMESS_STATUS_OK);

    return status;
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
    int64_t             t;
    ngx_uint_t          i, n;
    ngx_vmess_users_t  *users;

    /* a token is looked for when all keys were tried */

    if (account->legacy) {
        return;
    }

    users = ngx_vmess_users_acquire(account->zone->sh);

    /* the key that fits ends a scan: go on behind it */

    for (i = account->tried; i < users->n; i++) {
        i = ngx_vmess_auth_method()->scan(users->keys, i, users->n, eauid, &t);
    }

    n = users->temporary ? 2 * users->n : 0;

    for (i = account->tried_temporary; i < n; i++) {
        i = ngx_vmess_auth_method()->scan(users->temporary, i, n, eauid, &t);
    }

    if (users->tokens) {
        (void) ngx_vmess_token_find(users->tokens, eauid, ngx_time(), &i, &t);
    }

    ngx_vmess_users_release(account->zone->sh);
}


ngx_vmess_status_e
ngx_vmess_account_check(ngx_vmess_account_t *account, ngx_uint_t flow)
{
    ngx_vmess_user_t  *user;

    user = account->user;

    /* the stamp of a user may be ahead for a moment */

    if (user->generation < account->zone->sh->generation
        || user->changed > account->generation)
    {
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    account->limits = user->limits;

    if (flow && user->limits.max_conns
        && *ngx_vmess_account_flows(account) >= user->limits.max_conns)
    {
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    return ngx_vmess_account_limit(user);
}


/* of limits that end flows as well */

static ngx_vmess_status_e
ngx_vmess_account_limit(ngx_vmess_user_t *user)
{
    if (user->limits.disabled) {
        return NGX_VMESS_STATUS_DISABLED;
    }

    if (user->limits.expires && user->limits.expires <= ngx_time()) {
        return NGX_VMESS_STATUS_EXPIRED;
    }

    if (user->limits.quota
        && ngx_vmess_account_used(user) >= user->limits.quota)
    {
        return NGX_VMESS_STATUS_LIMITED;
    }

    return NGX_VMESS_STATUS_OK;
}


ngx_vmess_status_e
ngx_vmess_account_open(ngx_vmess_account_t *account, ngx_vmess_account_t *from)
{
    ngx_connection_t   *c;
    ngx_atomic_uint_t   n;
    ngx_vmess_status_e  status;

    if (from) {
        c = account->connection;

        *account = *from;
        account->connection = c;
        account->counted = 0;
        account->ended = 0;

        ngx_vmess_account_hold(account);
    }

    status = ngx_vmess_account_check(account, 0);

    if (status != NGX_VMESS_STATUS_OK) {
        return status;
    }

    n = ngx_atomic_fetch_add(ngx_vmess_account_flows(account), 1);
    account->counted = 1;

    /* workers may come here at once: none of them has more */

    if (account->limits.max_conns && n >= account->limits.max_conns) {
        ngx_vmess_account_leave(account);
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    account->opened = 1;

    (void) ngx_atomic_fetch_add(&account->user->total, 1);

    return NGX_VMESS_STATUS_OK;
}


void
ngx_vmess_account_count(ngx_vmess_account_t *account, off_t up, off_t down)
{
    ngx_vmess_user_t  *user;

    user = account->user;

    if (up) {
        (void) ngx_atomic_fetch_add(&user->up, up);
    }

    if (down) {
        (void) ngx_atomic_fetch_add(&user->down, down);
    }

    if (user->limits.quota && !account->ended
        && ngx_vmess_account_used(user) >= user->limits.quota)
    {
        ngx_vmess_account_end(account, NGX_VMESS_STATUS_LIMITED);

        /* flows that are silent, and those of other workers */

        (void) ngx_atomic_fetch_add(&account->zone->sh->exhausted, 1);
    }
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
                  &account->user->name.str,
                  ngx_vmess_account_status(status)->who);

    c->close = 1;
    c->read->timedout = 1;

    ngx_post_event(c->read, &ngx_posted_events);
}


/* ends what limits do not allow any more, if there may be something */

static void
ngx_vmess_account_enforce(ngx_vmess_zone_t *zone)
{
    ngx_queue_t          *q;
    ngx_vmess_account_t  *account;
    ngx_vmess_status_e    status;
    ngx_vmess_zone_sh_t  *sh;

    sh = zone->sh;

    if ((zone->expires == 0 || zone->expires > ngx_time())
        && zone->exhausted == sh->exhausted
        && zone->enforced == sh->generation)
    {
        return;
    }

    zone->expires = 0;
    zone->limited = 0;
    zone->exhausted = sh->exhausted;
    zone->enforced = sh->generation;

    for (q = ngx_queue_head(&zone->accounts);
         q != ngx_queue_sentinel(&zone->accounts);
         q = ngx_queue_next(q))
    {
        account = ngx_queue_data(q, ngx_vmess_account_t, queue);

        if (account->ended) {
            continue;
        }

        status = ngx_vmess_account_limit(account->user);

        if (status != NGX_VMESS_STATUS_OK) {
            if (account->claimed) {    /* others are refused later */
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
    ngx_vmess_zone_t    *zone;
    ngx_vmess_limits_t  *limits;

    zone = account->zone;
    limits = &account->user->limits;

    if (limits->expires == 0 && limits->quota == 0) {
        return;
    }

    if (!zone->limited) {
        zone->limited = 1;
        ngx_add_timer(&zone->ticker, NGX_VMESS_ACCOUNT_LIMIT);
    }

    if (limits->expires
        && (zone->expires == 0 || zone->expires > limits->expires))
    {
        zone->expires = limits->expires;
    }
}


void
ngx_vmess_account_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status, const u_char *eauid)
{
    (void) ngx_atomic_fetch_add(&account->user->refused, 1);

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
                  &user->name.str, user->up, user->down,
                  *ngx_vmess_account_flows(account), user->total,
                  user->refused);
}


void
ngx_vmess_account_leave(ngx_vmess_account_t *account)
{
    if (account->counted) {
        account->counted = 0;
        (void) ngx_atomic_fetch_add(ngx_vmess_account_flows(account), -1);
    }
}


void
ngx_vmess_account_close(ngx_vmess_account_t *account)
{
    if (account->user == NULL) {
        return;
    }

    ngx_vmess_account_leave(account);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), -1);

    ngx_queue_remove(&account->queue);

    account->user = NULL;
}


/* counts the account, of which the user was set, as one of this worker */

static void
ngx_vmess_account_hold(ngx_vmess_account_t *account)
{
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    if (!zone->registered) {
        ngx_vmess_account_register(zone);
    }

    ngx_vmess_account_watch(account);

    ngx_queue_insert_tail(&zone->accounts, &account->queue);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), 1);
}


/* from now on this worker has counters in the zone */

static void
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

    ev = &zone->ticker;

    ev->handler = ngx_vmess_account_tick_handler;
    ev->data = zone;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_VMESS_ACCOUNT_TICK);
}


static void
ngx_vmess_account_tick_handler(ngx_event_t *ev)
{
    ngx_vmess_zone_t *zone = ev->data;

    ngx_vmess_account_enforce(zone);

    if (ngx_current_msec - zone->settled >= NGX_VMESS_ACCOUNT_TICK) {
        zone->settled = ngx_current_msec;
        ngx_vmess_account_settle(zone);
    }

    ngx_add_timer(ev, zone->limited ? NGX_VMESS_ACCOUNT_LIMIT
                                    : NGX_VMESS_ACCOUNT_TICK);
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


/* counts all accounts of this worker in the present epoch */

static void
ngx_vmess_account_recount(ngx_vmess_zone_t *zone)
{
    ngx_queue_t          *q;
    ngx_vmess_account_t  *account;

    zone->epoch = zone->sh->epoch;

    for (q = ngx_queue_head(&zone->accounts);
         q != ngx_queue_sentinel(&zone->accounts);
         q = ngx_queue_next(q))
    {
        account = ngx_queue_data(q, ngx_vmess_account_t, queue);

        (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(account), 1);

        if (account->counted) {
            (void) ngx_atomic_fetch_add(ngx_vmess_account_flows(account), 1);
        }
    }

    ngx_vmess_memory_barrier();

    zone->sh->slots[ngx_process_slot].epoch = zone->epoch;
}
