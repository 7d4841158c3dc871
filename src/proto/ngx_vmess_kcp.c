
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp.h"


/* what the protocol says, in ms and segments */

#define NGX_VMESS_KCP_IDLE         30000
#define NGX_VMESS_KCP_LINGER       15000     /* to send what is left */
#define NGX_VMESS_KCP_PEER_LINGER  4000
#define NGX_VMESS_KCP_TERMINATING  8000
#define NGX_VMESS_KCP_INTERVAL     1000      /* between Terminates */
#define NGX_VMESS_KCP_PING_BUSY    3000
#define NGX_VMESS_KCP_WINDOW_MIN   8

/* what it leaves to us */

#define NGX_VMESS_KCP_CLOSING      300000    /* of a slow peer, see LINGER */
#define NGX_VMESS_KCP_PING_IDLE    10000
#define NGX_VMESS_KCP_BURST_MAX    64        /* if uplink does not need more */


static uint32_t ngx_vmess_kcp_capacity(ngx_vmess_kcp_conf_t *conf,
    ngx_uint_t capacity);
static void ngx_vmess_kcp_set_state(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_state_e state);
static void ngx_vmess_kcp_peer_close(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_input_command(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);
static void ngx_vmess_kcp_update(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_state_wait(ngx_vmess_kcp_t *kcp);
static size_t ngx_vmess_kcp_limit(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_ping_wait(ngx_vmess_kcp_t *kcp, size_t limit);
static u_char *ngx_vmess_kcp_output_ping(ngx_vmess_kcp_t *kcp, u_char *start,
    u_char *p, u_char *last);


void
ngx_vmess_kcp_conf_init(ngx_vmess_kcp_conf_t *conf)
{
    uint32_t  capacity;

    conf->size = conf->mtu - conf->overhead;
    conf->mss = conf->size - NGX_VMESS_KCP_DATA_LEN;

    conf->in_flight = ngx_vmess_kcp_capacity(conf, conf->uplink);

    conf->burst = NGX_VMESS_KCP_PACE * conf->in_flight / (uint32_t) conf->tti;
    conf->burst = ngx_max(conf->burst, NGX_VMESS_KCP_BURST_MAX);

    conf->send_max = ngx_max(conf->write_buffer / conf->mtu,
                             NGX_VMESS_KCP_WINDOW_MIN);

    conf->receive_max = ngx_max(conf->read_buffer / conf->mtu,
                                NGX_VMESS_KCP_WINDOW_MIN);

    capacity = ngx_vmess_kcp_capacity(conf, conf->downlink);

    conf->receive_max = ngx_min(conf->receive_max, capacity);

    /* not less than peers take for the first window */

    conf->small_max = ngx_max(NGX_VMESS_KCP_SMALL / conf->mtu,
                              NGX_VMESS_KCP_EDGE);
}


/* segments in a tti */

static uint32_t
ngx_vmess_kcp_capacity(ngx_vmess_kcp_conf_t *conf, ngx_uint_t capacity)
{
    uint64_t  n;

    n = (uint64_t) capacity * 1024 * 1024 / conf->mtu / (1000 / conf->tti);

    n = ngx_max(n, NGX_VMESS_KCP_WINDOW_MIN);

    return (uint32_t) ngx_min(n, 0x1000000);
}


void
ngx_vmess_kcp_init(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_conf_t *conf,
    ngx_uint_t conv, uint32_t random, ngx_msec_t now)
{
    ngx_memzero(kcp, sizeof(ngx_vmess_kcp_t));

    kcp->conf = conf;
    kcp->conv = conv;

    kcp->now = (uint32_t) now;
    kcp->start = kcp->now;
    kcp->base = random;
    kcp->state_time = kcp->now;
    kcp->in_time = kcp->now;
    kcp->out_time = kcp->now;
    kcp->ping_time = kcp->now;
    kcp->tick = kcp->now;
    kcp->pace_time = kcp->now;
    kcp->pace = (uint64_t) NGX_VMESS_KCP_EDGE * conf->tti;
    kcp->arrival = kcp->now;

    kcp->ack_time = kcp->now - (uint32_t) conf->tti;

    ngx_queue_init(&kcp->sent);

    kcp->send_edge = NGX_VMESS_KCP_EDGE;
    kcp->send_window = NGX_VMESS_KCP_EDGE;
    kcp->receive_edge = NGX_VMESS_KCP_EDGE;

    kcp->control = conf->in_flight;
    kcp->rto = NGX_VMESS_KCP_RTO;
}


void
ngx_vmess_kcp_accept(ngx_vmess_kcp_t *kcp)
{
    if (kcp->small) {

        /* there is a window to announce */

        kcp->ack = 1;
    }

    kcp->small = 0;
    kcp->mute = 0;
}


void
ngx_vmess_kcp_cleanup(ngx_vmess_kcp_t *kcp)
{
    ngx_vmess_kcp_send_clear(kcp);
    ngx_vmess_kcp_recv_clear(kcp);
}


void
ngx_vmess_kcp_close(ngx_vmess_kcp_t *kcp, ngx_msec_t now)
{
    kcp->now = (uint32_t) now;
    kcp->closed = 1;
    kcp->close_time = kcp->now;

    /* nobody reads any more */

    ngx_vmess_kcp_recv_clear(kcp);

    switch (kcp->state) {

    case ngx_vmess_kcp_active:
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_closing);
        break;

    case ngx_vmess_kcp_peer_closed:
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminating);
        break;

    case ngx_vmess_kcp_peer_terminating:
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminated);
        break;

    default:
        break;
    }
}


