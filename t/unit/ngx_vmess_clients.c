
/*
 * Copyright (C) ngx_vmess authors
 *
 * Addresses of users: never more than allowed, and what is left by processes
 * that are killed.
 */

#include "test.h"
#include "event/ngx_vmess_clients.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_SIZE   (64 * 1024)
#define TEST_KILLS  200
#define TEST_MAX    3


static uint32_t  test_user = 7;


uint32_t
ngx_murmur_hash2(u_char *data, size_t len)
{
    uint32_t  h;

    for (h = 2166136261u; len; len--) {
        h = (h ^ *data++) * 16777619u;
    }

    return h;
}


/* all of them are children of this test, which waits for those it has killed */

ngx_uint_t
ngx_vmess_process_alive(ngx_pid_t pid)
{
    return kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


static ngx_int_t
test_enter_as(ngx_vmess_clients_t *clients, uint32_t addr, ngx_uint_t set,
    ngx_uint_t keep, ngx_vmess_client_hold_t *hold)
{
    ngx_int_t                rc;
    struct sockaddr_in       sin;
    ngx_vmess_client_hold_t  h;

    ngx_memzero(&sin, sizeof(sin));
    ngx_memzero(&h, sizeof(h));

    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(0x0a000000 + addr);

    rc = ngx_vmess_clients_enter(clients, test_user,
                                 (struct sockaddr *) &sin, TEST_MAX, set, &h);

    if (rc == NGX_OK && keep) {
        ngx_vmess_clients_keep(clients, &h);
    }

    if (hold) {
        *hold = h;
    }

    return rc;
}


static ngx_int_t
test_enter(ngx_vmess_clients_t *clients, uint32_t addr, ngx_uint_t set,
    ngx_vmess_client_hold_t *hold)
{
    return test_enter_as(clients, addr, set, 1, hold);
}


/* TEST_MAX more addresses may come, and no other */

static int
test_room(ngx_vmess_clients_t *clients, uint32_t addr, ngx_uint_t set)
{
    uint32_t                 i;
    ngx_vmess_client_hold_t  hold[TEST_MAX];

    ngx_memzero(hold, sizeof(hold));

    for (i = 0; i < TEST_MAX; i++) {
        if (test_enter(clients, addr + i, set, &hold[i]) != NGX_OK) {
            return 0;
        }
    }

    if (test_enter(clients, addr + i, set, NULL) != NGX_DECLINED) {
        return 0;
    }

    for (i = 0; i < TEST_MAX; i++) {
        ngx_vmess_clients_leave(clients, &hold[i], set);
    }

    return test_enter(clients, addr + i, set, NULL) == NGX_DECLINED;
}


static void
test_networks(ngx_vmess_clients_t *clients)
{
    ngx_uint_t               i, n;
    struct sockaddr_in6      sin6;
    struct sockaddr          sa;
    ngx_vmess_client_hold_t  hold;

    ngx_memzero(&sin6, sizeof(sin6));
    ngx_memzero(&sa, sizeof(sa));

    sin6.sin6_family = AF_INET6;
    sa.sa_family = AF_UNIX;
    n = 0;

    for (i = 0; i < 16; i++) {
        sin6.sin6_addr.s6_addr[0] = 0x20;
        sin6.sin6_addr.s6_addr[7] = i / 4;
        sin6.sin6_addr.s6_addr[15] = i;

        n += ngx_vmess_clients_enter(clients, test_user,
                                     (struct sockaddr *) &sin6, TEST_MAX, 0,
                                     &hold)
             == NGX_OK;

        ngx_vmess_clients_keep(clients, &hold);
    }

    test_ok(n == 4 * TEST_MAX, "%d of 16 addresses, in 4 networks", (int) n);

    test_ok(ngx_vmess_clients_check(clients, test_user, &sa, 1, 0) == NGX_OK,
            "a Unix socket");
}


/* those that are not let in leave nothing behind */

static void
test_refused(ngx_vmess_clients_t *clients)
{
    int                      ok;
    uint32_t                 i;
    ngx_vmess_client_hold_t  one, two, hold[TEST_MAX];

    ok = test_enter_as(clients, 1, 0, 0, &one) == NGX_OK
         && test_enter_as(clients, 1, 0, 0, &two) == NGX_OK
         && ngx_vmess_clients_number(clients, test_user, 0) == 1;

    ngx_vmess_clients_leave(clients, &one, 0);

    ok = ok && ngx_vmess_clients_number(clients, test_user, 0) == 1;

    ngx_vmess_clients_leave(clients, &two, 0);

    test_ok(ok && ngx_vmess_clients_number(clients, test_user, 0) == 0,
            "an address of two that were refused");

    for (i = 0; i < TEST_MAX; i++) {
        (void) test_enter_as(clients, 1 + i, 0, 0, &hold[i]);
    }

    ok = test_enter(clients, 1 + i, 0, NULL) == NGX_DECLINED;

    ngx_vmess_clients_clear(clients, 0);

    test_ok(ok && test_enter(clients, 1 + i, 0, &one) == NGX_OK
            && ngx_vmess_clients_number(clients, test_user, 0) == 1,
            "addresses of those that died before they were let in");

    /* their places may be others' by now */

    ngx_vmess_clients_keep(clients, &hold[0]);
    ngx_vmess_clients_leave(clients, &hold[0], 0);

    test_ok(ngx_vmess_clients_number(clients, test_user, 0) == 1,
            "and those of others are whole");

    ngx_vmess_clients_leave(clients, &one, 0);

    ngx_current_msec += 59000;

    (void) test_enter_as(clients, 1 + i, 0, 0, &one);
    ngx_vmess_clients_leave(clients, &one, 0);

    ok = ngx_vmess_clients_number(clients, test_user, 0) == 1;

    ngx_current_msec += 2000;

    test_ok(ok && ngx_vmess_clients_number(clients, test_user, 0) == 0,
            "one that is refused does not hold it longer");

    for (i = 0; i < TEST_MAX; i++) {
        (void) test_enter(clients, 1 + i, 0, &hold[i]);
    }

    ngx_current_msec += 16000;

    (void) test_enter_as(clients, 1, 0, 0, &one);
    ngx_vmess_clients_leave(clients, &one, 0);

    test_ok(test_enter(clients, 1 + i, 0, NULL) == NGX_OK,
            "nor does it end the silence of others");
}


static void
test_epochs(ngx_vmess_clients_t *clients)
{
    int                      ok;
    ngx_vmess_client_hold_t  hold;

    hold.client = NULL;

    (void) test_enter(clients, 1, 0, &hold);

    ngx_vmess_clients_clear(clients, 1);
    ngx_vmess_clients_count(clients, &hold, 1);

    ngx_current_msec += 61000;

    ok = test_enter(clients, 2, 1, NULL) == NGX_OK
         && test_enter(clients, 3, 1, NULL) == NGX_OK
         && ngx_vmess_clients_touch(&hold) == NGX_OK
         && test_enter(clients, 4, 1, NULL) == NGX_DECLINED;

    test_ok(ok, "a flow that was counted again");

    test_ok(ngx_vmess_clients_number(clients, test_user, 1) == TEST_MAX,
            "the number of addresses");

    ngx_current_msec += 16000;

    ok = test_enter(clients, 4, 1, NULL) == NGX_OK
         && test_enter(clients, 5, 1, NULL) == NGX_OK
         && test_enter(clients, 6, 1, NULL) == NGX_OK
         && test_enter(clients, 7, 1, NULL) == NGX_DECLINED
         && ngx_vmess_clients_touch(&hold) == NGX_DECLINED;

    test_ok(ok, "taken over");

    ngx_vmess_clients_count(clients, &hold, 1);
    ngx_vmess_clients_leave(clients, &hold, 1);

    test_ok(test_enter(clients, 4, 1, NULL) == NGX_OK
            && test_enter(clients, 7, 1, NULL) == NGX_DECLINED,
            "and not given back by who had it before");
}


static void
test_kills(ngx_vmess_clients_t *clients)
{
    int                      good;
    pid_t                    pid, second;
    ngx_uint_t               i, k;
    ngx_vmess_client_hold_t  hold[8];

    good = 0;

    for (k = 0; k < TEST_KILLS; k++) {

        pid = fork();
        second = pid ? fork() : 1;

        if (pid == 0 || second == 0) {
            ngx_pid = getpid();
            ngx_memzero(hold, sizeof(hold));

            for (i = pid ? 0 : k; /* void */ ; i++) {
                ngx_vmess_clients_leave(clients, &hold[i % 8], 0);
                (void) test_enter(clients, i % 5, 0, &hold[i % 8]);
            }
        }

        usleep(200 + test_random() % 2000);

        kill(pid, SIGKILL);
        kill(second, SIGKILL);
        (void) waitpid(pid, NULL, 0);
        (void) waitpid(second, NULL, 0);

        /* a new epoch, and a minute */

        ngx_vmess_clients_clear(clients, 0);

        ngx_current_msec += 61000;

        alarm(20);

        good += test_room(clients, 1000 + 10 * k, 0);

        alarm(0);
    }

    test_ok(good == TEST_KILLS, "whole after %d of %d kills", good, TEST_KILLS);
}


int
main(void)
{
    void  *p;

    p = test_shared(TEST_SIZE);

    ngx_pid = getpid();
    ngx_current_msec = 1000000;

    test_networks(ngx_vmess_clients_create(p, TEST_SIZE));
    test_refused(ngx_vmess_clients_create(p, TEST_SIZE));
    test_epochs(ngx_vmess_clients_create(p, TEST_SIZE));

    test_ok(test_room(ngx_vmess_clients_create(p, TEST_SIZE), 0, 0),
            "as many as allowed");

    test_kills(ngx_vmess_clients_create(p, TEST_SIZE));

    return test_done();
}
