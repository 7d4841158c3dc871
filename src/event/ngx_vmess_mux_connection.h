
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_
#define _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_


#include "ngx_vmess_mux_flow.h"


/*
 * One connection of a client with many sub-connections (Mux.Cool): reads its
 * frames and hands them to the sub-connections.
 *
 * Mux.Cool has no flow control: what a sub-connection does not take is held,
 * up to a limit, and then nothing more is read from the client.
 */

/*
 * Takes the connection over, with events of its own.  mux has all fields up to
 * "limit" set, and close; it is in the pool of the connection.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_vmess_mux_connection_start(ngx_vmess_mux_connection_t *mux);


#endif /* _NGX_VMESS_MUX_CONNECTION_H_INCLUDED_ */
