
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"
#include "ngx_vmess_utf8.h"
#include "ngx_vmess_text_out.h"


static void ngx_vmess_text_out_put(ngx_vmess_text_out_t *to, ngx_uint_t depth,
    u_char ch);
static void ngx_vmess_text_out_four(ngx_vmess_text_out_t *to,
    ngx_uint_t depth);
static void ngx_vmess_text_out_hex(ngx_vmess_text_out_t *to, uint32_t value,
    ngx_uint_t digits, const u_char *hex);
static void ngx_vmess_text_out_char(ngx_vmess_text_out_t *to, uint32_t ch);


static const u_char  ngx_vmess_text_out_lower[] = "0123456789abcdef";
static const u_char  ngx_vmess_text_out_upper[] = "0123456789ABCDEF";


void
ngx_vmess_text_out_bytes(ngx_vmess_text_out_t *to, const void *p, size_t len)
{
    const u_char  *ch;

    for (ch = p; len; len--) {
        ngx_vmess_text_out_put(to, to->depth, *ch++);
    }
}


void
ngx_vmess_text_out_word(ngx_vmess_text_out_t *to, const char *word)
{
    ngx_vmess_text_out_bytes(to, word, ngx_strlen(word));
}


void
ngx_vmess_text_out_string(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    ngx_vmess_text_out_bytes(to, s->data, s->len);
}


void
ngx_vmess_text_out_number(ngx_vmess_text_out_t *to, ngx_uint_t n)
{
    u_char  ch, *p, text[NGX_INT_T_LEN];

    p = text + sizeof(text);

    do {
        ch = '0' + n % 10;
        *--p = ch;
        n /= 10;
    } while (n);

    ngx_vmess_text_out_bytes(to, p, text + sizeof(text) - p);
}


void
ngx_vmess_text_out_uuid(ngx_vmess_text_out_t *to, const u_char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_VMESS_ID_LEN; i++) {

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            ngx_vmess_text_out_put(to, to->depth, '-');
        }

        ngx_vmess_text_out_hex(to, id[i], 2, ngx_vmess_text_out_lower);
    }
}


void
ngx_vmess_text_out_percent(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    u_char    *p, *last, *ch, *end, text[4];
    uint32_t   next;

    p = s->data;
    last = p + s->len;

    while (p < last) {

        next = ngx_vmess_utf8_next(&p, last);
        end = ngx_vmess_utf8_create(text, next);

        for (ch = text; ch < end; ch++) {

            if ((*ch >= '0' && *ch <= '9') || (*ch >= 'A' && *ch <= 'Z')
                || (*ch >= 'a' && *ch <= 'z') || *ch == '-' || *ch == '.'
                || *ch == '_' || *ch == '~')
            {
                ngx_vmess_text_out_put(to, to->depth, *ch);
                continue;
            }

            ngx_vmess_text_out_put(to, to->depth, '%');
            ngx_vmess_text_out_hex(to, *ch, 2, ngx_vmess_text_out_upper);
        }
    }
}


void
ngx_vmess_text_out_quoted(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    u_char    *p, *last;
    uint32_t   ch;

    if (s->len == 0) {
        ngx_vmess_text_out_word(to, "\"\"");
        return;
    }

    ngx_vmess_text_out_put(to, to->depth, '"');

    p = s->data;
    last = p + s->len;

    while (p < last) {

        ch = ngx_vmess_utf8_next(&p, last);

        /* RFC 8259, 7.  Strings; YAML 1.2, "5.1. Character Set" */

        if (ch < ' ' || (ch >= 0x7f && ch < 0xa0) || ch == 0x2028
            || ch == 0x2029 || ch == 0xfeff || ch == 0xfffe || ch == 0xffff)
        {
            ngx_vmess_text_out_word(to, "\\u");
            ngx_vmess_text_out_hex(to, ch, 4, ngx_vmess_text_out_lower);
            continue;
        }

        if (ch == '"' || ch == '\\') {
            ngx_vmess_text_out_put(to, to->depth, '\\');
        }

        ngx_vmess_text_out_char(to, ch);
    }

    ngx_vmess_text_out_put(to, to->depth, '"');
}


