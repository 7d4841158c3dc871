
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_chunk.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_kdf.h"


#define TEST_CHUNKS  8
#define TEST_WRAP    65538

/* above this, bodies are not split at every byte */

#define TEST_LONG    4096


typedef struct {
    ngx_vmess_header_t   h;
    u_char               key[NGX_VMESS_KEY_LEN];
    u_char               iv[NGX_VMESS_IV_LEN];

    u_char              *wire;
    size_t               len;

    /* plaintext of all chunks, and the place in wire where each chunk ends */

    u_char              *plain;
    size_t               plain_len;
    ngx_uint_t           n;
    size_t               ends[TEST_CHUNKS];

    unsigned             raw:1;         /* no chunks */
    unsigned             end:1;         /* there is an end chunk after data */
    unsigned             prefix:1;      /* a part of plain is enough */

    size_t               skip;
    u_char               skipped[4];
    u_char               response[4];
} test_body_t;


static void test_body(void);
static int test_seal(test_body_t *t);
static int test_open(test_body_t *t, size_t first, size_t step, size_t room);
static int test_flip(test_body_t *t);
static void test_wrap(void);
static void test_empty(void);
static void test_lengths(void);
static void test_codecs(void);


static u_char  test_room[65536];


int
main(void)
{
    while (test_next()) {

        if (test_is("body")) {
            test_body();

        } else if (test_is("wrap")) {
            test_wrap();
        }
    }

    test_empty();
    test_lengths();
    test_codecs();

    return test_done();
}


static void
test_init(ngx_vmess_chunk_t *cc, test_body_t *t, ngx_uint_t seal)
{
    ngx_memzero(cc, sizeof(ngx_vmess_chunk_t));

    if (ngx_vmess_chunk_init(cc, &t->h, t->key, t->iv, seal) != NGX_OK) {
        exit(2);
    }

    /* a legacy response header goes before, in the same stream */

    if (t->skip && cc->cfb.ctx
        && ngx_vmess_cfb_crypt(&cc->cfb, seal ? t->skipped : t->response,
                               t->skip, seal ? t->response : t->skipped)
           != NGX_OK)
    {
        exit(2);
    }
}


static void
test_body(void)
{
    int           good;
    char         *name;
    size_t        len, n, room;
    ngx_uint_t    i;
    test_body_t   t;

    static const size_t  rooms[] = { 0, 16, sizeof(test_room) };

    name = (char *) test_copy(test_str("name"), strlen(test_str("name")) + 1);

    ngx_memzero(&t, sizeof(t));

    ngx_memcpy(t.h.key, test_bin("body_key").data, NGX_VMESS_KEY_LEN);
    ngx_memcpy(t.h.iv, test_bin("body_iv").data, NGX_VMESS_IV_LEN);
    ngx_memcpy(t.key, test_bin("dir_key").data, NGX_VMESS_KEY_LEN);
    ngx_memcpy(t.iv, test_bin("dir_iv").data, NGX_VMESS_IV_LEN);

    t.h.security = test_num("sec");
    t.h.opt = test_num("opt");
    t.h.command = test_num("cmd");
    t.raw = !test_num("eos");

    if (test_has("v")) {
        t.skip = 4;
        t.skipped[0] = test_num("v");
    }

    len = test_num("len");

    t.wire = malloc(len);
    t.plain = malloc(len);

    test_ok(test_seal(&t) && t.len == len, "%s: sealed", name);

    good = 1;

    for (i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        good = good && test_open(&t, t.len, 1, rooms[i])
               && test_open(&t, 0, 1, rooms[i]);
    }

    test_ok(good, "%s: opened whole and byte by byte", name);

    good = 1;

    for (n = 0; n < t.len; n += (t.len > TEST_LONG) ? 101 : 1) {
        room = rooms[n % 3];
        good = good && test_open(&t, n, t.len, room);
    }

    for (i = 0; i < t.n; i++) {
        for (n = ngx_max(t.ends[i], 20) - 20;
             n < ngx_min(t.ends[i] + 20, t.len);
             n++)
        {
            room = rooms[n % 3];
            good = good && test_open(&t, n, t.len, room);
        }
    }

    test_ok(good, "%s: opened in two parts", name);

    if (t.len <= TEST_LONG && t.h.security != NGX_VMESS_SEC_NONE && !t.raw) {
        test_ok(test_flip(&t), "%s: no changed byte is taken", name);
    }

    free(t.wire);
    free(t.plain);
    free(name);
}


/* seals what the chunk lines tell, and compares it with what they give */

