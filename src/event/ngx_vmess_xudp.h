
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_XUDP_H_INCLUDED_
#define _NGX_VMESS_XUDP_H_INCLUDED_


#include "ngx_vmess_mux_connection.h"


/*
 * Sessions of datagrams whose clients name them, to come again on another
 * connection (XUDP, "Global ID").  A session with another worker is ended
 * there, and its socket, with the mapping that its peers know, is passed on.
 */

/* other workers will ask for sessions */
void ngx_vmess_xudp_init(void);

/* the session of that name of a user, in this worker, or NULL */
ngx_vmess_mux_flow_t *ngx_vmess_xudp_find(ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *global_id);

/*
 * Names a session not yet started.  NGX_OK, or NGX_AGAIN: another worker is
 * asked for its socket, and the session will be started from here.
 */
ngx_int_t ngx_vmess_xudp_set_name(ngx_vmess_mux_flow_t *flow,
    u_char *global_id);

/* forgets its name, if it has one */
void ngx_vmess_xudp_unname(ngx_vmess_mux_flow_t *flow);

/*
 * Keeps a session without client for some time, and forgets that again.
 * NGX_OK, or NGX_DECLINED.
 */
ngx_int_t ngx_vmess_xudp_orphan(ngx_vmess_mux_flow_t *flow);
void ngx_vmess_xudp_adopt(ngx_vmess_mux_flow_t *flow);

/* of a session that goes: its timer, and a socket that it did not use */
void ngx_vmess_xudp_close(ngx_vmess_mux_flow_t *flow);


#endif /* _NGX_VMESS_XUDP_H_INCLUDED_ */
