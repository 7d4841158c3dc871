
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_SHARE_H_INCLUDED_
#define _NGX_HTTP_VMESS_SHARE_H_INCLUDED_


#include "ngx_http_vmess_request.h"


/* the directive "vmess_share" of a location */
char *ngx_http_vmess_share(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * Completes those of all locations, once these are read.  NGX_OK, or NGX_ERROR
 * after an error that was logged.
 */
ngx_int_t ngx_http_vmess_share_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_VMESS_SHARE_H_INCLUDED_ */
