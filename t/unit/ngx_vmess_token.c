
/*
 * Copyright (C) ngx_vmess authors
 *
 * The table of tokens, against tokens made one by one.
 */

#include "test.h"
#include "event/ngx_vmess_token.h"


#define TEST_NOW    1735689600
#define TEST_IDS    1000

/* with those made ahead */

#define TEST_ALL    (2 * NGX_VMESS_TIME_WINDOW + 1 + 8)


static u_char  ids[TEST_IDS][NGX_VMESS_ID_LEN];


static ngx_vmess_tokens_t *
test_create(ngx_uint_t n)
{
    u_char              *p;
    size_t               size;
    ngx_uint_t           i;
    ngx_vmess_tokens_t  *tt;

    size = ngx_vmess_token_size(n);
    p = malloc(size);

    if (p == NULL) {
        exit(2);
    }

    /* shared memory may have been in use before */

    ngx_memset(p, 0xa5, size);

    tt = ngx_vmess_token_create(p, n);

    for (i = 0; i < n; i++) {
        ngx_vmess_token_add(tt, ids[i], 7 * i);
    }

    return tt;
}


/* all that is due */

static void
test_refresh(ngx_vmess_tokens_t *tt, time_t now)
{
    if (ngx_vmess_token_refresh(tt, NULL, now, TEST_ALL * TEST_IDS, 1) != NGX_OK) {
        exit(2);
    }
}


/* 1 if the token of that id and second is found at now, as what it is */

static int
test_found(ngx_vmess_tokens_t *tt, ngx_uint_t i, time_t second, time_t now)
{
    u_char                  token[NGX_VMESS_EAUID_LEN];
    int64_t                 t;
    ngx_int_t               rc;
    ngx_uint_t              user;
    ngx_vmess_legacy_key_t  key;

    ngx_vmess_legacy_key(&key, ids[i]);
    ngx_vmess_legacy_token(&key, second, token);

    t = -1;
    user = 12345;

    rc = ngx_vmess_token_find(tt, token, now, &user, &t);

    if (rc == NGX_OK && (t != second || user != 7 * i)) {
        exit(2);
    }

    return rc == NGX_OK;
}


/* ids of the first n whose tokens of a second are found */

static ngx_uint_t
test_count(ngx_vmess_tokens_t *tt, ngx_uint_t n, time_t second, time_t now)
{
    ngx_uint_t  i, found;

    for (found = 0, i = 0; i < n; i++) {
        found += test_found(tt, i, second, now);
    }

    return found;
}


static void
test_window(ngx_uint_t n, ngx_uint_t step)
{
    u_char               token[NGX_VMESS_EAUID_LEN];
    time_t               d;
    int64_t              t;
    ngx_int_t            rc;
    ngx_uint_t           i, k, steps, user, good;
    ngx_vmess_tokens_t  *tt;

    tt = test_create(n);

    test_ok(test_count(tt, n, TEST_NOW, TEST_NOW) == 0,
            "%d ids: nothing before the first step", (int) n);

    for (steps = 1; steps < 1000000; steps++) {
        rc = ngx_vmess_token_refresh(tt, NULL, TEST_NOW, step, 1);

        if (rc == NGX_OK) {
            break;
        }
    }

    test_ok(steps == n * TEST_ALL / step + 1
            || steps == (n * TEST_ALL + step - 1) / step,
            "%d ids: as many steps as tokens", (int) n);

    good = 0;
    k = 0;

    for (d = -140; d <= 140; d++) {
        for (i = 0; i < n; i += 1 + n / 10, k++) {
            good += test_found(tt, i, TEST_NOW + d, TEST_NOW)
                    == (d >= -120 && d <= 120);
        }
    }

    test_ok(good == k, "%d ids: found in the window", (int) n);

    for (i = 0, good = 0; i < 10000; i++) {
        test_fill(token, sizeof(token));
        good += ngx_vmess_token_find(tt, token, TEST_NOW, &user, &t)
                == NGX_DECLINED;
    }

    test_ok(good == 10000, "%d ids: no other token is found", (int) n);

    free(tt);
}


/* any bit of a token counts */

static void
test_bits(void)
{
    u_char                   token[NGX_VMESS_EAUID_LEN];
    int64_t                  t;
    ngx_uint_t               bit, user, good;
    ngx_vmess_tokens_t      *tt;
    ngx_vmess_legacy_key_t   key;

    tt = test_create(10);

    test_refresh(tt, TEST_NOW);

    ngx_vmess_legacy_key(&key, ids[3]);
    ngx_vmess_legacy_token(&key, TEST_NOW + 5, token);

    for (bit = 0, good = 0; bit < 128; bit++) {
        token[bit / 8] ^= 1 << bit % 8;
        good += ngx_vmess_token_find(tt, token, TEST_NOW, &user, &t)
                == NGX_DECLINED;
        token[bit / 8] ^= 1 << bit % 8;
    }

    test_ok(good == 128, "each bit of a token");

    free(tt);
}


