
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_body.h"
#include "proto/ngx_vmess_grpc.h"


typedef struct {
    ngx_http_vmess_body_t      body;
    ngx_vmess_grpc_t           grpc;

    unsigned                   error:1;
} ngx_http_vmess_grpc_t;


static void ngx_http_vmess_grpc_check(ngx_conf_t *cf,
    ngx_http_vmess_pass_t *pass);
static ngx_uint_t ngx_http_vmess_grpc_candidate(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_grpc_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_uint_t ngx_http_vmess_grpc_path(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_grpc_answer(ngx_http_vmess_ctx_t *ctx);
static ssize_t ngx_http_vmess_grpc_recv(void *data, u_char *buf, size_t size);
static ssize_t ngx_http_vmess_grpc_send(void *data, u_char *buf, size_t size);
static void ngx_http_vmess_grpc_finish(ngx_http_vmess_ctx_t *ctx);


static const ngx_vmess_carrier_t  ngx_http_vmess_grpc_carrier = {
    ngx_string("grpc"),
    ngx_http_vmess_grpc_recv,
    ngx_http_vmess_grpc_send,
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


const ngx_http_vmess_transport_t  ngx_http_vmess_grpc_transport = {
    NGX_HTTP_VMESS_GRPC,
    ngx_http_vmess_grpc_check,
    ngx_http_vmess_grpc_candidate,
    ngx_http_vmess_grpc_handler,
    &ngx_http_vmess_grpc_carrier,
    ngx_http_vmess_body_read_handler,
    ngx_http_vmess_grpc_answer,
    ngx_http_vmess_body_ready,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_grpc_finish,
    ngx_http_vmess_tap_close
};


static void
ngx_http_vmess_grpc_check(ngx_conf_t *cf, ngx_http_vmess_pass_t *pass)
{
    ngx_str_t                  *name;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    name = &pass->vlcf->location->name;

    /* paths are "/serviceName/Tun" */

    if (pass->vlcf->location->exact_match && name->len
        && ngx_strlchr(name->data + 1, name->data + name->len, '/') == NULL)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"grpc\" in \"vmess_pass\" has no effect in the "
                      "location \"= %V\", clients ask for \"%V/Tun\" in %s:%ui",
                      name, name, pass->file_name, pass->line);
    }

    if (!ngx_http_vmess_compat_has_http2(cmcf, pass->cscf)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"grpc\" in \"vmess_pass\" in %s:%ui has no effect in "
                      "the server in %s:%ui, which has no HTTP/2",
                      pass->file_name, pass->line,
                      pass->cscf->file_name, pass->cscf->line);
    }
}


static ngx_uint_t
ngx_http_vmess_grpc_candidate(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    if (r->http_version < NGX_HTTP_VERSION_20 || r->method != NGX_HTTP_POST
        || !r->headers_in.chunked || r->headers_in.content_type == NULL)
    {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len >= 16
           && ngx_strncasecmp(type->data, (u_char *) "application/grpc", 16)
              == 0
           && ngx_http_vmess_grpc_path(r);
}


/*
 * Clients do not wait for the response header: it is sent when they are known
 * to be authentic.
 */

static ngx_int_t
ngx_http_vmess_grpc_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_grpc_t  *grpc;

    grpc = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_grpc_t));
    if (grpc == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_vmess_body_take(ctx, &ngx_http_vmess_grpc_transport, grpc);
}


/*
 * A method named other than Tun and TunMulti, as clients can be configured,
 * has an exact location.  Both are answered in the form of Tun, which is valid
 * for either.
 */

static ngx_uint_t
ngx_http_vmess_grpc_path(ngx_http_request_t *r)
{
    u_char                     *p, *last;
    size_t                      len;
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->location->exact_match) {
        return 1;
    }

    last = r->uri.data + r->uri.len;

    for (p = last; p > r->uri.data && p[-1] != '/'; p--) { /* void */ }

    len = last - p;

    return (len == 3 && ngx_strncmp(p, "Tun", 3) == 0)
           || (len == 8 && ngx_strncmp(p, "TunMulti", 8) == 0);
}


static ngx_int_t
ngx_http_vmess_grpc_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    r->headers_out.status = NGX_HTTP_OK;

    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    return ngx_http_vmess_body_answer(ctx);
}


static ssize_t
ngx_http_vmess_grpc_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    u_char                 *out;
    size_t                  total;
    ssize_t                 n;
    ngx_buf_t               b;
    ngx_http_vmess_grpc_t  *grpc;

    grpc = ctx->data;

    for (total = 0; /* void */ ; total += n) {

        if (total >= NGX_HTTP_VMESS_BODY_MAX) {

            /* messages without data: others have their turn */

            ngx_vmess_vconn_yield(ctx->vconn);

            return NGX_AGAIN;
        }

        n = grpc->error ? NGX_ERROR : ngx_http_vmess_body_recv(ctx, buf, size);

        if (n <= 0) {
            return n;
        }

        b.pos = buf;
        b.last = buf + n;
        out = buf;

        if (ngx_vmess_grpc_read(&grpc->grpc, &b, &out) == NGX_ERROR) {
            ngx_log_error(NGX_LOG_INFO, ctx->vconn->connection->log, 0,
                          "client sent invalid gRPC message: %s",
                          grpc->grpc.err);
            grpc->error = 1;
        }

        if (out != buf) {
            return out - buf;
        }
    }
}


static ssize_t
ngx_http_vmess_grpc_send(void *data, u_char *buf, size_t size)
{
    u_char   *p;
    ssize_t   n;

    size = ngx_min(size, NGX_HTTP_VMESS_BODY_MAX);

    p = ngx_vmess_grpc_header(buf, size);

    n = ngx_http_vmess_body_write(data, p, buf - p + size);

    return n > 0 ? (ssize_t) size : n;
}


static void
ngx_http_vmess_grpc_finish(ngx_http_vmess_ctx_t *ctx)
{
    ngx_list_t          *trailers;
    ngx_http_request_t  *r;

    r = ctx->request;
    trailers = &r->headers_out.trailers;

    if (ngx_http_vmess_request_add(trailers, "grpc-status", "0") != NGX_OK
        || ngx_http_vmess_request_add(trailers, "grpc-message", "") != NGX_OK)
    {
        r->connection->error = 1;
        return;
    }

    ngx_http_vmess_body_finish(ctx);
}