static int
test_seal(test_body_t *t)
{
    int                 good;
    u_char             *in, *room, *out, random[NGX_VMESS_PADDING_MAX],
                        hash[32];
    size_t              i, len, n;
    ngx_str_t           pad, part;
    ngx_vmess_chunk_t   cc;

    test_init(&cc, t, 1);

    good = (cc.raw || cc.stream) == t->raw && cc.end == (t->h.opt & 1 && !t->raw);

    while (test_next() && test_is("chunk")) {
        len = test_num("plain");
        in = t->plain + t->plain_len;

        for (i = 0; i < len; i++) {
            in[i] = (u_char) (7 * i + 3 + 11 * test_num("k"));
        }

        pad = test_bin("pad");

        ngx_memset(random, 0xa5, sizeof(random));
        ngx_memcpy(random, pad.data, pad.len);

        room = malloc(len + NGX_VMESS_CHUNK_OVERHEAD);
        out = room;

        good = good
               && ngx_vmess_chunk_seal(&cc, in, len, random, &out) == NGX_OK;

        n = out - room;

        ngx_vmess_hash_sha256(hash, room, n);

        good = good && n == (size_t) test_num("wire_len")
               && test_equal(test_bin("sha256"), hash, 32);

        if (test_has("wire")) {
            good = good && test_equal(test_bin("wire"), room, n);

        } else {
            part = test_bin("head");
            good = good && test_equal(part, room, part.len);

            part = test_bin("tail");
            good = good && test_equal(part, room + n - part.len, part.len);
        }

        ngx_memcpy(t->wire + t->len, room, n);
        free(room);

        t->len += n;
        t->plain_len += len;
        t->ends[t->n++] = t->len;
        t->end = (len == 0 && t->n > 1);
    }

    ngx_vmess_chunk_cleanup(&cc);

    ngx_vmess_hash_sha256(hash, t->wire, t->len);

    return good && test_is("sha256")
           && test_equal(test_bin("value"), hash, 32);
}


/*
 * Opens a copy of the wire: first bytes, then step more each time; out has
 * room bytes elsewhere.  1 if all was as it should.
 */

static int
test_open(test_body_t *t, size_t first, size_t step, size_t room)
{
    int                 good;
    u_char             *wire, *pos;
    size_t              n, done;
    ngx_buf_t           b;
    ngx_int_t           rc;
    ngx_str_t           out;
    ngx_uint_t          ended, k;
    ngx_vmess_chunk_t   cc;

    wire = test_copy(t->wire, t->len);
    test_init(&cc, t, 0);

    b.pos = wire;
    n = first;
    done = 0;
    ended = 0;
    good = 1;

    for (k = 0; good; /* void */) {
        b.last = wire + n;
        pos = b.pos;

        out.data = room ? test_room : NULL;
        out.len = room;

        rc = ngx_vmess_chunk_open(&cc, &b, &out);

        if (rc == NGX_AGAIN) {

            /* only an empty chunk before any other is passed silently */

            good = b.pos == pos || (k == 0 && b.pos == wire + t->ends[0]);
            good = good
                   && ngx_vmess_chunk_need(&cc) > (size_t) (b.last - b.pos);

            if (n == t->len) {
                break;
            }

            n = ngx_min(n + step, t->len);
            continue;
        }

        if (rc == NGX_ERROR) {
            good = cc.err != NULL && t->prefix;
            break;
        }

        if (rc == NGX_DONE) {
            good = b.pos == b.last && b.pos == wire + t->len && !t->raw;
            ended = 1;
            break;
        }

        good = rc == NGX_OK && out.len && b.pos > pos
               && out.len <= t->plain_len - done
               && ngx_memcmp(out.data, t->plain + done, out.len) == 0
               && (out.len <= room
                   ? out.data == test_room
                   : out.data >= pos && out.data + out.len <= b.pos);

        if (!t->raw) {
            good = good && b.pos == wire + t->ends[k];
        }

        done += out.len;
        k++;
    }

    if (!t->prefix || ended) {
        good = good && done == t->plain_len && b.pos == wire + t->len
               && ended == t->end;
    }

    ngx_vmess_chunk_cleanup(&cc);
    free(wire);

    return good;
}


static int
test_flip(test_body_t *t)
{
    int     good;
    size_t  i;

    good = 1;
    t->prefix = 1;

    for (i = 0; i < t->len; i++) {
        t->wire[i] ^= 1 << i % 8;
        good = good && test_open(t, t->len, 1, i % 2 ? 0 : sizeof(test_room));
        t->wire[i] ^= 1 << i % 8;
    }

    t->prefix = 0;

    return good;
}


