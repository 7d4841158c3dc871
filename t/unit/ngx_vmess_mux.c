
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_mux.h"
#include "ngx_vmess_hash.h"


#define TEST_MAX    (64 * 1024)
#define TEST_SPLIT  1000


/*
 * Frames as text, one after another: status/id/option, then /network:host:port
 * or /bad, /Global ID, =data; behind the last one "!" if reading failed, or
 * "+cut".
 */

typedef struct {
    const char  *name;
    const char  *wire;
    size_t       len;
    const char  *text;      /* of test_bads, the error */
} test_frame_t;


static void test_vector(void);
static void test_xudp(void);
static void test_split(void);
static void test_glued(void);
static void test_skip(void);
static void test_good(const test_frame_t *f);
static void test_bad(const test_frame_t *f);
static void test_large(void);
static void test_name(void);
static void test_header(void);
static ngx_uint_t test_check(const u_char *wire, size_t len,
    const char *text);
static ngx_int_t test_read(const u_char *wire, size_t len, size_t first,
    size_t step, char *text, const char **err);
static char *test_text(char *text, ngx_vmess_mux_t *m);
static char *test_host(char *text, ngx_vmess_address_t *address);
static char *test_hex(char *text, const u_char *p, size_t len);
static ngx_uint_t test_create(ngx_vmess_mux_t *m);


/* what the vectors do not have */

#define test_bytes(s)  s, sizeof(s) - 1

