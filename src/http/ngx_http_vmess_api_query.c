
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_query.h"


typedef ngx_int_t (*ngx_http_vmess_api_query_pt)(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);


typedef struct {
    ngx_str_t                     name;
    ngx_http_vmess_api_query_pt   set;
    const char                   *text;
} ngx_http_vmess_api_arg_t;


static ngx_int_t ngx_http_vmess_api_query_limit(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_after(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_name(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_status(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_origin(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_sort(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_fields(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_word(ngx_str_t *words,
    ngx_str_t *value, ngx_uint_t *n);
static ngx_int_t ngx_http_vmess_api_query_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_arg_t *arg,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_query_arg(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_api_query_check(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t all, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_query_unknown(
    ngx_http_vmess_api_ctx_t *ctx, ngx_str_t *name, ngx_uint_t all,
    ngx_http_vmess_api_error_t *err);
static ngx_http_vmess_api_arg_t *ngx_http_vmess_api_query_find(
    ngx_http_vmess_api_arg_t *arg, ngx_str_t *name);


/* those of all lists */

static ngx_http_vmess_api_arg_t  ngx_http_vmess_api_page_args[] = {

    { ngx_string("limit"), ngx_http_vmess_api_query_limit,
      "must be a number from 1 on" },

    { ngx_string("after"), ngx_http_vmess_api_query_after,
      "must be \"next\" of the page before" },

    { ngx_null_string, NULL, NULL }
};


static ngx_http_vmess_api_arg_t  ngx_http_vmess_api_args[] = {

    { ngx_string("name"), ngx_http_vmess_api_query_name,
      "must be a part of a name" },

    { ngx_string("status"), ngx_http_vmess_api_query_status,
      "must be active, disabled, limited, expired or on_hold" },

    { ngx_string("origin"), ngx_http_vmess_api_query_origin,
      "must be conf or api" },

    { ngx_string("sort"), ngx_http_vmess_api_query_sort,
      "must be name, up, down, used, flows, addresses, refused, first_seen, "
      "last_seen, expires or hold_until, with \"-\" before it the other way "
      "round" },

    { ngx_string("fields"), ngx_http_vmess_api_query_fields,
      "must be names of fields with commas between them, such as "
      "\"name,used\"" },

    { ngx_null_string, NULL, NULL }
};


ngx_int_t
ngx_http_vmess_api_query_parse(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_error_t *err)
{
    ngx_memzero(q, sizeof(ngx_http_vmess_api_query_t));

    q->fields = ngx_http_vmess_api_field_all(ctx);
    q->status = ((ngx_uint_t) 1 << NGX_HTTP_VMESS_API_STATUSES) - 1;

    if (ngx_http_vmess_api_query_check(ctx, 1, err) != NGX_OK
        || ngx_http_vmess_api_query_read(ctx, q, ngx_http_vmess_api_page_args,
                                         err)
           != NGX_OK
        || ngx_http_vmess_api_query_read(ctx, q, ngx_http_vmess_api_args, err)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (q->sort && q->limit > NGX_HTTP_VMESS_API_PAGE_MAX) {
        return ngx_http_vmess_api_error(err, NGX_HTTP_BAD_REQUEST,
                                        "InvalidArgument", "limit",
                                        "must be a number from 1 to %d with "
                                        "\"sort\"",
                                        NGX_HTTP_VMESS_API_PAGE_MAX);
    }

    if (q->sort && q->limit == 0) {
        q->limit = NGX_HTTP_VMESS_API_PAGE;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_api_query_page(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_error_t *err)
{
    ngx_memzero(q, sizeof(ngx_http_vmess_api_query_t));

    if (ngx_http_vmess_api_query_check(ctx, 0, err) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_vmess_api_query_read(ctx, q, ngx_http_vmess_api_page_args,
                                         err);
}


/* each argument has a name of ours; all: those of users as well */

static ngx_int_t
ngx_http_vmess_api_query_check(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t all,
    ngx_http_vmess_api_error_t *err)
{
    u_char                    *p, *last, *end, *value;
    ngx_str_t                  name;
    ngx_http_vmess_api_arg_t  *arg;

    p = ctx->request->args.data;
    last = p + ctx->request->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        if (p == end) {
            continue;
        }

        value = ngx_strlchr(p, end, '=');

        name.data = p;
        name.len = (value ? value : end) - p;

        arg = ngx_http_vmess_api_query_find(ngx_http_vmess_api_page_args,
                                            &name);

        if (arg == NULL && all) {
            arg = ngx_http_vmess_api_query_find(ngx_http_vmess_api_args, &name);
        }

        if (arg == NULL) {
            return ngx_http_vmess_api_query_unknown(ctx, &name, all, err);
        }

        if (value == NULL) {
            return ngx_http_vmess_api_error(err, NGX_HTTP_BAD_REQUEST,
                                            "InvalidArgument",
                                            (char *) arg->name.data,
                                            "%s", arg->text);
        }
    }

    return NGX_OK;
}


static ngx_http_vmess_api_arg_t *
ngx_http_vmess_api_query_find(ngx_http_vmess_api_arg_t *arg, ngx_str_t *name)
{
    for ( /* void */ ; arg->name.len; arg++) {

        /* nginx looks for arguments in any case */

        if (arg->name.len == name->len
            && ngx_strncasecmp(arg->name.data, name->data, name->len) == 0)
        {
            return arg;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_vmess_api_query_unknown(ngx_http_vmess_api_ctx_t *ctx, ngx_str_t *name,
    ngx_uint_t all, ngx_http_vmess_api_error_t *err)
{
    u_char                    *field;
    ngx_http_vmess_api_arg_t  *arg;

    /* there is not much room in the answer */

    name->len = ngx_min(name->len, NGX_VMESS_USER_NAME_MAX);

    field = ngx_pnalloc(ctx->request->pool, name->len + 1);

    if (field) {
        ngx_sprintf(field, "%V%Z", name);
    }

    (void) ngx_http_vmess_api_error(err, NGX_HTTP_BAD_REQUEST,
                                    "UnknownArgument", (char *) field,
                                    "there is no such argument, there are "
                                    "limit, after");

    for (arg = ngx_http_vmess_api_args; all && arg->name.len; arg++) {
        err->len = ngx_slprintf(err->text + err->len,
                                err->text + sizeof(err->text), ", %V",
                                &arg->name)
                   - err->text;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_query_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_http_vmess_api_arg_t *arg,
    ngx_http_vmess_api_error_t *err)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    for ( /* void */ ; arg->name.len; arg++) {

        rc = ngx_http_vmess_api_query_arg(ctx->request, &arg->name, &value);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc != NGX_OK || arg->set(ctx, q, &value) != NGX_OK) {
            return ngx_http_vmess_api_error(err, NGX_HTTP_BAD_REQUEST,
                                            "InvalidArgument",
                                            (char *) arg->name.data,
                                            "%s", arg->text);
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: it is not there; NGX_ERROR: no memory, or a zero byte in it */

static ngx_int_t
ngx_http_vmess_api_query_arg(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char     *src, *dst;
    ngx_str_t   raw;

    if (ngx_http_arg(r, name->data, name->len, &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, raw.len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    src = raw.data;
    dst = value->data;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    *dst = '\0';
    value->len = dst - value->data;

    return ngx_strlen(value->data) == value->len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_query_limit(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1) {
        return NGX_ERROR;
    }

    q->limit = n;

    return NGX_OK;
}


/* checked when it is used: it depends on the order */

static ngx_int_t
ngx_http_vmess_api_query_after(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    q->after = *value;

    return value->len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_query_name(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    q->name = *value;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_query_status(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    ngx_uint_t  n;

    if (ngx_http_vmess_api_query_word(ngx_http_vmess_api_statuses, value, &n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    q->status = (ngx_uint_t) 1 << n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_query_origin(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    if (ngx_http_vmess_api_query_word(ngx_http_vmess_api_origins, value,
                                      &q->origin)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return q->origin ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_query_word(ngx_str_t *words, ngx_str_t *value,
    ngx_uint_t *n)
{
    for (*n = 0; words[*n].len; (*n)++) {

        if (words[*n].len == value->len
            && ngx_memcmp(words[*n].data, value->data, value->len) == 0)
        {
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_query_sort(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    if (value->len && value->data[0] == '-') {
        q->reverse = 1;
        value->data++;
        value->len--;
    }

    q->sort = ngx_http_vmess_api_field(value);

    if (q->sort == NULL) {
        return NGX_ERROR;
    }

    switch (q->sort->kind) {

    case NGX_HTTP_VMESS_API_NAME:
    case NGX_HTTP_VMESS_API_TIME:
    case NGX_HTTP_VMESS_API_UP:
    case NGX_HTTP_VMESS_API_DOWN:
    case NGX_HTTP_VMESS_API_USED:
    case NGX_HTTP_VMESS_API_COUNTER:
    case NGX_HTTP_VMESS_API_SEEN:
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_http_vmess_api_query_fields(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_query_t *q, ngx_str_t *value)
{
    u_char                      *p, *last, *comma;
    uint32_t                     fields;
    ngx_str_t                    name;
    ngx_http_vmess_api_field_t  *field;

    fields = 0;
    last = value->data + value->len;

    for (p = value->data; /* void */ ; p = comma + 1) {

        comma = ngx_strlchr(p, last, ',');

        name.data = p;
        name.len = (comma ? comma : last) - p;

        field = ngx_http_vmess_api_field(&name);

        if (field == NULL) {
            return NGX_ERROR;
        }

        fields |= ngx_http_vmess_api_field_bit(field);

        if (comma == NULL) {
            break;
        }
    }

    q->fields &= fields;

    return NGX_OK;
}


ngx_uint_t
ngx_http_vmess_api_query_match(ngx_http_vmess_api_query_t *q,
    ngx_http_vmess_api_info_t *info)
{
    size_t      i;
    ngx_str_t  *name;

    if (q->origin && q->origin != info->user.value.origin) {
        return 0;
    }

    if (!(q->status
          & ((ngx_uint_t) 1 << ngx_http_vmess_api_field_status(info))))
    {
        return 0;
    }

    if (q->name.len == 0) {
        return 1;
    }

    name = &info->user.value.name;

    for (i = 0; i + q->name.len <= name->len; i++) {
        if (ngx_memcmp(name->data + i, q->name.data, q->name.len) == 0) {
            return 1;
        }
    }

    return 0;
}
