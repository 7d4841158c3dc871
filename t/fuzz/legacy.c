
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_legacy.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_hash.h"


#define FUZZ_TIME  1735689600


static ngx_int_t fuzz_read(ngx_vmess_header_t *h, const u_char *wire,
    size_t len, size_t *took);
static void fuzz_encrypt(const u_char *p, size_t len, u_char *out);


static const u_char  fuzz_cmd_key[NGX_VMESS_KEY_LEN] = "fuzz fuzz fuzz k";


/*
 * The first byte says what the others are: 0 what follows a token on the wire;
 * 1 a section, with the check sum put in place where its own bits say that it
 * is; else a section and what follows it.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char              *wire, *section;
    size_t               len, n, took, first;
    uint32_t             sum;
    ngx_int_t            rc, prev;
    ngx_vmess_header_t   h, parsed;

    if (size < 2 || size > 2 * NGX_VMESS_LEGACY_MAX) {
        return 0;
    }

    len = size - 2;
    section = fuzz_copy(data + 2, len);

    if (data[0] == 1 && len >= NGX_VMESS_HEADER_MIN) {
        n = ngx_min(len - 4, (size_t) 38 + data[1] + (section[35] >> 4));
        sum = htonl(ngx_vmess_hash_fnv1a(section, n));
        ngx_memcpy(section + n, &sum, 4);
    }

    wire = malloc(NGX_VMESS_EAUID_LEN + len);
    fuzz_check(wire != NULL);

    ngx_memset(wire, 0x5a, NGX_VMESS_EAUID_LEN);

    if (data[0] == 0) {
        ngx_memcpy(wire + NGX_VMESS_EAUID_LEN, section, len);

    } else {
        fuzz_encrypt(section, len, wire + NGX_VMESS_EAUID_LEN);
    }

    len += NGX_VMESS_EAUID_LEN;
    prev = NGX_AGAIN;
    first = 0;

    for (n = 0; n <= len; n++) {
        rc = fuzz_read(&h, wire, n, &took);

        /* one place where the verdict is given, and it stays */

        if (prev != NGX_AGAIN) {
            fuzz_check(rc == prev && (rc != NGX_OK || took == first));

        } else if (rc == NGX_DECLINED) {
            fuzz_check(n == NGX_VMESS_LEGACY_MAX);

        } else if (rc == NGX_AGAIN) {
            fuzz_check(n < NGX_VMESS_LEGACY_MAX);

        } else {
            fuzz_check(n <= NGX_VMESS_LEGACY_MAX);
            fuzz_check(rc != NGX_OK || took == n);
            first = took;
        }

        prev = rc;
    }

    /* what is right there is right for the parser of sealed sections */

    if (prev == NGX_OK && data[0] != 0) {
        ngx_memzero(&parsed, sizeof(ngx_vmess_header_t));
        parsed.legacy = 1;

        fuzz_check(ngx_vmess_header_parse(&parsed, section,
                                          first - NGX_VMESS_EAUID_LEN)
                   == NGX_OK);
        fuzz_check(ngx_memcmp(h.key, parsed.key, NGX_VMESS_KEY_LEN) == 0);
        fuzz_check(ngx_memcmp(h.iv, parsed.iv, NGX_VMESS_IV_LEN) == 0);
        fuzz_check(h.opt == parsed.opt && h.security == parsed.security
                   && h.command == parsed.command && h.v == parsed.v);
    }

    free(wire);
    free(section);

    return 0;
}


static ngx_int_t
fuzz_read(ngx_vmess_header_t *h, const u_char *wire, size_t len, size_t *took)
{
    u_char     *copy;
    ngx_buf_t   b;
    ngx_int_t   rc;

    copy = fuzz_copy(wire, len);

    ngx_memzero(&b, sizeof(ngx_buf_t));
    ngx_memzero(h, sizeof(ngx_vmess_header_t));

    b.pos = copy;
    b.last = copy + len;

    h->legacy = 1;
    h->time = FUZZ_TIME;
    ngx_memcpy(h->cmd_key, fuzz_cmd_key, NGX_VMESS_KEY_LEN);

    rc = ngx_vmess_legacy_read(h, &b);

    *took = b.pos - copy;

    fuzz_check(rc == NGX_OK || rc == NGX_AGAIN || rc == NGX_DECLINED
               || rc == NGX_ERROR);
    fuzz_check((rc == NGX_OK) == (*took > 0) && *took <= len);
    fuzz_check((rc == NGX_DECLINED || rc == NGX_ERROR) == (h->err != NULL));
    fuzz_check(ngx_memcmp(copy, wire, len) == 0);

    free(copy);

    return rc;
}


static void
fuzz_encrypt(const u_char *p, size_t len, u_char *out)
{
    u_char           iv[16], t[32];
    ngx_uint_t       i;
    ngx_vmess_cfb_t  cfb;

    for (i = 0; i < sizeof(t); i++) {
        t[i] = (u_char) ((uint64_t) FUZZ_TIME >> (56 - 8 * (i % 8)));
    }

    ngx_vmess_hash_md5(iv, t, sizeof(t));

    cfb.ctx = NULL;

    fuzz_check(ngx_vmess_cfb_init(&cfb, fuzz_cmd_key, iv, 1) == NGX_OK);
    fuzz_check(ngx_vmess_cfb_crypt(&cfb, p, len, out) == NGX_OK);

    ngx_vmess_cfb_cleanup(&cfb);
}