static const test_frame_t  test_goods[] = {
    { "nothing", test_bytes(""), "" },
    { "id 0", test_bytes("\0\4\0\0\2\0"), "keep/0/0" },
    { "other option bits", test_bytes("\0\4\1\2\2\xfc"), "keep/258/252" },
    { "data with error", test_bytes("\0\4\0\1\3\3\0\1x"), "end/1/3=78" },
    { "no bytes of data",
      test_bytes("\0\4\0\1\2\1\0\0" "\0\4\0\1\3\0"), "keep/1/1=,end/1/0" },
    { "data of KeepAlive", test_bytes("\0\4\0\0\4\1\0\2hi"),
      "keepalive/0/1=6869" },
    { "long metadata of End", test_bytes("\0\7\0\1\3\0abc" "\0\4\0\2\3\0"),
      "end/1/0,end/2/0" },
    { "long metadata of KeepAlive",
      test_bytes("\0\14\0\1\4\1\2\0\5\1\1\2\3\4\0\1x"), "keepalive/1/1=78" },
    { "padding of Keep", test_bytes("\0\7\0\1\2\1\0\2\2\0\1x"),
      "keep/1/1=78" },
    { "one byte of padding", test_bytes("\0\5\0\1\2\1\3\0\1x"),
      "keep/1/1=78" },
    { "padding behind the address of Keep",
      test_bytes("\0\17\0\1\2\1\2\0\5\1\1\2\3\4\2\0\0\0\1x"),
      "keep/1/1/udp:1.2.3.4:5=78" },
    { "Keep with a name",
      test_bytes("\0\14\0\1\2\1\2\0\5\2\3a.B\0\1x"),
      "keep/1/1/udp:a.b:5=78" },
    { "New with port 0", test_bytes("\0\14\0\1\1\0\1\0\0\1\1\2\3\4"),
      "new/1/0/tcp:1.2.3.4:0" },
    { "name of one byte", test_bytes("\0\12\0\1\1\0\1\0\5\2\1A"),
      "new/1/0/tcp:a:5" },
    { "address in text", test_bytes("\0\20\0\1\1\0\2\0\5\2\0071.2.3.4"),
      "new/1/0/udp:1.2.3.4:5" },
    { "IPv4-mapped address",
      test_bytes("\0\30\0\1\1\0\1\0\5\3\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4"),
      "new/1/0/tcp:1.2.3.4:5" },
    { "7 bytes behind the target",
      test_bytes("\0\23\0\1\1\1\2\0\5\1\1\2\3\4" "1234567" "\0\1x"),
      "new/1/1/udp:1.2.3.4:5=78" },
    { "9 bytes behind the target",
      test_bytes("\0\25\0\1\1\1\2\0\5\1\1\2\3\4" "123456789" "\0\1x"),
      "new/1/1/udp:1.2.3.4:5/3132333435363738=78" },
    { "Global ID of one bit",
      test_bytes("\0\24\0\1\1\1\2\0\5\1\1\2\3\4" "\0\0\0\0\0\0\0\1" "\0\1x"),
      "new/1/1/udp:1.2.3.4:5/0000000000000001=78" },
    { "Global ID of New, not of the Keep behind it",
      test_bytes("\0\24\0\1\1\1\2\0\5\1\1\2\3\4" "12345678" "\0\0"
                 "\0\24\0\1\2\1\2\0\5\1\1\2\3\4" "12345678" "\0\1x"),
      "new/1/1/udp:1.2.3.4:5/3132333435363738=,keep/1/1/udp:1.2.3.4:5=78" },
    { "no Global ID of TCP",
      test_bytes("\0\24\0\1\1\1\1\0\5\1\1\2\3\4" "12345678" "\0\1x"),
      "new/1/1/tcp:1.2.3.4:5=78" },
    { "address of New, not of the Keep behind it",
      test_bytes("\0\14\0\1\1\0\2\0\5\1\1\2\3\4" "\0\4\0\1\2\0"),
      "new/1/0/udp:1.2.3.4:5,keep/1/0" },

    /* the sub-connection alone is at fault */

    { "Keep with a network only", test_bytes("\0\5\0\1\2\1\2\0\1x"),
      "keep/1/1/udp:bad=78" },
    { "Keep with unknown type",
      test_bytes("\0\14\0\1\2\1\2\0\5\4\1\2\3\4\0\1x" "\0\4\0\2\3\0"),
      "keep/1/1/udp:bad=78,end/2/0" },
    { "Keep with half an address", test_bytes("\0\13\0\1\2\0\2\0\5\1\1\2\3"),
      "keep/1/0/udp:bad" },
    { "Keep with a bad name",
      test_bytes("\0\13\0\1\2\1\2\0\5\2\2a \0\1x" "\0\4\0\1\2\0"),
      "keep/1/1/udp:bad=78,keep/1/0" },
    { "New with an empty label",
      test_bytes("\0\15\0\1\1\1\1\0\5\2\4a..b\0\1x" "\0\4\0\2\3\0"),
      "new/1/1/tcp:bad=78,end/2/0" },
    { "New with an empty first label",
      test_bytes("\0\13\0\1\1\0\1\0\5\2\2.a"), "new/1/0/tcp:bad" },
    { "New with an empty last label",
      test_bytes("\0\14\0\1\1\0\2\0\5\2\3a.."), "new/1/0/udp:bad" },
    { "New with the root", test_bytes("\0\12\0\1\1\0\1\0\5\2\1."),
      "new/1/0/tcp:bad" },

    /* the end of the stream is not where a frame ends */

    { "length of metadata is cut", test_bytes("\0\4\0\1\2\0" "\0"),
      "keep/1/0+cut" },
    { "metadata is cut", test_bytes("\0\4\0\1\2"), "+cut" },
    { "length of data is cut", test_bytes("\0\4\0\1\2\1\0"), "+cut" },
    { "data is cut", test_bytes("\0\4\0\1\2\1\0\2x"), "keep/1/1=78+cut" }
};

