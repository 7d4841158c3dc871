
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_WRITE_H_INCLUDED_
#define _NGX_VMESS_STATE_WRITE_H_INCLUDED_


#include "ngx_vmess_state_file.h"


/* ms that a round waits for a list to be applied, and for all of them */

#define NGX_VMESS_STATE_PATIENCE  5000
#define NGX_VMESS_STATE_LISTS     30000


/*
 * What the worker that has the lock writes: rounds into the journal, and
 * snapshots, in parts.  All return NGX_ERROR after an error that was logged.
 */

/* some users of a round: NGX_OK: it is whole; NGX_AGAIN: there are more */
ngx_int_t ngx_vmess_state_write_count(ngx_vmess_state_t *st);

/*
 * A round has ended: what was changed before it is saved, and those who wait
 * are told, unless a snapshot is needed.  That which is copied is finished.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_state_write_commit(ngx_vmess_state_t *st);

/* some users of the snapshot; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_state_write_copy(ngx_vmess_state_t *st);

/* all there is, before the lock is released */
void ngx_vmess_state_write_last(ngx_vmess_state_t *st);


#endif /* _NGX_VMESS_STATE_WRITE_H_INCLUDED_ */
