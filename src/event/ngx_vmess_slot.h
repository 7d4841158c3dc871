
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SLOT_H_INCLUDED_
#define _NGX_VMESS_SLOT_H_INCLUDED_


#include "ngx_vmess.h"
#include "proto/ngx_vmess_auth.h"


/*
 * The keys of a table of users, in blocks of slots, in shared memory.  Who
 * reads them takes no lock; who changes them has the table locked.  A slot
 * gets its key last and loses it first, so whoever finds that a key fits,
 * reads what is beside it, and finds that it fits still, has read what goes
 * with that key.
 */


/* keys in a row: as many as make the call of a scan cheap */

#define NGX_VMESS_SLOTS           64

#define NGX_VMESS_SLOT_NONE       NGX_MAX_UINT32_VALUE

/* in the number of a slot's user: the id is a temporary one */

#define NGX_VMESS_SLOT_TEMPORARY  0x80000000


/* beside a key; a slot without a user is free */

typedef struct {
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    volatile uint32_t          serial;     /* of the user's id, 0: none */
    volatile uint32_t          until;      /* of a temporary one */
    volatile uint32_t          user;
    uint32_t                   next;       /* of its hash, or free */
} ngx_vmess_slot_t;


typedef struct {
    ngx_vmess_auth_key_t       keys[NGX_VMESS_SLOTS];
    ngx_vmess_slot_t           slots[NGX_VMESS_SLOTS];
} ngx_vmess_slot_block_t;


/* in chains there are numbers plus one, zero is none */

typedef struct {
    ngx_vmess_slot_block_t    *blocks;
    volatile uint32_t          nblocks;    /* ever used */

    uint32_t                  *buckets;    /* by CmdKeys */
    uint32_t                   mask;

    uint32_t                   free;
    uint32_t                   nfree;

    ngx_vmess_auth_key_t       none;       /* known to nobody */
} ngx_vmess_slots_t;


static ngx_inline ngx_vmess_slot_t *
ngx_vmess_slot(ngx_vmess_slots_t *slots, ngx_uint_t i)
{
    return &slots->blocks[i / NGX_VMESS_SLOTS].slots[i % NGX_VMESS_SLOTS];
}


static ngx_inline ngx_vmess_auth_key_t *
ngx_vmess_slot_key(ngx_vmess_slots_t *slots, ngx_uint_t i)
{
    return &slots->blocks[i / NGX_VMESS_SLOTS].keys[i % NGX_VMESS_SLOTS];
}


/* the owner of ids by that key in the replay filter: some share one */
uint32_t ngx_vmess_slot_owner(const u_char *cmd_key);

/*
 * Begins with no blocks, at blocks, where there is room for one whenever one is
 * allocated; buckets is zeroed.  NGX_OK, or NGX_ERROR: use ngx_ssl_error().
 */
ngx_int_t ngx_vmess_slot_init(ngx_vmess_slots_t *slots, void *blocks,
    uint32_t *buckets, uint32_t n);

/* a slot that is free */
uint32_t ngx_vmess_slot_alloc(ngx_vmess_slots_t *slots);

/* makes it that of an id */
void ngx_vmess_slot_fill(ngx_vmess_slots_t *slots, uint32_t i, uint32_t user,
    uint32_t serial, const u_char *cmd_key, ngx_vmess_auth_key_t *key);

/* makes it that of a temporary id, whose key and time may be changed later */
void ngx_vmess_slot_fill_temporary(ngx_vmess_slots_t *slots, uint32_t i,
    uint32_t user);
void ngx_vmess_slot_set_temporary(ngx_vmess_slots_t *slots, uint32_t i,
    uint32_t serial, const u_char *cmd_key, ngx_vmess_auth_key_t *key,
    time_t until);

void ngx_vmess_slot_free(ngx_vmess_slots_t *slots, uint32_t i);

/* the slot of an id that is not temporary, or NGX_VMESS_SLOT_NONE */
uint32_t ngx_vmess_slot_find(ngx_vmess_slots_t *slots, const u_char *cmd_key);

/*
 * Makes chains and the list of free slots anew, after somebody died who changed
 * them: is_used tells whether a slot is in use
 */
void ngx_vmess_slot_recover(ngx_vmess_slots_t *slots,
    ngx_uint_t (*is_used)(void *data, uint32_t i), void *data);


#endif /* _NGX_VMESS_SLOT_H_INCLUDED_ */
