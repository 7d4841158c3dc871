
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_padding.h"
#include "ngx_http_vmess_upload.h"
#include "proto/ngx_vmess_xhttp.h"


static void ngx_http_vmess_xhttp_check(ngx_conf_t *cf,
    ngx_http_vmess_pass_t *pass);
static ngx_int_t ngx_http_vmess_xhttp_handler(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_xhttp_parse(ngx_http_request_t *r,
    ngx_str_t *name, int64_t *seq);
static ngx_int_t ngx_http_vmess_xhttp_download(ngx_http_vmess_ctx_t *ctx,
    u_char *sid);
static ngx_int_t ngx_http_vmess_xhttp_answer(ngx_http_vmess_ctx_t *ctx);

static ssize_t ngx_http_vmess_xhttp_recv(void *data, u_char *buf, size_t size);
static ngx_int_t ngx_http_vmess_xhttp_verdict(void *data,
    ngx_uint_t authentic);
static void ngx_http_vmess_xhttp_close(void *data);
static void ngx_http_vmess_xhttp_cleanup(ngx_http_vmess_ctx_t *ctx);

static void ngx_http_vmess_xhttp_download_read_handler(ngx_http_request_t *r);


/* a request whose body is the upload, too: "stream-one" */

static const ngx_vmess_carrier_t  ngx_http_vmess_xhttp_one_carrier = {
    ngx_string("xhttp"),
    ngx_http_vmess_body_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_request_verdict,
    ngx_http_vmess_request_close,
    1
};


static const ngx_vmess_carrier_t  ngx_http_vmess_xhttp_carrier = {
    ngx_string("xhttp"),
    ngx_http_vmess_xhttp_recv,
    ngx_http_vmess_body_send,
    ngx_http_vmess_xhttp_verdict,
    ngx_http_vmess_xhttp_close,
    1
};


const ngx_http_vmess_transport_t  ngx_http_vmess_xhttp_transport = {
    NGX_HTTP_VMESS_XHTTP,
    ngx_http_vmess_xhttp_check,
    ngx_http_vmess_padding_test,
    ngx_http_vmess_xhttp_handler,
    &ngx_http_vmess_xhttp_one_carrier,
    ngx_http_vmess_body_read_handler,
    ngx_http_vmess_xhttp_answer,
    ngx_http_vmess_body_ready,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_body_finish,
    ngx_http_vmess_tap_close
};


static const ngx_http_vmess_transport_t
    ngx_http_vmess_xhttp_download_transport =
{
    NGX_HTTP_VMESS_XHTTP,
    NULL,                                  /* check */
    NULL,                                  /* candidate */
    NULL,                                  /* handler */
    &ngx_http_vmess_xhttp_carrier,
    ngx_http_vmess_xhttp_download_read_handler,
    ngx_http_vmess_xhttp_answer,
    ngx_http_vmess_body_flush,
    ngx_http_vmess_body_decline,
    ngx_http_vmess_body_drain,
    ngx_http_vmess_body_finish,
    ngx_http_vmess_xhttp_cleanup
};


static void
ngx_http_vmess_xhttp_check(ngx_conf_t *cf, ngx_http_vmess_pass_t *pass)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = pass->vlcf->location;

    if (clcf->exact_match
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"xhttp\" in \"vmess_pass\" has no effect in the "
                      "location \"%V\", it needs one that is a prefix "
                      "in %s:%ui", &clcf->name, pass->file_name, pass->line);
    }
}


/* no client waits for a response header before it sends */

