
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_header.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_kdf.h"


/* VMess, "Instruction header": up to the port, which is followed by more */

#define NGX_VMESS_HEADER_FIXED  38


static ngx_int_t ngx_vmess_header_open(ngx_vmess_header_t *h,
    ngx_vmess_aead_t *aead, ngx_vmess_kdf_label_e key,
    ngx_vmess_kdf_label_e nonce, u_char *prefix, u_char *in, size_t len,
    u_char *out);
static ngx_int_t ngx_vmess_header_check(ngx_vmess_header_t *h);


ngx_int_t
ngx_vmess_header_read(ngx_vmess_header_t *h, ngx_buf_t *b)
{
    size_t            size;
    u_char            length[2], section[NGX_VMESS_HEADER_MAX];
    ngx_int_t         rc;
    ngx_vmess_aead_t  aead;

    enum {
        sw_eauid = 0,
        sw_length,
        sw_section
    };

    size = b->last - b->pos;
    aead.ctx = NULL;

    switch (h->state) {

    case sw_eauid:

        if (size < NGX_VMESS_EAUID_LEN) {
            return NGX_AGAIN;
        }

        ngx_memcpy(h->eauid, b->pos, NGX_VMESS_EAUID_LEN);

        h->state = sw_length;

        return NGX_DONE;

    case sw_length:

        if (size < NGX_VMESS_PREFIX_LEN) {
            return NGX_AGAIN;
        }

        rc = ngx_vmess_header_open(h, &aead, NGX_VMESS_KDF_LENGTH_KEY,
                                   NGX_VMESS_KDF_LENGTH_NONCE, b->pos,
                                   b->pos + NGX_VMESS_EAUID_LEN,
                                   NGX_VMESS_ALENGTH_LEN, length);
        if (rc != NGX_OK) {
            goto done;
        }

        h->length = length[0] << 8 | length[1];

        if (h->length < NGX_VMESS_HEADER_MIN
            || h->length > NGX_VMESS_HEADER_MAX)
        {
            h->err = "bad length";
            rc = NGX_DECLINED;
            goto done;
        }

        h->state = sw_section;

        /* fall through */

    default: /* sw_section */

        if (size - NGX_VMESS_PREFIX_LEN < h->length + NGX_VMESS_TAG_LEN) {
            rc = NGX_AGAIN;
            goto done;
        }

        rc = ngx_vmess_header_open(h, &aead, NGX_VMESS_KDF_HEADER_KEY,
                                   NGX_VMESS_KDF_HEADER_NONCE, b->pos,
                                   b->pos + NGX_VMESS_PREFIX_LEN,
                                   h->length + NGX_VMESS_TAG_LEN, section);

        if (rc == NGX_OK) {
            rc = ngx_vmess_header_parse(h, section, h->length);
        }

        ngx_explicit_memzero(section, h->length);

        if (rc == NGX_OK) {
            b->pos += NGX_VMESS_PREFIX_LEN + h->length + NGX_VMESS_TAG_LEN;
        }
    }

done:

    ngx_vmess_aead_cleanup(&aead);

    return rc;
}


/*
 * VMess, "Request, AEAD header": EAuID as sent is the additional data of both
 * sealed parts; EAuID and the nonce of the header end their paths.
 */

