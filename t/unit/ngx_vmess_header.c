
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_header.h"
#include "ngx_vmess_response.h"
#include "ngx_vmess_auth.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_id.h"
#include "ngx_vmess_kdf.h"


#define TEST_SEEN  8


/* what a server keeps: its clock, its users, and what it has seen */

typedef struct {
    time_t      now;
    ngx_uint_t  users;
    u_char      cmd_keys[TEST_SEEN][NGX_VMESS_KEY_LEN];
    ngx_uint_t  seen;
    u_char      eauids[TEST_SEEN][NGX_VMESS_EAUID_LEN];
    ngx_uint_t  opened;
    u_char      sessions[TEST_SEEN][3 * 16];
} test_server_t;


static void test_request(void);
static void test_bad(void);
static void test_response(void);
static void test_legacy_response(void);
static void test_switch(void);
static void test_options(void);
static void test_lengths(void);


int
main(void)
{
    while (test_next()) {

        if (test_is("request")) {
            test_request();

        } else if (test_is("bad")) {
            test_bad();

        } else if (test_is("response")) {
            test_response();

        } else if (test_is("legacy_response")) {
            test_legacy_response();
        }
    }

    test_options();
    test_lengths();
    test_switch();

    return test_done();
}


/*
 * Feeds len bytes of wire: first n of them, then all; the buffer has one byte
 * of a body after them.  Checks that nothing of it was changed or taken early.
 */