static const test_frame_t  test_bads[] = {
    { "metadata of 0 bytes", test_bytes("\0\0"),
      "invalid length of metadata" },
    { "metadata of 3 bytes", test_bytes("\0\3"),
      "invalid length of metadata" },
    { "metadata of 513 bytes", test_bytes("\2\1"),
      "invalid length of metadata" },
    { "metadata of 65535 bytes", test_bytes("\xff\xff"),
      "invalid length of metadata" },
    { "second frame", test_bytes("\0\4\0\1\2\1\0\1x" "\0\3"),
      "invalid length of metadata" },
    { "status 0", test_bytes("\0\4\0\1\0\1"), "unknown status" },
    { "status 5", test_bytes("\0\4\0\1\5\0"), "unknown status" },
    { "status 255", test_bytes("\0\14\0\1\xff\1\1\0\5\1\1\2\3\4"),
      "unknown status" },
    { "New without a target", test_bytes("\0\4\0\1\1\0"), "no target" },
    { "New with half a target", test_bytes("\0\7\0\1\1\1\1\0\5"),
      "no target" },
    { "network 0", test_bytes("\0\14\0\1\1\1\0\0\5\1\1\2\3\4"),
      "unknown network" },
    { "network 3", test_bytes("\0\14\0\1\1\1\3\0\5\1\1\2\3\4"),
      "unknown network" },
    { "type 0", test_bytes("\0\14\0\1\1\1\1\0\5\0\1\2\3\4"),
      "unknown address type" },
    { "type 4", test_bytes("\0\14\0\1\1\1\1\0\5\4\1\2\3\4"),
      "unknown address type" },
    { "type 4 before an empty label",
      test_bytes("\0\15\0\1\1\1\1\0\5\4\4a..b"), "unknown address type" },
    { "target without an address", test_bytes("\0\10\0\1\1\1\1\0\5\1"),
      "address is longer than metadata" },
    { "short IPv4", test_bytes("\0\13\0\1\1\1\1\0\5\1\1\2\3"),
      "address is longer than metadata" },
    { "short IPv6",
      test_bytes("\0\27\0\1\1\1\1\0\5\3" "123456789abcdef"),
      "address is longer than metadata" },
    { "name without a length", test_bytes("\0\10\0\1\1\1\1\0\5\2"),
      "address is longer than metadata" },
    { "short name", test_bytes("\0\14\0\1\1\1\1\0\5\2\4a.b"),
      "address is longer than metadata" },
    { "short name with an empty label",
      test_bytes("\0\14\0\1\1\1\1\0\5\2\4a.."),
      "address is longer than metadata" },
    { "empty name", test_bytes("\0\11\0\1\1\1\1\0\5\2\0"), "empty domain" },
    { "name with a space", test_bytes("\0\14\0\1\1\1\1\0\5\2\3a b"),
      "invalid domain" },
    { "name with a slash", test_bytes("\0\14\0\1\1\1\1\0\5\2\3/.a"),
      "invalid domain" },
    { "name with NUL", test_bytes("\0\14\0\1\1\1\2\0\5\2\3a.\0"),
      "invalid domain" }
};


/* short wires of the vectors, one behind another */

static u_char      test_wire[TEST_MAX];
static size_t      test_wire_len;
static char        test_texts[4 * TEST_MAX];

/* frames of the vectors whose header we created as well */

static ngx_uint_t  test_created;


int
main(void)
{
    ngx_uint_t  i;

    while (test_next()) {

        if (test_is("frames")) {
            test_vector();

        } else if (test_is("xudp")) {
            test_xudp();

        } else {
            test_split();
        }
    }

    test_ok(test_created == 23, "23 headers of vectors created, were %u",
            (unsigned) test_created);

    test_glued();
    test_skip();

    for (i = 0; i < sizeof(test_goods) / sizeof(test_goods[0]); i++) {
        test_good(&test_goods[i]);
    }

    for (i = 0; i < sizeof(test_bads) / sizeof(test_bads[0]); i++) {
        test_bad(&test_bads[i]);
    }

    test_large();
    test_name();
    test_header();

    return test_done();
}


/* frames of others are read, and our headers are the same */

