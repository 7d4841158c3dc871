
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_rate.h"


/* units of the time in a bucket in a second */

#if (NGX_PTR_SIZE == 8)
#define NGX_VMESS_RATE_SECOND   1000000
#else
#define NGX_VMESS_RATE_SECOND   1000
#endif

/*
 * below so much of it, a user was idle: now a second's bytes may come at once
 */

#define NGX_VMESS_RATE_IDLE     (-9 * NGX_VMESS_RATE_SECOND / 10)
#define NGX_VMESS_RATE_BURST    NGX_VMESS_RATE_SECOND

/* more is forgotten: with rates so low that a single read takes longer */

#define NGX_VMESS_RATE_DEBT     (60 * NGX_VMESS_RATE_SECOND)

/* bytes per second, to multiply without an overflow */

#define NGX_VMESS_RATE_MAX      ((uint64_t) 1 << 40)

/*
 * In ms: the shortest and the longest time for which flows take part in turns,
 * and after which a flow that waits looks at what has changed, and waits on
 */

#define NGX_VMESS_RATE_TURN     50
#define NGX_VMESS_RATE_ROUND    250
#define NGX_VMESS_RATE_DELAY    1000

/* the part of a burst, in ms, that a flow takes before others have theirs */

#define NGX_VMESS_RATE_SHARE    20

/* flows are counted in periods of so many ms */

#define NGX_VMESS_RATE_PERIOD   1000


/* time in a bucket of which the lowest bit is "burst", relative to now */

#define ngx_vmess_rate_now()                                                  \
    ((ngx_atomic_uint_t) ngx_current_msec * (NGX_VMESS_RATE_SECOND / 1000))

#define ngx_vmess_rate_ahead(time)                                            \
    ((ngx_atomic_int_t) (((time) & ~(ngx_atomic_uint_t) 1)                    \
                         - (ngx_vmess_rate_now() << 1)) / 2)

/* flows in a period, and in the one before: number, flows, flows */

#define ngx_vmess_rate_period(flows)  ((flows) >> 24 & 0xff)
#define ngx_vmess_rate_flows(flows)   ((flows) >> 12 & 0xfff)
#define ngx_vmess_rate_before(flows)  ((flows) & 0xfff)


static ngx_int_t ngx_vmess_rate_wait(ngx_vmess_rate_t *rate,
    ngx_vmess_account_t *account, ngx_uint_t side);
static size_t ngx_vmess_rate_limit(ngx_vmess_account_t *account,
    ngx_uint_t side);
static void ngx_vmess_rate_add(ngx_vmess_rate_side_t *rs,
    ngx_vmess_bucket_t *bucket, uint64_t limit, size_t n);
static ngx_msec_t ngx_vmess_rate_delay(ngx_vmess_rate_side_t *rs,
    ngx_vmess_bucket_t *bucket, uint64_t limit);
static void ngx_vmess_rate_pay(ngx_vmess_rate_side_t *rs, uint64_t speed);
static ngx_uint_t ngx_vmess_rate_count(ngx_vmess_bucket_t *bucket);
static void ngx_vmess_rate_register(ngx_vmess_rate_side_t *rs,
    ngx_vmess_bucket_t *bucket);


ngx_int_t
ngx_vmess_rate_read(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account)
{
    return ngx_vmess_rate_wait(rate, account, NGX_VMESS_RATE_UP);
}


ngx_int_t
ngx_vmess_rate_write(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account)
{
    return ngx_vmess_rate_wait(rate, account, NGX_VMESS_RATE_DOWN);
}


static ngx_int_t
ngx_vmess_rate_wait(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account,
    ngx_uint_t side)
{
    size_t      limit;
    ngx_msec_t  delay;

    limit = ngx_vmess_rate_limit(account, side);

    if (limit == 0) {
        return NGX_OK;
    }

    delay = ngx_vmess_rate_delay(&rate->sides[side],
                                 &account->user->buckets[side], limit);

    return (delay && rate->delay(rate->data, side, delay) == NGX_OK)
           ? NGX_AGAIN : NGX_OK;
}


