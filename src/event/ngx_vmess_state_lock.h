
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_LOCK_H_INCLUDED_
#define _NGX_VMESS_STATE_LOCK_H_INCLUDED_


#include "ngx_vmess_zone.h"


/*
 * Gets the lock, if this worker is to be who writes: NGX_OK; NGX_DECLINED:
 * another one is, or has it; or NGX_ERROR, which was logged.
 */
ngx_int_t ngx_vmess_state_lock_get(ngx_vmess_state_t *st);
void ngx_vmess_state_lock_release(ngx_vmess_state_t *st);

/*
 * Whether another master, or a zone with new memory, is to write; and whether a
 * later configuration has another directory.  Then nothing is confirmed here.
 */
ngx_uint_t ngx_vmess_state_lock_outdated(ngx_vmess_state_t *st);
ngx_uint_t ngx_vmess_state_lock_elsewhere(ngx_vmess_state_t *st);


#endif /* _NGX_VMESS_STATE_LOCK_H_INCLUDED_ */
