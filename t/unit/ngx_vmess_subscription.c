
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_subscription.h"

#include <string.h>


static ngx_uint_t
test_check(const char *token)
{
    ngx_str_t   s;
    ngx_uint_t  good;

    s.len = strlen(token);
    s.data = test_copy(token, s.len);

    good = ngx_vmess_subscription_check(&s);

    free(s.data);

    return good;
}


int
main(void)
{
    u_char     text[NGX_VMESS_SUBSCRIPTION_LEN],
               digest[NGX_VMESS_SUBSCRIPTION_DIGEST];
    ngx_str_t  s;

    /* values by hashlib and base64 of Python */

    static const u_char  id[NGX_VMESS_ID_LEN] = {
        0xb8, 0x31, 0x38, 0x1d, 0x63, 0x24, 0x4d, 0x53,
        0xad, 0x4f, 0x8c, 0xda, 0x48, 0xb3, 0x08, 0x11
    };

    static const u_char  key[NGX_VMESS_SUBSCRIPTION_KEY] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    };

    static const u_char  want[NGX_VMESS_SUBSCRIPTION_DIGEST] = {
        0x6a, 0x3f, 0xbf, 0x35, 0xb1, 0xfd, 0xd0, 0xa0,
        0xcb, 0xd4, 0x38, 0xe6, 0x85, 0x2f, 0x75, 0x52
    };

    ngx_vmess_subscription_derive(text, id);
    test_ok(memcmp(text, "3HJJRtkRQtAK2rqD8qUeWg", sizeof(text)) == 0,
            "a token of an id");

    ngx_vmess_subscription_text(text, key);
    test_ok(memcmp(text, "AAECAwQFBgcICQoLDA0ODw", sizeof(text)) == 0,
            "one of random bytes");

    s.data = (u_char *) "0123456789abcdef";
    s.len = 16;

    ngx_vmess_subscription_digest(digest, key, &s);
    test_ok(memcmp(digest, want, sizeof(digest)) == 0, "a digest");

    test_ok(test_check("0123456789abcdef") && test_check("_-ABCDEFGHIJKLMNOP")
            && test_check("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            "good ones");

    test_ok(!test_check("") && !test_check("0123456789abcde")
            && !test_check("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
            && !test_check("0123456789abcde/")
            && !test_check("0123456789abcd f")
            && !test_check("0123456789abcde\xc3\xa9"), "bad ones");

    return test_done();
}
