
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_crypto.h"

#include <openssl/md5.h>
#include <openssl/sha.h>


#define NGX_VMESS_FNV1A_BASIS  0x811c9dc5
#define NGX_VMESS_FNV1A_PRIME  0x01000193


/*
 * Algorithms are process-wide, like libcrypto itself: an implicit fetch on
 * each use would cost more than the cryptography of a small chunk.
 */

static EVP_CIPHER      *ngx_vmess_aes_128_gcm;
static EVP_CIPHER      *ngx_vmess_chacha20_poly1305;
static EVP_CIPHER      *ngx_vmess_aes_128_cfb;
static EVP_CIPHER      *ngx_vmess_aes_128_ecb;

static EVP_CIPHER_CTX  *ngx_vmess_aes_ctx;


ngx_int_t
ngx_vmess_crypto_init(void)
{
    ngx_uint_t   i;
    EVP_CIPHER  *cipher;

    static struct {
        EVP_CIPHER  **cipher;
        const char   *name;
    } fetch[] = {
        { &ngx_vmess_aes_128_gcm, "AES-128-GCM" },
        { &ngx_vmess_chacha20_poly1305, "ChaCha20-Poly1305" },
        { &ngx_vmess_aes_128_cfb, "AES-128-CFB" },
        { &ngx_vmess_aes_128_ecb, "AES-128-ECB" }
    };

    if (ngx_vmess_aes_ctx) {
        return NGX_OK;
    }

    for (i = 0; i < sizeof(fetch) / sizeof(fetch[0]); i++) {

        if (*fetch[i].cipher) {
            continue;
        }

        cipher = EVP_CIPHER_fetch(NULL, fetch[i].name, NULL);
        if (cipher == NULL) {
            return NGX_ERROR;
        }

        *fetch[i].cipher = cipher;
    }

    ngx_vmess_aes_ctx = EVP_CIPHER_CTX_new();
    if (ngx_vmess_aes_ctx == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_aead_init(ngx_vmess_aead_t *aead, ngx_uint_t security,
    const u_char *key, ngx_uint_t seal)
{
    int                rc;
    u_char             expanded[2 * NGX_VMESS_KEY_LEN];
    const EVP_CIPHER  *cipher;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    if (aead->ctx == NULL) {
        aead->ctx = EVP_CIPHER_CTX_new();
        if (aead->ctx == NULL) {
            return NGX_ERROR;
        }
    }

    cipher = ngx_vmess_aes_128_gcm;

    if (security == NGX_VMESS_SEC_CHACHA20) {
        cipher = ngx_vmess_chacha20_poly1305;

        ngx_vmess_hash_md5(expanded, key, NGX_VMESS_KEY_LEN);
        ngx_vmess_hash_md5(expanded + NGX_VMESS_KEY_LEN, expanded,
                           NGX_VMESS_KEY_LEN);

        key = expanded;
    }

    /* naming the cipher again would free and allocate all of the context */

    if (EVP_CIPHER_CTX_get0_cipher(aead->ctx) == cipher) {
        cipher = NULL;
    }

    rc = EVP_CipherInit_ex2(aead->ctx, cipher, key, NULL, seal ? 1 : 0, NULL);

    if (key == expanded) {
        ngx_explicit_memzero(expanded, sizeof(expanded));
    }

    return (rc == 1) ? NGX_OK : NGX_ERROR;
}


void
ngx_vmess_aead_cleanup(ngx_vmess_aead_t *aead)
{
    EVP_CIPHER_CTX_free(aead->ctx);
    aead->ctx = NULL;
}


ngx_int_t
ngx_vmess_aead_seal(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out)
{
    int  n;

    if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, nonce, -1, NULL) != 1) {
        return NGX_ERROR;
    }

    if (aad && EVP_EncryptUpdate(aead->ctx, NULL, &n, aad, aad_len) != 1) {
        return NGX_ERROR;
    }

    if (len && EVP_EncryptUpdate(aead->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    /* both are stream ciphers: the final call yields no bytes but the tag */

    out += len;

    if (EVP_EncryptFinal_ex(aead->ctx, out, &n) != 1) {
        return NGX_ERROR;
    }

    if (EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_GET_TAG,
                            NGX_VMESS_TAG_LEN, out)
        != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_aead_open(ngx_vmess_aead_t *aead, const u_char *nonce,
    const u_char *aad, size_t aad_len, const u_char *in, size_t len,
    u_char *out)
{
    int     n;
    u_char  unused[NGX_VMESS_TAG_LEN];

    if (len < NGX_VMESS_TAG_LEN) {
        return NGX_DECLINED;
    }

    len -= NGX_VMESS_TAG_LEN;

    if (EVP_CipherInit_ex2(aead->ctx, NULL, NULL, nonce, -1, NULL) != 1) {
        return NGX_ERROR;
    }

    if (aad && EVP_DecryptUpdate(aead->ctx, NULL, &n, aad, aad_len) != 1) {
        return NGX_ERROR;
    }

    if (len && EVP_DecryptUpdate(aead->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    /* libcrypto only reads the tag, but its prototype has no const */

    if (EVP_CIPHER_CTX_ctrl(aead->ctx, EVP_CTRL_AEAD_SET_TAG,
                            NGX_VMESS_TAG_LEN, (void *) (in + len))
        != 1)
    {
        return NGX_ERROR;
    }

    if (EVP_DecryptFinal_ex(aead->ctx, unused, &n) != 1) {

        /* the peer's fault: nothing may be left for the next connection */

        ERR_clear_error();

        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_cfb_init(ngx_vmess_cfb_t *cfb, const u_char *key, const u_char *iv,
    ngx_uint_t encrypt)
{
    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    if (cfb->ctx == NULL) {
        cfb->ctx = EVP_CIPHER_CTX_new();
        if (cfb->ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (EVP_CipherInit_ex2(cfb->ctx, ngx_vmess_aes_128_cfb, key, iv,
                           encrypt ? 1 : 0, NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_cfb_crypt(ngx_vmess_cfb_t *cfb, const u_char *in, size_t len,
    u_char *out)
{
    int  n;

    /* a stream cipher: as many bytes come out, and there is no final call */

    if (len && EVP_CipherUpdate(cfb->ctx, out, &n, in, len) != 1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_vmess_cfb_cleanup(ngx_vmess_cfb_t *cfb)
{
    EVP_CIPHER_CTX_free(cfb->ctx);
    cfb->ctx = NULL;
}


ngx_int_t
ngx_vmess_crypto_aes_decrypt(const u_char *key, const u_char *in, u_char *out)
{
    int                n;
    const EVP_CIPHER  *cipher;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        return NGX_ERROR;
    }

    cipher = ngx_vmess_aes_128_ecb;

    if (EVP_CIPHER_CTX_get0_cipher(ngx_vmess_aes_ctx) == cipher) {
        cipher = NULL;
    }

    if (EVP_CipherInit_ex2(ngx_vmess_aes_ctx, cipher, key, NULL, 0, NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    /* with padding libcrypto would keep the block until the final call */

    if (cipher && EVP_CIPHER_CTX_set_padding(ngx_vmess_aes_ctx, 0) != 1) {
        return NGX_ERROR;
    }

    if (EVP_DecryptUpdate(ngx_vmess_aes_ctx, out, &n, in, 16) != 1
        || n != 16)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The one-shot functions of libcrypto 3.0 fetch the algorithm on each call;
 * those below never fail.
 */

void
ngx_vmess_hash_md5(u_char *out, const u_char *data, size_t len)
{
    MD5_CTX  md5;

    MD5_Init(&md5);
    MD5_Update(&md5, data, len);
    MD5_Final(out, &md5);

    ngx_explicit_memzero(&md5, sizeof(MD5_CTX));
}


void
ngx_vmess_hash_sha1(u_char *out, const u_char *data, size_t len)
{
    SHA_CTX  sha1;

    SHA1_Init(&sha1);
    SHA1_Update(&sha1, data, len);
    SHA1_Final(out, &sha1);

    ngx_explicit_memzero(&sha1, sizeof(SHA_CTX));
}


void
ngx_vmess_hash_sha256(u_char *out, const u_char *data, size_t len)
{
    SHA256_CTX  sha256;

    SHA256_Init(&sha256);
    SHA256_Update(&sha256, data, len);
    SHA256_Final(out, &sha256);

    ngx_explicit_memzero(&sha256, sizeof(SHA256_CTX));
}


uint32_t
ngx_vmess_hash_fnv1a(const u_char *data, size_t len)
{
    uint32_t  hash;

    hash = NGX_VMESS_FNV1A_BASIS;

    while (len--) {
        hash = (hash ^ *data++) * NGX_VMESS_FNV1A_PRIME;
    }

    return hash;
}


void
ngx_vmess_hash_fnv1a_sum(u_char *sum, const u_char *data, size_t len)
{
    uint32_t  hash;

    hash = ngx_vmess_hash_fnv1a(data, len);

    sum[0] = (u_char) (hash >> 24);
    sum[1] = (u_char) (hash >> 16);
    sum[2] = (u_char) (hash >> 8);
    sum[3] = (u_char) hash;
}


ngx_uint_t
ngx_vmess_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
