
/*
 * Copyright (C) ngx_vmess authors
 *
 * Users of a table are found by their tokens.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_set.h"
#include "proto/ngx_vmess_crypto.h"

#include <string.h>


static ngx_vmess_user_t *
test_token(ngx_vmess_table_t *t, const char *token)
{
    ngx_str_t          s;
    ngx_vmess_user_t  *user;

    s.data = (u_char *) token;
    s.len = strlen(token);

    ngx_vmess_table_begin(t);
    user = ngx_vmess_table_find_token(t, &s);
    ngx_vmess_table_end(t);

    return user;
}


static void
test_tokens(ngx_vmess_table_t *t)
{
    char               own[NGX_VMESS_SUBSCRIPTION_LEN + 1];
    ngx_str_t          s;
    test_user_t        u, v;
    ngx_vmess_user_t  *user, *other;

    static const char  given[] = "a-token_of_16-to-47-bytes";

    test_make(&u, 1, 2);
    (void) test_set(t, &u);

    test_make(&v, 2, 2);
    (void) test_set(t, &v);

    user = test_lookup(t, "user1");
    other = test_lookup(t, "user2");

    *ngx_vmess_table_token((u_char *) own, &u.value) = '\0';

    test_ok(test_token(t, own) == user && test_token(t, given) == NULL
            && test_token(t, "short") == NULL, "a token by the id");

    s.data = (u_char *) given;
    s.len = sizeof(given) - 1;

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, user, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == user && test_token(t, own) == NULL,
            "one that was given");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, other, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == NULL, "two users have it");

    *(char *) ngx_cpymem(v.value.limits.token, given, sizeof(given) - 1) = '\0';
    v.value.origin = NGX_VMESS_ORIGIN_CONF;
    (void) test_set(t, &v);

    test_ok(test_token(t, given) == other, "one is of the configuration");

    test_make(&v, 2, 2);

    test_remove(t, "user2");

    ngx_vmess_table_begin(t);
    ngx_vmess_table_set_token(t, other, &s);
    ngx_vmess_table_end(t);

    test_ok(test_token(t, given) == user, "one of them has gone");

    (void) test_set(t, &v);

    *ngx_vmess_table_token((u_char *) own, &v.value) = '\0';

    test_ok(test_token(t, own) == other && test_token(t, given) == user,
            "and comes again");
}


int
main(void)
{
    void  *p;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    p = test_shared(TEST_SIZE);

    test_tokens(ngx_vmess_table_create(p, TEST_SIZE));

    return test_done();
}
