
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_kcp.h"


#define FUZZ_CONV     0x5a5a
#define FUZZ_NUMBERS  1024                   /* of segments that are checked */
#define FUZZ_PERIOD   251
#define FUZZ_SIZE     16384                  /* of a write or a read */


typedef struct {
    const uint8_t         *p;
    const uint8_t         *last;

    ngx_vmess_kcp_t        kcp;
    ngx_vmess_kcp_conf_t   conf;

    uint64_t               now;
    uint32_t               first;            /* number of our first segment */
    uint64_t               in;               /* bytes of datagrams */
    uint64_t               out;
    uint64_t               written;
    uint64_t               read;
    uint64_t               sent;
    uint64_t               offset[FUZZ_NUMBERS];

    size_t                 used;
    ngx_uint_t             fail;
    ngx_uint_t             raw;              /* the peer said anything */
} fuzz_t;


static ngx_uint_t fuzz_get(fuzz_t *f);
static void fuzz_init(fuzz_t *f);
static void fuzz_step(fuzz_t *f);
static void fuzz_say(fuzz_t *f, ngx_vmess_kcp_segment_t *seg);
static void fuzz_input(fuzz_t *f, const void *data, size_t len);
static void fuzz_data(fuzz_t *f);
static void fuzz_ack(fuzz_t *f);
static void fuzz_command(fuzz_t *f);
static void fuzz_write(fuzz_t *f, size_t len);
static void fuzz_read(fuzz_t *f, size_t len);
static void fuzz_output(fuzz_t *f);
static void fuzz_segments(fuzz_t *f, u_char *p, size_t len);
static void fuzz_state(fuzz_t *f);
static u_char *fuzz_bytes(uint64_t n);
static void *fuzz_alloc(void *data, size_t size);
static void fuzz_free(void *data, void *p, size_t size);


/* settings of a session, then what happens to it, a byte and its arguments */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_t  *f;

    f = calloc(1, sizeof(fuzz_t));
    fuzz_check(f != NULL);

    f->p = data;
    f->last = data + size;

    fuzz_init(f);

    while (f->p < f->last) {
        fuzz_step(f);
        fuzz_output(f);
        fuzz_state(f);
    }

    /* it ends when nobody says anything */

    if (f->fail & 0x80) {
        while (f->kcp.state != ngx_vmess_kcp_terminated) {
            f->now += ngx_vmess_kcp_wakeup(&f->kcp, f->now);
            fuzz_output(f);
            fuzz_state(f);
        }
    }

    ngx_vmess_kcp_cleanup(&f->kcp);
    fuzz_check(f->used == 0);

    free(f);

    return 0;
}


static ngx_uint_t
fuzz_get(fuzz_t *f)
{
    return (f->p < f->last) ? *f->p++ : 0;
}


static void
fuzz_init(fuzz_t *f)
{
    ngx_uint_t  flags;

    f->conf.mtu = NGX_VMESS_KCP_MTU_MIN + 3 * fuzz_get(f);
    f->conf.overhead = fuzz_get(f) % 64;
    f->conf.tti = NGX_VMESS_KCP_TTI_MIN + fuzz_get(f);
    f->conf.uplink = fuzz_get(f) % 8;
    f->conf.downlink = fuzz_get(f) % 8;
    f->conf.read_buffer = fuzz_get(f) * 256;
    f->conf.write_buffer = fuzz_get(f) * 256;

    flags = fuzz_get(f);
    f->fail = fuzz_get(f);

    f->conf.congestion = flags & 1;
    f->conf.alloc = fuzz_alloc;
    f->conf.free = fuzz_free;
    f->conf.data = f;

    ngx_vmess_kcp_conf_init(&f->conf);

    f->now = (flags & 2) ? 0xffffff00 : 1000;

    ngx_vmess_kcp_init(&f->kcp, &f->conf, FUZZ_CONV,
                       (flags & 4) ? 0x7fffff00 : 0, f->now);

    f->kcp.validated = (flags & 8) != 0;

    if (flags & 16) {
        f->first = 0xfffffff0;

        f->kcp.send_una = f->first;
        f->kcp.send_next = f->first;
        f->kcp.send_last = f->first;
        f->kcp.send_edge += f->first;
    }
}


static void
fuzz_step(fuzz_t *f)
{
    size_t      len;
    ngx_uint_t  n;

    switch (fuzz_get(f) % 12) {

    case 0:
        len = fuzz_get(f);
        len = ngx_min(len, (size_t) (f->last - f->p));
        fuzz_input(f, f->p, len);
        f->p += len;
        f->raw = 1;
        break;

    case 1:
    case 2:
    case 3:
        fuzz_data(f);
        break;

    case 4:
    case 5:
        fuzz_ack(f);
        break;

    case 6:
        fuzz_command(f);
        break;

    case 7:
        fuzz_write(f, 1 + fuzz_get(f) * 64);
        break;

    case 8:
        fuzz_read(f, 1 + fuzz_get(f) * 16);
        break;

    case 9:
        n = fuzz_get(f);
        f->now += (n < 200) ? n : (n - 200) * 600;
        break;

    case 10:
        if (f->kcp.state != ngx_vmess_kcp_terminated) {
            f->now += ngx_vmess_kcp_wakeup(&f->kcp, f->now);
        }

        break;

    default:
        if (fuzz_get(f) % 8 == 0) {
            ngx_vmess_kcp_close(&f->kcp, f->now);
        }

        break;
    }
}


