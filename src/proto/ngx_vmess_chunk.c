
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_chunk.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_kdf.h"


#define NGX_VMESS_CHUNK_LENGTH_LEN       2
#define NGX_VMESS_CHUNK_AUTH_LENGTH_LEN  (2 + NGX_VMESS_TAG_LEN)


#define ngx_vmess_chunk_length_len(cc)                                        \
    ((cc)->auth_length ? NGX_VMESS_CHUNK_AUTH_LENGTH_LEN                      \
                       : NGX_VMESS_CHUNK_LENGTH_LEN)


static ngx_int_t ngx_vmess_chunk_init_aead(ngx_vmess_chunk_t *cc,
    const ngx_vmess_header_t *h, const u_char *key, const u_char *iv,
    ngx_uint_t seal);
static ngx_int_t ngx_vmess_chunk_open_stream(ngx_vmess_chunk_t *cc,
    ngx_buf_t *b, ngx_str_t *out);
static ngx_int_t ngx_vmess_chunk_open_cfb(ngx_vmess_chunk_t *cc, u_char *p,
    size_t len, u_char *out);
static ngx_int_t ngx_vmess_chunk_open_length(ngx_vmess_chunk_t *cc,
    ngx_buf_t *b);
static ngx_int_t ngx_vmess_chunk_seal_length(ngx_vmess_chunk_t *cc,
    size_t length, u_char *p);
static size_t ngx_vmess_chunk_padding(ngx_vmess_chunk_t *cc);
static void ngx_vmess_chunk_nonce(ngx_vmess_chunk_t *cc, u_char *nonce);


