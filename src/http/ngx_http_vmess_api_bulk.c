
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_bulk.h"
#include "ngx_http_vmess_api_body.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_room.h"


static ngx_int_t ngx_http_vmess_api_bulk_event(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_user(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_bulk_t *bulk, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_add(ngx_http_vmess_api_bulk_t *bulk,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err);
static void ngx_http_vmess_api_bulk_wipe(void *data);


ngx_http_vmess_api_bulk_t *
ngx_http_vmess_api_bulk_create(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_pool_t                 *pool;
    ngx_pool_cleanup_t         *cln;
    ngx_http_vmess_api_bulk_t  *bulk;

    pool = ctx->request->pool;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_vmess_api_bulk_t));
    if (cln == NULL) {
        return NULL;
    }

    bulk = cln->data;
    ngx_memzero(bulk, sizeof(ngx_http_vmess_api_bulk_t));

    if (ngx_list_init(&bulk->items, pool, 16,
                      sizeof(ngx_http_vmess_api_item_t))
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = ngx_http_vmess_api_bulk_wipe;

    ngx_rbtree_init(&bulk->names, &bulk->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&bulk->ids, &bulk->sentinel, ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&bulk->tokens, &bulk->sentinel,
                    ngx_str_rbtree_insert_value);

    ctx->data = bulk;

    return bulk;
}


ngx_int_t
ngx_http_vmess_api_bulk_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_step_pt begin)
{
    return ngx_http_vmess_api_body_read(ctx, ngx_http_vmess_api_bulk_event,
                                        begin);
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


ngx_http_vmess_api_item_t *
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

void
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


void
ngx_http_vmess_api_bulk_rewind(ngx_http_vmess_api_bulk_t *bulk)
{
    bulk->part = &bulk->items.part;
    bulk->i = 0;
}


ngx_http_vmess_api_item_t *
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


ngx_int_t
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


ngx_int_t
ngx_http_vmess_api_bulk_keep(ngx_http_vmess_api_bulk_t *bulk,
    ngx_vmess_table_t *t)
{
    ngx_uint_t  slots;

    slots = bulk->slots + bulk->spare;

    return ngx_vmess_table_room_keep(t, bulk->users,
                                     slots - ngx_min(slots, bulk->freed));
}


/* there are ids and tokens in it */

static void
ngx_http_vmess_api_bulk_wipe(void *data)
{
    ngx_http_vmess_api_bulk_t *bulk = data;

    ngx_http_vmess_api_item_t  *item;

    ngx_http_vmess_api_bulk_rewind(bulk);

    while ((item = ngx_http_vmess_api_bulk_next(bulk)) != NULL) {

        if (item->keys) {
            ngx_explicit_memzero(item->keys, sizeof(ngx_vmess_value_keys_t));
        }

        ngx_explicit_memzero(item, sizeof(ngx_http_vmess_api_item_t));
    }
}
