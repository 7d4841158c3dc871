
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_hit.h"
#include "proto/ngx_vmess_id.h"


static ngx_int_t ngx_vmess_hit_look(ngx_vmess_user_t *user, uint32_t serial,
    uint32_t slot, time_t now, ngx_vmess_user_set_t *copy);


ngx_uint_t
ngx_vmess_hit_scan(ngx_vmess_table_t *t, ngx_uint_t slot,
    const u_char *eauid, int64_t *time)
{
    ngx_uint_t                      b, i, n;
    ngx_vmess_slots_t              *slots;
    const ngx_vmess_auth_method_t  *method;

    method = ngx_vmess_auth_method();
    slots = ngx_vmess_table_slots(t);

    n = slots->nblocks;
    i = slot % NGX_VMESS_SLOTS;

    for (b = slot / NGX_VMESS_SLOTS; b < n; b++) {

        i = method->scan(slots->blocks[b].keys, i, NGX_VMESS_SLOTS, eauid,
                         time);

        if (i < NGX_VMESS_SLOTS) {
            return b * NGX_VMESS_SLOTS + i;
        }

        i = 0;
    }

    return NGX_VMESS_SLOT_NONE;
}


ngx_uint_t
ngx_vmess_hit_try(ngx_vmess_table_t *t, ngx_uint_t slot, const u_char *eauid,
    int64_t *time)
{
    ngx_vmess_slots_t  *slots;

    slots = ngx_vmess_table_slots(t);

    if (slot / NGX_VMESS_SLOTS >= slots->nblocks) {
        return 0;
    }

    return ngx_vmess_auth_method()->scan(ngx_vmess_slot_key(slots, slot), 0, 1,
                                         eauid, time)
           == 0;
}


/*
 * A slot that is filled gets its key last, and one that is freed loses it
 * first; so if the key fits once more, what was read before is what goes with
 * it.
 */

ngx_int_t
ngx_vmess_hit_take(ngx_vmess_table_t *t, ngx_uint_t slot, const u_char *eauid,
    time_t now, ngx_vmess_hit_t *hit)
{
    u_char             cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t           n, user;
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(ngx_vmess_table_slots(t), slot);

    hit->slot = slot;
    hit->serial = s->serial;

    ngx_vmess_memory_barrier();

    n = s->user;
    user = n & ~NGX_VMESS_SLOT_TEMPORARY;
    hit->temporary = (n != user);
    ngx_memcpy(hit->cmd_key, s->cmd_key, NGX_VMESS_KEY_LEN);

    ngx_vmess_memory_barrier();

    if (hit->serial == 0 || user >= ngx_vmess_table_max(t)
        || (eauid && !ngx_vmess_hit_try(t, slot, eauid, &hit->time)))
    {
        return NGX_DECLINED;
    }

    hit->user = ngx_vmess_table_user(t, user);

    if (ngx_vmess_hit_check(t, hit, now) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (!hit->temporary) {
        hit->owner = ngx_vmess_slot_owner(hit->cmd_key);
        return NGX_OK;
    }

    if (ngx_vmess_hit_own(hit->user, hit->serial, cmd_key) != NGX_OK) {
        return NGX_DECLINED;
    }

    hit->owner = ngx_vmess_slot_owner(cmd_key);

    ngx_explicit_memzero(cmd_key, NGX_VMESS_KEY_LEN);

    return NGX_OK;
}


ngx_int_t
ngx_vmess_hit_check(ngx_vmess_table_t *t, ngx_vmess_hit_t *hit, time_t now)
{
    ngx_int_t              rc;
    ngx_vmess_slot_t      *s;
    ngx_vmess_user_set_t   conf;

    ngx_vmess_memory_barrier();

    s = ngx_vmess_slot(ngx_vmess_table_slots(t), hit->slot);

    if (s->serial != hit->serial
        || (hit->temporary
            && ((time_t) s->until < now
                || (hit->user->temporary[0] != hit->slot
                    && hit->user->temporary[1] != hit->slot))))
    {
        return NGX_DECLINED;
    }

    rc = ngx_vmess_hit_look(hit->user, hit->serial,
                              hit->temporary ? NGX_VMESS_SLOT_NONE
                                             : (uint32_t) hit->slot,
                              now, &conf);

    hit->limits = conf.limits;

    ngx_explicit_memzero(conf.id, sizeof(conf.id));

    return (rc == NGX_OK) ? NGX_OK : NGX_DECLINED;
}


/*
 * Whether the user has the id, in that slot if it is one, and what goes with
 * it.  After a change, what is read here may be what the next one writes.
 */

static ngx_int_t
ngx_vmess_hit_look(ngx_vmess_user_t *user, uint32_t serial, uint32_t slot,
    time_t now, ngx_vmess_user_set_t *copy)
{
    uint32_t               version;
    ngx_uint_t             k, state;
    ngx_vmess_user_set_t  *conf;

    do {
        version = user->version;

        ngx_vmess_memory_barrier();

        conf = user->conf;

        ngx_memcpy(copy, conf, sizeof(ngx_vmess_user_set_t));

        state = user->state;

        ngx_vmess_memory_barrier();

    } while (version != user->version || conf != user->conf);

    /* a secret that connections have no use for */

    ngx_explicit_memzero(copy->limits.token, NGX_VMESS_TOKEN_LEN);

    for (k = 0; k < NGX_VMESS_USER_IDS; k++) {

        if (copy->serial[k] == serial
            && (slot == NGX_VMESS_SLOT_NONE || copy->slot[k] == slot))
        {
            break;
        }
    }

    if (k == NGX_VMESS_USER_IDS
        || (k == NGX_VMESS_USER_ALSO && copy->until && copy->until <= now))
    {
        return NGX_DECLINED;
    }

    if (state == NGX_VMESS_USER_USED) {
        return NGX_OK;
    }

    return (ngx_vmess_table_absent(user) < NGX_VMESS_USER_GRACE)
           ? NGX_AGAIN : NGX_DECLINED;
}


ngx_int_t
ngx_vmess_hit_knows(ngx_vmess_user_t *user, uint32_t serial, time_t now,
    ngx_vmess_limits_t *limits)
{
    ngx_int_t             rc;
    ngx_vmess_user_set_t  conf;

    rc = ngx_vmess_hit_look(user, serial, NGX_VMESS_SLOT_NONE, now, &conf);

    *limits = conf.limits;

    ngx_explicit_memzero(conf.id, sizeof(conf.id));

    return rc;
}


ngx_int_t
ngx_vmess_hit_own(ngx_vmess_user_t *user, uint32_t serial, u_char *cmd_key)
{
    ngx_int_t             rc;
    ngx_vmess_user_set_t  conf;

    rc = ngx_vmess_hit_look(user, serial, NGX_VMESS_SLOT_NONE, 0, &conf);

    if (rc != NGX_OK || conf.serial[NGX_VMESS_USER_OWN] != serial) {
        rc = NGX_DECLINED;
        goto done;
    }

    ngx_vmess_id_cmd_key(cmd_key, conf.id[NGX_VMESS_USER_OWN]);

done:

    ngx_explicit_memzero(conf.id, sizeof(conf.id));

    return rc;
}
