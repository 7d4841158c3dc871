
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ifaddrs.h>
#include "ngx_stream_vmess_private.h"


typedef struct {
    uint32_t                   addr;
    ngx_uint_t                 bits;
} ngx_stream_vmess_private_range_t;


static ngx_uint_t ngx_stream_vmess_private_ipv4(ngx_stream_session_t *s,
    u_char *ipv4);
static ngx_uint_t ngx_stream_vmess_private_own(ngx_stream_session_t *s,
    u_char *addr);
static ngx_uint_t ngx_stream_vmess_private_find(
    ngx_stream_vmess_main_conf_t *vmcf, u_char *addr);


/*
 * Targets that a client must not reach through us unless allowed: RFC 6890,
 * and metadata services of clouds outside those ranges.
 */

static ngx_stream_vmess_private_range_t  ngx_stream_vmess_private_ranges[] = {
    { 0x00000000, 8 },                 /* 0.0.0.0, unspecified */
    { 0x0a000000, 8 },                 /* 10.0.0.0, RFC 1918 */
    { 0x64400000, 10 },                /* 100.64.0.0, RFC 6598, CGNAT */
    { 0x7f000000, 8 },                 /* 127.0.0.0, loopback */
    { 0xa83f8110, 32 },                /* 168.63.129.16, metadata in Azure */
    { 0xa9fe0000, 16 },                /* 169.254.0.0, link-local, metadata */
    { 0xac100000, 12 },                /* 172.16.0.0, RFC 1918 */
    { 0xc0000000, 24 },                /* 192.0.0.0, metadata in Oracle Cloud */
    { 0xc0a80000, 16 },                /* 192.168.0.0, RFC 1918 */
    { 0xc6120000, 15 },                /* 198.18.0.0, RFC 2544, benchmarks */
    { 0xe0000000, 3 }                  /* 224.0.0.0, multicast, reserved */
};


ngx_int_t
ngx_stream_vmess_private_init(ngx_conf_t *cf)
{
    u_char                        *p, addr[16];
#if (NGX_HAVE_INET6)
    ngx_uint_t                     i;
    struct sockaddr_in6           *mask;
#endif
    struct ifaddrs                *ifaddrs, *ifa;
    ngx_stream_vmess_main_conf_t  *vmcf;

    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    if (ngx_array_init(&vmcf->addrs, cf->pool, 8, 16) != NGX_OK) {
        return NGX_ERROR;
    }

    if (getifaddrs(&ifaddrs) == -1) {
        vmcf->ipv6 = 1;

        ngx_log_error(NGX_LOG_WARN, cf->log, ngx_errno,
                      "getifaddrs() failed, \"private\" in rules does not have "
                      "the addresses of this machine");
        return NGX_OK;
    }

    for (ifa = ifaddrs; ifa; ifa = ifa->ifa_next) {

        if (ifa->ifa_addr == NULL
            || ngx_vmess_address_mapped(ifa->ifa_addr, addr) != NGX_OK)
        {
            continue;
        }

        p = ngx_array_push(&vmcf->addrs);
        if (p == NULL) {
            freeifaddrs(ifaddrs);
            return NGX_ERROR;
        }

        ngx_memcpy(p, addr, 16);

#if (NGX_HAVE_INET6)

        /* RFC 4291, 2.5.4.  Global Unicast Addresses */

        if (ifa->ifa_addr->sa_family == AF_INET6 && (addr[0] & 0xe0) == 0x20) {
            vmcf->ipv6 = 1;
        }

        mask = (struct sockaddr_in6 *) ifa->ifa_netmask;

        if (ifa->ifa_addr->sa_family != AF_INET6 || mask == NULL
            || mask->sin6_addr.s6_addr[15] != 0)
        {
            continue;
        }

        /* RFC 4291, 2.6.1: the anycast address of routers, if it is one */

        p = ngx_array_push(&vmcf->addrs);
        if (p == NULL) {
            freeifaddrs(ifaddrs);
            return NGX_ERROR;
        }

        for (i = 0; i < 16; i++) {
            p[i] = addr[i] & mask->sin6_addr.s6_addr[i];
        }

#endif
    }

    freeifaddrs(ifaddrs);

    return NGX_OK;
}


