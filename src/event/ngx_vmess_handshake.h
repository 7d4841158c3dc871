
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HANDSHAKE_H_INCLUDED_
#define _NGX_VMESS_HANDSHAKE_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_connection.h"


/*
 * Reads the request header.
 *
 * NGX_OK        the client is authentic; vc->header and vc->account are set,
 *               and vc->status is what vc->allowed() says: if that is
 *               NGX_VMESS_STATUS_OK, the user was admitted
 * NGX_AGAIN     more bytes are needed: wait for a read event
 * NGX_DECLINED  not VMess: vc->status says why, and it was logged; the bytes
 *               read are vc->raw
 * NGX_ERROR     the connection failed, or the client is authentic and its
 *               header wrong, which was logged
 */
ngx_int_t ngx_vmess_handshake_read(ngx_vmess_connection_t *vc);

/*
 * Admits the flow of a sub-connection, which has the account of its connection.
 * NGX_OK, or NGX_DECLINED: the user is refused, vc->status says why, and it was
 * logged.
 */
ngx_int_t ngx_vmess_handshake_admit(ngx_vmess_connection_t *vc);

/*
 * Puts the layer into c->recv and c->send of a connection whose flow was
 * opened.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_handshake_finish(ngx_vmess_connection_t *vc);

/*
 * Ends the handshake as one that was not VMess at all, and logs it.  The token
 * of a legacy header will not be found again.
 */
void ngx_vmess_handshake_refuse(ngx_vmess_connection_t *vc,
    ngx_vmess_status_e status);

/*
 * After a handshake that was not VMess, discards what the client sends.
 * NGX_AGAIN: wait for a read event; NGX_DONE: the connection may be closed.
 */
ngx_int_t ngx_vmess_handshake_drain(ngx_vmess_connection_t *vc);


/* names for variables and logs */

ngx_str_t *ngx_vmess_handshake_security_name(ngx_vmess_header_t *h);
ngx_str_t *ngx_vmess_handshake_command_name(ngx_vmess_header_t *h);


#endif /* _NGX_VMESS_HANDSHAKE_H_INCLUDED_ */