void
ngx_vmess_text_out_metric(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    u_char    *p, *last;
    uint32_t   ch;

    ngx_vmess_text_out_put(to, to->depth, '"');

    p = s->data;
    last = p + s->len;

    while (p < last) {

        ch = ngx_vmess_utf8_next(&p, last);

        if (ch == '\n') {
            ngx_vmess_text_out_word(to, "\\n");
            continue;
        }

        if (ch == '"' || ch == '\\') {
            ngx_vmess_text_out_put(to, to->depth, '\\');
        }

        ngx_vmess_text_out_char(to, ch);
    }

    ngx_vmess_text_out_put(to, to->depth, '"');
}


void
ngx_vmess_text_out_label(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    u_char    *p, *last;
    uint32_t   ch;

    p = s->data;
    last = p + s->len;

    while (p < last) {

        ch = ngx_vmess_utf8_next(&p, last);

        if (ch < ' ') {
            ch = ' ';

        } else if ((ch >= 0x7f && ch < 0xa0) || ch == 0x2028 || ch == 0x2029
                   || ch == 0xfeff)
        {
            ch = 0xfffd;

        } else if (ch < 0x7f
                   && (ngx_strchr(",=\"'#;[]\\", ch)
                       || (ch == '/' && p < last && *p == '/')))
        {
            /* U+FF01 is the fullwidth form of "!" */

            ch += 0xff01 - '!';
        }

        ngx_vmess_text_out_char(to, ch);
    }
}


void
ngx_vmess_text_out_base64(ngx_vmess_text_out_t *to)
{
    to->base64[to->depth++].n = 0;
}


void
ngx_vmess_text_out_base64_end(ngx_vmess_text_out_t *to)
{
    to->depth--;

    if (to->base64[to->depth].n) {
        ngx_vmess_text_out_four(to, to->depth);
    }
}


/* a byte, through that many encodings */

static void
ngx_vmess_text_out_put(ngx_vmess_text_out_t *to, ngx_uint_t depth, u_char ch)
{
    ngx_vmess_text_out_base64_t  *b;

    if (to->full) {
        return;
    }

    if (depth) {
        b = &to->base64[depth - 1];
        b->data[b->n++] = ch;

        if (b->n == 3) {
            ngx_vmess_text_out_four(to, depth - 1);
        }

        return;
    }

    if (to->pos == to->last) {
        to->full = 1;
        return;
    }

    *to->pos++ = ch;
}


/* the bytes that wait at a depth; two or less are the last */

static void
ngx_vmess_text_out_four(ngx_vmess_text_out_t *to, ngx_uint_t depth)
{
    u_char                       *d, text[4];
    ngx_uint_t                    i;
    ngx_vmess_text_out_base64_t  *b;

    static const u_char  basis[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    b = &to->base64[depth];
    d = b->data;

    for (i = b->n; i < 3; i++) {
        d[i] = 0;
    }

    text[0] = basis[d[0] >> 2];
    text[1] = basis[(d[0] & 3) << 4 | d[1] >> 4];
    text[2] = (b->n > 1) ? basis[(d[1] & 0xf) << 2 | d[2] >> 6] : '=';
    text[3] = (b->n > 2) ? basis[d[2] & 0x3f] : '=';

    b->n = 0;

    for (i = 0; i < 4; i++) {
        ngx_vmess_text_out_put(to, depth, text[i]);
    }
}


static void
ngx_vmess_text_out_hex(ngx_vmess_text_out_t *to, uint32_t value,
    ngx_uint_t digits, const u_char *hex)
{
    while (digits--) {
        ngx_vmess_text_out_put(to, to->depth, hex[value >> 4 * digits & 0xf]);
    }
}


static void
ngx_vmess_text_out_char(ngx_vmess_text_out_t *to, uint32_t ch)
{
    u_char  text[4];

    ngx_vmess_text_out_bytes(to, text, ngx_vmess_utf8_create(text, ch) - text);
}
