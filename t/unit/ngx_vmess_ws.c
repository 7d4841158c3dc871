
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_ws.h"


#define TEST_MAX  (70 * 1024)


static void test_value(void);
static void test_accept(void);
static void test_header(void);
static void test_frames(void);
static void test_control(void);
static void test_split(void);
static void test_errors(void);
static size_t test_frame(u_char *p, ngx_uint_t first, const u_char *data,
    size_t len, ngx_uint_t form);
static ngx_int_t test_read(const u_char *wire, size_t len, size_t step,
    u_char *out, size_t *n, ngx_uint_t *controls);


/* wrong frames, and what is said about them */

static const struct {
    const char  *name;
    const char  *wire;
    size_t       len;
    const char  *err;
} test_wrong[] = {
    { "not masked", "\x82\x01x", 3, "frame is not masked" },
    { "RSV1", "\xc2\x81", 2, "reserved bits are set" },
    { "RSV2", "\xa2\x81", 2, "reserved bits are set" },
    { "RSV3", "\x92\x81", 2, "reserved bits are set" },
    { "opcode 3", "\x83\x81", 2, "unknown opcode" },
    { "opcode 7", "\x87\x81", 2, "unknown opcode" },
    { "opcode 11", "\x8b\x81", 2, "unknown opcode" },
    { "opcode 15", "\x8f\x81", 2, "unknown opcode" },
    { "long ping", "\x89\xfe\x00\x7e", 4,
      "control frame is fragmented or too long" },
    { "huge close", "\x88\xff", 2,
      "control frame is fragmented or too long" },
    { "fragmented ping", "\x09\x81", 2,
      "control frame is fragmented or too long" },
    { "continuation of nothing", "\x80\x81", 2, "continuation of no message" },
    { "continuation after the end", "\x82\x80mask\x80\x80", 8,
      "continuation of no message" },
    { "text inside", "\x02\x80mask\x81\x80", 8,
      "new message inside of another" },
    { "length of 64 bits", "\x82\xff\x80\0\0\0\0\0\0\0", 10, "invalid length" }
};


int
main(void)
{
    while (test_next()) {
        test_value();
    }

    test_accept();
    test_header();
    test_frames();
    test_control();
    test_split();
    test_errors();

    return test_done();
}


/* early data: what a header has, and what is in it, nothing if none */

static void
test_value(void)
{
    u_char     *out;
    ngx_int_t   rc;
    ngx_str_t   value, want, dst, src;

    value = test_bin("value");
    want = test_has("data") ? test_bin("data") : (ngx_str_t) ngx_null_string;

    src.data = test_copy(value.data, value.len);
    src.len = value.len;

    out = malloc(ngx_base64_decoded_length(value.len) + 1);
    dst.data = out;
    dst.len = 0;

    rc = ngx_vmess_ws_early_data(&dst, &src);

    if (want.len == 0) {
        test_ok(rc == NGX_DECLINED, "early data %s: none", test_str("name"));

    } else {
        test_ok(rc == NGX_OK && test_equal(dst, want.data, want.len),
                "early data %s: %d bytes", test_str("name"), (int) want.len);
    }

    free(out);
    free(src.data);
}


static void
test_accept(void)
{
    u_char     out[NGX_VMESS_WS_ACCEPT_LEN];
    ngx_str_t  key = ngx_string("dGhlIHNhbXBsZSBub25jZQ==");

    ngx_vmess_ws_accept(out, &key);

    test_ok(ngx_memcmp(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof(out)) == 0,
            "accept of RFC 6455, 1.3");
}


