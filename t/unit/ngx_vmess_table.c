
/*
 * Copyright (C) ngx_vmess authors
 *
 * The table of users: what its functions say, whom the scan finds, and what is
 * left by processes that are killed while they change it.
 */

#include "test.h"
#include "event/ngx_vmess_hit.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_room.h"
#include "event/ngx_vmess_table_set.h"
#include "event/ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_crypto.h"
#include "proto/ngx_vmess_id.h"
#include "proto/ngx_vmess_kdf.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_SIZE   (72 * 1024)
#define TEST_USERS  40
#define TEST_KILLS  300
#define TEST_NOW    1800000000


/* ids of a user for a version: odd versions have two */

typedef struct {
    char                     name[16];
    ngx_vmess_value_t        value;
    ngx_vmess_value_keys_t   keys;
} test_user_t;


typedef struct {
    ngx_vmess_table_t       *t;
    test_user_t             *user;
    void                   (*call)(ngx_vmess_table_t *t, test_user_t *user);
} test_call_t;


/* value n of user n: whoever sees it can tell whether it is whole */

static void
test_value(test_user_t *u, ngx_uint_t n, ngx_uint_t version)
{
    u_char     *p;
    uint32_t    k, seed;
    ngx_uint_t  i;

    ngx_memzero(u, sizeof(test_user_t));

    u->value.name.len = sprintf(u->name, "user%u", (unsigned) n);
    u->value.name.data = (u_char *) u->name;
    u->value.ids = 1 + (version & 1);
    u->value.origin = NGX_VMESS_ORIGIN_API;
    u->value.tags = version;
    u->value.limits.quota = version * 7 + n;
    u->value.limits.max_conns = version * 3 + n;

    if (version & 4) {
        sprintf((char *) u->value.limits.token, "token-of-user%u-%u",
                (unsigned) n, (unsigned) version);
    }

    u->value.until = (version & 1) ? (time_t) (TEST_NOW + version) : 0;

    for (k = 0; k < u->value.ids; k++) {
        seed = n * 1000003 + (version / 2) * 4 + k + 1;
        p = u->value.id[k];

        for (i = 0; i < NGX_VMESS_ID_LEN; i++) {
            seed = seed * 1664525 + 1013904223;
            p[i] = seed >> 24;
        }
    }
}


static void
test_make(test_user_t *u, ngx_uint_t n, ngx_uint_t version)
{
    test_value(u, n, version);

    (void) ngx_vmess_table_keys(&u->value, &u->keys);
}


static ngx_vmess_table_e
test_set(ngx_vmess_table_t *t, test_user_t *u)
{
    ngx_vmess_table_e  rc;

    ngx_vmess_table_begin(t);
    rc = ngx_vmess_table_set(t, &u->value, &u->keys, NULL);
    ngx_vmess_table_end(t);

    return rc;
}


static ngx_vmess_user_t *
test_lookup(ngx_vmess_table_t *t, const char *name)
{
    ngx_str_t          s;
    ngx_vmess_user_t  *user;

    s.data = (u_char *) name;
    s.len = strlen(name);

    ngx_vmess_table_begin(t);
    user = ngx_vmess_table_find(t, &s);
    ngx_vmess_table_end(t);

    return user;
}


static void
test_remove(ngx_vmess_table_t *t, const char *name)
{
    ngx_vmess_user_t  *user;

    user = test_lookup(t, name);

    ngx_vmess_table_begin(t);
    ngx_vmess_table_remove(t, user);
    ngx_vmess_table_end(t);
}


/* what a client with that CmdKey sends */

static void
test_eauid(u_char *eauid, const u_char *cmd_key, uint32_t time)
{
    int              len;
    u_char           plain[16], key[NGX_VMESS_KEY_LEN];
    uint32_t         crc;
    EVP_CIPHER_CTX  *ctx;

    ngx_memzero(plain, sizeof(plain));

    plain[4] = time >> 24;
    plain[5] = time >> 16;
    plain[6] = time >> 8;
    plain[7] = time;

    crc = ngx_crc32_long(plain, 12);

    plain[12] = crc >> 24;
    plain[13] = crc >> 16;
    plain[14] = crc >> 8;
    plain[15] = crc;

    ngx_vmess_kdf(key, NGX_VMESS_KEY_LEN, cmd_key, NGX_VMESS_KDF_EAUID, NULL,
                  0);

    ctx = EVP_CIPHER_CTX_new();

    EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    EVP_EncryptUpdate(ctx, eauid, &len, plain, 16);

    EVP_CIPHER_CTX_free(ctx);
}


/* as a worker does: the user found, by which kind of id in hit */

