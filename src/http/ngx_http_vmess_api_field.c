
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_field.h"


static void ngx_http_vmess_api_field_value(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_field_t *field, ngx_http_vmess_api_info_t *info);
static void ngx_http_vmess_api_field_limit(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_field_t *field, ngx_vmess_limits_t *limits);
static void ngx_http_vmess_api_field_positive(ngx_vmess_json_out_t *jo,
    const char *key, int64_t value);
static void ngx_http_vmess_api_field_id(ngx_vmess_json_out_t *jo,
    const char *key, u_char *id);
static void ngx_http_vmess_api_field_token(ngx_vmess_json_out_t *jo,
    const char *key, ngx_vmess_value_t *value);
static void ngx_http_vmess_api_field_tags(ngx_vmess_json_out_t *jo,
    const char *key, uint64_t tags);


ngx_http_vmess_api_field_t  ngx_http_vmess_api_fields[] = {

    { ngx_string("name"), NGX_HTTP_VMESS_API_NAME, 0 },
    { ngx_string("id"), NGX_HTTP_VMESS_API_ID, 0 },
    { ngx_string("also"), NGX_HTTP_VMESS_API_ALSO, 0 },
    { ngx_string("until"), NGX_HTTP_VMESS_API_UNTIL, 0 },

    { ngx_string("expires"), NGX_HTTP_VMESS_API_TIME,
      offsetof(ngx_vmess_limits_t, expires) },

    { ngx_string("hold"), NGX_HTTP_VMESS_API_SECONDS,
      offsetof(ngx_vmess_limits_t, hold) },

    { ngx_string("hold_until"), NGX_HTTP_VMESS_API_TIME,
      offsetof(ngx_vmess_limits_t, hold_until) },

    { ngx_string("quota"), NGX_HTTP_VMESS_API_BYTES,
      offsetof(ngx_vmess_limits_t, quota) },

    { ngx_string("quota_reset"), NGX_HTTP_VMESS_API_PERIOD,
      offsetof(ngx_vmess_limits_t, quota_reset) },

    { ngx_string("rate"), NGX_HTTP_VMESS_API_RATE,
      offsetof(ngx_vmess_limits_t, rate) },

    { ngx_string("rate_up"), NGX_HTTP_VMESS_API_RATE,
      offsetof(ngx_vmess_limits_t, rate_up) },

    { ngx_string("rate_down"), NGX_HTTP_VMESS_API_RATE,
      offsetof(ngx_vmess_limits_t, rate_down) },

    { ngx_string("max_conns"), NGX_HTTP_VMESS_API_NUMBER,
      offsetof(ngx_vmess_limits_t, max_conns) },

    { ngx_string("max_ips"), NGX_HTTP_VMESS_API_NUMBER,
      offsetof(ngx_vmess_limits_t, max_ips) },

    { ngx_string("disabled"), NGX_HTTP_VMESS_API_FLAG,
      offsetof(ngx_vmess_limits_t, disabled) },

    { ngx_string("class"), NGX_HTTP_VMESS_API_WORD,
      offsetof(ngx_vmess_limits_t, class) },

    { ngx_string("token"), NGX_HTTP_VMESS_API_TOKEN,
      offsetof(ngx_vmess_limits_t, token) },

    { ngx_string("tags"), NGX_HTTP_VMESS_API_TAGS, 0 },

    { ngx_string("status"), NGX_HTTP_VMESS_API_STATUS, 0 },
    { ngx_string("origin"), NGX_HTTP_VMESS_API_ORIGIN, 0 },

    { ngx_string("ends"), NGX_HTTP_VMESS_API_ENDS, 0 },

    { ngx_string("up"), NGX_HTTP_VMESS_API_UP, 0 },

    { ngx_string("down"), NGX_HTTP_VMESS_API_DOWN, 0 },

    { ngx_string("used"), NGX_HTTP_VMESS_API_USED, 0 },

    { ngx_string("period"), NGX_HTTP_VMESS_API_BEGUN, 0 },

    { ngx_string("flows"), NGX_HTTP_VMESS_API_COUNTER,
      offsetof(ngx_http_vmess_api_info_t, flows) },

    { ngx_string("addresses"), NGX_HTTP_VMESS_API_COUNTER,
      offsetof(ngx_http_vmess_api_info_t, addresses) },

    { ngx_string("first_seen"), NGX_HTTP_VMESS_API_SEEN,
      offsetof(ngx_http_vmess_api_info_t, user.usage.first) },

    { ngx_string("last_seen"), NGX_HTTP_VMESS_API_SEEN,
      offsetof(ngx_http_vmess_api_info_t, user.usage.seen) },

    { ngx_string("refused"), NGX_HTTP_VMESS_API_COUNTER,
      offsetof(ngx_http_vmess_api_info_t, user.usage.refused) },

    { ngx_null_string, 0, 0 }
};


