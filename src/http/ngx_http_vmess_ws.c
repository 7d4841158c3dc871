
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_upgrade.h"
#include "event/ngx_vmess_log.h"
#include "proto/ngx_vmess_ws.h"


/* frames without data: so many bytes of them are read in one go */

#define NGX_HTTP_VMESS_WS_BURST  (64 * 1024)


typedef struct {
    ngx_str_t                  key;
    ngx_str_t                  protocol;     /* to be echoed */
    ngx_str_t                  early;        /* data not read yet */
    size_t                     early_len;    /* of all of it */
    ngx_vmess_ws_t             ws;
    u_char                     header[NGX_VMESS_WS_HEADER_MAX];
    size_t                     header_len;   /* at its end, to be sent */
    size_t                     left;         /* of the frame being sent */
    u_char                     control[NGX_VMESS_WS_HEADER_MAX
                                       + NGX_VMESS_WS_CONTROL_MAX];
    u_char                    *control_pos;
    u_char                    *control_last;
    u_char                     ping[NGX_VMESS_WS_CONTROL_MAX];
    size_t                     ping_len;

    unsigned                   late:1;       /* data came in frames only */
    unsigned                   eof:1;
    unsigned                   error:1;
} ngx_http_vmess_ws_t;


static ngx_int_t ngx_http_vmess_ws_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_ws_early(ngx_http_request_t *r,
    ngx_http_vmess_ws_t *ws);
static ngx_int_t ngx_http_vmess_ws_decode(ngx_http_request_t *r,
    ngx_http_vmess_ws_t *ws, ngx_str_t *value);
