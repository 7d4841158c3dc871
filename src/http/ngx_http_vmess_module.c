
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_ws.h"
#include "ngx_http_vmess_h2.h"
#include "ngx_http_vmess_grpc.h"
#include "ngx_http_vmess_xhttp.h"


static ngx_int_t ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static ngx_http_vmess_ctx_t *ngx_http_vmess_create_ctx(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_handler(ngx_http_request_t *r);

static ngx_int_t ngx_http_vmess_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_vmess_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_vmess_init_process(ngx_cycle_t *cycle);
static void *ngx_http_vmess_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_vmess_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_vmess_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_vmess_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_bitmask_t  ngx_http_vmess_transport_masks[] = {
    { ngx_string("websocket"), NGX_HTTP_VMESS_WEBSOCKET },
    { ngx_string("httpupgrade"), NGX_HTTP_VMESS_HTTPUPGRADE },
    { ngx_string("xhttp"), NGX_HTTP_VMESS_XHTTP },
    { ngx_string("grpc"), NGX_HTTP_VMESS_GRPC },
    { ngx_string("http"), NGX_HTTP_VMESS_HTTP },
    { ngx_null_string, 0 }
};


static const ngx_http_vmess_transport_t  *ngx_http_vmess_transports[] = {
    &ngx_http_vmess_ws_transport,
    &ngx_http_vmess_upgrade_transport,
    &ngx_http_vmess_xhttp_transport,
    &ngx_http_vmess_grpc_transport,
    &ngx_http_vmess_h2_transport,
    &ngx_http_vmess_h2_raw_transport,
    NULL
};


static ngx_command_t  ngx_http_vmess_commands[] = {

    { ngx_string("vmess_pass"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_vmess_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_vmess_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_vmess_init,                   /* postconfiguration */

    ngx_http_vmess_create_main_conf,       /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_vmess_create_loc_conf,        /* create location configuration */
    ngx_http_vmess_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_vmess_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_module_ctx,            /* module context */
    ngx_http_vmess_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_vmess_init_module,            /* init module */
    ngx_http_vmess_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * In the place of ngx_http_core_rewrite_phase() for locations: a request that
 * may be VMess passes by "return" and others of the rewrite module, and comes
 * back to them if it is not.
 */

static ngx_int_t
ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    ngx_http_vmess_ctx_t       *ctx;
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->listen == NULL || r != r->main
        || ngx_http_get_module_ctx(r, ngx_http_vmess_module)
        || ngx_http_vmess_lookup(r)
        || !(r->headers_in.upgrade || r->headers_in.chunked
             || r->method == NGX_HTTP_PUT
             || ngx_http_vmess_xhttp_candidate(r)))
    {
        return ngx_http_core_rewrite_phase(r, ph);
    }

    ctx = ngx_http_vmess_create_ctx(r);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }

    ctx->rewrite = r->phase_handler;

    r->phase_handler = ph->next;

    return NGX_AGAIN;
}


static ngx_http_vmess_ctx_t *
ngx_http_vmess_create_ctx(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_ctx_t));

    if (ctx) {
        ctx->request = r;
        ngx_http_set_ctx(r, ctx, ngx_http_vmess_module);
    }

    return ctx;
}


/* before the content phase: what is not VMess goes on to the ordinary content */

static ngx_int_t
ngx_http_vmess_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_vmess_ctx_t               *ctx;
    ngx_http_vmess_loc_conf_t          *vlcf;
    const ngx_http_vmess_transport_t  **transport;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->listen == NULL || r != r->main || ngx_http_vmess_lookup(r)) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    if (ctx == NULL) {
        ctx = ngx_http_vmess_create_ctx(r);

        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ctx->state != NGX_HTTP_VMESS_NEW) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    for (transport = ngx_http_vmess_transports; *transport; transport++) {

        if (vlcf->transports & (*transport)->mask) {
            rc = (*transport)->handler(r, ctx);

            if (rc != NGX_DECLINED || ctx->state != NGX_HTTP_VMESS_NEW) {
                break;
            }
        }
    }

    if (rc == NGX_DECLINED) {

        ngx_http_vmess_set_state(ctx, NGX_HTTP_VMESS_DECLINED);

        if (ctx->rewrite) {

            /* the phase engine adds one */

            r->phase_handler = ctx->rewrite - 1;
        }
    }

    return rc;
}


