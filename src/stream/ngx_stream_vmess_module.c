
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_check.h"
#include "ngx_stream_vmess_detour.h"
#include "ngx_stream_vmess_disguise.h"
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_kcp.h"
#include "ngx_stream_vmess_limit.h"
#include "ngx_stream_vmess_listen.h"
#include "ngx_stream_vmess_loop.h"
#include "ngx_stream_vmess_phase.h"
#include "ngx_stream_vmess_private.h"
#include "ngx_stream_vmess_proxy.h"
#include "ngx_stream_vmess_quic.h"
#include "ngx_stream_vmess_rule.h"
#include "ngx_stream_vmess_share.h"
#include "ngx_stream_vmess_target.h"
#include "ngx_stream_vmess_users.h"
#include "ngx_stream_vmess_variable.h"
#include "ngx_vmess_param.h"
#include "event/ngx_vmess_enforce.h"
#include "event/ngx_vmess_xudp.h"
#include "event/ngx_vmess_flows.h"
#include "event/ngx_vmess_publish.h"
#include "event/ngx_vmess_state.h"


static ngx_int_t ngx_stream_vmess_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_vmess_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_vmess_init_process(ngx_cycle_t *cycle);
static void *ngx_stream_vmess_create_main_conf(ngx_conf_t *cf);
static void *ngx_stream_vmess_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_vmess_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_stream_vmess(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_stream_vmess_bitmask(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_stream_vmess_factor(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
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


static ngx_vmess_param_t  ngx_stream_vmess_factor_param = {
    ngx_null_string, ngx_stream_vmess_factor, 0, 0, 1000000,
    "a number from 0 to 1000 such as \"0.5\", with up to three digits behind "
    "the point", NULL, 0
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

    { ngx_string("vmess_factor"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_vmess_param_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_vmess_srv_conf_t, factor),
      &ngx_stream_vmess_factor_param },

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

    { ngx_string("vmess_share"),
      NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_stream_vmess_share,
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
    ngx_stream_vmess_phase_init,           /* init module */
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
    ngx_vmess_conf_t              *vcf;
    ngx_vmess_hook_pt             *hook;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_vmess_srv_conf_t   *vscf;

    fallback = 0;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    if (ngx_stream_vmess_private_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

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

    ngx_stream_vmess_check_unused(cf, cmcf);

    if (fallback
        && (ngx_stream_vmess_limit_init(cf) != NGX_OK
            || ngx_stream_vmess_loop_init(cf) != NGX_OK
            || ngx_stream_vmess_proxy_init(cf) != NGX_OK))
    {
        return NGX_ERROR;
    }

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    hook = ngx_array_push_n(&vcf->hooks, 2);
    if (hook == NULL) {
        return NGX_ERROR;
    }

    /* sockets of QUIC are no longer those of streams */

    hook[0] = ngx_stream_vmess_detour_listen;
    hook[1] = ngx_stream_vmess_quic_listen;

    return ngx_stream_vmess_phase_add(cf);
}


static ngx_int_t
ngx_stream_vmess_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process == NGX_PROCESS_WORKER
        || ngx_process == NGX_PROCESS_SINGLE)
    {
        if (ngx_vmess_enforce_init_worker(cycle) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_vmess_alter_init_worker(cycle);
        ngx_vmess_state_init_worker(cycle);
        ngx_vmess_worker_init(cycle);
        ngx_vmess_xudp_init();
        ngx_vmess_flows_init();
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
     *     vscf->offers = NULL;
     *     vscf->file_name = NULL;
     *     vscf->line = 0;
     *     vscf->unused = NULL;
     */

    vscf->mux_streams = NGX_CONF_UNSET_UINT;
    vscf->mux_buffer = NGX_CONF_UNSET_SIZE;
    vscf->factor = NGX_CONF_UNSET_UINT;
    vscf->udp_filter = NGX_CONF_UNSET;
    vscf->handshake_timeout = NGX_CONF_UNSET_MSEC;
    vscf->rules = NGX_CONF_UNSET_PTR;
    vscf->resolve = NGX_CONF_UNSET_PTR;
    vscf->family = NGX_CONF_UNSET_UINT;

    return vscf;
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
    ngx_conf_merge_uint_value(conf->factor, prev->factor,
                              NGX_VMESS_ACCOUNT_FACTOR);
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
                           &value[i], &cmd->name, (size_t) (p - names),
                           names);
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

static ngx_int_t
ngx_stream_vmess_factor(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_uint_t *fp = field;

    ngx_int_t  n;

    n = ngx_atofp(value->data, value->len, 3);

    if (n == NGX_ERROR || n < param->min || n > param->max
        || value->data[0] == '.')
    {
        return NGX_DECLINED;
    }

    *fp = n;

    return NGX_OK;
}


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
ngx_stream_vmess_flag(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_vmess_param_args(cf) == NGX_OK ? NGX_CONF_OK : NGX_CONF_ERROR;
}
