
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_grpc.h"


static ngx_int_t fuzz_read(const uint8_t *data, size_t size, size_t step,
    u_char *out, size_t *n, ngx_vmess_grpc_t *g);
static void fuzz_header(const uint8_t *data, size_t size);


/*
 * What is read does not depend on where the input is cut.  The first byte is
 * the size of the pieces; zero, and the rest is data to send.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t             n, m, step;
    u_char            *whole, *parts;
    ngx_int_t          rc;
    ngx_vmess_grpc_t   g, h;

    if (size == 0) {
        return 0;
    }

    step = *data++;
    size--;

    if (step == 0) {
        fuzz_header(data, size);
        return 0;
    }

    whole = malloc(size + 1);
    parts = malloc(size + 1);
    fuzz_check(whole && parts);

    rc = fuzz_read(data, size, size ? size : 1, whole, &n, &g);

    fuzz_check(fuzz_read(data, size, step, parts, &m, &h) == rc);
    fuzz_check(n == m && g.state == h.state && g.err == h.err && n <= size);
    fuzz_check(ngx_memcmp(whole, parts, n) == 0);
    fuzz_check(rc == NGX_AGAIN || rc == NGX_ERROR);
    fuzz_check((rc == NGX_ERROR) == (g.err != NULL));

    free(whole);
    free(parts);

    return 0;
}


/* the data of each piece is moved in place, as it is done by the carrier */

static ngx_int_t
fuzz_read(const uint8_t *data, size_t size, size_t step, u_char *out,
    size_t *n, ngx_vmess_grpc_t *g)
{
    size_t      len;
    u_char     *p, *last;
    ngx_int_t   rc;
    ngx_buf_t   b;

    ngx_memzero(g, sizeof(ngx_vmess_grpc_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    *n = 0;
    rc = NGX_AGAIN;

    while (size && rc == NGX_AGAIN) {
        len = ngx_min(step, size);

        p = fuzz_copy(data, len);

        data += len;
        size -= len;

        b.pos = p;
        b.last = p + len;
        last = p;

        rc = ngx_vmess_grpc_read(g, &b, &last);

        fuzz_check(last >= p && last <= b.pos && b.pos <= b.last);
        fuzz_check(rc == NGX_ERROR || b.pos == b.last);
        fuzz_check(g->rest + g->length <= NGX_VMESS_GRPC_MESSAGE_MAX);

        ngx_memcpy(out + *n, p, last - p);
        *n += last - p;

        free(p);
    }

    return rc;
}


/* what is sent in two messages is what is read */

static void
fuzz_header(const uint8_t *data, size_t size)
{
    size_t             n, first;
    u_char            *room, *p, *out;
    ngx_int_t          rc;
    ngx_vmess_grpc_t   g;

    if (size < 3) {
        return;
    }

    first = 1 + data[0] * 16 % (size - 2);
    data++;
    size--;

    room = malloc(size + 2 * NGX_VMESS_GRPC_HEADER_MAX);
    out = malloc(size + 2 * NGX_VMESS_GRPC_HEADER_MAX);
    fuzz_check(room && out);

    p = room + 2 * NGX_VMESS_GRPC_HEADER_MAX;

    ngx_memcpy(p + first, data + first, size - first);
    p = ngx_vmess_grpc_header(p + first, size - first);
    n = room + 2 * NGX_VMESS_GRPC_HEADER_MAX + size - p;

    p -= first;
    ngx_memcpy(p, data, first);
    n += first;

    fuzz_check(p >= room + NGX_VMESS_GRPC_HEADER_MAX);

    n += p - ngx_vmess_grpc_header(p, first);
    p = ngx_vmess_grpc_header(p, first);

    rc = fuzz_read(p, n, n, out, &n, &g);

    fuzz_check(rc == NGX_AGAIN && g.state == 0);
    fuzz_check(n == size && ngx_memcmp(out, data, size) == 0);

    free(room);
    free(out);
}
