
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_listen.h"
#include "ngx_vmess_param.h"


static ngx_int_t ngx_stream_vmess_listen_init(ngx_conf_t *cf,
    ngx_vmess_listen_t *listen, ngx_stream_core_srv_conf_t *cscf);
static ngx_listening_t *ngx_stream_vmess_listen_create(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_str_t *name, ngx_uint_t family);


char *
ngx_stream_vmess_listen(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    u_char                      *p;
    ngx_str_t                   *value;
    ngx_stream_core_srv_conf_t  *cscf;

    if (vscf->listen.data) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (p = value[1].data; *p; p++) {

        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
            || (*p >= '0' && *p <= '9') || *p == '_' || *p == '-')
        {
            continue;
        }

        break;
    }

    if (value[1].len == 0 || *p || ngx_strcmp(value[1].data, "off") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"vmess_listen\", it must "
                           "be of letters, digits, \"_\" and \"-\", and not "
                           "\"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    vscf->listen = value[1];

    /* instead of "listen" */

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    cscf->listen = 1;

    return NGX_CONF_OK;
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
    listen->zone = vscf->zone_name;

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
 * What ngx_stream_init_connection() needs of a listening socket, where there
 * is none.
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