static ngx_int_t
ngx_http_vmess_xhttp_handler(ngx_http_request_t *r, ngx_http_vmess_ctx_t *ctx)
{
    u_char                      sid[NGX_VMESS_WORKER_ID_LEN];
    int64_t                     seq;
    ngx_str_t                   name, names[2];
    ngx_http_vmess_loc_conf_t  *vlcf;

    if (ngx_http_vmess_xhttp_parse(r, &name, &seq) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (name.len == 0 && !r->headers_in.chunked) {
        return NGX_DECLINED;
    }

    if (name.len && r->method == NGX_HTTP_GET
        && seq != NGX_VMESS_XHTTP_NO_SEQ)
    {
        return NGX_DECLINED;
    }

    if (name.len == 0) {
        return ngx_http_vmess_body_take(ctx, &ngx_http_vmess_xhttp_transport,
                                        NULL);
    }

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    names[0] = (*vlcf->listen)->name;
    names[1] = name;

    ngx_vmess_worker_id(sid, NGX_VMESS_WORKER_XHTTP, names, 2);

    return r->method == NGX_HTTP_GET
           ? ngx_http_vmess_xhttp_download(ctx, sid)
           : ngx_http_vmess_upload_take(ctx, sid, seq);
}


static ngx_int_t
ngx_http_vmess_xhttp_parse(ngx_http_request_t *r, ngx_str_t *name,
    int64_t *seq)
{
    ngx_str_t                   rest;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_vmess_loc_conf_t  *vlcf;

    if (r->http_version < NGX_HTTP_VERSION_11
        || (r->method & (NGX_HTTP_HEAD|NGX_HTTP_OPTIONS|NGX_HTTP_TRACE
                         |NGX_HTTP_CONNECT))
        || !ngx_http_vmess_padding_test(r))
    {
        return NGX_DECLINED;
    }

    /* the base path is the name of the location and a slash */

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);
    clcf = vlcf->location;

    if (clcf->named || clcf->name.len == 0
#if (NGX_PCRE)
        || clcf->regex
#endif
        || r->uri.len < clcf->name.len)
    {
        return NGX_DECLINED;
    }

    rest.data = r->uri.data + clcf->name.len;
    rest.len = r->uri.len - clcf->name.len;

    if (rest.len && rest.data[-1] != '/') {

        if (rest.data[0] != '/') {
            return NGX_DECLINED;
        }

        rest.data++;
        rest.len--;
    }

    return ngx_vmess_xhttp_path(&rest, name, seq);
}


static ngx_int_t
ngx_http_vmess_xhttp_download(ngx_http_vmess_ctx_t *ctx, u_char *sid)
{
    ngx_int_t                   rc;
    ngx_http_vmess_session_t   *s;
    ngx_http_vmess_download_t  *d;

    d = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_vmess_download_t));
    if (d == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    s = ngx_http_vmess_session_get(sid);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_vmess_session_open(s, ctx) != NGX_OK) {
        return NGX_DECLINED;
    }

    d->session = s;

    /* the session asks the download for it */

    ctx->data = d;

    rc = ngx_http_vmess_body_take(ctx,
                                  &ngx_http_vmess_xhttp_download_transport, d);

    if (ctx->vconn == NULL && d->session) {
        ngx_http_vmess_session_close(d->session);
    }

    return rc;
}


static ngx_int_t
ngx_http_vmess_xhttp_answer(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_http_vmess_padding_headers(r, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    return ngx_http_vmess_body_answer(ctx);
}


static ssize_t
ngx_http_vmess_xhttp_recv(void *data, u_char *buf, size_t size)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_download_t  *d;

    d = ctx->data;

    return ngx_http_vmess_session_read(d->session, buf, size);
}


static ngx_int_t
ngx_http_vmess_xhttp_verdict(void *data, ngx_uint_t authentic)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_download_t  *d;

    d = ctx->data;

    if (authentic) {
        ngx_http_vmess_session_accept(d->session);
    }

    return ngx_http_vmess_request_verdict(data, authentic);
}


static void
ngx_http_vmess_xhttp_close(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ngx_http_vmess_download_t  *d;

    d = ctx->data;

    ngx_http_vmess_session_close(d->session);

    ngx_http_vmess_request_close(data);
}


static void
ngx_http_vmess_xhttp_cleanup(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_vmess_download_t  *d;

    d = ctx->data;

    ngx_http_vmess_tap_close(ctx);

    if (d->session) {
        ngx_http_vmess_session_close(d->session);
    }
}


/* what the client sends comes by other requests */

static void
ngx_http_vmess_xhttp_download_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_vmess_request_lookup(r);

    if (ctx && r->connection->error) {
        ngx_http_vmess_request_client_gone(ctx);
        return;
    }

    ngx_http_vmess_body_read_handler(r);
}
