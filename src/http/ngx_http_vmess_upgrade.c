
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
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


const ngx_http_vmess_transport_t  ngx_http_vmess_upgrade_transport = {
    NGX_HTTP_VMESS_HTTPUPGRADE,
    NULL,                                  /* check */
    ngx_http_vmess_upgrade_test,
    ngx_http_vmess_upgrade_handler,
    &ngx_http_vmess_upgrade_carrier,
    ngx_http_vmess_request_read_handler,
    ngx_http_vmess_upgrade_answer,
    NULL,                                  /* flush */
    ngx_http_vmess_raw_decline,
    NULL,                                  /* drain */
    NULL,                                  /* finish */
    NULL                                   /* cleanup */
};


/*
 * WebSocket's upgrade without a key, and no framing after it.  Some clients
 * send a key as well: that is WebSocket's, unless the location does not have
 * it.
 */

static ngx_int_t
ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;
    static ngx_str_t            key = ngx_string("sec-websocket-key");

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (!ngx_http_vmess_upgrade_test(r)
        || ((vlcf->transports & NGX_HTTP_VMESS_WEBSOCKET)
            && ngx_http_vmess_request_header(r, &key)))
    {
        return NGX_DECLINED;
    }

    clcf = vlcf->location;

    if (!clcf->named
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
        && r->uri.len != clcf->name.len)
    {
        return NGX_DECLINED;
    }

    return ngx_http_vmess_request_take(ctx, &ngx_http_vmess_upgrade_transport,
                                       NULL);
}


ngx_uint_t
ngx_http_vmess_upgrade_test(ngx_http_request_t *r)
{
    return r->method == NGX_HTTP_GET && r->http_version == NGX_HTTP_VERSION_11
           && r->headers_in.content_length_n <= 0 && !r->headers_in.chunked
           && ngx_http_vmess_upgrade_websocket(r)
           && ngx_http_vmess_upgrade_connection(r);
}


ngx_uint_t
ngx_http_vmess_upgrade_websocket(ngx_http_request_t *r)
{
    ngx_str_t  *value;

    if (r->headers_in.upgrade == NULL) {
        return 0;
    }

    value = &r->headers_in.upgrade->value;

    return value->len == 9
           && ngx_strncasecmp(value->data, (u_char *) "websocket", 9) == 0;
}


/* RFC 9110, 5.3.  Field Order: several lines are one list */

ngx_uint_t
ngx_http_vmess_upgrade_connection(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == 10
                && ngx_strncasecmp(h[i].key.data, (u_char *) "connection", 10)
                   == 0
                && ngx_strlcasestrn(h[i].value.data,
                                    h[i].value.data + h[i].value.len,
                                    (u_char *) "upgrade", 7 - 1))
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_vmess_upgrade_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_vmess_request_add(&r->headers_out.headers, "Upgrade",
                                   "websocket")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_vmess_raw_open(ctx);

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");

    return ngx_http_vmess_request_send_header(ctx);
}
