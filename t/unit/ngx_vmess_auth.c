
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_auth.h"
#include "ngx_vmess_kdf.h"


#define TEST_KEYS  1000


static void test_vector(const ngx_vmess_auth_method_t *m, const char *name);
static void test_scan(const ngx_vmess_auth_method_t *m, const char *name);
static void test_times(const ngx_vmess_auth_method_t *m, const char *name);
static void test_window(void);


static u_char                 test_cmd_keys[TEST_KEYS][NGX_VMESS_KEY_LEN];
static ngx_vmess_auth_key_t  *test_keys;

static const struct {
    const ngx_vmess_auth_method_t  *method;
    const char                     *name;
} test_methods[] = {
    { &ngx_vmess_auth_openssl, "OpenSSL" },
#if (__x86_64__)
    { &ngx_vmess_auth_aesni, "AES-NI" },
#endif
};


static int
test_runs(ngx_uint_t i)
{
    return i == 0 || test_methods[i].method == ngx_vmess_auth_method();
}


int
main(void)
{
    ngx_uint_t  i;

    test_keys = aligned_alloc(16, TEST_KEYS * sizeof(ngx_vmess_auth_key_t));
    test_fill((u_char *) test_cmd_keys, sizeof(test_cmd_keys));

    while (test_next()) {
        for (i = 0; i < sizeof(test_methods) / sizeof(test_methods[0]); i++) {
            if (test_is("request") && test_runs(i)) {
                test_vector(test_methods[i].method, test_methods[i].name);
            }
        }
    }

    for (i = 0; i < sizeof(test_methods) / sizeof(test_methods[0]); i++) {
        if (!test_runs(i)) {
            test_ok(1, "%s # SKIP not on this CPU", test_methods[i].name);
            continue;
        }

        test_scan(test_methods[i].method, test_methods[i].name);
        test_times(test_methods[i].method, test_methods[i].name);
    }

    test_window();

    free(test_keys);

    return test_done();
}


/* EAuID of a time, as a client makes it */

static void
test_eauid(u_char *eauid, const u_char *cmd_key, int64_t t, uint32_t crc_error)
{
    int              n;
    u_char           plain[16], key[NGX_VMESS_KEY_LEN];
    uint32_t         crc;
    ngx_uint_t       i;
    EVP_CIPHER_CTX  *ctx;

    for (i = 0; i < 8; i++) {
        plain[i] = (u_char) ((uint64_t) t >> (56 - 8 * i));
    }

    test_fill(plain + 8, 4);

    crc = ngx_crc32_long(plain, 12) ^ crc_error;

    for (i = 0; i < 4; i++) {
        plain[12 + i] = (u_char) (crc >> (24 - 8 * i));
    }

    ngx_vmess_kdf(key, sizeof(key), cmd_key, NGX_VMESS_KDF_EAUID, NULL, 0);

    ctx = EVP_CIPHER_CTX_new();

    if (EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL) != 1
        || EVP_EncryptUpdate(ctx, eauid, &n, plain, 16) != 1
        || n != 16)
    {
        exit(2);
    }

    EVP_CIPHER_CTX_free(ctx);
}


static void
test_init(const ngx_vmess_auth_method_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < TEST_KEYS; i++) {
        m->init(&test_keys[i], test_cmd_keys[i]);
    }
}


static void
test_vector(const ngx_vmess_auth_method_t *m, const char *name)
{
    int64_t     t;
    ngx_int_t   rc;
    ngx_str_t   eauid;
    ngx_uint_t  i;

    m->init(&test_keys[0], test_cmd_keys[0]);
    m->init(&test_keys[1], test_bin("cmd_key").data);

    eauid = test_bin("authid");

    t = 0;
    i = m->scan(test_keys, 0, 2, eauid.data, &t);

    if (test_num("time") < 0) {
        test_ok(i == 2, "%s, %s: not matched", test_str("name"), name);
        return;
    }

    rc = ngx_vmess_auth_check_time(t, test_num("now"));

    test_ok(i == 1 && t == test_num("time")
            && rc == (test_num("good") ? NGX_OK : NGX_DECLINED),
            "%s, %s", test_str("name"), name);
}


