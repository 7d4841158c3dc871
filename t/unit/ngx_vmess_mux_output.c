
/*
 * Copyright (C) ngx_vmess authors
 *
 * Frames to a client with sub-connections: whole, and in their order, however
 * little the connection takes.
 */

#include "test.h"
#include "event/ngx_vmess_mux_output.h"


#define TEST_MAX  (256 * 1024)


static void test_init(ngx_uint_t raw);
static ssize_t test_send(ngx_connection_t *c, u_char *buf, size_t size);
static ngx_chain_t *test_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);
static void test_burst(void);
static void test_parts(void);
static void test_again(void);
static void test_ends(void);
static void test_packet(void);
static void test_memory(void);
static ngx_uint_t test_read(char *text);


ngx_queue_t                    ngx_posted_events;

static ngx_vmess_connection_t  test_vc;
static ngx_vmess_mux_output_t  test_out;
static ngx_connection_t        test_c;
static ngx_event_t             test_rev, test_wev;
static ngx_log_t               test_log;
static u_char                  test_ends_data[16 * NGX_VMESS_MUX_HEADER_LEN];

/* what was sent, how much more is taken, and if there is memory */

static u_char                  test_wire[TEST_MAX];
static size_t                  test_len;
static size_t                  test_room;
static ngx_uint_t              test_no_memory;

static u_char                  test_data[TEST_MAX];


ngx_vmess_connection_t *
ngx_vmess_connection_get(ngx_connection_t *c)
{
    return &test_vc;
}


void
ngx_vmess_connection_free_buf(ngx_buf_t *b)
{
    free(b->start);
    ngx_memzero(b, sizeof(ngx_buf_t));
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return size <= sizeof(test_ends_data) ? test_ends_data : NULL;
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return test_no_memory ? NULL : malloc(size);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    test_ok(0, "no message: %s", fmt);
}


int
main(void)
{
    test_fill(test_data, TEST_MAX);

    test_burst();
    test_parts();
    test_again();
    test_ends();
    test_packet();
    test_memory();

    return test_done();
}


static void
test_init(ngx_uint_t raw)
{
    ngx_memzero(&test_vc, sizeof(ngx_vmess_connection_t));
    ngx_memzero(&test_out, sizeof(ngx_vmess_mux_output_t));
    ngx_memzero(&test_c, sizeof(ngx_connection_t));
    ngx_memzero(&test_rev, sizeof(ngx_event_t));
    ngx_memzero(&test_wev, sizeof(ngx_event_t));

    ngx_queue_init(&ngx_posted_events);

    test_vc.out.raw = raw;

    test_c.read = &test_rev;
    test_c.write = &test_wev;
    test_c.log = &test_log;
    test_c.send = test_send;
    test_c.send_chain = test_send_chain;
    test_wev.log = &test_log;
    test_wev.ready = 1;

    test_len = 0;
    test_room = TEST_MAX;
    test_no_memory = 0;

    test_ok(ngx_vmess_mux_output_init(&test_out, &test_c, 15) == NGX_OK,
            "made");
}


static ssize_t
test_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    size = ngx_min(size, test_room);

    if (size == 0) {
        test_wev.ready = 0;
        return NGX_AGAIN;
    }

    ngx_memcpy(test_wire + test_len, buf, size);
    test_len += size;
    test_room -= size;

    return size;
}


static ngx_chain_t *
test_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    return NULL;
}


static void
test_burst(void)
{
    char     text[1024];
    ssize_t  n;

    test_init(0);

    n = ngx_vmess_mux_output_send(&test_out, 7, test_data, TEST_MAX);

    test_ok(n == 7 * NGX_VMESS_MUX_DATA_LEN && test_out.sent == n
            && test_read(text) == 0
            && strcmp(text, "7:8192 7:8192 7:8192 7:8192 7:8192 7:8192 "
                            "7:8192 ") == 0
            && ngx_queue_empty(&ngx_posted_events),
            "what is sent at once: %s", text);

    n = ngx_vmess_mux_output_send(&test_out, 8, test_data, 8193);

    test_ok(n == 8193 && test_read(text) == 0
            && strcmp(text + 7 * 7, "8:8192 8:1 ") == 0,
            "a frame and a byte: %s", text + 7 * 7);
}


/* wherever a frame is cut, its rest is the next that is sent */

static void
test_parts(void)
{
    char        text[64];
    size_t      room;
    ngx_int_t   rc;
    ngx_uint_t  good;

    good = 0;

    for (room = 1; room < 2 * 8 + 100; room++) {

        ngx_memzero(&test_out.rest, sizeof(ngx_buf_t));
        test_len = 0;
        test_room = room;
        test_wev.ready = 1;
        test_wev.posted = 0;
        ngx_queue_init(&ngx_posted_events);

        if (ngx_vmess_mux_output_send(&test_out, 1, test_data, 108) != 108
            || ngx_queue_empty(&ngx_posted_events))
        {
            continue;
        }

        if (ngx_vmess_mux_output_send(&test_out, 2, test_data, 1)
            != NGX_AGAIN)
        {
            continue;
        }

        rc = ngx_vmess_mux_output_flush(&test_out);
        test_room = TEST_MAX;
        test_wev.ready = 1;

        if (rc == NGX_AGAIN
            && ngx_vmess_mux_output_flush(&test_out) == NGX_OK
            && ngx_vmess_mux_output_send(&test_out, 2, test_data, 1) == 1
            && test_read(text) == 0 && strcmp(text, "1:108 2:1 ") == 0)
        {
            good++;
        }
    }

    test_ok(good == 2 * 8 + 99, "frames that are taken in part: %u",
            (unsigned) good);
}


