
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_REMOVE_H_INCLUDED_
#define _NGX_VMESS_TABLE_REMOVE_H_INCLUDED_


#include "ngx_vmess_table.h"


/*
 * Removes a user, whose flows end within a second or so; the table is locked.
 * Who may do so is for the caller to say.
 */
void ngx_vmess_table_remove(ngx_vmess_table_t *t, ngx_vmess_user_t *user);


#endif /* _NGX_VMESS_TABLE_REMOVE_H_INCLUDED_ */
