
/*
 * Copyright (C) ngx_vmess authors
 *
 * The replay filter, against a model that remembers every key, with clocks that
 * are set, and with callers that die.
 */

#include "test.h"
#include "event/ngx_vmess_replay.h"


#define TEST_NOW    1735689600
#define TEST_SIZE   (64 * 1024)
#define TEST_STEPS  200000
#define TEST_KEYS   16384


typedef struct {
    u_char   key[NGX_VMESS_REPLAY_KEY_LEN];
    time_t   expires;
} test_key_t;


static test_key_t  keys[TEST_KEYS];


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

    return ngx_vmess_replay_create(p, size, 0x9e3779b97f4a7c15, TEST_NOW);
}


static u_char *
test_small_key(uint32_t n)
{
    static u_char  key[NGX_VMESS_REPLAY_KEY_LEN];

    ngx_memzero(key, NGX_VMESS_REPLAY_KEY_LEN);
    ngx_memcpy(key + n % 12, &n, sizeof(n));
    key[15] = (u_char) (n % 12);

    return key;
}


/* adds n keys from a number on, of one owner or each of another one */

static ngx_uint_t
test_add(ngx_vmess_replay_t *r, uint32_t first, ngx_uint_t n, uint32_t owner,
    time_t expires, time_t now)
{
    ngx_uint_t  i, good;

    for (good = 0, i = 0; i < n; i++) {
        good += (ngx_vmess_replay_add(r, test_small_key(first + i),
                                      owner ? owner : first + i + 1, expires,
                                      now)
                 == NGX_OK);
    }

    return good;
}


/* of n keys from a number on, those of which a search says this */

static ngx_uint_t
test_find(ngx_vmess_replay_t *r, uint32_t first, ngx_uint_t n, ngx_int_t rc,
    time_t expires, time_t now)
{
    ngx_uint_t  i, good;

    for (good = 0, i = 0; i < n; i++) {
        good += (ngx_vmess_replay_find(r, test_small_key(first + i), 1, expires,
                                       now)
                 == rc);
    }

    return good;
}


/* fresh and old keys in random order while time passes, never too many */

static void
test_model(ngx_vmess_replay_t *r)
{
    time_t      now, expires;
    uint32_t    i, k, n, good, owner;
    ngx_int_t   rc, want;

    now = TEST_NOW;
    n = 0;
    good = 0;

    for (i = 0; i < TEST_STEPS; i++) {

        now += (test_random() % 8 == 0);

        k = n ? test_random() % n : 0;
        owner = 1 + test_random() % 100;

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

            /* mostly another key, or the same one after its time */

            if (keys[k].expires == 0 || test_random() % 4) {
                test_fill(keys[k].key, NGX_VMESS_REPLAY_KEY_LEN);
            }

            expires = now + test_random() % 241;
            keys[k].expires = expires;
            want = NGX_OK;
        }

        good += (ngx_vmess_replay_find(r, keys[k].key, owner, expires, now)
                 == want);

        rc = ngx_vmess_replay_add(r, keys[k].key, owner, expires, now);

        good -= (rc != want);
    }

    test_ok(good == TEST_STEPS, "%u of %u steps as the model", good,
            TEST_STEPS);
}


static void
test_full(ngx_vmess_replay_t *r)
{
    uint32_t    i, k;
    ngx_int_t   rc;
    ngx_uint_t  n, good;
    time_t      now;

    now = TEST_NOW;
    n = ngx_vmess_replay_capacity(r);

    test_ok(n > TEST_SIZE / 34 && n <= TEST_SIZE / 28, "%d keys fit", (int) n);

    good = test_add(r, 0, n, 0, now + 200, now);

    test_ok(good > n * 93 / 100, "%d of them are taken", (int) good);

    test_ok(test_add(r, n, 100, 0, now + 200, now) < 10, "no more");

    test_ok(test_find(r, 0, n, NGX_DECLINED, now + 200, now) == good,
            "none was forgotten for them");

    /* room as soon as their time has passed, though some wait for the span */

    now += 208;

    test_ok(test_add(r, 2 * n, n, 0, now + 200, now) > n / 2,
            "room as soon as they have passed");

    now += 201 + 16;

    good = test_add(r, 4 * n, n, 0, now + 100, now);

    test_ok(good > n * 93 / 100, "%d new ones later", (int) good);

    test_ok(test_find(r, 4 * n, n, NGX_DECLINED, now + 100, now + 100) == good
            && test_find(r, 4 * n, n, NGX_DECLINED, now + 100, now + 101) == 0,
            "known to their last second");

    /* one that is there for its owner does not go on counting */

    now += 400;

    for (good = 0, i = 0; i < 40; i++, now += 100) {
        good += test_add(r, 6 * n + i * n, n / 2, 7, now + 90, now) == n / 2;
    }

    test_ok(good == 40, "half of the room for one owner, again and again");

    /* a full sweep is made once a second */

    now += 400;
    (void) test_add(r, 60 * n, n, 7, now + 100, now);

    rc = ngx_vmess_replay_find(r, test_small_key(0), 7, now + 100, now);

    for (k = 0; k < 1000; k++) {
        rc = ngx_vmess_replay_find(r, test_small_key(0), 7, now + 100, now);
    }

    test_ok(rc == NGX_BUSY
            && ngx_vmess_replay_find(r, test_small_key(0), 7, now + 201,
                                     now + 101) == NGX_OK,
            "a search finds room as well");

}


