
/*
 * Copyright (C) ngx_vmess authors
 *
 * Files of "state": what is written is read, and damage of each kind is told
 * apart.
 */

#include "test.h"
#include "ngx_vmess_journal.h"
#include "ngx_vmess_period.h"


#define TEST_HEADER   (NGX_VMESS_JOURNAL_HEADER_LEN + sizeof("users") - 1)

#define TEST_END      7    /* of a group */

#define TEST_GROUPS   3


/* what came out of a file */

typedef struct {
    ngx_int_t    rc;           /* of the call that ended it */
    off_t        offset;
    const char  *err;
    ngx_uint_t   groups;
    ngx_uint_t   records;
    uint64_t     up;           /* of all counters */
} test_result_t;


static void test_crc(void);
static void test_records(void);
static void test_torn(void);
static void test_flipped(void);
static void test_holes(void);
static void test_parts(void);
static void test_headers(void);
static void test_later(void);
static void test_snapshot(void);
static size_t test_file(u_char *p, ngx_uint_t kind);
static void test_write(u_char *p, uint64_t n, size_t len);
static u_char *test_seal(u_char *p, const char *body, size_t len);
static void test_read(test_result_t *r, u_char *p, size_t len,
    const char *zone);


static size_t  test_ends[TEST_GROUPS + 1];


int
main(void)
{
    test_crc();
    test_records();
    test_torn();
    test_flipped();
    test_holes();
    test_parts();
    test_headers();
    test_later();
    test_snapshot();

    return test_done();
}


/* RFC 3720, B.4.  CRC Examples */

static void
test_crc(void)
{
    u_char      buf[32];
    uint32_t    crc;
    ngx_uint_t  i;

    test_ok(ngx_vmess_journal_crc(0, (u_char *) "123456789", 9) == 0xe3069283,
            "CRC of digits");

    ngx_memzero(buf, 32);
    test_ok(ngx_vmess_journal_crc(0, buf, 32) == 0x8a9136aa, "CRC of zeros");

    for (i = 0; i < 32; i++) {
        buf[i] = i;
    }

    crc = ngx_vmess_journal_crc(0, buf, 11);
    crc = ngx_vmess_journal_crc(crc, buf + 11, 21);

    test_ok(crc == 0x46dd794e, "CRC in two parts");
}


/* records with all fields, of any length */

static void
test_records(void)
{
    u_char                       buf[2 * NGX_VMESS_JOURNAL_RECORD_MAX + 64];
    u_char                       text[64], *p, *data;
    uint64_t                    *n;
    ngx_int_t                    rc;
    ngx_str_t                    zone = ngx_string("users");
    ngx_uint_t                   i, bits, ok;
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_header_t   header;
    ngx_vmess_journal_record_t   record, end, out;

    header.kind = NGX_VMESS_JOURNAL_CHANGES;
    header.number = 0x0102030405060708;
    header.time = 1767225600;
    header.zone = zone;

    test_fill(text, sizeof(text));

    ngx_memzero(&end, sizeof(end));
    end.kind = NGX_VMESS_JOURNAL_END;

    ok = 1;

    for (bits = 1; bits <= 64; bits++) {

        ngx_memzero(&record, sizeof(record));

        record.kind = NGX_VMESS_JOURNAL_USER;
        record.name.data = text;
        record.name.len = bits;
        record.id.data = text;
        record.id.len = 16;
        record.also.data = text + 16;
        record.also.len = 16;
        record.class.data = text;
        record.class.len = 64;
        record.token.data = text;
        record.token.len = bits;
        record.secret.data = text;
        record.secret.len = 16;

        for (n = &record.until; n <= &record.seen; n++) {
            *n = ((uint64_t) 1 << (bits - 1)) | (n - &record.until);
        }

        record.quota_reset = (uint64_t) NGX_VMESS_PERIOD_DAYS << 32 | bits;
        record.time = 1;
        record.count = 2;

        p = ngx_vmess_journal_create_header(buf, &header);
        p = ngx_vmess_journal_create_record(p, &record);
        ok &= (p - buf < NGX_VMESS_JOURNAL_RECORD_MAX);
        p = ngx_vmess_journal_create_record(p, &end);

        data = test_copy(buf, p - buf);

        rc = ngx_vmess_journal_open(&j, data, p - buf, &zone);

        ok &= (rc == NGX_OK && j.header.kind == NGX_VMESS_JOURNAL_CHANGES
               && j.header.number == header.number
               && j.header.time == header.time
               && test_equal(j.header.zone, "users", 5));

        ok &= (ngx_vmess_journal_group(&j) == NGX_OK);
        ok &= (ngx_vmess_journal_next(&j, &out) == NGX_OK);

        ok &= (out.kind == record.kind
               && test_equal(out.name, text, bits)
               && test_equal(out.id, text, 16)
               && test_equal(out.also, text + 16, 16)
               && test_equal(out.class, text, 64)
               && test_equal(out.token, text, bits)
               && test_equal(out.secret, text, 16)
               && out.time == 1 && out.count == 2);

        for (i = 0; &record.until + i <= &record.seen; i++) {
            ok &= ((&out.until)[i] == (&record.until)[i]);
        }

        ok &= (ngx_vmess_journal_next(&j, &out) == NGX_DONE);
        ok &= (ngx_vmess_journal_group(&j) == NGX_DONE);

        free(data);
    }

    test_ok(ok, "records with all fields are read as written");

    /* what is 0 takes no room */

    ngx_memzero(&record, sizeof(record));
    record.kind = NGX_VMESS_JOURNAL_REMOVED;
    ngx_str_set(&record.name, "ann");

    test_ok(ngx_vmess_journal_create_record(buf, &record) - buf
            == 6 + 1 + 2 + 3, "fields that are 0 are left out");
}


