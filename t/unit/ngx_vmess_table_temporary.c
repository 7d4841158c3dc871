
/*
 * Copyright (C) ngx_vmess authors
 *
 * Temporary ids of users of a table.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_crypto.h"


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


int
main(void)
{
    void  *p;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    p = test_shared(TEST_SIZE);

    test_temporary(ngx_vmess_table_create(p, TEST_SIZE));

    return test_done();
}
