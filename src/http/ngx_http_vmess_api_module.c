
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_request.h"
#include "ngx_http_vmess_api_stats.h"
#include "ngx_http_vmess_api_list.h"
#include "ngx_http_vmess_api_user.h"
#include "ngx_http_vmess_api_bulk_edit.h"
#include "ngx_http_vmess_api_flows.h"
#include "ngx_http_vmess_api_links.h"
#include "ngx_http_vmess_api_openapi.h"


/* bytes of a path in an answer, which has not much room */

#define NGX_HTTP_VMESS_API_PATH_MAX  128


/* what stands behind the location in a path */

typedef enum {
    NGX_HTTP_VMESS_API_INDEX = 0,
    NGX_HTTP_VMESS_API_USERS,
    NGX_HTTP_VMESS_API_USER,
    NGX_HTTP_VMESS_API_KICK,
    NGX_HTTP_VMESS_API_RESET,
    NGX_HTTP_VMESS_API_NEW_TOKEN,
    NGX_HTTP_VMESS_API_USER_FLOWS,
    NGX_HTTP_VMESS_API_LINKS,
    NGX_HTTP_VMESS_API_FLOWS,
    NGX_HTTP_VMESS_API_STATS,
    NGX_HTTP_VMESS_API_OPENAPI,
    NGX_HTTP_VMESS_API_NOWHERE
} ngx_http_vmess_api_path_e;


typedef struct {
    ngx_uint_t                 path;
    ngx_uint_t                 methods;
    ngx_uint_t                 write;
    ngx_int_t                (*handler)(ngx_http_vmess_api_ctx_t *ctx);
} ngx_http_vmess_api_route_t;


static ngx_int_t ngx_http_vmess_api_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_vmess_api_is_foreign(ngx_http_request_t *r);
static ngx_str_t *ngx_http_vmess_api_find(ngx_http_request_t *r, char *key,
    size_t len);
static ngx_uint_t ngx_http_vmess_api_path(ngx_http_request_t *r,
    ngx_str_t *name);
static ngx_int_t ngx_http_vmess_api_no_path(ngx_http_request_t *r);
static ngx_uint_t ngx_http_vmess_api_action(ngx_str_t *name);
static ngx_int_t ngx_http_vmess_api_not_allowed(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t path);
static void *ngx_http_vmess_api_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_vmess_api_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_vmess_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_http_vmess_api_route_t  ngx_http_vmess_api_routes[] = {

    { NGX_HTTP_VMESS_API_INDEX, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_stats_index },

    { NGX_HTTP_VMESS_API_USERS, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_list },

    { NGX_HTTP_VMESS_API_USERS, NGX_HTTP_PUT|NGX_HTTP_PATCH, 1,
      ngx_http_vmess_api_bulk_edit },

    { NGX_HTTP_VMESS_API_USER, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_user_get },

    { NGX_HTTP_VMESS_API_USER, NGX_HTTP_PUT|NGX_HTTP_PATCH, 1,
      ngx_http_vmess_api_user_change },

    { NGX_HTTP_VMESS_API_USER, NGX_HTTP_DELETE, 1,
      ngx_http_vmess_api_user_delete },

    { NGX_HTTP_VMESS_API_KICK, NGX_HTTP_POST, 1,
      ngx_http_vmess_api_user_kick },

    { NGX_HTTP_VMESS_API_RESET, NGX_HTTP_POST, 1,
      ngx_http_vmess_api_user_reset },

    { NGX_HTTP_VMESS_API_NEW_TOKEN, NGX_HTTP_POST, 1,
      ngx_http_vmess_api_user_token },

    { NGX_HTTP_VMESS_API_USER_FLOWS, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_flows_user },

    { NGX_HTTP_VMESS_API_LINKS, NGX_HTTP_GET|NGX_HTTP_HEAD, 1,
      ngx_http_vmess_api_links },

    { NGX_HTTP_VMESS_API_FLOWS, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_flows_all },

    { NGX_HTTP_VMESS_API_STATS, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_stats_sums },

    { NGX_HTTP_VMESS_API_OPENAPI, NGX_HTTP_GET|NGX_HTTP_HEAD, 0,
      ngx_http_vmess_api_openapi },

    { NGX_HTTP_VMESS_API_NOWHERE, 0, 0, NULL }
};


static ngx_conf_bitmask_t  ngx_http_vmess_api_methods[] = {
    { ngx_string("GET"), NGX_HTTP_GET },
    { ngx_string("HEAD"), NGX_HTTP_HEAD },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_null_string, 0 }
};


