
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_journal.h"
#include "ngx_vmess_period.h"


#define NGX_VMESS_JOURNAL_MAGIC      "\x89VMST\r\n\x1a"
#define NGX_VMESS_JOURNAL_MAGIC_LEN  8

#define NGX_VMESS_JOURNAL_CRC        12     /* where it is in a header */

#define NGX_VMESS_JOURNAL_PREFIX     6      /* CRC and length of a record */

/* of kinds and types that need not be known */

#define NGX_VMESS_JOURNAL_OPTIONAL   0x80


typedef struct {
    u_char                     type;
    u_char                     max;          /* of a string, 0: a number */
    u_char                     min;          /* of a string that is there */
    size_t                     offset;
} ngx_vmess_journal_field_t;


static u_char *ngx_vmess_journal_write(u_char *p, uint64_t n, size_t len);
static uint64_t ngx_vmess_journal_read(const u_char *p, size_t len);
static uint32_t ngx_vmess_journal_header_crc(const u_char *p, size_t len);
static size_t ngx_vmess_journal_check(ngx_vmess_journal_t *j, const u_char *p);
static ngx_int_t ngx_vmess_journal_broken(ngx_vmess_journal_t *j, u_char *p);
static ngx_int_t ngx_vmess_journal_fields(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record, u_char *p, u_char *last);
static ngx_int_t ngx_vmess_journal_period(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record);
static ngx_int_t ngx_vmess_journal_field(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record, const ngx_vmess_journal_field_t *field,
    u_char *p, size_t len);


#define ngx_vmess_journal_string(type, name, min, max)                        \
    { type, max, min, offsetof(ngx_vmess_journal_record_t, name) }

#define ngx_vmess_journal_number(type, name)                                  \
    { type, 0, 0, offsetof(ngx_vmess_journal_record_t, name) }


/* a type once used keeps its meaning; new ones are put at the end */

static const ngx_vmess_journal_field_t  ngx_vmess_journal_table[] = {
    ngx_vmess_journal_string(1, name, 1, NGX_VMESS_JOURNAL_NAME_MAX),
    ngx_vmess_journal_string(2, id, NGX_VMESS_ID_LEN, NGX_VMESS_ID_LEN),
    ngx_vmess_journal_string(3, also, NGX_VMESS_ID_LEN, NGX_VMESS_ID_LEN),
    ngx_vmess_journal_number(4, until),
    ngx_vmess_journal_number(5, expires),
    ngx_vmess_journal_number(6, hold),
    ngx_vmess_journal_number(7, hold_until),
    ngx_vmess_journal_number(8, quota),
    ngx_vmess_journal_number(9, quota_reset),
    ngx_vmess_journal_number(10, rate_up),
    ngx_vmess_journal_number(11, rate_down),
    ngx_vmess_journal_number(12, max_conns),
    ngx_vmess_journal_number(13, max_ips),
    ngx_vmess_journal_number(14, alter_id),
    ngx_vmess_journal_number(15, disabled),
    ngx_vmess_journal_string(16, class, 1, NGX_VMESS_JOURNAL_TEXT_MAX),
    ngx_vmess_journal_string(17, token, 1, NGX_VMESS_JOURNAL_TEXT_MAX),
    ngx_vmess_journal_number(18, tags),
    ngx_vmess_journal_number(19, origin),
    ngx_vmess_journal_number(20, given),
    ngx_vmess_journal_number(21, rate),
    ngx_vmess_journal_number(32, up),
    ngx_vmess_journal_number(33, down),
    ngx_vmess_journal_number(34, reset_up),
    ngx_vmess_journal_number(35, reset_down),
    ngx_vmess_journal_number(36, total),
    ngx_vmess_journal_number(37, refused),
    ngx_vmess_journal_number(38, extra),
    ngx_vmess_journal_number(39, period),
    ngx_vmess_journal_number(40, base),
    ngx_vmess_journal_number(41, first),
    ngx_vmess_journal_number(42, seen),
    ngx_vmess_journal_string(64, secret, 16, 16),
    ngx_vmess_journal_number(65, time),
    ngx_vmess_journal_number(66, count),
    { 0, 0, 0, 0 }
};


