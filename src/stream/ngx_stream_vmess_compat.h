
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_
#define _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>


/* 1 if a server listens on UDP; "listen" was reworked in 1.25.5 */

static ngx_inline ngx_uint_t
ngx_vmess_listens_udp(ngx_stream_core_main_conf_t *cmcf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t  i;

#if (nginx_version >= 1025005)

    ngx_uint_t                    a, n;
    ngx_stream_conf_port_t       *port;
    ngx_stream_conf_addr_t       *addr;
    ngx_stream_core_srv_conf_t  **server;

    if (cmcf->ports == NULL) {
        return 0;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {

        if (port[i].type != SOCK_DGRAM) {
            continue;
        }

        addr = port[i].addrs.elts;

        for (a = 0; a < port[i].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (n = 0; n < addr[a].servers.nelts; n++) {
                if (server[n] == cscf) {
                    return 1;
                }
            }
        }
    }

#else

    ngx_stream_listen_t  *listen;

    listen = cmcf->listen.elts;

    for (i = 0; i < cmcf->listen.nelts; i++) {
        if (listen[i].type == SOCK_DGRAM && listen[i].ctx == cscf->ctx) {
            return 1;
        }
    }

#endif

    return 0;
}


#endif /* _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_ */
