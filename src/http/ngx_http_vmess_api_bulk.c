
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_bulk.h"
#include "ngx_http_vmess_api_body.h"
#include "ngx_http_vmess_api_change.h"
#include "ngx_http_vmess_api_user.h"


/* users that are changed in one go, with keys to be made: about a millisecond */

#define NGX_HTTP_VMESS_API_BULK_SLICE  32
#define NGX_HTTP_VMESS_API_BULK_SIZE   256


/* a user of the body */

typedef struct ngx_http_vmess_api_item_s  ngx_http_vmess_api_item_t;

struct ngx_http_vmess_api_item_s {
    ngx_str_node_t                name;
    ngx_str_node_t                id[NGX_VMESS_USER_IDS];
    ngx_uint_t                    number;    /* in the body */
    ngx_http_vmess_api_change_t   change;
    ngx_uint_t                    stamp;     /* of what it was made of */
    ngx_http_vmess_api_item_t    *next;      /* of those displaced */
    unsigned                      displaced:1; /* for another with its id */
    unsigned                      done:1;
};


typedef struct {
    ngx_list_t                    items;
    ngx_uint_t                    nitems;
    ngx_rbtree_t                  names;
    ngx_rbtree_t                  ids;
    ngx_rbtree_node_t             sentinel;

    /* reading */

    ngx_uint_t                    state;
    ngx_http_vmess_api_reader_t   reader;
    ngx_http_vmess_api_item_t    *item;

    /* where a walk over the items, or over the table, is */

    ngx_list_part_t              *part;
    ngx_uint_t                    i;
    ngx_uint_t                    begun;     /* some are changed */
    ngx_vmess_zone_t             *zone;      /* told so, until all are */
    ngx_uint_t                    changes;   /* as the table had it last */
    ngx_http_vmess_api_item_t    *displaced; /* who come back first */

    ngx_uint_t                    added;
    ngx_uint_t                    changed;
    ngx_uint_t                    removed;
    ngx_uint_t                    unchanged;
} ngx_http_vmess_api_bulk_t;


