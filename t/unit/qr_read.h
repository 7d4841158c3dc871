
/*
 * Copyright (C) ngx_vmess authors
 *
 * A reader of QR codes of levels L and M, as strict as can be, for tests: it
 * looks at every module.  Its tables are those of the standard, not the short
 * forms of src.
 */

#ifndef _QR_READ_H_INCLUDED_
#define _QR_READ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_qr.h"


#define QR_READ_SIZE  177


/* ISO/IEC 18004, table 7: bytes of a text; table 9: blocks; L and M */

static const struct {
    uint16_t  room[2];
    u_char    blocks[2];
} qr_read_versions[41] = {
    { { 0, 0 }, { 0, 0 } },
    { { 17, 14 }, { 1, 1 } }, { { 32, 26 }, { 1, 1 } },
    { { 53, 42 }, { 1, 1 } }, { { 78, 62 }, { 1, 2 } },
    { { 106, 84 }, { 1, 2 } }, { { 134, 106 }, { 2, 4 } },
    { { 154, 122 }, { 2, 4 } }, { { 192, 152 }, { 2, 4 } },
    { { 230, 180 }, { 2, 5 } }, { { 271, 213 }, { 4, 5 } },
    { { 321, 251 }, { 4, 5 } }, { { 367, 287 }, { 4, 8 } },
    { { 425, 331 }, { 4, 9 } }, { { 458, 362 }, { 4, 9 } },
    { { 520, 412 }, { 6, 10 } }, { { 586, 450 }, { 6, 10 } },
    { { 644, 504 }, { 6, 11 } }, { { 718, 560 }, { 6, 13 } },
    { { 792, 624 }, { 7, 14 } }, { { 858, 666 }, { 8, 16 } },
    { { 929, 711 }, { 8, 17 } }, { { 1003, 779 }, { 9, 17 } },
    { { 1091, 857 }, { 9, 18 } }, { { 1171, 911 }, { 10, 20 } },
    { { 1273, 997 }, { 12, 21 } }, { { 1367, 1059 }, { 12, 23 } },
    { { 1465, 1125 }, { 12, 25 } }, { { 1528, 1190 }, { 13, 26 } },
    { { 1628, 1264 }, { 14, 28 } }, { { 1732, 1370 }, { 15, 29 } },
    { { 1840, 1452 }, { 16, 31 } }, { { 1952, 1538 }, { 17, 33 } },
    { { 2068, 1628 }, { 18, 35 } }, { { 2188, 1722 }, { 19, 37 } },
    { { 2303, 1809 }, { 19, 38 } }, { { 2431, 1911 }, { 20, 40 } },
    { { 2563, 1989 }, { 21, 43 } }, { { 2699, 2099 }, { 22, 45 } },
    { { 2809, 2213 }, { 24, 47 } }, { { 2953, 2331 }, { 25, 49 } }
};


/* table E.1 */

static const u_char  qr_read_align[41][7] = {
    { 0 }, { 0 }, { 6, 18 }, { 6, 22 }, { 6, 26 }, { 6, 30 }, { 6, 34 },
    { 6, 22, 38 }, { 6, 24, 42 }, { 6, 26, 46 }, { 6, 28, 50 }, { 6, 30, 54 },
    { 6, 32, 58 }, { 6, 34, 62 },
    { 6, 26, 46, 66 }, { 6, 26, 48, 70 }, { 6, 26, 50, 74 }, { 6, 30, 54, 78 },
    { 6, 30, 56, 82 }, { 6, 30, 58, 86 }, { 6, 34, 62, 90 },
    { 6, 28, 50, 72, 94 }, { 6, 26, 50, 74, 98 }, { 6, 30, 54, 78, 102 },
    { 6, 28, 54, 80, 106 }, { 6, 32, 58, 84, 110 }, { 6, 30, 58, 86, 114 },
    { 6, 34, 62, 90, 118 },
    { 6, 26, 50, 74, 98, 122 }, { 6, 30, 54, 78, 102, 126 },
    { 6, 26, 52, 78, 104, 130 }, { 6, 30, 56, 82, 108, 134 },
    { 6, 34, 60, 86, 112, 138 }, { 6, 30, 58, 86, 114, 142 },
    { 6, 34, 62, 90, 118, 146 },
    { 6, 30, 54, 78, 102, 126, 150 }, { 6, 24, 50, 76, 102, 128, 154 },
    { 6, 28, 54, 80, 106, 132, 158 }, { 6, 32, 58, 84, 110, 136, 162 },
    { 6, 26, 54, 82, 110, 138, 166 }, { 6, 30, 58, 86, 114, 142, 170 }
};


/* table C.1, of L and M */

static const uint16_t  qr_read_formats[2][8] = {
    { 0x77c4, 0x72f3, 0x7daa, 0x789d, 0x662f, 0x6318, 0x6c41, 0x6976 },
    { 0x5412, 0x5125, 0x5e7c, 0x5b4b, 0x45f9, 0x40ce, 0x4f97, 0x4aa0 }
};


/* table D.1, of versions from 7 on */

