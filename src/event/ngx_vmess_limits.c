
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_limits.h"


/* of "hold=", so that it can be added to any time: a hundred years */

#define NGX_VMESS_LIMITS_HOLD_MAX  ((ssize_t) 36500 * 86400)


static ngx_int_t ngx_vmess_limits_number(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_word(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_quota(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_period(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_limits_class(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


/* the first two are bits NGX_VMESS_LIMITS_... */

ngx_vmess_param_t  ngx_vmess_limits_params[] = {

    { ngx_string("alter_id="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, alter_id), 0, 256,
      "a number from 0 to 256", NULL, 0 },

    { ngx_string("rate="), ngx_vmess_param_size,
      offsetof(ngx_vmess_limits_t, rate), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\"", NULL, 0 },

    { ngx_string("rate_up="), ngx_vmess_param_size,
      offsetof(ngx_vmess_limits_t, rate_up), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\"", "is not enforced", 0 },

    { ngx_string("rate_down="), ngx_vmess_param_size,
      offsetof(ngx_vmess_limits_t, rate_down), 1, NGX_MAX_INT_T_VALUE,
      "bytes per second such as \"2m\"", "is not enforced", 0 },

    { ngx_string("disabled"), ngx_vmess_limits_word,
      offsetof(ngx_vmess_limits_t, disabled), 0, 0, NULL, NULL, 0 },

    { ngx_string("expires="), ngx_vmess_param_time,
      offsetof(ngx_vmess_limits_t, expires), 0, 0,
      "a date such as \"2027-01-31\" (UTC), a time such as "
      "\"2027-01-31T18:00:00Z\" or \"2027-01-31T18:00:00+01:00\", or seconds "
      "since 1970", NULL, 0 },

    { ngx_string("hold="), ngx_vmess_param_sec,
      offsetof(ngx_vmess_limits_t, hold), 1, NGX_VMESS_LIMITS_HOLD_MAX,
      "a time from 1s to 36500d, such as \"30d\"", "is not enforced", 0 },

    { ngx_string("hold_until="), ngx_vmess_param_time,
      offsetof(ngx_vmess_limits_t, hold_until), 0, 0,
      "a date such as \"2027-01-31\" (UTC), a time such as "
      "\"2027-01-31T18:00:00Z\" or \"2027-01-31T18:00:00+01:00\", or seconds "
      "since 1970", "is not enforced", 0 },

    { ngx_string("quota="), ngx_vmess_limits_quota,
      offsetof(ngx_vmess_limits_t, quota), 0, 0,
      "a size such as \"100g\", in bytes, or with k, m or g", NULL, 0 },

    { ngx_string("quota_reset="), ngx_vmess_limits_period,
      offsetof(ngx_vmess_limits_t, quota_reset), 0, 0,
      "never, day, week, week@1 (Monday) to week@7, month, month@1 to "
      "month@31, year, or days such as \"30d\"", "is not enforced", 0 },

    { ngx_string("max_conns="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, max_conns), 1, NGX_MAX_INT32_VALUE,
      "a number from 1 to 2147483647", NULL, 0 },

    { ngx_string("max_ips="), ngx_vmess_limits_number,
      offsetof(ngx_vmess_limits_t, max_ips), 1, NGX_MAX_INT32_VALUE,
      "a number from 1 to 2147483647", "is not enforced", 0 },

    { ngx_string("class="), ngx_vmess_limits_class,
      offsetof(ngx_vmess_limits_t, class), 0, 0,
      "a word of up to 23 letters, digits, \"_\", \"-\" and \".\"",
      "is not used", 0 },

      ngx_vmess_null_param
};


ngx_int_t
ngx_vmess_limits_set(ngx_vmess_limits_t *limits, ngx_str_t *name,
    ngx_str_t *value, const char **text)
{
    u_char             *field;
    size_t              len;
    ngx_vmess_param_t  *param;

    for (param = ngx_vmess_limits_params; param->name.len; param++) {

        len = param->name.len - (param->name.data[param->name.len - 1] == '=');

        if (name->len == len
            && ngx_memcmp(name->data, param->name.data, len) == 0)
        {
            break;
        }
    }

    if (param->name.len == 0) {
        return NGX_DECLINED;
    }

    field = (u_char *) limits + param->offset;

    if (value == NULL) {

        if (param->set == ngx_vmess_limits_number
            || param->set == ngx_vmess_limits_word)
        {
            ngx_memzero(field, sizeof(uint32_t));

        } else if (param->set == ngx_vmess_limits_class) {
            ngx_memzero(field, NGX_VMESS_CLASS_LEN);

        } else {
            ngx_memzero(field, sizeof(off_t));
        }

        return NGX_OK;
    }

    *text = param->text;

    return param->set(NULL, param, value, field) == NGX_OK ? NGX_OK
                                                           : NGX_ERROR;
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


static ngx_int_t
ngx_vmess_limits_number(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    uint32_t *np = field;

    size_t     n;
    ngx_int_t  rc;

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
ngx_vmess_limits_quota(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    off_t *quota = field;

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
