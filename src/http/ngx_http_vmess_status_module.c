
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status.h"
#include "ngx_http_vmess_status_page.h"
#include "ngx_http_vmess_api_list.h"
#include "ngx_vmess_param.h"


#define NGX_HTTP_VMESS_STATUS_USERS  1000


typedef struct {
    ngx_vmess_zone_t              **zone;  /* NULL: no vmess_status here */
    ngx_uint_t                      users; /* with metrics of their own */
    ngx_http_vmess_status_places_t  places;
    ngx_http_vmess_status_page_t   *page;
} ngx_http_vmess_status_loc_conf_t;


/* what is in Accept, and the format that is meant */

typedef struct {
    ngx_str_t                  type;
    ngx_uint_t                 format;
} ngx_http_vmess_status_accept_t;


static ngx_int_t ngx_http_vmess_status_handler(ngx_http_request_t *r);
static ngx_http_vmess_api_ctx_t *ngx_http_vmess_status_create_ctx(
    ngx_http_request_t *r, ngx_vmess_zone_t *zone);
static ngx_int_t ngx_http_vmess_status_not_allowed(ngx_http_request_t *r);
static void ngx_http_vmess_status_path(ngx_http_request_t *r, ngx_str_t *path);
static ngx_uint_t ngx_http_vmess_status_is_user(ngx_str_t *path,
    ngx_str_t *name);
static ngx_http_vmess_status_format_t *ngx_http_vmess_status_format(
    ngx_str_t *name);
