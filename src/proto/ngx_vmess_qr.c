
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_qr.h"
#include "ngx_vmess_utf8.h"


#define NGX_VMESS_QR_BYTES         4         /* the mode */

#define NGX_VMESS_QR_CODEWORDS     3706      /* of the largest code */
#define NGX_VMESS_QR_ECC_MAX       30        /* of a block */
#define NGX_VMESS_QR_ALIGN_MAX     7         /* patterns a side */

/* concentric squares, the inner one is the lowest bit, 1 is dark */

#define NGX_VMESS_QR_FINDER        0x0b
#define NGX_VMESS_QR_FINDER_RINGS  5         /* with the light one around it */
#define NGX_VMESS_QR_ALIGN         0x05
#define NGX_VMESS_QR_ALIGN_RINGS   3

/* the generator polynomials of two BCH codes, and what masks the first */

#define NGX_VMESS_QR_FORMAT_POLY   0x537
#define NGX_VMESS_QR_FORMAT_LEN    10
#define NGX_VMESS_QR_FORMAT_MASK   0x5412
#define NGX_VMESS_QR_VERSION_POLY  0x1f25
#define NGX_VMESS_QR_VERSION_LEN   12

#define NGX_VMESS_QR_FIELD         0x11d     /* the polynomial of GF(256) */


typedef struct {
    uint16_t                   codewords;
    u_char                     step;         /* between alignment patterns */

    struct {
        u_char                 ecc;          /* codewords of a block */
        u_char                 blocks;
    } level[2];
} ngx_vmess_qr_version_t;


/* what is needed while a code is made */

typedef struct {
    ngx_vmess_qr_t            *qr;

    ngx_uint_t                 total;        /* codewords */
    ngx_uint_t                 data;         /* those that are not ecc */
    ngx_uint_t                 ecc;          /* of a block */
    ngx_uint_t                 blocks;
    ngx_uint_t                 shorter;      /* the first of the blocks */
    ngx_uint_t                 len;          /* data of those, others have one
                                                codeword more */

    /* where the next codeword goes */

    ngx_uint_t                 block;
    ngx_uint_t                 index;
    ngx_uint_t                 half;         /* of it, the first 4 bits */

    u_char                     codewords[NGX_VMESS_QR_CODEWORDS];

    /* as the modules: those that are not of codewords */

    u_char                     fixed[NGX_VMESS_QR_SIZE_MAX * NGX_VMESS_QR_ROW];

    u_char                     exp[2 * 255];
    u_char                     log[256];
} ngx_vmess_qr_work_t;


static ngx_int_t ngx_vmess_qr_fit(ngx_vmess_qr_t *qr,
    ngx_vmess_qr_level_e level, size_t len);