void
ngx_vmess_rate_received(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account,
    size_t n)
{
    size_t  limit;

    limit = ngx_vmess_rate_limit(account, NGX_VMESS_RATE_UP);

    if (limit) {
        ngx_vmess_rate_add(&rate->sides[NGX_VMESS_RATE_UP],
                           &account->user->buckets[NGX_VMESS_RATE_UP], limit,
                           n);
    }
}


void
ngx_vmess_rate_sent(ngx_vmess_rate_t *rate, ngx_vmess_account_t *account,
    size_t n)
{
    size_t  limit;

    limit = ngx_vmess_rate_limit(account, NGX_VMESS_RATE_DOWN);

    if (limit == 0 || n == 0) {
        return;
    }

    ngx_vmess_rate_add(&rate->sides[NGX_VMESS_RATE_DOWN],
                       &account->user->buckets[NGX_VMESS_RATE_DOWN], limit, n);

    (void) ngx_vmess_rate_write(rate, account);
}


/*
 * What is configured now.  A connection with sub-connections is no flow, and
 * what was read as a header belongs to none.
 */

static size_t
ngx_vmess_rate_limit(ngx_vmess_account_t *account, ngx_uint_t side)
{
    ngx_vmess_limits_t  *limits;

    if (!account->opened) {
        return 0;
    }

    limits = ngx_vmess_user_limits(account->user);

    return (side == NGX_VMESS_RATE_UP) ? ngx_vmess_limits_rate_up(limits)
                                       : ngx_vmess_limits_rate_down(limits);
}


/*
 * The bucket is the time at which all bytes so far should have passed: a
 * single word, so a process that dies leaves nothing behind.  After a burst it
 * is ahead of the clock, and flows go slower until it is not: from the first
 * byte on, a user has what the rate gives, but for the first second.
 */

static void
ngx_vmess_rate_add(ngx_vmess_rate_side_t *rs, ngx_vmess_bucket_t *bucket,
    uint64_t limit, size_t n)
{
    ngx_uint_t         burst;
    ngx_atomic_int_t   ahead, cost;
    ngx_atomic_uint_t  old, time;

    limit = ngx_min(limit, NGX_VMESS_RATE_MAX);

    rs->rest += (uint64_t) n * NGX_VMESS_RATE_SECOND;
    cost = ngx_min(rs->rest / limit, NGX_VMESS_RATE_DEBT);
    rs->rest %= limit;

    /* what was idle before this was no payment for it */

    ngx_vmess_rate_pay(rs, rs->speed);

    rs->owed += n;

    do {
        old = bucket->time;
        burst = old & 1;
        ahead = ngx_vmess_rate_ahead(old);

        if (ahead < NGX_VMESS_RATE_IDLE) {
            burst = 1;
        }

        if (burst && ahead < 0) {
            ahead = 0;
        }

        ahead = ngx_min(ahead + cost, NGX_VMESS_RATE_DEBT);

        if (ahead >= NGX_VMESS_RATE_BURST) {
            burst = 0;
        }

        time = (ngx_vmess_rate_now() + ahead) << 1 | burst;

    } while (!ngx_atomic_cmp_set(&bucket->time, old, time));
}


/*
 * The time for which a flow has to wait, or 0.  Each has an equal part of the
 * rate, multiplied by what brings the bucket to the present time: so flows that
 * take less than their part leave the rest to others.  What a flow owes is paid
 * at that speed, however much it has taken in one go.
 */

