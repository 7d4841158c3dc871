
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TEXT_OUT_H_INCLUDED_
#define _NGX_VMESS_TEXT_OUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* Base64 may hold Base64: links in a list of links */

#define NGX_VMESS_TEXT_OUT_DEPTH  2


/* bytes that wait for others to become four characters */

typedef struct {
    u_char                         data[3];
    u_char                         n;
} ngx_vmess_text_out_base64_t;


/*
 * A writer of text into memory of the caller, zeroed but for "pos" and "last".
 * What does not fit sets "full", and nothing is written from then on: as with
 * the writer of JSON, the caller goes back to a copy of the structure and on
 * with the next buffer.
 */

typedef struct {
    u_char                        *pos;        /* where the next byte goes */
    u_char                        *last;       /* the end of the memory */

    ngx_uint_t                     depth;      /* of Base64 that is open */
    ngx_vmess_text_out_base64_t    base64[NGX_VMESS_TEXT_OUT_DEPTH];

    unsigned                       full:1;
} ngx_vmess_text_out_t;


/* bytes as they are */
void ngx_vmess_text_out_bytes(ngx_vmess_text_out_t *to, const void *p,
    size_t len);
void ngx_vmess_text_out_word(ngx_vmess_text_out_t *to, const char *word);
void ngx_vmess_text_out_string(ngx_vmess_text_out_t *to, const ngx_str_t *s);

void ngx_vmess_text_out_number(ngx_vmess_text_out_t *to, ngx_uint_t n);

/* an id of 16 bytes as a UUID */
void ngx_vmess_text_out_uuid(ngx_vmess_text_out_t *to, const u_char *id);

/*
 * Any text in the syntax of a format.  What is not UTF-8 becomes U+FFFD.
 *
 * percent  a part of a URI (RFC 3986): all but letters, digits and "-._~"
 * quoted   a string of JSON with its quotes, which is one of YAML, too: what
 *          YAML takes for the end of a line or does not allow is escaped
 * metric   the value of a label of Prometheus with its quotes: any characters,
 *          but three of them escaped
 * label    a name in a line of fields: those formats have no escapes for what
 *          separates fields and begins comments or sections, so it is replaced
 *          by the fullwidth form, and controls by spaces or U+FFFD
 */
void ngx_vmess_text_out_percent(ngx_vmess_text_out_t *to, const ngx_str_t *s);
void ngx_vmess_text_out_quoted(ngx_vmess_text_out_t *to, const ngx_str_t *s);
void ngx_vmess_text_out_metric(ngx_vmess_text_out_t *to, const ngx_str_t *s);
void ngx_vmess_text_out_label(ngx_vmess_text_out_t *to, const ngx_str_t *s);

/*
 * What is written between is in Base64 (RFC 4648, 4), with padding.  The end is
 * that of the one opened last.
 */
void ngx_vmess_text_out_base64(ngx_vmess_text_out_t *to);
void ngx_vmess_text_out_base64_end(ngx_vmess_text_out_t *to);


#endif /* _NGX_VMESS_TEXT_OUT_H_INCLUDED_ */