/* CRC-32C of the values of four bits, reflected */

static const uint32_t  ngx_vmess_journal_crc_table[] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
    0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75
};


/*
 * Not ngx_crc32_long(), which is CRC-32 of IEEE 802.3: this polynomial, of
 * Castagnoli, finds all errors of up to five bits in records of 600 bytes, the
 * other one in less than 40.
 */

uint32_t
ngx_vmess_journal_crc(uint32_t crc, const u_char *p, size_t len)
{
    crc = ~crc;

    while (len--) {
        crc ^= *p++;
        crc = ngx_vmess_journal_crc_table[crc & 0x0f] ^ (crc >> 4);
        crc = ngx_vmess_journal_crc_table[crc & 0x0f] ^ (crc >> 4);
    }

    return ~crc;
}


static u_char *
ngx_vmess_journal_write(u_char *p, uint64_t n, size_t len)
{
    while (len--) {
        *p++ = (u_char) (n >> (8 * len));
    }

    return p;
}


static uint64_t
ngx_vmess_journal_read(const u_char *p, size_t len)
{
    uint64_t  n;

    n = 0;

    while (len--) {
        n = n << 8 | *p++;
    }

    return n;
}


static uint32_t
ngx_vmess_journal_header_crc(const u_char *p, size_t len)
{
    uint32_t  crc;

    crc = ngx_vmess_journal_crc(0, p, NGX_VMESS_JOURNAL_CRC);

    return ngx_vmess_journal_crc(crc, p + NGX_VMESS_JOURNAL_CRC + 4,
                                 len - NGX_VMESS_JOURNAL_CRC - 4);
}


u_char *
ngx_vmess_journal_create_header(u_char *p, ngx_vmess_journal_header_t *header)
{
    size_t   len;
    u_char  *start;

    start = p;
    len = NGX_VMESS_JOURNAL_HEADER_LEN + header->zone.len;

    p = ngx_cpymem(p, NGX_VMESS_JOURNAL_MAGIC, NGX_VMESS_JOURNAL_MAGIC_LEN);
    p = ngx_vmess_journal_write(p, NGX_VMESS_JOURNAL_VERSION, 2);
    p = ngx_vmess_journal_write(p, len, 2);
    p += 4;
    *p++ = (u_char) header->kind;
    *p++ = (u_char) header->zone.len;
    p = ngx_vmess_journal_write(p, header->number, 8);
    p = ngx_vmess_journal_write(p, header->time, 8);
    p = ngx_cpymem(p, header->zone.data, header->zone.len);

    (void) ngx_vmess_journal_write(start + NGX_VMESS_JOURNAL_CRC,
                                   ngx_vmess_journal_header_crc(start, len), 4);

    return p;
}


u_char *
ngx_vmess_journal_create_record(u_char *p, ngx_vmess_journal_record_t *record)
{
    size_t                            len;
    u_char                           *start;
    uint64_t                          n;
    ngx_str_t                        *s;
    const ngx_vmess_journal_field_t  *field;

    start = p;

    p += NGX_VMESS_JOURNAL_PREFIX;
    *p++ = (u_char) record->kind;

    for (field = ngx_vmess_journal_table; field->type; field++) {

        if (field->max) {
            s = (ngx_str_t *) ((u_char *) record + field->offset);

            if (s->len) {
                *p++ = field->type;
                *p++ = (u_char) s->len;
                p = ngx_cpymem(p, s->data, s->len);
            }

            continue;
        }

        n = *(uint64_t *) ((u_char *) record + field->offset);

        if (n) {
            for (len = 1; len < 8 && n >> (8 * len); len++) { /* void */ }

            *p++ = field->type;
            *p++ = (u_char) len;
            p = ngx_vmess_journal_write(p, n, len);
        }
    }

    len = p - start;

    (void) ngx_vmess_journal_write(start + 4, len - NGX_VMESS_JOURNAL_PREFIX,
                                   2);
    (void) ngx_vmess_journal_write(start,
                            ngx_vmess_journal_crc(0, start + 4, len - 4), 4);

    return p;
}


