
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_address.h"

#include <arpa/inet.h>


static void test_binary(void);
static void test_domain(const char *text, const char *domain);
static void test_escape(const char *text, const char *escaped);
static void test_mapped(const char *text, const char *whole,
    const char *network);
static size_t test_wire(u_char *wire, const char *text);
static void test_text(const char *text, ngx_uint_t type, const char *addr);
static void test_bad(const u_char *p, size_t len, const char *name);


/* what a name of the wire becomes; NULL if it is refused */

static const struct {
    const char  *text;
    const char  *domain;
} test_domains[] = {
    { "a", "a" },
    { "a.b", "a.b" },
    { "WWW.Example.COM", "www.example.com" },
    { "example.com.", "example.com" },
    { "host_with_underscore.x", "host_with_underscore.x" },
    { "-.-", "-.-" },
    { "1", "1" },
    { "1.2.3", "1.2.3" },
    { "0177.0.0.1", "0177.0.0.1" },
    { "127.0.0.01", "127.0.0.01" },
    { "1.2.3.4.5", "1.2.3.4.5" },
    { "256.1.1.1", "256.1.1.1" },
    { "1.2.3.4x", "1.2.3.4x" },
    { "9.example", "9.example" },
    { "0x7f000001", "0x7f000001" },
    { "v1.mux.cool", "v1.mux.cool" },
    { "", NULL },
    { ".", NULL },
    { "..", NULL },
    { ".a", NULL },
    { "a..", NULL },
    { "a..b", NULL },
    { "a b", NULL },
    { " a", NULL },
    { "a\x01", NULL },
    { "a\x7f", NULL },
    { "\xc3\xa9", NULL },
    { "a/b", NULL },
    { "a:80", NULL },
    { "a@b", NULL },
    { ":1", NULL },
    { "fe80::1%lo", NULL },
    { "[", NULL },
    { "[]", NULL },
    { "[::1", NULL },
    { "::1]", NULL },
    { "[::1]x", NULL },
    { "[[::1]]", NULL },
    { "[a]", NULL },
    { "[::g]", NULL },
    { "1::2::3", NULL }
};


