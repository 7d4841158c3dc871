
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_json_out.h"
#include "ngx_vmess_utf8.h"


static void ngx_vmess_json_out_key(ngx_vmess_json_out_t *jo, const char *key);
static void ngx_vmess_json_out_word(ngx_vmess_json_out_t *jo, const char *key,
    const char *word);
static void ngx_vmess_json_out_char(ngx_vmess_json_out_t *jo, u_char ch);
static void ngx_vmess_json_out_put(ngx_vmess_json_out_t *jo, const void *p,
    size_t len);


void
ngx_vmess_json_out_open(ngx_vmess_json_out_t *jo, const char *key, u_char ch)
{
    ngx_vmess_json_out_key(jo, key);
    ngx_vmess_json_out_put(jo, &ch, 1);

    jo->comma = 0;
}


void
ngx_vmess_json_out_close(ngx_vmess_json_out_t *jo, u_char ch)
{
    ngx_vmess_json_out_put(jo, &ch, 1);

    jo->comma = 1;
}


void
ngx_vmess_json_out_string(ngx_vmess_json_out_t *jo, const char *key,
    ngx_str_t *value)
{
    u_char    *p, *last, text[4];
    uint32_t   ch;

    ngx_vmess_json_out_key(jo, key);
    ngx_vmess_json_out_put(jo, "\"", 1);

    p = value->data;
    last = p + value->len;

    while (p < last) {

        ch = ngx_vmess_utf8_next(&p, last);

        if (ch < 0x80) {
            ngx_vmess_json_out_char(jo, (u_char) ch);

        } else {
            ngx_vmess_json_out_put(jo, text,
                                   ngx_vmess_utf8_create(text, ch) - text);
        }
    }

    ngx_vmess_json_out_put(jo, "\"", 1);
}


void
ngx_vmess_json_out_integer(ngx_vmess_json_out_t *jo, const char *key,
    int64_t value)
{
    u_char     ch, *p, text[sizeof("-9223372036854775808")];
    uint64_t   n;

    n = (value < 0) ? -(uint64_t) value : (uint64_t) value;
    p = text + sizeof(text);

    do {
        ch = '0' + n % 10;
        *--p = ch;
        n /= 10;
    } while (n);

    if (value < 0) {
        *--p = '-';
    }

    ngx_vmess_json_out_key(jo, key);
    ngx_vmess_json_out_put(jo, p, text + sizeof(text) - p);
}


void
ngx_vmess_json_out_flag(ngx_vmess_json_out_t *jo, const char *key,
    ngx_uint_t value)
{
    ngx_vmess_json_out_word(jo, key, value ? "true" : "false");
}


void
ngx_vmess_json_out_null(ngx_vmess_json_out_t *jo, const char *key)
{
    ngx_vmess_json_out_word(jo, key, "null");
}


/* the comma before a value, and the key in an object */

static void
ngx_vmess_json_out_key(ngx_vmess_json_out_t *jo, const char *key)
{
    if (jo->comma) {
        ngx_vmess_json_out_put(jo, ",", 1);
    }

    jo->comma = 1;

    if (key) {
        ngx_vmess_json_out_put(jo, "\"", 1);
        ngx_vmess_json_out_put(jo, key, ngx_strlen(key));
        ngx_vmess_json_out_put(jo, "\":", 2);
    }
}


static void
ngx_vmess_json_out_word(ngx_vmess_json_out_t *jo, const char *key,
    const char *word)
{
    ngx_vmess_json_out_key(jo, key);
    ngx_vmess_json_out_put(jo, word, ngx_strlen(word));
}


/* RFC 8259, 7.  Strings: a character of one byte */

static void
ngx_vmess_json_out_char(ngx_vmess_json_out_t *jo, u_char ch)
{
    u_char  text[] = "\\u0000";

    static const u_char  hex[] = "0123456789abcdef";

    if (ch == '"' || ch == '\\') {
        ngx_vmess_json_out_put(jo, "\\", 1);

    } else if (ch < 0x20) {
        text[4] = hex[ch >> 4];
        text[5] = hex[ch & 0xf];
        ngx_vmess_json_out_put(jo, text, 6);
        return;
    }

    ngx_vmess_json_out_put(jo, &ch, 1);
}


static void
ngx_vmess_json_out_put(ngx_vmess_json_out_t *jo, const void *p, size_t len)
{
    if (jo->full || (size_t) (jo->last - jo->pos) < len) {
        jo->full = 1;
        return;
    }

    jo->pos = ngx_cpymem(jo->pos, p, len);
}
