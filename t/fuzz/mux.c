
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_mux.h"


/* what is compared of frames read in different ways */

typedef struct {
    ngx_int_t    rc;
    ngx_uint_t   frames;
    uint64_t     headers;       /* hash */
    uint64_t     data;          /* hash */
    size_t       n;
    size_t       length;
    const char  *err;
} fuzz_result_t;


static void fuzz_read(const uint8_t *data, size_t size, size_t step,
    ngx_uint_t take, fuzz_result_t *r);
static void fuzz_frame(ngx_vmess_mux_t *m, fuzz_result_t *r);
static void fuzz_address(ngx_vmess_address_t *address);
static void fuzz_create(ngx_vmess_mux_t *m);
static void fuzz_header(const uint8_t *data, size_t size);
static struct sockaddr *fuzz_sockaddr(ngx_uint_t type, const u_char *addr,
    in_port_t port);
static uint64_t fuzz_hash(uint64_t hash, const void *data, size_t len);


/*
 * What is read does not depend on where the input is cut, nor on who takes the
 * data.  The first byte is the size of the pieces; zero, and the rest is a
 * header to create.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t         step;
    fuzz_result_t  whole, parts, skip;

    if (size == 0) {
        return 0;
    }

    step = *data++;
    size--;

    if (step == 0) {
        fuzz_header(data, size);
        return 0;
    }

    fuzz_read(data, size, size, 1, &whole);
    fuzz_read(data, size, step, 1, &parts);
    fuzz_read(data, size, step, 0, &skip);

    fuzz_check(whole.rc == parts.rc && whole.rc == skip.rc);
    fuzz_check(whole.frames == parts.frames && whole.frames == skip.frames);
    fuzz_check(whole.headers == parts.headers
               && whole.headers == skip.headers);
    fuzz_check(whole.data == parts.data);
    fuzz_check(whole.n == parts.n && whole.n == skip.n);
    fuzz_check(whole.length == parts.length && whole.length == skip.length);
    fuzz_check(whole.err == parts.err && whole.err == skip.err);

    return 0;
}


static void
fuzz_read(const uint8_t *data, size_t size, size_t step, ngx_uint_t take,
    fuzz_result_t *r)
{
    size_t            len, head;
    u_char           *p, *pos;
    ngx_buf_t         b;
    ngx_uint_t        whole;
    ngx_vmess_mux_t   m;

    ngx_memzero(r, sizeof(fuzz_result_t));
    ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    r->rc = NGX_AGAIN;
    r->headers = 0xcbf29ce484222325;
    r->data = 0xcbf29ce484222325;

    whole = (step == size);

    while (size && r->rc == NGX_AGAIN) {
        len = ngx_min(step, size);

        p = fuzz_copy(data, len);

        data += len;
        size -= len;

        b.pos = p;
        b.last = p + len;

        for ( ;; ) {

            if (take && m.length) {
                len = ngx_min((size_t) (b.last - b.pos), m.length);
                r->data = fuzz_hash(r->data, b.pos, len);
                b.pos += len;
                m.length -= len;
            }

            pos = b.pos;

            r->rc = ngx_vmess_mux_read(&m, &b);

            fuzz_check(b.pos >= pos && b.pos <= b.last);
            fuzz_check(m.n <= sizeof(m.data));
            fuzz_check(r->rc != NGX_AGAIN || b.pos == b.last);

            if (r->rc != NGX_OK) {
                break;
            }

            /* the header and nothing behind it was taken */

            if (whole && take) {
                head = 2 + (pos[0] << 8 | pos[1]);
                head += (pos[5] & 1) ? 2 : 0;

                fuzz_check((size_t) (b.pos - pos) == head);
                fuzz_check(m.length == (pos[5] & 1
                                        ? (size_t) (b.pos[-2] << 8
                                                    | b.pos[-1])
                                        : 0));
            }

            fuzz_frame(&m, r);
        }

        free(p);
    }

    fuzz_check(r->rc == NGX_AGAIN || m.err);

    r->n = m.n;
    r->length = m.length;
    r->err = m.err;
}


