
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_kcp_packet.h"
#include "ngx_vmess_kcp_segment.h"


#define TEST_START  0x1234                   /* of counters in the vectors */
#define TEST_MAX    2048


static void test_segment(void);
static void test_datagram(void);
static void test_bad(void);
static void test_cut(void);
static void test_flip(void);
static void test_sizes(void);
static void test_domains(void);
static ngx_int_t test_init(ngx_vmess_kcp_packet_t *packet, ngx_uint_t seal,
    ngx_uint_t header, ngx_str_t *seed, const char *domain);
static size_t test_create(ngx_vmess_kcp_packet_t *packet, ngx_str_t plain,
    const u_char *random, u_char *wire);
static ngx_int_t test_open(ngx_vmess_kcp_packet_t *packet, const u_char *wire,
    size_t len, ngx_str_t *plain);
static ngx_uint_t test_index(const char **names, const char *name);


static const char  *test_seals[] = { "none", "simple", "aes-128-gcm", NULL };

static const char  *test_headers[] = {
    "none", "srtp", "utp", "wechat-video", "dtls", "wireguard", "dns", NULL
};

static ngx_vmess_kcp_packet_t  test_packet;


int
main(void)
{
    while (test_next()) {

        if (test_is("segment")) {
            test_segment();

        } else if (test_is("datagram")) {
            test_datagram();

        } else {
            test_bad();
        }
    }

    ngx_vmess_kcp_packet_cleanup(&test_packet);

    test_cut();
    test_flip();
    test_sizes();
    test_domains();

    return test_done();
}


/* what is parsed has the fields and makes the same bytes */

static void
test_segment(void)
{
    size_t                    i;
    u_char                    wire[TEST_MAX], *copy, *p, *last, *end;
    ngx_str_t                 plain;
    ngx_uint_t                n, same, value;
    ngx_vmess_kcp_segment_t   seg;

    static const struct {
        const char  *name;
        size_t       offset;
        size_t       size;
    } fields[] = {
        { "conv", offsetof(ngx_vmess_kcp_segment_t, conv),
          sizeof(ngx_uint_t) },
        { "command", offsetof(ngx_vmess_kcp_segment_t, command),
          sizeof(ngx_uint_t) },
        { "opt", offsetof(ngx_vmess_kcp_segment_t, opt), sizeof(ngx_uint_t) },
        { "timestamp", offsetof(ngx_vmess_kcp_segment_t, timestamp), 4 },
        { "number", offsetof(ngx_vmess_kcp_segment_t, number), 4 },
        { "sending_next", offsetof(ngx_vmess_kcp_segment_t, sending_next), 4 },
        { "receiving_next",
          offsetof(ngx_vmess_kcp_segment_t, receiving_next), 4 },
        { "receiving_window",
          offsetof(ngx_vmess_kcp_segment_t, receiving_window), 4 },
        { "rto", offsetof(ngx_vmess_kcp_segment_t, rto), 4 }
    };

    plain = test_bin("plain");
    copy = test_copy(plain.data, plain.len);

    p = copy;
    last = copy + plain.len;
    end = wire;
    same = 1;

    for (n = 0; p < last; n++) {

        if (ngx_vmess_kcp_segment_parse(&seg, &p, last) != NGX_OK) {
            same = 0;
            break;
        }

        end = ngx_vmess_kcp_segment_create(end, &seg);
    }

    test_ok(same && n == (test_has("conv") ? 1 : 3) && p == last
            && test_equal(plain, wire, end - wire),
            "%s: parsed and created", test_str("name"));

    if (test_has("conv")) {

        for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
            p = (u_char *) &seg + fields[i].offset;
            value = (fields[i].size == 4) ? *(uint32_t *) p
                                          : *(ngx_uint_t *) p;

            test_ok(value == (ngx_uint_t) (test_has(fields[i].name)
                                           ? test_num(fields[i].name) : 0),
                    "%s: %s", test_str("name"), fields[i].name);
        }

        test_ok(test_has("data")
                ? test_equal(test_bin("data"), seg.data.data, seg.data.len)
                : seg.data.len == 0,
                "%s: data", test_str("name"));
    }

    free(copy);
}


/* datagrams of one name share the disguise, and so its counters */

static void
test_datagram(void)
{
    size_t      len;
    u_char      wire[TEST_MAX];
    ngx_int_t   rc;
    ngx_str_t   seed, domain, out;
    ngx_uint_t  seal, header;

    seed = test_bin("seed");
    seal = test_index(test_seals, test_str("seal"));
    header = test_index(test_headers, test_str("header"));

    ngx_str_null(&domain);

    if (test_has("domain")) {
        domain = test_bin("domain");
    }

    if (test_num("index") == 0) {
        ngx_vmess_kcp_packet_cleanup(&test_packet);
        ngx_memzero(&test_packet, sizeof(ngx_vmess_kcp_packet_t));

        if (ngx_vmess_kcp_packet_init(&test_packet, seal, &seed, header,
                                      &domain, TEST_START)
            != NGX_OK)
        {
            test_ok(0, "%s: init", test_str("name"));
            return;
        }
    }

    len = test_create(&test_packet, test_bin("plain"),
                      test_bin("random").data, wire);

    test_ok(test_equal(test_bin("wire"), wire, len), "%s of %s: sealed",
            test_str("name"), test_str("seal"));

    rc = test_open(&test_packet, wire, len, &out);

    test_ok(rc == NGX_OK && test_equal(test_bin("plain"), out.data, out.len),
            "%s of %s: opened", test_str("name"), test_str("seal"));

    free(out.data);
}


