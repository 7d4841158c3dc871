
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_LOG_H_INCLUDED_
#define _NGX_STREAM_VMESS_LOG_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* handler of the log phase, before others, which may show $status */
ngx_int_t ngx_stream_vmess_log_handler(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_LOG_H_INCLUDED_ */
