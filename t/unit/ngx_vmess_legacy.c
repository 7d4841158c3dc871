
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_legacy.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_id.h"


#define TEST_SEEN  8


/* what a server keeps: its users, tokens that are tainted, sessions */

typedef struct {
    time_t      now;
    ngx_uint_t  users;
    u_char      ids[TEST_SEEN][NGX_VMESS_ID_LEN];
    ngx_uint_t  alter_ids[TEST_SEEN];
    ngx_uint_t  tainted;
    u_char      tokens[TEST_SEEN][NGX_VMESS_EAUID_LEN];
    ngx_uint_t  opened;
    u_char      sessions[TEST_SEEN][3 * 16];
} test_server_t;


static void test_request(void);
static void test_bad(void);
static void test_token(void);
static void test_lengths(void);


int
main(void)
{
    while (test_next()) {

        if (test_is("request")) {
            test_request();

        } else if (test_is("bad")) {
            test_bad();
        }
    }

    test_token();
    test_lengths();

    return test_done();
}


/* a whole token is there; *took gets the length of a header that is right */

static ngx_int_t
test_read(ngx_vmess_header_t *h, const u_char *cmd_key, int64_t t,
    const u_char *wire, size_t len, size_t *took, int *good)
{
    u_char     *copy;
    ngx_buf_t   b;
    ngx_int_t   rc;

    copy = test_copy(wire, len);

    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = copy;
    b.last = copy + len;

    ngx_memzero(h, sizeof(ngx_vmess_header_t));

    /* the token is read as if it were an EAuID */

    rc = ngx_vmess_header_read(h, &b);

    if (rc == NGX_DONE) {
        h->legacy = 1;
        h->time = t;
        ngx_memcpy(h->cmd_key, cmd_key, NGX_VMESS_KEY_LEN);

        rc = ngx_vmess_legacy_read(h, &b);
    }

    *took = b.pos - copy;

    *good = *good && ngx_memcmp(copy, wire, len) == 0
            && b.last == copy + len && (rc == NGX_OK) == (*took > 0)
            && (rc == NGX_OK || rc == NGX_AGAIN) == (h->err == NULL)
            && (rc == NGX_AGAIN || len > NGX_VMESS_EAUID_LEN);

    free(copy);

    return rc;
}