static ngx_http_vmess_status_format_t *ngx_http_vmess_status_accepted(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_status_names(ngx_http_request_t *r,
    ngx_uint_t *names);
static ngx_int_t ngx_http_vmess_status_max(ngx_http_request_t *r,
    ngx_uint_t *max);
static ngx_int_t ngx_http_vmess_status_place(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static void *ngx_http_vmess_status_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_vmess_status_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_vmess_status_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_http_vmess_status_format_t  ngx_http_vmess_status_formats[] = {

    { ngx_string("json"),
      ngx_string("application/json"),
      ngx_http_vmess_status_json, 0 },

    { ngx_string("prometheus"),
      ngx_string("text/plain; version=0.0.4; charset=utf-8"),
      ngx_http_vmess_status_metrics, 0 },

    { ngx_string("openmetrics"),
      ngx_string("application/openmetrics-text; version=1.0.0; charset=utf-8"),
      ngx_http_vmess_status_metrics, 1 },

    { ngx_string("html"),
      ngx_string("text/html"),
      NULL, 0 },                           /* the page */

    { ngx_null_string, ngx_null_string, NULL, 0 }
};


/* the first that is accepted, whatever else is, and how much */

static ngx_http_vmess_status_accept_t  ngx_http_vmess_status_accepts[] = {
    { ngx_string("application/openmetrics-text"), 2 },
    { ngx_string("application/json"), 0 },
    { ngx_string("text/html"), 3 },
    { ngx_string("text/plain"), 1 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_vmess_status_named[] = {
    { ngx_string("nginx"), NGX_HTTP_VMESS_STATUS_NGINX },
    { ngx_string("xray"), NGX_HTTP_VMESS_STATUS_XRAY },
    { ngx_string("v2ray"), NGX_HTTP_VMESS_STATUS_V2RAY },
    { ngx_null_string, 0 }
};


static ngx_vmess_param_t  ngx_http_vmess_status_params[] = {

    { ngx_string("users="), ngx_vmess_param_number,
      offsetof(ngx_http_vmess_status_loc_conf_t, users), 0, 1000000,
      "a number of users up to 1000000", NULL, 0 },

    { ngx_string("api="), ngx_http_vmess_status_place,
      offsetof(ngx_http_vmess_status_loc_conf_t, places.api), 0, 0,
      "the path of a location with \"vmess_api\", such as \"/api/\"", NULL,
      0 },

    { ngx_string("subscription="), ngx_http_vmess_status_place,
      offsetof(ngx_http_vmess_status_loc_conf_t, places.subscription), 1, 0,
      "what stands before the token in addresses of subscriptions, a path such "
      "as \"/sub/\" or \"https://example.com/sub/\"", NULL, 0 },

      ngx_vmess_null_param
};


static ngx_command_t  ngx_http_vmess_status_commands[] = {

    { ngx_string("vmess_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1234,
      ngx_http_vmess_status_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_vmess_status_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_vmess_status_create_loc_conf, /* create location configuration */
    ngx_http_vmess_status_merge_loc_conf   /* merge location configuration */
};


ngx_module_t  ngx_http_vmess_status_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_status_module_ctx,     /* module context */
    ngx_http_vmess_status_commands,        /* module directives */
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
ngx_http_vmess_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                          rc;
    ngx_str_t                          path;
    ngx_uint_t                         names, max;
    ngx_http_vmess_api_ctx_t          *ctx;
    ngx_http_vmess_status_format_t    *format;
    ngx_http_vmess_status_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_status_module);

    ctx = ngx_http_vmess_status_create_ctx(r, *slcf->zone);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_vmess_status_not_allowed(r);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_vmess_status_path(r, &path);

    if (path.len == 5 && ngx_strncmp(path.data, "users", 5) == 0) {
        return ngx_http_vmess_api_list(ctx);
    }

    if (ngx_http_vmess_status_is_user(&path, &ctx->name)) {
        return ngx_http_vmess_status_history(ctx);
    }

    if (path.len) {
        format = ngx_http_vmess_status_format(&path);

        if (format == NULL) {
            return ngx_http_vmess_api_refuse(r, NGX_HTTP_NOT_FOUND,
                                             "NoSuchPath",
                                             "there are html, json, "
                                             "prometheus, openmetrics, users "
                                             "and users/NAME/history");
        }

    } else if (ngx_http_arg(r, (u_char *) "format", 6, &path) == NGX_OK) {
        format = ngx_http_vmess_status_format(&path);

        if (format == NULL) {
            return ngx_http_vmess_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                             "InvalidArgument",
                                             "\"format\" must be html, json, "
                                             "prometheus or openmetrics");
        }

    } else {
        format = ngx_http_vmess_status_accepted(r);
    }

    if (format->write == NULL) {
        return ngx_http_vmess_status_page_send(r, slcf->page);
    }

    if (ngx_http_vmess_status_names(r, &names) != NGX_OK) {
        return ngx_http_vmess_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "InvalidArgument",
                                         "\"names\" must be nginx, xray or "
                                         "v2ray");
    }

    max = slcf->users;

    if (ngx_http_vmess_status_max(r, &max) != NGX_OK) {
        return ngx_http_vmess_api_refuse(r, NGX_HTTP_BAD_REQUEST,
                                         "InvalidArgument",
                                         "\"users\" must be a number");
    }

    return ngx_http_vmess_status(ctx, format, names, max, &slcf->places);
}


/* lists, errors and streams are those of the API, which is read only here */

static ngx_http_vmess_api_ctx_t *
ngx_http_vmess_status_create_ctx(ngx_http_request_t *r, ngx_vmess_zone_t *zone)
{
    ngx_http_vmess_api_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_api_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->zone = zone;

    if (ngx_http_vmess_api_init(ctx) != NGX_OK) {
        return NULL;
    }

    ngx_http_set_ctx(r, ctx, ngx_http_vmess_api_module);

    return ctx;
}


static ngx_int_t
ngx_http_vmess_status_not_allowed(ngx_http_request_t *r)
{
    ngx_str_t  allow;

    ngx_str_set(&allow, "GET, HEAD");

    if (ngx_http_vmess_api_header(r, "Allow", &allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_vmess_api_refuse(r, NGX_HTTP_NOT_ALLOWED, "NotAllowed",
                                     "this path has %V only", &allow);
}


/* what stands behind the location */

static void
ngx_http_vmess_status_path(ngx_http_request_t *r, ngx_str_t *path)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    *path = r->uri;

    if (path->len >= clcf->name.len
        && ngx_strncmp(path->data, clcf->name.data, clcf->name.len) == 0)
    {
        path->data += clcf->name.len;
        path->len -= clcf->name.len;
    }

    if (path->len && path->data[0] == '/') {
        path->data++;
        path->len--;
    }
}


/* users/NAME/history; a name may have slashes */

static ngx_uint_t
ngx_http_vmess_status_is_user(ngx_str_t *path, ngx_str_t *name)
{
    size_t  head, tail;

    head = sizeof("users/") - 1;
    tail = sizeof("/history") - 1;

    if (path->len <= head + tail
        || ngx_strncmp(path->data, "users/", head) != 0
        || ngx_strncmp(path->data + path->len - tail, "/history", tail) != 0)
    {
        return 0;
    }

    name->data = path->data + head;
    name->len = path->len - head - tail;

    return 1;
}


static ngx_http_vmess_status_format_t *
ngx_http_vmess_status_format(ngx_str_t *name)
{
    ngx_http_vmess_status_format_t  *format;

    for (format = ngx_http_vmess_status_formats; format->name.len; format++) {

        if (format->name.len == name->len
            && ngx_strncmp(format->name.data, name->data, name->len) == 0)
        {
            return format;
        }
    }

    return NULL;
}


/* nginx has Accept in r->headers_in with some modules only */

static ngx_http_vmess_status_format_t *
ngx_http_vmess_status_accepted(ngx_http_request_t *r)
{
    ngx_uint_t                       i;
    ngx_list_part_t                 *part;
    ngx_table_elt_t                 *h;
    ngx_http_vmess_status_accept_t  *accept;

    for (accept = ngx_http_vmess_status_accepts; accept->type.len; accept++) {

        for (part = &r->headers_in.headers.part; part; part = part->next) {
            h = part->elts;

            for (i = 0; i < part->nelts; i++) {

                if (h[i].key.len == 6
                    && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept", 6)
                       == 0
                    && ngx_strcasestrn(h[i].value.data,
                                       (char *) accept->type.data,
                                       accept->type.len - 1))
                {
                    return &ngx_http_vmess_status_formats[accept->format];
                }
            }
        }
    }

    return ngx_http_vmess_status_formats;
}


static ngx_int_t
ngx_http_vmess_status_names(ngx_http_request_t *r, ngx_uint_t *names)
{
    ngx_str_t         value;
    ngx_conf_enum_t  *e;

    *names = NGX_HTTP_VMESS_STATUS_NGINX;

    if (ngx_http_arg(r, (u_char *) "names", 5, &value) != NGX_OK) {
        return NGX_OK;
    }

    for (e = ngx_http_vmess_status_named; e->name.len; e++) {

        if (e->name.len == value.len
            && ngx_strncmp(e->name.data, value.data, value.len) == 0)
        {
            *names = e->value;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


/* the argument "users" makes it less */

static ngx_int_t
ngx_http_vmess_status_max(ngx_http_request_t *r, ngx_uint_t *max)
{
    ngx_int_t  n;
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) "users", 5, &value) != NGX_OK) {
        return NGX_OK;
    }

    n = ngx_atoi(value.data, value.len);
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    *max = ngx_min(*max, (ngx_uint_t) n);

    return NGX_OK;
}


static void *
ngx_http_vmess_status_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_status_loc_conf_t));
}