ngx_int_t
ngx_vmess_chunk_init(ngx_vmess_chunk_t *cc, const ngx_vmess_header_t *h,
    const u_char *key, const u_char *iv, ngx_uint_t seal)
{
    ngx_uint_t  padding;

    /*
     * Padding is for chunks with overhead and for datagrams: v2ray and Xray
     * ignore the option for an unencrypted stream.  sing-box would not, but
     * none of its clients asks for it.
     */

    padding = (h->command == NGX_VMESS_CMD_UDP);

    switch (h->security) {

    case NGX_VMESS_SEC_AES_128_GCM:
    case NGX_VMESS_SEC_CHACHA20:

        /* chunks whatever S says; authenticated lengths are for these only */

        padding = 1;
        cc->overhead = NGX_VMESS_TAG_LEN;

        if (h->opt & NGX_VMESS_OPT_AUTH_LENGTH) {
            cc->auth_length = 1;
        }

        if (ngx_vmess_chunk_init_aead(cc, h, key, iv, seal) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    case NGX_VMESS_SEC_AES_128_CFB:

        padding = 1;
        cc->overhead = NGX_VMESS_FNV1A_LEN;

        if (ngx_vmess_cfb_init(&cc->cfb, key, iv, seal) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!(h->opt & NGX_VMESS_OPT_CHUNK)) {
            cc->stream = 1;
            return NGX_OK;
        }

        break;

    case NGX_VMESS_SEC_NONE:

        if (!(h->opt & NGX_VMESS_OPT_CHUNK)) {
            cc->raw = 1;
            return NGX_OK;
        }

        break;

    default:
        return NGX_ERROR;
    }

    /* v2ray and Xray neither send nor expect an end chunk without S */

    if (h->opt & NGX_VMESS_OPT_CHUNK) {
        cc->end = 1;
    }

    if ((h->opt & NGX_VMESS_OPT_MASK) && !cc->auth_length) {
        cc->masked = 1;
    }

    if ((h->opt & NGX_VMESS_OPT_PADDING) && padding) {
        cc->padded = 1;
    }

    if (cc->masked || cc->padded) {
        ngx_vmess_shake_init(&cc->shake, iv, NGX_VMESS_IV_LEN);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_chunk_init_aead(ngx_vmess_chunk_t *cc, const ngx_vmess_header_t *h,
    const u_char *key, const u_char *iv, ngx_uint_t seal)
{
    u_char     length_key[NGX_VMESS_KEY_LEN];
    ngx_int_t  rc;

    ngx_memcpy(cc->nonce + 2, iv + 2, NGX_VMESS_NONCE_LEN - 2);

    if (ngx_vmess_aead_init(&cc->aead, h->security, key, seal) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!cc->auth_length) {
        return NGX_OK;
    }

    /*
     * A weakness of the protocol: key and IV of the request serve in both
     * directions, so that lengths are sealed twice with the same nonces.
     */

    ngx_memcpy(cc->length_nonce + 2, h->iv + 2, NGX_VMESS_NONCE_LEN - 2);

    ngx_vmess_kdf(length_key, sizeof(length_key), h->key,
                  NGX_VMESS_KDF_AUTH_LENGTH, NULL, 0);

    rc = ngx_vmess_aead_init(&cc->length_aead, h->security, length_key, seal);

    ngx_explicit_memzero(length_key, sizeof(length_key));

    return rc;
}


void
ngx_vmess_chunk_cleanup(ngx_vmess_chunk_t *cc)
{
    ngx_vmess_aead_cleanup(&cc->aead);
    ngx_vmess_aead_cleanup(&cc->length_aead);
    ngx_vmess_cfb_cleanup(&cc->cfb);

    ngx_explicit_memzero(cc, sizeof(ngx_vmess_chunk_t));
}


ngx_int_t
ngx_vmess_chunk_open(ngx_vmess_chunk_t *cc, ngx_buf_t *b, ngx_str_t *out)
{
    u_char     *p, *data;
    size_t      len;
    ngx_int_t   rc;

    cc->err = NULL;

    if (cc->raw || cc->stream) {
        return ngx_vmess_chunk_open_stream(cc, b, out);
    }

    for ( ;; ) {

        if (!cc->known) {
            rc = ngx_vmess_chunk_open_length(cc, b);
            if (rc != NGX_OK) {
                return rc;
            }
        }

        if ((size_t) (b->last - b->pos) < ngx_vmess_chunk_need(cc)) {
            return NGX_AGAIN;
        }

        p = b->pos + ngx_vmess_chunk_length_len(cc);
        len = cc->length - cc->padding - cc->overhead;

        data = p;

        if (len && len <= out->len) {
            data = out->data;

        } else if (cc->cfb.ctx) {
            data += NGX_VMESS_FNV1A_LEN;
        }

        /* the tag of an end chunk is checked too */

        if (cc->aead.ctx) {
            ngx_vmess_chunk_nonce(cc, cc->nonce);

            rc = ngx_vmess_aead_open(&cc->aead, cc->nonce, NULL, 0,
                                     p, len + cc->overhead, data);

            if (rc == NGX_DECLINED) {
                cc->err = "wrong tag of chunk";
            }

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (cc->cfb.ctx) {

            rc = ngx_vmess_chunk_open_cfb(cc, p, len, data);

            if (rc == NGX_DECLINED) {
                cc->err = "wrong check sum of chunk";
            }

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }

        } else if (data != p) {
            ngx_memcpy(data, p, len);
        }

        b->pos += ngx_vmess_chunk_need(cc);

        cc->known = 0;
        cc->count++;

        if (len) {
            out->data = data;
            out->len = len;
            return NGX_OK;
        }

        if (cc->count > 1) {
            out->len = 0;
            return NGX_DONE;
        }
    }
}


size_t
ngx_vmess_chunk_need(ngx_vmess_chunk_t *cc)
{
    if (cc->raw || cc->stream) {
        return 1;
    }

    if (!cc->known) {
        return ngx_vmess_chunk_length_len(cc);
    }

    return ngx_vmess_chunk_length_len(cc) + cc->length;
}


static ngx_int_t
ngx_vmess_chunk_open_stream(ngx_vmess_chunk_t *cc, ngx_buf_t *b,
    ngx_str_t *out)
{
    size_t  len;

    if (b->pos == b->last) {
        return NGX_AGAIN;
    }

    len = b->last - b->pos;

    if (out->len) {
        len = ngx_min(len, out->len);

    } else {
        out->data = b->pos;
    }

    if (cc->stream) {

        if (ngx_vmess_cfb_crypt(&cc->cfb, b->pos, len, out->data) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (out->data != b->pos) {
        ngx_memcpy(out->data, b->pos, len);
    }

    out->len = len;
    b->pos += len;

    return NGX_OK;
}


/* check sum, data and padding are one piece of the cipher stream */

static ngx_int_t
ngx_vmess_chunk_open_cfb(ngx_vmess_chunk_t *cc, u_char *p, size_t len,
    u_char *out)
{
    u_char  sum[NGX_VMESS_FNV1A_LEN], expected[NGX_VMESS_FNV1A_LEN],
            padding[NGX_VMESS_PADDING_MAX];

    if (ngx_vmess_cfb_crypt(&cc->cfb, p, sizeof(sum), sum) != NGX_OK) {
        return NGX_ERROR;
    }

    p += sizeof(sum);

    if (ngx_vmess_cfb_crypt(&cc->cfb, p, len, out) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_vmess_cfb_crypt(&cc->cfb, p + len, cc->padding, padding)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_vmess_hash_fnv1a_sum(expected, out, len);

    return ngx_vmess_equal(sum, expected, sizeof(sum)) ? NGX_OK : NGX_DECLINED;
}


/*
 * Called once for each chunk, as it moves the generator, the counter and the
 * cipher stream on; so the result is kept while the rest of the chunk is
 * awaited.
 */

static ngx_int_t
ngx_vmess_chunk_open_length(ngx_vmess_chunk_t *cc, ngx_buf_t *b)
{
    u_char     *p, plain[2];
    size_t      length, padding;
    ngx_int_t   rc;

    if ((size_t) (b->last - b->pos) < ngx_vmess_chunk_length_len(cc)) {
        return NGX_AGAIN;
    }

    p = b->pos;
    padding = ngx_vmess_chunk_padding(cc);

    if (cc->auth_length) {
        ngx_vmess_chunk_nonce(cc, cc->length_nonce);

        rc = ngx_vmess_aead_open(&cc->length_aead, cc->length_nonce, NULL, 0,
                                 p, NGX_VMESS_CHUNK_AUTH_LENGTH_LEN, plain);

        if (rc == NGX_DECLINED) {
            cc->err = "wrong tag of chunk length";
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        length = (plain[0] << 8 | plain[1]) + NGX_VMESS_TAG_LEN;

    } else {

        if (cc->cfb.ctx) {

            if (ngx_vmess_cfb_crypt(&cc->cfb, p, 2, plain) != NGX_OK) {
                return NGX_ERROR;
            }

            p = plain;
        }

        length = p[0] << 8 | p[1];

        if (cc->masked) {
            length ^= ngx_vmess_shake_next(&cc->shake);
        }
    }

    /* Go peers let both sums wrap around and fail later */

    if (length < cc->overhead + padding
        || length > NGX_VMESS_CHUNK_MAX)
    {
        cc->err = "invalid chunk length";
        return NGX_ERROR;
    }

    cc->length = length;
    cc->padding = padding;
    cc->known = 1;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_chunk_seal(ngx_vmess_chunk_t *cc, const u_char *in, size_t len,
    const u_char *random, u_char **out)
{
    u_char  *p, *start;
    size_t   padding;

    p = *out;

    if (cc->stream) {
        *out += len;
        return ngx_vmess_cfb_crypt(&cc->cfb, in, len, p);
    }

    if (cc->raw) {
        *out = ngx_cpymem(p, in, len);
        return NGX_OK;
    }

    start = p;
    padding = ngx_vmess_chunk_padding(cc);

    if (ngx_vmess_chunk_seal_length(cc, len + cc->overhead + padding, p)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p += ngx_vmess_chunk_length_len(cc);

    if (cc->aead.ctx) {
        ngx_vmess_chunk_nonce(cc, cc->nonce);

        if (ngx_vmess_aead_seal(&cc->aead, cc->nonce, NULL, 0, in, len, p)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        p += len + cc->overhead;

    } else {

        if (cc->cfb.ctx) {
            ngx_vmess_hash_fnv1a_sum(p, in, len);
            p += NGX_VMESS_FNV1A_LEN;
        }

        if (len) {
            p = ngx_cpymem(p, in, len);
        }
    }

    if (padding) {
        p = ngx_cpymem(p, random, padding);
    }

    if (cc->cfb.ctx
        && ngx_vmess_cfb_crypt(&cc->cfb, start, p - start, start) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cc->count++;
    *out = p;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_chunk_seal_length(ngx_vmess_chunk_t *cc, size_t length, u_char *p)
{
    u_char  plain[2];

    if (cc->auth_length) {
        length -= NGX_VMESS_TAG_LEN;

        plain[0] = (u_char) (length >> 8);
        plain[1] = (u_char) length;

        ngx_vmess_chunk_nonce(cc, cc->length_nonce);

        return ngx_vmess_aead_seal(&cc->length_aead, cc->length_nonce,
                                   NULL, 0, plain, sizeof(plain), p);
    }

    if (cc->masked) {
        length ^= ngx_vmess_shake_next(&cc->shake);
    }

    p[0] = (u_char) (length >> 8);
    p[1] = (u_char) length;

    return NGX_OK;
}


/* VMess, "Body": drawn before the mask, and for an end chunk too */

static size_t
ngx_vmess_chunk_padding(ngx_vmess_chunk_t *cc)
{
    if (!cc->padded) {
        return 0;
    }

    return ngx_vmess_shake_next(&cc->shake) % (NGX_VMESS_PADDING_MAX + 1);
}


/*
 * A weakness of the protocol, kept as in every peer: the counter has 16 bits
 * and wraps around silently, so that nonces repeat after 65536 chunks.
 */

static void
ngx_vmess_chunk_nonce(ngx_vmess_chunk_t *cc, u_char *nonce)
{
    nonce[0] = (u_char) (cc->count >> 8);
    nonce[1] = (u_char) cc->count;
}