static void
test_vector(void)
{
    char         last;
    u_char      *p;
    ngx_str_t    wire;
    const char  *text;

    wire = test_bin("wire");
    text = test_str("text");

    test_ok(test_check(wire.data, wire.len, text) == 0, "%s",
            test_str("name"));

    /* into the long stream, if it goes on behind it */

    last = *text ? text[ngx_strlen(text) - 1] : '!';

    if (last == '!' || last == 't' || wire.len > TEST_SPLIT) {
        return;
    }

    p = ngx_cpymem(test_wire + test_wire_len, wire.data, wire.len);
    test_wire_len = p - test_wire;

    if (test_texts[0]) {
        strcat(test_texts, ",");
    }

    strcat(test_texts, text);
}


/*
 * What a client of XUDP gets from frames of a server: the first datagram, or
 * the end of the flow
 */

static void
test_xudp(void)
{
    char              text[256], *t;
    size_t            i, n;
    u_char           *p;
    ngx_int_t         rc;
    ngx_buf_t         b;
    ngx_str_t         wire;
    ngx_uint_t        bad;
    ngx_vmess_mux_t   m;

    wire = test_bin("wire");
    bad = 0;

    for (n = 1; n <= wire.len; n++) {

        ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
        ngx_memzero(&b, sizeof(ngx_buf_t));

        text[0] = '\0';
        t = NULL;

        for (i = 0; i < wire.len && text[0] == '\0'; i += n) {

            p = test_copy(wire.data + i, ngx_min(n, wire.len - i));

            b.pos = p;
            b.last = p + ngx_min(n, wire.len - i);

            do {
                if (t) {
                    t = test_hex(t, b.pos, 1);
                    b.pos++;

                    if (--m.length == 0) {
                        text[0] = m.has_address ? 'a' : '-';
                        break;
                    }

                    continue;
                }

                rc = ngx_vmess_mux_read(&m, &b);

                if (rc == NGX_ERROR
                    || (rc == NGX_OK && (m.status == NGX_VMESS_MUX_NEW
                                         || m.status == NGX_VMESS_MUX_END)))
                {
                    strcpy(text, "EOF");
                    break;
                }

                if (rc == NGX_OK && m.status == NGX_VMESS_MUX_KEEP
                    && m.length)
                {
                    t = text + 1;

                    if (m.has_address) {
                        t = test_host(t, &m.address);
                    }

                    *t++ = '=';
                }

            } while (b.pos < b.last);

            free(p);
        }

        if (strcmp(text, test_str("text")) != 0) {
            bad++;
        }
    }

    test_ok(bad == 0, "%s", test_str("name"));
}


/* a long run of bytes becomes frames as those of others */

static void
test_split(void)
{
    size_t      len, size, i, n;
    u_char     *buf, *p, *last, hash[32];
    ngx_buf_t   b;
    ngx_str_t   head;
    ngx_uint_t  bad;

    ngx_vmess_mux_t  m;

    n = test_num("len");
    head = test_bin("head");
    buf = malloc(n);
    last = buf;

    for (len = test_num("size"); len; len -= size) {
        size = ngx_min(len, NGX_VMESS_MUX_DATA_LEN);

        p = last + NGX_VMESS_MUX_HEADER_LEN + NGX_VMESS_MUX_LENGTH_LEN;

        if (n - (last - buf) < (size_t) (p - last) + size
            || ngx_vmess_mux_header(p, test_num("id"), NGX_VMESS_MUX_KEEP,
                                    NGX_VMESS_MUX_DATA, NULL, size)
               != last)
        {
            break;
        }

        for (i = 0; i < size; i++) {
            p[i] = (u_char) (7 * i);
        }

        last = p + size;
    }

    ngx_vmess_hash_sha256(hash, buf, last - buf);

    test_ok(len == 0 && (size_t) (last - buf) == n
            && test_equal(head, buf, head.len)
            && test_equal(test_bin("sha256"), hash, 32),
            "%s: created", test_str("name"));

    ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = buf;
    b.last = last;
    bad = 0;

    for (len = test_num("size"); len; len -= size) {
        size = ngx_min(len, NGX_VMESS_MUX_DATA_LEN);

        if (ngx_vmess_mux_read(&m, &b) != NGX_OK || m.length != size) {
            bad = 1;
            break;
        }
    }

    test_ok(!bad && ngx_vmess_mux_read(&m, &b) == NGX_AGAIN
            && b.pos == last && m.n == 0 && m.length == 0,
            "%s: read, data skipped", test_str("name"));

    free(buf);
}


