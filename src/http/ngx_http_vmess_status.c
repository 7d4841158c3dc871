
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status.h"
#include "event/ngx_vmess_filter.h"


/* entries of addresses that are looked at in one go */

#define NGX_HTTP_VMESS_STATUS_CLIENTS  4096


static ngx_int_t ngx_http_vmess_status_users(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_status_add(ngx_http_vmess_status_t *st,
    ngx_http_vmess_api_info_t *info);
static void ngx_http_vmess_status_user(ngx_http_vmess_api_info_t *info,
    ngx_http_vmess_status_user_t *user);
static void ngx_http_vmess_status_push(ngx_http_vmess_status_t *st,
    ngx_http_vmess_status_user_t *user);
static ngx_int_t ngx_http_vmess_status_clients(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_status_start(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_status_step(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_status_fill(ngx_http_vmess_status_t *st);


ngx_int_t
ngx_http_vmess_status(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_status_format_t *format, ngx_uint_t names, ngx_uint_t max,
    ngx_http_vmess_status_places_t *places)
{
    ngx_http_vmess_status_t  *st;

    st = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_vmess_status_t));
    if (st == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st->format = format;
    st->names = names;
    st->places = places;
    st->zone = ctx->zone;
    st->max = ngx_min(max, ngx_vmess_table_count(ctx->zone->sh->table));

    if (st->max) {
        st->users = ngx_palloc(ctx->request->pool,
                           st->max * sizeof(ngx_http_vmess_status_user_t));
        if (st->users == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->data = st;
    ctx->step = ngx_http_vmess_status_users;
    ctx->request->main->count++;

    ngx_http_vmess_api_run(ctx);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_vmess_status_users(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                  i;
    ngx_http_vmess_status_t    *st;
    ngx_http_vmess_api_info_t   info;

    st = ctx->data;

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE; i++) {

        if (st->n >= ngx_vmess_table_max(st->zone->sh->table)) {
            ctx->step = ngx_http_vmess_status_clients;
            break;
        }

        if (ngx_http_vmess_api_field_load(st->zone, st->n++, &info) == NGX_OK) {
            ngx_http_vmess_status_add(st, &info);
        }
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    return NGX_AGAIN;
}


static void
ngx_http_vmess_status_add(ngx_http_vmess_status_t *st,
    ngx_http_vmess_api_info_t *info)
{
    ngx_http_vmess_status_user_t  user;

    ngx_http_vmess_status_user(info, &user);

    st->total++;
    st->statuses[user.status]++;
    st->up += user.up;
    st->down += user.down;
    st->flows += user.flows;

    if (st->max) {
        ngx_http_vmess_status_push(st, &user);
    }
}


static void
ngx_http_vmess_status_user(ngx_http_vmess_api_info_t *info,
    ngx_http_vmess_status_user_t *user)
{
    ngx_vmess_usage_t   *usage;
    ngx_vmess_limits_t  *limits;

    usage = &info->user.usage;
    limits = &info->user.value.limits;

    user->len = info->user.value.name.len;
    ngx_memcpy(user->name, info->user.name, user->len);

    user->up = usage->up;
    user->down = usage->down;
    user->traffic = user->up + user->down;
    user->used = ngx_vmess_usage_used(usage, limits, ngx_time());
    user->quota = limits->quota;
    user->expires = ngx_vmess_usage_expires(usage, limits);
    user->flows = info->flows;
    user->addresses = info->addresses;
    user->status = ngx_http_vmess_api_field_status(info);
}


/* on top of the heap is the one with least traffic, which goes out first */

static void
ngx_http_vmess_status_push(ngx_http_vmess_status_t *st,
    ngx_http_vmess_status_user_t *user)
{
    ngx_uint_t                     i, child;
    ngx_http_vmess_status_user_t  *u;

    u = st->users;

    if (st->nusers < st->max) {

        for (i = st->nusers++; i; i = (i - 1) / 2) {

            if (user->traffic >= u[(i - 1) / 2].traffic) {
                break;
            }

            u[i] = u[(i - 1) / 2];
        }

        u[i] = *user;

        return;
    }

    if (user->traffic <= u[0].traffic) {
        return;
    }

    for (i = 0; (child = 2 * i + 1) < st->nusers; i = child) {

        if (child + 1 < st->nusers && u[child + 1].traffic < u[child].traffic) {
            child++;
        }

        if (user->traffic <= u[child].traffic) {
            break;
        }

        u[i] = u[child];
    }

    u[i] = *user;
}


static ngx_int_t
ngx_http_vmess_status_clients(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                used;
    ngx_http_vmess_status_t  *st;

    st = ctx->data;

    st->addresses.size = ngx_vmess_clients_fill(st->zone->sh->clients,
                             st->client,
                             st->client + NGX_HTTP_VMESS_STATUS_CLIENTS,
                             st->zone->sh->epoch & 1, &used);

    st->addresses.used += used;
    st->client += NGX_HTTP_VMESS_STATUS_CLIENTS;

    if (st->client >= st->addresses.size) {
        ctx->step = ngx_http_vmess_status_start;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_status_start(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 value;
    ngx_vmess_zone_sh_t      *sh;
    ngx_http_vmess_status_t  *st;

    st = ctx->data;
    sh = st->zone->sh;

    st->now = ngx_time();

    st->set = sh->epoch & 1;

    ngx_vmess_counters_sum(st->zone->rows, st->now, &st->sum);

    st->bytes.size = ngx_vmess_table_fill(sh->table, &st->bytes.used);
    st->replay.used = ngx_vmess_filter_fill(st->zone->conf, &st->replay.size);
    st->history.size = ngx_vmess_history_fill(st->zone->history, st->now,
                                              &st->history.used);

    /* the same address has several formats, and the next moment others */

    ngx_str_set(&value, "no-store");

    if (ngx_http_vmess_api_header(ctx->request, "Cache-Control", &value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&value, "Accept");

    if (ngx_http_vmess_api_header(ctx->request, "Vary", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    st->stream.type = st->format->type;

    rc = ngx_http_vmess_api_stream_start(ctx, &st->stream);

    if (rc == NGX_AGAIN) {
        ctx->step = ngx_http_vmess_status_step;
    }

    return rc;
}


static ngx_int_t
ngx_http_vmess_status_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_status_t  *st;

    st = ctx->data;

    if (ngx_buf_size(st->stream.buf) == 0) {

        ngx_http_vmess_status_fill(st);

        if (!st->stream.full && !st->stream.done) {
            return NGX_AGAIN;
        }
    }

    return ngx_http_vmess_api_stream_output(ctx->request, &st->stream);
}


/* writes items until it was a slice, the buffer is full, or all is done */

static void
ngx_http_vmess_status_fill(ngx_http_vmess_status_t *st)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_vmess_json_out_t  save;

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE; i++) {

        save = st->stream.jo;

        rc = st->format->write(st);

        if (st->stream.jo.full) {
            st->stream.jo = save;
            st->stream.full = 1;
            return;
        }

        if (rc == NGX_DONE) {
            st->stream.done = 1;
            return;
        }

        st->item++;

        if (rc == NGX_DECLINED) {
            st->part++;
            st->item = 0;
        }
    }
}
