
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_usage.h"
#include "ngx_vmess_compat.h"


#define ngx_vmess_usage_counted(usage)                                        \
    ((off_t) ((usage)->up + (usage)->down + (usage)->extra))


static time_t ngx_vmess_usage_start(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now);
static ngx_uint_t ngx_vmess_usage_over(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now);
static ngx_uint_t ngx_vmess_usage_ahead(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now);
static void ngx_vmess_usage_commit(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, ngx_vmess_usage_period_t *period);


ngx_vmess_usage_e
ngx_vmess_usage_status(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    time_t now)
{
    time_t  expires;

    if (limits->disabled) {
        return NGX_VMESS_USAGE_DISABLED;
    }

    expires = ngx_vmess_usage_expires(usage, limits);

    if (expires && expires <= now) {
        return NGX_VMESS_USAGE_EXPIRED;
    }

    if (limits->quota
        && ngx_vmess_usage_used(usage, limits, now) >= limits->quota)
    {
        return NGX_VMESS_USAGE_LIMITED;
    }

    if (limits->hold && usage->first == 0
        && (limits->hold_until == 0 || limits->hold_until > now))
    {
        return NGX_VMESS_USAGE_ON_HOLD;
    }

    return NGX_VMESS_USAGE_ACTIVE;
}


void
ngx_vmess_usage_open(ngx_vmess_usage_t *usage, time_t now)
{
    if (usage->first == 0) {
        (void) ngx_atomic_cmp_set(&usage->first, 0, now);
    }

    (void) ngx_atomic_fetch_add(&usage->total, 1);
}


time_t
ngx_vmess_usage_expires(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits)
{
    time_t  begun, first;

    if (limits->hold == 0) {
        return limits->expires;
    }

    begun = limits->hold_until;
    first = usage->first;

    if (first && (begun == 0 || begun > first)) {
        begun = first;
    }

    if (begun == 0) {
        return limits->expires;
    }

    begun += limits->hold;

    return (limits->expires && limits->expires < begun) ? limits->expires
                                                        : begun;
}


off_t
ngx_vmess_usage_used(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    time_t now)
{
    ngx_vmess_usage_period_t  period;

    ngx_vmess_usage_period(usage, &period);

    if (ngx_vmess_usage_over(&period, limits, now)
        && ngx_vmess_usage_start(&period, limits, now) != period.start)
    {
        return 0;
    }

    return ngx_vmess_usage_counted(usage) - period.base;
}


ngx_uint_t
ngx_vmess_usage_due(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    time_t now)
{
    return ngx_vmess_usage_over(&usage->period[usage->version & 1], limits,
                                now);
}


void
ngx_vmess_usage_begin(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    time_t now)
{
    time_t                    start;
    ngx_vmess_usage_period_t  period;

    period = usage->period[usage->version & 1];

    if (!ngx_vmess_usage_over(&period, limits, now)) {
        return;
    }

    start = ngx_vmess_usage_start(&period, limits, now);

    if (start != period.start) {
        period.start = start;
        period.base = ngx_vmess_usage_counted(usage);
    }

    ngx_vmess_usage_commit(usage, limits, &period);
}


void
ngx_vmess_usage_reset(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    time_t now)
{
    ngx_vmess_usage_period_t  period;

    period.start = now;
    period.base = ngx_vmess_usage_counted(usage);
    period.up = usage->up;
    period.down = usage->down;

    ngx_vmess_usage_commit(usage, limits, &period);
}


/* the start of the period that "now" is in */

static time_t
ngx_vmess_usage_start(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now)
{
    if (limits->quota_reset.unit == NGX_VMESS_PERIOD_NEVER) {
        return period->start;
    }

    return ngx_vmess_period_start(&limits->quota_reset,
                                  ngx_vmess_usage_ahead(period, limits, now)
                                  ? 0 : period->start,
                                  now);
}


/* the period has ended, or another one may be the right one */

static ngx_uint_t
ngx_vmess_usage_over(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now)
{
    return period->reset.unit != limits->quota_reset.unit
           || period->reset.n != limits->quota_reset.n
           || (period->next && period->next <= now)
           || ngx_vmess_usage_ahead(period, limits, now);
}


/*
 * The period began more than one in the future, by a clock that was wrong: to
 * wait for it might take years.
 */

static ngx_uint_t
ngx_vmess_usage_ahead(ngx_vmess_usage_period_t *period,
    ngx_vmess_limits_t *limits, time_t now)
{
    time_t  next;

    if (period->start <= now) {
        return 0;
    }

    next = ngx_vmess_period_next(&limits->quota_reset, now);

    return next && period->start > next;
}


static void
ngx_vmess_usage_commit(ngx_vmess_usage_t *usage, ngx_vmess_limits_t *limits,
    ngx_vmess_usage_period_t *period)
{
    period->reset = limits->quota_reset;
    period->next = ngx_vmess_period_next(&limits->quota_reset, period->start);

    usage->period[(usage->version + 1) & 1] = *period;

    ngx_vmess_memory_barrier();

    usage->version++;
}


void
ngx_vmess_usage_period(ngx_vmess_usage_t *usage,
    ngx_vmess_usage_period_t *period)
{
    ngx_uint_t  version;

    /* the next change but one writes to the half that is read here */

    do {
        version = usage->version;

        ngx_vmess_memory_barrier();

        *period = usage->period[version & 1];

        ngx_vmess_memory_barrier();

    } while (version != usage->version);
}