static void
test_share(ngx_vmess_replay_t *r)
{
    uint32_t    owner;
    ngx_uint_t  n, i, good, others, most;
    time_t      now;

    now = TEST_NOW;
    n = ngx_vmess_replay_capacity(r);

    good = test_add(r, 0, 2 * n, 1000003, now + 200, now);

    test_ok(good > n * 82 / 100 && good < n * 84 / 100,
            "one owner takes %d of %d", (int) good, (int) n);

    most = ngx_vmess_replay_most(r, &owner);

    test_ok(owner == 1000003 && most == good, "it is known who that is");

    others = test_add(r, 4 * n, n / 20, 0, now + 200, now);

    test_ok(others > n / 20 - 4, "%d of %d others have room", (int) others,
            (int) n / 20);

    test_ok(test_add(r, 6 * n, 100, 1000003, now + 200, now) == 0,
            "the one has not");

    test_ok(test_find(r, 0, good, NGX_DECLINED, now + 200, now) == good,
            "its keys are known");

    /* many of them leave room, too */

    now += 300;

    for (good = 0, i = 0; i < 10; i++) {
        good += test_add(r, 10 * n + i * n, n, 1000003 + 2 * i, now + 200, now);
    }

    others = test_add(r, 40 * n, 5, 0, now + 200, now);

    test_ok(good < n && others > 3, "10 owners take %d of %d", (int) good,
            (int) n);

    /* keys that stay for long */

    now += 300;

    good = test_add(r, 50 * n, n, 1000003, now + 3700, now);

    test_ok(good > n / 11 && good < n / 8, "%d keys for an hour", (int) good);

    test_ok(test_add(r, 52 * n, n / 2, 1000003, now + 200, now) == n / 2,
            "which are no matter to others");

    test_ok(test_find(r, 50 * n, good, NGX_DECLINED, now + 3700, now + 3700)
            == good, "they are known for an hour");
}


/* the clock is set forward by an hour, and back */

static void
test_clock(ngx_vmess_replay_t *r)
{
    time_t      now;
    ngx_uint_t  n, m;

    now = TEST_NOW + 10000;
    n = ngx_vmess_replay_capacity(r);

    (void) test_add(r, 0, 100, 0, now + 120, now);

    /* enough of them to look at all that is there */

    (void) test_add(r, 1000000, 400, 0, now + 3600 + 120, now + 3600);

    test_ok(test_find(r, 0, 100, NGX_DECLINED, now + 120, now + 5) == 100,
            "with room nothing is forgotten: the clock goes back");

    test_ok(test_add(r, 2000000, 100, 0, now + 130, now + 6) == 100,
            "and new keys are good");

    test_ok(test_find(r, 1000000, 100, NGX_DECLINED, now + 3600 + 120,
                      now + 3600) == 100,
            "those of the time ahead are known when it comes");

    /* many keys an hour later: the old ones are forgotten, but not that */

    for (m = 0; m < 20; m++) {
        (void) test_add(r, 3000000 + m * n, n / 2, 0, now + 3600 + m * 240,
                        now + 3600 + m * 240 - 100);
    }

    test_ok(test_find(r, 0, 100, NGX_ABORT, now + 120, now + 5) == 100
            && test_add(r, 0, 100, 0, now + 120, now + 5) == 0,
            "keys that were forgotten are not new when the clock is put back");

    test_ok(test_add(r, 5000000, 50, 0, now + 600, now + 480) == 50,
            "keys of a time that has not been are");

    /* so is a clock that is far ahead: what it left does not stay */

    now = TEST_NOW + 40000;

    (void) test_add(r, 6000000, n / 2, 9, now + 300000000, now + 299999900);
    (void) test_add(r, 7000000, n, 9, now + 120, now);

    test_ok(test_add(r, 8000000, n / 2, 9, now + 400, now + 200) == n / 2,
            "keys of years to come make room");

    test_ok(test_find(r, 6000000, 100, NGX_OK, now + 300000000,
                      now + 299999900) == 0,
            "and are not new then");
}


