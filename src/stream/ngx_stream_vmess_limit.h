
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_LIMIT_H_INCLUDED_
#define _NGX_STREAM_VMESS_LIMIT_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * "limit_conn" counts a connection until the cleanups of its pool run.  Its
 * cleanup handler is private, so it is learned from a session of nobody, which
 * has a zone of its own.
 */

/* adds that zone and what the session needs; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_limit_init(ngx_conf_t *cf);

/* learns the handler, in a worker; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_limit_init_process(ngx_cycle_t *cycle);

/*
 * Marks the cleanups of a pool, and runs and removes those of "limit_conn"
 * that were added after the last mark, alone: others stay.
 */
ngx_int_t ngx_stream_vmess_limit_mark(ngx_pool_t *pool);
void ngx_stream_vmess_limit_undo(ngx_pool_t *pool);


#endif /* _NGX_STREAM_VMESS_LIMIT_H_INCLUDED_ */
