
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_packet.h"
#include "ngx_vmess_kcp_segment.h"
#include "ngx_vmess_hash.h"


#define NGX_VMESS_KCP_SIMPLE_LEN      6      /* hash and length */
#define NGX_VMESS_KCP_LABEL_MAX       63

#define NGX_VMESS_KCP_DTLS_LENGTH     17     /* a made up length of a record */
#define NGX_VMESS_KCP_DTLS_MAX        100
#define NGX_VMESS_KCP_DTLS_BACK       50


static ngx_int_t ngx_vmess_kcp_packet_domain(ngx_vmess_kcp_packet_t *packet,
    ngx_str_t *domain);
static void ngx_vmess_kcp_packet_header(ngx_vmess_kcp_packet_t *packet,
    u_char *p, const u_char *random);
static ngx_int_t ngx_vmess_kcp_packet_simple_open(u_char *p, size_t len);
static void ngx_vmess_kcp_packet_simple_seal(u_char *p, size_t len);


/* disguises before their first datagram */

static const struct {
    size_t   len;
    u_char   data[13];
} ngx_vmess_kcp_packet_headers[] = {

    { 0, { 0 } },

    /* srtp: a sequence number */
    { 4, { 0xb5, 0xe8, 0, 0 } },

    /* utp: a connection id, DATA of version 0 */
    { 4, { 0, 0, 1, 0 } },

    /* wechat-video: a sequence number */
    { 13, { 0xa1, 0x08, 0, 0, 0, 0, 0, 0x10, 0x11, 0x18, 0x30, 0x22, 0x30 } },

    /* dtls 1.2, application data: epoch, sequence number, length */
    { 13, { 0x17, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },

    /* wireguard: data */
    { 4, { 0x04, 0, 0, 0 } },

    /* dns: id, a standard query with one question, which is added */
    { 12, { 0, 0, 0x01, 0, 0, 0x01, 0, 0, 0, 0, 0, 0 } }
};


ngx_int_t
ngx_vmess_kcp_packet_init(ngx_vmess_kcp_packet_t *packet, ngx_uint_t seal,
    ngx_str_t *seed, ngx_uint_t header, ngx_str_t *domain, ngx_uint_t start)
{
    u_char     hash[32];
    ngx_int_t  rc;

    packet->seal = seal;
    packet->header = header;

    packet->header_len = ngx_vmess_kcp_packet_headers[header].len;
    ngx_memcpy(packet->data, ngx_vmess_kcp_packet_headers[header].data,
               packet->header_len);

    switch (header) {

    case NGX_VMESS_KCP_HEADER_SRTP:
    case NGX_VMESS_KCP_HEADER_WECHAT:
        packet->number = (uint32_t) start;
        break;

    case NGX_VMESS_KCP_HEADER_UTP:
        (void) ngx_vmess_kcp_segment_put16(packet->data, start);
        break;

    case NGX_VMESS_KCP_HEADER_DTLS:
        (void) ngx_vmess_kcp_segment_put16(packet->data + 3, start);
        packet->length = NGX_VMESS_KCP_DTLS_LENGTH;
        break;

    case NGX_VMESS_KCP_HEADER_DNS:
        if (ngx_vmess_kcp_packet_domain(packet, domain) != NGX_OK) {
            return NGX_DECLINED;
        }

        break;
    }

    packet->head = packet->header_len;
    packet->tail = 0;

    if (seal == NGX_VMESS_KCP_SEAL_SIMPLE) {
        packet->head += NGX_VMESS_KCP_SIMPLE_LEN;
    }

    if (seal != NGX_VMESS_KCP_SEAL_GCM) {
        return NGX_OK;
    }

    packet->head += NGX_VMESS_NONCE_LEN;
    packet->tail = NGX_VMESS_TAG_LEN;

    ngx_vmess_hash_sha256(hash, seed->data, seed->len);

    rc = ngx_vmess_aead_init(&packet->out, NGX_VMESS_SEC_AES_128_GCM, hash, 1);

    if (rc == NGX_OK) {
        rc = ngx_vmess_aead_init(&packet->in, NGX_VMESS_SEC_AES_128_GCM, hash,
                                 0);
    }

    ngx_explicit_memzero(hash, sizeof(hash));

    return rc;
}


/* as Xray does: a label for each dot, and one after the last */

static ngx_int_t
ngx_vmess_kcp_packet_domain(ngx_vmess_kcp_packet_t *packet, ngx_str_t *domain)
{
    u_char  *p, *length, *name, *last;

    if (domain->len > NGX_VMESS_KCP_DOMAIN_MAX) {
        return NGX_DECLINED;
    }

    p = packet->data + packet->header_len;
    length = p++;

    name = domain->data;
    last = name + domain->len;

    for ( /* void */ ; name < last; name++) {

        if (*name != '.') {
            *p++ = *name;
            continue;
        }

        if (p - length - 1 > NGX_VMESS_KCP_LABEL_MAX) {
            return NGX_DECLINED;
        }

        *length = (u_char) (p - length - 1);
        length = p++;
    }

    if (p - length - 1 > NGX_VMESS_KCP_LABEL_MAX) {
        return NGX_DECLINED;
    }

    *length = (u_char) (p - length - 1);
    *p++ = 0;

    /* A, IN */

    p = ngx_vmess_kcp_segment_put16(p, 1);
    p = ngx_vmess_kcp_segment_put16(p, 1);

    packet->header_len = p - packet->data;

    return NGX_OK;
}


void
ngx_vmess_kcp_packet_cleanup(ngx_vmess_kcp_packet_t *packet)
{
    ngx_vmess_aead_cleanup(&packet->out);
    ngx_vmess_aead_cleanup(&packet->in);
}


ngx_int_t
ngx_vmess_kcp_packet_open(ngx_vmess_kcp_packet_t *packet, u_char *p,
    size_t len, ngx_str_t *out)
{
    ngx_int_t  rc;

    if (len <= packet->head + packet->tail) {
        return NGX_DECLINED;
    }

    out->data = p + packet->head;
    out->len = len - packet->head - packet->tail;

    p += packet->header_len;
    len -= packet->header_len;

    switch (packet->seal) {

    case NGX_VMESS_KCP_SEAL_GCM:
        rc = ngx_vmess_aead_open(&packet->in, p, NULL, 0, out->data,
                                 out->len + packet->tail, out->data);
        break;

    case NGX_VMESS_KCP_SEAL_SIMPLE:
        rc = ngx_vmess_kcp_packet_simple_open(p, len);
        break;

    default: /* NGX_VMESS_KCP_SEAL_NONE */
        rc = NGX_OK;
        break;
    }

    return rc;
}


ngx_int_t
ngx_vmess_kcp_packet_seal(ngx_vmess_kcp_packet_t *packet, u_char *p,
    size_t len, const u_char *random)
{
    u_char  *start;

    start = p - packet->head;

    ngx_vmess_kcp_packet_header(packet, start, random + NGX_VMESS_NONCE_LEN);

    start += packet->header_len;

    switch (packet->seal) {

    case NGX_VMESS_KCP_SEAL_GCM:
        ngx_memcpy(start, random, NGX_VMESS_NONCE_LEN);

        return ngx_vmess_aead_seal(&packet->out, start, NULL, 0, p, len, p);

    case NGX_VMESS_KCP_SEAL_SIMPLE:
        ngx_vmess_kcp_packet_simple_seal(start, len + NGX_VMESS_KCP_SIMPLE_LEN);
        break;
    }

    return NGX_OK;
}


static void
ngx_vmess_kcp_packet_header(ngx_vmess_kcp_packet_t *packet, u_char *p,
    const u_char *random)
{
    ngx_memcpy(p, packet->data, packet->header_len);

    switch (packet->header) {

    case NGX_VMESS_KCP_HEADER_SRTP:
        (void) ngx_vmess_kcp_segment_put16(p + 2, ++packet->number);
        break;

    case NGX_VMESS_KCP_HEADER_WECHAT:
        (void) ngx_vmess_kcp_segment_put32(p + 2, ++packet->number);
        break;

    case NGX_VMESS_KCP_HEADER_DTLS:
        (void) ngx_vmess_kcp_segment_put32(p + 7, packet->number++);
        (void) ngx_vmess_kcp_segment_put16(p + 11, packet->length);

        packet->length += NGX_VMESS_KCP_DTLS_LENGTH;

        if (packet->length > NGX_VMESS_KCP_DTLS_MAX) {
            packet->length -= NGX_VMESS_KCP_DTLS_BACK;
        }

        break;

    case NGX_VMESS_KCP_HEADER_DNS:
        ngx_memcpy(p, random, 2);
        break;
    }
}


/*
 * The simple authenticator: FNV-1a of what follows, the length, segments; each
 * byte is mixed with that four bytes before it.  It has no key and protects
 * from nothing but chance.
 */

static ngx_int_t
ngx_vmess_kcp_packet_simple_open(u_char *p, size_t len)
{
    u_char    *last;
    uint32_t   a, b;

    for (last = p + len; (last - p) % 4; last--) {
        last[-1] ^= last[-5];
    }

    for (last -= 4; last > p; last -= 4) {
        ngx_memcpy(&a, last, 4);
        ngx_memcpy(&b, last - 4, 4);
        a ^= b;
        ngx_memcpy(last, &a, 4);
    }

    if (((size_t) p[4] << 8 | p[5]) != len - NGX_VMESS_KCP_SIMPLE_LEN
        || ngx_vmess_kcp_segment_get32(p)
           != ngx_vmess_hash_fnv1a(p + 4, len - 4))
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_vmess_kcp_packet_simple_seal(u_char *p, size_t len)
{
    u_char    *last;
    uint32_t   a, b;

    (void) ngx_vmess_kcp_segment_put16(p + 4, len - NGX_VMESS_KCP_SIMPLE_LEN);
    (void) ngx_vmess_kcp_segment_put32(p, ngx_vmess_hash_fnv1a(p + 4, len - 4));

    last = p + len;
    ngx_memcpy(&a, p, 4);

    for (p += 4; last - p >= 4; p += 4) {
        ngx_memcpy(&b, p, 4);
        a ^= b;
        ngx_memcpy(p, &a, 4);
    }

    for ( /* void */ ; p < last; p++) {
        p[0] ^= p[-4];
    }
}
