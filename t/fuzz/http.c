
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_http.h"


static ngx_str_t  fuzz_paths[] = { ngx_string("/"), ngx_string("/a") };
static ngx_str_t  fuzz_hosts[] = { ngx_string("h.example"),
                                   ngx_string("[2001:db8::1]") };


/* the first byte says how many bytes come at a time, and what is asked for */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                 *copy;
    size_t                  n, step, pos;
    ngx_buf_t               b;
    ngx_int_t               rc, whole;
    ngx_array_t             paths, hosts;
    ngx_vmess_http_t        ht, all;
    ngx_vmess_http_conf_t   conf;

    if (size < 1) {
        return 0;
    }

    ngx_memzero(&conf, sizeof(ngx_vmess_http_conf_t));

    paths.elts = fuzz_paths;
    paths.nelts = 2;
    hosts.elts = fuzz_hosts;
    hosts.nelts = 2;

    conf.paths = (data[0] & 1) ? &paths : NULL;
    conf.hosts = (data[0] & 2) ? &hosts : NULL;

    if (data[0] & 4) {
        ngx_str_set(&conf.method, "GET");
    }

    step = 1 + (data[0] >> 3) * 9;

    data++;
    size--;

    ngx_memzero(&all, sizeof(ngx_vmess_http_t));
    ngx_memzero(&ht, sizeof(ngx_vmess_http_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    /* at once and in pieces: the same verdict */

    copy = fuzz_copy(data, size);

    b.pos = copy;
    b.last = copy + size;

    whole = ngx_vmess_http_read(&all, &conf, &b);
    pos = b.pos - copy;

    fuzz_check(whole == NGX_OK || whole == NGX_AGAIN
               || whole == NGX_DECLINED);
    fuzz_check((whole == NGX_DECLINED) == (all.err != NULL));
    fuzz_check(ngx_memcmp(copy, data, size) == 0);
    fuzz_check(whole != NGX_AGAIN || size < NGX_VMESS_HTTP_MAX);

    if (whole == NGX_OK) {
        fuzz_check(pos > 4 && pos <= NGX_VMESS_HTTP_MAX);
        fuzz_check(ngx_memcmp(copy + pos - 4, "\r\n\r\n", 4) == 0);

    } else {
        fuzz_check(pos == 0);
    }

    free(copy);

    for (n = 0; /* void */; n = ngx_min(n + step, size)) {
        copy = fuzz_copy(data, n);

        b.pos = copy;
        b.last = copy + n;

        rc = ngx_vmess_http_read(&ht, &conf, &b);

        fuzz_check(rc == NGX_AGAIN || rc == whole);
        fuzz_check(b.pos == copy + (rc == NGX_OK ? pos : 0));

        free(copy);

        if (rc != NGX_AGAIN || n == size) {
            break;
        }
    }

    fuzz_check(rc == whole);

    return 0;
}
