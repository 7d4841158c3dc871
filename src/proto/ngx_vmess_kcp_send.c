
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_send.h"
#include "ngx_vmess_kcp_window.h"


/* what the protocol says, in ms and segments */

#define NGX_VMESS_KCP_RTO_MAX      10000
#define NGX_VMESS_KCP_CONTROL_MIN  16
#define NGX_VMESS_KCP_BURST        20        /* without congestion control */

/* what it leaves to us */

#define NGX_VMESS_KCP_GUESSES      256       /* Acks with a wrong time */
#define NGX_VMESS_KCP_FAST         256       /* fast resends to judge by */
#define NGX_VMESS_KCP_PROBE_MAX    1000      /* of a closed window */
#define NGX_VMESS_KCP_SILENCE      1000      /* of a peer that may be gone */
#define NGX_VMESS_KCP_PROBE        1         /* bytes of the first segment to a
                                                peer that is not validated, */
#define NGX_VMESS_KCP_COPIES       6         /* copies of it that credit is kept
                                                for, and */
#define NGX_VMESS_KCP_ROOM         64        /* of another one at least */
#define NGX_VMESS_KCP_BACKOFF      4         /* doublings of time to a copy */

/*
 * v2ray looks for the newest timestamp of an Ack from 0 on, and so does not
 * find those of the upper half: ours have 31 bits
 */

#define NGX_VMESS_KCP_TIMESTAMP    0x7fffffff

#define ngx_vmess_kcp_timestamp(kcp)                                          \
    (((kcp)->base + ((kcp)->now - (kcp)->start)) & NGX_VMESS_KCP_TIMESTAMP)


static size_t ngx_vmess_kcp_send_room(ngx_vmess_kcp_t *kcp);
static ngx_vmess_kcp_data_t *ngx_vmess_kcp_send_next(ngx_vmess_kcp_t *kcp,
    uint32_t *wait);
static ngx_uint_t ngx_vmess_kcp_send_silent(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_period(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_quota(ngx_vmess_kcp_t *kcp);
static uint32_t ngx_vmess_kcp_send_pace(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_send_tick(ngx_vmess_kcp_t *kcp);
static ngx_uint_t ngx_vmess_kcp_send_validate(ngx_vmess_kcp_t *kcp,
    uint32_t timestamp);
static ngx_uint_t ngx_vmess_kcp_send_is_flying(ngx_vmess_kcp_t *kcp,
    uint32_t number);
static void ngx_vmess_kcp_send_acked(ngx_vmess_kcp_t *kcp, uint32_t number,
    uint32_t sent);
static void ngx_vmess_kcp_send_acked_before(ngx_vmess_kcp_t *kcp,
    uint32_t next, uint32_t sent);
static void ngx_vmess_kcp_send_acked_done(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_send_rtt(ngx_vmess_kcp_t *kcp, uint32_t rtt);


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


size_t
ngx_vmess_kcp_send_spare(ngx_vmess_kcp_t *kcp)
{
    size_t  kept;

    kept = kcp->conf->overhead
           + NGX_VMESS_KCP_COPIES * (kcp->conf->overhead
                                     + NGX_VMESS_KCP_DATA_LEN
                                     + NGX_VMESS_KCP_PROBE);

    return kcp->credit > kept ? kcp->credit - kept : 0;
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


uint32_t
ngx_vmess_kcp_send_wait(ngx_vmess_kcp_t *kcp, size_t limit)
{
    uint32_t               wait, pace;
    ngx_vmess_kcp_data_t  *data;

    data = ngx_vmess_kcp_send_next(kcp, &wait);

    if (data == NULL || limit < NGX_VMESS_KCP_DATA_LEN + data->len) {
        return NGX_VMESS_KCP_NEVER;
    }

    pace = ngx_vmess_kcp_send_pace(kcp);

    return ngx_max(wait, pace);
}


u_char *
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


void
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


void
ngx_vmess_kcp_send_confirmed(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_segment_t *seg)
{
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


void
ngx_vmess_kcp_send_clear(ngx_vmess_kcp_t *kcp)
{
    ngx_vmess_kcp_window_clear(kcp, &kcp->send);

    ngx_queue_init(&kcp->sent);

    kcp->send_una = kcp->send_next;
    kcp->send_last = kcp->send_next;
    kcp->flying = 0;
}
