
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_target.h"
#include "ngx_stream_vmess_rule.h"
#include "ngx_stream_vmess_peer.h"
#include "ngx_stream_vmess_cone.h"
#include "ngx_vmess_param.h"


/* addresses of a name that are kept, of each family */

#define NGX_STREAM_VMESS_ADDRS  16


static ngx_int_t ngx_stream_vmess_target_literal(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_target_resolve(ngx_stream_session_t *s);
static void ngx_stream_vmess_target_resolve_handler(ngx_resolver_ctx_t *rctx);
static void ngx_stream_vmess_target_resolve_cleanup(void *data);
static ngx_int_t ngx_stream_vmess_target_permit(ngx_stream_session_t *s,
    ngx_resolver_addr_t *addrs, ngx_uint_t naddrs);
static void ngx_stream_vmess_target_order(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_target_set_addr(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_vmess_target_bound(ngx_stream_session_t *s);
static ngx_uint_t ngx_stream_vmess_target_is_number(ngx_str_t *host);
static char *ngx_stream_vmess_target_is_protocol(ngx_str_t *host);
static ngx_uint_t ngx_stream_vmess_target_is_too_long(ngx_str_t *host);
static ngx_int_t ngx_stream_vmess_target_deny(ngx_stream_session_t *s,
    ngx_vmess_status_e status, const char *fmt, ...);
static ngx_int_t ngx_stream_vmess_target_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_vmess_target_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us);


static ngx_conf_enum_t  ngx_stream_vmess_target_families[] = {
    { ngx_string("ipv4"), NGX_STREAM_VMESS_IPV4 },
    { ngx_string("ipv6"), NGX_STREAM_VMESS_IPV6 },
    { ngx_string("prefer_ipv4"), NGX_STREAM_VMESS_PREFER_IPV4 },
    { ngx_string("prefer_ipv6"), NGX_STREAM_VMESS_PREFER_IPV6 },
    { ngx_null_string, 0 }
};


static ngx_vmess_param_t  ngx_stream_vmess_target_family_param = {
    ngx_null_string, ngx_vmess_param_enum, 0, 0, 0,
    NULL, ngx_stream_vmess_target_families, 0
};


ngx_int_t
ngx_stream_vmess_target_find(ngx_stream_session_t *s)
{
    char                    *protocol;
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_vmess_address_t     *address;
    ngx_stream_vmess_ctx_t  *ctx;

    c = s->connection;

    /* rules look at it; that of a virtual connection is known */

    if (ngx_vmess_vconn_get(c) == NULL
        && ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    address = &ctx->vc->header.address;

    if (address->type != NGX_VMESS_ADDR_DOMAIN) {
        return ngx_stream_vmess_target_literal(s);
    }

    ctx->host = address->domain;

    /*
     * "2130706433", "0x7f.1": not names, but spellings of addresses to some
     * resolvers.
     */

    if (address->port == 0 || ngx_stream_vmess_target_is_number(&ctx->host)) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_DENIED,
                                            "is forbidden");
    }

    protocol = ngx_stream_vmess_target_is_protocol(&ctx->host);

    if (protocol) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_DENIED,
                                            "is %s: turn it off in the client",
                                            protocol);
    }

    rc = ngx_stream_vmess_rule_check(s, &ctx->host, NULL, address->port);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_DENIED,
                                            "is forbidden");
    }

    return ngx_stream_vmess_target_resolve(s);
}


