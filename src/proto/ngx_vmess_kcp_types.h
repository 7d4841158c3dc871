
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_TYPES_H_INCLUDED_
#define _NGX_VMESS_KCP_TYPES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_segment.h"


#define NGX_VMESS_KCP_MTU_MIN      576       /* as in peers, bytes */
#define NGX_VMESS_KCP_MTU_MAX      1460
#define NGX_VMESS_KCP_TTI_MIN      10        /* ms */
#define NGX_VMESS_KCP_TTI_MAX      1000

/* bytes each way for a peer that may be anybody */

#define NGX_VMESS_KCP_SMALL        (64 * 1024)

/* times of sending, one of which a peer has to echo */

#define NGX_VMESS_KCP_TIMES        16


typedef enum {
    ngx_vmess_kcp_active = 0,
    ngx_vmess_kcp_closing,                   /* by us, data is left to send */
    ngx_vmess_kcp_peer_closed,               /* its data is left to come */
    ngx_vmess_kcp_peer_terminating,
    ngx_vmess_kcp_terminating,
    ngx_vmess_kcp_terminated                 /* nothing more happens */
} ngx_vmess_kcp_state_e;


/* settings that sessions share */

typedef struct {
    size_t                   mtu;            /* of datagrams, bytes */
    size_t                   overhead;       /* of them seal and disguise */
    ngx_msec_t               tti;
    ngx_uint_t               uplink;         /* what we send, MiB/s */
    ngx_uint_t               downlink;
    size_t                   read_buffer;    /* bytes a session */
    size_t                   write_buffer;
    ngx_flag_t               congestion;

    /* memory of segments and windows; alloc may return NULL */

    void                  *(*alloc)(void *data, size_t size);
    void                   (*free)(void *data, void *p, size_t size);
    void                    *data;

    /* by ngx_vmess_kcp_conf_init() */

    size_t                   size;           /* of segments in a datagram */
    size_t                   mss;            /* of payload in a segment */
    uint32_t                 in_flight;      /* segments to send in a tti */
    uint32_t                 burst;          /* segments to send at once */
    uint32_t                 send_max;       /* segments, not acknowledged */
    uint32_t                 receive_max;    /* segments, not read */
    uint32_t                 small_max;      /* of both, see kcp->small */
} ngx_vmess_kcp_conf_t;


typedef struct {
    ngx_queue_t              queue;          /* those sent, by time */
    uint32_t                 number;
    uint32_t                 time;           /* when it was sent, or when it
                                                is acknowledged again */
    uint32_t                 order;          /* in which it was sent */
    uint32_t                 count;          /* Acks that had its number */
    ngx_uint_t               fast;           /* it was sent before its RTO */
    size_t                   len;
    size_t                   size;           /* allocated, with this */
} ngx_vmess_kcp_data_t;


/* segments by number: size is a power of two, or 0 */

typedef struct {
    ngx_vmess_kcp_data_t   **slot;
    uint32_t                 size;
} ngx_vmess_kcp_window_t;


/* numbers and times go round, and are compared by their difference */

typedef struct {
    ngx_vmess_kcp_conf_t    *conf;
    ngx_uint_t               conv;
    ngx_vmess_kcp_state_e    state;
    const char              *err;            /* why data was lost, or NULL */

    uint32_t                 now;            /* ms, as all times */
    uint32_t                 start;
    uint32_t                 base;           /* our timestamp at the start */
    uint32_t                 state_time;
    uint32_t                 close_time;
    uint32_t                 in_time;        /* of the last datagram */
    uint32_t                 out_time;
    uint32_t                 ping_time;

    /* until the peer is validated: */

    size_t                   credit;         /* bytes that may be sent */
    uint32_t                 guesses;        /* Acks without one of our times */
    uint32_t                 copies;         /* of the first segment */
    uint32_t                 times;          /* when segments were sent, */
    uint32_t                 time[NGX_VMESS_KCP_TIMES];  /* the last of them */

    ngx_vmess_kcp_window_t   send;
    ngx_queue_t              sent;
    uint32_t                 send_una;       /* first not acknowledged */
    uint32_t                 send_next;      /* first not sent */
    uint32_t                 send_last;      /* end of what was written */
    uint32_t                 send_edge;      /* end of the peer's window */
    uint32_t                 send_window;    /* the largest of the peer */
    uint32_t                 flying;         /* sent, not acknowledged */

    uint64_t                 pace;           /* what may be sent now */
    uint32_t                 pace_time;

    uint32_t                 tick;
    uint32_t                 tick_sent;
    uint32_t                 tick_lost;
    uint32_t                 control;        /* congestion: for a tti */

    uint32_t                 srtt;           /* 0: not measured */
    uint32_t                 rttvar;
    uint32_t                 rto;

    uint32_t                 order;          /* of sending, of all copies */
    uint32_t                 arrived;        /* the largest that has come */
    uint32_t                 arrival;        /* when we knew, */
    uint32_t                 lost;           /* what is before is lost */
    uint32_t                 fast;           /* fast resends, */
    uint32_t                 early;          /* and those that need not be */

    ngx_vmess_kcp_window_t   receive;
    size_t                   receive_size;   /* of payload */
    size_t                   receive_pos;    /* read of the first segment */
    uint32_t                 receive_una;    /* the peer's send_una */
    uint32_t                 receive_read;   /* first not read */
    uint32_t                 receive_next;   /* first that has not come */
    uint32_t                 receive_last;   /* end of what has come */
    uint32_t                 receive_edge;   /* end of window, as sent */

    uint32_t                 ack_time;       /* of the last Ack */
    uint32_t                 ack_repeat;     /* ms after it */
    uint32_t                 ack_next;       /* next number to list */
    uint32_t                 ack_timestamp;

    unsigned                 small:1;        /* little is held for it */
    unsigned                 mute:1;         /* nothing is sent */
    unsigned                 validated:1;    /* the peer has its address */
    unsigned                 closed:1;       /* by ngx_vmess_kcp_close() */
    unsigned                 ack:1;          /* something came */
    unsigned                 ack_fresh:1;    /* ack_timestamp is of it */
    unsigned                 acking:1;       /* Acks are being sent */
    unsigned                 acked:1;        /* send_una moved */
    unsigned                 any:1;          /* receive_next moved once */
    unsigned                 pong:1;         /* a ping is to be answered */
} ngx_vmess_kcp_t;


#define NGX_VMESS_KCP_EDGE         32        /* of a window before the first
                                                Ack */
#define NGX_VMESS_KCP_RTO          100       /* ms, before it is measured */
#define NGX_VMESS_KCP_PACE         2         /* ms that a burst stands for */
#define NGX_VMESS_KCP_NEVER        0xffffffff

#define ngx_vmess_kcp_before(a, b)  ((int32_t) ((a) - (b)) < 0)

/* ms that are left of a timeout */

#define ngx_vmess_kcp_left(kcp, since, timeout)                               \
    (((kcp)->now - (since) >= (uint32_t) (timeout))                           \
     ? 0 : (uint32_t) (timeout) - ((kcp)->now - (since)))

#define ngx_vmess_kcp_opt(kcp)                                                \
    (((kcp)->state == ngx_vmess_kcp_closing) ? NGX_VMESS_KCP_OPT_CLOSE : 0)

#define ngx_vmess_kcp_slot(w, number)  (w)->slot[(number) & ((w)->size - 1)]

#define ngx_vmess_kcp_payload(data)  ((u_char *) (data) + sizeof(*(data)))


#endif /* _NGX_VMESS_KCP_TYPES_H_INCLUDED_ */
