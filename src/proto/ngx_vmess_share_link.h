
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHARE_LINK_H_INCLUDED_
#define _NGX_VMESS_SHARE_LINK_H_INCLUDED_


#include "ngx_vmess_share.h"
#include "ngx_vmess_text_out.h"


typedef enum {
    NGX_VMESS_SHARE_LINK_V2RAYN = 0,   /* Base64 of JSON */
    NGX_VMESS_SHARE_LINK_URI,          /* "VMessAEAD / VLESS share link" */
    NGX_VMESS_SHARE_LINK_SHADOWROCKET
} ngx_vmess_share_link_e;


/*
 * Writes "vmess://..." of a share that was checked, at most
 * NGX_VMESS_SHARE_TEXT_MAX bytes without Base64 around it.
 *
 * NGX_OK        written, or to->full is set
 * NGX_DECLINED  the form has no way to say this transport, nothing is written
 */
ngx_int_t ngx_vmess_share_link_write(ngx_vmess_text_out_t *to,
    ngx_vmess_share_link_e form, ngx_vmess_share_t *share);


#endif /* _NGX_VMESS_SHARE_LINK_H_INCLUDED_ */
