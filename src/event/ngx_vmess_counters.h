
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_COUNTERS_H_INCLUDED_
#define _NGX_VMESS_COUNTERS_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_status.h"
#include "proto/ngx_vmess_guess.h"


/*
 * What has happened in a zone, in shared memory beside it.  Workers count in
 * rows of their own, by atomic additions that nobody else waits for; in a small
 * zone some share a row.  Nothing is ever put back but what is open, which is
 * counted as flows of users are: in one of two sets, see ngx_vmess_epoch.h.  So
 * a worker that dies takes nothing with it.
 */


/* what carries a connection, in the order of ngx_vmess_counters_carriers */

#define NGX_VMESS_COUNTERS_CARRIERS  9

/* bounds of clock skew in seconds, and above the last; behind, and ahead */

#define NGX_VMESS_COUNTERS_SKEWS     9

#define NGX_VMESS_COUNTERS_MINUTES   60


/* all of it are numbers of one type, which are added up as they come */

typedef struct {

    /* verdicts about headers; and flows that were refused after a good one */

    ngx_atomic_t               headers[NGX_VMESS_COUNTERS_CARRIERS]
                                      [NGX_VMESS_STATUSES];
    ngx_atomic_t               refused[NGX_VMESS_COUNTERS_CARRIERS]
                                      [NGX_VMESS_STATUSES];

    ngx_atomic_t               flows[NGX_VMESS_COUNTERS_CARRIERS];
    ngx_atomic_t               open[2][NGX_VMESS_COUNTERS_CARRIERS];

    /* from clients, and to them */

    ngx_atomic_t               bytes[NGX_VMESS_COUNTERS_CARRIERS][2];

    /* of clients that were let in: how often, and sums of seconds */

    ngx_atomic_t               skews[2][NGX_VMESS_COUNTERS_SKEWS];
    ngx_atomic_t               skew[2];

    /* of those that are nobody's */

    ngx_atomic_t               guesses[NGX_VMESS_GUESSES];

    /* bytes by minutes, each with the last bits of its number above them */

    ngx_atomic_t               minutes[NGX_VMESS_COUNTERS_MINUTES][2];
} ngx_vmess_counters_t;


/* a worker by its process slot: what is of no worker that is there is old */

typedef struct {
    volatile uint32_t          connections;  /* of nginx, about now */
    volatile uint32_t          generation;   /* of its configuration */
} ngx_vmess_counters_worker_t;


typedef struct ngx_vmess_row_s  ngx_vmess_row_t;

struct ngx_vmess_rows_s {
    time_t                       created;
    ngx_uint_t                   generation; /* of configurations */
    ngx_vmess_counters_worker_t  workers[NGX_MAX_PROCESSES];

    ngx_uint_t                   n;
    ngx_vmess_row_t             *rows;
};


extern ngx_str_t   ngx_vmess_counters_carriers[];
extern ngx_uint_t  ngx_vmess_counters_bounds[];    /* without the last */


/*
 * bytes that rows take in a zone of that size; and makes rows of zeroed memory
 */
size_t ngx_vmess_counters_size(size_t size);
ngx_vmess_rows_t *ngx_vmess_counters_create(void *p, size_t size);

/* the row of this worker */
ngx_vmess_counters_t *ngx_vmess_counters(ngx_vmess_rows_t *rows);

/* the number of a carrier by its name */
ngx_uint_t ngx_vmess_counters_carrier(ngx_str_t *name);

/* counts a client's clock, in seconds ahead of ours */
void ngx_vmess_counters_skew(ngx_vmess_counters_t *row, int64_t skew);

/* counts bytes of a flow */
void ngx_vmess_counters_bytes(ngx_vmess_counters_t *row, ngx_uint_t carrier,
    off_t up, off_t down);

/*
 * Sums of all rows.  In minutes there are bytes alone, the last one is the
 * present minute: that of "now" in seconds.
 */
void ngx_vmess_counters_sum(ngx_vmess_rows_t *rows, time_t now,
    ngx_vmess_counters_t *sum);

/* nothing is open in that set */
void ngx_vmess_counters_clear(ngx_vmess_rows_t *rows, ngx_uint_t set);


#define ngx_vmess_counters_add(counter, n)                                    \
    (void) ngx_atomic_fetch_add(&(counter), n)


#endif /* _NGX_VMESS_COUNTERS_H_INCLUDED_ */