static int
test_same(ngx_vmess_header_t *h)
{
    int        sec;
    ngx_str_t  addr;

    sec = test_num("sec");

    if (!test_equal(test_bin("body_iv"), h->iv, NGX_VMESS_IV_LEN)
        || !test_equal(test_bin("body_key"), h->key, NGX_VMESS_KEY_LEN)
        || h->v != test_num("resp_v")
        || h->opt != test_num("opt")
        || h->security != (sec ? sec : NGX_VMESS_SEC_AES_128_CFB)
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
    int                      good;
    u_char                   id[NGX_VMESS_ID_LEN], token[NGX_VMESS_EAUID_LEN],
                             wire[NGX_VMESS_LEGACY_MAX + 100],
                             cmd_key[NGX_VMESS_KEY_LEN];
    size_t                   len, n, took;
    int64_t                  t;
    ngx_int_t                rc;
    ngx_uint_t               i, bit;
    ngx_vmess_header_t       h;
    ngx_vmess_legacy_key_t   key;

    ngx_memcpy(id, test_bin("id").data, NGX_VMESS_ID_LEN);

    ngx_vmess_id_cmd_key(cmd_key, id);

    for (i = test_num("nth"); i; i--) {
        ngx_vmess_id_next(id, id);
    }

    t = test_num("time");

    ngx_vmess_legacy_key(&key, id);
    ngx_vmess_legacy_token(&key, t, token);

    good = (!test_has("auth_id")
            || test_equal(test_bin("auth_id"), id, NGX_VMESS_ID_LEN))
           && (!test_has("cmd_key")
               || test_equal(test_bin("cmd_key"), cmd_key, NGX_VMESS_KEY_LEN))
           && test_equal(test_bin("auth"), token, NGX_VMESS_EAUID_LEN);

    /* bytes of a body follow; each number of bytes, alone */

    len = test_bin("wire").len;

    test_fill(wire, sizeof(wire));
    ngx_memcpy(wire, test_bin("wire").data, len);

    for (n = 0; n < sizeof(wire); n++) {
        rc = test_read(&h, cmd_key, t, wire, n, &took, &good);

        good = good
               && (n < len ? rc == NGX_AGAIN
                           : rc == NGX_OK && took == len && test_same(&h));
    }

    test_ok(good, "request %s", test_str("name"));

    /* whichever bit is wrong: the same verdict after as many bytes */

    good = 1;

    for (bit = NGX_VMESS_EAUID_LEN * 8; bit < len * 8; bit++) {
        wire[bit / 8] ^= 1 << bit % 8;

        for (n = (bit % 8) ? len : 16; n < sizeof(wire);
             n += (n < NGX_VMESS_LEGACY_MAX - 2) ? 7 : 1)
        {
            rc = test_read(&h, cmd_key, t, wire, n, &took, &good);

            good = good
                   && rc == (n < NGX_VMESS_LEGACY_MAX ? NGX_AGAIN
                                                      : NGX_DECLINED);
        }

        wire[bit / 8] ^= 1 << bit % 8;
    }

    test_ok(good, "request %s with any bit flipped", test_str("name"));

    /* as with the key of another user, and with the time of another token */

    cmd_key[0] ^= 1;
    rc = test_read(&h, cmd_key, t, wire, sizeof(wire), &took, &good);
    cmd_key[0] ^= 1;

    test_ok(rc == NGX_DECLINED
            && test_read(&h, cmd_key, t + 1, wire, sizeof(wire), &took, &good)
               == NGX_DECLINED,
            "request %s with other key or time", test_str("name"));
}


/* NGX_OK, and whose it is and when it was made, if the token is valid now */

static ngx_int_t
test_find(test_server_t *s, const u_char *wire, ngx_uint_t *user, int64_t *t)
{
    u_char                  id[NGX_VMESS_ID_LEN], token[NGX_VMESS_EAUID_LEN];
    ngx_uint_t              i, k;
    ngx_vmess_legacy_key_t  key;

    for (i = 0; i < s->users; i++) {
        ngx_memcpy(id, s->ids[i], NGX_VMESS_ID_LEN);

        for (k = 0; k < s->alter_ids[i]; k++) {
            ngx_vmess_id_next(id, id);
            ngx_vmess_legacy_key(&key, id);

            for (*t = s->now - NGX_VMESS_TIME_WINDOW;
                 *t <= s->now + NGX_VMESS_TIME_WINDOW;
                 (*t)++)
            {
                ngx_vmess_legacy_token(&key, *t, token);

                if (ngx_memcmp(token, wire, NGX_VMESS_EAUID_LEN) == 0) {
                    *user = i;
                    return NGX_OK;
                }
            }
        }
    }

    return NGX_DECLINED;
}


/*
 * 1 if the server accepts what the client sent before it closed: first bytes
 * of it, then all
 */

static int
test_accept(test_server_t *s, const u_char *wire, size_t len, size_t first,
    int *good)
{
    u_char               session[3 * 16], cmd_key[NGX_VMESS_KEY_LEN];
    size_t               took;
    int64_t              t;
    ngx_int_t            rc;
    ngx_uint_t           i, user;
    ngx_vmess_header_t   h;

    if (len < NGX_VMESS_EAUID_LEN
        || test_find(s, wire, &user, &t) != NGX_OK)
    {
        return 0;
    }

    for (i = 0; i < s->tainted; i++) {
        if (ngx_memcmp(s->tokens[i], wire, NGX_VMESS_EAUID_LEN) == 0) {
            return 0;
        }
    }

    ngx_vmess_id_cmd_key(cmd_key, s->ids[user]);

    rc = test_read(&h, cmd_key, t, wire, first, &took, good);

    if (rc == NGX_AGAIN) {
        rc = test_read(&h, cmd_key, t, wire, len, &took, good);
    }

    if (rc != NGX_OK) {
        goto taint;
    }

    ngx_memcpy(session, cmd_key, 16);
    ngx_memcpy(session + 16, h.key, 16);
    ngx_memcpy(session + 32, h.iv, 16);

    for (i = 0; i < s->opened; i++) {
        if (ngx_memcmp(s->sessions[i], session, sizeof(session)) == 0) {
            goto taint;
        }
    }

    ngx_memcpy(s->sessions[s->opened++], session, sizeof(session));

    return 1;

taint:

    ngx_memcpy(s->tokens[s->tainted++], wire, NGX_VMESS_EAUID_LEN);

    return 0;
}


static void
test_bad(void)
{
    int             accept, good;
    char           *p;
    size_t          first;
    ngx_str_t       w, users;
    ngx_uint_t      i, repeat;
    test_server_t   s;

    good = 1;
    accept = 0;

    users = test_bin("users");
    repeat = test_num("repeat");

    for (first = 0; first <= test_bin("wire").len; first++) {
        ngx_memzero(&s, sizeof(s));

        s.now = test_num("now");
        s.users = users.len / NGX_VMESS_ID_LEN;
        p = (char *) test_str("alter_ids");

        for (i = 0; i < s.users; i++, p++) {
            ngx_memcpy(s.ids[i], users.data + i * NGX_VMESS_ID_LEN,
                       NGX_VMESS_ID_LEN);
            s.alter_ids[i] = strtoul(p, &p, 10);
        }

        for (i = 1; i <= repeat; i++) {
            w = test_bin(i == repeat && test_has("last") ? "last" : "wire");
            accept = test_accept(&s, w.data, w.len, ngx_min(first, w.len),
                                 &good);
        }

        good = good && accept == test_num("accept");
    }

    test_ok(good, "%s: %s", test_str("name"),
            test_num("accept") ? "accepted" : "refused");
}


/* against HMAC by its definition, RFC 2104, 2 */

static void
test_token(void)
{
    u_char                  id[16], token[16], digest[16],
                            inner[64 + 8], outer[64 + 16];
    int64_t                 t;
    ngx_uint_t              i, k, good;
    ngx_vmess_legacy_key_t  key;

    good = 0;

    for (i = 0; i < 1000; i++) {
        test_fill(id, sizeof(id));
        test_fill((u_char *) &t, sizeof(t));

        if (i % 4 == 0) {
            t = (uint32_t) t;
        }

        ngx_memset(inner, 0x36, 64);
        ngx_memset(outer, 0x5c, 64);

        for (k = 0; k < 16; k++) {
            inner[k] ^= id[k];
            outer[k] ^= id[k];
        }

        for (k = 0; k < 8; k++) {
            inner[64 + k] = (u_char) ((uint64_t) t >> (56 - 8 * k));
        }

        ngx_vmess_hash_md5(outer + 64, inner, sizeof(inner));
        ngx_vmess_hash_md5(digest, outer, sizeof(outer));

        ngx_vmess_legacy_key(&key, id);
        ngx_vmess_legacy_token(&key, t, token);

        good += ngx_memcmp(token, digest, 16) == 0;
    }

    test_ok(good == 1000, "tokens");
}


/* the shortest and the longest, and sections that are wrong but authentic */

static void
test_lengths(void)
{
    int                  good;
    u_char               cmd_key[16], t[32], iv[16], token[16], section[400],
                         wire[16 + 400];
    size_t               len, took;
    uint32_t             sum;
    ngx_int_t            rc, expected;
    ngx_uint_t           i, n;
    ngx_vmess_cfb_t      cfb;
    ngx_vmess_header_t   h;

    static const struct {
        ngx_uint_t  opt;
        ngx_uint_t  padding;
        ngx_uint_t  security;
        ngx_uint_t  command;
        ngx_uint_t  type;
        ngx_uint_t  domain;
        ngx_int_t   rc;
    } sections[] = {
        { 5, 0, 3, 3, 0, 0, NGX_OK },
        { 5, 15, 3, 3, 0, 0, NGX_OK },
        { 5, 0, 3, 1, 1, 0, NGX_OK },
        { 5, 15, 3, 1, 2, 255, NGX_OK },
        { 5, 15, 0, 1, 3, 0, NGX_OK },
        { 5, 0, 2, 1, 1, 0, NGX_ERROR },
        { 5, 0, 6, 1, 1, 0, NGX_ERROR },
        { 9, 0, 3, 1, 1, 0, NGX_ERROR },
        { 0, 0, 1, 2, 1, 0, NGX_ERROR },
        { 5, 0, 3, 0, 1, 0, NGX_ERROR },
        { 5, 0, 3, 4, 1, 0, NGX_ERROR },
        { 5, 0, 3, 1, 2, 0, NGX_ERROR },

        /* no length can be told from these: not even a check sum is found */

        { 5, 0, 3, 1, 0, 0, NGX_DECLINED },
        { 5, 15, 3, 2, 4, 0, NGX_DECLINED }
    };

    n = sizeof(sections) / sizeof(sections[0]);
    good = 1;

    ngx_memset(cmd_key, 0x11, sizeof(cmd_key));
    ngx_memset(t, 0, sizeof(t));
    ngx_vmess_hash_md5(iv, t, sizeof(t));

    cfb.ctx = NULL;

    for (i = 0; i < n; i++) {
        test_fill(section, sizeof(section));
        test_fill(token, sizeof(token));

        section[34] = sections[i].opt;
        section[35] = sections[i].padding << 4 | sections[i].security;
        section[37] = sections[i].command;

        len = 38;

        if (sections[i].command != 3) {
            section[40] = sections[i].type;
            len += 3;

            switch (sections[i].type) {

            case 1:
                len += 4;
                break;

            case 2:
                section[41] = sections[i].domain;
                ngx_memset(section + 42, 'a', sections[i].domain);
                len += 1 + sections[i].domain;
                break;

            case 3:
                len += 16;
                break;
            }
        }

        len += sections[i].padding;

        sum = htonl(ngx_vmess_hash_fnv1a(section, len));
        ngx_memcpy(section + len, &sum, 4);

        len += 16 + 4;

        ngx_memcpy(wire, token, 16);
        ngx_vmess_cfb_init(&cfb, cmd_key, iv, 1);
        ngx_vmess_cfb_crypt(&cfb, section, 400, wire + 16);

        good = good && len <= NGX_VMESS_LEGACY_MAX
               && test_read(&h, cmd_key, 0, wire, len - 1, &took, &good)
                  == NGX_AGAIN;

        rc = test_read(&h, cmd_key, 0, wire, len, &took, &good);

        expected = sections[i].rc;

        good = good
               && rc == (expected == NGX_DECLINED ? NGX_AGAIN : expected)
               && test_read(&h, cmd_key, 0, wire, sizeof(wire), &took, &good)
                  == expected
               && (expected != NGX_OK || took == len);

        /* the longest ends where the verdict is due */

        if (sections[i].domain == 255) {
            good = good && len == NGX_VMESS_LEGACY_MAX;
        }
    }

    ngx_vmess_cfb_cleanup(&cfb);

    test_ok(good, "lengths");
}
