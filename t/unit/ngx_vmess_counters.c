
/*
 * Copyright (C) ngx_vmess authors
 *
 * Counters: additions by several processes of which some are killed, and what
 * is of another hour.
 */

#include "test.h"
#include "event/ngx_vmess_counters.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_SIZE   (16 * 1024 * 1024)
#define TEST_ADDS   200000
#define test_time   ngx_cached_time->sec

#define TEST_KILLS  20


ngx_int_t  ngx_process_slot;


static ngx_vmess_rows_t *
test_create(size_t size)
{
    size = ngx_vmess_counters_size(size);

    return ngx_vmess_counters_create((void *) test_shared(size), size);
}


static void
test_sizes(void)
{
    size_t  size;

    size = ngx_vmess_counters_size(1024 * 1024);

    test_ok(size <= 48 * 1024, "rows of a small zone: %d bytes", (int) size);

    size = ngx_vmess_counters_size(TEST_SIZE);

    test_ok(size <= TEST_SIZE / 64, "and of a larger one: %d bytes",
            (int) size);

    test_ok(ngx_vmess_counters_size((size_t) 1 << 40) <= 256 * 1024,
            "there is a bound");
}


static void
test_carriers(void)
{
    ngx_str_t   name;
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_VMESS_COUNTERS_CARRIERS; i++) {
        n += ngx_vmess_counters_carrier(&ngx_vmess_counters_carriers[i]) == i;
    }

    test_ok(n == i, "carriers by their names");

    ngx_str_set(&name, "mux");
    test_ok(ngx_vmess_counters_carrier(&name) == 0, "and another one");
}


static void
test_minutes(void)
{
    time_t                now;
    ngx_vmess_rows_t     *rows;
    ngx_vmess_counters_t  sum;

    rows = test_create(TEST_SIZE);

    test_time = now = 1800000000;

    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 3, 10, 20);

    ngx_process_slot = 1;
    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 3, 1, 0);

    test_time = now + 59 * 60;
    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 4, 0, 7);

    ngx_vmess_counters_sum(rows, test_time, &sum);

    test_ok(sum.bytes[3][0] == 11 && sum.bytes[3][1] == 20
            && sum.bytes[4][0] == 0 && sum.bytes[4][1] == 7, "sums of rows");
    test_ok(sum.minutes[0][0] == 11 && sum.minutes[0][1] == 20
            && sum.minutes[59][0] == 0 && sum.minutes[59][1] == 7,
            "the first and the last minute of an hour");

    test_time = now + 60 * 60;
    ngx_vmess_counters_sum(rows, test_time, &sum);

    test_ok(sum.minutes[59][0] == 0 && sum.minutes[58][1] == 7
            && sum.minutes[0][0] == 0, "what is older is not told");

    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 3, 5, 0);
    ngx_vmess_counters_sum(rows, test_time, &sum);

    test_ok(sum.minutes[59][0] == 5 && sum.minutes[59][1] == 0,
            "and makes room");

    test_time = now;
    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 3, 6, 0);
    ngx_vmess_counters_sum(rows, test_time, &sum);

    test_ok(sum.minutes[59][0] == 10 + 6 && sum.bytes[3][0] == 22,
            "a clock that was put back");

    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 3, (off_t) 1 << 50, 0);
    ngx_vmess_counters_sum(rows, test_time, &sum);

    test_ok(sum.minutes[59][0] == 10 + ((ngx_atomic_uint_t) 1 << 40) - 1
            && sum.minutes[58][0] == 0, "more than a minute may have");

    ngx_process_slot = 0;
}


static void
test_skews(void)
{
    ngx_uint_t             i, n;
    ngx_vmess_rows_t      *rows;
    ngx_vmess_counters_t   sum;

    static const struct {
        int64_t     skew;
        ngx_uint_t  ahead;
        ngx_uint_t  n;
    } cases[] = {
        { 0, 1, 0 }, { 1, 1, 1 }, { 2, 1, 2 }, { 3, 1, 3 }, { 90, 1, 7 },
        { 91, 1, 8 }, { 120, 1, 8 }, { -1, 0, 1 }, { -6, 0, 4 }, { -120, 0, 8 }
    };

    n = 0;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rows = test_create(1024 * 1024);

        ngx_vmess_counters_skew(ngx_vmess_counters(rows), cases[i].skew);
        ngx_vmess_counters_sum(rows, 0, &sum);

        n += sum.skews[cases[i].ahead][cases[i].n] == 1
             && sum.skew[cases[i].ahead]
                == (ngx_atomic_uint_t) (cases[i].skew < 0 ? -cases[i].skew
                                                          : cases[i].skew);
    }

    test_ok(n == i, "skews: %d of %d", (int) n, (int) i);
}


/* processes of the same row, in a zone with few of them, that are killed */

static void
test_killed(void)
{
    pid_t                  pid[2];
    ngx_uint_t             i, k, n;
    ngx_atomic_t          *done;
    ngx_vmess_rows_t      *rows;
    ngx_vmess_counters_t   sum;

    rows = test_create(1024 * 1024);
    done = (void *) test_shared(4096);

    for (n = 0; n < TEST_KILLS; n++) {

        for (k = 0; k < 2; k++) {
            pid[k] = fork();

            if (pid[k] == 0) {
                ngx_process_slot = 8 * k;

                for (i = 0; i < TEST_ADDS; i++) {
                    ngx_vmess_counters_bytes(ngx_vmess_counters(rows), 0, 3, 0);
                    ngx_vmess_counters_add(done[8 * k], 1);
                }

                _exit(0);
            }
        }

        usleep(1000);
        kill(pid[0], SIGKILL);

        waitpid(pid[0], NULL, 0);
        waitpid(pid[1], NULL, 0);
    }

    ngx_vmess_counters_sum(rows, test_time, &sum);

    n = sum.bytes[0][0] / 3 - done[0] - done[8];

    test_ok(sum.bytes[0][0] % 3 == 0 && n <= TEST_KILLS,
            "each addition counts once: %d were not noted", (int) n);

    n = sum.bytes[0][0] / 3 - sum.minutes[59][0] / 3;

    test_ok(n <= TEST_KILLS, "in minutes as well: %d are missing", (int) n);
}


static void
test_clear(void)
{
    ngx_vmess_rows_t      *rows;
    ngx_vmess_counters_t   sum;

    rows = test_create(1024 * 1024);

    for (ngx_process_slot = 0; ngx_process_slot < 4; ngx_process_slot++) {
        ngx_vmess_counters_add(ngx_vmess_counters(rows)->open[0][8], 1);
        ngx_vmess_counters_add(ngx_vmess_counters(rows)->open[1][8], 1);
    }

    ngx_vmess_counters_clear(rows, 1);
    ngx_vmess_counters_sum(rows, 0, &sum);

    test_ok(sum.open[0][8] == 4 && sum.open[1][8] == 0, "a set is cleared");
}


int
main(void)
{
    test_sizes();
    test_carriers();
    test_minutes();
    test_skews();
    test_clear();
    test_killed();

    return test_done();
}