static void
test_glued(void)
{
    char        *text;
    size_t       step;
    ngx_uint_t   bad;
    const char  *err;

    text = malloc(8 * TEST_MAX);
    bad = 0;

    for (step = 1; step < 1000; step++) {
        if (test_read(test_wire, test_wire_len, step, step, text, &err)
            != NGX_AGAIN
            || strcmp(text, test_texts) != 0)
        {
            bad++;
        }
    }

    test_ok(bad == 0, "all frames in pieces of 1 to 999 bytes");
    test_ok(test_check(test_wire, test_wire_len, test_texts) == 0,
            "all frames split at every byte");

    free(text);
}


/* of all frames, the headers are found if nobody takes the data */

static void
test_skip(void)
{
    char             *t;
    size_t            step, i;
    u_char           *p;
    ngx_buf_t         b;
    ngx_int_t         rc;
    ngx_uint_t        n, frames, bad;
    ngx_vmess_mux_t   m;

    frames = 1;
    bad = 0;

    for (t = test_texts; *t; t++) {
        frames += (*t == ',');
    }

    for (step = 1; step < 1000; step++) {

        ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
        ngx_memzero(&b, sizeof(ngx_buf_t));

        n = 0;

        for (i = 0; i < test_wire_len; i += step) {
            p = test_copy(test_wire + i, ngx_min(step, test_wire_len - i));

            b.pos = p;
            b.last = p + ngx_min(step, test_wire_len - i);

            do {
                rc = ngx_vmess_mux_read(&m, &b);
                n += (rc == NGX_OK);
            } while (rc == NGX_OK);

            if (rc != NGX_AGAIN || b.pos != b.last) {
                bad++;
            }

            free(p);
        }

        if (n != frames || m.n || m.length) {
            bad++;
        }
    }

    test_ok(bad == 0, "all %u frames, data skipped", (unsigned) frames);
}


static void
test_good(const test_frame_t *f)
{
    test_ok(test_check((u_char *) f->wire, f->len, f->text) == 0, "%s",
            f->name);
}


/* the last byte is the wrong one, so that nothing is wrong before it */

static void
test_bad(const test_frame_t *f)
{
    char          text[256];
    size_t        i;
    ngx_uint_t    bad;
    const char   *err;

    bad = 0;

    for (i = 1; i <= f->len; i++) {
        if (test_read((u_char *) f->wire, f->len, i, i, text, &err)
            != NGX_ERROR
            || err == NULL || strcmp(err, f->text) != 0)
        {
            bad++;
        }
    }

    if (test_read((u_char *) f->wire, f->len - 1, f->len, 1, text, &err)
        != NGX_AGAIN)
    {
        bad++;
    }

    test_ok(bad == 0, "%s", f->name);
}


/* the longest metadata and the longest data */