static void
test_wrap(void)
{
    int                 good;
    char                name[16];
    u_char             *wire, *p, c, hash[32];
    ngx_buf_t           b;
    ngx_str_t           out;
    ngx_uint_t          i;
    test_body_t         t;
    ngx_vmess_chunk_t   cc;

    ngx_memzero(&t, sizeof(t));

    t.h.security = test_num("sec");
    t.h.opt = test_num("opt");
    t.h.command = NGX_VMESS_CMD_TCP;

    ngx_memcpy(t.key, test_bin("body_key").data, NGX_VMESS_KEY_LEN);
    ngx_memcpy(t.iv, test_bin("body_iv").data, NGX_VMESS_IV_LEN);

    wire = malloc(TEST_WRAP * (1 + NGX_VMESS_CHUNK_OVERHEAD));
    p = wire;
    good = test_num("chunks") == TEST_WRAP;

    test_init(&cc, &t, 1);

    for (i = 0; i < TEST_WRAP; i++) {
        c = (u_char) i;
        good = good && ngx_vmess_chunk_seal(&cc, &c, 1, NULL, &p) == NGX_OK;

        snprintf(name, sizeof(name), "chunk_%d", (int) i);

        if (test_has(name)) {
            good = good && test_equal(test_bin(name), p - 19, 19);
        }
    }

    ngx_vmess_chunk_cleanup(&cc);

    ngx_vmess_hash_sha256(hash, wire, p - wire);

    test_ok(good && p - wire == test_num("wire_len")
            && test_equal(test_bin("sha256"), hash, 32),
            "counter wraps around: sealed");

    test_init(&cc, &t, 0);

    b.pos = wire;
    b.last = p;
    good = 1;

    for (i = 0; i < TEST_WRAP; i++) {
        out.data = test_room;
        out.len = sizeof(test_room);

        good = good && ngx_vmess_chunk_open(&cc, &b, &out) == NGX_OK
               && out.len == 1 && out.data[0] == (u_char) i;
    }

    test_ok(good && b.pos == b.last, "counter wraps around: opened");

    ngx_vmess_chunk_cleanup(&cc);
    free(wire);
}


static void
test_random_body(test_body_t *t, ngx_uint_t security, ngx_uint_t opt,
    ngx_uint_t command)
{
    ngx_memzero(t, sizeof(test_body_t));

    test_fill(t->h.key, sizeof(t->h.key));
    test_fill(t->h.iv, sizeof(t->h.iv));
    test_fill(t->key, sizeof(t->key));
    test_fill(t->iv, sizeof(t->iv));

    t->h.security = security;
    t->h.opt = opt;
    t->h.command = command;
}


/* empty, data, empty: the first is not the end */

static void
test_empty(void)
{
    u_char              wire[1000], random[NGX_VMESS_PADDING_MAX], *p;
    ngx_buf_t           b;
    ngx_str_t           out;
    ngx_uint_t          security, opt, good, n;
    test_body_t         t;
    ngx_vmess_chunk_t   cc;

    good = 0;
    n = 0;

    test_fill(random, sizeof(random));

    for (security = NGX_VMESS_SEC_AES_128_CFB;
         security <= NGX_VMESS_SEC_NONE;
         security++)
    {
        if (security == 2) {
            continue;
        }

        for (opt = 1; opt < 32; opt += 2) {
            test_random_body(&t, security, opt, 1 + opt % 3);
            test_init(&cc, &t, 1);

            p = wire;

            ngx_vmess_chunk_seal(&cc, NULL, 0, random, &p);
            ngx_vmess_chunk_seal(&cc, (u_char *) "data", 4, random, &p);
            ngx_vmess_chunk_seal(&cc, NULL, 0, random, &p);
            ngx_vmess_chunk_cleanup(&cc);

            test_init(&cc, &t, 0);

            b.pos = wire;
            b.last = p;
            out.data = test_room;
            out.len = sizeof(test_room);

            good += ngx_vmess_chunk_open(&cc, &b, &out) == NGX_OK
                    && test_equal(out, "data", 4)
                    && ngx_vmess_chunk_open(&cc, &b, &out) == NGX_DONE
                    && b.pos == b.last;
            n++;

            ngx_vmess_chunk_cleanup(&cc);
        }
    }

    test_ok(good == n, "empty chunk before data");
}


