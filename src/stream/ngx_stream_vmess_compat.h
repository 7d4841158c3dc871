
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_
#define _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_stream_ssl_module.h>


/* nginx has its engine of QUIC with http_v3 only */

#if (NGX_QUIC && nginx_version >= 1025005)
#define NGX_VMESS_QUIC  1
#else
#define NGX_VMESS_QUIC  0
#endif


/*
 * A QUIC connection with more frames in flight than max_frames is closed.
 * That was 10000; since 1.27.5 it is derived from buffers, and too low if
 * there are few.
 */

#if (NGX_VMESS_QUIC && nginx_version >= 1027005)

#include <ngx_event_quic_connection.h>

static ngx_inline void
ngx_vmess_quic_allow_frames(ngx_connection_t *c)
{
    ngx_quic_connection_t  *qc;

    qc = ngx_quic_get_connection(c);
    qc->max_frames = ngx_max(qc->max_frames, 10000);
}

#else
#define ngx_vmess_quic_allow_frames(c)
#endif


/* certificates of a server, NULL: none; the structure was renamed in 1.25.5 */

static ngx_inline ngx_array_t *
ngx_vmess_certificates(void **srv_conf)
{
#if (nginx_version >= 1025005)
    ngx_stream_ssl_srv_conf_t  *sscf;
#else
    ngx_stream_ssl_conf_t      *sscf;
#endif

    sscf = srv_conf[ngx_stream_ssl_module.ctx_index];

    return sscf->certificates;
}


#define NGX_VMESS_LISTEN_UDP     0x01
#define NGX_VMESS_LISTEN_SHARED  0x02    /* UDP without "reuseport" */
#define NGX_VMESS_LISTEN_PLAIN   0x04    /* TCP of others, without TLS */
#define NGX_VMESS_LISTEN_TCP     0x08
#define NGX_VMESS_LISTEN_SSL     0x10
#define NGX_VMESS_LISTEN_MATCH   0x20    /* TCP or Unix, and the address */


/* "listen" was reworked in 1.25.5 */

#if (nginx_version >= 1025005)
typedef ngx_stream_listen_opt_t  ngx_vmess_listen_opt_t;
#else
typedef ngx_stream_listen_t      ngx_vmess_listen_opt_t;
#endif


static ngx_inline ngx_uint_t
ngx_vmess_listen_kind(ngx_vmess_listen_opt_t *opt)
{
    u_char           *p;
    struct sockaddr  *sa;

    if (opt->type == SOCK_DGRAM) {
        return NGX_VMESS_LISTEN_UDP
               | (opt->reuseport ? 0 : NGX_VMESS_LISTEN_SHARED);
    }

    if (opt->ssl) {
        return NGX_VMESS_LISTEN_TCP|NGX_VMESS_LISTEN_SSL;
    }

    sa = opt->sockaddr;

    switch (sa->sa_family) {

    case AF_UNIX:
        return NGX_VMESS_LISTEN_TCP;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        if (IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *) sa)->sin6_addr)) {
            return NGX_VMESS_LISTEN_TCP;
        }

        break;
#endif

    default: /* AF_INET */
        p = (u_char *) &((struct sockaddr_in *) sa)->sin_addr;

        if (p[0] == 127) {
            return NGX_VMESS_LISTEN_TCP;
        }
    }

    return NGX_VMESS_LISTEN_TCP|NGX_VMESS_LISTEN_PLAIN;
}