ngx_uint_t
ngx_stream_vmess_private(ngx_stream_session_t *s, struct sockaddr *sockaddr)
{
    u_char               *p;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
    static u_char         nat64[] = { 0x00, 0x64, 0xff, 0x9b };
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        p = sin6->sin6_addr.s6_addr;

        /* ULA; link-local and site-local; multicast */

        if ((p[0] & 0xfe) == 0xfc
            || (p[0] == 0xfe && (p[1] & 0x80) == 0x80)
            || p[0] == 0xff)
        {
            return 1;
        }

        /* unspecified, loopback, IPv4-compatible, IPv4-mapped, RFC 2765 */

        if (IN6_IS_ADDR_V4COMPAT(&sin6->sin6_addr)
            || IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr)
            || IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)
            || IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)
            || (ngx_memcmp(p, "\0\0\0\0\0\0\0\0\xff\xff\0\0", 12) == 0))
        {
            return ngx_stream_vmess_private_ipv4(s, p + 12);
        }

        /* RFC 6052 and RFC 8215, NAT64 */

        if (ngx_memcmp(p, nat64, sizeof(nat64)) == 0) {
            return p[5] == 1 || ngx_stream_vmess_private_ipv4(s, p + 12);
        }

        /* RFC 3056, 6to4 */

        if (p[0] == 0x20 && p[1] == 0x02) {
            return ngx_stream_vmess_private_ipv4(s, p + 2);
        }

        /* RFC 4380, Teredo: not a way to reach anybody today */

        if (p[0] == 0x20 && p[1] == 0x01 && p[2] == 0 && p[3] == 0) {
            return 1;
        }

        return ngx_stream_vmess_private_own(s, p);
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return ngx_stream_vmess_private_ipv4(s, (u_char *) &sin->sin_addr);

    default:
        return 1;
    }
}


static ngx_uint_t
ngx_stream_vmess_private_ipv4(ngx_stream_session_t *s, u_char *ipv4)
{
    u_char                             addr[16];
    uint32_t                           a;
    ngx_uint_t                         i;
    ngx_stream_vmess_private_range_t  *range;

    a = (uint32_t) ipv4[0] << 24 | ipv4[1] << 16 | ipv4[2] << 8 | ipv4[3];

    range = ngx_stream_vmess_private_ranges;

    for (i = 0;
         i < sizeof(ngx_stream_vmess_private_ranges)
             / sizeof(ngx_stream_vmess_private_range_t);
         i++)
    {
        if ((a ^ range[i].addr) >> (32 - range[i].bits) == 0) {
            return 1;
        }
    }

    ngx_memzero(addr, 10);
    ngx_memset(addr + 10, 0xff, 2);
    ngx_memcpy(addr + 12, ipv4, 4);

    return ngx_stream_vmess_private_own(s, addr);
}


/* an address of this machine, and the one that the client connected to */

static ngx_uint_t
ngx_stream_vmess_private_own(ngx_stream_session_t *s, u_char *addr)
{
    u_char                         local[16];
    ngx_stream_vmess_main_conf_t  *vmcf;

    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    if (ngx_stream_vmess_private_find(vmcf, addr)) {
        return 1;
    }

    /* it may have been added since */

    return ngx_vmess_address_mapped(s->connection->local_sockaddr, local)
           == NGX_OK
           && ngx_memcmp(local, addr, 16) == 0;
}


static ngx_uint_t
ngx_stream_vmess_private_find(ngx_stream_vmess_main_conf_t *vmcf, u_char *addr)
{
    u_char      *p;
    ngx_uint_t   i;

    p = vmcf->addrs.elts;

    for (i = 0; i < vmcf->addrs.nelts; i++, p += 16) {
        if (ngx_memcmp(p, addr, 16) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_stream_vmess_private_local(ngx_stream_vmess_main_conf_t *vmcf,
    struct sockaddr *sockaddr)
{
    u_char  addr[16];

    /* all of 127/8 is local */

    return ngx_vmess_address_mapped(sockaddr, addr) == NGX_OK
           && ((sockaddr->sa_family == AF_INET && addr[12] == 127)
               || ngx_stream_vmess_private_find(vmcf, addr));
}
