
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_KCP_WINDOW_H_INCLUDED_
#define _NGX_VMESS_KCP_WINDOW_H_INCLUDED_


#include "ngx_vmess_kcp_types.h"


/*
 * Allocates the segment of number, with room for size bytes, in a window that
 * has all from first to it.  NULL if there is no memory.
 */
ngx_vmess_kcp_data_t *ngx_vmess_kcp_window_alloc(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t first, uint32_t number,
    size_t size);

/* frees the segment of number, which is there */
void ngx_vmess_kcp_window_free(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t number);

/* frees all segments, and the window itself */
void ngx_vmess_kcp_window_clear(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window);


#endif /* _NGX_VMESS_KCP_WINDOW_H_INCLUDED_ */
