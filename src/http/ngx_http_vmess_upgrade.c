
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_upgrade.h"


static ngx_int_t ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);


static const ngx_vmess_carrier_t  ngx_http_vmess_upgrade_carrier = {
    ngx_string("httpupgrade"),
    ngx_http_vmess_raw_recv,
    ngx_http_vmess_raw_send,
    ngx_http_vmess_verdict,
    ngx_http_vmess_close
};


const ngx_http_vmess_transport_t  ngx_http_vmess_upgrade_transport = {
    NGX_HTTP_VMESS_HTTPUPGRADE,
    ngx_http_vmess_upgrade_handler,
    &ngx_http_vmess_upgrade_carrier,
    ngx_http_vmess_read_handler,
    ngx_http_vmess_upgrade_answer,
    NULL,                                  /* flush */
    ngx_http_vmess_raw_decline,
    NULL,                                  /* drain */
    NULL,                                  /* finish */
    NULL                                   /* cleanup */
};


/* WebSocket's upgrade without a key, then bytes as they are */

static ngx_int_t
ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t  *clcf;
    static ngx_str_t           key = ngx_string("sec-websocket-key");

    if (!ngx_http_vmess_upgrade_test(r) || ngx_http_vmess_header(r, &key)) {
        return NGX_DECLINED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!clcf->named
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
        && r->uri.len != clcf->name.len)
    {
        return NGX_DECLINED;
    }

    return ngx_http_vmess_take(ctx, &ngx_http_vmess_upgrade_transport, NULL);
}


ngx_uint_t
ngx_http_vmess_upgrade_test(ngx_http_request_t *r)
{
    ngx_str_t         *value;
    static ngx_str_t   connection = ngx_string("connection");

    if (r->method != NGX_HTTP_GET || r->http_version != NGX_HTTP_VERSION_11
        || r->headers_in.upgrade == NULL
        || r->headers_in.content_length_n > 0 || r->headers_in.chunked)
    {
        return 0;
    }

    value = &r->headers_in.upgrade->value;

    if (value->len != 9 || ngx_strncasecmp(value->data, (u_char *) "websocket",
                                           9) != 0)
    {
        return 0;
    }

    value = ngx_http_vmess_header(r, &connection);

    return value
           && ngx_strlcasestrn(value->data, value->data + value->len,
                               (u_char *) "upgrade", 7 - 1)
              != NULL;
}


ngx_int_t
ngx_http_vmess_upgrade_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_vmess_add_header(&r->headers_out.headers, "Upgrade",
                                  "websocket")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_vmess_raw_open(ctx);

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    return ngx_http_vmess_send_header(ctx);
}
