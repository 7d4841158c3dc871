
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_check.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_stream_vmess_detour.h"
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_listen.h"
#include "ngx_stream_vmess_quic.h"
#include "ngx_stream_vmess_share.h"
#include "event/ngx_vmess_zone.h"


static ngx_int_t ngx_stream_vmess_check_listen(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_uint_t kinds);
static void ngx_stream_vmess_check_plain(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);


char *
ngx_stream_vmess_check_stray(ngx_stream_vmess_srv_conf_t *conf)
{
    if (conf->fallback.data) {
        return "vmess_fallback";
    }

    if (conf->rules != NGX_CONF_UNSET_PTR) {
        return "vmess_allow\" or \"vmess_deny";
    }

    if (conf->resolve != NGX_CONF_UNSET_PTR) {
        return "vmess_resolve";
    }

    if (conf->commands) {
        return "vmess_commands";
    }

    if (conf->ciphers) {
        return "vmess_ciphers";
    }

    if (conf->mux_streams != NGX_CONF_UNSET_UINT) {
        return "vmess_mux_streams";
    }

    if (conf->mux_buffer != NGX_CONF_UNSET_SIZE) {
        return "vmess_mux_buffer";
    }

    if (conf->factor != NGX_CONF_UNSET_UINT) {
        return "vmess_factor";
    }

    if (conf->udp_filter != NGX_CONF_UNSET) {
        return "vmess_udp_filter";
    }

    if (conf->handshake_timeout != NGX_CONF_UNSET_MSEC) {
        return "vmess_handshake_timeout";
    }

    return NULL;
}


ngx_int_t
ngx_stream_vmess_check_server(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t                    kinds;
    ngx_stream_core_srv_conf_t   *other;
    ngx_stream_core_main_conf_t  *cmcf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    if (vscf->listen.len) {
        other = ngx_stream_vmess_listen_find(cf, &vscf->listen);

        if (other == cscf) {
            if (ngx_stream_vmess_listen_add(cf, cscf) != NGX_OK) {
                return NGX_ERROR;
            }

        } else {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "duplicate \"vmess_listen %V\" in %s:%ui and %s:%ui",
                          &vscf->listen, other->file_name, other->line,
                          cscf->file_name, cscf->line);
            return NGX_ERROR;
        }
    }

    if (ngx_strcmp(vscf->zone_name.data, "off") == 0) {

        if (vscf->kcp || vscf->quic || vscf->detour_from
            || vscf->disguise || vscf->offers)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"vmess_kcp\", \"vmess_quic\", \"vmess_detour\", "
                          "\"vmess_http_header\" and \"vmess_share\" need "
                          "\"vmess\" in the server in %s:%ui",
                          cscf->file_name, cscf->line);
            return NGX_ERROR;
        }

        if (vscf->unused) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"%s\" has no effect in the server in %s:%ui, "
                          "which has no \"vmess\"",
                          vscf->unused, cscf->file_name, cscf->line);
        }

        return NGX_OK;
    }

    vscf->zone = ngx_vmess_zone_lookup(cf->cycle, &vscf->zone_name);

    if (vscf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown zone \"%V\" in \"vmess\" in %s:%ui, "
                      "define it by \"vmess_users %V { ... }\"",
                      &vscf->zone_name, vscf->file_name, vscf->line,
                      &vscf->zone_name);
        return NGX_ERROR;
    }

    if (ngx_stream_vmess_listen_add_flows(cf, cscf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    kinds = ngx_vmess_listens(cmcf, cscf, NULL, 0);

    if (ngx_stream_vmess_check_listen(cf, cscf, kinds) != NGX_OK
        || ngx_stream_vmess_share_check_server(cf, vscf, kinds) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (cscf->resolver->connections.nelts == 0 && vscf->resolve == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "no \"resolver\" for the server with \"vmess\" in "
                      "%s:%ui, only targets that are addresses will work",
                      cscf->file_name, cscf->line);
    }

    if ((vscf->ciphers & NGX_STREAM_VMESS_CFB) && vscf->zone->nlegacy == 0
        && vscf->detour_from == 0)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"aes-128-cfb\" in \"vmess_ciphers\" for the server in "
                      "%s:%ui is for users with \"alter_id\", and "
                      "vmess_users \"%V\" has none",
                      cscf->file_name, cscf->line, &vscf->zone_name);
    }

    if (vscf->detour_from
        && ngx_stream_vmess_detour_check_server(cf, cscf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (kinds & NGX_VMESS_LISTEN_PLAIN) {
        ngx_stream_vmess_check_plain(cf, cscf);
    }

    return ngx_stream_vmess_fallback_check_server(cf, cscf);
}


/* what the directives of a server need of its sockets */

static ngx_int_t
ngx_stream_vmess_check_listen(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf,
    ngx_uint_t kinds)
{
    char                         *carrier;
    ngx_array_t                  *certificates;
    ngx_stream_conf_ctx_t        *ctx;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    if (vscf->kcp) {
        vscf->kcp->listen = &vscf->sessions;
    }

    if (vscf->kcp && vscf->quic) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_kcp\" and \"vmess_quic\" cannot be in one "
                      "server, as in %s:%ui", cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    carrier = vscf->kcp ? "vmess_kcp" : vscf->quic ? "vmess_quic" : NULL;

    if (carrier && !(kinds & NGX_VMESS_LISTEN_UDP)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" needs a \"listen\" with \"udp\" and "
                      "\"reuseport\" in the server in %s:%ui",
                      carrier, cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (carrier && (kinds & NGX_VMESS_LISTEN_SHARED)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"listen\" with \"udp\" for \"%s\" needs "
                      "\"reuseport\" in the server in %s:%ui",
                      carrier, cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (vscf->quic && ngx_stream_vmess_quic_server(cf, cscf) != NGX_OK) {
        return NGX_ERROR;
    }

    if ((kinds & NGX_VMESS_LISTEN_UDP) && carrier == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess %V\" in %s:%ui is for TCP, and the server in "
                      "%s:%ui has a \"listen\" with \"udp\", which is for "
                      "\"vmess_kcp\" and \"vmess_quic\"",
                      &vscf->zone_name, vscf->file_name, vscf->line,
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (vscf->disguise && !(kinds & NGX_VMESS_LISTEN_TCP)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_http_header\" needs a \"listen\" of TCP in the "
                      "server in %s:%ui, other sessions come without that "
                      "header", cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (vscf->detour_from && kinds == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_detour\" needs a \"listen\" in the server in "
                      "%s:%ui, clients of \"vmess_pass\" are told no ports",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    certificates = ngx_vmess_certificates(cscf->ctx->srv_conf);

    /* those of the "stream" level are for any server */

    ctx = (ngx_stream_conf_ctx_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                                 ngx_stream_module);

    if (certificates
        && certificates != ngx_vmess_certificates(ctx->srv_conf)
        && (kinds & NGX_VMESS_LISTEN_TCP) && !(kinds & NGX_VMESS_LISTEN_SSL)
        && vscf->quic == NULL)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"ssl_certificate\" has no effect in the server in "
                      "%s:%ui, add \"ssl\" to its \"listen\"",
                      cscf->file_name, cscf->line);
    }

    return NGX_OK;
}


/* what anybody on the way sees of a server that listens without TLS */

static void
ngx_stream_vmess_check_plain(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    /* NGX_CONF_BITMASK_SET: the default */

    if (!(vscf->ciphers & NGX_CONF_BITMASK_SET)
        && (vscf->ciphers & (NGX_STREAM_VMESS_NONE|NGX_STREAM_VMESS_ZERO)))
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"vmess_ciphers\" for the server in %s:%ui names a "
                      "cipher that encrypts nothing, and a \"listen\" there "
                      "has no \"ssl\"",
                      cscf->file_name, cscf->line);
    }

    if (ngx_strcmp(vscf->fallback.data, "off") == 0) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "the server with \"vmess\" in %s:%ui listens without "
                      "\"ssl\" and has no \"vmess_fallback\": probes find "
                      "a server that never answers",
                      cscf->file_name, cscf->line);
    }
}


