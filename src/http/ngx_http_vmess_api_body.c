
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_body.h"


#define NGX_HTTP_VMESS_API_BODY_SLICE   16384
#define NGX_HTTP_VMESS_API_BODY_STRING  256


typedef struct {
    ngx_vmess_json_t             js;
    ngx_http_vmess_api_body_pt   event;
    ngx_http_vmess_api_step_pt   next;
    void                        *data;     /* of the next step */

    ngx_chain_t                 *in;       /* what is left of the body */
    off_t                        taken;    /* of its first buffer */
    ngx_buf_t                    b;        /* the slice at hand */

    u_char                       string[NGX_HTTP_VMESS_API_BODY_STRING];
    u_char                       slice[NGX_HTTP_VMESS_API_BODY_SLICE];
} ngx_http_vmess_api_body_t;


static ngx_int_t ngx_http_vmess_api_body_is_json(ngx_http_request_t *r);
static void ngx_http_vmess_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_api_body_step(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_body_slice(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_body_t *body);
static void ngx_http_vmess_api_body_wipe(void *data);


ngx_int_t
ngx_http_vmess_api_body_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_body_pt event, ngx_http_vmess_api_step_pt next)
{
    ngx_int_t                   rc;
    ngx_http_request_t         *r;
    ngx_pool_cleanup_t         *cln;
    ngx_http_vmess_api_body_t  *body;

    r = ctx->request;

    if (ngx_http_vmess_api_body_is_json(r) != NGX_OK) {
        return ngx_http_vmess_api_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                         "UnsupportedMediaType",
                                         "the body must be JSON, and "
                                         "Content-Type \"application/json\"");
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_vmess_api_body_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_vmess_api_body_wipe;

    body = cln->data;
    ngx_memzero(body, sizeof(ngx_http_vmess_api_body_t));

    ngx_vmess_json_init(&body->js, body->string, sizeof(body->string));

    body->event = event;
    body->next = next;
    body->data = ctx->data;

    ctx->data = body;
    ctx->step = ngx_http_vmess_api_body_step;

    rc = ngx_http_read_client_request_body(r, ngx_http_vmess_api_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


void *
ngx_http_vmess_api_body_data(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_vmess_api_body_t *body = ctx->data;

    return body->data;
}


static ngx_int_t
ngx_http_vmess_api_body_is_json(ngx_http_request_t *r)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_str_t        *value;
    static ngx_str_t  types[] = {
        ngx_string("application/json"),
        ngx_string("application/merge-patch+json")
    };

    if (r->headers_in.content_type == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.content_type->value;

    for (i = 0; i < (r->method == NGX_HTTP_PATCH ? 2 : 1); i++) {

        len = types[i].len;

        if (value->len >= len
            && ngx_strncasecmp(value->data, types[i].data, len) == 0
            && (value->len == len || value->data[len] == ';'
                || value->data[len] == ' '))
        {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static void
ngx_http_vmess_api_body_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_api_ctx_t   *ctx;
    ngx_http_vmess_api_body_t  *body;

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_api_module);
    body = ctx->data;

    /* nobody has read it for a subrequest, or it was discarded before */

    body->in = r->request_body ? r->request_body->bufs : NULL;

    ngx_http_vmess_api_run(ctx);
}


static ngx_int_t
ngx_http_vmess_api_body_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_uint_t                   first;
    ngx_http_vmess_api_body_t   *body;
    ngx_http_vmess_api_error_t   err;

    body = ctx->data;

    for (first = 1; /* void */ ; first = 0) {

        if (body->b.pos == body->b.last && body->in) {

            /* others have their turn between two slices */

            if (!first) {
                return NGX_AGAIN;
            }

            if (ngx_http_vmess_api_body_slice(ctx, body) != NGX_OK) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
        }

        while ((rc = ngx_vmess_json_read(&body->js, &body->b,
                                         body->in == NULL))
               == NGX_OK)
        {
            rc = body->event(ctx, &body->js, &err);

            if (rc != NGX_OK) {
                return ngx_http_vmess_api_send_error(ctx->request, &err);
            }
        }

        if (rc == NGX_DONE) {
            ctx->data = body->data;
            ctx->step = body->next;

            return ctx->step(ctx);
        }

        if (rc == NGX_ERROR) {
            return ngx_http_vmess_api_refuse(ctx->request,
                                             NGX_HTTP_BAD_REQUEST,
                                             "InvalidJSON",
                                             "the body is not JSON: %s at "
                                             "byte %O", body->js.err,
                                             body->js.offset);
        }
    }
}


/*
 * The next bytes of the body into body->b; body->in is NULL behind the last.
 * The body itself stays as it is: it may be that of other requests, too.
 */

static ngx_int_t
ngx_http_vmess_api_body_slice(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_body_t *body)
{
    off_t       size;
    ssize_t     n;
    ngx_buf_t  *b;

    b = body->in->buf;

    size = ngx_buf_size(b) - body->taken;
    size = ngx_min(size, NGX_HTTP_VMESS_API_BODY_SLICE);

    if (!b->in_file) {
        body->b.pos = b->pos + body->taken;
        body->b.last = body->b.pos + size;

    } else {
        n = ngx_read_file(b->file, body->slice, (size_t) size,
                          b->file_pos + body->taken);

        if (n != (ssize_t) size) {
            return NGX_ERROR;
        }

        body->b.pos = body->slice;
        body->b.last = body->slice + n;
    }

    body->taken += size;

    if (body->taken == ngx_buf_size(b)) {
        body->in = body->in->next;
        body->taken = 0;
    }

    return NGX_OK;
}


/* there were ids in it */

static void
ngx_http_vmess_api_body_wipe(void *data)
{
    ngx_explicit_memzero(data, sizeof(ngx_http_vmess_api_body_t));
}
