
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_counters.h"


/* more workers than this share rows; so do more than a small zone has */

#define NGX_VMESS_COUNTERS_ROWS      32
#define NGX_VMESS_COUNTERS_ROWS_MIN  8

/* a minute has the last 24 bits of its number, and up to 1 TB */

#define NGX_VMESS_COUNTERS_BITS      40
#define NGX_VMESS_COUNTERS_MASK                                               \
    (((ngx_atomic_uint_t) 1 << NGX_VMESS_COUNTERS_BITS) - 1)

#define ngx_vmess_counters_tag(minute)                                        \
    ((ngx_atomic_uint_t) (minute) << NGX_VMESS_COUNTERS_BITS)


/* a row is in cache lines that no other one is in */

#define NGX_VMESS_COUNTERS_ALIGN     128

struct ngx_vmess_row_s {
    ngx_vmess_counters_t       row;
    u_char                     align[NGX_VMESS_COUNTERS_ALIGN
                                     - sizeof(ngx_vmess_counters_t)
                                       % NGX_VMESS_COUNTERS_ALIGN];
};


static void ngx_vmess_counters_minute(ngx_atomic_t *counter, ngx_uint_t minute,
    off_t n);


/* the first is that of connections which nothing else is known of */

ngx_str_t  ngx_vmess_counters_carriers[NGX_VMESS_COUNTERS_CARRIERS] = {
    ngx_string("tcp"),
    ngx_string("tls"),
    ngx_string("mkcp"),
    ngx_string("quic"),
    ngx_string("websocket"),
    ngx_string("httpupgrade"),
    ngx_string("http"),
    ngx_string("grpc"),
    ngx_string("xhttp")
};


ngx_uint_t  ngx_vmess_counters_bounds[NGX_VMESS_COUNTERS_SKEWS - 1] = {
    0, 1, 2, 5, 10, 30, 60, 90
};


size_t
ngx_vmess_counters_size(size_t size)
{
    ngx_uint_t  n;

    n = size / 64 / sizeof(ngx_vmess_row_t);
    n = ngx_min(n, NGX_VMESS_COUNTERS_ROWS);
    n = ngx_max(n, NGX_VMESS_COUNTERS_ROWS_MIN);

    return sizeof(ngx_vmess_rows_t) + NGX_VMESS_COUNTERS_ALIGN
           + n * sizeof(ngx_vmess_row_t);
}


ngx_vmess_rows_t *
ngx_vmess_counters_create(void *p, size_t size)
{
    ngx_vmess_rows_t *rows = p;

    rows->created = ngx_time();
    rows->rows = (ngx_vmess_row_t *) ngx_align_ptr(&rows[1],
                                                   NGX_VMESS_COUNTERS_ALIGN);
    rows->n = ((u_char *) p + size - (u_char *) rows->rows)
              / sizeof(ngx_vmess_row_t);

    return rows;
}


ngx_vmess_counters_t *
ngx_vmess_counters(ngx_vmess_rows_t *rows)
{
    return &rows->rows[ngx_process_slot % rows->n].row;
}


ngx_uint_t
ngx_vmess_counters_carrier(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = NGX_VMESS_COUNTERS_CARRIERS - 1; i; i--) {

        if (ngx_vmess_counters_carriers[i].len == name->len
            && ngx_memcmp(ngx_vmess_counters_carriers[i].data, name->data,
                          name->len)
               == 0)
        {
            break;
        }
    }

    return i;
}


void
ngx_vmess_counters_skew(ngx_vmess_counters_t *row, int64_t skew)
{
    ngx_uint_t  i, ahead;

    ahead = (skew >= 0);

    if (!ahead) {
        skew = -skew;
    }

    for (i = 0; i < NGX_VMESS_COUNTERS_SKEWS - 1; i++) {

        if (skew <= (int64_t) ngx_vmess_counters_bounds[i]) {
            break;
        }
    }

    ngx_vmess_counters_add(row->skews[ahead][i], 1);
    ngx_vmess_counters_add(row->skew[ahead], skew);
}


void
ngx_vmess_counters_bytes(ngx_vmess_counters_t *row, ngx_uint_t carrier,
    off_t up, off_t down)
{
    ngx_uint_t     minute;
    ngx_atomic_t  *counters;

    minute = ngx_time() / 60;
    counters = row->minutes[minute % NGX_VMESS_COUNTERS_MINUTES];

    if (up) {
        ngx_vmess_counters_add(row->bytes[carrier][0], up);
        ngx_vmess_counters_minute(&counters[0], minute, up);
    }

    if (down) {
        ngx_vmess_counters_add(row->bytes[carrier][1], down);
        ngx_vmess_counters_minute(&counters[1], minute, down);
    }
}


/* what is there of another hour is replaced in the same step */

static void
ngx_vmess_counters_minute(ngx_atomic_t *counter, ngx_uint_t minute, off_t n)
{
    ngx_atomic_uint_t  old, tag, value;

    tag = ngx_vmess_counters_tag(minute);

    do {
        old = *counter;

        value = ((old & ~NGX_VMESS_COUNTERS_MASK) == tag)
                ? old & NGX_VMESS_COUNTERS_MASK : 0;

        value = ngx_min(value + n, NGX_VMESS_COUNTERS_MASK);

    } while (!ngx_atomic_cmp_set(counter, old, tag | value));
}


void
ngx_vmess_counters_sum(ngx_vmess_rows_t *rows, time_t now,
    ngx_vmess_counters_t *sum)
{
    ngx_uint_t             i, k, n, minute;
    ngx_atomic_t          *to, *from;
    ngx_atomic_uint_t      value;
    ngx_vmess_counters_t  *row;

    ngx_memzero(sum, sizeof(ngx_vmess_counters_t));

    for (n = 0; n < rows->n; n++) {
        row = &rows->rows[n].row;

        to = (ngx_atomic_t *) sum;
        from = (ngx_atomic_t *) row;

        for (i = 0;
             i < offsetof(ngx_vmess_counters_t, minutes) / sizeof(ngx_atomic_t);
             i++)
        {
            to[i] += from[i];
        }

        for (i = 0; i < NGX_VMESS_COUNTERS_MINUTES; i++) {

            minute = now / 60 - (NGX_VMESS_COUNTERS_MINUTES - 1) + i;
            from = row->minutes[minute % NGX_VMESS_COUNTERS_MINUTES];

            for (k = 0; k < 2; k++) {
                value = from[k] ^ ngx_vmess_counters_tag(minute);

                if (value <= NGX_VMESS_COUNTERS_MASK) {
                    sum->minutes[i][k] += value;
                }
            }
        }
    }
}


void
ngx_vmess_counters_clear(ngx_vmess_rows_t *rows, ngx_uint_t set)
{
    ngx_uint_t             i, n;
    ngx_vmess_counters_t  *row;

    for (n = 0; n < rows->n; n++) {
        row = &rows->rows[n].row;

        for (i = 0; i < NGX_VMESS_COUNTERS_CARRIERS; i++) {
            row->open[set][i] = 0;
        }
    }
}