static void
ngx_vmess_kcp_set_state(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_state_e state)
{
    kcp->state = state;
    kcp->state_time = kcp->now;

    if (state != ngx_vmess_kcp_closing) {
        ngx_vmess_kcp_send_clear(kcp);
    }

    if (state == ngx_vmess_kcp_terminating) {

        /* the first Terminate goes at once */

        kcp->ping_time = kcp->now - NGX_VMESS_KCP_INTERVAL;
    }
}


static void
ngx_vmess_kcp_peer_close(ngx_vmess_kcp_t *kcp)
{
    if (kcp->state == ngx_vmess_kcp_active) {
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_peer_closed);

    } else if (kcp->state == ngx_vmess_kcp_closing) {
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminating);
    }
}


ngx_int_t
ngx_vmess_kcp_input(ngx_vmess_kcp_t *kcp, u_char *p, size_t len,
    ngx_msec_t now)
{
    u_char                   *last;
    ngx_int_t                 rc;
    ngx_vmess_kcp_segment_t   seg;

    rc = NGX_DECLINED;
    last = p + len;

    while (ngx_vmess_kcp_segment_parse(&seg, &p, last) == NGX_OK
           && seg.conv == kcp->conv)
    {
        if (rc != NGX_OK) {
            rc = NGX_OK;

            kcp->now = (uint32_t) now;
            kcp->in_time = kcp->now;
            kcp->credit += len + kcp->conf->overhead;
        }

        if (seg.opt & NGX_VMESS_KCP_OPT_CLOSE) {
            ngx_vmess_kcp_peer_close(kcp);
        }

        switch (seg.command) {

        case NGX_VMESS_KCP_DATA:
            ngx_vmess_kcp_recv_input(kcp, &seg);
            break;

        case NGX_VMESS_KCP_ACK:
            ngx_vmess_kcp_send_input(kcp, &seg);
            break;

        default:
            ngx_vmess_kcp_input_command(kcp, &seg);
            break;
        }
    }

    return rc;
}


