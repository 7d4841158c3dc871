
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_CHECK_H_INCLUDED_
#define _NGX_STREAM_VMESS_CHECK_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * What nginx -t says of servers when all was read: directives that need each
 * other, or have no effect.
 */

/* a directive of a server that says nothing of "vmess", or NULL */
char *ngx_stream_vmess_check_stray(ngx_stream_vmess_srv_conf_t *conf);

/*
 * Finds the zone and the fallback of a server, and gives it listeners for
 * connections inside of its own.  NGX_OK, or NGX_ERROR after an error that was
 * logged.
 */
ngx_int_t ngx_stream_vmess_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);

/* warns of what was configured, and is used nowhere */
void ngx_stream_vmess_check_unused(ngx_conf_t *cf,
    ngx_stream_core_main_conf_t *cmcf);


#endif /* _NGX_STREAM_VMESS_CHECK_H_INCLUDED_ */
