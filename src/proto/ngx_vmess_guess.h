
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_GUESS_H_INCLUDED_
#define _NGX_VMESS_GUESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * What the first bytes of a client look like, in words for a log: one of a few
 * constants, which quote nothing of the bytes.  A VMess header looks like
 * "random bytes".
 */
const char *ngx_vmess_guess(const u_char *p, size_t len);


#endif /* _NGX_VMESS_GUESS_H_INCLUDED_ */
