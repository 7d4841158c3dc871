
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_PACKET_H_INCLUDED_
#define _NGX_VMESS_KCP_PACKET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_aead.h"


/* what protects a datagram */

#define NGX_VMESS_KCP_SEAL_NONE         0      /* bare segments */
#define NGX_VMESS_KCP_SEAL_SIMPLE       1      /* a check sum, no key */
#define NGX_VMESS_KCP_SEAL_GCM          2      /* AES-128-GCM, key of a seed */

/* what it looks like */

#define NGX_VMESS_KCP_HEADER_NONE       0
#define NGX_VMESS_KCP_HEADER_SRTP       1
#define NGX_VMESS_KCP_HEADER_UTP        2
#define NGX_VMESS_KCP_HEADER_WECHAT     3
#define NGX_VMESS_KCP_HEADER_DTLS       4
#define NGX_VMESS_KCP_HEADER_WIREGUARD  5
#define NGX_VMESS_KCP_HEADER_DNS        6

#define NGX_VMESS_KCP_DOMAIN_MAX      253
#define NGX_VMESS_KCP_HEADER_MAX                                              \
    (12 + 1 + NGX_VMESS_KCP_DOMAIN_MAX + 1 + 4)

/* what ngx_vmess_kcp_packet_t has before and after segments, at most */

#define NGX_VMESS_KCP_HEAD_MAX                                                \
    (NGX_VMESS_KCP_HEADER_MAX + NGX_VMESS_NONCE_LEN)
#define NGX_VMESS_KCP_TAIL_MAX        NGX_VMESS_TAG_LEN

/* random bytes for one datagram */

#define NGX_VMESS_KCP_RANDOM_LEN      (NGX_VMESS_NONCE_LEN + 2)


/*
 * Seal and disguise of the datagrams of a listening socket.  As with peers,
 * counters in headers go on over all its sessions.
 */

typedef struct {
    ngx_uint_t         seal;                 /* NGX_VMESS_KCP_SEAL_... */
    ngx_uint_t         header;               /* NGX_VMESS_KCP_HEADER_... */

    size_t             head;                 /* bytes before segments */
    size_t             tail;                 /* and after them */

    ngx_vmess_aead_t   out;
    ngx_vmess_aead_t   in;

    uint32_t           number;
    ngx_uint_t         length;
    size_t             header_len;
    u_char             data[NGX_VMESS_KCP_HEADER_MAX];
} ngx_vmess_kcp_packet_t;


/*
 * Prepares packet, which is zeroed.
 *
 * seed    of NGX_VMESS_KCP_SEAL_GCM, else not used
 * domain  of NGX_VMESS_KCP_HEADER_DNS, else not used; it may be empty
 * start   random, of 16 bits: where counters start
 *
 * NGX_OK
 * NGX_DECLINED  no such domain: it or one of its labels is too long
 * NGX_ERROR     libcrypto failed
 */
ngx_int_t ngx_vmess_kcp_packet_init(ngx_vmess_kcp_packet_t *packet,
    ngx_uint_t seal, ngx_str_t *seed, ngx_uint_t header, ngx_str_t *domain,
    ngx_uint_t start);

/* frees keys; packet may be zeroed */
void ngx_vmess_kcp_packet_cleanup(ngx_vmess_kcp_packet_t *packet);

/*
 * Takes the segments out of a datagram, which is opened in place.  The
 * disguise is not looked at, as no peer does: only its size counts.
 *
 * NGX_OK        out points into the datagram and is not empty
 * NGX_DECLINED  the datagram must be dropped in silence
 * NGX_ERROR     libcrypto failed
 */
ngx_int_t ngx_vmess_kcp_packet_open(ngx_vmess_kcp_packet_t *packet, u_char *p,
    size_t len, ngx_str_t *out);

/*
 * Makes a datagram of len bytes of segments at p, in place: it starts
 * packet->head bytes before p and ends packet->tail bytes after its data.
 * random is NGX_VMESS_KCP_RANDOM_LEN bytes.  len is at most 65535.
 *
 * NGX_OK or NGX_ERROR (libcrypto failed).
 */
ngx_int_t ngx_vmess_kcp_packet_seal(ngx_vmess_kcp_packet_t *packet, u_char *p,
    size_t len, const u_char *random);


#endif /* _NGX_VMESS_KCP_PACKET_H_INCLUDED_ */