static ngx_int_t
test_feed(ngx_vmess_header_t *h, const u_char *cmd_key, const u_char *wire,
    size_t len, size_t n, int *good)
{
    u_char     *part;
    ngx_buf_t   b;
    ngx_int_t   rc;

    ngx_memzero(h, sizeof(ngx_vmess_header_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    rc = NGX_AGAIN;

    for ( ;; ) {
        part = test_copy(wire, n);

        b.pos = part;
        b.last = part + n;

        for ( ;; ) {
            rc = ngx_vmess_header_read(h, &b);

            if (rc != NGX_DONE) {
                break;
            }

            ngx_memcpy(h->cmd_key, cmd_key, NGX_VMESS_KEY_LEN);

            *good = *good && b.pos == part
                    && ngx_memcmp(h->eauid, wire, NGX_VMESS_EAUID_LEN) == 0;
        }

        *good = *good && ngx_memcmp(part, wire, n) == 0
                && b.last == part + n
                && (rc == NGX_OK || b.pos == part)
                && (rc == NGX_OK || rc == NGX_AGAIN || h->err)
                && (rc != NGX_OK || (size_t) (b.pos - part) <= n);

        if (rc == NGX_OK && (size_t) (b.pos - part) != len - 1) {
            *good = 0;
        }

        free(part);

        if (rc != NGX_AGAIN || n == len) {
            return rc;
        }

        n = len;
    }
}


static int
test_same(ngx_vmess_header_t *h)
{
    ngx_str_t  addr;

    if (!test_equal(test_bin("body_iv"), h->iv, NGX_VMESS_IV_LEN)
        || !test_equal(test_bin("body_key"), h->key, NGX_VMESS_KEY_LEN)
        || h->v != test_num("resp_v")
        || h->opt != test_num("opt")
        || h->security != test_num("sec")
        || h->command != test_num("cmd"))
    {
        return 0;
    }

    if (h->command == NGX_VMESS_CMD_MUX) {
        return 1;
    }

    if (h->address.port != test_num("port")
        || h->address.type != (ngx_uint_t) test_num("type"))
    {
        return 0;
    }

    addr = test_bin("addr");

    if (h->address.type == NGX_VMESS_ADDR_DOMAIN) {
        return test_equal(addr, h->address.domain.data, h->address.domain.len);
    }

    return test_equal(addr, h->address.addr,
                      h->address.type == NGX_VMESS_ADDR_IPV4 ? 4 : 16);
}


static void
test_request(void)
{
    int                  good;
    u_char              *wire, *cmd_key;
    size_t               len, n;
    ngx_buf_t            b;
    ngx_int_t            rc;
    ngx_str_t            plain;
    ngx_vmess_header_t   h;

    cmd_key = test_bin("cmd_key").data;

    /* one byte of a body follows */

    len = test_bin("wire").len + 1;
    wire = test_copy(test_bin("wire").data, len - 1);
    wire = realloc(wire, len);
    wire[len - 1] = 0x5a;

    good = 1;

    for (n = 0; n <= len; n++) {
        rc = test_feed(&h, cmd_key, wire, len, n, &good);
        good = good && rc == NGX_OK && test_same(&h);
    }

    /* byte by byte into one buffer */

    ngx_memzero(&h, sizeof(ngx_vmess_header_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = wire;

    for (n = 0; n < len - 1; n++) {
        b.last = wire + n;
        rc = ngx_vmess_header_read(&h, &b);

        if (n == NGX_VMESS_EAUID_LEN) {
            good = good && rc == NGX_DONE;
            ngx_memcpy(h.cmd_key, cmd_key, NGX_VMESS_KEY_LEN);
            rc = ngx_vmess_header_read(&h, &b);
        }

        good = good && rc == NGX_AGAIN && b.pos == wire;
    }

    b.last = wire + len;

    good = good && ngx_vmess_header_read(&h, &b) == NGX_OK
           && b.pos == wire + len - 1 && test_same(&h);

    free(wire);

    /* the opened part alone */

    ngx_memzero(&h, sizeof(ngx_vmess_header_t));

    plain = test_bin("plain");

    good = good
           && ngx_vmess_header_parse(&h, plain.data, plain.len) == NGX_OK
           && test_same(&h);

    for (n = 0; n < plain.len; n++) {
        wire = test_copy(plain.data, n);
        good = good && h.err == NULL
               && ngx_vmess_header_parse(&h, wire, n)
                  == (n < NGX_VMESS_HEADER_MIN ? NGX_DECLINED : NGX_ERROR)
               && h.err;
        h.err = NULL;
        free(wire);
    }

    test_ok(good, "request %s", test_str("name"));
}


static int
test_seen(u_char (*set)[3 * 16], ngx_uint_t n, const u_char *p)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (ngx_memcmp(set[i], p, 3 * 16) == 0) {
            return 1;
        }
    }

    return 0;
}


/* 1 if the server accepts what the client sent before it closed */

static int
test_accept(test_server_t *s, const u_char *wire, size_t len, size_t split,
    int *good)
{
    u_char                session[3 * 16];
    int64_t               t;
    ngx_uint_t            i, user;
    ngx_vmess_header_t    h;
    ngx_vmess_auth_key_t  keys[TEST_SEEN];

    if (len < NGX_VMESS_EAUID_LEN) {
        return 0;
    }

    for (i = 0; i < s->users; i++) {
        ngx_vmess_auth_openssl.init(&keys[i], s->cmd_keys[i]);
    }

    user = ngx_vmess_auth_openssl.scan(keys, 0, s->users, wire, &t);

    if (user == s->users || ngx_vmess_auth_check_time(t, s->now) != NGX_OK) {
        return 0;
    }

    for (i = 0; i < s->seen; i++) {
        if (ngx_memcmp(s->eauids[i], wire, NGX_VMESS_EAUID_LEN) == 0) {
            return 0;
        }
    }

    ngx_memcpy(s->eauids[s->seen++], wire, NGX_VMESS_EAUID_LEN);

    if (test_feed(&h, s->cmd_keys[user], wire, len, split, good) != NGX_OK) {
        return 0;
    }

    ngx_memcpy(session, h.cmd_key, 16);
    ngx_memcpy(session + 16, h.key, 16);
    ngx_memcpy(session + 32, h.iv, 16);

    if (test_seen(s->sessions, s->opened, session)) {
        return 0;
    }

    ngx_memcpy(s->sessions[s->opened++], session, sizeof(session));

    return 1;
}


static void
test_bad(void)
{
    int             accept, good;
    u_char          id[NGX_VMESS_ID_LEN], *wire;
    size_t          split;
    ngx_str_t       w, users;
    ngx_uint_t      i, repeat;
    test_server_t   s;

    good = 1;
    accept = 0;

    users = test_bin("users");
    repeat = test_has("repeat") ? test_num("repeat") : 1;

    for (split = 0; split <= test_bin("wire").len; split++) {
        ngx_memzero(&s, sizeof(s));

        s.now = test_num("now");
        s.users = users.len / NGX_VMESS_ID_LEN;

        for (i = 0; i < s.users; i++) {
            ngx_memcpy(id, users.data + i * sizeof(id), sizeof(id));
            ngx_vmess_id_cmd_key(s.cmd_keys[i], id);
        }

        for (i = 1; i <= repeat; i++) {
            w = test_bin(i == repeat && test_has("last") ? "last" : "wire");

            /* test_feed() expects one byte of a body */

            wire = realloc(test_copy(w.data, w.len), w.len + 1);
            wire[w.len] = 0;

            accept = test_accept(&s, wire,
                                 test_num("short") ? w.len : w.len + 1, split,
                                 &good);

            good = good && (i == repeat || accept);

            free(wire);
        }

        good = good && accept == test_num("accept");
    }

    test_ok(good, "%s: %s", test_str("name"),
            test_num("accept") ? "accepted" : "refused");
}


/* the content of the command that the line tells of; 0: none */

static size_t
test_command(u_char *out)
{
    ngx_vmess_switch_t  sw;

    if (!test_has("port")) {
        return 0;
    }

    sw.host = test_bin("host");
    sw.port = test_num("port");
    ngx_memcpy(sw.id, test_bin("id").data, NGX_VMESS_ID_LEN);
    sw.alter_id = test_num("alter_id");
    sw.level = test_num("level");
    sw.minutes = test_num("minutes");

    return ngx_vmess_response_switch(&sw, out);
}


/* at the start of the stream of a codec, or alone */

static void
test_legacy_response(void)
{
    int                  good;
    u_char               key[NGX_VMESS_KEY_LEN], iv[NGX_VMESS_IV_LEN],
                         out[NGX_VMESS_RESPONSE_MAX + 100],
                         whole[NGX_VMESS_RESPONSE_MAX + 100],
                         command[NGX_VMESS_COMMAND_MAX];
    ngx_str_t            plain, wire, created, content;
    ngx_uint_t           i;
    ngx_vmess_cfb_t      cfb, other;
    ngx_vmess_header_t   h;

    ngx_memzero(&h, sizeof(ngx_vmess_header_t));

    ngx_memcpy(h.key, test_bin("body_key").data, NGX_VMESS_KEY_LEN);
    ngx_memcpy(h.iv, test_bin("body_iv").data, NGX_VMESS_IV_LEN);
    h.v = test_num("resp_v");
    h.legacy = 1;

    ngx_vmess_response_keys(&h, key, iv);

    good = test_equal(test_bin("key"), key, NGX_VMESS_KEY_LEN)
           && test_equal(test_bin("iv"), iv, NGX_VMESS_IV_LEN);

    wire = test_bin("wire");
    plain = test_bin("plain");

    /* any header by its bytes, and 100 zeros after it */

    cfb.ctx = NULL;
    other.ctx = NULL;

    ngx_memzero(whole, sizeof(whole));
    ngx_memcpy(whole, plain.data, plain.len);

    good = good
           && ngx_vmess_cfb_init(&cfb, key, iv, 1) == NGX_OK
           && ngx_vmess_cfb_crypt(&cfb, whole, plain.len + 100, whole)
              == NGX_OK
           && test_equal(wire, whole, plain.len);

    /* those that are sent have no option */

    content.data = command;
    content.len = test_command(command);

    for (i = 0; i < 2 && plain.data[1] == 0; i++) {
        ngx_memset(out, 0xa5, sizeof(out));

        created.data = out;

        if (i) {
            ngx_vmess_cfb_init(&other, key, iv, 1);
        }

        good = good
               && ngx_vmess_response_create(&h, key, iv,
                                            content.len ? &content : NULL,
                                            &other, &created)
                  == NGX_OK
               && test_equal(wire, created.data, created.len)
               && out[created.len] == 0xa5
               && (other.ctx != NULL) == i;

        if (i) {
            ngx_memzero(out, 100);
            ngx_vmess_cfb_crypt(&other, out, 100, out);
            good = good && ngx_memcmp(out, whole + plain.len, 100) == 0;
        }
    }

    ngx_vmess_cfb_cleanup(&cfb);
    ngx_vmess_cfb_cleanup(&other);

    test_ok(good, "legacy response %s", test_str("name"));
}


static void
test_switch(void)
{
    u_char              host[256], out[NGX_VMESS_COMMAND_MAX];
    ngx_uint_t          len, good;
    ngx_vmess_switch_t  sw;

    ngx_memzero(&sw, sizeof(sw));
    ngx_memset(host, 'a', sizeof(host));

    good = 0;
    sw.host.data = host;

    for (len = 0; len < 256; len++) {
        sw.host.len = len;
        good += ngx_vmess_response_switch(&sw, out)
                == (len <= 228 ? 27 + len : 0);
    }

    test_ok(good == 256, "lengths of the host to switch to");
}


static void
test_response(void)
{
    int                  good;
    u_char               key[NGX_VMESS_KEY_LEN], iv[NGX_VMESS_IV_LEN],
                         k[NGX_VMESS_KEY_LEN], n[NGX_VMESS_NONCE_LEN],
                         length[2], out[512], command[NGX_VMESS_COMMAND_MAX];
    ngx_str_t            plain, wire, created, content;
    ngx_vmess_cfb_t      cfb;
    ngx_vmess_aead_t     aead;
    ngx_vmess_header_t   h;

    ngx_memzero(&h, sizeof(ngx_vmess_header_t));

    ngx_memcpy(h.key, test_bin("body_key").data, NGX_VMESS_KEY_LEN);
    ngx_memcpy(h.iv, test_bin("body_iv").data, NGX_VMESS_IV_LEN);
    h.v = test_num("resp_v");

    ngx_vmess_response_keys(&h, key, iv);

    good = test_equal(test_bin("key"), key, NGX_VMESS_KEY_LEN)
           && test_equal(test_bin("iv"), iv, NGX_VMESS_IV_LEN);

    /* any header, from its parts: those with a command and an option too */

    wire = test_bin("wire");
    plain = test_bin("plain");
    aead.ctx = NULL;

    length[0] = 0;
    length[1] = plain.len;

    ngx_vmess_kdf(k, sizeof(k), key, NGX_VMESS_KDF_RESPONSE_LENGTH_KEY,
                  NULL, 0);
    ngx_vmess_kdf(n, sizeof(n), iv, NGX_VMESS_KDF_RESPONSE_LENGTH_NONCE,
                  NULL, 0);

    good = good && test_equal(test_bin("len_key"), k, sizeof(k))
           && test_equal(test_bin("len_nonce"), n, sizeof(n))
           && ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, k, 1)
              == NGX_OK
           && ngx_vmess_aead_seal(&aead, n, NULL, 0, length, 2, out) == NGX_OK;

    ngx_vmess_kdf(k, sizeof(k), key, NGX_VMESS_KDF_RESPONSE_KEY, NULL, 0);
    ngx_vmess_kdf(n, sizeof(n), iv, NGX_VMESS_KDF_RESPONSE_NONCE, NULL, 0);

    good = good && test_equal(test_bin("hdr_key"), k, sizeof(k))
           && test_equal(test_bin("hdr_nonce"), n, sizeof(n))
           && ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, k, 1)
              == NGX_OK
           && ngx_vmess_aead_seal(&aead, n, NULL, 0, plain.data, plain.len,
                                  out + NGX_VMESS_ALENGTH_LEN)
              == NGX_OK
           && test_equal(wire, out, NGX_VMESS_ALENGTH_LEN + plain.len
                                    + NGX_VMESS_TAG_LEN);

    ngx_vmess_aead_cleanup(&aead);

    /* those that are sent have no option */

    if (plain.data[1] == 0) {
        ngx_memset(out, 0xa5, sizeof(out));

        cfb.ctx = NULL;
        created.data = out;
        content.data = command;
        content.len = test_command(command);

        good = good
               && ngx_vmess_response_create(&h, key, iv,
                                            content.len ? &content : NULL,
                                            &cfb, &created)
                  == NGX_OK
               && test_equal(wire, created.data, created.len)
               && created.len == NGX_VMESS_RESPONSE_LEN + content.len
               && out[created.len] == 0xa5;
    }

    test_ok(good, "response %s", test_str("name"));
}


