
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_stats.h"


#define NGX_HTTP_VMESS_API_STATS_SIZE  1024


typedef struct {
    ngx_uint_t                 n;          /* the next one to look at */
    ngx_uint_t                 users;
    ngx_uint_t                 statuses[NGX_HTTP_VMESS_API_STATUSES];
    ngx_uint_t                 conf;
    int64_t                    up;
    int64_t                    down;
    int64_t                    flows;
    int64_t                    total;
    int64_t                    refused;
} ngx_http_vmess_api_stats_t;


static ngx_int_t ngx_http_vmess_api_stats_step(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_stats_add(ngx_http_vmess_api_stats_t *st,
    ngx_http_vmess_api_info_t *info);
static ngx_int_t ngx_http_vmess_api_stats_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_stats_t *st);


ngx_int_t
ngx_http_vmess_api_stats_index(ngx_http_vmess_api_ctx_t *ctx)
{
    u_char                *start;
    ngx_str_t              s;
    ngx_vmess_table_t     *t;
    ngx_vmess_json_out_t   jo;

    t = ctx->zone->sh->table;

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      NGX_HTTP_VMESS_API_STATS_SIZE
                                      + 6 * ctx->zone->name.len);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');

    ngx_str_set(&s, NGX_VMESS_VERSION);
    ngx_vmess_json_out_string(&jo, "version", &s);

    ngx_vmess_json_out_string(&jo, "zone", &ctx->zone->name);
    ngx_vmess_json_out_flag(&jo, "write", ctx->write);
    ngx_vmess_json_out_integer(&jo, "users", ngx_vmess_table_count(t));
    ngx_vmess_json_out_integer(&jo, "changes", ngx_vmess_table_changes(t));

    ngx_vmess_json_out_open(&jo, "links", '{');

    ngx_str_set(&s, "users");
    ngx_vmess_json_out_string(&jo, "users", &s);

    ngx_str_set(&s, "flows");
    ngx_vmess_json_out_string(&jo, "flows", &s);

    ngx_str_set(&s, "stats");
    ngx_vmess_json_out_string(&jo, "stats", &s);

    ngx_str_set(&s, "openapi.json");
    ngx_vmess_json_out_string(&jo, "openapi", &s);

    ngx_vmess_json_out_close(&jo, '}');
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}


ngx_int_t
ngx_http_vmess_api_stats_sums(ngx_http_vmess_api_ctx_t *ctx)
{
    ctx->data = ngx_pcalloc(ctx->request->pool,
                            sizeof(ngx_http_vmess_api_stats_t));
    if (ctx->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->step = ngx_http_vmess_api_stats_step;
    ctx->request->main->count++;

    ngx_http_vmess_api_run(ctx);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_vmess_api_stats_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                   i, max;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_stats_t  *st;

    st = ctx->data;
    max = ngx_vmess_table_max(ctx->zone->sh->table);

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE && st->n < max; i++) {

        if (ngx_http_vmess_api_field_load(ctx->zone, st->n++, &info)
            == NGX_OK)
        {
            ngx_http_vmess_api_stats_add(st, &info);
        }
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    return (st->n < max) ? NGX_AGAIN : ngx_http_vmess_api_stats_send(ctx, st);
}


static void
ngx_http_vmess_api_stats_add(ngx_http_vmess_api_stats_t *st,
    ngx_http_vmess_api_info_t *info)
{
    ngx_vmess_usage_t  *usage;

    usage = &info->user.usage;

    st->users++;
    st->statuses[ngx_http_vmess_api_field_status(info)]++;
    st->conf += (info->user.value.origin == NGX_VMESS_ORIGIN_CONF);

    st->up += usage->up;
    st->down += usage->down;
    st->flows += info->flows;
    st->total += usage->total;
    st->refused += usage->refused;
}


static ngx_int_t
ngx_http_vmess_api_stats_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_stats_t *st)
{
    u_char                *start;
    ngx_uint_t             i;
    ngx_vmess_json_out_t   jo;

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      NGX_HTTP_VMESS_API_STATS_SIZE);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_integer(&jo, "users", st->users);

    ngx_vmess_json_out_open(&jo, "status", '{');

    for (i = 0; i < NGX_HTTP_VMESS_API_STATUSES; i++) {
        ngx_vmess_json_out_integer(&jo,
                         (char *) ngx_http_vmess_api_statuses[i].data,
                         st->statuses[i]);
    }

    ngx_vmess_json_out_close(&jo, '}');

    ngx_vmess_json_out_open(&jo, "origin", '{');
    ngx_vmess_json_out_integer(&jo, "conf", st->conf);
    ngx_vmess_json_out_integer(&jo, "api", st->users - st->conf);
    ngx_vmess_json_out_close(&jo, '}');

    ngx_vmess_json_out_integer(&jo, "up", st->up);
    ngx_vmess_json_out_integer(&jo, "down", st->down);
    ngx_vmess_json_out_integer(&jo, "flows", st->flows);
    ngx_vmess_json_out_integer(&jo, "total", st->total);
    ngx_vmess_json_out_integer(&jo, "refused", st->refused);
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}
