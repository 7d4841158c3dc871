
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp.h"


/* what the protocol says, in ms and segments */

#define NGX_VMESS_KCP_RTO          100       /* before it is measured */
#define NGX_VMESS_KCP_RTO_MAX      10000
#define NGX_VMESS_KCP_ACK_MIN      20        /* before an Ack is repeated */
#define NGX_VMESS_KCP_IDLE         30000
#define NGX_VMESS_KCP_LINGER       15000     /* to send what is left */
#define NGX_VMESS_KCP_PEER_LINGER  4000
#define NGX_VMESS_KCP_TERMINATING  8000
#define NGX_VMESS_KCP_INTERVAL     1000      /* between Terminates */
#define NGX_VMESS_KCP_PING_BUSY    3000
#define NGX_VMESS_KCP_EDGE         32        /* of a window before the first
                                                Ack */
#define NGX_VMESS_KCP_WINDOW_MIN   8
#define NGX_VMESS_KCP_CONTROL_MIN  16
#define NGX_VMESS_KCP_BURST        20        /* without congestion control */

/* what it leaves to us */

#define NGX_VMESS_KCP_CLOSING      300000    /* of a slow peer, see LINGER */
#define NGX_VMESS_KCP_GUESSES      256       /* Acks with a wrong time */
#define NGX_VMESS_KCP_PING_IDLE    10000
#define NGX_VMESS_KCP_REPEAT_MAX   1000      /* of an Ack */
#define NGX_VMESS_KCP_ACK_COUNT    3         /* Acks that list a number before
                                                it waits for its time */
#define NGX_VMESS_KCP_FAST         256       /* fast resends to judge by */
#define NGX_VMESS_KCP_PROBE_MAX    1000      /* of a closed window */
#define NGX_VMESS_KCP_SILENCE      1000      /* of a peer that may be gone */
#define NGX_VMESS_KCP_PACE         2         /* that a burst stands for */
#define NGX_VMESS_KCP_BURST_MAX    64        /* if uplink does not need more */
#define NGX_VMESS_KCP_PROBE        1         /* bytes of the first segment to a
                                                peer that is not validated, */
#define NGX_VMESS_KCP_COPIES       6         /* copies of it that credit is kept
                                                for, and */
#define NGX_VMESS_KCP_ROOM         64        /* of another one at least */
#define NGX_VMESS_KCP_BACKOFF      4         /* doublings of time to a copy */
#define NGX_VMESS_KCP_SLOTS        16

#define NGX_VMESS_KCP_NEVER        0xffffffff

/*
 * v2ray looks for the newest timestamp of an Ack from 0 on, and so does not
 * find those of the upper half: ours have 31 bits
 */

#define NGX_VMESS_KCP_TIMESTAMP    0x7fffffff

#define ngx_vmess_kcp_before(a, b)  ((int32_t) ((a) - (b)) < 0)

#define ngx_vmess_kcp_timestamp(kcp)                                          \
    (((kcp)->base + ((kcp)->now - (kcp)->start)) & NGX_VMESS_KCP_TIMESTAMP)

#define ngx_vmess_kcp_slot(w, number)  (w)->slot[(number) & ((w)->size - 1)]

#define ngx_vmess_kcp_payload(data)  ((u_char *) (data) + sizeof(*(data)))


static uint32_t ngx_vmess_kcp_capacity(ngx_vmess_kcp_conf_t *conf,
    ngx_uint_t capacity);