/* a section with an IPv4 address; the check sum is put in place */

static size_t
test_section(u_char *p, ngx_uint_t opt, ngx_uint_t security,
    ngx_uint_t command)
{
    size_t    len;
    uint32_t  sum;

    test_fill(p, 64);

    p[34] = (u_char) opt;
    p[35] = (u_char) security;
    p[37] = (u_char) command;

    len = 38;

    if (command != NGX_VMESS_CMD_MUX) {
        p[40] = NGX_VMESS_ADDR_IPV4;
        len += 7;
    }

    sum = htonl(ngx_vmess_hash_fnv1a(p, len));
    ngx_memcpy(p + len, &sum, 4);

    return len + 4;
}


static void
test_options(void)
{
    u_char              section[64];
    size_t              len;
    ngx_int_t           rc, expected;
    ngx_uint_t          opt, security, command, good;
    ngx_vmess_header_t  h;

    good = 0;

    for (command = 0; command < 256; command++) {
        for (opt = 0; opt < 256; opt++) {
            for (security = 0; security < 16; security++) {
                ngx_memzero(&h, sizeof(ngx_vmess_header_t));

                len = test_section(section, opt, security, command);
                rc = ngx_vmess_header_parse(&h, section, len);

                expected = NGX_OK;

                if (command < 1 || command > 3
                    || security < 1 || security == 2 || security > 5
                    || ((opt & 0x08) && !(opt & 0x04))
                    || (command == 2 && !(opt & 0x01)))
                {
                    expected = NGX_ERROR;
                }

                good += rc == expected && (rc == NGX_OK) == (h.err == NULL);
            }
        }
    }

    test_ok(good == 256 * 256 * 16, "each option, security and command");

    len = test_section(section, 5, 3, 1);
    good = 0;

    for (opt = 0; opt < 32; opt++) {
        section[len - 4 + opt / 8] ^= 1 << opt % 8;
        good += ngx_vmess_header_parse(&h, section, len) == NGX_DECLINED
                && h.err && !h.bad_tag;
        section[len - 4 + opt / 8] ^= 1 << opt % 8;
    }

    test_ok(good == 32, "each bit of the check sum");
}


