
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_user.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_remove.h"
#include "ngx_vmess_table_set.h"


static u_char *ngx_vmess_state_user_write(ngx_vmess_user_t *user,
    ngx_vmess_user_info_t *info, u_char *p, ngx_vmess_state_round_t *round);
static u_char *ngx_vmess_state_user_gone(ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *p, ngx_vmess_state_round_t *round);
static void ngx_vmess_state_user_usage(ngx_vmess_journal_record_t *record,
    ngx_vmess_usage_t *usage);
static uint32_t ngx_vmess_state_user_sum(ngx_vmess_journal_record_t *record);
static void ngx_vmess_state_user_value(ngx_vmess_journal_record_t *record,
    ngx_vmess_value_t *value);
static ngx_int_t ngx_vmess_state_user_set(ngx_vmess_table_t *t,
    ngx_vmess_journal_record_t *record, ngx_vmess_user_t **user);
static void ngx_vmess_state_user_limits(ngx_vmess_limits_t *limits,
    ngx_vmess_journal_record_t *record);
static void ngx_vmess_state_user_restore(ngx_vmess_usage_t *usage,
    ngx_vmess_journal_record_t *record);


u_char *
ngx_vmess_state_user_get(ngx_vmess_zone_t *zone, ngx_uint_t i, u_char *p,
    ngx_vmess_state_round_t *round)
{
    ngx_vmess_user_t       *user;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   info;

    t = zone->sh->table;
    user = ngx_vmess_table_user(t, i);

    /* no other user in this place has that stamp */

    if (round->quick && ngx_vmess_table_used(user) && user->saved_name
        && user->saved_stamp == (uint32_t) user->stamp)
    {
        return p;
    }

    if (ngx_vmess_table_get(t, i, &info) == NGX_OK) {
        return ngx_vmess_state_user_write(user, &info, p, round);
    }

    if (round->copy) {

        /* what is copied does not have who was here */

        if (round->note) {
            user->saved_name = 0;
        }

        return p;
    }

    return user->saved_name ? ngx_vmess_state_user_gone(zone, user, p, round)
                            : p;
}


static u_char *
ngx_vmess_state_user_write(ngx_vmess_user_t *user, ngx_vmess_user_info_t *info,
    u_char *p, ngx_vmess_state_round_t *round)
{
    uint32_t                     hash, sum;
    ngx_vmess_journal_record_t   record;

    hash = ngx_crc32_long(info->value.name.data, info->value.name.len);

    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    record.kind = NGX_VMESS_JOURNAL_COUNTERS;
    record.name = info->value.name;

    ngx_vmess_state_user_usage(&record, &info->usage);

    sum = ngx_vmess_state_user_sum(&record);

    if (round->copy || user->saved_name != hash
        || user->saved_stamp != (uint32_t) info->stamp)
    {
        round->lost |= (user->saved_name && user->saved_name != hash
                        && !round->copy);

        record.kind = NGX_VMESS_JOURNAL_USER;

        ngx_vmess_state_user_value(&record, &info->value);

    } else if (user->saved_usage == sum) {
        goto done;
    }

    if (!round->copy || round->note) {
        user->saved_name = hash;
        user->saved_stamp = (uint32_t) info->stamp;
        user->saved_usage = sum;

    } else if (user->saved_name == 0) {

        /* a removal has to be written */

        user->saved_name = hash;
    }

    p = ngx_vmess_journal_create_record(p, &record);
    round->count++;

done:

    ngx_explicit_memzero(info, sizeof(ngx_vmess_user_info_t));

    return p;
}


/*
 * The user that was written is not there.  It may have come again, here or
 * under another number: that is later than the removal, and written after it.
 */

