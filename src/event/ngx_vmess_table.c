
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table.h"
#include "proto/ngx_vmess_id.h"


/*
 * Blocks of slots grow from the start of the memory, users from its end.  In
 * chains and lists there are numbers plus one, zero is none.
 */

struct ngx_vmess_table_s {
    ngx_uint_t                 changing;   /* between begin() and end() */

    ngx_vmess_slots_t          slots;
    ngx_vmess_user_t          *users;      /* the end, of number 0 */
    volatile uint32_t          nusers;     /* ever used */

    uint32_t                  *names;      /* by hashes of names */
    uint32_t                  *tokens;     /* by digests of tokens */
    uint32_t                   mask;

    uint32_t                   free_users;
    uint32_t                   removed;    /* users */
    uint32_t                   visited;    /* the last of them, who stays */
    uint32_t                   nfree_users;
    uint32_t                   count;      /* users there are */
    volatile uint32_t          changed;    /* the last user */

    ngx_uint_t                 reserved_users;
    ngx_uint_t                 reserved_slots;
    ngx_uint_t                 kept_users;
    ngx_uint_t                 kept_slots;

    u_char                     key[NGX_VMESS_SUBSCRIPTION_KEY];
    uint32_t                   serial;     /* the last one */
    volatile ngx_uint_t        changes;
    volatile ngx_uint_t        ends;
    volatile time_t            refresh;

    ngx_vmess_user_set_t      *spare;      /* where a change is written */
    ngx_vmess_user_set_t       memory;
};


/* what a change of a user needs */

typedef struct {
    ngx_vmess_user_set_t       conf;
    ngx_vmess_value_keys_t    *keys;
    ngx_vmess_value_keys_t     made;
    ngx_uint_t                 ids;
    ngx_uint_t                 slots;      /* that are new */
} ngx_vmess_change_t;


static ngx_vmess_user_t *ngx_vmess_table_find_value(ngx_vmess_table_t *t,
    ngx_str_t *name, uint32_t hash, ngx_vmess_value_t *value);
static ngx_uint_t ngx_vmess_table_find_returns(ngx_vmess_user_t *user,
    ngx_vmess_value_t *value);
static void ngx_vmess_table_link_token(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user);
static void ngx_vmess_table_unlink_token(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_user_set_t *conf);
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
static ngx_uint_t ngx_vmess_table_room_fits(ngx_vmess_table_t *t,
    ngx_uint_t users, ngx_uint_t slots);
static ngx_vmess_user_t *ngx_vmess_table_alloc_user(ngx_vmess_table_t *t,
    ngx_str_t *name, uint32_t hash);
static void ngx_vmess_table_temporary_free(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user);
static ngx_uint_t ngx_vmess_table_names_slot(void *data, uint32_t i);
static void ngx_vmess_table_stamp(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user);
static void ngx_vmess_table_end_flows(ngx_vmess_table_t *t);
static void ngx_vmess_table_recover(ngx_vmess_table_t *t);


static ngx_inline uint32_t *
ngx_vmess_table_tokens(ngx_vmess_table_t *t, const u_char *digest)
{
    uint32_t  hash;

    ngx_memcpy(&hash, digest, sizeof(uint32_t));

    return &t->tokens[hash & t->mask];
}


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


static void
ngx_vmess_table_stamp(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    user->stamp = t->changes + 1;

    ngx_vmess_memory_barrier();

    t->changes++;
}


