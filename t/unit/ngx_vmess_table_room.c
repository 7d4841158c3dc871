
/*
 * Copyright (C) ngx_vmess authors
 *
 * Room in a table: who is to have it, and who needs it.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_room.h"
#include "event/ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_crypto.h"


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


int
main(void)
{
    void  *p;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    p = test_shared(TEST_SIZE);

    test_room(ngx_vmess_table_create(p, TEST_SIZE));
    test_keep(ngx_vmess_table_create(p, TEST_SIZE));

    return test_done();
}
