
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "ngx_vmess_table_find.h"
#include "ngx_vmess_table_room.h"


ngx_int_t
ngx_vmess_table_room_reserve(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t ids)
{
    if (users + ids
        && !ngx_vmess_table_room_fits(t, users + t->kept_users,
                                      ids + t->kept_slots))
    {
        return NGX_DECLINED;
    }

    t->reserved_users = users;
    t->reserved_slots = ids;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_table_room_keep(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots)
{
    if ((users > t->kept_users || slots > t->kept_slots)
        && !ngx_vmess_table_room_fits(t, users + t->reserved_users,
                                      slots + t->reserved_slots))
    {
        return NGX_DECLINED;
    }

    t->kept_users = users;
    t->kept_slots = slots;

    return NGX_OK;
}


void
ngx_vmess_table_room_need(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_table_need_t *need)
{
    ngx_uint_t             j, k, added, gone;
    ngx_vmess_user_t      *user;
    ngx_vmess_user_set_t  *conf;

    user = ngx_vmess_table_find_value(t, &value->name,
                                      ngx_crc32_long(value->name.data,
                                                     value->name.len),
                                      value);

    need->users = (user == NULL);

    if (user && !ngx_vmess_table_used(user)) {
        user = NULL;
    }

    conf = user ? user->conf : NULL;

    added = value->ids;
    gone = 0;

    for (j = 0; conf && j < NGX_VMESS_USER_IDS; j++) {

        if (conf->serial[j] == 0) {
            continue;
        }

        gone++;

        for (k = 0; k < value->ids; k++) {

            if (ngx_vmess_equal(conf->id[j], value->id[k], NGX_VMESS_ID_LEN)) {
                added--;
                gone--;
            }
        }
    }

    need->ids = added + gone;
    need->spare = ngx_min(added, gone);
    need->slots = added - need->spare;

    if (t->refresh
        && (user == NULL || user->temporary[0] == NGX_VMESS_SLOT_NONE))
    {
        need->slots += 2;
    }
}


ngx_uint_t
ngx_vmess_table_room_held(ngx_vmess_user_t *user)
{
    ngx_uint_t  k, n;

    n = 0;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {
        n += (user->conf->slot[k] != NGX_VMESS_SLOT_NONE);
    }

    for (k = 0; k < 2; k++) {
        n += (user->temporary[k] != NGX_VMESS_SLOT_NONE);
    }

    return n;
}


ngx_uint_t
ngx_vmess_table_room_fits(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots)
{
    size_t  room;

    room = (u_char *) (t->users - t->nusers)
           - (u_char *) &t->slots.blocks[t->slots.nblocks];

    users -= ngx_min(users, t->nfree_users);
    slots -= ngx_min(slots, t->slots.nfree);

    slots = (slots + NGX_VMESS_SLOTS - 1) / NGX_VMESS_SLOTS;

    return users <= room / sizeof(ngx_vmess_user_t)
           && slots <= (room - users * sizeof(ngx_vmess_user_t))
                       / sizeof(ngx_vmess_slot_block_t);
}
