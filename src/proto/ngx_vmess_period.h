
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PERIOD_H_INCLUDED_
#define _NGX_VMESS_PERIOD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_VMESS_PERIOD_NEVER = 0,
    NGX_VMESS_PERIOD_DAY,
    NGX_VMESS_PERIOD_WEEK,
    NGX_VMESS_PERIOD_MONTH,
    NGX_VMESS_PERIOD_YEAR,
    NGX_VMESS_PERIOD_DAYS
} ngx_vmess_period_e;


/* of days, and of what is written "month@31" */

#define NGX_VMESS_PERIOD_DAYS_MAX   36500
#define NGX_VMESS_PERIOD_TEXT_LEN   (sizeof("month@31") - 1)


/*
 * When a quota begins anew.  Those of the calendar begin at 00:00 UTC: of a
 * week on its day n, where 1 is Monday, of a month on day n, or on its last day
 * if it has no such one.  Others are of n days, counted from the last reset.
 */

typedef struct {
    uint16_t                   unit;       /* ngx_vmess_period_e */
    uint16_t                   n;
} ngx_vmess_period_t;


/*
 * "never", "day", "week", "week@7", "month", "month@31", "year" or "30d";
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_vmess_period_parse(ngx_vmess_period_t *period, ngx_str_t *text);

/* writes what can be parsed; up to NGX_VMESS_PERIOD_TEXT_LEN bytes */
u_char *ngx_vmess_period_text(u_char *buf, ngx_vmess_period_t *period);

/*
 * The start of the period that "now" is in.  All times are in seconds since
 * 1970.
 *
 * start  when the last known period began, or was begun by a reset; 0 if there
 *        is none yet.  It is returned unless a later one has begun: the clock
 *        may have been put back.
 */
time_t ngx_vmess_period_start(ngx_vmess_period_t *period, time_t start,
    time_t now);

/* when the period that began at "start" is over, 0 if never */
time_t ngx_vmess_period_next(ngx_vmess_period_t *period, time_t start);


#endif /* _NGX_VMESS_PERIOD_H_INCLUDED_ */
