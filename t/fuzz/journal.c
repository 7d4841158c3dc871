
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_journal.h"


static u_char *fuzz_seal(u_char *p, const uint8_t *data, size_t size);
static void fuzz_again(ngx_vmess_journal_record_t *record);
static void fuzz_string(ngx_str_t *s, u_char *p, u_char *last);


/*
 * The first byte: 0, the rest is a file; 1, it is records after a good header,
 * each with a byte of length, that are given what makes them good.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                      *buf, *copy, *p;
    size_t                       len;
    ngx_int_t                    rc;
    ngx_str_t                    zone = ngx_string("users");
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_header_t   header;
    ngx_vmess_journal_record_t   record;

    if (size == 0 || size > 65536) {
        return 0;
    }

    buf = malloc(NGX_VMESS_JOURNAL_HEADER_MAX + 8 * size);
    fuzz_check(buf != NULL);

    if (data[0] & 1) {
        header.kind = NGX_VMESS_JOURNAL_CHANGES;
        header.number = 1;
        header.time = 1767225600;
        header.zone = zone;

        p = ngx_vmess_journal_create_header(buf, &header);
        p = fuzz_seal(p, data + 1, size - 1);

    } else {
        p = ngx_cpymem(buf, data + 1, size - 1);
    }

    len = p - buf;
    copy = fuzz_copy(buf, len);
    free(buf);

    rc = ngx_vmess_journal_open(&j, copy, len, &zone);

    fuzz_check((rc == NGX_ERROR) == (j.err != NULL));

    while (rc == NGX_OK) {

        rc = ngx_vmess_journal_group(&j);

        fuzz_check((rc == NGX_ERROR) == (j.err != NULL));

        if (rc != NGX_OK) {
            break;
        }

        fuzz_check(j.group > j.pos && j.group <= j.last);

        while ((rc = ngx_vmess_journal_next(&j, &record)) == NGX_OK) {
            fuzz_string(&record.name, copy, copy + len);
            fuzz_string(&record.id, copy, copy + len);
            fuzz_string(&record.class, copy, copy + len);

            fuzz_again(&record);
        }

        fuzz_check((rc == NGX_ERROR) == (j.err != NULL));

        if (rc == NGX_DONE) {
            rc = NGX_OK;
        }
    }

    fuzz_check(rc == NGX_DONE || (j.offset >= 0 && (size_t) j.offset <= len));

    free(copy);

    return 0;
}


static u_char *
fuzz_seal(u_char *p, const uint8_t *data, size_t size)
{
    size_t    n;
    uint32_t  crc;

    while (size) {
        n = ngx_min(data[0], size - 1);

        p[4] = 0;
        p[5] = (u_char) n;
        ngx_memcpy(p + 6, data + 1, n);

        crc = htonl(ngx_vmess_journal_crc(0, p + 4, n + 2));
        ngx_memcpy(p, &crc, 4);

        p += 6 + n;
        data += 1 + n;
        size -= 1 + n;
    }

    return p;
}


/* what was read is written, and read as the same */

static void
fuzz_again(ngx_vmess_journal_record_t *record)
{
    u_char                       buf[2 * NGX_VMESS_JOURNAL_RECORD_MAX], *p;
    ngx_str_t                    zone = ngx_string("users");
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_header_t   header;
    ngx_vmess_journal_record_t   end, again;

    header.kind = NGX_VMESS_JOURNAL_SNAPSHOT;
    header.number = 1;
    header.time = 0;
    header.zone = zone;

    ngx_memzero(&end, sizeof(end));
    end.kind = NGX_VMESS_JOURNAL_END;

    p = ngx_vmess_journal_create_header(buf, &header);
    p = ngx_vmess_journal_create_record(p, record);
    fuzz_check(p - buf <= NGX_VMESS_JOURNAL_RECORD_MAX);
    p = ngx_vmess_journal_create_record(p, &end);

    fuzz_check(ngx_vmess_journal_open(&j, buf, p - buf, &zone) == NGX_OK);
    fuzz_check(ngx_vmess_journal_group(&j) == NGX_OK);
    fuzz_check(ngx_vmess_journal_next(&j, &again) == NGX_OK);

    fuzz_check(again.kind == record->kind && again.up == record->up
               && again.seen == record->seen && again.time == record->time
               && again.expires == record->expires
               && again.name.len == record->name.len
               && again.token.len == record->token.len);

    fuzz_check(ngx_vmess_journal_next(&j, &again) == NGX_DONE);
}


static void
fuzz_string(ngx_str_t *s, u_char *p, u_char *last)
{
    fuzz_check(s->len == 0
               || (s->data >= p && s->len <= (size_t) (last - s->data)));
}
