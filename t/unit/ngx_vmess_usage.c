
/*
 * Copyright (C) ngx_vmess authors
 *
 * What a user has used: periods of the quota, also if who begins one dies at any
 * instruction, and the time on hold.
 */

#include "test.h"
#include "event/ngx_vmess_usage.h"


#define TEST_DAY  86400

/* 2028-02-01, 2028-02-29 and 2028-03-31 */

#define TEST_FEB1   1832976000
#define TEST_FEB29  (TEST_FEB1 + 28 * TEST_DAY)
#define TEST_MAR31  (TEST_FEB29 + 31 * TEST_DAY)


typedef struct {
    ngx_vmess_usage_t    usage;
    ngx_vmess_limits_t   limits;
    time_t               now;
    void               (*change)(ngx_vmess_usage_t *usage,
                                 ngx_vmess_limits_t *limits, time_t now);
} test_state_t;


static void
test_state(test_state_t *st, ngx_uint_t unit, ngx_uint_t n)
{
    ngx_memzero(st, sizeof(test_state_t));

    st->limits.quota = 1000;
    st->limits.quota_reset.unit = unit;
    st->limits.quota_reset.n = n;
}


/* counts as a worker does */

static void
test_count(test_state_t *st, time_t now, int up, int down)
{
    if (ngx_vmess_usage_due(&st->usage, &st->limits, now)) {
        ngx_vmess_usage_begin(&st->usage, &st->limits, now);
    }

    st->usage.up += up;
    st->usage.down += down;
}


static long long
test_used(test_state_t *st, time_t now)
{
    return ngx_vmess_usage_used(&st->usage, &st->limits, now);
}


static void
test_months(void)
{
    time_t                    t;
    test_state_t              st;
    ngx_vmess_usage_period_t  period;

    test_state(&st, NGX_VMESS_PERIOD_MONTH, 31);

    t = TEST_FEB1;

    test_count(&st, t, 300, 400);
    test_ok(test_used(&st, t) == 700, "month: up and down are used");

    test_ok(!ngx_vmess_usage_due(&st.usage, &st.limits, TEST_FEB29 - 1)
            && test_used(&st, TEST_FEB29 - 1) == 700,
            "month: until the last second");

    test_ok(test_used(&st, TEST_FEB29) == 0
            && ngx_vmess_usage_due(&st.usage, &st.limits, TEST_FEB29)
            && st.usage.up == 300,
            "month: the next one begins with nothing, before anybody counts");

    test_count(&st, TEST_FEB29, 0, 1);

    test_ok(test_used(&st, TEST_FEB29) == 1 && st.usage.down == 401,
            "month: counts on, counters are not put back");

    ngx_vmess_usage_begin(&st.usage, &st.limits, TEST_FEB29 + 1);
    test_ok(test_used(&st, TEST_FEB29 + 1) == 1, "month: begins once");

    /* the clock is put back */

    test_count(&st, TEST_FEB29 - 1, 1, 0);
    test_ok(test_used(&st, TEST_FEB29 - 1) == 2, "month: not again");

    /* three periods nobody was there */

    t = TEST_MAR31 + 70 * TEST_DAY;

    test_ok(test_used(&st, t) == 0, "month: nothing is used after downtime");
    test_count(&st, t, 5, 0);
    test_ok(test_used(&st, t) == 5, "month: and it is counted once");

    ngx_vmess_usage_period(&st.usage, &period);

    test_ok(period.start == TEST_MAR31 + 61 * TEST_DAY
            && period.next == TEST_MAR31 + 91 * TEST_DAY,
            "month: from May 31 to June 30");

    ngx_vmess_usage_reset(&st.usage, &st.limits, t + 10);
    test_count(&st, t + 20, 0, 7);
    ngx_vmess_usage_period(&st.usage, &period);

    test_ok(test_used(&st, t + 20) == 7 && period.up == 306
            && period.down == 401 && period.next == TEST_MAR31 + 91 * TEST_DAY,
            "month: a reset by hand, the next one is when it was");
}


static void
test_rolling(void)
{
    time_t                    t;
    test_state_t              st;
    ngx_vmess_usage_period_t  period;

    test_state(&st, NGX_VMESS_PERIOD_DAYS, 30);

    t = TEST_FEB1 + 4711;

    test_count(&st, t, 10, 0);
    test_count(&st, t + 30 * TEST_DAY - 1, 10, 0);
    test_ok(test_used(&st, t + 30 * TEST_DAY - 1) == 20, "30d: from the first");
    test_count(&st, t + 30 * TEST_DAY, 1, 0);
    test_ok(test_used(&st, t + 30 * TEST_DAY) == 1, "30d: to the second");

    ngx_vmess_usage_reset(&st.usage, &st.limits, t + 40 * TEST_DAY);
    ngx_vmess_usage_period(&st.usage, &period);
    test_ok(period.next == t + 70 * TEST_DAY, "30d: from a reset by hand");

    test_count(&st, t + 165 * TEST_DAY, 1, 0);
    ngx_vmess_usage_period(&st.usage, &period);
    test_ok(period.start == t + 160 * TEST_DAY, "30d: after downtime");
}


