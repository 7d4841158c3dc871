
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>


#define TEST_FIELDS  64


static char        *test_line;
static size_t       test_size;
static ngx_uint_t   test_fields;
static char        *test_name[TEST_FIELDS];
static char        *test_value[TEST_FIELDS];
static u_char      *test_data[TEST_FIELDS];
static ngx_uint_t   test_failed;
static uint64_t     test_seed = 1;


static void
test_die(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", what, name);
    exit(2);
}


int
test_next(void)
{
    char        *word;
    ngx_uint_t   i;

    for (i = 0; i < test_fields; i++) {
        free(test_data[i]);
        test_data[i] = NULL;
    }

    test_fields = 0;

    if (getline(&test_line, &test_size, stdin) == -1) {
        free(test_line);
        test_line = NULL;
        return 0;
    }

    for (word = strtok(test_line, " \n"); word; word = strtok(NULL, " \n")) {

        if (test_fields == TEST_FIELDS) {
            test_die("too many fields", word);
        }

        test_name[test_fields] = word;
        test_value[test_fields] = strchr(word, '=');

        if (test_value[test_fields]) {
            *test_value[test_fields]++ = '\0';
        }

        test_fields++;
    }

    return 1;
}


int
test_is(const char *word)
{
    return test_fields && strcmp(test_name[0], word) == 0;
}


static ngx_uint_t
test_find(const char *name)
{
    ngx_uint_t  i;

    for (i = 1; i < test_fields; i++) {
        if (strcmp(test_name[i], name) == 0 && test_value[i]) {
            return i;
        }
    }

    return 0;
}


int
test_has(const char *name)
{
    return test_find(name) != 0;
}


const char *
test_str(const char *name)
{
    ngx_uint_t  i;

    i = test_find(name);

    if (i == 0) {
        test_die("no field", name);
    }

    return test_value[i];
}


long long
test_num(const char *name)
{
    return strtoll(test_str(name), NULL, 10);
}


ngx_str_t
test_bin(const char *name)
{
    char         digits[3];
    size_t       n;
    ngx_str_t    s;
    ngx_uint_t   i;
    const char  *p;

    p = test_str(name);
    i = test_find(name);
    s.len = strlen(p) / 2;

    if (test_data[i] == NULL) {
        test_data[i] = test_copy(p, s.len);
        digits[2] = '\0';

        for (n = 0; n < s.len; n++) {
            digits[0] = p[2 * n];
            digits[1] = p[2 * n + 1];
            test_data[i][n] = (u_char) strtoul(digits, NULL, 16);
        }
    }

    s.data = test_data[i];

    return s;
}


u_char *
test_copy(const void *data, size_t len)
{
    u_char  *p;

    p = malloc(len ? len : 1);

    if (p == NULL) {
        test_die("no memory", "");
    }

    ngx_memcpy(p, data, len);

    return p;
}


int
test_equal(ngx_str_t s, const void *data, size_t len)
{
    return s.len == len && ngx_memcmp(s.data, data, len) == 0;
}


uint32_t
test_random(void)
{
    test_seed = test_seed * 6364136223846793005u + 1442695040888963407u;

    return test_seed >> 32;
}


void
test_fill(u_char *p, size_t len)
{
    while (len--) {
        *p++ = (u_char) test_random();
    }
}


void
test_ok(int ok, const char *fmt, ...)
{
    va_list  args;

    if (!ok) {
        test_failed++;
    }

    printf("%sok - ", ok ? "" : "not ");

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);
}


u_char *
test_shared(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1, 0);

    if (p == MAP_FAILED) {
        test_die("no memory", "");
    }

    return p;
}


pid_t
test_trace(void (*call)(void *data), void *data)
{
    int    status;
    pid_t  pid;

    pid = fork();

    if (pid == -1) {
        test_die("fork", "");
    }

    if (pid == 0) {

        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1) {
            test_die("ptrace", "");
        }

        raise(SIGSTOP);
        call(data);
        _exit(0);
    }

    if (waitpid(pid, &status, 0) == -1 || !WIFSTOPPED(status)) {
        test_die("waitpid", "");
    }

    return pid;
}


int
test_trace_step(pid_t pid)
{
    int  status;

    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == -1
        || waitpid(pid, &status, 0) == -1)
    {
        test_die("ptrace", "");
    }

    return WIFSTOPPED(status);
}


void
test_resume(pid_t pid)
{
    int  status;

    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) == -1
        || waitpid(pid, &status, 0) == -1 || status != 0)
    {
        test_die("child", "");
    }
}


int
test_done(void)
{
    return test_failed ? 1 : 0;
}