/* over TLS without chunks, what was not taken is given again */

static void
test_again(void)
{
    char  text[64];

    test_init(0);
    test_room = 0;

    test_ok(ngx_vmess_mux_output_send(&test_out, 1, test_data, 5) == NGX_AGAIN
            && test_out.rest.start == NULL && test_out.sent == 0,
            "nothing was taken");

    test_init(1);
    test_room = 0;

    test_ok(ngx_vmess_mux_output_send(&test_out, 1, test_data, 5) == 5
            && test_out.rest.start != NULL, "it may have been taken");

    test_room = TEST_MAX;
    test_wev.ready = 1;

    test_ok(ngx_vmess_mux_output_flush(&test_out) == NGX_OK
            && test_read(text) == 0 && strcmp(text, "1:5 ") == 0,
            "and is sent");
}


static void
test_ends(void)
{
    char        text[256];
    ngx_uint_t  i;

    test_init(0);
    test_room = 3;

    (void) ngx_vmess_mux_output_send(&test_out, 1, test_data, 5);

    for (i = 0; i < 16; i++) {
        ngx_vmess_mux_output_end(&test_out, i, i ? 0 : NGX_VMESS_MUX_ERROR);
    }

    test_room = 12;

    test_ok(ngx_vmess_mux_output_flush(&test_out) == NGX_AGAIN
            && ngx_vmess_mux_output_send(&test_out, 1, test_data, 5)
               == NGX_AGAIN,
            "the first End is cut");

    test_room = TEST_MAX;
    test_wev.ready = 1;

    test_ok(ngx_vmess_mux_output_flush(&test_out) == NGX_OK
            && test_read(text) == 0
            && strcmp(text, "1:5 E0! E1 E2 E3 E4 E5 E6 E7 E8 E9 E10 E11 E12 "
                            "E13 E14 E15 ") == 0,
            "one of each sub-connection and another one: %s", text);
}


static void
test_packet(void)
{
    char                text[64];
    ngx_buf_t           b;
    struct sockaddr_in  sin;

    test_init(0);

    ngx_memzero(&sin, sizeof(struct sockaddr_in));
    sin.sin_family = AF_INET;

    ngx_memzero(&b, sizeof(ngx_buf_t));
    b.pos = test_data;
    b.last = test_data + NGX_VMESS_MUX_DATA_LEN;

    test_ok(ngx_vmess_mux_output_send_packet(&test_out, 0,
                                             (struct sockaddr *) &sin, &b)
            == NGX_OK
            && test_read(text) == 0 && strcmp(text, "0@:8192 ") == 0
            && test_out.sent == NGX_VMESS_MUX_DATA_LEN, "a datagram");

    test_room = 0;

    test_ok(ngx_vmess_mux_output_send_packet(&test_out, 0, NULL, &b)
            == NGX_AGAIN
            && test_out.sent == NGX_VMESS_MUX_DATA_LEN, "one without room");
}


/* a frame that was cut is the last */

static void
test_memory(void)
{
    test_init(0);
    test_room = 3;
    test_no_memory = 1;

    test_ok(ngx_vmess_mux_output_send(&test_out, 1, test_data, 5) == NGX_ERROR,
            "no memory for the rest");

    test_no_memory = 0;
    test_room = TEST_MAX;

    ngx_vmess_mux_output_end(&test_out, 1, 0);

    test_ok(ngx_vmess_mux_output_flush(&test_out) == NGX_ERROR
            && ngx_vmess_mux_output_send(&test_out, 1, test_data, 5) < 0
            && test_len == 3, "nothing comes behind it");
}


/* what was sent, as id:length of data and E for End; 1 if it is wrong */

static ngx_uint_t
test_read(char *text)
{
    size_t           off;
    ngx_buf_t        b;
    ngx_uint_t       id;
    ngx_vmess_mux_t  m;

    ngx_memzero(&m, sizeof(ngx_vmess_mux_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    b.pos = test_wire;
    b.last = test_wire + test_len;
    off = 0;
    id = 0;

    *text = '\0';

    while (ngx_vmess_mux_read(&m, &b) == NGX_OK) {

        if (m.status == NGX_VMESS_MUX_END) {
            text += sprintf(text, "E%u%s ", (unsigned) m.id,
                            (m.opt & NGX_VMESS_MUX_ERROR) ? "!" : "");
            continue;
        }

        text += sprintf(text, "%u%s:%u ", (unsigned) m.id,
                        m.has_address ? "@" : "", (unsigned) m.length);

        if ((size_t) (b.last - b.pos) < m.length) {
            return 1;
        }

        /* a sub-connection sends test_data from its start */

        if (m.id != id) {
            id = m.id;
            off = 0;
        }

        if (ngx_memcmp(b.pos, test_data + off, m.length) != 0) {
            return 1;
        }

        off += m.length;
    }

    return b.pos != b.last || m.n || m.length;
}
