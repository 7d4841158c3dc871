
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_id.h"
#include "ngx_vmess_hash.h"


static ngx_int_t ngx_vmess_id_parse_hex(u_char *id, u_char *p, u_char *last);
static void ngx_vmess_id_hash(u_char *out, const u_char *id, const char *salt);


ngx_int_t
ngx_vmess_id_parse(u_char *id, const ngx_str_t *text)
{
    u_char  hash[20], mapped[NGX_VMESS_ID_LEN + 30];

    if (text->len >= 32 && text->len <= 36) {
        return ngx_vmess_id_parse_hex(id, text->data,
                                      text->data + text->len);
    }

    if (text->len == 0 || text->len > 30) {
        return NGX_ERROR;
    }

    /* RFC 4122, 4.3.  Version 5 UUID, the name space being nil */

    ngx_memzero(mapped, NGX_VMESS_ID_LEN);
    ngx_memcpy(mapped + NGX_VMESS_ID_LEN, text->data, text->len);

    ngx_vmess_hash_sha1(hash, mapped, NGX_VMESS_ID_LEN + text->len);

    hash[6] = (hash[6] & 0x0f) | 0x50;
    hash[8] = (hash[8] & 0x3f) | 0x80;

    ngx_memcpy(id, hash, NGX_VMESS_ID_LEN);

    ngx_explicit_memzero(mapped, sizeof(mapped));
    ngx_explicit_memzero(hash, sizeof(hash));

    return NGX_OK;
}


/*
 * Groups of digits, each with an optional hyphen before it, even the first;
 * what follows the last digit is ignored, as Xray does.
 */

static ngx_int_t
ngx_vmess_id_parse_hex(u_char *id, u_char *p, u_char *last)
{
    u_char      c;
    ngx_uint_t  i, n, digit;

    /* digits before which a hyphen may stand */

    static const u_char  groups[] = { 0, 8, 12, 16, 20, 255 };

    i = 0;

    for (n = 0; n < 2 * NGX_VMESS_ID_LEN; n++) {

        if (n == groups[i]) {
            i++;

            if (p < last && *p == '-') {
                p++;
            }
        }

        if (p == last) {
            return NGX_ERROR;
        }

        c = *p++;

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else {
            c |= 0x20;

            if (c < 'a' || c > 'f') {
                return NGX_ERROR;
            }

            digit = c - 'a' + 10;
        }

        id[n / 2] = (n % 2) ? (id[n / 2] | digit) : digit << 4;
    }

    return NGX_OK;
}


void
ngx_vmess_id_cmd_key(u_char *cmd_key, const u_char *id)
{
    ngx_vmess_id_hash(cmd_key, id, "c48619fe-8f02-49e0-b9e9-edf763e17e21");
}


/*
 * VMess, "Account".  An id that is its own hash would be hashed with another
 * salt: none is known, and none will be met.
 */

void
ngx_vmess_id_next(u_char *next, const u_char *id)
{
    ngx_vmess_id_hash(next, id, "16167dc8-16b6-4e6d-b8bb-65dd68113a81");
}


static void
ngx_vmess_id_hash(u_char *out, const u_char *id, const char *salt)
{
    u_char  buf[NGX_VMESS_ID_LEN + 36];

    ngx_memcpy(buf, id, NGX_VMESS_ID_LEN);
    ngx_memcpy(buf + NGX_VMESS_ID_LEN, salt, 36);

    ngx_vmess_hash_md5(out, buf, sizeof(buf));

    ngx_explicit_memzero(buf, sizeof(buf));
}
