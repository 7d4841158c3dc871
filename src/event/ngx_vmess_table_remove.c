
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_table_private.h"
#include "ngx_vmess_table_remove.h"
#include "ngx_vmess_table_temporary.h"


void
ngx_vmess_table_remove(ngx_vmess_table_t *t, ngx_vmess_user_t *user)
{
    ngx_uint_t             k;
    ngx_vmess_user_set_t  *conf;

    user->removed = ngx_current_msec;

    ngx_vmess_memory_barrier();

    user->state = NGX_VMESS_USER_REMOVED;

    ngx_vmess_memory_barrier();

    conf = user->conf;

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {
        if (conf->slot[k] != NGX_VMESS_SLOT_NONE) {
            ngx_vmess_slot_free(&t->slots, conf->slot[k]);
        }
    }

    ngx_vmess_table_temporary_free(t, user);
    ngx_vmess_table_unlink_token(t, user, conf);

    t->count--;

    if (!user->listed) {
        user->listed = 1;
        user->link = t->removed;
        t->removed = ngx_vmess_table_number(t, user) + 1;
    }

    ngx_vmess_table_stamp(t, user);
    ngx_vmess_table_end_flows(t);
}
