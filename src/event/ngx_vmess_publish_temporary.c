
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_publish_temporary.h"
#include "ngx_vmess_hit.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_temporary.h"


/* temporary ids of a user that are good yet, by the memory of any zone */

void
ngx_vmess_publish_temporary_save(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    ngx_vmess_saved_t *saved)
{
    ngx_uint_t       k;
    ngx_vmess_hit_t  hit;

    ngx_memzero(saved, sizeof(ngx_vmess_saved_t));

    ngx_memcpy(saved->id, user->conf->id[NGX_VMESS_USER_OWN],
               NGX_VMESS_ID_LEN);

    saved->refresh = ngx_vmess_table_temporary_refresh(t);

    for (k = 0; k < 2; k++) {

        if (user->temporary[k] == NGX_VMESS_SLOT_NONE
            || ngx_vmess_hit_take(t, user->temporary[k], NULL, ngx_time(),
                                   &hit)
               != NGX_OK
            || ngx_vmess_auth_method()->init(&saved->key[k], hit.cmd_key)
               != NGX_OK)
        {
            continue;
        }

        ngx_memcpy(saved->cmd_key[k], hit.cmd_key, NGX_VMESS_KEY_LEN);

        saved->until[k] = ngx_vmess_table_temporary_until(t, user, hit.serial,
                                                          k);
    }

    ngx_explicit_memzero(&hit, sizeof(ngx_vmess_hit_t));
}


/* gives them to the user that has the id now, if there is one */

void
ngx_vmess_publish_temporary_add(ngx_vmess_table_t *t, ngx_vmess_saved_t *saved)
{
    ngx_uint_t         k;
    ngx_vmess_user_t  *user;

    user = ngx_vmess_table_find_id(t, saved->id);

    for (k = 0; k < 2; k++) {

        if (user && saved->until[k]
            && ngx_vmess_table_temporary_refresh(t) == saved->refresh)
        {
            (void) ngx_vmess_table_temporary_set(t, user,
                                    user->conf->serial[NGX_VMESS_USER_OWN], k,
                                    saved->cmd_key[k], &saved->key[k],
                                    saved->until[k]);
        }
    }

    ngx_explicit_memzero(saved, sizeof(ngx_vmess_saved_t));
}
