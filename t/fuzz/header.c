
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_header.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_kdf.h"


static void fuzz_parse(const u_char *p, size_t len, ngx_vmess_header_t *h,
    ngx_int_t *rc);
static void fuzz_sealed(const u_char *p, size_t len, size_t split);
static ngx_int_t fuzz_read(ngx_vmess_header_t *h, const u_char *p, size_t len,
    size_t split);
static void fuzz_seal(ngx_vmess_kdf_label_e key, ngx_vmess_kdf_label_e nonce,
    u_char *wire, const u_char *in, size_t len, u_char *out);


/* CmdKey of b831381d-6324-4d53-ad4f-8cda48b30811, as in the vectors */

static const u_char  fuzz_cmd_key[] = {
    0xb5, 0x0d, 0x91, 0x6a, 0xc0, 0xce, 0xc0, 0x67,
    0x98, 0x1a, 0xf8, 0xe5, 0xf3, 0x8a, 0x75, 0x8f
};


/*
 * The first byte says what the others are: 0 a request as it is on the wire;
 * 1 an instruction section, its check sum put in place; else a section that is
 * sealed as it is.  The second byte says where the request is split.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char              *section, *p;
    size_t               len;
    uint32_t             sum;
    ngx_int_t            rc;
    ngx_vmess_header_t   h;

    if (size < 2) {
        return 0;
    }

    p = (u_char *) data + 2;
    len = size - 2;

    if (data[0] == 0) {
        fuzz_read(&h, p, len, data[1]);
        return 0;
    }

    section = fuzz_copy(p, len);

    if (data[0] == 1 && len > 4) {
        sum = htonl(ngx_vmess_hash_fnv1a(section, len - 4));
        ngx_memcpy(section + len - 4, &sum, 4);
    }

    fuzz_parse(section, len, &h, &rc);

    if (len <= 65535) {
        fuzz_sealed(section, len, data[1]);
    }

    free(section);

    return 0;
}


static void
fuzz_parse(const u_char *p, size_t len, ngx_vmess_header_t *h, ngx_int_t *rc)
{
    u_char  *copy;

    ngx_memzero(h, sizeof(ngx_vmess_header_t));

    copy = fuzz_copy(p, len);

    *rc = ngx_vmess_header_parse(h, copy, len);

    fuzz_check(ngx_memcmp(copy, p, len) == 0);
    fuzz_check(*rc == NGX_OK || *rc == NGX_DECLINED || *rc == NGX_ERROR);
    fuzz_check((*rc == NGX_OK) == (h->err == NULL));

    free(copy);
}


/* a request with this section gives what the section gives, split anywhere */

static void
fuzz_sealed(const u_char *p, size_t len, size_t split)
{
    u_char              *wire, length[2];
    ngx_int_t            rc, expected;
    ngx_vmess_header_t   parsed, h;

    fuzz_parse(p, len, &parsed, &expected);

    if (len > NGX_VMESS_HEADER_MAX) {
        expected = NGX_DECLINED;
    }

    wire = malloc(NGX_VMESS_PREFIX_LEN + len + NGX_VMESS_TAG_LEN);
    fuzz_check(wire != NULL);

    ngx_memset(wire, 0x5a, NGX_VMESS_PREFIX_LEN);

    length[0] = (u_char) (len >> 8);
    length[1] = (u_char) len;

    fuzz_seal(NGX_VMESS_KDF_LENGTH_KEY, NGX_VMESS_KDF_LENGTH_NONCE, wire,
              length, 2, wire + NGX_VMESS_EAUID_LEN);
    fuzz_seal(NGX_VMESS_KDF_HEADER_KEY, NGX_VMESS_KDF_HEADER_NONCE, wire,
              p, len, wire + NGX_VMESS_PREFIX_LEN);

    rc = fuzz_read(&h, wire, NGX_VMESS_PREFIX_LEN + len + NGX_VMESS_TAG_LEN,
                   split);

    fuzz_check(rc == expected);

    if (rc == NGX_OK) {
        fuzz_check(ngx_memcmp(h.key, parsed.key, NGX_VMESS_KEY_LEN) == 0);
        fuzz_check(ngx_memcmp(h.iv, parsed.iv, NGX_VMESS_IV_LEN) == 0);
        fuzz_check(h.opt == parsed.opt && h.security == parsed.security
                   && h.command == parsed.command && h.v == parsed.v);
    }

    free(wire);
}


static void
fuzz_seal(ngx_vmess_kdf_label_e key, ngx_vmess_kdf_label_e nonce,
    u_char *wire, const u_char *in, size_t len, u_char *out)
{
    u_char            k[NGX_VMESS_KEY_LEN], n[NGX_VMESS_NONCE_LEN];
    ngx_str_t         path[2];
    ngx_vmess_aead_t  aead;

    path[0].data = wire;
    path[0].len = NGX_VMESS_EAUID_LEN;
    path[1].data = wire + NGX_VMESS_EAUID_LEN + NGX_VMESS_ALENGTH_LEN;
    path[1].len = NGX_VMESS_HEADER_NONCE_LEN;

    ngx_vmess_kdf(k, sizeof(k), fuzz_cmd_key, key, path, 2);
    ngx_vmess_kdf(n, sizeof(n), fuzz_cmd_key, nonce, path, 2);

    aead.ctx = NULL;

    fuzz_check(ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, k, 1)
               == NGX_OK);
    fuzz_check(ngx_vmess_aead_seal(&aead, n, wire, NGX_VMESS_EAUID_LEN, in,
                                   len, out)
               == NGX_OK);

    ngx_vmess_aead_cleanup(&aead);
}


/* first split bytes, then one more each time for a while, then all */

static ngx_int_t
fuzz_read(ngx_vmess_header_t *h, const u_char *p, size_t len, size_t split)
{
    u_char      *copy;
    size_t       n;
    ngx_buf_t    b;
    ngx_int_t    rc;
    ngx_uint_t   i;

    ngx_memzero(h, sizeof(ngx_vmess_header_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    n = ngx_min(split, len);

    for (i = 0; /* void */; i++) {
        copy = fuzz_copy(p, n);

        b.pos = copy;
        b.last = copy + n;

        rc = ngx_vmess_header_read(h, &b);

        if (rc == NGX_DONE) {
            ngx_memcpy(h->cmd_key, fuzz_cmd_key, NGX_VMESS_KEY_LEN);
            rc = ngx_vmess_header_read(h, &b);
        }

        fuzz_check(rc == NGX_OK || rc == NGX_AGAIN || rc == NGX_DECLINED
                   || rc == NGX_ERROR);
        fuzz_check(rc == NGX_OK
                   ? b.pos > copy && b.pos <= b.last : b.pos == copy);
        fuzz_check((rc == NGX_DECLINED || rc == NGX_ERROR)
                   == (h->err != NULL));
        fuzz_check(ngx_memcmp(copy, p, n) == 0);

        free(copy);

        if (rc != NGX_AGAIN || n == len) {
            return rc;
        }

        n = (i < 64) ? n + 1 : len;
    }
}
