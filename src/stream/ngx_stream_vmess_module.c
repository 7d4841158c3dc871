
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_stream_vmess_flow.h"
#include "ngx_stream_vmess_handler.h"
#include "ngx_stream_vmess_kcp.h"
#include "ngx_stream_vmess_legacy.h"
#include "ngx_stream_vmess_limit.h"
#include "ngx_stream_vmess_loop.h"
#include "ngx_stream_vmess_quic.h"
#include "ngx_stream_vmess_rule.h"
#include "ngx_stream_vmess_target.h"
#include "ngx_vmess_param.h"
#include "event/ngx_vmess_xudp.h"
#include "event/ngx_vmess_zone.h"


static ngx_int_t ngx_stream_vmess_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_vmess_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_vmess_check_server(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);
static ngx_int_t ngx_stream_vmess_check_listen(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_uint_t kinds);
static void ngx_stream_vmess_check_plain(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf);
static void ngx_stream_vmess_check_unused(ngx_conf_t *cf,
    ngx_stream_core_main_conf_t *cmcf);
static ngx_int_t ngx_stream_vmess_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_stream_vmess_init_process(ngx_cycle_t *cycle);
static void *ngx_stream_vmess_create_main_conf(ngx_conf_t *cf);
static void *ngx_stream_vmess_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_vmess_check_stray(ngx_stream_vmess_srv_conf_t *conf);
static char *ngx_stream_vmess_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_stream_vmess(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_stream_vmess_listen(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_vmess_fallback(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_stream_vmess_bitmask(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_vmess_target_resolve_slot(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_stream_vmess_handshakes(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_vmess_flag(ngx_conf_t *cf, void *post, void *data);


static ngx_vmess_param_t  ngx_stream_vmess_timeout_param = {
    ngx_null_string, ngx_vmess_param_msec, 0, 1, NGX_MAX_INT_T_VALUE,
    "a time of more than zero", NULL, 0
};


static ngx_vmess_param_t  ngx_stream_vmess_handshakes_params[] = {

    { ngx_string("worker="), ngx_vmess_param_number,
      offsetof(ngx_vmess_conf_t, handshakes), 1, 1000000,
      "a number from 1 to 1000000", NULL, 0 },

    { ngx_string("address="), ngx_vmess_param_number,
      offsetof(ngx_vmess_conf_t, address_handshakes), 1, 1000000,
      "a number from 1 to 1000000", NULL, 0 },

    ngx_vmess_null_param
};


static ngx_vmess_param_t  ngx_stream_vmess_mux_streams_param = {
    ngx_null_string, ngx_vmess_param_number, 0, 1, 65535,
    "a number from 1 to 65535", NULL, 0
};


/* the largest frame of clients is 8k, and a datagram is kept whole */

static ngx_vmess_param_t  ngx_stream_vmess_mux_buffer_param = {
    ngx_null_string, ngx_vmess_param_size, 0, 16 * 1024, 64 * 1024 * 1024,
    "a size from 16k to 64m", NULL, 0
};


static ngx_conf_post_t  ngx_stream_vmess_flag_post = {
    ngx_stream_vmess_flag
};


static ngx_conf_bitmask_t  ngx_stream_vmess_cipher_masks[] = {
    { ngx_string("aes-128-gcm"), NGX_STREAM_VMESS_AES_128_GCM },
    { ngx_string("chacha20-poly1305"), NGX_STREAM_VMESS_CHACHA20 },
    { ngx_string("none"), NGX_STREAM_VMESS_NONE },
    { ngx_string("zero"), NGX_STREAM_VMESS_ZERO },
    { ngx_string("aes-128-cfb"), NGX_STREAM_VMESS_CFB },
    { ngx_null_string, 0 }
};


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


static ngx_conf_bitmask_t  ngx_stream_vmess_command_masks[] = {
    { ngx_string("tcp"), NGX_STREAM_VMESS_TCP },
    { ngx_string("udp"), NGX_STREAM_VMESS_UDP },
    { ngx_string("mux"), NGX_STREAM_VMESS_MUX },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_stream_vmess_commands[] = {

    { ngx_string("vmess_users"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE12,
      ngx_stream_vmess_users,
      0,
      0,
      NULL },

    { ngx_string("vmess"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_vmess,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_listen"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_vmess_listen,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_fallback"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_vmess_fallback,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_ciphers"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_stream_vmess_bitmask,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, ciphers),
      &ngx_stream_vmess_cipher_masks },

    { ngx_string("vmess_commands"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_stream_vmess_bitmask,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, commands),
      &ngx_stream_vmess_command_masks },

    { ngx_string("vmess_mux_streams"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_vmess_param_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, mux_streams),
      &ngx_stream_vmess_mux_streams_param },

    { ngx_string("vmess_mux_buffer"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_vmess_param_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, mux_buffer),
      &ngx_stream_vmess_mux_buffer_param },

    { ngx_string("vmess_kcp"),
      NGX_STREAM_SRV_CONF|NGX_CONF_ANY,
      ngx_stream_vmess_kcp,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_quic"),
      NGX_STREAM_SRV_CONF|NGX_CONF_ANY,
      ngx_stream_vmess_quic,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_http_header"),
      NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_stream_vmess_disguise,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_detour"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE12,
      ngx_stream_vmess_detour,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_udp_filter"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, udp_filter),
      &ngx_stream_vmess_flag_post },

    { ngx_string("vmess_allow"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE12,
      ngx_stream_vmess_rule,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_deny"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE12,
      ngx_stream_vmess_rule,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("vmess_resolve"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE12,
      ngx_stream_vmess_target_resolve_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, resolve),
      NULL },

    { ngx_string("vmess_handshake_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_vmess_param_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, handshake_timeout),
      &ngx_stream_vmess_timeout_param },

    { ngx_string("vmess_handshakes"),
      NGX_STREAM_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_stream_vmess_handshakes,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_vmess_module_ctx = {
    ngx_stream_vmess_preconfiguration,     /* preconfiguration */
    ngx_stream_vmess_postconfiguration,    /* postconfiguration */

    ngx_stream_vmess_create_main_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_vmess_create_srv_conf,      /* create server configuration */
    ngx_stream_vmess_merge_srv_conf        /* merge server configuration */
};


ngx_module_t  ngx_stream_vmess_module = {
    NGX_MODULE_V1,
    &ngx_stream_vmess_module_ctx,          /* module context */
    ngx_stream_vmess_commands,             /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    ngx_stream_vmess_init_module,          /* init module */
    ngx_stream_vmess_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_stream_vmess_preconfiguration(ngx_conf_t *cf)
{
    if (ngx_stream_vmess_target_add(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_stream_vmess_variable_init(cf);
}


static ngx_int_t
ngx_stream_vmess_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                     i, fallback;
    ngx_array_t                   *log;
    ngx_stream_handler_pt         *h;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    fallback = 0;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {
        if (ngx_stream_vmess_check_server(cf, cscfp[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        vscf = cscfp[i]->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->zone && vscf->fallback_server) {
            fallback = 1;

            if (ngx_stream_vmess_loop_check(cf, cscfp[i]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    if (ngx_stream_vmess_private_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_stream_vmess_check_unused(cf, cmcf);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_vmess_handler;

    if (fallback
        && (ngx_stream_vmess_limit_init(cf) != NGX_OK
            || ngx_stream_vmess_loop_init(cf) != NGX_OK
            || ngx_stream_vmess_proxy_init(cf) != NGX_OK))
    {
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_vmess_fallback_mark_handler;

    log = &cmcf->phases[NGX_STREAM_LOG_PHASE].handlers;

    if (ngx_array_push(log) == NULL) {
        return NGX_ERROR;
    }

    h = log->elts;

    ngx_memmove(&h[1], &h[0], (log->nelts - 1) * sizeof(ngx_stream_handler_pt));

    h[0] = ngx_stream_vmess_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_check_server(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_uint_t                    kinds;
    ngx_stream_core_srv_conf_t   *fallback, *other;
    ngx_stream_core_main_conf_t  *cmcf;
    ngx_stream_vmess_srv_conf_t  *vscf, *fvscf;

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
            || vscf->disguise)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"vmess_kcp\", \"vmess_quic\", \"vmess_detour\" "
                          "and \"vmess_http_header\" need \"vmess\" in the "
                          "server in %s:%ui",
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

    kinds = ngx_vmess_listens(cmcf, cscf);

    if (ngx_stream_vmess_check_listen(cf, cscf, kinds) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cscf->resolver->connections.nelts == 0 && vscf->resolve == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "no \"resolver\" for the server with \"vmess\" in %s:%ui, "
                      "only targets that are addresses will work",
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

    if (vscf->fallback_server || ngx_strcmp(vscf->fallback.data, "off") == 0) {
        return NGX_OK;
    }

    fallback = ngx_stream_vmess_listen_find(cf, &vscf->fallback);

    if (fallback == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown name \"%V\" in \"vmess_fallback\" for the server "
                      "in %s:%ui, it must be that of a server with "
                      "\"vmess_listen %V\", or an address with a port",
                      &vscf->fallback, cscf->file_name, cscf->line,
                      &vscf->fallback);
        return NGX_ERROR;
    }

    fvscf = fallback->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    if (ngx_strcmp(fvscf->zone_name.data, "off") != 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_fallback %V\" leads to the server in %s:%ui, "
                      "which terminates VMess itself, "
                      "add \"vmess off\" there",
                      &vscf->fallback, fallback->file_name, fallback->line);
        return NGX_ERROR;
    }

    vscf->fallback_server = fallback;

    return NGX_OK;
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


/* what was configured, and is used nowhere */

static void
ngx_stream_vmess_check_unused(ngx_conf_t *cf, ngx_stream_core_main_conf_t *cmcf)
{
    ngx_str_t                     *key;
    ngx_uint_t                     i, n;
    ngx_list_part_t               *part;
    ngx_shm_zone_t                *shm_zone;
    ngx_vmess_conf_t              *vcf;
    ngx_vmess_zone_t             **zone;
    ngx_stream_variable_t         *v;
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

    /* variables with an index are those that something uses */

    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (v[i].name.len == sizeof("vmess_rate") - 1
            && ngx_strncmp(v[i].name.data, "vmess_rate", v[i].name.len) == 0)
        {
            break;
        }
    }

    if (vmcf->rate_user.len && i == cmcf->variables.nelts) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "parameter \"rate=\" of user \"%V\" in %s:%ui has no "
                      "effect without \"proxy_download_rate $vmess_rate\"",
                      &vmcf->rate_user, vmcf->rate_file, vmcf->rate_line);
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


/*
 * Makes our handler the first of the preread phase and gives it and the
 * others the checkers they need: a handler cannot be put behind that of TLS
 * in its own phase, as that one ends the phase even without TLS.
 */

static ngx_int_t
ngx_stream_vmess_init_module(ngx_cycle_t *cycle)
{
    ngx_stream_handler_pt         handler;
    ngx_stream_phase_handler_t   *ph, *first;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                 ngx_stream_core_module);

    if (cmcf == NULL) {
        return NGX_OK;
    }

    first = NULL;

    for (ph = cmcf->phase_engine.handlers; ph->checker; ph++) {

        if (ph->checker != ngx_stream_core_preread_phase) {
            continue;
        }

        ph->checker = ngx_stream_vmess_phase_preread;

        if (first == NULL) {
            first = ph;
        }

        if (ph->handler != ngx_stream_vmess_handler) {
            continue;
        }

        for ( /* void */ ; ph > first; ph--) {
            handler = ph[-1].handler;
            ph[-1].handler = ph->handler;
            ph->handler = handler;
        }

        first->checker = ngx_stream_vmess_phase_first;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        ngx_vmess_users_init_worker(cycle);
        ngx_vmess_worker_init(cycle);
        ngx_vmess_xudp_init();
        ngx_stream_vmess_quic_init(cycle);

        if (ngx_stream_vmess_limit_init_process(cycle) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_stream_vmess_kcp_init(cycle);
    }

    return NGX_OK;
}


static void *
ngx_stream_vmess_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_stream_vmess_main_conf_t));
}


static void *
ngx_stream_vmess_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_vmess_srv_conf_t));
    if (vscf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     vscf->zone_name = { 0, NULL };
     *     vscf->zone = NULL;
     *     vscf->listen = { 0, NULL };
     *     vscf->fallback = { 0, NULL };
     *     vscf->fallback_server = NULL;
     *     vscf->ciphers = 0;
     *     vscf->commands = 0;
     *     vscf->file_name = NULL;
     *     vscf->line = 0;
     *     vscf->unused = NULL;
     */

    vscf->mux_streams = NGX_CONF_UNSET_UINT;
    vscf->mux_buffer = NGX_CONF_UNSET_SIZE;
    vscf->udp_filter = NGX_CONF_UNSET;
    vscf->handshake_timeout = NGX_CONF_UNSET_MSEC;
    vscf->rules = NGX_CONF_UNSET_PTR;
    vscf->resolve = NGX_CONF_UNSET_PTR;
    vscf->family = NGX_CONF_UNSET_UINT;

    return vscf;
}


/* a directive of a server that says nothing of "vmess", or NULL */

static char *
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

    if (conf->udp_filter != NGX_CONF_UNSET) {
        return "vmess_udp_filter";
    }

    if (conf->handshake_timeout != NGX_CONF_UNSET_MSEC) {
        return "vmess_handshake_timeout";
    }

    return NULL;
}


static char *
ngx_stream_vmess_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_stream_vmess_srv_conf_t *prev = parent;
    ngx_stream_vmess_srv_conf_t *conf = child;

    if (conf->zone_name.data == NULL && prev->zone_name.data == NULL) {
        conf->unused = ngx_stream_vmess_check_stray(conf);
    }

    if (conf->zone_name.data == NULL) {
        conf->file_name = prev->file_name;
        conf->line = prev->line;
    }

    ngx_conf_merge_str_value(conf->zone_name, prev->zone_name, "off");

    if (conf->fallback.data == NULL) {
        conf->fallback_server = prev->fallback_server;
    }

    ngx_conf_merge_str_value(conf->fallback, prev->fallback, "off");

    ngx_conf_merge_uint_value(conf->mux_streams, prev->mux_streams, 256);
    ngx_conf_merge_size_value(conf->mux_buffer, prev->mux_buffer, 64 * 1024);
    ngx_conf_merge_value(conf->udp_filter, prev->udp_filter, 0);

    ngx_conf_merge_bitmask_value(conf->commands, prev->commands,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_STREAM_VMESS_TCP
                                  |NGX_STREAM_VMESS_UDP
                                  |NGX_STREAM_VMESS_MUX));

    ngx_conf_merge_bitmask_value(conf->ciphers, prev->ciphers,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_STREAM_VMESS_AES_128_GCM
                                  |NGX_STREAM_VMESS_CHACHA20
                                  |NGX_STREAM_VMESS_NONE
                                  |NGX_STREAM_VMESS_ZERO));

    ngx_conf_merge_msec_value(conf->handshake_timeout,
                              prev->handshake_timeout, 60000);

    ngx_conf_merge_ptr_value(conf->rules, prev->rules, NULL);
    ngx_conf_merge_ptr_value(conf->resolve, prev->resolve, NULL);
    ngx_conf_merge_uint_value(conf->family, prev->family, NGX_STREAM_VMESS_ANY);

    return NGX_CONF_OK;
}


static char *
ngx_stream_vmess(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t                     *value;
    ngx_stream_vmess_main_conf_t  *vmcf;

    if (vscf->zone_name.data) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty name of a zone";
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        vmcf = ngx_stream_conf_get_module_main_conf(cf,
                                                    ngx_stream_vmess_module);
        vmcf->off = 1;
    }

    vscf->zone_name = value[1];
    vscf->file_name = cf->conf_file->file.name.data;
    vscf->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


static char *
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


static char *
ngx_stream_vmess_fallback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t  *value;

    if (vscf->fallback.data) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "has an empty name";
    }

    vscf->fallback = value[1];

    /* names have no colon, addresses that "proxy_pass" takes have one */

    if (ngx_strchr(value[1].data, ':') == NULL) {
        return NGX_CONF_OK;
    }

    vscf->fallback_server = ngx_stream_vmess_fallback_add_server(cf, &value[1]);

    return vscf->fallback_server ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* as ngx_conf_set_bitmask_slot(), with messages that say what there is */

static char *
ngx_stream_vmess_bitmask(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *data = conf;

    u_char              *p, names[NGX_MAX_CONF_ERRSTR];
    ngx_str_t           *value;
    ngx_uint_t           i, n, *np;
    ngx_conf_bitmask_t  *mask;

    np = (ngx_uint_t *) (data + cmd->offset);

    if (*np) {
        return "is duplicate";
    }

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    mask = cmd->post;

    for (i = 1; i < cf->args->nelts; i++) {

        for (n = 0; mask[n].name.len; n++) {
            if (ngx_strcmp(mask[n].name.data, value[i].data) == 0) {
                break;
            }
        }

        if (mask[n].name.len && (*np & mask[n].mask)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" in \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        if (mask[n].name.len) {
            *np |= mask[n].mask;
            continue;
        }

        p = names;

        for (n = 0; mask[n].name.len; n++) {
            p = ngx_slprintf(p, names + sizeof(names), "%s\"%V\"",
                             n ? ", " : "", &mask[n].name);
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\", values are %*s",
                           &value[i], &cmd->name, p - names, names);
        return NGX_CONF_ERROR;
    }

    if (mask == ngx_stream_vmess_command_masks
        && *np == NGX_STREAM_VMESS_MUX)
    {
        return "needs \"tcp\" or \"udp\" beside \"mux\", "
               "as sub-connections are one of them";
    }

    return NGX_CONF_OK;
}


/* of a worker, and so of http as well */

static char *
ngx_stream_vmess_handshakes(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_vmess_conf_t  *vcf;
    static ngx_str_t   where = ngx_string("in \"vmess_handshakes\"");

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    if (vcf->handshakes || vcf->address_handshakes) {
        return "is duplicate";
    }

    return ngx_vmess_param_parse(cf, 1, ngx_stream_vmess_handshakes_params, vcf,
                                 &where, NULL)
           == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
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


static char *
ngx_stream_vmess_flag(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_vmess_param_args(cf) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}
