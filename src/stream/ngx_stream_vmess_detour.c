
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_detour.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_vmess_param.h"
#include "event/ngx_vmess_detour.h"
#include "proto/ngx_vmess_response.h"


static ngx_int_t ngx_stream_vmess_detour_ports(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static void ngx_stream_vmess_detour_check_ports(ngx_cycle_t *cycle,
    ngx_stream_core_srv_conf_t *cscf, int type);


static ngx_vmess_param_t  ngx_stream_vmess_detour_params[] = {

    { ngx_string("ports="), ngx_stream_vmess_detour_ports, 0, 0, 0,
      "ports from 1 to 65535, as \"20000-20100\"", NULL, 0 },

    /* clients are told whole minutes, in a byte */

    { ngx_string("refresh="), ngx_vmess_param_sec,
      offsetof(ngx_stream_vmess_srv_conf_t, detour_refresh), 60, 255 * 60,
      "a time from \"1m\" to \"255m\"", NULL, 0 },

      ngx_vmess_null_param
};


ngx_int_t
ngx_stream_vmess_detour_switch(ngx_stream_session_t *s)
{
    uint32_t                      random;
    ngx_vmess_switch_t            sw;
    ngx_vmess_connection_t       *vc;
    ngx_stream_vmess_ctx_t       *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
    vc = ctx->vc;

    ngx_memzero(&sw, sizeof(ngx_vmess_switch_t));

    if (vc->account.temporary
        || ngx_vmess_detour_id(vc->account.zone, vc->account.user,
                               vc->account.serial, sw.id, &random)
           != NGX_OK)
    {
        ngx_explicit_memzero(sw.id, NGX_VMESS_ID_LEN);
        return NGX_OK;
    }

    vc->command.data = ngx_pnalloc(s->connection->pool,
                                   NGX_VMESS_COMMAND_MAX);
    if (vc->command.data == NULL) {
        return NGX_ERROR;
    }

    sw.port = (in_port_t) (vscf->detour_from
                           + random % (vscf->detour_to - vscf->detour_from
                                       + 1));
    sw.minutes = (u_char) (vscf->detour_refresh / 60);

    vc->command.len = ngx_vmess_response_switch(&sw, vc->command.data);

    ngx_explicit_memzero(sw.id, NGX_VMESS_ID_LEN);

    return NGX_OK;
}


/* ports=from-to [refresh=time] */

char *
ngx_stream_vmess_detour(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    static ngx_str_t  where = ngx_string("in \"vmess_detour\"");

    if (vscf->detour_from) {
        return "is duplicate";
    }

    vscf->detour_refresh = 5 * 60;

    if (ngx_vmess_param_parse(cf, 1, ngx_stream_vmess_detour_params, vscf,
                              &where, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (vscf->detour_from == 0) {
        return "needs the parameter \"ports=\"";
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_vmess_detour_ports(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_stream_vmess_srv_conf_t *vscf = field;

    u_char     *p, *last, *dash;
    ngx_int_t   from, to;

    p = value->data;
    last = p + value->len;

    dash = ngx_strlchr(p, last, '-');

    from = ngx_atoi(p, (dash ? dash : last) - p);
    to = dash ? ngx_atoi(dash + 1, last - dash - 1) : from;

    if (from < 1 || to < from || to > 65535) {
        return NGX_DECLINED;
    }

    vscf->detour_from = (in_port_t) from;
    vscf->detour_to = (in_port_t) to;

    return NGX_OK;
}


/* temporary ids are of the zone, and so is the time for which they are good */

ngx_int_t
ngx_stream_vmess_detour_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_vmess_zone_t             *zone;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];
    zone = vscf->zone;

    if (zone->refresh && zone->refresh != vscf->detour_refresh) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"refresh\" of \"vmess_detour\" for the server in "
                      "%s:%ui must be %T seconds, as in other servers with "
                      "\"vmess %V\"",
                      cscf->file_name, cscf->line, zone->refresh,
                      &vscf->zone_name);
        return NGX_ERROR;
    }

    zone->refresh = vscf->detour_refresh;

    if (!(vscf->ciphers & NGX_STREAM_VMESS_CFB)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "clients that follow \"vmess_detour\" use the cipher "
                      "\"aes-128-cfb\", which is not in \"vmess_ciphers\" for "
                      "the server in %s:%ui",
                      cscf->file_name, cscf->line);
    }

    return NGX_OK;
}


void
ngx_stream_vmess_detour_listen(ngx_cycle_t *cycle)
{
    ngx_uint_t                     i, kinds;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    cmcf = ngx_stream_cycle_get_module_main_conf(cycle, ngx_stream_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        vscf = cscfp[i]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->detour_from == 0) {
            continue;
        }

        /* clients come the same way to the other port */

        kinds = ngx_vmess_listens(cmcf, cscfp[i], NULL, 0);

        if (kinds & NGX_VMESS_LISTEN_TCP) {
            ngx_stream_vmess_detour_check_ports(cycle, cscfp[i], SOCK_STREAM);
        }

        if (kinds & NGX_VMESS_LISTEN_UDP) {
            ngx_stream_vmess_detour_check_ports(cycle, cscfp[i], SOCK_DGRAM);
        }
    }
}


static void
ngx_stream_vmess_detour_check_ports(ngx_cycle_t *cycle,
    ngx_stream_core_srv_conf_t *cscf, int type)
{
    u_char                       *ports;
    ngx_uint_t                    n, port;
    ngx_listening_t              *ls;
    ngx_stream_core_srv_conf_t   *ocscf;
    ngx_stream_vmess_srv_conf_t  *vscf, *other;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    ports = ngx_pcalloc(cycle->pool, 65536);
    if (ports == NULL) {
        return;
    }

    ls = cycle->listening.elts;

    for (n = 0; n < cycle->listening.nelts; n++) {

        if (ls[n].type != type || ls[n].sockaddr->sa_family == AF_UNIX
            || ls[n].handler != ngx_stream_init_connection)
        {
            continue;
        }

        ocscf = ngx_vmess_listening_server(&ls[n]);
        other = ocscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (other->zone == vscf->zone) {
            ports[ngx_inet_get_port(ls[n].sockaddr)] = 1;
        }
    }

    for (port = vscf->detour_from; port <= vscf->detour_to; port++) {

        if (!ports[port]) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "\"vmess_detour\" for the server in %s:%ui sends "
                          "clients to %sport %ui, on which no server with "
                          "\"vmess %V\" listens",
                          cscf->file_name, cscf->line,
                          type == SOCK_DGRAM ? "UDP " : "", port,
                          &vscf->zone_name);
            break;
        }
    }

    (void) ngx_pfree(cycle->pool, ports);
}
