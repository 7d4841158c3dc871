
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_TARGET_H_INCLUDED_
#define _NGX_STREAM_VMESS_TARGET_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* the directive "vmess_resolve" */
char *ngx_stream_vmess_target_resolve_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* adds the built-in upstream "vmess_target" */
ngx_int_t ngx_stream_vmess_target_add(ngx_conf_t *cf);

/*
 * Finds the allowed addresses of the target in the header of the session.
 * That there are none is not an error here: it becomes one if "vmess_target"
 * is chosen.
 *
 * NGX_OK, NGX_ERROR, or NGX_AGAIN: the phases run again when the name is
 * resolved.
 */
ngx_int_t ngx_stream_vmess_target_find(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_TARGET_H_INCLUDED_ */
