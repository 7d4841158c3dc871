
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_module.h"


static ssize_t ngx_http_vmess_upgrade_recv(ngx_connection_t *fc, u_char *buf,
    size_t size);
static ssize_t ngx_http_vmess_upgrade_send(ngx_connection_t *fc, u_char *buf,
    size_t size);


static const ngx_vmess_carrier_t  ngx_http_vmess_upgrade_carrier = {
    ngx_string("httpupgrade"),
    ngx_http_vmess_upgrade_recv,
    ngx_http_vmess_upgrade_send,
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


static ssize_t
ngx_http_vmess_upgrade_recv(ngx_connection_t *fc, u_char *buf, size_t size)
{
    ssize_t                n;
    ngx_event_t           *rev;
    ngx_http_vmess_ctx_t  *ctx;

    rev = fc->read;
    ctx = ngx_vmess_get_vconn(fc)->data;

    /*
     * What came with the request is early data: it may tell whether to
     * answer at all.
     */

    if (!ctx->answered
        && ctx->request->header_in->pos == ctx->request->header_in->last
        && ngx_http_vmess_switch(ctx) != NGX_OK)
    {
        rev->ready = 0;
        rev->error = 1;
        return NGX_ERROR;
    }

    n = ngx_http_vmess_read_client(ctx, buf, size);

    if (n > 0) {
        return n;
    }

    rev->ready = 0;

    if (n == 0) {
        rev->eof = 1;
    }

    if (n == NGX_ERROR) {
        rev->error = 1;
    }

    return n;
}


static ssize_t
ngx_http_vmess_upgrade_send(ngx_connection_t *fc, u_char *buf, size_t size)
{
    ssize_t  n;

    n = ngx_http_vmess_write_client(ngx_vmess_get_vconn(fc)->data, buf, size);

    if (n > 0) {
        fc->sent += n;
        return n;
    }

    fc->write->ready = 0;

    if (n == NGX_ERROR) {
        fc->write->error = 1;
    }

    return n;
}
