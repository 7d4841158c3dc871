
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
ngx_vmess_users_add_temporary(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    if (zone->refresh == 0 || users->n == 0) {
        return NGX_OK;
    }

    users->refresh = zone->refresh;
    users->temporary = ngx_slab_calloc_locked(zone->shpool,
                                  2 * users->n * sizeof(ngx_vmess_auth_key_t));
    users->until = ngx_slab_calloc_locked(zone->shpool,
                                          2 * users->n * sizeof(time_t));

    return (users->temporary && users->until) ? NGX_OK : NGX_ERROR;
}


void
ngx_vmess_users_free_temporary(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    if (users->temporary) {
        ngx_explicit_memzero(users->temporary,
                             2 * users->n * sizeof(ngx_vmess_auth_key_t));
        ngx_slab_free_locked(zone->shpool, users->temporary);
    }

    if (users->until) {
        ngx_slab_free_locked(zone->shpool, users->until);
    }
}


void
ngx_vmess_users_copy_temporary(ngx_vmess_users_t *users, ngx_vmess_users_t *old)
{
    ngx_uint_t           i, k, m, slot;
    ngx_vmess_record_t  *record;

    if (users->temporary == NULL || old->refresh != users->refresh) {
        return;
    }

    k = 0;

    for (i = 0; i < 2 * old->n; i++) {

        if (old->until[i] < ngx_time()) {
            continue;
        }

        record = &old->records[i % old->n];

        /* mostly in the same order */

        for (m = 0; m < users->n; m++, k++) {

            k %= users->n;

            if (ngx_memcmp(users->records[k].cmd_key, record->cmd_key,
                           NGX_VMESS_KEY_LEN)
                == 0)
            {
                break;
            }
        }

        if (m == users->n) {
            continue;
        }

        slot = i / old->n * users->n + k;

        users->temporary[slot] = old->temporary[i];
        users->until[slot] = old->until[i];
    }
}


ngx_int_t
ngx_vmess_detour_id(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    u_char *id, uint32_t *random)
{
    u_char              cmd_key[NGX_VMESS_KEY_LEN];
    time_t              period, until;
    ngx_int_t           rc;
    ngx_uint_t          slot;
    ngx_vmess_users_t  *users;

    rc = NGX_DECLINED;

    users = ngx_vmess_users_acquire(zone->sh);

    if (users->refresh == 0 || account->number >= users->n
        || users->records[account->number].user != account->user)
    {
        goto done;
    }

    period = ngx_time() / users->refresh;
    until = (period + 2) * users->refresh - 1;

    ngx_vmess_detour_derive(zone, users->records[account->number].cmd_key,
                            period, id, random);

    slot = (period & 1) * users->n + account->number;

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


ngx_uint_t
ngx_vmess_detour_scan(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users,
    const u_char *eauid, ngx_vmess_account_t *account, int64_t *t)
{
    u_char      id[NGX_VMESS_ID_LEN];
    uint32_t    random;
    ngx_uint_t  i, n;

    if (users->temporary == NULL) {
        return users->n;
    }

    n = 2 * users->n;

    for (i = 0; i < n; i++) {

        i = ngx_vmess_auth_method()->scan(users->temporary, i, n, eauid, t);

        if (i < n && users->until[i] >= ngx_time()) {
            break;
        }

        /* go on behind one that has expired */
    }

    if (i >= n) {
        return users->n;
    }

    ngx_vmess_account_set(users, i % users->n, account);

    account->tried_temporary = i + 1;

    ngx_vmess_detour_derive(zone, account->cmd_key,
                            (users->until[i] + 1) / users->refresh - 2, id,
                            &random);
    ngx_vmess_id_cmd_key(account->cmd_key, id);
    ngx_explicit_memzero(id, sizeof(id));

    account->temporary = 1;

    return i % users->n;
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
