
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_packetaddr.h"


#define NGX_VMESS_PACKETADDR_IPV4  1
#define NGX_VMESS_PACKETADDR_IPV6  2


/*
 * packetaddr has the port behind the address, and types of its own; everything
 * else, such as an IPv4-mapped address, is as elsewhere.
 */

ngx_int_t
ngx_vmess_packetaddr_parse(ngx_vmess_address_t *address,
    u_char **p, u_char *last)
{
    u_char  *pos, *s, buf[2 + 1 + 16];
    size_t   len;

    pos = *p;

    if (pos == last) {
        address->err = "no address";
        return NGX_ERROR;
    }

    switch (*pos++) {

    case NGX_VMESS_PACKETADDR_IPV4:
        buf[2] = NGX_VMESS_ADDR_IPV4;
        len = 4;
        break;

    case NGX_VMESS_PACKETADDR_IPV6:
        buf[2] = NGX_VMESS_ADDR_IPV6;
        len = 16;
        break;

    default:
        address->err = "unknown address type";
        return NGX_ERROR;
    }

    if ((size_t) (last - pos) < len + 2) {
        address->err = "address is longer than datagram";
        return NGX_ERROR;
    }

    buf[0] = pos[len];
    buf[1] = pos[len + 1];
    ngx_memcpy(buf + 3, pos, len);

    *p = pos + len + 2;
    s = buf;

    return ngx_vmess_address_parse(address, &s, buf + 3 + len);
}


u_char *
ngx_vmess_packetaddr_create(u_char *last, struct sockaddr *sa)
{
    u_char     *p, *start, *addr;
    size_t      n;
    in_port_t   port;

    n = ngx_vmess_address_bytes(sa, &addr, &port);

    if (n == 0) {
        return NULL;
    }

    start = last - 1 - n - 2;
    p = start;

    *p++ = (n == 4) ? NGX_VMESS_PACKETADDR_IPV4 : NGX_VMESS_PACKETADDR_IPV6;
    p = ngx_cpymem(p, addr, n);
    *p++ = (u_char) (port >> 8);
    *p = (u_char) port;

    return start;
}
