
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_address.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                 text[256];
    u_char               c, *copy, *p, *q, addr[16];
    size_t               used, n;
    ngx_int_t            rc;
    ngx_vmess_address_t  address, shorter;

    copy = fuzz_copy(data, size);
    p = copy;

    rc = ngx_vmess_address_parse(&address, &p, copy + size);

    used = p - copy;
    fuzz_check(used <= size && (rc == NGX_OK || used == 0));
    fuzz_check((rc == NGX_ERROR) == (address.err != NULL));
    fuzz_check(ngx_memcmp(copy, data, size) == 0);

    if (rc == NGX_OK) {

        switch (address.type) {

        case NGX_VMESS_ADDR_DOMAIN:
            fuzz_check(address.domain.len >= 1);
            fuzz_check(address.domain.len <= sizeof(address.data));
            fuzz_check(address.domain.data == address.data);

            for (n = 0; n < address.domain.len; n++) {
                c = address.data[n];

                fuzz_check((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
                           || c == '-' || c == '_' || c == '.');
            }

            /* never an address in text */

            ngx_memcpy(text, address.data, address.domain.len);
            text[address.domain.len] = '\0';

            fuzz_check(inet_pton(AF_INET, text, addr) != 1);
            break;

        case NGX_VMESS_ADDR_IPV4:
        case NGX_VMESS_ADDR_IPV6:
            break;

        default:
            fuzz_check(0);
        }

        /* less of it is never enough */

        for (n = 0; n < used; n++) {
            q = fuzz_copy(data, n);
            p = q;

            fuzz_check(ngx_vmess_address_parse(&shorter, &p, q + n)
                       == NGX_AGAIN);
            free(q);
        }
    }

    free(copy);

    return 0;
}
