
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "ngx_vmess_table_room.h"
#include "ngx_vmess_table_temporary.h"


void
ngx_vmess_table_temporary_set_refresh(ngx_vmess_table_t *t, time_t refresh)
{
    t->refresh = refresh;
}


time_t
ngx_vmess_table_temporary_refresh(ngx_vmess_table_t *t)
{
    return t->refresh;
}


void
ngx_vmess_table_temporary_add(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t           i;
    ngx_uint_t         k;

    if (t->refresh == 0) {
        ngx_vmess_table_temporary_free(t, user);
        return;
    }

    for (k = 0; k < 2; k++) {

        if (user->temporary[k] != NGX_VMESS_SLOT_NONE
            || !ngx_vmess_table_room_fits(t, t->kept_users, t->kept_slots + 1))
        {
            continue;
        }

        i = ngx_vmess_slot_alloc(&t->slots);

        ngx_vmess_slot_fill_temporary(&t->slots, i,
                                      ngx_vmess_table_number(t, user));

        user->temporary[k] = i;
    }
}


void
ngx_vmess_table_temporary_free(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    uint32_t    i;
    ngx_uint_t  k;

    for (k = 0; k < 2; k++) {

        i = user->temporary[k];

        if (i != NGX_VMESS_SLOT_NONE) {
            user->temporary[k] = NGX_VMESS_SLOT_NONE;

            ngx_vmess_memory_barrier();

            ngx_vmess_slot_free(&t->slots, i);
        }
    }
}


ngx_int_t
ngx_vmess_table_temporary_set(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    uint32_t serial, ngx_uint_t odd, const u_char *cmd_key,
    ngx_vmess_auth_key_t *key, time_t until)
{
    uint32_t               i;
    ngx_vmess_user_set_t  *conf;

    i = user->temporary[odd];
    conf = user->conf;

    if (i == NGX_VMESS_SLOT_NONE || !ngx_vmess_table_used(user)
        || conf->serial[NGX_VMESS_USER_OWN] != serial)
    {
        return NGX_DECLINED;
    }

    ngx_vmess_slot_set_temporary(&t->slots, i, serial, cmd_key, key, until);

    return NGX_OK;
}


time_t
ngx_vmess_table_temporary_until(ngx_vmess_table_t *t, ngx_vmess_user_t *user,
    uint32_t serial, ngx_uint_t odd)
{
    uint32_t           i;
    ngx_vmess_slot_t  *s;

    i = user->temporary[odd];

    if (i == NGX_VMESS_SLOT_NONE) {
        return 0;
    }

    s = ngx_vmess_slot(&t->slots, i);

    return (s->serial == serial) ? s->until : 0;
}
