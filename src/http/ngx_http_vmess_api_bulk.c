
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_bulk.h"
#include "ngx_http_vmess_api_body.h"
#include "ngx_http_vmess_api_change.h"
#include "ngx_http_vmess_api_user.h"


/* users that are checked in one go, or set: others wait for the lock meanwhile */

#define NGX_HTTP_VMESS_API_BULK_SLICE  32
#define NGX_HTTP_VMESS_API_BULK_SIZE   256


/* a user of the body */

typedef struct {
    ngx_str_node_t                name;
    ngx_str_node_t                id[NGX_VMESS_USER_IDS];
    ngx_uint_t                    number;    /* in the body */
    ngx_http_vmess_api_change_t   change;
    ngx_vmess_value_keys_t       *keys;      /* NULL: the ids are not new */
    unsigned                      users:1;   /* room that it needs */
    unsigned                      slots:4;
} ngx_http_vmess_api_item_t;


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

    /* room for what is not set yet: there will be slots of users that go */

    ngx_uint_t                    users;
    ngx_uint_t                    slots;
    ngx_uint_t                    spare;
    ngx_uint_t                    freed;

    ngx_http_vmess_api_ctx_t     *ctx;       /* of the edit, NULL: none */
    ngx_http_vmess_api_step_pt    change;    /* goes on, NULL: not begun */
    ngx_uint_t                    changes;   /* of the table, until others */
    ngx_uint_t                    others;    /* made some as well */
    ngx_uint_t                    left;      /* users who found no room */

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
static void ngx_http_vmess_api_bulk_finish(void *data);
static void ngx_http_vmess_api_bulk_end(ngx_http_vmess_api_bulk_t *bulk);
static void ngx_http_vmess_api_bulk_rewind(ngx_http_vmess_api_bulk_t *bulk);
static ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_next(
    ngx_http_vmess_api_bulk_t *bulk);
static ngx_int_t ngx_http_vmess_api_bulk_next_to_go(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_table_t *t,
    ngx_vmess_user_t **user);