/* the clock was wrong by years, and is put right */

static void
test_future(void)
{
    time_t                    t;
    test_state_t              st;
    ngx_vmess_usage_period_t  period;

    test_state(&st, NGX_VMESS_PERIOD_MONTH, 31);

    t = TEST_FEB1 + 10 * TEST_DAY;

    test_count(&st, TEST_MAR31, 1000, 0);
    test_ok(test_used(&st, TEST_MAR31 - 1) == 1000
            && test_used(&st, TEST_FEB29) == 1000,
            "future: by a period, nothing begins again");

    test_ok(test_used(&st, TEST_FEB29 - 1) == 0,
            "future: by more, another one begins");

    test_count(&st, t, 5, 0);
    ngx_vmess_usage_period(&st.usage, &period);

    test_ok(test_used(&st, t + 1) == 5 && period.start == TEST_FEB1 - TEST_DAY
            && period.next == TEST_FEB29,
            "future: it is that of the clock");

    test_state(&st, NGX_VMESS_PERIOD_DAYS, 30);

    test_count(&st, t + 30 * TEST_DAY, 1000, 0);
    test_ok(test_used(&st, t) == 1000, "future: by 30d, not again");
    test_count(&st, t - 1, 5, 0);
    ngx_vmess_usage_period(&st.usage, &period);

    test_ok(test_used(&st, t) == 5 && period.start == t - 1,
            "future: by more than 30d, from the first");

    test_state(&st, NGX_VMESS_PERIOD_NEVER, 0);
    ngx_vmess_usage_reset(&st.usage, &st.limits, t + 5000 * TEST_DAY);
    test_count(&st, t, 5, 0);

    test_ok(!ngx_vmess_usage_due(&st.usage, &st.limits, t)
            && test_used(&st, t) == 5,
            "future: never begins again");
}


static void
test_changes(void)
{
    time_t        t;
    test_state_t  st;

    test_state(&st, NGX_VMESS_PERIOD_NEVER, 0);

    t = TEST_FEB1 + 10 * TEST_DAY;

    test_ok(!ngx_vmess_usage_due(&st.usage, &st.limits, t), "never is not due");
    test_count(&st, t, 100, 0);
    test_count(&st, t + 1000 * TEST_DAY, 100, 0);
    test_ok(test_used(&st, t + 1000 * TEST_DAY) == 200, "never is all");

    st.limits.quota_reset.unit = NGX_VMESS_PERIOD_MONTH;
    st.limits.quota_reset.n = 1;

    test_ok(test_used(&st, t) == 0, "what was used in a month is not known");
    test_count(&st, t, 1, 0);
    test_ok(test_used(&st, t) == 1, "it is from now on");

    /* it began on February 1: a week later than that, and a year before */

    st.limits.quota_reset.unit = NGX_VMESS_PERIOD_WEEK;
    test_ok(test_used(&st, t) == 0, "a week began later");

    st.limits.quota_reset.unit = NGX_VMESS_PERIOD_YEAR;
    test_count(&st, t, 1, 0);
    test_ok(test_used(&st, t) == 2, "a year is not over");

    st.limits.quota_reset.unit = NGX_VMESS_PERIOD_NEVER;
    st.limits.quota_reset.n = 0;
    test_count(&st, t + 1000 * TEST_DAY, 1, 0);
    test_ok(test_used(&st, t + 1000 * TEST_DAY) == 3, "never from then on");

    st.usage.extra = (ngx_atomic_uint_t) -2;
    test_ok(test_used(&st, t) == 1, "a factor takes away");
}


static void
test_call(void *data)
{
    test_state_t *st = data;

    st->change(&st->usage, &st->limits, st->now);
}


static int
test_same(ngx_vmess_usage_period_t *a, ngx_vmess_usage_period_t *b)
{
    return a->start == b->start && a->next == b->next && a->base == b->base
           && a->up == b->up && a->down == b->down
           && a->reset.unit == b->reset.unit && a->reset.n == b->reset.n;
}


/* who begins a period dies: nothing has happened, or all has */

