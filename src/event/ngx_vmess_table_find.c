
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "ngx_vmess_table_find.h"
#include "proto/ngx_vmess_id.h"


static ngx_uint_t ngx_vmess_table_find_returns(ngx_vmess_user_t *user,
    ngx_vmess_value_t *value);


ngx_vmess_user_t *
ngx_vmess_table_find(ngx_vmess_table_t *t, ngx_str_t *name)
{
    return ngx_vmess_table_find_value(t, name,
                                      ngx_crc32_long(name->data, name->len),
                                      NULL);
}


/* value: also one who was removed, and comes again as that */

ngx_vmess_user_t *
ngx_vmess_table_find_value(ngx_vmess_table_t *t, ngx_str_t *name, uint32_t hash,
    ngx_vmess_value_t *value)
{
    uint32_t           i;
    ngx_vmess_user_t  *user, *removed;

    removed = NULL;

    for (i = t->names[hash & t->mask]; i; i = user->next) {

        user = ngx_vmess_table_user(t, i - 1);

        if (user->hash != hash || user->name.len != name->len
            || ngx_memcmp(user->text, name->data, name->len) != 0)
        {
            continue;
        }

        if (ngx_vmess_table_used(user)) {
            return user;
        }

        if (value && removed == NULL
            && ngx_vmess_table_find_returns(user, value))
        {
            removed = user;
        }
    }

    return removed;
}


/* with none of its ids it is another user, who happens to have that name */

static ngx_uint_t
ngx_vmess_table_find_returns(ngx_vmess_user_t *user, ngx_vmess_value_t *value)
{
    ngx_uint_t             j, k;
    ngx_vmess_user_set_t  *conf;

    if (ngx_vmess_table_absent(user) >= NGX_VMESS_USER_GRACE) {
        return 0;
    }

    conf = user->conf;

    for (j = 0; j < NGX_VMESS_USER_IDS; j++) {
        for (k = 0; conf->serial[j] && k < value->ids; k++) {

            if (ngx_vmess_equal(conf->id[j], value->id[k], NGX_VMESS_ID_LEN)) {
                return 1;
            }
        }
    }

    return 0;
}


ngx_vmess_user_t *
ngx_vmess_table_find_id(ngx_vmess_table_t *t, const u_char *id)
{
    u_char    cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t  slot;

    ngx_vmess_id_cmd_key(cmd_key, id);

    slot = ngx_vmess_slot_find(&t->slots, cmd_key);

    ngx_explicit_memzero(cmd_key, NGX_VMESS_KEY_LEN);

    return (slot == NGX_VMESS_SLOT_NONE)
           ? NULL
           : ngx_vmess_table_user(t, ngx_vmess_slot(&t->slots, slot)->user);
}


/* the chain is gone through to its end, and digests are compared whole */

ngx_vmess_user_t *
ngx_vmess_table_find_token(ngx_vmess_table_t *t, ngx_str_t *token)
{
    u_char             digest[NGX_VMESS_SUBSCRIPTION_DIGEST];
    uint32_t           i;
    ngx_uint_t         k, n[2];
    ngx_vmess_user_t  *user, *found[2];

    if (!ngx_vmess_subscription_check(token)) {
        return NULL;
    }

    ngx_vmess_subscription_digest(digest, t->key, token);

    /* of the configuration, and others */

    ngx_memzero(n, sizeof(n));

    for (i = *ngx_vmess_table_tokens(t, digest); i; i = user->next_token) {

        user = ngx_vmess_table_user(t, i - 1);

        if (ngx_vmess_equal(user->conf->token, digest,
                            NGX_VMESS_SUBSCRIPTION_DIGEST))
        {
            k = (user->conf->origin != NGX_VMESS_ORIGIN_CONF);

            found[k] = user;
            n[k]++;
        }
    }

    k = (n[0] == 0);

    return (n[k] == 1) ? found[k] : NULL;
}


ngx_int_t
ngx_vmess_table_find_owner(ngx_vmess_table_t *t, uint32_t owner,
    ngx_vmess_user_info_t *info)
{
    ngx_uint_t         i, n;
    ngx_vmess_slot_t  *s;

    n = t->slots.nblocks * NGX_VMESS_SLOTS;

    for (i = 0; i < n; i++) {

        s = ngx_vmess_slot(&t->slots, i);

        if (s->user < t->nusers && ngx_vmess_slot_owner(s->cmd_key) == owner) {
            return ngx_vmess_table_get(t, s->user, info);
        }
    }

    return NGX_DECLINED;
}
