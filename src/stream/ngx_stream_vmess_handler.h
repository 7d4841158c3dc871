
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


#endif /* _NGX_STREAM_VMESS_HANDLER_H_INCLUDED_ */
