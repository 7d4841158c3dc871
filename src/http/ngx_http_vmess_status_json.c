
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status.h"
#include "ngx_http_vmess_api_user.h"
#include "event/ngx_vmess_table_find.h"


/* an answer about a user without its name: two numbers for each minute */

#define NGX_HTTP_VMESS_STATUS_HOUR                                            \
    (256 + NGX_VMESS_HISTORY_MINUTES * 2 * (NGX_INT64_LEN + 1))


/* parts of an answer */

typedef enum {
    NGX_HTTP_VMESS_STATUS_HEAD = 0,
    NGX_HTTP_VMESS_STATUS_CARRIERS,
    NGX_HTTP_VMESS_STATUS_SUMS,
    NGX_HTTP_VMESS_STATUS_WORKERS,
    NGX_HTTP_VMESS_STATUS_TOP,
    NGX_HTTP_VMESS_STATUS_END
} ngx_http_vmess_status_part_e;


static void ngx_http_vmess_status_json_head(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo);
static void ngx_http_vmess_status_json_place(ngx_vmess_json_out_t *jo,
    const char *key, ngx_str_t *place);
static ngx_int_t ngx_http_vmess_status_json_carrier(
    ngx_http_vmess_status_t *st, ngx_vmess_json_out_t *jo);
static void ngx_http_vmess_status_json_verdicts(ngx_vmess_json_out_t *jo,
    const char *key, ngx_atomic_t *counters);
static void ngx_http_vmess_status_json_sums(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo);
static void ngx_http_vmess_status_json_skew(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo, const char *key, ngx_uint_t ahead);
static void ngx_http_vmess_status_json_fill(ngx_vmess_json_out_t *jo,
    const char *key, ngx_http_vmess_status_fill_t *fill);
static ngx_int_t ngx_http_vmess_status_json_worker(
    ngx_http_vmess_status_t *st, ngx_vmess_json_out_t *jo);
static ngx_int_t ngx_http_vmess_status_json_user(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo);


ngx_int_t
ngx_http_vmess_status_json(ngx_http_vmess_status_t *st)
{
    ngx_vmess_json_out_t  *jo;

    jo = &st->stream.jo;

    switch (st->part) {

    case NGX_HTTP_VMESS_STATUS_HEAD:
        ngx_http_vmess_status_json_head(st, jo);
        return NGX_DECLINED;

    case NGX_HTTP_VMESS_STATUS_CARRIERS:
        return ngx_http_vmess_status_json_carrier(st, jo);

    case NGX_HTTP_VMESS_STATUS_SUMS:
        ngx_http_vmess_status_json_sums(st, jo);
        return NGX_DECLINED;

    case NGX_HTTP_VMESS_STATUS_WORKERS:
        return ngx_http_vmess_status_json_worker(st, jo);

    case NGX_HTTP_VMESS_STATUS_TOP:
        return ngx_http_vmess_status_json_user(st, jo);

    default: /* NGX_HTTP_VMESS_STATUS_END */
        ngx_vmess_json_out_integer(jo, "omitted", st->total - st->nusers);
        ngx_vmess_json_out_close(jo, '}');
        return NGX_DONE;
    }
}


static void
ngx_http_vmess_status_json_head(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo)
{
    ngx_str_t   s;
    ngx_uint_t  i;

    ngx_vmess_json_out_open(jo, NULL, '{');

    ngx_str_set(&s, NGX_VMESS_VERSION);
    ngx_vmess_json_out_string(jo, "version", &s);

    ngx_str_set(&s, NGINX_VERSION);
    ngx_vmess_json_out_string(jo, "nginx", &s);

    ngx_vmess_json_out_string(jo, "zone", &st->zone->name);
    ngx_http_vmess_status_json_place(jo, "api", &st->places->api);
    ngx_http_vmess_status_json_place(jo, "subscription",
                                     &st->places->subscription);
    ngx_http_vmess_api_field_time(jo, "now", st->now);
    ngx_http_vmess_api_field_time(jo, "since", st->zone->rows->created);

    ngx_vmess_json_out_integer(jo, "users", st->total);

    ngx_vmess_json_out_open(jo, "status", '{');

    for (i = 0; i < NGX_HTTP_VMESS_API_STATUSES; i++) {
        ngx_vmess_json_out_integer(jo,
                         (char *) ngx_http_vmess_api_statuses[i].data,
                         st->statuses[i]);
    }

    ngx_vmess_json_out_close(jo, '}');

    ngx_vmess_json_out_integer(jo, "up", st->up);
    ngx_vmess_json_out_integer(jo, "down", st->down);
    ngx_vmess_json_out_integer(jo, "flows", st->flows);
    ngx_vmess_json_out_open(jo, "carriers", '[');
}


