
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHARE_YAML_H_INCLUDED_
#define _NGX_VMESS_SHARE_YAML_H_INCLUDED_


#include "ngx_vmess_share.h"
#include "ngx_vmess_text_out.h"


/*
 * Writes a line of "proxies" of Clash for a share that was checked, and that
 * the client can do: at most NGX_VMESS_SHARE_TEXT_MAX bytes.
 *
 * mihomo  with what only mihomo knows
 */
void ngx_vmess_share_yaml_write(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share, ngx_uint_t mihomo);


#endif /* _NGX_VMESS_SHARE_YAML_H_INCLUDED_ */
