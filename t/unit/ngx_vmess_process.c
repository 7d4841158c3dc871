
/*
 * Copyright (C) ngx_vmess authors
 *
 * Processes of a master: who of them lives, whatever has become of its pid, and
 * who hears the bell.
 */

#include "test.h"
#include "event/ngx_vmess_process.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_WORKERS  3


/* what a worker has heard */

typedef struct {
    volatile ngx_uint_t  ready;
    volatile ngx_uint_t  heard;
} test_worker_t;


ngx_pid_t            ngx_parent;
ngx_event_actions_t  ngx_event_actions;

static int                 test_epoll;
static ngx_event_t         test_event;
static ngx_connection_t    test_connection = { .read = &test_event };
static ngx_pool_cleanup_t  test_cleanup;
static ngx_log_t           test_log;


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *p, size_t size)
{
    return &test_cleanup;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    test_ok(0, "\"%s\" is logged", fmt);
}


ngx_connection_t *
ngx_get_connection(ngx_socket_t s, ngx_log_t *log)
{
    test_connection.fd = s;
    return &test_connection;
}


void
ngx_free_connection(ngx_connection_t *c)
{
}


static ngx_int_t
test_add(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    struct epoll_event  ee;

    ee.events = event|flags;

    return epoll_ctl(test_epoll, EPOLL_CTL_ADD, test_connection.fd, &ee);
}


static pid_t
test_fork(ngx_cycle_t *cycle, test_worker_t *worker, ngx_uint_t listens)
{
    pid_t               pid;
    struct epoll_event  ee;

    worker->ready = 0;

    pid = fork();

    if (pid) {
        while (!worker->ready && waitpid(pid, NULL, WNOHANG) == 0) {
            usleep(1000);
        }

        return pid;
    }

    ngx_parent = ngx_pid;
    ngx_pid = getpid();

    test_epoll = epoll_create(1);

    if (listens
        && (ngx_vmess_process_init(cycle) != NGX_OK
            || ngx_vmess_process_listen(cycle, NULL) != NGX_OK))
    {
        _exit(1);
    }

    if (!ngx_vmess_process_alive(ngx_pid)
        || !ngx_vmess_process_alive(ngx_parent))
    {
        _exit(1);
    }

    for (worker->ready = 1; /* void */; worker->heard++) {
        if (epoll_wait(test_epoll, &ee, 1, -1) != 1) {
            _exit(1);
        }
    }
}


static void
test_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}


static int
test_heard(test_worker_t *workers, ngx_uint_t n)
{
    int         ms;
    ngx_uint_t  i, all;

    for (ms = 0; ms < 60000; ms++) {

        for (all = 1, i = 0; i < TEST_WORKERS; i++) {
            all &= (workers[i].heard >= n);
        }

        if (all) {
            return 1;
        }

        usleep(1000);
    }

    return 0;
}


/* its pid is still there, as of a process of anybody else, since nobody waits */

static void
test_master(test_worker_t *worker)
{
    pid_t  pid;

    worker->ready = 0;

    pid = fork();

    if (pid == 0) {
        ngx_pid = getpid();

        if (fork()) {
            _exit(0);
        }

        ngx_parent = ngx_pid;
        ngx_pid = getpid();

        while (getppid() == ngx_parent) {
            usleep(1000);
        }

        worker->ready = ngx_vmess_process_alive(ngx_parent) ? 1 : 2;

        _exit(0);
    }

    while (!worker->ready) {
        usleep(1000);
    }

    test_ok(kill(pid, 0) == 0 && worker->ready == 2,
            "so is the master of who is left, when it has died");

    waitpid(pid, NULL, 0);
}


int
main(void)
{
    pid_t           pid[TEST_WORKERS], stranger;
    ngx_uint_t      i, n;
    ngx_cycle_t     cycle, next;
    test_worker_t  *workers;

    ngx_pid = getpid();
    ngx_event_actions.add = test_add;

    ngx_memzero(&cycle, sizeof(ngx_cycle_t));
    cycle.log = &test_log;
    next = cycle;

    workers = (test_worker_t *)
                  test_shared((TEST_WORKERS + 1) * sizeof(test_worker_t));

    test_ok(ngx_vmess_process_create(&cycle) == NGX_OK, "a configuration");

    pid[0] = test_fork(&cycle, &workers[0], 1);

    /* old workers and new ones */

    test_ok(ngx_vmess_process_create(&next) == NGX_OK, "and another one");
    test_cleanup.handler(test_cleanup.data);

    pid[1] = test_fork(&next, &workers[1], 1);
    pid[2] = test_fork(&next, &workers[2], 1);

    for (n = 0, i = 0; i < TEST_WORKERS; i++) {
        n += ngx_vmess_process_alive(pid[i]);
    }

    test_ok(n == TEST_WORKERS, "workers live");

    for (n = 1, i = 1; i <= 3 && n; i++) {
        ngx_vmess_process_ring(&test_log);
        n = test_heard(workers, i);
    }

    test_ok(n, "each of them hears each ring");

    test_end(pid[1]);
    test_ok(!ngx_vmess_process_alive(pid[1]), "one that was killed is dead");
    test_ok(ngx_vmess_process_alive(pid[2]), "another one is not");

    workers[1].heard = NGX_MAX_INT_T_VALUE;
    ngx_vmess_process_ring(&test_log);
    test_ok(test_heard(workers, 4), "the bell rings for who is left");

    stranger = test_fork(&next, &workers[TEST_WORKERS], 0);

    test_ok(kill(stranger, 0) == 0 && !ngx_vmess_process_alive(stranger),
            "a stranger is nobody, whose pid it may ever have got");

    test_end(stranger);

    test_master(&workers[TEST_WORKERS]);

    test_end(pid[0]);
    test_end(pid[2]);

    test_cleanup.handler(test_cleanup.data);

    test_ok(ngx_vmess_process_create(&cycle) == NGX_OK
            && !ngx_vmess_process_alive(pid[0]),
            "all is made anew after the last configuration");

    return test_done();
}
