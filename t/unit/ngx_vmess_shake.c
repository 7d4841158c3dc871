
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_shake.h"


#define TEST_SHAKE_LEN  1000


int
main(void)
{
    u_char              data[167], out[TEST_SHAKE_LEN];
    EVP_MD             *md;
    EVP_MD_CTX         *ctx;
    ngx_uint_t          i, n, same;
    ngx_vmess_shake_t   shake;

    static const size_t  lengths[] = { 0, 1, 7, 8, 16, 135, 136, 166, 167 };

    md = EVP_MD_fetch(NULL, "SHAKE128", NULL);
    ctx = EVP_MD_CTX_new();

    for (n = 0; n < sizeof(lengths) / sizeof(lengths[0]); n++) {
        test_fill(data, lengths[n]);

        if (EVP_DigestInit_ex(ctx, md, NULL) != 1
            || EVP_DigestUpdate(ctx, data, lengths[n]) != 1
            || EVP_DigestFinalXOF(ctx, out, sizeof(out)) != 1)
        {
            return 2;
        }

        ngx_vmess_shake_init(&shake, data, lengths[n]);

        same = 0;

        for (i = 0; i < sizeof(out); i += 2) {
            same += ngx_vmess_shake_next(&shake)
                    == (ngx_uint_t) (out[i] << 8 | out[i + 1]);
        }

        test_ok(same == sizeof(out) / 2, "SHAKE128 of %zu bytes", lengths[n]);
    }

    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);

    return test_done();
}
