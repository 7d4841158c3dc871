
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_DISGUISE_H_INCLUDED_
#define _NGX_STREAM_VMESS_DISGUISE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_http_header" */
char *ngx_stream_vmess_disguise(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_STREAM_VMESS_DISGUISE_H_INCLUDED_ */
