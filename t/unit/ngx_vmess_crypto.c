
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_crypto.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_hash.h"


static void test_known(void);
static void test_hashes(void);
static void test_cfb(void);
static void test_aead(ngx_uint_t security, const char *name);


int
main(void)
{
    test_ok(ngx_vmess_crypto_init() == NGX_OK
            && ngx_vmess_crypto_init() == NGX_OK, "fetch twice");

    test_hashes();
    test_known();
    test_cfb();

    test_aead(NGX_VMESS_SEC_AES_128_GCM, "AES-128-GCM");
    test_aead(NGX_VMESS_SEC_CHACHA20, "ChaCha20-Poly1305");

    return test_done();
}


static void
test_hashes(void)
{
    u_char  md5[16], sha1[20], sha256[32];

    ngx_vmess_hash_md5(md5, (u_char *) "abc", 3);
    ngx_vmess_hash_sha1(sha1, (u_char *) "abc", 3);
    ngx_vmess_hash_sha256(sha256, (u_char *) "abc", 3);

    /* RFC 1321, A.5, and FIPS 180-2, A.1 and B.1 */

    test_ok(ngx_memcmp(md5, "\x90\x01\x50\x98\x3c\xd2\x4f\xb0"
                            "\xd6\x96\x3f\x7d\x28\xe1\x7f\x72", 16) == 0,
            "MD5");
    test_ok(ngx_memcmp(sha1, "\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e"
                             "\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d", 20)
            == 0, "SHA-1");
    test_ok(ngx_memcmp(sha256, "\xba\x78\x16\xbf\x8f\x01\xcf\xea"
                               "\x41\x41\x40\xde\x5d\xae\x22\x23"
                               "\xb0\x03\x61\xa3\x96\x17\x7a\x9c"
                               "\xb4\x10\xff\x61\xf2\x00\x15\xad", 32) == 0,
            "SHA-256");

    test_ok(ngx_vmess_hash_fnv1a((u_char *) "", 0) == 0x811c9dc5
            && ngx_vmess_hash_fnv1a((u_char *) "a", 1) == 0xe40c292c
            && ngx_vmess_hash_fnv1a((u_char *) "foobar", 6) == 0xbf9cf968,
            "FNV-1a");

    test_ok(ngx_vmess_equal("abcd", "abcd", 4)
            && !ngx_vmess_equal("abcd", "abce", 4)
            && !ngx_vmess_equal("abcd", "bbcd", 4)
            && ngx_vmess_equal("abcd", "abce", 3)
            && ngx_vmess_equal("a", "b", 0), "compare");
}


