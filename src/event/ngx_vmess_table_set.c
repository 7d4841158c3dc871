
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_room.h"
#include "ngx_vmess_table_set.h"
#include "ngx_vmess_table_temporary.h"


/* what a change of a user needs */

typedef struct {
    ngx_vmess_user_set_t       conf;
    ngx_vmess_value_keys_t    *keys;
    ngx_vmess_value_keys_t     made;
    ngx_uint_t                 ids;
    ngx_uint_t                 slots;      /* that are new */
} ngx_vmess_change_t;


static ngx_uint_t ngx_vmess_table_set_is_same(ngx_vmess_user_t *user,
    ngx_vmess_value_t *value);
static ngx_vmess_table_e ngx_vmess_table_set_prepare(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_user_t **userp,
    ngx_vmess_change_t *change);
static ngx_vmess_table_e ngx_vmess_table_set_prepare_ids(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_user_t **userp,
    ngx_vmess_change_t *change);
static void ngx_vmess_table_set_commit(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_change_t *change);


ngx_vmess_table_e
ngx_vmess_table_set(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_value_keys_t *keys, ngx_vmess_user_t **userp)
{
    uint32_t             hash;
    ngx_vmess_user_t    *user;
    ngx_vmess_table_e    rc;
    ngx_vmess_change_t   change;

    if (userp == NULL) {
        userp = &user;
    }

    hash = ngx_crc32_long(value->name.data, value->name.len);

    user = ngx_vmess_table_find_value(t, &value->name, hash, value);

    *userp = user;

    if (user && ngx_vmess_table_used(user)) {

        if (value->origin == NGX_VMESS_ORIGIN_API
            && user->conf->origin == NGX_VMESS_ORIGIN_CONF)
        {
            return NGX_VMESS_TABLE_FOREIGN;
        }

        if (ngx_vmess_table_set_is_same(user, value)) {
            return NGX_VMESS_TABLE_SAME;
        }
    }

    change.keys = keys;

    rc = ngx_vmess_table_set_prepare(t, value, userp, &change);

    if (rc == NGX_VMESS_TABLE_ADDED && user == NULL) {
        user = ngx_vmess_table_alloc_user(t, &value->name, hash);
        *userp = user;
    }

    if (rc == NGX_VMESS_TABLE_ADDED || rc == NGX_VMESS_TABLE_CHANGED) {
        ngx_vmess_table_set_commit(t, user, &change);
    }

    ngx_explicit_memzero(&change, sizeof(ngx_vmess_change_t));

    return rc;
}


static ngx_uint_t
ngx_vmess_table_set_is_same(ngx_vmess_user_t *user, ngx_vmess_value_t *value)
{
    ngx_uint_t             k;
    ngx_vmess_user_set_t  *conf;

    conf = user->conf;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {

        if ((conf->serial[k] != 0) != (k < value->ids)) {
            return 0;
        }

        if (k < value->ids
            && !ngx_vmess_equal(conf->id[k], value->id[k], NGX_VMESS_ID_LEN))
        {
            return 0;
        }
    }

    return conf->until == value->until
           && conf->tags == value->tags
           && conf->origin == value->origin
           && ngx_memcmp(&conf->limits, &value->limits,
                         sizeof(ngx_vmess_limits_t))
              == 0;
}


/* answers _ADDED or _CHANGED if it can be done; nothing is changed yet */

static ngx_vmess_table_e
ngx_vmess_table_set_prepare(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_user_t **userp, ngx_vmess_change_t *change)
{
    u_char                 text[NGX_VMESS_SUBSCRIPTION_MAX];
    ngx_str_t              token;
    ngx_uint_t             used, users, slots;
    ngx_vmess_user_set_t  *conf;
    ngx_vmess_user_t      *user;
    ngx_vmess_table_e      rc;

    user = *userp;
    used = (user && ngx_vmess_table_used(user));

    conf = &change->conf;

    ngx_memzero(conf, sizeof(ngx_vmess_user_set_t));

    conf->until = value->until;
    conf->tags = value->tags;
    conf->origin = value->origin;
    ngx_memcpy(&conf->limits, &value->limits, sizeof(ngx_vmess_limits_t));

    token.data = text;
    token.len = ngx_vmess_table_token(text, value) - text;

    ngx_vmess_subscription_digest(conf->token, t->key, &token);
    ngx_explicit_memzero(text, sizeof(text));

    rc = ngx_vmess_table_set_prepare_ids(t, value, userp, change);

    if (rc != NGX_VMESS_TABLE_CHANGED) {
        return rc;
    }

    users = (user == NULL);
    slots = change->slots;

    if (t->refresh && (!used || user->temporary[0] == NGX_VMESS_SLOT_NONE)) {
        slots += 2;
    }

    /* what is reserved is for the configuration */

    if (value->origin != NGX_VMESS_ORIGIN_CONF && users + slots) {
        users += t->reserved_users;
        slots += t->reserved_slots;
    }

    if (!ngx_vmess_table_room_fits(t, users, slots)) {
        return NGX_VMESS_TABLE_FULL;
    }

    return used ? NGX_VMESS_TABLE_CHANGED : NGX_VMESS_TABLE_ADDED;
}


/*
 * an id that the user has keeps its serial number, and its slot if he is there
 */