/* the nearest seconds are there first, each as a whole */

static void
test_order(void)
{
    ngx_uint_t           n;
    ngx_vmess_tokens_t  *tt;

    n = 100;
    tt = test_create(n);

    (void) ngx_vmess_token_refresh(tt, NULL, TEST_NOW, n - 1, 1);

    test_ok(test_count(tt, n, TEST_NOW, TEST_NOW) == 0,
            "no second that is not whole");

    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW, 2, 1) == NGX_AGAIN
            && test_count(tt, n, TEST_NOW, TEST_NOW) == n,
            "the present second first");

    (void) ngx_vmess_token_refresh(tt, NULL, TEST_NOW, 60 * n, 1);

    test_ok(test_count(tt, n, TEST_NOW + 30, TEST_NOW) == n
            && test_count(tt, n, TEST_NOW - 30, TEST_NOW) == n
            && test_count(tt, n, TEST_NOW + 31, TEST_NOW) == 0
            && test_count(tt, n, TEST_NOW - 31, TEST_NOW) == 0,
            "then those next to it");

    free(tt);
}


/* steps of half a second's tokens while time passes, jumps and goes back */

static void
test_time(void)
{
    time_t               now;
    ngx_uint_t           i, n, good;
    ngx_vmess_tokens_t  *tt;

    n = 30;
    now = TEST_NOW;
    tt = test_create(n);

    test_refresh(tt, now);

    for (i = 0, good = 0; i < 2000; i++, now++) {

        if (ngx_vmess_token_refresh(tt, NULL, now, n / 2, 1) == NGX_AGAIN) {
            (void) ngx_vmess_token_refresh(tt, NULL, now, n - n / 2, 1);
        }

        good += test_count(tt, n, now + 120, now) == n
                && test_count(tt, n, now - 120, now) == n
                && test_count(tt, n, now + test_random() % 120, now) == n
                && test_count(tt, 3, now - 121, now) == 0
                && test_count(tt, 3, now + 121, now) == 0
                && ngx_vmess_token_refresh(tt, NULL, now, 0, 1) == NGX_OK;
    }

    test_ok(good == 2000, "%d of 2000 seconds as they pass", (int) good);

    /* a worker was late: what is ahead bridges some seconds */

    test_ok(test_count(tt, n, now + 7 + 120, now + 7) == n
            && test_count(tt, n, now + 8 + 120, now + 8) == 0,
            "seven seconds without a step");

    for (i = 0; i < 4; i++) {
        now += (i % 2) ? -100000 : 100037;

        good = test_count(tt, n, now, now);

        (void) ngx_vmess_token_refresh(tt, NULL, now, n, 1);

        good += test_count(tt, n, now, now);

        test_refresh(tt, now);

        test_ok(good == n && test_count(tt, n, now + 120, now) == n
                && test_count(tt, n, now - 120, now) == n,
                "the clock was set");
    }

    free(tt);
}


static void
test_workers(void)
{
    ngx_uint_t           n;
    ngx_vmess_tokens_t  *tt;

    n = 50;
    tt = test_create(n);

    (void) ngx_vmess_token_refresh(tt, NULL, TEST_NOW, n + n / 2, 100);

    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW, n, 200) == NGX_DECLINED
            && ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 2, n, 200)
               == NGX_DECLINED,
            "one worker refreshes");

    /* the first one has ended with half of a second done */

    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 3, n, 200) == NGX_AGAIN
            && ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 3, n, 100)
               == NGX_DECLINED
            && ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 3, n, 200) == NGX_AGAIN
            && test_count(tt, n, TEST_NOW + 3, TEST_NOW + 3) == n
            && test_count(tt, n, TEST_NOW, TEST_NOW + 3) == n,
            "another one takes over");

    /* so it is when the clock was put back */

    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW - 500, n, 300) == NGX_AGAIN,
            "and when the clock was put back");

    free(tt);

    /* the next one begins with its own second, not amid that of the dead */

    tt = test_create(n);

    (void) ngx_vmess_token_refresh(tt, NULL, TEST_NOW, n + n / 2, 100);
    (void) ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 100, n, 200);

    test_ok(test_count(tt, n, TEST_NOW + 100, TEST_NOW + 100) == n,
            "the present second is whole as soon as it can be");

    free(tt);
}


