
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_auth.h"
#include "ngx_vmess_crypto.h"
#include "ngx_vmess_kdf.h"

#if (__x86_64__)
#include <smmintrin.h>
#include <wmmintrin.h>
#endif


static ngx_int_t ngx_vmess_auth_check(const u_char *p, int64_t *t);
static ngx_int_t ngx_vmess_auth_openssl_init(ngx_vmess_auth_key_t *key,
    const u_char *cmd_key);
static ngx_uint_t ngx_vmess_auth_openssl_scan(const ngx_vmess_auth_key_t *keys,
    ngx_uint_t start, ngx_uint_t n, const u_char *eauid, int64_t *t);

#if (__x86_64__)

/*
 * The attribute lets these functions use instructions that the rest of the
 * module must not use: they are called only if the CPU has them.
 */

#define NGX_VMESS_AESNI  __attribute__((target("sse4.1,aes")))

/* keys decrypted side by side: enough to hide the latency of AESDEC */

#define NGX_VMESS_AESNI_KEYS  8

static ngx_int_t ngx_vmess_auth_aesni_init(ngx_vmess_auth_key_t *key,
    const u_char *cmd_key);
static ngx_uint_t ngx_vmess_auth_aesni_scan(const ngx_vmess_auth_key_t *keys,
    ngx_uint_t start, ngx_uint_t n, const u_char *eauid, int64_t *t);

#endif


const ngx_vmess_auth_method_t  ngx_vmess_auth_openssl = {
    ngx_vmess_auth_openssl_init,
    ngx_vmess_auth_openssl_scan
};

#if (__x86_64__)

const ngx_vmess_auth_method_t  ngx_vmess_auth_aesni = {
    ngx_vmess_auth_aesni_init,
    ngx_vmess_auth_aesni_scan
};

#endif


const ngx_vmess_auth_method_t *
ngx_vmess_auth_method(void)
{
#if (__x86_64__)
    if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1")) {
        return &ngx_vmess_auth_aesni;
    }
#endif

    return &ngx_vmess_auth_openssl;
}


ngx_int_t
ngx_vmess_auth_check_time(int64_t t, time_t now)
{
    /* t is the peer's and may be any number: no arithmetic on it */

    if (t < 0
        || t < (int64_t) now - NGX_VMESS_TIME_WINDOW
        || t > (int64_t) now + NGX_VMESS_TIME_WINDOW)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * VMess, "EAuID".  Time, 4 random bytes and the CRC-32 of both.  With many
 * keys a wrong one may pass once in 2^32; the tag of the length decides then.
 */

static ngx_int_t
ngx_vmess_auth_check(const u_char *p, int64_t *t)
{
    uint32_t  crc;

    if (p[0] | p[1] | p[2] | p[3]) {
        return NGX_DECLINED;
    }

    crc = (uint32_t) p[12] << 24 | p[13] << 16 | p[14] << 8 | p[15];

    if (ngx_crc32_long((u_char *) p, 12) != crc) {
        return NGX_DECLINED;
    }

    *t = (int64_t) p[4] << 24 | p[5] << 16 | p[6] << 8 | p[7];

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_auth_openssl_init(ngx_vmess_auth_key_t *key, const u_char *cmd_key)
{
    ngx_memzero(key, sizeof(ngx_vmess_auth_key_t));

    ngx_vmess_kdf(key->round[0], NGX_VMESS_KEY_LEN, cmd_key,
                  NGX_VMESS_KDF_EAUID, NULL, 0);

    return NGX_OK;
}


static ngx_uint_t
ngx_vmess_auth_openssl_scan(const ngx_vmess_auth_key_t *keys, ngx_uint_t start,
    ngx_uint_t n, const u_char *eauid, int64_t *t)
{
    u_char      plain[NGX_VMESS_EAUID_LEN];
    ngx_uint_t  i;

    for (i = start; i < n; i++) {

        if (ngx_vmess_crypto_aes_decrypt(keys[i].round[0], eauid, plain)
            != NGX_OK)
        {
            continue;
        }

        if (ngx_vmess_auth_check(plain, t) == NGX_OK) {
            return i;
        }
    }

    return n;
}


#if (__x86_64__)

/* FIPS 197, 5.2.  Key expansion */

#define ngx_vmess_auth_aesni_expand(round, i, rcon)                           \
    round[i] = ngx_vmess_auth_aesni_word(round[i - 1],                        \
                   _mm_aeskeygenassist_si128(round[i - 1], rcon))


NGX_VMESS_AESNI static ngx_inline __m128i
ngx_vmess_auth_aesni_word(__m128i key, __m128i word)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));

    return _mm_xor_si128(key, _mm_shuffle_epi32(word, 0xff));
}


