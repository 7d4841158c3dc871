
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_kcp.h"
#include "ngx_stream_vmess_compat.h"


/* a parameter: a number or a size in its bounds */

typedef struct {
    ngx_str_t                    name;        /* with "=" */
    size_t                       offset;      /* in the configuration */
    ngx_uint_t                   size;        /* 1: "2m" */
    ssize_t                      min;
    ssize_t                      max;
    char                        *text;
} ngx_stream_vmess_kcp_param_t;


#define ngx_stream_vmess_kcp_offset(field)                                    \
    offsetof(ngx_vmess_kcp_socket_conf_t, field)


static char *ngx_stream_vmess_kcp_number(ngx_conf_t *cf,
    ngx_vmess_kcp_socket_conf_t *kcf, ngx_str_t *value);


static ngx_stream_vmess_kcp_param_t  ngx_stream_vmess_kcp_params[] = {

    { ngx_string("mtu="), ngx_stream_vmess_kcp_offset(kcp.mtu), 0,
      NGX_VMESS_KCP_MTU_MIN, NGX_VMESS_KCP_MTU_MAX,
      "a number of bytes from 576 to 1460" },

    { ngx_string("tti="), ngx_stream_vmess_kcp_offset(kcp.tti), 0,
      NGX_VMESS_KCP_TTI_MIN, NGX_VMESS_KCP_TTI_MAX,
      "a number of milliseconds from 10 to 1000" },

    { ngx_string("uplink="), ngx_stream_vmess_kcp_offset(kcp.uplink), 0,
      1, 1000, "a number of megabytes a second from 1 to 1000" },

    { ngx_string("downlink="), ngx_stream_vmess_kcp_offset(kcp.downlink), 0,
      1, 1000, "a number of megabytes a second from 1 to 1000" },

    { ngx_string("read_buffer="), ngx_stream_vmess_kcp_offset(kcp.read_buffer),
      1, 64 * 1024, 64 * 1024 * 1024, "a size from \"64k\" to \"64m\"" },

    { ngx_string("write_buffer="),
      ngx_stream_vmess_kcp_offset(kcp.write_buffer),
      1, 64 * 1024, 64 * 1024 * 1024, "a size from \"64k\" to \"64m\"" },

    { ngx_string("sessions="), ngx_stream_vmess_kcp_offset(max), 0,
      1, 1000000, "a number from 1 to 1000000" },

    { ngx_string("source_sessions="), ngx_stream_vmess_kcp_offset(max_source),
      0, 1, 1000000, "a number from 1 to 1000000" },

    { ngx_null_string, 0, 0, 0, 0, NULL }
};


/* indices are NGX_VMESS_KCP_HEADER_... */

static char  *ngx_stream_vmess_kcp_headers[] = {
    "none", "srtp", "utp", "wechat-video", "dtls", "wireguard", "dns", NULL
};


char *
ngx_stream_vmess_kcp(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    char                         *rv;
    ngx_str_t                    *value, s;
    ngx_int_t                     rc;
    ngx_uint_t                    i, k, sealed;
    ngx_vmess_kcp_packet_t        packet;
    ngx_vmess_kcp_socket_conf_t  *kcf;

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

    sealed = 0;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "seed=", 5) == 0) {

            if (kcf->seed.len) {
                return "has two \"seed=\"";
            }

            if (value[i].len == 5) {
                return "has an empty \"seed=\"";
            }

            if (value[i].data[5] == '"' || value[i].data[5] == '\'') {
                return "has a quote in \"seed=\", a text with spaces is "
                       "quoted with its name: \"seed=a text\"";
            }

            kcf->seed.data = value[i].data + 5;
            kcf->seed.len = value[i].len - 5;
            continue;
        }

        if (ngx_strcmp(value[i].data, "seal=simple") == 0) {
            sealed = 1;
            kcf->seal = NGX_VMESS_KCP_SEAL_SIMPLE;
            continue;
        }

        if (ngx_strcmp(value[i].data, "seal=none") == 0) {
            sealed = 1;
            kcf->seal = NGX_VMESS_KCP_SEAL_NONE;
            continue;
        }

        if (ngx_strcmp(value[i].data, "congestion") == 0) {
            kcf->kcp.congestion = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "domain=", 7) == 0) {
            kcf->domain.data = value[i].data + 7;
            kcf->domain.len = value[i].len - 7;
            continue;
        }

        if (ngx_strncmp(value[i].data, "header=", 7) == 0) {

            for (k = 0; ngx_stream_vmess_kcp_headers[k]; k++) {
                if (ngx_strcmp(value[i].data + 7,
                               ngx_stream_vmess_kcp_headers[k])
                    == 0)
                {
                    break;
                }
            }

            if (ngx_stream_vmess_kcp_headers[k] == NULL) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" in \"vmess_kcp\", "
                                   "headers are \"none\", \"srtp\", \"utp\", "
                                   "\"wechat-video\", \"dtls\", \"wireguard\" "
                                   "and \"dns\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            kcf->header = k;
            continue;
        }

        rv = ngx_stream_vmess_kcp_number(cf, kcf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (kcf->seed.len) {

        if (sealed) {
            return "has \"seal=\" and \"seed=\", of which there may be one";
        }

        kcf->seal = NGX_VMESS_KCP_SEAL_GCM;
    }

    if (kcf->domain.len && kcf->header != NGX_VMESS_KCP_HEADER_DNS) {
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
                           "invalid domain \"%V\" in \"vmess_kcp\"",
                           &kcf->domain);
        return NGX_CONF_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "starting mKCP failed");
        return NGX_CONF_ERROR;
    }

    vscf->kcp = kcf;

    return NGX_CONF_OK;
}


static char *
ngx_stream_vmess_kcp_number(ngx_conf_t *cf, ngx_vmess_kcp_socket_conf_t *kcf,
    ngx_str_t *value)
{
    ssize_t                        n;
    ngx_str_t                      s;
    ngx_stream_vmess_kcp_param_t  *param;

    for (param = ngx_stream_vmess_kcp_params; param->name.len; param++) {

        if (value->len < param->name.len
            || ngx_strncmp(value->data, param->name.data, param->name.len)
               != 0)
        {
            continue;
        }

        s.data = value->data + param->name.len;
        s.len = value->len - param->name.len;

        n = param->size ? ngx_parse_size(&s) : ngx_atoi(s.data, s.len);

        if (n < param->min || n > param->max) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"vmess_kcp\", it "
                               "must be %s", value, param->text);
            return NGX_CONF_ERROR;
        }

        *(size_t *) ((u_char *) kcf + param->offset) = n;

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"vmess_kcp\", parameters "
                       "are \"seal=simple\", \"seal=none\", \"seed=text\", "
                       "\"header=name\", \"domain=name\", \"congestion\", and "
                       "with a number or a size \"mtu=\", \"tti=\", "
                       "\"uplink=\", \"downlink=\", \"read_buffer=\", "
                       "\"write_buffer=\", \"sessions=\" and "
                       "\"source_sessions=\"", value);

    return NGX_CONF_ERROR;
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
            && ngx_vmess_kcp_listen(cycle, &ls[i], vscf->kcp) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