static ngx_int_t ngx_http_vmess_ws_answer(ngx_http_vmess_ctx_t *ctx);
static void ngx_http_vmess_ws_heartbeat(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_ws_recv(void *data, u_char *buf, size_t size);
static ngx_int_t ngx_http_vmess_ws_verdict(void *data, ngx_uint_t authentic);
static void ngx_http_vmess_ws_control(ngx_http_vmess_ctx_t *ctx,
    ngx_uint_t opcode, u_char *data, size_t len);
static ngx_int_t ngx_http_vmess_ws_send_control(ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_ws_flush(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_ws_send(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_ws_finish(ngx_http_vmess_ctx_t *ctx);


static const ngx_vmess_carrier_t  ngx_http_vmess_ws_carrier = {
    ngx_string("websocket"),
    ngx_http_vmess_ws_recv,
    ngx_http_vmess_ws_send,
    ngx_http_vmess_ws_verdict,
    ngx_http_vmess_request_close,
    1
};


static ngx_vmess_log_limit_t  ngx_http_vmess_ws_limit = {
    10, NGX_LOG_INFO, "WebSockets without early data were refused", 0, 0
};


const ngx_http_vmess_transport_t  ngx_http_vmess_ws_transport = {
    NGX_HTTP_VMESS_WEBSOCKET,
    NULL,                                  /* check */
    ngx_http_vmess_upgrade_test,
    ngx_http_vmess_ws_handler,
    &ngx_http_vmess_ws_carrier,
    ngx_http_vmess_request_read_handler,
    ngx_http_vmess_ws_answer,
    ngx_http_vmess_ws_flush,
    ngx_http_vmess_raw_decline,
    NULL,                                  /* drain */
    ngx_http_vmess_ws_finish,
    NULL                                   /* cleanup */
};


static ngx_int_t
ngx_http_vmess_ws_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_str_t            *value, *k;
    ngx_http_vmess_ws_t  *ws;
    static ngx_str_t      key = ngx_string("sec-websocket-key");
    static ngx_str_t      version = ngx_string("sec-websocket-version");

    if (!ngx_http_vmess_upgrade_test(r)) {
        return NGX_DECLINED;
    }

    k = ngx_http_vmess_request_header(r, &key);

    if (k == NULL || k->len != NGX_VMESS_WS_KEY_LEN) {
        return NGX_DECLINED;
    }

    value = ngx_http_vmess_request_header(r, &version);

    if (value == NULL || value->len != 2
        || ngx_strncmp(value->data, "13", 2) != 0)
    {
        return NGX_DECLINED;
    }

    ws = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_ws_t));
    if (ws == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws->key = *k;

    if (ngx_http_vmess_ws_early(r, ws) != NGX_OK) {
        return NGX_DECLINED;
    }

    ws->early_len = ws->early.len;

    return ngx_http_vmess_request_take(ctx, &ngx_http_vmess_ws_transport, ws);
}


/*
 * Early data is in Sec-WebSocket-Protocol, in a header that the configuration
 * names, or in what the path has behind the name of the location.
 * NGX_DECLINED: the path is another one.
 */

static ngx_int_t
ngx_http_vmess_ws_early(ngx_http_request_t *r, ngx_http_vmess_ws_t *ws)
{
    ngx_str_t                  *value, path;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;
    static ngx_str_t            protocol = ngx_string("sec-websocket-protocol");

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);
    clcf = vlcf->location;

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
            || ngx_http_vmess_ws_decode(r, ws, &path) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (ws->early.len >= NGX_VMESS_EAUID_LEN) {
            return NGX_OK;
        }

        ngx_str_null(&ws->early);

        return NGX_DECLINED;
    }

    value = vlcf->early_data.len
            ? ngx_http_vmess_request_header(r, &vlcf->early_data) : NULL;

    if (value && ngx_http_vmess_ws_decode(r, ws, value) == NGX_OK) {
        return NGX_OK;
    }

    value = ngx_http_vmess_request_header(r, &protocol);

    if (value && ngx_http_vmess_ws_decode(r, ws, value) == NGX_OK) {

        /* browsers and others demand it back */

        ws->protocol = *value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_ws_decode(ngx_http_request_t *r, ngx_http_vmess_ws_t *ws,
    ngx_str_t *value)
{
    ws->early.data = ngx_pnalloc(r->pool,
                                 ngx_base64_decoded_length(value->len));
    if (ws->early.data == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_vmess_ws_early_data(&ws->early, value) == NGX_OK) {
        return NGX_OK;
    }

    ngx_str_null(&ws->early);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_vmess_ws_answer(ngx_http_vmess_ctx_t *ctx)
{
    u_char                     *p;
    ngx_http_request_t         *r;
    ngx_http_vmess_ws_t        *ws;
    ngx_http_vmess_loc_conf_t  *vlcf;

    r = ctx->request;
    ws = ctx->data;

    p = ngx_pnalloc(r->pool, NGX_VMESS_WS_ACCEPT_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_vmess_ws_accept(p, &ws->key);
    p[NGX_VMESS_WS_ACCEPT_LEN] = '\0';

    if (ngx_http_vmess_request_add(&r->headers_out.headers,
                                   "Sec-WebSocket-Accept", (char *) p)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* values of the request are terminated */

    if (ws->protocol.len
        && ngx_http_vmess_request_add(&r->headers_out.headers,
                                      "Sec-WebSocket-Protocol",
                                      (char *) ws->protocol.data)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_vmess_upgrade_answer(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->heartbeat) {
        ctx->timer.cancelable = 1;

        ngx_http_vmess_request_set_timer(ctx, ngx_http_vmess_ws_heartbeat,
                                         vlcf->heartbeat);
    }

    return NGX_OK;
}


static void
ngx_http_vmess_ws_heartbeat(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_ws_t        *ws;
    ngx_http_vmess_loc_conf_t  *vlcf;

    ws = ctx->data;

    if (ctx->vconn == NULL) {
        return;
    }

    vlcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_vmess_module);

    ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_PING, (u_char *) "", 0);

    if (ws->error) {
        ngx_vmess_vconn_wake(ctx->vconn, 0);
        return;
    }

    ngx_add_timer(&ctx->timer, vlcf->heartbeat);
}


static ssize_t
ngx_http_vmess_ws_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    u_char               *out;
    size_t                taken;
    ssize_t               n;
    ngx_int_t             rc;
    ngx_buf_t             b;
    ngx_uint_t            ping;
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;
    taken = 0;

    if (ws->early.len) {
        size = ngx_min(size, ws->early.len);

        ngx_memcpy(buf, ws->early.data, size);

        ws->early.data += size;
        ws->early.len -= size;

        return size;
    }

    if (ctx->state == NGX_HTTP_VMESS_OPEN
        && ngx_http_vmess_request_answer(ctx) != NGX_OK)
    {
        ws->error = 1;
    }

    for ( ;; ) {

        if (ws->error) {
            return NGX_ERROR;
        }

        if (ws->eof) {
            return 0;
        }

        n = ngx_http_vmess_raw_read(ctx, buf, size);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n == NGX_ERROR) {
            ws->error = 1;
            continue;
        }

        if (n == 0) {
            ws->eof = 1;
            continue;
        }

        b.pos = buf;
        b.last = buf + n;
        out = buf;
        ping = 0;
        taken += n;

        do {
            rc = ngx_vmess_ws_read(&ws->ws, &b, &out);

            if (rc != NGX_DONE) {
                break;
            }

            if (ws->ws.opcode == NGX_VMESS_WS_CLOSE) {
                ws->eof = 1;
                break;
            }

            /* RFC 6455, 5.5.3.  Pong: to the last of several Pings */

            if (ws->ws.opcode == NGX_VMESS_WS_PING) {
                ngx_memcpy(ws->ping, ws->ws.control, ws->ws.control_len);
                ws->ping_len = ws->ws.control_len;
                ping = 1;
            }

        } while (b.pos < b.last);

        if (ping) {
            ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_PONG, ws->ping,
                                      ws->ping_len);
        }

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, ctx->vconn->connection->log, 0,
                          "client sent invalid WebSocket frame: %s",
                          ws->ws.err);
            ws->error = 1;
        }

        if (out != buf) {
            ws->late = (ws->early_len == 0);
            return out - buf;
        }

        if (taken >= NGX_HTTP_VMESS_WS_BURST) {
            ngx_vmess_vconn_yield(ctx->vconn);
            return NGX_AGAIN;
        }
    }
}


