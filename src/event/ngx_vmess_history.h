
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HISTORY_H_INCLUDED_
#define _NGX_VMESS_HISTORY_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * The traffic of users in the last hour, by minutes and in units of 1 KiB, for
 * plots, in shared memory that is bounded: a user with traffic takes an entry
 * of one who had none for an hour, or has no plot if there is none.  No lock is
 * taken; who dies leaves entries that can be used.
 */

#define NGX_VMESS_HISTORY_MINUTES  60
#define NGX_VMESS_HISTORY_UNIT     1024


/* of a flow: its entry, and bytes that are less than a unit */

typedef struct {
    ngx_uint_t                 entry;      /* from 1 on, 0: none */
    uint32_t                   user;
    uint32_t                   rest[2];
} ngx_vmess_history_flow_t;


/* makes so many bytes of zeroed memory entries */
ngx_vmess_history_t *ngx_vmess_history_create(void *p, size_t size);

/*
 * Finds the entry of a user, or makes one, for bytes of a flow.
 *
 * user  its serial number, see ngx_vmess_table.h
 */
void ngx_vmess_history_enter(ngx_vmess_history_t *history, uint32_t user,
    ngx_vmess_history_flow_t *flow);

/* counts bytes from the client and to it */
void ngx_vmess_history_count(ngx_vmess_history_t *history,
    ngx_vmess_history_flow_t *flow, off_t up, off_t down);

/*
 * Bytes of a user by minutes, up and down; the last minute is that of "now".
 * NGX_OK, or NGX_DECLINED: the user has no entry.
 */
ngx_int_t ngx_vmess_history_get(ngx_vmess_history_t *history, uint32_t user,
    time_t now, off_t bytes[NGX_VMESS_HISTORY_MINUTES][2]);

/* entries there are, and those in use */
ngx_uint_t ngx_vmess_history_fill(ngx_vmess_history_t *history, time_t now,
    ngx_uint_t *used);


#endif /* _NGX_VMESS_HISTORY_H_INCLUDED_ */
