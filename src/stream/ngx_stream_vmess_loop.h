
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_LOOP_H_INCLUDED_
#define _NGX_STREAM_VMESS_LOOP_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * A fallback must not lead back to a server with VMess.  What the configuration
 * shows is refused.  For the rest, workers note the addresses from which they
 * connect to fallbacks, and how many fallbacks in a row those were.
 */

/*
 * NGX_ERROR if the fallback of the server leads to a "listen" of one with
 * VMess, which was logged; otherwise NGX_OK.
 */
ngx_int_t ngx_stream_vmess_loop_check(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/* adds the zone and a filter that notes addresses; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_loop_init(ngx_conf_t *cf);

/*
 * Counts one more fallback in a row for a session that goes to one.
 * NGX_DECLINED if there were too many, which was logged; otherwise NGX_OK.
 */
ngx_int_t ngx_stream_vmess_loop_enter(ngx_stream_session_t *s);

/* notes the address of the session's connection to its upstream, if any */
void ngx_stream_vmess_loop_note(ngx_stream_session_t *s);

/* forgets it; to be called before the session has another upstream, or ends */
void ngx_stream_vmess_loop_leave(ngx_stream_vmess_ctx_t *ctx);


#endif /* _NGX_STREAM_VMESS_LOOP_H_INCLUDED_ */
