
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_
#define _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* before 1.23.0 response headers stay in the TLS buffer of HTTP/2 */

static ngx_inline ngx_int_t
ngx_http_vmess_compat_flush_header(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2 && nginx_version < 1023000)

    ngx_connection_t  *c;

    if (r->stream) {
        c = r->stream->connection->connection;

        if (c->buffered && c->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}


/*
 * Whether a server has HTTP/2 or HTTP/3: "http2" came with 1.25.1, and "quic"
 * of "listen" with 1.25.0.
 */

static ngx_inline ngx_uint_t
ngx_http_vmess_compat_has_http2(ngx_http_core_main_conf_t *cmcf,
    ngx_http_core_srv_conf_t *cscf)
{
    ngx_uint_t                  i, a, n;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_srv_conf_t  **server;

#if (NGX_HTTP_V2 && nginx_version >= 1025001)

    ngx_http_v2_srv_conf_t     *h2scf;

    h2scf = cscf->ctx->srv_conf[ngx_http_v2_module.ctx_index];

    if (h2scf->enable) {
        return 1;
    }

#endif

    if (cmcf->ports == NULL) {
        return 0;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {
        addr = port[i].addrs.elts;

        for (a = 0; a < port[i].addrs.nelts; a++) {

#if (nginx_version >= 1025000)
            if (!addr[a].opt.http2 && !addr[a].opt.quic) {
                continue;
            }
#else
            if (!addr[a].opt.http2) {
                continue;
            }
#endif

            server = addr[a].servers.elts;

            for (n = 0; n < addr[a].servers.nelts; n++) {
                if (server[n] == cscf) {
                    return 1;
                }
            }
        }
    }

    return 0;
}


#define NGX_HTTP_VMESS_LISTEN_PLAIN  1
#define NGX_HTTP_VMESS_LISTEN_SSL    2


/*
 * How a server listens, on a port in host byte order, or with 0 on any: QUIC is
 * left out, as it has a port of TCP beside it.
 */

static ngx_inline ngx_uint_t
ngx_http_vmess_compat_listens(ngx_http_core_main_conf_t *cmcf,
    ngx_http_core_srv_conf_t *cscf, in_port_t number)
{
    ngx_uint_t                  i, a, n, kinds;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_srv_conf_t  **server;

    kinds = 0;

    port = cmcf->ports ? cmcf->ports->elts : NULL;

    for (i = 0; port && i < cmcf->ports->nelts; i++) {

        if (number && ntohs(port[i].port) != number) {
            continue;
        }

        addr = port[i].addrs.elts;

        for (a = 0; a < port[i].addrs.nelts; a++) {

#if (nginx_version >= 1025000)
            if (addr[a].opt.quic) {
                continue;
            }
#endif

            server = addr[a].servers.elts;

            for (n = 0; n < addr[a].servers.nelts; n++) {
                if (server[n] == cscf) {
                    kinds |= addr[a].opt.ssl ? NGX_HTTP_VMESS_LISTEN_SSL
                                             : NGX_HTTP_VMESS_LISTEN_PLAIN;
                }
            }
        }
    }

    return kinds;
}


/* takes back what a refusal added; since 1.23.0 there may be several */

static ngx_inline void
ngx_http_vmess_compat_clear_authenticate(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = r->headers_out.www_authenticate;

#if (nginx_version >= 1023000)

    for ( /* void */ ; h; h = h->next) {
        h->hash = 0;
    }

#else

    if (h) {
        h->hash = 0;
    }

#endif

    r->headers_out.www_authenticate = NULL;
}


/*
 * The module may be left out of nginx.  The end of a value with variables came
 * with 1.31.3 and in security updates of earlier versions, also without a
 * declaration.
 */

extern ngx_module_t  ngx_http_rewrite_module __attribute__((weak));

void ngx_http_script_complex_value_end_code(ngx_http_script_engine_t *e)
    __attribute__((weak));


/* the start of the private ngx_http_rewrite_loc_conf_t of all versions */

typedef struct {
    ngx_array_t  *codes;
} ngx_http_vmess_rewrite_loc_conf_t;


/* the codes of the rewrite module for a location, which end with NULL */

static ngx_inline u_char *
ngx_http_vmess_compat_rewrite_codes(ngx_http_request_t *r)
{
    ngx_http_vmess_rewrite_loc_conf_t  *rlcf;

    if (&ngx_http_rewrite_module == NULL) {
        return NULL;
    }

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_rewrite_module);

    return rlcf->codes ? rlcf->codes->elts : NULL;
}


#endif /* _NGX_HTTP_VMESS_COMPAT_H_INCLUDED_ */
