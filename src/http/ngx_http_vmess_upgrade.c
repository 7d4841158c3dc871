
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_module.h"


static const ngx_vmess_carrier_t  ngx_http_vmess_upgrade_carrier = {
    ngx_string("httpupgrade"),
    ngx_http_vmess_raw_recv,
    ngx_http_vmess_raw_send,
    ngx_http_vmess_verdict,
    ngx_http_vmess_close
};


/* WebSocket's upgrade without a key, then bytes as they are */

ngx_int_t
ngx_http_vmess_upgrade_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t  *clcf;
    static ngx_str_t           key = ngx_string("sec-websocket-key");

    if (!ngx_http_vmess_is_upgrade(r) || ngx_http_vmess_header(r, &key)) {
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

    ctx->answer = ngx_http_vmess_switch;

    return ngx_http_vmess_start(ctx, &ngx_http_vmess_upgrade_carrier);
}
