
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_shake.h"


/* bytes absorbed or squeezed for each permutation: 1600 - 2 * 128 bits */

#define NGX_VMESS_SHAKE_RATE  168


#define ngx_vmess_shake_rotate(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))


static void ngx_vmess_shake_xor(ngx_vmess_shake_t *shake, size_t pos,
    u_char c);
static void ngx_vmess_shake_permute(uint64_t *a);


/* FIPS 202, 3.2.5.  Specification of iota */

static const uint64_t  ngx_vmess_shake_round[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a,
    0x8000000080008000, 0x000000000000808b, 0x0000000080000001,
    0x8000000080008081, 0x8000000000008009, 0x000000000000008a,
    0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
    0x000000000000800a, 0x800000008000000a, 0x8000000080008081,
    0x8000000000008080, 0x0000000080000001, 0x8000000080008008
};


/*
 * FIPS 202, 3.2.2.  Specification of rho, and 3.2.3.  Specification of pi:
 * lane i = x + 5y is rotated and goes to another place
 */

static const struct {
    u_char  rotate;
    u_char  lane;
} ngx_vmess_shake_move[25] = {
    {  0,  0 }, {  1, 10 }, { 62, 20 }, { 28,  5 }, { 27, 15 },
    { 36, 16 }, { 44,  1 }, {  6, 11 }, { 55, 21 }, { 20,  6 },
    {  3,  7 }, { 10, 17 }, { 43,  2 }, { 25, 12 }, { 39, 22 },
    { 41, 23 }, { 45,  8 }, { 15, 18 }, { 21,  3 }, {  8, 13 },
    { 18, 14 }, {  2, 24 }, { 61,  9 }, { 56, 19 }, { 14,  4 }
};


void
ngx_vmess_shake_init(ngx_vmess_shake_t *shake, const u_char *data, size_t len)
{
    size_t  i;

    ngx_memzero(shake->state, sizeof(shake->state));

    for (i = 0; i < len; i++) {
        ngx_vmess_shake_xor(shake, i, data[i]);
    }

    /* FIPS 202, 6.2.  SHAKE128: suffix 1111, then the padding 10*1 */

    ngx_vmess_shake_xor(shake, len, 0x1f);
    ngx_vmess_shake_xor(shake, NGX_VMESS_SHAKE_RATE - 1, 0x80);

    shake->pos = NGX_VMESS_SHAKE_RATE;
}


ngx_uint_t
ngx_vmess_shake_next(ngx_vmess_shake_t *shake)
{
    uint64_t  lane;

    if (shake->pos == NGX_VMESS_SHAKE_RATE) {
        ngx_vmess_shake_permute(shake->state);
        shake->pos = 0;
    }

    /* lanes are little-endian; pos is even: two bytes never part */

    lane = shake->state[shake->pos / 8] >> (shake->pos % 8 * 8);
    shake->pos += 2;

    return (lane & 0xff) << 8 | ((lane >> 8) & 0xff);
}


static void
ngx_vmess_shake_xor(ngx_vmess_shake_t *shake, size_t pos, u_char c)
{
    shake->state[pos / 8] ^= (uint64_t) c << (pos % 8 * 8);
}


static void
ngx_vmess_shake_permute(uint64_t *a)
{
    uint64_t    b[25], c[5], d[5], *p;
    ngx_uint_t  i, n, x, y;

    for (n = 0; n < 24; n++) {

        /* theta */

        for (x = 0; x < 5; x++) {
            c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
        }

        d[0] = c[4] ^ ngx_vmess_shake_rotate(c[1], 1);
        d[1] = c[0] ^ ngx_vmess_shake_rotate(c[2], 1);
        d[2] = c[1] ^ ngx_vmess_shake_rotate(c[3], 1);
        d[3] = c[2] ^ ngx_vmess_shake_rotate(c[4], 1);
        d[4] = c[3] ^ ngx_vmess_shake_rotate(c[0], 1);

        for (y = 0; y < 25; y += 5) {
            for (x = 0; x < 5; x++) {
                a[y + x] ^= d[x];
            }
        }

        /* rho and pi; lane 0 stays, and a shift by 64 is undefined */

        b[0] = a[0];

        for (i = 1; i < 25; i++) {
            b[ngx_vmess_shake_move[i].lane] =
                ngx_vmess_shake_rotate(a[i], ngx_vmess_shake_move[i].rotate);
        }

        /* chi */

        for (y = 0; y < 25; y += 5) {
            p = &b[y];

            a[y] = p[0] ^ (~p[1] & p[2]);
            a[y + 1] = p[1] ^ (~p[2] & p[3]);
            a[y + 2] = p[2] ^ (~p[3] & p[4]);
            a[y + 3] = p[3] ^ (~p[4] & p[0]);
            a[y + 4] = p[4] ^ (~p[0] & p[1]);
        }

        /* iota */

        a[0] ^= ngx_vmess_shake_round[n];
    }
}
