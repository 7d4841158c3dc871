
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_users_add.h"


static ngx_int_t ngx_stream_vmess_users_add_token(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static ngx_int_t ngx_stream_vmess_users_add_ids(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static ngx_vmess_user_conf_t *ngx_stream_vmess_users_add_owner(
    ngx_str_node_t *node);


ngx_int_t
ngx_stream_vmess_users_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_vmess_user_conf_t  **userp;

    user->name.node.key = ngx_crc32_long(user->name.str.data,
                                         user->name.str.len);

    if (ngx_str_rbtree_lookup(&zone->names, &user->name.str,
                              user->name.node.key))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate user \"%V\" in vmess_users \"%V\"",
                           &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    if (ngx_stream_vmess_users_add_ids(cf, zone, user) != NGX_OK
        || ngx_stream_vmess_users_add_token(cf, zone, user) != NGX_OK)
    {
        return NGX_ERROR;
    }

    userp = ngx_array_push(&zone->users);
    if (userp == NULL) {
        return NGX_ERROR;
    }

    *userp = user;

    zone->nlegacy += user->value.limits.alter_id;

    ngx_rbtree_insert(&zone->names, &user->name.node);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_users_add_token(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_str_node_t         *token, *node;
    ngx_vmess_user_conf_t  *other;

    token = &user->token;

    token->str.data = user->value.limits.token;
    token->str.len = ngx_strlen(token->str.data);

    if (token->str.len == 0) {
        return NGX_OK;
    }

    token->node.key = ngx_crc32_short(token->str.data, token->str.len);

    node = ngx_str_rbtree_lookup(&zone->subscriptions, &token->str,
                                 token->node.key);

    if (node) {
        other = (ngx_vmess_user_conf_t *)
                    ((u_char *) node - offsetof(ngx_vmess_user_conf_t, token));

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "users \"%V\" and \"%V\" in vmess_users \"%V\" "
                           "have the same \"token=\", give each one of its own",
                           &other->name.str, &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    ngx_rbtree_insert(&zone->subscriptions, &token->node);

    return NGX_OK;
}


/* the same id gives the same CmdKey */

static ngx_int_t
ngx_stream_vmess_users_add_ids(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_uint_t              k;
    ngx_str_node_t         *id, *node;
    ngx_vmess_user_conf_t  *other;

    for (k = 0; k < user->value.ids; k++) {

        id = &user->id[k];

        id->str.len = NGX_VMESS_KEY_LEN;
        id->str.data = user->cmd_key[k];
        id->node.key = ngx_crc32_short(id->str.data, NGX_VMESS_KEY_LEN);

        node = ngx_str_rbtree_lookup(&zone->ids, &id->str, id->node.key);

        if (node == NULL) {
            ngx_rbtree_insert(&zone->ids, &id->node);
            continue;
        }

        other = ngx_stream_vmess_users_add_owner(node);

        if (other == user) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"also=\" of user \"%V\" is the id that the "
                               "user has, give another one", &user->name.str);
            return NGX_ERROR;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "users \"%V\" and \"%V\" in vmess_users \"%V\" "
                           "have the same id, give each one of its own",
                           &other->name.str, &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* whose one of the ids is */

static ngx_vmess_user_conf_t *
ngx_stream_vmess_users_add_owner(ngx_str_node_t *node)
{
    ngx_vmess_user_conf_t  *user;

    user = (ngx_vmess_user_conf_t *)
               ((u_char *) node - offsetof(ngx_vmess_user_conf_t, id));

    if (node->str.data != user->cmd_key[NGX_VMESS_USER_OWN]) {
        user = (ngx_vmess_user_conf_t *)
                   ((u_char *) (node - NGX_VMESS_USER_ALSO)
                    - offsetof(ngx_vmess_user_conf_t, id));
    }

    return user;
}