static void
ngx_vmess_kcp_input_command(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_segment_t *seg)
{
    ngx_vmess_kcp_recv_confirmed(kcp, seg->sending_next);
    ngx_vmess_kcp_send_confirmed(kcp, seg);

    if (seg->command != NGX_VMESS_KCP_TERMINATE) {

        if (kcp->now - kcp->out_time >= NGX_VMESS_KCP_PING_BUSY) {
            kcp->pong = 1;
        }

        return;
    }

    switch (kcp->state) {

    case ngx_vmess_kcp_active:
    case ngx_vmess_kcp_peer_closed:

        if (ngx_vmess_kcp_before(kcp->receive_next, seg->sending_next)) {
            kcp->err = "peer terminated before its data arrived";
        }

        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_peer_terminating);
        break;

    case ngx_vmess_kcp_closing:
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminating);
        break;

    case ngx_vmess_kcp_terminating:
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminated);
        break;

    default:
        break;
    }
}


size_t
ngx_vmess_kcp_output(ngx_vmess_kcp_t *kcp, u_char *p, ngx_msec_t now)
{
    size_t   len;
    u_char  *start, *last;

    kcp->now = (uint32_t) now;

    ngx_vmess_kcp_update(kcp);

    if (kcp->state == ngx_vmess_kcp_terminated) {
        return 0;
    }

    start = p;
    last = p + ngx_vmess_kcp_limit(kcp);

    if (kcp->state != ngx_vmess_kcp_terminating) {
        p = ngx_vmess_kcp_recv_output(kcp, p, last);
        p = ngx_vmess_kcp_send_output(kcp, p, last);
    }

    p = ngx_vmess_kcp_output_ping(kcp, start, p, last);

    if (p == start) {
        return 0;
    }

    len = p - start;
    kcp->out_time = kcp->now;

    if (!kcp->validated) {
        kcp->credit -= len + kcp->conf->overhead;
    }

    return len;
}


ngx_msec_t
ngx_vmess_kcp_wakeup(ngx_vmess_kcp_t *kcp, ngx_msec_t now)
{
    size_t    limit;
    uint32_t  wait, state, ping, ack, data;

    kcp->now = (uint32_t) now;

    if (kcp->state == ngx_vmess_kcp_terminated) {
        return (ngx_msec_t) -1;
    }

    limit = ngx_vmess_kcp_limit(kcp);

    state = ngx_vmess_kcp_state_wait(kcp);
    ping = ngx_vmess_kcp_ping_wait(kcp, limit);

    wait = ngx_min(state, ping);

    if (kcp->state != ngx_vmess_kcp_terminating) {
        ack = ngx_vmess_kcp_recv_wait(kcp, limit);
        wait = ngx_min(wait, ack);

        data = ngx_vmess_kcp_send_wait(kcp, limit);
        wait = ngx_min(wait, data);
    }

    return wait;
}


static void
ngx_vmess_kcp_update(ngx_vmess_kcp_t *kcp)
{
    if (ngx_vmess_kcp_state_wait(kcp)) {
        return;
    }

    if (kcp->state == ngx_vmess_kcp_terminating) {
        ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminated);
        return;
    }

    if (kcp->state == ngx_vmess_kcp_active
        || kcp->state == ngx_vmess_kcp_peer_closed)
    {
        kcp->err = "peer timed out";
    }

    ngx_vmess_kcp_set_state(kcp, ngx_vmess_kcp_terminating);
}


/* ms until the state changes by itself */

