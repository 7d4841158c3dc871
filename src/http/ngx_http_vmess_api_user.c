
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_user.h"
#include "ngx_http_vmess_api_body.h"
#include "ngx_http_vmess_api_change.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_set.h"
#include "proto/ngx_vmess_name.h"


/* how often a user is looked at anew that others change meanwhile */

#define NGX_HTTP_VMESS_API_USER_TRIES  16


typedef struct {
    ngx_http_vmess_api_reader_t   reader;
    ngx_http_vmess_api_change_t   change;
    ngx_http_vmess_api_info_t     info;    /* what the user is then */
    ngx_uint_t                    status;  /* of the answer */

    /*
     * What is done to the user, to one of the configuration as well; NULL: it
     * gets the token
     */

    void                        (*act)(ngx_vmess_table_t *t,
                                       ngx_vmess_user_t *user);
    ngx_uint_t                    conf;
    u_char                        token[NGX_VMESS_SUBSCRIPTION_LEN];
} ngx_http_vmess_api_user_t;


static ngx_int_t ngx_http_vmess_api_user_event(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_http_vmess_api_user_t *ngx_http_vmess_api_user_create(
    ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_user_step(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_user_try(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_change_t *change, ngx_http_vmess_api_info_t *info,
    ngx_vmess_table_e *done, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_answer(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_user_prepare(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_change_t *change, ngx_http_vmess_api_info_t *info,
    ngx_uint_t exists, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_set(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_info_t *info, ngx_uint_t exists,
    ngx_vmess_table_e *done, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_check(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_info_t *info, ngx_uint_t exists,
    ngx_http_vmess_api_info_t *now, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_do(ngx_http_vmess_api_ctx_t *ctx,
    void (*act)(ngx_vmess_table_t *t, ngx_vmess_user_t *user),
    ngx_uint_t conf, ngx_uint_t status);
static ngx_int_t ngx_http_vmess_api_user_run(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_user_act_step(
    ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_user_act(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_user_t *u, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_stale(
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_user_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t status, ngx_http_vmess_api_info_t *info);
static void ngx_http_vmess_api_user_wipe(void *data);


ngx_int_t
ngx_http_vmess_api_user_find(ngx_vmess_zone_t *zone, ngx_str_t *name,
    ngx_http_vmess_api_info_t *info)
{
    ngx_uint_t          n;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    t = ngx_vmess_users_lock(zone);

    user = ngx_vmess_table_find(t, name);
    n = user ? ngx_vmess_table_number(t, user) : 0;

    ngx_vmess_users_unlock(zone);

    if (user == NULL || ngx_http_vmess_api_field_load(zone, n, info) != NGX_OK
        || info->user.value.name.len != name->len
        || ngx_memcmp(info->user.value.name.data, name->data, name->len) != 0)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_api_user_get(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_error_t   err;

    if (ngx_http_vmess_api_user_find(ctx->zone, &ctx->name, &info) != NGX_OK) {
        (void) ngx_http_vmess_api_user_none(ctx, &err);
        rc = ngx_http_vmess_api_send_error(ctx->request, &err);

    } else if (ngx_http_vmess_api_if_match(ctx, 1, info.user.stamp)
               != NGX_OK)
    {
        (void) ngx_http_vmess_api_user_stale(&err);
        rc = ngx_http_vmess_api_send_error(ctx->request, &err);

    } else {
        rc = ngx_http_vmess_api_user_send(ctx, NGX_HTTP_OK, &info);
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    return rc;
}


/* PUT makes the user what the body says, PATCH changes what is in it */

ngx_int_t
ngx_http_vmess_api_user_change(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_user_t   *u;
    ngx_http_vmess_api_error_t   err;

    if (ctx->name.len > NGX_VMESS_USER_NAME_MAX
        || ngx_vmess_name_check(&ctx->name) != NGX_OK)
    {
        (void) ngx_http_vmess_api_error(&err, 422, "InvalidParameter", "name",
                                        "must be of 1 to %d bytes, "
                                        NGX_VMESS_NAME_TEXT,
                                        NGX_VMESS_USER_NAME_MAX);

        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    u = ngx_http_vmess_api_user_create(ctx);
    if (u == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    u->reader.change = &u->change;

    return ngx_http_vmess_api_body_read(ctx, ngx_http_vmess_api_user_event,
                                        ngx_http_vmess_api_user_step);
}


static ngx_http_vmess_api_user_t *
ngx_http_vmess_api_user_create(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_vmess_api_user_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_vmess_api_user_wipe;

    ngx_memzero(cln->data, sizeof(ngx_http_vmess_api_user_t));

    ctx->data = cln->data;

    return cln->data;
}


static ngx_int_t
ngx_http_vmess_api_user_event(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_str_t                  *name;
    ngx_http_vmess_api_user_t  *u;

    u = ngx_http_vmess_api_body_data(ctx);

    rc = ngx_http_vmess_api_change_event(&u->reader, js, err);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    name = &u->change.value.name;

    if (name->len
        && (name->len != ctx->name.len
            || ngx_memcmp(name->data, ctx->name.data, name->len) != 0))
    {
        return ngx_http_vmess_api_error(err, 422, "InvalidParameter", "name",
                                        "must be \"%V\" as in the path, or "
                                        "left out: a user cannot be renamed",
                                        &ctx->name);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_user_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_vmess_table_e            done;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_user_t   *u;
    ngx_http_vmess_api_error_t   err;

    u = ctx->data;
    done = NGX_VMESS_TABLE_SAME;
    rc = NGX_AGAIN;

    for (i = 0; i < NGX_HTTP_VMESS_API_USER_TRIES && rc == NGX_AGAIN; i++) {
        rc = ngx_http_vmess_api_user_try(ctx, &u->change, &info, &done, &err);
    }

    if (rc == NGX_OK) {
        u->status = (done == NGX_VMESS_TABLE_ADDED) ? NGX_HTTP_CREATED
                                                    : NGX_HTTP_OK;
        u->info = info;
        u->info.user.value.name.data = u->info.user.name;
    }

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    switch (rc) {

    case NGX_OK:
        return ngx_http_vmess_api_save(ctx, ngx_http_vmess_api_user_answer);

    case NGX_BUSY:
        return ngx_http_vmess_api_wait(ctx);

    case NGX_AGAIN:
        return ngx_http_vmess_api_refuse(ctx->request,
                                         NGX_HTTP_SERVICE_UNAVAILABLE, "Busy",
                                         "user \"%V\" is changed by others "
                                         "all the time, try again",
                                         &ctx->name);

    default: /* NGX_ERROR */
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }
}


/*
 * NGX_OK and what the user is then, NGX_ERROR, NGX_AGAIN: it is not what it was
 * any more, or NGX_BUSY: it has to wait.
 */

static ngx_int_t
ngx_http_vmess_api_user_try(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_change_t *change, ngx_http_vmess_api_info_t *info,
    ngx_vmess_table_e *done, ngx_http_vmess_api_error_t *err)
{
    ngx_uint_t  exists;

    /* some users may not be what they were or will be, for a moment */

    if (ngx_vmess_edit_is_open(ctx->zone)) {
        return NGX_BUSY;
    }

    info->user.stamp = 0;

    exists = (ngx_http_vmess_api_user_find(ctx->zone, &ctx->name, info)
              == NGX_OK);

    if (ngx_http_vmess_api_user_prepare(ctx, change, info, exists, err)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_api_user_set(ctx, info, exists, done, err);
}


static ngx_int_t
ngx_http_vmess_api_user_answer(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_user_t *u = ctx->data;

    if (u->status == NGX_HTTP_NO_CONTENT) {
        return ngx_http_vmess_api_send(ctx->request, u->status, NULL, NULL);
    }

    return ngx_http_vmess_api_user_send(ctx, u->status, &u->info);
}


/* makes the value that the user is to have */

static ngx_int_t
ngx_http_vmess_api_user_prepare(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_change_t *change, ngx_http_vmess_api_info_t *info,
    ngx_uint_t exists, ngx_http_vmess_api_error_t *err)
{
    ngx_table_elt_t    *none;
    ngx_vmess_value_t  *value;

    if (ngx_http_vmess_api_if_match(ctx, exists, info->user.stamp) != NGX_OK) {
        return ngx_http_vmess_api_user_stale(err);
    }

    none = ctx->request->headers_in.if_none_match;

    if (exists && none && none->value.len == 1 && none->value.data[0] == '*') {
        return ngx_http_vmess_api_error(err, NGX_HTTP_PRECONDITION_FAILED,
                                        "Exists", NULL, "user \"%V\" is there "
                                        "already, and is not replaced",
                                        &ctx->name);
    }

    value = &info->user.value;

    if (!exists && ctx->request->method == NGX_HTTP_PATCH) {
        return ngx_http_vmess_api_user_none(ctx, err);
    }

    if (exists && value->origin != NGX_VMESS_ORIGIN_API) {
        return ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                             &ctx->name, err);
    }

    if (!exists) {
        ngx_memzero(value, sizeof(ngx_vmess_value_t));
    }

    if (ctx->request->method == NGX_HTTP_PUT) {
        ngx_http_vmess_api_change_clear(value);
    }

    value->name = ctx->name;
    value->origin = NGX_VMESS_ORIGIN_API;

    ngx_http_vmess_api_change_merge(change, value);

    ngx_vmess_limits_inherit(&value->limits, &ctx->zone->defaults);

    if (ngx_http_vmess_api_change_check(value, err) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* sets the value in info, and gets what the user is then; codes as above */

static ngx_int_t
ngx_http_vmess_api_user_set(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_info_t *info, ngx_uint_t exists,
    ngx_vmess_table_e *done, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_t          *t;
    ngx_vmess_value_keys_t      keys;
    ngx_http_vmess_api_info_t   now;

    *done = NGX_VMESS_TABLE_FAILED;

    if (ngx_vmess_table_keys(&info->user.value, &keys) != NGX_OK) {
        rc = NGX_DECLINED;
        goto done;
    }

    t = ngx_vmess_users_lock(ctx->zone);

    rc = ngx_http_vmess_api_user_check(ctx, t, info, exists, &now, err);

    if (rc == NGX_OK) {
        user = ngx_http_vmess_api_user_token_owner(t, &info->user.value);

        if (user) {
            rc = ngx_http_vmess_api_user_token_taken(&ctx->name, &user->name,
                                                     err);
        }
    }

    if (rc == NGX_OK) {

        /* this may be a worker of an older configuration */

        ngx_vmess_limits_inherit(&info->user.value.limits,
                                 &ctx->zone->sh->defaults);

        *done = ngx_vmess_table_set(t, &info->user.value, &keys, &user);

        if (user == NULL
            || ngx_http_vmess_api_field_load(ctx->zone,
                                             ngx_vmess_table_number(t, user),
                                             &now)
               != NGX_OK
            || *done > NGX_VMESS_TABLE_CHANGED)
        {
            rc = NGX_DECLINED;
        }
    }

    ngx_vmess_users_unlock(ctx->zone);

done:

    if (rc == NGX_OK) {
        *info = now;
        info->user.value.name.data = info->user.name;

    } else if (*done == NGX_VMESS_TABLE_TAKEN) {
        rc = ngx_http_vmess_api_user_id_taken(&info->user.value,
                                              &now.user.value, err);

    } else if (rc == NGX_DECLINED) {
        rc = ngx_http_vmess_api_user_error(ctx, *done, &ctx->name, err);
    }

    ngx_explicit_memzero(&keys, sizeof(ngx_vmess_value_keys_t));
    ngx_explicit_memzero(&now, sizeof(ngx_http_vmess_api_info_t));

    return rc;
}


ngx_vmess_user_t *
ngx_http_vmess_api_user_token_owner(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value)
{
    u_char             text[NGX_VMESS_SUBSCRIPTION_MAX];
    ngx_str_t          token, *name;
    ngx_vmess_user_t  *user;

    token.data = text;
    token.len = ngx_vmess_table_token(text, value) - text;

    user = ngx_vmess_table_find_token(t, &token);

    ngx_explicit_memzero(text, sizeof(text));

    if (user == NULL
        || user == ngx_vmess_table_find_id(t, value->id[NGX_VMESS_USER_OWN]))
    {
        return NULL;
    }

    name = &value->name;

    return (user->name.len == name->len
            && ngx_memcmp(user->text, name->data, name->len) == 0)
           ? NULL : user;
}


ngx_int_t
ngx_http_vmess_api_user_token_taken(ngx_str_t *name, ngx_str_t *other,
    ngx_http_vmess_api_error_t *err)
{
    return ngx_http_vmess_api_error(err, NGX_HTTP_CONFLICT, "TokenTaken",
                                    "token", "the token of user \"%V\" is that "
                                    "of user \"%V\", give each one of its own",
                                    name, other);
}


/* whether the user still is as it was read; the table is locked */

static ngx_int_t
ngx_http_vmess_api_user_check(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_http_vmess_api_info_t *info, ngx_uint_t exists,
    ngx_http_vmess_api_info_t *now, ngx_http_vmess_api_error_t *err)
{
    ngx_vmess_user_t  *user;

    if (ctx->zone->sh->replaced) {
        return ngx_http_vmess_api_user_replaced(ctx, err);
    }

    ngx_vmess_edit_bury(ctx->zone);

    if (ngx_vmess_edit_is_open(ctx->zone)) {
        return NGX_BUSY;
    }

    user = ngx_vmess_table_find(t, &ctx->name);

    if (user == NULL) {
        return exists ? NGX_AGAIN : NGX_OK;
    }

    if (!exists
        || ngx_http_vmess_api_field_load(ctx->zone,
                                         ngx_vmess_table_number(t, user), now)
           != NGX_OK
        || now->user.stamp != info->user.stamp)
    {
        return NGX_AGAIN;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_api_user_delete(ngx_http_vmess_api_ctx_t *ctx)
{
    return ngx_http_vmess_api_user_do(ctx, ngx_vmess_table_remove, 0,
                                      NGX_HTTP_NO_CONTENT);
}


ngx_int_t
ngx_http_vmess_api_user_kick(ngx_http_vmess_api_ctx_t *ctx)
{
    return ngx_http_vmess_api_user_do(ctx, ngx_vmess_table_kick, 1,
                                      NGX_HTTP_OK);
}


ngx_int_t
ngx_http_vmess_api_user_reset(ngx_http_vmess_api_ctx_t *ctx)
{
    return ngx_http_vmess_api_user_do(ctx, ngx_vmess_table_reset, 1,
                                      NGX_HTTP_OK);
}


static ngx_int_t
ngx_http_vmess_api_user_do(ngx_http_vmess_api_ctx_t *ctx,
    void (*act)(ngx_vmess_table_t *t, ngx_vmess_user_t *user),
    ngx_uint_t conf, ngx_uint_t status)
{
    ngx_http_vmess_api_user_t  *u;

    u = ngx_http_vmess_api_user_create(ctx);
    if (u == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    u->act = act;
    u->conf = conf;
    u->status = status;

    return ngx_http_vmess_api_user_run(ctx);
}


/* another address of the subscription */

ngx_int_t
ngx_http_vmess_api_user_token(ngx_http_vmess_api_ctx_t *ctx)
{
    u_char                      random[NGX_VMESS_SUBSCRIPTION_RANDOM];
    ngx_http_vmess_api_user_t  *u;

    u = ngx_http_vmess_api_user_create(ctx);

    if (u == NULL
        || RAND_bytes(random, NGX_VMESS_SUBSCRIPTION_RANDOM) != 1)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_subscription_text(u->token, random);

    ngx_explicit_memzero(random, NGX_VMESS_SUBSCRIPTION_RANDOM);

    u->status = NGX_HTTP_OK;

    return ngx_http_vmess_api_user_run(ctx);
}


static ngx_int_t
ngx_http_vmess_api_user_run(ngx_http_vmess_api_ctx_t *ctx)
{
    ctx->step = ngx_http_vmess_api_user_act_step;
    ctx->request->main->count++;

    ngx_http_vmess_api_run(ctx);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_vmess_api_user_act_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_vmess_api_user_t   *u;
    ngx_http_vmess_api_error_t   err;

    u = ctx->data;

    rc = ngx_http_vmess_api_user_act(ctx, u, &err);

    if (rc == NGX_BUSY) {
        return ngx_http_vmess_api_wait(ctx);
    }

    if (rc != NGX_OK) {
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    /* there is nothing to be saved of flows that end */

    if (u->act == ngx_vmess_table_kick) {
        return ngx_http_vmess_api_user_answer(ctx);
    }

    return ngx_http_vmess_api_save(ctx, ngx_http_vmess_api_user_answer);
}


/*
 * Does something to a user; u->info is what it is then, if there is one.
 * NGX_OK, NGX_ERROR, or NGX_BUSY: it has to wait.
 */

static ngx_int_t
ngx_http_vmess_api_user_act(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_user_t *u, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t                   rc;
    ngx_str_t                   token;
    ngx_uint_t                  n;
    ngx_vmess_user_t           *user;
    ngx_vmess_table_e           done;
    ngx_vmess_table_t          *t;
    ngx_http_vmess_api_info_t  *info;

    rc = NGX_ERROR;
    done = NGX_VMESS_TABLE_CHANGED;
    info = &u->info;

    t = ngx_vmess_users_lock(ctx->zone);

    if (ngx_vmess_edit_is_open(ctx->zone)) {
        ngx_vmess_users_unlock(ctx->zone);
        return NGX_BUSY;
    }

    user = ngx_vmess_table_find(t, &ctx->name);
    n = user ? ngx_vmess_table_number(t, user) : 0;

    if (ctx->zone->sh->replaced) {
        (void) ngx_http_vmess_api_user_replaced(ctx, err);

    } else if (user == NULL
               || ngx_http_vmess_api_field_load(ctx->zone, n, info) != NGX_OK)
    {
        (void) ngx_http_vmess_api_user_none(ctx, err);

    } else if (ngx_http_vmess_api_if_match(ctx, 1, info->user.stamp)
               != NGX_OK)
    {
        (void) ngx_http_vmess_api_user_stale(err);

    } else if (!u->conf && info->user.value.origin != NGX_VMESS_ORIGIN_API) {
        (void) ngx_http_vmess_api_user_error(ctx, NGX_VMESS_TABLE_FOREIGN,
                                             &ctx->name, err);
    } else {
        if (u->act) {
            u->act(t, user);

        } else {
            token.data = u->token;
            token.len = NGX_VMESS_SUBSCRIPTION_LEN;
            done = ngx_vmess_table_set_token(t, user, &token);
        }

        (void) ngx_http_vmess_api_field_load(ctx->zone, n, info);

        rc = (done <= NGX_VMESS_TABLE_CHANGED)
             ? NGX_OK
             : ngx_http_vmess_api_user_error(ctx, done, &ctx->name, err);
    }

    ngx_vmess_users_unlock(ctx->zone);

    return rc;
}


ngx_int_t
ngx_http_vmess_api_user_error(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_e rc, ngx_str_t *name, ngx_http_vmess_api_error_t *err)
{
    ngx_str_t   file;
    ngx_uint_t  line;

    switch (rc) {

    case NGX_VMESS_TABLE_FULL:
        return ngx_http_vmess_api_error(err, NGX_HTTP_INSUFFICIENT_STORAGE,
                                        "ZoneFull", NULL,
                                        "no room for user \"%V\" in "
                                        "vmess_users \"%V\", give it a larger "
                                        "size",
                                        name, &ctx->zone->name);

    case NGX_VMESS_TABLE_FOREIGN:

        if (ngx_vmess_users_where(ctx->zone, name, &file, &line) == NGX_OK) {
            return ngx_http_vmess_api_error(err, NGX_HTTP_CONFLICT,
                                            "DefinedInConfiguration", NULL,
                                            "user \"%V\" is defined in %V:%ui, "
                                            "change it there",
                                            name, &file, line);
        }

        return ngx_http_vmess_api_error(err, NGX_HTTP_CONFLICT,
                                        "DefinedInConfiguration", NULL,
                                        "user \"%V\" is defined in the "
                                        "configuration, change it there",
                                        name);

    default: /* NGX_VMESS_TABLE_FAILED */

        ngx_ssl_error(NGX_LOG_ALERT, ctx->request->connection->log, 0,
                      "keys of user \"%V\" failed", name);

        return ngx_http_vmess_api_error(err, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                        "InternalError", NULL,
                                        "keys of user \"%V\" failed, see the "
                                        "error log", name);
    }
}


ngx_int_t
ngx_http_vmess_api_user_id_taken(ngx_vmess_value_t *value,
    ngx_vmess_value_t *other, ngx_http_vmess_api_error_t *err)
{
    ngx_uint_t   k;
    const char  *field;

    field = "also";

    for (k = 0; k < other->ids; k++) {

        if (ngx_vmess_equal(other->id[k], value->id[NGX_VMESS_USER_OWN],
                            NGX_VMESS_ID_LEN))
        {
            field = "id";
        }
    }

    return ngx_http_vmess_api_error(err, NGX_HTTP_CONFLICT, "IdTaken", field,
                                    "an id of user \"%V\" is that of user "
                                    "\"%V\", give each one of its own",
                                    &value->name, &other->name);
}


ngx_int_t
ngx_http_vmess_api_user_none(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_error_t *err)
{
    return ngx_http_vmess_api_error(err, NGX_HTTP_NOT_FOUND, "NoSuchUser",
                                    NULL, "there is no user \"%V\" in "
                                    "vmess_users \"%V\"", &ctx->name,
                                    &ctx->zone->name);
}


ngx_int_t
ngx_http_vmess_api_user_replaced(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_error_t *err)
{
    return ngx_http_vmess_api_error(err, NGX_HTTP_SERVICE_UNAVAILABLE,
                                    "Reloaded", NULL, "vmess_users \"%V\" has "
                                    "another size since a reload, try again "
                                    "on a new connection", &ctx->zone->name);
}


static ngx_int_t
ngx_http_vmess_api_user_stale(ngx_http_vmess_api_error_t *err)
{
    return ngx_http_vmess_api_error(err, NGX_HTTP_PRECONDITION_FAILED,
                                    "Changed", NULL, "If-Match is not the "
                                    "present ETag, read it again");
}


static ngx_int_t
ngx_http_vmess_api_user_send(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t status,
    ngx_http_vmess_api_info_t *info)
{
    u_char                *start;
    ngx_vmess_json_out_t   jo;

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      NGX_HTTP_VMESS_API_USER_SIZE);

    if (start == NULL
        || ngx_http_vmess_api_set_etag(ctx, info->user.stamp) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_vmess_api_field_write(&jo, info,
                                   ngx_http_vmess_api_field_all(ctx));

    return ngx_http_vmess_api_send(ctx->request, status, start, &jo);
}


static void
ngx_http_vmess_api_user_wipe(void *data)
{
    ngx_explicit_memzero(data, sizeof(ngx_http_vmess_api_user_t));
}
