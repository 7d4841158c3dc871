
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ALTER_H_INCLUDED_
#define _NGX_VMESS_ALTER_H_INCLUDED_


#include "ngx_vmess_users.h"


/* The tokens of alter ids of a zone, in memory of their own. */


/*
 * Adds that memory, when all users are known: NGX_OK, or NGX_ERROR after an
 * error that was logged
 */
ngx_int_t ngx_vmess_alter_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone);

/* tells whose they are, once the users are in the table */
void ngx_vmess_alter_publish(ngx_vmess_zone_t *zone);

/* starts making tokens of the seconds to come */
void ngx_vmess_alter_init_worker(ngx_cycle_t *cycle);


#endif /* _NGX_VMESS_ALTER_H_INCLUDED_ */