static ngx_msec_t
ngx_vmess_rate_delay(ngx_vmess_rate_side_t *rs, ngx_vmess_bucket_t *bucket,
    uint64_t limit)
{
    int64_t            round, factor;
    uint64_t           part, turn;
    ngx_uint_t         n;
    ngx_atomic_int_t   ahead;
    ngx_atomic_uint_t  time;

    time = bucket->time;
    ahead = ngx_vmess_rate_ahead(time);

    if (ahead < NGX_VMESS_RATE_IDLE) {
        rs->owed = 0;
        return 0;
    }

    limit = ngx_min(limit, NGX_VMESS_RATE_MAX);

    n = ngx_vmess_rate_count(bucket);
    part = ngx_max(limit / n, 1);

    /* in 256ths: from an eighth to four times */

    factor = 4 * 256;

    round = ngx_max(rs->owed * NGX_VMESS_RATE_SECOND / part,
                    NGX_VMESS_RATE_ROUND * (NGX_VMESS_RATE_SECOND / 1000));

    if (!(time & 1) && round + ahead > 0) {
        factor = ngx_min(factor, ngx_max(256 / 8,
                                         256 * round / (round + ahead)));
    }

    rs->speed = ngx_max(part * factor / 256, 1);

    ngx_vmess_rate_pay(rs, rs->speed);

    /* the more flows there are, the longer they wait, as all of them wake */

    turn = ngx_min(NGX_VMESS_RATE_TURN + 4 * n, NGX_VMESS_RATE_ROUND);

    if (time & 1) {
        turn = NGX_VMESS_RATE_SHARE;
    }

    if (ahead >= NGX_VMESS_RATE_BURST) {
        turn = 0;
    }

    if (rs->owed <= part * turn / 1000) {
        return 0;
    }

    ngx_vmess_rate_register(rs, bucket);

    return ngx_min(rs->owed * 1000 / rs->speed + 1, NGX_VMESS_RATE_DELAY);
}


static void
ngx_vmess_rate_pay(ngx_vmess_rate_side_t *rs, uint64_t speed)
{
    uint64_t    paid;
    ngx_msec_t  elapsed;

    elapsed = ngx_min(ngx_current_msec - rs->updated, 60000);
    paid = ngx_min(speed * elapsed / 1000, rs->owed);

    /* less than a byte is for the next time */

    if (paid || rs->owed == 0) {
        rs->owed -= paid;
        rs->updated = ngx_current_msec;
    }
}


/* the number of flows that have to wait, this one or not: 1 or more */

static ngx_uint_t
ngx_vmess_rate_count(ngx_vmess_bucket_t *bucket)
{
    ngx_uint_t         n, period;
    ngx_atomic_uint_t  flows;

    flows = bucket->flows;
    period = ngx_current_msec / NGX_VMESS_RATE_PERIOD;

    n = 1;

    if (ngx_vmess_rate_period(flows) == (period & 0xff)) {
        n = ngx_max(ngx_vmess_rate_flows(flows),
                    ngx_vmess_rate_before(flows));
    }

    if (ngx_vmess_rate_period(flows) == ((period - 1) & 0xff)) {
        n = ngx_vmess_rate_flows(flows);
    }

    return ngx_max(n, 1);
}


/* counts a flow that has to wait, once in a period, so nobody has to leave */

static void
ngx_vmess_rate_register(ngx_vmess_rate_side_t *rs, ngx_vmess_bucket_t *bucket)
{
    ngx_uint_t         n, before;
    ngx_msec_t         period;
    ngx_atomic_uint_t  old, flows;

    period = ngx_current_msec / NGX_VMESS_RATE_PERIOD;

    if (rs->period == period) {
        return;
    }

    rs->period = period;

    do {
        old = bucket->flows;
        n = 1;
        before = 0;

        if (ngx_vmess_rate_period(old) == (period & 0xff)) {
            n = ngx_min(ngx_vmess_rate_flows(old) + 1, 0xfff);
            before = ngx_vmess_rate_before(old);
        }

        if (ngx_vmess_rate_period(old) == ((period - 1) & 0xff)) {
            before = ngx_vmess_rate_flows(old);
        }

        flows = (period & 0xff) << 24 | n << 12 | before;

    } while (!ngx_atomic_cmp_set(&bucket->flows, old, flows));
}
