
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_SET_H_INCLUDED_
#define _NGX_VMESS_TABLE_SET_H_INCLUDED_


#include "ngx_vmess_table.h"


/* Adds and changes users of a table. */


/*
 * Creates a user, or makes it what the value says; the table is locked.  The
 * counters of a user that is there stay, flows stay if their id does.  A user
 * of the API becomes one of the configuration if the value is of that, not the
 * other way round.  A user added again within 500 ms after it was removed, with
 * an id of before, is the same, with counters and flows; one without is new.
 *
 * value  its two ids must not be the same
 * keys   made of the value; NULL: they are made here, if they are needed
 * userp  gets the user after _SAME, _ADDED, _CHANGED, and _FOREIGN, and the one
 *        that has the id after _TAKEN; may be NULL
 *
 * After any other answer than _ADDED and _CHANGED nothing is changed.
 */
ngx_vmess_table_e ngx_vmess_table_set(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_value_keys_t *keys,
    ngx_vmess_user_t **userp);

/*
 * Gives a user an id that nobody knows in place of one of its own which the
 * value has: it is to be set anew soon.  Unlike one that is removed it is there
 * all the time, whatever happens to this process.  The table is locked.
 *
 * NGX_OK, or NGX_DECLINED: it has no such id, or there is no room
 */
ngx_int_t ngx_vmess_table_set_aside(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_value_t *value);

/* gives the user another token, a good one; answers as ngx_vmess_table_set() */
ngx_vmess_table_e ngx_vmess_table_set_token(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_str_t *token);


#endif /* _NGX_VMESS_TABLE_SET_H_INCLUDED_ */
