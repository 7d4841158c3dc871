
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define fuzz_check(ok)                                                        \
    if (!(ok)) {                                                              \
        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #ok);              \
        abort();                                                              \
    }


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* a copy of exactly len bytes, so that ASan sees a byte read too far */

static inline u_char *
fuzz_copy(const void *data, size_t len)
{
    u_char  *p;

    p = malloc(len ? len : 1);
    fuzz_check(p != NULL);

    if (len) {
        ngx_memcpy(p, data, len);
    }

    return p;
}


#endif /* _FUZZ_H_INCLUDED_ */
