
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status_sample.h"


/* samples of a histogram */

#define NGX_HTTP_VMESS_STATUS_SUM        NGX_VMESS_COUNTERS_SKEWS
#define NGX_HTTP_VMESS_STATUS_COUNT      (NGX_VMESS_COUNTERS_SKEWS + 1)
#define NGX_HTTP_VMESS_STATUS_SAMPLES    (NGX_VMESS_COUNTERS_SKEWS + 2)


static ngx_int_t ngx_http_vmess_status_metrics_info(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_start(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_gauge(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_users(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_omitted(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_verdict(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_guess(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_skew(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_flows(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_open(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_bytes(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_worker(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_user_bytes(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_user(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_user_limit(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);

static ngx_int_t ngx_http_vmess_status_metrics_up(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_uptime(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_metrics_traffic(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);


#define ngx_http_vmess_status_of(field)                                       \
    offsetof(ngx_http_vmess_status_t, field)

#define ngx_http_vmess_status_of_user(field)                                  \
    offsetof(ngx_http_vmess_status_user_t, field)


static ngx_http_vmess_status_family_t  ngx_http_vmess_status_families[] = {

    { "build", NGX_HTTP_VMESS_STATUS_INFO, NULL,
      "Versions of the module and of nginx.",
      ngx_http_vmess_status_metrics_info, 0, 0 },

    { "start_time_seconds", NGX_HTTP_VMESS_STATUS_GAUGE, "seconds",
      "When counting began: the start of nginx, or a reload that gave the zone "
      "another size.",
      ngx_http_vmess_status_metrics_start, 0, 0 },

    { "users", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Users of the zone by their status.",
      ngx_http_vmess_status_metrics_users, 0, 0 },

    { "users_omitted", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Users without metrics of their own, see users= of vmess_status.",
      ngx_http_vmess_status_metrics_omitted, 0, 0 },

    { "headers", NGX_HTTP_VMESS_STATUS_COUNTER, NULL,
      "Verdicts about headers of clients, as in $vmess_status.",
      ngx_http_vmess_status_metrics_verdict,
      ngx_http_vmess_status_of(sum.headers), 0 },

    { "refused_flows", NGX_HTTP_VMESS_STATUS_COUNTER, NULL,
      "Flows that were refused after a good header.",
      ngx_http_vmess_status_metrics_verdict,
      ngx_http_vmess_status_of(sum.refused), 0 },

    { "unknown_clients", NGX_HTTP_VMESS_STATUS_COUNTER, NULL,
      "Clients without a header of a user, by what their first bytes look "
      "like.",
      ngx_http_vmess_status_metrics_guess, 0, 0 },

    { "clock_skew_seconds", NGX_HTTP_VMESS_STATUS_HISTOGRAM, "seconds",
      "How far clocks of authentic clients are behind or ahead.",
      ngx_http_vmess_status_metrics_skew, 0, 0 },

    { "flows", NGX_HTTP_VMESS_STATUS_COUNTER, NULL,
      "Flows opened.",
      ngx_http_vmess_status_metrics_flows, 0, 0 },

    { "open_flows", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Flows open now.",
      ngx_http_vmess_status_metrics_open, 0, 0 },

    { "bytes", NGX_HTTP_VMESS_STATUS_COUNTER, "bytes",
      "Decoded bytes from clients (up) and to them (down).",
      ngx_http_vmess_status_metrics_bytes, 0, 0 },

    { "zone_used_bytes", NGX_HTTP_VMESS_STATUS_GAUGE, "bytes",
      "Shared memory that users and their ids take.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(bytes.used), 0 },

    { "zone_size_bytes", NGX_HTTP_VMESS_STATUS_GAUGE, "bytes",
      "Shared memory for users and their ids.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(bytes.size), 0 },

    { "replay_entries", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Entries of the replay filter of all zones in use, of which some may "
      "have expired.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(replay.used), 0 },

    { "replay_entries_limit", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Entries of the replay filter.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(replay.size), 0 },

    { "address_entries", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Addresses of users with max_ips= that are held.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(addresses.used), 0 },

    { "address_entries_limit", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Addresses there is room for.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(addresses.size), 0 },

    { "history_entries", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Users with a history of the last hour.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(history.used), 0 },

    { "history_entries_limit", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Users whose history there is room for.",
      ngx_http_vmess_status_metrics_gauge,
      ngx_http_vmess_status_of(history.size), 0 },

    { "worker_connections", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Connections of each worker, of all protocols.",
      ngx_http_vmess_status_metrics_worker, 0, 0 },

    { "user_bytes", NGX_HTTP_VMESS_STATUS_COUNTER, "bytes",
      "Decoded bytes from clients of a user (up) and to them (down).",
      ngx_http_vmess_status_metrics_user_bytes, 0, 0 },

    { "user_flows", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Flows of a user open now.",
      ngx_http_vmess_status_metrics_user,
      ngx_http_vmess_status_of_user(flows), 0 },

    { "user_addresses", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Addresses that a user with max_ips= holds.",
      ngx_http_vmess_status_metrics_user,
      ngx_http_vmess_status_of_user(addresses), 0 },

    { "user_used_bytes", NGX_HTTP_VMESS_STATUS_GAUGE, "bytes",
      "What counts towards the quota of a user in this period.",
      ngx_http_vmess_status_metrics_user,
      ngx_http_vmess_status_of_user(used), 0 },

    { "user_quota_bytes", NGX_HTTP_VMESS_STATUS_GAUGE, "bytes",
      "The quota of a user that has one.",
      ngx_http_vmess_status_metrics_user_limit,
      ngx_http_vmess_status_of_user(quota), 0 },

    { "user_expires_timestamp_seconds", NGX_HTTP_VMESS_STATUS_GAUGE, "seconds",
      "When a user expires, if that is known.",
      ngx_http_vmess_status_metrics_user_limit,
      ngx_http_vmess_status_of_user(expires), 0 },

    { NULL, 0, NULL, NULL, NULL, 0, 0 }
};


/* what exporters for other servers tell */

static ngx_http_vmess_status_family_t  ngx_http_vmess_status_others[] = {

    { "up", NGX_HTTP_VMESS_STATUS_GAUGE, NULL,
      "Whether the last scrape was successful.",
      ngx_http_vmess_status_metrics_up, 0, 0 },

    { "uptime_seconds", NGX_HTTP_VMESS_STATUS_GAUGE, "seconds",
      "Seconds since counting began.",
      ngx_http_vmess_status_metrics_uptime, 0, 0 },

    { "traffic_uplink_bytes", NGX_HTTP_VMESS_STATUS_COUNTER, "bytes",
      "Number of bytes from clients.",
      ngx_http_vmess_status_metrics_traffic, 0, 0 },

    { "traffic_downlink_bytes", NGX_HTTP_VMESS_STATUS_COUNTER, "bytes",
      "Number of bytes to clients.",
      ngx_http_vmess_status_metrics_traffic, 0, 1 },

    { NULL, 0, NULL, NULL, NULL, 0, 0 }
};


ngx_int_t
ngx_http_vmess_status_metrics(ngx_http_vmess_status_t *st)
{
    ngx_int_t                       rc;
    ngx_http_vmess_status_metric_t  m;

    ngx_memzero(&m, sizeof(ngx_http_vmess_status_metric_t));

    m.st = st;
    m.family = (st->names == NGX_HTTP_VMESS_STATUS_NGINX)
               ? &ngx_http_vmess_status_families[st->part]
               : &ngx_http_vmess_status_others[st->part];

    m.to.pos = st->stream.jo.pos;
    m.to.last = st->stream.jo.last;

    if (m.family->name) {

        if (st->item == 0) {
            ngx_http_vmess_status_sample_head(&m);
        }

        rc = m.family->sample(&m, st->item);

    } else {

        if (st->format->variant) {
            ngx_vmess_text_out_word(&m.to, "# EOF\n");
        }

        rc = NGX_DONE;
    }

    st->stream.jo.pos = m.to.pos;
    st->stream.jo.full = m.to.full;

    return rc;
}


static ngx_int_t
ngx_http_vmess_status_metrics_info(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_word(m, "version", NGX_VMESS_VERSION);
    ngx_http_vmess_status_sample_word(m, "nginx", NGINX_VERSION);
    ngx_http_vmess_status_sample_value(m, 1);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_status_metrics_start(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_value(m, m->st->zone->rows->created);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_status_metrics_gauge(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_value(m,
                  *(ngx_uint_t *) ((u_char *) m->st + m->family->offset));

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_status_metrics_users(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    if (n == NGX_HTTP_VMESS_API_STATUSES) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "status",
                                       &ngx_http_vmess_api_statuses[n]);
    ngx_http_vmess_status_sample_value(m, m->st->statuses[n]);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_omitted(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_value(m, m->st->total - m->st->nusers);

    return NGX_DECLINED;
}


/* what has not happened is not told, but that no header was good */

static ngx_int_t
ngx_http_vmess_status_metrics_verdict(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_uint_t         status;
    ngx_atomic_uint_t  value;

    if (n == NGX_VMESS_COUNTERS_CARRIERS * NGX_VMESS_STATUSES) {
        return NGX_DECLINED;
    }

    status = n % NGX_VMESS_STATUSES;
    value = ((ngx_atomic_t *) ((u_char *) m->st + m->family->offset))[n];

    if (value
        || (status == NGX_VMESS_STATUS_OK
            && m->family->offset == ngx_http_vmess_status_of(sum.headers)))
    {
        ngx_http_vmess_status_sample_begin(m, NULL);
        ngx_http_vmess_status_sample_label(m, "carrier",
                   &ngx_vmess_counters_carriers[n / NGX_VMESS_STATUSES]);
        ngx_http_vmess_status_sample_label(m, "status",
                                           &ngx_vmess_status(status)->name);
        ngx_http_vmess_status_sample_value(m, value);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_guess(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    if (n == NGX_VMESS_GUESSES) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_word(m, "looks_like", ngx_vmess_guesses[n]);
    ngx_http_vmess_status_sample_value(m, m->st->sum.guesses[n]);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_skew(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    u_char         text[NGX_INT_T_LEN + 2];
    ngx_str_t      le;
    ngx_uint_t     i, ahead, sum;
    ngx_atomic_t  *counts;

    ahead = n / NGX_HTTP_VMESS_STATUS_SAMPLES;
    n %= NGX_HTTP_VMESS_STATUS_SAMPLES;

    if (ahead == 2) {
        return NGX_DECLINED;
    }

    counts = m->st->sum.skews[ahead];
    sum = 0;

    for (i = 0; i <= n && i < NGX_VMESS_COUNTERS_SKEWS; i++) {
        sum += counts[i];
    }

    if (n == NGX_HTTP_VMESS_STATUS_SUM) {
        ngx_http_vmess_status_sample_begin(m, "_sum");
        sum = m->st->sum.skew[ahead];

    } else {
        ngx_http_vmess_status_sample_begin(m,
                                        n == NGX_HTTP_VMESS_STATUS_COUNT
                                        ? "_count" : "_bucket");
    }

    ngx_http_vmess_status_sample_word(m, "clock", ahead ? "ahead" : "behind");

    if (n < NGX_VMESS_COUNTERS_SKEWS) {

        le.data = text;
        le.len = (n < NGX_VMESS_COUNTERS_SKEWS - 1)
                 ? ngx_sprintf(text, "%ui.0", ngx_vmess_counters_bounds[n])
                   - text
                 : ngx_sprintf(text, "+Inf") - text;

        ngx_http_vmess_status_sample_label(m, "le", &le);
    }

    ngx_http_vmess_status_sample_value(m, sum);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_flows(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    if (n == NGX_VMESS_COUNTERS_CARRIERS) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "carrier",
                                       &ngx_vmess_counters_carriers[n]);
    ngx_http_vmess_status_sample_value(m, m->st->sum.flows[n]);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_open(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    if (n == NGX_VMESS_COUNTERS_CARRIERS) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "carrier",
                                       &ngx_vmess_counters_carriers[n]);
    ngx_http_vmess_status_sample_value(m, m->st->sum.open[m->st->set][n]);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_bytes(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    if (n == 2 * NGX_VMESS_COUNTERS_CARRIERS) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "carrier",
                                       &ngx_vmess_counters_carriers[n / 2]);
    ngx_http_vmess_status_sample_word(m, "direction",
                                      n % 2 ? "down" : "up");
    ngx_http_vmess_status_sample_value(m, m->st->sum.bytes[n / 2][n % 2]);

    return NGX_OK;
}


/* most slots of processes have no worker */

static ngx_int_t
ngx_http_vmess_status_metrics_worker(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    uint32_t           pid;
    ngx_vmess_rows_t  *rows;

    if (n == NGX_MAX_PROCESSES) {
        return NGX_DECLINED;
    }

    rows = m->st->zone->rows;
    pid = m->st->zone->sh->workers[n].pid;

    if (pid) {
        ngx_http_vmess_status_sample_begin(m, NULL);
        ngx_http_vmess_status_sample_number(m, "pid", pid);
        ngx_http_vmess_status_sample_number(m, "generation",
                                            rows->workers[n].generation);
        ngx_http_vmess_status_sample_value(m, rows->workers[n].connections);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_user_bytes(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_str_t                      name;
    ngx_http_vmess_status_user_t  *user;

    if (n == 2 * m->st->nusers) {
        return NGX_DECLINED;
    }

    user = &m->st->users[n / 2];

    name.data = user->name;
    name.len = user->len;

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "user", &name);
    ngx_http_vmess_status_sample_word(m, "direction",
                                      n % 2 ? "down" : "up");
    ngx_http_vmess_status_sample_value(m, n % 2 ? user->down : user->up);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_status_metrics_user(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_str_t                      name;
    ngx_http_vmess_status_user_t  *user;

    if (n == m->st->nusers) {
        return NGX_DECLINED;
    }

    user = &m->st->users[n];

    name.data = user->name;
    name.len = user->len;

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_label(m, "user", &name);
    ngx_http_vmess_status_sample_value(m,
                     *(ngx_uint_t *) ((u_char *) user + m->family->offset));

    return NGX_OK;
}


/* zero is "none" */

static ngx_int_t
ngx_http_vmess_status_metrics_user_limit(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_uint_t  value;

    if (n < m->st->nusers) {
        value = *(ngx_uint_t *) ((u_char *) &m->st->users[n]
                                 + m->family->offset);
        if (value == 0) {
            return NGX_OK;
        }
    }

    return ngx_http_vmess_status_metrics_user(m, n);
}


static ngx_int_t
ngx_http_vmess_status_metrics_up(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_value(m, 1);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_status_metrics_uptime(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_value(m, ngx_max(m->st->now
                                           - m->st->zone->rows->created, 0));

    return NGX_DECLINED;
}


/* inbounds, of which each carrier is one, and then users */

static ngx_int_t
ngx_http_vmess_status_metrics_traffic(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t n)
{
    ngx_str_t                      name;
    ngx_http_vmess_status_user_t  *user;

    if (n < NGX_VMESS_COUNTERS_CARRIERS) {
        ngx_http_vmess_status_sample_begin(m, NULL);
        ngx_http_vmess_status_sample_word(m, "dimension", "inbound");
        ngx_http_vmess_status_sample_label(m, "target",
                                           &ngx_vmess_counters_carriers[n]);
        ngx_http_vmess_status_sample_value(m,
                                     m->st->sum.bytes[n][m->family->down]);
        return NGX_OK;
    }

    n -= NGX_VMESS_COUNTERS_CARRIERS;

    if (n == m->st->nusers) {
        return NGX_DECLINED;
    }

    user = &m->st->users[n];

    name.data = user->name;
    name.len = user->len;

    ngx_http_vmess_status_sample_begin(m, NULL);
    ngx_http_vmess_status_sample_word(m, "dimension", "user");
    ngx_http_vmess_status_sample_label(m, "target", &name);
    ngx_http_vmess_status_sample_value(m,
                                    m->family->down ? user->down : user->up);

    return NGX_OK;
}
