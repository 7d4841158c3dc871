
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_bulk_edit.h"
#include "ngx_http_vmess_api_bulk_apply.h"
#include "ngx_http_vmess_api_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_room.h"


/* of the answer */

#define NGX_HTTP_VMESS_API_BULK_SIZE   256


static ngx_int_t ngx_http_vmess_api_bulk_edit_begin(
    ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_edit_finish(void *data);
static void ngx_http_vmess_api_bulk_edit_end(ngx_http_vmess_api_bulk_t *bulk);
static ngx_int_t ngx_http_vmess_api_bulk_edit_count(
    ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check(
    ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check_item(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_edit_value(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_vmess_value_t *value, ngx_uint_t exists,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check_ids(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check_id(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    const u_char *id, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check_token(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_uint_t ngx_http_vmess_api_bulk_edit_gives_up(
    ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t origin, ngx_str_t *name);
static ngx_int_t ngx_http_vmess_api_bulk_edit_check_room(
    ngx_http_vmess_api_ctx_t *ctx, ngx_http_vmess_api_item_t *item,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_bulk_edit_apply(
    ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_bulk_edit_send(
    ngx_http_vmess_api_ctx_t *ctx);


ngx_int_t
ngx_http_vmess_api_bulk_edit(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ngx_http_vmess_api_bulk_create(ctx);
    if (bulk == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_vmess_api_bulk_edit_finish;
    cln->data = bulk;

    return ngx_http_vmess_api_bulk_read(ctx,
                                        ngx_http_vmess_api_bulk_edit_begin);
}


/*
 * From here on nobody else changes users, so what holds for a user when it is
 * checked does so when it is changed.
 */

static ngx_int_t
ngx_http_vmess_api_bulk_edit_begin(ngx_http_vmess_api_ctx_t *ctx)
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
        rc = ngx_vmess_edit_begin(ctx->zone,
                                  ngx_http_vmess_api_bulk_edit_finish, bulk);
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

    ctx->step = ngx_http_vmess_api_bulk_edit_count;

    return ctx->step(ctx);
}


/* the request or the worker goes: what has begun is brought to its end */

static void
ngx_http_vmess_api_bulk_edit_finish(void *data)
{
    ngx_http_vmess_api_bulk_t *bulk = data;

    while (bulk->change && bulk->change(bulk->ctx) == NGX_AGAIN) {
        /* void */
    }

    ngx_http_vmess_api_bulk_edit_end(bulk);
}


static void
ngx_http_vmess_api_bulk_edit_end(ngx_http_vmess_api_bulk_t *bulk)
{
    ngx_vmess_zone_t  *zone;

    if (bulk->ctx == NULL) {
        return;
    }

    zone = bulk->ctx->zone;

    bulk->change = NULL;

    (void) ngx_vmess_users_lock(zone);

    ngx_vmess_edit_end(zone);

    ngx_vmess_users_unlock(zone);

    bulk->ctx = NULL;
}


static ngx_int_t
ngx_http_vmess_api_bulk_edit_count(ngx_http_vmess_api_ctx_t *ctx)
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
            bulk->freed += ngx_vmess_table_room_held(user);
        }
    }

    ngx_vmess_users_unlock(ctx->zone);

    if (rc == NGX_DONE) {
        ngx_http_vmess_api_bulk_rewind(bulk);
        ctx->step = ngx_http_vmess_api_bulk_edit_check;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_bulk_edit_check(ngx_http_vmess_api_ctx_t *ctx)
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

            ngx_vmess_edit_apply(ctx->zone);

            bulk->change = ngx_http_vmess_api_bulk_apply_clear;
            ctx->step = ngx_http_vmess_api_bulk_edit_apply;

            return NGX_AGAIN;
        }

        if (ngx_http_vmess_api_bulk_edit_check_item(ctx, item, &err)
            != NGX_OK)
        {
            ngx_http_vmess_api_bulk_edit_end(bulk);
            ngx_http_vmess_api_bulk_where(item->number, &err);
            return ngx_http_vmess_api_send_error(ctx->request, &err);
        }
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_bulk_edit_check_item(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_uint_t                  exists;
    ngx_http_vmess_api_info_t   info;

    exists = (ngx_http_vmess_api_user_find(ctx->zone, &item->name.str, &info)
              == NGX_OK);

    if (exists && info.user.value.origin != NGX_VMESS_ORIGIN_API) {
        rc = ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                           &item->name.str, err);

    } else if (!item->change.remove) {
        rc = ngx_http_vmess_api_bulk_edit_value(ctx, item, &info.user.value,
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

    if (ngx_http_vmess_api_bulk_edit_check_ids(ctx, item, err) != NGX_OK
        || ngx_http_vmess_api_bulk_edit_check_token(ctx, item, err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_api_bulk_edit_check_room(ctx, item, err);
}


/* makes the value that the user is to have of what it is, if it is there */

static ngx_int_t
ngx_http_vmess_api_bulk_edit_value(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_vmess_value_t *value,
    ngx_uint_t exists, ngx_http_vmess_api_error_t *err)
{
    if (!exists) {
        ngx_memzero(value, sizeof(ngx_vmess_value_t));

    } else if (ctx->request->method == NGX_HTTP_PUT) {
        ngx_http_vmess_api_change_clear(value);
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
ngx_http_vmess_api_bulk_edit_check_ids(ngx_http_vmess_api_ctx_t *ctx,
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

        if (ngx_http_vmess_api_bulk_edit_check_id(ctx, item, value->id[i], err)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* whether nobody has the id, or will have it when all is done */

static ngx_int_t
ngx_http_vmess_api_bulk_edit_check_id(ngx_http_vmess_api_ctx_t *ctx,
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

    rc = ngx_http_vmess_api_bulk_edit_gives_up(ctx, other.value.origin,
                                               &other.value.name)
         ? NGX_OK
         : ngx_http_vmess_api_user_id_taken(&item->change.value, &other.value,
                                            err);

    ngx_explicit_memzero(&other, sizeof(ngx_vmess_user_info_t));

    return rc;
}


/* as ids, and those that are made of them as well */

static ngx_int_t
ngx_http_vmess_api_bulk_edit_check_token(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_item_t *item, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_str_t                  *token;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    token = &item->token.str;

    token->data = item->text;
    token->len = ngx_vmess_table_token(item->text, &item->change.value)
                 - item->text;

    item->token.node.key = ngx_crc32_short(token->data, token->len);

    if (ngx_str_rbtree_lookup(&bulk->tokens, token, item->token.node.key)) {
        return ngx_http_vmess_api_error(err, 422, "InvalidParameter", "token",
                                        "the token of user \"%V\" is there "
                                        "twice, give each one of its own",
                                        &item->name.str);
    }

    ngx_rbtree_insert(&bulk->tokens, &item->token.node);

    rc = NGX_OK;

    t = ngx_vmess_users_lock(ctx->zone);

    user = ngx_http_vmess_api_user_token_owner(t, &item->change.value);

    if (user
        && !ngx_http_vmess_api_bulk_edit_gives_up(ctx, user->conf->origin,
                                                  &user->name))
    {
        rc = ngx_http_vmess_api_user_token_taken(&item->name.str, &user->name,
                                                 err);
    }

    ngx_vmess_users_unlock(ctx->zone);

    return rc;
}


/*
 * Whether a user will not have its id or token any more when all is done.  If
 * it is in the body with the same one, that is found there to be twice.
 */

static ngx_uint_t
ngx_http_vmess_api_bulk_edit_gives_up(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t origin, ngx_str_t *name)
{
    ngx_http_vmess_api_item_t  *item;

    if (origin != NGX_VMESS_ORIGIN_API) {
        return 0;
    }

    item = ngx_http_vmess_api_bulk_find(ctx->data, name);

    return item || ctx->request->method == NGX_HTTP_PUT;
}


/* whether there is room for it and those before, which is kept; and its keys */

static ngx_int_t
ngx_http_vmess_api_bulk_edit_check_room(ngx_http_vmess_api_ctx_t *ctx,
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

    ngx_vmess_table_room_need(t, value, &need);

    item->users = need.users;
    item->slots = need.slots;

    bulk->users += need.users;
    bulk->slots += need.slots;
    bulk->spare = ngx_max(bulk->spare, need.spare);

    rc = ngx_http_vmess_api_bulk_keep(bulk, t);

    ngx_vmess_users_unlock(ctx->zone);

    if (rc != NGX_OK) {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FULL,
                                             &item->name.str, err);
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
                                             &item->name.str, err);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_bulk_edit_apply(ngx_http_vmess_api_ctx_t *ctx)
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

    ngx_http_vmess_api_bulk_edit_end(bulk);

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

    return ngx_http_vmess_api_save(ctx, ngx_http_vmess_api_bulk_edit_send);
}


static ngx_int_t
ngx_http_vmess_api_bulk_edit_send(ngx_http_vmess_api_ctx_t *ctx)
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
