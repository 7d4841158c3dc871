
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_variable.h"
#include "event/ngx_vmess_handshake.h"


static ngx_int_t ngx_stream_vmess_variable_user(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_status(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_connection(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_mux_id(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_datagrams(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_name(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_str(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_port(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_rate(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_class(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_expires(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_quota_left(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_vmess_variable_number(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, off_t n);
static void ngx_stream_vmess_variable_set(ngx_stream_variable_value_t *v,
    ngx_str_t *value);


/*
 * None is cacheable: a value asked for before the header was read must not
 * stay.
 */

static ngx_stream_variable_t  ngx_stream_vmess_vars[] = {

    { ngx_string("vmess_user"), NULL,
      ngx_stream_vmess_variable_user, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_status"), NULL,
      ngx_stream_vmess_variable_status, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_connection"), NULL,
      ngx_stream_vmess_variable_connection, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_carrier"), NULL, ngx_stream_vmess_variable_str,
      offsetof(ngx_stream_vmess_ctx_t, carrier),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_host"), NULL, ngx_stream_vmess_variable_str,
      offsetof(ngx_stream_vmess_ctx_t, host),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_addr"), NULL, ngx_stream_vmess_variable_str,
      offsetof(ngx_stream_vmess_ctx_t, addr),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_port"), NULL,
      ngx_stream_vmess_variable_port, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_security"), NULL, ngx_stream_vmess_variable_name,
      (uintptr_t) ngx_vmess_handshake_security_name,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_command"), NULL, ngx_stream_vmess_variable_name,
      (uintptr_t) ngx_vmess_handshake_command_name,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_network"), NULL, ngx_stream_vmess_variable_str,
      offsetof(ngx_stream_vmess_ctx_t, network),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_mux_id"), NULL,
      ngx_stream_vmess_variable_mux_id, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_datagrams_received"), NULL,
      ngx_stream_vmess_variable_datagrams,
      offsetof(ngx_vmess_connection_t, received),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_datagrams_sent"), NULL,
      ngx_stream_vmess_variable_datagrams,
      offsetof(ngx_vmess_connection_t, sent),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_rate"), NULL,
      ngx_stream_vmess_variable_rate, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_class"), NULL,
      ngx_stream_vmess_variable_class, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_expires"), NULL,
      ngx_stream_vmess_variable_expires, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("vmess_quota_left"), NULL,
      ngx_stream_vmess_variable_quota_left, 0,
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


typedef ngx_str_t *(*ngx_stream_vmess_name_pt)(ngx_vmess_header_t *h);


/* the session of an authentic client, its header whole; else NULL */

static ngx_stream_vmess_ctx_t *
ngx_stream_vmess_variable_ctx(ngx_stream_session_t *s)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    return (ctx && ngx_vmess_status(ctx->vc->status)->authentic)
           ? ctx : NULL;
}


static ngx_int_t
ngx_stream_vmess_variable_user(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    ngx_stream_vmess_variable_set(v, ctx ? &ctx->vc->account.user->name
                                         : NULL);
    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_variable_status(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_vmess_status_e       status;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    status = ctx ? ctx->vc->status : NGX_VMESS_STATUS_NONE;

    /* what has gone to the fallback before there is a verdict was too slow */

    if (ctx && ctx->visit && status == NGX_VMESS_STATUS_NONE) {
        status = NGX_VMESS_STATUS_TIMEOUT;
    }

    ngx_stream_vmess_variable_set(v,
                                  ctx ? &ngx_vmess_status(status)->name
                                      : NULL);
    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_variable_connection(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_stream_vmess_variable_number(s, v, ctx->number);
}


static ngx_int_t
ngx_stream_vmess_variable_mux_id(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL || !ctx->mux) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_stream_vmess_variable_number(s, v, ctx->mux_id);
}


static ngx_int_t
ngx_stream_vmess_variable_datagrams(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL || !ctx->udp) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_stream_vmess_variable_number(s, v,
                            *(ngx_uint_t *) ((u_char *) ctx->vc + data));
}


static ngx_int_t
ngx_stream_vmess_variable_name(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_name_pt name = (ngx_stream_vmess_name_pt) data;

    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    ngx_stream_vmess_variable_set(v, ctx ? name(&ctx->vc->header) : NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_variable_str(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    ngx_stream_vmess_variable_set(v, ctx ? (ngx_str_t *) ((u_char *) ctx + data)
                                         : NULL);
    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_variable_port(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_stream_vmess_variable_number(s, v,
                                            ctx->vc->header.address.port);
}


/* zero is "unlimited" to proxy_download_rate as well */

static ngx_int_t
ngx_stream_vmess_variable_rate(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_vmess_limits_t      *limits;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    if (ctx == NULL) {
        return ngx_stream_vmess_variable_number(s, v, 0);
    }

    limits = &ctx->vc->account.limits;

    return ngx_stream_vmess_variable_number(s, v,
                                           ngx_vmess_limits_rate_down(limits));
}


static ngx_int_t
ngx_stream_vmess_variable_class(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                class;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    if (ctx) {
        class.data = ctx->vc->account.limits.class;
        class.len = ngx_strlen(class.data);
    }

    ngx_stream_vmess_variable_set(v, ctx ? &class : NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_variable_expires(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    time_t                   expires;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    expires = ctx ? ngx_vmess_usage_expires(&ctx->vc->account.user->usage,
                                            &ctx->vc->account.limits)
                  : 0;

    if (expires == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_stream_vmess_variable_number(s, v, expires);
}


static ngx_int_t
ngx_stream_vmess_variable_quota_left(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    off_t                    left;
    ngx_vmess_account_t     *account;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_vmess_variable_ctx(s);

    if (ctx == NULL || ctx->vc->account.limits.quota == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    account = &ctx->vc->account;

    left = account->limits.quota
           - ngx_vmess_usage_used(&account->user->usage, &account->limits,
                                  ngx_time());

    return ngx_stream_vmess_variable_number(s, v, ngx_max(left, 0));
}


static ngx_int_t
ngx_stream_vmess_variable_number(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, off_t n)
{
    u_char  *p;

    p = ngx_pnalloc(s->connection->pool, NGX_OFF_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%O", n) - p;
    v->data = p;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static void
ngx_stream_vmess_variable_set(ngx_stream_variable_value_t *v, ngx_str_t *value)
{
    if (value == NULL || value->len == 0) {
        v->not_found = 1;
        return;
    }

    v->data = value->data;
    v->len = value->len;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


ngx_int_t
ngx_stream_vmess_variable_init(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_vmess_vars; v->name.len; v++) {

        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
