
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_choice.h"
#include "ngx_vmess_subscription.h"


/*
 * What a client says, in three lines, leads to a format: that of the argument
 * alone if there is one.  A token of any bytes is good or not, and its digest
 * is that of its bytes and the key.
 */

static ngx_str_t
fuzz_line(const uint8_t **data, size_t *size)
{
    size_t      len;
    u_char     *end;
    ngx_str_t   s;

    end = *size ? memchr(*data, '\n', *size) : NULL;
    len = end ? (size_t) (end - *data) : *size;

    s.data = fuzz_copy(*data, len);
    s.len = len;

    *data += len + (end != NULL);
    *size -= len + (end != NULL);

    return s;
}


static void
fuzz_token(ngx_str_t *token)
{
    u_char  key[NGX_VMESS_SUBSCRIPTION_KEY],
            digest[NGX_VMESS_SUBSCRIPTION_DIGEST],
            again[NGX_VMESS_SUBSCRIPTION_DIGEST],
            text[NGX_VMESS_SUBSCRIPTION_LEN];

    ngx_str_t  s;

    if (!ngx_vmess_subscription_check(token)) {
        return;
    }

    fuzz_check(token->len >= NGX_VMESS_SUBSCRIPTION_MIN
               && token->len <= NGX_VMESS_SUBSCRIPTION_MAX);

    ngx_memcpy(key, token->data, NGX_VMESS_SUBSCRIPTION_KEY);

    ngx_vmess_subscription_digest(digest, key, token);
    ngx_vmess_subscription_digest(again, key, token);
    fuzz_check(ngx_memcmp(digest, again, sizeof(digest)) == 0);

    key[0] ^= 1;
    ngx_vmess_subscription_digest(again, key, token);
    fuzz_check(ngx_memcmp(digest, again, sizeof(digest)) != 0);

    ngx_vmess_subscription_text(text, key);
    s.data = text;
    s.len = NGX_VMESS_SUBSCRIPTION_LEN;
    fuzz_check(ngx_vmess_subscription_check(&s));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t   format, accept, agent, none;
    ngx_uint_t  choice, alone;

    format = fuzz_line(&data, &size);
    accept = fuzz_line(&data, &size);
    agent = fuzz_line(&data, &size);
    ngx_str_null(&none);

    choice = ngx_vmess_choice_format(&format, &accept, &agent);
    fuzz_check(choice <= NGX_VMESS_CHOICE_PAGE);

    alone = ngx_vmess_choice_format(&format, &none, &none);

    if (alone != NGX_VMESS_PROFILE_V2RAYN) {
        fuzz_check(choice == alone);
    }

    fuzz_token(&format);

    free(format.data);
    free(accept.data);
    free(agent.data);

    return 0;
}
