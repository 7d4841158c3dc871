
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "proto/ngx_vmess_id.h"


static ngx_uint_t ngx_vmess_table_names_slot(void *data, uint32_t i);
static void ngx_vmess_table_recover(ngx_vmess_table_t *t);


ngx_vmess_table_t *
ngx_vmess_table_create(void *p, size_t size)
{
    size_t              n;
    u_char             *data;
    uint32_t            buckets;
    ngx_vmess_table_t  *t;

    t = p;

    ngx_memzero(t, sizeof(ngx_vmess_table_t));

    n = size / (ngx_vmess_table_size(64, 64) / 64);

    for (buckets = 64; buckets * 2 <= n; buckets *= 2) { /* void */ }

    data = (u_char *) p + ngx_align(sizeof(ngx_vmess_table_t), 64);

    t->mask = buckets - 1;
    t->names = (uint32_t *) data;

    t->tokens = t->names + 2 * buckets;

    ngx_memzero(data, 3 * buckets * sizeof(uint32_t));

    t->users = (ngx_vmess_user_t *)
               ((u_char *) p + (size & ~(sizeof(uint64_t) - 1)));
    t->spare = &t->memory;

    if (ngx_vmess_slot_init(&t->slots, data + 3 * buckets * sizeof(uint32_t),
                            t->names + buckets, buckets)
        != NGX_OK
        || RAND_bytes(t->key, NGX_VMESS_SUBSCRIPTION_KEY) != 1)
    {
        return NULL;
    }

    return t;
}


/* with buckets, of which there are at most as many as users */

size_t
ngx_vmess_table_size(ngx_uint_t users, ngx_uint_t ids)
{
    return users * (sizeof(ngx_vmess_user_t) + 3 * sizeof(uint32_t))
           + (ids + NGX_VMESS_SLOTS - 1) / NGX_VMESS_SLOTS
             * sizeof(ngx_vmess_slot_block_t);
}


/*
 * The barriers are for the compiler: whatever a process stored before it died
 * is there when its death is known.
 */

void
ngx_vmess_table_begin(ngx_vmess_table_t *t)
{
    if (t->changing) {
        ngx_vmess_table_recover(t);
    }

    t->changing = 1;

    ngx_memory_barrier();
}


void
ngx_vmess_table_end(ngx_vmess_table_t *t)
{
    ngx_memory_barrier();

    t->changing = 0;
}