static ngx_int_t ngx_http_vmess_api_bulk_event(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_user(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_bulk_t *bulk, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_add(ngx_http_vmess_api_bulk_t *bulk,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err);
static void ngx_http_vmess_api_bulk_where(ngx_uint_t number,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_begin(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_stale(ngx_http_vmess_api_ctx_t *ctx);
static ngx_vmess_table_t *ngx_http_vmess_api_bulk_lock(
    ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_unlock(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_rewind(ngx_http_vmess_api_bulk_t *bulk);
static ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_next(
    ngx_http_vmess_api_bulk_t *bulk);
static ngx_int_t ngx_http_vmess_api_bulk_check(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_check_item(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_value(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_info_t *info,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_check_ids(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_uint_t ngx_http_vmess_api_bulk_gives_up(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_value_t *other,
    const u_char *id);
static ngx_int_t ngx_http_vmess_api_bulk_clear(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_apply(ngx_http_vmess_api_ctx_t *ctx);
static ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_turn(
    ngx_http_vmess_api_bulk_t *bulk);
static ngx_int_t ngx_http_vmess_api_bulk_set(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_renew(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_displace(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_table_t *t,
    ngx_http_vmess_api_item_t *item, ngx_vmess_user_t *other,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_remove(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static void ngx_http_vmess_api_bulk_end(ngx_http_vmess_api_bulk_t *bulk);
static ngx_int_t ngx_http_vmess_api_bulk_send(ngx_http_vmess_api_ctx_t *ctx);
static ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_find(
    ngx_http_vmess_api_bulk_t *bulk, ngx_str_t *name);
static void ngx_http_vmess_api_bulk_wipe(void *data);


ngx_int_t
ngx_http_vmess_api_bulk(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_pool_t                 *pool;
    ngx_pool_cleanup_t         *cln;
    ngx_http_vmess_api_bulk_t  *bulk;

    pool = ctx->request->pool;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_vmess_api_bulk_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    bulk = cln->data;
    ngx_memzero(bulk, sizeof(ngx_http_vmess_api_bulk_t));

    if (ngx_list_init(&bulk->items, pool, 16,
                      sizeof(ngx_http_vmess_api_item_t))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_vmess_api_bulk_wipe;

    ngx_rbtree_init(&bulk->names, &bulk->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&bulk->ids, &bulk->sentinel, ngx_str_rbtree_insert_value);

    ctx->data = bulk;

    return ngx_http_vmess_api_body_read(ctx, ngx_http_vmess_api_bulk_event,
                                        ngx_http_vmess_api_bulk_begin);
}


/* {"users": [{...}, ...], "next": null} */

static ngx_int_t
ngx_http_vmess_api_bulk_event(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_http_vmess_api_bulk_t  *bulk;

    enum {
        sw_start = 0,
        sw_key,
        sw_users,
        sw_user,
        sw_next,
        sw_end
    };

    bulk = ngx_http_vmess_api_body_data(ctx);

    switch (bulk->state) {

    case sw_start:

        if (js->event != NGX_VMESS_JSON_OBJECT) {
            break;
        }

        bulk->state = sw_key;

        return NGX_OK;

    case sw_key:

        if (js->event == NGX_VMESS_JSON_OBJECT_END) {

            if (bulk->part == NULL) {
                break;
            }

            bulk->state = sw_end;

            return NGX_OK;
        }

        if (js->value.len == 5 && ngx_memcmp(js->value.data, "users", 5) == 0
            && bulk->part == NULL)
        {
            bulk->part = &bulk->items.part;
            bulk->state = sw_users;

            return NGX_OK;
        }

        if (js->value.len == 4 && ngx_memcmp(js->value.data, "next", 4) == 0) {
            bulk->state = sw_next;

            return NGX_OK;
        }

        break;

    case sw_users:

        if (js->event != NGX_VMESS_JSON_ARRAY) {
            break;
        }

        bulk->state = sw_user;

        return NGX_OK;

    case sw_user:

        if (bulk->item == NULL && js->event == NGX_VMESS_JSON_ARRAY_END) {
            bulk->state = sw_key;

            return NGX_OK;
        }

        return ngx_http_vmess_api_bulk_user(ctx, bulk, js, err);

    default: /* sw_next */

        if (js->event != NGX_VMESS_JSON_NULL) {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                            "next", "this is one page of a "
                                            "list, send all of it");
        }

        bulk->state = sw_key;

        return NGX_OK;
    }

    return ngx_http_vmess_api_error(err, 422, "InvalidParameter", NULL,
                                    "the body must be {\"users\": "
                                    "[{...}, ...]}");
}


static ngx_int_t
ngx_http_vmess_api_bulk_user(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_bulk_t *bulk, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_http_vmess_api_item_t  *item;

    if (bulk->item == NULL) {

        item = ngx_list_push(&bulk->items);
        if (item == NULL) {
            return ngx_http_vmess_api_error(err,
                                            NGX_HTTP_INTERNAL_SERVER_ERROR,
                                            "InternalError", NULL,
                                            "no memory");
        }

        ngx_memzero(item, sizeof(ngx_http_vmess_api_item_t));

        item->number = bulk->nitems++;

        ngx_memzero(&bulk->reader, sizeof(ngx_http_vmess_api_reader_t));

        bulk->reader.change = &item->change;
        bulk->reader.many = (ctx->request->method == NGX_HTTP_PATCH);
        bulk->item = item;
    }

    item = bulk->item;

    rc = ngx_http_vmess_api_change_event(&bulk->reader, js, err);

    if (rc == NGX_OK) {
        bulk->item = NULL;
        rc = ngx_http_vmess_api_bulk_add(bulk, item, err);
    }

    if (rc == NGX_ERROR) {
        ngx_http_vmess_api_bulk_where(item->number, err);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* names and ids must not be there twice */

static ngx_int_t
ngx_http_vmess_api_bulk_add(ngx_http_vmess_api_bulk_t *bulk,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_str_t  *name;

    name = &item->change.value.name;

    if (name->len == 0) {
        return ngx_http_vmess_api_error(err, 422, "MissingParameter", "name",
                                        "must be given");
    }

    if (ngx_http_vmess_api_bulk_find(bulk, name)) {
        return ngx_http_vmess_api_error(err, 422, "InvalidParameter", "name",
                                        "user \"%V\" is there twice", name);
    }

    item->name.str = *name;
    item->name.node.key = ngx_crc32_long(name->data, name->len);

    ngx_rbtree_insert(&bulk->names, &item->name.node);

    return NGX_OK;
}


static ngx_http_vmess_api_item_t *
ngx_http_vmess_api_bulk_find(ngx_http_vmess_api_bulk_t *bulk, ngx_str_t *name)
{
    ngx_str_node_t  *node;

    node = ngx_str_rbtree_lookup(&bulk->names, name,
                                 ngx_crc32_long(name->data, name->len));

    return node ? (ngx_http_vmess_api_item_t *)
                      ((u_char *) node
                       - offsetof(ngx_http_vmess_api_item_t, name))
                : NULL;
}


/* "users[2]: ..." */

static void
ngx_http_vmess_api_bulk_where(ngx_uint_t number,
    ngx_http_vmess_api_error_t *err)
{
    u_char  text[sizeof(err->text)], *p;
    size_t  len;

    len = err->len;
    ngx_memcpy(text, err->text, len);

    p = ngx_slprintf(err->text, err->text + sizeof(err->text),
                     "users[%ui]: %*s", number, len, text);

    err->len = p - err->text;
}


static ngx_int_t
ngx_http_vmess_api_bulk_begin(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t  changes;

    changes = ngx_vmess_table_changes(ctx->zone->sh->table);

    if (ngx_http_vmess_api_if_match(ctx, 1, changes) != NGX_OK) {
        return ngx_http_vmess_api_bulk_stale(ctx);
    }

    ngx_http_vmess_api_bulk_rewind(ctx->data);

    ctx->step = ngx_http_vmess_api_bulk_check;

    return ctx->step(ctx);
}


static ngx_int_t
ngx_http_vmess_api_bulk_stale(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_error_t  err;

    if (ctx->zone->sh->replaced) {
        (void) ngx_http_vmess_api_user_replaced(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    return ngx_http_vmess_api_refuse(ctx->request,
                                     NGX_HTTP_PRECONDITION_FAILED, "Changed",
                                     "If-Match is not the present ETag, read "
                                     "the list again");
}


/*
 * The table, locked, to change users.  NULL: before the first one others have
 * changed some, and If-Match does not hold any more; or the table was replaced.
 */

static ngx_vmess_table_t *
ngx_http_vmess_api_bulk_lock(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    if (bulk->zone == NULL) {
        bulk->zone = ctx->zone;
        ngx_vmess_state_begin_list(ctx->zone);
    }

    t = ngx_vmess_users_lock(ctx->zone);

    bulk->changes = ngx_vmess_table_changes(t);

    if (ctx->zone->sh->replaced
        || (!bulk->begun
            && ngx_http_vmess_api_if_match(ctx, 1, bulk->changes) != NGX_OK))
    {
        ngx_vmess_users_unlock(ctx->zone);

        return NULL;
    }

    return t;
}


static void
ngx_http_vmess_api_bulk_unlock(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                  changes;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    changes = ngx_vmess_table_changes(ctx->zone->sh->table);

    if (changes != bulk->changes) {
        bulk->changes = changes;
        bulk->begun = 1;
    }

    ngx_vmess_users_unlock(ctx->zone);
}


static void
ngx_http_vmess_api_bulk_rewind(ngx_http_vmess_api_bulk_t *bulk)
{
    bulk->part = &bulk->items.part;
    bulk->i = 0;
}


static ngx_http_vmess_api_item_t *
ngx_http_vmess_api_bulk_next(ngx_http_vmess_api_bulk_t *bulk)
{
    ngx_http_vmess_api_item_t  *item;

    while (bulk->i == bulk->part->nelts) {

        if (bulk->part->next == NULL) {
            return NULL;
        }

        bulk->part = bulk->part->next;
        bulk->i = 0;
    }

    item = bulk->part->elts;

    return &item[bulk->i++];
}


static ngx_int_t
ngx_http_vmess_api_bulk_check(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                   i;
    ngx_http_vmess_api_bulk_t   *bulk;
    ngx_http_vmess_api_item_t   *item;
    ngx_http_vmess_api_error_t   err;

    bulk = ctx->data;

    for (i = 0; i < NGX_HTTP_VMESS_API_BULK_SLICE; i++) {

        item = ngx_http_vmess_api_bulk_next(bulk);

        if (item == NULL) {
            bulk->i = 0;

            ctx->step = (ctx->request->method == NGX_HTTP_PUT)
                        ? ngx_http_vmess_api_bulk_clear
                        : ngx_http_vmess_api_bulk_apply;

            ngx_http_vmess_api_bulk_rewind(bulk);

            return NGX_AGAIN;
        }

        if (ngx_http_vmess_api_bulk_check_item(ctx, item, &err) != NGX_OK) {
            ngx_http_vmess_api_bulk_where(item->number, &err);
            return ngx_http_vmess_api_send_error(ctx->request, &err);
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_bulk_check_item(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_uint_t                  exists;
    ngx_http_vmess_api_info_t   info;

    exists = (ngx_http_vmess_api_user_find(ctx->zone, &item->name.str, &info)
              == NGX_OK);

    if (exists && info.user.value.origin != NGX_VMESS_ORIGIN_API) {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                             &item->name.str, NULL, err);
    }

    if (item->change.remove) {

        if (exists) {
            return NGX_OK;
        }

        return ngx_http_vmess_api_error(err, NGX_HTTP_NOT_FOUND, "NoSuchUser",
                                        NULL, "there is no user \"%V\" in "
                                        "vmess_users \"%V\"", &item->name.str,
                                        &ctx->zone->name);
    }

    if (!exists) {
        ngx_memzero(&info, sizeof(ngx_http_vmess_api_info_t));
    }

    if (ngx_http_vmess_api_bulk_value(ctx, item, &info, err) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_vmess_api_bulk_check_ids(ctx, item, err);
}


/* makes the value that the user is to have of what it is, zeros if it is none */

static ngx_int_t
ngx_http_vmess_api_bulk_value(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_info_t *info,
    ngx_http_vmess_api_error_t *err)
{
    ngx_vmess_value_t  *value;

    value = &info->user.value;

    if (ctx->request->method == NGX_HTTP_PUT) {
        ngx_memzero(value, sizeof(ngx_vmess_value_t));
    }

    ngx_http_vmess_api_change_merge(&item->change, value);

    value->name = item->name.str;
    value->origin = NGX_VMESS_ORIGIN_API;

    ngx_vmess_limits_inherit(&value->limits, &ctx->zone->defaults);

    if (ngx_http_vmess_api_change_check(value, err) != NGX_OK) {
        return NGX_ERROR;
    }

    item->change.value = *value;
    item->stamp = info->user.stamp;

    ngx_explicit_memzero(info, sizeof(ngx_http_vmess_api_info_t));

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_check_ids(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, n;
    ngx_vmess_user_t           *user;
    ngx_vmess_value_t          *value;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_info_t   other;

    bulk = ctx->data;
    value = &item->change.value;

    for (i = 0; i < value->ids; i++) {

        item->id[i].str.data = value->id[i];
        item->id[i].str.len = NGX_VMESS_ID_LEN;
        item->id[i].node.key = ngx_crc32_short(value->id[i], NGX_VMESS_ID_LEN);

        if (ngx_str_rbtree_lookup(&bulk->ids, &item->id[i].str,
                                  item->id[i].node.key))
        {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                            i ? "also" : "id",
                                            "an id of user \"%V\" is there "
                                            "twice, give each one of its own",
                                            &item->name.str);
        }

        ngx_rbtree_insert(&bulk->ids, &item->id[i].node);

        t = ngx_vmess_users_lock(ctx->zone);

        user = ngx_vmess_table_find_id(t, value->id[i]);
        n = user ? ngx_vmess_table_number(t, user) : 0;
        rc = user ? ngx_http_vmess_api_field_load(ctx->zone, n, &other)
                  : NGX_DECLINED;

        ngx_vmess_users_unlock(ctx->zone);

        if (rc == NGX_OK
            && !ngx_http_vmess_api_bulk_gives_up(ctx, &other.user.value,
                                                 value->id[i]))
        {
            return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_TAKEN,
                                                 &item->name.str,
                                                 &other.user.value.name, err);
        }
    }

    return NGX_OK;
}


/*
 * Whether a user will not have its id any more when all is done.  If it is in the
 * body with the same id, that is found there to be twice.
 */

static ngx_uint_t
ngx_http_vmess_api_bulk_gives_up(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_value_t *other, const u_char *id)
{
    ngx_http_vmess_api_item_t  *item;

    if (other->origin != NGX_VMESS_ORIGIN_API) {
        return 0;
    }

    item = ngx_http_vmess_api_bulk_find(ctx->data, &other->name);

    return item || ctx->request->method == NGX_HTTP_PUT;
}


/* removes users of the API that are not in the list */

static ngx_int_t
ngx_http_vmess_api_bulk_clear(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                  i;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_info_t   info;

    bulk = ctx->data;

    t = ngx_http_vmess_api_bulk_lock(ctx);
    if (t == NULL) {
        return ngx_http_vmess_api_bulk_stale(ctx);
    }

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE; i++) {

        if (bulk->i >= ngx_vmess_table_max(t)) {
            ngx_http_vmess_api_bulk_unlock(ctx);

            ngx_http_vmess_api_bulk_rewind(bulk);

            ctx->step = ngx_http_vmess_api_bulk_apply;

            return NGX_AGAIN;
        }

        if (ngx_http_vmess_api_field_load(ctx->zone, bulk->i++, &info)
            != NGX_OK
            || info.user.value.origin != NGX_VMESS_ORIGIN_API
            || ngx_http_vmess_api_bulk_find(bulk, &info.user.value.name))
        {
            continue;
        }

        ngx_vmess_table_remove(t, ngx_vmess_table_user(t, bulk->i - 1));
        bulk->removed++;
    }

    ngx_http_vmess_api_bulk_unlock(ctx);

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_bulk_apply(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_vmess_table_t           *t;
    ngx_http_vmess_api_bulk_t   *bulk;
    ngx_http_vmess_api_item_t   *item;
    ngx_http_vmess_api_error_t   err;

    bulk = ctx->data;
    item = NULL;
    rc = NGX_OK;

    t = ngx_http_vmess_api_bulk_lock(ctx);
    if (t == NULL) {
        return ngx_http_vmess_api_bulk_stale(ctx);
    }

    for (i = 0; i < NGX_HTTP_VMESS_API_BULK_SLICE && rc == NGX_OK; i++) {

        item = ngx_http_vmess_api_bulk_turn(bulk);

        if (item == NULL) {
            break;
        }

        rc = item->change.remove
             ? ngx_http_vmess_api_bulk_remove(ctx, t, item, &err)
             : ngx_http_vmess_api_bulk_set(ctx, t, item, &err);
    }

    ngx_http_vmess_api_bulk_unlock(ctx);

    if (rc != NGX_OK) {
        ngx_http_vmess_api_bulk_end(bulk);
        ngx_http_vmess_api_bulk_where(item->number, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    if (item) {
        return NGX_AGAIN;
    }

    ngx_http_vmess_api_bulk_end(bulk);

    return ngx_http_vmess_api_save(ctx, ngx_http_vmess_api_bulk_send);
}


static void
ngx_http_vmess_api_bulk_end(ngx_http_vmess_api_bulk_t *bulk)
{
    if (bulk->zone) {
        ngx_vmess_state_end_list(bulk->zone);
        bulk->zone = NULL;
    }
}


/* whose turn it is: those displaced are to come back before they are forgotten */

static ngx_http_vmess_api_item_t *
ngx_http_vmess_api_bulk_turn(ngx_http_vmess_api_bulk_t *bulk)
{
    ngx_http_vmess_api_item_t  *item;

    item = bulk->displaced;

    if (item) {
        bulk->displaced = item->next;

    } else {
        do {
            item = ngx_http_vmess_api_bulk_next(bulk);
        } while (item && item->done);
    }

    if (item) {
        item->done = 1;
    }

    return item;
}


/*
 * Sets a user.  One that has the id yet, and is to have another one, goes for a
 * moment, and comes back with its counters.
 */

static ngx_int_t
ngx_http_vmess_api_bulk_set(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err)
{
    ngx_vmess_user_t           *user;
    ngx_vmess_table_e           rc;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    if (ngx_http_vmess_api_bulk_renew(ctx, t, item, err) != NGX_OK) {
        return NGX_ERROR;
    }

    /* this may be a worker of an older configuration */

    ngx_vmess_limits_inherit(&item->change.value.limits,
                             &ctx->zone->sh->defaults);

    for ( ;; ) {

        rc = ngx_vmess_table_set(t, &item->change.value, NULL, &user);

        if (rc != NGX_VMESS_TABLE_TAKEN) {
            break;
        }

        if (ngx_http_vmess_api_bulk_displace(ctx, t, item, user, err)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (rc > NGX_VMESS_TABLE_CHANGED) {
        return ngx_http_vmess_api_user_error(ctx, rc, &item->name.str, NULL,
                                             err);
    }

    if (rc == NGX_VMESS_TABLE_SAME) {
        bulk->unchanged++;

    } else if (rc == NGX_VMESS_TABLE_ADDED && !item->displaced) {
        bulk->added++;

    } else {
        bulk->changed++;
    }

    return NGX_OK;
}


/* makes the value anew if the user is not what it was made of any more */

static ngx_int_t
ngx_http_vmess_api_bulk_renew(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err)
{
    ngx_vmess_user_t           *user;
    ngx_http_vmess_api_info_t   info;

    if (ctx->request->method == NGX_HTTP_PUT || item->displaced) {
        return NGX_OK;
    }

    user = ngx_vmess_table_find(t, &item->name.str);

    if (user == NULL
        || ngx_http_vmess_api_field_load(ctx->zone,
                                         ngx_vmess_table_number(t, user),
                                         &info)
           != NGX_OK)
    {
        ngx_memzero(&info, sizeof(ngx_http_vmess_api_info_t));
    }

    if (info.user.stamp == item->stamp) {
        ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));
        return NGX_OK;
    }

    return ngx_http_vmess_api_bulk_value(ctx, item, &info, err);
}


/* removes who has an id of the item, and is to come back with another one */

static ngx_int_t
ngx_http_vmess_api_bulk_displace(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_vmess_user_t *other, ngx_http_vmess_api_error_t *err)
{
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_item_t  *with;

    bulk = ctx->data;

    with = ngx_http_vmess_api_bulk_find(bulk, &other->name);

    if (with == NULL || with->done
        || other->conf->origin != NGX_VMESS_ORIGIN_API)
    {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_TAKEN,
                                             &item->name.str, &other->name,
                                             err);
    }

    if (!with->change.remove
        && ngx_http_vmess_api_bulk_renew(ctx, t, with, err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!with->displaced) {
        with->displaced = 1;
        with->next = bulk->displaced;
        bulk->displaced = with;
    }

    ngx_vmess_table_remove(t, other);

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_remove(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err)
{
    ngx_vmess_user_t           *user;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    user = ngx_vmess_table_find(t, &item->name.str);

    if (user) {

        if (user->conf->origin != NGX_VMESS_ORIGIN_API) {
            return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                                 &item->name.str, NULL, err);
        }

        ngx_vmess_table_remove(t, user);
    }

    bulk->removed++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_send(ngx_http_vmess_api_ctx_t *ctx)
{
    u_char                     *start;
    ngx_vmess_json_out_t        jo;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      NGX_HTTP_VMESS_API_BULK_SIZE);

    if (start == NULL
        || ngx_http_vmess_api_set_etag(ctx, bulk->changes) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_integer(&jo, "added", bulk->added);
    ngx_vmess_json_out_integer(&jo, "changed", bulk->changed);
    ngx_vmess_json_out_integer(&jo, "removed", bulk->removed);
    ngx_vmess_json_out_integer(&jo, "unchanged", bulk->unchanged);
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}


/* there are ids in it */

static void
ngx_http_vmess_api_bulk_wipe(void *data)
{
    ngx_http_vmess_api_bulk_t *bulk = data;

    ngx_list_part_t  *part;

    ngx_http_vmess_api_bulk_end(bulk);

    for (part = &bulk->items.part; part; part = part->next) {
        ngx_explicit_memzero(part->elts,
                             part->nelts * sizeof(ngx_http_vmess_api_item_t));
    }
}