static void
test_large(void)
{
    char    *text, *t;
    u_char  *wire;
    size_t   len, i;

    static const u_char  head[] = "\2\0\0\1\1\1\2\0\5\1\1\2\3\4";

    len = 2 + NGX_VMESS_MUX_META_MAX + 2 + NGX_VMESS_MUX_DATA_MAX;
    wire = malloc(len);
    text = malloc(3 * len);

    for (i = 0; i < len; i++) {
        wire[i] = (u_char) (i + 1);
    }

    ngx_memcpy(wire, head, sizeof(head) - 1);

    i = 2 + NGX_VMESS_MUX_META_MAX;
    wire[i++] = 0xff;
    wire[i++] = 0xff;

    t = stpcpy(text, "new/1/1/udp:1.2.3.4:5/0f10111213141516=");
    *test_hex(t, wire + i, len - i) = '\0';

    test_ok(test_check(wire, len, text) == 0, "longest frame");

    wire[2 + 2] = NGX_VMESS_MUX_KEEP;
    wire[2 + 4] = NGX_VMESS_MUX_TCP;

    t = stpcpy(text, "keep/1/1=");
    *test_hex(t, wire + i, len - i) = '\0';

    test_ok(test_check(wire, len, text) == 0, "longest padding");

    free(wire);
    free(text);
}


static void
test_name(void)
{
    char     text[300], *t;
    u_char   wire[300], *p;

    p = ngx_cpymem(wire, "\1\x08\0\1\1\0\1\0\5\2\xff", 11);
    p = ngx_cpymem(p, "a.", 2);
    ngx_memset(p, 'b', 253);

    t = stpcpy(text, "new/1/0/tcp:a.");
    ngx_memset(t, 'b', 253);
    strcpy(t + 253, ":5");

    test_ok(test_check(wire, 11 + 255, text) == 0, "longest name");
}


static void
test_header(void)
{
    u_char               buf[64], *p;
    size_t               n;
    ngx_uint_t           i;
    ngx_sockaddr_t       sa;
    struct sockaddr      other, *from;
    ngx_vmess_address_t  address;

    static const struct {
        const char  *name;
        ngx_uint_t   id;
        ngx_uint_t   status;
        ngx_uint_t   opt;
        size_t       len;
        size_t       addr_len;
        const char  *addr;
        const char  *head;
        size_t       n;
    } cases[] = {
        { "Keep with data", 0x1234, 2, 1, 0x5678, 0, NULL,
          test_bytes("\0\4\x12\x34\2\1\x56\x78") },
        { "Keep with most data", 0xffff, 2, 1, 65535, 0, NULL,
          test_bytes("\0\4\xff\xff\2\1\xff\xff") },
        { "Keep with no bytes of data", 1, 2, 1, 0, 0, NULL,
          test_bytes("\0\4\0\1\2\1\0\0") },
        { "Keep without data", 1, 2, 0, 5, 0, NULL,
          test_bytes("\0\4\0\1\2\0") },
        { "Keep from IPv4", 0, 2, 1, 5, 4, "\1\2\3\4",
          test_bytes("\0\14\0\0\2\1\2\x12\x34\1\1\2\3\4\0\5") },
        { "Keep from IPv6", 0, 2, 1, 5, 16, "0123456789abcdef",
          test_bytes("\0\30\0\0\2\1\2\x12\x34\3" "0123456789abcdef" "\0\5") },
        { "Keep from IPv4-mapped IPv6", 0, 2, 1, 5, 16,
          "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4",
          test_bytes("\0\14\0\0\2\1\2\x12\x34\1\1\2\3\4\0\5") },
        { "Keep from IPv4 without data", 0, 2, 0, 0, 4, "\1\2\3\4",
          test_bytes("\0\14\0\0\2\0\2\x12\x34\1\1\2\3\4") },
        { "Keep from another family", 0, 2, 1, 5, 1, "",
          test_bytes("\0\4\0\0\2\1\0\5") },
        { "End", 7, 3, 0, 0, 0, NULL, test_bytes("\0\4\0\7\3\0") },
        { "End with error", 7, 3, 2, 0, 0, NULL, test_bytes("\0\4\0\7\3\2") },
        { "KeepAlive", 7, 4, 0, 0, 0, NULL, test_bytes("\0\4\0\7\4\0") }
    };

    ngx_memzero(&other, sizeof(struct sockaddr));
    other.sa_family = AF_UNIX;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        ngx_memset(buf, 0xaa, sizeof(buf));

        address.type = (cases[i].addr_len == 4) ? NGX_VMESS_ADDR_IPV4
                                                : NGX_VMESS_ADDR_IPV6;
        address.port = 0x1234;

        from = (cases[i].addr_len == 1) ? &other : NULL;

        if (cases[i].addr_len > 1) {
            ngx_memcpy(address.addr, cases[i].addr, cases[i].addr_len);

            (void) ngx_vmess_address_sockaddr(&address, &sa);
            from = &sa.sockaddr;
        }

        p = ngx_vmess_mux_header(buf + 48, cases[i].id, cases[i].status,
                                 cases[i].opt, from, cases[i].len);
        n = buf + 48 - p;

        test_ok(n == cases[i].n && n <= NGX_VMESS_MUX_HEADER_MAX
                && ngx_memcmp(p, cases[i].head, n) == 0
                && p[-1] == 0xaa && buf[48] == 0xaa,
                "header: %s", cases[i].name);
    }

    test_ok(cases[5].n == NGX_VMESS_MUX_HEADER_MAX, "longest header");
}