static void ngx_vmess_kcp_set_state(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_state_e state);
static void ngx_vmess_kcp_peer_close(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_recv_input(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);
static uint32_t ngx_vmess_kcp_recv_max(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_recv_echo(ngx_vmess_kcp_t *kcp, uint32_t timestamp);
static void ngx_vmess_kcp_send_input(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);
static void ngx_vmess_kcp_input_command(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg);
static ngx_uint_t ngx_vmess_kcp_send_validate(ngx_vmess_kcp_t *kcp,
    uint32_t timestamp);
static void ngx_vmess_kcp_recv_confirmed(ngx_vmess_kcp_t *kcp, uint32_t next);
static ngx_uint_t ngx_vmess_kcp_send_is_flying(ngx_vmess_kcp_t *kcp,
    uint32_t number);
static void ngx_vmess_kcp_send_acked(ngx_vmess_kcp_t *kcp, uint32_t number,
    uint32_t sent);
static void ngx_vmess_kcp_send_acked_before(ngx_vmess_kcp_t *kcp, uint32_t next,
    uint32_t sent);
static void ngx_vmess_kcp_send_acked_done(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_send_rtt(ngx_vmess_kcp_t *kcp, uint32_t rtt);
static void ngx_vmess_kcp_update(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_state_wait(ngx_vmess_kcp_t *kcp);
static size_t ngx_vmess_kcp_limit(ngx_vmess_kcp_t *kcp);
static size_t ngx_vmess_kcp_send_spare(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_recv_wait(ngx_vmess_kcp_t *kcp);
static u_char *ngx_vmess_kcp_recv_output(ngx_vmess_kcp_t *kcp, u_char *p,
    u_char *last);
static ngx_vmess_kcp_data_t *ngx_vmess_kcp_send_next(ngx_vmess_kcp_t *kcp,
    uint32_t *wait);
static uint32_t ngx_vmess_kcp_send_wait(ngx_vmess_kcp_t *kcp);
static u_char *ngx_vmess_kcp_send_output(ngx_vmess_kcp_t *kcp, u_char *p,
    u_char *last);
static ngx_uint_t ngx_vmess_kcp_send_silent(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_period(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_quota(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_pace(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_send_tick(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_ping_wait(ngx_vmess_kcp_t *kcp);
static u_char *ngx_vmess_kcp_output_ping(ngx_vmess_kcp_t *kcp, u_char *p,
    u_char *last, ngx_uint_t busy);
static ngx_uint_t ngx_vmess_kcp_opt(ngx_vmess_kcp_t *kcp);
static size_t ngx_vmess_kcp_send_room(ngx_vmess_kcp_t *kcp);
static ngx_vmess_kcp_data_t *ngx_vmess_kcp_window_alloc(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t first, uint32_t number,
    size_t size);
static void ngx_vmess_kcp_window_free(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t number);
static ngx_int_t ngx_vmess_kcp_window_grow(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t first, uint32_t n);
static void ngx_vmess_kcp_send_clear(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_recv_clear(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_window_clear(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window);
static uint32_t ngx_vmess_kcp_left(ngx_vmess_kcp_t *kcp, uint32_t since,
    uint32_t timeout);


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
ngx_vmess_kcp_recv_input(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_segment_t *seg)
{
    ngx_vmess_kcp_data_t    *data;
    ngx_vmess_kcp_window_t  *window;

    ngx_vmess_kcp_recv_confirmed(kcp, seg->sending_next);

    if (kcp->closed
        || kcp->state == ngx_vmess_kcp_terminating
        || kcp->state == ngx_vmess_kcp_terminated)
    {
        return;
    }

    /* a number out of the window may mean that an Ack was lost */

    if (ngx_vmess_kcp_before(seg->number, kcp->receive_next)) {
        ngx_vmess_kcp_recv_echo(kcp, seg->timestamp);
        return;
    }

    if (seg->number - kcp->receive_read >= ngx_vmess_kcp_recv_max(kcp)) {
        kcp->ack = 1;
        return;
    }

    window = &kcp->receive;
    data = NULL;

    if (ngx_vmess_kcp_before(seg->number, kcp->receive_last)) {
        data = ngx_vmess_kcp_slot(window, seg->number);
    }

    if (data == NULL) {

        /* what can be read makes room, what is out of order does not */

        if (kcp->receive_size + seg->data.len
            > (kcp->small ? ngx_min(kcp->conf->read_buffer,
                                    NGX_VMESS_KCP_SMALL)
                          : kcp->conf->read_buffer)
            && (seg->number != kcp->receive_next
                || kcp->receive_read != kcp->receive_next))
        {
            return;
        }

        data = ngx_vmess_kcp_window_alloc(kcp, window, kcp->receive_read,
                                          seg->number, seg->data.len);
        if (data == NULL) {
            return;
        }

        ngx_memcpy(ngx_vmess_kcp_payload(data), seg->data.data, seg->data.len);

        data->len = seg->data.len;
        kcp->receive_size += seg->data.len;

        if (!ngx_vmess_kcp_before(seg->number, kcp->receive_last)) {
            kcp->receive_last = seg->number + 1;
        }

        while (kcp->receive_next != kcp->receive_last
               && ngx_vmess_kcp_slot(window, kcp->receive_next))
        {
            kcp->receive_next++;
            kcp->any = 1;
        }
    }

    data->time = kcp->now;
    data->count = 0;

    ngx_vmess_kcp_recv_echo(kcp, seg->timestamp);
}


/* segments from the first not read that are taken */

static uint32_t
ngx_vmess_kcp_recv_max(ngx_vmess_kcp_t *kcp)
{
    return kcp->small ? ngx_min(kcp->conf->receive_max, kcp->conf->small_max)
                      : kcp->conf->receive_max;
}


/* an Ack has the newest time of what came since the last one */

static void
ngx_vmess_kcp_recv_echo(ngx_vmess_kcp_t *kcp, uint32_t timestamp)
{
    if (!kcp->ack_fresh
        || ngx_vmess_kcp_before(kcp->ack_timestamp, timestamp))
    {
        kcp->ack_fresh = 1;
        kcp->ack_timestamp = timestamp;
    }

    kcp->ack = 1;
}


static void
ngx_vmess_kcp_send_input(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_segment_t *seg)
{
    u_char      *p, *last;
    uint32_t     number, max, window, flying, age, arrived;
    ngx_uint_t   sample;

    if (!ngx_vmess_kcp_send_validate(kcp, seg->timestamp)) {
        return;
    }

    if (ngx_vmess_kcp_before(kcp->send_edge, seg->receiving_window)) {
        kcp->send_edge = seg->receiving_window;
    }

    window = seg->receiving_window - seg->receiving_next;

    /* a count, which does not go round as numbers do */

    if (window > kcp->send_window && window < 0x80000000) {
        kcp->send_window = window;
    }

    last = seg->data.data + seg->data.len;
    max = 0;

    for (p = seg->data.data; p < last; p += NGX_VMESS_KCP_NUMBER_LEN) {
        number = ngx_vmess_kcp_segment_get32(p);

        if (p == seg->data.data || ngx_vmess_kcp_before(max, number)) {
            max = number;
        }
    }

    /* the largest number is news, or this is an Ack repeated */

    sample = (seg->data.len && ngx_vmess_kcp_send_is_flying(kcp, max));
    flying = kcp->flying;
    arrived = kcp->arrived;

    age = (ngx_vmess_kcp_timestamp(kcp) - seg->timestamp)
          & NGX_VMESS_KCP_TIMESTAMP;

    ngx_vmess_kcp_send_acked_before(kcp, seg->receiving_next, kcp->now - age);

    for (p = seg->data.data; p < last; p += NGX_VMESS_KCP_NUMBER_LEN) {
        ngx_vmess_kcp_send_acked(kcp, ngx_vmess_kcp_segment_get32(p),
                                 kcp->now - age);
    }

    ngx_vmess_kcp_send_acked_done(kcp);

    if (kcp->flying == flying
        || age > kcp->now - kcp->start
        || age >= NGX_VMESS_KCP_RTO_MAX)
    {
        kcp->arrived = arrived;
        return;
    }

    /*
     * Several Acks at once tell the same as one.  If segments or Acks come out
     * of order, another Ack is waited for.
     */

    if (kcp->now - kcp->arrival >= NGX_VMESS_KCP_TTI_MIN) {
        kcp->arrival = kcp->now;
        kcp->lost = arrived;
    }

    if (kcp->early <= kcp->fast / 8) {
        kcp->lost = kcp->arrived;
    }

    if (sample) {
        ngx_vmess_kcp_send_rtt(kcp, age);
    }
}


static void
ngx_vmess_kcp_input_command(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_segment_t *seg)
{
    ngx_vmess_kcp_recv_confirmed(kcp, seg->sending_next);

    if (kcp->validated) {
        ngx_vmess_kcp_send_acked_before(kcp, seg->receiving_next,
                                        kcp->now - kcp->srtt);
        ngx_vmess_kcp_send_acked_done(kcp);
    }

    /* what the peer measured is better than nothing */

    if (kcp->srtt == 0) {
        kcp->rto = ngx_min(seg->rto, NGX_VMESS_KCP_RTO_MAX);
        kcp->rto = ngx_max(kcp->rto, NGX_VMESS_KCP_RTO);
    }

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


/*
 * The peer has its address if it knows a time of ours, of 31 random bits, at
 * which a segment was sent to it.
 */

static ngx_uint_t
ngx_vmess_kcp_send_validate(ngx_vmess_kcp_t *kcp, uint32_t timestamp)
{
    uint32_t  i, n;

    if (kcp->validated) {
        return 1;
    }

    /* a peer that has its address seldom errs */

    if (kcp->guesses == NGX_VMESS_KCP_GUESSES) {
        return 0;
    }

    n = ngx_min(kcp->times, NGX_VMESS_KCP_TIMES);

    for (i = 0; i < n; i++) {

        if (kcp->time[i] != timestamp) {
            continue;
        }

        kcp->validated = 1;

        /* what went with the first copy is lost, if another was needed */

        if (kcp->copies) {
            kcp->arrived = kcp->order;
        }

        return 1;
    }

    kcp->guesses++;

    return 0;
}


/* the peer knows that what is before next has come */

static void
ngx_vmess_kcp_recv_confirmed(ngx_vmess_kcp_t *kcp, uint32_t next)
{
    if (ngx_vmess_kcp_before(kcp->receive_una, next)) {
        kcp->receive_una = ngx_vmess_kcp_before(next, kcp->receive_last)
                           ? next : kcp->receive_last;
    }
}


static ngx_uint_t
ngx_vmess_kcp_send_is_flying(ngx_vmess_kcp_t *kcp, uint32_t number)
{
    return number - kcp->send_una < kcp->send_next - kcp->send_una
           && ngx_vmess_kcp_slot(&kcp->send, number);
}


/* sent: when the last copy that can have come was sent */

static void
ngx_vmess_kcp_send_acked(ngx_vmess_kcp_t *kcp, uint32_t number, uint32_t sent)
{
    ngx_vmess_kcp_data_t  *data;

    if (!ngx_vmess_kcp_send_is_flying(kcp, number)) {
        return;
    }

    data = ngx_vmess_kcp_slot(&kcp->send, number);

    if (!ngx_vmess_kcp_before(sent, data->time)
        && ngx_vmess_kcp_before(kcp->arrived, data->order))
    {
        kcp->arrived = data->order;
    }

    /* it was sent again, and the one before has come */

    if (data->fast && ngx_vmess_kcp_before(sent, data->time)) {
        kcp->early++;
    }

    ngx_queue_remove(&data->queue);
    ngx_vmess_kcp_window_free(kcp, &kcp->send, number);
    kcp->flying--;
}


static void
ngx_vmess_kcp_send_acked_before(ngx_vmess_kcp_t *kcp, uint32_t next,
    uint32_t sent)
{
    uint32_t  number;

    if (next - kcp->send_una > kcp->send_next - kcp->send_una) {
        return;
    }

    for (number = kcp->send_una; number != next; number++) {
        ngx_vmess_kcp_send_acked(kcp, number, sent);
    }
}


static void
ngx_vmess_kcp_send_acked_done(ngx_vmess_kcp_t *kcp)
{
    while (kcp->send_una != kcp->send_next
           && ngx_vmess_kcp_slot(&kcp->send, kcp->send_una) == NULL)
    {
        kcp->send_una++;
        kcp->acked = 1;

        if (kcp->state == ngx_vmess_kcp_closing) {
            kcp->state_time = kcp->now;
        }
    }
}


/* RFC 6298, with the constants of peers */

static void
ngx_vmess_kcp_send_rtt(ngx_vmess_kcp_t *kcp, uint32_t rtt)
{
    uint32_t  delta, tti;

    tti = (uint32_t) kcp->conf->tti;
    rtt = ngx_max(rtt, 1);

    if (kcp->srtt == 0) {
        kcp->srtt = rtt;

        /* if copies were needed, it may have the time of Acks that got lost */

        kcp->rttvar = kcp->copies ? 0 : rtt / 2;

    } else {
        delta = (rtt > kcp->srtt) ? rtt - kcp->srtt : kcp->srtt - rtt;

        kcp->rttvar = (3 * kcp->rttvar + delta) / 4;
        kcp->srtt = (7 * kcp->srtt + rtt) / 8;
    }

    /* an Ack that is lost is followed by another in a tti */

    kcp->rto = ngx_max(kcp->srtt, tti) + ngx_max(4 * kcp->rttvar, tti);
    kcp->rto = ngx_min(kcp->rto, NGX_VMESS_KCP_RTO_MAX) * 5 / 4;
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

    p = ngx_vmess_kcp_output_ping(kcp, p, last, p != start);

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
    uint32_t  wait, state, ping, ack, data;

    kcp->now = (uint32_t) now;

    if (kcp->state == ngx_vmess_kcp_terminated) {
        return (ngx_msec_t) -1;
    }

    state = ngx_vmess_kcp_state_wait(kcp);
    ping = ngx_vmess_kcp_ping_wait(kcp);

    wait = ngx_min(state, ping);

    if (kcp->state != ngx_vmess_kcp_terminating) {
        ack = ngx_vmess_kcp_recv_wait(kcp);
        wait = ngx_min(wait, ack);

        data = ngx_vmess_kcp_send_wait(kcp);
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


/* of them, those that are not kept for copies of the first segment */

static size_t
ngx_vmess_kcp_send_spare(ngx_vmess_kcp_t *kcp)
{
    size_t  kept;

    kept = kcp->conf->overhead
           + NGX_VMESS_KCP_COPIES * (kcp->conf->overhead
                                     + NGX_VMESS_KCP_DATA_LEN
                                     + NGX_VMESS_KCP_PROBE);

    return kcp->credit > kept ? kcp->credit - kept : 0;
}


static uint32_t
ngx_vmess_kcp_recv_wait(ngx_vmess_kcp_t *kcp)
{
    if (ngx_vmess_kcp_limit(kcp)
        < NGX_VMESS_KCP_ACK_LEN + NGX_VMESS_KCP_NUMBER_LEN)
    {
        return NGX_VMESS_KCP_NEVER;
    }

    if (kcp->acking) {
        return 0;
    }

    if (kcp->ack) {
        return ngx_vmess_kcp_left(kcp, kcp->ack_time,
                                  (uint32_t) kcp->conf->tti);
    }

    /* one that is not validated gets another for what it sends again */

    if (kcp->validated
        && ngx_vmess_kcp_before(kcp->receive_una, kcp->receive_last))
    {
        return ngx_vmess_kcp_left(kcp, kcp->ack_time, kcp->ack_repeat);
    }

    return NGX_VMESS_KCP_NEVER;
}


/*
 * An Ack lists numbers that came out of order, each again after a while, and
 * the last of those that receiving_next stands for: v2ray measures the time to
 * numbers that it finds in the list alone.
 */

static u_char *
ngx_vmess_kcp_recv_output(ngx_vmess_kcp_t *kcp, u_char *p, u_char *last)
{
    u_char                   *list, *end, *full;
    uint32_t                  repeat;
    ngx_uint_t                first;
    ngx_vmess_kcp_data_t     *data;
    ngx_vmess_kcp_segment_t   seg;

    if (ngx_vmess_kcp_recv_wait(kcp)) {
        return p;
    }

    repeat = ngx_max(kcp->rto / 2, NGX_VMESS_KCP_ACK_MIN);
    first = 0;

    if (!kcp->acking || kcp->ack) {
        first = 1;

        if (kcp->ack) {
            kcp->ack_repeat = repeat;

        } else {
            /* none yet if the peer tells of data that has not come */

            kcp->ack_repeat = ngx_max(kcp->ack_repeat, repeat);
            kcp->ack_repeat = ngx_min(2 * kcp->ack_repeat,
                                      NGX_VMESS_KCP_REPEAT_MAX);

            /* that it is repeated does not count as time of the link */

            kcp->ack_timestamp += kcp->now - kcp->ack_time;
        }

        kcp->ack_time = kcp->now;
        kcp->ack_next = kcp->receive_next;
        kcp->acking = 1;
        kcp->ack = 0;
        kcp->ack_fresh = 0;
    }

    if (ngx_vmess_kcp_before(kcp->ack_next, kcp->receive_next)) {
        kcp->ack_next = kcp->receive_next;
    }

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    while (kcp->acking
           && last - p >= NGX_VMESS_KCP_ACK_LEN + NGX_VMESS_KCP_NUMBER_LEN)
    {
        list = p + NGX_VMESS_KCP_ACK_LEN;
        end = list;

        full = list + ngx_min((last - list) / NGX_VMESS_KCP_NUMBER_LEN,
                              NGX_VMESS_KCP_NUMBERS_MAX)
                      * NGX_VMESS_KCP_NUMBER_LEN;

        seg.receiving_next = kcp->receive_next;

        if (first && kcp->any) {
            seg.receiving_next--;
            end = ngx_vmess_kcp_segment_put32(end, seg.receiving_next);
        }

        while (ngx_vmess_kcp_before(kcp->ack_next, kcp->receive_last)
               && end != full)
        {
            data = ngx_vmess_kcp_slot(&kcp->receive, kcp->ack_next);

            if (data && !ngx_vmess_kcp_before(kcp->now, data->time)) {
                end = ngx_vmess_kcp_segment_put32(end, kcp->ack_next);

                if (++data->count >= NGX_VMESS_KCP_ACK_COUNT) {
                    data->time = kcp->now + repeat;
                }
            }

            kcp->ack_next++;
        }

        if (!ngx_vmess_kcp_before(kcp->ack_next, kcp->receive_last)) {
            kcp->acking = 0;
        }

        if (end == list && !first) {
            break;
        }

        first = 0;

        kcp->receive_edge = kcp->receive_read + ngx_vmess_kcp_recv_max(kcp);

        seg.conv = kcp->conv;
        seg.command = NGX_VMESS_KCP_ACK;
        seg.opt = ngx_vmess_kcp_opt(kcp);
        seg.receiving_window = kcp->receive_edge;
        seg.timestamp = kcp->ack_timestamp;
        seg.data.data = list;
        seg.data.len = end - list;

        p = ngx_vmess_kcp_segment_create(p, &seg);
    }

    return p;
}


/*
 * Returns the segment that is to be sent next, in *wait ms, or NULL.  The
 * first one behind the peer's window goes alone, again and again: v2ray does
 * not tell when it opens.
 */

static ngx_vmess_kcp_data_t *
ngx_vmess_kcp_send_next(ngx_vmess_kcp_t *kcp, uint32_t *wait)
{
    uint32_t               timeout, late;
    ngx_vmess_kcp_data_t  *data, *next;

    data = NULL;
    *wait = NGX_VMESS_KCP_NEVER;

    if (!ngx_queue_empty(&kcp->sent)) {

        data = ngx_queue_data(ngx_queue_head(&kcp->sent),
                              ngx_vmess_kcp_data_t, queue);

        timeout = kcp->rto;

        if (!kcp->validated) {

            /* one that comes is enough, and the others cost more */

            data = ngx_vmess_kcp_slot(&kcp->send, kcp->send_una);
            timeout <<= ngx_min(kcp->copies / 2, NGX_VMESS_KCP_BACKOFF);

        } else if (!ngx_vmess_kcp_before(data->number, kcp->send_edge)) {
            timeout = ngx_min(4 * timeout, NGX_VMESS_KCP_PROBE_MAX);

        } else if (ngx_vmess_kcp_before(data->order, kcp->lost)) {

            /*
             * fast resend: what was sent later has come before the last Ack,
             * of which a part may be on its way
             */

            late = kcp->arrival + kcp->srtt / 8 - data->time;
            timeout = ngx_min(timeout, late);
        }

        *wait = ngx_vmess_kcp_left(kcp, data->time, timeout);

        if (*wait == 0) {
            return data;
        }
    }

    if (kcp->send_next == kcp->send_last
        || (data && !ngx_vmess_kcp_before(kcp->send_next, kcp->send_edge)))
    {
        return data;
    }

    next = ngx_vmess_kcp_slot(&kcp->send, kcp->send_next);

    if (!kcp->validated && data
        && ngx_vmess_kcp_send_spare(kcp) < NGX_VMESS_KCP_DATA_LEN + next->len)
    {
        return data;
    }

    *wait = 0;

    return next;
}


static uint32_t
ngx_vmess_kcp_send_wait(ngx_vmess_kcp_t *kcp)
{
    uint32_t               wait, pace;
    ngx_vmess_kcp_data_t  *data;

    data = ngx_vmess_kcp_send_next(kcp, &wait);

    if (data == NULL
        || ngx_vmess_kcp_limit(kcp) < NGX_VMESS_KCP_DATA_LEN + data->len)
    {
        return NGX_VMESS_KCP_NEVER;
    }

    pace = ngx_vmess_kcp_send_pace(kcp);

    return ngx_max(wait, pace);
}


static u_char *
ngx_vmess_kcp_send_output(ngx_vmess_kcp_t *kcp, u_char *p, u_char *last)
{
    uint32_t                  wait;
    ngx_vmess_kcp_data_t     *data;
    ngx_vmess_kcp_segment_t   seg;

    ngx_vmess_kcp_send_tick(kcp);

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    while (ngx_vmess_kcp_send_pace(kcp) == 0) {

        data = ngx_vmess_kcp_send_next(kcp, &wait);

        if (data == NULL || wait
            || (size_t) (last - p) < NGX_VMESS_KCP_DATA_LEN + data->len)
        {
            break;
        }

        if (data->number == kcp->send_next) {
            kcp->send_next++;
            kcp->flying++;
            data->fast = 0;

        } else {
            ngx_queue_remove(&data->queue);
            kcp->copies += !kcp->validated;
            kcp->tick_lost++;

            data->fast = (kcp->now - data->time < kcp->rto);

            if (data->fast && ++kcp->fast == NGX_VMESS_KCP_FAST) {
                kcp->fast /= 2;
                kcp->early /= 2;
            }
        }

        ngx_queue_insert_tail(&kcp->sent, &data->queue);

        data->time = kcp->now;
        data->order = ++kcp->order;
        kcp->tick_sent++;
        kcp->pace -= ngx_vmess_kcp_send_period(kcp);
        kcp->acked = 0;

        seg.conv = kcp->conv;
        seg.command = NGX_VMESS_KCP_DATA;
        seg.opt = ngx_vmess_kcp_opt(kcp);
        seg.timestamp = ngx_vmess_kcp_timestamp(kcp);
        seg.number = data->number;
        seg.sending_next = kcp->send_una;
        seg.data.data = ngx_vmess_kcp_payload(data);
        seg.data.len = data->len;

        p = ngx_vmess_kcp_segment_create(p, &seg);

        if (!kcp->validated) {
            kcp->time[kcp->times++ % NGX_VMESS_KCP_TIMES] = seg.timestamp;
        }
    }

    return p;
}


/* a peer that is silent gets a segment a second */

static ngx_uint_t
ngx_vmess_kcp_send_silent(ngx_vmess_kcp_t *kcp)
{
    return kcp->now - kcp->in_time >= NGX_VMESS_KCP_SILENCE + 2 * kcp->rto;
}


static uint32_t
ngx_vmess_kcp_send_period(ngx_vmess_kcp_t *kcp)
{
    return ngx_vmess_kcp_send_silent(kcp) ? NGX_VMESS_KCP_SILENCE
                                     : (uint32_t) kcp->conf->tti;
}


/*
 * Segments for that period.  In the time of a round trip, or a tti, a peer
 * takes not much more than it has room for.
 */

static uint32_t
ngx_vmess_kcp_send_quota(ngx_vmess_kcp_t *kcp)
{
    uint32_t  tti, rtt;
    uint64_t  quota, room;

    if (ngx_vmess_kcp_send_silent(kcp)) {
        return 1;
    }

    quota = kcp->control;

    if (!kcp->conf->congestion) {
        quota = (uint64_t) kcp->conf->in_flight * NGX_VMESS_KCP_BURST;
    }

    tti = (uint32_t) kcp->conf->tti;

    rtt = ngx_max(kcp->srtt, NGX_VMESS_KCP_TTI_MIN);
    rtt = ngx_min(rtt, tti);

    room = (uint64_t) kcp->send_window * 5 / 4 * tti / rtt;

    return (uint32_t) ngx_min(quota, room);
}


/*
 * Returns ms until a segment may be sent.  They are spread over the period: by
 * default, the buffer of a socket has room for less than a hundred datagrams.
 * kcp->pace is the period for each that may be sent now.
 */

static uint32_t
ngx_vmess_kcp_send_pace(ngx_vmess_kcp_t *kcp)
{
    uint32_t  period, quota, burst, elapsed;

    period = ngx_vmess_kcp_send_period(kcp);
    quota = ngx_vmess_kcp_send_quota(kcp);

    burst = NGX_VMESS_KCP_PACE * quota / period;
    burst = ngx_min(burst, kcp->conf->burst);
    burst = ngx_max(burst, NGX_VMESS_KCP_EDGE);
    burst = ngx_min(burst, quota);

    elapsed = kcp->now - kcp->pace_time;
    elapsed = ngx_min(elapsed, period);

    kcp->pace_time = kcp->now;
    kcp->pace += (uint64_t) elapsed * quota;
    kcp->pace = ngx_min(kcp->pace, (uint64_t) burst * period);

    if (kcp->pace >= period) {
        return 0;
    }

    return (period - (uint32_t) kcp->pace + quota - 1) / quota;
}


/* congestion: the share of what was sent again */

static void
ngx_vmess_kcp_send_tick(ngx_vmess_kcp_t *kcp)
{
    uint32_t  rate;

    if (ngx_vmess_kcp_left(kcp, kcp->tick, (uint32_t) kcp->conf->tti)) {
        return;
    }

    if (kcp->tick_sent) {
        rate = kcp->tick_lost * 100 / ngx_max(kcp->flying, kcp->tick_sent);

        if (rate >= 15) {
            kcp->control = 3 * kcp->control / 4;

        } else if (rate <= 5) {
            kcp->control += kcp->control / 4;
        }

        kcp->control = ngx_max(kcp->control, NGX_VMESS_KCP_CONTROL_MIN);
        kcp->control = ngx_min(kcp->control, 2 * kcp->conf->in_flight);
    }

    kcp->tick = kcp->now;
    kcp->tick_sent = 0;
    kcp->tick_lost = 0;
}


static uint32_t
ngx_vmess_kcp_ping_wait(ngx_vmess_kcp_t *kcp)
{
    uint32_t  wait, left;

    if (ngx_vmess_kcp_limit(kcp) < NGX_VMESS_KCP_COMMAND_LEN) {
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
ngx_vmess_kcp_output_ping(ngx_vmess_kcp_t *kcp, u_char *p, u_char *last,
    ngx_uint_t busy)
{
    ngx_vmess_kcp_segment_t  seg;

    if (ngx_vmess_kcp_ping_wait(kcp)
        && !(busy && kcp->validated
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


static ngx_uint_t
ngx_vmess_kcp_opt(ngx_vmess_kcp_t *kcp)
{
    return (kcp->state == ngx_vmess_kcp_closing) ? NGX_VMESS_KCP_OPT_CLOSE : 0;
}


ssize_t
ngx_vmess_kcp_recv(ngx_vmess_kcp_t *kcp, u_char *p, size_t size)
{
    size_t                 n, len;
    uint32_t               edge, max;
    ngx_vmess_kcp_data_t  *data;

    n = 0;

    while (n < size && kcp->receive_read != kcp->receive_next) {
        data = ngx_vmess_kcp_slot(&kcp->receive, kcp->receive_read);

        len = ngx_min(size - n, data->len - kcp->receive_pos);

        ngx_memcpy(p + n, ngx_vmess_kcp_payload(data) + kcp->receive_pos, len);

        n += len;
        kcp->receive_pos += len;

        if (kcp->receive_pos == data->len) {
            kcp->receive_size -= data->len;
            kcp->receive_pos = 0;

            ngx_vmess_kcp_window_free(kcp, &kcp->receive, kcp->receive_read++);
        }
    }

    /* a window that was short opens by a quarter and more */

    max = ngx_vmess_kcp_recv_max(kcp);
    edge = kcp->receive_read + max;

    if (edge - kcp->receive_edge >= max / 4
        && ngx_vmess_kcp_before(kcp->receive_edge, edge)
        && ngx_vmess_kcp_before(kcp->receive_edge - kcp->receive_last,
                                max / 2))
    {
        kcp->ack = 1;
    }

    if (n) {
        return n;
    }

    if (!ngx_vmess_kcp_recv_ready(kcp)) {
        return NGX_AGAIN;
    }

    return (kcp->err && !kcp->closed) ? NGX_ERROR : 0;
}


ngx_uint_t
ngx_vmess_kcp_recv_ready(ngx_vmess_kcp_t *kcp)
{
    return kcp->receive_read != kcp->receive_next
           || (kcp->state != ngx_vmess_kcp_active
               && kcp->state != ngx_vmess_kcp_peer_closed);
}


ssize_t
ngx_vmess_kcp_send(ngx_vmess_kcp_t *kcp, const u_char *p, size_t size)
{
    size_t                 n, len, room;
    ngx_vmess_kcp_data_t  *data;

    if (kcp->state != ngx_vmess_kcp_active) {
        return NGX_ERROR;
    }

    n = 0;

    while (n < size) {
        data = NULL;
        room = 0;

        if (kcp->send_last != kcp->send_next) {
            data = ngx_vmess_kcp_slot(&kcp->send, kcp->send_last - 1);

            if (kcp->validated
                || (data->number != kcp->send_una
                    && ngx_vmess_kcp_send_spare(kcp)
                       < NGX_VMESS_KCP_DATA_LEN + data->len))
            {
                room = kcp->conf->mss - data->len;
            }
        }

        if (room == 0) {
            room = ngx_vmess_kcp_send_room(kcp);

            if (room == 0) {
                break;
            }

            data = ngx_vmess_kcp_window_alloc(kcp, &kcp->send, kcp->send_una,
                                              kcp->send_last, kcp->conf->mss);
            if (data == NULL) {
                break;
            }

            data->len = 0;
            kcp->send_last++;
        }

        len = ngx_min(size - n, room);

        ngx_memcpy(ngx_vmess_kcp_payload(data) + data->len, p + n, len);

        data->len += len;
        n += len;
    }

    return n ? (ssize_t) n : NGX_AGAIN;
}


ngx_uint_t
ngx_vmess_kcp_send_ready(ngx_vmess_kcp_t *kcp)
{
    return kcp->state != ngx_vmess_kcp_active || ngx_vmess_kcp_send_room(kcp);
}


/*
 * Payload that another segment can have.  To a peer that is not validated, the
 * first is short, for copies of it to be cheap, others are what there is credit
 * for, and a few wait.
 */

static size_t
ngx_vmess_kcp_send_room(ngx_vmess_kcp_t *kcp)
{
    size_t    size, spare;
    uint32_t  n, number;

    n = kcp->send_last - kcp->send_una;

    if (n >= kcp->conf->send_max || (kcp->small && n >= kcp->conf->small_max)) {
        return 0;
    }

    if (kcp->validated) {
        return kcp->conf->mss;
    }

    if (n == 0) {
        return NGX_VMESS_KCP_PROBE;
    }

    if (n >= NGX_VMESS_KCP_TIMES) {
        return 0;
    }

    /* an Ack and segments, each in a datagram of its own at worst */

    size = kcp->conf->overhead + NGX_VMESS_KCP_ACK_LEN
           + NGX_VMESS_KCP_NUMBER_LEN;

    for (number = kcp->send_next; number != kcp->send_last; number++) {
        size += kcp->conf->overhead + NGX_VMESS_KCP_DATA_LEN
                + ngx_vmess_kcp_slot(&kcp->send, number)->len;
    }

    size += NGX_VMESS_KCP_DATA_LEN;
    spare = ngx_vmess_kcp_send_spare(kcp);

    return (spare >= size + NGX_VMESS_KCP_ROOM)
           ? ngx_min(spare - size, kcp->conf->mss) : kcp->conf->mss;
}


/* allocates the segment of number, and room for all from first to it */

static ngx_vmess_kcp_data_t *
ngx_vmess_kcp_window_alloc(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t first, uint32_t number, size_t size)
{
    ngx_vmess_kcp_data_t  *data;

    if (ngx_vmess_kcp_window_grow(kcp, window, first, number - first + 1)
        != NGX_OK)
    {
        return NULL;
    }

    size += sizeof(ngx_vmess_kcp_data_t);

    data = kcp->conf->alloc(kcp->conf->data, size);
    if (data == NULL) {
        return NULL;
    }

    data->number = number;
    data->size = size;

    ngx_vmess_kcp_slot(window, number) = data;

    return data;
}


static void
ngx_vmess_kcp_window_free(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t number)
{
    ngx_vmess_kcp_data_t  *data;

    data = ngx_vmess_kcp_slot(window, number);
    ngx_vmess_kcp_slot(window, number) = NULL;

    kcp->conf->free(kcp->conf->data, data, data->size);
}


static ngx_int_t
ngx_vmess_kcp_window_grow(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t first, uint32_t n)
{
    uint32_t                 i;
    ngx_vmess_kcp_window_t   larger;

    if (n <= window->size) {
        return NGX_OK;
    }

    larger.size = ngx_max(window->size, NGX_VMESS_KCP_SLOTS);

    while (larger.size < n) {
        larger.size *= 2;
    }

    larger.slot = kcp->conf->alloc(kcp->conf->data,
                                   larger.size * sizeof(void *));
    if (larger.slot == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(larger.slot, larger.size * sizeof(void *));

    for (i = 0; i < window->size; i++) {
        ngx_vmess_kcp_slot(&larger, first + i) =
                                        ngx_vmess_kcp_slot(window, first + i);
    }

    if (window->size) {
        kcp->conf->free(kcp->conf->data, window->slot,
                        window->size * sizeof(void *));
    }

    *window = larger;

    return NGX_OK;
}


static void
ngx_vmess_kcp_send_clear(ngx_vmess_kcp_t *kcp)
{
    ngx_vmess_kcp_window_clear(kcp, &kcp->send);

    ngx_queue_init(&kcp->sent);

    kcp->send_una = kcp->send_next;
    kcp->send_last = kcp->send_next;
    kcp->flying = 0;
}


static void
ngx_vmess_kcp_recv_clear(ngx_vmess_kcp_t *kcp)
{
    ngx_vmess_kcp_window_clear(kcp, &kcp->receive);

    kcp->receive_read = kcp->receive_next;
    kcp->receive_last = kcp->receive_next;
    kcp->receive_pos = 0;
    kcp->receive_size = 0;

    /* an Ack may wait for credit with the rest of its numbers */

    kcp->acking = 0;
}


static void
ngx_vmess_kcp_window_clear(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window)
{
    uint32_t  i;

    for (i = 0; i < window->size; i++) {
        if (window->slot[i]) {
            ngx_vmess_kcp_window_free(kcp, window, i);
        }
    }

    if (window->size) {
        kcp->conf->free(kcp->conf->data, window->slot,
                        window->size * sizeof(void *));
    }

    window->slot = NULL;
    window->size = 0;
}


/* ms that are left of a timeout */

static uint32_t
ngx_vmess_kcp_left(ngx_vmess_kcp_t *kcp, uint32_t since, uint32_t timeout)
{
    return (kcp->now - since >= timeout) ? 0 : timeout - (kcp->now - since);
}
