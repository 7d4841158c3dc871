
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_packetaddr.h"


/* a datagram whose prefix is wrong */

typedef struct {
    const char  *name;
    const char  *wire;
    size_t       len;
    const char  *err;
} test_bad_t;


#define test_bytes(s)  s, sizeof(s) - 1


static void test_good(void);
static void test_bad(void);
static char *test_text(char *text, ngx_vmess_address_t *address);
static struct sockaddr *test_sockaddr(ngx_vmess_address_t *address);


int
main(void)
{
    test_good();
    test_bad();

    return test_done();
}


/* a prefix with data behind it is read, and ours is the same */

static void
test_good(void)
{
    char                  text[64];
    u_char               *wire, *p, buf[NGX_VMESS_PACKETADDR_MAX + 2];
    size_t                n;
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_vmess_address_t   address;

    static const struct {
        const char  *host;
        size_t       n;
        const char  *wire;
        size_t       len;
    } cases[] = {
        { "1.2.3.4:80", 7, test_bytes("\1\1\2\3\4\0\x50" "data") },
        { "1.2.3.4:65535", 7, test_bytes("\1\1\2\3\4\xff\xff") },
        { "0.0.0.0:0", 7, test_bytes("\1\0\0\0\0\0\0\0") },
        { "[2001:db8::1]:443", 19,
          test_bytes("\2\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\1\xbb" "data") },
        { "[::]:53", 19,
          test_bytes("\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x35") },

        /* as an address in a header; created as IPv4, so it differs */

        { "127.0.0.1:53", 0,
          test_bytes("\2\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1\0\x35") }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        wire = test_copy(cases[i].wire, cases[i].len);
        p = wire;
        n = cases[i].n ? cases[i].n : 19;

        ngx_memset(&address, 0xa5, sizeof(ngx_vmess_address_t));

        rc = ngx_vmess_packetaddr_parse(&address, &p,
                                            wire + cases[i].len);

        test_ok(rc == NGX_OK && (size_t) (p - wire) == n
                && address.err == NULL
                && strcmp(test_text(text, &address), cases[i].host) == 0,
                "packetaddr of %s", cases[i].host);

        free(wire);

        if (cases[i].n == 0) {
            continue;
        }

        ngx_memset(buf, 0xaa, sizeof(buf));

        p = ngx_vmess_packetaddr_create(buf + sizeof(buf) - 1,
                                            test_sockaddr(&address));

        test_ok(p == buf + sizeof(buf) - 1 - n
                && ngx_memcmp(p, cases[i].wire, n) == 0
                && p[-1] == 0xaa && buf[sizeof(buf) - 1] == 0xaa,
                "packetaddr of %s: created", cases[i].host);
    }

    /* a reply that a socket of both families got */

    address.type = NGX_VMESS_ADDR_IPV6;
    address.port = 53;
    ngx_memcpy(address.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);

    p = ngx_vmess_packetaddr_create(buf + sizeof(buf),
                                        test_sockaddr(&address));

    test_ok(p == buf + sizeof(buf) - 7
            && ngx_memcmp(p, "\1\x7f\0\0\1\0\x35", 7) == 0,
            "packetaddr of an IPv4-mapped address: created");
}


static void
test_bad(void)
{
    u_char               *wire, *p, buf[NGX_VMESS_PACKETADDR_MAX];
    ngx_int_t             rc;
    ngx_uint_t            i;
    struct sockaddr       sa;
    ngx_vmess_address_t   address;

    static const test_bad_t  bads[] = {
        { "nothing", test_bytes(""), "no address" },
        { "type 0", test_bytes("\0\1\2\3\4\0\x50"), "unknown address type" },
        { "type 3", test_bytes("\3" "0123456789abcdef" "\0\x50"),
          "unknown address type" },
        { "type only", test_bytes("\1"), "address is longer than datagram" },
        { "half an address", test_bytes("\1\1\2"),
          "address is longer than datagram" },
        { "no port", test_bytes("\1\1\2\3\4"),
          "address is longer than datagram" },
        { "half a port", test_bytes("\1\1\2\3\4\0"),
          "address is longer than datagram" },
        { "IPv4 as IPv6", test_bytes("\2\1\2\3\4\0\x50"),
          "address is longer than datagram" },
        { "half a port of IPv6", test_bytes("\2" "0123456789abcdef" "\0"),
          "address is longer than datagram" }
    };

    for (i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {

        wire = test_copy(bads[i].wire, bads[i].len);
        p = wire;

        rc = ngx_vmess_packetaddr_parse(&address, &p,
                                            wire + bads[i].len);

        test_ok(rc == NGX_ERROR && p == wire && address.err
                && strcmp(address.err, bads[i].err) == 0,
                "packetaddr: %s", bads[i].name);

        free(wire);
    }

    ngx_memzero(&sa, sizeof(struct sockaddr));
    sa.sa_family = AF_UNIX;

    test_ok(ngx_vmess_packetaddr_create(buf + sizeof(buf), &sa) == NULL
            && ngx_vmess_packetaddr_create(buf + sizeof(buf), NULL)
               == NULL,
            "packetaddr of another family");
}


static char *
test_text(char *text, ngx_vmess_address_t *address)
{
    int   family;
    char  addr[INET6_ADDRSTRLEN];

    family = (address->type == NGX_VMESS_ADDR_IPV4) ? AF_INET : AF_INET6;

    inet_ntop(family, address->addr, addr, sizeof(addr));

    sprintf(text, family == AF_INET ? "%s:%u" : "[%s]:%u", addr,
            address->port);

    return text;
}


static struct sockaddr *
test_sockaddr(ngx_vmess_address_t *address)
{
    static ngx_sockaddr_t  sa;

    (void) ngx_vmess_address_sockaddr(address, &sa);

    return &sa.sockaddr;
}
