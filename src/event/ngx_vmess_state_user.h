
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_USER_H_INCLUDED_
#define _NGX_VMESS_STATE_USER_H_INCLUDED_


#include "ngx_vmess_users.h"
#include "proto/ngx_vmess_journal.h"


/* two records: a removal, and who has come again by that name */

#define NGX_VMESS_STATE_USER_MAX  (2 * NGX_VMESS_JOURNAL_RECORD_MAX)


/* while users are written */

typedef struct {
    ngx_uint_t                 quick;      /* without what is only counted */
    ngx_uint_t                 copy;       /* all, not who has changed */
    ngx_uint_t                 note;       /* that copies are saved: nobody will
                                              be told before they are; otherwise
                                              the journal has them, too */
    ngx_uint_t                 lost;       /* one has gone, and its name, too */
    uint64_t                   count;      /* records written */
} ngx_vmess_state_round_t;


/*
 * Writes what has to be kept of the user of number i at p, where
 * NGX_VMESS_STATE_USER_MAX bytes must be free; returns the end of it.
 * Called by one process at a time.
 */
u_char *ngx_vmess_state_user_get(ngx_vmess_zone_t *zone, ngx_uint_t i,
    u_char *p, ngx_vmess_state_round_t *round);

/*
 * Applies a record of files to a zone that nobody else has yet, and notes that
 * they have it: NGX_OK, or NGX_ERROR if
 * there is no room for the user, or libcrypto failed
 */
ngx_int_t ngx_vmess_state_user_put(ngx_vmess_zone_t *zone,
    ngx_vmess_journal_record_t *record);


#endif /* _NGX_VMESS_STATE_USER_H_INCLUDED_ */
