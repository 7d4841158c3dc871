
/*
 * Copyright (C) ngx_vmess authors
 *
 * The socket of a session of datagrams, whatever nginx tells of its upstream.
 */

#include "test.h"
#include "stream/ngx_stream_vmess_cone.h"
#include "stream/ngx_stream_vmess_rule.h"


static ngx_int_t test_add_conn(ngx_connection_t *c);
static ngx_int_t test_del_conn(ngx_connection_t *c, ngx_uint_t flags);


ngx_module_t                   ngx_stream_vmess_module;
ngx_event_actions_t            ngx_event_actions;
ngx_queue_t                    ngx_posted_next_events;
uint32_t                      *ngx_crc32_table_short = ngx_crc32_table256;

static ngx_vmess_connection_t  test_vc;
static ngx_uint_t              test_added;


/* what a session has of nginx */

typedef struct {
    ngx_stream_session_t         s;
    ngx_stream_upstream_t        u;
    ngx_connection_t             fc;
    ngx_connection_t             c;
    ngx_event_t                  read;
    ngx_event_t                  write;
    ngx_log_t                    log;
    ngx_buf_t                    b;
    u_char                       buf[sizeof(ngx_vmess_peer_t) + 100];
    void                        *ctx[1];
    void                        *srv_conf[1];
    ngx_stream_vmess_ctx_t       vctx;
    ngx_stream_vmess_srv_conf_t  vscf;
    struct sockaddr_in           sin;
} test_session_t;


ngx_vmess_connection_t *
ngx_vmess_connection_get(ngx_connection_t *c)
{
    return &test_vc;
}


ngx_vmess_mux_flow_t *
ngx_vmess_mux_flow_get(ngx_connection_t *c)
{
    return NULL;
}


void
ngx_stream_vmess_peer_datagram(ngx_stream_session_t *s)
{
}


ngx_int_t
ngx_stream_vmess_rule_check(ngx_stream_session_t *s, ngx_str_t *name,
    struct sockaddr *sa, in_port_t port)
{
    return NGX_OK;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    test_ok(0, "no message: %s", fmt);
}


in_port_t
ngx_inet_get_port(struct sockaddr *sa)
{
    return ntohs(((struct sockaddr_in *) sa)->sin_port);
}


int
ngx_nonblocking(ngx_socket_t s)
{
    int  on = 1;

    return ioctl(s, FIONBIO, &on);
}


/* "vmess_udp_filter" is for the tests of a whole nginx */

void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    abort();
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    abort();
}


void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    abort();
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    abort();
}


void
ngx_str_rbtree_insert_value(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    abort();
}


ngx_str_node_t *
ngx_str_rbtree_lookup(ngx_rbtree_t *rbtree, ngx_str_t *name, uint32_t hash)
{
    abort();
}


static ngx_int_t
test_add_conn(ngx_connection_t *c)
{
    test_added++;

    return NGX_OK;
}


static ngx_int_t
test_del_conn(ngx_connection_t *c, ngx_uint_t flags)
{
    return NGX_OK;
}


/* a session whose socket is connected to a socket of the test */

static void
test_connect(test_session_t *ts, int peer)
{
    socklen_t              len;
    ngx_stream_session_t  *s;

    ngx_memzero(ts, sizeof(test_session_t));
    ngx_memzero(&test_vc, sizeof(ngx_vmess_connection_t));

    len = sizeof(struct sockaddr_in);
    (void) getsockname(peer, (struct sockaddr *) &ts->sin, &len);

    ts->c.fd = socket(AF_INET, SOCK_DGRAM, 0);
    (void) connect(ts->c.fd, (struct sockaddr *) &ts->sin, len);

    ts->c.read = &ts->read;
    ts->c.write = &ts->write;
    ts->read.log = &ts->log;
    ts->c.log = &ts->log;
    ts->fc.log = &ts->log;

    /* nginx has the first datagram already */

    ts->b.start = ts->buf;
    ts->b.pos = ts->buf + sizeof(ngx_vmess_peer_t);
    ts->b.last = ngx_cpymem(ts->b.pos, "first", 5);
    ts->b.end = ts->buf + sizeof(ts->buf);
    ts->fc.buffer = &ts->b;

    s = &ts->s;

    ts->ctx[0] = &ts->vctx;
    ts->srv_conf[0] = &ts->vscf;

    s->connection = &ts->fc;
    s->upstream = &ts->u;
    s->ctx = ts->ctx;
    s->srv_conf = ts->srv_conf;
    s->received = 5;

    ts->c.data = s;
    ts->u.peer.connection = &ts->c;
    ts->u.peer.sockaddr = (struct sockaddr *) &ts->sin;
    ts->u.peer.socklen = len;

    test_vc.packetaddr = 1;
    test_added = 0;

    ngx_stream_vmess_cone_init(s);
}


/* nginx tells of something else: nothing may change */

static void
test_other(test_session_t *ts, const char *when)
{
    ngx_uint_t                i, added;
    test_session_t            before;
    static const ngx_uint_t   types[] = { 0, 2, 3, 4, 8, 0x8000 };

    for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        before = *ts;
        added = test_added;

        ts->u.peer.notify(&ts->u.peer, NULL, types[i]);

        test_ok(ngx_memcmp(&before, ts, sizeof(test_session_t)) == 0
                && added == test_added,
                "type %d, %s", (int) types[i], when);
    }
}