static ngx_vmess_user_t *
test_scan(ngx_vmess_table_t *t, const u_char *cmd_key, time_t now,
    ngx_vmess_hit_t *hit)
{
    u_char      eauid[16];
    int64_t     time;
    ngx_uint_t  i;

    test_eauid(eauid, cmd_key, TEST_NOW);

    for (i = 0; /* void */ ; i++) {

        i = ngx_vmess_hit_scan(t, i, eauid, &time);

        if (i == NGX_VMESS_SLOT_NONE) {
            return NULL;
        }

        if (ngx_vmess_hit_try(t, i, eauid, &time)
            && ngx_vmess_hit_take(t, i, eauid, now, hit) == NGX_OK
            && ngx_vmess_hit_check(t, hit, now) == NGX_OK)
        {
            return hit->user;
        }
    }
}


/* a user is as in one version, and his ids lead to him */

static ngx_uint_t
test_is_whole(ngx_vmess_table_t *t, ngx_uint_t i, ngx_uint_t *nth,
    ngx_uint_t *version)
{
    char                    name[NGX_VMESS_USER_NAME_MAX + 1];
    unsigned                n;
    ngx_uint_t              k;
    test_user_t             u;
    ngx_vmess_user_info_t   info;

    if (ngx_vmess_table_get(t, i, &info) != NGX_OK) {
        *nth = 0;
        return 1;
    }

    ngx_memcpy(name, info.name, NGX_VMESS_USER_NAME_MAX);
    name[info.value.name.len] = '\0';

    if (sscanf(name, "user%u", &n) != 1) {
        return 0;
    }

    *nth = n;
    *version = info.value.tags;

    test_value(&u, n, *version);

    if (info.value.name.len != u.value.name.len
        || info.value.ids != u.value.ids
        || info.value.until != u.value.until
        || info.value.origin != u.value.origin
        || ngx_memcmp(&info.value.limits, &u.value.limits,
                      sizeof(ngx_vmess_limits_t))
           != 0)
    {
        return 0;
    }

    for (k = 0; k < u.value.ids; k++) {
        if (ngx_memcmp(info.value.id[k], u.value.id[k], NGX_VMESS_ID_LEN)
            != 0)
        {
            return 0;
        }
    }

    return 1;
}


/* the same with the table locked: lists and keys are looked at as well */

static ngx_uint_t
test_is_linked(ngx_vmess_table_t *t, ngx_uint_t i)
{
    u_char                  text[NGX_VMESS_SUBSCRIPTION_MAX];
    ngx_str_t               token;
    ngx_uint_t              k;
    ngx_vmess_hit_t         hit;
    ngx_vmess_user_t       *user;
    ngx_vmess_user_info_t   info;

    if (ngx_vmess_table_get(t, i, &info) != NGX_OK) {
        return 1;
    }

    user = ngx_vmess_table_user(t, i);

    if (ngx_vmess_table_find(t, &info.value.name) != user) {
        return 0;
    }

    token.data = text;
    token.len = ngx_vmess_table_token(text, &info.value) - text;

    if (ngx_vmess_table_find_token(t, &token) != user) {
        return 0;
    }

    for (k = 0; k < info.value.ids; k++) {

        if (ngx_vmess_table_find_id(t, info.value.id[k]) != user
            || ngx_vmess_hit_take(t, user->conf->slot[k], NULL, TEST_NOW,
                                   &hit)
               != NGX_OK
            || test_scan(t, hit.cmd_key, TEST_NOW, &hit) != user)
        {
            return 0;
        }
    }

    return 1;
}


static void
test_basics(ngx_vmess_table_t *t)
{
    test_user_t             u, v;
    ngx_uint_t              changes;
    ngx_vmess_user_t       *user, *other;
    ngx_vmess_user_info_t   info;

    test_make(&u, 1, 2);

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_ADDED
            && test_set(t, &u) == NGX_VMESS_TABLE_SAME
            && ngx_vmess_table_count(t) == 1, "added");

    user = test_lookup(t, "user1");

    test_ok(user && test_lookup(t, "user10") == NULL
            && ngx_vmess_table_find_id(t, u.value.id[0]) == user
            && ngx_vmess_table_user(t, ngx_vmess_table_number(t, user))
               == user, "found");

    user->usage.up = 5;
    changes = ngx_vmess_table_changes(t);

    test_make(&u, 1, 8);

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_CHANGED
            && test_lookup(t, "user1") == user && user->usage.up == 5
            && ngx_vmess_table_changes(t) > changes
            && ngx_vmess_table_get(t, ngx_vmess_table_number(t, user), &info)
               == NGX_OK
            && info.stamp == ngx_vmess_table_changes(t)
            && info.usage.up == 5 && info.value.tags == 8, "changed");

    test_make(&v, 2, 8);
    ngx_memcpy(v.value.id[0], u.value.id[0], NGX_VMESS_ID_LEN);

    ngx_vmess_table_begin(t);
    test_ok(ngx_vmess_table_set(t, &v.value, NULL, &other)
            == NGX_VMESS_TABLE_TAKEN && other == user
            && ngx_vmess_table_count(t) == 1, "an id of another user");
    ngx_vmess_table_end(t);

    u.value.origin = NGX_VMESS_ORIGIN_CONF;

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_CHANGED
            && user->usage.up == 5, "taken over by the configuration");

    u.value.origin = NGX_VMESS_ORIGIN_API;

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_FOREIGN
            && user->conf->origin == NGX_VMESS_ORIGIN_CONF, "and not back");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_kick(t, user);
    ngx_vmess_table_reset(t, user);
    ngx_vmess_table_end(t);

    test_ok(user->kicks == 1 && user->stamp == ngx_vmess_table_changes(t)
            && ngx_vmess_usage_used(&user->usage, ngx_vmess_user_limits(user),
                                    TEST_NOW)
               == 0, "kicked, and a new period");
}


