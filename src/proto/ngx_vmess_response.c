
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_response.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_hash.h"
#include "ngx_vmess_kdf.h"


/* VMess, "Response header" */

#define NGX_VMESS_RESPONSE_FIXED   4
#define NGX_VMESS_RESPONSE_SWITCH  1

#define NGX_VMESS_SWITCH_FIXED                                                \
    (NGX_VMESS_FNV1A_LEN + 1 + 2 + NGX_VMESS_ID_LEN + 2 + 1 + 1)


static ngx_int_t ngx_vmess_response_encrypt(ngx_vmess_cfb_t *cfb,
    const u_char *key, const u_char *iv, u_char *p, size_t len);
static ngx_int_t ngx_vmess_response_seal(ngx_vmess_aead_t *aead,
    const u_char *key, ngx_vmess_kdf_label_e key_label, const u_char *iv,
    ngx_vmess_kdf_label_e nonce_label, const u_char *in, size_t len,
    u_char *out);


void
ngx_vmess_response_keys(const ngx_vmess_header_t *h, u_char *key, u_char *iv)
{
    u_char  hash[32];

    if (h->legacy) {
        ngx_vmess_hash_md5(key, h->key, NGX_VMESS_KEY_LEN);
        ngx_vmess_hash_md5(iv, h->iv, NGX_VMESS_IV_LEN);
        return;
    }

    ngx_vmess_hash_sha256(hash, h->key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(key, hash, NGX_VMESS_KEY_LEN);

    ngx_vmess_hash_sha256(hash, h->iv, NGX_VMESS_IV_LEN);
    ngx_memcpy(iv, hash, NGX_VMESS_IV_LEN);

    ngx_explicit_memzero(hash, sizeof(hash));
}


ngx_int_t
ngx_vmess_response_create(const ngx_vmess_header_t *h, const u_char *key,
    const u_char *iv, const ngx_str_t *command, ngx_vmess_cfb_t *cfb,
    ngx_str_t *out)
{
    u_char            header[NGX_VMESS_RESPONSE_FIXED + NGX_VMESS_COMMAND_MAX],
                      length[2];
    size_t            len;
    ngx_int_t         rc;
    ngx_vmess_aead_t  aead;

    /* VMess, "Response header": V, options, command, length of the command */

    ngx_memzero(header, NGX_VMESS_RESPONSE_FIXED);

    header[0] = h->v;
    len = NGX_VMESS_RESPONSE_FIXED;

    if (command) {
        header[2] = NGX_VMESS_RESPONSE_SWITCH;
        header[3] = (u_char) command->len;

        ngx_memcpy(header + len, command->data, command->len);
        len += command->len;
    }

    if (h->legacy) {
        ngx_memcpy(out->data, header, len);
        out->len = len;

        return ngx_vmess_response_encrypt(cfb, key, iv, out->data, len);
    }

    length[0] = (u_char) (len >> 8);
    length[1] = (u_char) len;

    out->len = NGX_VMESS_ALENGTH_LEN + len + NGX_VMESS_TAG_LEN;

    aead.ctx = NULL;

    rc = ngx_vmess_response_seal(&aead, key, NGX_VMESS_KDF_RESPONSE_LENGTH_KEY,
                                 iv, NGX_VMESS_KDF_RESPONSE_LENGTH_NONCE,
                                 length, sizeof(length), out->data);

    if (rc == NGX_OK) {
        rc = ngx_vmess_response_seal(&aead, key, NGX_VMESS_KDF_RESPONSE_KEY,
                                     iv, NGX_VMESS_KDF_RESPONSE_NONCE,
                                     header, len,
                                     out->data + NGX_VMESS_ALENGTH_LEN);
    }

    ngx_vmess_aead_cleanup(&aead);

    return rc;
}


static ngx_int_t
ngx_vmess_response_encrypt(ngx_vmess_cfb_t *cfb, const u_char *key,
    const u_char *iv, u_char *p, size_t len)
{
    ngx_int_t        rc;
    ngx_vmess_cfb_t  own;

    if (cfb->ctx) {
        return ngx_vmess_cfb_crypt(cfb, p, len, p);
    }

    own.ctx = NULL;

    rc = ngx_vmess_cfb_init(&own, key, iv, 1);

    if (rc == NGX_OK) {
        rc = ngx_vmess_cfb_crypt(&own, p, len, p);
    }

    ngx_vmess_cfb_cleanup(&own);

    return rc;
}


/* keys come from the key of the response, but nonces from its IV */

static ngx_int_t
ngx_vmess_response_seal(ngx_vmess_aead_t *aead, const u_char *key,
    ngx_vmess_kdf_label_e key_label, const u_char *iv,
    ngx_vmess_kdf_label_e nonce_label, const u_char *in, size_t len,
    u_char *out)
{
    u_char     k[NGX_VMESS_KEY_LEN], n[NGX_VMESS_NONCE_LEN];
    ngx_int_t  rc;

    ngx_vmess_kdf(k, sizeof(k), key, key_label, NULL, 0);
    ngx_vmess_kdf(n, sizeof(n), iv, nonce_label, NULL, 0);

    rc = ngx_vmess_aead_init(aead, NGX_VMESS_SEC_AES_128_GCM, k, 1);

    if (rc == NGX_OK) {
        rc = ngx_vmess_aead_seal(aead, n, NULL, 0, in, len, out);
    }

    ngx_explicit_memzero(k, sizeof(k));
    ngx_explicit_memzero(n, sizeof(n));

    return rc;
}


size_t
ngx_vmess_response_switch(const ngx_vmess_switch_t *sw, u_char *out)
{
    u_char  *p;

    if (sw->host.len > NGX_VMESS_COMMAND_MAX - NGX_VMESS_SWITCH_FIXED) {
        return 0;
    }

    p = out + NGX_VMESS_FNV1A_LEN;

    *p++ = (u_char) sw->host.len;

    if (sw->host.len) {
        p = ngx_cpymem(p, sw->host.data, sw->host.len);
    }

    *p++ = (u_char) (sw->port >> 8);
    *p++ = (u_char) sw->port;

    p = ngx_cpymem(p, sw->id, NGX_VMESS_ID_LEN);

    *p++ = (u_char) (sw->alter_id >> 8);
    *p++ = (u_char) sw->alter_id;
    *p++ = sw->level;
    *p++ = sw->minutes;

    ngx_vmess_hash_fnv1a_sum(out, out + NGX_VMESS_FNV1A_LEN,
                             p - out - NGX_VMESS_FNV1A_LEN);

    return p - out;
}
