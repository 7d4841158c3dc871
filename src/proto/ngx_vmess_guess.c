
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_guess.h"


/* random bytes are hardly ever so many letters */

#define NGX_VMESS_GUESS_LETTERS  64

/* hexadecimal digits of a digest, and the end of the line */

#define NGX_VMESS_GUESS_DIGITS   56

/* a version, an id, and the length of what is added */

#define NGX_VMESS_GUESS_ADDED    (1 + 16 + 1)


typedef struct {
    size_t       len;
    const char  *bytes;
    ngx_uint_t   guess;
} ngx_vmess_guess_t;


#define ngx_vmess_guess_string(bytes, guess)                                  \
    { sizeof(bytes) - 1, bytes, NGX_VMESS_GUESS_##guess }


static ngx_uint_t ngx_vmess_guess_is_vless(const u_char *p, size_t len);
static ngx_uint_t ngx_vmess_guess_is_trojan(const u_char *p, size_t len);


const char  *ngx_vmess_guesses[] = {
    "nothing",
    "random bytes",
    "text",
    "HTTP",
    "HTTP of a proxy's client",
    "HTTP/2",
    "TLS",
    "SSH",
    "the PROXY protocol",
    "RDP",
    "SOCKS",
    "VLESS",
    "Trojan"
};


/* no prefix of another one, and three bytes at least */

static const ngx_vmess_guess_t  ngx_vmess_guess_starts[] = {
    ngx_vmess_guess_string("GET ", HTTP),
    ngx_vmess_guess_string("HEAD ", HTTP),
    ngx_vmess_guess_string("POST ", HTTP),
    ngx_vmess_guess_string("PUT ", HTTP),
    ngx_vmess_guess_string("DELETE ", HTTP),
    ngx_vmess_guess_string("OPTIONS ", HTTP),
    ngx_vmess_guess_string("PATCH ", HTTP),
    ngx_vmess_guess_string("TRACE ", HTTP),
    ngx_vmess_guess_string("PROPFIND ", HTTP),
    ngx_vmess_guess_string("CONNECT ", PROXY_HTTP),
    ngx_vmess_guess_string("PRI * HTTP/2.0\r\n", HTTP2),
    ngx_vmess_guess_string("SSH-", SSH),
    ngx_vmess_guess_string("PROXY ", PROXY),
    ngx_vmess_guess_string("\r\n\r\n\0\r\nQUIT\n", PROXY),
    ngx_vmess_guess_string("\x16\x03\x00", TLS),
    ngx_vmess_guess_string("\x16\x03\x01", TLS),
    ngx_vmess_guess_string("\x16\x03\x02", TLS),
    ngx_vmess_guess_string("\x16\x03\x03", TLS),
    ngx_vmess_guess_string("\x03\x00\x00", RDP),
    ngx_vmess_guess_string("\x05\x01\x00", SOCKS),
    ngx_vmess_guess_string("\x05\x01\x02", SOCKS),
    ngx_vmess_guess_string("\x05\x02\x00", SOCKS),
    { 0, NULL, 0 }
};


ngx_uint_t
ngx_vmess_guess(const u_char *p, size_t len)
{
    size_t                    i, n;
    const ngx_vmess_guess_t  *start;

    if (len == 0) {
        return NGX_VMESS_GUESS_NOTHING;
    }

    for (start = ngx_vmess_guess_starts; start->len; start++) {

        n = ngx_min(len, start->len);

        /* the rest may not have come */

        if (n >= 3 && ngx_memcmp(p, start->bytes, n) == 0) {
            return start->guess;
        }
    }

    if (ngx_vmess_guess_is_vless(p, len)) {
        return NGX_VMESS_GUESS_VLESS;
    }

    if (ngx_vmess_guess_is_trojan(p, len)) {
        return NGX_VMESS_GUESS_TROJAN;
    }

    n = ngx_min(len, NGX_VMESS_GUESS_LETTERS);

    for (i = 0; i < n; i++) {

        if ((p[i] < ' ' && p[i] != CR && p[i] != LF && p[i] != '\t')
            || p[i] > '~')
        {
            return NGX_VMESS_GUESS_RANDOM;
        }
    }

    return NGX_VMESS_GUESS_TEXT;
}


/* version 0, any id, nothing added or a message, and a command */

static ngx_uint_t
ngx_vmess_guess_is_vless(const u_char *p, size_t len)
{
    size_t  n;

    if (len <= NGX_VMESS_GUESS_ADDED || p[0] != 0) {
        return 0;
    }

    n = p[NGX_VMESS_GUESS_ADDED - 1];

    if (len <= NGX_VMESS_GUESS_ADDED + n) {
        return 0;
    }

    /* the first field of the message is a string */

    if (n && p[NGX_VMESS_GUESS_ADDED] != 0x0a) {
        return 0;
    }

    n = p[NGX_VMESS_GUESS_ADDED + n];

    return n >= 1 && n <= 3;
}


static ngx_uint_t
ngx_vmess_guess_is_trojan(const u_char *p, size_t len)
{
    size_t  i;

    if (len < NGX_VMESS_GUESS_DIGITS + 2 || p[NGX_VMESS_GUESS_DIGITS] != CR) {
        return 0;
    }

    for (i = 0; i < NGX_VMESS_GUESS_DIGITS; i++) {

        if ((p[i] < '0' || p[i] > '9') && (p[i] < 'a' || p[i] > 'f')) {
            return 0;
        }
    }

    return 1;
}
