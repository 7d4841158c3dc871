
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_module.h"


static ngx_int_t ngx_http_vmess_ws_early(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_ws_decode(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_ws_answer(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_ws_heartbeat_handler(ngx_event_t *ev);
static ssize_t ngx_http_vmess_ws_recv(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_ws_control(ngx_http_vmess_ctx_t *ctx,
    ngx_uint_t opcode, u_char *data, size_t len);
static ssize_t ngx_http_vmess_ws_send(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_ws_finish(ngx_http_vmess_ctx_t *ctx);


static const ngx_vmess_carrier_t  ngx_http_vmess_ws_carrier = {
    ngx_string("websocket"),
    ngx_http_vmess_ws_recv,
    ngx_http_vmess_ws_send,
    ngx_http_vmess_verdict,
    ngx_http_vmess_close
};


ngx_int_t
ngx_http_vmess_ws_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_str_t         *value;
    static ngx_str_t   key = ngx_string("sec-websocket-key");
    static ngx_str_t   version = ngx_string("sec-websocket-version");

    if (!ngx_http_vmess_upgrade_test(r)) {
        return NGX_DECLINED;
    }

    value = ngx_http_vmess_header(r, &key);

    if (value == NULL || value->len != NGX_VMESS_WS_KEY_LEN) {
        return NGX_DECLINED;
    }

    ctx->key = *value;

    value = ngx_http_vmess_header(r, &version);

    if (value == NULL || value->len != 2
        || ngx_strncmp(value->data, "13", 2) != 0)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_vmess_ws_early(r, ctx) != NGX_OK) {
        return NGX_DECLINED;
    }

    ctx->answer = ngx_http_vmess_ws_answer;
    ctx->finish = ngx_http_vmess_ws_finish;

    return ngx_http_vmess_start(ctx, &ngx_http_vmess_ws_carrier);
}


/*
 * Early data is in Sec-WebSocket-Protocol, in a header that the configuration
 * names, or in what the path has behind the name of the location.
 * NGX_DECLINED: the path is another one.
 */

static ngx_int_t
ngx_http_vmess_ws_early(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_str_t                  *value, path;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;
    static ngx_str_t            protocol = ngx_string("sec-websocket-protocol");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    ngx_str_null(&path);

    if (!clcf->exact_match && !clcf->named && clcf->name.len
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
        && r->uri.len > clcf->name.len)
    {
        path.data = r->uri.data + clcf->name.len;
        path.len = r->uri.len - clcf->name.len;

        if (path.data[0] == '/' && path.data[-1] != '/') {
            path.data++;
            path.len--;
        }
    }

    if (path.len) {

        /* a path below may be a page of the site: early data has a whole id */

        if (ngx_base64_decoded_length(path.len) < NGX_VMESS_EAUID_LEN
            || ngx_http_vmess_ws_decode(r, ctx, &path) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (ctx->early.len >= NGX_VMESS_EAUID_LEN) {
            return NGX_OK;
        }

        ngx_str_null(&ctx->early);

        return NGX_DECLINED;
    }

    value = vlcf->early_data.len
            ? ngx_http_vmess_header(r, &vlcf->early_data) : NULL;

    if (value && ngx_http_vmess_ws_decode(r, ctx, value) == NGX_OK) {
        return NGX_OK;
    }

    value = ngx_http_vmess_header(r, &protocol);

    if (value && ngx_http_vmess_ws_decode(r, ctx, value) == NGX_OK) {

        /* browsers and others demand it back */

        ctx->protocol = *value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_ws_decode(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx,
    ngx_str_t *value)
{
    ctx->early.data = ngx_pnalloc(r->pool,
                                  ngx_base64_decoded_length(value->len));
    if (ctx->early.data == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_vmess_ws_early_data(&ctx->early, value) == NGX_OK) {
        return NGX_OK;
    }

    ngx_str_null(&ctx->early);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_ws_answer(ngx_http_vmess_ctx_t *ctx)
{
    u_char                     *p;
    ngx_table_elt_t            *h;
    ngx_http_request_t         *r;
    ngx_http_vmess_loc_conf_t  *vlcf;

    r = ctx->request;

    p = ngx_pnalloc(r->pool, NGX_VMESS_WS_ACCEPT_LEN);
    h = ngx_list_push(&r->headers_out.headers);

    if (p == NULL || h == NULL) {
        return NGX_ERROR;
    }

    ngx_vmess_ws_accept(p, &ctx->key);

    h->hash = 1;
    ngx_vmess_header_next(h);
    ngx_str_set(&h->key, "Sec-WebSocket-Accept");
    h->value.data = p;
    h->value.len = NGX_VMESS_WS_ACCEPT_LEN;

    if (ctx->protocol.len) {
        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->hash = 1;
        ngx_vmess_header_next(h);
        ngx_str_set(&h->key, "Sec-WebSocket-Protocol");
        h->value = ctx->protocol;
    }

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->heartbeat) {
        ctx->late.handler = ngx_http_vmess_ws_heartbeat_handler;
        ctx->late.data = ctx;
        ctx->late.log = r->connection->log;
        ctx->late.cancelable = 1;

        ngx_add_timer(&ctx->late, vlcf->heartbeat);
    }

    return ngx_http_vmess_upgrade_answer(ctx);
}


static void
ngx_http_vmess_ws_heartbeat_handler(ngx_event_t *ev)
{
    ngx_http_vmess_ctx_t       *ctx;
    ngx_http_vmess_loc_conf_t  *vlcf;

    ctx = ev->data;

    if (ctx->vconn == NULL) {
        return;
    }

    vlcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_vmess_module);

    ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_PING, (u_char *) "", 0);

    if (ctx->error) {
        ngx_vmess_vconn_wake(ctx->vconn, 0);
        return;
    }

    ngx_add_timer(ev, vlcf->heartbeat);
}


static ssize_t
ngx_http_vmess_ws_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    u_char     *out;
    ssize_t     n;
    ngx_int_t   rc;
    ngx_buf_t   b;

    if (ctx->early.len) {
        size = ngx_min(size, ctx->early.len);

        ngx_memcpy(buf, ctx->early.data, size);

        ctx->early.data += size;
        ctx->early.len -= size;

        return size;
    }

    if (!ctx->answered && ngx_http_vmess_ws_answer(ctx) != NGX_OK) {
        ctx->error = 1;
    }

    for ( ;; ) {

        if (ctx->error) {
            return NGX_ERROR;
        }

        if (ctx->eof) {
            return 0;
        }

        n = ngx_http_vmess_raw_read(ctx, buf, size);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n == NGX_ERROR) {
            ctx->error = 1;
            continue;
        }

        if (n == 0) {
            ctx->eof = 1;
            continue;
        }

        b.pos = buf;
        b.last = buf + n;
        out = buf;

        do {
            rc = ngx_vmess_ws_read(&ctx->ws, &b, &out);

            if (rc != NGX_DONE) {
                break;
            }

            if (ctx->ws.opcode == NGX_VMESS_WS_CLOSE) {
                ctx->eof = 1;
                break;
            }

            if (ctx->ws.opcode == NGX_VMESS_WS_PING) {
                ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_PONG,
                                          ctx->ws.control,
                                          ctx->ws.control_len);
            }

        } while (b.pos < b.last);

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, ctx->vconn->connection->log, 0,
                          "client sent invalid WebSocket frame: %s",
                          ctx->ws.err);
            ctx->error = 1;
        }

        if (out != buf) {
            return out - buf;
        }
    }
}


