
/*
 * Copyright (C) ngx_vmess authors
 *
 * Users of a table are added, changed, and come again.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_set.h"
#include "proto/ngx_vmess_crypto.h"


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


int
main(void)
{
    void  *p;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    p = test_shared(TEST_SIZE);

    test_basics(ngx_vmess_table_create(p, TEST_SIZE));
    test_ids(ngx_vmess_table_create(p, TEST_SIZE));
    test_again(ngx_vmess_table_create(p, TEST_SIZE));

    return test_done();
}
