
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_OUTPUT_H_INCLUDED_
#define _NGX_VMESS_OUTPUT_H_INCLUDED_


#include "ngx_vmess_connection.h"


/* c->send and c->send_chain of a connection with the VMess layer */

ssize_t ngx_vmess_output_send(ngx_connection_t *c, u_char *buf, size_t size);
ngx_chain_t *ngx_vmess_output_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit);

/*
 * Seals a chunk at *p, as ngx_vmess_chunk_seal() does, with padding of the
 * worker's; NGX_OK or NGX_ERROR, which was logged
 */
ngx_int_t ngx_vmess_output_seal(ngx_vmess_connection_t *vc, u_char *data,
    size_t len, u_char **p);

/* NGX_OK: nothing is held here or below; NGX_AGAIN or NGX_ERROR */
ngx_int_t ngx_vmess_output_flush(ngx_vmess_connection_t *vc);


#endif /* _NGX_VMESS_OUTPUT_H_INCLUDED_ */