static void
fuzz_frame(ngx_vmess_mux_t *m, fuzz_result_t *r)
{
    ngx_uint_t  values[8];

    fuzz_check(m->n == 0);
    fuzz_check(m->status >= NGX_VMESS_MUX_NEW
               && m->status <= NGX_VMESS_MUX_KEEPALIVE);
    fuzz_check(m->id <= 65535 && m->opt <= 255);
    fuzz_check(m->length <= NGX_VMESS_MUX_DATA_MAX);
    fuzz_check(m->length == 0 || (m->opt & NGX_VMESS_MUX_DATA));
    fuzz_check(!m->has_address || !m->bad_address);
    fuzz_check(m->bad_address == (m->err != NULL));
    fuzz_check((m->network != 0) == (m->has_address || m->bad_address));

    switch (m->status) {

    case NGX_VMESS_MUX_NEW:
        fuzz_check(m->network == NGX_VMESS_MUX_TCP
                   || m->network == NGX_VMESS_MUX_UDP);
        break;

    case NGX_VMESS_MUX_KEEP:
        fuzz_check(m->network == 0 || m->network == NGX_VMESS_MUX_UDP);
        break;

    default:
        fuzz_check(m->network == 0);
    }

    fuzz_check(!m->has_global_id
               || (m->status == NGX_VMESS_MUX_NEW && m->has_address
                   && m->network == NGX_VMESS_MUX_UDP
                   && (m->opt & NGX_VMESS_MUX_DATA)));
    fuzz_check(m->has_global_id
               == (ngx_memcmp(m->global_id, "\0\0\0\0\0\0\0\0", 8) != 0));

    values[0] = m->id;
    values[1] = m->status;
    values[2] = m->opt;
    values[3] = m->network;
    values[4] = m->has_address;
    values[5] = m->has_global_id;
    values[6] = m->bad_address;
    values[7] = m->length;

    r->frames++;
    r->headers = fuzz_hash(r->headers, values, sizeof(values));
    r->headers = fuzz_hash(r->headers, m->global_id, 8);

    if (m->has_address) {
        fuzz_address(&m->address);

        r->headers = fuzz_hash(r->headers, &m->address.port,
                               sizeof(in_port_t));

        if (m->address.type == NGX_VMESS_ADDR_DOMAIN) {
            r->headers = fuzz_hash(r->headers, m->address.domain.data,
                                   m->address.domain.len);

        } else {
            r->headers = fuzz_hash(r->headers, m->address.addr,
                m->address.type == NGX_VMESS_ADDR_IPV4 ? 4 : 16);
        }
    }

    fuzz_create(m);
}


static void
fuzz_address(ngx_vmess_address_t *address)
{
    switch (address->type) {

    case NGX_VMESS_ADDR_DOMAIN:
        fuzz_check(address->domain.data == address->data);
        fuzz_check(address->domain.len >= 1);
        fuzz_check(address->domain.len <= sizeof(address->data));
        break;

    case NGX_VMESS_ADDR_IPV6:
        fuzz_check(ngx_memcmp(address->addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff",
                              12) != 0);
        break;

    default:
        fuzz_check(address->type == NGX_VMESS_ADDR_IPV4);
    }
}


/* a header as servers send it is created the same */