/* a file that ends anywhere: whole groups before the end are read */

static void
test_torn(void)
{
    u_char         buf[1024], *data;
    size_t         len, n;
    ngx_uint_t     whole, ok, zeros;
    test_result_t  r;

    len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);

    ok = 1;
    zeros = 1;

    for (n = 0; n <= len; n++) {

        data = test_copy(buf, n);
        test_read(&r, data, n, "users");
        free(data);

        if (n < TEST_HEADER) {
            ok &= (r.rc == NGX_ERROR && r.groups == 0);
            continue;
        }

        for (whole = TEST_GROUPS; test_ends[whole] > n; whole--) { /* void */ }

        ok &= (r.groups == whole && r.err == NULL
               && r.rc == (test_ends[whole] == n ? NGX_DONE : NGX_AGAIN)
               && (r.rc == NGX_DONE
                   || r.offset == (off_t) test_ends[whole]));

        /* a file system may leave zeros behind */

        data = test_copy(buf, len);
        ngx_memzero(data + n, len - n);
        test_read(&r, data, len, "users");
        free(data);

        zeros &= (r.groups >= whole && r.err == NULL);
    }

    test_ok(ok, "torn files are read to the last whole group");
    test_ok(zeros, "files with zeros at the end are");
}


/* none of the bits may be another one and nobody sees it */

static void
test_flipped(void)
{
    u_char         buf[1024], *data;
    size_t         len, n;
    ngx_uint_t     bit, whole, header, middle, end;
    test_result_t  r, good;

    len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);
    test_read(&good, buf, len, "users");

    test_ok(good.rc == NGX_DONE && good.groups == TEST_GROUPS
            && good.up == 1 + 2 + 3, "the file is good");

    header = 1;
    middle = 1;
    end = 1;

    for (n = 0; n < len; n++) {
        for (bit = 0; bit < 8; bit++) {

            data = test_copy(buf, len);
            data[n] ^= 1 << bit;
            test_read(&r, data, len, "users");
            free(data);

            if (n < TEST_HEADER) {
                header &= (r.rc == NGX_ERROR && r.err && r.groups == 0);
                continue;
            }

            if (n < test_ends[TEST_GROUPS - 1] - TEST_END) {
                middle &= (r.rc == NGX_ERROR && r.err
                           && (size_t) r.offset <= n
                           && n - r.offset < 64
                           && r.groups < TEST_GROUPS);
                continue;
            }

            /* what nothing was written after may not have been on the disk */

            whole = TEST_GROUPS - 1 - (n < test_ends[TEST_GROUPS - 1]);

            end &= (r.groups == whole && r.rc == NGX_AGAIN && r.err == NULL
                    && r.offset == (off_t) test_ends[whole]);
        }
    }

    test_ok(header, "flipped bits in the header are found");
    test_ok(middle, "flipped bits before good records are found, and where");
    test_ok(end, "flipped bits in the last group are not read");
}


/* of the last part, pages may be on the disk in any order */

static void
test_holes(void)
{
    u_char         buf[1024], *data;
    size_t         len, start, from, to;
    ngx_uint_t     last, before;
    test_result_t  r;

    len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);
    start = test_ends[TEST_GROUPS - 1];

    last = 1;
    before = 1;

    for (from = start; from < len; from++) {
        for (to = from + 1; to <= len; to++) {

            data = test_copy(buf, len);
            memset(data + from, 0xa5, to - from);
            test_read(&r, data, len, "users");

            last &= (r.rc == NGX_AGAIN && r.groups == TEST_GROUPS - 1
                     && r.offset == (off_t) start);

            /* a byte that follows was written when that was on the disk */

            memset(data + start - TEST_END - 1, 0xa5, 1);
            test_read(&r, data, len, "users");
            free(data);

            before &= (r.rc == NGX_ERROR && r.groups == TEST_GROUPS - 2);
        }
    }

    test_ok(last, "a last part with a hole anywhere is left out");
    test_ok(before, "a hole before it is damage");
}