/*
 * Reads a wire byte by byte, whole, and in two parts of any size, of which the
 * first is short if it is a long wire
 */

static ngx_uint_t
test_check(const u_char *wire, size_t len, const char *want)
{
    char        *text, last;
    size_t       i, n;
    ngx_int_t    rc;
    ngx_uint_t   bad;
    const char  *err;

    n = ngx_strlen(want);
    text = malloc(2 * TEST_MAX + 64 * len + n);
    last = n ? want[n - 1] : '\0';
    bad = 0;

    for (i = 0; i <= len; i++) {

        if (i > TEST_SPLIT) {
            i = len;
        }

        rc = test_read(wire, len, i ? i : 1, i ? len : 1, text, &err);

        if (rc != (last == '!' ? NGX_ERROR : NGX_AGAIN)
            || strcmp(text, want) != 0)
        {
            bad++;
        }
    }

    if (bad) {
        fprintf(stderr, "got \"%.2000s\", expected \"%.2000s\"\n", text, want);
    }

    free(text);

    return bad;
}


/* reads copies of first, then step bytes each, and takes the data */

static ngx_int_t
test_read(const u_char *wire, size_t len, size_t first, size_t step,
    char *text, const char **err)
{
    char             *t;
    size_t            size;
    u_char           *p;
    ngx_int_t         rc;
    ngx_buf_t         b;
    ngx_uint_t        whole;
    ngx_vmess_mux_t   m;

    ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    t = text;
    rc = NGX_AGAIN;
    whole = (first >= len);

    for (size = first; len && rc != NGX_ERROR; size = step) {
        size = ngx_min(size, len);

        p = test_copy(wire, size);
        wire += size;
        len -= size;

        b.pos = p;
        b.last = p + size;

        while (b.pos < b.last) {

            if (m.length) {
                size = ngx_min((size_t) (b.last - b.pos), m.length);
                t = test_hex(t, b.pos, size);
                b.pos += size;
                m.length -= size;
                continue;
            }

            rc = ngx_vmess_mux_read(&m, &b);

            if (rc != NGX_OK) {
                break;
            }

            if (t != text) {
                *t++ = ',';
            }

            t = test_text(t, &m);

            if (whole && test_create(&m)) {
                t = stpcpy(t, "(not as created)");
            }
        }

        if (rc == NGX_AGAIN && b.pos != b.last) {
            t = stpcpy(t, "(not all taken)");
        }

        if (rc == NGX_OK) {
            rc = NGX_AGAIN;
        }

        free(p);
    }

    if (rc == NGX_ERROR) {
        t = stpcpy(t, "!");

    } else if (m.n || m.length) {
        t = stpcpy(t, "+cut");
    }

    *t = '\0';
    *err = m.err;

    return rc;
}


