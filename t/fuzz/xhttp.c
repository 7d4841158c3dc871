
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_xhttp.h"


static void fuzz_path(const uint8_t *data, size_t size);
static void fuzz_padding(const uint8_t *data, size_t size);


/* the first byte chooses the function */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    if (data[0] & 1) {
        fuzz_path(data + 1, size - 1);

    } else {
        fuzz_padding(data + 1, size - 1);
    }

    return 0;
}


/* a path made of what was taken is the same path */

static void
fuzz_path(const uint8_t *data, size_t size)
{
    u_char      path[NGX_VMESS_XHTTP_SID_MAX + 1 + NGX_INT64_LEN];
    u_char     *p;
    int64_t     seq, n;
    ngx_int_t   rc;
    ngx_str_t   rest, sid, again;

    p = fuzz_copy(data, size);

    rest.data = p;
    rest.len = size;

    rc = ngx_vmess_xhttp_path(&rest, &sid, &seq);

    fuzz_check(rc == NGX_OK || rc == NGX_DECLINED);

    if (rc == NGX_OK) {
        fuzz_check(sid.data == p && sid.len <= size);
        fuzz_check(sid.len <= NGX_VMESS_XHTTP_SID_MAX);
        fuzz_check(sid.len != 0 || size == 0);
        fuzz_check(sid.len == size || p[sid.len] == '/');
        fuzz_check(seq >= 0 || seq == NGX_VMESS_XHTTP_NO_SEQ);

        ngx_memcpy(path, sid.data, sid.len);
        rest.data = path;
        rest.len = sid.len;

        if (seq != NGX_VMESS_XHTTP_NO_SEQ) {
            rest.len += snprintf((char *) path + sid.len,
                                 sizeof(path) - sid.len, "/%lld",
                                 (long long) seq);
        }

        fuzz_check(ngx_vmess_xhttp_path(&rest, &again, &n) == NGX_OK);
        fuzz_check(n == seq && again.data == path && again.len == sid.len);
    }

    free(p);
}


/* a query is the same in Referer, but for a fragment */

static void
fuzz_padding(const uint8_t *data, size_t size)
{
    size_t      len;
    u_char     *p, *url;
    ngx_str_t   args, referer;

    p = fuzz_copy(data, size);

    args.data = p;
    args.len = size;

    len = ngx_vmess_xhttp_padding(NULL, &args);

    fuzz_check(len <= size);

    url = fuzz_copy("?", 1);
    url = realloc(url, size + 1);
    fuzz_check(url != NULL);

    ngx_memcpy(url + 1, data, size);

    referer.data = url;
    referer.len = size + 1;

    if (ngx_strlchr(p, p + size, '#') == NULL) {
        fuzz_check(ngx_vmess_xhttp_padding(&referer, NULL) == len);

    } else {
        fuzz_check(ngx_vmess_xhttp_padding(&referer, NULL) <= size);
    }

    /* an URL of any text */

    fuzz_check(ngx_vmess_xhttp_padding(&args, &referer) <= size);

    free(url);
    free(p);
}