static ngx_vmess_user_t *
test_token(ngx_vmess_table_t *t, const char *token)
{
    ngx_str_t          s;
    ngx_vmess_user_t  *user;

    s.data = (u_char *) token;
    s.len = strlen(token);

    ngx_vmess_table_begin(t);
    user = ngx_vmess_table_find_token(t, &s);
    ngx_vmess_table_end(t);

    return user;
}


static void
test_tokens(ngx_vmess_table_t *t)
{
    char               own[NGX_VMESS_SUBSCRIPTION_LEN + 1];
    ngx_str_t          s;
    test_user_t        u, v;
    ngx_vmess_user_t  *user, *other;

    static const char  given[] = "a-token_of_16-to-47-bytes";

    test_make(&u, 1, 2);
    (void) test_set(t, &u);

    test_make(&v, 2, 2);
    (void) test_set(t, &v);

    user = test_lookup(t, "user1");
    other = test_lookup(t, "user2");

    *ngx_vmess_table_token((u_char *) own, &u.value) = '\0';

    test_ok(test_token(t, own) == user && test_token(t, given) == NULL
            && test_token(t, "short") == NULL, "a token by the id");

    s.data = (u_char *) given;
    s.len = sizeof(given) - 1;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, user, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == user && test_token(t, own) == NULL,
            "one that was given");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, other, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == NULL, "two users have it");

    *(char *) ngx_cpymem(v.value.limits.token, given, sizeof(given) - 1) = '\0';
    v.value.origin = NGX_VMESS_ORIGIN_CONF;
    (void) test_set(t, &v);

    test_ok(test_token(t, given) == other, "one is of the configuration");

    test_make(&v, 2, 2);

    test_remove(t, "user2");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, other, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == user, "one of them has gone");

    (void) test_set(t, &v);

    *ngx_vmess_table_token((u_char *) own, &v.value) = '\0';

    test_ok(test_token(t, own) == other && test_token(t, given) == user,
            "and comes again");
}


static void
test_ids(ngx_vmess_table_t *t)
{
    u_char                  id[NGX_VMESS_ID_LEN];
    uint32_t                own, also, owner;
    test_user_t             u;
    ngx_vmess_hit_t         hit;
    ngx_vmess_user_t       *user;
    ngx_vmess_limits_t      limits;
    ngx_vmess_user_info_t   info;

    test_make(&u, 1, 3);
    (void) test_set(t, &u);

    user = test_lookup(t, "user1");
    own = user->conf->serial[0];
    also = user->conf->serial[1];

    test_ok(test_scan(t, u.keys.cmd_key[0], TEST_NOW, &hit) == user
            && hit.serial == own && hit.time == TEST_NOW && !hit.temporary
            && hit.limits.quota == u.value.limits.quota
            && test_scan(t, u.keys.cmd_key[1], TEST_NOW, &hit) == user
            && hit.serial == also, "both ids");

    owner = hit.owner;

    test_ok(ngx_vmess_table_find_owner(t, owner, &info) == NGX_OK
            && info.value.name.len == 5
            && ngx_vmess_table_find_owner(t, owner ^ 2, &info)
               == NGX_DECLINED, "of the filter's owner");

    test_ok(test_scan(t, u.keys.cmd_key[1], TEST_NOW + 3, &hit) == NULL
            && test_scan(t, u.keys.cmd_key[0], TEST_NOW + 3, &hit) == user
            && ngx_vmess_hit_knows(user, also, TEST_NOW + 2, &limits)
               == NGX_OK
            && ngx_vmess_hit_knows(user, also, TEST_NOW + 3, &limits)
               == NGX_DECLINED, "the second one has an end");

    /* the second becomes the first, which is gone */

    ngx_memcpy(id, u.value.id[0], NGX_VMESS_ID_LEN);
    ngx_memcpy(u.value.id[0], u.value.id[1], NGX_VMESS_ID_LEN);
    u.value.ids = 1;

    ngx_vmess_table_begin(t);
    test_ok(ngx_vmess_table_set(t, &u.value, NULL, NULL)
            == NGX_VMESS_TABLE_CHANGED
            && user->conf->serial[0] == also
            && ngx_vmess_table_find_id(t, id) == NULL
            && ngx_vmess_table_find_id(t, u.value.id[0]) == user,
            "the second becomes the first");
    ngx_vmess_table_end(t);

    test_ok(ngx_vmess_hit_knows(user, own, TEST_NOW, &limits)
            == NGX_DECLINED
            && ngx_vmess_hit_knows(user, also, TEST_NOW + 3, &limits)
               == NGX_OK
            && limits.quota == u.value.limits.quota
            && test_scan(t, u.keys.cmd_key[0], TEST_NOW, &hit) == NULL
            && test_scan(t, u.keys.cmd_key[1], TEST_NOW, &hit) == user,
            "one that was taken away");

    test_ok(!ngx_vmess_hit_try(t, 64, u.keys.cmd_key[0], &hit.time)
            && ngx_vmess_hit_take(t, 63, NULL, TEST_NOW, &hit)
               == NGX_DECLINED, "slots without a key");
}


