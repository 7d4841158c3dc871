
/*
 * Copyright (C) ngx_vmess authors
 *
 * Users of a table, for its tests.
 */

#include "test.h"
#include "table_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_set.h"
#include "event/ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_crypto.h"
#include "proto/ngx_vmess_id.h"
#include "proto/ngx_vmess_kdf.h"

#include <stdio.h>
#include <string.h>


/* value n of user n: whoever sees it can tell whether it is whole */

void
test_value(test_user_t *u, ngx_uint_t n, ngx_uint_t version)
{
    u_char     *p;
    uint32_t    k, seed;
    ngx_uint_t  i;

    ngx_memzero(u, sizeof(test_user_t));

    u->value.name.len = sprintf(u->name, "user%u", (unsigned) n);
    u->value.name.data = (u_char *) u->name;
    u->value.ids = 1 + (version & 1);
    u->value.origin = NGX_VMESS_ORIGIN_API;
    u->value.tags = version;
    u->value.limits.quota = version * 7 + n;
    u->value.limits.max_conns = version * 3 + n;

    if (version & 4) {
        sprintf((char *) u->value.limits.token, "token-of-user%u-%u",
                (unsigned) n, (unsigned) version);
    }

    u->value.until = (version & 1) ? (time_t) (TEST_NOW + version) : 0;

    for (k = 0; k < u->value.ids; k++) {
        seed = n * 1000003 + (version / 2) * 4 + k + 1;
        p = u->value.id[k];

        for (i = 0; i < NGX_VMESS_ID_LEN; i++) {
            seed = seed * 1664525 + 1013904223;
            p[i] = seed >> 24;
        }
    }
}


void
test_make(test_user_t *u, ngx_uint_t n, ngx_uint_t version)
{
    test_value(u, n, version);

    (void) ngx_vmess_table_keys(&u->value, &u->keys);
}


ngx_vmess_table_e
test_set(ngx_vmess_table_t *t, test_user_t *u)
{
    ngx_vmess_table_e  rc;

    ngx_vmess_table_begin(t);
    rc = ngx_vmess_table_set(t, &u->value, &u->keys, NULL);
    ngx_vmess_table_end(t);

    return rc;
}


ngx_vmess_user_t *
test_lookup(ngx_vmess_table_t *t, const char *name)
{
    ngx_str_t          s;
    ngx_vmess_user_t  *user;

    s.data = (u_char *) name;
    s.len = strlen(name);

    ngx_vmess_table_begin(t);
    user = ngx_vmess_table_find(t, &s);
    ngx_vmess_table_end(t);

    return user;
}


void
test_remove(ngx_vmess_table_t *t, const char *name)
{
    ngx_vmess_user_t  *user;

    user = test_lookup(t, name);

    ngx_vmess_table_begin(t);
    ngx_vmess_table_remove(t, user);
    ngx_vmess_table_end(t);
}


/* what a client with that CmdKey sends */

static void
test_eauid(u_char *eauid, const u_char *cmd_key, uint32_t time)
{
    int              len;
    u_char           plain[16], key[NGX_VMESS_KEY_LEN];
    uint32_t         crc;
    EVP_CIPHER_CTX  *ctx;

    ngx_memzero(plain, sizeof(plain));

    plain[4] = time >> 24;
    plain[5] = time >> 16;
    plain[6] = time >> 8;
    plain[7] = time;

    crc = ngx_crc32_long(plain, 12);

    plain[12] = crc >> 24;
    plain[13] = crc >> 16;
    plain[14] = crc >> 8;
    plain[15] = crc;

    ngx_vmess_kdf(key, NGX_VMESS_KEY_LEN, cmd_key, NGX_VMESS_KDF_EAUID, NULL,
                  0);

    ctx = EVP_CIPHER_CTX_new();

    EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    EVP_EncryptUpdate(ctx, eauid, &len, plain, 16);

    EVP_CIPHER_CTX_free(ctx);
}


/* as a worker does: the user found, by which kind of id in hit */

ngx_vmess_user_t *
test_scan(ngx_vmess_table_t *t, const u_char *cmd_key, time_t now,
    ngx_vmess_hit_t *hit)
{
    u_char      eauid[16];
    int64_t     time;
    ngx_uint_t  i;

    test_eauid(eauid, cmd_key, TEST_NOW);

    for (i = 0; /* void */ ; i++) {

        i = ngx_vmess_hit_scan(t, i, eauid, &time);

        if (i == NGX_VMESS_SLOT_NONE) {
            return NULL;
        }

        if (ngx_vmess_hit_try(t, i, eauid, &time)
            && ngx_vmess_hit_take(t, i, eauid, now, hit) == NGX_OK
            && ngx_vmess_hit_check(t, hit, now) == NGX_OK)
        {
            return hit->user;
        }
    }
}


ngx_uint_t
test_fill_up(ngx_vmess_table_t *t, ngx_uint_t n)
{
    test_user_t         u;
    ngx_uint_t          i;
    ngx_vmess_table_e   rc;

    ngx_memzero(&u.keys, sizeof(u.keys));

    for (i = 0; /* void */ ; i++) {

        test_value(&u, n + i, 2);

        /* no key is scanned for: it need not be the right one */

        ngx_vmess_id_cmd_key(u.keys.cmd_key[0], u.value.id[0]);

        ngx_vmess_table_begin(t);
        rc = ngx_vmess_table_set(t, &u.value, &u.keys, NULL);
        ngx_vmess_table_end(t);

        if (rc != NGX_VMESS_TABLE_ADDED) {
            return (rc == NGX_VMESS_TABLE_FULL) ? i : 0;
        }
    }
}


ngx_int_t
test_set_temporary(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    test_user_t *u, uint32_t serial)
{
    ngx_int_t  rc;

    ngx_vmess_table_begin(t);
    rc = ngx_vmess_table_temporary_set(t, user, serial, 1, u->keys.cmd_key[0],
                                       &u->keys.key[0], TEST_NOW + 10);
    ngx_vmess_table_end(t);

    return rc;
}
