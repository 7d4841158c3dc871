
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_legacy.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_hash.h"

#include <openssl/md5.h>


static ngx_int_t ngx_vmess_legacy_decrypt(ngx_vmess_header_t *h, u_char *in,
    size_t len, u_char *out);
static size_t ngx_vmess_legacy_length(u_char *p, size_t size);
static void ngx_vmess_legacy_transform(uint32_t *state, const u_char *block);
static u_char *ngx_vmess_legacy_time(u_char *p, int64_t t);


ngx_int_t
ngx_vmess_legacy_read(ngx_vmess_header_t *h, ngx_buf_t *b)
{
    u_char     section[NGX_VMESS_LEGACY_SECTION_MAX];
    size_t     size, len;
    ngx_int_t  rc;

    h->err = NULL;

    if (b->last - b->pos < NGX_VMESS_EAUID_LEN) {
        return NGX_AGAIN;
    }

    size = b->last - b->pos - NGX_VMESS_EAUID_LEN;
    size = ngx_min(size, NGX_VMESS_LEGACY_SECTION_MAX);

    if (ngx_vmess_legacy_decrypt(h, b->pos + NGX_VMESS_EAUID_LEN, size,
                                 section)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = ngx_vmess_legacy_length(section, size);

    if (len) {
        rc = ngx_vmess_header_parse(h, section, len);

        if (rc == NGX_OK) {
            b->pos += NGX_VMESS_EAUID_LEN + len;
        }

    } else if (size < NGX_VMESS_LEGACY_SECTION_MAX) {
        rc = NGX_AGAIN;

    } else {
        h->err = "wrong check sum";
        rc = NGX_DECLINED;
    }

    ngx_explicit_memzero(section, size);

    return rc;
}


static ngx_int_t
ngx_vmess_legacy_decrypt(ngx_vmess_header_t *h, u_char *in, size_t len,
    u_char *out)
{
    u_char           *p, iv[NGX_VMESS_IV_LEN], t[4 * 8];
    ngx_int_t         rc;
    ngx_uint_t        i;
    ngx_vmess_cfb_t   cfb;

    for (p = t, i = 0; i < 4; i++) {
        p = ngx_vmess_legacy_time(p, h->time);
    }

    ngx_vmess_hash_md5(iv, t, sizeof(t));

    cfb.ctx = NULL;

    rc = ngx_vmess_cfb_init(&cfb, h->cmd_key, iv, 0);

    if (rc == NGX_OK) {
        rc = ngx_vmess_cfb_crypt(&cfb, in, len, out);
    }

    ngx_vmess_cfb_cleanup(&cfb);

    return rc;
}


/*
 * The length of a section of which size bytes are there, if it is whole and
 * its check sum is right; otherwise, whatever is wrong with it, 0.
 */

static size_t
ngx_vmess_legacy_length(u_char *p, size_t size)
{
    u_char  sum[NGX_VMESS_FNV1A_LEN];
    size_t  len;

    if (size < NGX_VMESS_HEADER_MIN) {
        return 0;
    }

    len = NGX_VMESS_HEADER_MIN + (p[35] >> 4);

    if (p[37] != NGX_VMESS_CMD_MUX) {

        /* port, type, address; the size is enough to look at its length */

        switch (p[40]) {

        case NGX_VMESS_ADDR_IPV4:
            len += 3 + 4;
            break;

        case NGX_VMESS_ADDR_DOMAIN:
            len += 3 + 1 + p[41];
            break;

        case NGX_VMESS_ADDR_IPV6:
            len += 3 + 16;
            break;

        default:
            return 0;
        }
    }

    if (size < len) {
        return 0;
    }

    ngx_vmess_hash_fnv1a_sum(sum, p, len - NGX_VMESS_FNV1A_LEN);

    return ngx_vmess_equal(sum, p + len - NGX_VMESS_FNV1A_LEN,
                           NGX_VMESS_FNV1A_LEN)
           ? len : 0;
}


void
ngx_vmess_legacy_key(ngx_vmess_legacy_key_t *key, const u_char *id)
{
    u_char      block[MD5_CBLOCK];
    ngx_uint_t  i;

    /* RFC 1321, 3.3, and RFC 2104, 2 */

    static const uint32_t  state[] = { 0x67452301, 0xefcdab89,
                                       0x98badcfe, 0x10325476 };

    ngx_memset(block, 0x36, sizeof(block));

    for (i = 0; i < NGX_VMESS_ID_LEN; i++) {
        block[i] ^= id[i];
    }

    ngx_memcpy(key->inner, state, sizeof(state));
    ngx_vmess_legacy_transform(key->inner, block);

    for (i = 0; i < sizeof(block); i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }

    ngx_memcpy(key->outer, state, sizeof(state));
    ngx_vmess_legacy_transform(key->outer, block);

    ngx_explicit_memzero(block, sizeof(block));
}


/*
 * Both hashes have one block after that of the key, with 8 and 16 bytes in it:
 * done block by block, a token takes half the time of HMAC.
 */

void
ngx_vmess_legacy_token(const ngx_vmess_legacy_key_t *key, int64_t t,
    u_char *token)
{
    u_char      block[MD5_CBLOCK];
    uint32_t    state[4];
    ngx_uint_t  i;

    ngx_memzero(block, sizeof(block));

    (void) ngx_vmess_legacy_time(block, t);

    block[8] = 0x80;
    block[56] = (u_char) ((MD5_CBLOCK + 8) * 8);
    block[57] = (u_char) ((MD5_CBLOCK + 8) * 8 >> 8);

    ngx_memcpy(state, key->inner, sizeof(state));
    ngx_vmess_legacy_transform(state, block);

    for (i = 0; i < 16; i++) {
        block[i] = (u_char) (state[i / 4] >> 8 * (i % 4));
    }

    block[16] = 0x80;
    block[56] = (u_char) ((MD5_CBLOCK + 16) * 8);
    block[57] = (u_char) ((MD5_CBLOCK + 16) * 8 >> 8);

    ngx_memcpy(state, key->outer, sizeof(state));
    ngx_vmess_legacy_transform(state, block);

    for (i = 0; i < 16; i++) {
        token[i] = (u_char) (state[i / 4] >> 8 * (i % 4));
    }
}


static void
ngx_vmess_legacy_transform(uint32_t *state, const u_char *block)
{
    MD5_CTX  md5;

    md5.A = state[0];
    md5.B = state[1];
    md5.C = state[2];
    md5.D = state[3];

    MD5_Transform(&md5, block);

    state[0] = md5.A;
    state[1] = md5.B;
    state[2] = md5.C;
    state[3] = md5.D;

    ngx_explicit_memzero(&md5, sizeof(MD5_CTX));
}


static u_char *
ngx_vmess_legacy_time(u_char *p, int64_t t)
{
    ngx_uint_t  i;

    for (i = 0; i < 8; i++) {
        *p++ = (u_char) ((uint64_t) t >> (56 - 8 * i));
    }

    return p;
}
