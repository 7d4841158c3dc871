
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_loop.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_stream_vmess_private.h"


/* fallbacks in a row */

#define NGX_STREAM_VMESS_HOPS        3

/* connections to fallbacks that are known at a time, a power of two */

#define NGX_STREAM_VMESS_LOOP_SLOTS  2048
#define NGX_STREAM_VMESS_LOOP_PROBE  8

/* a slot: a digest of the address, and the hops in its last byte */

#define NGX_STREAM_VMESS_LOOP_MASK   ((ngx_atomic_uint_t) 0xff)


static ngx_int_t ngx_stream_vmess_loop_refuse(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_str_t *url);
static ngx_stream_upstream_srv_conf_t *ngx_stream_vmess_loop_upstream(
    ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf);
static ngx_int_t ngx_stream_vmess_loop_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_atomic_uint_t ngx_stream_vmess_loop_digest(struct sockaddr *sa);
static ngx_int_t ngx_stream_vmess_loop_filter(ngx_stream_session_t *s,
    ngx_chain_t *in, ngx_uint_t from_upstream);


static ngx_stream_filter_pt  ngx_stream_next_filter;


ngx_int_t
ngx_stream_vmess_loop_check(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    u_char                          *p;
    ngx_str_t                        url;
    ngx_stream_vmess_srv_conf_t     *vscf;
    ngx_stream_upstream_srv_conf_t  *uscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    /* an address has a colon, a name has none */

    if (ngx_strchr(vscf->fallback.data, ':')) {
        return ngx_stream_vmess_loop_refuse(cf, cscf, &vscf->fallback);
    }

    uscf = ngx_stream_vmess_loop_upstream(cf, vscf->fallback_server);

    if (uscf == NULL) {
        return NGX_OK;
    }

    url = uscf->host;

    if (uscf->port) {
        p = ngx_pnalloc(cf->pool, url.len + sizeof(":65535"));
        if (p == NULL) {
            return NGX_ERROR;
        }

        url.len = ngx_sprintf(p, "%V:%d", &uscf->host, (int) uscf->port) - p;
        url.data = p;
    }

    return ngx_stream_vmess_loop_refuse(cf, cscf, &url);
}


