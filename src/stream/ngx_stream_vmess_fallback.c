
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_limit.h"
#include "ngx_stream_vmess_listen.h"
#include "ngx_stream_vmess_proxy.h"
#include "ngx_vmess_param.h"


static ngx_stream_core_srv_conf_t *ngx_stream_vmess_fallback_add_server(
    ngx_conf_t *cf, ngx_str_t *address);


char *
ngx_stream_vmess_fallback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t  *value;

    if (vscf->fallback.data) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty name";
    }

    vscf->fallback = value[1];

    /* names have no colon, addresses that "proxy_pass" takes have one */

    if (ngx_strchr(value[1].data, ':') == NULL) {
        return NGX_CONF_OK;
    }

    vscf->fallback_server = ngx_stream_vmess_fallback_add_server(cf, &value[1]);

    return vscf->fallback_server ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_stream_core_srv_conf_t *
ngx_stream_vmess_fallback_add_server(ngx_conf_t *cf, ngx_str_t *address)
{
    char                          *rv;
    void                          *conf;
    ngx_uint_t                     i;
    ngx_stream_module_t           *module;
    ngx_stream_conf_ctx_t         *ctx, *stream_ctx;
    ngx_stream_core_srv_conf_t    *cscf, **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    /* as ngx_stream_core_server() */

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_stream_conf_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    stream_ctx = cf->ctx;
    ctx->main_conf = stream_ctx->main_conf;

    ctx->srv_conf = ngx_pcalloc(cf->pool,
                                sizeof(void *) * ngx_stream_max_module);
    if (ctx->srv_conf == NULL) {
        return NULL;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i]->type != NGX_STREAM_MODULE) {
            continue;
        }

        module = cf->cycle->modules[i]->ctx;

        if (module->create_srv_conf) {
            conf = module->create_srv_conf(cf);
            if (conf == NULL) {
                return NULL;
            }

            ctx->srv_conf[cf->cycle->modules[i]->ctx_index] = conf;
        }
    }

    cscf = ctx->srv_conf[ngx_stream_core_module.ctx_index];
    cscf->ctx = ctx;
    cscf->listen = 1;

    /* "vmess" of the stream level is not for this server */

    vscf = ctx->srv_conf[ngx_stream_vmess_module.ctx_index];
    ngx_str_set(&vscf->zone_name, "off");

    cmcf = ctx->main_conf[ngx_stream_core_module.ctx_index];

    cscfp = ngx_array_push(&cmcf->servers);
    if (cscfp == NULL) {
        return NULL;
    }

    *cscfp = cscf;

    rv = ngx_stream_vmess_proxy_pass(cf, ctx, address);

    if (rv == NGX_CONF_OK) {
        return cscf;
    }

    if (rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"vmess_fallback\" %s", rv);
    }

    return NULL;
}


ngx_int_t
ngx_stream_vmess_fallback_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_stream_core_srv_conf_t   *fallback;
    ngx_stream_vmess_srv_conf_t  *vscf, *fvscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    if (vscf->fallback_server || ngx_strcmp(vscf->fallback.data, "off") == 0) {
        return NGX_OK;
    }

    fallback = ngx_stream_vmess_listen_find(cf, &vscf->fallback);

    if (fallback == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown name \"%V\" in \"vmess_fallback\" for the "
                      "server in %s:%ui, it must be that of a server with "
                      "\"vmess_listen %V\", or an address with a port",
                      &vscf->fallback, cscf->file_name, cscf->line,
                      &vscf->fallback);
        return NGX_ERROR;
    }

    fvscf = fallback->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    if (ngx_strcmp(fvscf->zone_name.data, "off") != 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_fallback %V\" leads to the server in %s:%ui, "
                      "which terminates VMess itself, "
                      "add \"vmess off\" there",
                      &vscf->fallback, fallback->file_name, fallback->line);
        return NGX_ERROR;
    }

    vscf->fallback_server = fallback;

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_fallback_mark_handler(ngx_stream_session_t *s)
{
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    if (vscf->zone == NULL || vscf->fallback_server == NULL) {
        return NGX_DECLINED;
    }

    return ngx_stream_vmess_limit_mark(s->connection->pool) == NGX_OK
           ? NGX_DECLINED : NGX_ERROR;
}


void
ngx_stream_vmess_fallback_move(ngx_stream_session_t *s,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_connection_t             *c;
    ngx_stream_core_main_conf_t  *cmcf;

    c = s->connection;

    /* the server that goes on counts by itself */

    ngx_stream_vmess_limit_undo(c->pool);

    s->srv_conf = cscf->ctx->srv_conf;
    s->phase_handler = 0;
    s->limit_conn_status = 0;

    /* values cached for the server before */

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    ngx_memzero(s->variables, cmcf->variables.nelts
                              * sizeof(ngx_stream_variable_value_t));

    ngx_set_connection_log(c, cscf->error_log);

    c->read->handler = ngx_stream_session_handler;

    c->log->action = "initializing session";
}
