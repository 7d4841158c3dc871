
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_request.h"
#include "ngx_http_vmess_subscription.h"
#include "ngx_http_vmess_subscription_page.h"


#define NGX_HTTP_VMESS_SUBSCRIPTION_INTERVAL  (12 * 3600)
#define NGX_HTTP_VMESS_SUBSCRIPTION_TITLE     64


static ngx_int_t ngx_http_vmess_subscription_hide(ngx_http_request_t *r);
static u_char *ngx_http_vmess_subscription_log(ngx_http_request_t *r,
    ngx_http_request_t *sr, u_char *buf, size_t len);
static ngx_int_t ngx_http_vmess_subscription_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_subscription_split(
    ngx_http_vmess_subscription_ctx_t *ctx);
static ngx_uint_t ngx_http_vmess_subscription_format(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_subscription_send(
    ngx_http_vmess_subscription_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_subscription_init(ngx_conf_t *cf);
static void *ngx_http_vmess_subscription_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_vmess_subscription_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_vmess_subscription_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_vmess_subscription_set_title(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_http_vmess_subscription_set_url(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


extern ngx_module_t  ngx_http_vmess_subscription_module;


static ngx_vmess_param_t  ngx_http_vmess_subscription_params[] = {

    { ngx_string("title="), ngx_http_vmess_subscription_set_title,
      offsetof(ngx_http_vmess_subscription_loc_conf_t, title), 0, 0,
      "a text of 1 to 64 bytes without control characters", NULL, 0 },

    { ngx_string("url="), ngx_http_vmess_subscription_set_url,
      offsetof(ngx_http_vmess_subscription_loc_conf_t, url), 0, 0,
      "what clients have before the token, with a slash at its end, such as "
      "\"https://example.com/sub/\"", NULL, 0 },

    { ngx_string("interval="), ngx_vmess_param_sec,
      offsetof(ngx_http_vmess_subscription_loc_conf_t, interval),
      3600, 365 * 86400, "a time from 1h to 365d", NULL, 0 },

      ngx_vmess_null_param
};


static ngx_command_t  ngx_http_vmess_subscription_commands[] = {

    { ngx_string("vmess_subscription"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_vmess_subscription_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_vmess_subscription_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_vmess_subscription_init,      /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_vmess_subscription_create_loc_conf,
                                           /* create location configuration */
    ngx_http_vmess_subscription_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_vmess_subscription_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_subscription_module_ctx,  /* module context */
    ngx_http_vmess_subscription_commands,  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ngx_http_vmess_subscription_accept = ngx_string("Accept");


/* nginx adds the request to whatever is logged, and it has the token */

static ngx_int_t
ngx_http_vmess_subscription_hide(ngx_http_request_t *r)
{
    ngx_http_vmess_subscription_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_subscription_module);

    if (slcf->zone) {
        r->log_handler = ngx_http_vmess_subscription_log;
    }

    return NGX_DECLINED;
}


static u_char *
ngx_http_vmess_subscription_log(ngx_http_request_t *r, ngx_http_request_t *sr,
    u_char *buf, size_t len)
{
    u_char                    *p, *last;
    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_core_loc_conf_t  *clcf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    last = buf + len;

    p = ngx_slprintf(buf, last, ", server: %V", &cscf->server_name);
    p = ngx_slprintf(p, last, ", request: \"%V %V...\"", &r->method_name,
                     &clcf->name);

    if (r->headers_in.host) {
        p = ngx_slprintf(p, last, ", host: \"%V\"",
                         &r->headers_in.host->value);
    }

    return p;
}


/* comes before the content of the location, which others get */

static ngx_int_t
ngx_http_vmess_subscription_handler(ngx_http_request_t *r)
{
    ngx_int_t                                rc;
    ngx_http_vmess_subscription_ctx_t       *ctx;
    ngx_http_vmess_subscription_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_subscription_module);

    if (slcf->zone == NULL || r != r->main
        || !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_subscription_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->zone = *slcf->zone;

    if (ngx_http_vmess_subscription_split(ctx) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_http_vmess_subscription_load(ctx, slcf);

    if (rc == NGX_DECLINED) {
        ngx_http_vmess_subscription_wipe(ctx);
        return NGX_DECLINED;
    }

    rc = (rc == NGX_OK) ? ngx_http_vmess_subscription_send(ctx)
                        : NGX_HTTP_INTERNAL_SERVER_ERROR;

    ngx_http_vmess_subscription_wipe(ctx);

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


/* the token is all that follows the name of the location */

static ngx_int_t
ngx_http_vmess_subscription_split(ngx_http_vmess_subscription_ctx_t *ctx)
{
    size_t                     len;
    ngx_str_t                 *uri;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_core_module);

    uri = &ctx->request->uri;
    len = clcf->name.len;

    if (uri->len < len
        || ngx_memcmp(uri->data, clcf->name.data, len) != 0)
    {
        return NGX_DECLINED;
    }

    if (uri->len > len && uri->data[len] == '/') {
        len++;
    }

    ctx->prefix.data = uri->data;
    ctx->prefix.len = len;

    ctx->token.data = uri->data + len;
    ctx->token.len = uri->len - len;

    return ctx->token.len ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_vmess_subscription_format(ngx_http_request_t *r)
{
    ngx_str_t  format, agent, *accept, none;

    ngx_str_null(&none);
    ngx_str_null(&format);

    (void) ngx_http_arg(r, (u_char *) "format", 6, &format);

    accept = ngx_http_vmess_request_header(r,
                                         &ngx_http_vmess_subscription_accept);
    agent = r->headers_in.user_agent ? r->headers_in.user_agent->value : none;

    return ngx_vmess_choice_format(&format, accept ? accept : &none, &agent);
}


static ngx_int_t
ngx_http_vmess_subscription_send(ngx_http_vmess_subscription_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t           *type;
    ngx_chain_t         *out, *cl;
    ngx_http_request_t  *r;

    static ngx_str_t     html = ngx_string("text/html; charset=utf-8");

    r = ctx->request;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->format = ngx_http_vmess_subscription_format(r);

    if (ngx_http_vmess_subscription_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->format == NGX_VMESS_CHOICE_PAGE) {

        if (ngx_http_vmess_subscription_page_headers(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        out = ngx_http_vmess_subscription_page(ctx);
        type = &html;

    } else {
        out = ngx_http_vmess_subscription_profile(ctx);
        type = ngx_vmess_profile_type(ctx->format);
    }

    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.content_length_n = 0;

    for (cl = out; cl; cl = cl->next) {
        r->headers_out.content_length_n += ngx_buf_size(cl->buf);
    }

    if (r->headers_out.content_length_n == 0) {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


static ngx_int_t
ngx_http_vmess_subscription_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_vmess_subscription_hide;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_vmess_subscription_handler;

    return NGX_OK;
}


static void *
ngx_http_vmess_subscription_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool,
                       sizeof(ngx_http_vmess_subscription_loc_conf_t));
}


/* as "proxy_pass", inherited by "if" blocks, and not by locations inside */

static char *
ngx_http_vmess_subscription_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_vmess_subscription_loc_conf_t *prev = parent;
    ngx_http_vmess_subscription_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && prev->zone) {
        *conf = *prev;
    }

    return NGX_CONF_OK;
}


/* vmess_subscription zone [parameter ...]; */

static char *
ngx_http_vmess_subscription_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_vmess_subscription_loc_conf_t *slcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 prefix;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t           where = ngx_string("in \"vmess_subscription\"");

    if (slcf->zone) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    prefix = !clcf->exact_match && !clcf->named;

#if (NGX_PCRE)
    prefix &= (clcf->regex == NULL);
#endif

    if (!prefix) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"vmess_subscription\" needs a location that is a "
                           "prefix, such as \"location /sub/\": the token "
                           "follows it");
        return NGX_CONF_ERROR;
    }

    slcf->interval = NGX_HTTP_VMESS_SUBSCRIPTION_INTERVAL;

    if (ngx_vmess_param_args(cf) != NGX_OK
        || ngx_vmess_param_parse(cf, 2, ngx_http_vmess_subscription_params,
                                 slcf, &where, NULL)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    slcf->zone = ngx_vmess_zone_refer(cf, &value[1]);

    return slcf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_vmess_subscription_set_title(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_str_t *title = field;

    size_t  i;

    if (value->len == 0 || value->len > NGX_HTTP_VMESS_SUBSCRIPTION_TITLE) {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] < 0x20 || value->data[i] == 0x7f) {
            return NGX_DECLINED;
        }
    }

    *title = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_subscription_set_url(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_str_t *url = field;

    size_t  i;

    if ((ngx_strncmp(value->data, "https://", 8) != 0
         && ngx_strncmp(value->data, "http://", 7) != 0)
        || value->data[value->len - 1] != '/')
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= 0x20 || value->data[i] >= 0x7f
            || value->data[i] == '"' || value->data[i] == '\\')
        {
            return NGX_DECLINED;
        }
    }

    *url = *value;

    return NGX_OK;
}