static void
test_bad(void)
{
    ngx_str_t               wire, out;
    ngx_vmess_kcp_packet_t  packet;

    (void) test_init(&packet, test_index(test_seals, test_str("seal")),
                     NGX_VMESS_KCP_HEADER_NONE, NULL, "");

    wire = test_bin("wire");

    test_ok(test_open(&packet, wire.data, wire.len, &out) == NGX_DECLINED,
            "%s: dropped", test_str("name"));
}


/* segments that are cut anywhere, and a count that is too large */

static void
test_cut(void)
{
    size_t                    n, len;
    u_char                    wire[64], *copy, *p, *last;
    ngx_uint_t                i, bad;
    ngx_vmess_kcp_segment_t   seg;

    for (i = 0; i < 5; i++) {
        ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

        seg.command = i;
        seg.data.data = (u_char *) "0123456789ab";
        seg.data.len = (i < 2) ? 12 : 0;

        len = ngx_vmess_kcp_segment_create(wire, &seg) - wire;
        bad = 0;

        for (n = 0; n <= len; n++) {
            copy = test_copy(wire, n);
            p = copy;
            last = copy + n;

            if (ngx_vmess_kcp_segment_parse(&seg, &p, last)
                != (n < len ? NGX_DECLINED : NGX_OK)
                || p != (n < len ? copy : last))
            {
                bad++;
            }

            free(copy);
        }

        test_ok(bad == 0, "command %d: cut anywhere", (int) i);
    }

    /* 255 numbers are parsed, though peers send 128 */

    copy = malloc(NGX_VMESS_KCP_ACK_LEN + 255 * NGX_VMESS_KCP_NUMBER_LEN);
    ngx_memzero(copy, NGX_VMESS_KCP_ACK_LEN + 255 * NGX_VMESS_KCP_NUMBER_LEN);
    copy[16] = 255;

    p = copy;
    last = copy + NGX_VMESS_KCP_ACK_LEN + 255 * NGX_VMESS_KCP_NUMBER_LEN;

    test_ok(ngx_vmess_kcp_segment_parse(&seg, &p, last) == NGX_OK && p == last
            && seg.data.len == 255 * NGX_VMESS_KCP_NUMBER_LEN,
            "255 numbers");

    p = copy;

    test_ok(ngx_vmess_kcp_segment_parse(&seg, &p, last - 1) == NGX_DECLINED,
            "255 numbers and a byte too few");

    free(copy);
}


/* a datagram with any bit flipped behind its disguise is dropped */

static void
test_flip(void)
{
    size_t                   len, i;
    u_char                   wire[TEST_MAX];
    u_char                   random[NGX_VMESS_KCP_RANDOM_LEN];
    ngx_str_t                plain, out, seed = ngx_string("seed");
    ngx_uint_t               seal, bad, ignored;
    ngx_vmess_kcp_packet_t   packet;

    ngx_memzero(random, sizeof(random));
    ngx_str_set(&plain, "segments of some length");

    for (seal = 1; seal < 3; seal++) {

        (void) test_init(&packet, seal, NGX_VMESS_KCP_HEADER_WECHAT, &seed,
                         "");

        len = test_create(&packet, plain, random, wire);
        bad = 0;
        ignored = 0;

        for (i = 0; i < 8 * len; i++) {
            wire[i / 8] ^= 1 << i % 8;

            switch (test_open(&packet, wire, len, &out)) {

            case NGX_OK:
                ignored++;
                bad += (i >= 8 * 13);
                free(out.data);
                break;

            case NGX_DECLINED:
                break;

            default:
                bad++;
            }

            wire[i / 8] ^= 1 << i % 8;
        }

        test_ok(bad == 0 && ignored == 8 * 13, "%s: a flipped bit is seen",
                test_seals[seal]);

        bad = 0;

        for (i = 0; i < len; i++) {
            if (test_open(&packet, wire, i, &out) != NGX_DECLINED) {
                bad++;
            }
        }

        test_ok(bad == 0, "%s: cut anywhere", test_seals[seal]);

        /* the queue of libcrypto has nothing for the next TLS connection */

        test_ok(ERR_peek_error() == 0, "%s: no error left", test_seals[seal]);

        ngx_vmess_kcp_packet_cleanup(&packet);
    }

    seed.len--;

    (void) test_init(&packet, NGX_VMESS_KCP_SEAL_GCM,
                     NGX_VMESS_KCP_HEADER_WECHAT, &seed, "");

    test_ok(test_open(&packet, wire, len, &out) == NGX_DECLINED,
            "another seed");

    ngx_vmess_kcp_packet_cleanup(&packet);
}