static void
test_header(void)
{
    u_char      buf[32], *p;
    size_t      n;
    ngx_uint_t  i;

    static const struct {
        size_t       len;
        const char  *head;
        size_t       n;
    } cases[] = {
        { 0, "\x82\x00", 2 },
        { 1, "\x82\x01", 2 },
        { 125, "\x82\x7d", 2 },
        { 126, "\x82\x7e\x00\x7e", 4 },
        { 65535, "\x82\x7e\xff\xff", 4 },
        { 65536, "\x82\x7f\0\0\0\0\0\x01\0\0", 10 },
        { 0x123456, "\x82\x7f\0\0\0\0\0\x12\x34\x56", 10 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        ngx_memset(buf, 0xaa, sizeof(buf));

        p = ngx_vmess_ws_header(buf + 20, NGX_VMESS_WS_BINARY, cases[i].len);
        n = buf + 20 - p;

        test_ok(n == cases[i].n && ngx_memcmp(p, cases[i].head, n) == 0
                && p[-1] == 0xaa && buf[20] == 0xaa,
                "header of %d bytes", (int) cases[i].len);
    }
}


static void
test_frames(void)
{
    u_char      *data, *wire, *out;
    size_t       n, len, size, step;
    ngx_int_t    rc;
    ngx_uint_t   i, form;

    static const size_t  lens[] = { 0, 1, 2, 3, 7, 8, 9, 31, 124, 125, 126,
                                    127, 128, 1000, 65535, 65536, 66000 };
    static const size_t  steps[] = { TEST_MAX, 1, 2, 3, 7, 13, 4096 };

    data = malloc(TEST_MAX);
    wire = malloc(2 * TEST_MAX);
    out = malloc(2 * TEST_MAX);

    test_fill(data, TEST_MAX);

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (form = 0; form < 3; form++) {

            len = lens[i];

            if ((form == 0 && len > 125) || (form == 1 && len > 65535)) {
                continue;
            }

            size = test_frame(wire, 0x82, data, len, form);

            for (step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
                rc = test_read(wire, size, steps[step], out, &n, NULL);

                if (rc != NGX_AGAIN || n != len
                    || ngx_memcmp(out, data, len) != 0)
                {
                    break;
                }
            }

            test_ok(step == sizeof(steps) / sizeof(steps[0]),
                    "frame of %d bytes, form %d", (int) len, (int) form);
        }
    }

    free(data);
    free(wire);
    free(out);
}


static void
test_control(void)
{
    u_char           wire[64];
    size_t           n;
    ngx_buf_t        b;
    u_char          *out;
    ngx_vmess_ws_t   ws;

    ngx_memzero(&ws, sizeof(ngx_vmess_ws_t));

    n = test_frame(wire, 0x89, (u_char *) "hello", 5, 0);
    n += test_frame(wire + n, 0x88, (u_char *) "\x03\xe8", 2, 0);

    ngx_memzero(&b, sizeof(ngx_buf_t));
    b.pos = wire;
    b.last = wire + n;
    out = wire;

    test_ok(ngx_vmess_ws_read(&ws, &b, &out) == NGX_DONE
            && ws.opcode == NGX_VMESS_WS_PING && ws.control_len == 5
            && ngx_memcmp(ws.control, "hello", 5) == 0 && out == wire,
            "ping");

    test_ok(ngx_vmess_ws_read(&ws, &b, &out) == NGX_DONE
            && ws.opcode == NGX_VMESS_WS_CLOSE && ws.control_len == 2
            && ngx_memcmp(ws.control, "\x03\xe8", 2) == 0
            && b.pos == b.last,
            "close");
}


/* a message in fragments, control frames between them, in pieces of any size */

