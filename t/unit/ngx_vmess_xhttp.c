
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_xhttp.h"


static void test_path(void);
static void test_sid(void);
static void test_padding(void);
static void test_cut(void);
static void test_long(void);
static size_t test_length(const char *referer, const char *args);


#define TEST_128                                                              \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"        \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


/* what follows the base path; sid is NULL if it is a path of another thing */

static const struct {
    const char  *rest;
    const char  *sid;
    int64_t      seq;
} test_paths[] = {
    { "", "", -1 },
    { "a", "a", -1 },
    { "b831381d-6324-4d53-ad4f-8cda48b30811",
      "b831381d-6324-4d53-ad4f-8cda48b30811", -1 },
    { "a b\xff?#%2f", "a b\xff?#%2f", -1 },
    { "a/", "a", -1 },
    { "a//", "a", -1 },
    { "a//5", "a", -1 },
    { "a/0", "a", 0 },
    { "a/1", "a", 1 },
    { "a/00", "a", 0 },
    { "a/0042", "a", 42 },
    { "a/1234567890", "a", 1234567890 },
    { "a/4294967296", "a", 4294967296 },
    { "a/9223372036854775807", "a", 9223372036854775807 },
    { "a/00000000000000000000000000000000000000001", "a", 1 },
    { "a/5/", "a", 5 },
    { "a/5//", "a", 5 },
    { "a/5/6", "a", 5 },
    { "7/8", "7", 8 },
    { TEST_128, TEST_128, -1 },
    { TEST_128 "/9", TEST_128, 9 },
    { TEST_128 "x", NULL, 0 },
    { TEST_128 "x/9", NULL, 0 },
    { "/", NULL, 0 },
    { "/5", NULL, 0 },
    { "/a/5", NULL, 0 },
    { "a/x", NULL, 0 },
    { "a/5x", NULL, 0 },
    { "a/x5", NULL, 0 },
    { "a/ 5", NULL, 0 },
    { "a/+5", NULL, 0 },
    { "a/-1", NULL, 0 },
    { "a/0x5", NULL, 0 },
    { "a/5_0", NULL, 0 },
    { "a/5.", NULL, 0 },
    { "a/:", NULL, 0 },
    { "a/9223372036854775808", NULL, 0 },
    { "a/9223372036854775810", NULL, 0 },
    { "a/18446744073709551616", NULL, 0 },
    { "a/99999999999999999999999999", NULL, 0 }
};


/* Referer, query and the length of padding as Go finds it */

static const struct {
    const char  *referer;
    const char  *args;
    size_t       len;
} test_paddings[] = {

    /* the query of the request */

    { NULL, NULL, 0 },
    { NULL, "", 0 },
    { NULL, "x_padding=XXXX", 4 },
    { NULL, "x_padding=", 0 },
    { NULL, "x_padding", 0 },
    { NULL, "x_padding&x_padding=XX", 0 },
    { NULL, "x_padding=&x_padding=XX", 0 },
    { NULL, "x_padding=XX&x_padding=XXXX", 2 },
    { NULL, "a=b&x_padding=XX", 2 },
    { NULL, "&&x_padding=XX&", 2 },
    { NULL, "x_padding=XX&a=b", 2 },
    { NULL, "=x&x_padding=XX", 2 },
    { NULL, "x_padding=a=b", 3 },
    { NULL, "x_padding==", 1 },
    { NULL, "X_padding=XX", 0 },
    { NULL, "x_paddin=XX", 0 },
    { NULL, "x_paddingg=XX", 0 },
    { NULL, "ax_padding=XX", 0 },
    { NULL, "x-padding=XX", 0 },
    { NULL, "x_padding =XX", 0 },
    { NULL, "x_padding=a?b", 3 },
    { NULL, "?x_padding=XX", 0 },

    /* escapes */

    { NULL, "x_padding=%58%58X", 3 },
    { NULL, "x_padding=%26%3d%3B%25", 4 },
    { NULL, "x_padding=a+b", 3 },
    { NULL, "x_padding=%zf&x_padding=XX", 2 },
    { NULL, "x_padding=%fz&x_padding=XX", 2 },
    { NULL, "x_padding=X%&x_padding=XX", 2 },
    { NULL, "x_padding=X%4&x_padding=XX", 2 },
    { NULL, "x_padding=X%", 0 },
    { NULL, "x_padding=X%4", 0 },
    { NULL, "x_padding=X%41", 2 },
    { NULL, "x%5Fpadding=XX", 2 },
    { NULL, "%78%5f%70%61%64%64%69%6e%67=XX", 2 },
    { NULL, "x%5gpadding=XX&x_padding=XXX", 3 },
    { NULL, "x_padding%=XX", 0 },
    { NULL, "x_padding%00=XX", 0 },
    { NULL, "x+padding=XX", 0 },
    { NULL, "x_padding=%2526", 3 },

    /* semicolons */

    { NULL, "x_padding=X;X", 0 },
    { NULL, "a;b&x_padding=XX", 2 },
    { NULL, "x_padding=X;X&x_padding=XXX", 3 },
    { NULL, "a;x_padding=XX", 0 },

    /* Referer */

    { "https://example.com/a/?x_padding=XXX", NULL, 3 },
    { "https://example.com/a/?x_padding=XXX", "x_padding=X", 3 },
    { "https://example.com/a/", "x_padding=X", 0 },
    { "https://example.com/a/?", "x_padding=X", 0 },
    { "https://example.com/a/?b=c", "x_padding=X", 0 },
    { "", "x_padding=X", 1 },
    { "", NULL, 0 },
    { "/?x_padding=XXX", NULL, 3 },
    { "?x_padding=XXX", NULL, 3 },
    { "x_padding=XXX", NULL, 0 },
    { "https://example.com/?a=b&x_padding=XXX&c=d", NULL, 3 },
    { "https://example.com/?a?x_padding=XXX", NULL, 0 },
    { "https://example.com/?x_padding=XX?XX", NULL, 5 },
    { "https://example.com/?x_padding=XXX#XXX", NULL, 3 },
    { "https://example.com/#?x_padding=XXX", NULL, 0 },
    { "https://example.com/?a=#&x_padding=XXX", NULL, 0 },
    { "https://example.com/?x_padding=%58", NULL, 1 },
    { "#", "x_padding=X", 0 }
};