/* as "proxy_pass", inherited by "if" blocks, and not by locations inside */

static char *
ngx_http_vmess_status_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_vmess_status_loc_conf_t *prev = parent;
    ngx_http_vmess_status_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && clcf->handler == NULL && prev->zone) {
        *conf = *prev;
        clcf->handler = ngx_http_vmess_status_handler;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_vmess_status_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_vmess_status_loc_conf_t *slcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  where = ngx_string("in \"vmess_status\"");

    if (slcf->zone) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    slcf->users = NGX_HTTP_VMESS_STATUS_USERS;

    if (ngx_vmess_param_parse(cf, 2, ngx_http_vmess_status_params, slcf,
                              &where, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    slcf->zone = ngx_vmess_zone_refer(cf, &value[1]);
    if (slcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    slcf->page = ngx_http_vmess_status_page_create(cf);
    if (slcf->page == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    clcf->handler = ngx_http_vmess_status_handler;

    if (clcf->name.len && clcf->name.data[clcf->name.len - 1] == '/') {
        clcf->auto_redirect = 1;
    }

    return NGX_CONF_OK;
}


/* a path; or an address, if "min" is set: the page asks nothing of it */

static ngx_int_t
ngx_http_vmess_status_place(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    u_char     *p;
    ngx_str_t  *place = field;

    p = value->data;

    if ((value->len && p[0] == '/' && (value->len == 1 || p[1] != '/'))
        || (param->min
            && (ngx_strncmp(p, "https://", 8) == 0
                || ngx_strncmp(p, "http://", 7) == 0)))
    {
        *place = *value;
        return NGX_OK;
    }

    return NGX_DECLINED;
}
