
/*
 * Copyright (C) ngx_vmess authors
 *
 * Unit tests read cases from stdin, one a line: a word, then name=value
 * pairs, with binary values in hexadecimal.  They print TAP without numbers.
 */

#ifndef _TEST_H_INCLUDED_
#define _TEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* reads the next line; 0 at the end of input */
int test_next(void);

/* 1 if the line starts with this word */
int test_is(const char *word);

/* 1 if the line has this field */
int test_has(const char *name);

/* fields of the line; what they return lives until the next line */
const char *test_str(const char *name);
long long test_num(const char *name);
ngx_str_t test_bin(const char *name);

/* a copy of exactly len bytes, so that ASan sees a byte read too far */
u_char *test_copy(const void *data, size_t len);

/* 1 if s is these bytes */
int test_equal(ngx_str_t s, const void *data, size_t len);

/* numbers that are the same in every run */
uint32_t test_random(void);
void test_fill(u_char *p, size_t len);

/* one result; 0 of its conditions may fail silently, the name says which */
void test_ok(int ok, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* memory that children share */
u_char *test_shared(size_t size);

/*
 * A child that will call a function, stopped before it; one more instruction of
 * it, 0 if it had no more, and is gone; and all of the rest.
 */
pid_t test_trace(void (*call)(void *data), void *data);
int test_trace_step(pid_t pid);
void test_resume(pid_t pid);

/* value to return from main() */
int test_done(void);


#endif /* _TEST_H_INCLUDED_ */