ngx_int_t
ngx_vmess_journal_open(ngx_vmess_journal_t *j, u_char *p, size_t len,
    ngx_str_t *zone)
{
    size_t                       size;
    ngx_vmess_journal_header_t  *header;

    ngx_memzero(j, sizeof(ngx_vmess_journal_t));

    header = &j->header;

    if (len < NGX_VMESS_JOURNAL_HEADER_LEN) {
        j->err = len ? "is too short for a header" : "is empty";
        return NGX_ERROR;
    }

    if (ngx_memcmp(p, NGX_VMESS_JOURNAL_MAGIC, NGX_VMESS_JOURNAL_MAGIC_LEN)
        != 0)
    {
        j->err = "is not one of \"state\"";
        return NGX_ERROR;
    }

    size = ngx_vmess_journal_read(p + 10, 2);

    if (size < NGX_VMESS_JOURNAL_HEADER_LEN || size > len
        || ngx_vmess_journal_read(p + NGX_VMESS_JOURNAL_CRC, 4)
           != ngx_vmess_journal_header_crc(p, size))
    {
        j->err = "has a damaged header";
        return NGX_ERROR;
    }

    /* the header of a newer version may be another one from here on */

    if (ngx_vmess_journal_read(p + 8, 2) != NGX_VMESS_JOURNAL_VERSION) {
        j->err = "is of a newer version";
        return NGX_ERROR;
    }

    header->kind = p[16];
    header->zone.len = p[17];
    header->zone.data = p + NGX_VMESS_JOURNAL_HEADER_LEN;
    header->number = ngx_vmess_journal_read(p + 18, 8);
    header->time = ngx_vmess_journal_read(p + 26, 8);

    if (header->zone.len != zone->len
        || size != NGX_VMESS_JOURNAL_HEADER_LEN + zone->len
        || ngx_memcmp(header->zone.data, zone->data, zone->len) != 0)
    {
        j->err = "is of another zone";
        return NGX_ERROR;
    }

    j->start = p;
    j->pos = p + size;
    j->group = j->pos;
    j->last = p + len;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_journal_group(ngx_vmess_journal_t *j)
{
    size_t   len;
    u_char  *p, kind;

    j->pos = j->group;

    if (j->pos == j->last) {
        return NGX_DONE;
    }

    if (j->finished) {
        j->offset = j->pos - j->start;
        j->err = "goes on after its end";
        return NGX_ERROR;
    }

    for (p = j->pos; p < j->last; p += len) {

        len = ngx_vmess_journal_check(j, p);

        if (len == 0) {
            return ngx_vmess_journal_broken(j, p);
        }

        kind = p[NGX_VMESS_JOURNAL_PREFIX];

        if (kind == NGX_VMESS_JOURNAL_END || kind == NGX_VMESS_JOURNAL_FINISH) {
            j->group = p + len;
            return NGX_OK;
        }
    }

    j->offset = j->pos - j->start;

    return NGX_AGAIN;
}


/* the length of the record at p, 0 if there is no good one */

static size_t
ngx_vmess_journal_check(ngx_vmess_journal_t *j, const u_char *p)
{
    size_t  len, left;

    left = j->last - p;

    if (left <= NGX_VMESS_JOURNAL_PREFIX) {
        return 0;
    }

    len = NGX_VMESS_JOURNAL_PREFIX + ngx_vmess_journal_read(p + 4, 2);

    if (len == NGX_VMESS_JOURNAL_PREFIX || len > NGX_VMESS_JOURNAL_RECORD_MAX
        || len > left
        || ngx_vmess_journal_read(p, 4)
           != ngx_vmess_journal_crc(0, p + 4, len - 4))
    {
        return 0;
    }

    return len;
}


/*
 * A bad record was damaged, or is of the last part, which a crash may leave in
 * any order of pages, with zeros or old data between them.  That part is near
 * the end, and if a group has ended behind the record, nothing follows it.
 */

static ngx_int_t
ngx_vmess_journal_broken(ngx_vmess_journal_t *j, u_char *p)
{
    size_t   len;
    u_char  *next, kind;

    if (j->last - p > NGX_VMESS_JOURNAL_PART_MAX) {
        goto damaged;
    }

    for (next = p + 1; next < j->last; next += len) {

        len = ngx_vmess_journal_check(j, next);

        if (len == 0) {
            len = 1;
            continue;
        }

        kind = next[NGX_VMESS_JOURNAL_PREFIX];

        if ((kind == NGX_VMESS_JOURNAL_END || kind == NGX_VMESS_JOURNAL_FINISH)
            && next + len < j->last)
        {
            goto damaged;
        }
    }

    j->offset = j->pos - j->start;

    return NGX_AGAIN;

damaged:

    j->offset = p - j->start;
    j->err = "is damaged";

    return NGX_ERROR;
}


ngx_int_t
ngx_vmess_journal_next(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record)
{
    size_t   len;
    u_char  *p, kind;

    while (j->pos < j->group) {

        p = j->pos;
        len = ngx_vmess_journal_read(p + 4, 2);

        p += NGX_VMESS_JOURNAL_PREFIX;
        kind = *p;

        j->offset = j->pos - j->start;
        j->pos = p + len;

        if (kind == NGX_VMESS_JOURNAL_END) {
            return NGX_DONE;
        }

        if (kind == 0 || kind > NGX_VMESS_JOURNAL_FINISH) {

            if (kind & NGX_VMESS_JOURNAL_OPTIONAL) {
                j->count++;
                continue;
            }

            j->err = "has a record of a newer version";
            return NGX_ERROR;
        }

        ngx_memzero(record, sizeof(ngx_vmess_journal_record_t));

        record->kind = kind;

        if (ngx_vmess_journal_fields(j, record, p + 1, p + len) != NGX_OK) {
            return NGX_ERROR;
        }

        if (kind != NGX_VMESS_JOURNAL_FINISH) {
            j->count++;
            return NGX_OK;
        }

        if (record->count != j->count) {
            j->err = "has another number of records than it says";
            return NGX_ERROR;
        }

        j->finished = 1;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_vmess_journal_fields(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record, u_char *p, u_char *last)
{
    size_t                            len;
    u_char                            type;
    const ngx_vmess_journal_field_t  *field;

    while (p < last) {

        if (last - p < 2 || last - p - 2 < p[1]) {
            j->err = "has a record with an invalid field";
            return NGX_ERROR;
        }

        type = *p++;
        len = *p++;

        for (field = ngx_vmess_journal_table; field->type; field++) {
            if (field->type == type) {
                break;
            }
        }

        if (field->type) {

            if (ngx_vmess_journal_field(j, record, field, p, len) != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (!(type & NGX_VMESS_JOURNAL_OPTIONAL)) {
            j->err = "has a field of a newer version";
            return NGX_ERROR;
        }

        p += len;
    }

    if ((record->kind <= NGX_VMESS_JOURNAL_COUNTERS && record->name.len == 0)
        || (record->kind == NGX_VMESS_JOURNAL_USER && record->id.len == 0))
    {
        j->err = "has a record without a name or id";
        return NGX_ERROR;
    }

    return ngx_vmess_journal_period(j, record);
}


/* times are reckoned with it, so it is one that can be configured */

static ngx_int_t
ngx_vmess_journal_period(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record)
{
    uint64_t  unit, n;

    unit = record->quota_reset >> 32;
    n = (uint32_t) record->quota_reset;

    if (unit > NGX_VMESS_PERIOD_DAYS
        || (unit == NGX_VMESS_PERIOD_DAYS
            && (n == 0 || n > NGX_VMESS_PERIOD_DAYS_MAX))
        || (unit < NGX_VMESS_PERIOD_DAYS && n > 31))
    {
        j->err = "has a record with an invalid period";
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_journal_field(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record, const ngx_vmess_journal_field_t *field,
    u_char *p, size_t len)
{
    uint64_t   *n;
    ngx_str_t  *s;

    if (field->max == 0 && len && len <= 8) {
        n = (uint64_t *) ((u_char *) record + field->offset);
        *n = ngx_vmess_journal_read(p, len);

        return NGX_OK;
    }

    if (field->max && len >= field->min && len <= field->max) {
        s = (ngx_str_t *) ((u_char *) record + field->offset);
        s->len = len;
        s->data = p;

        return NGX_OK;
    }

    j->err = "has a record with an invalid field";

    return NGX_ERROR;
}