static void
test_forget(ngx_vmess_replay_t *r)
{
    time_t  now;

    now = TEST_NOW;

    test_ok(test_find(r, 0, 10, NGX_ABORT, now - 20, now - 100) == 10,
            "of the time before the first key nothing is known");

    now += 1000;

    ngx_vmess_replay_forget(r, now);

    test_ok(test_find(r, 0, 10, NGX_ABORT, now - 20, now - 100) == 10
            && test_find(r, 0, 10, NGX_OK, now, now) == 10,
            "a time is taken for forgotten");

    ngx_vmess_replay_forget(r, now - 500);

    test_ok(test_find(r, 0, 10, NGX_ABORT, now - 20, now - 100) == 10,
            "and stays so");

    (void) test_add(r, 0, 10, 0, now + 100, now);

    ngx_vmess_replay_close(r);

    test_ok(test_add(r, 10, 10, 0, now + 100, now) == 0
            && test_find(r, 10, 10, NGX_BUSY, now + 100, now) == 10
            && test_find(r, 0, 10, NGX_DECLINED, now + 100, now) == 10,
            "closed");
}


/* times of forgotten keys share places: an earlier one is not forgotten */

static void
test_spans(ngx_vmess_replay_t *r)
{
    time_t      now, first, second;
    ngx_uint_t  n;

    n = ngx_vmess_replay_capacity(r);

    first = (TEST_NOW + 1000) / 16 * 16;
    second = first + 16 * 512;

    /* all of them are forgotten for those that come later */

    (void) test_add(r, 0, n, 0, first, first - 100);
    (void) test_add(r, n, n / 4, 0, first + 132, first + 32);

    test_ok(test_find(r, 0, 10, NGX_ABORT, first, first - 5) == 10
            && test_find(r, 0, 10, NGX_OK, first - 16, first - 21) == 10
            && test_find(r, 0, 10, NGX_OK, first + 16, first - 5) == 10,
            "keys of a time are forgotten, those before and after are new");

    (void) test_add(r, 2 * n, n, 0, second, second - 100);
    (void) test_add(r, 3 * n, n / 4, 0, second + 132, second + 32);

    test_ok(test_find(r, 0, 10, NGX_ABORT, second, second - 5) == 10
            && test_find(r, 0, 10, NGX_ABORT, first, first - 5) == 10
            && test_find(r, 0, 10, NGX_ABORT, first - 16, first - 21) == 10,
            "more than two hours later, no earlier one is new");

    /* the later time first: the clock was put back between them */

    now = second + 16 * 512;

    (void) test_add(r, 4 * n, n, 0, now + 16 * 512, now + 16 * 512 - 100);
    (void) test_add(r, 5 * n, n / 4, 0, now + 16 * 512 + 132, now + 16 * 512 + 32);
    (void) test_add(r, 6 * n, n, 0, now, now - 100);
    (void) test_add(r, 7 * n, n / 4, 0, now + 132, now + 32);

    test_ok(test_find(r, 0, 10, NGX_ABORT, now, now - 5) == 10
            && test_find(r, 0, 10, NGX_ABORT, now + 16 * 512,
                         now + 16 * 512 - 5) == 10
            && test_find(r, 0, 10, NGX_OK, now + 16, now - 5) == 10,
            "so it is when the clock was put back");
}


/* what expired is not counted, whoever found it */

static void
test_counts(ngx_vmess_replay_t *r)
{
    uint32_t    owner;
    ngx_uint_t  i, n, good;
    time_t      now;

    now = TEST_NOW;
    n = ngx_vmess_replay_capacity(r);

    (void) test_add(r, 0, 100, 7, now + 100, now);
    good = test_add(r, 0, 100, 7, now + 300, now + 200);

    test_ok(good == 100 && ngx_vmess_replay_most(r, &owner) == 100,
            "keys that come anew are counted once");

    now += 1000;

    good = test_add(r, 1000, n / 2, 0, now + 100, now);

    test_ok(good == n / 2, "half of the room for %d owners", (int) good);

    now += 300;

    for (i = 0; i < 10; i++) {
        (void) test_add(r, 10 * n + i * n, n, 1000003 + 2 * i, now + 200, now);
    }

    good = test_add(r, 40 * n, 5, 0, now + 200, now);

    test_ok(good > 3, "of owners as well: %d of 5 have room", (int) good);
}


/* CPU time of keys for which there is no room, each of a later second or not */

static clock_t
test_busy_time(ngx_vmess_replay_t *r, time_t now, ngx_uint_t later)
{
    clock_t     start;
    ngx_uint_t  i, n;

    start = clock();

    for (i = 0, n = 0; i < 500; i++) {
        n += test_add(r, 90000000 + i, 1, 9, now + 100, now + later * i / 50);
    }

    return n ? 0 : clock() - start;
}


