
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_grpc.h"
#include "ngx_vmess_hash.h"


#define TEST_MAX  (64 * 1024)


/* messages, and what they carry or what is said about them */

typedef struct {
    const char  *name;
    const char  *wire;
    size_t       len;
    const char  *data;
} test_message_t;


static void test_frame(void);
static void test_glued(void);
static void test_header(void);
static void test_long(void);
static void test_good(const test_message_t *m);
static void test_bad(const test_message_t *m);
static size_t test_sizes(const char *sizes, u_char *data);
static ngx_uint_t test_split(const u_char *wire, size_t len,
    const u_char *data, size_t size);
static ngx_int_t test_read(const u_char *wire, size_t len, size_t first,
    size_t step, u_char *out, size_t *n, const char **err);


/* what the vectors do not have */

#define test_bytes(s)  s, sizeof(s) - 1

static const test_message_t  test_goods[] = {
    { "empty messages", test_bytes("\0\0\0\0\0" "\0\0\0\0\0"), "" },
    { "empty field", test_bytes("\0\0\0\0\2\x0a\0"), "" },
    { "length in 10 bytes",
      test_bytes("\0\0\0\0\x0d\x0a\x82\x80\x80\x80\x80\x80\x80\x80\x80\0hi"),
      "hi" },
    { "tag in 3 bytes", test_bytes("\0\0\0\0\6\x8a\x80\0\2hi"), "hi" },
    { "number field before", test_bytes("\0\0\0\0\7\x10\x96\1\x0a\2hi"), "hi" },
    { "number field behind", test_bytes("\0\0\0\0\6\x0a\2hi\x10\1"), "hi" },
    { "largest number",
      test_bytes("\0\0\0\0\x0f\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"
                 "\x0a\2hi"), "hi" },
    { "fixed fields",
      test_bytes("\0\0\0\0\x12\x11" "12345678" "\x0a\2hi" "\x1d" "1234"),
      "hi" },
    { "fixed field at the end", test_bytes("\0\0\0\0\5\x15" "1234"), "" },
    { "unknown bytes between",
      test_bytes("\0\0\0\0\x0b\x0a\1h\x12\3\x0a\1x\x0a\1i"), "hi" },
    { "unknown empty bytes", test_bytes("\0\0\0\0\2\x12\0"), "" },
    { "field 1 as a number", test_bytes("\0\0\0\0\5\x08\7\x0a\1x"), "x" },
    { "field 1 as fixed", test_bytes("\0\0\0\0\5\x0d" "1234"), "" },
    { "largest field number",
      test_bytes("\0\0\0\0\x0a\xfa\xff\xff\xff\x0f\1x\x0a\1y"), "y" },
    { "message in each form",
      test_bytes("\0\0\0\0\3\x0a\1a" "\0\0\0\0\0" "\0\0\0\0\6\x0a\1b\x0a\1c"
                 "\0\0\0\0\2\x10\1" "\0\0\0\0\3\x0a\1d"), "abcd" }
};