static ngx_uint_t
test_fill_up(ngx_vmess_table_t *t, ngx_uint_t n)
{
    test_user_t         u;
    ngx_uint_t          i;
    ngx_vmess_table_e   rc;

    ngx_memzero(&u.keys, sizeof(u.keys));

    for (i = 0; /* void */ ; i++) {

        test_value(&u, n + i, 2);

        /* no key is scanned for: it need not be the right one */

        ngx_vmess_id_cmd_key(u.keys.cmd_key[0], u.value.id[0]);

        ngx_vmess_table_begin(t);
        rc = ngx_vmess_table_set(t, &u.value, &u.keys, NULL);
        ngx_vmess_table_end(t);

        if (rc != NGX_VMESS_TABLE_ADDED) {
            return (rc == NGX_VMESS_TABLE_FULL) ? i : 0;
        }
    }
}


static void
test_room(ngx_vmess_table_t *t)
{
    test_user_t        u;
    ngx_uint_t         n;
    ngx_vmess_user_t  *user;

    n = test_fill_up(t, 1000);

    test_ok(n > 60 && n == ngx_vmess_table_count(t), "%d users fit", (int) n);

    user = test_lookup(t, "user1010");

    /* a reference keeps one of two */

    user->refs[1] = 1;

    test_remove(t, "user1010");
    test_remove(t, "user1011");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 0, NGX_VMESS_USER_GRACE);
    ngx_vmess_table_end(t);

    test_make(&u, 1, 2);

    test_ok(ngx_vmess_table_has_removed(t)
            && test_set(t, &u) == NGX_VMESS_TABLE_FULL,
            "removed a moment ago");

    ngx_current_msec += NGX_VMESS_USER_GRACE;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 1, NGX_VMESS_USER_GRACE);

    test_ok(ngx_vmess_table_room_reserve(t, 2, 0) == NGX_DECLINED
            && ngx_vmess_table_room_reserve(t, 1, 1) == NGX_OK, "room for one");
    ngx_vmess_table_end(t);

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_FULL, "which is reserved");

    u.value.origin = NGX_VMESS_ORIGIN_CONF;

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_ADDED,
            "for the configuration");

    user->refs[1] = 0;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 1, 0);
    (void) ngx_vmess_table_room_reserve(t, 0, 0);
    ngx_vmess_table_end(t);

    test_make(&u, 2, 2);

    test_ok(!ngx_vmess_table_has_removed(t)
            && test_set(t, &u) == NGX_VMESS_TABLE_ADDED
            && test_lookup(t, "user2") == user, "the memory of another");

    test_ok(ngx_vmess_table_size(n, n) > TEST_SIZE / 2
            && ngx_vmess_table_size(n, n) < TEST_SIZE * 5 / 4, "the size");
}


/* what users need, and room that is kept for them */

static void
test_keep(ngx_vmess_table_t *t)
{
    ngx_uint_t              n;
    test_user_t             u, v;
    ngx_vmess_user_t       *user;
    ngx_vmess_table_need_t  need;

    test_make(&u, 1, 1);
    (void) test_set(t, &u);
    user = test_lookup(t, "user1");

    ngx_vmess_table_begin(t);

    test_ok(ngx_vmess_table_room_held(user) == 2, "slots of two ids");

    ngx_vmess_table_room_need(t, &u.value, &need);
    test_ok(need.users == 0 && need.ids == 0 && need.slots == 0
            && need.spare == 0,
            "nothing is needed");

    test_make(&v, 1, 2);
    ngx_vmess_table_room_need(t, &v.value, &need);
    test_ok(need.users == 0 && need.ids == 3 && need.slots == 0
            && need.spare == 1,
            "one id instead of two");

    test_make(&v, 2, 1);
    ngx_vmess_table_room_need(t, &v.value, &need);
    test_ok(need.users == 1 && need.ids == 2 && need.slots == 2
            && need.spare == 0,
            "a new user");

    ngx_vmess_table_temporary_set_refresh(t, 60);
    ngx_vmess_table_room_need(t, &v.value, &need);
    test_ok(need.slots == 4, "with temporary ids");
    ngx_vmess_table_room_need(t, &u.value, &need);
    test_ok(need.slots == 2, "and for one that is there");
    ngx_vmess_table_temporary_add(t, user);
    test_ok(ngx_vmess_table_room_held(user) == 4, "it has them");

    ngx_vmess_table_remove(t, user);
    ngx_vmess_table_room_need(t, &u.value, &need);
    test_ok(need.users == 0 && need.ids == 2 && need.slots == 4,
            "one who may come again");
    ngx_vmess_table_temporary_set_refresh(t, 0);

    ngx_vmess_table_end(t);

    n = test_fill_up(t, 1000);
    test_remove(t, "user1010");

    ngx_current_msec += NGX_VMESS_USER_GRACE;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 1, NGX_VMESS_USER_GRACE);

    test_ok(n && ngx_vmess_table_room_keep(t, 1000, 0) == NGX_DECLINED,
            "there is no room for so many");
    test_ok(ngx_vmess_table_room_keep(t, 2, 2) == NGX_OK
            && ngx_vmess_table_room_reserve(t, 1, 1) == NGX_DECLINED,
            "what is kept the configuration does not get");
    test_ok(ngx_vmess_table_room_keep(t, 0, 0) == NGX_OK
            && ngx_vmess_table_room_reserve(t, 1, 1) == NGX_OK
            && ngx_vmess_table_room_keep(t, 2, 2) == NGX_DECLINED,
            "nor the other way round");
    (void) ngx_vmess_table_room_reserve(t, 0, 0);
    ngx_vmess_table_end(t);
}