static ngx_int_t
ngx_stream_vmess_target_literal(ngx_stream_session_t *s)
{
    u_char                  *p;
    ngx_resolver_addr_t      addr;
    ngx_sockaddr_t           sa;
    ngx_vmess_address_t     *address;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    address = &ctx->vc->header.address;

    ngx_memzero(&addr, sizeof(ngx_resolver_addr_t));

    addr.sockaddr = &sa.sockaddr;
    addr.socklen = ngx_vmess_address_sockaddr(address, &sa);

    p = ngx_pnalloc(s->connection->pool, NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->host.data = p;
    ctx->host.len = ngx_sock_ntop(addr.sockaddr, addr.socklen, p,
                                  NGX_SOCKADDR_STRLEN, 0);

    return ngx_stream_vmess_target_permit(s, &addr, 1);
}


static ngx_int_t
ngx_stream_vmess_target_resolve(ngx_stream_session_t *s)
{
    ngx_str_t                     value;
    ngx_resolver_ctx_t           *rctx, temp;
    ngx_pool_cleanup_t           *cln;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    cscf = ngx_stream_get_module_srv_conf(s, ngx_stream_core_module);

    if (vscf->resolve) {

        if (ngx_stream_complex_value(s, vscf->resolve, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        if (value.len == 0
            || (value.len == 1 && value.data[0] == '0')
            || (value.len == 3 && ngx_strncmp(value.data, "off", 3) == 0))
        {
            return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                                "could not be resolved: "
                                                "\"vmess_resolve\" is off");
        }
    }

    if (ngx_stream_vmess_target_is_too_long(&ctx->host)) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                            "could not be resolved: "
                                            "a label or the name is too long");
    }

    cln = ngx_pool_cleanup_add(s->connection->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    temp.name = ctx->host;

    rctx = ngx_resolve_start(cscf->resolver, &temp);

    if (rctx == NULL) {
        return NGX_ERROR;
    }

    if (rctx == NGX_NO_RESOLVER) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                            "could not be resolved: "
                                            "no resolver defined");
    }

    rctx->name = ctx->host;
    rctx->handler = ngx_stream_vmess_target_resolve_handler;
    rctx->data = s;
    rctx->timeout = cscf->resolver_timeout;

    ctx->resolver = rctx;
    ctx->done = 0;

    cln->handler = ngx_stream_vmess_target_resolve_cleanup;
    cln->data = ctx;

    s->connection->log->action = "resolving VMess target";

    if (ngx_resolve_name(rctx) != NGX_OK) {
        ctx->resolver = NULL;
        return NGX_ERROR;
    }

    /* an answer from the cache of the resolver has come already */

    if (ctx->done) {
        return (ctx->naddrs || ctx->refusal.len) ? NGX_OK : NGX_ERROR;
    }

    ctx->async = 1;

    return NGX_AGAIN;
}


static void
ngx_stream_vmess_target_resolve_handler(ngx_resolver_ctx_t *rctx)
{
    ngx_int_t                rc;
    ngx_stream_session_t    *s;
    ngx_stream_vmess_ctx_t  *ctx;

    s = rctx->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (rctx->state) {
        rc = ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                          "could not be resolved (%i: %s)",
                                          rctx->state,
                                          ngx_resolver_strerror(rctx->state));
    } else {
        rc = ngx_stream_vmess_target_permit(s, rctx->addrs, rctx->naddrs);
    }

    ngx_resolve_name_done(rctx);

    ctx->resolver = NULL;
    ctx->done = 1;

    if (!ctx->async) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_STREAM, s->connection->log, 0,
                   "vmess target resolved: %ui", ctx->naddrs);

    ngx_stream_core_run_phases(s);
}


static void
ngx_stream_vmess_target_resolve_cleanup(void *data)
{
    ngx_stream_vmess_ctx_t *ctx = data;

    if (ctx->resolver) {
        ngx_resolve_name_done(ctx->resolver);
        ctx->resolver = NULL;
    }
}


/* keeps those of the addresses that the rules permit */

static ngx_int_t
ngx_stream_vmess_target_permit(ngx_stream_session_t *s,
    ngx_resolver_addr_t *addrs, ngx_uint_t naddrs)
{
    in_port_t                     port;
    ngx_int_t                     rc;
    ngx_str_t                    *host, text;
    ngx_uint_t                    i, ipv6, kept[2];
    ngx_pool_t                   *pool;
    ngx_resolver_addr_t          *addr;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;
    u_char                        buf[NGX_SOCKADDR_STRLEN];

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    pool = s->connection->pool;
    port = ctx->vc->header.address.port;
    host = ctx->vc->header.address.type == NGX_VMESS_ADDR_DOMAIN ? &ctx->host
                                                                 : NULL;
    text.data = buf;
    text.len = 0;

    kept[0] = 0;
    kept[1] = 0;

    ctx->addrs = ngx_pcalloc(pool, ngx_min(naddrs, 2 * NGX_STREAM_VMESS_ADDRS)
                                   * sizeof(ngx_resolver_addr_t));
    if (ctx->addrs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < naddrs; i++) {

        ipv6 = (addrs[i].sockaddr->sa_family == AF_INET6);

        if (kept[ipv6] == NGX_STREAM_VMESS_ADDRS
            || (host && vscf->family == (ipv6 ? NGX_STREAM_VMESS_IPV4
                                              : NGX_STREAM_VMESS_IPV6)))
        {
            continue;
        }

        rc = port ? ngx_stream_vmess_rule_check(s, host, addrs[i].sockaddr,
                                                port)
                  : NGX_DECLINED;

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DECLINED) {
            text.len = ngx_sock_ntop(addrs[i].sockaddr, addrs[i].socklen,
                                     buf, NGX_SOCKADDR_STRLEN, 0);
            continue;
        }

        addr = &ctx->addrs[ctx->naddrs];

        addr->sockaddr = ngx_pcalloc(pool, addrs[i].socklen);
        if (addr->sockaddr == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(addr->sockaddr, addrs[i].sockaddr, addrs[i].socklen);
        addr->socklen = addrs[i].socklen;

        ngx_inet_set_port(addr->sockaddr, port);

        kept[ipv6]++;
        ctx->naddrs++;
    }

    if (ctx->naddrs == 0 && host && text.len == 0) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                            "has no address of the family in "
                                            "\"vmess_resolve\"");
    }

    if (ctx->naddrs == 0) {
        return host ? ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_DENIED,
                                                   "is forbidden, address "
                                                   "\"%V\"", &text)
                    : ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_DENIED,
                                                   "is forbidden");
    }

    ngx_stream_vmess_target_order(s);

    return ngx_stream_vmess_target_set_addr(s);
}