/* parts of a group */

static void
test_parts(void)
{
    u_char                      *buf, *p;
    size_t                       len, second;
    test_result_t                r;
    ngx_vmess_journal_record_t   record;

    buf = malloc(3 * NGX_VMESS_JOURNAL_PART_MAX);
    if (buf == NULL) {
        test_ok(0, "malloc() failed");
        return;
    }

    len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);

    ngx_memzero(&record, sizeof(record));

    record.kind = NGX_VMESS_JOURNAL_COUNTERS;
    ngx_str_set(&record.name, "ann");

    for (p = buf + len; p < buf + 2 * NGX_VMESS_JOURNAL_PART_MAX; /* void */) {
        record.up++;
        p = ngx_vmess_journal_create_record(p, &record);
    }

    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_AGAIN && r.groups == TEST_GROUPS
            && r.offset == (off_t) len, "a group without an end");

    second = p - buf - NGX_VMESS_JOURNAL_PART_MAX;

    buf[second] ^= 1;
    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_AGAIN && r.offset == (off_t) len,
            "damage of its last part");
    buf[second] ^= 1;

    buf[len] ^= 1;
    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_ERROR && r.offset == (off_t) len,
            "damage of a part before it");

    free(buf);
}


static void
test_headers(void)
{
    u_char         buf[1024], copy[1024];
    size_t         len;
    test_result_t  r;

    len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);

    test_read(&r, buf, 0, "users");
    test_ok(r.err && ngx_strcmp(r.err, "is empty") == 0, "empty file");

    test_read(&r, buf, len, "other");
    test_ok(r.err && ngx_strcmp(r.err, "is of another zone") == 0,
            "file of another zone");

    test_read(&r, buf, len, "users2");
    test_ok(r.err && ngx_strcmp(r.err, "is of another zone") == 0,
            "file of a zone with a shorter name");

    ngx_memcpy(copy, buf, len);
    ngx_memcpy(copy, "#!/bin/sh\n", 10);
    test_read(&r, copy, len, "users");
    test_ok(r.err && ngx_strcmp(r.err, "is not one of \"state\"") == 0,
            "file of something else");

    /* a header of a later version, of which the CRC is good */

    ngx_memcpy(copy, buf, len);
    copy[9]++;
    test_write(copy + 12,
               ngx_vmess_journal_crc(ngx_vmess_journal_crc(0, copy, 12),
                                     copy + 16, TEST_HEADER - 16), 4);
    test_read(&r, copy, len, "users");
    test_ok(r.err && ngx_strcmp(r.err, "is of a newer version") == 0,
            "file of a newer version");
}


/* kinds and fields that are not known, and what nobody writes */