static void
test_known(void)
{
    u_char            key[16], nonce[12], in[16], out[32];
    ngx_uint_t        i, good;
    ngx_vmess_aead_t  aead;

    /* FIPS 197, C.1 */

    for (i = 0; i < 16; i++) {
        key[i] = i;
    }

    good = 0;

    for (i = 0; i < 3; i++) {
        ngx_memzero(out, 16);

        good += ngx_vmess_crypto_aes_decrypt(key,
                                             (u_char *)
                                             "\x69\xc4\xe0\xd8\x6a\x7b\x04\x30"
                                             "\xd8\xcd\xb7\x80\x70\xb4\xc5\x5a",
                                             out)
                == NGX_OK
                && ngx_memcmp(out, "\x00\x11\x22\x33\x44\x55\x66\x77"
                                   "\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16)
                   == 0;
    }

    test_ok(good == 3, "AES-128 block, three times");

    /* "The Galois/Counter Mode of Operation", B, cases 1 and 2 */

    ngx_memzero(key, sizeof(key));
    ngx_memzero(nonce, sizeof(nonce));
    ngx_memzero(in, sizeof(in));

    aead.ctx = NULL;

    test_ok(ngx_vmess_aead_init(&aead, NGX_VMESS_SEC_AES_128_GCM, key, 1)
            == NGX_OK
            && ngx_vmess_aead_seal(&aead, nonce, NULL, 0, in, 0, out) == NGX_OK
            && ngx_memcmp(out, "\x58\xe2\xfc\xce\xfa\x7e\x30\x61"
                               "\x36\x7f\x1d\x57\xa4\xe7\x45\x5a", 16) == 0,
            "AES-128-GCM of nothing");

    test_ok(ngx_vmess_aead_seal(&aead, nonce, NULL, 0, in, 16, out) == NGX_OK
            && ngx_memcmp(out, "\x03\x88\xda\xce\x60\xb6\xa3\x92"
                               "\xf3\x28\xc2\xb9\x71\xb2\xfe\x78"
                               "\xab\x6e\x47\xd4\x2c\xec\x13\xbd"
                               "\xf5\x3a\x67\xb2\x12\x57\xbd\xdf", 32) == 0,
            "AES-128-GCM of one block");

    ngx_vmess_aead_cleanup(&aead);
    ngx_vmess_aead_cleanup(&aead);

    test_ok(aead.ctx == NULL, "cleanup twice");
}


static void
test_cfb(void)
{
    u_char           plain[64], sealed[64], out[64];
    size_t           len, n, step;
    ngx_uint_t       good;
    ngx_vmess_cfb_t  cfb;

    /* NIST SP 800-38A, F.3.13.  CFB128-AES128.Encrypt */

    static u_char  key[] = "\x2b\x7e\x15\x16\x28\xae\xd2\xa6"
                           "\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
    static u_char  iv[] = "\x00\x01\x02\x03\x04\x05\x06\x07"
                          "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";

    ngx_memcpy(plain, "\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96"
                      "\xe9\x3d\x7e\x11\x73\x93\x17\x2a"
                      "\xae\x2d\x8a\x57\x1e\x03\xac\x9c"
                      "\x9e\xb7\x6f\xac\x45\xaf\x8e\x51", 32);
    ngx_memcpy(sealed, "\x3b\x3f\xd9\x2e\xb7\x2d\xad\x20"
                       "\x33\x34\x49\xf8\xe8\x3c\xfb\x4a"
                       "\xc8\xa6\x45\x37\xa0\xb3\xa9\x3f"
                       "\xcd\xe3\xcd\xad\x9f\x1c\xe5\x8b", 32);

    cfb.ctx = NULL;
    good = 0;

    /* in pieces of every size, into another place and in place */

    for (step = 1; step <= 32; step++) {
        ngx_vmess_cfb_init(&cfb, key, iv, 1);

        for (n = 0; n < 32; n += len) {
            len = ngx_min(step, 32 - n);
            ngx_vmess_cfb_crypt(&cfb, plain + n, len, out + n);
            ngx_vmess_cfb_crypt(&cfb, NULL, 0, NULL);
        }

        good += ngx_memcmp(out, sealed, 32) == 0;

        ngx_vmess_cfb_init(&cfb, key, iv, 0);

        for (n = 0; n < 32; n += len) {
            len = ngx_min(step, 32 - n);
            good += ngx_vmess_cfb_crypt(&cfb, out + n, len, out + n) == NGX_OK;
        }

        good += ngx_memcmp(out, plain, 32) == 0;
        good -= (31 + step) / step;
    }

    test_ok(good == 64, "AES-128-CFB in pieces");

    ngx_vmess_cfb_cleanup(&cfb);
    ngx_vmess_cfb_cleanup(&cfb);

    test_ok(cfb.ctx == NULL, "AES-128-CFB: cleanup twice");
}


static void
test_aead(ngx_uint_t security, const char *name)
{
    u_char            key[16], nonce[12], aad[16], in[100], sealed[116],
                      plain[116];
    size_t            len;
    ngx_int_t         rc;
    ngx_uint_t        i, good, bits;
    ngx_vmess_aead_t  seal, open, other;

    test_fill(key, sizeof(key));
    test_fill(nonce, sizeof(nonce));
    test_fill(aad, sizeof(aad));
    test_fill(in, sizeof(in));

    seal.ctx = NULL;
    open.ctx = NULL;
    other.ctx = NULL;

    ngx_vmess_aead_init(&seal, security, key, 1);

    /* a context that had another algorithm, direction and key before */

    ngx_vmess_aead_init(&open, NGX_VMESS_SEC_AES_128_GCM, in, 1);
    ngx_vmess_aead_init(&open, NGX_VMESS_SEC_CHACHA20, in, 1);
    ngx_vmess_aead_init(&open, security, in, 1);
    ngx_vmess_aead_init(&open, security, key, 0);

    good = 0;

    for (len = 0; len <= sizeof(in); len++) {
        ngx_vmess_aead_seal(&seal, nonce, aad, len % 17, in, len, sealed);

        ngx_memzero(plain, sizeof(plain));

        rc = ngx_vmess_aead_open(&open, nonce, aad, len % 17, sealed, len + 16,
                                 plain);

        good += rc == NGX_OK && ngx_memcmp(plain, in, len) == 0;

        /* both in place */

        ngx_memcpy(plain, in, len);

        ngx_vmess_aead_seal(&seal, nonce, aad, len % 17, plain, len, plain);

        good += ngx_memcmp(plain, sealed, len + 16) == 0;

        rc = ngx_vmess_aead_open(&open, nonce, aad, len % 17, plain, len + 16,
                                 plain);

        good += rc == NGX_OK && ngx_memcmp(plain, in, len) == 0;
    }

    test_ok(good == 3 * (sizeof(in) + 1), "%s: seal and open", name);

    ngx_vmess_aead_seal(&seal, nonce, aad, sizeof(aad), in, 20, sealed);

    good = 0;
    bits = 0;

    for (i = 0; i < 36 * 8; i++, bits++) {
        sealed[i / 8] ^= 1 << i % 8;
        good += ngx_vmess_aead_open(&open, nonce, aad, sizeof(aad), sealed, 36,
                                    plain)
                == NGX_DECLINED;
        sealed[i / 8] ^= 1 << i % 8;
    }

    for (i = 0; i < sizeof(nonce) * 8; i++, bits++) {
        nonce[i / 8] ^= 1 << i % 8;
        good += ngx_vmess_aead_open(&open, nonce, aad, sizeof(aad), sealed, 36,
                                    plain)
                == NGX_DECLINED;
        nonce[i / 8] ^= 1 << i % 8;
    }

    for (i = 0; i < sizeof(aad) * 8; i++, bits++) {
        aad[i / 8] ^= 1 << i % 8;
        good += ngx_vmess_aead_open(&open, nonce, aad, sizeof(aad), sealed, 36,
                                    plain)
                == NGX_DECLINED;
        aad[i / 8] ^= 1 << i % 8;
    }

    test_ok(good == bits, "%s: each bit matters", name);

    good = 0;

    for (len = 0; len < 36; len++) {
        good += ngx_vmess_aead_open(&open, nonce, aad, sizeof(aad), sealed,
                                    len, plain)
                == NGX_DECLINED;
    }

    test_ok(good == 36, "%s: truncated", name);

    key[0] ^= 1;
    ngx_vmess_aead_init(&other, security, key, 0);

    test_ok(ngx_vmess_aead_open(&other, nonce, aad, sizeof(aad), sealed, 36,
                                plain)
            == NGX_DECLINED, "%s: other key", name);

    test_ok(ngx_vmess_aead_open(&open, nonce, aad, sizeof(aad), sealed, 36,
                                plain)
            == NGX_OK, "%s: opens after failures", name);

    test_ok(ERR_peek_error() == 0, "%s: error queue is empty", name);

    ngx_vmess_aead_cleanup(&seal);
    ngx_vmess_aead_cleanup(&open);
    ngx_vmess_aead_cleanup(&other);
}
