
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_TEMPORARY_H_INCLUDED_
#define _NGX_VMESS_TABLE_TEMPORARY_H_INCLUDED_


#include "ngx_vmess_table.h"


/* Temporary ids of users, see ngx_vmess_detour.h. */


/*
 * Temporary ids: a period in seconds, 0: there are none.  Users get slots for
 * them when they are set, and by _add(), which also takes them away.
 * The table is locked, but for _refresh().
 */
void ngx_vmess_table_temporary_set_refresh(ngx_vmess_table_t *t,
    time_t refresh);
time_t ngx_vmess_table_temporary_refresh(ngx_vmess_table_t *t);
void ngx_vmess_table_temporary_add(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user);

/*
 * Sets the one of even or odd periods, good until that second; serial is that
 * of the user's own id.  The table is locked.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_vmess_table_temporary_set(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, uint32_t serial, ngx_uint_t odd,
    const u_char *cmd_key, ngx_vmess_auth_key_t *key, time_t until);

/* until when that is good, 0 if there is none.  Takes no lock */
time_t ngx_vmess_table_temporary_until(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, uint32_t serial, ngx_uint_t odd);

/* takes the slots away.  For ngx_vmess_table*.c, the table is locked */
void ngx_vmess_table_temporary_free(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user);


#endif /* _NGX_VMESS_TABLE_TEMPORARY_H_INCLUDED_ */