static void
test_again(ngx_vmess_table_t *t)
{
    uint32_t             serial;
    test_user_t          u;
    ngx_vmess_hit_t      hit;
    ngx_vmess_user_t    *user, *other;
    ngx_vmess_limits_t   limits;

    test_make(&u, 1, 2);
    (void) test_set(t, &u);

    user = test_lookup(t, "user1");
    serial = user->conf->serial[0];
    user->usage.up = 7;
    user->refs[0] = 1;

    test_remove(t, "user1");

    test_ok(test_lookup(t, "user1") == NULL && ngx_vmess_table_count(t) == 0
            && test_scan(t, u.keys.cmd_key[0], TEST_NOW, &hit) == NULL
            && ngx_vmess_table_get(t, 0, NULL) == NGX_DECLINED
            && ngx_vmess_hit_knows(user, serial, TEST_NOW, &limits)
               == NGX_AGAIN, "removed");

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_ADDED
            && test_lookup(t, "user1") == user && user->usage.up == 7
            && ngx_vmess_hit_knows(user, serial, TEST_NOW, &limits)
               == NGX_OK, "and there again");

    /* removed by a process whose clock is ahead of that of this one */

    ngx_current_msec++;
    test_remove(t, "user1");
    ngx_current_msec--;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 1, NGX_VMESS_USER_GRACE);
    ngx_vmess_table_end(t);

    test_ok(ngx_vmess_hit_knows(user, serial, TEST_NOW, &limits) == NGX_AGAIN
            && test_set(t, &u) == NGX_VMESS_TABLE_ADDED
            && test_lookup(t, "user1") == user && user->usage.up == 7,
            "and again, by another process");

    /* in the list of the removed, and not removed */

    ngx_current_msec += NGX_VMESS_USER_GRACE;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 0, NGX_VMESS_USER_GRACE);
    ngx_vmess_table_end(t);

    test_ok(test_lookup(t, "user1") == user, "and stays");

    test_remove(t, "user1");
    test_make(&u, 1, 4);
    (void) test_set(t, &u);

    other = test_lookup(t, "user1");

    test_ok(other != user && other->usage.up == 0
            && ngx_vmess_hit_knows(user, serial, TEST_NOW, &limits)
               == NGX_AGAIN, "with another id it is another user");

    test_make(&u, 1, 2);

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_CHANGED
            && test_lookup(t, "user1") == other && other->usage.up == 0,
            "and stays that, by the id of the other one as well");

    other->usage.up = 3;

    test_make(&u, 1, 2);

    ngx_vmess_table_begin(t);
    (void) ngx_vmess_table_set_aside(t, other, &u.value);
    ngx_vmess_table_end(t);

    test_make(&u, 1, 8);

    test_ok(test_set(t, &u) == NGX_VMESS_TABLE_CHANGED
            && test_lookup(t, "user1") == other && other->usage.up == 3,
            "who has to give his id away is the same by any other");

    serial = other->conf->serial[0];

    test_remove(t, "user1");

    ngx_current_msec += NGX_VMESS_USER_GRACE;

    test_ok(ngx_vmess_hit_knows(other, serial, TEST_NOW, &limits)
            == NGX_DECLINED
            && test_set(t, &u) == NGX_VMESS_TABLE_ADDED
            && test_lookup(t, "user1") != other
            && test_lookup(t, "user1")->usage.up == 0, "too late");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 0, NGX_VMESS_USER_GRACE);
    user->refs[0] = 0;
    ngx_vmess_table_reap(t, 0, NGX_VMESS_USER_GRACE);
    ngx_vmess_table_end(t);

    test_ok(!ngx_vmess_table_has_removed(t)
            && test_lookup(t, "user1") != NULL, "the old one goes");
}