static void
fuzz_say(fuzz_t *f, ngx_vmess_kcp_segment_t *seg)
{
    u_char   wire[4096];
    u_char  *p;

    seg->conv = FUZZ_CONV;

    p = ngx_vmess_kcp_segment_create(wire, seg);

    fuzz_input(f, wire, p - wire);
}


static void
fuzz_input(fuzz_t *f, const void *data, size_t len)
{
    u_char     *p;
    ngx_int_t   rc;

    p = fuzz_copy(data, len);

    rc = ngx_vmess_kcp_input(&f->kcp, p, len, f->now);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_OK) {
        f->in += len + f->conf.overhead;
    }

    free(p);
}


/* near to what is awaited; payload and length are those of the number */

static void
fuzz_data(fuzz_t *f)
{
    ngx_vmess_kcp_segment_t  seg;

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = NGX_VMESS_KCP_DATA;
    seg.number = f->kcp.receive_next + (int8_t) fuzz_get(f);
    seg.sending_next = f->kcp.receive_una + (int8_t) fuzz_get(f);
    seg.timestamp = (uint32_t) f->now;

    /* of 512 bytes, so that its place in the stream is known */

    seg.data.data = fuzz_bytes((uint64_t) seg.number * 512);
    seg.data.len = 512;

    fuzz_say(f, &seg);
}


static void
fuzz_ack(fuzz_t *f)
{
    u_char                    numbers[256 * NGX_VMESS_KCP_NUMBER_LEN], *p;
    ngx_uint_t                n;
    ngx_vmess_kcp_segment_t   seg;

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = NGX_VMESS_KCP_ACK;
    seg.receiving_next = f->kcp.send_una + (int8_t) fuzz_get(f);
    seg.receiving_window = f->kcp.send_una + fuzz_get(f);

    /* a time that was sent is what a fuzzer does not guess */

    n = fuzz_get(f);

    seg.timestamp = (n & 1) ? f->kcp.time[n / 2 % NGX_VMESS_KCP_TIMES]
                            : f->kcp.base + (uint32_t) f->now - f->kcp.start
                              - 4 * n;

    p = numbers;

    for (n = fuzz_get(f); n & 7; n--) {
        p = ngx_vmess_kcp_segment_put32(p, f->kcp.send_una
                                           + (int8_t) fuzz_get(f));
    }

    seg.data.data = numbers;
    seg.data.len = p - numbers;

    fuzz_say(f, &seg);
}


static void
fuzz_command(fuzz_t *f)
{
    ngx_vmess_kcp_segment_t  seg;

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = fuzz_get(f);
    seg.opt = seg.command >> 7;

    /* the end of the session is rare */

    seg.command = (seg.command % 16 == 1) ? NGX_VMESS_KCP_TERMINATE
                                          : NGX_VMESS_KCP_PING;

    seg.sending_next = f->kcp.receive_next + (int8_t) fuzz_get(f);
    seg.receiving_next = f->kcp.send_una + (int8_t) fuzz_get(f);
    seg.rto = fuzz_get(f) << fuzz_get(f) % 25;

    fuzz_say(f, &seg);
}


static void
fuzz_write(fuzz_t *f, size_t len)
{
    ssize_t     n;
    ngx_uint_t  writable;

    writable = ngx_vmess_kcp_send_ready(&f->kcp);

    n = ngx_vmess_kcp_send(&f->kcp, fuzz_bytes(f->written), len);

    fuzz_check(n == NGX_AGAIN || n == NGX_ERROR || n > 0);
    fuzz_check(n <= (ssize_t) len);
    fuzz_check((n == NGX_ERROR) == (f->kcp.state != ngx_vmess_kcp_active));
    fuzz_check(n != NGX_AGAIN || !writable || f->fail & 0x7f);

    if (n > 0) {
        f->written += n;
    }
}


static void
fuzz_read(fuzz_t *f, size_t len)
{
    u_char      *p;
    ssize_t      n;
    ngx_uint_t   readable;

    p = malloc(len);
    fuzz_check(p != NULL);

    readable = ngx_vmess_kcp_recv_ready(&f->kcp);

    n = ngx_vmess_kcp_recv(&f->kcp, p, len);

    fuzz_check(n == NGX_AGAIN || n == NGX_ERROR || n >= 0);
    fuzz_check(n <= (ssize_t) len);

    /* an empty segment is nothing to read */

    fuzz_check(n != NGX_AGAIN || !readable || f->raw);
    fuzz_check(n == NGX_AGAIN || readable);
    fuzz_check(n != NGX_ERROR || f->kcp.err);

    if (n > 0) {
        fuzz_check(f->raw || ngx_memcmp(p, fuzz_bytes(f->read), n) == 0);
        f->read += n;
    }

    free(p);
}


