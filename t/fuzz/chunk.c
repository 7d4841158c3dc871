
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_chunk.h"


#define FUZZ_CHUNKS  16
#define FUZZ_WIRE    (FUZZ_CHUNKS                                             \
                      * (NGX_VMESS_CHUNK_DATA + NGX_VMESS_CHUNK_OVERHEAD))


typedef struct {
    ngx_vmess_header_t   h;

    u_char               wire[FUZZ_WIRE];
    size_t               len;

    u_char               plain[FUZZ_WIRE];
    size_t               plain_len;

    size_t               step;       /* bytes fed at a time */
    size_t               room;       /* for plaintext */

    unsigned             end:1;
} fuzz_body_t;


static void fuzz_seal(fuzz_body_t *f, const u_char *p, size_t len);
static ngx_int_t fuzz_open(fuzz_body_t *f, ngx_uint_t check, size_t *done);


static fuzz_body_t  fuzz_body;
static u_char       fuzz_room[65536];


/*
 * Five bytes choose the codec and how it is fed; FUZZ_RAW in the first: the
 * rest is a wire.  Otherwise the rest is lengths of chunks, which have to open
 * to what was sealed, and have not to, if one byte of them is changed.
 */

#define FUZZ_RAW  0x80

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        done;
    ngx_int_t     rc;
    ngx_uint_t    i;
    fuzz_body_t  *f;

    if (size < 5) {
        return 0;
    }

    f = &fuzz_body;

    for (i = 0; i < NGX_VMESS_KEY_LEN; i++) {
        f->h.key[i] = (u_char) i;
        f->h.iv[i] = (u_char) ~i;
    }

    f->h.security = data[0] & 0x0f;
    f->h.command = 1 + (data[0] >> 4 & 0x07) % 3;
    f->h.opt = data[1];

    f->step = 1 + data[2] * data[2];
    f->room = data[3] * 16;

    f->len = 0;
    f->plain_len = 0;
    f->end = 0;

    if (data[0] & FUZZ_RAW) {
        f->len = ngx_min(size - 5, FUZZ_WIRE);
        ngx_memcpy(f->wire, data + 5, f->len);

        fuzz_open(f, 0, &done);

        return 0;
    }

    fuzz_seal(f, data + 5, size - 5);

    rc = fuzz_open(f, 1, &done);

    if (rc == NGX_DECLINED) {
        fuzz_check(f->h.security == 0 || f->h.security == 2
                   || f->h.security > NGX_VMESS_SEC_NONE);
        return 0;
    }

    fuzz_check(done == f->plain_len);
    fuzz_check(rc == (f->end ? NGX_DONE : NGX_AGAIN));

    if (f->len && f->h.security != NGX_VMESS_SEC_NONE
        && (f->h.security != NGX_VMESS_SEC_AES_128_CFB
            || (f->h.opt & NGX_VMESS_OPT_CHUNK)))
    {
        f->wire[(data[4] * 257) % f->len] ^= 0x10;

        rc = fuzz_open(f, 1, &done);

        /* padding is not authenticated: all may have been taken */

        fuzz_check(rc != NGX_DONE || (f->end && done == f->plain_len));
    }

    return 0;
}


static void
fuzz_seal(fuzz_body_t *f, const u_char *p, size_t len)
{
    u_char              *in, *out, *last, random[NGX_VMESS_PADDING_MAX];
    size_t               i, n;
    ngx_uint_t           k;
    ngx_vmess_chunk_t    cc;

    ngx_memzero(&cc, sizeof(ngx_vmess_chunk_t));
    ngx_memset(random, 0xa5, sizeof(random));

    if (ngx_vmess_chunk_init(&cc, &f->h, f->h.key, f->h.iv, 1) != NGX_OK) {
        ngx_vmess_chunk_cleanup(&cc);
        return;
    }

    for (k = 0; k < FUZZ_CHUNKS && len >= 2 && !f->end; k++) {
        n = (p[0] << 8 | p[1]) % (NGX_VMESS_CHUNK_DATA + 1);
        p += 2;
        len -= 2;

        /* out of bytes and into room that are not larger than they have to */

        in = malloc(n ? n : 1);
        out = malloc(n + NGX_VMESS_CHUNK_OVERHEAD);
        fuzz_check(in && out);

        for (i = 0; i < n; i++) {
            in[i] = (u_char) (7 * i + k);
        }

        last = out;

        fuzz_check(ngx_vmess_chunk_seal(&cc, in, n, random, &last) == NGX_OK);

        ngx_memcpy(f->plain + f->plain_len, in, n);
        f->plain_len += n;

        ngx_memcpy(f->wire + f->len, out, last - out);
        f->len += last - out;

        /* a first empty chunk is skipped, and without chunks there is none */

        f->end = (n == 0 && k > 0 && !cc.raw && !cc.stream);

        free(in);
        free(out);
    }

    ngx_vmess_chunk_cleanup(&cc);
}


/*
 * Opens f->wire; with check what comes out has to be the next of f->plain.
 * Returns what the codec did at last, NGX_DECLINED if there is none.
 */

static ngx_int_t
fuzz_open(fuzz_body_t *f, ngx_uint_t check, size_t *done)
{
    u_char             *copy;
    size_t              pos, n, step;
    ngx_buf_t           b;
    ngx_int_t           rc;
    ngx_str_t           out;
    ngx_vmess_chunk_t   cc;

    *done = 0;

    ngx_memzero(&cc, sizeof(ngx_vmess_chunk_t));

    if (ngx_vmess_chunk_init(&cc, &f->h, f->h.key, f->h.iv, 0) != NGX_OK) {
        ngx_vmess_chunk_cleanup(&cc);
        return NGX_DECLINED;
    }

    /* a long wire in single bytes would take seconds */

    step = ngx_max(f->step, f->len / 256);

    pos = 0;
    n = ngx_min(step, f->len);

    for ( ;; ) {
        copy = fuzz_copy(f->wire + pos, n - pos);

        b.pos = copy;
        b.last = copy + (n - pos);

        for ( ;; ) {
            out.data = f->room ? fuzz_room : NULL;
            out.len = f->room;

            rc = ngx_vmess_chunk_open(&cc, &b, &out);

            fuzz_check(b.pos <= b.last);

            if (rc != NGX_OK) {
                break;
            }

            fuzz_check(out.len > 0);
            fuzz_check(f->room >= out.len
                       ? out.data == fuzz_room
                       : out.data >= copy && out.data + out.len <= b.pos);

            if (check) {
                fuzz_check(out.len <= f->plain_len - *done);
                fuzz_check(ngx_memcmp(out.data, f->plain + *done, out.len)
                           == 0);
            }

            *done += out.len;
        }

        pos += b.pos - copy;
        free(copy);

        if (rc == NGX_AGAIN) {
            fuzz_check(ngx_vmess_chunk_need(&cc) > n - pos);
            fuzz_check(ngx_vmess_chunk_need(&cc)
                       <= NGX_VMESS_CHUNK_MAX + 2 + NGX_VMESS_TAG_LEN);
        }

        if (rc != NGX_AGAIN || n == f->len) {
            break;
        }

        n = ngx_min(n + step, f->len);
    }

    fuzz_check((rc == NGX_ERROR) == (cc.err != NULL));
    fuzz_check(rc != NGX_DONE || (!cc.raw && !cc.stream));

    ngx_vmess_chunk_cleanup(&cc);

    return rc;
}
