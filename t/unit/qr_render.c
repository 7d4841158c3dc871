
/*
 * Copyright (C) ngx_vmess authors
 *
 * Writes pictures of codes for qr.t: of each line of its input, a level, L or
 * M, the name of a file and a text in hexadecimal.  A line of output says which
 * version, level and mask it is, or "-" if the text is too long.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_qr.h"


static ngx_vmess_qr_t  qr;


static void
render(const char *name)
{
    FILE       *file;
    u_char     *p, *last;
    size_t      len;
    ngx_str_t   label = ngx_string("<code> & \"\xc3\xa9\"");

    len = ngx_vmess_qr_svg_len(&qr, &label);

    p = malloc(len);
    file = fopen(name, "w");

    if (p == NULL || file == NULL) {
        abort();
    }

    last = ngx_vmess_qr_svg(p, &qr, &label);

    if (fwrite(p, 1, last - p, file) != (size_t) (last - p) || fclose(file)) {
        abort();
    }

    free(p);
}


int
main(void)
{
    char           level, name[256];
    size_t         n;
    unsigned int   byte;
    ngx_str_t      s;

    static char    hex[2 * 4096 + 1];
    static u_char  text[4096];

    while (scanf(" %c %255s %8192s", &level, name, hex) == 3) {

        s.data = text;
        s.len = strlen(hex) / 2;

        for (n = 0; n < s.len; n++) {
            if (sscanf(&hex[2 * n], "%2x", &byte) != 1) {
                abort();
            }

            text[n] = (u_char) byte;
        }

        if (ngx_vmess_qr_create(&qr, level == 'M' ? NGX_VMESS_QR_M
                                                  : NGX_VMESS_QR_L, &s)
            != NGX_OK)
        {
            printf("-\n");
            continue;
        }

        render(name);

        printf("%d %c %d\n", (int) qr.version,
               qr.level == NGX_VMESS_QR_M ? 'M' : 'L', (int) qr.mask);
    }

    return 0;
}
