
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_period.h"


#define NGX_VMESS_PERIOD_DAY_SEC    86400


static time_t ngx_vmess_period_week(uint32_t n, time_t t);
static time_t ngx_vmess_period_month(uint32_t n, time_t t, ngx_int_t months);
static time_t ngx_vmess_period_date(ngx_int_t year, ngx_int_t month,
    ngx_int_t day);


typedef struct {
    ngx_str_t                  name;
    uint16_t                   unit;
    ngx_int_t                  max;        /* behind "@", 0: there is none */
} ngx_vmess_period_name_t;


/* in the order of ngx_vmess_period_e */

static ngx_vmess_period_name_t  ngx_vmess_period_names[] = {
    { ngx_string("never"), NGX_VMESS_PERIOD_NEVER, 0 },
    { ngx_string("day"), NGX_VMESS_PERIOD_DAY, 0 },
    { ngx_string("week"), NGX_VMESS_PERIOD_WEEK, 7 },
    { ngx_string("month"), NGX_VMESS_PERIOD_MONTH, 31 },
    { ngx_string("year"), NGX_VMESS_PERIOD_YEAR, 0 },
    { ngx_null_string, 0, 0 }
};


ngx_int_t
ngx_vmess_period_parse(ngx_vmess_period_t *period, ngx_str_t *text)
{
    u_char                   *p;
    size_t                    left;
    ngx_int_t                 n;
    ngx_vmess_period_name_t  *name;

    for (name = ngx_vmess_period_names; name->name.len; name++) {

        if (text->len < name->name.len
            || ngx_memcmp(text->data, name->name.data, name->name.len) != 0)
        {
            continue;
        }

        period->unit = name->unit;
        period->n = (name->unit != NGX_VMESS_PERIOD_NEVER);

        p = text->data + name->name.len;
        left = text->len - name->name.len;

        if (left == 0) {
            return NGX_OK;
        }

        if (*p != '@') {
            return NGX_ERROR;
        }

        n = ngx_atoi(p + 1, left - 1);

        if (n < 1 || n > name->max) {
            return NGX_ERROR;
        }

        period->n = n;

        return NGX_OK;
    }

    if (text->len == 0 || text->data[text->len - 1] != 'd') {
        return NGX_ERROR;
    }

    n = ngx_atoi(text->data, text->len - 1);

    if (n < 1 || n > NGX_VMESS_PERIOD_DAYS_MAX) {
        return NGX_ERROR;
    }

    period->unit = NGX_VMESS_PERIOD_DAYS;
    period->n = n;

    return NGX_OK;
}


u_char *
ngx_vmess_period_text(u_char *buf, ngx_vmess_period_t *period)
{
    ngx_vmess_period_name_t  *name;

    if (period->unit == NGX_VMESS_PERIOD_DAYS) {
        return ngx_sprintf(buf, "%uDd", (uint32_t) period->n);
    }

    name = &ngx_vmess_period_names[period->unit];

    buf = ngx_cpymem(buf, name->name.data, name->name.len);

    return name->max ? ngx_sprintf(buf, "@%uD", (uint32_t) period->n) : buf;
}


time_t
ngx_vmess_period_start(ngx_vmess_period_t *period, time_t start, time_t now)
{
    time_t    next, length;
    ngx_tm_t  tm;

    next = start ? ngx_vmess_period_next(period, start) : now;

    if (next == 0 || next > now) {
        return start;
    }

    switch (period->unit) {

    case NGX_VMESS_PERIOD_DAY:
        return now - now % NGX_VMESS_PERIOD_DAY_SEC;

    case NGX_VMESS_PERIOD_WEEK:
        return ngx_vmess_period_week(period->n, now);

    case NGX_VMESS_PERIOD_MONTH:
        start = ngx_vmess_period_month(period->n, now, 0);

        return start <= now ? start
                            : ngx_vmess_period_month(period->n, now, -1);

    case NGX_VMESS_PERIOD_YEAR:
        ngx_gmtime(now, &tm);

        return ngx_vmess_period_date(tm.ngx_tm_year, 1, 1);

    default: /* NGX_VMESS_PERIOD_DAYS, and the first of all */

        if (start == 0) {
            return now;
        }

        length = next - start;

        return now - (now - start) % length;
    }
}


time_t
ngx_vmess_period_next(ngx_vmess_period_t *period, time_t start)
{
    time_t    next;
    ngx_tm_t  tm;

    switch (period->unit) {

    case NGX_VMESS_PERIOD_DAY:
        return start - start % NGX_VMESS_PERIOD_DAY_SEC
               + NGX_VMESS_PERIOD_DAY_SEC;

    case NGX_VMESS_PERIOD_WEEK:
        return ngx_vmess_period_week(period->n, start)
               + 7 * NGX_VMESS_PERIOD_DAY_SEC;

    case NGX_VMESS_PERIOD_MONTH:
        next = ngx_vmess_period_month(period->n, start, 0);

        return next > start ? next
                            : ngx_vmess_period_month(period->n, start, 1);

    case NGX_VMESS_PERIOD_YEAR:
        ngx_gmtime(start, &tm);

        return ngx_vmess_period_date(tm.ngx_tm_year + 1, 1, 1);

    case NGX_VMESS_PERIOD_DAYS:
        return start + (time_t) period->n * NGX_VMESS_PERIOD_DAY_SEC;

    default: /* NGX_VMESS_PERIOD_NEVER */
        return 0;
    }
}


/* the last day n of a week, where 1 is Monday, that is not after t */

static time_t
ngx_vmess_period_week(uint32_t n, time_t t)
{
    time_t  days;

    days = t / NGX_VMESS_PERIOD_DAY_SEC;

    /* January 1, 1970 was a Thursday */

    return (days - (days + 4 + 7 - n) % 7) * NGX_VMESS_PERIOD_DAY_SEC;
}


/* day n, or the last one, of the month of t, or of that before or after it */

static time_t
ngx_vmess_period_month(uint32_t n, time_t t, ngx_int_t months)
{
    time_t     last;
    ngx_tm_t   tm;
    ngx_int_t  year, month;

    ngx_gmtime(t, &tm);

    month = tm.ngx_tm_mon - 1 + months;
    year = tm.ngx_tm_year;

    if (month < 0) {
        month = 11;
        year--;

    } else if (month > 11) {
        month = 0;
        year++;
    }

    last = ngx_vmess_period_date(year + month / 11, (month + 1) % 12 + 1, 1)
           - NGX_VMESS_PERIOD_DAY_SEC;

    return ngx_min(ngx_vmess_period_date(year, month + 1, n), last);
}


/* 00:00 UTC of a day of the Gregorian calendar, from 1970 on */

static time_t
ngx_vmess_period_date(ngx_int_t year, ngx_int_t month, ngx_int_t day)
{
    time_t            days;
    static ngx_int_t  before[] = { 0, 31, 59, 90, 120, 151,
                                   181, 212, 243, 273, 304, 334 };

    /* the leap day of the year itself counts from March on */

    days = (time_t) (year - 1970) * 365 + before[month - 1] + day - 1;

    if (month < 3) {
        year--;
    }

    /* there were 477 leap days before 1970 */

    days += year / 4 - year / 100 + year / 400 - 477;

    return days * NGX_VMESS_PERIOD_DAY_SEC;
}