ngx_str_t  ngx_http_vmess_api_statuses[] = {
    ngx_string("active"),
    ngx_string("disabled"),
    ngx_string("limited"),
    ngx_string("expired"),
    ngx_string("on_hold"),
    ngx_null_string
};


ngx_str_t  ngx_http_vmess_api_origins[] = {
    ngx_string("none"),
    ngx_string("conf"),
    ngx_string("api"),
    ngx_null_string
};


ngx_http_vmess_api_field_t *
ngx_http_vmess_api_field(ngx_str_t *name)
{
    ngx_http_vmess_api_field_t  *field;

    for (field = ngx_http_vmess_api_fields; field->name.len; field++) {

        if (field->name.len == name->len
            && ngx_memcmp(field->name.data, name->data, name->len) == 0)
        {
            return field;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_vmess_api_field_load(ngx_vmess_zone_t *zone, ngx_uint_t n,
    ngx_http_vmess_api_info_t *info)
{
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    t = zone->sh->table;

    if (ngx_vmess_table_get(t, n, &info->user) != NGX_OK) {
        return NGX_DECLINED;
    }

    user = ngx_vmess_table_user(t, n);

    info->flows = user->flows[zone->sh->epoch & 1];
    info->addresses = 0;

    if (info->user.value.limits.max_ips) {
        info->addresses = ngx_vmess_clients_number(zone->sh->clients,
                                                   user->serial,
                                                   zone->sh->epoch & 1);
    }

    return NGX_OK;
}


/* ids and tokens are secrets: who may not write does not see them */

uint32_t
ngx_http_vmess_api_field_all(ngx_http_vmess_api_ctx_t *ctx)
{
    uint32_t                     fields;
    ngx_http_vmess_api_field_t  *field;

    fields = 0;

    for (field = ngx_http_vmess_api_fields; field->name.len; field++) {

        if (!ctx->write
            && (field->kind == NGX_HTTP_VMESS_API_ID
                || field->kind == NGX_HTTP_VMESS_API_ALSO
                || field->kind == NGX_HTTP_VMESS_API_TOKEN))
        {
            continue;
        }

        fields |= ngx_http_vmess_api_field_bit(field);
    }

    return fields;
}


ngx_vmess_usage_e
ngx_http_vmess_api_field_status(ngx_http_vmess_api_info_t *info)
{
    return ngx_vmess_usage_status(&info->user.usage, &info->user.value.limits,
                                  ngx_time());
}


int64_t
ngx_http_vmess_api_field_key(ngx_http_vmess_api_field_t *field,
    ngx_http_vmess_api_info_t *info)
{
    ngx_vmess_usage_t         *usage;
    ngx_vmess_usage_period_t   period;

    usage = &info->user.usage;

    ngx_vmess_usage_period(usage, &period);

    switch (field->kind) {

    case NGX_HTTP_VMESS_API_TIME:
        return *(time_t *) ((u_char *) &info->user.value.limits
                            + field->offset);

    case NGX_HTTP_VMESS_API_BEGUN:
        return period.start;

    case NGX_HTTP_VMESS_API_ENDS:
        return ngx_vmess_usage_expires(usage, &info->user.value.limits);

    case NGX_HTTP_VMESS_API_SEEN:
        return *(time_t *) ((u_char *) info + field->offset);

    case NGX_HTTP_VMESS_API_UP:
        return usage->up - period.up;

    case NGX_HTTP_VMESS_API_DOWN:
        return usage->down - period.down;

    case NGX_HTTP_VMESS_API_USED:
        return ngx_vmess_usage_used(usage, &info->user.value.limits,
                                    ngx_time());

    case NGX_HTTP_VMESS_API_COUNTER:
        return *(ngx_atomic_uint_t *) ((u_char *) info + field->offset);

    default: /* NGX_HTTP_VMESS_API_NAME */
        return 0;
    }
}


void
ngx_http_vmess_api_field_write(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_info_t *info, uint32_t fields)
{
    ngx_http_vmess_api_field_t  *field;

    ngx_vmess_json_out_open(jo, NULL, '{');

    for (field = ngx_http_vmess_api_fields; field->name.len; field++) {

        if (!(fields & ngx_http_vmess_api_field_bit(field))) {
            continue;
        }

        if (field->kind == NGX_HTTP_VMESS_API_TOKEN) {
            ngx_http_vmess_api_field_token(jo, "token", &info->user.value);

        } else if (ngx_http_vmess_api_is_limit(field)) {
            ngx_http_vmess_api_field_limit(jo, field, &info->user.value.limits);

        } else {
            ngx_http_vmess_api_field_value(jo, field, info);
        }
    }

    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_http_vmess_api_field_value(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_field_t *field, ngx_http_vmess_api_info_t *info)
{
    const char         *key;
    ngx_vmess_value_t  *value;

    key = (const char *) field->name.data;
    value = &info->user.value;

    switch (field->kind) {

    case NGX_HTTP_VMESS_API_NAME:
        ngx_vmess_json_out_string(jo, key, &value->name);
        break;

    case NGX_HTTP_VMESS_API_ID:
        ngx_http_vmess_api_field_id(jo, key, value->id[NGX_VMESS_USER_OWN]);
        break;

    case NGX_HTTP_VMESS_API_ALSO:
        ngx_http_vmess_api_field_id(jo, key,
                                    value->ids > NGX_VMESS_USER_ALSO
                                    ? value->id[NGX_VMESS_USER_ALSO] : NULL);
        break;

    case NGX_HTTP_VMESS_API_UNTIL:
        ngx_http_vmess_api_field_time(jo, key, value->until);
        break;

    case NGX_HTTP_VMESS_API_TAGS:
        ngx_http_vmess_api_field_tags(jo, key, value->tags);
        break;

    case NGX_HTTP_VMESS_API_STATUS:
        ngx_vmess_json_out_string(jo, key,
                                  &ngx_http_vmess_api_statuses[
                                      ngx_http_vmess_api_field_status(info)]);
        break;

    case NGX_HTTP_VMESS_API_ORIGIN:
        ngx_vmess_json_out_string(jo, key,
                                  &ngx_http_vmess_api_origins[value->origin]);
        break;

    case NGX_HTTP_VMESS_API_BEGUN:
    case NGX_HTTP_VMESS_API_ENDS:
    case NGX_HTTP_VMESS_API_SEEN:
        ngx_http_vmess_api_field_time(jo, key,
                                ngx_http_vmess_api_field_key(field, info));
        break;

    default: /* counters */
        ngx_vmess_json_out_integer(jo, key,
                                   ngx_http_vmess_api_field_key(field, info));
    }
}


static void
ngx_http_vmess_api_field_limit(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_field_t *field, ngx_vmess_limits_t *limits)
{
    u_char      *p, text[NGX_VMESS_PERIOD_TEXT_LEN];
    ngx_str_t    s;
    const char  *key;

    static ngx_str_t  off = ngx_string("off");
    static ngx_str_t  never = ngx_string("never");

    p = (u_char *) limits + field->offset;
    key = (const char *) field->name.data;

    /* null would be the default of the zone when it is sent back */

    if (field->kind != NGX_HTTP_VMESS_API_FLAG
        && ngx_vmess_limits_lifted(limits, &field->name))
    {
        ngx_vmess_json_out_string(jo, key,
                                  field->kind == NGX_HTTP_VMESS_API_PERIOD
                                  ? &never : &off);
        return;
    }

    switch (field->kind) {

    case NGX_HTTP_VMESS_API_TIME:
        ngx_http_vmess_api_field_time(jo, key, *(time_t *) p);
        break;

    case NGX_HTTP_VMESS_API_SECONDS:
        ngx_http_vmess_api_field_positive(jo, key, *(time_t *) p);
        break;

    case NGX_HTTP_VMESS_API_BYTES:
        ngx_http_vmess_api_field_positive(jo, key, *(off_t *) p);
        break;

    case NGX_HTTP_VMESS_API_RATE:
        ngx_http_vmess_api_field_positive(jo, key, *(size_t *) p);
        break;

    case NGX_HTTP_VMESS_API_NUMBER:
        ngx_http_vmess_api_field_positive(jo, key, *(uint32_t *) p);
        break;

    case NGX_HTTP_VMESS_API_FLAG:
        ngx_vmess_json_out_flag(jo, key, *(uint32_t *) p);
        break;

    case NGX_HTTP_VMESS_API_PERIOD:

        if (((ngx_vmess_period_t *) p)->unit == NGX_VMESS_PERIOD_NEVER) {
            ngx_vmess_json_out_null(jo, key);
            break;
        }

        s.data = text;
        s.len = ngx_vmess_period_text(text, (ngx_vmess_period_t *) p) - text;
        ngx_vmess_json_out_string(jo, key, &s);
        break;

    default: /* NGX_HTTP_VMESS_API_WORD */

        if (*p == '\0') {
            ngx_vmess_json_out_null(jo, key);
            break;
        }

        s.data = p;
        s.len = ngx_strlen(p);
        ngx_vmess_json_out_string(jo, key, &s);
    }
}


/* zero is "no limit" */

static void
ngx_http_vmess_api_field_positive(ngx_vmess_json_out_t *jo, const char *key,
    int64_t value)
{
    if (value == 0) {
        ngx_vmess_json_out_null(jo, key);
        return;
    }

    ngx_vmess_json_out_integer(jo, key, value);
}


static void
ngx_http_vmess_api_field_id(ngx_vmess_json_out_t *jo, const char *key,
    u_char *id)
{
    u_char     *p, text[36];
    ngx_str_t   s;
    ngx_uint_t  i;

    if (id == NULL) {
        ngx_vmess_json_out_null(jo, key);
        return;
    }

    p = text;

    for (i = 0; i < NGX_VMESS_ID_LEN; i++) {

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        p = ngx_hex_dump(p, &id[i], 1);
    }

    s.data = text;
    s.len = sizeof(text);

    ngx_vmess_json_out_string(jo, key, &s);

    ngx_explicit_memzero(text, sizeof(text));
}


static void
ngx_http_vmess_api_field_token(ngx_vmess_json_out_t *jo, const char *key,
    ngx_vmess_value_t *value)
{
    u_char     text[NGX_VMESS_SUBSCRIPTION_MAX];
    ngx_str_t  s;

    s.data = text;
    s.len = ngx_vmess_table_token(text, value) - text;

    ngx_vmess_json_out_string(jo, key, &s);

    ngx_explicit_memzero(text, sizeof(text));
}


void
ngx_http_vmess_api_field_time(ngx_vmess_json_out_t *jo, const char *key,
    time_t t)
{
    u_char     text[sizeof("2027-01-31T18:00:00Z") + NGX_TIME_T_LEN];
    ngx_tm_t   tm;
    ngx_str_t  s;

    if (t == 0) {
        ngx_vmess_json_out_null(jo, key);
        return;
    }

    ngx_gmtime(t, &tm);

    s.data = text;
    s.len = ngx_sprintf(text, "%4d-%02d-%02dT%02d:%02d:%02dZ", tm.ngx_tm_year,
                        tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                        tm.ngx_tm_min, tm.ngx_tm_sec)
            - text;

    ngx_vmess_json_out_string(jo, key, &s);
}


static void
ngx_http_vmess_api_field_tags(ngx_vmess_json_out_t *jo, const char *key,
    uint64_t tags)
{
    ngx_uint_t  i;

    ngx_vmess_json_out_open(jo, key, '[');

    for (i = 0; i < 64; i++) {
        if (tags >> i & 1) {
            ngx_vmess_json_out_integer(jo, NULL, i);
        }
    }

    ngx_vmess_json_out_close(jo, ']');
}