/* sealed lengths that are authentic, but out of bounds */

static void
test_lengths(void)
{
    u_char               wire[42 + 65535 + 16], *body, cmd_key[16], k[16],
                         n[12], plain[2];
    size_t               len;
    ngx_buf_t            b;
    ngx_int_t            rc;
    ngx_str_t            path[2];
    ngx_uint_t           i, flip, good;
    ngx_vmess_aead_t     aead;
    ngx_vmess_header_t   h;

    static const size_t  lengths[] = { 0, 1, 37, 38, 41, 42, 2047, 2048,
                                       2049, 65519, 65520, 65535 };

    aead.ctx = NULL;
    good = 0;

    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        len = lengths[i];

        test_fill(cmd_key, sizeof(cmd_key));
        test_fill(wire, 42);

        path[0].data = wire;
        path[0].len = 16;
        path[1].data = wire + 34;
        path[1].len = 8;

        plain[0] = (u_char) (len >> 8);
        plain[1] = (u_char) len;

        ngx_vmess_kdf(k, 16, cmd_key, NGX_VMESS_KDF_LENGTH_KEY, path, 2);
        ngx_vmess_kdf(n, 12, cmd_key, NGX_VMESS_KDF_LENGTH_NONCE, path, 2);
        ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, k, 1);
        ngx_vmess_aead_seal(&aead, n, wire, 16, plain, 2, wire + 16);

        /* a section that is valid at its start, ignored bytes after it */

        body = calloc(1, 2048 + 65535);
        test_section(body, 5, 3, 1);

        ngx_vmess_kdf(k, 16, cmd_key, NGX_VMESS_KDF_HEADER_KEY, path, 2);
        ngx_vmess_kdf(n, 12, cmd_key, NGX_VMESS_KDF_HEADER_NONCE, path, 2);
        ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, k, 1);
        ngx_vmess_aead_seal(&aead, n, wire, 16, body, len, wire + 42);

        free(body);

        for (flip = 0; flip < 2; flip++) {
            ngx_memzero(&h, sizeof(ngx_vmess_header_t));
            ngx_memcpy(h.cmd_key, cmd_key, sizeof(cmd_key));

            b.pos = wire;
            b.last = wire + 42 + len + 16;

            rc = ngx_vmess_header_read(&h, &b);
            rc = ngx_vmess_header_read(&h, &b);

            if (flip) {
                good += rc == NGX_DECLINED && h.err && h.bad_tag;

            } else if (len < 42 || len > 2048) {
                good += rc == NGX_DECLINED && h.err && !h.bad_tag
                        && b.pos == wire;

            } else if (len == 42) {
                /* too short for an address, but authentic */
                good += rc == NGX_ERROR && h.err && b.pos == wire;

            } else {
                good += rc == NGX_OK && b.pos == b.last;
            }

            wire[20] ^= 1;
        }
    }

    test_ok(good == 2 * sizeof(lengths) / sizeof(lengths[0]), "lengths");

    ngx_vmess_aead_cleanup(&aead);
}
