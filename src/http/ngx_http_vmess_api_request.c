
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_request.h"
#include "proto/ngx_vmess_hash.h"


/* "16 hexadecimal digits-a number", in quotes */

#define NGX_HTTP_VMESS_API_ETAG_LEN  (1 + 16 + 1 + NGX_INT_T_LEN + 1)

/* an error: six bytes for each of its text, and what stands around */

#define NGX_HTTP_VMESS_API_ERROR_SIZE  4096

/* ms: of no matter, a turn comes before */

#define NGX_HTTP_VMESS_API_GUARD       60000

/* ms: between two looks at what a step waits for, and in all */

#define NGX_HTTP_VMESS_API_WAIT_DELAY  20
#define NGX_HTTP_VMESS_API_WAIT_TIME   10000


static void ngx_http_vmess_api_format(ngx_http_vmess_api_error_t *err,
    const char *fmt, va_list args);
static void ngx_http_vmess_api_etag(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t n, ngx_str_t *etag, u_char *buf);
static ngx_int_t ngx_http_vmess_api_saved(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_look_again(ngx_http_vmess_api_ctx_t *ctx);
static void ngx_http_vmess_api_event_handler(ngx_event_t *ev);
static void ngx_http_vmess_api_cleanup(void *data);


ngx_int_t
ngx_http_vmess_api_error(ngx_http_vmess_api_error_t *err, ngx_uint_t status,
    const char *code, const char *field, const char *fmt, ...)
{
    va_list  args;

    err->status = status;
    err->code = code;
    err->field = field;

    va_start(args, fmt);
    ngx_http_vmess_api_format(err, fmt, args);
    va_end(args);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_vmess_api_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *fmt, ...)
{
    va_list                     args;
    ngx_http_vmess_api_error_t  err;

    err.status = status;
    err.code = code;
    err.field = NULL;

    va_start(args, fmt);
    ngx_http_vmess_api_format(&err, fmt, args);
    va_end(args);

    return ngx_http_vmess_api_send_error(r, &err);
}


static void
ngx_http_vmess_api_format(ngx_http_vmess_api_error_t *err, const char *fmt,
    va_list args)
{
    err->len = ngx_vslprintf(err->text, err->text + sizeof(err->text), fmt,
                             args)
               - err->text;
}


ngx_int_t
ngx_http_vmess_api_send_error(ngx_http_request_t *r,
    ngx_http_vmess_api_error_t *err)
{
    u_char                *start;
    ngx_int_t              rc;
    ngx_str_t              s;
    ngx_vmess_json_out_t   jo;

    if (r->request_body == NULL) {
        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    start = ngx_http_vmess_api_writer(r, &jo, NGX_HTTP_VMESS_API_ERROR_SIZE);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_open(&jo, "error", '{');
    ngx_vmess_json_out_integer(&jo, "status", err->status);

    s.data = (u_char *) err->code;
    s.len = ngx_strlen(err->code);
    ngx_vmess_json_out_string(&jo, "code", &s);

    if (err->field) {
        s.data = (u_char *) err->field;
        s.len = ngx_strlen(err->field);
        ngx_vmess_json_out_string(&jo, "field", &s);
    }

    s.data = err->text;
    s.len = err->len;
    ngx_vmess_json_out_string(&jo, "text", &s);

    ngx_vmess_json_out_close(&jo, '}');
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(r, err->status, start, &jo);
}


u_char *
ngx_http_vmess_api_writer(ngx_http_request_t *r, ngx_vmess_json_out_t *jo,
    size_t size)
{
    ngx_memzero(jo, sizeof(ngx_vmess_json_out_t));

    jo->pos = ngx_pnalloc(r->pool, size);

    if (jo->pos) {
        jo->last = jo->pos + size;
    }

    return jo->pos;
}


ngx_int_t
ngx_http_vmess_api_send(ngx_http_request_t *r, ngx_uint_t status,
    u_char *start, ngx_vmess_json_out_t *jo)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    ngx_http_vmess_api_prepare(r, status, jo ? jo->pos - start : 0);

    if (jo == NULL) {
        r->header_only = 1;
        return ngx_http_vmess_api_send_header(r);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->start = start;
    b->pos = start;
    b->last = jo->pos;
    b->end = jo->last;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_vmess_api_send_header(r);

    if (rc != NGX_OK || r->header_only) {
        return rc;
    }

    rc = ngx_http_output_filter(r, &out);

    /* what is not sent yet nginx sends on its own */

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


ngx_int_t
ngx_http_vmess_api_send_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = ngx_http_send_header(r);

    /* it is on its way, and a step that is called again would send another */

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


void
ngx_http_vmess_api_prepare(ngx_http_request_t *r, ngx_uint_t status, off_t len)
{
    r->headers_out.status = status;

    /* nginx compares If-Match with the new ETag, after the change was made */

    if (r->method & ~(NGX_HTTP_GET|NGX_HTTP_HEAD)) {
        r->disable_not_modified = 1;
    }

    if (status == NGX_HTTP_NO_CONTENT) {
        return;
    }

    r->headers_out.content_length_n = len;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
}


ngx_int_t
ngx_http_vmess_api_header(ngx_http_request_t *r, char *key, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_api_set_etag(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t n)
{
    ngx_str_t            etag;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    etag.data = ngx_pnalloc(r->pool, NGX_HTTP_VMESS_API_ETAG_LEN);
    h = ngx_list_push(&r->headers_out.headers);

    if (etag.data == NULL || h == NULL) {
        return NGX_ERROR;
    }

    ngx_http_vmess_api_etag(ctx, n, &etag, etag.data);

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "ETag");
    h->value = etag;

    r->headers_out.etag = h;

    return NGX_OK;
}


/* numbers begin anew with a zone, whose secret tells one from another */

static void
ngx_http_vmess_api_etag(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t n,
    ngx_str_t *etag, u_char *buf)
{
    u_char  data[NGX_VMESS_SECRET_LEN + 4], digest[32], *p;

    ngx_memcpy(data, ctx->zone->sh->secret, NGX_VMESS_SECRET_LEN);
    ngx_memcpy(data + NGX_VMESS_SECRET_LEN, "ETag", 4);

    ngx_vmess_hash_sha256(digest, data, sizeof(data));
    ngx_explicit_memzero(data, sizeof(data));

    p = buf;
    *p++ = '"';
    p = ngx_hex_dump(p, digest, 8);
    p = ngx_sprintf(p, "-%ui\"", n);

    etag->data = buf;
    etag->len = p - buf;
}


ngx_int_t
ngx_http_vmess_api_if_match(ngx_http_vmess_api_ctx_t *ctx, ngx_uint_t exists,
    ngx_uint_t n)
{
    u_char      *p, *last, buf[NGX_HTTP_VMESS_API_ETAG_LEN];
    ngx_str_t    etag, *list;

    if (ctx->request->headers_in.if_match == NULL) {
        return NGX_OK;
    }

    list = &ctx->request->headers_in.if_match->value;

    if (!exists) {
        return NGX_DECLINED;
    }

    if (list->len == 1 && list->data[0] == '*') {
        return NGX_OK;
    }

    ngx_http_vmess_api_etag(ctx, n, &etag, buf);

    /* quotes are part of it, and no other one may contain it */

    last = list->data + list->len;

    for (p = list->data; (size_t) (last - p) >= etag.len; p++) {
        if (ngx_memcmp(p, etag.data, etag.len) == 0) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_vmess_api_init(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t  *cln;

    ctx->event.handler = ngx_http_vmess_api_event_handler;
    ctx->event.data = ctx;
    ctx->event.log = ctx->request->connection->log;

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_vmess_api_cleanup;
    cln->data = ctx;

    return NGX_OK;
}


void
ngx_http_vmess_api_run(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ctx->step(ctx);

    if (rc == NGX_AGAIN) {
        if (!ctx->event.posted) {
            ngx_post_event(&ctx->event, &ngx_posted_next_events);
        }

        /* without a timer a worker that is to quit would do so now */

        if (!ctx->event.timer_set) {
            ngx_add_timer(&ctx->event, NGX_HTTP_VMESS_API_GUARD);
        }

        return;
    }

    ngx_http_vmess_api_cleanup(ctx);

    if (rc == NGX_BUSY) {
        ngx_add_timer(&ctx->event, ctx->delay);
        return;
    }

    if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


ngx_int_t
ngx_http_vmess_api_save(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_step_pt answer)
{
    ctx->number = ngx_vmess_state_ask(ctx->zone);
    ctx->since = ngx_current_msec;
    ctx->delay = 0;
    ctx->answer = answer;
    ctx->step = ngx_http_vmess_api_saved;

    return ngx_http_vmess_api_saved(ctx);
}


static ngx_int_t
ngx_http_vmess_api_saved(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_vmess_state_saved(ctx->zone, ctx->number);

    if (rc == NGX_OK) {
        ctx->step = ctx->answer;

        return ctx->step(ctx);
    }

    if (rc == NGX_AGAIN && ngx_http_vmess_api_look_again(ctx) == NGX_OK) {
        return NGX_BUSY;
    }

    return ngx_http_vmess_api_refuse(ctx->request,
                                     NGX_HTTP_SERVICE_UNAVAILABLE, "NotSaved",
                                     "the change is in effect, but is not "
                                     "saved yet, and a restart may undo it: "
                                     "see \"state\" of vmess_users \"%V\" in "
                                     "the error log", &ctx->zone->name);
}


ngx_int_t
ngx_http_vmess_api_wait(ngx_http_vmess_api_ctx_t *ctx)
{
    if (ctx->delay == 0) {
        ctx->since = ngx_current_msec;
    }

    if (ngx_http_vmess_api_look_again(ctx) == NGX_OK) {
        return NGX_BUSY;
    }

    return ngx_http_vmess_api_refuse(ctx->request,
                                     NGX_HTTP_SERVICE_UNAVAILABLE, "Busy",
                                     "a list of users is being applied, try "
                                     "again");
}


/* NGX_OK: in a moment, which is short at first; NGX_DECLINED: it is too late */

static ngx_int_t
ngx_http_vmess_api_look_again(ngx_http_vmess_api_ctx_t *ctx)
{
    if (ngx_current_msec - ctx->since >= NGX_HTTP_VMESS_API_WAIT_TIME) {
        return NGX_DECLINED;
    }

    ctx->delay = ngx_min(2 * ctx->delay + 1, NGX_HTTP_VMESS_API_WAIT_DELAY);

    return NGX_OK;
}


static void
ngx_http_vmess_api_event_handler(ngx_event_t *ev)
{
    ngx_http_vmess_api_ctx_t *ctx = ev->data;

    ngx_connection_t  *c;

    c = ctx->request->connection;

    ngx_http_vmess_api_run(ctx);

    /* elsewhere nginx does it, when the request is not in use any more */

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_vmess_api_cleanup(void *data)
{
    ngx_http_vmess_api_ctx_t *ctx = data;

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }

    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }
}