NGX_VMESS_AESNI static ngx_int_t
ngx_vmess_auth_aesni_init(ngx_vmess_auth_key_t *key, const u_char *cmd_key)
{
    u_char      aes_key[NGX_VMESS_KEY_LEN];
    __m128i     round[11];
    ngx_uint_t  i;

    ngx_vmess_kdf(aes_key, NGX_VMESS_KEY_LEN, cmd_key, NGX_VMESS_KDF_EAUID,
                  NULL, 0);

    round[0] = _mm_loadu_si128((const __m128i *) aes_key);

    /* the instruction takes the round constant as an immediate */

    ngx_vmess_auth_aesni_expand(round, 1, 0x01);
    ngx_vmess_auth_aesni_expand(round, 2, 0x02);
    ngx_vmess_auth_aesni_expand(round, 3, 0x04);
    ngx_vmess_auth_aesni_expand(round, 4, 0x08);
    ngx_vmess_auth_aesni_expand(round, 5, 0x10);
    ngx_vmess_auth_aesni_expand(round, 6, 0x20);
    ngx_vmess_auth_aesni_expand(round, 7, 0x40);
    ngx_vmess_auth_aesni_expand(round, 8, 0x80);
    ngx_vmess_auth_aesni_expand(round, 9, 0x1b);
    ngx_vmess_auth_aesni_expand(round, 10, 0x36);

    /* FIPS 197, 5.3.5.  Equivalent inverse cipher: the order of use */

    for (i = 0; i <= 10; i++) {
        _mm_storeu_si128((__m128i *) key->round[i],
                         (i == 0 || i == 10)
                         ? round[10 - i]
                         : _mm_aesimc_si128(round[10 - i]));
    }

    ngx_explicit_memzero(round, sizeof(round));
    ngx_explicit_memzero(aes_key, sizeof(aes_key));

    return NGX_OK;
}


/*
 * Compilers do not unroll loops at -O2: the keys of a batch are written out, so
 * that their blocks stay in registers.
 */

#define ngx_vmess_auth_aesni_each(m, r)                                       \
    m(p0, 0, r); m(p1, 1, r); m(p2, 2, r); m(p3, 3, r);                       \
    m(p4, 4, r); m(p5, 5, r); m(p6, 6, r); m(p7, 7, r)

#define ngx_vmess_auth_aesni_round(k, r)                                      \
    _mm_load_si128((const __m128i *) key[k].round[r])

#define ngx_vmess_auth_aesni_first(p, k, r)                                   \
    p = _mm_xor_si128(block, ngx_vmess_auth_aesni_round(k, r))

#define ngx_vmess_auth_aesni_middle(p, k, r)                                  \
    p = _mm_aesdec_si128(p, ngx_vmess_auth_aesni_round(k, r))

#define ngx_vmess_auth_aesni_last(p, k, r)                                    \
    p = _mm_aesdeclast_si128(p, ngx_vmess_auth_aesni_round(k, r))


NGX_VMESS_AESNI static ngx_uint_t
ngx_vmess_auth_aesni_scan(const ngx_vmess_auth_key_t *keys, ngx_uint_t start,
    ngx_uint_t n, const u_char *eauid, int64_t *t)
{
    __m128i                      block, min, p0, p1, p2, p3, p4, p5, p6, p7,
                                 plain[NGX_VMESS_AESNI_KEYS];
    ngx_uint_t                   i, k;
    const ngx_vmess_auth_key_t  *key;

    block = _mm_loadu_si128((const __m128i *) eauid);

    for (i = start; i + NGX_VMESS_AESNI_KEYS <= n; i += NGX_VMESS_AESNI_KEYS) {
        key = &keys[i];

        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_first, 0);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 1);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 2);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 3);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 4);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 5);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 6);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 7);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 8);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_middle, 9);
        ngx_vmess_auth_aesni_each(ngx_vmess_auth_aesni_last, 10);

        /* zero if the upper half of the time is zero with any key */

        min = _mm_min_epu32(_mm_min_epu32(_mm_min_epu32(p0, p1),
                                          _mm_min_epu32(p2, p3)),
                            _mm_min_epu32(_mm_min_epu32(p4, p5),
                                          _mm_min_epu32(p6, p7)));

        if (_mm_cvtsi128_si32(min) != 0) {
            continue;
        }

        plain[0] = p0; plain[1] = p1; plain[2] = p2; plain[3] = p3;
        plain[4] = p4; plain[5] = p5; plain[6] = p6; plain[7] = p7;

        for (k = 0; k < NGX_VMESS_AESNI_KEYS; k++) {
            if (ngx_vmess_auth_check((u_char *) &plain[k], t) == NGX_OK) {
                return i + k;
            }
        }
    }

    for ( /* void */ ; i < n; i++) {
        key = &keys[i];

        ngx_vmess_auth_aesni_first(p0, 0, 0);

        for (k = 1; k < 10; k++) {
            ngx_vmess_auth_aesni_middle(p0, 0, k);
        }

        ngx_vmess_auth_aesni_last(p0, 0, 10);

        if (ngx_vmess_auth_check((u_char *) &p0, t) == NGX_OK) {
            return i;
        }
    }

    return n;
}

#endif
