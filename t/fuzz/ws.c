
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_ws.h"


static ngx_int_t fuzz_read(const uint8_t *data, size_t size, size_t step,
    u_char *out, size_t *n, ngx_uint_t *controls, const char **err);
static void fuzz_early_data(const uint8_t *data, size_t size);


/*
 * What is read does not depend on where the input is cut.  The first byte is
 * the size of the pieces; zero, and the rest is early data.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       n, m, step;
    u_char      *whole, *parts;
    ngx_int_t    rc;
    ngx_uint_t   c, d;
    const char  *err, *again;

    if (size == 0) {
        return 0;
    }

    step = *data++;
    size--;

    if (step == 0) {
        fuzz_early_data(data, size);
        return 0;
    }

    whole = malloc(size + 1);
    parts = malloc(size + 1);
    fuzz_check(whole && parts);

    rc = fuzz_read(data, size, size ? size : 1, whole, &n, &c, &err);

    fuzz_check(fuzz_read(data, size, step, parts, &m, &d, &again) == rc);
    fuzz_check(n == m && c == d && err == again && n <= size);
    fuzz_check(ngx_memcmp(whole, parts, n) == 0);
    fuzz_check(rc != NGX_ERROR || err);

    free(whole);
    free(parts);

    return 0;
}


/* the bytes of each piece are unmasked in place, as it is done by the carrier */

static ngx_int_t
fuzz_read(const uint8_t *data, size_t size, size_t step, u_char *out,
    size_t *n, ngx_uint_t *controls, const char **err)
{
    size_t           len;
    u_char          *p, *last;
    ngx_int_t        rc;
    ngx_buf_t        b;
    ngx_uint_t       i;
    ngx_vmess_ws_t   ws;

    ngx_memzero(&ws, sizeof(ngx_vmess_ws_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    *n = 0;
    *controls = 0;
    rc = NGX_AGAIN;

    while (size && rc != NGX_ERROR) {
        len = ngx_min(step, size);

        p = fuzz_copy(data, len);

        data += len;
        size -= len;

        b.pos = p;
        b.last = p + len;
        last = p;

        do {
            rc = ngx_vmess_ws_read(&ws, &b, &last);

            fuzz_check(last >= p && last <= b.pos && b.pos <= b.last);

            if (rc == NGX_DONE) {
                fuzz_check(ws.opcode & 0x8);
                fuzz_check(ws.control_len <= NGX_VMESS_WS_CONTROL_MAX);

                *controls = *controls * 31 + ws.opcode;

                for (i = 0; i < ws.control_len; i++) {
                    *controls = *controls * 31 + ws.control[i];
                }
            }

        } while (rc == NGX_DONE);

        fuzz_check(rc == NGX_ERROR || b.pos == b.last);

        ngx_memcpy(out + *n, p, last - p);
        *n += last - p;

        free(p);
    }

    *err = ws.err;

    return rc;
}


static void
fuzz_early_data(const uint8_t *data, size_t size)
{
    u_char     *p, *out;
    ngx_int_t   rc;
    ngx_str_t   src, dst;

    p = fuzz_copy(data, size);

    src.data = p;
    src.len = size;

    out = malloc(ngx_base64_decoded_length(size));
    fuzz_check(out != NULL);

    dst.data = out;
    dst.len = 0;

    rc = ngx_vmess_ws_early_data(&dst, &src);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_check(rc == NGX_DECLINED || dst.len > 0);
    fuzz_check(dst.len <= ngx_base64_decoded_length(size));

    free(out);
    free(p);
}
