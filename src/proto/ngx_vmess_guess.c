
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_guess.h"


/* random bytes are hardly ever so many letters */

#define NGX_VMESS_GUESS_TEXT  64


typedef struct {
    size_t       len;
    const char  *bytes;
    const char  *name;
} ngx_vmess_guess_t;


#define ngx_vmess_guess_string(bytes, name)  { sizeof(bytes) - 1, bytes, name }


/* no prefix of another one, and three bytes at least */

static const ngx_vmess_guess_t  ngx_vmess_guesses[] = {
    ngx_vmess_guess_string("GET ", "HTTP"),
    ngx_vmess_guess_string("HEAD ", "HTTP"),
    ngx_vmess_guess_string("POST ", "HTTP"),
    ngx_vmess_guess_string("PUT ", "HTTP"),
    ngx_vmess_guess_string("DELETE ", "HTTP"),
    ngx_vmess_guess_string("OPTIONS ", "HTTP"),
    ngx_vmess_guess_string("PATCH ", "HTTP"),
    ngx_vmess_guess_string("TRACE ", "HTTP"),
    ngx_vmess_guess_string("PROPFIND ", "HTTP"),
    ngx_vmess_guess_string("CONNECT ", "HTTP of a proxy's client"),
    ngx_vmess_guess_string("PRI * HTTP/2.0\r\n", "HTTP/2"),
    ngx_vmess_guess_string("SSH-", "SSH"),
    ngx_vmess_guess_string("PROXY ", "the PROXY protocol"),
    ngx_vmess_guess_string("\r\n\r\n\0\r\nQUIT\n", "the PROXY protocol"),
    ngx_vmess_guess_string("\x16\x03\x00", "TLS"),
    ngx_vmess_guess_string("\x16\x03\x01", "TLS"),
    ngx_vmess_guess_string("\x16\x03\x02", "TLS"),
    ngx_vmess_guess_string("\x16\x03\x03", "TLS"),
    ngx_vmess_guess_string("\x03\x00\x00", "RDP"),
    ngx_vmess_guess_string("\x05\x01\x00", "SOCKS"),
    ngx_vmess_guess_string("\x05\x01\x02", "SOCKS"),
    ngx_vmess_guess_string("\x05\x02\x00", "SOCKS"),
    { 0, NULL, NULL }
};


const char *
ngx_vmess_guess(const u_char *p, size_t len)
{
    size_t                    i, n;
    const ngx_vmess_guess_t  *guess;

    if (len == 0) {
        return "nothing";
    }

    for (guess = ngx_vmess_guesses; guess->len; guess++) {

        n = ngx_min(len, guess->len);

        /* the rest may not have come */

        if (n >= 3 && ngx_memcmp(p, guess->bytes, n) == 0) {
            return guess->name;
        }
    }

    n = ngx_min(len, NGX_VMESS_GUESS_TEXT);

    for (i = 0; i < n; i++) {

        if ((p[i] < ' ' && p[i] != CR && p[i] != LF && p[i] != '\t')
            || p[i] > '~')
        {
            return "random bytes";
        }
    }

    return "text";
}
