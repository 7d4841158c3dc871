
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_disguise.h"
#include "ngx_vmess_param.h"


/* the parameters of "vmess_http_header" */

typedef struct {
    ngx_vmess_http_conf_t        conf;
    ngx_msec_t                   wait;
} ngx_stream_vmess_disguise_t;


static ngx_int_t ngx_stream_vmess_disguise_path(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_stream_vmess_disguise_host(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_stream_vmess_disguise_add(ngx_conf_t *cf,
    ngx_array_t **list, ngx_str_t *value);


static ngx_vmess_param_t  ngx_stream_vmess_disguise_params[] = {

    { ngx_string("path="), ngx_stream_vmess_disguise_path,
      offsetof(ngx_stream_vmess_disguise_t, conf.paths), 0, 0,
      "a path as \"/path\", without a query", NULL, 1 },

    { ngx_string("host="), ngx_stream_vmess_disguise_host,
      offsetof(ngx_stream_vmess_disguise_t, conf.hosts), 0, 0,
      "a name or an address, in brackets if it is of IPv6, without a port and "
      "without \"*\"", NULL, 1 },

    { ngx_string("wait="), ngx_vmess_param_msec,
      offsetof(ngx_stream_vmess_disguise_t, wait), 1, 60 * 1000,
      "a time from \"1ms\" to \"1m\"", NULL, 0 },

      ngx_vmess_null_param
};


/* on [path=...] [host=...] [wait=time] */

char *
ngx_stream_vmess_disguise(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t                    *value;
    ngx_stream_vmess_disguise_t  *disguise;

    static ngx_str_t  where = ngx_string("in \"vmess_http_header\"");

    if (vscf->disguise_wait) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    vscf->disguise_wait = 200;

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "on") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"vmess_http_header\", it "
                           "must be \"on\", with parameters, or \"off\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    disguise = ngx_pcalloc(cf->pool, sizeof(ngx_stream_vmess_disguise_t));
    if (disguise == NULL) {
        return NGX_CONF_ERROR;
    }

    disguise->wait = vscf->disguise_wait;

    if (ngx_vmess_param_parse(cf, 2, ngx_stream_vmess_disguise_params,
                              disguise, &where, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    vscf->disguise = &disguise->conf;
    vscf->disguise_wait = disguise->wait;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_vmess_disguise_path(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_uint_t  i;

    if (value->len == 0 || value->data[0] != '/') {
        return NGX_DECLINED;
    }

    /* others end the path in a line of a request */

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] == 0x7f
            || value->data[i] == '?')
        {
            return NGX_DECLINED;
        }
    }

    return ngx_stream_vmess_disguise_add(cf, field, value);
}


static ngx_int_t
ngx_stream_vmess_disguise_host(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    u_char      *p, *last;
#if (NGX_HAVE_INET6)
    u_char       addr[16];
#endif

    ngx_strlow(value->data, value->data, value->len);

    p = value->data;
    last = p + value->len;

    if (p == last) {
        return NGX_DECLINED;
    }

#if (NGX_HAVE_INET6)

    if (*p == '[' && last[-1] == ']' && value->len > 2
        && ngx_inet6_addr(p + 1, value->len - 2, addr) == NGX_OK)
    {
        return ngx_stream_vmess_disguise_add(cf, field, value);
    }

#endif

    for ( /* void */ ; p < last; p++) {

        if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
            || *p == '-' || *p == '_' || *p == '.')
        {
            continue;
        }

        return NGX_DECLINED;
    }

    return ngx_stream_vmess_disguise_add(cf, field, value);
}


static ngx_int_t
ngx_stream_vmess_disguise_add(ngx_conf_t *cf, ngx_array_t **list,
    ngx_str_t *value)
{
    ngx_str_t  *s;

    if (*list == NULL) {
        *list = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
        if (*list == NULL) {
            return NGX_ERROR;
        }
    }

    s = ngx_array_push(*list);
    if (s == NULL) {
        return NGX_ERROR;
    }

    *s = *value;

    return NGX_OK;
}