static void
ngx_http_vmess_status_json_place(ngx_vmess_json_out_t *jo, const char *key,
    ngx_str_t *place)
{
    if (place->len) {
        ngx_vmess_json_out_string(jo, key, place);

    } else {
        ngx_vmess_json_out_null(jo, key);
    }
}


static ngx_int_t
ngx_http_vmess_status_json_carrier(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo)
{
    ngx_uint_t             n;
    ngx_vmess_counters_t  *sum;

    n = st->item;
    sum = &st->sum;

    if (n == NGX_VMESS_COUNTERS_CARRIERS) {
        ngx_vmess_json_out_close(jo, ']');
        return NGX_DECLINED;
    }

    ngx_vmess_json_out_open(jo, NULL, '{');
    ngx_vmess_json_out_string(jo, "carrier", &ngx_vmess_counters_carriers[n]);
    ngx_http_vmess_status_json_verdicts(jo, "headers", sum->headers[n]);
    ngx_http_vmess_status_json_verdicts(jo, "refused", sum->refused[n]);
    ngx_vmess_json_out_integer(jo, "total", sum->flows[n]);
    ngx_vmess_json_out_integer(jo, "flows", sum->open[st->set][n]);
    ngx_vmess_json_out_integer(jo, "up", sum->bytes[n][0]);
    ngx_vmess_json_out_integer(jo, "down", sum->bytes[n][1]);
    ngx_vmess_json_out_close(jo, '}');

    return NGX_OK;
}


