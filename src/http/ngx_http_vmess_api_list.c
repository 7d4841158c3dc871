
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_list.h"
#include "ngx_http_vmess_api_stream.h"


/* a user of a sorted page */

typedef struct {
    ngx_uint_t                   reverse;
    ngx_uint_t                   number;   /* in the table */
    int64_t                      key;
    size_t                       len;
    u_char                       name[NGX_VMESS_USER_NAME_MAX];
} ngx_http_vmess_api_entry_t;


typedef struct {
    ngx_http_vmess_api_query_t   query;

    ngx_uint_t                   n;        /* the next one to look at */
    ngx_uint_t                   shown;

    /* of a sorted page: a heap with the last one on top, then the page */

    ngx_http_vmess_api_entry_t  *entries;
    ngx_uint_t                   nentries;
    ngx_uint_t                   skipped;  /* there are more than those */
    ngx_http_vmess_api_entry_t   after;

    ngx_http_vmess_api_stream_t  stream;
} ngx_http_vmess_api_list_t;


static ngx_int_t ngx_http_vmess_api_list_after(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_list_start(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_list_collect(
    ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_list_entry(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_info_t *info, ngx_http_vmess_api_entry_t *entry);
static void ngx_http_vmess_api_list_push(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_entry_t *entry);
static int ngx_libc_cdecl ngx_http_vmess_api_list_compare(const void *one,
    const void *two);
static ngx_int_t ngx_http_vmess_api_list_step(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_list_fill(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_list_t *list);
static ngx_uint_t ngx_http_vmess_api_list_is_same(
    ngx_http_vmess_api_list_t *list, ngx_http_vmess_api_info_t *info);
static ngx_int_t ngx_http_vmess_api_list_user(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_info_t *info);
static void ngx_http_vmess_api_list_end(ngx_http_vmess_api_list_t *list,
    ngx_uint_t more);


ngx_int_t
ngx_http_vmess_api_list(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_request_t          *r;
    ngx_http_vmess_api_list_t   *list;
    ngx_http_vmess_api_error_t   err;

    r = ctx->request;

    list = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_api_list_t));
    if (list == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_vmess_api_query_parse(ctx, &list->query, &err) != NGX_OK
        || ngx_http_vmess_api_list_after(list, &err) != NGX_OK)
    {
        return ngx_http_vmess_api_send_error(r, &err);
    }

    if (list->query.sort) {
        list->entries = ngx_pnalloc(r->pool, list->query.limit
                                        * sizeof(ngx_http_vmess_api_entry_t));
        if (list->entries == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    ctx->data = list;
    ctx->step = list->query.sort ? ngx_http_vmess_api_list_collect
                                 : ngx_http_vmess_api_list_start;
    r->main->count++;

    ngx_http_vmess_api_run(ctx);

    return NGX_DONE;
}


/* "number" without an order; with one, "name", or "key,name" */

static ngx_int_t
ngx_http_vmess_api_list_after(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_error_t *err)
{
    u_char                      *p, *last;
    ngx_int_t                    n;
    ngx_str_t                   *after;
    ngx_http_vmess_api_entry_t  *entry;

    after = &list->query.after;
    entry = &list->after;

    if (after->len == 0) {
        return NGX_OK;
    }

    p = after->data;
    last = p + after->len;

    entry->reverse = list->query.reverse;

    if (list->query.sort == NULL
        || list->query.sort->kind != NGX_HTTP_VMESS_API_NAME)
    {
        p = ngx_strlchr(p, last, ',');
        n = ngx_atoi(after->data, (p ? p : last) - after->data);

        if (n == NGX_ERROR || (p == NULL) != (list->query.sort == NULL)) {
            goto invalid;
        }

        if (p == NULL) {
            list->n = n;
            return NGX_OK;
        }

        entry->key = n;
        p++;
    }

    if ((size_t) (last - p) > NGX_VMESS_USER_NAME_MAX) {
        goto invalid;
    }

    entry->len = last - p;
    ngx_memcpy(entry->name, p, entry->len);

    return NGX_OK;

invalid:

    return ngx_http_vmess_api_error(err, NGX_HTTP_BAD_REQUEST,
                                    "InvalidArgument", "after",
                                    "must be \"next\" of the page before");
}


/* the first users of an order behind the page before */

static ngx_int_t
ngx_http_vmess_api_list_collect(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                   i, max;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_list_t   *list;
    ngx_http_vmess_api_entry_t   entry;

    list = ctx->data;
    max = ngx_vmess_table_max(ctx->zone->sh->table);

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE && list->n < max; i++) {

        if (ngx_http_vmess_api_field_load(ctx->zone, list->n++, &info)
            != NGX_OK
            || !ngx_http_vmess_api_query_match(&list->query, &info))
        {
            continue;
        }

        ngx_http_vmess_api_list_entry(list, &info, &entry);

        if (list->query.after.len
            && ngx_http_vmess_api_list_compare(&entry, &list->after) <= 0)
        {
            continue;
        }

        ngx_http_vmess_api_list_push(list, &entry);
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    if (list->n < max) {
        return NGX_AGAIN;
    }

    ngx_qsort(list->entries, list->nentries,
              sizeof(ngx_http_vmess_api_entry_t),
              ngx_http_vmess_api_list_compare);

    list->n = 0;

    ctx->step = ngx_http_vmess_api_list_start;

    return ctx->step(ctx);
}


static void
ngx_http_vmess_api_list_entry(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_info_t *info, ngx_http_vmess_api_entry_t *entry)
{
    ngx_http_vmess_api_field_t  *sort;

    sort = list->query.sort;

    entry->reverse = list->query.reverse;
    entry->number = list->n - 1;
    entry->len = info->user.value.name.len;
    entry->key = ngx_http_vmess_api_field_key(sort, info);

    ngx_memcpy(entry->name, info->user.name, entry->len);
}


/* a heap of at most "limit" entries, on top that which goes out first */

static void
ngx_http_vmess_api_list_push(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_entry_t *entry)
{
    ngx_uint_t                   i, n, child;
    ngx_http_vmess_api_entry_t  *e;

    e = list->entries;

    if (list->nentries < list->query.limit) {

        for (i = list->nentries++; i; i = (i - 1) / 2) {

            if (ngx_http_vmess_api_list_compare(entry, &e[(i - 1) / 2]) <= 0) {
                break;
            }

            e[i] = e[(i - 1) / 2];
        }

        e[i] = *entry;

        return;
    }

    list->skipped = 1;

    if (ngx_http_vmess_api_list_compare(entry, &e[0]) >= 0) {
        return;
    }

    n = list->nentries;

    for (i = 0; (child = 2 * i + 1) < n; i = child) {

        if (child + 1 < n
            && ngx_http_vmess_api_list_compare(&e[child + 1], &e[child]) > 0)
        {
            child++;
        }

        if (ngx_http_vmess_api_list_compare(entry, &e[child]) >= 0) {
            break;
        }

        e[i] = e[child];
    }

    e[i] = *entry;
}


static int ngx_libc_cdecl
ngx_http_vmess_api_list_compare(const void *one, const void *two)
{
    int                                rc;
    const ngx_http_vmess_api_entry_t  *a, *b;

    a = one;
    b = two;

    rc = (a->key > b->key) - (a->key < b->key);

    if (rc == 0) {
        rc = ngx_memn2cmp((u_char *) a->name, (u_char *) b->name, a->len,
                          b->len);
    }

    return a->reverse ? -rc : rc;
}


static ngx_int_t
ngx_http_vmess_api_list_start(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_uint_t                  changes;
    ngx_http_request_t         *r;
    ngx_http_vmess_api_list_t  *list;

    r = ctx->request;
    list = ctx->data;

    changes = ngx_vmess_table_changes(ctx->zone->sh->table);

    if (ngx_http_vmess_api_if_match(ctx, 1, changes) != NGX_OK) {
        return ngx_http_vmess_api_refuse(r, NGX_HTTP_PRECONDITION_FAILED,
                                         "Changed", "If-Match is not the "
                                         "present ETag, read the list again");
    }

    if (ngx_http_vmess_api_set_etag(ctx, changes) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_vmess_api_stream_start(ctx, &list->stream);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_vmess_json_out_open(&list->stream.jo, NULL, '{');
    ngx_vmess_json_out_open(&list->stream.jo, "users", '[');

    ctx->step = ngx_http_vmess_api_list_step;

    return ctx->step(ctx);
}


static ngx_int_t
ngx_http_vmess_api_list_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_list_t    *list;
    ngx_http_vmess_api_stream_t  *st;

    list = ctx->data;
    st = &list->stream;

    if (ngx_buf_size(st->buf) == 0) {

        ngx_http_vmess_api_list_fill(ctx, list);

        if (!st->full && !st->done) {
            return NGX_AGAIN;
        }
    }

    return ngx_http_vmess_api_stream_output(ctx->request, st);
}


/* writes users until it was a slice, the buffer is full, or all is done */

static void
ngx_http_vmess_api_list_fill(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_list_t *list)
{
    ngx_uint_t                  i, n;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_info_t   info;

    t = ctx->zone->sh->table;

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE; i++) {

        if (list->query.sort) {

            if (list->n == list->nentries) {
                ngx_http_vmess_api_list_end(list, list->skipped);
                break;
            }

            n = list->entries[list->n].number;

        } else {

            if (list->n >= ngx_vmess_table_max(t)) {
                ngx_http_vmess_api_list_end(list, 0);
                break;
            }

            n = list->n;
        }

        if (ngx_http_vmess_api_field_load(ctx->zone, n, &info) == NGX_OK
            && ngx_http_vmess_api_list_is_same(list, &info)
            && ngx_http_vmess_api_query_match(&list->query, &info))
        {
            if (list->query.sort == NULL && list->query.limit
                && list->shown == list->query.limit)
            {
                ngx_http_vmess_api_list_end(list, 1);
                break;
            }

            if (ngx_http_vmess_api_list_user(list, &info) != NGX_OK) {
                list->stream.full = 1;
                break;
            }
        }

        list->n++;
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));
}


/* the number of a user of the page may be another one's by now */

static ngx_uint_t
ngx_http_vmess_api_list_is_same(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_info_t *info)
{
    ngx_http_vmess_api_entry_t  *entry;

    if (list->query.sort == NULL) {
        return 1;
    }

    entry = &list->entries[list->n];

    return info->user.value.name.len == entry->len
           && ngx_memcmp(info->user.name, entry->name, entry->len) == 0;
}


/* NGX_AGAIN: it does not fit; the end always does */

static ngx_int_t
ngx_http_vmess_api_list_user(ngx_http_vmess_api_list_t *list,
    ngx_http_vmess_api_info_t *info)
{
    ngx_vmess_json_out_t  save;

    save = list->stream.jo;
    list->stream.jo.last -= 256;

    ngx_http_vmess_api_field_write(&list->stream.jo, info, list->query.fields);

    if (list->stream.jo.full) {
        list->stream.jo = save;
        return NGX_AGAIN;
    }

    list->stream.jo.last = save.last;
    list->shown++;

    return NGX_OK;
}


static void
ngx_http_vmess_api_list_end(ngx_http_vmess_api_list_t *list, ngx_uint_t more)
{
    u_char                       text[NGX_INT64_LEN + 1
                                      + NGX_VMESS_USER_NAME_MAX];
    ngx_str_t                    next;
    ngx_http_vmess_api_entry_t  *e;

    ngx_vmess_json_out_close(&list->stream.jo, ']');

    if (more) {
        next.data = text;

        if (list->query.sort == NULL) {
            next.len = ngx_sprintf(text, "%ui", list->n) - text;

        } else {
            e = &list->entries[list->nentries - 1];
            next.len = 0;

            if (list->query.sort->kind != NGX_HTTP_VMESS_API_NAME) {
                next.len = ngx_sprintf(text, "%L,", e->key) - text;
            }

            ngx_memcpy(text + next.len, e->name, e->len);
            next.len += e->len;
        }

        ngx_vmess_json_out_string(&list->stream.jo, "next", &next);

    } else {
        ngx_vmess_json_out_null(&list->stream.jo, "next");
    }

    ngx_vmess_json_out_close(&list->stream.jo, '}');

    list->stream.done = 1;
}
