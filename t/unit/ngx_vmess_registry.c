
/*
 * Copyright (C) ngx_vmess authors
 *
 * The registry of sessions, against a model, and with processes that are
 * killed while they change it.
 */

#include "test.h"
#include "event/ngx_vmess_registry.h"

#include <sys/mman.h>
#include <sys/wait.h>


#define TEST_SIZE    4096
#define TEST_IDS     200
#define TEST_STEPS   200000
#define TEST_KILLS   300


typedef struct {
    ngx_pid_t  pid;
    time_t     expires;       /* of one that ended */
} test_session_t;


static test_session_t  sessions[TEST_IDS];


/* few buckets: the id that is hashed has long chains */

static void
test_id(u_char *id, uint32_t n)
{
    ngx_memset(id, n % 5, NGX_VMESS_REGISTRY_ID_LEN);
    ngx_memcpy(id + 8, &n, sizeof(n));
}


static ngx_uint_t
test_even(ngx_pid_t pid)
{
    return pid % 2 == 0;
}


/* what a worker does, without looking at what comes of it */

static void
test_step(ngx_vmess_registry_t *r, uint32_t n, ngx_pid_t pid, time_t now,
    uint32_t what)
{
    u_char                       id[NGX_VMESS_REGISTRY_ID_LEN];
    ngx_vmess_registry_entry_t  *e;

    test_id(id, n);

    ngx_vmess_registry_begin(r);

    e = ngx_vmess_registry_find(r, id);

    if (e == NULL) {
        (void) ngx_vmess_registry_add(r, id, pid, pid, now);

    } else if (e->pid && what == 0) {
        ngx_vmess_registry_take(e, pid, pid);

    } else if (e->pid) {
        ngx_vmess_registry_release(r, e, what == 1 ? now + 30 : 0);
    }

    ngx_vmess_registry_end(r);
}


static void
test_model(ngx_vmess_registry_t *r)
{
    u_char                       id[NGX_VMESS_REGISTRY_ID_LEN];
    time_t                       now;
    uint32_t                     i, n, good, live;
    test_session_t              *s;
    ngx_vmess_registry_entry_t  *e;

    now = 1735689600;
    good = 0;
    live = 0;

    for (i = 0; i < TEST_STEPS; i++) {
        now += (test_random() % 8 == 0);

        /* live ones are never more than fit: others make room */

        n = test_random() % TEST_IDS;
        s = &sessions[n];
        test_id(id, n);

        ngx_vmess_registry_begin(r);

        e = ngx_vmess_registry_find(r, id);

        if (s->pid) {
            good += (e && (ngx_pid_t) e->pid == s->pid
                     && e->socket == (uint64_t) s->pid);

            if (test_random() % 3 == 0) {
                s->pid = 1 + test_random() % 1000;
                ngx_vmess_registry_take(e, s->pid, s->pid);

            } else if (test_random() % 2) {
                s->pid = 0;
                s->expires = now + 30;
                live--;
                ngx_vmess_registry_release(r, e, s->expires);

            } else {
                s->pid = 0;
                s->expires = 0;
                live--;
                ngx_vmess_registry_release(r, e, 0);
            }

        } else if (e) {
            good += (e->pid == 0 && (time_t) e->expires == s->expires);

        } else {

            /* one that ended may be forgotten early */

            good++;

            e = ngx_vmess_registry_add(r, id, n + 1, n + 1, now);

            if (e) {
                s->pid = n + 1;
                live++;

            } else {
                good -= (live != ngx_vmess_registry_capacity(r));
            }
        }

        ngx_vmess_registry_end(r);
    }

    test_ok(good == TEST_STEPS, "%u of %u steps as the model", good,
            TEST_STEPS);
}


static void
test_full(ngx_vmess_registry_t *r)
{
    u_char                       id[NGX_VMESS_REGISTRY_ID_LEN];
    time_t                       now;
    uint32_t                     i, n, good;
    ngx_vmess_registry_entry_t  *e;

    now = 1735689600;
    n = ngx_vmess_registry_capacity(r);

    test_ok(n > TEST_SIZE / 60 && n <= TEST_SIZE / 48, "%u ids fit", n);

    ngx_vmess_registry_begin(r);

    for (good = 0, i = 0; i < n; i++) {
        test_id(id, i);
        good += (ngx_vmess_registry_add(r, id, 1 + i, 0, now) != NULL);
    }

    test_ok(good == n, "all of them are taken");

    test_id(id, n);
    test_ok(ngx_vmess_registry_add(r, id, 1, 0, now) == NULL,
            "one more is refused");

    /* of those that ended the first makes room, before its time */

    for (i = 3; i < 6; i++) {
        test_id(id, i);
        e = ngx_vmess_registry_find(r, id);
        ngx_vmess_registry_release(r, e, now + 30);
    }

    test_id(id, n);
    test_ok(ngx_vmess_registry_add(r, id, 1, 0, now) != NULL,
            "one that has ended makes room");

    for (good = 0, i = 3; i < 6; i++) {
        test_id(id, i);
        good = good * 2 + (ngx_vmess_registry_find(r, id) != NULL);
    }

    test_ok(good == 3, "it is the one that ended first");

    /* a worker that has died */

    ngx_vmess_registry_sweep(r, test_even);

    for (good = 0, i = 6; i < n; i++) {
        test_id(id, i);
        e = ngx_vmess_registry_find(r, id);
        good += (i % 2 ? e && (ngx_pid_t) e->pid == (ngx_pid_t) (i + 1)
                       : e == NULL);
    }

    test_ok(good == n - 6, "a sweep forgets those of dead workers alone");

    ngx_vmess_registry_end(r);
}


