
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_kcp.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_vmess_param.h"


#define ngx_stream_vmess_kcp_offset(field)                                    \
    offsetof(ngx_vmess_kcp_socket_conf_t, field)


#define NGX_STREAM_VMESS_KCP_SEAL    0x01
#define NGX_STREAM_VMESS_KCP_SEED    0x02
#define NGX_STREAM_VMESS_KCP_DOMAIN  0x08


static ngx_int_t ngx_stream_vmess_kcp_text(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


static ngx_conf_enum_t  ngx_stream_vmess_kcp_seals[] = {
    { ngx_string("none"), NGX_VMESS_KCP_SEAL_NONE },
    { ngx_string("simple"), NGX_VMESS_KCP_SEAL_SIMPLE },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_stream_vmess_kcp_headers[] = {
    { ngx_string("none"), NGX_VMESS_KCP_HEADER_NONE },
    { ngx_string("srtp"), NGX_VMESS_KCP_HEADER_SRTP },
    { ngx_string("utp"), NGX_VMESS_KCP_HEADER_UTP },
    { ngx_string("wechat-video"), NGX_VMESS_KCP_HEADER_WECHAT },
    { ngx_string("dtls"), NGX_VMESS_KCP_HEADER_DTLS },
    { ngx_string("wireguard"), NGX_VMESS_KCP_HEADER_WIREGUARD },
    { ngx_string("dns"), NGX_VMESS_KCP_HEADER_DNS },
    { ngx_null_string, 0 }
};


/* the first four are bits NGX_STREAM_VMESS_KCP_... */

static ngx_vmess_param_t  ngx_stream_vmess_kcp_params[] = {

    { ngx_string("seal="), ngx_vmess_param_enum,
      ngx_stream_vmess_kcp_offset(seal), 0, 0,
      "\"simple\" or \"none\"", ngx_stream_vmess_kcp_seals, 0 },

    { ngx_string("seed="), ngx_stream_vmess_kcp_text,
      ngx_stream_vmess_kcp_offset(seed), 0, 0,
      "a text, quoted with the name if it has spaces", NULL, 0 },

    { ngx_string("header="), ngx_vmess_param_enum,
      ngx_stream_vmess_kcp_offset(header), 0, 0,
      "\"none\", \"srtp\", \"utp\", \"wechat-video\", \"dtls\", "
      "\"wireguard\" or \"dns\"", ngx_stream_vmess_kcp_headers, 0 },

    { ngx_string("domain="), ngx_stream_vmess_kcp_text,
      ngx_stream_vmess_kcp_offset(domain), 0, 0,
      "a domain", NULL, 0 },

    { ngx_string("congestion"), ngx_vmess_param_word,
      ngx_stream_vmess_kcp_offset(kcp.congestion), 1, 0,
      NULL, NULL, 0 },

    { ngx_string("mtu="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(kcp.mtu),
      NGX_VMESS_KCP_MTU_MIN, NGX_VMESS_KCP_MTU_MAX,
      "a number of bytes from 576 to 1460", NULL, 0 },

    { ngx_string("tti="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(kcp.tti),
      NGX_VMESS_KCP_TTI_MIN, NGX_VMESS_KCP_TTI_MAX,
      "a number of milliseconds from 10 to 1000", NULL, 0 },

    { ngx_string("uplink="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(kcp.uplink), 1, 1000,
      "a number of megabytes a second from 1 to 1000", NULL, 0 },

    { ngx_string("downlink="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(kcp.downlink), 1, 1000,
      "a number of megabytes a second from 1 to 1000", NULL, 0 },

    { ngx_string("read_buffer="), ngx_vmess_param_size,
      ngx_stream_vmess_kcp_offset(kcp.read_buffer),
      64 * 1024, 64 * 1024 * 1024,
      "a size from \"64k\" to \"64m\"", NULL, 0 },

    { ngx_string("write_buffer="), ngx_vmess_param_size,
      ngx_stream_vmess_kcp_offset(kcp.write_buffer),
      64 * 1024, 64 * 1024 * 1024,
      "a size from \"64k\" to \"64m\"", NULL, 0 },

    { ngx_string("sessions="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(max), 1, 1000000,
      "a number from 1 to 1000000", NULL, 0 },

    { ngx_string("source_sessions="), ngx_vmess_param_number,
      ngx_stream_vmess_kcp_offset(max_source), 1, 1000000,
      "a number from 1 to 1000000", NULL, 0 },

      ngx_vmess_null_param
};


char *
ngx_stream_vmess_kcp(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_str_t                     s;
    ngx_int_t                     rc;
    ngx_uint_t                    seen;
    ngx_vmess_kcp_packet_t        packet;
    ngx_vmess_kcp_socket_conf_t  *kcf;
    static ngx_str_t              where = ngx_string("in \"vmess_kcp\"");

    if (vscf->kcp) {
        return "is duplicate";
    }

    kcf = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_kcp_socket_conf_t));
    if (kcf == NULL) {
        return NGX_CONF_ERROR;
    }

    kcf->kcp.mtu = 1350;
    kcf->kcp.tti = 50;
    kcf->kcp.uplink = 20;
    kcf->kcp.downlink = 40;
    kcf->kcp.read_buffer = 2 * 1024 * 1024;
    kcf->kcp.write_buffer = 2 * 1024 * 1024;
    kcf->seal = NGX_VMESS_KCP_SEAL_SIMPLE;
    kcf->max = 1024;
    kcf->max_source = 256;

    if (ngx_vmess_param_parse(cf, 1, ngx_stream_vmess_kcp_params, kcf, &where,
                              &seen)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (seen & NGX_STREAM_VMESS_KCP_SEED) {

        if (seen & NGX_STREAM_VMESS_KCP_SEAL) {
            return "has \"seal=\" and \"seed=\", of which there may be one";
        }

        kcf->seal = NGX_VMESS_KCP_SEAL_GCM;
    }

    if ((seen & NGX_STREAM_VMESS_KCP_DOMAIN)
        && kcf->header != NGX_VMESS_KCP_HEADER_DNS)
    {
        return "has \"domain=\" without \"header=dns\"";
    }

    if (kcf->header == NGX_VMESS_KCP_HEADER_DNS && kcf->domain.len == 0) {
        ngx_str_set(&kcf->domain, "www.baidu.com");
    }

    ngx_memzero(&packet, sizeof(ngx_vmess_kcp_packet_t));
    ngx_str_set(&s, "x");

    rc = ngx_vmess_kcp_packet_init(&packet, kcf->seal,
                                   kcf->seed.len ? &kcf->seed : &s,
                                   kcf->header, &kcf->domain, 0);

    ngx_vmess_kcp_packet_cleanup(&packet);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"domain=%V\" in \"vmess_kcp\", "
                           "it must be a domain with labels of 1 to 63 "
                           "characters", &kcf->domain);
        return NGX_CONF_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "starting mKCP failed");
        return NGX_CONF_ERROR;
    }

    vscf->kcp = kcf;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_vmess_kcp_text(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_str_t *s = field;

    if (value->len == 0) {
        return NGX_DECLINED;
    }

    *s = *value;

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_kcp_init(ngx_cycle_t *cycle)
{
    ngx_uint_t                    i;
    ngx_listening_t              *ls;
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].type != SOCK_DGRAM
            || ls[i].handler != ngx_stream_init_connection
            || ls[i].worker != ngx_worker || ls[i].connection == NULL)
        {
            continue;
        }

        cscf = ngx_vmess_listening_server(&ls[i]);
        vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->zone && vscf->kcp
            && ngx_vmess_kcp_socket_listen(cycle, &ls[i], vscf->kcp) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