static ngx_int_t
ngx_vmess_header_open(ngx_vmess_header_t *h, ngx_vmess_aead_t *aead,
    ngx_vmess_kdf_label_e key, ngx_vmess_kdf_label_e nonce, u_char *prefix,
    u_char *in, size_t len, u_char *out)
{
    u_char     k[NGX_VMESS_KEY_LEN], n[NGX_VMESS_NONCE_LEN];
    ngx_int_t  rc;
    ngx_str_t  path[2];

    path[0].len = NGX_VMESS_EAUID_LEN;
    path[0].data = prefix;

    path[1].len = NGX_VMESS_HEADER_NONCE_LEN;
    path[1].data = prefix + NGX_VMESS_EAUID_LEN + NGX_VMESS_ALENGTH_LEN;

    ngx_vmess_kdf(k, sizeof(k), h->cmd_key, key, path, 2);
    ngx_vmess_kdf(n, sizeof(n), h->cmd_key, nonce, path, 2);

    rc = ngx_vmess_aead_init(aead, NGX_VMESS_SEC_AES_128_GCM, k, 0);

    if (rc == NGX_OK) {
        rc = ngx_vmess_aead_open(aead, n, prefix, NGX_VMESS_EAUID_LEN,
                                 in, len, out);
    }

    ngx_explicit_memzero(k, sizeof(k));
    ngx_explicit_memzero(n, sizeof(n));

    h->bad_tag = (rc == NGX_DECLINED);
    h->err = h->bad_tag ? "bad tag" : NULL;

    return rc;
}


ngx_int_t
ngx_vmess_header_parse(ngx_vmess_header_t *h, u_char *p, size_t len)
{
    u_char     *start, *last, sum[NGX_VMESS_FNV1A_LEN];
    size_t      padding;
    ngx_int_t   rc;

    h->err = NULL;

    if (len < NGX_VMESS_HEADER_MIN) {
        h->err = "bad length";
        return NGX_DECLINED;
    }

    start = p;
    last = p + len;

    /*
     * The version is not checked: neither v2ray nor Xray check it, and clients
     * that work with them have to work here.
     */

    ngx_memcpy(h->iv, p + 1, NGX_VMESS_IV_LEN);
    ngx_memcpy(h->key, p + 17, NGX_VMESS_KEY_LEN);

    h->v = p[33];
    h->opt = p[34];
    padding = p[35] >> 4;
    h->security = p[35] & 0x0f;
    h->command = p[37];

    p += NGX_VMESS_HEADER_FIXED;

    switch (h->command) {

    case NGX_VMESS_CMD_TCP:
    case NGX_VMESS_CMD_UDP:

        rc = ngx_vmess_address_parse(&h->address, &p, last);

        if (rc == NGX_AGAIN) {
            h->err = "truncated address";
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            h->err = h->address.err;
            return rc;
        }

        break;

    case NGX_VMESS_CMD_MUX:
        break;

    default:
        h->err = "unknown command";
        return NGX_ERROR;
    }

    if ((size_t) (last - p) < padding + NGX_VMESS_FNV1A_LEN) {
        h->err = "truncated padding";
        return NGX_ERROR;
    }

    p += padding;

    /* bytes after the check sum are ignored, as by all peers */

    ngx_vmess_hash_fnv1a_sum(sum, start, p - start);

    if (!ngx_vmess_equal(sum, p, NGX_VMESS_FNV1A_LEN)) {
        h->err = "wrong check sum";
        return NGX_DECLINED;
    }

    return ngx_vmess_header_check(h);
}


static ngx_int_t
ngx_vmess_header_check(ngx_vmess_header_t *h)
{
    /* "unknown" is what old clients call the only cipher they have */

    if (h->legacy && h->security == 0) {
        h->security = NGX_VMESS_SEC_AES_128_CFB;
    }

    switch (h->security) {

    case NGX_VMESS_SEC_AES_128_CFB:
    case NGX_VMESS_SEC_AES_128_GCM:
    case NGX_VMESS_SEC_CHACHA20:
    case NGX_VMESS_SEC_NONE:
        break;

    default:
        h->err = "unknown security";
        return NGX_ERROR;
    }

    /* the lengths of padding come from the generator of the mask */

    if ((h->opt & NGX_VMESS_OPT_PADDING) && !(h->opt & NGX_VMESS_OPT_MASK)) {
        h->err = "padding without masking";
        return NGX_ERROR;
    }

    /* a raw stream has no borders of datagrams; sing-box refuses as well */

    if (h->command == NGX_VMESS_CMD_UDP && !(h->opt & NGX_VMESS_OPT_CHUNK)) {
        h->err = "UDP without chunk framing";
        return NGX_ERROR;
    }

    return NGX_OK;
}
