
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_PRIVATE_H_INCLUDED_
#define _NGX_VMESS_TABLE_PRIVATE_H_INCLUDED_


#include "ngx_vmess_table.h"


/* The memory of a table, for ngx_vmess_table*.c only; it is locked. */


/*
 * Blocks of slots grow from the start of the memory, users from its end.  In
 * chains and lists there are numbers plus one, zero is none.
 */

struct ngx_vmess_table_s {
    ngx_uint_t                 changing;   /* between begin() and end() */

    ngx_vmess_slots_t          slots;
    ngx_vmess_user_t          *users;      /* the end, of number 0 */
    volatile uint32_t          nusers;     /* ever used */

    uint32_t                  *names;      /* by hashes of names */
    uint32_t                  *tokens;     /* by digests of tokens */
    uint32_t                   mask;

    uint32_t                   free_users;
    uint32_t                   removed;    /* users */
    uint32_t                   visited;    /* the last of them, who stays */
    uint32_t                   nfree_users;
    uint32_t                   count;      /* users there are */
    volatile uint32_t          changed;    /* the last user */

    ngx_uint_t                 reserved_users;
    ngx_uint_t                 reserved_slots;
    ngx_uint_t                 kept_users;
    ngx_uint_t                 kept_slots;

    u_char                     key[NGX_VMESS_SUBSCRIPTION_KEY];
    uint32_t                   serial;     /* the last one */
    volatile ngx_uint_t        changes;
    volatile ngx_uint_t        ends;
    volatile time_t            refresh;

    ngx_vmess_user_set_t      *spare;      /* where a change is written */
    ngx_vmess_user_set_t       memory;
};


/* a user of that name, not linked yet, when there is room: as the next one */
ngx_vmess_user_t *ngx_vmess_table_alloc_user(ngx_vmess_table_t *t,
    ngx_str_t *name, uint32_t hash);

/* puts a user into the chain of the token in user->conf, or of that in conf */
void ngx_vmess_table_link_token(ngx_vmess_table_t *t, ngx_vmess_user_t *user);
void ngx_vmess_table_unlink_token(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_user_set_t *conf);

/* after a change of the user, and after one that may end flows */
void ngx_vmess_table_stamp(ngx_vmess_table_t *t, ngx_vmess_user_t *user);
void ngx_vmess_table_end_flows(ngx_vmess_table_t *t);


/* the first of the chain of a token */

static ngx_inline uint32_t *
ngx_vmess_table_tokens(ngx_vmess_table_t *t, const u_char *digest)
{
    uint32_t  hash;

    ngx_memcpy(&hash, digest, sizeof(uint32_t));

    return &t->tokens[hash & t->mask];
}


#endif /* _NGX_VMESS_TABLE_PRIVATE_H_INCLUDED_ */
