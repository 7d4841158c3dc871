
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_guess.h"


static const struct {
    size_t       len;
    const char  *bytes;
    const char  *name;
} test_cases[] = {

#define TEST(bytes, name)  { sizeof(bytes) - 1, bytes, name }

    TEST("", "nothing"),
    TEST("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP"),
    TEST("GET", "HTTP"),
    TEST("GE", "text"),
    TEST("GETS / HTTP/1.1\r\n", "text"),
    TEST("get / HTTP/1.1\r\n", "text"),
    TEST("HEAD / HTTP/1.0\r\n\r\n", "HTTP"),
    TEST("POST /a HTTP/1.1\r\n", "HTTP"),
    TEST("PUT /a HTTP/1.1\r\n", "HTTP"),
    TEST("DELETE /a HTTP/1.1\r\n", "HTTP"),
    TEST("OPTIONS * HTTP/1.1\r\n", "HTTP"),
    TEST("PATCH /a HTTP/1.1\r\n", "HTTP"),
    TEST("TRACE /a HTTP/1.1\r\n", "HTTP"),
    TEST("PROPFIND /a HTTP/1.1\r\n", "HTTP"),
    TEST("CONNECT a:443 HTTP/1.1\r\n", "HTTP of a proxy's client"),
    TEST("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    TEST("PRI", "HTTP/2"),
    TEST("PRI * HTTP/1.0\r\n\r\n", "text"),
    TEST("SSH-2.0-Go\r\n", "SSH"),
    TEST("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "the PROXY protocol"),
    TEST("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "the PROXY protocol"),
    TEST("\r\n\r\n", "the PROXY protocol"),
    TEST("\r\n\r\nhello", "text"),
    TEST("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "TLS"),
    TEST("\x16\x03\x00\x00\x2f\x01", "TLS"),
    TEST("\x16\x03\x03\0\x10", "TLS"),
    TEST("\x16\x03", "random bytes"),
    TEST("\x16\x03\x04", "random bytes"),
    TEST("\x03\0\0\x13\x0e\xe0", "RDP"),
    TEST("\x05\x01\0", "SOCKS"),
    TEST("\x05\x02\0\x02", "SOCKS"),
    TEST("\0" "0123456789abcdef" "\0\1\0\x50\1\x7f\0\0\1", "VLESS"),
    TEST("\0" "0123456789abcdef" "\0\3", "VLESS"),
    TEST("\0" "0123456789abcdef" "\x12\x0a\x10xtls-rprx-vision\1\0\x50",
         "VLESS"),
    TEST("\0" "0123456789abcdef" "\x12\x0a\x10xtls-rprx-vision",
         "random bytes"),
    TEST("\0" "0123456789abcdef" "\2\x0b\0\1", "random bytes"),
    TEST("\0" "0123456789abcdef" "\0\4", "random bytes"),
    TEST("\0" "0123456789abcdef" "\0\0", "random bytes"),
    TEST("\0" "0123456789abcdef" "\0", "random bytes"),
    TEST("\1" "0123456789abcdef" "\0\1", "random bytes"),
    TEST("0123456789abcdef0123456789abcdef0123456789abcdef01234567\r\n\1",
         "Trojan"),
    TEST("0123456789abcdef0123456789abcdef0123456789abcdef01234567\r", "text"),
    TEST("0123456789abcdef0123456789abcdef0123456789abcdef012345678\n", "text"),
    TEST("0123456789abcdef0123456789abcdef0123456789abcdef0123456g\r\n", "text"),
    TEST("EHLO a.example\r\n", "text"),
    TEST("\t\r\n", "text"),
    TEST(" ~", "text"),
    TEST("\x7f", "random bytes"),
    TEST("\x1f", "random bytes"),
    TEST("\xff", "random bytes"),
    TEST("hello\0", "random bytes"),
    TEST("0123456789012345678901234567890123456789012345678901234567890123"
         "\xff", "text"),
    TEST("012345678901234567890123456789012345678901234567890123456789012"
         "\xff", "random bytes")
};


int
main(void)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i, n;
    const char  *name;

    for (i = 0; i < sizeof(test_cases) / sizeof(test_cases[0]); i++) {

        len = test_cases[i].len;
        p = test_copy(test_cases[i].bytes, len);
        name = ngx_vmess_guesses[ngx_vmess_guess(p, len)];

        test_ok(strcmp(name, test_cases[i].name) == 0, "%d bytes: %s, %s",
                (int) len, test_cases[i].name, name);

        free(p);
    }

    /* headers of VMess */

    n = 0;
    p = test_copy("0123456789abcdef", 16);

    for (i = 0; i < 10000; i++) {
        test_fill(p, 16);
        n += ngx_vmess_guess(p, 16) == NGX_VMESS_GUESS_RANDOM;
    }

    free(p);

    test_ok(n > 9990, "random: %d of 10000", (int) n);

    return test_done();
}