/* users who were removed go little by little */

static void
test_reap(ngx_vmess_table_t *t)
{
    ngx_uint_t         k, n;
    test_user_t        u;
    ngx_vmess_user_t  *user[10];

    for (k = 0; k < 10; k++) {
        test_make(&u, k, 2);
        (void) test_set(t, &u);
        user[k] = test_lookup(t, u.name);
        user[k]->refs[0] = (k % 3 == 0);
    }

    for (k = 0; k < 9; k++) {
        test_make(&u, k, 2);
        test_remove(t, u.name);
    }

    ngx_vmess_table_begin(t);

    for (n = 1; ngx_vmess_table_reap_some(t, 0, 0, 2); n++) {

        /* one who comes meanwhile has his turn the next time */

        if (n == 1) {
            ngx_vmess_table_remove(t, user[9]);
        }
    }

    for (k = 0, n *= 100; k < 10; k++) {
        n += (user[k]->state == NGX_VMESS_USER_REMOVED);
    }

    test_ok(n == 504, "removed users are freed little by little, but for "
            "those who are referred to");

    for (k = 0; k < 10; k++) {
        user[k]->refs[0] = 0;
    }

    (void) ngx_vmess_table_reap_some(t, 0, 0, 1);
    (void) ngx_vmess_table_reap_some(t, 0, 0, 2);

    n = ngx_vmess_table_has_removed(t);

    ngx_vmess_table_reap(t, 0, 0);

    test_ok(n && !ngx_vmess_table_has_removed(t), "or all of them");
    ngx_vmess_table_end(t);
}


static ngx_int_t
test_set_temporary(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    test_user_t *u, uint32_t serial)
{
    ngx_int_t  rc;

    ngx_vmess_table_begin(t);
    rc = ngx_vmess_table_temporary_set(t, user, serial, 1, u->keys.cmd_key[0],
                                       &u->keys.key[0], TEST_NOW + 10);
    ngx_vmess_table_end(t);

    return rc;
}


static void
test_temporary(ngx_vmess_table_t *t)
{
    u_char             cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t           serial, owner;
    test_user_t        u, v;
    ngx_vmess_hit_t    hit;
    ngx_vmess_user_t  *user;

    test_make(&u, 1, 2);
    test_make(&v, 2, 2);

    (void) test_set(t, &u);

    user = test_lookup(t, "user1");
    serial = user->conf->serial[0];

    test_ok(test_set_temporary(t, user, &v, serial) == NGX_DECLINED
            && ngx_vmess_table_temporary_until(t, user, serial, 1) == 0,
            "no temporary ids");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_temporary_set_refresh(t, 60);
    ngx_vmess_table_temporary_add(t, user);
    ngx_vmess_table_end(t);

    (void) test_scan(t, u.keys.cmd_key[0], TEST_NOW, &hit);
    owner = hit.owner;

    test_ok(ngx_vmess_table_temporary_refresh(t) == 60
            && test_set_temporary(t, user, &v, serial + 1) == NGX_DECLINED
            && test_set_temporary(t, user, &v, serial) == NGX_OK
            && ngx_vmess_table_temporary_until(t, user, serial, 1)
               == TEST_NOW + 10
            && ngx_vmess_table_temporary_until(t, user, serial, 0) == 0
            && test_scan(t, v.keys.cmd_key[0], TEST_NOW + 10, &hit) == user
            && hit.temporary && hit.serial == serial && hit.owner == owner
            && ngx_memcmp(hit.cmd_key, v.keys.cmd_key[0], NGX_VMESS_KEY_LEN)
               == 0, "a temporary id");

    test_ok(test_scan(t, v.keys.cmd_key[0], TEST_NOW + 11, &hit) == NULL
            && ngx_vmess_hit_own(user, serial, cmd_key) == NGX_OK
            && ngx_memcmp(cmd_key, u.keys.cmd_key[0], NGX_VMESS_KEY_LEN) == 0
            && ngx_vmess_hit_own(user, serial + 1, cmd_key)
               == NGX_DECLINED, "has an end, and is made of the user's own");

    test_make(&u, 1, 4);
    (void) test_set(t, &u);

    test_ok(test_scan(t, v.keys.cmd_key[0], TEST_NOW, &hit) == NULL
            && ngx_vmess_table_temporary_until(t, user, user->conf->serial[0],
                                               1)
               == 0
            && ngx_vmess_table_find_id(t, v.value.id[0]) == NULL,
            "goes with it");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_temporary_set_refresh(t, 0);
    ngx_vmess_table_temporary_add(t, user);
    ngx_vmess_table_end(t);

    test_ok(user->temporary[0] == NGX_VMESS_SLOT_NONE
            && user->temporary[1] == NGX_VMESS_SLOT_NONE, "none any more");
}


static void
test_call_set(ngx_vmess_table_t *t, test_user_t *user)
{
    (void) test_set(t, user);
}