static const struct {
    const char  *text;
    ngx_uint_t   type;
    const char  *addr;
} test_texts[] = {
    { "1.2.3.4", NGX_VMESS_ADDR_IPV4, "\x01\x02\x03\x04" },
    { "127.0.0.1", NGX_VMESS_ADDR_IPV4, "\x7f\x00\x00\x01" },
    { "127.0.0.1.", NGX_VMESS_ADDR_IPV4, "\x7f\x00\x00\x01" },
    { "0.0.0.0", NGX_VMESS_ADDR_IPV4, "\x00\x00\x00\x00" },
    { "255.255.255.255", NGX_VMESS_ADDR_IPV4, "\xff\xff\xff\xff" },
    { "[255.255.255.255]", NGX_VMESS_ADDR_IPV4, "\xff\xff\xff\xff" },
    { "[1.2.3.4]", NGX_VMESS_ADDR_IPV4, "\x01\x02\x03\x04" },
    { "[::ffff:1.2.3.4]", NGX_VMESS_ADDR_IPV4, "\x01\x02\x03\x04" },
    { "[::FFFF:7f00:1]", NGX_VMESS_ADDR_IPV4, "\x7f\x00\x00\x01" },
    { "0:0:0:0:0:ffff:7f00:1", NGX_VMESS_ADDR_IPV4, "\x7f\x00\x00\x01" },
    { "[::1]", NGX_VMESS_ADDR_IPV6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" },
    { "[::]", NGX_VMESS_ADDR_IPV6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
    { "[FE80::A]", NGX_VMESS_ADDR_IPV6,
      "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a" },
    { "::1", NGX_VMESS_ADDR_IPV6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" },
    { "::", NGX_VMESS_ADDR_IPV6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
    { "FE80::A", NGX_VMESS_ADDR_IPV6,
      "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x0a" },
    { "::ffff:1.2.3.4", NGX_VMESS_ADDR_IPV4, "\x01\x02\x03\x04" },
    { "2001:db8::1", NGX_VMESS_ADDR_IPV6,
      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" }
};


int
main(void)
{
    ngx_uint_t  i;

    test_binary();

    for (i = 0; i < sizeof(test_domains) / sizeof(test_domains[0]); i++) {
        test_domain(test_domains[i].text, test_domains[i].domain);
    }

    for (i = 0; i < sizeof(test_texts) / sizeof(test_texts[0]); i++) {
        test_text(test_texts[i].text, test_texts[i].type, test_texts[i].addr);
    }

    test_escape("a b", "a\\x20b");
    test_escape("A\"\\\n", "a\\x22\\x5c\\x0a");
    test_escape("\x7f\xe2\x80\x8b", "\\x7f\\xe2\\x80\\x8b");
    test_escape("http://x", "http://x");
    test_escape("", "");

    test_mapped("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1");
    test_mapped("::ffff:192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1");
    test_mapped("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6",
                "2001:db8:1:2::");

    return test_done();
}


static void
test_escape(const char *text, const char *escaped)
{
    u_char               wire[300], *p, dst[NGX_VMESS_ADDRESS_ESCAPED];
    ngx_vmess_address_t  a;

    (void) test_wire(wire, text);
    p = wire;

    test_ok(ngx_vmess_address_parse(&a, &p, wire + sizeof(wire)) == NGX_ERROR
            && a.err != NULL,
            "\"%s\" is no domain", escaped);

    p = ngx_vmess_address_escape(&a, dst);

    test_ok((size_t) (p - dst) == strlen(escaped)
            && ngx_memcmp(dst, escaped, p - dst) == 0,
            "\"%s\" for a log", escaped);
}


/*
 * Parses len bytes and a copy of each shorter length; 1 if those asked for
 * more (or failed as the whole did) and the pointer moved on NGX_OK alone
 */

static int
test_parse(ngx_vmess_address_t *address, const void *data, size_t len,
    ngx_int_t expected)
{
    int         good;
    u_char     *copy, *p;
    size_t      n;
    ngx_int_t   rc;

    good = 1;

    for (n = 0; n <= len; n++) {
        copy = test_copy(data, n);
        p = copy;

        ngx_memset(address, 0xa5, sizeof(ngx_vmess_address_t));

        rc = ngx_vmess_address_parse(address, &p, copy + n);

        if (n < len) {
            good = good && rc != NGX_OK && p == copy;

            if (expected == NGX_OK) {
                good = good && rc == NGX_AGAIN;
            }

        } else {
            good = good && rc == expected
                   && (size_t) (p - copy) == (rc == NGX_OK ? len : 0)
                   && (rc == NGX_ERROR) == (address->err != NULL);
        }

        free(copy);
    }

    return good;
}


static void
test_binary(void)
{
    ngx_vmess_address_t  a;

    test_ok(test_parse(&a, "\x01\xbb\x01\x08\x08\x04\x04", 7, NGX_OK)
            && a.type == NGX_VMESS_ADDR_IPV4 && a.port == 443
            && ngx_memcmp(a.addr, "\x08\x08\x04\x04", 4) == 0, "IPv4");

    test_ok(test_parse(&a, "\xff\xff\x03" "0123456789abcdef", 19, NGX_OK)
            && a.type == NGX_VMESS_ADDR_IPV6 && a.port == 65535
            && ngx_memcmp(a.addr, "0123456789abcdef", 16) == 0, "IPv6");

    test_ok(test_parse(&a, "\x00\x00\x03\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0"
                           "\x01", 19, NGX_OK)
            && a.type == NGX_VMESS_ADDR_IPV4 && a.port == 0
            && ngx_memcmp(a.addr, "\x0a\0\0\x01", 4) == 0,
            "IPv4-mapped IPv6");

    test_bad((u_char *) "\x00\x50\x00zzzzzzzz", 11, "type 0");
    test_bad((u_char *) "\x00\x50\x04zzzzzzzz", 11, "type 4");
    test_bad((u_char *) "\x00\x50\xffzzzzzzzz", 11, "type 255");
    test_bad((u_char *) "\x00\x50\x02\x02" "a\0", 6, "name with NUL");
}


static void
test_bad(const u_char *p, size_t len, const char *name)
{
    ngx_vmess_address_t  a;

    test_ok(test_parse(&a, p, len, NGX_ERROR), "%s is refused", name);
}


static size_t
test_wire(u_char *wire, const char *text)
{
    size_t  len;

    len = strlen(text);

    ngx_memcpy(wire, "\x01\xbb\x02", 3);
    wire[3] = (u_char) len;
    ngx_memcpy(wire + 4, text, len);

    return 4 + len;
}


static void
test_domain(const char *text, const char *domain)
{
    u_char               wire[300];
    size_t               len;
    ngx_vmess_address_t  a;

    len = test_wire(wire, text);

    if (domain == NULL) {
        test_bad(wire, len, text);
        return;
    }

    test_ok(test_parse(&a, wire, len, NGX_OK)
            && a.type == NGX_VMESS_ADDR_DOMAIN && a.port == 443
            && test_equal(a.domain, domain, strlen(domain)),
            "name \"%s\"", text);
}


static void
test_text(const char *text, ngx_uint_t type, const char *addr)
{
    u_char               wire[300];
    size_t               len;
    ngx_vmess_address_t  a;

    len = test_wire(wire, text);

    test_ok(test_parse(&a, wire, len, NGX_OK)
            && a.type == type && a.port == 443 && a.domain.len == 0
            && ngx_memcmp(a.addr, addr,
                          type == NGX_VMESS_ADDR_IPV4 ? 4 : 16) == 0,
            "address \"%s\"", text);
}


/* the address of a socket, and that of its network */

static void
test_mapped(const char *text, const char *whole, const char *network)
{
    u_char          addr[16], expected[16];
    ngx_uint_t      good;
    ngx_sockaddr_t  sa;

    ngx_memzero(&sa, sizeof(ngx_sockaddr_t));

    if (inet_pton(AF_INET, text, &sa.sockaddr_in.sin_addr) == 1) {
        sa.sockaddr.sa_family = AF_INET;

    } else {
        sa.sockaddr.sa_family = AF_INET6;
        (void) inet_pton(AF_INET6, text, &sa.sockaddr_in6.sin6_addr);
    }

    (void) inet_pton(AF_INET6, whole, expected);

    good = ngx_vmess_address_mapped(&sa.sockaddr, addr) == NGX_OK
           && ngx_memcmp(addr, expected, 16) == 0;

    (void) inet_pton(AF_INET6, network, expected);

    test_ok(good && ngx_vmess_address_network(&sa.sockaddr, addr) == NGX_OK
            && ngx_memcmp(addr, expected, 16) == 0,
            "\"%s\" as an address of IPv6", text);

    sa.sockaddr.sa_family = AF_UNIX;

    test_ok(ngx_vmess_address_mapped(&sa.sockaddr, addr) == NGX_DECLINED
            && ngx_vmess_address_network(&sa.sockaddr, addr) == NGX_DECLINED
            && ngx_memcmp(addr, expected, 16) == 0,
            "none of a Unix socket");
}
