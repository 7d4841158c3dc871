
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_NAME_H_INCLUDED_
#define _NGX_VMESS_NAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* what a name that was refused must be */

#define NGX_VMESS_NAME_TEXT                                                   \
    "spaces, double quotes, backslashes, control and invisible characters "   \
    "are not allowed, and it must be UTF-8"


/*
 * whether all characters may be in the name of a user or a zone: NGX_OK or
 * NGX_ERROR
 */
ngx_int_t ngx_vmess_name_check(const ngx_str_t *name);


#endif /* _NGX_VMESS_NAME_H_INCLUDED_ */
