
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHARE_JSON_H_INCLUDED_
#define _NGX_VMESS_SHARE_JSON_H_INCLUDED_


#include "ngx_vmess_json_out.h"
#include "ngx_vmess_share.h"


/*
 * Writes an element of "outbounds" of sing-box for a share that was checked,
 * and that sing-box can do: at most NGX_VMESS_SHARE_TEXT_MAX bytes.
 */
void ngx_vmess_share_json_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share);


#endif /* _NGX_VMESS_SHARE_JSON_H_INCLUDED_ */