static const test_message_t  test_bads[] = {
    { "compressed", test_bytes("\1"), "message is compressed" },
    { "flag 2", test_bytes("\2"), "invalid message flag" },
    { "flag 128", test_bytes("\x80"), "invalid message flag" },
    { "second is compressed", test_bytes("\0\0\0\0\3\x0a\1a\1"),
      "message is compressed" },
    { "4 MiB and a byte", test_bytes("\0\0\x40\0\1"), "message is too long" },
    { "4 GiB", test_bytes("\0\xff\xff\xff\xff"), "message is too long" },
    { "field 0", test_bytes("\0\0\0\0\2\2"), "invalid field number" },
    { "too large field number",
      test_bytes("\0\0\0\0\7\x82\x80\x80\x80\x10"), "invalid field number" },
    { "start of a group", test_bytes("\0\0\0\0\2\x0b"), "invalid field type" },
    { "end of a group", test_bytes("\0\0\0\0\2\x0c"), "invalid field type" },
    { "type 6", test_bytes("\0\0\0\0\2\x0e"), "invalid field type" },
    { "type 7", test_bytes("\0\0\0\0\2\x0f"), "invalid field type" },
    { "tag of 11 bytes",
      test_bytes("\0\0\0\0\x20\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x80"),
      "number is too long" },
    { "length of 65 bits",
      test_bytes("\0\0\0\0\x20\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\2"),
      "number is too long" },
    { "number of 11 bytes",
      test_bytes("\0\0\0\0\x20\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"),
      "number is too long" },
    { "tag is cut", test_bytes("\0\0\0\0\1\x8a"),
      "field is longer than its message" },
    { "no length", test_bytes("\0\0\0\0\1\x0a"),
      "field is longer than its message" },
    { "length is cut", test_bytes("\0\0\0\0\2\x0a\x80"),
      "field is longer than its message" },
    { "no number", test_bytes("\0\0\0\0\1\x10"),
      "field is longer than its message" },
    { "number is cut", test_bytes("\0\0\0\0\2\x10\x80"),
      "field is longer than its message" },
    { "field is cut", test_bytes("\0\0\0\0\3\x0a\2"),
      "field is longer than its message" },
    { "second field is cut", test_bytes("\0\0\0\0\5\x0a\1a\x0a\1"),
      "field is longer than its message" },
    { "unknown field is cut", test_bytes("\0\0\0\0\3\x12\2"),
      "field is longer than its message" },
    { "length of 64 bits",
      test_bytes("\0\0\0\0\x20\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
      "field is longer than its message" },
    { "length of 32 bits",
      test_bytes("\0\0\0\0\x20\x0a\xff\xff\xff\xff\x0f"),
      "field is longer than its message" },
    { "fixed64 is cut", test_bytes("\0\0\0\0\x8\x11"),
      "field is longer than its message" },
    { "fixed32 is cut", test_bytes("\0\0\0\0\4\x15"),
      "field is longer than its message" }
};


/* messages of the vectors, one behind another */

static u_char  test_wire[TEST_MAX];
static u_char  test_data[TEST_MAX];
static size_t  test_wire_len;
static size_t  test_data_len;


int
main(void)
{
    ngx_uint_t  i;

    while (test_next()) {
        test_frame();
    }

    test_glued();

    for (i = 0; i < sizeof(test_goods) / sizeof(test_goods[0]); i++) {
        test_good(&test_goods[i]);
    }

    for (i = 0; i < sizeof(test_bads) / sizeof(test_bads[0]); i++) {
        test_bad(&test_bads[i]);
    }

    test_header();
    test_long();

    return test_done();
}


/*
 * A message as others create it, whole and split at every byte; ours is the
 * same if there is one field with data.
 */

static void
test_frame(void)
{
    u_char     *data, *wire, *p, hash[32];
    size_t      size, len;
    ngx_str_t   head;

    data = test_data + test_data_len;
    wire = test_wire + test_wire_len;

    size = test_sizes(test_str("sizes"), data);
    len = test_num("len");

    if (test_num("fields") == 1 && size) {

        p = wire + len - size;
        ngx_memcpy(p, data, size);

        test_ok(ngx_vmess_grpc_header(p, size) == wire, "%s: size of header",
                test_str("name"));

        if (test_has("frame")) {
            test_ok(test_equal(test_bin("frame"), wire, len), "%s: created",
                    test_str("name"));

        } else {
            head = test_bin("head");
            ngx_vmess_hash_sha256(hash, wire, len);

            test_ok(test_equal(head, wire, head.len)
                    && test_equal(test_bin("sha256"), hash, 32),
                    "%s: created", test_str("name"));
        }
    }

    if (test_has("frame")) {
        ngx_memcpy(wire, test_bin("frame").data, len);
    }

    test_ok(test_split(wire, len, data, size) == 0, "%s: read",
            test_str("name"));

    test_wire_len += len;
    test_data_len += size;
}


static void
test_glued(void)
{
    u_char       *out;
    size_t        n, step;
    ngx_int_t     rc;
    ngx_uint_t    bad;
    const char   *err;

    out = malloc(TEST_MAX);
    bad = 0;

    for (step = 1; step < 1000; step++) {
        rc = test_read(test_wire, test_wire_len, step, step, out, &n, &err);

        if (rc != NGX_AGAIN || n != test_data_len
            || ngx_memcmp(out, test_data, n) != 0)
        {
            bad++;
        }
    }

    test_ok(bad == 0, "all messages in pieces of 1 to 999 bytes");
    test_ok(test_split(test_wire, test_wire_len, test_data, test_data_len)
            == 0, "all messages split at every byte");

    free(out);
}


static void
test_good(const test_message_t *m)
{
    test_ok(test_split((u_char *) m->wire, m->len, (u_char *) m->data,
                       ngx_strlen(m->data)) == 0,
            "%s", m->name);
}


/* the last byte is the wrong one, so that nothing is wrong before it */

static void
test_bad(const test_message_t *m)
{
    size_t        n, i;
    u_char        out[64];
    ngx_uint_t    bad;
    const char   *err;

    bad = 0;

    for (i = 1; i <= m->len; i++) {
        if (test_read((u_char *) m->wire, m->len, i, i, out, &n, &err)
            != NGX_ERROR
            || err == NULL || ngx_strcmp(err, m->data) != 0)
        {
            bad++;
        }
    }

    if (test_read((u_char *) m->wire, m->len - 1, m->len, 1, out, &n, &err)
        != NGX_AGAIN)
    {
        bad++;
    }

    test_ok(bad == 0, "%s", m->name);
}


static void
test_header(void)
{
    u_char      buf[32], *p;
    size_t      n;
    ngx_uint_t  i;

    static const struct {
        size_t       size;
        const char  *head;
        size_t       n;
    } cases[] = {
        { 1, test_bytes("\0\0\0\0\3\x0a\1") },
        { 127, test_bytes("\0\0\0\0\x81\x0a\x7f") },
        { 128, test_bytes("\0\0\0\0\x83\x0a\x80\1") },
        { 16383, test_bytes("\0\0\0\x40\2\x0a\xff\x7f") },
        { 16384, test_bytes("\0\0\0\x40\4\x0a\x80\x80\1") },
        { 2097151, test_bytes("\0\0\x20\0\3\x0a\xff\xff\x7f") },
        { 2097152, test_bytes("\0\0\x20\0\5\x0a\x80\x80\x80\1") },
        { NGX_VMESS_GRPC_DATA_MAX,
          test_bytes("\0\0\x3f\xff\xff\x0a\xfa\xff\xff\1") },
        { 0xfffffff0, test_bytes("\0\xff\xff\xff\xf6\x0a\xf0\xff\xff\xff\x0f") }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        ngx_memset(buf, 0xaa, sizeof(buf));

        p = ngx_vmess_grpc_header(buf + 20, cases[i].size);
        n = buf + 20 - p;

        test_ok(n == cases[i].n && n <= NGX_VMESS_GRPC_HEADER_MAX
                && ngx_memcmp(p, cases[i].head, n) == 0
                && p[-1] == 0xaa && buf[20] == 0xaa,
                "header of %u bytes", (unsigned) cases[i].size);
    }
}


/* a message of the largest size, in our form and with another field in front */

static void
test_long(void)
{
    u_char            *wire, *data, *out;
    size_t             len, n;
    ngx_int_t          rc;
    const char        *err;

    static const u_char  head[] = "\0\0\x40\0\0\x10\1\x0a\xf9\xff\xff\1";

    wire = malloc(NGX_VMESS_GRPC_HEADER_MAX + NGX_VMESS_GRPC_MESSAGE_MAX);
    out = malloc(NGX_VMESS_GRPC_HEADER_MAX + NGX_VMESS_GRPC_MESSAGE_MAX);

    data = wire + NGX_VMESS_GRPC_HEADER_MAX;
    test_fill(data, NGX_VMESS_GRPC_DATA_MAX);

    len = data - ngx_vmess_grpc_header(data, NGX_VMESS_GRPC_DATA_MAX);

    rc = test_read(data - len, len + NGX_VMESS_GRPC_DATA_MAX, 1, 16384, out,
                   &n, &err);

    test_ok(rc == NGX_AGAIN && n == NGX_VMESS_GRPC_DATA_MAX
            && ngx_memcmp(out, data, n) == 0, "longest message created");

    /* 7 bytes of the message are in front of the data */

    ngx_memcpy(wire, head, sizeof(head) - 1);
    data = wire + sizeof(head) - 1;
    len = NGX_VMESS_GRPC_MESSAGE_MAX - 7;
    test_fill(data, len);

    rc = test_read(wire, sizeof(head) - 1 + len, 16384, 16384, out, &n, &err);

    test_ok(rc == NGX_AGAIN && n == len && ngx_memcmp(out, data, n) == 0,
            "longest message read");

    free(wire);
    free(out);
}


/* data of fields: "3,5" */

static size_t
test_sizes(const char *sizes, u_char *data)
{
    char   *end;
    size_t  i, n, size;

    for (n = 0; *sizes; /* void */ ) {
        size = strtoul(sizes, &end, 10);
        sizes = (*end == ',') ? end + 1 : end;

        for (i = 0; i < size; i++) {
            data[n++] = (u_char) (7 * i + 3);
        }
    }

    return n;
}


/* reads a wire whole, in two parts of any size, and byte by byte */

static ngx_uint_t
test_split(const u_char *wire, size_t len, const u_char *data, size_t size)
{
    size_t        n, i;
    u_char       *out;
    ngx_int_t     rc;
    ngx_uint_t    bad;
    const char   *err;

    out = malloc(len + 1);
    bad = 0;

    for (i = 0; i <= len; i++) {
        rc = test_read(wire, len, i ? i : 1, i ? len : 1, out, &n, &err);

        if (rc != NGX_AGAIN || n != size || err
            || ngx_memcmp(out, data, size) != 0)
        {
            bad++;
        }
    }

    free(out);

    return bad;
}


/*
 * Reads copies of first, then step bytes each, the data in place.  After whole
 * messages the state is that of the start.
 */

static ngx_int_t
test_read(const u_char *wire, size_t len, size_t first, size_t step,
    u_char *out, size_t *n, const char **err)
{
    size_t             size;
    u_char            *p, *last;
    ngx_int_t          rc;
    ngx_buf_t          b;
    ngx_vmess_grpc_t   g;

    ngx_memzero(&g, sizeof(ngx_vmess_grpc_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    *n = 0;
    rc = NGX_AGAIN;

    for (size = first; len && rc == NGX_AGAIN; size = step) {
        size = ngx_min(size, len);

        p = test_copy(wire, size);
        wire += size;
        len -= size;

        b.pos = p;
        b.last = p + size;
        last = p;

        rc = ngx_vmess_grpc_read(&g, &b, &last);

        if (last > b.pos || (rc == NGX_AGAIN && b.pos != b.last)) {
            rc = NGX_DONE;
        }

        ngx_memcpy(out + *n, p, last - p);
        *n += last - p;

        free(p);
    }

    *err = (rc == NGX_AGAIN && g.state) ? "message is cut" : g.err;

    return rc;
}
