
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_detour.h"
#include "ngx_vmess_table_temporary.h"
#include "proto/ngx_vmess_hash.h"
#include "proto/ngx_vmess_id.h"


static void ngx_vmess_detour_derive(ngx_vmess_zone_t *zone,
    const u_char *cmd_key, time_t period, u_char *id, uint32_t *random);


ngx_int_t
ngx_vmess_detour_id(ngx_vmess_zone_t *zone, ngx_vmess_user_t *user,
    uint32_t serial, u_char *id, uint32_t *random)
{
    u_char                own[NGX_VMESS_KEY_LEN], cmd_key[NGX_VMESS_KEY_LEN];
    time_t                period, refresh, until;
    ngx_int_t             rc;
    ngx_vmess_table_t    *t;
    ngx_vmess_auth_key_t  key;

    t = zone->sh->table;

    refresh = ngx_vmess_table_temporary_refresh(t);

    if (refresh == 0
        || ngx_vmess_hit_own(user, serial, own) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    period = ngx_time() / refresh;
    until = (period + 2) * refresh - 1;

    ngx_vmess_detour_derive(zone, own, period, id, random);

    rc = NGX_OK;

    if (ngx_vmess_table_temporary_until(t, user, serial, period & 1) != until) {

        ngx_vmess_id_cmd_key(cmd_key, id);

        rc = ngx_vmess_auth_method()->init(&key, cmd_key);

        if (rc == NGX_OK) {
            t = ngx_vmess_users_lock(zone);

            rc = ngx_vmess_table_temporary_set(t, user, serial, period & 1,
                                               cmd_key, &key, until);
            ngx_vmess_users_unlock(zone);
        }

        ngx_explicit_memzero(cmd_key, sizeof(cmd_key));
        ngx_explicit_memzero(&key, sizeof(ngx_vmess_auth_key_t));
    }

    ngx_explicit_memzero(own, sizeof(own));

    return (rc == NGX_OK) ? NGX_OK : NGX_DECLINED;
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