static const uint32_t  qr_read_numbers[34] = {
    0x07c94, 0x085bc, 0x09a99, 0x0a4d3, 0x0bbf6, 0x0c762, 0x0d847, 0x0e60d,
    0x0f928, 0x10b78, 0x1145d, 0x12a17, 0x13532, 0x149a6, 0x15683, 0x168c9,
    0x177ec, 0x18ec4, 0x191e1, 0x1afab, 0x1b08e, 0x1cc1a, 0x1d33f, 0x1ed75,
    0x1f250, 0x209d5, 0x216f0, 0x228ba, 0x2379f, 0x24b0b, 0x2542e, 0x26a64,
    0x27541, 0x28c69
};


/* figures 2 and 5: what is seen of a pattern, from its corner */

static const char  qr_read_finder[] =
    "#######" "#     #" "# ### #" "# ### #" "# ### #" "#     #" "#######";
static const char  qr_read_square[] =
    "#####" "#   #" "# # #" "#   #" "#####";


typedef struct {
    const ngx_vmess_qr_t  *qr;
    int                    size;
    int                    ok;
    u_char                 seen[QR_READ_SIZE][QR_READ_SIZE];
    u_char                 codewords[3706];
    u_char                 data[3706];
} qr_read_t;


static inline int
qr_read_module(qr_read_t *r, int x, int y)
{
    r->seen[y][x] = 1;

    return ngx_vmess_qr_dark(r->qr, x, y);
}


static inline void
qr_read_want(qr_read_t *r, int x, int y, int dark)
{
    r->ok = r->ok && qr_read_module(r, x, y) == dark;
}


/* finder patterns, their separators, timing and alignment patterns */

static inline void
qr_read_patterns(qr_read_t *r)
{
    int            i, j, k, x, y, far;
    const u_char  *at = qr_read_align[r->qr->version];

    far = r->size - 7;

    for (i = 0; i < 8; i++) {
        qr_read_want(r, i, 7, 0);
        qr_read_want(r, 7, i, 0);
        qr_read_want(r, far - 1 + i, 7, 0);
        qr_read_want(r, far - 1, i, 0);
        qr_read_want(r, i, far - 1, 0);
        qr_read_want(r, 7, far - 1 + i, 0);
    }

    for (i = 0; i < 49; i++) {
        x = i % 7;
        y = i / 7;

        qr_read_want(r, x, y, qr_read_finder[i] == '#');
        qr_read_want(r, x + far, y, qr_read_finder[i] == '#');
        qr_read_want(r, x, y + far, qr_read_finder[i] == '#');
    }

    for (i = 8; i < far - 1; i++) {
        qr_read_want(r, i, 6, i % 2 == 0);
        qr_read_want(r, 6, i, i % 2 == 0);
    }

    for (i = 0; i < 7 && at[i]; i++) {
        for (j = 0; j < 7 && at[j]; j++) {

            if ((at[i] == 6 && at[j] == 6) || (at[i] == 6 && at[j] == far)
                || (at[i] == far && at[j] == 6))
            {
                continue;
            }

            for (k = 0; k < 25; k++) {
                qr_read_want(r, at[i] - 2 + k % 5, at[j] - 2 + k / 5,
                             qr_read_square[k] == '#');
            }
        }
    }
}


/* figures 25 and 26: format information from its highest bit, version from 0 */

static inline void
qr_read_information(qr_read_t *r)
{
    int  i, version;
    int  format = qr_read_formats[r->qr->level][r->qr->mask];

    static const u_char  at[15][2] = {
        { 0, 8 }, { 1, 8 }, { 2, 8 }, { 3, 8 }, { 4, 8 }, { 5, 8 }, { 7, 8 },
        { 8, 8 }, { 8, 7 }, { 8, 5 }, { 8, 4 }, { 8, 3 }, { 8, 2 }, { 8, 1 },
        { 8, 0 }
    };

    for (i = 0; i < 15; i++) {
        qr_read_want(r, at[i][0], at[i][1], format >> (14 - i) & 1);

        if (i < 7) {
            qr_read_want(r, 8, r->size - 1 - i, format >> (14 - i) & 1);

        } else {
            qr_read_want(r, r->size - 15 + i, 8, format >> (14 - i) & 1);
        }
    }

    qr_read_want(r, 8, r->size - 8, 1);

    if (r->qr->version < 7) {
        return;
    }

    version = qr_read_numbers[r->qr->version - 7];

    for (i = 0; i < 18; i++) {
        qr_read_want(r, i / 3, r->size - 11 + i % 3, version >> i & 1);
        qr_read_want(r, r->size - 11 + i % 3, i / 3, version >> i & 1);
    }
}


/* table 10, with i for the row and j for the column */

static inline int
qr_read_mask(int mask, int i, int j)
{
    switch (mask) {
    case 0:  return (i + j) % 2 == 0;
    case 1:  return i % 2 == 0;
    case 2:  return j % 3 == 0;
    case 3:  return (i + j) % 3 == 0;
    case 4:  return (i / 2 + j / 3) % 2 == 0;
    case 5:  return (i * j) % 2 + (i * j) % 3 == 0;
    case 6:  return ((i * j) % 2 + (i * j) % 3) % 2 == 0;
    default: return ((i * j) % 3 + (i + j) % 2) % 2 == 0;
    }
}