static ngx_conf_bitmask_t  ngx_http_vmess_api_actions[] = {
    { ngx_string("/kick"), NGX_HTTP_VMESS_API_KICK },
    { ngx_string("/reset"), NGX_HTTP_VMESS_API_RESET },
    { ngx_string("/token"), NGX_HTTP_VMESS_API_NEW_TOKEN },
    { ngx_string("/flows"), NGX_HTTP_VMESS_API_USER_FLOWS },
    { ngx_string("/links"), NGX_HTTP_VMESS_API_LINKS },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_vmess_api_commands[] = {

    { ngx_string("vmess_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_vmess_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_vmess_api_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_vmess_api_create_loc_conf,    /* create location configuration */
    ngx_http_vmess_api_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_vmess_api_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_api_module_ctx,        /* module context */
    ngx_http_vmess_api_commands,           /* module directives */
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


static ngx_int_t
ngx_http_vmess_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_uint_t                      path;
    ngx_http_vmess_api_ctx_t       *ctx;
    ngx_http_vmess_api_route_t     *route;
    ngx_http_vmess_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_api_module);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->zone = *alcf->zone;
    ctx->write = alcf->write;

    if (ngx_http_vmess_api_init(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_vmess_api_module);

    if (ngx_http_vmess_api_is_foreign(r)) {
        return ngx_http_vmess_api_refuse(r, NGX_HTTP_FORBIDDEN, "CrossSite",
                                         "a page of another site may change "
                                         "nothing here");
    }

    path = ngx_http_vmess_api_path(r, &ctx->name);

    if (path == NGX_HTTP_VMESS_API_NOWHERE) {
        return ngx_http_vmess_api_no_path(r);
    }

    for (route = ngx_http_vmess_api_routes; route->methods; route++) {

        if (route->path == path && (route->methods & r->method)
            && (ctx->write || !route->write))
        {
            if (r->method & (NGX_HTTP_PUT|NGX_HTTP_PATCH)) {
                return route->handler(ctx);
            }

            rc = ngx_http_discard_request_body(r);

            if (rc != NGX_OK) {
                return rc;
            }

            return route->handler(ctx);
        }
    }

    return ngx_http_vmess_api_not_allowed(ctx, path);
}


/*
 * A browser has the password for this site, or is let in by its address,
 * whichever page makes it send a request.  It says which one by Fetch Metadata,
 * 2.4.  Sec-Fetch-Site, or over plain http by RFC 6454, 7.  Origin; other
 * clients say nothing.
 */

static ngx_uint_t
ngx_http_vmess_api_is_foreign(ngx_http_request_t *r)
{
    u_char     *p, *last;
    ngx_str_t  *value, *host;

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        return 0;
    }

    value = ngx_http_vmess_api_find(r, "Sec-Fetch-Site",
                                    sizeof("Sec-Fetch-Site") - 1);

    if (value) {
        return !(value->len == 11
                 && ngx_strncmp(value->data, "same-origin", 11) == 0)
               && !(value->len == 4
                    && ngx_strncmp(value->data, "none", 4) == 0);
    }

    value = ngx_http_vmess_api_find(r, "Origin", sizeof("Origin") - 1);

    if (value == NULL) {
        return 0;
    }

    /* a host and a port, as in Host: in HTTP/2 that is ":authority" */

    host = &r->headers_in.server;

    if (r->headers_in.host) {
        host = &r->headers_in.host->value;
    }

    last = value->data + value->len;
    p = ngx_strnstr(value->data, "://", value->len);

    return p == NULL
           || (size_t) (last - p) != 3 + host->len
           || ngx_strncasecmp(p + 3, host->data, host->len) != 0;
}


static ngx_str_t *
ngx_http_vmess_api_find(ngx_http_request_t *r, char *key, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) key, len) == 0)
            {
                return &h[i].value;
            }
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_vmess_api_path(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_str_t                  path;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path = r->uri;

    if (path.len >= clcf->name.len
        && ngx_strncmp(path.data, clcf->name.data, clcf->name.len) == 0)
    {
        path.data += clcf->name.len;
        path.len -= clcf->name.len;
    }

    if (path.len && path.data[0] == '/') {
        path.data++;
        path.len--;
    }

    if (path.len == 0) {
        return NGX_HTTP_VMESS_API_INDEX;
    }

    if (path.len == 5 && ngx_strncmp(path.data, "users", 5) == 0) {
        return NGX_HTTP_VMESS_API_USERS;
    }

    if (path.len == 5 && ngx_strncmp(path.data, "flows", 5) == 0) {
        return NGX_HTTP_VMESS_API_FLOWS;
    }

    if (path.len == 5 && ngx_strncmp(path.data, "stats", 5) == 0) {
        return NGX_HTTP_VMESS_API_STATS;
    }

    if (path.len == 12 && ngx_strncmp(path.data, "openapi.json", 12) == 0) {
        return NGX_HTTP_VMESS_API_OPENAPI;
    }

    if (path.len <= 6 || ngx_strncmp(path.data, "users/", 6) != 0) {
        return NGX_HTTP_VMESS_API_NOWHERE;
    }

    name->data = path.data + 6;
    name->len = path.len - 6;

    return ngx_http_vmess_api_action(name);
}


