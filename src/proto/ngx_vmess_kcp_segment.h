
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_SEGMENT_H_INCLUDED_
#define _NGX_VMESS_KCP_SEGMENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* commands of segments; those not named are like a ping */

#define NGX_VMESS_KCP_ACK             0
#define NGX_VMESS_KCP_DATA            1
#define NGX_VMESS_KCP_TERMINATE       2
#define NGX_VMESS_KCP_PING            3

#define NGX_VMESS_KCP_OPT_CLOSE       0x01

/* size of segments, without payload or numbers */

#define NGX_VMESS_KCP_DATA_LEN        18
#define NGX_VMESS_KCP_ACK_LEN         17
#define NGX_VMESS_KCP_COMMAND_LEN     16

#define NGX_VMESS_KCP_NUMBER_LEN      4
#define NGX_VMESS_KCP_NUMBERS_MAX     128    /* of an Ack that we send */


typedef struct {
    ngx_uint_t         conv;
    ngx_uint_t         command;              /* NGX_VMESS_KCP_... */
    ngx_uint_t         opt;

    uint32_t           timestamp;            /* Data, Ack */
    uint32_t           number;               /* Data */
    uint32_t           sending_next;         /* Data, commands */
    uint32_t           receiving_next;       /* Ack, commands */
    uint32_t           receiving_window;     /* Ack */
    uint32_t           rto;                  /* commands; ms */

    /* payload of Data, NGX_VMESS_KCP_NUMBER_LEN bytes for each of an Ack */

    ngx_str_t          data;
} ngx_vmess_kcp_segment_t;


/*
 * Parses the segment at *p, of which last - *p bytes are there; on NGX_OK
 * moves *p past it.  Fields that it has not are zero.
 *
 * NGX_OK        valid, seg->data points into it
 * NGX_DECLINED  the rest of the datagram is not a segment
 */
ngx_int_t ngx_vmess_kcp_segment_parse(ngx_vmess_kcp_segment_t *seg, u_char **p,
    u_char *last);

/*
 * Creates a segment at p and returns its end.  seg->data is copied, unless it
 * is there already.
 */
u_char *ngx_vmess_kcp_segment_create(u_char *p, ngx_vmess_kcp_segment_t *seg);


/* numbers as they are on the wire; put returns the end */

static ngx_inline uint32_t
ngx_vmess_kcp_segment_get32(const u_char *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


static ngx_inline u_char *
ngx_vmess_kcp_segment_put16(u_char *p, ngx_uint_t n)
{
    *p++ = (u_char) (n >> 8);
    *p++ = (u_char) n;

    return p;
}


static ngx_inline u_char *
ngx_vmess_kcp_segment_put32(u_char *p, uint32_t n)
{
    *p++ = (u_char) (n >> 24);
    *p++ = (u_char) (n >> 16);
    *p++ = (u_char) (n >> 8);
    *p++ = (u_char) n;

    return p;
}


#endif /* _NGX_VMESS_KCP_SEGMENT_H_INCLUDED_ */