static void
test_call_remove(ngx_vmess_table_t *t, test_user_t *user)
{
    test_remove(t, user->name);
}


static void
test_call_reap(ngx_vmess_table_t *t, test_user_t *user)
{
    ngx_vmess_table_begin(t);
    ngx_vmess_table_reap(t, 0, 0);
    ngx_vmess_table_end(t);
}


static void
test_call_temporary(ngx_vmess_table_t *t, test_user_t *user)
{
    ngx_vmess_user_t  *u;

    u = test_lookup(t, user->name);

    (void) test_set_temporary(t, u, user, u->conf->serial[0]);
}


static void
test_call(void *data)
{
    test_call_t *call = data;

    call->call(call->t, call->user);
}


/* a user who was removed is added again: he has slots of his own only */

static ngx_uint_t
test_comes_again(ngx_vmess_table_t *t, ngx_uint_t n, ngx_uint_t version)
{
    ngx_uint_t          k;
    test_user_t         u;
    ngx_vmess_user_t   *user;
    ngx_vmess_slots_t  *slots;

    test_make(&u, n, version);

    if (test_set(t, &u) != NGX_VMESS_TABLE_ADDED) {
        return 0;
    }

    slots = ngx_vmess_table_slots(t);
    user = test_lookup(t, u.name);

    for (k = 0; k < 2; k++) {
        if (user->temporary[k] != NGX_VMESS_SLOT_NONE
            && ngx_vmess_slot(slots, user->temporary[k])->user
               != (ngx_vmess_table_number(t, user) | NGX_VMESS_SLOT_TEMPORARY))
        {
            return 0;
        }
    }

    test_remove(t, u.name);

    return 1;
}


/*
 * The table that is left: without user n, or with one of the two versions; the
 * other version has another stamp, or nobody would save it
 */

static ngx_uint_t
test_is_left(ngx_vmess_table_t *t, ngx_uint_t n, ngx_uint_t before,
    ngx_uint_t after, ngx_uint_t users, ngx_uint_t capacity, ngx_uint_t stamp)
{
    ngx_uint_t  i, nth, version, seen, others;

    /* a chain that is a circle would be walked for ever */

    alarm(20);

    ngx_vmess_table_begin(t);

    seen = 0;
    others = 0;

    for (i = 0; i < ngx_vmess_table_max(t); i++) {

        if (!test_is_whole(t, i, &nth, &version) || !test_is_linked(t, i)) {
            return 0;
        }

        if (nth == n) {
            seen++;

            if ((version != before && version != after)
                || (version != before
                    && ngx_vmess_table_user(t, i)->stamp <= stamp))
            {
                return 0;
            }

        } else if (nth) {
            others++;
        }
    }

    ngx_vmess_table_end(t);

    if (seen == 0 && before && !test_comes_again(t, n, before)) {
        return 0;
    }

    if (others != users || seen > 1 || (seen == 0 && before && after)
        || ngx_vmess_table_count(t) != others + seen)
    {
        return 0;
    }

    /* nothing is lost, but for who was removed and is yet to be freed */

    test_call_reap(t, NULL);

    return test_fill_up(t, 1000) + others + seen >= capacity;
}


/*
 * A child makes a change of user n, instruction by instruction; versions are 0
 * if he is not there.
 */

static void
test_death(void *p, const char *what, ngx_uint_t n, ngx_uint_t before,
    ngx_uint_t after, void (*call)(ngx_vmess_table_t *t, test_user_t *user))
{
    void               *left;
    pid_t               pid;
    ngx_uint_t          i, k, users, capacity, bad, states, stamp;
    test_call_t         c;
    test_user_t         u;
    ngx_vmess_table_t  *t;

    t = ngx_vmess_table_create(p, TEST_SIZE);

    ngx_vmess_table_temporary_set_refresh(t, (n & 1) ? 60 : 0);

    left = malloc(TEST_SIZE);

    for (k = 1; k <= TEST_USERS / 2; k++) {
        test_make(&u, k, 2 + k % 4);
        (void) test_set(t, &u);
    }

    if (before) {
        test_make(&u, n, before);
        (void) test_set(t, &u);
    }

    if (call == test_call_reap) {
        test_remove(t, u.name);
        before = 0;
    }

    users = ngx_vmess_table_count(t) - (before != 0);
    stamp = ngx_vmess_table_changes(t);

    test_make(&u, n, after ? after : before);

    ngx_memcpy(left, p, TEST_SIZE);
    capacity = test_fill_up(t, 1000) + users;
    ngx_memcpy(p, left, TEST_SIZE);

    c.t = t;
    c.user = &u;
    c.call = call;

    pid = test_trace(test_call, &c);

    for (i = 0, bad = 0, states = 0; test_trace_step(pid); i++) {

        if (ngx_memcmp(left, p, TEST_SIZE) == 0) {
            continue;
        }

        states++;

        ngx_memcpy(left, p, TEST_SIZE);

        bad = !test_is_left(t, n, before, after, users, capacity, stamp);

        ngx_memcpy(p, left, TEST_SIZE);

        if (bad) {
            printf("# at instruction %d\n", (int) i);
            test_resume(pid);
            break;
        }
    }

    alarm(0);

    test_ok(bad == 0 && states > 4, "%s: death at any of %d instructions",
            what, (int) i);

    free(left);
}