/* all kinds with payloads of all sizes */

static void
test_sizes(void)
{
    size_t                   n, len;
    u_char                   wire[TEST_MAX], data[1400];
    u_char                   random[NGX_VMESS_KCP_RANDOM_LEN];
    ngx_int_t                rc;
    ngx_str_t                plain, out, seed = ngx_string("");
    ngx_uint_t               seal, header, bad;
    ngx_vmess_kcp_packet_t   packet;

    test_fill(data, sizeof(data));

    for (header = 0; test_headers[header]; header++) {

        for (seal = 0; test_seals[seal]; seal++) {

            (void) test_init(&packet, seal, header, &seed, "example.org");
            bad = 0;

            for (n = 1; n < sizeof(data); n = n + 1 + n / 50) {
                test_fill(random, sizeof(random));

                plain.data = data;
                plain.len = n;

                len = test_create(&packet, plain, random, wire);
                rc = test_open(&packet, wire, len, &out);

                if (rc != NGX_OK || !test_equal(plain, out.data, out.len)
                    || len != packet.head + n + packet.tail)
                {
                    bad++;
                }

                free(out.data);
            }

            test_ok(bad == 0, "%s in %s", test_seals[seal],
                    test_headers[header]);

            test_ok(test_open(&packet, wire, packet.head + packet.tail, &out)
                    == NGX_DECLINED,
                    "%s in %s: no segments", test_seals[seal],
                    test_headers[header]);

            ngx_vmess_kcp_packet_cleanup(&packet);
        }
    }
}


static void
test_domains(void)
{
    char                     name[300];
    size_t                   i;
    ngx_vmess_kcp_packet_t   packet;

    ngx_memset(name, 'a', sizeof(name));

    name[63] = '\0';

    test_ok(test_init(&packet, 0, NGX_VMESS_KCP_HEADER_DNS, NULL, name)
            == NGX_OK && packet.head == 12 + 1 + 63 + 1 + 4,
            "a label of 63 bytes");

    name[63] = 'a';
    name[64] = '\0';

    test_ok(test_init(&packet, 0, NGX_VMESS_KCP_HEADER_DNS, NULL, name)
            == NGX_DECLINED, "a label of 64 bytes");

    name[64] = '.';
    name[65] = '\0';

    test_ok(test_init(&packet, 0, NGX_VMESS_KCP_HEADER_DNS, NULL, name)
            == NGX_DECLINED, "a label of 64 bytes and a dot");

    for (i = 1; i < sizeof(name); i += 2) {
        name[i] = '.';
    }

    name[64] = 'a';
    name[253] = '\0';

    test_ok(test_init(&packet, 0, NGX_VMESS_KCP_HEADER_DNS, NULL, name)
            == NGX_OK && packet.head == NGX_VMESS_KCP_HEADER_MAX,
            "a name of 253 bytes");

    name[253] = '.';
    name[254] = '\0';

    test_ok(test_init(&packet, 0, NGX_VMESS_KCP_HEADER_DNS, NULL, name)
            == NGX_DECLINED, "a name of 254 bytes");
}


static ngx_int_t
test_init(ngx_vmess_kcp_packet_t *packet, ngx_uint_t seal, ngx_uint_t header,
    ngx_str_t *seed, const char *domain)
{
    ngx_str_t  name;

    name.data = (u_char *) domain;
    name.len = ngx_strlen(domain);

    ngx_memzero(packet, sizeof(ngx_vmess_kcp_packet_t));

    return ngx_vmess_kcp_packet_init(packet, seal, seed, header, &name,
                                     TEST_START);
}


/* in memory that has room for the datagram, and not a byte more */

static size_t
test_create(ngx_vmess_kcp_packet_t *packet, ngx_str_t plain,
    const u_char *random, u_char *wire)
{
    size_t   len;
    u_char  *room;

    len = packet->head + plain.len + packet->tail;

    room = malloc(len);
    ngx_memcpy(room + packet->head, plain.data, plain.len);

    if (ngx_vmess_kcp_packet_seal(packet, room + packet->head, plain.len,
                                  random)
        != NGX_OK)
    {
        len = 0;
    }

    ngx_memcpy(wire, room, len);
    free(room);

    return len;
}


/* plain is a copy, NULL if there is nothing */

static ngx_int_t
test_open(ngx_vmess_kcp_packet_t *packet, const u_char *wire, size_t len,
    ngx_str_t *plain)
{
    u_char     *copy;
    ngx_int_t   rc;
    ngx_str_t   out;

    copy = test_copy(wire, len);

    rc = ngx_vmess_kcp_packet_open(packet, copy, len, &out);

    ngx_str_null(plain);

    if (rc == NGX_OK) {
        plain->data = test_copy(out.data, out.len);
        plain->len = out.len;
    }

    free(copy);

    return rc;
}


static ngx_uint_t
test_index(const char **names, const char *name)
{
    ngx_uint_t  i;

    for (i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            break;
        }
    }

    return i;
}