/*
 * RFC 8305, 4.  Sorting Addresses: families take turns, the preferred one
 * first.  That is IPv4 if this machine has no global IPv6 address, and
 * otherwise the family that the resolver put first.
 */

static void
ngx_stream_vmess_target_order(ngx_stream_session_t *s)
{
    int                            family;
    ngx_uint_t                     i, k;
    ngx_resolver_addr_t            addr, *addrs;
    ngx_stream_vmess_ctx_t        *ctx;
    ngx_stream_vmess_srv_conf_t   *vscf;
    ngx_stream_vmess_main_conf_t  *vmcf;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    addrs = ctx->addrs;

    family = addrs[0].sockaddr->sa_family;

    if (vscf->family == NGX_STREAM_VMESS_PREFER_IPV4
        || (vscf->family == NGX_STREAM_VMESS_ANY && !vmcf->ipv6))
    {
        family = AF_INET;
    }

    if (vscf->family == NGX_STREAM_VMESS_PREFER_IPV6) {
        family = AF_INET6;
    }

    for (i = 0; i < ctx->naddrs; i++) {

        for (k = i; k < ctx->naddrs; k++) {
            if (addrs[k].sockaddr->sa_family == family) {
                break;
            }
        }

        family = (family == AF_INET) ? AF_INET6 : AF_INET;

        /* the rest is of one family */

        if (k == ctx->naddrs) {
            continue;
        }

        addr = addrs[k];
        ngx_memmove(&addrs[i + 1], &addrs[i],
                    (k - i) * sizeof(ngx_resolver_addr_t));
        addrs[i] = addr;
    }
}


/* $vmess_addr */

static ngx_int_t
ngx_stream_vmess_target_set_addr(ngx_stream_session_t *s)
{
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx->addr.data == NULL) {
        ctx->addr.data = ngx_pnalloc(s->connection->pool, NGX_SOCKADDR_STRLEN);
        if (ctx->addr.data == NULL) {
            return NGX_ERROR;
        }
    }

    ctx->addr.len = ngx_sock_ntop(ctx->addrs[0].sockaddr,
                                  ctx->addrs[0].socklen, ctx->addr.data,
                                  NGX_SOCKADDR_STRLEN, 0);
    return NGX_OK;
}


/* leaves out what the address of "proxy_bind" cannot reach */

static ngx_int_t
ngx_stream_vmess_target_bound(ngx_stream_session_t *s)
{
    ngx_addr_t              *local;
    ngx_uint_t               i, n;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    local = s->upstream->peer.local;

    if (local == NULL) {
        return NGX_OK;
    }

    for (i = 0, n = 0; i < ctx->naddrs; i++) {
        if (ctx->addrs[i].sockaddr->sa_family == local->sockaddr->sa_family) {
            ctx->addrs[n++] = ctx->addrs[i];
        }
    }

    ctx->naddrs = n;

    if (n == 0) {
        return ngx_stream_vmess_target_deny(s, NGX_VMESS_STATUS_UNRESOLVED,
                                            "has no address of the family of "
                                            "\"proxy_bind %V\"", &local->name);
    }

    return ngx_stream_vmess_target_set_addr(s);
}


/* as in the URL standard: a name ends in a number if its last label is one */

static ngx_uint_t
ngx_stream_vmess_target_is_number(ngx_str_t *host)
{
    u_char  *p, *last, ch;

    last = host->data + host->len;

    for (p = last; p > host->data && p[-1] != '.'; p--) { /* void */ }

    if (p == last) {
        return 1;
    }

    if (last - p >= 2 && p[0] == '0' && p[1] == 'x') {

        for (p += 2; p < last; p++) {
            ch = *p;

            if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f')) {
                return 0;
            }
        }

        return 1;
    }

    for ( /* void */ ; p < last; p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }
    }

    return 1;
}


/* by such a name clients say that they speak another protocol inside */

