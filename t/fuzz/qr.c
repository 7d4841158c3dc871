
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_qr.h"
#include "../unit/qr_read.h"


static ngx_vmess_qr_t  qr;


static void fuzz_svg(ngx_str_t *label);


/*
 * The first byte: 0 or 1, the level of a code of the rest, which is its label,
 * too; others, the rest are modules as no code has them.
 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t      max;
    u_char     *copy;
    ngx_int_t   rc;
    ngx_str_t   text;

    if (size == 0) {
        return 0;
    }

    text.len = size - 1;
    text.data = copy = fuzz_copy(data + 1, size - 1);

    if (data[0] <= NGX_VMESS_QR_M) {
        ngx_memset(&qr, 0xa5, sizeof(ngx_vmess_qr_t));

        rc = ngx_vmess_qr_create(&qr, data[0], &text);

        max = (data[0] == NGX_VMESS_QR_M) ? NGX_VMESS_QR_M_MAX
                                          : NGX_VMESS_QR_L_MAX;

        fuzz_check(rc == (text.len <= max ? NGX_OK : NGX_DECLINED));

        if (rc == NGX_OK) {
            fuzz_check(qr.level >= data[0]);
            fuzz_check(qr_read(&qr, text.data, text.len));
            fuzz_svg(&text);
        }

    } else {
        ngx_memzero(qr.modules, sizeof(qr.modules));
        ngx_memcpy(qr.modules, text.data,
                   ngx_min(text.len, sizeof(qr.modules)));

        qr.size = 17 + 4 * (1 + data[0] % NGX_VMESS_QR_VERSION_MAX);

        text.len = 0;
        fuzz_svg(&text);
    }

    free(copy);

    return 0;
}


/* it fits, and the label does not end its attribute */

static void
fuzz_svg(ngx_str_t *label)
{
    size_t   len;
    u_char  *svg, *last, *p;

    len = ngx_vmess_qr_svg_len(&qr, label);
    svg = malloc(len);
    fuzz_check(svg != NULL);

    last = ngx_vmess_qr_svg(svg, &qr, label);
    fuzz_check((size_t) (last - svg) <= len);

    p = memmem(svg, last - svg, "aria-label=\"", 12);
    fuzz_check(p != NULL);

    for (p += 12; p < last && *p != '"'; p++) {
        fuzz_check(*p != '<' && *p != '>');
        fuzz_check(*p >= 0x20 || *p == '\t' || *p == LF || *p == CR);
    }

    fuzz_check(last - p > 8 && ngx_memcmp(p, "\"><path ", 8) == 0);

    free(svg);
}
