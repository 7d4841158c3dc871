
/*
 * Copyright (C) ngx_vmess authors
 *
 * Periods, against a calendar in which days are looked at one by one.
 */

#include "test.h"
#include "ngx_vmess_period.h"


/* from 1970 to 2201: leap years, 2100 and 2200 that are none, 2038 and 2106 */

#define TEST_DAYS  84371
#define TEST_DAY   86400


static struct tm  days[TEST_DAYS + 1];


static int
test_begins(const char *text, int i)
{
    int  n;

    n = strchr(text, '@') ? atoi(strchr(text, '@') + 1) : 1;

    switch (text[0]) {

    case 'd':
        return 1;

    case 'w':
        return (days[i].tm_wday + 6) % 7 == n - 1;

    case 'm':
        return days[i].tm_mday == n
               || (days[i].tm_mday < n && days[i + 1].tm_mday == 1);

    default:
        return days[i].tm_mday == 1 && days[i].tm_mon == 0;
    }
}


static ngx_int_t
test_parse(ngx_vmess_period_t *period, const char *text)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   s;

    s.len = strlen(text);
    p = test_copy(text, s.len);
    s.data = p;

    ngx_memset(period, 0xa5, sizeof(ngx_vmess_period_t));

    rc = ngx_vmess_period_parse(period, &s);

    free(p);

    return rc;
}


/* all days of the calendar, at their first and last seconds and in between */

static void
test_calendar(const char *text)
{
    int                  i, k, bad, next[TEST_DAYS + 1], last[TEST_DAYS + 1];
    time_t               t, s, start, seconds[3];
    ngx_vmess_period_t   period;

    test_ok(test_parse(&period, text) == NGX_OK, "%s", text);

    for (i = 0, k = -1; i < TEST_DAYS; i++) {
        k = test_begins(text, i) ? i : k;
        last[i] = k;
    }

    for (i = TEST_DAYS - 1, k = -1; i >= 0; i--) {
        next[i] = k;
        k = test_begins(text, i) ? i : k;
    }

    bad = 0;

    for (i = 366; next[i] != -1; i++) {

        seconds[0] = 0;
        seconds[1] = 1 + test_random() % (TEST_DAY - 2);
        seconds[2] = TEST_DAY - 1;

        for (k = 0; k < 3; k++) {
            t = (time_t) i * TEST_DAY + seconds[k];
            start = (time_t) last[i] * TEST_DAY;

            bad += ngx_vmess_period_next(&period, t)
                   != (time_t) next[i] * TEST_DAY;

            /* a new one; one after downtime, of another setting as well */

            bad += ngx_vmess_period_start(&period, 0, t) != start;
            bad += ngx_vmess_period_start(&period, start, t) != start;

            s = start - 1 - test_random() % (400 * TEST_DAY);

            if (s > 0) {
                bad += ngx_vmess_period_start(&period, s, t) != start;
            }

            /* one that was begun by a reset, or by a clock put back */

            s = t - test_random() % (t - start + 1);
            bad += ngx_vmess_period_start(&period, s, t) != s;

            s = t + 1 + test_random() % (400 * TEST_DAY);
            bad += ngx_vmess_period_start(&period, s, t) != s;
        }
    }

    test_ok(bad == 0, "%s: every day until %d: %d are wrong", text,
            1900 + days[i].tm_year, bad);
}


static void
test_rolling(int n)
{
    int                  i, k, bad;
    char                 text[16];
    time_t               start, now, t;
    ngx_vmess_period_t   period;

    sprintf(text, "%dd", n);

    test_ok(test_parse(&period, text) == NGX_OK, "%s", text);

    bad = 0;

    for (i = 0; i < 1000; i++) {
        start = 1 + test_random();

        /* from one reset to the next, and after a downtime of all of them */

        for (k = 0, t = start; k < 5; k++) {
            now = t;
            t += (time_t) n * TEST_DAY;

            bad += ngx_vmess_period_next(&period, now) != t;
            bad += ngx_vmess_period_start(&period, now, t - 1) != now;
            bad += ngx_vmess_period_start(&period, start, t - 1) != now;
            bad += ngx_vmess_period_start(&period, start, t) != t;
        }

        bad += ngx_vmess_period_start(&period, 0, start) != start;
        bad += ngx_vmess_period_start(&period, start, start - 1) != start;
        bad += ngx_vmess_period_start(&period, start, 1) != start;
    }

    test_ok(bad == 0, "%s: rolls from the last reset: %d are wrong", text, bad);
}


static void
test_never(void)
{
    ngx_vmess_period_t  period;

    test_ok(test_parse(&period, "never") == NGX_OK, "never");
    test_ok(ngx_vmess_period_next(&period, 1) == 0, "never is over");
    test_ok(ngx_vmess_period_start(&period, 0, 12345678) == 12345678,
            "never begins now");
    test_ok(ngx_vmess_period_start(&period, 5, NGX_MAX_INT32_VALUE) == 5,
            "never begins again");

    /* as in memory that is zeroed */

    ngx_memzero(&period, sizeof(ngx_vmess_period_t));

    test_ok(ngx_vmess_period_next(&period, 1) == 0, "zeroes are never over");
}


/* written as it was read, or with its day */

static void
test_text(const char *text, const char *full)
{
    u_char              *p, *last;
    ngx_vmess_period_t   period;

    if (test_parse(&period, text) != NGX_OK) {
        test_ok(0, "%s is refused", text);
        return;
    }

    p = malloc(NGX_VMESS_PERIOD_TEXT_LEN);
    last = ngx_vmess_period_text(p, &period);

    test_ok((size_t) (last - p) == strlen(full)
            && ngx_memcmp(p, full, strlen(full)) == 0,
            "%s is written %s", text, full);

    free(p);
}


static const char  *good[] = {
    "day", "week", "week@1", "week@2", "week@5", "week@7",
    "month", "month@1", "month@15", "month@28", "month@29", "month@30",
    "month@31", "year"
};

static const char  *bad[] = {
    "", "d", "0d", "36501d", "-1d", "1", "30", "3 0d", "1h", "30dd", "nev",
    "nevers", "never@1", "day@1", "days", "week@0", "week@8", "week@",
    "week1", "week@1 ", "month@0", "month@32", "month@-1", "month@x",
    "month@311111111111111111111", "year@1", "yea", "Month", " day"
};


int
main(void)
{
    time_t              t;
    ngx_uint_t          i;
    ngx_vmess_period_t  period;

    for (i = 0; i <= TEST_DAYS; i++) {
        t = (time_t) i * TEST_DAY;
        gmtime_r(&t, &days[i]);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        test_calendar(good[i]);
    }

    test_rolling(1);
    test_rolling(30);
    test_rolling(NGX_VMESS_PERIOD_DAYS_MAX);

    test_never();

    test_text("never", "never");
    test_text("day", "day");
    test_text("week", "week@1");
    test_text("week@7", "week@7");
    test_text("month", "month@1");
    test_text("month@31", "month@31");
    test_text("year", "year");
    test_text("30d", "30d");
    test_text("36500d", "36500d");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test_ok(test_parse(&period, bad[i]) == NGX_ERROR, "\"%s\" is refused",
                bad[i]);
    }

    return test_done();
}