static void
test_scan(const ngx_vmess_auth_method_t *m, const char *name)
{
    u_char      eauid[16], stranger[NGX_VMESS_KEY_LEN];
    int64_t     t;
    ngx_uint_t  i, n, start, good;

    test_init(m);

    /* each key, as the only one that matches */

    good = 0;

    for (i = 0; i < TEST_KEYS; i++) {
        test_eauid(eauid, test_cmd_keys[i], 1735689600 + i, 0);

        t = 0;
        good += m->scan(test_keys, 0, TEST_KEYS, eauid, &t) == i
                && t == (int64_t) (1735689600 + i);
    }

    test_ok(good == TEST_KEYS, "%s: each of %d keys", name, TEST_KEYS);

    test_fill(stranger, sizeof(stranger));
    test_eauid(eauid, stranger, 1735689600, 0);

    t = -5;

    test_ok(m->scan(test_keys, 0, TEST_KEYS, eauid, &t) == TEST_KEYS
            && t == -5, "%s: nobody's", name);

    /* each part of the table around one key: batches start anywhere */

    test_eauid(eauid, test_cmd_keys[20], 1735689600, 0);

    good = 0;

    for (start = 0; start <= 40; start++) {
        for (n = start; n <= 40; n++) {
            i = m->scan(test_keys, start, n, eauid, &t);
            good += i == (start <= 20 && n > 20 ? 20 : n);
        }
    }

    test_ok(good == 41 * 42 / 2, "%s: parts of the table", name);

    /* one key twice: the search goes on after the first */

    m->init(&test_keys[22], test_cmd_keys[20]);
    m->init(&test_keys[900], test_cmd_keys[20]);

    test_ok(m->scan(test_keys, 0, TEST_KEYS, eauid, &t) == 20
            && m->scan(test_keys, 21, TEST_KEYS, eauid, &t) == 22
            && m->scan(test_keys, 23, TEST_KEYS, eauid, &t) == 900
            && m->scan(test_keys, 901, TEST_KEYS, eauid, &t) == TEST_KEYS,
            "%s: a key three times", name);
}


static void
test_times(const ngx_vmess_auth_method_t *m, const char *name)
{
    u_char      eauid[16];
    int64_t     t;
    ngx_uint_t  i, n, good;

    static const struct {
        int64_t  t;
        int      match;
    } times[] = {
        { 0, 1 },
        { 1, 1 },
        { 1735689600, 1 },
        { 0x7fffffff, 1 },
        { 0x80000000, 1 },
        { 0xffffffff, 1 },
        { 0x100000000, 0 },
        { 0x0100000000000000, 0 },
        { INT64_MAX, 0 },
        { INT64_MIN, 0 },
        { -1, 0 },
        { -1735689600, 0 }
    };

    test_init(m);

    n = sizeof(times) / sizeof(times[0]);
    good = 0;

    for (i = 0; i < n; i++) {
        test_eauid(eauid, test_cmd_keys[3], times[i].t, 0);

        t = -7;

        if (times[i].match) {
            good += m->scan(test_keys, 0, 10, eauid, &t) == 3
                    && t == times[i].t;
        } else {
            good += m->scan(test_keys, 0, 10, eauid, &t) == 10 && t == -7;
        }
    }

    test_ok(good == n, "%s: times", name);

    good = 0;

    for (i = 0; i < 32; i++) {
        test_eauid(eauid, test_cmd_keys[3], 1735689600, 1u << i);
        good += m->scan(test_keys, 0, 10, eauid, &t) == 10;
    }

    test_ok(good == 32, "%s: wrong CRC", name);
}


static void
test_window(void)
{
    ngx_uint_t  i, n, good;

    static const struct {
        int64_t    t;
        time_t     now;
        ngx_int_t  rc;
    } windows[] = {
        { 1000, 1000, NGX_OK },
        { 1120, 1000, NGX_OK },
        { 1121, 1000, NGX_DECLINED },
        { 880, 1000, NGX_OK },
        { 879, 1000, NGX_DECLINED },
        { 0, 120, NGX_OK },
        { 0, 121, NGX_DECLINED },
        { -1, 0, NGX_DECLINED },
        { -1000, 1000, NGX_DECLINED },
        { INT64_MIN, 1000, NGX_DECLINED },
        { INT64_MAX, 1000, NGX_DECLINED },
        { 0xffffffff, 1000, NGX_DECLINED }
    };

    n = sizeof(windows) / sizeof(windows[0]);
    good = 0;

    for (i = 0; i < n; i++) {
        good += ngx_vmess_auth_check_time(windows[i].t, windows[i].now)
                == windows[i].rc;
    }

    test_ok(good == n, "time window");
}
