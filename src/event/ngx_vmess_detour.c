
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_detour.h"
#include "proto/ngx_vmess_hash.h"
#include "proto/ngx_vmess_id.h"


static void ngx_vmess_detour_derive(ngx_vmess_zone_t *zone,
    const u_char *cmd_key, time_t period, u_char *id, uint32_t *random);


ngx_int_t
ngx_vmess_detour_id(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    ngx_uint_t number, u_char *id, uint32_t *random)
{
    u_char              cmd_key[NGX_VMESS_KEY_LEN];
    time_t              period, until;
    ngx_int_t           rc;
    ngx_uint_t          slot;
    ngx_vmess_users_t  *users;

    rc = NGX_DECLINED;

    users = ngx_vmess_users_acquire(zone->sh);

    if (users->refresh == 0 || number >= users->n
        || users->records[number].user != user)
    {
        goto done;
    }

    period = ngx_time() / users->refresh;
    until = (period + 2) * users->refresh - 1;

    ngx_vmess_detour_derive(zone, users->records[number].cmd_key,
                            period, id, random);

    slot = (period & 1) * users->n + number;

    if (users->until[slot] != until) {

        /* workers that do it at once write the same */

        ngx_vmess_id_cmd_key(cmd_key, id);

        rc = ngx_vmess_auth_method()->init(&users->temporary[slot], cmd_key);

        ngx_explicit_memzero(cmd_key, sizeof(cmd_key));

        if (rc != NGX_OK) {
            rc = NGX_DECLINED;
            goto done;
        }

        ngx_vmess_memory_barrier();

        users->until[slot] = until;
    }

    rc = NGX_OK;

done:

    ngx_vmess_users_release(zone->sh);

    return rc;
}


ngx_int_t
ngx_vmess_detour_find(ngx_vmess_users_t *users, const u_char *eauid,
    ngx_uint_t *slot, int64_t *t)
{
    ngx_uint_t  i, n;

    n = users->temporary ? 2 * users->n : 0;

    for (i = 0; i < n; i++) {

        i = ngx_vmess_auth_method()->scan(users->temporary, i, n, eauid, t);

        if (i < n && users->until[i] >= ngx_time()) {
            *slot = i;
            return NGX_OK;
        }

        /* go on behind one that has expired */
    }

    return NGX_DECLINED;
}


void
ngx_vmess_detour_key(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users,
    ngx_uint_t slot, u_char *cmd_key)
{
    u_char    id[NGX_VMESS_ID_LEN];
    uint32_t  random;

    ngx_vmess_detour_derive(zone, cmd_key,
                            (users->until[slot] + 1) / users->refresh - 2, id,
                            &random);

    ngx_vmess_id_cmd_key(cmd_key, id);

    ngx_explicit_memzero(id, sizeof(id));
}


static void
ngx_vmess_detour_derive(ngx_vmess_zone_t *zone, const u_char *cmd_key,
    time_t period, u_char *id, uint32_t *random)
{
    u_char    data[NGX_VMESS_SECRET_LEN + NGX_VMESS_KEY_LEN + sizeof(uint64_t)],
              digest[32];
    uint64_t  n;

    n = period;

    ngx_memcpy(data, zone->sh->secret, NGX_VMESS_SECRET_LEN);
    ngx_memcpy(data + NGX_VMESS_SECRET_LEN, cmd_key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + NGX_VMESS_SECRET_LEN + NGX_VMESS_KEY_LEN, &n,
               sizeof(uint64_t));

    ngx_vmess_hash_sha256(digest, data, sizeof(data));

    ngx_memcpy(id, digest, NGX_VMESS_ID_LEN);
    ngx_memcpy(random, digest + NGX_VMESS_ID_LEN, sizeof(uint32_t));

    ngx_explicit_memzero(data, sizeof(data));
    ngx_explicit_memzero(digest, sizeof(digest));
}