static ngx_int_t ngx_http_vmess_api_bulk_count(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_check(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_check_item(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_value(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_vmess_value_t *value,
    ngx_uint_t exists, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_check_ids(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_check_id(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    const u_char *id, ngx_http_vmess_api_error_t *err);
static ngx_uint_t ngx_http_vmess_api_bulk_gives_up(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_value_t *other);
static ngx_int_t ngx_http_vmess_api_bulk_check_room(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_keep(ngx_http_vmess_api_bulk_t *bulk,
    ngx_vmess_table_t *t);
static ngx_int_t ngx_http_vmess_api_bulk_apply(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_clear(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_set(ngx_http_vmess_api_ctx_t *ctx);
static ngx_vmess_table_t *ngx_http_vmess_api_bulk_lock(
    ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_unlock(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_set_item(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item);
static ngx_int_t ngx_http_vmess_api_bulk_displace(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_user_t *other);
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
                                        "is missing");
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


/*
 * From here on nobody else changes users, so what holds for a user when it is
 * checked does so when it is changed.
 */

static ngx_int_t
ngx_http_vmess_api_bulk_begin(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_uint_t                   replaced;
    ngx_vmess_table_t           *t;
    ngx_http_vmess_api_bulk_t   *bulk;
    ngx_http_vmess_api_error_t   err;

    bulk = ctx->data;

    t = ngx_vmess_users_lock(ctx->zone);

    replaced = ctx->zone->sh->replaced;

    bulk->changes = ngx_vmess_table_changes(t);

    rc = ngx_http_vmess_api_if_match(ctx, 1, bulk->changes);

    if (rc == NGX_OK && !replaced) {
        rc = ngx_vmess_edit_begin(ctx->zone, ngx_http_vmess_api_bulk_finish,
                                  bulk);
    }

    ngx_vmess_users_unlock(ctx->zone);

    if (replaced) {
        (void) ngx_http_vmess_api_user_replaced(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    if (rc == NGX_BUSY) {
        return ngx_http_vmess_api_wait(ctx);
    }

    if (rc != NGX_OK) {
        return ngx_http_vmess_api_refuse(ctx->request,
                                         NGX_HTTP_PRECONDITION_FAILED,
                                         "Changed", "If-Match is not the "
                                         "present ETag, read the list again");
    }

    bulk->ctx = ctx;

    ngx_http_vmess_api_bulk_rewind(bulk);

    ctx->step = ngx_http_vmess_api_bulk_count;

    return ctx->step(ctx);
}


/* the request or the worker goes: what has begun is brought to its end */

static void
ngx_http_vmess_api_bulk_finish(void *data)
{
    ngx_http_vmess_api_bulk_t *bulk = data;

    while (bulk->change && bulk->change(bulk->ctx) == NGX_AGAIN) {
        /* void */
    }

    ngx_http_vmess_api_bulk_end(bulk);
}


static void
ngx_http_vmess_api_bulk_end(ngx_http_vmess_api_bulk_t *bulk)
{
    ngx_vmess_zone_t  *zone;

    if (bulk->ctx == NULL) {
        return;
    }

    zone = bulk->ctx->zone;

    if (bulk->change) {
        ngx_vmess_state_end_list(zone);
        bulk->change = NULL;
    }

    (void) ngx_vmess_users_lock(zone);

    ngx_vmess_edit_end(zone);

    ngx_vmess_users_unlock(zone);

    bulk->ctx = NULL;
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


/*
 * A user that goes with the list, or NULL: the next one to look at stays.
 * NGX_OK, or NGX_DONE after the last; the table is locked.
 */

static ngx_int_t
ngx_http_vmess_api_bulk_next_to_go(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_vmess_user_t **user)
{
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_item_t  *item;

    bulk = ctx->data;

    *user = NULL;

    if (ctx->request->method == NGX_HTTP_PUT) {

        if (bulk->i >= ngx_vmess_table_max(t)) {
            return NGX_DONE;
        }

        *user = ngx_vmess_table_user(t, bulk->i++);

        if (!ngx_vmess_table_used(*user)
            || ngx_http_vmess_api_bulk_find(bulk, &(*user)->name))
        {
            *user = NULL;
        }

    } else {
        item = ngx_http_vmess_api_bulk_next(bulk);

        if (item == NULL) {
            return NGX_DONE;
        }

        if (item->change.remove) {
            *user = ngx_vmess_table_find(t, &item->name.str);
        }
    }

    if (*user && (*user)->conf->origin != NGX_VMESS_ORIGIN_API) {
        *user = NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_count(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    rc = NGX_OK;

    t = ngx_vmess_users_lock(ctx->zone);

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE && rc == NGX_OK; i++) {

        rc = ngx_http_vmess_api_bulk_next_to_go(ctx, t, &user);

        if (user) {
            bulk->freed += ngx_vmess_table_held(user);
        }
    }

    ngx_vmess_users_unlock(ctx->zone);

    if (rc == NGX_DONE) {
        ngx_http_vmess_api_bulk_rewind(bulk);
        ctx->step = ngx_http_vmess_api_bulk_check;
    }

    return NGX_AGAIN;
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
            ngx_http_vmess_api_bulk_rewind(bulk);

            ngx_vmess_state_begin_list(ctx->zone);

            bulk->change = ngx_http_vmess_api_bulk_clear;
            ctx->step = ngx_http_vmess_api_bulk_apply;

            return NGX_AGAIN;
        }

        if (ngx_http_vmess_api_bulk_check_item(ctx, item, &err) != NGX_OK) {
            ngx_http_vmess_api_bulk_end(bulk);
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
    ngx_int_t                   rc;
    ngx_uint_t                  exists;
    ngx_http_vmess_api_info_t   info;

    exists = (ngx_http_vmess_api_user_find(ctx->zone, &item->name.str, &info)
              == NGX_OK);

    if (exists && info.user.value.origin != NGX_VMESS_ORIGIN_API) {
        rc = ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                           &item->name.str, NULL, err);

    } else if (!item->change.remove) {
        rc = ngx_http_vmess_api_bulk_value(ctx, item, &info.user.value,
                                           exists, err);
    } else if (exists) {
        rc = NGX_OK;

    } else {
        rc = ngx_http_vmess_api_error(err, NGX_HTTP_NOT_FOUND, "NoSuchUser",
                                      NULL, "there is no user \"%V\" in "
                                      "vmess_users \"%V\"", &item->name.str,
                                      &ctx->zone->name);
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    if (rc != NGX_OK || item->change.remove) {
        return rc;
    }

    if (ngx_http_vmess_api_bulk_check_ids(ctx, item, err) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_vmess_api_bulk_check_room(ctx, item, err);
}


/* makes the value that the user is to have of what it is, if it is there */

static ngx_int_t
ngx_http_vmess_api_bulk_value(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_vmess_value_t *value,
    ngx_uint_t exists, ngx_http_vmess_api_error_t *err)
{
    if (!exists || ctx->request->method == NGX_HTTP_PUT) {
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

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_check_ids(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_uint_t                  i;
    ngx_vmess_value_t          *value;
    ngx_http_vmess_api_bulk_t  *bulk;

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

        if (ngx_http_vmess_api_bulk_check_id(ctx, item, value->id[i], err)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* whether nobody has the id, or will have it when all is done */

static ngx_int_t
ngx_http_vmess_api_bulk_check_id(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, const u_char *id,
    ngx_http_vmess_api_error_t *err)
{
    ngx_int_t               rc;
    ngx_vmess_user_t       *user;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   other;

    t = ngx_vmess_users_lock(ctx->zone);

    user = ngx_vmess_table_find_id(t, id);

    rc = user ? ngx_vmess_table_get(t, ngx_vmess_table_number(t, user), &other)
              : NGX_DECLINED;

    ngx_vmess_users_unlock(ctx->zone);

    if (rc != NGX_OK) {
        return NGX_OK;
    }

    rc = ngx_http_vmess_api_bulk_gives_up(ctx, &other.value) ? NGX_OK
         : ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_TAKEN,
                                         &item->name.str, &other.value.name,
                                         err);

    ngx_explicit_memzero(&other, sizeof(ngx_vmess_user_info_t));

    return rc;
}


/*
 * Whether a user will not have its id any more when all is done.  If it is in the
 * body with the same id, that is found there to be twice.
 */

static ngx_uint_t
ngx_http_vmess_api_bulk_gives_up(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_value_t *other)
{
    ngx_http_vmess_api_item_t  *item;

    if (other->origin != NGX_VMESS_ORIGIN_API) {
        return 0;
    }

    item = ngx_http_vmess_api_bulk_find(ctx->data, &other->name);

    return item || ctx->request->method == NGX_HTTP_PUT;
}


/* whether there is room for it and those before, which is kept; and its keys */

static ngx_int_t
ngx_http_vmess_api_bulk_check_room(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_vmess_value_t          *value;
    ngx_vmess_table_t          *t;
    ngx_vmess_table_need_t      need;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    value = &item->change.value;

    t = ngx_vmess_users_lock(ctx->zone);

    ngx_vmess_table_need(t, value, &need);

    item->users = need.users;
    item->slots = need.slots;

    bulk->users += need.users;
    bulk->slots += need.slots;
    bulk->spare = ngx_max(bulk->spare, need.spare);

    rc = ngx_http_vmess_api_bulk_keep(bulk, t);

    ngx_vmess_users_unlock(ctx->zone);

    if (rc != NGX_OK) {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FULL,
                                             &item->name.str, NULL, err);
    }

    if (need.ids == 0) {
        return NGX_OK;
    }

    item->keys = ngx_palloc(ctx->request->pool,
                            sizeof(ngx_vmess_value_keys_t));

    if (item->keys == NULL
        || ngx_vmess_table_keys(value, item->keys) != NGX_OK)
    {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FAILED,
                                             &item->name.str, NULL, err);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_keep(ngx_http_vmess_api_bulk_t *bulk,
    ngx_vmess_table_t *t)
{
    ngx_uint_t  slots;

    slots = bulk->slots + bulk->spare;

    return ngx_vmess_table_keep(t, bulk->users,
                                slots - ngx_min(slots, bulk->freed));
}


static ngx_int_t
ngx_http_vmess_api_bulk_apply(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                   replaced;
    ngx_http_vmess_api_bulk_t   *bulk;
    ngx_http_vmess_api_error_t   err;

    bulk = ctx->data;

    if (bulk->change(ctx) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    /* a reload has not waited for the end any more */

    replaced = ctx->zone->sh->replaced;

    ngx_http_vmess_api_bulk_end(bulk);

    if (replaced) {
        (void) ngx_http_vmess_api_user_replaced(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    if (bulk->left) {
        ngx_log_error(NGX_LOG_ALERT, ctx->request->connection->log, 0,
                      "vmess_users \"%V\": no room for %ui users of a list, "
                      "a reload took it meanwhile",
                      &ctx->zone->name, bulk->left);
    }

    return ngx_http_vmess_api_save(ctx, ngx_http_vmess_api_bulk_send);
}


/* removes users that go: first, as others may get their ids and their room */

static ngx_int_t
ngx_http_vmess_api_bulk_clear(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    rc = NGX_OK;

    t = ngx_http_vmess_api_bulk_lock(ctx);

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE && rc == NGX_OK; i++) {

        rc = ngx_http_vmess_api_bulk_next_to_go(ctx, t, &user);

        if (user) {
            bulk->freed -= ngx_min(bulk->freed, ngx_vmess_table_held(user));

            ngx_vmess_table_remove(t, user);
            bulk->removed++;

            (void) ngx_http_vmess_api_bulk_keep(bulk, t);
        }
    }

    ngx_http_vmess_api_bulk_unlock(ctx);

    if (rc == NGX_DONE) {
        ngx_http_vmess_api_bulk_rewind(bulk);
        bulk->change = ngx_http_vmess_api_bulk_set;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_bulk_set(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                  i;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_item_t  *item;

    bulk = ctx->data;
    item = NULL;

    t = ngx_http_vmess_api_bulk_lock(ctx);

    for (i = 0; i < NGX_HTTP_VMESS_API_BULK_SLICE; i++) {

        item = ngx_http_vmess_api_bulk_next(bulk);

        if (item == NULL) {
            break;
        }

        if (!item->change.remove) {
            ngx_http_vmess_api_bulk_set_item(ctx, t, item);
        }
    }

    ngx_http_vmess_api_bulk_unlock(ctx);

    return item ? NGX_AGAIN : NGX_DONE;
}


/* if others made changes as well, the ETag is not that of what is there now */

static ngx_vmess_table_t *
ngx_http_vmess_api_bulk_lock(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    t = ngx_vmess_users_lock(ctx->zone);

    bulk->others |= (bulk->changes != ngx_vmess_table_changes(t));

    return t;
}


static void
ngx_http_vmess_api_bulk_unlock(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    if (!bulk->others) {
        bulk->changes = ngx_vmess_table_changes(ctx->zone->sh->table);
    }

    ngx_vmess_users_unlock(ctx->zone);
}


/*
 * Sets a user.  If a reload came between, it counts as the later one: a user
 * may be of the configuration now, or an id, without which a user goes.
 */

static void
ngx_http_vmess_api_bulk_set_item(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item)
{
    ngx_vmess_user_t           *user;
    ngx_vmess_value_t          *value;
    ngx_vmess_table_e           rc;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    value = &item->change.value;

    bulk->users -= item->users;
    bulk->slots -= item->slots;

    (void) ngx_http_vmess_api_bulk_keep(bulk, t);

    /* this may be a worker of an older configuration */

    ngx_vmess_limits_inherit(&value->limits, &ctx->zone->sh->defaults);

    do {
        rc = ngx_vmess_table_set(t, value, item->keys, &user);

    } while (rc == NGX_VMESS_TABLE_TAKEN
             && ngx_http_vmess_api_bulk_displace(ctx, t, value, user)
                == NGX_OK);

    switch (rc) {

    case NGX_VMESS_TABLE_SAME:
        bulk->unchanged++;
        break;

    case NGX_VMESS_TABLE_ADDED:
        bulk->added++;
        break;

    case NGX_VMESS_TABLE_CHANGED:
        bulk->changed++;
        break;

    case NGX_VMESS_TABLE_FOREIGN:
        break;

    case NGX_VMESS_TABLE_TAKEN:

        if (user->conf->origin == NGX_VMESS_ORIGIN_CONF) {

            user = ngx_vmess_table_find(t, &item->name.str);

            if (user) {
                ngx_vmess_table_remove(t, user);
                bulk->removed++;
            }

            break;
        }

        /* fall through */

    default: /* NGX_VMESS_TABLE_FULL, NGX_VMESS_TABLE_FAILED */
        bulk->left++;
    }
}


/*
 * Who has an id of another one gets its new ids in its turn.  There is room for
 * the one that it has until then, where the other one's is to be.
 *
 * NGX_DECLINED: it is of the configuration, or cannot be changed.
 */

static ngx_int_t
ngx_http_vmess_api_bulk_displace(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_vmess_value_t *value, ngx_vmess_user_t *other)
{
    if (other->conf->origin != NGX_VMESS_ORIGIN_API
        || ngx_http_vmess_api_bulk_find(ctx->data, &other->name) == NULL)
    {
        return NGX_DECLINED;
    }

    return ngx_vmess_table_displace(t, other, value);
}


static ngx_int_t
ngx_http_vmess_api_bulk_send(ngx_http_vmess_api_ctx_t *ctx)
{
    u_char                     *start;
    ngx_vmess_json_out_t        jo;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    if (bulk->left) {
        return ngx_http_vmess_api_refuse(ctx->request,
                                         NGX_HTTP_INSUFFICIENT_STORAGE,
                                         "ZoneFull", "no room for %ui users "
                                         "of the list, which a reload took "
                                         "meanwhile: give vmess_users \"%V\" "
                                         "a larger size, and send the list "
                                         "again", bulk->left,
                                         &ctx->zone->name);
    }

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

    ngx_http_vmess_api_item_t  *item;

    ngx_http_vmess_api_bulk_finish(bulk);

    ngx_http_vmess_api_bulk_rewind(bulk);

    while ((item = ngx_http_vmess_api_bulk_next(bulk)) != NULL) {

        if (item->keys) {
            ngx_explicit_memzero(item->keys, sizeof(ngx_vmess_value_keys_t));
        }

        ngx_explicit_memzero(item, sizeof(ngx_http_vmess_api_item_t));
    }
}