static ngx_int_t
ngx_http_vmess_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_vmess_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_init_module(ngx_cycle_t *cycle)
{
    ngx_http_phase_handler_t    *ph;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_vmess_module);

    if (vmcf == NULL || !vmcf->passes) {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    for (ph = &cmcf->phase_engine.handlers[
                                      cmcf->phase_engine.location_rewrite_index];
         ph->checker == ngx_http_core_rewrite_phase;
         ph++)
    {
        ph->checker = ngx_http_vmess_rewrite_phase;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_init_process(ngx_cycle_t *cycle)
{
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_vmess_module);

    if (vmcf && vmcf->passes) {
        ngx_http_vmess_link_init();
    }

    return NGX_OK;
}


static void *
ngx_http_vmess_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_main_conf_t));
}


static void *
ngx_http_vmess_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_loc_conf_t));
}


/* as "proxy_pass", inherited by "if" blocks, and not by locations inside */

static char *
ngx_http_vmess_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_vmess_loc_conf_t *prev = parent;
    ngx_http_vmess_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->listen == NULL) {
        *conf = *prev;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_vmess_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_vmess_loc_conf_t *vlcf = conf;

    ngx_str_t           *value, s;
    ngx_uint_t           i, k;
    ngx_vmess_conf_t    *vcf;
    ngx_vmess_pass_t    *pass;
    ngx_conf_bitmask_t  *mask;

    ngx_http_vmess_main_conf_t  *vmcf;
#if (NGX_PCRE)
    ngx_http_core_loc_conf_t    *clcf;
#endif

    if (vlcf->transports) {
        return "is duplicate";
    }

    value = cf->args->elts;
    mask = ngx_http_vmess_transport_masks;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    vlcf->listen = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_listen_t *));
    pass = ngx_array_push(&vcf->passes);

    if (vlcf->listen == NULL || pass == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_strchr(value[1].data, ':') || ngx_strchr(value[1].data, '/')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"vmess_pass\", it must be "
                           "that of a stream server with \"vmess_listen\", and "
                           "no address", &value[1]);
        return NGX_CONF_ERROR;
    }

    pass->name = value[1];
    pass->listen = vlcf->listen;
    pass->file_name = cf->conf_file->file.name.data;
    pass->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "early_data=", 11) == 0
            && value[i].len > 11)
        {
            vlcf->early_data.data = value[i].data + 11;
            vlcf->early_data.len = value[i].len - 11;

            if (ngx_atoi(vlcf->early_data.data, vlcf->early_data.len)
                != NGX_ERROR)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\" in \"vmess_pass\", it must "
                                   "be the name of a header, any size is taken",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "heartbeat=", 10) == 0) {
            s.data = value[i].data + 10;
            s.len = value[i].len - 10;

            vlcf->heartbeat = ngx_parse_time(&s, 0);

            if (vlcf->heartbeat == (ngx_msec_t) NGX_ERROR
                || vlcf->heartbeat == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\" in \"vmess_pass\", it must "
                                   "be a time as \"heartbeat=30s\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        for (k = 0; mask[k].name.len; k++) {

            if (mask[k].name.len == value[i].len
                && ngx_strcmp(mask[k].name.data, value[i].data) == 0)
            {
                vlcf->transports |= mask[k].mask;
                break;
            }
        }

        if (mask[k].name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown transport \"%V\" in \"vmess_pass\", it "
                               "must be \"websocket\", \"httpupgrade\", "
                               "\"xhttp\", \"grpc\" or \"http\"; parameters "
                               "are \"early_data=header\" and "
                               "\"heartbeat=time\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

#if (NGX_PCRE)

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if ((vlcf->transports & NGX_HTTP_VMESS_XHTTP) && clcf->regex) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"xhttp\" in \"vmess_pass\" has no effect in the "
                           "location \"%V\", it needs one that is a prefix",
                           &clcf->name);
    }

#endif

    if (vlcf->transports == 0) {
        vlcf->transports = NGX_CONF_BITMASK_SET
                           |NGX_HTTP_VMESS_WEBSOCKET
                           |NGX_HTTP_VMESS_HTTPUPGRADE
                           |NGX_HTTP_VMESS_XHTTP
                           |NGX_HTTP_VMESS_GRPC
                           |NGX_HTTP_VMESS_HTTP;
    }

    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    vmcf->passes = 1;

    return NGX_CONF_OK;
}
