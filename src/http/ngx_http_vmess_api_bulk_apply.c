
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_bulk_apply.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_room.h"
#include "event/ngx_vmess_table_set.h"


static ngx_vmess_table_t *ngx_http_vmess_api_bulk_apply_lock(
    ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_apply_unlock(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_bulk_apply_item(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_item_t *item);
static ngx_int_t ngx_http_vmess_api_bulk_apply_displace(
    ngx_http_vmess_api_ctx_t *ctx, ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_user_t *other);


ngx_int_t
ngx_http_vmess_api_bulk_apply_clear(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;
    rc = NGX_OK;

    t = ngx_http_vmess_api_bulk_apply_lock(ctx);

    for (i = 0; i < NGX_HTTP_VMESS_API_BULK_SLICE && rc == NGX_OK; i++) {

        rc = ngx_http_vmess_api_bulk_next_to_go(ctx, t, &user);

        if (user) {
            bulk->freed -= ngx_min(bulk->freed,
                                   ngx_vmess_table_room_held(user));

            ngx_vmess_table_remove(t, user);
            bulk->removed++;

            (void) ngx_http_vmess_api_bulk_keep(bulk, t);
        }
    }

    ngx_http_vmess_api_bulk_apply_unlock(ctx);

    if (rc == NGX_DONE) {
        ngx_http_vmess_api_bulk_rewind(bulk);
        bulk->change = ngx_http_vmess_api_bulk_apply_set;
    }

    return NGX_AGAIN;
}


ngx_int_t
ngx_http_vmess_api_bulk_apply_set(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_uint_t                  i;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;
    ngx_http_vmess_api_item_t  *item;

    bulk = ctx->data;
    item = NULL;

    t = ngx_http_vmess_api_bulk_apply_lock(ctx);

    for (i = 0; i < NGX_HTTP_VMESS_API_BULK_SLICE; i++) {

        item = ngx_http_vmess_api_bulk_next(bulk);

        if (item == NULL) {
            break;
        }

        if (!item->change.remove) {
            ngx_http_vmess_api_bulk_apply_item(ctx, t, item);
        }
    }

    ngx_http_vmess_api_bulk_apply_unlock(ctx);

    return item ? NGX_AGAIN : NGX_DONE;
}


/* if others made changes as well, the ETag is not that of what is there now */

static ngx_vmess_table_t *
ngx_http_vmess_api_bulk_apply_lock(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_bulk_t  *bulk;

    bulk = ctx->data;

    t = ngx_vmess_users_lock(ctx->zone);

    bulk->others |= (bulk->changes != ngx_vmess_table_changes(t));

    return t;
}


static void
ngx_http_vmess_api_bulk_apply_unlock(ngx_http_vmess_api_ctx_t *ctx)
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
ngx_http_vmess_api_bulk_apply_item(ngx_http_vmess_api_ctx_t *ctx,
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
             && ngx_http_vmess_api_bulk_apply_displace(ctx, t, value, user)
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
ngx_http_vmess_api_bulk_apply_displace(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_vmess_value_t *value, ngx_vmess_user_t *other)
{
    if (other->conf->origin != NGX_VMESS_ORIGIN_API
        || ngx_http_vmess_api_bulk_find(ctx->data, &other->name) == NULL)
    {
        return NGX_DECLINED;
    }

    return ngx_vmess_table_set_aside(t, other, value);
}
