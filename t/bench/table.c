
/*
 * Copyright (C) ngx_vmess authors
 *
 * What the table of users costs: the scan for an unknown client, the memory and
 * the time of a user, and a change of one.  Arguments: numbers of users.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "event/ngx_vmess_hit.h"
#include "proto/ngx_vmess_crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>


/* CPU time in ns, as other processes may run */

static double
bench_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e9 + ts.tv_nsec;
}


static void
bench_random(u_char *p, size_t len)
{
    while (len--) {
        *p++ = random() >> 7;
    }
}


static void
bench_set(ngx_vmess_table_t *t, ngx_uint_t n, ngx_uint_t quota)
{
    char               name[32];
    ngx_vmess_value_t  value;

    ngx_memzero(&value, sizeof(ngx_vmess_value_t));

    value.name.data = (u_char *) name;
    value.name.len = sprintf(name, "user%lu", (unsigned long) n);
    value.ids = 1;
    value.origin = NGX_VMESS_ORIGIN_API;
    value.limits.quota = quota;

    srandom(n + 1);
    bench_random(value.id[0], NGX_VMESS_ID_LEN);

    ngx_vmess_table_begin(t);

    if (ngx_vmess_table_set(t, &value, NULL, NULL) > NGX_VMESS_TABLE_CHANGED) {
        fprintf(stderr, "user %lu cannot be set\n", (unsigned long) n);
        exit(1);
    }

    ngx_vmess_table_end(t);
}


static int
bench_compare(const void *one, const void *two)
{
    double  a = *(double *) one, b = *(double *) two;

    return (a > b) - (a < b);
}


/* of many scans that find nobody, the middle one and the lowest are printed */

static void
bench_users(ngx_uint_t users)
{
    void               *p;
    size_t              size;
    double              start, add, change, took[101];
    u_char              eauid[16];
    int64_t             time;
    ngx_uint_t          i, j, rounds;
    ngx_vmess_table_t  *t;

    size = ngx_vmess_table_size(users, users);

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    t = (p == MAP_FAILED) ? NULL : ngx_vmess_table_create(p, size);

    if (t == NULL) {
        fprintf(stderr, "no memory for %lu users\n", (unsigned long) users);
        exit(1);
    }

    start = bench_now();

    for (i = 0; i < users; i++) {
        bench_set(t, i, 0);
    }

    add = bench_now() - start;
    start = bench_now();

    for (i = 0; i < 10000; i++) {
        bench_set(t, i % users, 1 + i / users);
    }

    change = bench_now() - start;

    rounds = 1 + 200000 / users;

    for (i = 0; i < sizeof(took) / sizeof(took[0]); i++) {

        start = bench_now();

        for (j = 0; j < rounds; j++) {
            bench_random(eauid, sizeof(eauid));

            if (ngx_vmess_hit_scan(t, 0, eauid, &time) != NGX_VMESS_SLOT_NONE) {
                fprintf(stderr, "a user was found\n");
                exit(1);
            }
        }

        took[i] = (bench_now() - start) / rounds;
    }

    qsort(took, i, sizeof(double), bench_compare);

    printf("%lu users: scan %.2f ns a user (lowest %.2f), %.0f us in all; "
           "add %.1f us, change %.1f us; %.0f bytes a user, %.0f users/MiB\n",
           (unsigned long) users, took[i / 2] / users, took[0] / users,
           took[i / 2] / 1000, add / users / 1000, change / 10000 / 1000,
           (double) size / users, users / (size / 1048576.0));

    munmap(p, size);
}


int
main(int argc, char **argv)
{
    int  i;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    for (i = 1; i < argc; i++) {
        bench_users(strtoul(argv[i], NULL, 10));
    }

    return 0;
}