int
main(void)
{
    test_path();
    test_sid();
    test_padding();
    test_cut();
    test_long();

    return test_done();
}


static void
test_path(void)
{
    int64_t      seq;
    ngx_int_t    rc;
    ngx_str_t    rest, sid;
    ngx_uint_t   i;
    const char  *want;

    for (i = 0; i < sizeof(test_paths) / sizeof(test_paths[0]); i++) {

        want = test_paths[i].sid;
        rest.len = ngx_strlen(test_paths[i].rest);
        rest.data = test_copy(test_paths[i].rest, rest.len);

        rc = ngx_vmess_xhttp_path(&rest, &sid, &seq);

        if (want == NULL) {
            test_ok(rc == NGX_DECLINED, "path \"%s\": none",
                    test_paths[i].rest);

        } else {
            test_ok(rc == NGX_OK && test_equal(sid, want, ngx_strlen(want))
                    && sid.data == rest.data && seq == test_paths[i].seq,
                    "path \"%s\"", test_paths[i].rest);
        }

        free(rest.data);
    }
}


/* any byte may be in a session id, but a slash ends it */

static void
test_sid(void)
{
    u_char      *p;
    int64_t      seq;
    ngx_int_t    rc;
    ngx_str_t    rest, sid;
    ngx_uint_t   i, bad;

    bad = 0;

    for (i = 0; i < 256; i++) {

        if (i == '/') {
            continue;
        }

        p = test_copy("x?y/3", 5);
        p[1] = (u_char) i;

        rest.data = p;
        rest.len = 5;

        rc = ngx_vmess_xhttp_path(&rest, &sid, &seq);

        if (rc != NGX_OK || sid.data != p || sid.len != 3 || seq != 3) {
            bad++;
        }

        free(p);
    }

    test_ok(bad == 0, "bytes of a session id");

    ngx_str_null(&rest);

    test_ok(ngx_vmess_xhttp_path(&rest, &sid, &seq) == NGX_OK && sid.len == 0
            && seq == NGX_VMESS_XHTTP_NO_SEQ, "empty string");
}


static void
test_padding(void)
{
    ngx_uint_t   i;
    const char  *referer, *args;

    for (i = 0; i < sizeof(test_paddings) / sizeof(test_paddings[0]); i++) {

        referer = test_paddings[i].referer;
        args = test_paddings[i].args;

        test_ok(test_length(referer, args) == test_paddings[i].len,
                "padding of \"%s\", \"%s\": %d", referer ? referer : "-",
                args ? args : "-", (int) test_paddings[i].len);
    }
}


/* what follows the query in memory is none of it */

static void
test_cut(void)
{
    ngx_str_t  args;

    args.data = (u_char *) "x_padding=X%41";

    args.len = 14;
    test_ok(ngx_vmess_xhttp_padding(NULL, &args) == 2, "a whole escape");

    args.len = 13;
    test_ok(ngx_vmess_xhttp_padding(NULL, &args) == 0, "a digit is missing");

    args.len = 12;
    test_ok(ngx_vmess_xhttp_padding(NULL, &args) == 0, "both are");
}


static void
test_long(void)
{
    char        query[1 + sizeof("x_padding=") + 3 * 1000];
    size_t      n, i;
    ngx_uint_t  bad;

    bad = 0;

    for (n = 0; n <= 1000; n++) {

        (void) strcpy(query, "?x_padding=");
        ngx_memset(query + 11, 'X', n);
        query[11 + n] = '\0';

        if (test_length(query, NULL) != n
            || test_length(NULL, query + 1) != n)
        {
            bad++;
        }

        for (i = 0; i < n; i++) {
            ngx_memcpy(query + 11 + 3 * i, "%fF", 3);
        }

        query[11 + 3 * n] = '\0';

        if (test_length(query, NULL) != n
            || test_length(NULL, query + 1) != n)
        {
            bad++;
        }
    }

    test_ok(bad == 0, "padding of 0 to 1000 bytes, plain and escaped");
}


static size_t
test_length(const char *referer, const char *args)
{
    size_t     len;
    ngx_str_t  r, a;

    ngx_str_null(&r);
    ngx_str_null(&a);

    if (referer) {
        r.len = ngx_strlen(referer);
        r.data = test_copy(referer, r.len);
    }

    if (args) {
        a.len = ngx_strlen(args);
        a.data = test_copy(args, a.len);
    }

    len = ngx_vmess_xhttp_padding(referer ? &r : NULL, args ? &a : NULL);

    free(r.data);
    free(a.data);

    return len;
}