/*
 * A worker stops anywhere amid a step, and goes on when another one has had more
 * than the time to take over: what was announced stays whole.
 */

#define TEST_STOPS  200


typedef struct {
    ngx_vmess_tokens_t  *tt;
    ngx_shmtx_t          mutex;
    ngx_shmtx_sh_t       sh;
} test_stall_t;


static void
test_stall_call(void *data)
{
    test_stall_t  *stall = data;

    (void) ngx_vmess_token_refresh(stall->tt, &stall->mutex, TEST_NOW + 4, 3,
                                   100);
}


static void
test_stall(void)
{
    pid_t                pid;
    size_t               size;
    u_char              *saved, *last;
    ngx_uint_t           i, k, n, bad, taken, stops[TEST_STOPS];
    test_stall_t        *stall;
    ngx_vmess_tokens_t  *tt;

    n = 3;
    size = ngx_vmess_token_size(n);

    stall = (test_stall_t *) test_shared(sizeof(test_stall_t) + size);
    stall->mutex.lock = &stall->sh.lock;

    tt = ngx_vmess_token_create(&stall[1], n);
    stall->tt = tt;

    for (i = 0; i < n; i++) {
        ngx_vmess_token_add(tt, ids[i], 7 * i);
    }

    test_refresh(tt, TEST_NOW);

    saved = test_copy(tt, size);

    /* where it writes something, and one instruction before */

    pid = test_trace(test_stall_call, stall);
    last = test_copy(tt, size);

    for (i = 0, n = 0; test_trace_step(pid) && n + 2 < TEST_STOPS; i++) {

        if (ngx_memcmp(tt, last, size)) {
            ngx_memcpy(last, tt, size);

            if (n == 0 || stops[n - 1] < i) {
                stops[n++] = i;
            }

            stops[n++] = i + 1;
        }
    }

    free(last);

    for (k = 0, bad = 0, taken = 0; k < n; k++) {

        ngx_memcpy(tt, saved, size);
        stall->sh.lock = 0;

        pid = test_trace(test_stall_call, stall);

        for (i = 0; i < stops[k]; i++) {
            (void) test_trace_step(pid);
        }

        for (i = 0; i < 200; i++) {
            taken += ngx_vmess_token_refresh(tt, &stall->mutex, TEST_NOW + 8,
                                             1000, 200)
                     != NGX_DECLINED;
        }

        test_resume(pid);

        /* all of the next one's work, if it was not done */

        for (i = 0; i < 200; i++) {
            (void) ngx_vmess_token_refresh(tt, &stall->mutex, TEST_NOW + 8,
                                           1000, 200);
        }

        for (i = 0; i <= 240; i++) {
            bad += test_count(tt, 3, TEST_NOW + 8 - 120 + i, TEST_NOW + 8) != 3;
        }
    }

    free(saved);

    test_ok(bad == 0 && n > 20, "a worker that stops amid a step, at %d places",
            (int) n);
    test_ok(taken == 0, "nobody else goes on meanwhile");
}


/* a second being made is not that of the same place, should it come again */

static void
test_back(void)
{
    time_t               now;
    ngx_uint_t           n;
    ngx_vmess_tokens_t  *tt;

    n = 30;
    tt = test_create(n);

    for (now = TEST_NOW - 300; now <= TEST_NOW; now++) {
        test_refresh(tt, now);
    }

    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW + 1, n / 2, 1)
            == NGX_AGAIN, "half of a second");

    now = TEST_NOW - 100;

    test_refresh(tt, now);

    for (n = 0; n <= 240; n++) {
        if (test_count(tt, 30, now - 120 + n, now) != 30) {
            break;
        }
    }

    test_ok(n == 241, "whole when the clock was put back, %d seconds", (int) n);

    free(tt);
}


int
main(void)
{
    ngx_uint_t           user;
    int64_t              t;
    ngx_vmess_tokens_t  *tt;

    test_fill((u_char *) ids, sizeof(ids));

    test_window(1, 1);
    test_window(2, 7);
    test_window(3, 1000000);
    test_window(64, 63);
    test_window(TEST_IDS, 1024);

    test_bits();
    test_order();
    test_time();
    test_workers();
    test_stall();
    test_back();

    tt = test_create(0);
    test_ok(ngx_vmess_token_refresh(tt, NULL, TEST_NOW, 1, 1) == NGX_OK
            && ngx_vmess_token_find(tt, ids[0], TEST_NOW, &user, &t)
               == NGX_DECLINED, "no ids");
    free(tt);

    return test_done();
}
