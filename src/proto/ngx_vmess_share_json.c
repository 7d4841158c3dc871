
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_text_out.h"
#include "ngx_vmess_share_json.h"


static void ngx_vmess_share_json_id(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_json_tls(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_json_transport(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_json_ws(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_json_word(ngx_vmess_json_out_t *jo,
    const char *key, const char *word);


void
ngx_vmess_share_json_write(ngx_vmess_json_out_t *jo, ngx_vmess_share_t *share)
{
    ngx_vmess_json_out_open(jo, NULL, '{');

    ngx_vmess_share_json_word(jo, "type", "vmess");
    ngx_vmess_json_out_string(jo, "tag", &share->name);
    ngx_vmess_json_out_string(jo, "server", &share->host);
    ngx_vmess_json_out_integer(jo, "server_port", share->port);
    ngx_vmess_share_json_id(jo, share);
    ngx_vmess_json_out_string(jo, "security",
                              &ngx_vmess_share_securities[share->security]);
    ngx_vmess_json_out_integer(jo, "alter_id", 0);
    ngx_vmess_share_json_word(jo, "packet_encoding", "xudp");

    if (share->tls) {
        ngx_vmess_share_json_tls(jo, share);
    }

    if (share->transport != NGX_VMESS_SHARE_TCP) {
        ngx_vmess_json_out_open(jo, "transport", '{');
        ngx_vmess_share_json_transport(jo, share);
        ngx_vmess_json_out_close(jo, '}');
    }

    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_vmess_share_json_id(ngx_vmess_json_out_t *jo, ngx_vmess_share_t *share)
{
    u_char                 text[sizeof("00000000-0000-0000-0000-000000000000")];
    ngx_str_t              uuid;
    ngx_vmess_text_out_t   to;

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = text;
    to.last = text + sizeof(text);

    ngx_vmess_text_out_uuid(&to, share->id);

    uuid.data = text;
    uuid.len = to.pos - text;

    ngx_vmess_json_out_string(jo, "uuid", &uuid);
}


static void
ngx_vmess_share_json_tls(ngx_vmess_json_out_t *jo, ngx_vmess_share_t *share)
{
    u_char     *p;
    ngx_str_t   name;

    ngx_vmess_json_out_open(jo, "tls", '{');
    ngx_vmess_json_out_flag(jo, "enabled", 1);
    ngx_vmess_json_out_string(jo, "server_name", ngx_vmess_share_sni(share));

    if (share->alpn.len) {
        ngx_vmess_json_out_open(jo, "alpn", '[');

        for (p = NULL;
             ngx_vmess_share_alpn(share, &p, &name) == NGX_OK;
             /* void */ )
        {
            ngx_vmess_json_out_string(jo, NULL, &name);
        }

        ngx_vmess_json_out_close(jo, ']');
    }

    /* sing-box refuses fingerprints with QUIC */

    if (share->fp.len && share->transport != NGX_VMESS_SHARE_QUIC) {
        ngx_vmess_json_out_open(jo, "utls", '{');
        ngx_vmess_json_out_flag(jo, "enabled", 1);
        ngx_vmess_json_out_string(jo, "fingerprint", &share->fp);
        ngx_vmess_json_out_close(jo, '}');
    }

    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_vmess_share_json_transport(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share)
{
    ngx_str_t  *host;

    host = ngx_vmess_share_host(share);

    switch (share->transport) {

    case NGX_VMESS_SHARE_WS:
        ngx_vmess_share_json_ws(jo, share);
        break;

    case NGX_VMESS_SHARE_HTTPUPGRADE:
        ngx_vmess_share_json_word(jo, "type", "httpupgrade");

        if (host->len) {
            ngx_vmess_json_out_string(jo, "host", host);
        }

        ngx_vmess_json_out_string(jo, "path", &share->path);
        break;

    case NGX_VMESS_SHARE_GRPC:
        ngx_vmess_share_json_word(jo, "type", "grpc");
        ngx_vmess_json_out_string(jo, "service_name", &share->path);
        break;

    case NGX_VMESS_SHARE_H2:
        ngx_vmess_share_json_word(jo, "type", "http");

        if (host->len) {
            ngx_vmess_json_out_open(jo, "host", '[');
            ngx_vmess_json_out_string(jo, NULL, host);
            ngx_vmess_json_out_close(jo, ']');
        }

        ngx_vmess_json_out_string(jo, "path", &share->path);
        break;

    default: /* NGX_VMESS_SHARE_QUIC */
        ngx_vmess_share_json_word(jo, "type", "quic");
        break;
    }
}


static void
ngx_vmess_share_json_ws(ngx_vmess_json_out_t *jo, ngx_vmess_share_t *share)
{
    ngx_str_t  *host;

    ngx_vmess_share_json_word(jo, "type", "ws");
    ngx_vmess_json_out_string(jo, "path", &share->path);

    host = ngx_vmess_share_host(share);

    if (host->len) {
        ngx_vmess_json_out_open(jo, "headers", '{');
        ngx_vmess_json_out_string(jo, "Host", host);
        ngx_vmess_json_out_close(jo, '}');
    }

    if (share->early_data) {
        ngx_vmess_json_out_integer(jo, "max_early_data", share->early_data);
        ngx_vmess_share_json_word(jo, "early_data_header_name",
                                  "Sec-WebSocket-Protocol");
    }
}


static void
ngx_vmess_share_json_word(ngx_vmess_json_out_t *jo, const char *key,
    const char *word)
{
    ngx_str_t  s;

    s.data = (u_char *) word;
    s.len = ngx_strlen(word);

    ngx_vmess_json_out_string(jo, key, &s);
}