static void
test_deaths(const char *name, void (*change)(ngx_vmess_usage_t *usage,
    ngx_vmess_limits_t *limits, time_t now), time_t now)
{
    int                        n, bad, before, after;
    pid_t                      pid;
    test_state_t              *st, copy;
    ngx_vmess_usage_period_t   old, new, period;

    st = (test_state_t *) test_shared(sizeof(test_state_t));

    test_state(st, NGX_VMESS_PERIOD_MONTH, 31);
    test_count(st, TEST_FEB1, 300, 400);

    st->change = change;
    st->now = now;

    ngx_vmess_usage_period(&st->usage, &old);

    copy = *st;
    test_call(&copy);
    ngx_vmess_usage_period(&copy.usage, &new);

    bad = before = after = 0;

    pid = test_trace(test_call, st);

    for (n = 0; test_trace_step(pid); n++) {

        copy = *st;

        ngx_vmess_usage_period(&copy.usage, &period);

        if (test_same(&period, &old)) {
            before++;

        } else if (test_same(&period, &new)) {
            after++;

        } else {
            bad++;
        }

        bad += (copy.usage.up != 300 || copy.usage.down != 400);

        /* the next one makes it good */

        test_call(&copy);
        ngx_vmess_usage_period(&copy.usage, &period);

        bad += !test_same(&period, &new);
    }

    test_ok(bad == 0 && before && after,
            "%s: dies at any of %d instructions: %d bad", name, n, bad);
}


static void
test_hold(void)
{
    time_t        t;
    test_state_t  st;

    test_state(&st, NGX_VMESS_PERIOD_NEVER, 0);

    t = TEST_FEB1;

#define test_status(now)  ngx_vmess_usage_status(&st.usage, &st.limits, now)
#define test_expires()    ngx_vmess_usage_expires(&st.usage, &st.limits)

    st.limits.hold = 100;

    test_ok(test_status(t) == NGX_VMESS_USAGE_ON_HOLD && test_expires() == 0,
            "hold: for ever without a flow");

    st.limits.expires = t + 500;
    test_ok(test_status(t) == NGX_VMESS_USAGE_ON_HOLD
            && test_expires() == t + 500
            && test_status(t + 500) == NGX_VMESS_USAGE_EXPIRED,
            "hold: but for \"expires\"");
    st.limits.expires = 0;

    st.limits.hold_until = t + 1000;
    test_ok(test_status(t + 999) == NGX_VMESS_USAGE_ON_HOLD
            && test_status(t + 1000) == NGX_VMESS_USAGE_ACTIVE
            && test_status(t + 1099) == NGX_VMESS_USAGE_ACTIVE
            && test_status(t + 1100) == NGX_VMESS_USAGE_EXPIRED
            && test_expires() == t + 1100,
            "hold: until a time without a flow");

    ngx_vmess_usage_open(&st.usage, t);
    ngx_vmess_usage_open(&st.usage, t + 50);

    test_ok(st.usage.first == (ngx_atomic_uint_t) t && st.usage.total == 2,
            "hold: the first flow is the first");

    test_ok(test_status(t) == NGX_VMESS_USAGE_ACTIVE
            && test_status(t + 99) == NGX_VMESS_USAGE_ACTIVE
            && test_status(t + 100) == NGX_VMESS_USAGE_EXPIRED
            && test_expires() == t + 100,
            "hold: from the first flow");

    st.limits.hold_until = t - 10;
    test_ok(test_expires() == t + 90, "hold: the first flow was too late");

    st.limits.hold_until = 0;
    st.limits.expires = t + 60;
    test_ok(test_expires() == t + 60, "hold: \"expires\" is earlier");

    st.limits.expires = t + 600;
    test_ok(test_expires() == t + 100, "hold: \"expires\" is later");

    st.limits.hold = 0;
    test_ok(test_expires() == t + 600, "no hold: \"expires\" alone");

    st.limits.expires = 0;
    test_ok(test_expires() == 0 && test_status(t) == NGX_VMESS_USAGE_ACTIVE,
            "no limit of time");
}


static void
test_statuses(void)
{
    time_t        t;
    test_state_t  st;

    test_state(&st, NGX_VMESS_PERIOD_MONTH, 1);

    t = TEST_FEB1;

    test_count(&st, t, 999, 0);
    test_ok(test_status(t) == NGX_VMESS_USAGE_ACTIVE, "below the quota");
    test_count(&st, t, 0, 1);
    test_ok(test_status(t) == NGX_VMESS_USAGE_LIMITED, "at the quota");
    test_ok(test_status(TEST_FEB29 + TEST_DAY) == NGX_VMESS_USAGE_ACTIVE,
            "in the next period");

    st.limits.expires = t;
    test_ok(test_status(t) == NGX_VMESS_USAGE_EXPIRED, "expired and limited");
    test_ok(test_status(TEST_FEB29 + TEST_DAY) == NGX_VMESS_USAGE_EXPIRED,
            "expired in the next period");

    st.limits.disabled = 1;
    test_ok(test_status(t) == NGX_VMESS_USAGE_DISABLED, "and disabled");

    st.limits.disabled = 0;
    st.limits.expires = 0;
    st.limits.quota = 0;
    test_ok(test_status(t) == NGX_VMESS_USAGE_ACTIVE, "no quota");
}


int
main(void)
{
    test_months();
    test_rolling();
    test_future();
    test_changes();
    test_deaths("begin", ngx_vmess_usage_begin, TEST_FEB29);
    test_deaths("reset", ngx_vmess_usage_reset, TEST_FEB1 + 1);
    test_hold();
    test_statuses();

    return test_done();
}
