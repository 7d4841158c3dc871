
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_flow.h"
#include "ngx_stream_vmess_limit.h"


static char *ngx_stream_vmess_proxy_pass(ngx_conf_t *cf,
    ngx_stream_conf_ctx_t *ctx, ngx_str_t *address);
static ngx_command_t *ngx_stream_vmess_proxy_command(char *name);
static ngx_int_t ngx_stream_vmess_listen_init(ngx_conf_t *cf,
    ngx_vmess_listen_t *listen, ngx_stream_core_srv_conf_t *cscf);
static ngx_listening_t *ngx_stream_vmess_listen_create(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_str_t *name, ngx_uint_t family);


extern ngx_module_t  ngx_stream_proxy_module;


ngx_stream_core_srv_conf_t *
ngx_stream_vmess_fallback_add_server(ngx_conf_t *cf, ngx_str_t *address)
{
    char                          *rv;
    void                          *conf;
    ngx_uint_t                     i;
    ngx_stream_module_t           *module;
    ngx_stream_conf_ctx_t         *ctx, *stream_ctx;
    ngx_stream_core_srv_conf_t    *cscf, **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    /* as ngx_stream_core_server() */

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_stream_conf_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    stream_ctx = cf->ctx;
    ctx->main_conf = stream_ctx->main_conf;

    ctx->srv_conf = ngx_pcalloc(cf->pool,
                                sizeof(void *) * ngx_stream_max_module);
    if (ctx->srv_conf == NULL) {
        return NULL;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (cf->cycle->modules[i]->type != NGX_STREAM_MODULE) {
            continue;
        }

        module = cf->cycle->modules[i]->ctx;

        if (module->create_srv_conf) {
            conf = module->create_srv_conf(cf);
            if (conf == NULL) {
                return NULL;
            }

            ctx->srv_conf[cf->cycle->modules[i]->ctx_index] = conf;
        }
    }

    cscf = ctx->srv_conf[ngx_stream_core_module.ctx_index];
    cscf->ctx = ctx;
    cscf->listen = 1;

    /* "vmess" of the stream level is not for this server */

    vscf = ctx->srv_conf[ngx_stream_vmess_module.ctx_index];
    ngx_str_set(&vscf->zone_name, "off");

    cmcf = ctx->main_conf[ngx_stream_core_module.ctx_index];

    cscfp = ngx_array_push(&cmcf->servers);
    if (cscfp == NULL) {
        return NULL;
    }

    *cscfp = cscf;

    rv = ngx_stream_vmess_proxy_pass(cf, ctx, address);

    if (rv == NGX_CONF_OK) {
        return cscf;
    }

    if (rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"vmess_fallback\" %s", rv);
    }

    return NULL;
}


/* proxy_pass address; */