static uint32_t
ngx_vmess_kcp_state_wait(ngx_vmess_kcp_t *kcp)
{
    uint32_t  left;

    switch (kcp->state) {

    case ngx_vmess_kcp_closing:

        if (kcp->send_una == kcp->send_last) {
            return 0;
        }

        left = ngx_vmess_kcp_left(kcp, kcp->close_time,
                                  NGX_VMESS_KCP_CLOSING);

        return ngx_min(left, ngx_vmess_kcp_left(kcp, kcp->state_time,
                                                NGX_VMESS_KCP_LINGER));

    case ngx_vmess_kcp_peer_terminating:
        return ngx_vmess_kcp_left(kcp, kcp->state_time,
                                  NGX_VMESS_KCP_PEER_LINGER);

    case ngx_vmess_kcp_terminating:
        return ngx_vmess_kcp_left(kcp, kcp->state_time,
                                  NGX_VMESS_KCP_TERMINATING);

    case ngx_vmess_kcp_terminated:
        return NGX_VMESS_KCP_NEVER;

    default: /* ngx_vmess_kcp_active, ngx_vmess_kcp_peer_closed */
        return ngx_vmess_kcp_left(kcp, kcp->in_time, NGX_VMESS_KCP_IDLE);
    }
}


/* bytes of segments that may be sent in a datagram */

static size_t
ngx_vmess_kcp_limit(ngx_vmess_kcp_t *kcp)
{
    if (kcp->mute) {
        return 0;
    }

    if (kcp->validated) {
        return kcp->conf->size;
    }

    if (kcp->credit <= kcp->conf->overhead) {
        return 0;
    }

    return ngx_min(kcp->conf->size, kcp->credit - kcp->conf->overhead);
}


static uint32_t
ngx_vmess_kcp_ping_wait(ngx_vmess_kcp_t *kcp, size_t limit)
{
    uint32_t  wait, left;

    if (limit < NGX_VMESS_KCP_COMMAND_LEN) {
        return NGX_VMESS_KCP_NEVER;
    }

    if (kcp->state == ngx_vmess_kcp_terminating) {
        return ngx_vmess_kcp_left(kcp, kcp->ping_time,
                                  NGX_VMESS_KCP_INTERVAL);
    }

    /* segments say more, and credit is for them */

    if (!kcp->validated
        && (kcp->send_una != kcp->send_last
            || ngx_vmess_kcp_send_spare(kcp) < NGX_VMESS_KCP_COMMAND_LEN))
    {
        return NGX_VMESS_KCP_NEVER;
    }

    if (kcp->pong) {
        return 0;
    }

    wait = ngx_vmess_kcp_left(kcp, kcp->out_time, NGX_VMESS_KCP_PING_IDLE);

    /* the peer repeats its Acks until it sees that they have come */

    if (kcp->acked && kcp->send_una == kcp->send_last) {
        left = ngx_vmess_kcp_left(kcp, kcp->ping_time,
                                  (uint32_t) kcp->conf->tti);

        wait = ngx_min(wait, left);
    }

    return wait;
}


static u_char *
ngx_vmess_kcp_output_ping(ngx_vmess_kcp_t *kcp, u_char *start, u_char *p,
    u_char *last)
{
    ngx_vmess_kcp_segment_t  seg;

    if (ngx_vmess_kcp_ping_wait(kcp, last - start)
        && !(p != start && kcp->validated
             && kcp->now - kcp->ping_time >= NGX_VMESS_KCP_PING_BUSY))
    {
        return p;
    }

    if (last - p < NGX_VMESS_KCP_COMMAND_LEN) {
        return p;
    }

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.conv = kcp->conv;
    seg.command = (kcp->state == ngx_vmess_kcp_terminating)
                  ? NGX_VMESS_KCP_TERMINATE : NGX_VMESS_KCP_PING;
    seg.opt = ngx_vmess_kcp_opt(kcp);
    seg.sending_next = kcp->send_una;
    seg.receiving_next = kcp->receive_next;
    seg.rto = kcp->rto;

    kcp->ping_time = kcp->now;
    kcp->acked = 0;
    kcp->pong = 0;

    /* an idle session has no windows */

    if (kcp->send_una == kcp->send_last) {
        ngx_vmess_kcp_send_clear(kcp);
    }

    if (kcp->receive_read == kcp->receive_last) {
        ngx_vmess_kcp_recv_clear(kcp);
    }

    return ngx_vmess_kcp_segment_create(p, &seg);
}