static void
ngx_vmess_table_end_flows(ngx_vmess_table_t *t)
{
    ngx_vmess_memory_barrier();

    t->ends++;
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


void
ngx_vmess_table_remove(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    ngx_uint_t             k;
    ngx_vmess_user_set_t  *conf;

    user->removed = ngx_current_msec;

    ngx_vmess_memory_barrier();

    user->state = NGX_VMESS_USER_REMOVED;

    ngx_vmess_memory_barrier();

    conf = user->conf;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {
        if (conf->slot[k] != NGX_VMESS_SLOT_NONE) {
            ngx_vmess_slot_free(&t->slots, conf->slot[k]);
        }
    }

    ngx_vmess_table_temporary_free(t, user);
    ngx_vmess_table_unlink_token(t, user, conf);

    t->count--;

    if (!user->listed) {
        user->listed = 1;
        user->link = t->removed;
        t->removed = ngx_vmess_table_number(t, user) + 1;
    }

    ngx_vmess_table_stamp(t, user);
    ngx_vmess_table_end_flows(t);
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


ngx_vmess_user_t *
ngx_vmess_table_find(ngx_vmess_table_t *t, ngx_str_t *name)
{
    return ngx_vmess_table_find_value(t, name,
                                      ngx_crc32_long(name->data, name->len),
                                      NULL);
}


/* value: also one who was removed, and comes again as that */

static ngx_vmess_user_t *
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


static void
ngx_vmess_table_link_token(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t  *bucket;

    bucket = ngx_vmess_table_tokens(t, user->conf->token);

    user->next_token = *bucket;
    *bucket = ngx_vmess_table_number(t, user) + 1;
}


static void
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


ngx_int_t
ngx_vmess_table_room_reserve(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t ids)
{
    if (users + ids
        && !ngx_vmess_table_room_fits(t, users + t->kept_users,
                                      ids + t->kept_slots))
    {
        return NGX_DECLINED;
    }

    t->reserved_users = users;
    t->reserved_slots = ids;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_table_room_keep(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots)
{
    if ((users > t->kept_users || slots > t->kept_slots)
        && !ngx_vmess_table_room_fits(t, users + t->reserved_users,
                                      slots + t->reserved_slots))
    {
        return NGX_DECLINED;
    }

    t->kept_users = users;
    t->kept_slots = slots;

    return NGX_OK;
}


void
ngx_vmess_table_room_need(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_table_need_t *need)
{
    ngx_uint_t             j, k, added, gone;
    ngx_vmess_user_t      *user;
    ngx_vmess_user_set_t  *conf;

    user = ngx_vmess_table_find_value(t, &value->name,
                                      ngx_crc32_long(value->name.data,
                                                     value->name.len),
                                      value);

    need->users = (user == NULL);

    if (user && !ngx_vmess_table_used(user)) {
        user = NULL;
    }

    conf = user ? user->conf : NULL;

    added = value->ids;
    gone = 0;

    for (j = 0; conf && j < NGX_VMESS_USER_IDS; j++) {

        if (conf->serial[j] == 0) {
            continue;
        }

        gone++;

        for (k = 0; k < value->ids; k++) {

            if (ngx_vmess_equal(conf->id[j], value->id[k], NGX_VMESS_ID_LEN)) {
                added--;
                gone--;
            }
        }
    }

    need->ids = added + gone;
    need->spare = ngx_min(added, gone);
    need->slots = added - need->spare;

    if (t->refresh
        && (user == NULL || user->temporary[0] == NGX_VMESS_SLOT_NONE))
    {
        need->slots += 2;
    }
}


ngx_uint_t
ngx_vmess_table_room_held(ngx_vmess_user_t *user)
{
    ngx_uint_t  k, n;

    n = 0;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {
        n += (user->conf->slot[k] != NGX_VMESS_SLOT_NONE);
    }

    for (k = 0; k < 2; k++) {
        n += (user->temporary[k] != NGX_VMESS_SLOT_NONE);
    }

    return n;
}


static ngx_uint_t
ngx_vmess_table_room_fits(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots)
{
    size_t  room;

    room = (u_char *) (t->users - t->nusers)
           - (u_char *) &t->slots.blocks[t->slots.nblocks];

    users -= ngx_min(users, t->nfree_users);
    slots -= ngx_min(slots, t->slots.nfree);

    slots = (slots + NGX_VMESS_SLOTS - 1) / NGX_VMESS_SLOTS;

    return users <= room / sizeof(ngx_vmess_user_t)
           && slots <= (room - users * sizeof(ngx_vmess_user_t))
                       / sizeof(ngx_vmess_slot_block_t);
}


/* called when there is room, as the next one */

static ngx_vmess_user_t *
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


void
ngx_vmess_table_temporary_set_refresh(ngx_vmess_table_t *t, time_t refresh)
{
    t->refresh = refresh;
}


time_t
ngx_vmess_table_temporary_refresh(ngx_vmess_table_t *t)
{
    return t->refresh;
}


void
ngx_vmess_table_temporary_add(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t           i;
    ngx_uint_t         k;

    if (t->refresh == 0) {
        ngx_vmess_table_temporary_free(t, user);
        return;
    }

    for (k = 0; k < 2; k++) {

        if (user->temporary[k] != NGX_VMESS_SLOT_NONE
            || !ngx_vmess_table_room_fits(t, t->kept_users, t->kept_slots + 1))
        {
            continue;
        }

        i = ngx_vmess_slot_alloc(&t->slots);

        ngx_vmess_slot_fill_temporary(&t->slots, i,
                                      ngx_vmess_table_number(t, user));

        user->temporary[k] = i;
    }
}


static void
ngx_vmess_table_temporary_free(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t    i;
    ngx_uint_t  k;

    for (k = 0; k < 2; k++) {

        i = user->temporary[k];

        if (i != NGX_VMESS_SLOT_NONE) {
            user->temporary[k] = NGX_VMESS_SLOT_NONE;

            ngx_vmess_memory_barrier();

            ngx_vmess_slot_free(&t->slots, i);
        }
    }
}


ngx_int_t
ngx_vmess_table_temporary_set(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    uint32_t serial, ngx_uint_t odd, const u_char *cmd_key,
    ngx_vmess_auth_key_t *key, time_t until)
{
    uint32_t               i;
    ngx_vmess_user_set_t  *conf;

    i = user->temporary[odd];
    conf = user->conf;

    if (i == NGX_VMESS_SLOT_NONE || !ngx_vmess_table_used(user)
        || conf->serial[NGX_VMESS_USER_OWN] != serial)
    {
        return NGX_DECLINED;
    }

    ngx_vmess_slot_set_temporary(&t->slots, i, serial, cmd_key, key, until);

    return NGX_OK;
}


time_t
ngx_vmess_table_temporary_until(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    uint32_t serial, ngx_uint_t odd)
{
    uint32_t           i;
    ngx_vmess_slot_t  *s;

    i = user->temporary[odd];

    if (i == NGX_VMESS_SLOT_NONE) {
        return 0;
    }

    s = ngx_vmess_slot(&t->slots, i);

    return (s->serial == serial) ? s->until : 0;
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