static void ngx_vmess_qr_layout(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_data(ngx_vmess_qr_work_t *w, ngx_str_t *text);
static void ngx_vmess_qr_byte(ngx_vmess_qr_work_t *w, ngx_uint_t ch);
static void ngx_vmess_qr_codeword(ngx_vmess_qr_work_t *w, ngx_uint_t ch);
static ngx_uint_t ngx_vmess_qr_position(ngx_vmess_qr_work_t *w,
    ngx_uint_t block, ngx_uint_t index);
static void ngx_vmess_qr_ecc(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_field(ngx_vmess_qr_work_t *w);
static u_char ngx_vmess_qr_multiply(ngx_vmess_qr_work_t *w, u_char a, u_char b);
static void ngx_vmess_qr_patterns(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_align(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_rings(ngx_vmess_qr_work_t *w, ngx_uint_t x,
    ngx_uint_t y, ngx_uint_t n, ngx_uint_t dark);
static void ngx_vmess_qr_version(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_format(ngx_vmess_qr_work_t *w, ngx_uint_t mask);
static ngx_uint_t ngx_vmess_qr_bch(ngx_uint_t value, ngx_uint_t poly,
    ngx_uint_t len);
static void ngx_vmess_qr_fix(ngx_vmess_qr_work_t *w, ngx_uint_t x,
    ngx_uint_t y, ngx_uint_t dark);
static void ngx_vmess_qr_place(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_mask(ngx_vmess_qr_work_t *w);
static void ngx_vmess_qr_invert(ngx_vmess_qr_work_t *w, ngx_uint_t mask);
static ngx_uint_t ngx_vmess_qr_masked(ngx_uint_t mask, ngx_uint_t x,
    ngx_uint_t y);
static ngx_uint_t ngx_vmess_qr_lines(ngx_vmess_qr_t *qr, ngx_uint_t down);
static ngx_uint_t ngx_vmess_qr_areas(ngx_vmess_qr_t *qr);
static u_char *ngx_vmess_qr_label(u_char *p, ngx_str_t *label);
static u_char *ngx_vmess_qr_path(u_char *p, ngx_vmess_qr_t *qr);


/* ISO/IEC 18004, 7.5.1 and Annex E */

static const ngx_vmess_qr_version_t
    ngx_vmess_qr_versions[NGX_VMESS_QR_VERSION_MAX] =
{
    {   26,  0, { {  7,  1 }, { 10,  1 } } },
    {   44, 12, { { 10,  1 }, { 16,  1 } } },
    {   70, 16, { { 15,  1 }, { 26,  1 } } },
    {  100, 20, { { 20,  1 }, { 18,  2 } } },
    {  134, 24, { { 26,  1 }, { 24,  2 } } },
    {  172, 28, { { 18,  2 }, { 16,  4 } } },
    {  196, 16, { { 20,  2 }, { 18,  4 } } },
    {  242, 18, { { 24,  2 }, { 22,  4 } } },
    {  292, 20, { { 30,  2 }, { 22,  5 } } },
    {  346, 22, { { 18,  4 }, { 26,  5 } } },
    {  404, 24, { { 20,  4 }, { 30,  5 } } },
    {  466, 26, { { 24,  4 }, { 22,  8 } } },
    {  532, 28, { { 26,  4 }, { 22,  9 } } },
    {  581, 20, { { 30,  4 }, { 24,  9 } } },
    {  655, 22, { { 22,  6 }, { 24, 10 } } },
    {  733, 24, { { 24,  6 }, { 28, 10 } } },
    {  815, 24, { { 28,  6 }, { 28, 11 } } },
    {  901, 26, { { 30,  6 }, { 26, 13 } } },
    {  991, 28, { { 28,  7 }, { 26, 14 } } },
    { 1085, 28, { { 28,  8 }, { 26, 16 } } },
    { 1156, 22, { { 28,  8 }, { 26, 17 } } },
    { 1258, 24, { { 28,  9 }, { 28, 17 } } },
    { 1364, 24, { { 30,  9 }, { 28, 18 } } },
    { 1474, 26, { { 30, 10 }, { 28, 20 } } },
    { 1588, 26, { { 26, 12 }, { 28, 21 } } },
    { 1706, 28, { { 28, 12 }, { 28, 23 } } },
    { 1828, 28, { { 30, 12 }, { 28, 25 } } },
    { 1921, 24, { { 30, 13 }, { 28, 26 } } },
    { 2051, 24, { { 30, 14 }, { 28, 28 } } },
    { 2185, 26, { { 30, 15 }, { 28, 29 } } },
    { 2323, 26, { { 30, 16 }, { 28, 31 } } },
    { 2465, 26, { { 30, 17 }, { 28, 33 } } },
    { 2611, 28, { { 30, 18 }, { 28, 35 } } },
    { 2761, 28, { { 30, 19 }, { 28, 37 } } },
    { 2876, 24, { { 30, 19 }, { 28, 38 } } },
    { 3034, 26, { { 30, 20 }, { 28, 40 } } },
    { 3196, 26, { { 30, 21 }, { 28, 43 } } },
    { 3362, 26, { { 30, 22 }, { 28, 45 } } },
    { 3532, 28, { { 30, 24 }, { 28, 47 } } },
    { 3706, 28, { { 30, 25 }, { 28, 49 } } }
};


/*
 * The picture: a light square, and the dark modules as lines through the middle
 * of their rows.  A number has at most three digits, as many as its format.
 */

static const char  ngx_vmess_qr_svg_head[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %uD %uD\""
    " shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"";

static const char  ngx_vmess_qr_svg_path[] =
    "\"><path fill=\"#fff\" d=\"M0 0h%uDv%uDH0z\"/>"
    "<path stroke=\"#000\" d=\"M%uD %uD.5";

static const char  ngx_vmess_qr_svg_tail[] = "\"/></svg>";


ngx_int_t
ngx_vmess_qr_create(ngx_vmess_qr_t *qr, ngx_vmess_qr_level_e level,
    ngx_str_t *text)
{
    ngx_vmess_qr_work_t  w;

    if (ngx_vmess_qr_fit(qr, level, text->len) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_memzero(qr->modules, sizeof(qr->modules));
    ngx_memzero(&w, sizeof(ngx_vmess_qr_work_t));

    w.qr = qr;

    ngx_vmess_qr_layout(&w);
    ngx_vmess_qr_data(&w, text);
    ngx_vmess_qr_ecc(&w);
    ngx_vmess_qr_patterns(&w);
    ngx_vmess_qr_place(&w);
    ngx_vmess_qr_mask(&w);

    /* there is the id of a user in a link */

    ngx_explicit_memzero(w.codewords, sizeof(w.codewords));

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_qr_fit(ngx_vmess_qr_t *qr, ngx_vmess_qr_level_e level, size_t len)
{
    size_t                         room;
    ngx_uint_t                     n, i;
    const ngx_vmess_qr_version_t  *v;

    for (n = 1; n <= NGX_VMESS_QR_VERSION_MAX; n++) {

        v = &ngx_vmess_qr_versions[n - 1];

        for (i = NGX_VMESS_QR_M + 1; i-- > level; /* void */ ) {

            room = v->codewords - v->level[i].ecc * v->level[i].blocks;

            /* the mode, a length of one or two bytes, the end */

            room -= (n < 10) ? 2 : 3;

            if (len <= room) {
                qr->version = n;
                qr->size = 17 + 4 * n;
                qr->level = i;
                return NGX_OK;
            }
        }
    }

    return NGX_DECLINED;
}


static void
ngx_vmess_qr_layout(ngx_vmess_qr_work_t *w)
{
    const ngx_vmess_qr_version_t  *v;

    v = &ngx_vmess_qr_versions[w->qr->version - 1];

    w->total = v->codewords;
    w->ecc = v->level[w->qr->level].ecc;
    w->blocks = v->level[w->qr->level].blocks;
    w->data = w->total - w->ecc * w->blocks;

    w->len = w->data / w->blocks;
    w->shorter = w->blocks - w->data % w->blocks;
}


/* ISO/IEC 18004, 7.4.  Data encoding */

static void
ngx_vmess_qr_data(ngx_vmess_qr_work_t *w, ngx_str_t *text)
{
    size_t      i;
    ngx_uint_t  pad;

    w->half = NGX_VMESS_QR_BYTES;

    if (w->qr->version >= 10) {
        ngx_vmess_qr_byte(w, text->len >> 8);
    }

    ngx_vmess_qr_byte(w, text->len & 0xff);

    for (i = 0; i < text->len; i++) {
        ngx_vmess_qr_byte(w, text->data[i]);
    }

    /* the end is 4 bits, too, so that codewords are whole again */

    ngx_vmess_qr_codeword(w, w->half << 4);

    for (pad = 0xec; w->block < w->blocks; pad ^= 0xec ^ 0x11) {
        ngx_vmess_qr_codeword(w, pad);
    }
}


/* the mode has 4 bits, so each byte begins within a codeword */

static void
ngx_vmess_qr_byte(ngx_vmess_qr_work_t *w, ngx_uint_t ch)
{
    ngx_vmess_qr_codeword(w, w->half << 4 | ch >> 4);

    w->half = ch & 0xf;
}


static void
ngx_vmess_qr_codeword(ngx_vmess_qr_work_t *w, ngx_uint_t ch)
{
    w->codewords[ngx_vmess_qr_position(w, w->block, w->index)] = (u_char) ch;

    w->index++;

    if (w->index == w->len + (w->block >= w->shorter)) {
        w->block++;
        w->index = 0;
    }
}


/*
 * ISO/IEC 18004, 7.6.  Constructing the final message: the first codewords of
 * all blocks, then the second ones; at the end the shorter blocks have none.
 */

static ngx_uint_t
ngx_vmess_qr_position(ngx_vmess_qr_work_t *w, ngx_uint_t block,
    ngx_uint_t index)
{
    if (index == w->len) {
        block -= w->shorter;
    }

    return index * w->blocks + block;
}


/* ISO/IEC 18004, 7.5.2.  Generating the error correction codewords */

static void
ngx_vmess_qr_ecc(ngx_vmess_qr_work_t *w)
{
    u_char      poly[NGX_VMESS_QR_ECC_MAX + 1], rest[NGX_VMESS_QR_ECC_MAX + 1];
    u_char      ch;
    ngx_uint_t  i, j, block;

    ngx_vmess_qr_field(w);

    /* the product of all (x - 2^i), from the highest power of x down */

    ngx_memzero(poly, sizeof(poly));
    poly[0] = 1;

    for (i = 0; i < w->ecc; i++) {
        for (j = i + 1; j > 0; j--) {
            poly[j] ^= ngx_vmess_qr_multiply(w, poly[j - 1], w->exp[i]);
        }
    }

    for (block = 0; block < w->blocks; block++) {

        /* the last one is always zero */

        ngx_memzero(rest, sizeof(rest));

        for (i = 0; i < w->len + (block >= w->shorter); i++) {
            ch = rest[0] ^ w->codewords[ngx_vmess_qr_position(w, block, i)];

            for (j = 0; j < w->ecc; j++) {
                rest[j] = rest[j + 1]
                          ^ ngx_vmess_qr_multiply(w, ch, poly[j + 1]);
            }
        }

        for (i = 0; i < w->ecc; i++) {
            w->codewords[w->data + i * w->blocks + block] = rest[i];
        }
    }
}


static void
ngx_vmess_qr_field(ngx_vmess_qr_work_t *w)
{
    ngx_uint_t  i, x;

    x = 1;

    for (i = 0; i < 255; i++) {
        w->exp[i] = (u_char) x;
        w->exp[i + 255] = (u_char) x;
        w->log[x] = (u_char) i;

        x <<= 1;

        if (x & 0x100) {
            x ^= NGX_VMESS_QR_FIELD;
        }
    }
}


static u_char
ngx_vmess_qr_multiply(ngx_vmess_qr_work_t *w, u_char a, u_char b)
{
    if (a == 0 || b == 0) {
        return 0;
    }

    return w->exp[w->log[a] + w->log[b]];
}


/* ISO/IEC 18004, 6.3.  Symbol structure */

static void
ngx_vmess_qr_patterns(ngx_vmess_qr_work_t *w)
{
    ngx_uint_t  i, last;

    last = w->qr->size - 1;

    for (i = 0; i <= last; i++) {
        ngx_vmess_qr_fix(w, i, 6, i % 2 == 0);
        ngx_vmess_qr_fix(w, 6, i, i % 2 == 0);
    }

    ngx_vmess_qr_align(w);

    ngx_vmess_qr_rings(w, 3, 3, NGX_VMESS_QR_FINDER_RINGS, NGX_VMESS_QR_FINDER);
    ngx_vmess_qr_rings(w, last - 3, 3, NGX_VMESS_QR_FINDER_RINGS,
                       NGX_VMESS_QR_FINDER);
    ngx_vmess_qr_rings(w, 3, last - 3, NGX_VMESS_QR_FINDER_RINGS,
                       NGX_VMESS_QR_FINDER);

    /* with any mask, as its modules are taken before one is chosen */

    ngx_vmess_qr_format(w, 0);
    ngx_vmess_qr_fix(w, 8, last - 7, 1);

    if (w->qr->version >= 7) {
        ngx_vmess_qr_version(w);
    }
}


static void
ngx_vmess_qr_align(ngx_vmess_qr_work_t *w)
{
    ngx_uint_t  at[NGX_VMESS_QR_ALIGN_MAX], n, i, j;

    if (w->qr->version == 1) {
        return;
    }

    /* the same distance from the end on, but for the first */

    n = w->qr->version / 7 + 2;

    for (i = 0; i < n - 1; i++) {
        at[i] = w->qr->size - 7
                - i * ngx_vmess_qr_versions[w->qr->version - 1].step;
    }

    at[i] = 6;

    for (i = 0; i < n; i++) {
        for (j = 0; j < n; j++) {

            /* the finder patterns are there */

            if ((i == n - 1 && (j == 0 || j == n - 1))
                || (i == 0 && j == n - 1))
            {
                continue;
            }

            ngx_vmess_qr_rings(w, at[i], at[j], NGX_VMESS_QR_ALIGN_RINGS,
                               NGX_VMESS_QR_ALIGN);
        }
    }
}


/* a pattern of n squares around a module; what is outside is left out */

static void
ngx_vmess_qr_rings(ngx_vmess_qr_work_t *w, ngx_uint_t x, ngx_uint_t y,
    ngx_uint_t n, ngx_uint_t dark)
{
    ngx_int_t  dx, dy, last, size, px, py;

    last = n - 1;
    size = w->qr->size;

    for (dy = -last; dy <= last; dy++) {
        for (dx = -last; dx <= last; dx++) {

            px = (ngx_int_t) x + dx;
            py = (ngx_int_t) y + dy;

            if (px < 0 || px >= size || py < 0 || py >= size) {
                continue;
            }

            ngx_vmess_qr_fix(w, px, py,
                             dark >> ngx_max(ngx_abs(dx), ngx_abs(dy)) & 1);
        }
    }
}


/* ISO/IEC 18004, 7.10.  Version information */

static void
ngx_vmess_qr_version(ngx_vmess_qr_work_t *w)
{
    ngx_uint_t  i, n, bits;

    bits = ngx_vmess_qr_bch(w->qr->version, NGX_VMESS_QR_VERSION_POLY,
                            NGX_VMESS_QR_VERSION_LEN);

    for (i = 0; i < 18; i++) {
        n = w->qr->size - 11 + i % 3;

        ngx_vmess_qr_fix(w, n, i / 3, bits >> i & 1);
        ngx_vmess_qr_fix(w, i / 3, n, bits >> i & 1);
    }
}


/* ISO/IEC 18004, 7.9.  Format information: twice, around the finder patterns */

static void
ngx_vmess_qr_format(ngx_vmess_qr_work_t *w, ngx_uint_t mask)
{
    ngx_uint_t  i, bit, bits, size;

    size = w->qr->size;

    /* 1 is L, 0 is M */

    bits = (w->qr->level == NGX_VMESS_QR_L) ? 1 << 3 | mask : mask;
    bits = ngx_vmess_qr_bch(bits, NGX_VMESS_QR_FORMAT_POLY,
                            NGX_VMESS_QR_FORMAT_LEN)
           ^ NGX_VMESS_QR_FORMAT_MASK;

    for (i = 0; i < 15; i++) {
        bit = (bits >> i) & 1;

        /* the timing patterns are jumped over */

        if (i < 8) {
            ngx_vmess_qr_fix(w, 8, i + (i >= 6), bit);
            ngx_vmess_qr_fix(w, size - 1 - i, 8, bit);

        } else {
            ngx_vmess_qr_fix(w, 14 - i + (i == 8), 8, bit);
            ngx_vmess_qr_fix(w, 8, size - 15 + i, bit);
        }
    }
}


/* a value of up to 6 bits, followed by its remainder of len bits */

static ngx_uint_t
ngx_vmess_qr_bch(ngx_uint_t value, ngx_uint_t poly, ngx_uint_t len)
{
    ngx_uint_t  i, rest;

    rest = value << len;

    for (i = 6; i-- > 0; /* void */ ) {
        if (rest >> (len + i) & 1) {
            rest ^= poly << i;
        }
    }

    return value << len | rest;
}


static void
ngx_vmess_qr_fix(ngx_vmess_qr_work_t *w, ngx_uint_t x, ngx_uint_t y,
    ngx_uint_t dark)
{
    u_char      bit;
    ngx_uint_t  i;

    i = y * NGX_VMESS_QR_ROW + x / 8;
    bit = 0x80 >> x % 8;

    w->fixed[i] |= bit;

    if (dark) {
        w->qr->modules[i] |= bit;

    } else {
        w->qr->modules[i] &= ~bit;
    }
}


/*
 * ISO/IEC 18004, 7.7.3.  Symbol character placement: columns of two modules
 * from the right, up and down in turn.  What is left in the end stays light.
 */

static void
ngx_vmess_qr_place(ngx_vmess_qr_work_t *w)
{
    u_char      bit;
    ngx_uint_t  n, i, x, y, right, up, row;

    n = 0;
    up = 1;

    for (right = w->qr->size; right > 0; right -= 2) {

        /* the column of the timing pattern is no part of a pair */

        if (right == 7) {
            right--;
        }

        for (row = 0; row < w->qr->size; row++) {
            y = up ? w->qr->size - 1 - row : row;

            for (x = right; x-- > right - 2; /* void */ ) {
                i = y * NGX_VMESS_QR_ROW + x / 8;
                bit = 0x80 >> x % 8;

                if ((w->fixed[i] & bit) || n == 8 * w->total) {
                    continue;
                }

                if (w->codewords[n / 8] & (0x80 >> n % 8)) {
                    w->qr->modules[i] |= bit;
                }

                n++;
            }
        }

        up = !up;
    }
}


/* ISO/IEC 18004, 7.8.  Data masking: with that of the least penalty */

static void
ngx_vmess_qr_mask(ngx_vmess_qr_work_t *w)
{
    ngx_uint_t  mask, penalty, least;

    least = NGX_MAX_UINT32_VALUE;

    for (mask = 0; mask < 8; mask++) {

        ngx_vmess_qr_format(w, mask);
        ngx_vmess_qr_invert(w, mask);

        penalty = ngx_vmess_qr_lines(w->qr, 0) + ngx_vmess_qr_lines(w->qr, 1)
                  + ngx_vmess_qr_areas(w->qr);

        if (penalty < least) {
            least = penalty;
            w->qr->mask = mask;
        }

        /* as it was */

        ngx_vmess_qr_invert(w, mask);
    }

    ngx_vmess_qr_format(w, w->qr->mask);
    ngx_vmess_qr_invert(w, w->qr->mask);
}


static void
ngx_vmess_qr_invert(ngx_vmess_qr_work_t *w, ngx_uint_t mask)
{
    ngx_uint_t  x, y, i;

    for (y = 0; y < w->qr->size; y++) {
        for (x = 0; x < w->qr->size; x++) {

            if (ngx_vmess_qr_masked(mask, x, y)) {
                i = y * NGX_VMESS_QR_ROW + x / 8;
                w->qr->modules[i] ^= (0x80 >> x % 8) & ~w->fixed[i];
            }
        }
    }
}


static ngx_uint_t
ngx_vmess_qr_masked(ngx_uint_t mask, ngx_uint_t x, ngx_uint_t y)
{
    switch (mask) {

    case 0:
        return (x + y) % 2 == 0;

    case 1:
        return y % 2 == 0;

    case 2:
        return x % 3 == 0;

    case 3:
        return (x + y) % 3 == 0;

    case 4:
        return (x / 3 + y / 2) % 2 == 0;

    case 5:
        return x * y % 2 + x * y % 3 == 0;

    case 6:
        return (x * y % 2 + x * y % 3) % 2 == 0;

    default: /* 7 */
        return ((x + y) % 2 + x * y % 3) % 2 == 0;
    }
}


/*
 * ISO/IEC 18004, 7.8.3.  Evaluation of data masking results, in rows or in
 * columns: 3 for five modules alike and 1 for each more; 40 for what looks like
 * a finder pattern with four light modules before or after it.
 */

static ngx_uint_t
ngx_vmess_qr_lines(ngx_vmess_qr_t *qr, ngx_uint_t down)
{
    ngx_uint_t  i, j, dark, last, run, seen, penalty;

    penalty = 0;

    for (i = 0; i < qr->size; i++) {

        /* around the code all is light */

        seen = 0;
        last = 0;
        run = 0;

        for (j = 0; j < qr->size + NGX_VMESS_QR_QUIET; j++) {

            if (j < qr->size) {
                dark = down ? ngx_vmess_qr_dark(qr, i, j)
                            : ngx_vmess_qr_dark(qr, j, i);

                run = (dark == last) ? run + 1 : 1;
                last = dark;

                if (run >= 5) {
                    penalty += (run == 5) ? 3 : 1;
                }

            } else {
                dark = 0;
            }

            /* four before, seven, four after */

            seen = (seen << 1 | dark) & 0x7fff;

            if ((seen >> 4 & 0x7f) == 0x5d
                && ((seen & 0xf) == 0 || seen >> 11 == 0))
            {
                penalty += 40;
            }
        }
    }

    return penalty;
}


/* 3 for each four modules alike, 10 for each 5 % from half of them dark */

static ngx_uint_t
ngx_vmess_qr_areas(ngx_vmess_qr_t *qr)
{
    ngx_int_t   dark, all, step;
    ngx_uint_t  x, y, n, penalty;

    dark = 0;
    penalty = 0;

    for (y = 0; y < qr->size; y++) {
        for (x = 0; x < qr->size; x++) {

            dark += ngx_vmess_qr_dark(qr, x, y);

            if (x == 0 || y == 0) {
                continue;
            }

            n = ngx_vmess_qr_dark(qr, x, y) + ngx_vmess_qr_dark(qr, x - 1, y)
                + ngx_vmess_qr_dark(qr, x, y - 1)
                + ngx_vmess_qr_dark(qr, x - 1, y - 1);

            if (n == 0 || n == 4) {
                penalty += 3;
            }
        }
    }

    all = qr->size * qr->size;

    for (step = 1; step <= 10; step++) {
        if (10 * ngx_abs(2 * dark - all) >= step * all) {
            penalty += 10;
        }
    }

    return penalty;
}


size_t
ngx_vmess_qr_svg_len(ngx_vmess_qr_t *qr, ngx_str_t *label)
{
    /*
     * "&quot;" is the longest escape.  In a row the first line is begun by up
     * to "m-176 1h"; from there on 3 bytes a module are enough, as a line of
     * one module after a gap of one, "m1 0h1", is the longest for two.
     */

    return sizeof(ngx_vmess_qr_svg_head) + sizeof(ngx_vmess_qr_svg_path)
           + sizeof(ngx_vmess_qr_svg_tail) + 6 * label->len
           + qr->size * (sizeof("m-176 1h") - 1 + 3 * qr->size);
}


u_char *
ngx_vmess_qr_svg(u_char *p, ngx_vmess_qr_t *qr, ngx_str_t *label)
{
    uint32_t  side, quiet;

    quiet = NGX_VMESS_QR_QUIET;
    side = (uint32_t) qr->size + 2 * quiet;

    p = ngx_sprintf(p, ngx_vmess_qr_svg_head, side, side);
    p = ngx_vmess_qr_label(p, label);
    p = ngx_sprintf(p, ngx_vmess_qr_svg_path, side, side, quiet, quiet);
    p = ngx_vmess_qr_path(p, qr);

    return ngx_cpymem(p, ngx_vmess_qr_svg_tail,
                      sizeof(ngx_vmess_qr_svg_tail) - 1);
}


/* XML 1.0, 2.2.  Characters, and 2.4.  Character Data and Markup */

static u_char *
ngx_vmess_qr_label(u_char *p, ngx_str_t *label)
{
    u_char            *s, *last, *start;
    ngx_int_t          rc;
    ngx_vmess_utf8_t   u;

    ngx_memzero(&u, sizeof(ngx_vmess_utf8_t));

    s = label->data;
    last = s + label->len;
    start = s;

    while (s < last) {

        rc = ngx_vmess_utf8_check(&u, *s++);

        if (rc == NGX_AGAIN && s < last) {
            continue;
        }

        /* of more than one byte, the last may be the first of another */

        if (rc == NGX_ERROR && s - start > 1) {
            s--;
        }

        if (rc != NGX_OK || u.ch == 0xfffe || u.ch == 0xffff
            || (u.ch < 0x20 && u.ch != '\t' && u.ch != LF && u.ch != CR))
        {
            p = ngx_cpymem(p, "\xef\xbf\xbd", 3);

        } else {
            p = (u_char *) ngx_escape_html(p, start, s - start);
        }

        start = s;
    }

    return p;
}


/* each line of dark modules in a row, from the end of the one before it */

static u_char *
ngx_vmess_qr_path(u_char *p, ngx_vmess_qr_t *qr)
{
    uint32_t  x, y, start, size, px, py;

    size = (uint32_t) qr->size;
    px = 0;
    py = 0;

    for (y = 0; y < size; y++) {
        for (x = 0; x < size; x++) {

            if (!ngx_vmess_qr_dark(qr, x, y)) {
                continue;
            }

            start = x;

            while (x < size && ngx_vmess_qr_dark(qr, x, y)) {
                x++;
            }

            *p++ = 'm';

            if (start < px) {
                *p++ = '-';
            }

            p = ngx_sprintf(p, "%uD %uDh%uD",
                            start < px ? px - start : start - px, y - py,
                            x - start);

            px = x;
            py = y;
        }
    }

    return p;
}
