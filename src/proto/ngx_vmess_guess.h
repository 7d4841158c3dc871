
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_GUESS_H_INCLUDED_
#define _NGX_VMESS_GUESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* what the first bytes of a client look like; VMess as random bytes */

typedef enum {
    NGX_VMESS_GUESS_NOTHING = 0,
    NGX_VMESS_GUESS_RANDOM,
    NGX_VMESS_GUESS_TEXT,
    NGX_VMESS_GUESS_HTTP,
    NGX_VMESS_GUESS_PROXY_HTTP,
    NGX_VMESS_GUESS_HTTP2,
    NGX_VMESS_GUESS_TLS,
    NGX_VMESS_GUESS_SSH,
    NGX_VMESS_GUESS_PROXY,
    NGX_VMESS_GUESS_RDP,
    NGX_VMESS_GUESS_SOCKS,
    NGX_VMESS_GUESS_VLESS,
    NGX_VMESS_GUESS_TROJAN,
    NGX_VMESS_GUESSES
} ngx_vmess_guess_e;


/* in words for logs and counters, which quote nothing of the bytes */

extern const char  *ngx_vmess_guesses[];


/* returns one of ngx_vmess_guess_e */
ngx_uint_t ngx_vmess_guess(const u_char *p, size_t len);


#endif /* _NGX_VMESS_GUESS_H_INCLUDED_ */