static void
test_later(void)
{
    u_char         buf[1024], *p;
    size_t         i, len;
    test_result_t  r;

#define test_body(s)  s, sizeof(s) - 1

    static const struct {
        const char  *name;
        const char  *body;
        size_t       len;
        const char  *err;
    } cases[] = {
        { "an optional record is left out", test_body("\x80" "anything"),
          NULL },
        { "an optional field is left out",
          test_body("\3\1\3ann\xc0\2xx\x20\1\7"), NULL },
        { "a record that must be known is not", test_body("\x40" "anything"),
          "has a record of a newer version" },
        { "record 0", test_body("\0"), "has a record of a newer version" },
        { "a field that must be known is not", test_body("\3\1\3ann\x7f\1x"),
          "has a field of a newer version" },
        { "a field is longer than the record", test_body("\3\1\4ann"),
          "has a record with an invalid field" },
        { "a field has no length", test_body("\3\1\3ann\x20"),
          "has a record with an invalid field" },
        { "a number has no bytes", test_body("\3\1\3ann\x20\0"),
          "has a record with an invalid field" },
        { "a number has nine bytes",
          test_body("\3\1\3ann\x20\x09" "123456789"),
          "has a record with an invalid field" },
        { "an id is short", test_body("\1\1\3ann\2\3abc"),
          "has a record with an invalid field" },
        { "a name is too long",
          test_body("\3\1\x41" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
          "has a record with an invalid field" },
        { "a name is empty", test_body("\3\1\0"),
          "has a record with an invalid field" },
        { "a user has no id", test_body("\1\1\3ann"),
          "has a record without a name or id" },
        { "counters have no name", test_body("\3\x20\1\1"),
          "has a record without a name or id" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        len = test_file(buf, NGX_VMESS_JOURNAL_CHANGES);

        p = test_seal(buf + len, cases[i].body, cases[i].len);
        p = test_seal(p, test_body("\3\1\3bob\x20\1\x64"));
        p = test_seal(p, test_body("\5"));

        test_read(&r, buf, p - buf, "users");

        if (cases[i].err) {
            test_ok(r.rc == NGX_ERROR && r.err
                    && ngx_strcmp(r.err, cases[i].err) == 0
                    && r.offset == (off_t) len, "%s", cases[i].name);

        } else {
            test_ok(r.rc == NGX_DONE && r.groups == TEST_GROUPS + 1
                    && r.up == 6 + 100 + (i == 1 ? 7 : 0),
                    "%s", cases[i].name);
        }
    }
}


/* a snapshot ends with the number of its records */

static void
test_snapshot(void)
{
    u_char         buf[1024], *p;
    size_t         len;
    test_result_t  r;

    len = test_file(buf, NGX_VMESS_JOURNAL_SNAPSHOT);

    test_read(&r, buf, len, "users");
    test_ok(r.rc == NGX_DONE && r.records == 2 * TEST_GROUPS,
            "snapshot without an end");

    p = test_seal(buf + len, test_body("\6\x42\1\6"));
    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_OK && r.groups == TEST_GROUPS + 1
            && r.records == 2 * TEST_GROUPS, "snapshot");

    p = test_seal(p, test_body("\5"));
    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_ERROR
            && ngx_strcmp(r.err, "goes on after its end") == 0,
            "snapshot with more after its end");

    p = test_seal(buf + len, test_body("\6\x42\1\5"));
    test_read(&r, buf, p - buf, "users");
    test_ok(r.rc == NGX_ERROR
            && ngx_strcmp(r.err, "has another number of records than it says")
               == 0,
            "snapshot that lacks a record");
}


/* groups of a user and counters; test_ends gets where the header and each end */

static size_t
test_file(u_char *p, ngx_uint_t kind)
{
    u_char                      *start;
    ngx_uint_t                   i;
    ngx_vmess_journal_header_t   header;
    ngx_vmess_journal_record_t   record;

    start = p;

    header.kind = kind;
    header.number = 7;
    header.time = 1767225600;
    ngx_str_set(&header.zone, "users");

    p = ngx_vmess_journal_create_header(p, &header);

    test_ends[0] = p - start;

    for (i = 1; i <= TEST_GROUPS; i++) {

        ngx_memzero(&record, sizeof(record));

        record.kind = NGX_VMESS_JOURNAL_USER;
        ngx_str_set(&record.name, "ann");
        ngx_str_set(&record.id, "0123456789abcdef");

        p = ngx_vmess_journal_create_record(p, &record);

        record.kind = NGX_VMESS_JOURNAL_COUNTERS;
        ngx_str_null(&record.id);
        record.up = i;

        p = ngx_vmess_journal_create_record(p, &record);

        ngx_memzero(&record, sizeof(record));

        record.kind = NGX_VMESS_JOURNAL_END;

        p = ngx_vmess_journal_create_record(p, &record);

        test_ends[i] = p - start;
    }

    return p - start;
}


static void
test_write(u_char *p, uint64_t n, size_t len)
{
    while (len--) {
        p[len] = (u_char) n;
        n >>= 8;
    }
}


/* a record with a good CRC */

static u_char *
test_seal(u_char *p, const char *body, size_t len)
{
    test_write(p + 4, len, 2);
    ngx_memcpy(p + 6, body, len);
    test_write(p, ngx_vmess_journal_crc(0, p + 4, len + 2), 4);

    return p + 6 + len;
}


static void
test_read(test_result_t *r, u_char *p, size_t len, const char *zone)
{
    ngx_str_t                    name;
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_record_t   record;

    ngx_memzero(r, sizeof(test_result_t));

    name.data = (u_char *) zone;
    name.len = ngx_strlen(zone);

    r->rc = ngx_vmess_journal_open(&j, p, len, &name);

    while (r->rc == NGX_OK && !j.finished) {

        r->rc = ngx_vmess_journal_group(&j);

        if (r->rc != NGX_OK) {
            break;
        }

        while ((r->rc = ngx_vmess_journal_next(&j, &record)) == NGX_OK) {
            r->records++;
            r->up += record.up;
        }

        if (r->rc == NGX_DONE) {
            r->rc = NGX_OK;
            r->groups++;
        }
    }

    if (r->rc == NGX_OK && ngx_vmess_journal_group(&j) == NGX_ERROR) {
        r->rc = NGX_ERROR;
    }

    r->offset = j.offset;
    r->err = j.err;
}
