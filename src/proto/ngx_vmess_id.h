
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ID_H_INCLUDED_
#define _NGX_VMESS_ID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/*
 * User id from its text in any form that Xray accepts (VMess, "Account"):
 * 32 to 36 characters are hexadecimal digits with optional hyphens, 1 to 30
 * are mapped to a version 5 UUID.  NGX_OK or NGX_ERROR (neither).
 */
ngx_int_t ngx_vmess_id_parse(u_char *id, const ngx_str_t *text);

/* CmdKey of an id */
void ngx_vmess_id_cmd_key(u_char *cmd_key, const u_char *id);

/* the id that follows another one in a chain of alter ids; next may be id */
void ngx_vmess_id_next(u_char *next, const u_char *id);


#endif /* _NGX_VMESS_ID_H_INCLUDED_ */