/* all that is to be sent now: it comes to an end */

static void
fuzz_output(fuzz_t *f)
{
    size_t       n;
    u_char      *p;
    ngx_uint_t   i;

    p = malloc(f->conf.size);
    fuzz_check(p != NULL);

    for (i = 0; /* void */ ; i++) {
        n = ngx_vmess_kcp_output(&f->kcp, p, f->now);

        if (n == 0) {
            break;
        }

        fuzz_check(n <= f->conf.size);
        fuzz_check(i < f->conf.send_max + f->conf.receive_max / 64 + 2);

        f->out += n + f->conf.overhead;

        fuzz_segments(f, p, n);
    }

    free(p);

    fuzz_check(f->kcp.validated || f->out <= f->in);
    fuzz_check(ngx_vmess_kcp_wakeup(&f->kcp, f->now) > 0);
}


static void
fuzz_segments(fuzz_t *f, u_char *p, size_t len)
{
    u_char                   *last;
    uint32_t                  n;
    ngx_vmess_kcp_segment_t   seg;

    for (last = p + len; p < last; /* void */ ) {

        fuzz_check(ngx_vmess_kcp_segment_parse(&seg, &p, last) == NGX_OK);
        fuzz_check(seg.conv == FUZZ_CONV);
        fuzz_check(seg.opt == (f->kcp.state == ngx_vmess_kcp_closing));

        if (seg.command == NGX_VMESS_KCP_ACK) {
            fuzz_check(seg.data.len <= NGX_VMESS_KCP_NUMBERS_MAX
                                       * NGX_VMESS_KCP_NUMBER_LEN);
        }

        if (seg.command != NGX_VMESS_KCP_DATA) {
            continue;
        }

        fuzz_check(seg.data.len && seg.data.len <= f->conf.mss);
        fuzz_check(f->kcp.state < ngx_vmess_kcp_peer_closed);

        /* the same bytes each time */

        n = seg.number - f->first;

        if (n >= FUZZ_NUMBERS - 1) {
            continue;
        }

        if (f->offset[n + 1] == 0) {
            f->offset[n] = f->sent;
            f->sent += seg.data.len;
            f->offset[n + 1] = f->sent;
        }

        fuzz_check(seg.data.len == f->offset[n + 1] - f->offset[n]);

        fuzz_check(ngx_memcmp(seg.data.data, fuzz_bytes(f->offset[n]),
                              seg.data.len)
                   == 0);
    }
}


static void
fuzz_state(fuzz_t *f)
{
    uint32_t          flying;
    ngx_queue_t      *q;
    ngx_vmess_kcp_t  *kcp;

    kcp = &f->kcp;

    fuzz_check(kcp->send_next - kcp->send_una
               <= kcp->send_last - kcp->send_una);
    fuzz_check(kcp->send_last - kcp->send_una <= f->conf.send_max);

    fuzz_check(kcp->receive_next - kcp->receive_read
               <= kcp->receive_last - kcp->receive_read);
    fuzz_check(kcp->receive_last - kcp->receive_read <= f->conf.receive_max);

    flying = 0;

    for (q = ngx_queue_head(&kcp->sent);
         q != ngx_queue_sentinel(&kcp->sent);
         q = ngx_queue_next(q))
    {
        flying++;
    }

    fuzz_check(flying == kcp->flying);

    fuzz_check(kcp->receive_size <= f->conf.read_buffer + 4096);
    fuzz_check(f->used <= f->conf.read_buffer + 4096
                          + f->conf.send_max * (f->conf.mss + 256)
                          + f->conf.receive_max * 256 + 1024);
}


/* streams have a period, which is that of no segment */

static u_char *
fuzz_bytes(uint64_t n)
{
    ngx_uint_t     i;
    static u_char  bytes[FUZZ_PERIOD + FUZZ_SIZE];

    if (bytes[1] == 0) {
        for (i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (u_char) (i % FUZZ_PERIOD);
        }
    }

    return bytes + n % FUZZ_PERIOD;
}


static void *
fuzz_alloc(void *data, size_t size)
{
    fuzz_t  *f = data;

    /* a few in the input's own order */

    if (f->fail & 0x7f && (f->now * 7 + f->used / 16) % 128 < (f->fail & 0x7f))
    {
        return NULL;
    }

    f->used += size;

    return malloc(size);
}


static void
fuzz_free(void *data, void *p, size_t size)
{
    fuzz_t  *f = data;

    fuzz_check(f->used >= size);

    f->used -= size;

    free(p);
}
