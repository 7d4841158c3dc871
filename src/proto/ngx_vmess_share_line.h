
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHARE_LINE_H_INCLUDED_
#define _NGX_VMESS_SHARE_LINE_H_INCLUDED_


#include "ngx_vmess_share.h"
#include "ngx_vmess_text_out.h"


/*
 * Lines of fields, of Surge, Quantumult X and Loon, for a share that was
 * checked, and that the client can do: at most NGX_VMESS_SHARE_TEXT_MAX bytes
 * with the end of the line.
 */
void ngx_vmess_share_line_surge(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
void ngx_vmess_share_line_qx(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
void ngx_vmess_share_line_loon(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);

/* whether a line can hold the path: there are no escapes for some characters */
ngx_uint_t ngx_vmess_share_line_fits(ngx_vmess_share_t *share);


#endif /* _NGX_VMESS_SHARE_LINE_H_INCLUDED_ */
