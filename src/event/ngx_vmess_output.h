
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_OUTPUT_H_INCLUDED_
#define _NGX_VMESS_OUTPUT_H_INCLUDED_


#include "ngx_vmess.h"


/* c->send and c->send_chain of a connection with the VMess layer */

ssize_t ngx_vmess_send(ngx_connection_t *c, u_char *buf, size_t size);
ngx_chain_t *ngx_vmess_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);


#endif /* _NGX_VMESS_OUTPUT_H_INCLUDED_ */
