
/*
 * Copyright (C) ngx_vmess authors
 *
 * The last hour of users: what is shown of it, who gets an entry, and what is
 * left by processes that are killed.
 */

#include "test.h"
#include "event/ngx_vmess_history.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_SIZE   (16 * 1024)
#define test_time   ngx_cached_time->sec

#define TEST_KILLS  300
#define TEST_NOW    1800000000


static off_t  test_bytes[NGX_VMESS_HISTORY_MINUTES][2];


static ngx_vmess_history_t *
test_create(size_t size)
{
    return ngx_vmess_history_create((void *) test_shared(size), size);
}


static ngx_uint_t
test_used(ngx_vmess_history_t *history)
{
    ngx_uint_t  used;

    (void) ngx_vmess_history_fill(history, test_time, &used);

    return used;
}


static void
test_minutes(void)
{
    ngx_vmess_history_t       *history;
    ngx_vmess_history_flow_t   flow, other;

    history = test_create(TEST_SIZE);

    ngx_memzero(&flow, sizeof(flow));
    ngx_memzero(&other, sizeof(other));

    test_time = TEST_NOW;

    test_ok(ngx_vmess_history_get(history, 7, test_time, test_bytes)
            == NGX_DECLINED, "nobody has one");

    /* a flow without an entry counts nothing */

    ngx_vmess_history_count(history, &flow, 1 << 20, 1 << 20);
    test_ok(test_used(history) == 0, "nor makes one");

    ngx_vmess_history_enter(history, 7, &flow);
    ngx_vmess_history_enter(history, 7, &other);

    test_ok(flow.entry && flow.entry == other.entry && test_used(history) == 1,
            "flows of a user have one");

    ngx_vmess_history_count(history, &flow, 1000, 1023);
    ngx_vmess_history_count(history, &flow, 23, 0);
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[59][0] == 0 && test_bytes[59][1] == 0,
            "less than a unit");

    ngx_vmess_history_count(history, &flow, 1, 2049);
    ngx_vmess_history_count(history, &other, 5 * 1024, 0);
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[59][0] == 6 * 1024 && test_bytes[59][1] == 3 * 1024,
            "units");

    test_time += 59 * 60;
    ngx_vmess_history_count(history, &flow, 0, 1024);
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[0][0] == 6 * 1024 && test_bytes[59][0] == 0
            && test_bytes[59][1] == 1024, "an hour");

    test_time += 60;
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[59][0] == 0 && test_bytes[58][1] == 1024,
            "what is older is not told");

    ngx_vmess_history_count(history, &flow, 2048, 0);
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[59][0] == 2048 && test_bytes[59][1] == 0,
            "and makes room");

    ngx_vmess_history_count(history, &flow, (off_t) 1 << 45, (off_t) 1 << 45);
    ngx_vmess_history_count(history, &flow, (off_t) 1 << 45, (off_t) 1 << 45);
    ngx_vmess_history_get(history, 7, test_time, test_bytes);
    test_ok(test_bytes[59][0] == (((off_t) 1 << 26) - 1) * 1024
            && test_bytes[59][1] == test_bytes[59][0]
            && test_bytes[58][0] == 0, "more than a minute may have");
}


static void
test_room(void)
{
    ngx_uint_t                 i, n, size, used;
    ngx_vmess_history_t       *history;
    ngx_vmess_history_flow_t   flows[200];

    history = test_create(TEST_SIZE);
    test_time = TEST_NOW;

    ngx_memzero(flows, sizeof(flows));

    for (i = 0; i < 200; i++) {
        ngx_vmess_history_enter(history, i + 1, &flows[i]);
    }

    size = ngx_vmess_history_fill(history, test_time, &used);

    n = 0;

    for (i = 0; i < 200; i++) {
        n += (flows[i].entry != 0);
    }

    test_ok(n == used && used == size && size > 30,
            "all entries are taken: %d of %d", (int) used, (int) size);

    /* of those that were silent for an hour, one goes on */

    test_time += 61 * 60;

    for (i = 0; i < 200; i++) {

        if (flows[i].entry) {
            break;
        }
    }

    for (n = 0; n < 200; n++) {
        if (flows[n].entry == 0) {
            ngx_vmess_history_enter(history, n + 1, &flows[n]);
        }
    }

    used = test_used(history);

    test_ok(used == size, "the silent ones make room: %d", (int) used);

    ngx_vmess_history_count(history, &flows[i], 1024, 0);
    test_ok(flows[i].entry == 0 && flows[i].rest[0] == 0,
            "a flow whose entry is another one's has none");

    test_time += 61 * 60;

    flows[i].entry = 1;
    ngx_vmess_history_count(history, &flows[i], 1024, 0);
    ngx_vmess_history_get(history, i + 1, test_time, test_bytes);
    test_ok(flows[i].entry && test_bytes[59][0] == 1024,
            "or gets another one");
}


/* at any moment of many users that come and count */

static void
test_killed(void)
{
    pid_t                      pid;
    ngx_uint_t                 i, n, size;
    ngx_vmess_history_t       *history;
    ngx_vmess_history_flow_t   flow;

    history = test_create(TEST_SIZE);

    for (n = 0; n < TEST_KILLS; n++) {

        pid = fork();

        if (pid == 0) {

            ngx_pid = getpid();

            for (i = 0; ; i++) {
                test_time = TEST_NOW + i * 60;

                ngx_memzero(&flow, sizeof(flow));
                ngx_vmess_history_enter(history, i % 500 + 1, &flow);
                ngx_vmess_history_count(history, &flow, 1024, 1024);
            }
        }

        usleep(200);

        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }

    test_time = TEST_NOW + 1000000 * 60;

    for (i = 0; i < 500; i++) {
        ngx_memzero(&flow, sizeof(flow));
        ngx_vmess_history_enter(history, 1000 + i, &flow);
    }

    size = ngx_vmess_history_fill(history, test_time, &n);

    test_ok(n == size, "all entries can be used: %d of %d", (int) n,
            (int) size);
}


int
main(void)
{
    test_minutes();
    test_room();
    test_killed();

    return test_done();
}