static void
ngx_http_vmess_status_json_verdicts(ngx_vmess_json_out_t *jo, const char *key,
    ngx_atomic_t *counters)
{
    ngx_uint_t  i;

    ngx_vmess_json_out_open(jo, key, '{');

    for (i = 0; i < NGX_VMESS_STATUSES; i++) {

        if (counters[i]) {
            ngx_vmess_json_out_integer(jo,
                                       (char *) ngx_vmess_status(i)->name.data,
                                       counters[i]);
        }
    }

    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_http_vmess_status_json_sums(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo)
{
    ngx_uint_t             i, k;
    ngx_vmess_counters_t  *sum;

    sum = &st->sum;

    ngx_vmess_json_out_open(jo, "unknown", '{');

    for (i = 0; i < NGX_VMESS_GUESSES; i++) {

        if (sum->guesses[i]) {
            ngx_vmess_json_out_integer(jo, ngx_vmess_guesses[i],
                                       sum->guesses[i]);
        }
    }

    ngx_vmess_json_out_close(jo, '}');

    ngx_vmess_json_out_open(jo, "skew", '{');
    ngx_vmess_json_out_open(jo, "bounds", '[');

    for (i = 0; i < NGX_VMESS_COUNTERS_SKEWS - 1; i++) {
        ngx_vmess_json_out_integer(jo, NULL, ngx_vmess_counters_bounds[i]);
    }

    ngx_vmess_json_out_close(jo, ']');
    ngx_http_vmess_status_json_skew(st, jo, "behind", 0);
    ngx_http_vmess_status_json_skew(st, jo, "ahead", 1);
    ngx_vmess_json_out_close(jo, '}');

    ngx_http_vmess_status_json_fill(jo, "memory", &st->bytes);
    ngx_http_vmess_status_json_fill(jo, "replay", &st->replay);
    ngx_http_vmess_status_json_fill(jo, "addresses", &st->addresses);
    ngx_http_vmess_status_json_fill(jo, "history", &st->history);

    ngx_vmess_json_out_open(jo, "hour", '{');

    for (k = 0; k < 2; k++) {
        ngx_vmess_json_out_open(jo, k ? "down" : "up", '[');

        for (i = 0; i < NGX_VMESS_COUNTERS_MINUTES; i++) {
            ngx_vmess_json_out_integer(jo, NULL, sum->minutes[i][k]);
        }

        ngx_vmess_json_out_close(jo, ']');
    }

    ngx_vmess_json_out_close(jo, '}');

    ngx_vmess_json_out_open(jo, "workers", '[');
}


static void
ngx_http_vmess_status_json_skew(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo, const char *key, ngx_uint_t ahead)
{
    ngx_uint_t  i;

    ngx_vmess_json_out_open(jo, key, '{');
    ngx_vmess_json_out_open(jo, "counts", '[');

    for (i = 0; i < NGX_VMESS_COUNTERS_SKEWS; i++) {
        ngx_vmess_json_out_integer(jo, NULL, st->sum.skews[ahead][i]);
    }

    ngx_vmess_json_out_close(jo, ']');
    ngx_vmess_json_out_integer(jo, "sum", st->sum.skew[ahead]);
    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_http_vmess_status_json_fill(ngx_vmess_json_out_t *jo, const char *key,
    ngx_http_vmess_status_fill_t *fill)
{
    ngx_vmess_json_out_open(jo, key, '{');
    ngx_vmess_json_out_integer(jo, "used", fill->used);
    ngx_vmess_json_out_integer(jo, "size", fill->size);
    ngx_vmess_json_out_close(jo, '}');
}


/* those that are there: most slots have none */

static ngx_int_t
ngx_http_vmess_status_json_worker(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo)
{
    uint32_t                      pid;
    ngx_vmess_counters_worker_t  *worker;

    if (st->item == NGX_MAX_PROCESSES) {
        ngx_vmess_json_out_close(jo, ']');
        ngx_vmess_json_out_open(jo, "top", '[');
        return NGX_DECLINED;
    }

    pid = st->zone->sh->workers[st->item].pid;
    worker = &st->zone->rows->workers[st->item];

    if (pid) {
        ngx_vmess_json_out_open(jo, NULL, '{');
        ngx_vmess_json_out_integer(jo, "pid", pid);
        ngx_vmess_json_out_integer(jo, "generation", worker->generation);
        ngx_vmess_json_out_integer(jo, "connections", worker->connections);
        ngx_vmess_json_out_close(jo, '}');
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_json_user(ngx_http_vmess_status_t *st,
    ngx_vmess_json_out_t *jo)
{
    ngx_str_t                      name;
    ngx_http_vmess_status_user_t  *user;

    if (st->item == st->nusers) {
        ngx_vmess_json_out_close(jo, ']');
        return NGX_DECLINED;
    }

    user = &st->users[st->item];

    name.len = user->len;
    name.data = user->name;

    ngx_vmess_json_out_open(jo, NULL, '{');
    ngx_vmess_json_out_string(jo, "name", &name);
    ngx_vmess_json_out_string(jo, "status",
                              &ngx_http_vmess_api_statuses[user->status]);
    ngx_vmess_json_out_integer(jo, "up", user->up);
    ngx_vmess_json_out_integer(jo, "down", user->down);
    ngx_vmess_json_out_integer(jo, "used", user->used);

    if (user->quota) {
        ngx_vmess_json_out_integer(jo, "quota", user->quota);
    } else {
        ngx_vmess_json_out_null(jo, "quota");
    }

    ngx_http_vmess_api_field_time(jo, "expires", user->expires);
    ngx_vmess_json_out_integer(jo, "flows", user->flows);
    ngx_vmess_json_out_integer(jo, "addresses", user->addresses);
    ngx_vmess_json_out_close(jo, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_status_history(ngx_http_vmess_api_ctx_t *ctx)
{
    off_t                        bytes[NGX_VMESS_HISTORY_MINUTES][2];
    u_char                      *start;
    uint32_t                     serial;
    ngx_int_t                    rc;
    ngx_uint_t                   i, k;
    ngx_vmess_user_t            *user;
    ngx_vmess_json_out_t         jo;
    ngx_http_vmess_api_error_t   err;

    user = ngx_vmess_table_find(ngx_vmess_users_lock(ctx->zone), &ctx->name);
    serial = user ? user->serial : 0;

    ngx_vmess_users_unlock(ctx->zone);

    if (user == NULL) {
        (void) ngx_http_vmess_api_user_none(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    rc = ngx_vmess_history_get(ctx->zone->history, serial, ngx_time(),
                               bytes);

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      NGX_HTTP_VMESS_STATUS_HOUR
                                      + 6 * ctx->name.len);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_string(&jo, "name", &ctx->name);
    ngx_http_vmess_api_field_time(&jo, "now", ngx_time());
    ngx_vmess_json_out_flag(&jo, "known", rc == NGX_OK);

    for (k = 0; k < 2; k++) {
        ngx_vmess_json_out_open(&jo, k ? "down" : "up", '[');

        for (i = 0; i < NGX_VMESS_HISTORY_MINUTES; i++) {
            ngx_vmess_json_out_integer(&jo, NULL, bytes[i][k]);
        }

        ngx_vmess_json_out_close(&jo, ']');
    }

    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}
