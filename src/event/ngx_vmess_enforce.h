
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ENFORCE_H_INCLUDED_
#define _NGX_VMESS_ENFORCE_H_INCLUDED_


#include "ngx_vmess_account.h"


/*
 * Ends the flows of this worker that limits do not allow any more, and counts
 * them anew when another worker has died: a timer for each zone, which is not
 * waited for after a change that ends flows, see ngx_vmess_wake.h.
 */


/*
 * A worker starts: from now on it looks after what is counted in its zones.
 * NGX_OK, or NGX_ERROR, which was logged.
 */
ngx_int_t ngx_vmess_enforce_init_worker(ngx_cycle_t *cycle);


#endif /* _NGX_VMESS_ENFORCE_H_INCLUDED_ */
