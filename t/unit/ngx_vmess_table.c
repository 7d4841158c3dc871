
/*
 * Copyright (C) ngx_vmess authors
 *
 * The table of users: who is freed, and what is left by processes that are
 * killed while they change it.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_set.h"
#include "event/ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_crypto.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_USERS  40
#define TEST_KILLS  300


typedef struct {
    ngx_vmess_table_t       *t;
    test_user_t             *user;
    void                   (*call)(ngx_vmess_table_t *t, test_user_t *user);
} test_call_t;


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

    test_reap(ngx_vmess_table_create(p, TEST_SIZE));

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