static u_char *
ngx_vmess_state_user_gone(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    u_char *p, ngx_vmess_state_round_t *round)
{
    uint32_t                     hash;
    ngx_vmess_user_t            *again;
    ngx_vmess_table_t           *t;
    ngx_vmess_user_info_t        info;
    ngx_vmess_journal_record_t   record;

    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    record.kind = NGX_VMESS_JOURNAL_REMOVED;

    t = ngx_vmess_users_lock(zone);

    record.name = user->name;

    hash = user->saved_name;
    user->saved_name = 0;

    again = NULL;

    if (ngx_crc32_long(record.name.data, record.name.len) == hash) {
        p = ngx_vmess_journal_create_record(p, &record);
        round->count++;

        again = ngx_vmess_table_find(t, &record.name);

        /* this round may have written it already */

        if (again && again->saved_name == hash) {
            again->saved_stamp = (uint32_t) again->stamp - 1;
        }

    } else {
        round->lost = 1;
    }

    ngx_vmess_users_unlock(zone);

    if (again
        && ngx_vmess_table_get(t, ngx_vmess_table_number(t, again), &info)
           == NGX_OK)
    {
        p = ngx_vmess_state_user_write(again, &info, p, round);
    }

    return p;
}


static void
ngx_vmess_state_user_usage(ngx_vmess_journal_record_t *record,
    ngx_vmess_usage_t *usage)
{
    ngx_vmess_usage_period_t  period;

    ngx_vmess_usage_period(usage, &period);

    record->up = usage->up;
    record->down = usage->down;
    record->extra = usage->extra;
    record->total = usage->total;
    record->refused = usage->refused;
    record->first = usage->first;
    record->seen = usage->seen;
    record->period = period.start;
    record->base = period.base;
    record->reset_up = period.up;
    record->reset_down = period.down;
}


static uint32_t
ngx_vmess_state_user_sum(ngx_vmess_journal_record_t *record)
{
    u_char   *p;
    size_t    len;

    p = (u_char *) &record->up;
    len = (u_char *) &record->seen + sizeof(uint64_t) - p;

    return ngx_crc32_long(p, len);
}


static void
ngx_vmess_state_user_value(ngx_vmess_journal_record_t *record,
    ngx_vmess_value_t *value)
{
    ngx_vmess_limits_t  *limits;

    limits = &value->limits;

    record->id.len = NGX_VMESS_ID_LEN;
    record->id.data = value->id[NGX_VMESS_USER_OWN];

    if (value->ids == NGX_VMESS_USER_IDS) {
        record->also.len = NGX_VMESS_ID_LEN;
        record->also.data = value->id[NGX_VMESS_USER_ALSO];
        record->until = value->until;
    }

    record->class.data = limits->class;
    record->class.len = ngx_strlen(limits->class);
    record->token.data = limits->token;
    record->token.len = ngx_strlen(limits->token);
    record->given = limits->given;
    record->alter_id = limits->alter_id;
    record->disabled = limits->disabled;
    record->max_conns = limits->max_conns;
    record->max_ips = limits->max_ips;
    record->quota_reset = (uint64_t) limits->quota_reset.unit << 32
                          | limits->quota_reset.n;
    record->expires = limits->expires;
    record->hold = limits->hold;
    record->hold_until = limits->hold_until;
    record->quota = limits->quota;
    record->rate = limits->rate;
    record->rate_up = limits->rate_up;
    record->rate_down = limits->rate_down;
    record->tags = value->tags;
    record->origin = value->origin;
}


ngx_int_t
ngx_vmess_state_user_put(ngx_vmess_zone_t *zone,
    ngx_vmess_journal_record_t *record)
{
    ngx_int_t           rc;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    rc = NGX_OK;

    t = ngx_vmess_users_lock(zone);

    user = ngx_vmess_table_find(t, &record->name);

    switch (record->kind) {

    case NGX_VMESS_JOURNAL_USER:
        rc = ngx_vmess_state_user_set(t, record, &user);

        /* fall through */

    case NGX_VMESS_JOURNAL_COUNTERS:

        if (rc == NGX_OK && user) {
            ngx_vmess_state_user_restore(&user->usage, record);

            user->saved_name = user->hash;
            user->saved_stamp = (uint32_t) user->stamp;
            user->saved_usage = ngx_vmess_state_user_sum(record);
        }

        break;

    case NGX_VMESS_JOURNAL_REMOVED:

        if (user) {
            ngx_vmess_table_remove(t, user);
            user->saved_name = 0;
        }

        break;

    default:
        break;
    }

    /* nobody refers to users yet, and of those removed there may be many */

    ngx_vmess_table_reap(t, zone->sh->epoch, 0);

    ngx_vmess_users_unlock(zone);

    return rc;
}