static void
test_busy(void)
{
    time_t               now;
    clock_t              once, often;
    ngx_uint_t           n;
    ngx_vmess_replay_t  *r;

    r = test_create(128 * TEST_SIZE);
    n = ngx_vmess_replay_capacity(r);

    /* expired, but of the present span: there is no room, nor is it counted */

    now = TEST_NOW / 16 * 16 + 16;

    (void) test_add(r, 0, n, 0, now, now - 10);
    (void) test_add(r, n, n / 4, 0, now + 100, now + 1);

    often = test_busy_time(r, now + 1, 1);
    once = test_busy_time(r, now + 12, 0);

    test_ok(often && once && once < often / 3,
            "all is looked at once in a second: %d, %d us", (int) once,
            (int) often);

    free(r);
}


/* what a caller that dies leaves: its key is there or not, nothing else */

typedef struct {
    ngx_vmess_replay_t  *r;
    uint32_t             key;
    time_t               expires;
    time_t               now;
} test_call_t;


static void
test_call(void *data)
{
    test_call_t  *call = data;

    (void) ngx_vmess_replay_add(call->r, test_small_key(call->key), 7,
                                call->expires, call->now);
}


static void
test_death(const char *what, void (*prepare)(ngx_vmess_replay_t *r),
    uint32_t key, time_t now)
{
    pid_t                pid;
    size_t               size;
    ngx_uint_t           i, n, fit, bad, known;
    test_call_t          call;
    ngx_vmess_replay_t  *r, *left;

    size = 4096;

    r = ngx_vmess_replay_create(test_shared(size), size, 0x9e3779b97f4a7c15,
                                TEST_NOW);
    prepare(r);

    n = ngx_vmess_replay_capacity(r);

    call.r = r;
    call.key = key;
    call.now = now;
    call.expires = now + 120;

    /* what is known, and what fits beside it and the key, without a death */

    left = (ngx_vmess_replay_t *) test_copy(r, size);
    test_call(&call);
    known = test_find(r, 0, key, NGX_DECLINED, now + 120, now);
    fit = test_add(r, 5000, n, 0, now + 120, now);
    ngx_memcpy(r, left, size);

    pid = test_trace(test_call, &call);

    for (i = 0, bad = 0; test_trace_step(pid); i++) {

        ngx_memcpy(left, r, size);

        /* a chain that is a circle would be walked for ever */

        alarm(20);

        bad += test_find(left, 0, key, NGX_DECLINED, now + 120, now) != known;

        /* what is not there yet still fits, and with it maybe one more */

        bad += test_add(left, 5000, n, 0, now + 120, now) + 1 < fit;

        if (bad) {
            printf("# at instruction %d\n", (int) i);
            break;
        }
    }

    alarm(0);

    if (bad) {
        test_resume(pid);
    }

    test_ok(bad == 0 && i > 100, "%s: death at any of %d instructions", what,
            (int) i);

    free(left);
}


static void
test_prepare_fresh(ngx_vmess_replay_t *r)
{
    (void) test_add(r, 0, 20, 0, TEST_NOW + 120, TEST_NOW);
}


/* keys that have expired are in the way of a new one */

static void
test_prepare_old(ngx_vmess_replay_t *r)
{
    ngx_uint_t  n;

    n = ngx_vmess_replay_capacity(r);

    (void) test_add(r, n, n / 2, 0, TEST_NOW + 20, TEST_NOW);
    (void) test_add(r, 0, n / 3, 0, TEST_NOW + 620, TEST_NOW + 500);
    (void) test_add(r, 2 * n, n / 6, 0, TEST_NOW + 20, TEST_NOW);
}


int
main(void)
{
    size_t               size;
    ngx_uint_t           i;
    ngx_vmess_replay_t  *r;

    static void        (*tests[])(ngx_vmess_replay_t *) = {
        test_model, test_full, test_share, test_clock, test_forget,
        test_spans, test_counts
    };

    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        r = test_create(TEST_SIZE);
        tests[i](r);
        free(r);
    }

    test_busy();

    test_death("a new key", test_prepare_fresh, 900, TEST_NOW);
    test_death("a new key in an old place", test_prepare_old, 900,
               TEST_NOW + 600);
    test_death("a key that comes again", test_prepare_fresh, 19,
               TEST_NOW + 300);

    /* the last entry of any size lies within */

    for (size = 4096; size < 4200; size++) {
        r = test_create(size);

        i = ngx_vmess_replay_capacity(r);

        if (test_add(r, 0, i, 0, TEST_NOW + 100, TEST_NOW) < i - 8) {
            i = 0;
        }

        free(r);
    }

    test_ok(i > 30, "filled at odd sizes");

    return test_done();
}