/* returns the number of codewords; bits that remain are light below the mask */

static inline int
qr_read_codewords(qr_read_t *r)
{
    int  x, y, n, i, bit;

    n = 0;
    x = r->size - 1;
    y = r->size - 1;
    i = -1;

    ngx_memzero(r->codewords, sizeof(r->codewords));

    while (x >= 0) {

        if (!r->seen[y][x]) {
            bit = qr_read_module(r, x, y) ^ qr_read_mask(r->qr->mask, y, x);

            if (n / 8 < (int) sizeof(r->codewords)) {
                r->codewords[n / 8] |= bit << (7 - n % 8);

            } else {
                r->ok = r->ok && !bit;
            }

            n++;
        }

        /* left, or right and on in the direction, or two to the left */

        if (x != 6 && (x < 6 ? x : x - 1) % 2) {
            x--;

        } else if (y + i >= 0 && y + i < r->size) {
            x++;
            y += i;

        } else {
            x--;
            i = -i;

            if (x == 6) {
                x--;
            }
        }
    }

    if (n % 8 && n / 8 < (int) sizeof(r->codewords)) {
        r->ok = r->ok && !r->codewords[n / 8];
    }

    return n / 8;
}


static inline u_char
qr_read_multiply(u_char a, u_char b)
{
    u_char  product = 0;

    for ( /* void */ ; b; b >>= 1) {
        if (b & 1) {
            product ^= a;
        }

        a = a << 1 ^ (a & 0x80 ? 0x1d : 0);
    }

    return product;
}


/* a block has no error if it is zero at all roots of its polynomial */

static inline void
qr_read_block(qr_read_t *r, u_char *p, int len, int ecc)
{
    int     i, k;
    u_char  root = 1, value;

    for (i = 0; i < ecc; i++) {
        value = 0;

        for (k = 0; k < len; k++) {
            value = qr_read_multiply(value, root) ^ p[k];
        }

        r->ok = r->ok && value == 0;
        root = qr_read_multiply(root, 2);
    }
}


/* returns the number of codewords with data, which are in r->data then */

static inline int
qr_read_blocks(qr_read_t *r, int total)
{
    int     room = qr_read_versions[r->qr->version].room[r->qr->level];
    int     blocks = qr_read_versions[r->qr->version].blocks[r->qr->level];
    int     data, ecc, i, b, n, len;
    u_char  block[256];

    data = room + (r->qr->version < 10 ? 2 : 3);
    ecc = (total - data) / blocks;
    n = 0;

    r->ok = r->ok && total == data + ecc * blocks;

    for (b = 0; b < blocks; b++) {
        len = data / blocks;

        for (i = 0; i < len; i++) {
            block[i] = r->codewords[i * blocks + b];
        }

        /* those that have one more are the last ones */

        if (b >= blocks - data % blocks) {
            block[len] = r->codewords[data - blocks + b];
            len++;
        }

        ngx_memcpy(&r->data[n], block, len);
        n += len;

        for (i = 0; i < ecc; i++) {
            block[len + i] = r->codewords[data + i * blocks + b];
        }

        qr_read_block(r, block, len + ecc, ecc);
    }

    return data;
}


static inline int
qr_read_bits(qr_read_t *r, int *pos, int n)
{
    int  value = 0;

    for ( /* void */ ; n; n--, (*pos)++) {
        value = value << 1 | (r->data[*pos / 8] >> (7 - *pos % 8) & 1);
    }

    return value;
}


/* 1 if the code is a good one of this text */

static inline int
qr_read(const ngx_vmess_qr_t *qr, const u_char *text, size_t len)
{
    int               pos, data, pad;
    size_t            i;
    static qr_read_t  r;

    ngx_memzero(r.seen, sizeof(r.seen));
    r.qr = qr;
    r.size = 17 + 4 * qr->version;
    r.ok = qr->size == (ngx_uint_t) r.size;

    if (!r.ok || qr->version < 1 || qr->version > 40 || qr->mask > 7) {
        return 0;
    }

    qr_read_patterns(&r);
    qr_read_information(&r);

    data = qr_read_blocks(&r, qr_read_codewords(&r));

    pos = 0;

    r.ok = r.ok && qr_read_bits(&r, &pos, 4) == 4
           && qr_read_bits(&r, &pos, qr->version < 10 ? 8 : 16) == (int) len;

    for (i = 0; r.ok && i < len; i++) {
        r.ok = qr_read_bits(&r, &pos, 8) == text[i];
    }

    r.ok = r.ok && qr_read_bits(&r, &pos, 4) == 0;

    for (pad = 0xec; r.ok && pos < 8 * data; pad ^= 0xfd) {
        r.ok = qr_read_bits(&r, &pos, 8) == pad;
    }

    return r.ok;
}


#endif /* _QR_READ_H_INCLUDED_ */