/*
 * Of two users with an id, the one written later has it: the other one was
 * given another, or removed, which follows.
 */

static ngx_int_t
ngx_vmess_state_user_set(ngx_vmess_table_t *t,
    ngx_vmess_journal_record_t *record, ngx_vmess_user_t **user)
{
    ngx_uint_t          i;
    ngx_vmess_value_t   value;
    ngx_vmess_table_e   rc;

    ngx_memzero(&value, sizeof(ngx_vmess_value_t));

    value.name = record->name;
    value.ids = 1;
    value.tags = record->tags;
    value.origin = record->origin;

    ngx_memcpy(value.id[NGX_VMESS_USER_OWN], record->id.data,
               NGX_VMESS_ID_LEN);

    if (record->also.len) {
        value.ids = NGX_VMESS_USER_IDS;
        value.until = record->until;

        ngx_memcpy(value.id[NGX_VMESS_USER_ALSO], record->also.data,
                   NGX_VMESS_ID_LEN);
    }

    ngx_vmess_state_user_limits(&value.limits, record);

    /* who has either of its ids */

    for (i = 0; i <= NGX_VMESS_USER_IDS; i++) {

        rc = ngx_vmess_table_set(t, &value, NULL, user);

        if (rc != NGX_VMESS_TABLE_TAKEN) {
            break;
        }

        ngx_vmess_table_remove(t, *user);
    }

    ngx_explicit_memzero(&value, sizeof(ngx_vmess_value_t));

    return rc <= NGX_VMESS_TABLE_CHANGED ? NGX_OK : NGX_ERROR;
}


static void
ngx_vmess_state_user_limits(ngx_vmess_limits_t *limits,
    ngx_vmess_journal_record_t *record)
{
    if (record->class.len) {
        ngx_memcpy(limits->class, record->class.data,
                   ngx_min(record->class.len, NGX_VMESS_CLASS_LEN - 1));
    }

    if (record->token.len) {
        ngx_memcpy(limits->token, record->token.data,
                   ngx_min(record->token.len, NGX_VMESS_TOKEN_LEN - 1));
    }

    limits->given = record->given;
    limits->alter_id = record->alter_id;
    limits->disabled = record->disabled;
    limits->max_conns = record->max_conns;
    limits->max_ips = record->max_ips;
    limits->quota_reset.unit = record->quota_reset >> 32;
    limits->quota_reset.n = (uint32_t) record->quota_reset;
    limits->expires = record->expires;
    limits->hold = record->hold;
    limits->hold_until = record->hold_until;
    limits->quota = record->quota;
    limits->rate = record->rate;
    limits->rate_up = record->rate_up;
    limits->rate_down = record->rate_down;
}


/* when the period ends is found from its start when it is looked at */

static void
ngx_vmess_state_user_restore(ngx_vmess_usage_t *usage,
    ngx_vmess_journal_record_t *record)
{
    ngx_vmess_usage_period_t  *period;

    ngx_memzero(usage, sizeof(ngx_vmess_usage_t));

    usage->up = record->up;
    usage->down = record->down;
    usage->extra = record->extra;
    usage->total = record->total;
    usage->refused = record->refused;
    usage->first = record->first;
    usage->seen = record->seen;

    period = &usage->period[0];

    period->start = record->period;
    period->base = record->base;
    period->up = record->reset_up;
    period->down = record->reset_down;
}
