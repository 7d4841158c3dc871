
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_recv.h"
#include "ngx_vmess_kcp_window.h"


#define NGX_VMESS_KCP_ACK_MIN      20        /* ms before an Ack is repeated, */
#define NGX_VMESS_KCP_REPEAT_MAX   1000      /* at most */
#define NGX_VMESS_KCP_ACK_COUNT    3         /* Acks that list a number before
                                                it waits for its time */


static uint32_t ngx_vmess_kcp_recv_max(ngx_vmess_kcp_t *kcp);
static void ngx_vmess_kcp_recv_echo(ngx_vmess_kcp_t *kcp, uint32_t timestamp);


void
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


void
ngx_vmess_kcp_recv_confirmed(ngx_vmess_kcp_t *kcp, uint32_t next)
{
    if (ngx_vmess_kcp_before(kcp->receive_una, next)) {
        kcp->receive_una = ngx_vmess_kcp_before(next, kcp->receive_last)
                           ? next : kcp->receive_last;
    }
}


uint32_t
ngx_vmess_kcp_recv_wait(ngx_vmess_kcp_t *kcp, size_t limit)
{
    if (limit < NGX_VMESS_KCP_ACK_LEN + NGX_VMESS_KCP_NUMBER_LEN) {
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

u_char *
ngx_vmess_kcp_recv_output(ngx_vmess_kcp_t *kcp, u_char *p, u_char *last)
{
    u_char                   *list, *end, *full;
    uint32_t                  repeat;
    ngx_uint_t                first;
    ngx_vmess_kcp_data_t     *data;
    ngx_vmess_kcp_segment_t   seg;

    if (ngx_vmess_kcp_recv_wait(kcp, last - p)) {
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


void
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
