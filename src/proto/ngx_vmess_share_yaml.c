
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_share_yaml.h"


static void ngx_vmess_share_yaml_tls(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share, ngx_uint_t mihomo);
static void ngx_vmess_share_yaml_transport(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_yaml_ws(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_yaml_field(ngx_vmess_text_out_t *to,
    const char *key, ngx_str_t *value);


void
ngx_vmess_share_yaml_write(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share,
    ngx_uint_t mihomo)
{
    ngx_vmess_share_yaml_field(to, "- {name: ", &share->name);
    ngx_vmess_share_yaml_field(to, ", type: vmess, server: ", &share->host);
    ngx_vmess_text_out_word(to, ", port: ");
    ngx_vmess_text_out_number(to, share->port);

    /* in quotes: a UUID of digits alone, or 1e..., might be a number */

    ngx_vmess_text_out_word(to, ", uuid: \"");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_text_out_word(to, "\", alterId: 0, cipher: ");
    ngx_vmess_text_out_string(to, &ngx_vmess_share_securities[share->security]);
    ngx_vmess_text_out_word(to, ", udp: true");

    if (mihomo) {
        ngx_vmess_text_out_word(to, ", packet-encoding: xudp");
    }

    if (share->tls) {
        ngx_vmess_share_yaml_tls(to, share, mihomo);
    }

    ngx_vmess_share_yaml_transport(to, share);

    ngx_vmess_text_out_word(to, "}\n");
}


static void
ngx_vmess_share_yaml_tls(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share,
    ngx_uint_t mihomo)
{
    u_char      *p;
    ngx_str_t    name;
    const char  *before;

    ngx_vmess_share_yaml_field(to, ", tls: true, servername: ",
                               ngx_vmess_share_sni(share));

    if (!mihomo) {
        return;
    }

    p = NULL;
    before = ", alpn: [";

    while (ngx_vmess_share_alpn(share, &p, &name) == NGX_OK) {
        ngx_vmess_share_yaml_field(to, before, &name);
        before = ", ";
    }

    if (p) {
        ngx_vmess_text_out_word(to, "]");
    }

    if (share->fp.len) {
        ngx_vmess_share_yaml_field(to, ", client-fingerprint: ", &share->fp);
    }
}


static void
ngx_vmess_share_yaml_transport(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share)
{
    ngx_str_t  *host;

    host = ngx_vmess_share_host(share);

    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP_HTTP:
        ngx_vmess_share_yaml_field(to, ", network: http, http-opts: "
                                   "{method: GET, path: [", &share->path);
        ngx_vmess_text_out_word(to, "]");

        if (host->len) {
            ngx_vmess_share_yaml_field(to, ", headers: {Host: [", host);
            ngx_vmess_text_out_word(to, "]}");
        }

        ngx_vmess_text_out_word(to, "}");
        break;

    case NGX_VMESS_SHARE_WS:
    case NGX_VMESS_SHARE_HTTPUPGRADE:
        ngx_vmess_share_yaml_ws(to, share);
        break;

    case NGX_VMESS_SHARE_GRPC:
        ngx_vmess_share_yaml_field(to, ", network: grpc, grpc-opts: "
                                   "{grpc-service-name: ", &share->path);
        ngx_vmess_text_out_word(to, "}");
        break;

    case NGX_VMESS_SHARE_H2:
        ngx_vmess_share_yaml_field(to, ", network: h2, h2-opts: {path: ",
                                   &share->path);

        if (host->len) {
            ngx_vmess_share_yaml_field(to, ", host: [", host);
            ngx_vmess_text_out_word(to, "]");
        }

        ngx_vmess_text_out_word(to, "}");
        break;

    default: /* NGX_VMESS_SHARE_TCP */
        ngx_vmess_text_out_word(to, ", network: tcp");
        break;
    }
}


/* mihomo's HTTPUpgrade is WebSocket with a flag */

static void
ngx_vmess_share_yaml_ws(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    ngx_str_t  *host;

    ngx_vmess_share_yaml_field(to, ", network: ws, ws-opts: {path: ",
                               &share->path);

    host = ngx_vmess_share_host(share);

    if (host->len) {
        ngx_vmess_share_yaml_field(to, ", headers: {Host: ", host);
        ngx_vmess_text_out_word(to, "}");
    }

    if (share->transport == NGX_VMESS_SHARE_HTTPUPGRADE) {
        ngx_vmess_text_out_word(to, ", v2ray-http-upgrade: true");

        if (share->early_data) {
            ngx_vmess_text_out_word(to, ", v2ray-http-upgrade-fast-open: true");
        }

    } else if (share->early_data) {
        ngx_vmess_text_out_word(to, ", max-early-data: ");
        ngx_vmess_text_out_number(to, share->early_data);
        ngx_vmess_text_out_word(to, ", early-data-header-name: "
                                "Sec-WebSocket-Protocol");
    }

    ngx_vmess_text_out_word(to, "}");
}


static void
ngx_vmess_share_yaml_field(ngx_vmess_text_out_t *to, const char *key,
    ngx_str_t *value)
{
    ngx_vmess_text_out_word(to, key);
    ngx_vmess_text_out_quoted(to, value);
}