static char *
test_text(char *text, ngx_vmess_mux_t *m)
{
    static const char  *status[] = { "0", "new", "keep", "end", "keepalive" };
    static const char  *network[] = { "0", "tcp", "udp" };

    if (m->status > 4 || m->network > 2
        || (m->network != 0) != (m->has_address || m->bad_address)
        || m->bad_address != (m->err != NULL)
        || (m->length && !(m->opt & NGX_VMESS_MUX_DATA)))
    {
        return stpcpy(text, "(inconsistent)");
    }

    text += sprintf(text, "%s/%u/%u", status[m->status], (unsigned) m->id,
                    (unsigned) m->opt);

    if (m->network) {
        text += sprintf(text, "/%s:", network[m->network]);
    }

    if (m->bad_address) {
        text = stpcpy(text, "bad");
    }

    if (m->has_address) {
        text = test_host(text, &m->address);
    }

    if (m->has_global_id) {
        *text++ = '/';
        text = test_hex(text, m->global_id, NGX_VMESS_MUX_GLOBAL_ID_LEN);

    } else if (ngx_memcmp(m->global_id, "\0\0\0\0\0\0\0\0",
                          NGX_VMESS_MUX_GLOBAL_ID_LEN) != 0)
    {
        text = stpcpy(text, "(global id)");
    }

    if (m->opt & NGX_VMESS_MUX_DATA) {
        *text++ = '=';
    }

    return text;
}


static char *
test_host(char *text, ngx_vmess_address_t *address)
{
    char  addr[INET6_ADDRSTRLEN];

    switch (address->type) {

    case NGX_VMESS_ADDR_DOMAIN:
        return text + sprintf(text, "%.*s:%u", (int) address->domain.len,
                              address->domain.data, address->port);

    case NGX_VMESS_ADDR_IPV4:
        inet_ntop(AF_INET, address->addr, addr, sizeof(addr));
        return text + sprintf(text, "%s:%u", addr, address->port);

    default:
        inet_ntop(AF_INET6, address->addr, addr, sizeof(addr));
        return text + sprintf(text, "[%s]:%u", addr, address->port);
    }
}


static char *
test_hex(char *text, const u_char *p, size_t len)
{
    while (len--) {
        *text++ = "0123456789abcdef"[*p >> 4];
        *text++ = "0123456789abcdef"[*p++ & 0xf];
    }

    *text = '\0';

    return text;
}


/*
 * 1 if the header just read is one that a server sends, and we would create
 * another one
 */

static ngx_uint_t
test_create(ngx_vmess_mux_t *m)
{
    u_char            buf[NGX_VMESS_MUX_HEADER_MAX], *p;
    size_t            size;
    ngx_sockaddr_t    sockaddr;
    struct sockaddr  *sa;

    size = NGX_VMESS_MUX_HEADER_LEN;
    sa = NULL;

    if (m->has_address) {

        if (m->address.type == NGX_VMESS_ADDR_DOMAIN) {
            return 0;
        }

        (void) ngx_vmess_address_sockaddr(&m->address, &sockaddr);
        sa = &sockaddr.sockaddr;
        size += 4 + (m->address.type == NGX_VMESS_ADDR_IPV4 ? 4 : 16);
    }

    if (m->status == NGX_VMESS_MUX_NEW || m->bad_address || m->size != size) {
        return 0;
    }

    test_created++;

    p = ngx_vmess_mux_header(buf + sizeof(buf), m->id, m->status, m->opt, sa,
                             m->length);

    size += (m->opt & NGX_VMESS_MUX_DATA) ? NGX_VMESS_MUX_LENGTH_LEN : 0;

    return (size_t) (buf + sizeof(buf) - p) != size
           || ngx_memcmp(p, m->data, size) != 0;
}
