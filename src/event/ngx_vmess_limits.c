
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_limits.h"


/* of "hold=", so that it can be added to any time: a hundred years */

#define NGX_VMESS_LIMITS_HOLD_MAX  ((ssize_t) 36500 * 86400)


static ngx_vmess_param_t *ngx_vmess_limits_find(ngx_str_t *name);
static size_t ngx_vmess_limits_size(ngx_vmess_param_t *param);
static ngx_uint_t ngx_vmess_limits_off(ngx_str_t *value);
static ngx_int_t ngx_vmess_limits_number(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_word(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_rate(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_time(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_hold(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_quota(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_period(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_class(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_token(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


/* the first is NGX_VMESS_LIMITS_ALTER_ID */

ngx_vmess_param_t  ngx_vmess_limits_params[] = {

    { ngx_string("alter_id="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, alter_id), 0, 256,
      "a number from 0 to 256", NULL, 0 },

    { ngx_string("rate="), ngx_vmess_limits_rate,
      offsetof(ngx_vmess_limits_t, rate), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\", with k, m or g, or \"off\"", NULL, 0 },

    { ngx_string("rate_up="), ngx_vmess_limits_rate,
      offsetof(ngx_vmess_limits_t, rate_up), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\", with k, m or g, or \"off\"", NULL, 0 },

    { ngx_string("rate_down="), ngx_vmess_limits_rate,
      offsetof(ngx_vmess_limits_t, rate_down), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\", with k, m or g, or \"off\"", NULL, 0 },

    { ngx_string("disabled"), ngx_vmess_limits_word,
      offsetof(ngx_vmess_limits_t, disabled), 0, 0, NULL, NULL, 0 },

    { ngx_string("expires="), ngx_vmess_limits_time,
      offsetof(ngx_vmess_limits_t, expires), 0, 0,
      "a date such as \"2027-01-31\" (UTC), a time such as "
      "\"2027-01-31T18:00:00Z\" or \"2027-01-31T18:00:00+01:00\", seconds "
      "since 1970, or \"off\"", NULL, 0 },

    { ngx_string("hold="), ngx_vmess_limits_hold,
      offsetof(ngx_vmess_limits_t, hold), 1, NGX_VMESS_LIMITS_HOLD_MAX,
      "a time from 1s to 36500d, such as \"30d\", or \"off\"",
      NULL, 0 },

    { ngx_string("hold_until="), ngx_vmess_limits_time,
      offsetof(ngx_vmess_limits_t, hold_until), 0, 0,
      "a date such as \"2027-01-31\" (UTC), a time such as "
      "\"2027-01-31T18:00:00Z\" or \"2027-01-31T18:00:00+01:00\", seconds "
      "since 1970, or \"off\"", NULL, 0 },

    { ngx_string("quota="), ngx_vmess_limits_quota,
      offsetof(ngx_vmess_limits_t, quota), 0, 0,
      "a size such as \"100g\", in bytes, or with k, m or g, or \"off\"",
      NULL, 0 },

    { ngx_string("quota_reset="), ngx_vmess_limits_period,
      offsetof(ngx_vmess_limits_t, quota_reset), 0, 0,
      "never, day, week, week@1 (Monday) to week@7, month, month@1 to "
      "month@31, year, or days such as \"30d\"", NULL, 0 },

    { ngx_string("max_conns="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, max_conns), 1, NGX_MAX_INT32_VALUE,
      "a number from 1 to 2147483647, or \"off\"", NULL, 0 },

    { ngx_string("max_ips="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, max_ips), 1, NGX_MAX_INT32_VALUE,
      "a number from 1 to 2147483647, or \"off\"", NULL, 0 },

    { ngx_string("class="), ngx_vmess_limits_class,
      offsetof(ngx_vmess_limits_t, class), 0, 0,
      "a word of up to 23 letters, digits, \"_\", \"-\" and \".\"",
      NULL, 0 },

    { ngx_string("token="), ngx_vmess_limits_token,
      offsetof(ngx_vmess_limits_t, token), 0, 0,
      "16 to 47 letters, digits, \"_\" and \"-\" that nobody can guess",
      NULL, 0 },

      ngx_vmess_null_param
};


ngx_int_t
ngx_vmess_limits_set(ngx_vmess_limits_t *limits, ngx_str_t *name,
    ngx_str_t *value, const char **text)
{
    u_char             *field;
    uint32_t            bit;
    ngx_vmess_param_t  *param;

    param = ngx_vmess_limits_find(name);

    if (param == NULL) {
        return NGX_DECLINED;
    }

    bit = (uint32_t) 1 << (param - ngx_vmess_limits_params);
    field = (u_char *) limits + param->offset;

    if (value == NULL) {
        limits->given &= ~bit;
        ngx_memzero(field, ngx_vmess_limits_size(param));

        return NGX_OK;
    }

    *text = param->text;

    if (param->set(NULL, param, value, field) != NGX_OK) {
        return NGX_ERROR;
    }

    limits->given |= bit;

    return NGX_OK;
}


void
ngx_vmess_limits_copy(ngx_vmess_limits_t *to, ngx_vmess_limits_t *from,
    ngx_str_t *name)
{
    uint32_t            bit;
    ngx_vmess_param_t  *param;

    param = ngx_vmess_limits_find(name);

    bit = (uint32_t) 1 << (param - ngx_vmess_limits_params);

    to->given = (to->given & ~bit) | (from->given & bit);

    ngx_memcpy((u_char *) to + param->offset, (u_char *) from + param->offset,
               ngx_vmess_limits_size(param));
}


/* by the name without "=" */

static ngx_vmess_param_t *
ngx_vmess_limits_find(ngx_str_t *name)
{
    size_t              len;
    ngx_vmess_param_t  *param;

    for (param = ngx_vmess_limits_params; param->name.len; param++) {

        len = param->name.len - (param->name.data[param->name.len - 1] == '=');

        if (name->len == len
            && ngx_memcmp(name->data, param->name.data, len) == 0)
        {
            return param;
        }
    }

    return NULL;
}


void
ngx_vmess_limits_inherit(ngx_vmess_limits_t *limits,
    ngx_vmess_limits_t *defaults)
{
    u_char             *field;
    uint32_t            bit, none;
    ngx_vmess_param_t  *param;

    none = 0;

    if (limits->given & NGX_VMESS_LIMITS_RATE) {
        none |= NGX_VMESS_LIMITS_RATES;
    }

    if ((limits->given & NGX_VMESS_LIMITS_HOLD) && limits->hold == 0) {
        none |= NGX_VMESS_LIMITS_HOLDS;
    }

    bit = 1;

    for (param = ngx_vmess_limits_params; param->name.len; param++, bit <<= 1) {

        if (limits->given & bit) {
            continue;
        }

        field = (u_char *) limits + param->offset;

        ngx_memzero(field, ngx_vmess_limits_size(param));

        if (!(none & bit)) {
            ngx_memcpy(field, (u_char *) defaults + param->offset,
                       ngx_vmess_limits_size(param));
        }
    }
}


static size_t
ngx_vmess_limits_size(ngx_vmess_param_t *param)
{
    if (param->set == ngx_vmess_limits_number
        || param->set == ngx_vmess_limits_word)
    {
        return sizeof(uint32_t);
    }

    if (param->set == ngx_vmess_limits_period) {
        return sizeof(ngx_vmess_period_t);
    }

    if (param->set == ngx_vmess_limits_class) {
        return NGX_VMESS_CLASS_LEN;
    }

    if (param->set == ngx_vmess_limits_token) {
        return NGX_VMESS_TOKEN_LEN;
    }

    return sizeof(off_t);    /* time_t and size_t as well */
}


ngx_uint_t
ngx_vmess_limits_lifted(ngx_vmess_limits_t *limits, ngx_str_t *name)
{
    u_char             *field;
    uint32_t            bit;
    ngx_vmess_param_t  *param;

    static u_char  none[NGX_VMESS_TOKEN_LEN];

    param = ngx_vmess_limits_find(name);

    bit = (uint32_t) 1 << (param - ngx_vmess_limits_params);
    field = (u_char *) limits + param->offset;

    if (param->set == ngx_vmess_limits_rate
        && *(size_t *) field == NGX_VMESS_LIMITS_RATE_OFF)
    {
        return 1;
    }

    return (limits->given & bit)
           && ngx_memcmp(field, none, ngx_vmess_limits_size(param)) == 0;
}


const char *
ngx_vmess_limits_check(ngx_vmess_limits_t *limits)
{
    if (limits->hold_until && limits->hold == 0) {
        return "\"hold_until\" has no effect without \"hold\", give the time "
               "after the first flow as well, such as \"hold=30d\"";
    }

    return NULL;
}


/* a limit that is none, whatever holds for other users */

static ngx_uint_t
ngx_vmess_limits_off(ngx_str_t *value)
{
    return value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0;
}


static ngx_int_t
ngx_vmess_limits_number(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    uint32_t *np = field;

    size_t     n;
    ngx_int_t  rc;

    if (ngx_vmess_limits_off(value)) {
        *np = 0;
        return NGX_OK;
    }

    rc = ngx_vmess_param_number(cf, param, value, &n);

    if (rc == NGX_OK) {
        *np = n;
    }

    return rc;
}


static ngx_int_t
ngx_vmess_limits_word(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    uint32_t *np = field;

    *np = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_limits_rate(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    size_t *rate = field;

    off_t  n;

    if (ngx_vmess_limits_off(value)) {
        *rate = (param->offset == offsetof(ngx_vmess_limits_t, rate))
                ? 0 : NGX_VMESS_LIMITS_RATE_OFF;
        return NGX_OK;
    }

    n = ngx_parse_offset(value);

    if (n < param->min || n > param->max) {
        return NGX_DECLINED;
    }

    *rate = n;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_limits_time(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    time_t *t = field;

    if (ngx_vmess_limits_off(value)) {
        *t = 0;
        return NGX_OK;
    }

    return ngx_vmess_param_time(cf, param, value, field);
}


static ngx_int_t
ngx_vmess_limits_hold(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    time_t *hold = field;

    if (ngx_vmess_limits_off(value)) {
        *hold = 0;
        return NGX_OK;
    }

    return ngx_vmess_param_sec(cf, param, value, field);
}


static ngx_int_t
ngx_vmess_limits_quota(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    off_t *quota = field;

    if (ngx_vmess_limits_off(value)) {
        *quota = 0;
        return NGX_OK;
    }

    *quota = ngx_parse_offset(value);

    return *quota > 0 ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_vmess_limits_period(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    return ngx_vmess_period_parse(field, value) == NGX_OK ? NGX_OK
                                                          : NGX_DECLINED;
}


static ngx_int_t
ngx_vmess_limits_class(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    u_char *class = field;

    u_char      ch;
    ngx_uint_t  i;

    if (value->len == 0 || value->len >= NGX_VMESS_CLASS_LEN) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        ch = ngx_tolower(value->data[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
            && ch != '_' && ch != '-' && ch != '.')
        {
            return NGX_DECLINED;
        }
    }

    ngx_memzero(class, NGX_VMESS_CLASS_LEN);
    ngx_memcpy(class, value->data, value->len);

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_limits_token(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    u_char *token = field;

    if (!ngx_vmess_subscription_check(value)) {
        return NGX_DECLINED;
    }

    ngx_memzero(token, NGX_VMESS_TOKEN_LEN);
    ngx_memcpy(token, value->data, value->len);

    return NGX_OK;
}