static char *
ngx_stream_vmess_proxy_pass(ngx_conf_t *cf, ngx_stream_conf_ctx_t *ctx,
    ngx_str_t *address)
{
    char           *rv;
    ngx_str_t      *value;
    ngx_conf_t      save;
    ngx_array_t     args;
    ngx_command_t  *cmd;

    cmd = ngx_stream_vmess_proxy_command("proxy_pass");

    if (cmd == NULL
        || ngx_array_init(&args, cf->pool, 2, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = ngx_array_push_n(&args, 2);
    value[0] = cmd->name;
    value[1] = *address;

    save = *cf;
    cf->ctx = ctx;
    cf->cmd_type = NGX_STREAM_SRV_CONF;
    cf->args = &args;

    rv = cmd->set(cf, cmd, ctx->srv_conf[ngx_stream_proxy_module.ctx_index]);

    *cf = save;

    return rv;
}


ngx_int_t
ngx_stream_vmess_proxy_init(ngx_conf_t *cf)
{
    void                          *srv_conf[2];
    ngx_str_t                      address = ngx_string("$remote_addr");
    ngx_stream_module_t           *module;
    ngx_stream_conf_ctx_t          ctx;
    ngx_stream_core_srv_conf_t    *cscf;
    ngx_stream_vmess_main_conf_t  *vmcf;

    /* a server that nobody gets to */

    ctx.main_conf = ((ngx_stream_conf_ctx_t *) cf->ctx)->main_conf;
    ctx.srv_conf = ngx_pcalloc(cf->pool,
                               sizeof(void *) * ngx_stream_max_module);

    module = ngx_stream_core_module.ctx;
    srv_conf[0] = module->create_srv_conf(cf);

    module = ngx_stream_proxy_module.ctx;
    srv_conf[1] = module->create_srv_conf(cf);

    if (ctx.srv_conf == NULL || srv_conf[0] == NULL || srv_conf[1] == NULL) {
        return NGX_ERROR;
    }

    ctx.srv_conf[ngx_stream_core_module.ctx_index] = srv_conf[0];
    ctx.srv_conf[ngx_stream_proxy_module.ctx_index] = srv_conf[1];

    if (ngx_stream_vmess_proxy_pass(cf, &ctx, &address) != NGX_CONF_OK) {
        return NGX_ERROR;
    }

    cscf = srv_conf[0];
    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    vmcf->proxy_handler = cscf->handler;

    return NGX_OK;
}


/* the configuration of the proxy module is private, its directives are not */

static ngx_command_t *
ngx_stream_vmess_proxy_command(char *name)
{
    ngx_command_t  *cmd;

    for (cmd = ngx_stream_proxy_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            return cmd;
        }
    }

    return NULL;
}


ngx_stream_core_srv_conf_t *
ngx_stream_vmess_listen_find(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                     i;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        vscf = cscfp[i]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->listen.len == name->len
            && ngx_strncmp(vscf->listen.data, name->data, name->len) == 0)
        {
            return cscfp[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_stream_vmess_listen_add(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_vmess_conf_t             *vcf;
    ngx_vmess_listen_t           *listen;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);
    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    listen = ngx_array_push(&vcf->listens);
    if (listen == NULL) {
        return NGX_ERROR;
    }

    listen->name = vscf->listen;
    listen->vmess = (ngx_strcmp(vscf->zone_name.data, "off") != 0);

    return ngx_stream_vmess_listen_init(cf, listen, cscf);
}


ngx_int_t
ngx_stream_vmess_listen_add_flows(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    ngx_str_set(&vscf->flows.name, "mux");
    vscf->sessions.name.data = (u_char *) (vscf->kcp ? "mkcp" : "quic");
    vscf->sessions.name.len = 4;

    if (ngx_stream_vmess_listen_init(cf, &vscf->flows, cscf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (vscf->kcp == NULL && vscf->quic == NULL) {
        return NGX_OK;
    }

    return ngx_stream_vmess_listen_init(cf, &vscf->sessions, cscf);
}


static ngx_int_t
ngx_stream_vmess_listen_init(ngx_conf_t *cf, ngx_vmess_listen_t *listen,
    ngx_stream_core_srv_conf_t *cscf)
{
    size_t  len;

    /* the same for all workers, also across a reload */

    len = ngx_strlen(cscf->file_name) + 1 + NGX_INT_T_LEN;

    listen->server.data = ngx_pnalloc(cf->pool, len);
    if (listen->server.data == NULL) {
        return NGX_ERROR;
    }

    listen->server.len = ngx_sprintf(listen->server.data, "%s:%ui",
                                     cscf->file_name, cscf->line)
                         - listen->server.data;

    listen->listening = ngx_stream_vmess_listen_create(cf, cscf, &listen->name,
                                                       AF_INET);
    if (listen->listening == NULL) {
        return NGX_ERROR;
    }

#if (NGX_HAVE_INET6)

    listen->listening6 = ngx_stream_vmess_listen_create(cf, cscf, &listen->name,
                                                        AF_INET6);
    if (listen->listening6 == NULL) {
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


/*
 * What ngx_stream_init_connection() wants to know of a listening socket, of
 * which there is none
 */

static ngx_listening_t *
ngx_stream_vmess_listen_create(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf,
    ngx_str_t *name, ngx_uint_t family)
{
    u_char                       *p;
    ngx_listening_t              *ls;
    ngx_stream_port_t            *port;
    ngx_stream_in_addr_t         *addr;
    ngx_stream_addr_conf_t       *conf;
#if (NGX_HAVE_INET6)
    ngx_stream_in6_addr_t        *addr6;
#endif

    ls = ngx_pcalloc(cf->pool, sizeof(ngx_listening_t));
    port = ngx_pcalloc(cf->pool, sizeof(ngx_stream_port_t));
    p = ngx_pnalloc(cf->pool, sizeof("vmess:") - 1 + name->len);

    if (ls == NULL || port == NULL || p == NULL) {
        return NULL;
    }

    switch (family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        addr6 = ngx_pcalloc(cf->pool, sizeof(ngx_stream_in6_addr_t));
        if (addr6 == NULL) {
            return NULL;
        }

        port->addrs = addr6;
        conf = &addr6->conf;
        break;
#endif

    default: /* AF_INET */
        addr = ngx_pcalloc(cf->pool, sizeof(ngx_stream_in_addr_t));
        if (addr == NULL) {
            return NULL;
        }

        port->addrs = addr;
        conf = &addr->conf;
        break;
    }

    port->naddrs = 1;

    ngx_vmess_set_addr_server(conf, cscf);

    ls->addr_text.data = p;
    ls->addr_text.len = ngx_sprintf(p, "vmess:%V", name) - p;

    ngx_vmess_set_addr_text(conf, ls->addr_text);

    ls->handler = ngx_stream_init_connection;
    ls->servers = port;
    ls->log = cf->cycle->new_log;

    return ls;
}


ngx_int_t
ngx_stream_vmess_fallback_mark_handler(ngx_stream_session_t *s)
{
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);

    if (vscf->zone == NULL || vscf->fallback_server == NULL) {
        return NGX_DECLINED;
    }

    return ngx_stream_vmess_limit_mark(s->connection->pool) == NGX_OK
           ? NGX_DECLINED : NGX_ERROR;
}


void
ngx_stream_vmess_fallback_move(ngx_stream_session_t *s,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_connection_t             *c;
    ngx_stream_core_main_conf_t  *cmcf;

    c = s->connection;

    /* the server that goes on counts by itself */

    ngx_stream_vmess_limit_undo(c->pool);

    s->srv_conf = cscf->ctx->srv_conf;
    s->phase_handler = 0;
    s->limit_conn_status = 0;

    /* values cached for the server before */

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    ngx_memzero(s->variables, cmcf->variables.nelts
                              * sizeof(ngx_stream_variable_value_t));

    ngx_set_connection_log(c, cscf->error_log);

    c->read->handler = ngx_stream_session_handler;

    c->log->action = "initializing session";
}


ngx_int_t
ngx_stream_vmess_proxy_half_close(ngx_connection_t *c)
{
    u_char                  *pscf;
    ngx_command_t           *cmd;
    ngx_connection_t        *pc;
    ngx_stream_session_t    *s;
    ngx_stream_upstream_t   *u;
    ngx_stream_vmess_ctx_t  *ctx;

    s = c->data;
    u = s->upstream;

    pscf = ngx_stream_get_module_srv_conf(s, ngx_stream_proxy_module);
    cmd = ngx_stream_vmess_proxy_command("proxy_half_close");

    if (cmd && *(ngx_flag_t *) (pscf + cmd->offset)) {
        return NGX_DECLINED;
    }

    /*
     * The proxy module reads from the client after it has written to the
     * upstream, so it asks again when it could write more.
     */

    if (u == NULL) {

        /* preread: there is no more to wait for; the proxy asks again */

        ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
        ctx->preread_ended = 1;

        return NGX_AGAIN;
    }

    if (!u->connected || u->upstream_out || u->upstream_busy) {
        return NGX_AGAIN;
    }

    pc = u->peer.connection;

    if (pc->buffered) {
        return NGX_AGAIN;
    }

#if (NGX_STREAM_SSL || NGX_SSL)

    /*
     * There is no way to tell the end over TLS that all peers take for a
     * half-close: without it the answer comes at least.
     */

    if (pc->ssl) {
        return NGX_OK;
    }

#endif

    ngx_log_debug1(NGX_LOG_DEBUG_STREAM, c->log, 0,
                   "vmess half-close of upstream: %d", pc->fd);

    if (ngx_shutdown_socket(pc->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_connection_error(c, ngx_socket_errno,
                             ngx_shutdown_socket_n " failed");
    }

    return NGX_OK;
}
