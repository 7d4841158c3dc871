
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_USERS_ADD_H_INCLUDED_
#define _NGX_STREAM_VMESS_USERS_ADD_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * Adds a user to the zone of a configuration, if neither its name nor an id or
 * a token of it is there.  NGX_OK, or NGX_ERROR after an error that was logged.
 */
ngx_int_t ngx_stream_vmess_users_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user);


#endif /* _NGX_STREAM_VMESS_USERS_ADD_H_INCLUDED_ */
