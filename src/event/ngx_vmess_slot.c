
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_slot.h"


static void ngx_vmess_slot_link(ngx_vmess_slots_t *slots, uint32_t i);
static void ngx_vmess_slot_clear(ngx_vmess_slots_t *slots, uint32_t i);


/* CmdKeys are digests, and secret: nobody chooses his place */

static ngx_inline uint32_t *
ngx_vmess_slot_bucket(ngx_vmess_slots_t *slots, const u_char *cmd_key)
{
    uint32_t  hash;

    ngx_memcpy(&hash, cmd_key + 4, sizeof(uint32_t));

    return &slots->buckets[hash & slots->mask];
}


uint32_t
ngx_vmess_slot_owner(const u_char *cmd_key)
{
    uint32_t  owner;

    ngx_memcpy(&owner, cmd_key, sizeof(uint32_t));

    return owner | 1;
}


ngx_int_t
ngx_vmess_slot_init(ngx_vmess_slots_t *slots, void *blocks, uint32_t *buckets,
    uint32_t n)
{
    ngx_memzero(slots, sizeof(ngx_vmess_slots_t));

    slots->blocks = blocks;
    slots->buckets = buckets;
    slots->mask = n - 1;

    return RAND_bytes((u_char *) &slots->none, sizeof(ngx_vmess_auth_key_t))
           == 1 ? NGX_OK : NGX_ERROR;
}


uint32_t
ngx_vmess_slot_alloc(ngx_vmess_slots_t *slots)
{
    uint32_t                 i, n;
    ngx_vmess_slot_block_t  *block;

    if (slots->free == 0) {

        block = &slots->blocks[slots->nblocks];
        n = (slots->nblocks + 1) * NGX_VMESS_SLOTS;

        ngx_memzero(block->slots, sizeof(block->slots));

        for (i = NGX_VMESS_SLOTS; i; i--, n--) {
            block->keys[i - 1] = slots->none;
            block->slots[i - 1].user = NGX_VMESS_SLOT_NONE;
            block->slots[i - 1].next = slots->free;
            slots->free = n;
        }

        ngx_vmess_memory_barrier();

        slots->nblocks++;
        slots->nfree += NGX_VMESS_SLOTS;
    }

    i = slots->free - 1;

    slots->free = ngx_vmess_slot(slots, i)->next;
    slots->nfree--;

    return i;
}


void
ngx_vmess_slot_fill(ngx_vmess_slots_t *slots, uint32_t i, uint32_t user,
    uint32_t serial, const u_char *cmd_key, ngx_vmess_auth_key_t *key)
{
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(slots, i);

    ngx_memcpy(s->cmd_key, cmd_key, NGX_VMESS_KEY_LEN);

    s->user = user;
    s->serial = serial;

    ngx_vmess_slot_link(slots, i);

    ngx_vmess_memory_barrier();

    *ngx_vmess_slot_key(slots, i) = *key;

    ngx_vmess_memory_barrier();
}


static void
ngx_vmess_slot_link(ngx_vmess_slots_t *slots, uint32_t i)
{
    uint32_t          *bucket;
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(slots, i);
    bucket = ngx_vmess_slot_bucket(slots, s->cmd_key);

    s->next = *bucket;
    *bucket = i + 1;
}


void
ngx_vmess_slot_fill_temporary(ngx_vmess_slots_t *slots, uint32_t i,
    uint32_t user)
{
    ngx_vmess_slot(slots, i)->user = user | NGX_VMESS_SLOT_TEMPORARY;

    ngx_vmess_memory_barrier();
}


/* what goes with a key is written behind it: who has read the old notices */

void
ngx_vmess_slot_set_temporary(ngx_vmess_slots_t *slots, uint32_t i,
    uint32_t serial, const u_char *cmd_key, ngx_vmess_auth_key_t *key,
    time_t until)
{
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(slots, i);

    s->until = 0;
    s->serial = 0;

    ngx_vmess_memory_barrier();

    *ngx_vmess_slot_key(slots, i) = *key;

    ngx_vmess_memory_barrier();

    ngx_memcpy(s->cmd_key, cmd_key, NGX_VMESS_KEY_LEN);

    ngx_vmess_memory_barrier();

    s->serial = serial;
    s->until = until;
}


void
ngx_vmess_slot_free(ngx_vmess_slots_t *slots, uint32_t i)
{
    uint32_t          *p;
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(slots, i);

    if (!(s->user & NGX_VMESS_SLOT_TEMPORARY)) {

        for (p = ngx_vmess_slot_bucket(slots, s->cmd_key);
             *p != i + 1;
             p = &ngx_vmess_slot(slots, *p - 1)->next)
        {
            /* void */
        }

        *p = s->next;
    }

    ngx_vmess_slot_clear(slots, i);
}


static void
ngx_vmess_slot_clear(ngx_vmess_slots_t *slots, uint32_t i)
{
    ngx_vmess_slot_t  *s;

    s = ngx_vmess_slot(slots, i);

    *ngx_vmess_slot_key(slots, i) = slots->none;

    ngx_vmess_memory_barrier();

    ngx_memzero(s, sizeof(ngx_vmess_slot_t));

    s->user = NGX_VMESS_SLOT_NONE;
    s->next = slots->free;

    slots->free = i + 1;
    slots->nfree++;
}


uint32_t
ngx_vmess_slot_find(ngx_vmess_slots_t *slots, const u_char *cmd_key)
{
    uint32_t           i;
    ngx_vmess_slot_t  *s;

    for (i = *ngx_vmess_slot_bucket(slots, cmd_key); i; i = s->next) {

        s = ngx_vmess_slot(slots, i - 1);

        if (ngx_vmess_equal(s->cmd_key, cmd_key, NGX_VMESS_KEY_LEN)) {
            return i - 1;
        }
    }

    return NGX_VMESS_SLOT_NONE;
}


void
ngx_vmess_slot_recover(ngx_vmess_slots_t *slots,
    ngx_uint_t (*is_used)(void *data, uint32_t i), void *data)
{
    uint32_t  i;

    ngx_memzero(slots->buckets, (slots->mask + 1) * sizeof(uint32_t));

    slots->free = 0;
    slots->nfree = 0;

    for (i = slots->nblocks * NGX_VMESS_SLOTS; i; i--) {

        if (!is_used(data, i - 1)) {
            ngx_vmess_slot_clear(slots, i - 1);
            continue;
        }

        if (!(ngx_vmess_slot(slots, i - 1)->user & NGX_VMESS_SLOT_TEMPORARY)) {
            ngx_vmess_slot_link(slots, i - 1);
        }
    }
}
