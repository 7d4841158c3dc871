
/*
 * Copyright (C) ngx_vmess authors
 *
 * The few functions of nginx that the files under test call: nginx-dev has headers, but
 * no sources.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


uint32_t                  ngx_crc32_table256[256];

static ngx_time_t         stub_time = { 1800000000, 0, 0 };

volatile ngx_time_t      *ngx_cached_time = &stub_time;
volatile ngx_msec_t       ngx_current_msec;
ngx_pid_t                 ngx_pid;


static void stub_init(void) __attribute__((constructor));


static void
stub_init(void)
{
    uint32_t    c;
    ngx_uint_t  i, bit;

    for (i = 0; i < 256; i++) {
        c = i;

        for (bit = 0; bit < 8; bit++) {
            c = (c & 1) ? (c >> 1) ^ 0xedb88320 : c >> 1;
        }

        ngx_crc32_table256[i] = c;
    }
}


void
ngx_explicit_memzero(void *buf, size_t n)
{
    OPENSSL_cleanse(buf, n);
}


void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    while (n--) {
        *dst++ = ngx_tolower(*src);
        src++;
    }
}


/* those of nginx, but for what overflows */

ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0 || n > 18) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {
        if (*line < '0' || *line > '9') {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}


void
ngx_gmtime(time_t t, ngx_tm_t *tp)
{
    gmtime_r(&t, tp);

    tp->ngx_tm_mon++;
    tp->ngx_tm_year += 1900;
}


/* only "%uD", and bytes that stand for themselves */

u_char * ngx_cdecl
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    int      n;
    char     digits[16];
    va_list  args;

    va_start(args, fmt);

    while (*fmt) {
        if (ngx_strncmp(fmt, "%uD", 3) == 0) {

            /* it writes a zero as well */

            n = sprintf(digits, "%u", va_arg(args, uint32_t));
            buf = ngx_cpymem(buf, digits, n);
            fmt += 3;

        } else {
            *buf++ = *fmt++;
        }
    }

    va_end(args);

    return buf;
}


/* those of nginx, with the lock alone */

ngx_uint_t
ngx_shmtx_trylock(ngx_shmtx_t *mtx)
{
    return ngx_atomic_cmp_set(mtx->lock, 0, 1);
}


void
ngx_shmtx_unlock(ngx_shmtx_t *mtx)
{
    *mtx->lock = 0;
}


/* never with dst == NULL here */

uintptr_t
ngx_escape_html(u_char *dst, u_char *src, size_t size)
{
    u_char      *p, *last;
    ngx_uint_t   i;

    static const struct {
        u_char      ch;
        ngx_str_t   text;
    } escapes[] = {
        { '<', ngx_string("&lt;") },
        { '>', ngx_string("&gt;") },
        { '&', ngx_string("&amp;") },
        { '"', ngx_string("&quot;") }
    };

    last = src + size;

    for (p = src; p < last; p++) {

        for (i = 0; i < 4 && *p != escapes[i].ch; i++) { /* void */ }

        if (i < 4) {
            dst = ngx_cpymem(dst, escapes[i].text.data, escapes[i].text.len);

        } else {
            *dst++ = *p;
        }
    }

    return (uintptr_t) dst;
}


void
ngx_encode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    u_char  buf[128];

    if (src->len > 90) {
        abort();
    }

    /* it writes a zero as well */

    dst->len = EVP_EncodeBlock(buf, src->data, (int) src->len);
    ngx_memcpy(dst->data, buf, dst->len);
}


/* without padding */

void
ngx_encode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    u_char  buf[128], *p;

    if (src->len > 90) {
        abort();
    }

    (void) EVP_EncodeBlock(buf, src->data, (int) src->len);

    for (p = buf; *p && *p != '='; p++) {
        *p = (*p == '+') ? '-' : (*p == '/') ? '_' : *p;
    }

    dst->len = p - buf;
    ngx_memcpy(dst->data, buf, dst->len);
}