static ngx_int_t
test_one_length(test_body_t *t, size_t value, size_t *need)
{
    u_char              wire[18], k[16], n[12], plain[2];
    ngx_buf_t           b;
    ngx_int_t           rc;
    ngx_str_t           out;
    ngx_vmess_cfb_t     cfb;
    ngx_vmess_aead_t    aead;
    ngx_vmess_chunk_t   cc;

    plain[0] = (u_char) (value >> 8);
    plain[1] = (u_char) value;

    b.pos = wire;

    if (t->h.opt & NGX_VMESS_OPT_AUTH_LENGTH) {
        aead.ctx = NULL;

        ngx_memzero(n, 2);
        ngx_memcpy(n + 2, t->h.iv + 2, 10);

        ngx_vmess_kdf(k, 16, t->h.key, NGX_VMESS_KDF_AUTH_LENGTH, NULL, 0);
        ngx_vmess_aead_init(&aead, t->h.security, k, 1);
        ngx_vmess_aead_seal(&aead, n, NULL, 0, plain, 2, wire);
        ngx_vmess_aead_cleanup(&aead);

        b.last = wire + 18;

    } else if (t->h.security == NGX_VMESS_SEC_AES_128_CFB) {
        cfb.ctx = NULL;

        ngx_vmess_cfb_init(&cfb, t->key, t->iv, 1);
        ngx_vmess_cfb_crypt(&cfb, plain, 2, wire);
        ngx_vmess_cfb_cleanup(&cfb);

        b.last = wire + 2;

    } else {
        ngx_memcpy(wire, plain, 2);
        b.last = wire + 2;
    }

    test_init(&cc, t, 0);

    ngx_str_null(&out);

    rc = ngx_vmess_chunk_open(&cc, &b, &out);

    if ((rc == NGX_ERROR) != (cc.err != NULL) || b.pos != wire) {
        rc = 12345;
    }

    *need = ngx_vmess_chunk_need(&cc);

    ngx_vmess_chunk_cleanup(&cc);

    return rc;
}


static void
test_lengths(void)
{
    size_t       need;
    ngx_uint_t   i, n, good;
    test_body_t  t;

    static const struct {
        ngx_uint_t  security;
        ngx_uint_t  opt;
        size_t      value;
        size_t      need;      /* 0: refused */
    } lengths[] = {
        { NGX_VMESS_SEC_AES_128_GCM, 1, 0, 0 },
        { NGX_VMESS_SEC_AES_128_GCM, 1, 15, 0 },
        { NGX_VMESS_SEC_AES_128_GCM, 1, 16, 18 },
        { NGX_VMESS_SEC_AES_128_GCM, 1, 65535, 65537 },
        { NGX_VMESS_SEC_CHACHA20, 0, 15, 0 },
        { NGX_VMESS_SEC_CHACHA20, 0, 17, 19 },
        { NGX_VMESS_SEC_AES_128_GCM, 0x11, 0, 34 },
        { NGX_VMESS_SEC_AES_128_GCM, 0x11, 1, 35 },
        { NGX_VMESS_SEC_AES_128_GCM, 0x11, 65519, 65553 },
        { NGX_VMESS_SEC_AES_128_GCM, 0x11, 65520, 0 },
        { NGX_VMESS_SEC_CHACHA20, 0x15, 65535, 0 },
        { NGX_VMESS_SEC_AES_128_CFB, 1, 3, 0 },
        { NGX_VMESS_SEC_AES_128_CFB, 1, 4, 6 },
        { NGX_VMESS_SEC_AES_128_CFB, 0x11, 65535, 65537 },
        { NGX_VMESS_SEC_NONE, 1, 1, 3 },
        { NGX_VMESS_SEC_NONE, 0x11, 65535, 65537 }
    };

    n = sizeof(lengths) / sizeof(lengths[0]);
    good = 0;

    for (i = 0; i < n; i++) {
        test_random_body(&t, lengths[i].security, lengths[i].opt, 1);

        if (lengths[i].security == NGX_VMESS_SEC_NONE
            || lengths[i].security == NGX_VMESS_SEC_AES_128_CFB)
        {
            t.h.opt &= ~NGX_VMESS_OPT_AUTH_LENGTH;
        }

        if (lengths[i].need) {
            good += test_one_length(&t, lengths[i].value, &need) == NGX_AGAIN
                    && need == lengths[i].need;

        } else {
            good += test_one_length(&t, lengths[i].value, &need) == NGX_ERROR;
        }
    }

    test_ok(good == n, "lengths");

    /* a length below its own padding: with most of the generators */

    good = 0;

    for (i = 0; i < 64; i++) {
        test_random_body(&t, NGX_VMESS_SEC_AES_128_GCM, 0x19, 1);
        good += test_one_length(&t, 0, &need) == NGX_ERROR;
    }

    test_ok(good > 32, "lengths below the padding");
}


static void
test_codecs(void)
{
    ngx_int_t           rc;
    ngx_uint_t          security, opt, good;
    test_body_t         t;
    ngx_vmess_chunk_t   cc, zero;

    ngx_memzero(&zero, sizeof(zero));

    good = 0;

    for (security = 0; security < 16; security++) {
        for (opt = 0; opt < 256; opt++) {
            test_random_body(&t, security, opt, 1 + opt % 3);
            ngx_memzero(&cc, sizeof(cc));

            rc = ngx_vmess_chunk_init(&cc, &t.h, t.key, t.iv, opt % 2);

            ngx_vmess_chunk_cleanup(&cc);

            good += rc == (security == 1 || (security >= 3 && security <= 5)
                           ? NGX_OK : NGX_ERROR)
                    && ngx_memcmp(&cc, &zero, sizeof(cc)) == 0;
        }
    }

    test_ok(good == 16 * 256, "each security and option");
}
