
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_share_link.h"


static void ngx_vmess_share_link_v2rayn(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_link_member(ngx_vmess_text_out_t *to,
    const char *key, ngx_str_t *value);
static void ngx_vmess_share_link_path(ngx_vmess_share_t *share, u_char *buf,
    ngx_str_t *path);
static ngx_str_t *ngx_vmess_share_link_type(ngx_vmess_share_t *share);
static ngx_str_t *ngx_vmess_share_link_host(ngx_vmess_share_t *share);
static void ngx_vmess_share_link_uri(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_link_uri_transport(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_link_shadowrocket(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share, const char *obfs);
static void ngx_vmess_share_link_address(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share);
static void ngx_vmess_share_link_argument(ngx_vmess_text_out_t *to,
    const char *key, ngx_str_t *value);


/* a path with early data */

#define NGX_VMESS_SHARE_LINK_PATH                                             \
    (NGX_VMESS_SHARE_PATH_MAX + sizeof("?ed=") + NGX_SIZE_T_LEN)


static ngx_str_t  ngx_vmess_share_link_empty = ngx_string("");
static ngx_str_t  ngx_vmess_share_link_none = ngx_string("none");
static ngx_str_t  ngx_vmess_share_link_http = ngx_string("http");
static ngx_str_t  ngx_vmess_share_link_gun = ngx_string("gun");
static ngx_str_t  ngx_vmess_share_link_auto = ngx_string("auto");


ngx_int_t
ngx_vmess_share_link_write(ngx_vmess_text_out_t *to,
    ngx_vmess_share_link_e form, ngx_vmess_share_t *share)
{
    const char  *obfs;

    static const char  *names[NGX_VMESS_SHARE_TRANSPORTS] = {
        "none", "http", "websocket", "httpupgrade", "grpc", "h2", "xhttp",
        NULL, NULL
    };

    switch (form) {

    case NGX_VMESS_SHARE_LINK_V2RAYN:
        ngx_vmess_share_link_v2rayn(to, share);
        break;

    case NGX_VMESS_SHARE_LINK_URI:
        ngx_vmess_share_link_uri(to, share);
        break;

    default: /* NGX_VMESS_SHARE_LINK_SHADOWROCKET */

        obfs = names[share->transport];

        if (obfs == NULL || ngx_vmess_share_has_method(share)) {
            return NGX_DECLINED;
        }

        ngx_vmess_share_link_shadowrocket(to, share, obfs);
        break;
    }

    return NGX_OK;
}


/* all values are strings, as v2rayN writes them, and older clients read them */

static void
ngx_vmess_share_link_v2rayn(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    u_char      buf[NGX_VMESS_SHARE_LINK_PATH];
    ngx_str_t   path, *net;

    net = &ngx_vmess_share_transports[share->transport];

    if (share->transport == NGX_VMESS_SHARE_TCP_HTTP) {
        net = &ngx_vmess_share_transports[NGX_VMESS_SHARE_TCP];
    }

    ngx_vmess_share_link_path(share, buf, &path);

    ngx_vmess_text_out_word(to, "vmess://");
    ngx_vmess_text_out_base64(to);

    ngx_vmess_share_link_member(to, "{\"v\":\"2\",\"ps\":", &share->name);
    ngx_vmess_share_link_member(to, ",\"add\":", &share->host);
    ngx_vmess_text_out_word(to, ",\"port\":\"");
    ngx_vmess_text_out_number(to, share->port);
    ngx_vmess_text_out_word(to, "\",\"id\":\"");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_share_link_member(to, "\",\"aid\":\"0\",\"scy\":",
                              &ngx_vmess_share_securities[share->security]);
    ngx_vmess_share_link_member(to, ",\"net\":", net);
    ngx_vmess_share_link_member(to, ",\"type\":",
                              ngx_vmess_share_link_type(share));
    ngx_vmess_share_link_member(to, ",\"host\":",
                              ngx_vmess_share_link_host(share));
    ngx_vmess_share_link_member(to, ",\"path\":", &path);

    if (!share->tls) {
        ngx_vmess_text_out_word(to, ",\"tls\":\"\",\"sni\":\"\"");

    } else {
        ngx_vmess_share_link_member(to, ",\"tls\":\"tls\",\"sni\":",
                                    ngx_vmess_share_sni(share));

        /* readers make one empty name of an empty list */

        if (share->alpn.len) {
            ngx_vmess_share_link_member(to, ",\"alpn\":", &share->alpn);
        }

        if (share->fp.len) {
            ngx_vmess_share_link_member(to, ",\"fp\":", &share->fp);
        }
    }

    ngx_vmess_text_out_word(to, "}");
    ngx_vmess_text_out_base64_end(to);
}


static void
ngx_vmess_share_link_member(ngx_vmess_text_out_t *to, const char *key,
    ngx_str_t *value)
{
    ngx_vmess_text_out_word(to, key);
    ngx_vmess_text_out_quoted(to, value);
}


/* "path" is also the place of what other transports have one text for */

static void
ngx_vmess_share_link_path(ngx_vmess_share_t *share, u_char *buf,
    ngx_str_t *path)
{
    u_char                *p;
    ngx_vmess_text_out_t   to;

    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP:
    case NGX_VMESS_SHARE_QUIC:
        *path = ngx_vmess_share_link_empty;
        return;

    case NGX_VMESS_SHARE_KCP:
        *path = share->seed;
        return;

    case NGX_VMESS_SHARE_WS:
    case NGX_VMESS_SHARE_HTTPUPGRADE:

        if (share->early_data) {
            break;
        }

        /* fall through */

    default:
        *path = share->path;
        return;
    }

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = buf;
    to.last = buf + NGX_VMESS_SHARE_LINK_PATH;

    p = ngx_strlchr(share->path.data, share->path.data + share->path.len, '?');

    ngx_vmess_text_out_string(&to, &share->path);
    ngx_vmess_text_out_word(&to, p ? "&ed=" : "?ed=");
    ngx_vmess_text_out_number(&to, share->early_data);

    path->data = buf;
    path->len = to.pos - buf;
}


static ngx_str_t *
ngx_vmess_share_link_type(ngx_vmess_share_t *share)
{
    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP_HTTP:
        return &ngx_vmess_share_link_http;

    case NGX_VMESS_SHARE_GRPC:
        return share->mode.len ? &share->mode : &ngx_vmess_share_link_gun;

    case NGX_VMESS_SHARE_XHTTP:
        return share->mode.len ? &share->mode : &ngx_vmess_share_link_auto;

    case NGX_VMESS_SHARE_KCP:
        return share->header.len ? &share->header : &ngx_vmess_share_link_none;

    default:
        return &ngx_vmess_share_link_none;
    }
}


static ngx_str_t *
ngx_vmess_share_link_host(ngx_vmess_share_t *share)
{
    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP:
        return &ngx_vmess_share_link_empty;

    case NGX_VMESS_SHARE_QUIC:

        /* the cipher inside QUIC, which nginx has none of */

        return &ngx_vmess_share_link_none;

    case NGX_VMESS_SHARE_GRPC:
    case NGX_VMESS_SHARE_KCP:
        return &share->http_host;

    default:
        return ngx_vmess_share_host(share);
    }
}