ngx_int_t
ngx_vmess_table_keys(ngx_vmess_value_t *value, ngx_vmess_value_keys_t *keys)
{
    ngx_uint_t  k;

    for (k = 0; k < value->ids; k++) {

        ngx_vmess_id_cmd_key(keys->cmd_key[k], value->id[k]);

        if (ngx_vmess_auth_method()->init(&keys->key[k], keys->cmd_key[k])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_vmess_table_stamp(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    user->stamp = t->changes + 1;

    ngx_vmess_memory_barrier();

    t->changes++;
}


void
ngx_vmess_table_end_flows(ngx_vmess_table_t *t)
{
    ngx_vmess_memory_barrier();

    t->ends++;
}


void
ngx_vmess_table_reap(ngx_vmess_table_t *t, ngx_uint_t epoch, ngx_msec_t grace)
{
    t->visited = 0;

    (void) ngx_vmess_table_reap_some(t, epoch, grace, t->nusers);
}


/*
 * A worker counts a reference, then looks whether the user is still there: it
 * is seen here, or finds that he has gone.
 */

ngx_uint_t
ngx_vmess_table_reap_some(ngx_vmess_table_t *t, ngx_uint_t epoch,
    ngx_msec_t grace, ngx_uint_t n)
{
    uint32_t          *p, *name, i;
    ngx_vmess_user_t  *user;

    ngx_vmess_memory_barrier();

    /* who was looked at and stays is in the list yet */

    p = t->visited ? &ngx_vmess_table_user(t, t->visited - 1)->link
                   : &t->removed;

    for ( /* void */ ; *p && n; n--) {

        i = *p;
        user = ngx_vmess_table_user(t, i - 1);

        if (user->state == NGX_VMESS_USER_REMOVED
            && (user->refs[epoch & 1]
                || ngx_vmess_table_absent(user) < (ngx_msec_int_t) grace))
        {
            t->visited = i;
            p = &user->link;
            continue;
        }

        *p = user->link;
        user->listed = 0;

        if (user->state == NGX_VMESS_USER_USED) {
            continue;
        }

        for (name = &t->names[user->hash & t->mask];
             *name != i;
             name = &ngx_vmess_table_user(t, *name - 1)->next)
        {
            /* void */
        }

        *name = user->next;

        ngx_explicit_memzero(user->conf, offsetof(ngx_vmess_user_set_t, user));
        ngx_explicit_memzero(user->conf->limits.token, NGX_VMESS_TOKEN_LEN);

        user->state = NGX_VMESS_USER_FREE;
        user->link = t->free_users;

        t->free_users = i;
        t->nfree_users++;
    }

    if (*p) {
        return 1;
    }

    t->visited = 0;

    return 0;
}


ngx_uint_t
ngx_vmess_table_has_removed(ngx_vmess_table_t *t)
{
    return t->removed != 0;
}


void
ngx_vmess_table_kick(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    user->kicks++;

    ngx_vmess_table_stamp(t, user);
    ngx_vmess_table_end_flows(t);
}


void
ngx_vmess_table_reset(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    ngx_vmess_usage_reset(&user->usage, ngx_vmess_user_limits(user),
                          ngx_time());

    ngx_vmess_table_stamp(t, user);
}


u_char *
ngx_vmess_table_token(u_char *p, ngx_vmess_value_t *value)
{
    if (value->limits.token[0]) {
        return ngx_cpymem(p, value->limits.token,
                          ngx_strlen(value->limits.token));
    }

    ngx_vmess_subscription_derive(p, value->id[NGX_VMESS_USER_OWN]);

    return p + NGX_VMESS_SUBSCRIPTION_LEN;
}


void
ngx_vmess_table_link_token(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t  *bucket;

    bucket = ngx_vmess_table_tokens(t, user->conf->token);

    user->next_token = *bucket;
    *bucket = ngx_vmess_table_number(t, user) + 1;
}


void
ngx_vmess_table_unlink_token(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_vmess_user_set_t *conf)
{
    uint32_t  *p, i;

    i = ngx_vmess_table_number(t, user) + 1;

    for (p = ngx_vmess_table_tokens(t, conf->token);
         *p != i;
         p = &ngx_vmess_table_user(t, *p - 1)->next_token)
    {
        /* void */
    }

    *p = user->next_token;
}


ngx_vmess_slots_t *
ngx_vmess_table_slots(ngx_vmess_table_t *t)
{
    return &t->slots;
}


ngx_uint_t
ngx_vmess_table_max(ngx_vmess_table_t *t)
{
    return t->nusers;
}


ngx_uint_t
ngx_vmess_table_count(ngx_vmess_table_t *t)
{
    return t->count;
}


ngx_uint_t
ngx_vmess_table_changes(ngx_vmess_table_t *t)
{
    return t->changes;
}


ngx_uint_t
ngx_vmess_table_ends(ngx_vmess_table_t *t)
{
    return t->ends;
}


ngx_uint_t
ngx_vmess_table_number(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    return t->users - 1 - user;
}


ngx_vmess_user_t *
ngx_vmess_table_user(ngx_vmess_table_t *t, ngx_uint_t i)
{
    return t->users - 1 - i;
}


/* another user of the same memory has another version */

ngx_int_t
ngx_vmess_table_get(ngx_vmess_table_t *t, ngx_uint_t i,
    ngx_vmess_user_info_t *info)
{
    uint32_t               version;
    ngx_uint_t             k;
    ngx_vmess_user_t      *user;
    ngx_vmess_user_set_t  *conf;

    user = ngx_vmess_table_user(t, i);

    if (!ngx_vmess_table_used(user)) {
        return NGX_DECLINED;
    }

    do {
        version = user->version;

        ngx_vmess_memory_barrier();

        if (!ngx_vmess_table_used(user)) {
            goto gone;
        }

        conf = user->conf;

        info->stamp = user->stamp;

        info->value.name.data = info->name;
        info->value.name.len = ngx_min(user->name.len,
                                       NGX_VMESS_USER_NAME_MAX);
        ngx_memcpy(info->name, user->text, NGX_VMESS_USER_NAME_MAX);

        info->value.ids = 0;

        for (k = 0; k < NGX_VMESS_USER_IDS; k++) {
            info->value.ids += (conf->serial[k] != 0);
        }

        ngx_memcpy(info->value.id, conf->id, sizeof(conf->id));
        ngx_memcpy(&info->value.limits, &conf->limits,
                   sizeof(ngx_vmess_limits_t));

        info->value.until = conf->until;
        info->value.tags = conf->tags;
        info->value.origin = conf->origin;

        info->usage = user->usage;

        ngx_vmess_memory_barrier();

    } while (version != user->version || conf != user->conf);

    if (ngx_vmess_table_used(user)) {
        return NGX_OK;
    }

gone:

    ngx_explicit_memzero(info, sizeof(ngx_vmess_user_info_t));

    return NGX_DECLINED;
}


/* called when there is room, as the next one */

ngx_vmess_user_t *
ngx_vmess_table_alloc_user(ngx_vmess_table_t *t, ngx_str_t *name,
    uint32_t hash)
{
    ngx_vmess_user_t  *user;

    if (t->free_users) {
        user = ngx_vmess_table_user(t, t->free_users - 1);

        t->free_users = user->link;
        t->nfree_users--;

        ngx_memzero(&user->usage, sizeof(ngx_vmess_usage_t));
        ngx_memzero(user->buckets, sizeof(user->buckets));

    } else {
        user = ngx_vmess_table_user(t, t->nusers);

        ngx_memzero(user, sizeof(ngx_vmess_user_t));

        user->conf = &user->memory;
        user->memory.user = t->nusers;

        ngx_vmess_memory_barrier();

        t->nusers++;
    }

    user->temporary[0] = NGX_VMESS_SLOT_NONE;
    user->temporary[1] = NGX_VMESS_SLOT_NONE;

    user->serial = ++t->serial;
    user->hash = hash;
    user->name.len = name->len;
    user->name.data = user->text;
    ngx_memcpy(user->text, name->data, name->len);

    return user;
}


/* the users tell all the rest */

static void
ngx_vmess_table_recover(ngx_vmess_table_t *t)
{
    uint32_t           i, *list, *bucket;
    ngx_vmess_user_t  *user;

    ngx_memzero(t->names, (t->mask + 1) * sizeof(uint32_t));
    ngx_memzero(t->tokens, (t->mask + 1) * sizeof(uint32_t));

    t->free_users = 0;
    t->removed = 0;
    t->visited = 0;
    t->nfree_users = 0;
    t->count = 0;

    t->spare = &t->memory;

    for (i = t->nusers; i; i--) {

        user = ngx_vmess_table_user(t, i - 1);

        if (ngx_vmess_table_user(t, user->memory.user)->conf != &user->memory) {
            t->spare = &user->memory;
        }

        t->count += (user->state == NGX_VMESS_USER_USED);
        t->nfree_users += (user->state == NGX_VMESS_USER_FREE);

        user->listed = (user->state == NGX_VMESS_USER_REMOVED);

        if (user->state != NGX_VMESS_USER_USED) {
            list = user->listed ? &t->removed : &t->free_users;
            user->link = *list;
            *list = i;

            /* who was being removed has none any more, if he comes again */

            user->temporary[0] = NGX_VMESS_SLOT_NONE;
            user->temporary[1] = NGX_VMESS_SLOT_NONE;
        }

        if (user->state != NGX_VMESS_USER_FREE) {
            bucket = &t->names[user->hash & t->mask];
            user->next = *bucket;
            *bucket = i;
        }

        if (user->state == NGX_VMESS_USER_USED) {
            ngx_vmess_table_link_token(t, user);
        }
    }

    ngx_vmess_slot_recover(&t->slots, ngx_vmess_table_names_slot, t);

    t->changes++;
    t->ends++;

    /* a change that was made, but for its stamp, is to be seen and saved */

    if (t->changed) {
        ngx_vmess_table_stamp(t, ngx_vmess_table_user(t, t->changed - 1));
    }
}


/* whether its user names a slot as one of its own */

static ngx_uint_t
ngx_vmess_table_names_slot(void *data, uint32_t i)
{
    ngx_vmess_table_t *t = data;

    uint32_t               n;
    ngx_vmess_slot_t      *s;
    ngx_vmess_user_t      *user;
    ngx_vmess_user_set_t  *conf;

    s = ngx_vmess_slot(&t->slots, i);

    n = s->user & ~NGX_VMESS_SLOT_TEMPORARY;

    if (n >= t->nusers) {
        return 0;
    }

    user = ngx_vmess_table_user(t, n);
    conf = user->conf;

    if (!ngx_vmess_table_used(user)) {
        return 0;
    }

    if (s->user & NGX_VMESS_SLOT_TEMPORARY) {
        return user->temporary[0] == i || user->temporary[1] == i;
    }

    return conf->slot[NGX_VMESS_USER_OWN] == i
           || conf->slot[NGX_VMESS_USER_ALSO] == i;
}


size_t
ngx_vmess_table_fill(ngx_vmess_table_t *t, size_t *used)
{
    size_t   room;
    u_char  *end;

    end = (u_char *) t->users;
    room = (u_char *) (t->users - t->nusers)
           - (u_char *) &t->slots.blocks[t->slots.nblocks];

    *used = end - (u_char *) t->slots.blocks - room;
    *used -= t->nfree_users * sizeof(ngx_vmess_user_t);
    *used -= t->slots.nfree * (sizeof(ngx_vmess_slot_block_t)
                               / NGX_VMESS_SLOTS);

    return end - (u_char *) t->slots.blocks;
}