/* which may be that of another location */

static ngx_int_t
ngx_http_vmess_api_no_path(ngx_http_request_t *r)
{
    ngx_str_t                  path;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path = r->uri;
    path.len = ngx_min(path.len, NGX_HTTP_VMESS_API_PATH_MAX);

    return ngx_http_vmess_api_refuse(r, NGX_HTTP_NOT_FOUND, "NoSuchPath",
                                     "there is no \"%V\": \"vmess_api\" is in "
                                     "the location \"%V\", below which there "
                                     "are users, users/NAME, users/NAME/flows, "
                                     "users/NAME/links, users/NAME/kick, "
                                     "users/NAME/reset, users/NAME/token, "
                                     "flows, stats and openapi.json",
                                     &path, &clcf->name);
}


/* name, or name/kick; a name may have slashes */

static ngx_uint_t
ngx_http_vmess_api_action(ngx_str_t *name)
{
    size_t               len;
    ngx_conf_bitmask_t  *action;

    for (action = ngx_http_vmess_api_actions; action->name.len; action++) {

        len = action->name.len;

        if (name->len > len
            && ngx_strncmp(name->data + name->len - len, action->name.data, len)
               == 0)
        {
            name->len -= len;
            return action->mask;
        }
    }

    return NGX_HTTP_VMESS_API_USER;
}


static ngx_int_t
ngx_http_vmess_api_not_allowed(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t path)
{
    u_char                      *p, *last;
    ngx_str_t                    allow;
    ngx_uint_t                   methods, all;
    ngx_conf_bitmask_t          *m;
    ngx_http_vmess_api_route_t  *route;

    methods = 0;
    all = 0;

    for (route = ngx_http_vmess_api_routes; route->methods; route++) {

        if (route->path == path) {
            all |= route->methods;

            if (ctx->write || !route->write) {
                methods |= route->methods;
            }
        }
    }

    allow.len = sizeof("GET, HEAD, PUT, PATCH, DELETE, POST");
    allow.data = ngx_pnalloc(ctx->request->pool, allow.len);

    if (allow.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = allow.data;
    last = p + allow.len;

    for (m = ngx_http_vmess_api_methods; m->name.len; m++) {

        if (methods & m->mask) {
            p = ngx_slprintf(p, last, "%s%V", p == allow.data ? "" : ", ",
                             &m->name);
        }
    }

    allow.len = p - allow.data;

    if (ngx_http_vmess_api_header(ctx->request, "Allow", &allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (all & ~methods & ctx->request->method) {
        return ngx_http_vmess_api_refuse(ctx->request, NGX_HTTP_NOT_ALLOWED,
                                         "NotAllowed", "this location has no "
                                         "\"write\" in \"vmess_api\"");
    }

    return ngx_http_vmess_api_refuse(ctx->request, NGX_HTTP_NOT_ALLOWED,
                                     "NotAllowed", "this path has %V only",
                                     &allow);
}


static void *
ngx_http_vmess_api_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_api_loc_conf_t));
}


/* as "proxy_pass", inherited by "if" blocks, and not by locations inside */

static char *
ngx_http_vmess_api_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_vmess_api_loc_conf_t *prev = parent;
    ngx_http_vmess_api_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL && prev->zone) {
        *conf = *prev;
        clcf->handler = ngx_http_vmess_api_handler;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_vmess_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_vmess_api_loc_conf_t *alcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (alcf->zone) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts == 3) {

        if (ngx_strcmp(value[2].data, "write") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" in \"vmess_api\", "
                               "there is \"write\"", &value[2]);
            return NGX_CONF_ERROR;
        }

        alcf->write = 1;
    }

    alcf->zone = ngx_vmess_zone_refer(cf, &value[1]);
    if (alcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = ngx_http_vmess_api_handler;

    if (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/') {
        clcf->auto_redirect = 1;
    }

    return NGX_CONF_OK;
}
