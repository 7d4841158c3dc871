
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CLIENTS_H_INCLUDED_
#define _NGX_VMESS_CLIENTS_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * The addresses that users with "max_ips=" come from, in shared memory; IPv6
 * by its /64.  An address is held by the flows of the user that come from it,
 * and for a minute after the last one.  If flows hold it that were silent for
 * 15 seconds, it may be taken over by another address, and these flows lose
 * it.  Whoever is not let in after all leaves nothing behind: until one that
 * holds the address is, it is held by flows alone.
 *
 * Workers count flows in one of two sets, see ngx_vmess_epoch.h: "set" is 0
 * or 1.  A worker may die at any instruction: the lock is taken from it, and an
 * address is there or not.
 */

typedef struct ngx_vmess_clients_s  ngx_vmess_clients_t;
typedef struct ngx_vmess_client_s   ngx_vmess_client_t;


/* what a flow holds: an address, unless client is NULL */

typedef struct {
    ngx_vmess_client_t        *client;
    uint32_t                   turn;
    uint32_t                   kept;       /* it was let in */
} ngx_vmess_client_hold_t;


/* makes so many bytes at p a table of addresses */
ngx_vmess_clients_t *ngx_vmess_clients_create(void *p, size_t size);

/*
 * Whether a flow of the user may come from there, and enters it.
 *
 * user  its serial number, see ngx_vmess_table.h
 * max   addresses at once
 *
 * NGX_OK        hold has the address, or, of a Unix socket, none
 * NGX_DECLINED  there are as many others
 * NGX_BUSY      the table has no room
 */
ngx_int_t ngx_vmess_clients_enter(ngx_vmess_clients_t *clients, uint32_t user,
    struct sockaddr *sockaddr, ngx_uint_t max, ngx_uint_t set,
    ngx_vmess_client_hold_t *hold);

/*
 * who holds the address, if it does, is let in: it is not silent, nor
 * forgotten
 */
void ngx_vmess_clients_keep(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold);

/* what ngx_vmess_clients_enter() would return: nothing is entered */
ngx_int_t ngx_vmess_clients_check(ngx_vmess_clients_t *clients, uint32_t user,
    struct sockaddr *sockaddr, ngx_uint_t max, ngx_uint_t set);

/* addresses of the user that are held now */
ngx_uint_t ngx_vmess_clients_number(ngx_vmess_clients_t *clients, uint32_t user,
    ngx_uint_t set);

/*
 * Entries there are, and how many of those from "from" to before "to" are in
 * use for users: some at a time
 */
ngx_uint_t ngx_vmess_clients_fill(ngx_vmess_clients_t *clients, ngx_uint_t from,
    ngx_uint_t to, ngx_uint_t set, ngx_uint_t *used);

/*
 * the flow is not silent: NGX_OK, or NGX_DECLINED, its address was taken over
 */
ngx_int_t ngx_vmess_clients_touch(ngx_vmess_client_hold_t *hold);

/* gives back what a flow holds, if it does */
void ngx_vmess_clients_leave(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold, ngx_uint_t set);

/* clears a set, in which nobody counts; counts what a flow holds, if it does */
void ngx_vmess_clients_clear(ngx_vmess_clients_t *clients, ngx_uint_t set);
void ngx_vmess_clients_count(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold, ngx_uint_t set);


#endif /* _NGX_VMESS_CLIENTS_H_INCLUDED_ */