static void
ngx_vmess_share_link_uri(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    ngx_vmess_text_out_word(to, "vmess://");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_text_out_word(to, "@");
    ngx_vmess_share_link_address(to, share);

    ngx_vmess_text_out_word(to, "?encryption=");
    ngx_vmess_text_out_string(to, &ngx_vmess_share_securities[share->security]);

    if (share->tls) {
        ngx_vmess_text_out_word(to, "&security=tls");
        ngx_vmess_share_link_argument(to, "&sni=", ngx_vmess_share_sni(share));
        ngx_vmess_share_link_argument(to, "&alpn=", &share->alpn);
        ngx_vmess_share_link_argument(to, "&fp=", &share->fp);

    } else {
        ngx_vmess_text_out_word(to, "&security=none");
    }

    ngx_vmess_share_link_uri_transport(to, share);

    ngx_vmess_share_link_argument(to, "#", &share->name);
}


static void
ngx_vmess_share_link_uri_transport(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share)
{
    u_char      buf[NGX_VMESS_SHARE_LINK_PATH];
    ngx_str_t   path;

    static const char  *types[NGX_VMESS_SHARE_TRANSPORTS] = {
        "tcp", "tcp", "ws", "httpupgrade", "grpc", "http", "xhttp", "kcp",
        "quic"
    };

    ngx_vmess_text_out_word(to, "&type=");
    ngx_vmess_text_out_word(to, types[share->transport]);

    ngx_vmess_share_link_path(share, buf, &path);

    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP:
        ngx_vmess_text_out_word(to, "&headerType=none");
        return;

    case NGX_VMESS_SHARE_KCP:
        ngx_vmess_share_link_argument(to, "&headerType=",
                                      ngx_vmess_share_link_type(share));
        ngx_vmess_share_link_argument(to, "&seed=", &path);
        return;

    case NGX_VMESS_SHARE_QUIC:
        ngx_vmess_text_out_word(to, "&headerType=none&quicSecurity=none");
        return;

    case NGX_VMESS_SHARE_GRPC:
        ngx_vmess_share_link_argument(to, "&mode=",
                                      ngx_vmess_share_link_type(share));
        ngx_vmess_share_link_argument(to, "&serviceName=", &path);
        ngx_vmess_share_link_argument(to, "&authority=", &share->http_host);
        return;

    case NGX_VMESS_SHARE_TCP_HTTP:
        ngx_vmess_text_out_word(to, "&headerType=http");
        break;

    case NGX_VMESS_SHARE_XHTTP:
        ngx_vmess_share_link_argument(to, "&mode=",
                                      ngx_vmess_share_link_type(share));
        break;

    default: /* WebSocket, HTTPUpgrade, h2 */
        break;
    }

    ngx_vmess_share_link_argument(to, "&host=", ngx_vmess_share_host(share));
    ngx_vmess_share_link_argument(to, "&path=", &path);

    if (share->transport == NGX_VMESS_SHARE_WS && share->early_data) {

        /* mihomo does not look for it in the path */

        ngx_vmess_text_out_word(to, "&ed=");
        ngx_vmess_text_out_number(to, share->early_data);
        ngx_vmess_text_out_word(to, "&eh=Sec-WebSocket-Protocol");
    }
}


