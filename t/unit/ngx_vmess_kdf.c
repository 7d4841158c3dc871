
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_kdf.h"
#include "ngx_vmess_id.h"

#include <openssl/sha.h>


static void test_path(u_char *out, const ngx_str_t *key, const ngx_str_t *path,
    ngx_uint_t n);
static void test_hash(u_char *out, const ngx_str_t *path, ngx_uint_t n,
    const u_char *data, size_t len);
static void test_kdf(void);
static void test_id(void);
static void test_account(void);
static void test_labels(void);


int
main(void)
{
    while (test_next()) {

        if (test_is("kdf")) {
            test_kdf();

        } else if (test_is("id")) {
            test_id();

        } else if (test_is("account")) {
            test_account();
        }
    }

    test_labels();

    return test_done();
}


/* the KDF as specified, of any key and path: checked by the vectors */

static void
test_path(u_char *out, const ngx_str_t *key, const ngx_str_t *path,
    ngx_uint_t n)
{
    ngx_uint_t  i;
    ngx_str_t   whole[4];

    ngx_str_set(&whole[0], "VMess AEAD KDF");

    for (i = 0; i < n; i++) {
        whole[1 + i] = path[i];
    }

    test_hash(out, whole, 1 + n, key->data, key->len);
}


/* SHA-256, or HMAC keyed with the last of the path, of the hash of the rest */

static void
test_hash(u_char *out, const ngx_str_t *path, ngx_uint_t n, const u_char *data,
    size_t len)
{
    u_char      inner[64 + 1024], outer[64 + 32];
    ngx_uint_t  i;

    if (n == 0) {
        SHA256(data, len, out);
        return;
    }

    n--;

    ngx_memzero(inner, 64);

    if (path[n].len > 64) {
        test_hash(inner, path, n, path[n].data, path[n].len);

    } else {
        ngx_memcpy(inner, path[n].data, path[n].len);
    }

    for (i = 0; i < 64; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }

    ngx_memcpy(inner + 64, data, len);

    test_hash(outer + 64, path, n, inner, 64 + len);
    test_hash(out, path, n, outer, sizeof(outer));
}


static void
test_kdf(void)
{
    u_char       out[32];
    ngx_str_t    key, path[3];
    ngx_uint_t   n;

    static const char  *names[] = { "path0", "path1", "path2" };

    for (n = 0; n < 3 && test_has(names[n]); n++) {
        path[n] = test_bin(names[n]);
    }

    key = test_bin("key");

    test_path(out, &key, path, n);

    test_ok(test_equal(test_bin("out"), out, 32),
            "KDF of a key of %zu bytes with a path of %d", key.len, (int) n);
}


static void
test_id(void)
{
    u_char     id[NGX_VMESS_ID_LEN], cmd_key[NGX_VMESS_KEY_LEN];
    ngx_str_t  text;

    text = test_bin("text");

    if (!test_has("id")) {
        test_ok(ngx_vmess_id_parse(id, &text) == NGX_ERROR,
                "id \"%.*s\" is refused", (int) text.len, text.data);
        return;
    }

    if (ngx_vmess_id_parse(id, &text) != NGX_OK) {
        test_ok(0, "id \"%.*s\"", (int) text.len, text.data);
        return;
    }

    ngx_vmess_id_cmd_key(cmd_key, id);

    test_ok(test_equal(test_bin("id"), id, sizeof(id))
            && test_equal(test_bin("cmd_key"), cmd_key, sizeof(cmd_key)),
            "id \"%.*s\"", (int) text.len, text.data);
}


static void
test_account(void)
{
    u_char  key[NGX_VMESS_KEY_LEN], ids[4 * NGX_VMESS_ID_LEN], *id;

    id = test_bin("id").data;

    ngx_vmess_id_next(ids, id);

    for (id = ids; id < ids + 3 * NGX_VMESS_ID_LEN; id += NGX_VMESS_ID_LEN) {
        ngx_vmess_id_next(id + NGX_VMESS_ID_LEN, id);
    }

    test_ok(test_equal(test_bin("alter_ids"), ids, sizeof(ids)), "alter ids");

    ngx_vmess_id_cmd_key(key, test_bin("id").data);

    test_ok(test_equal(test_bin("cmd_key"), key, sizeof(key)), "CmdKey");

    ngx_vmess_kdf(key, sizeof(key), test_bin("cmd_key").data,
                  NGX_VMESS_KDF_EAUID, NULL, 0);

    test_ok(test_equal(test_bin("aes_key"), key, sizeof(key)), "EAuID key");
}


/* against the KDF as specified, each label by its name */

static void
test_labels(void)
{
    u_char        key[NGX_VMESS_KEY_LEN], data[16], expected[32], out[33];
    ngx_str_t     path[3], whole;
    ngx_uint_t    i, n, len, good;

    static const struct {
        ngx_vmess_kdf_label_e   label;
        const char             *text;
    } labels[] = {
        { NGX_VMESS_KDF_EAUID, "AES Auth ID Encryption" },
        { NGX_VMESS_KDF_LENGTH_KEY, "VMess Header AEAD Key_Length" },
        { NGX_VMESS_KDF_LENGTH_NONCE, "VMess Header AEAD Nonce_Length" },
        { NGX_VMESS_KDF_HEADER_KEY, "VMess Header AEAD Key" },
        { NGX_VMESS_KDF_HEADER_NONCE, "VMess Header AEAD Nonce" },
        { NGX_VMESS_KDF_RESPONSE_LENGTH_KEY, "AEAD Resp Header Len Key" },
        { NGX_VMESS_KDF_RESPONSE_LENGTH_NONCE, "AEAD Resp Header Len IV" },
        { NGX_VMESS_KDF_RESPONSE_KEY, "AEAD Resp Header Key" },
        { NGX_VMESS_KDF_RESPONSE_NONCE, "AEAD Resp Header IV" },
        { NGX_VMESS_KDF_AUTH_LENGTH, "auth_len" }
    };

    test_fill(key, sizeof(key));
    test_fill(data, sizeof(data));

    whole.data = key;
    whole.len = sizeof(key);

    for (i = 0; i < NGX_VMESS_KDF_LABELS; i++) {
        good = 0;

        path[0].data = (u_char *) labels[i].text;
        path[0].len = strlen(labels[i].text);

        for (n = 0; n <= NGX_VMESS_KDF_PATH; n++) {

            if (n) {
                path[n].data = data;
                path[n].len = 8 * n;
            }

            test_path(expected, &whole, path, 1 + n);

            for (len = 0; len <= 32; len++) {
                out[len] = 0xa5;

                ngx_vmess_kdf(out, len, key, labels[i].label, path + 1, n);

                good += ngx_memcmp(out, expected, len) == 0
                        && out[len] == 0xa5;
            }
        }

        test_ok(good == (NGX_VMESS_KDF_PATH + 1) * 33, "label \"%s\"",
                labels[i].text);
    }
}
