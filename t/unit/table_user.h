
/*
 * Copyright (C) ngx_vmess authors
 *
 * Users of a table, for its tests: each test has one of its own.
 */

#ifndef _TABLE_USER_H_INCLUDED_
#define _TABLE_USER_H_INCLUDED_


#include "event/ngx_vmess_hit.h"


#define TEST_SIZE   (72 * 1024)
#define TEST_NOW    1800000000


/* ids of a user for a version: odd versions have two */

typedef struct {
    char                     name[16];
    ngx_vmess_value_t        value;
    ngx_vmess_value_keys_t   keys;
} test_user_t;


/* value n of user n: whoever sees it can tell whether it is whole */
void test_value(test_user_t *u, ngx_uint_t n, ngx_uint_t version);

/* the same, with keys; and how it is set, found by name, and removed */
void test_make(test_user_t *u, ngx_uint_t n, ngx_uint_t version);
ngx_vmess_table_e test_set(ngx_vmess_table_t *t, test_user_t *u);
ngx_vmess_user_t *test_lookup(ngx_vmess_table_t *t, const char *name);
void test_remove(ngx_vmess_table_t *t, const char *name);

/* whom the scan finds by an EAuID of that key */
ngx_vmess_user_t *test_scan(ngx_vmess_table_t *t, const u_char *cmd_key,
    time_t now, ngx_vmess_hit_t *hit);

/* adds users from number n on until there is no room, returns how many, or 0 */
ngx_uint_t test_fill_up(ngx_vmess_table_t *t, ngx_uint_t n);

/* sets the temporary id of odd periods, by the key of u */
ngx_int_t test_set_temporary(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    test_user_t *u, uint32_t serial);


#endif /* _TABLE_USER_H_INCLUDED_ */
