
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_FIND_H_INCLUDED_
#define _NGX_VMESS_TABLE_FIND_H_INCLUDED_


#include "ngx_vmess_table.h"


/* Looks for users of a table. */


/*
 * find a user by name, or by any of its ids; NULL: none.  The table is locked
 */
ngx_vmess_user_t *ngx_vmess_table_find(ngx_vmess_table_t *t, ngx_str_t *name);
ngx_vmess_user_t *ngx_vmess_table_find_id(ngx_vmess_table_t *t,
    const u_char *id);

/*
 * Finds who is meant by a value: the user of that name, or one who was removed
 * and comes again as that; with a value of NULL only the first.  The hash is
 * that of the name.  For ngx_vmess_table*.c, the table is locked.
 */
ngx_vmess_user_t *ngx_vmess_table_find_value(ngx_vmess_table_t *t,
    ngx_str_t *name, uint32_t hash, ngx_vmess_value_t *value);

/*
 * Finds the user of a token, which is any text; NULL: none, or two have it, as
 * the table does not look at that when it sets a user.  One of the
 * configuration comes before any of the API.  The table is locked.
 */
ngx_vmess_user_t *ngx_vmess_table_find_token(ngx_vmess_table_t *t,
    ngx_str_t *token);

/*
 * The user whose ids the replay filter counts for that owner: NGX_OK and info,
 * or NGX_DECLINED
 */
ngx_int_t ngx_vmess_table_find_owner(ngx_vmess_table_t *t, uint32_t owner,
    ngx_vmess_user_info_t *info);


#endif /* _NGX_VMESS_TABLE_FIND_H_INCLUDED_ */
