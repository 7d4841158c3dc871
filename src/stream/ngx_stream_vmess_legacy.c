
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_legacy.h"
#include "ngx_stream_vmess_compat.h"


/* on [path=...] [host=...] [wait=time] */

char *
ngx_stream_vmess_http_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t               *value, *s, wait;
    ngx_uint_t               i;
    ngx_array_t            **list;
    ngx_vmess_http_conf_t   *hcf;

    if (vscf->http_wait) {
        return "is duplicate";
    }

    value = cf->args->elts;

    vscf->http_wait = 200;

    if (ngx_strcmp(value[1].data, "off") == 0 && cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "on") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"vmess_http_header\", it "
                           "must be \"on\", with parameters, or \"off\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    hcf = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_http_conf_t));
    if (hcf == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "path=/", 6) == 0
            && ngx_strchr(value[i].data, '?') == NULL)
        {
            list = &hcf->paths;

        } else if (ngx_strncmp(value[i].data, "host=", 5) == 0
                   && value[i].len > 5
                   && (value[i].data[5] == '['
                       || ngx_strchr(value[i].data, ':') == NULL))
        {
            list = &hcf->hosts;
            ngx_strlow(value[i].data, value[i].data, value[i].len);

        } else if (ngx_strncmp(value[i].data, "wait=", 5) == 0) {

            wait.data = value[i].data + 5;
            wait.len = value[i].len - 5;

            vscf->http_wait = ngx_parse_time(&wait, 0);

            if (vscf->http_wait == (ngx_msec_t) NGX_ERROR
                || vscf->http_wait == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid time \"%V\" in "
                                   "\"vmess_http_header\", it must be like "
                                   "\"200ms\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in "
                               "\"vmess_http_header\", parameters are "
                               "\"path=/...\" without a query, \"host=...\" "
                               "without a port, and \"wait=time\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        if (*list == NULL) {
            *list = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
            if (*list == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        s = ngx_array_push(*list);
        if (s == NULL) {
            return NGX_CONF_ERROR;
        }

        s->data = value[i].data + 5;
        s->len = value[i].len - 5;
    }

    vscf->http_header = hcf;

    return NGX_CONF_OK;
}


/* ports=from-to [refresh=time] */

char *
ngx_stream_vmess_detour(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    u_char      *p, *last;
    ngx_int_t    from, to;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (vscf->detour_from) {
        return "is duplicate";
    }

    value = cf->args->elts;
    vscf->detour_refresh = 5 * 60;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "ports=", 6) == 0) {

            p = value[i].data + 6;
            last = value[i].data + value[i].len;

            s.data = ngx_strlchr(p, last, '-');

            if (s.data == NULL) {
                s.data = last;
            }

            from = ngx_atoi(p, s.data - p);
            to = (s.data == last) ? from
                                  : ngx_atoi(s.data + 1, last - s.data - 1);

            if (from < 1 || to < from || to > 65535) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid ports \"%V\" in \"vmess_detour\", "
                                   "they must be like \"ports=20000-20100\"",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            vscf->detour_from = (in_port_t) from;
            vscf->detour_to = (in_port_t) to;

            continue;
        }

        if (ngx_strncmp(value[i].data, "refresh=", 8) == 0) {

            s.data = value[i].data + 8;
            s.len = value[i].len - 8;

            vscf->detour_refresh = ngx_parse_time(&s, 1);

            /* clients are told whole minutes, in a byte */

            if (vscf->detour_refresh == (time_t) NGX_ERROR
                || vscf->detour_refresh < 60
                || vscf->detour_refresh > 255 * 60)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid time \"%V\" in \"vmess_detour\", "
                                   "it must be from \"1m\" to \"255m\"",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"vmess_detour\", "
                           "parameters are \"ports=\" and \"refresh=\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    if (vscf->detour_from == 0) {
        return "needs the parameter \"ports=\"";
    }

    return NGX_CONF_OK;
}


/* temporary ids are of the zone, and so is the time for which they are good */

ngx_int_t
ngx_stream_vmess_check_detour(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_vmess_zone_t             *zone;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];
    zone = vscf->zone;

    if (zone->refresh && zone->refresh != vscf->detour_refresh) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"refresh\" of \"vmess_detour\" for the server in %s:%ui "
                      "must be %T seconds, as in other servers with "
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
    u_char                        *ports;
    in_port_t                      port;
    ngx_uint_t                     i, n;
    ngx_listening_t               *ls;
    ngx_stream_core_srv_conf_t    *cscf, **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf, *other;

    ports = NULL;
    cmcf = ngx_stream_cycle_get_module_main_conf(cycle, ngx_stream_core_module);

    if (cmcf == NULL) {
        return;
    }

    ls = cycle->listening.elts;
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        vscf = cscfp[i]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->detour_from == 0) {
            continue;
        }

        if (ports == NULL) {
            ports = ngx_palloc(cycle->pool, 65536);
            if (ports == NULL) {
                return;
            }
        }

        ngx_memzero(ports, 65536);

        for (n = 0; n < cycle->listening.nelts; n++) {

            if (ls[n].type != SOCK_STREAM
                || ls[n].handler != ngx_stream_init_connection)
            {
                continue;
            }

            cscf = ngx_vmess_listening_server(&ls[n]);
            other = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

            if (other->zone == vscf->zone) {
                ports[ngx_inet_get_port(ls[n].sockaddr)] = 1;
            }
        }

        for (port = vscf->detour_from; port < vscf->detour_to; port++) {
            if (!ports[port]) {
                break;
            }
        }

        if (!ports[port]) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "\"vmess_detour\" for the server in %s:%ui sends "
                          "clients to port %ui, on which no server with "
                          "\"vmess %V\" listens",
                          cscfp[i]->file_name, cscfp[i]->line,
                          (ngx_uint_t) port, &vscf->zone_name);
        }
    }
}
