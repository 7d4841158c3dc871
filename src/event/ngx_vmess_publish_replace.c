
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_publish_replace.h"
#include "ngx_vmess_publish_temporary.h"
#include "ngx_vmess_edit.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_remove.h"
#include "ngx_vmess_table_set.h"


/* ms: a worker is given to apply a list to its end */

#define NGX_VMESS_PUBLISH_PATIENCE  2000


/* the zone of that name in the configuration before, if its size was another */

ngx_vmess_zone_t *
ngx_vmess_publish_replace_old(ngx_vmess_zone_t *zone)
{
    ngx_vmess_zone_t  *old;

    if (ngx_vmess_zone_old_conf(zone->cycle) == NULL) {
        return NULL;
    }

    old = ngx_vmess_zone_lookup(zone->cycle->old_cycle, &zone->name);

    if (old == NULL || old->sh == NULL || old->sh == zone->sh) {
        return NULL;
    }

    return old;
}


/* what is in the memory of another size; nobody knows the new one yet */

void
ngx_vmess_publish_replace_inherit(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old,
    ngx_log_t *log)
{
    ngx_uint_t              i, n;
    ngx_vmess_user_t       *user;
    ngx_vmess_saved_t       saved;
    ngx_vmess_table_t      *t, *from;
    ngx_vmess_table_e       rc;
    ngx_vmess_user_info_t   info;

    ngx_memcpy(zone->sh->secret, old->sh->secret, NGX_VMESS_SECRET_LEN);

    /*
     * What old workers would change from now on would be lost.  A list that one
     * of them applies is not to be there in part.
     */

    from = ngx_vmess_users_lock(old);

    for (i = 0; i < NGX_VMESS_PUBLISH_PATIENCE && ngx_vmess_edit_is_open(old);
         i++)
    {
        ngx_vmess_users_unlock(old);
        ngx_msleep(1);
        from = ngx_vmess_users_lock(old);
    }

    old->sh->replaced = 1;

    ngx_vmess_users_unlock(old);

    n = ngx_vmess_table_max(from);

    for (i = 0; i < n; i++) {

        if (ngx_vmess_table_get(from, i, &info) != NGX_OK) {
            continue;
        }

        ngx_vmess_publish_temporary_save(from, ngx_vmess_table_user(from, i),
                                         &saved);

        rc = NGX_VMESS_TABLE_SAME;

        t = ngx_vmess_users_lock(zone);

        user = ngx_vmess_table_find(t, &info.value.name);

        if (user == NULL && info.value.origin == NGX_VMESS_ORIGIN_API) {
            rc = ngx_vmess_table_set(t, &info.value, NULL, &user);
        }

        if (user && rc <= NGX_VMESS_TABLE_CHANGED) {
            user->usage = info.usage;
        }

        ngx_vmess_publish_temporary_add(t, &saved);

        ngx_vmess_users_unlock(zone);

        if (rc > NGX_VMESS_TABLE_CHANGED) {
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": no room for user \"%V\"",
                          &zone->name, &info.value.name);
        }
    }

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}


/* for connections of old workers: they know the old memory */

void
ngx_vmess_publish_replace(ngx_vmess_zone_t *zone, ngx_vmess_zone_t *old)
{
    ngx_uint_t              i, n;
    ngx_vmess_user_t       *user, *ouser;
    ngx_vmess_table_t      *t;
    ngx_vmess_user_info_t   info;

    n = ngx_vmess_table_max(old->sh->table);

    for (i = 0; i < n; i++) {

        t = ngx_vmess_users_lock(old);

        ouser = ngx_vmess_table_user(t, i);

        if (ngx_vmess_table_used(ouser)) {

            user = ngx_vmess_table_find(zone->sh->table, &ouser->name);

            if (user == NULL
                || ngx_vmess_table_get(zone->sh->table,
                              ngx_vmess_table_number(zone->sh->table, user),
                              &info)
                   != NGX_OK
                || ngx_vmess_table_set(t, &info.value, NULL, NULL)
                   > NGX_VMESS_TABLE_CHANGED)
            {
                ngx_vmess_table_remove(t, ouser);
            }
        }

        ngx_vmess_users_unlock(old);
    }

    ngx_explicit_memzero(&info, sizeof(ngx_vmess_user_info_t));
}