void
ngx_stream_vmess_check_unused(ngx_conf_t *cf, ngx_stream_core_main_conf_t *cmcf)
{
    ngx_str_t                     *key;
    ngx_uint_t                     i, n;
    ngx_list_part_t               *part;
    ngx_shm_zone_t                *shm_zone;
    ngx_vmess_conf_t              *vcf;
    ngx_vmess_zone_t             **zone;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_vmess_srv_conf_t   *vscf;
    ngx_stream_vmess_main_conf_t  *vmcf;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);
    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    zone = vcf->zones.elts;
    cscfp = cmcf->servers.elts;

    for (i = 0; i < vcf->zones.nelts && !vmcf->off; i++) {

        for (n = 0; n < cmcf->servers.nelts; n++) {
            vscf = cscfp[n]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

            if (vscf->zone == zone[i]) {
                break;
            }
        }

        if (n == cmcf->servers.nelts) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "no server has \"vmess %V\", its vmess_users are "
                          "not used", &zone[i]->name);
        }
    }

    part = &cf->cycle->shared_memory.part;
    shm_zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            shm_zone = part->elts;
            i = 0;
        }

        key = ngx_vmess_limit_conn_key(cf->cycle, &shm_zone[i]);

        if (key && key->len
            && (ngx_strnstr(key->data, "$vmess_", key->len)
                || ngx_strnstr(key->data, "${vmess_", key->len)))
        {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"limit_conn_zone %V\" of zone \"%V\" counts "
                          "sub-connections of mux only: limits come before "
                          "the header is read", key, &shm_zone[i].shm.name);
        }
    }
}
