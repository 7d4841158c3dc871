
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_QR_H_INCLUDED_
#define _NGX_VMESS_QR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * QR codes (ISO/IEC 18004) of links, and their pictures.  A text is in one
 * segment of bytes: links are in Base64, which has no shorter mode.  It should
 * be ASCII, as links are with what they escape.  Of other bytes readers have to
 * guess whether they are UTF-8; there is no ECI to tell, as some refuse codes
 * with it.
 */

#define NGX_VMESS_QR_VERSION_MAX  40
#define NGX_VMESS_QR_SIZE_MAX     177        /* modules a side */
#define NGX_VMESS_QR_ROW          ((NGX_VMESS_QR_SIZE_MAX + 7) / 8)
#define NGX_VMESS_QR_QUIET        4          /* light modules around it */

/* bytes of a text that fits in some code of the level */

#define NGX_VMESS_QR_L_MAX        2953
#define NGX_VMESS_QR_M_MAX        2331


typedef enum {
    NGX_VMESS_QR_L = 0,                      /* 7 % of a code may be lost */
    NGX_VMESS_QR_M                           /* 15 % */
} ngx_vmess_qr_level_e;


typedef struct {
    ngx_uint_t                 version;      /* 1 .. 40 */
    ngx_uint_t                 size;         /* 17 + 4 * version */
    ngx_uint_t                 mask;         /* 0 .. 7 */
    ngx_vmess_qr_level_e       level;

    /* rows from the top, the leftmost module is 0x80 of a byte, 1 is dark */

    u_char                     modules[NGX_VMESS_QR_SIZE_MAX
                                       * NGX_VMESS_QR_ROW];
} ngx_vmess_qr_t;


/* a module: 1 if it is dark; x and y are less than the size */

#define ngx_vmess_qr_dark(qr, x, y)                                           \
    ((qr)->modules[(y) * NGX_VMESS_QR_ROW + (x) / 8] >> (7 - (x) % 8) & 1)


/*
 * Makes the code of a text.  It is the smallest one that holds the text with
 * the level or a better one; among both levels in that size it is M.  So with L
 * the code is as small as can be, and M costs nothing where there is room.
 *
 * qr     memory of the caller, 4 kB; need not be zeroed
 * level  the least one
 * text   any bytes
 *
 * NGX_OK        the code is in *qr
 * NGX_DECLINED  the text is longer than the level's maximum
 */
ngx_int_t ngx_vmess_qr_create(ngx_vmess_qr_t *qr, ngx_vmess_qr_level_e level,
    ngx_str_t *text);

/* bytes that a picture of the code may need, about twice what it takes */
size_t ngx_vmess_qr_svg_len(ngx_vmess_qr_t *qr, ngx_str_t *label);

/*
 * Writes a picture of the code, with its quiet zone, as an element "svg" that
 * stands in HTML or is a file of its own.  A module is one unit; how large that
 * is says the page.  It has no styles, so any Content-Security-Policy does.
 *
 * p      where ngx_vmess_qr_svg_len() bytes must be free
 * label  what a screen reader says; what is not UTF-8, or not allowed in XML,
 *        is replaced by U+FFFD
 *
 * Returns the end of it.
 */
u_char *ngx_vmess_qr_svg(u_char *p, ngx_vmess_qr_t *qr, ngx_str_t *label);


#endif /* _NGX_VMESS_QR_H_INCLUDED_ */
