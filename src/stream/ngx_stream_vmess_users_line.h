
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_USERS_LINE_H_INCLUDED_
#define _NGX_STREAM_VMESS_USERS_LINE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* A line of the block "vmess_users": a user, defaults, or an include. */


typedef struct {
    ngx_vmess_zone_t          *zone;
    u_char                    *file_name;  /* of the last line */
    ngx_uint_t                 seen;       /* parameters, warned of */
} ngx_stream_vmess_users_t;


/*
 * The handler of such lines, for ngx_conf_parse(); conf is that context.  Adds
 * the user to the zone.
 */
char *ngx_stream_vmess_users_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);

/*
 * Checks the name of a zone or of a user, which "what" says.  NGX_OK, or
 * NGX_ERROR after an error that was logged.
 */
ngx_int_t ngx_stream_vmess_users_line_check_name(ngx_conf_t *cf, char *what,
    ngx_str_t *name);


#endif /* _NGX_STREAM_VMESS_USERS_LINE_H_INCLUDED_ */
