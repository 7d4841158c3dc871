
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_id.h"


/* an id is 16 bytes or refused; what is printed from it reads the same */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        buf[33];
    u_char      id[NGX_VMESS_ID_LEN], again[NGX_VMESS_ID_LEN];
    ngx_str_t   text;
    ngx_uint_t  i;

    text.data = (u_char *) data;
    text.len = size;

    if (ngx_vmess_id_parse(id, &text) != NGX_OK) {
        fuzz_check(size == 0 || size > 30);
        return 0;
    }

    fuzz_check(size <= 36 && size != 31);

    for (i = 0; i < NGX_VMESS_ID_LEN; i++) {
        snprintf(buf + 2 * i, 3, "%02x", id[i]);
    }

    text.data = (u_char *) buf;
    text.len = 32;

    fuzz_check(ngx_vmess_id_parse(again, &text) == NGX_OK);
    fuzz_check(ngx_memcmp(id, again, sizeof(id)) == 0);

    return 0;
}
