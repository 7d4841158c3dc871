
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_json.h"


/* where the reader is */

enum {
    sw_between = 0,
    sw_string,
    sw_number,
    sw_word
};


/* between tokens: what is expected */

enum {
    sw_value = 0,
    sw_first,                              /* of an object or array, or end */
    sw_key,
    sw_colon,
    sw_next,                               /* comma, or the end */
    sw_end
};


/* in a string */

enum {
    sw_char = 0,
    sw_escape,                             /* after a backslash */
    sw_hex,
    sw_low,                                /* backslash of a low surrogate */
    sw_low_u
};


/* in a number, after: */

enum {
    sw_minus = 0,
    sw_zero,
    sw_digits,
    sw_point,
    sw_fraction,
    sw_exponent,                           /* the letter of it */
    sw_sign,
    sw_power,
    sw_over,                               /* the byte is none of it */
    sw_bad
};


static ngx_int_t ngx_vmess_json_between(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_value(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_open(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_close(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_string(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_char(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_escape(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_hex(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_number(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_number_end(ngx_vmess_json_t *js);
static ngx_int_t ngx_vmess_json_word(ngx_vmess_json_t *js, u_char ch);
static ngx_int_t ngx_vmess_json_put(ngx_vmess_json_t *js, u_char *p,
    size_t len);
static ngx_int_t ngx_vmess_json_event(ngx_vmess_json_t *js,
    ngx_vmess_json_event_e event);
static ngx_int_t ngx_vmess_json_error(ngx_vmess_json_t *js, const char *err);


/* RFC 8259, 6.  Numbers: by the state, and the class of the next byte */

static const u_char  ngx_vmess_json_numbers[][7] = {
    /*                 0            1 .. 9      .         e E
                       +            -           another */
    /* minus */      { sw_zero,     sw_digits,  sw_bad,   sw_bad,
                       sw_bad,      sw_bad,     sw_bad },
    /* zero */       { sw_bad,      sw_bad,     sw_point, sw_exponent,
                       sw_bad,      sw_bad,     sw_over },
    /* digits */     { sw_digits,   sw_digits,  sw_point, sw_exponent,
                       sw_bad,      sw_bad,     sw_over },
    /* point */      { sw_fraction, sw_fraction, sw_bad,  sw_bad,
                       sw_bad,      sw_bad,     sw_bad },
    /* fraction */   { sw_fraction, sw_fraction, sw_bad,  sw_exponent,
                       sw_bad,      sw_bad,     sw_over },
    /* exponent */   { sw_power,    sw_power,   sw_bad,   sw_bad,
                       sw_sign,     sw_sign,    sw_bad },
    /* sign */       { sw_power,    sw_power,   sw_bad,   sw_bad,
                       sw_bad,      sw_bad,     sw_bad },
    /* power */      { sw_power,    sw_power,   sw_bad,   sw_bad,
                       sw_bad,      sw_bad,     sw_over }
};


void
ngx_vmess_json_init(ngx_vmess_json_t *js, u_char *buf, size_t size)
{
    ngx_memzero(js, sizeof(ngx_vmess_json_t));

    js->buf = buf;
    js->size = size;
}


ngx_int_t
ngx_vmess_json_read(ngx_vmess_json_t *js, ngx_buf_t *b, ngx_uint_t last)
{
    u_char     ch;
    ngx_int_t  rc;

    while (b->pos < b->last) {

        ch = *b->pos;

        switch (js->token) {

        case sw_string:
            rc = ngx_vmess_json_string(js, ch);
            break;

        case sw_number:
            rc = ngx_vmess_json_number(js, ch);
            break;

        case sw_word:
            rc = ngx_vmess_json_word(js, ch);
            break;

        default: /* sw_between */
            rc = ngx_vmess_json_between(js, ch);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {

            /* a number ends before the byte */

            return NGX_OK;
        }

        b->pos++;
        js->offset++;

        if (rc == NGX_OK) {
            return NGX_OK;
        }
    }

    if (!last) {
        return NGX_AGAIN;
    }

    if (js->token == sw_number
        && ngx_vmess_json_numbers[js->state][6] == sw_over)
    {
        return ngx_vmess_json_number_end(js);
    }

    if (js->token == sw_between && js->state == sw_end) {
        return NGX_DONE;
    }

    return ngx_vmess_json_error(js, "unexpected end");
}


static ngx_int_t
ngx_vmess_json_between(ngx_vmess_json_t *js, u_char ch)
{
    ngx_uint_t  object;

    if (ch == ' ' || ch == '\t' || ch == LF || ch == CR) {
        return NGX_AGAIN;
    }

    object = js->objects & 1;

    switch (js->state) {

    case sw_end:
        return ngx_vmess_json_error(js, "data behind the end");

    case sw_colon:

        if (ch != ':') {
            return ngx_vmess_json_error(js, "no colon behind a key");
        }

        js->state = sw_value;

        return NGX_AGAIN;

    case sw_next:

        if (ch != ',') {
            return ngx_vmess_json_close(js, ch);
        }

        js->state = object ? sw_key : sw_value;

        return NGX_AGAIN;

    case sw_first:

        if (ch == (object ? '}' : ']')) {
            return ngx_vmess_json_close(js, ch);
        }

        if (!object) {
            return ngx_vmess_json_value(js, ch);
        }

        /* fall through */

    case sw_key:

        if (ch != '"') {
            return ngx_vmess_json_error(js, "no key in double quotes");
        }

        js->key = 1;

        return ngx_vmess_json_open(js, ch);

    default: /* sw_value */
        return ngx_vmess_json_value(js, ch);
    }
}


/* the first byte of a value */

static ngx_int_t
ngx_vmess_json_value(ngx_vmess_json_t *js, u_char ch)
{
    switch (ch) {

    case '{':
    case '[':

        if (js->depth == NGX_VMESS_JSON_DEPTH_MAX) {
            return ngx_vmess_json_error(js, "too many levels");
        }

        js->depth++;
        js->objects = js->objects << 1 | (ch == '{');
        js->state = sw_first;
        js->event = (ch == '{') ? NGX_VMESS_JSON_OBJECT
                                : NGX_VMESS_JSON_ARRAY;
        return NGX_OK;

    case 't':
        js->word = "rue";
        js->event = NGX_VMESS_JSON_TRUE;
        break;

    case 'f':
        js->word = "alse";
        js->event = NGX_VMESS_JSON_FALSE;
        break;

    case 'n':
        js->word = "ull";
        js->event = NGX_VMESS_JSON_NULL;
        break;

    default:
        return ngx_vmess_json_open(js, ch);
    }

    js->token = sw_word;

    return NGX_AGAIN;
}


/* the first byte of a string or number */

static ngx_int_t
ngx_vmess_json_open(ngx_vmess_json_t *js, u_char ch)
{
    js->value.data = js->buf;
    js->value.len = 0;

    if (ch == '"') {
        js->token = sw_string;
        js->state = sw_char;
        return NGX_AGAIN;
    }

    if (ch == '-') {
        js->state = sw_minus;

    } else if (ch == '0') {
        js->state = sw_zero;

    } else if (ch >= '1' && ch <= '9') {
        js->state = sw_digits;

    } else {
        return ngx_vmess_json_error(js, "unexpected character");
    }

    js->token = sw_number;

    return ngx_vmess_json_put(js, &ch, 1);
}


static ngx_int_t
ngx_vmess_json_close(ngx_vmess_json_t *js, u_char ch)
{
    ngx_uint_t  object;

    object = js->objects & 1;

    if (ch != (object ? '}' : ']')) {
        return ngx_vmess_json_error(js, object ? "no comma in an object"
                                               : "no comma in an array");
    }

    js->depth--;
    js->objects >>= 1;

    return ngx_vmess_json_event(js, object ? NGX_VMESS_JSON_OBJECT_END
                                           : NGX_VMESS_JSON_ARRAY_END);
}


static ngx_int_t
ngx_vmess_json_string(ngx_vmess_json_t *js, u_char ch)
{
    switch (js->state) {

    case sw_escape:
        return ngx_vmess_json_escape(js, ch);

    case sw_hex:
        return ngx_vmess_json_hex(js, ch);

    case sw_low:

        if (ch != '\\') {
            return ngx_vmess_json_error(js, "half of a surrogate pair");
        }

        js->state = sw_low_u;

        return NGX_AGAIN;

    case sw_low_u:

        if (ch != 'u') {
            return ngx_vmess_json_error(js, "half of a surrogate pair");
        }

        js->state = sw_hex;

        return NGX_AGAIN;

    default: /* sw_char */
        return ngx_vmess_json_char(js, ch);
    }
}


static ngx_int_t
ngx_vmess_json_char(ngx_vmess_json_t *js, u_char ch)
{
    if (ngx_vmess_utf8_check(&js->utf8, ch) == NGX_ERROR) {
        return ngx_vmess_json_error(js, "string is not UTF-8");
    }

    if (ch == '"') {

        if (!js->key) {
            return ngx_vmess_json_event(js, NGX_VMESS_JSON_STRING);
        }

        js->key = 0;
        js->token = sw_between;
        js->state = sw_colon;
        js->event = NGX_VMESS_JSON_KEY;

        return NGX_OK;
    }

    if (ch == '\\') {
        js->high = 0;
        js->state = sw_escape;
        return NGX_AGAIN;
    }

    if (ch < 0x20) {
        return ngx_vmess_json_error(js, "control character in a string");
    }

    return ngx_vmess_json_put(js, &ch, 1);
}


static ngx_int_t
ngx_vmess_json_escape(ngx_vmess_json_t *js, u_char ch)
{
    const char          *p;
    static const char    from[] = "\"\\/bfnrt";
    static const u_char  to[] = "\"\\/\b\f\n\r\t";

    if (ch == 'u') {
        js->state = sw_hex;
        return NGX_AGAIN;
    }

    p = ch ? ngx_strchr(from, ch) : NULL;

    if (p == NULL) {
        return ngx_vmess_json_error(js, "invalid escape sequence");
    }

    js->state = sw_char;
    ch = to[p - from];

    return ngx_vmess_json_put(js, &ch, 1);
}


static ngx_int_t
ngx_vmess_json_hex(ngx_vmess_json_t *js, u_char ch)
{
    u_char     c, text[4];
    uint32_t   code;

    c = ch | 0x20;

    if (ch >= '0' && ch <= '9') {
        c = ch - '0';

    } else if (c >= 'a' && c <= 'f') {
        c = c - 'a' + 10;

    } else {
        return ngx_vmess_json_error(js, "invalid escape sequence");
    }

    js->ch = js->ch << 4 | c;

    if (++js->n < 4) {
        return NGX_AGAIN;
    }

    code = js->ch;

    js->ch = 0;
    js->n = 0;

    if (js->high) {

        if (code < 0xdc00 || code > 0xdfff) {
            return ngx_vmess_json_error(js, "half of a surrogate pair");
        }

        code = 0x10000 + ((js->high - 0xd800) << 10) + (code - 0xdc00);

    } else if (code >= 0xd800 && code <= 0xdbff) {
        js->high = code;
        js->state = sw_low;
        return NGX_AGAIN;

    } else if (code >= 0xdc00 && code <= 0xdfff) {
        return ngx_vmess_json_error(js, "half of a surrogate pair");
    }

    js->state = sw_char;

    return ngx_vmess_json_put(js, text,
                              ngx_vmess_utf8_create(text, code) - text);
}


static ngx_int_t
ngx_vmess_json_number(ngx_vmess_json_t *js, u_char ch)
{
    ngx_uint_t  class;

    switch (ch) {

    case '0':
        class = 0;
        break;

    case '.':
        class = 2;
        break;

    case 'e':
    case 'E':
        class = 3;
        break;

    case '+':
        class = 4;
        break;

    case '-':
        class = 5;
        break;

    default:
        class = (ch >= '1' && ch <= '9') ? 1 : 6;
    }

    switch (ngx_vmess_json_numbers[js->state][class]) {

    case sw_bad:
        return ngx_vmess_json_error(js, "invalid number");

    case sw_over:
        (void) ngx_vmess_json_number_end(js);
        return NGX_DECLINED;

    default:
        js->state = ngx_vmess_json_numbers[js->state][class];
        return ngx_vmess_json_put(js, &ch, 1);
    }
}


static ngx_int_t
ngx_vmess_json_number_end(ngx_vmess_json_t *js)
{
    u_char   *p, *last;
    int64_t   n, digit;

    if (js->state != sw_zero && js->state != sw_digits) {
        return ngx_vmess_json_event(js, NGX_VMESS_JSON_NUMBER);
    }

    p = js->value.data;
    last = p + js->value.len;

    /* the least integer has no positive twin */

    n = 0;

    for (p += (*p == '-'); p < last; p++) {

        digit = *p - '0';

        if (n < (INT64_MIN + digit) / 10) {
            return ngx_vmess_json_event(js, NGX_VMESS_JSON_NUMBER);
        }

        n = n * 10 - digit;
    }

    if (js->value.data[0] != '-') {

        if (n == INT64_MIN) {
            return ngx_vmess_json_event(js, NGX_VMESS_JSON_NUMBER);
        }

        n = -n;
    }

    js->integer = n;

    return ngx_vmess_json_event(js, NGX_VMESS_JSON_INTEGER);
}


static ngx_int_t
ngx_vmess_json_word(ngx_vmess_json_t *js, u_char ch)
{
    if (ch != (u_char) *js->word) {
        return ngx_vmess_json_error(js, "unexpected character");
    }

    if (*++js->word) {
        return NGX_AGAIN;
    }

    return ngx_vmess_json_event(js, js->event);
}


static ngx_int_t
ngx_vmess_json_put(ngx_vmess_json_t *js, u_char *p, size_t len)
{
    if (js->size - js->value.len < len) {
        return ngx_vmess_json_error(js, "too long a string or number");
    }

    ngx_memcpy(js->buf + js->value.len, p, len);
    js->value.len += len;

    return NGX_AGAIN;
}


/* a value ends */

static ngx_int_t
ngx_vmess_json_event(ngx_vmess_json_t *js, ngx_vmess_json_event_e event)
{
    js->token = sw_between;
    js->state = js->depth ? sw_next : sw_end;
    js->event = event;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_json_error(ngx_vmess_json_t *js, const char *err)
{
    js->err = err;

    return NGX_ERROR;
}