/* changes of all users, without looking at what comes of them */

static void
test_work(ngx_vmess_table_t *t, test_user_t *users)
{
    ngx_uint_t         n;
    test_user_t       *u;
    ngx_vmess_user_t  *user;

    for ( ;; ) {
        n = test_random() % (2 * TEST_USERS);
        u = &users[n];

        ngx_vmess_table_begin(t);

        user = ngx_vmess_table_find(t, &u->value.name);

        if (user && test_random() % 4 == 0) {
            ngx_vmess_table_remove(t, user);

        } else {
            (void) ngx_vmess_table_set(t, &u->value, &u->keys, NULL);
        }

        if (test_random() % 8 == 0) {
            ngx_vmess_table_reap(t, 0, 0);
        }

        ngx_vmess_table_end(t);
    }
}


static void
test_kills(void *p)
{
    pid_t               pid;
    uint64_t            reads;
    ngx_uint_t          i, k, n, nth, version, torn, broken, misses;
    test_user_t        *users, u;
    ngx_vmess_hit_t     hit;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;

    t = ngx_vmess_table_create(p, TEST_SIZE);

    /* each user in two versions, of which one or none is there */

    users = malloc(2 * TEST_USERS * sizeof(test_user_t));

    for (i = 0; i < TEST_USERS; i++) {
        test_make(&users[2 * i], i + 1, 2 + 4 * (i % 3));
        test_make(&users[2 * i + 1], i + 1, 5 + 4 * (i % 2));
    }

    /* nobody touches this one: he is always found */

    test_make(&u, TEST_USERS + 1, 2);
    (void) test_set(t, &u);
    user = test_lookup(t, u.name);

    torn = 0;
    broken = 0;
    misses = 0;
    reads = 0;

    for (k = 0; k < TEST_KILLS; k++) {

        pid = fork();

        if (pid == 0) {

            for (i = 0; i < k; i++) {
                (void) test_random();
            }

            test_work(t, users);
        }

        /* what others see meanwhile is whole */

        for (n = test_random() % 20; n + 1; n--) {

            for (i = 0; i < ngx_vmess_table_max(t); i++) {
                torn += !test_is_whole(t, i, &nth, &version);
                reads++;
            }

            misses += test_scan(t, u.keys.cmd_key[0], TEST_NOW, &hit) != user;

            if (test_scan(t, users[n].keys.cmd_key[0], TEST_NOW, &hit)) {
                torn += hit.limits.quota != users[n].value.limits.quota;
            }
        }

        kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, 0);

        alarm(20);

        ngx_vmess_table_begin(t);

        for (i = 0, n = 0; i < ngx_vmess_table_max(t); i++) {
            broken += !test_is_whole(t, i, &nth, &version)
                      || !test_is_linked(t, i);
            n += (nth != 0);
        }

        ngx_vmess_table_end(t);

        alarm(0);

        broken += n != ngx_vmess_table_count(t);
    }

    test_ok(torn == 0 && misses == 0,
            "%llu users read without a lock: torn %d, not found %d",
            (unsigned long long) reads, (int) torn, (int) misses);

    test_ok(broken == 0, "killed %d times: broken %d", TEST_KILLS,
            (int) broken);

    free(users);
}


int
main(void)
{
    void  *p;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    p = test_shared(TEST_SIZE);

    test_basics(ngx_vmess_table_create(p, TEST_SIZE));
    test_tokens(ngx_vmess_table_create(p, TEST_SIZE));
    test_ids(ngx_vmess_table_create(p, TEST_SIZE));
    test_room(ngx_vmess_table_create(p, TEST_SIZE));
    test_keep(ngx_vmess_table_create(p, TEST_SIZE));
    test_again(ngx_vmess_table_create(p, TEST_SIZE));
    test_reap(ngx_vmess_table_create(p, TEST_SIZE));
    test_temporary(ngx_vmess_table_create(p, TEST_SIZE));

    test_death(p, "a user is added", 100, 0, 3, test_call_set);
    test_death(p, "with temporary ids", 101, 0, 2, test_call_set);
    test_death(p, "an id is changed", 100, 2, 10, test_call_set);
    test_death(p, "two ids are changed", 101, 3, 7, test_call_set);
    test_death(p, "the second id is dropped", 100, 3, 2, test_call_set);
    test_death(p, "a user is removed", 101, 3, 0, test_call_remove);
    test_death(p, "one who was removed is freed", 100, 2, 0, test_call_reap);
    test_death(p, "a temporary id", 101, 2, 2, test_call_temporary);

    test_kills(p);

    return test_done();
}
