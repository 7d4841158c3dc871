
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_UTF8_H_INCLUDED_
#define _NGX_VMESS_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* what is needed of a character (RFC 3629); zeroed before the first byte */

typedef struct {
    u_char                     left;       /* bytes, 0: none is open */
    u_char                     min;        /* of the next one */
    u_char                     max;
    uint32_t                   ch;         /* the character, once it is whole */
} ngx_vmess_utf8_t;


/*
 * Takes one byte.
 *
 * NGX_OK     a character ends with it
 * NGX_AGAIN  more bytes belong to it
 * NGX_ERROR  it is not UTF-8: overlong, a surrogate, above U+10FFFF, or not
 *            what must follow; begin anew, maybe with the same byte
 */
ngx_int_t ngx_vmess_utf8_check(ngx_vmess_utf8_t *u, u_char ch);

/*
 * The character at *p, which is moved behind it; *p is below last.  What is not
 * UTF-8 is U+FFFD: bytes that begin a character and do not end it are one.
 */
uint32_t ngx_vmess_utf8_next(u_char **p, u_char *last);

/* writes a character up to U+10FFFF in at most 4 bytes; returns their end */
u_char *ngx_vmess_utf8_create(u_char *p, uint32_t ch);


#endif /* _NGX_VMESS_UTF8_H_INCLUDED_ */
