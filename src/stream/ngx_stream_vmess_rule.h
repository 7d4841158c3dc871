
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_RULE_H_INCLUDED_
#define _NGX_STREAM_VMESS_RULE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* "vmess_allow" and "vmess_deny" */

char *ngx_stream_vmess_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * Checks a target against the rules of the session's server.
 *
 * host      name of the target, or NULL if it is an address
 * sockaddr  an address of it, or NULL before the name is resolved
 * port      in host byte order
 *
 * The first rule that matches decides, except that an allowed name does not
 * exempt its addresses: they must pass the rules for addresses, too, and
 * private addresses stay denied after the last rule.
 *
 * NGX_OK: allowed or, for a name alone, not denied yet; NGX_DECLINED: denied;
 * NGX_ERROR: a regular expression failed, which was logged.
 */
ngx_int_t ngx_stream_vmess_rule_check(ngx_stream_session_t *s, ngx_str_t *host,
    struct sockaddr *sockaddr, in_port_t port);


#endif /* _NGX_STREAM_VMESS_RULE_H_INCLUDED_ */