/* without its beginning a VMess header looks like one of an unknown user */

static ngx_int_t
ngx_http_vmess_ws_verdict(void *data, ngx_uint_t authentic)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    if (!authentic && ws->late
        && ngx_vmess_log_allowed(&ngx_http_vmess_ws_limit,
                                 ctx->request->connection->log))
    {
        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "refused WebSocket came without early data, if its "
                      "client has \"ed=\" it was lost on the way");
    }

    return ngx_http_vmess_request_verdict(data, authentic);
}


/*
 * A control frame goes out between the frames of data.  While one waits,
 * others are dropped: the client is not reading, and pongs are no data.
 */

static void
ngx_http_vmess_ws_control(ngx_http_vmess_ctx_t *ctx, ngx_uint_t opcode,
    u_char *data, size_t len)
{
    u_char               *p;
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    if (ws->control_pos) {
        return;
    }

    p = ws->control + NGX_VMESS_WS_HEADER_MAX;

    ngx_memcpy(p, data, len);

    ws->control_last = p + len;
    ws->control_pos = ngx_vmess_ws_header(p, opcode, len);

    if (ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ws->error = 1;
    }
}


static ngx_int_t
ngx_http_vmess_ws_send_control(ngx_http_vmess_ctx_t *ctx)
{
    ssize_t               n;
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    if (ws->control_pos == NULL || ws->left || ws->header_len) {
        return NGX_OK;
    }

    while (ws->control_pos < ws->control_last) {

        n = ngx_http_vmess_raw_send(ctx, ws->control_pos,
                                    ws->control_last - ws->control_pos);
        if (n < 0) {
            return n;
        }

        ws->control_pos += n;
    }

    ws->control_pos = NULL;

    return NGX_OK;
}


/* an error is told to the session, which knows what it lost */

static ngx_int_t
ngx_http_vmess_ws_flush(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    if (ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ws->error = 1;
    }

    return NGX_OK;
}


static ssize_t
ngx_http_vmess_ws_send(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    u_char               *p, *last;
    size_t                len;
    ssize_t               n;
    ngx_int_t             rc;
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    rc = ngx_http_vmess_ws_send_control(ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ws->left == 0) {

        /* one frame is all that we were given, whether it can go now or not */

        last = ws->header + NGX_VMESS_WS_HEADER_MAX;
        p = ngx_vmess_ws_header(last, NGX_VMESS_WS_BINARY, size);

        ws->header_len = last - p;
        ws->left = size;
    }

    for ( ;; ) {

        len = ws->header_len;

        ngx_memcpy(buf - len, ws->header + NGX_VMESS_WS_HEADER_MAX - len,
                   len);

        n = ngx_http_vmess_raw_send(ctx, buf - len,
                                    len + ngx_min(size, ws->left));

        if (n == NGX_AGAIN || n == NGX_ERROR) {
            return n;
        }

        if ((size_t) n > len) {
            break;
        }

        ws->header_len -= n;
    }

    n -= len;

    ws->header_len = 0;
    ws->left -= n;

    if (ws->left == 0 && ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ws->error = 1;
    }

    return n;
}


static void
ngx_http_vmess_ws_finish(ngx_http_vmess_ctx_t *ctx)
{
    u_char                status[2];
    ngx_http_vmess_ws_t  *ws;

    ws = ctx->data;

    /* RFC 6455, 7.4.1: 1000, a normal closure; 1002, a protocol error */

    status[0] = 1000 >> 8;
    status[1] = (u_char) (ws->ws.err ? 1002 : 1000);

    if (!ctx->request->connection->error) {
        ngx_http_vmess_ws_control(ctx, NGX_VMESS_WS_CLOSE, status, 2);
    }
}