static void
fuzz_create(ngx_vmess_mux_t *m)
{
    u_char           *p, buf[NGX_VMESS_MUX_HEADER_MAX];
    size_t            size;
    struct sockaddr  *sa;

    size = NGX_VMESS_MUX_HEADER_LEN;
    sa = NULL;

    if (m->has_address) {

        if (m->address.type == NGX_VMESS_ADDR_DOMAIN) {
            return;
        }

        size += 4 + (m->address.type == NGX_VMESS_ADDR_IPV4 ? 4 : 16);
        sa = fuzz_sockaddr(m->address.type, m->address.addr, m->address.port);
    }

    /* an IPv4-mapped address and one in text are not of that size */

    if (m->status == NGX_VMESS_MUX_NEW || m->bad_address || m->size != size
        || (m->has_address && m->data[9] != m->address.type))
    {
        return;
    }

    p = ngx_vmess_mux_header(buf + sizeof(buf), m->id, m->status, m->opt, sa,
                             m->length);

    size += (m->opt & NGX_VMESS_MUX_DATA) ? 2 : 0;

    fuzz_check((size_t) (buf + sizeof(buf) - p) == size);
    fuzz_check(ngx_memcmp(p, m->data, size) == 0);
}


/* what is created is read: status, option, id, length, type, port, address */

static void
fuzz_header(const uint8_t *data, size_t size)
{
    u_char           *p, *buf;
    size_t            len;
    uint8_t           opt;
    ngx_buf_t         b;
    ngx_uint_t        id, status, type;
    in_port_t         port;
    struct sockaddr  *sa;
    ngx_vmess_mux_t   m;

    if (size < 25) {
        return;
    }

    status = NGX_VMESS_MUX_KEEP + data[0] % 3;
    opt = data[1];
    id = data[2] << 8 | data[3];
    len = data[4] << 8 | data[5];
    type = data[6] & 3;
    port = (in_port_t) (data[7] << 8 | data[8]);

    sa = fuzz_sockaddr(type, data + 9, port);

    buf = malloc(NGX_VMESS_MUX_HEADER_MAX);
    fuzz_check(buf != NULL);

    ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.last = buf + NGX_VMESS_MUX_HEADER_MAX;
    p = ngx_vmess_mux_header(b.last, id, status, opt, sa, len);
    b.pos = p;

    fuzz_check(p >= buf);
    fuzz_check(ngx_vmess_mux_read(&m, &b) == NGX_OK && b.pos == b.last);
    fuzz_check(m.id == id && m.status == status && m.opt == opt);
    fuzz_check(m.length == ((opt & NGX_VMESS_MUX_DATA) ? len : 0));
    fuzz_check(m.has_address == (sa && status == NGX_VMESS_MUX_KEEP));
    fuzz_check(!m.bad_address && !m.has_global_id);

    if (m.has_address) {
        fuzz_check(m.address.port == port);

        if (m.address.type == type) {
            fuzz_check(ngx_memcmp(m.address.addr, data + 9,
                                  type == NGX_VMESS_ADDR_IPV4 ? 4 : 16) == 0);

        } else {

            /* IPv4-mapped */

            fuzz_check(m.address.type == NGX_VMESS_ADDR_IPV4);
            fuzz_check(ngx_memcmp(m.address.addr, data + 9 + 12, 4) == 0);
        }
    }

    free(buf);
}


/* NULL if the type is neither IPv4 nor IPv6 */

static struct sockaddr *
fuzz_sockaddr(ngx_uint_t type, const u_char *addr, in_port_t port)
{
    static union {
        struct sockaddr      sa;
        struct sockaddr_in   sin;
        struct sockaddr_in6  sin6;
    } u;

    ngx_memzero(&u, sizeof(u));

    switch (type) {

    case NGX_VMESS_ADDR_IPV4:
        u.sin.sin_family = AF_INET;
        u.sin.sin_port = htons(port);
        ngx_memcpy(&u.sin.sin_addr, addr, 4);
        break;

    case NGX_VMESS_ADDR_IPV6:
        u.sin6.sin6_family = AF_INET6;
        u.sin6.sin6_port = htons(port);
        ngx_memcpy(&u.sin6.sin6_addr, addr, 16);
        break;

    default:
        return NULL;
    }

    return &u.sa;
}


/* FNV-1a */

static uint64_t
fuzz_hash(uint64_t hash, const void *data, size_t len)
{
    const u_char  *p;

    for (p = data; len; p++, len--) {
        hash = (hash ^ *p) * 0x100000001b3;
    }

    return hash;
}
