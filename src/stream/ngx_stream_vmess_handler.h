
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_HANDLER_H_INCLUDED_
#define _NGX_STREAM_VMESS_HANDLER_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * The first preread handler: what comes after it sees the decoded flow.
 * Returns NGX_DECLINED to go on, NGX_AGAIN to wait, NGX_DONE after the session
 * was moved to another server, or a status that ends it.
 */
ngx_int_t ngx_stream_vmess_handler(ngx_stream_session_t *s);

/* checker of the handler above */
ngx_int_t ngx_stream_vmess_phase_first(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph);

/* checker of the other preread handlers */
ngx_int_t ngx_stream_vmess_phase_preread(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph);

/* runs before other log handlers, which may show $status */
ngx_int_t ngx_stream_vmess_log_handler(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_HANDLER_H_INCLUDED_ */
