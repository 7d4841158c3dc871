
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_packetaddr.h"


/* the prefix of a datagram, read and created again */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char               *copy, *p, *q, buf[NGX_VMESS_PACKETADDR_MAX];
    size_t                used;
    ngx_int_t             rc;
    ngx_sockaddr_t        sa;
    ngx_vmess_address_t   address;

    copy = fuzz_copy(data, size);
    p = copy;

    rc = ngx_vmess_packetaddr_parse(&address, &p, copy + size);

    used = p - copy;

    fuzz_check(rc == NGX_OK || rc == NGX_ERROR);
    fuzz_check((rc == NGX_ERROR) == (address.err != NULL));

    if (rc == NGX_ERROR) {
        fuzz_check(used == 0);
        free(copy);
        return 0;
    }

    fuzz_check(used == 7 || used == 19);
    fuzz_check(used <= size);

    switch (address.type) {

    case NGX_VMESS_ADDR_IPV6:
        fuzz_check(ngx_memcmp(address.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff",
                              12) != 0);
        break;

    default:
        fuzz_check(address.type == NGX_VMESS_ADDR_IPV4);
    }

    (void) ngx_vmess_address_sockaddr(&address, &sa);

    q = ngx_vmess_packetaddr_create(buf + sizeof(buf), &sa.sockaddr);

    fuzz_check(q >= buf && q < buf + sizeof(buf));

    if ((size_t) (buf + sizeof(buf) - q) == used) {
        fuzz_check(ngx_memcmp(q, copy, used) == 0);

    } else {

        /* IPv4-mapped */

        fuzz_check(used == 19 && buf + sizeof(buf) - q == 7);
        fuzz_check(ngx_memcmp(q + 1, copy + 1 + 12, 6) == 0);
    }

    free(copy);

    return 0;
}
