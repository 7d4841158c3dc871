
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_param.h"


/* of times in seconds: September 2001, below it is no such time */

#define NGX_VMESS_PARAM_TIME_MIN  1000000000


static ngx_int_t ngx_vmess_param_arg(ngx_conf_t *cf, ngx_str_t *arg);
static ngx_int_t ngx_vmess_param_set(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *arg, void *conf, ngx_str_t *where);
static ngx_int_t ngx_vmess_param_offset(u_char *p, u_char *last,
    ngx_int_t *offset);


ngx_int_t
ngx_vmess_param_parse(ngx_conf_t *cf, ngx_uint_t first,
    ngx_vmess_param_t *params, void *conf, ngx_str_t *where, ngx_uint_t *seen)
{
    ngx_str_t          *value;
    ngx_uint_t          i, n, bits;
    ngx_vmess_param_t  *param;

    value = cf->args->elts;
    bits = 0;

    for (i = first; i < cf->args->nelts; i++) {

        if (ngx_vmess_param_arg(cf, &value[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        param = ngx_vmess_param_find(params, &value[i]);

        if (param == NULL) {
            ngx_vmess_param_unknown(cf, params, &value[i], where, "");
            return NGX_ERROR;
        }

        n = param - params;

        if ((bits & ((ngx_uint_t) 1 << n)) && !param->repeated) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" %V",
                               &param->name, where);
            return NGX_ERROR;
        }

        bits |= (ngx_uint_t) 1 << n;

        if (ngx_vmess_param_set(cf, param, &value[i], conf, where) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (seen) {
        *seen = bits;
    }

    return NGX_OK;
}


ngx_vmess_param_t *
ngx_vmess_param_find(ngx_vmess_param_t *params, ngx_str_t *arg)
{
    ngx_vmess_param_t  *param;

    for (param = params; param->name.len; param++) {

        if (arg->len < param->name.len
            || ngx_memcmp(arg->data, param->name.data, param->name.len) != 0)
        {
            continue;
        }

        if (param->name.data[param->name.len - 1] == '='
            || arg->len == param->name.len)
        {
            return param;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_vmess_param_set(ngx_conf_t *cf, ngx_vmess_param_t *param, ngx_str_t *arg,
    void *conf, ngx_str_t *where)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    value.data = arg->data + param->name.len;
    value.len = arg->len - param->name.len;

    /* to nginx a quote is one at the start of an argument only */

    if (value.len && (value.data[0] == '"' || value.data[0] == '\'')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" %V, a quote stands "
                           "around all of it: \"%Vtext\"",
                           &param->name, where, &param->name);
        return NGX_ERROR;
    }

    rc = param->set(cf, param, &value, (u_char *) conf + param->offset);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" %V, it must be %s",
                           arg, where, param->text);
        return NGX_ERROR;
    }

    return rc;
}


void
ngx_vmess_param_unknown(ngx_conf_t *cf, ngx_vmess_param_t *params,
    ngx_str_t *arg, ngx_str_t *where, char *more)
{
    u_char     *p, names[NGX_MAX_CONF_ERRSTR];
    ngx_str_t   name;
    ngx_uint_t  i;

    name = *arg;

    p = ngx_strlchr(name.data, name.data + name.len, '=');

    if (p) {
        name.len = p - name.data;

        if (ngx_vmess_param_find(params, &name)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" %V, it must be "
                               "\"%V\" alone", arg, where, &name);
            return;
        }

        name.len++;
    }

    p = names;

    for (i = 0; params[i].name.len; i++) {
        p = ngx_slprintf(p, names + sizeof(names), "%s\"%V\"",
                         i ? ", " : "", &params[i].name);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\" %V, parameters are %*s%s",
                       &name, where, (size_t) (p - names), names, more);
}


ngx_int_t
ngx_vmess_param_args(ngx_conf_t *cf)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_vmess_param_arg(cf, &value[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_param_arg(ngx_conf_t *cf, ngx_str_t *arg)
{
    if (ngx_strlen(arg->data) == arg->len) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "zero byte in the arguments of \"%V\", remove it",
                       (ngx_str_t *) cf->args->elts);

    return NGX_ERROR;
}


char *
ngx_vmess_param_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    size_t             *field;
    ngx_str_t          *value;
    ngx_vmess_param_t  *param;

    field = (size_t *) (p + cmd->offset);

    if (*field != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    param = cmd->post;

    if (param->set(cf, param, &value[1], field) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", it must be %s",
                           &value[1], &cmd->name, param->text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_vmess_param_number(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    size_t *np = field;

    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n < param->min || n > param->max) {
        return NGX_DECLINED;
    }

    *np = n;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_param_size(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    size_t *sp = field;

    ssize_t  size;

    size = ngx_parse_size(value);

    if (size == NGX_ERROR || size < param->min || size > param->max) {
        return NGX_DECLINED;
    }

    *sp = size;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_param_msec(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_msec_t *msp = field;

    ngx_int_t  ms;

    ms = ngx_parse_time(value, 0);

    if (ms == NGX_ERROR || ms < param->min || ms > param->max) {
        return NGX_DECLINED;
    }

    *msp = ms;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_param_sec(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    time_t *sp = field;

    ngx_int_t  sec;

    sec = ngx_parse_time(value, 1);

    if (sec == NGX_ERROR || sec < param->min || sec > param->max) {
        return NGX_DECLINED;
    }

    *sp = sec;

    return NGX_OK;
}


/*
 * RFC 3339: a day, of which it is the first second in UTC, or a time; or
 * seconds since 1970
 */

ngx_int_t
ngx_vmess_param_time(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    time_t *t = field;

    u_char       *p, *last, *time;
    u_char        text[sizeof("Sun, 06 Nov 1994 08:49:37 GMT")];
    ngx_int_t     month, offset;
    static char  *months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

    *t = ngx_atotm(value->data, value->len);

    if (*t != NGX_ERROR) {

        /* neither a date without dashes, nor milliseconds */

        return (*t >= NGX_VMESS_PARAM_TIME_MIN
                && *t / 100 < NGX_VMESS_PARAM_TIME_MIN)
               ? NGX_OK : NGX_DECLINED;
    }

    p = value->data;
    last = p + value->len;

    if (value->len < sizeof("2027-01-31") - 1 || p[4] != '-' || p[7] != '-') {
        return NGX_DECLINED;
    }

    month = ngx_atoi(p + 5, 2);

    if (month < 1 || month > 12) {
        return NGX_DECLINED;
    }

    time = (u_char *) "00:00:00";
    offset = 0;

    if (value->len > sizeof("2027-01-31") - 1) {

        if (value->len < sizeof("2027-01-31T18:00:00Z") - 1 || p[10] != 'T') {
            return NGX_DECLINED;
        }

        time = p + sizeof("2027-01-31T") - 1;

        if (ngx_vmess_param_offset(time + sizeof("18:00:00") - 1, last,
                                   &offset)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    last = ngx_sprintf(text, "Sun, %*s %s %*s %*s GMT", (size_t) 2, p + 8,
                       months[month - 1], (size_t) 4, p,
                       sizeof("00:00:00") - 1, time);

    *t = ngx_parse_http_time(text, last - text);

    if (*t == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *t -= offset;

    /* before 1970 it is negative; zero is "never" */

    return *t > 0 ? NGX_OK : NGX_DECLINED;
}


/* RFC 3339, "time-offset", in seconds */

static ngx_int_t
ngx_vmess_param_offset(u_char *p, u_char *last, ngx_int_t *offset)
{
    ngx_int_t  hours, minutes;

    if (last - p == 1 && *p == 'Z') {
        *offset = 0;
        return NGX_OK;
    }

    if (last - p != sizeof("+01:00") - 1 || (*p != '+' && *p != '-')
        || p[3] != ':')
    {
        return NGX_DECLINED;
    }

    hours = ngx_atoi(p + 1, 2);
    minutes = ngx_atoi(p + 4, 2);

    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
        return NGX_DECLINED;
    }

    *offset = (hours * 60 + minutes) * 60;

    if (*p == '-') {
        *offset = -*offset;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_param_enum(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_uint_t *np = field;

    ngx_conf_enum_t  *e;

    for (e = param->post; e->name.len; e++) {

        if (e->name.len == value->len
            && ngx_memcmp(e->name.data, value->data, value->len) == 0)
        {
            *np = e->value;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_vmess_param_word(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_uint_t *np = field;

    *np |= param->min;

    return NGX_OK;
}