static void
ngx_vmess_share_link_shadowrocket(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share, const char *obfs)
{
    u_char      buf[NGX_VMESS_SHARE_LINK_PATH];
    ngx_str_t   path;

    ngx_vmess_text_out_word(to, "vmess://");
    ngx_vmess_text_out_base64(to);
    ngx_vmess_text_out_string(to, &ngx_vmess_share_securities[share->security]);
    ngx_vmess_text_out_word(to, ":");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_text_out_word(to, "@");
    ngx_vmess_share_link_address(to, share);
    ngx_vmess_text_out_base64_end(to);

    ngx_vmess_text_out_word(to, "?remarks=");
    ngx_vmess_text_out_percent(to, &share->name);
    ngx_vmess_text_out_word(to, "&obfs=");
    ngx_vmess_text_out_word(to, obfs);

    ngx_vmess_share_link_path(share, buf, &path);
    ngx_vmess_share_link_argument(to, "&path=", &path);

    if (share->transport == NGX_VMESS_SHARE_GRPC) {
        ngx_vmess_share_link_argument(to, "&host=",
                                      ngx_vmess_share_host(share));

    } else {
        ngx_vmess_share_link_argument(to, "&obfsParam=",
                                      ngx_vmess_share_link_host(share));
    }

    if (share->transport == NGX_VMESS_SHARE_XHTTP) {
        ngx_vmess_share_link_argument(to, "&mode=",
                                      ngx_vmess_share_link_type(share));
    }

    if (share->tls) {
        ngx_vmess_text_out_word(to, "&tls=1");
        ngx_vmess_share_link_argument(to, "&peer=", ngx_vmess_share_sni(share));
        ngx_vmess_share_link_argument(to, "&alpn=", &share->alpn);
    }

    ngx_vmess_text_out_word(to, "&alterId=0");
}


static void
ngx_vmess_share_link_address(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share)
{
    ngx_str_t   *host;
    ngx_uint_t   ipv6;

    host = &share->host;
    ipv6 = (ngx_strlchr(host->data, host->data + host->len, ':') != NULL);

    ngx_vmess_text_out_word(to, ipv6 ? "[" : "");
    ngx_vmess_text_out_string(to, host);
    ngx_vmess_text_out_word(to, ipv6 ? "]:" : ":");
    ngx_vmess_text_out_number(to, share->port);
}


/* nothing of an empty one */

static void
ngx_vmess_share_link_argument(ngx_vmess_text_out_t *to, const char *key,
    ngx_str_t *value)
{
    if (value->len) {
        ngx_vmess_text_out_word(to, key);
        ngx_vmess_text_out_percent(to, value);
    }
}