static ngx_vmess_table_e
ngx_vmess_table_set_prepare_ids(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_user_t **userp, ngx_vmess_change_t *change)
{
    uint32_t               slot;
    ngx_uint_t             j, k;
    ngx_vmess_user_set_t  *conf, *old;
    ngx_vmess_user_t      *user;

    user = *userp;
    conf = &change->conf;
    old = user ? user->conf : NULL;

    change->ids = value->ids;
    change->slots = 0;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {

        conf->slot[k] = NGX_VMESS_SLOT_NONE;

        if (k >= value->ids) {
            continue;
        }

        ngx_memcpy(conf->id[k], value->id[k], NGX_VMESS_ID_LEN);

        for (j = 0; old && j < NGX_VMESS_USER_IDS; j++) {

            if (old->serial[j]
                && ngx_vmess_equal(old->id[j], conf->id[k], NGX_VMESS_ID_LEN))
            {
                conf->serial[k] = old->serial[j];

                if (ngx_vmess_table_used(user)) {
                    conf->slot[k] = old->slot[j];
                }
            }
        }

        if (conf->slot[k] != NGX_VMESS_SLOT_NONE) {
            continue;
        }

        if (change->keys == NULL) {
            change->keys = &change->made;

            if (ngx_vmess_table_keys(value, change->keys) != NGX_OK) {
                return NGX_VMESS_TABLE_FAILED;
            }
        }

        slot = ngx_vmess_slot_find(&t->slots, change->keys->cmd_key[k]);

        if (slot != NGX_VMESS_SLOT_NONE) {
            *userp = ngx_vmess_table_user(t,
                                     ngx_vmess_slot(&t->slots, slot)->user);
            return NGX_VMESS_TABLE_TAKEN;
        }

        change->slots++;
    }

    return NGX_VMESS_TABLE_CHANGED;
}


/* the one store that counts is that of user->conf, or of the state */

static void
ngx_vmess_table_set_commit(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_vmess_change_t *change)
{
    ngx_uint_t             k, state;
    ngx_vmess_user_set_t  *conf, *old;

    conf = &change->conf;
    old = user->conf;
    state = user->state;

    conf->user = ngx_vmess_table_number(t, user);

    for (k = 0; k < change->ids; k++) {

        if (conf->slot[k] != NGX_VMESS_SLOT_NONE) {
            continue;
        }

        if (conf->serial[k] == 0) {
            conf->serial[k] = ++t->serial;
        }

        conf->slot[k] = ngx_vmess_slot_alloc(&t->slots);

        ngx_vmess_slot_fill(&t->slots, conf->slot[k], conf->user,
                            conf->serial[k], change->keys->cmd_key[k],
                            &change->keys->key[k]);
    }

    ngx_memcpy(t->spare, conf, sizeof(ngx_vmess_user_set_t));

    t->changed = conf->user + 1;

    user->version++;

    ngx_vmess_memory_barrier();

    user->conf = t->spare;

    ngx_vmess_memory_barrier();

    user->state = NGX_VMESS_USER_USED;

    ngx_vmess_memory_barrier();

    if (state != NGX_VMESS_USER_USED) {
        t->count++;
    }

    if (state == NGX_VMESS_USER_FREE) {
        user->next = t->names[user->hash & t->mask];
        t->names[user->hash & t->mask] = ngx_vmess_table_number(t, user) + 1;
    }

    if (state == NGX_VMESS_USER_USED) {
        ngx_vmess_table_unlink_token(t, user, old);
    }

    ngx_vmess_table_link_token(t, user);

    for (k = 0; state == NGX_VMESS_USER_USED && k < NGX_VMESS_USER_IDS; k++) {

        if (old->slot[k] != NGX_VMESS_SLOT_NONE
            && old->slot[k] != conf->slot[0] && old->slot[k] != conf->slot[1])
        {
            ngx_vmess_slot_free(&t->slots, old->slot[k]);
        }
    }

    t->spare = old;

    ngx_explicit_memzero(old, offsetof(ngx_vmess_user_set_t, user));
    ngx_explicit_memzero(old->limits.token, NGX_VMESS_TOKEN_LEN);

    ngx_vmess_table_temporary_add(t, user);

    ngx_vmess_table_stamp(t, user);

    if (state != NGX_VMESS_USER_FREE) {
        ngx_vmess_table_end_flows(t);
    }
}


ngx_int_t
ngx_vmess_table_set_aside(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_vmess_value_t *value)
{
    ngx_int_t              rc;
    ngx_uint_t             j, k;
    ngx_vmess_user_info_t  info;

    rc = ngx_vmess_table_get(t, ngx_vmess_table_number(t, user), &info);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = NGX_DECLINED;

    for (k = 0; k < info.value.ids; k++) {
        for (j = 0; j < value->ids; j++) {

            if (!ngx_vmess_equal(info.value.id[k], value->id[j],
                                 NGX_VMESS_ID_LEN))
            {
                continue;
            }

            if (RAND_bytes(info.value.id[k], NGX_VMESS_ID_LEN) == 1
                && ngx_vmess_table_set(t, &info.value, NULL, NULL)
                   == NGX_VMESS_TABLE_CHANGED)
            {
                rc = NGX_OK;
            }

            goto done;
        }
    }

done:

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));

    return rc;
}


ngx_vmess_table_e
ngx_vmess_table_set_token(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_str_t *token)
{
    ngx_vmess_table_e       rc;
    ngx_vmess_limits_t     *limits;
    ngx_vmess_user_info_t   info;

    if (ngx_vmess_table_get(t, ngx_vmess_table_number(t, user), &info)
        != NGX_OK)
    {
        return NGX_VMESS_TABLE_SAME;
    }

    limits = &info.value.limits;
    limits->given |= NGX_VMESS_LIMITS_TOKEN;

    ngx_memzero(limits->token, NGX_VMESS_TOKEN_LEN);
    ngx_memcpy(limits->token, token->data, token->len);

    /* ids are what they were, so it needs no keys */

    rc = ngx_vmess_table_set(t, &info.value, NULL, NULL);

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));

    return rc;
}