static ngx_inline ngx_uint_t
ngx_vmess_listen_match(ngx_vmess_listen_opt_t *opt, ngx_addr_t *addr,
    ngx_uint_t local)
{
    ngx_uint_t            v4;
    struct sockaddr      *sa;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (opt->type != SOCK_STREAM || addr == NULL) {
        return 0;
    }

    sa = opt->sockaddr;

    if (ngx_cmp_sockaddr(sa, opt->socklen, addr->sockaddr, addr->socklen, 1)
        == NGX_OK)
    {
        return NGX_VMESS_LISTEN_MATCH;
    }

    if (!local || sa->sa_family == AF_UNIX || !ngx_inet_wildcard(sa)
        || ngx_inet_get_port(sa) != ngx_inet_get_port(addr->sockaddr))
    {
        return 0;
    }

    v4 = (addr->sockaddr->sa_family == AF_INET);

#if (NGX_HAVE_INET6)

    if (!v4) {
        sin6 = (struct sockaddr_in6 *) addr->sockaddr;
        v4 = IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr);
    }

    if (sa->sa_family == AF_INET6) {
        return (v4 && opt->ipv6only) ? 0 : NGX_VMESS_LISTEN_MATCH;
    }

#endif

    return v4 ? NGX_VMESS_LISTEN_MATCH : 0;
}


/*
 * On what a server listens, and whether on an address, or NULL.  local: it is
 * one of this machine, for sockets that have all of them.
 */

static ngx_inline ngx_uint_t
ngx_vmess_listens(ngx_stream_core_main_conf_t *cmcf,
    ngx_stream_core_srv_conf_t *cscf, ngx_addr_t *address, ngx_uint_t local)
{
    ngx_uint_t  i, kinds;

    kinds = 0;

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
        addr = port[i].addrs.elts;

        for (a = 0; a < port[i].addrs.nelts; a++) {
            server = addr[a].servers.elts;

            for (n = 0; n < addr[a].servers.nelts; n++) {
                if (server[n] == cscf) {
                    kinds |= ngx_vmess_listen_kind(&addr[a].opt)
                             | ngx_vmess_listen_match(&addr[a].opt, address,
                                                      local);
                }
            }
        }
    }

#else

    ngx_stream_listen_t  *listen;

    listen = cmcf->listen.elts;

    for (i = 0; i < cmcf->listen.nelts; i++) {
        if (listen[i].ctx == cscf->ctx) {
            kinds |= ngx_vmess_listen_kind(&listen[i])
                     | ngx_vmess_listen_match(&listen[i], address, local);
        }
    }

#endif

    return kinds;
}


/*
 * The key of a zone of limit_conn: the structures are private to that module,
 * but the same in all versions.  NULL if the zone is another module's.
 */

static ngx_inline ngx_str_t *
ngx_vmess_limit_conn_key(ngx_cycle_t *cycle, ngx_shm_zone_t *zone)
{
    ngx_uint_t  i;

    typedef struct {
        void                        *sh;
        ngx_slab_pool_t             *shpool;
        ngx_stream_complex_value_t   key;
    } ngx_vmess_limit_conn_ctx_t;

    for (i = 0; cycle->modules[i]; i++) {

        if (zone->tag == cycle->modules[i] && zone->data
            && ngx_strcmp(cycle->modules[i]->name,
                          "ngx_stream_limit_conn_module")
               == 0)
        {
            return &((ngx_vmess_limit_conn_ctx_t *) zone->data)->key.value;
        }
    }

    return NULL;
}


/* the first server of a listening socket */

static ngx_inline ngx_stream_core_srv_conf_t *
ngx_vmess_listening_server(ngx_listening_t *ls)
{
    ngx_stream_port_t       *port;
    ngx_stream_in_addr_t    *addr;
    ngx_stream_addr_conf_t  *conf;
#if (NGX_HAVE_INET6)
    ngx_stream_in6_addr_t   *addr6;
#endif

    port = ls->servers;

#if (NGX_HAVE_INET6)

    if (ls->sockaddr->sa_family == AF_INET6) {
        addr6 = port->addrs;
        conf = &addr6[0].conf;
    } else
#endif
    {
        addr = port->addrs;
        conf = &addr[0].conf;
    }

#if (nginx_version >= 1025005)
    return conf->default_server;
#else
    return conf->ctx->srv_conf[ngx_stream_core_module.ctx_index];
#endif
}


#endif /* _NGX_STREAM_VMESS_COMPAT_H_INCLUDED_ */
