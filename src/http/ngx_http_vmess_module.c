
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_link.h"
#include "ngx_http_vmess_rewrite.h"
#include "ngx_http_vmess_explain.h"
#include "ngx_http_vmess_share.h"
#include "ngx_vmess_param.h"


static ngx_int_t ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static ngx_uint_t ngx_http_vmess_candidate(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_preaccess_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static ngx_int_t ngx_http_vmess_access_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static ngx_int_t ngx_http_vmess_access(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph, ngx_http_phase_handler_pt checker);
static ngx_http_vmess_ctx_t *ngx_http_vmess_passing(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_access_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_go_back(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_post_access_phase(ngx_http_request_t *r,
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
static ngx_int_t ngx_http_vmess_early_data(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


static ngx_vmess_param_t  ngx_http_vmess_pass_params[] = {

    { ngx_string("websocket"), ngx_vmess_param_word,
      offsetof(ngx_http_vmess_loc_conf_t, transports),
      NGX_HTTP_VMESS_WEBSOCKET, 0, NULL, NULL, 0 },

    { ngx_string("httpupgrade"), ngx_vmess_param_word,
      offsetof(ngx_http_vmess_loc_conf_t, transports),
      NGX_HTTP_VMESS_HTTPUPGRADE, 0, NULL, NULL, 0 },

    { ngx_string("xhttp"), ngx_vmess_param_word,
      offsetof(ngx_http_vmess_loc_conf_t, transports),
      NGX_HTTP_VMESS_XHTTP, 0, NULL, NULL, 0 },

    { ngx_string("grpc"), ngx_vmess_param_word,
      offsetof(ngx_http_vmess_loc_conf_t, transports),
      NGX_HTTP_VMESS_GRPC, 0, NULL, NULL, 0 },

    { ngx_string("http"), ngx_vmess_param_word,
      offsetof(ngx_http_vmess_loc_conf_t, transports),
      NGX_HTTP_VMESS_HTTP, 0, NULL, NULL, 0 },

    { ngx_string("early_data="), ngx_http_vmess_early_data,
      offsetof(ngx_http_vmess_loc_conf_t, early_data), 0, 0,
      "the name of a header, any size is taken", NULL, 0 },

    { ngx_string("heartbeat="), ngx_vmess_param_msec,
      offsetof(ngx_http_vmess_loc_conf_t, heartbeat), 1000, 86400000,
      "a time from \"1s\" to \"1d\"", NULL, 0 },

      ngx_vmess_null_param
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

    { ngx_string("vmess_share"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_vmess_share,
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
 * Replaces ngx_http_core_rewrite_phase() for locations: a request that may be
 * VMess passes by "return" and others of the rewrite module, but for the "set"
 * before them, and comes back to them if it is not.
 */

static ngx_int_t
ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    ngx_uint_t                  candidate;
    ngx_http_vmess_ctx_t       *ctx;
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    if (ctx && r == r->main) {
        ngx_http_vmess_rewrite_restore(ctx);
    }

    if (vlcf->listen == NULL || r != r->main || ctx
        || ngx_http_vmess_request_lookup(r))
    {
        return ngx_http_core_rewrite_phase(r, ph);
    }

    candidate = ngx_http_vmess_candidate(r);

    if (!candidate && !ngx_http_vmess_explain_request(r)) {
        return ngx_http_core_rewrite_phase(r, ph);
    }

    ctx = ngx_http_vmess_create_ctx(r);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }

    if (!candidate) {
        ctx->explained = 1;
        return ngx_http_core_rewrite_phase(r, ph);
    }

    ctx->rewrite = r->phase_handler;

    if (ngx_http_vmess_rewrite_set(ctx) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }

    r->phase_handler = ph->next;

    return NGX_AGAIN;
}


/* 1 if it may be a request of a client of one of the transports */

static ngx_uint_t
ngx_http_vmess_candidate(ngx_http_request_t *r)
{
    ngx_http_vmess_loc_conf_t          *vlcf;
    const ngx_http_vmess_transport_t  **transport;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    for (transport = ngx_http_vmess_transports; *transport; transport++) {

        if ((vlcf->transports & (*transport)->mask)
            && (*transport)->candidate(r))
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Replaces the checkers of limits and of access: a candidate that they refuse
 * goes back to the rewrite module, and is refused by them only if any other
 * request would be.
 */

static ngx_int_t
ngx_http_vmess_preaccess_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    return ngx_http_vmess_access(r, ph, ngx_http_core_generic_phase);
}


static ngx_int_t
ngx_http_vmess_access_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    return ngx_http_vmess_access(r, ph, ngx_http_core_access_phase);
}


static ngx_int_t
ngx_http_vmess_access(ngx_http_request_t *r, ngx_http_phase_handler_t *ph,
    ngx_http_phase_handler_pt checker)
{
    ngx_int_t                  rc;
    ngx_uint_t                 limit_conn, limit_req;
    ngx_http_vmess_ctx_t      *ctx;
    ngx_http_phase_handler_t   copy;
    ngx_http_core_loc_conf_t  *clcf;

    ctx = ngx_http_vmess_passing(r);

    if (ctx == NULL) {
        return checker(r, ph);
    }

    limit_conn = r->limit_conn_status;
    limit_req = r->limit_req_status;

    rc = ph->handler(r);

    if (rc == NGX_AGAIN || rc == NGX_DONE) {
        return NGX_OK;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    /* a handler may also have answered on its own */

    if (rc == NGX_OK || rc == NGX_DECLINED || r->header_sent
        || (clcf->satisfy == NGX_HTTP_SATISFY_ANY
            && (rc == NGX_HTTP_FORBIDDEN || rc == NGX_HTTP_UNAUTHORIZED)))
    {
        copy = *ph;
        copy.handler = ngx_http_vmess_access_handler;

        ctx->access = rc;

        return checker(r, &copy);
    }

    /* the limit that has refused it will be asked once more */

    r->limit_conn_status = limit_conn;
    r->limit_req_status = limit_req;

    return ngx_http_vmess_go_back(r, ctx);
}


/* the context of a candidate that has passed by the rewrite module, or NULL */

static ngx_http_vmess_ctx_t *
ngx_http_vmess_passing(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    return ctx && r == r->main && ctx->rewrite
           && ctx->state == NGX_HTTP_VMESS_NEW
           ? ctx : NULL;
}


static ngx_int_t
ngx_http_vmess_access_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    return ctx->access;
}


static ngx_int_t
ngx_http_vmess_go_back(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_DECLINED);

    ngx_http_vmess_compat_clear_authenticate(r);

    r->phase_handler = ctx->rewrite;

    return NGX_AGAIN;
}


/* with "satisfy any" */

static ngx_int_t
ngx_http_vmess_post_access_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_passing(r);

    if (ctx == NULL || r->access_code == 0) {
        return ngx_http_core_post_access_phase(r, ph);
    }

    r->access_code = 0;

    return ngx_http_vmess_go_back(r, ctx);
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


/* before the content phase: what is not VMess goes on to ordinary content */

static ngx_int_t
ngx_http_vmess_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_vmess_ctx_t               *ctx;
    ngx_http_vmess_loc_conf_t          *vlcf;
    const ngx_http_vmess_transport_t  **transport;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->listen == NULL || r != r->main
        || ngx_http_vmess_request_lookup(r))
    {
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

        if ((vlcf->transports & (*transport)->mask)
            && (*transport)->candidate(r))
        {
            rc = (*transport)->handler(r, ctx);

            if (rc != NGX_DECLINED || ctx->state != NGX_HTTP_VMESS_NEW) {
                break;
            }
        }
    }

    if (rc == NGX_DECLINED) {

        if (ctx->state == NGX_HTTP_VMESS_NEW && !ctx->explained) {
            ctx->explained = ngx_http_vmess_explain_request(r);
        }

        ngx_http_vmess_request_set_state(ctx, NGX_HTTP_VMESS_DECLINED);

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
    ngx_uint_t                          i;
    ngx_http_handler_pt                *h;
    ngx_http_vmess_pass_t              *pass;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_vmess_main_conf_t         *vmcf;
    const ngx_http_vmess_transport_t  **transport;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    pass = vmcf->passes.elts;

    for (i = 0; i < vmcf->passes.nelts; i++) {

        for (transport = ngx_http_vmess_transports; *transport; transport++) {

            if ((*transport)->check
                && (pass[i].vlcf->transports & (*transport)->mask)
                && !(pass[i].vlcf->transports & NGX_CONF_BITMASK_SET))
            {
                (*transport)->check(cf, &pass[i]);
            }
        }
    }

    if (ngx_http_vmess_share_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

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

    if (vmcf == NULL || vmcf->passes.nelts == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    ph = &cmcf->phase_engine.handlers[
                                     cmcf->phase_engine.location_rewrite_index];

    for ( /* void */ ; ph->checker == ngx_http_core_rewrite_phase; ph++) {
        ph->checker = ngx_http_vmess_rewrite_phase;
    }

    /* behind ngx_http_core_post_rewrite_phase() */

    for ( /* void */ ; ph->checker; ph++) {

        if (ph->checker == ngx_http_core_generic_phase) {
            ph->checker = ngx_http_vmess_preaccess_phase;

        } else if (ph->checker == ngx_http_core_access_phase) {
            ph->checker = ngx_http_vmess_access_phase;

        } else if (ph->checker == ngx_http_core_post_access_phase) {
            ph->checker = ngx_http_vmess_post_access_phase;
            break;
        }

        if (ph->checker == ngx_http_core_content_phase) {
            break;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_init_process(ngx_cycle_t *cycle)
{
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_vmess_module);

    if (vmcf && vmcf->passes.nelts) {
        ngx_http_vmess_link_init();
    }

    return NGX_OK;
}


static void *
ngx_http_vmess_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_main_conf_t));
    if (vmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&vmcf->passes, cf->pool, 1,
                       sizeof(ngx_http_vmess_pass_t))
        != NGX_OK)
    {
        return NULL;
    }

    return vmcf;
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

    ngx_str_t                          *value;
    ngx_vmess_conf_t                   *vcf;
    ngx_vmess_pass_t                   *pass;
    ngx_http_vmess_pass_t              *hpass;
    ngx_http_vmess_main_conf_t         *vmcf;
    const ngx_http_vmess_transport_t  **transport;
    static ngx_str_t                    where =
                                            ngx_string("in \"vmess_pass\"");

    if (vlcf->transports) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    vlcf->location = ngx_http_conf_get_module_loc_conf(cf,
                                                       ngx_http_core_module);
    vlcf->listen = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_listen_t *));
    pass = ngx_array_push(&vcf->passes);
    hpass = ngx_array_push(&vmcf->passes);

    if (vlcf->listen == NULL || pass == NULL || hpass == NULL) {
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

    hpass->vlcf = vlcf;
    hpass->cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    hpass->file_name = pass->file_name;
    hpass->line = pass->line;

    if (ngx_vmess_param_parse(cf, 2, ngx_http_vmess_pass_params, vlcf, &where,
                              NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (vlcf->transports == 0) {

        vlcf->transports = NGX_CONF_BITMASK_SET;

        for (transport = ngx_http_vmess_transports; *transport; transport++) {
            vlcf->transports |= (*transport)->mask;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_vmess_early_data(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_str_t *name = field;

    u_char      ch;
    ngx_uint_t  i;

    if (value->len == 0 || ngx_atoi(value->data, value->len) != NGX_ERROR) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        ch = ngx_tolower(value->data[i]);

        if ((ch < 'a' || ch > 'z') && (ch < '0' || ch > '9')
            && ch != '-' && ch != '_')
        {
            return NGX_DECLINED;
        }
    }

    *name = *value;

    return NGX_OK;
}
