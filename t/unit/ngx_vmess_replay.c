
/*
 * Copyright (C) ngx_vmess authors
 *
 * The replay filter, against a model that remembers every key.
 */

#include "test.h"
#include "event/ngx_vmess_replay.h"


#define TEST_SIZE   (64 * 1024)
#define TEST_STEPS  200000
#define TEST_KEYS   16384


typedef struct {
    u_char   key[NGX_VMESS_REPLAY_KEY_LEN];
    time_t   expires;
} test_key_t;


static test_key_t  keys[TEST_KEYS];


static void
test_small_key(u_char *key, uint32_t n)
{
    ngx_memzero(key, NGX_VMESS_REPLAY_KEY_LEN);
    ngx_memcpy(key + n % 12, &n, sizeof(n));
    key[15] = (u_char) (n % 12);
}


/* fresh and old keys in random order while time passes, never too many */

static void
test_model(ngx_vmess_replay_t *r)
{
    time_t      now, expires;
    uint32_t    i, k, n, good;
    ngx_int_t   rc, want;

    now = 1735689600;
    n = 0;
    good = 0;

    for (i = 0; i < TEST_STEPS; i++) {

        now += (test_random() % 8 == 0);

        k = n ? test_random() % n : 0;

        if (n && test_random() % 3 == 0) {

            /* an old key: known as long as its time has not passed */

            if (keys[k].expires < now) {
                good++;
                continue;
            }

            expires = keys[k].expires;
            want = NGX_DECLINED;

        } else {
            k = n < TEST_KEYS ? n++ : i % TEST_KEYS;

            if (keys[k].expires >= now) {
                good++;
                continue;
            }

            test_fill(keys[k].key, NGX_VMESS_REPLAY_KEY_LEN);
            expires = now + test_random() % 241;
            keys[k].expires = expires;
            want = NGX_OK;
        }

        good += (ngx_vmess_replay_find(r, keys[k].key, now)
                 == (want == NGX_OK ? NGX_DECLINED : NGX_OK));

        rc = ngx_vmess_replay_add(r, keys[k].key, expires, now);

        good -= (rc != want);
    }

    test_ok(good == TEST_STEPS, "%u of %u steps as the model", good,
            TEST_STEPS);
}


static void
test_full(ngx_vmess_replay_t *r)
{
    u_char      key[NGX_VMESS_REPLAY_KEY_LEN];
    time_t      now;
    uint32_t    i, n, good;

    now = 1735689600;
    n = ngx_vmess_replay_capacity(r);

    test_ok(n > TEST_SIZE / 30 && n <= TEST_SIZE / 24, "%u keys fit", n);

    for (good = 0, i = 0; i < n; i++) {
        test_small_key(key, i);
        good += (ngx_vmess_replay_add(r, key, now + i % 200, now) == NGX_OK);
    }

    test_ok(good == n, "all of them are taken");

    test_small_key(key, n);
    test_ok(ngx_vmess_replay_add(r, key, now + 100, now) == NGX_BUSY,
            "one more is refused");

    for (good = 0, i = 0; i < n; i++) {
        test_small_key(key, i);
        good += (ngx_vmess_replay_add(r, key, now + i % 200, now)
                 == NGX_DECLINED);
    }

    test_ok(good == n, "none was forgotten for it");

    /* the keys of one second have passed */

    test_small_key(key, n);
    test_ok(ngx_vmess_replay_add(r, key, now + 100, now + 1) == NGX_OK,
            "room as soon as the first keys have passed");

    now += 200;

    for (good = 0, i = 0; i < n; i++) {
        test_small_key(key, n + 1 + i);
        good += (ngx_vmess_replay_add(r, key, now + 100, now) == NGX_OK);
    }

    test_ok(good == n, "all new when all have passed");

    for (good = 0, i = 0; i < n; i++) {
        test_small_key(key, n + 1 + i);
        good += (ngx_vmess_replay_add(r, key, now + 100, now + 100)
                 == NGX_DECLINED);
    }

    test_ok(good == n, "and known to their last second");

    test_small_key(key, n + 1);
    test_ok(ngx_vmess_replay_find(r, key, now + 100) == NGX_OK
            && ngx_vmess_replay_find(r, key, now + 101) == NGX_DECLINED,
            "one is found to its last second");
}


static void
test_clock(ngx_vmess_replay_t *r)
{
    u_char      key[NGX_VMESS_REPLAY_KEY_LEN];
    time_t      now;
    uint32_t    i, good;

    now = 1735689600;

    test_small_key(key, 1);
    test_ok(ngx_vmess_replay_add(r, key, now + 120, now) == NGX_OK, "new");
    test_ok(ngx_vmess_replay_add(r, key, now + 120, now + 121) == NGX_OK,
            "the same key after its time");

    /* others sweep it out, then the clock is put back */

    now += 1000;

    for (i = 2; i < 100; i++) {
        test_small_key(key, i);
        (void) ngx_vmess_replay_add(r, key, now + 120, now);
    }

    test_small_key(key, 1);
    test_ok(ngx_vmess_replay_add(r, key, now - 1000 + 120, now - 1000)
            == NGX_DECLINED,
            "not taken for new when the clock was put back");

    for (good = 0, i = 200; i < 300; i++) {
        test_small_key(key, i);
        good += (ngx_vmess_replay_add(r, key, now - 500, now - 620)
                 == NGX_OK);
    }

    test_ok(good == 100, "later keys are still taken then");
}


static void
test_copy_set(ngx_vmess_replay_t *r, ngx_vmess_replay_t *old)
{
    u_char      key[NGX_VMESS_REPLAY_KEY_LEN];
    time_t      now;
    uint32_t    i, good;

    now = 1735689600;

    for (i = 0; i < 500; i++) {
        test_small_key(key, i);
        (void) ngx_vmess_replay_add(old, key, now + i, now);
    }

    ngx_vmess_replay_copy(r, old, now + 250);

    for (good = 0, i = 0; i < 500; i++) {
        test_small_key(key, i);
        good += (ngx_vmess_replay_add(r, key, now + 600, now + 250)
                 == (i < 250 ? NGX_OK : NGX_DECLINED));
    }

    test_ok(good == 500, "a copy has what is still to be kept");
}


static ngx_vmess_replay_t *
test_create(size_t size)
{
    u_char  *p;

    p = malloc(size);

    if (p == NULL) {
        exit(2);
    }

    /* shared memory may have been in use before */

    ngx_memset(p, 0xa5, size);

    return ngx_vmess_replay_create(p, size, 0x9e3779b97f4a7c15);
}


int
main(void)
{
    size_t               size;
    ngx_uint_t           i;
    ngx_vmess_replay_t  *r, *old;

    static void        (*tests[])(ngx_vmess_replay_t *) = {
        test_model, test_full, test_clock
    };

    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        r = test_create(TEST_SIZE);
        tests[i](r);
        free(r);
    }

    r = test_create(2 * TEST_SIZE);
    old = test_create(TEST_SIZE);
    test_copy_set(r, old);
    free(r);
    free(old);

    /* the last entry of any size lies within */

    for (size = 1024; size < 1100; size++) {
        r = test_create(size);
        test_small_key((u_char *) keys, 1);

        for (i = 0; i < ngx_vmess_replay_capacity(r); i++) {
            keys[0].key[15] = (u_char) i;
            (void) ngx_vmess_replay_add(r, keys[0].key, 100, 1);
        }

        free(r);
    }

    test_ok(i > 30, "filled at odd sizes");

    return test_done();
}