static void
test_split(void)
{
    u_char      data[600], wire[1200], out[1200];
    size_t      len, n, step, cut;
    ngx_uint_t  controls, bad;

    test_fill(data, sizeof(data));

    len = test_frame(wire, 0x01, data, 100, 0);
    len += test_frame(wire + len, 0x89, (u_char *) "ping", 4, 0);
    len += test_frame(wire + len, 0x00, data + 100, 0, 1);
    len += test_frame(wire + len, 0x8a, data, 125, 0);
    len += test_frame(wire + len, 0x80, data + 100, 200, 1);
    len += test_frame(wire + len, 0x82, data + 300, 300, 2);

    bad = 0;

    for (step = 1; step <= len; step++) {
        controls = 0;

        if (test_read(wire, len, step, out, &n, &controls) != NGX_AGAIN
            || n != 600 || controls != 2
            || ngx_memcmp(out, data, 600) != 0)
        {
            bad++;
        }
    }

    test_ok(bad == 0, "fragments and control frames in pieces");

    bad = 0;

    for (cut = 0; cut <= len; cut++) {
        if (test_read(wire, cut, TEST_MAX, out, &n, NULL) != NGX_AGAIN
            || n > cut || ngx_memcmp(out, data, n) != 0)
        {
            bad++;
        }
    }

    test_ok(bad == 0, "all beginnings");
}


static void
test_errors(void)
{
    size_t           n;
    u_char          *p, *out;
    ngx_int_t        rc;
    ngx_buf_t        b;
    ngx_uint_t       i, k;
    ngx_vmess_ws_t   ws;

    for (i = 0; i < sizeof(test_wrong) / sizeof(test_wrong[0]); i++) {

        for (k = 0; k < 2; k++) {
            ngx_memzero(&ws, sizeof(ngx_vmess_ws_t));
            ngx_memzero(&b, sizeof(ngx_buf_t));

            rc = NGX_AGAIN;

            /* whole, then byte by byte */

            for (n = 0; n < test_wrong[i].len && rc != NGX_ERROR; /* void */) {
                size_t  len = k ? 1 : test_wrong[i].len;

                p = test_copy(test_wrong[i].wire + n, len);

                b.pos = p;
                b.last = p + len;
                out = p;

                rc = ngx_vmess_ws_read(&ws, &b, &out);

                n += len;
                free(p);
            }

            test_ok(rc == NGX_ERROR && ws.err
                    && ngx_strcmp(ws.err, test_wrong[i].err) == 0,
                    "%s%s", test_wrong[i].name, k ? ", bytes" : "");
        }
    }
}


/* form: 0, 1 or 2 for a length of 7, 16 or 64 bits; returns the size */

static size_t
test_frame(u_char *p, ngx_uint_t first, const u_char *data, size_t len,
    ngx_uint_t form)
{
    size_t      i;
    u_char     *start, *mask;
    ngx_int_t   shift;

    start = p;

    *p++ = (u_char) first;
    *p++ = (u_char) (0x80 | (form == 0 ? len : form == 1 ? 126 : 127));

    for (shift = form == 0 ? -8 : form == 1 ? 8 : 56; shift >= 0; shift -= 8) {
        *p++ = (u_char) ((uint64_t) len >> shift);
    }

    mask = p;
    test_fill(mask, 4);
    p += 4;

    for (i = 0; i < len; i++) {
        *p++ = data[i] ^ mask[i % 4];
    }

    return p - start;
}


/* reads copies of step bytes each, the payload in place */

static ngx_int_t
test_read(const u_char *wire, size_t len, size_t step, u_char *out, size_t *n,
    ngx_uint_t *controls)
{
    size_t           size;
    u_char          *p, *last;
    ngx_int_t        rc;
    ngx_buf_t        b;
    ngx_vmess_ws_t   ws;

    ngx_memzero(&ws, sizeof(ngx_vmess_ws_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    *n = 0;
    rc = NGX_AGAIN;

    while (len) {
        size = ngx_min(step, len);

        p = test_copy(wire, size);
        wire += size;
        len -= size;

        b.pos = p;
        b.last = p + size;
        last = p;

        do {
            rc = ngx_vmess_ws_read(&ws, &b, &last);

            if (rc == NGX_DONE && controls) {
                (*controls)++;
            }

        } while (rc == NGX_DONE);

        ngx_memcpy(out + *n, p, last - p);
        *n += last - p;

        free(p);

        if (rc == NGX_ERROR || b.pos != b.last) {
            return NGX_ERROR;
        }
    }

    return rc;
}