static char *
ngx_stream_vmess_target_is_protocol(ngx_str_t *host)
{
    ngx_uint_t  i;

    static const struct {
        ngx_str_t   name;
        char       *protocol;
    } names[] = {
        { ngx_string("sp.mux.sing-box.arpa"), "\"multiplex\" of sing-box" },
        { ngx_string("sp.udp-over-tcp.arpa"), "\"udp_over_tcp\" of sing-box" },
        { ngx_string("sp.v2.udp-over-tcp.arpa"),
          "\"udp_over_tcp\" of sing-box" }
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {

        if (host->len == names[i].name.len
            && ngx_memcmp(host->data, names[i].name.data, host->len) == 0)
        {
            return names[i].protocol;
        }
    }

    return NULL;
}


/* RFC 1035, 2.3.4: a longer label would be something else in a DNS query */

static ngx_uint_t
ngx_stream_vmess_target_is_too_long(ngx_str_t *host)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < host->len; i++) {

        n = (host->data[i] == '.') ? 0 : n + 1;

        if (n > 63) {
            return 1;
        }
    }

    return host->len > 253;
}


/* keeps what is to be logged if the target is needed after all */

static ngx_int_t
ngx_stream_vmess_target_deny(ngx_stream_session_t *s,
    ngx_vmess_status_e status, const char *fmt, ...)
{
    u_char                  *p, *last;
    va_list                  args;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    p = ngx_pnalloc(s->connection->pool, NGX_MAX_ERROR_STR);
    if (p == NULL) {
        return NGX_ERROR;
    }

    va_start(args, fmt);
    last = ngx_vslprintf(p, p + NGX_MAX_ERROR_STR, fmt, args);
    va_end(args);

    ctx->refusal.data = p;
    ctx->refusal.len = last - p;

    ctx->refused = status;

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_target_add(ngx_conf_t *cf)
{
    ngx_url_t                        u;
    ngx_stream_upstream_srv_conf_t  *us;

    ngx_memzero(&u, sizeof(ngx_url_t));

    ngx_str_set(&u.host, "vmess_target");
    u.no_resolve = 1;
    u.no_port = 1;

    us = ngx_stream_upstream_add(cf, &u, NGX_STREAM_UPSTREAM_CREATE);
    if (us == NULL) {
        return NGX_ERROR;
    }

    us->peer.init_upstream = ngx_stream_vmess_target_init_upstream;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_target_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_stream_vmess_target_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_target_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us)
{
    ngx_vmess_address_t     *address;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL || ctx->moved) {
        ngx_log_error(NGX_LOG_ERR, s->connection->log, 0,
                      "\"vmess_target\" needs a server with \"vmess\"");
        return NGX_ERROR;
    }

    if (ctx->naddrs && ngx_stream_vmess_target_bound(s) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->naddrs == 0) {

        address = &ctx->vc->header.address;

        ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                      "target \"%s%V%s:%ui\" of user \"%V\" %V",
                      address->type == NGX_VMESS_ADDR_IPV6 ? "[" : "",
                      &ctx->host,
                      address->type == NGX_VMESS_ADDR_IPV6 ? "]" : "",
                      (ngx_uint_t) address->port,
                      &ctx->vc->account.user->name, &ctx->refusal);

        /* the proxy module knows no better status than 500 */

        ctx->status = ctx->refused == NGX_VMESS_STATUS_DENIED
                      ? NGX_STREAM_FORBIDDEN : NGX_STREAM_BAD_GATEWAY;

        ctx->vc->status = ctx->refused;

        ngx_vmess_counters_add(
                   ngx_vmess_account_counters(&ctx->vc->account)
                       ->refused[ctx->vc->account.carrier][ctx->refused], 1);

        return NGX_ERROR;
    }

    if (ngx_stream_vmess_peer_init(s) != NGX_OK) {
        return NGX_ERROR;
    }

    if (s->connection->type == SOCK_DGRAM) {
        ngx_stream_vmess_cone_init(s);
    }

    return NGX_OK;
}


char *
ngx_stream_vmess_target_resolve_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   n;

    if (vscf->resolve != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    n = cf->args->nelts - 1;

    vscf->family = NGX_STREAM_VMESS_ANY;

    rc = ngx_vmess_param_enum(cf, &ngx_stream_vmess_target_family_param,
                              &value[n], &vscf->family);

    if (n == 2 && rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"vmess_resolve\", it "
                           "must be \"ipv4\", \"ipv6\", \"prefer_ipv4\" or "
                           "\"prefer_ipv6\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if ((n == 1 && rc == NGX_OK) || ngx_strcmp(value[1].data, "on") == 0) {
        vscf->resolve = NULL;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "off") == 0 && n == 2) {
        return "has \"off\", and addresses that would be used";
    }

    if (ngx_strcmp(value[1].data, "off") != 0
        && ngx_strchr(value[1].data, '$') == NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"vmess_resolve\", it must "
                           "be \"on\", \"off\" or contain a variable, then "
                           "\"ipv4\", \"ipv6\", \"prefer_ipv4\" or "
                           "\"prefer_ipv6\" may follow", &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_stream_set_complex_value_slot(cf, cmd, conf);
}
