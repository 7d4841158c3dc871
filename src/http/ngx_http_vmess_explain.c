
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_explain.h"
#include "ngx_http_vmess_upgrade.h"
#include "ngx_http_vmess_padding.h"
#include "event/ngx_vmess_log.h"
#include "proto/ngx_vmess_ws.h"
#include "proto/ngx_vmess_xhttp.h"


#define NGX_HTTP_VMESS_UUID_LEN  36


static const char *ngx_http_vmess_explain_upgrade(ngx_http_request_t *r,
    ngx_uint_t transports);
static const char *ngx_http_vmess_explain_grpc(ngx_http_request_t *r,
    ngx_uint_t transports);
static const char *ngx_http_vmess_explain_xhttp(ngx_http_request_t *r,
    ngx_uint_t transports);
static ngx_uint_t ngx_http_vmess_explain_session(ngx_http_request_t *r);


/* a word of the transport, and why it does not take a request */

static struct {
    ngx_uint_t    mask;
    const char   *name;
    const char *(*reason)(ngx_http_request_t *r, ngx_uint_t transports);

} ngx_http_vmess_explanations[] = {

    { NGX_HTTP_VMESS_WEBSOCKET|NGX_HTTP_VMESS_HTTPUPGRADE,
      "WebSocket or HTTPUpgrade", ngx_http_vmess_explain_upgrade },

    { NGX_HTTP_VMESS_GRPC, "gRPC", ngx_http_vmess_explain_grpc },

    { NGX_HTTP_VMESS_XHTTP, "XHTTP", ngx_http_vmess_explain_xhttp },

    { 0, NULL, NULL }
};


static ngx_vmess_log_limit_t  ngx_http_vmess_explain_limit = {
    10, NGX_LOG_INFO, "requests looked like those of clients", 0, 0
};


ngx_uint_t
ngx_http_vmess_explain_request(ngx_http_request_t *r)
{
    const char                 *reason;
    ngx_uint_t                  i;
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    for (i = 0; ngx_http_vmess_explanations[i].mask; i++) {

        if (!(vlcf->transports & ngx_http_vmess_explanations[i].mask)) {
            continue;
        }

        reason = ngx_http_vmess_explanations[i].reason(r, vlcf->transports);

        if (reason == NULL) {
            continue;
        }

        if (ngx_vmess_log_allowed(&ngx_http_vmess_explain_limit,
                                  r->connection->log))
        {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "request looks like VMess over %s but is the "
                          "site's: %s", ngx_http_vmess_explanations[i].name,
                          reason);
        }

        return 1;
    }

    return 0;
}


static const char *
ngx_http_vmess_explain_upgrade(ngx_http_request_t *r, ngx_uint_t transports)
{
    ngx_str_t         *key, *version;
    static ngx_str_t   name = ngx_string("sec-websocket-key");
    static ngx_str_t   version_name = ngx_string("sec-websocket-version");

    key = ngx_http_vmess_request_header(r, &name);

    if (!ngx_http_vmess_upgrade_websocket(r)) {
        return key ? "\"Upgrade: websocket\" is missing, a proxy may have "
                     "removed it" : NULL;
    }

    if (!ngx_http_vmess_upgrade_connection(r)) {
        return "\"Connection: upgrade\" is missing, a proxy may have removed "
               "it";
    }

    if (!ngx_http_vmess_upgrade_test(r)) {
        return "it is not GET of HTTP/1.1 without a body";
    }

    if (!(transports & NGX_HTTP_VMESS_WEBSOCKET)) {
        return "HTTPUpgrade needs the path of the location";
    }

    if (key == NULL) {
        return (transports & NGX_HTTP_VMESS_HTTPUPGRADE)
               ? "HTTPUpgrade needs the path of the location"
               : "there is no Sec-WebSocket-Key, and \"httpupgrade\" is not "
                 "in \"vmess_pass\"";
    }

    if (key->len != NGX_VMESS_WS_KEY_LEN) {
        return "Sec-WebSocket-Key is invalid";
    }

    version = ngx_http_vmess_request_header(r, &version_name);

    if (version == NULL || version->len != 2
        || ngx_strncmp(version->data, "13", 2) != 0)
    {
        return "\"Sec-WebSocket-Version: 13\" is missing";
    }

    return "the path is longer than that of the location, and not by early "
           "data";
}


static const char *
ngx_http_vmess_explain_grpc(ngx_http_request_t *r, ngx_uint_t transports)
{
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return NULL;
    }

    type = &r->headers_in.content_type->value;

    if (type->len < 16
        || ngx_strncasecmp(type->data, (u_char *) "application/grpc", 16) != 0)
    {
        return NULL;
    }

    if (r->http_version < NGX_HTTP_VERSION_20) {
        return "it came over HTTP/1, a proxy may have made it of HTTP/2";
    }

    return "it is not POST of \"Tun\" or \"TunMulti\"";
}


static const char *
ngx_http_vmess_explain_xhttp(ngx_http_request_t *r, ngx_uint_t transports)
{
    size_t            padding;
    static ngx_str_t  method = ngx_string("access-control-request-method");

    padding = ngx_http_vmess_padding_length(r);

    if (padding == 0) {

        if (r->method == NGX_HTTP_OPTIONS
            && ngx_http_vmess_request_header(r, &method)
            && ngx_http_vmess_explain_session(r))
        {
            return "it is OPTIONS of a browser, whose client is of another "
                   "origin";
        }

        return ngx_http_vmess_explain_session(r)
               ? "there is no x_padding in Referer or the query" : NULL;
    }

    if (padding < NGX_HTTP_VMESS_PADDING_MIN) {
        return "x_padding has less than 100 bytes";
    }

    if (padding > NGX_HTTP_VMESS_PADDING_MAX) {
        return "x_padding has more than 1000 bytes";
    }

    if (r->http_version < NGX_HTTP_VERSION_11) {
        return "it came over HTTP/1.0, as of a proxy";
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        return "it is OPTIONS of a browser, whose client is of another origin";
    }

    return "neither path nor method are those of a session";
}


/* 1 if a part of the path has the form of a session's name */

static ngx_uint_t
ngx_http_vmess_explain_session(ngx_http_request_t *r)
{
    u_char      *p, *last;
    ngx_uint_t   i;

    p = r->uri.data;
    last = p + r->uri.len;

    for ( ;; ) {

        for (i = 0; p + i < last && p[i] != '/'; i++) {

            if (i == 8 || i == 13 || i == 18 || i == 23) {

                if (p[i] != '-') {
                    break;
                }

                continue;
            }

            if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            {
                break;
            }
        }

        if (i == NGX_HTTP_VMESS_UUID_LEN && (p + i == last || p[i] == '/')) {
            return 1;
        }

        p = ngx_strlchr(p, last, '/');

        if (p == NULL) {
            return 0;
        }

        p++;
    }
}
