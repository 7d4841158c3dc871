
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_SHARE_H_INCLUDED_
#define _NGX_STREAM_VMESS_SHARE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_share" of a server */
char *ngx_stream_vmess_share(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * Completes those of a server by what else it has.
 *
 * kinds  NGX_VMESS_LISTEN_...
 *
 * NGX_OK, or NGX_ERROR after an error that was logged.
 */
ngx_int_t ngx_stream_vmess_share_check_server(ngx_conf_t *cf,
    ngx_stream_vmess_srv_conf_t *vscf, ngx_uint_t kinds);


#endif /* _NGX_STREAM_VMESS_SHARE_H_INCLUDED_ */
