
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_json.h"
#include "ngx_vmess_profile.h"
#include "ngx_vmess_utf8.h"


#define FUZZ_FIELDS  10
#define FUZZ_SHARES  3


/* texts with 0x1e between them; the last one has the rest */

static void
fuzz_fields(const uint8_t *data, size_t size, ngx_str_t *fields)
{
    size_t      len;
    u_char     *end;
    ngx_uint_t  i;

    for (i = 0; i < FUZZ_FIELDS; i++) {

        end = size ? memchr(data, 0x1e, size) : NULL;
        len = (end && i < FUZZ_FIELDS - 1) ? (size_t) (end - data) : size;

        fields[i].data = fuzz_copy(data, len);
        fields[i].len = len;

        data += len;
        size -= len;

        if (size) {
            data++;
            size--;
        }
    }
}


static size_t
fuzz_write(ngx_vmess_profile_format_e format, ngx_vmess_share_t *shares,
    size_t room, u_char *out, size_t size)
{
    u_char               *buf, *p, *to;
    ngx_int_t             rc;
    ngx_vmess_profile_t   pr;

    ngx_vmess_profile_init(&pr, format, shares, FUZZ_SHARES);

    to = out;

    do {
        buf = malloc(room);
        fuzz_check(buf != NULL);

        p = buf;
        rc = ngx_vmess_profile_write(&pr, &p, buf + room);

        fuzz_check(rc == NGX_OK || p > buf);
        fuzz_check((size_t) (p - buf) <= size - (to - out));

        to = ngx_cpymem(to, buf, p - buf);
        free(buf);

    } while (rc == NGX_AGAIN);

    return to - out;
}


static void
fuzz_json(u_char *p, size_t len)
{
    u_char            *buf;
    ngx_buf_t          b;
    ngx_int_t          rc;
    ngx_vmess_json_t   js;

    buf = malloc(4096);
    fuzz_check(buf != NULL);

    ngx_memzero(&b, sizeof(ngx_buf_t));
    b.pos = p;
    b.last = p + len;

    ngx_vmess_json_init(&js, buf, 4096);

    do {
        rc = ngx_vmess_json_read(&js, &b, 1);
    } while (rc == NGX_OK);

    fuzz_check(rc == NGX_DONE);

    free(buf);
}


/* UTF-8 without controls, in as many lines as there should be */

static void
fuzz_lines(u_char *p, size_t len, ngx_uint_t lines)
{
    u_char    *last;
    uint32_t   ch;

    last = p + len;

    fuzz_check(len && last[-1] == '\n');

    while (p < last) {

        /* what replaces what is not UTF-8 is there in three bytes */

        fuzz_check(*p < 0x80 || *p >= 0xc2);

        ch = ngx_vmess_utf8_next(&p, last);

        if (ch == '\n') {
            fuzz_check(lines > 0);
            lines--;
            continue;
        }

        fuzz_check(ch >= ' ' && (ch < 0x7f || ch >= 0xa0));
        fuzz_check(ch != 0x2028 && ch != 0x2029);
    }

    fuzz_check(lines == 0);
}


static void
fuzz_base64(u_char *p, size_t len)
{
    fuzz_check(len % 4 == 0);

    while (len--) {
        fuzz_check((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')
                   || (*p >= '0' && *p <= '9') || *p == '+' || *p == '/'
                   || (*p == '=' && len < 2));
        p++;
    }
}


/*
 * The first bytes are the format, transport, cipher and TLS, then early data
 * and the room beyond what is needed.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                       *whole, *parts;
    size_t                        len, max;
    ngx_str_t                     fields[FUZZ_FIELDS];
    ngx_uint_t                    i;
    ngx_vmess_share_t             shares[FUZZ_SHARES];
    ngx_vmess_profile_format_e    format;

    if (size < 6) {
        return 0;
    }

    ngx_memzero(shares, sizeof(shares));

    format = data[0] % NGX_VMESS_PROFILE_FORMATS;
    shares[0].transport = data[1] % NGX_VMESS_SHARE_TRANSPORTS;
    shares[0].security = data[2] % NGX_VMESS_SHARE_SECURITIES;
    shares[0].tls = data[3] & 1;
    shares[0].early_data = data[4];
    shares[0].port = 1 + data[4];

    fuzz_fields(data + 6, size - 6, fields);

    shares[0].name = fields[0];
    shares[0].host = fields[1];
    shares[0].path = fields[2];
    shares[0].http_host = fields[3];
    shares[0].sni = fields[4];
    shares[0].alpn = fields[5];
    shares[0].mode = fields[6];
    shares[0].header = fields[7];
    shares[0].fp = fields[8];
    shares[0].seed = fields[9];

    if (ngx_vmess_share_check(&shares[0]) == NULL) {

        /* the same name, and one by default */

        shares[1] = shares[0];
        shares[2] = shares[0];
        shares[2].name.len = 0;

        max = FUZZ_SHARES * NGX_VMESS_PROFILE_ROOM;
        whole = malloc(max);
        parts = malloc(max);
        fuzz_check(whole != NULL && parts != NULL);

        len = fuzz_write(format, shares, max, whole, max);

        fuzz_check(fuzz_write(format, shares,
                              NGX_VMESS_PROFILE_ROOM + 16 * data[5],
                              parts, max)
                   == len);
        fuzz_check(ngx_memcmp(whole, parts, len) == 0);

        switch (format) {

        case NGX_VMESS_PROFILE_V2RAYN:
        case NGX_VMESS_PROFILE_URI:
        case NGX_VMESS_PROFILE_SHADOWROCKET:
            fuzz_base64(whole, len);
            break;

        case NGX_VMESS_PROFILE_SING_BOX:
            fuzz_json(whole, len);
            break;

        case NGX_VMESS_PROFILE_MIHOMO:
        case NGX_VMESS_PROFILE_CLASH:
            fuzz_lines(whole, len, 5 + FUZZ_SHARES);
            break;

        default:
            fuzz_lines(whole, len, FUZZ_SHARES);
            break;
        }

        free(whole);
        free(parts);
    }

    for (i = 0; i < FUZZ_FIELDS; i++) {
        free(fields[i].data);
    }

    return 0;
}
