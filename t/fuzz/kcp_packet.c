
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_kcp_packet.h"
#include "ngx_vmess_kcp_segment.h"


#define FUZZ_SEALS    3
#define FUZZ_HEADERS  7


static void fuzz_segments(u_char *p, size_t len);
static void fuzz_seal(ngx_vmess_kcp_packet_t *packet, const uint8_t *data,
    size_t size);
static void fuzz_domain(const uint8_t *data, size_t size);


/*
 * The first byte chooses seal and disguise of the rest, which is a datagram
 * to open and then a payload to seal; a domain; or 255, and the rest is
 * segments.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_str_t                seed, domain, out;
    ngx_uint_t               kind;
    ngx_vmess_kcp_packet_t   packet;

    if (size == 0) {
        return 0;
    }

    kind = *data++;
    size--;

    if (kind == 254) {
        fuzz_domain(data, size);
        return 0;
    }

    p = fuzz_copy(data, size);

    if (kind == 255) {
        fuzz_segments(p, size);
        free(p);
        return 0;
    }

    kind %= FUZZ_SEALS * FUZZ_HEADERS;

    ngx_memzero(&packet, sizeof(ngx_vmess_kcp_packet_t));
    ngx_str_set(&seed, "correct horse battery");
    ngx_str_set(&domain, "www.example.org");

    rc = ngx_vmess_kcp_packet_init(&packet, kind % FUZZ_SEALS, &seed,
                                   kind / FUZZ_SEALS, &domain, 0xffff);

    fuzz_check(rc == NGX_OK);

    rc = ngx_vmess_kcp_packet_open(&packet, p, size, &out);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_OK) {
        fuzz_check(out.data == p + packet.head && out.len);
        fuzz_check(packet.head + out.len + packet.tail == size);

        fuzz_segments(out.data, out.len);
    }

    free(p);

    fuzz_seal(&packet, data, size);

    ngx_vmess_kcp_packet_cleanup(&packet);

    return 0;
}


/* what is created of parsed segments is the same bytes */

static void
fuzz_segments(u_char *p, size_t len)
{
    u_char                   *last, *start, *end, *copy;
    ngx_vmess_kcp_segment_t   seg;

    last = p + len;

    for (start = p;
         ngx_vmess_kcp_segment_parse(&seg, &p, last) == NGX_OK;
         start = p)
    {
        fuzz_check(p - start >= NGX_VMESS_KCP_COMMAND_LEN && p <= last);
        fuzz_check(seg.data.data >= start);
        fuzz_check(seg.data.data + seg.data.len == p);

        copy = malloc(p - start);
        fuzz_check(copy != NULL);

        end = ngx_vmess_kcp_segment_create(copy, &seg);

        fuzz_check(end - copy == p - start);
        fuzz_check(ngx_memcmp(copy, start, p - start) == 0);

        free(copy);
    }

    fuzz_check(p == start);
}


/* what is sealed opens, twice, as counters go on */

static void
fuzz_seal(ngx_vmess_kcp_packet_t *packet, const uint8_t *data, size_t size)
{
    size_t      len;
    u_char     *room;
    ngx_str_t   out;
    ngx_uint_t  i;

    static const u_char  random[NGX_VMESS_KCP_RANDOM_LEN];

    if (size == 0) {
        return;
    }

    len = packet->head + size + packet->tail;

    for (i = 0; i < 2; i++) {
        room = malloc(len);
        fuzz_check(room != NULL);

        ngx_memcpy(room + packet->head, data, size);

        fuzz_check(ngx_vmess_kcp_packet_seal(packet, room + packet->head,
                                             size, random)
                   == NGX_OK);

        fuzz_check(ngx_vmess_kcp_packet_open(packet, room, len, &out)
                   == NGX_OK);

        fuzz_check(out.len == size);
        fuzz_check(ngx_memcmp(out.data, data, size) == 0);

        free(room);
    }
}


static void
fuzz_domain(const uint8_t *data, size_t size)
{
    ngx_int_t                rc;
    ngx_str_t                domain;
    ngx_vmess_kcp_packet_t   packet;

    ngx_memzero(&packet, sizeof(ngx_vmess_kcp_packet_t));

    domain.data = fuzz_copy(data, size);
    domain.len = size;

    rc = ngx_vmess_kcp_packet_init(&packet, NGX_VMESS_KCP_SEAL_NONE, NULL,
                                   NGX_VMESS_KCP_HEADER_DNS, &domain, 0);

    if (rc == NGX_OK) {
        fuzz_check(packet.head == 12 + 1 + size + 1 + 4);
        fuzz_check(packet.head <= NGX_VMESS_KCP_HEADER_MAX);

    } else {
        fuzz_check(rc == NGX_DECLINED);
    }

    free(domain.data);
}
