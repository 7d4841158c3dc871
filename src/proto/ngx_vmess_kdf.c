
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kdf.h"

#include <openssl/sha.h>


/* states of the hash after the root and one label, and after a whole path */

#define NGX_VMESS_KDF_LABEL_STATES  4
#define NGX_VMESS_KDF_STATES                                                  \
    (NGX_VMESS_KDF_LABEL_STATES << NGX_VMESS_KDF_PATH)


static void ngx_vmess_kdf_init(void);
static void ngx_vmess_kdf_key(SHA256_CTX *sha256, ngx_uint_t n,
    const u_char *key, size_t len);
static void ngx_vmess_kdf_final(SHA256_CTX *sha256, ngx_uint_t n,
    u_char *digest);


static const ngx_str_t  ngx_vmess_kdf_root = ngx_string("VMess AEAD KDF");

/* in the order of ngx_vmess_kdf_label_e */

static const ngx_str_t  ngx_vmess_kdf_labels[NGX_VMESS_KDF_LABELS] = {
    ngx_string("AES Auth ID Encryption"),
    ngx_string("VMess Header AEAD Key_Length"),
    ngx_string("VMess Header AEAD Nonce_Length"),
    ngx_string("VMess Header AEAD Key"),
    ngx_string("VMess Header AEAD Nonce"),
    ngx_string("AEAD Resp Header Len Key"),
    ngx_string("AEAD Resp Header Len IV"),
    ngx_string("AEAD Resp Header Key"),
    ngx_string("AEAD Resp Header IV"),
    ngx_string("auth_len")
};

/* made of public constants alone: nothing to wipe */

static SHA256_CTX
    ngx_vmess_kdf_states[NGX_VMESS_KDF_LABELS][NGX_VMESS_KDF_LABEL_STATES];
static ngx_uint_t  ngx_vmess_kdf_ready;


/*
 * VMess, "KDF".  Each HMAC uses the one before it as its hash, so a hash with
 * n keys takes 2^n states of SHA-256.  Unrolled, the nesting is a chain: data
 * goes to the first state, and the digest of each state to the next one.  A
 * key doubles the states, and changes only the first state of each half.
 */

void
ngx_vmess_kdf(u_char *out, size_t len, const u_char *key,
    ngx_vmess_kdf_label_e label, const ngx_str_t *path, ngx_uint_t n)
{
    u_char      digest[SHA256_DIGEST_LENGTH];
    ngx_uint_t  i, states;
    SHA256_CTX  sha256[NGX_VMESS_KDF_STATES];

    if (!ngx_vmess_kdf_ready) {
        ngx_vmess_kdf_init();
    }

    states = NGX_VMESS_KDF_LABEL_STATES;

    ngx_memcpy(sha256, ngx_vmess_kdf_states[label],
               states * sizeof(SHA256_CTX));

    for (i = 0; i < n; i++) {
        ngx_vmess_kdf_key(sha256, states, path[i].data, path[i].len);
        states *= 2;
    }

    SHA256_Update(&sha256[0], key, NGX_VMESS_KEY_LEN);

    ngx_vmess_kdf_final(sha256, states, digest);

    ngx_memcpy(out, digest, len);

    ngx_explicit_memzero(digest, sizeof(digest));
    ngx_explicit_memzero(sha256, states * sizeof(SHA256_CTX));
}


static void
ngx_vmess_kdf_init(void)
{
    ngx_uint_t   i;
    SHA256_CTX  *sha256;

    for (i = 0; i < NGX_VMESS_KDF_LABELS; i++) {
        sha256 = ngx_vmess_kdf_states[i];

        SHA256_Init(&sha256[0]);

        ngx_vmess_kdf_key(sha256, 1, ngx_vmess_kdf_root.data,
                          ngx_vmess_kdf_root.len);
        ngx_vmess_kdf_key(sha256, 2, ngx_vmess_kdf_labels[i].data,
                          ngx_vmess_kdf_labels[i].len);
    }

    ngx_vmess_kdf_ready = 1;
}


/* makes an HMAC keyed with key of the hash in n states, in 2n states */

static void
ngx_vmess_kdf_key(SHA256_CTX *sha256, ngx_uint_t n, const u_char *key,
    size_t len)
{
    u_char      pad[SHA256_CBLOCK];
    ngx_uint_t  i;

    ngx_memcpy(&sha256[n], sha256, n * sizeof(SHA256_CTX));

    /* RFC 2104, 2.  Definition of HMAC */

    ngx_memset(pad, 0x36, sizeof(pad));

    for (i = 0; i < len; i++) {
        pad[i] ^= key[i];
    }

    SHA256_Update(&sha256[0], pad, sizeof(pad));

    for (i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }

    SHA256_Update(&sha256[n], pad, sizeof(pad));
}


static void
ngx_vmess_kdf_final(SHA256_CTX *sha256, ngx_uint_t n, u_char *digest)
{
    ngx_uint_t  i;

    SHA256_Final(digest, &sha256[0]);

    for (i = 1; i < n; i++) {
        SHA256_Update(&sha256[i], digest, SHA256_DIGEST_LENGTH);
        SHA256_Final(digest, &sha256[i]);
    }
}