static ngx_int_t
ngx_stream_vmess_loop_refuse(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf,
    ngx_str_t *url)
{
    ngx_url_t                      u;
    ngx_uint_t                     i, n, local;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf, *other;
    ngx_stream_vmess_main_conf_t  *vmcf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *url;

    /* what is wrong with it was told, or will be, by the proxy module */

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        return NGX_OK;
    }

    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);
    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        other = cscfp[i]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (ngx_strcmp(other->zone_name.data, "off") == 0) {
            continue;
        }

        for (n = 0; n < u.naddrs; n++) {

            local = ngx_inet_wildcard(u.addrs[n].sockaddr)
                    || ngx_stream_vmess_private_local(vmcf,
                                                      u.addrs[n].sockaddr);

            if (!(ngx_vmess_listens(cmcf, cscfp[i], &u.addrs[n], local)
                  & NGX_VMESS_LISTEN_MATCH))
            {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"vmess_fallback %V\" for the server in %s:%ui "
                          "leads to \"%V\", on which the server in %s:%ui "
                          "terminates VMess, it must lead to a site",
                          &vscf->fallback, cscf->file_name, cscf->line, url,
                          cscfp[i]->file_name, cscfp[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * The configuration of the proxy module is private, but an address in
 * "proxy_pass" makes an upstream, which has the line that it first appeared
 * in.
 */

static ngx_stream_upstream_srv_conf_t *
ngx_stream_vmess_loop_upstream(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t                        i, last;
    ngx_stream_core_srv_conf_t      **cscfp;
    ngx_stream_core_main_conf_t      *cmcf;
    ngx_stream_upstream_srv_conf_t  **uscfp;
    ngx_stream_upstream_main_conf_t  *umcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);

    /* the server ends where another one starts, at the latest */

    last = NGX_MAX_UINT32_VALUE;

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        if (cscfp[i] == cscf
            || ngx_strcmp(cscfp[i]->file_name, cscf->file_name) != 0
            || cscfp[i]->line < cscf->line)
        {
            continue;
        }

        if (cscfp[i]->line == cscf->line) {
            return NULL;
        }

        last = ngx_min(last, cscfp[i]->line);
    }

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->flags == 0 && uscfp[i]->file_name
            && ngx_strcmp(uscfp[i]->file_name, cscf->file_name) == 0
            && uscfp[i]->line >= cscf->line && uscfp[i]->line < last)
        {
            return uscfp[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_stream_vmess_loop_init(ngx_conf_t *cf)
{
    ngx_shm_zone_t                *shm_zone;
    ngx_stream_vmess_main_conf_t  *vmcf;
    static ngx_str_t               name = ngx_string("vmess_fallback_loop");

    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    shm_zone = ngx_shared_memory_add(cf, &name,
                                     8 * ngx_pagesize
                                     + NGX_STREAM_VMESS_LOOP_SLOTS
                                       * sizeof(ngx_atomic_t),
                                     &ngx_stream_vmess_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_stream_vmess_loop_init_zone;
    vmcf->loop_zone = shm_zone;

    ngx_stream_next_filter = ngx_stream_top_filter;
    ngx_stream_top_filter = ngx_stream_vmess_loop_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_loop_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (shm_zone->shm.exists) {
        shm_zone->data = shpool->data;
        return NGX_OK;
    }

    shpool->data = ngx_slab_calloc(shpool, NGX_STREAM_VMESS_LOOP_SLOTS
                                           * sizeof(ngx_atomic_t));
    if (shpool->data == NULL) {
        return NGX_ERROR;
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_loop_enter(ngx_stream_session_t *s)
{
    socklen_t                      len;
    ngx_uint_t                     i;
    ngx_atomic_t                  *slot;
    ngx_sockaddr_t                 sa;
    struct sockaddr               *sockaddr;
    ngx_connection_t              *c;
    ngx_atomic_uint_t              digest, word;
    ngx_stream_vmess_ctx_t        *ctx;
    ngx_stream_vmess_main_conf_t  *vmcf;

    c = s->connection;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    ctx->hops = 1;

    sockaddr = c->sockaddr;

    /* realip, and the PROXY protocol, may have changed the address */

    if (ngx_vmess_vconn_get(c) == NULL) {

        len = sizeof(ngx_sockaddr_t);

        if (getpeername(c->fd, &sa.sockaddr, &len) == -1) {
            return NGX_OK;
        }

        sockaddr = &sa.sockaddr;
    }

    digest = ngx_stream_vmess_loop_digest(sockaddr);

    if (digest == 0) {
        return NGX_OK;
    }

    slot = vmcf->loop_zone->data;

    for (i = 0; i < NGX_STREAM_VMESS_LOOP_PROBE; i++) {

        word = slot[((digest >> 8) + i) % NGX_STREAM_VMESS_LOOP_SLOTS];

        if ((word & ~NGX_STREAM_VMESS_LOOP_MASK) == digest) {
            ctx->hops += word & NGX_STREAM_VMESS_LOOP_MASK;
            break;
        }
    }

    if (ctx->hops <= NGX_STREAM_VMESS_HOPS) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "\"vmess_fallback\" leads back to a server with VMess");

    return NGX_DECLINED;
}


/* 0 if connections from such addresses cannot be told from others */

static ngx_atomic_uint_t
ngx_stream_vmess_loop_digest(struct sockaddr *sa)
{
    u_char     *p;
    size_t      len;
    uint32_t    hash;
    in_port_t   port;

    len = ngx_vmess_address_bytes(sa, &p, &port);

    if (len == 0) {
        return 0;
    }

    hash = ngx_murmur_hash2(p, len);

    return ((((ngx_atomic_uint_t) hash << 16) ^ port ^ (hash >> 16)) << 8)
           | ((ngx_atomic_uint_t) 1 << (sizeof(ngx_atomic_uint_t) * 8 - 1));
}


static ngx_int_t
ngx_stream_vmess_loop_filter(ngx_stream_session_t *s, ngx_chain_t *in,
    ngx_uint_t from_upstream)
{
    if (!from_upstream) {
        ngx_stream_vmess_loop_note(s);
    }

    return ngx_stream_next_filter(s, in, from_upstream);
}


void
ngx_stream_vmess_loop_note(ngx_stream_session_t *s)
{
    ngx_uint_t                     i;
    ngx_atomic_t                  *slot;
    ngx_connection_t              *pc;
    ngx_atomic_uint_t              digest;
    ngx_stream_vmess_ctx_t        *ctx;
    ngx_stream_vmess_main_conf_t  *vmcf;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL || !ctx->moved || s->upstream == NULL) {
        return;
    }

    pc = s->upstream->peer.connection;

    if (pc == NULL || ctx->noted == pc->number) {
        return;
    }

    ngx_stream_vmess_loop_leave(ctx);

    ctx->noted = pc->number;

    if (ngx_connection_local_sockaddr(pc, NULL, 0) != NGX_OK) {
        return;
    }

    digest = ngx_stream_vmess_loop_digest(pc->local_sockaddr);

    if (digest == 0) {
        return;
    }

    vmcf = ngx_stream_get_module_main_conf(s, ngx_stream_vmess_module);

    slot = vmcf->loop_zone->data;

    ctx->note = digest | ctx->hops;

    for (i = 0; i < NGX_STREAM_VMESS_LOOP_PROBE; i++) {

        ctx->slot = &slot[((digest >> 8) + i) % NGX_STREAM_VMESS_LOOP_SLOTS];

        if (ngx_atomic_cmp_set(ctx->slot, 0, ctx->note)) {
            return;
        }
    }

    /* that of another one is lost, which may cost a few hops more */

    *ctx->slot = ctx->note;
}


void
ngx_stream_vmess_loop_leave(ngx_stream_vmess_ctx_t *ctx)
{
    if (ctx->slot) {
        (void) ngx_atomic_cmp_set(ctx->slot, ctx->note, 0);
        ctx->slot = NULL;
    }
}
