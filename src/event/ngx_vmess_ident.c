
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_ident.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_hint.h"
#include "proto/ngx_vmess_hash.h"


static ngx_int_t ngx_vmess_ident_find_hint(ngx_vmess_account_t *account,
    uint64_t *hint, uint32_t tag, const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_ident_find(ngx_vmess_account_t *account,
    ngx_uint_t *slot, const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_ident_find_token(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now);
static ngx_int_t ngx_vmess_ident_take(ngx_vmess_account_t *account,
    ngx_uint_t slot, const u_char *eauid, time_t now);
static ngx_vmess_status_e ngx_vmess_ident_known(ngx_vmess_account_t *account,
    const u_char *eauid, time_t now, ngx_log_t *log);
static ngx_vmess_status_e ngx_vmess_ident_filtered(ngx_vmess_zone_t *zone,
    ngx_int_t rc, ngx_log_t *log);
static void ngx_vmess_ident_taint(ngx_vmess_account_t *account,
    const u_char *eauid);


ngx_vmess_status_e
ngx_vmess_ident_auth(ngx_vmess_account_t *account, struct sockaddr *sockaddr,
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

    rc = ngx_vmess_ident_find_hint(account, hint, tag, eauid, now);

    if (rc != NGX_OK) {
        rc = ngx_vmess_ident_find(account, &slot, eauid, now);

        if (rc == NGX_OK && hint && !account->temporary) {
            ngx_vmess_hint_add(hint, tag, slot);
        }
    }

    if (rc != NGX_OK
        && ngx_vmess_ident_find_token(account, eauid, now) != NGX_OK)
    {
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    status = ngx_vmess_ident_known(account, eauid, now, log);

    if (status == NGX_VMESS_STATUS_OK) {
        status = ngx_vmess_account_limit(account->user, &account->limits);

        if (status != NGX_VMESS_STATUS_OK) {

            /* nor must it be good when there is no such limit any more */

            ngx_vmess_ident_taint(account, eauid);
        }
    }

    if (status != NGX_VMESS_STATUS_OK) {
        ngx_vmess_ident_try_rest(account, eauid);
    }

    return status;
}


static ngx_int_t
ngx_vmess_ident_find_hint(ngx_vmess_account_t *account, uint64_t *hint,
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
            && ngx_vmess_ident_take(account, (uint32_t) h, eauid, now)
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
ngx_vmess_ident_find(ngx_vmess_account_t *account, ngx_uint_t *slot,
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

        if (ngx_vmess_ident_take(account, i, eauid, now) == NGX_OK) {
            account->tried = i + 1;
            *slot = i;
            return NGX_OK;
        }
    }
}


/* when all keys were tried */

static ngx_int_t
ngx_vmess_ident_find_token(ngx_vmess_account_t *account,
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
        || ngx_vmess_ident_take(account, user->slot, NULL, now) != NGX_OK)
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
ngx_vmess_ident_take(ngx_vmess_account_t *account, ngx_uint_t slot,
    const u_char *eauid, time_t now)
{
    ngx_int_t           rc;
    ngx_vmess_hit_t     hit;
    ngx_vmess_table_t  *table;

    table = account->zone->sh->table;

    rc = ngx_vmess_hit_take(table, slot, eauid, now, &hit);

    if (rc == NGX_OK) {
        account->user = hit.user;
        account->serial = hit.serial;

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
ngx_vmess_ident_known(ngx_vmess_account_t *account, const u_char *eauid,
    time_t now, ngx_log_t *log)
{
    time_t             expires;
    ngx_int_t          rc;
    ngx_vmess_zone_t  *zone;

    zone = account->zone;

    if (ngx_vmess_auth_check_time(account->time, now) != NGX_OK) {

        /* its time may come, and then it must not be good any more */

        if (account->time > now && account->time <= now + NGX_VMESS_EARLY) {
            ngx_vmess_ident_taint(account, eauid);
        }

        return NGX_VMESS_STATUS_TIME;
    }

    /* it may have been used before a restart */

    if (account->time <= zone->sh->started) {
        return NGX_VMESS_STATUS_TIME;
    }

    expires = account->time + NGX_VMESS_TIME_WINDOW;

    rc = ngx_vmess_filter_find(zone->conf, eauid, account->owner, expires);

    return ngx_vmess_ident_filtered(zone, rc, log);
}


ngx_vmess_status_e
ngx_vmess_ident_claim(ngx_vmess_account_t *account, const u_char *eauid,
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
            return ngx_vmess_ident_filtered(zone, rc, log);
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

    return ngx_vmess_ident_filtered(zone, rc, log);
}


/* what an answer of the replay filter means for the header */

static ngx_vmess_status_e
ngx_vmess_ident_filtered(ngx_vmess_zone_t *zone, ngx_int_t rc, ngx_log_t *log)
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
ngx_vmess_ident_taint(ngx_vmess_account_t *account, const u_char *eauid)
{
    (void) ngx_vmess_filter_add(account->zone->conf, eauid, account->owner,
                                account->time + NGX_VMESS_TIME_WINDOW);
}


void
ngx_vmess_ident_try_rest(ngx_vmess_account_t *account, const u_char *eauid)
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


void
ngx_vmess_ident_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status, const u_char *eauid)
{
    (void) ngx_atomic_fetch_add(&account->user->usage.refused, 1);

    if (eauid
        && (account->legacy || status == NGX_VMESS_STATUS_TAG
            || status == NGX_VMESS_STATUS_HEADER))
    {
        ngx_vmess_ident_taint(account, eauid);
    }
}