/* those that ended are forgotten at their time, a few for each new one */

static void
test_expire(ngx_vmess_registry_t *r)
{
    u_char      id[NGX_VMESS_REGISTRY_ID_LEN];
    time_t      now;
    uint32_t    i;
    ngx_uint_t  n;

    now = 1735689600;

    ngx_vmess_registry_begin(r);

    for (i = 0; i < 10; i++) {
        test_id(id, i);
        (void) ngx_vmess_registry_add(r, id, 1, 0, now);
        ngx_vmess_registry_release(r, ngx_vmess_registry_find(r, id),
                                   now + 30);
    }

    test_id(id, 10);
    (void) ngx_vmess_registry_add(r, id, 1, 0, now + 29);
    n = ngx_vmess_registry_count(r);

    test_ok(n == 11, "none before its time: %d", (int) n);

    test_id(id, 11);
    (void) ngx_vmess_registry_add(r, id, 1, 0, now + 30);
    n = ngx_vmess_registry_count(r);

    test_ok(n == 8, "four at their time: %d", (int) n);

    for (i = 12; i < 14; i++) {
        test_id(id, i);
        (void) ngx_vmess_registry_add(r, id, 1, 0, now + 30);
    }

    n = ngx_vmess_registry_count(r);

    test_ok(n == 4, "none but those in use is left: %d", (int) n);

    ngx_vmess_registry_end(r);
}


/* every entry is reachable, and all of them can be had again */

static ngx_uint_t
test_whole(ngx_vmess_registry_t *r)
{
    u_char                       id[NGX_VMESS_REGISTRY_ID_LEN];
    uint32_t                     i, n, found;
    ngx_vmess_registry_entry_t  *e;

    ngx_vmess_registry_begin(r);

    for (found = 0, i = 0; i < TEST_IDS; i++) {
        test_id(id, i);
        found += (ngx_vmess_registry_find(r, id) != NULL);
    }

    if (found != ngx_vmess_registry_count(r)) {
        ngx_vmess_registry_end(r);
        return 0;
    }

    /* room is not lost: with all live ones gone, as many fit as ever */

    for (i = 0; i < TEST_IDS; i++) {
        test_id(id, i);
        e = ngx_vmess_registry_find(r, id);

        if (e && e->pid) {
            ngx_vmess_registry_release(r, e, 0);
        }
    }

    for (n = 0; n < ngx_vmess_registry_capacity(r); n++) {
        test_id(id, 1000 + n);

        if (ngx_vmess_registry_add(r, id, 1, 0, 2000000000) == NULL) {
            break;
        }
    }

    for (i = 0; i < n; i++) {
        test_id(id, 1000 + i);
        e = ngx_vmess_registry_find(r, id);

        if (e == NULL) {
            break;
        }

        ngx_vmess_registry_release(r, e, 0);
    }

    ngx_vmess_registry_end(r);

    return i == n && n == ngx_vmess_registry_capacity(r);
}


static void
test_killed(void)
{
    int                    status;
    void                  *p;
    pid_t                  pid;
    uint32_t               i, n, good, amid, *word;
    ngx_vmess_registry_t  *r;

    p = mmap(NULL, TEST_SIZE, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1,
             0);
    if (p == MAP_FAILED) {
        test_ok(0, "mmap() failed");
        return;
    }

    r = ngx_vmess_registry_create(p, TEST_SIZE);
    word = p;
    good = 0;
    amid = 0;

    for (i = 0; i < TEST_KILLS; i++) {

        pid = fork();

        if (pid == 0) {
            for (n = i; /* void */ ; n++) {
                test_step(r, test_random() % TEST_IDS, 1 + n % 1000,
                          1735689600 + n / 50, test_random() % 4);
            }
        }

        usleep(200 + test_random() % 2000);

        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);

        /* the first word is set amid a change */

        amid += *word;
        good += test_whole(r);
    }

    test_ok(good == TEST_KILLS, "whole after %u of %u kills", good,
            TEST_KILLS);
    test_ok(amid > 0, "%u of them amid a change", amid);
}


int
main(void)
{
    void                  *p;
    ngx_vmess_registry_t  *r;

    p = malloc(TEST_SIZE);

    r = ngx_vmess_registry_create(p, TEST_SIZE);
    test_model(r);

    r = ngx_vmess_registry_create(p, TEST_SIZE);
    test_full(r);

    r = ngx_vmess_registry_create(p, TEST_SIZE);
    test_expire(r);

    free(p);

    test_killed();

    return test_done();
}