/*
 * A control frame goes out between the frames of data.  While one waits,
 * others are dropped: the client is not reading, and pongs are no data.
 */

static void
ngx_http_vmess_ws_control(ngx_http_vmess_ctx_t *ctx, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    u_char  *p;

    if (ctx->control_pos) {
        return;
    }

    p = ctx->control + NGX_VMESS_WS_HEADER_MAX;

    ngx_memcpy(p, data, len);

    ctx->control_last = p + len;
    ctx->control_pos = ngx_vmess_ws_header(p, opcode, len);

    if (ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ctx->error = 1;
    }
}


ngx_int_t
ngx_http_vmess_ws_send_control(ngx_http_vmess_ctx_t *ctx)
{
    ssize_t  n;

    if (ctx->control_pos == NULL || ctx->left || ctx->header_len) {
        return NGX_OK;
    }

    while (ctx->control_pos < ctx->control_last) {

        n = ngx_http_vmess_raw_write(ctx, ctx->control_pos,
                                        ctx->control_last - ctx->control_pos);
        if (n < 0) {
            return n;
        }

        ctx->control_pos += n;
    }

    ctx->control_pos = NULL;

    return NGX_OK;
}


static ssize_t
ngx_http_vmess_ws_send(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    size_t     len;
    ssize_t    n;
    ngx_int_t  rc;

    rc = ngx_http_vmess_ws_send_control(ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->left == 0) {

        /* one frame is all that we were given, whether it can go now or not */

        u_char  *p, *last;

        last = ctx->header + NGX_VMESS_WS_HEADER_MAX;
        p = ngx_vmess_ws_header(last, NGX_VMESS_WS_BINARY, size);

        ctx->header_len = last - p;
        ctx->left = size;
    }

    for ( ;; ) {

        len = ctx->header_len;

        ngx_memcpy(buf - len, ctx->header + NGX_VMESS_WS_HEADER_MAX - len,
                   len);

        n = ngx_http_vmess_raw_write(ctx, buf - len,
                                        len + ngx_min(size, ctx->left));

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            return n;
        }

        if ((size_t) n > len) {
            break;
        }

        ctx->header_len -= n;
    }

    n -= len;

    ctx->header_len = 0;
    ctx->left -= n;

    if (ctx->left == 0 && ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ctx->error = 1;
    }

    return n;
}


static void
ngx_http_vmess_ws_finish(ngx_http_vmess_ctx_t *ctx)
{
    u_char  status[2];

    /* RFC 6455, 7.4.1: 1000, a normal closure; 1002, a protocol error */

    status[0] = 1000 >> 8;
    status[1] = (u_char) (ctx->ws.err ? 1002 : 1000);

    if (!ctx->request->connection->error) {
        ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_CLOSE, status, 2);
    }
}