static void
test_notify(int peer)
{
    test_session_t  ts;

    test_connect(&ts, peer);

    test_other(&ts, "not connected yet");

    ts.u.peer.notify(&ts.u.peer, NULL, NGX_STREAM_UPSTREAM_NOTIFY_CONNECT);

    test_ok(ts.b.pos == ts.buf && test_vc.cone && test_added == 1
            && ts.s.received == 5 + sizeof(ngx_vmess_peer_t), "connected");

    /* as nginx 1.31 does with the first byte of the answer */

    test_other(&ts, "connected");

    (void) close(ts.c.fd);
}


/* who floods the socket with what is dropped does not hold the worker */

static void
test_drops(int peer)
{
    int                 i;
    u_char              buf[sizeof(ngx_vmess_peer_t) + 10];
    socklen_t           len;
    test_session_t      ts;
    struct sockaddr_in  sin;

    test_connect(&ts, peer);

    ts.u.peer.notify(&ts.u.peer, NULL, NGX_STREAM_UPSTREAM_NOTIFY_CONNECT);

    (void) ngx_nonblocking(ts.c.fd);
    (void) sendto(ts.c.fd, "x", 1, 0, (struct sockaddr *) &ts.sin,
                  sizeof(struct sockaddr_in));

    len = sizeof(struct sockaddr_in);
    (void) recvfrom(peer, buf, 1, 0, (struct sockaddr *) &sin, &len);

    for (i = 0; i < 70; i++) {
        (void) sendto(peer, "too large for it", 16, 0, (struct sockaddr *) &sin, len);
    }

    (void) sendto(peer, "answer", 6, 0, (struct sockaddr *) &sin, len);

    ts.read.ready = 1;

    test_ok(ts.c.recv(&ts.c, buf, sizeof(buf)) == NGX_AGAIN
            && ts.read.ready && ts.read.posted, "some are dropped");

    test_ok(ts.c.recv(&ts.c, buf, sizeof(buf))
            == sizeof(ngx_vmess_peer_t) + 6
            && ngx_memcmp(buf + sizeof(ngx_vmess_peer_t), "answer", 6) == 0,
            "in the next turn the others, and an answer");

    test_ok(ts.c.recv(&ts.c, buf, sizeof(buf)) == NGX_AGAIN
            && !ts.read.ready, "no more");

    (void) close(ts.c.fd);
}


/* what stands in front of a datagram may be anybody's */

static void
test_peers(void)
{
    ngx_buf_t            b;
    ngx_uint_t           len, family, good;
    ngx_sockaddr_t       sa;
    ngx_vmess_peer_t     record, peer;
    struct sockaddr_in6  sin6;

    ngx_memzero(&sin6, sizeof(struct sockaddr_in6));
    good = 0;

    for (len = 0; len < 256; len++) {

        for (family = 0; family < 32; family++) {

            sin6.sin6_family = family;
            ngx_memzero(&record, sizeof(ngx_vmess_peer_t));
            record.socklen = len;
            ngx_memcpy(record.sockaddr, &sin6, sizeof(struct sockaddr_in6));

            ngx_memzero(&b, sizeof(ngx_buf_t));
            b.pos = test_copy(&record, sizeof(ngx_vmess_peer_t));
            b.start = b.pos;
            b.last = b.pos + sizeof(ngx_vmess_peer_t);

            if (ngx_vmess_peer_parse(&peer, &b) == NGX_OK) {
                good += (b.pos == b.last && peer.socklen == len
                         && len <= sizeof(peer.sockaddr)) ? 1 : 1000;

            } else if (b.pos != b.start) {
                good += 1000;
            }

            free(b.start);
        }
    }

    test_ok(good == 32 + 1 + 1, "peers of datagrams: none, IPv4, IPv6");

    ngx_memzero(&sa, sizeof(ngx_sockaddr_t));
    sa.sockaddr_in.sin_family = AF_INET;
    ngx_vmess_peer_create(&peer, &sa, sizeof(struct sockaddr_in));

    b.pos = test_copy(&peer, sizeof(ngx_vmess_peer_t) - 1);
    b.start = b.pos;
    b.last = b.pos + sizeof(ngx_vmess_peer_t) - 1;

    test_ok(ngx_vmess_peer_parse(&peer, &b) == NGX_DECLINED
            && b.pos == b.start, "a peer that is cut");

    free(b.start);
}


int
main(void)
{
    int                 peer;
    struct sockaddr_in  sin;

    ngx_queue_init(&ngx_posted_next_events);

    ngx_event_actions.add_conn = test_add_conn;
    ngx_event_actions.del_conn = test_del_conn;

    ngx_memzero(&sin, sizeof(struct sockaddr_in));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    peer = socket(AF_INET, SOCK_DGRAM, 0);
    (void) bind(peer, (struct sockaddr *) &sin, sizeof(struct sockaddr_in));

    test_notify(peer);
    test_drops(peer);
    test_peers();

    (void) close(peer);

    return test_done();
}
