
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_ROOM_H_INCLUDED_
#define _NGX_VMESS_TABLE_ROOM_H_INCLUDED_


#include "ngx_vmess_table.h"


/* Room in the memory of a table: who is to have it, and who needs it. */


/* room for a user in the table, see ngx_vmess_table_room_need() */

typedef struct {
    ngx_uint_t                 users;      /* 1: it is new */
    ngx_uint_t                 ids;        /* that come or go */
    ngx_uint_t                 slots;
    ngx_uint_t                 spare;
} ngx_vmess_table_need_t;


/*
 * Keeps room for users and ids of them for the configuration: nobody else gets
 * it.  With zeros gives it back.  The table is locked.
 *
 * NGX_OK, or NGX_DECLINED: there is not as much
 */
ngx_int_t ngx_vmess_table_room_reserve(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t ids);

/*
 * What the user of a value needs beyond what it has: to be, and then slots,
 * some of them ("spare") only until others of the user are freed.  Slots that
 * a user has.  The table is locked.
 */
void ngx_vmess_table_room_need(ngx_vmess_table_t *t, ngx_vmess_value_t *value,
    ngx_vmess_table_need_t *need);
ngx_uint_t ngx_vmess_table_room_held(ngx_vmess_user_t *user);

/*
 * Keeps room for users of the API that will be set: the configuration does not
 * get it.  What is set takes from the room that there is, so less is to be kept
 * before.  The table is locked.
 *
 * NGX_OK, or NGX_DECLINED: there is not as much
 */
ngx_int_t ngx_vmess_table_room_keep(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots);

/*
 * Whether so many users and slots can be added, whoever they are for.  For
 * ngx_vmess_table*.c, the table is locked.
 */
ngx_uint_t ngx_vmess_table_room_fits(ngx_vmess_table_t *t, ngx_uint_t users,
    ngx_uint_t slots);


#endif /* _NGX_VMESS_TABLE_ROOM_H_INCLUDED_ */
