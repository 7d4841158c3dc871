
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PUBLISH_TEMPORARY_H_INCLUDED_
#define _NGX_VMESS_PUBLISH_TEMPORARY_H_INCLUDED_


#include "ngx_vmess_table.h"


/* temporary ids of an id that goes to another user, or other memory */

typedef struct {
    u_char                     id[NGX_VMESS_ID_LEN];
    time_t                     refresh;
    time_t                     until[2];
    u_char                     cmd_key[2][NGX_VMESS_KEY_LEN];
    ngx_vmess_auth_key_t       key[2];
} ngx_vmess_saved_t;


/*
 * Takes the temporary ids of a user that are good yet; _add() is to be called
 * for them, which also wipes them.  The table need not be locked.
 */
void ngx_vmess_publish_temporary_save(ngx_vmess_table_t *t,
    ngx_vmess_user_t *user, ngx_vmess_saved_t *saved);

/* gives them to the user of the id, if there is one; the table is locked */
void ngx_vmess_publish_temporary_add(ngx_vmess_table_t *t,
    ngx_vmess_saved_t *saved);


#endif /* _NGX_VMESS_PUBLISH_TEMPORARY_H_INCLUDED_ */
