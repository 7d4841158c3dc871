
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_PRIVATE_H_INCLUDED_
#define _NGX_STREAM_VMESS_PRIVATE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * Addresses that a client must not reach through us unless allowed: those of
 * this machine and its networks, and those that are never a target.
 */

/*
 * Reads the addresses of this machine, which are private, as services there
 * trust connections from it.  Called when the configuration is read.  NGX_OK,
 * or NGX_ERROR without memory.
 */
ngx_int_t ngx_stream_vmess_private_init(ngx_conf_t *cf);

/* 1 if it is an address of this machine */
ngx_uint_t ngx_stream_vmess_private_local(ngx_stream_vmess_main_conf_t *vmcf,
    struct sockaddr *sockaddr);

/* 1 if a target is private, or no address of IP at all */
ngx_uint_t ngx_stream_vmess_private(ngx_stream_session_t *s,
    struct sockaddr *sockaddr);


#endif /* _NGX_STREAM_VMESS_PRIVATE_H_INCLUDED_ */
