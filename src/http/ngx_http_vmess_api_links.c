
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_links.h"
#include "event/ngx_vmess_offer.h"
#include "proto/ngx_vmess_qr.h"
#include "proto/ngx_vmess_share_link.h"


/* an object without its texts */

#define NGX_HTTP_VMESS_API_LINKS_OBJECT  256


/* a text that needs no label: the name of the link stands beside it */

#define NGX_HTTP_VMESS_API_LINKS_LABEL   "QR code"


static ngx_int_t ngx_http_vmess_api_links_form_of_code(ngx_http_request_t *r,
    ngx_uint_t *code);
static ngx_int_t ngx_http_vmess_api_links_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_array_t *shares, u_char *buf, ngx_str_t *codes);
static ngx_str_t *ngx_http_vmess_api_links_codes(ngx_http_request_t *r,
    ngx_array_t *shares, u_char *buf, ngx_uint_t form);
static ngx_int_t ngx_http_vmess_api_links_code(ngx_http_request_t *r,
    ngx_str_t *link, ngx_str_t *code);
static size_t ngx_http_vmess_api_links_size(ngx_array_t *shares, u_char *buf);
static void ngx_http_vmess_api_links_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share, u_char *buf, ngx_str_t *code);
static ngx_int_t ngx_http_vmess_api_links_form(ngx_uint_t form,
    ngx_vmess_share_t *share, u_char *buf, ngx_str_t *link);


/* keys, by ngx_vmess_share_link_e */

static const char  *ngx_http_vmess_api_links_forms[] = {
    "v2rayn",
    "uri",
    "shadowrocket",
    NULL
};


ngx_int_t
ngx_http_vmess_api_links(ngx_http_vmess_api_ctx_t *ctx)
{
    u_char                      *buf;
    ngx_int_t                    rc;
    ngx_str_t                    user, *codes;
    ngx_uint_t                   i, form;
    ngx_array_t                 *shares;
    ngx_vmess_share_t           *share;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_error_t   err;

    if (ngx_http_vmess_api_links_form_of_code(ctx->request, &form) != NGX_OK) {
        return ngx_http_vmess_api_refuse(ctx->request, NGX_HTTP_BAD_REQUEST,
                                         "InvalidArgument",
                                         "\"qr\" must be v2rayn, uri or "
                                         "shadowrocket");
    }

    if (ngx_http_vmess_api_user_find(ctx->zone, &ctx->name, &info) != NGX_OK) {
        (void) ngx_http_vmess_api_user_none(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    user = ctx->name;

    shares = ngx_vmess_offer_shares(ctx->zone, &user, info.user.value.id[0],
                                    ctx->request->pool);

    ngx_explicit_memzero(&info, sizeof(ngx_http_vmess_api_info_t));

    buf = ngx_pnalloc(ctx->request->pool, NGX_VMESS_SHARE_TEXT_MAX);

    if (shares == NULL || buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    share = shares->elts;

    for (i = 0; i < shares->nelts; i++) {
        ngx_vmess_share_trim(&share[i]);
    }

    codes = ngx_http_vmess_api_links_codes(ctx->request, shares, buf, form);

    if (codes) {
        rc = ngx_http_vmess_api_links_send(ctx, shares, buf, codes);

    } else {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < shares->nelts; i++) {
        ngx_explicit_memzero(share[i].id, NGX_VMESS_ID_LEN);
    }

    ngx_explicit_memzero(buf, NGX_VMESS_SHARE_TEXT_MAX);

    return rc;
}


/* by the argument "qr"; that of the end of the table is none */

static ngx_int_t
ngx_http_vmess_api_links_form_of_code(ngx_http_request_t *r, ngx_uint_t *code)
{
    ngx_int_t   rc;
    ngx_str_t   value;
    ngx_uint_t  form;

    rc = ngx_http_arg(r, (u_char *) "qr", 2, &value);

    for (form = 0; ngx_http_vmess_api_links_forms[form]; form++) {

        if (rc == NGX_OK
            && value.len == ngx_strlen(ngx_http_vmess_api_links_forms[form])
            && ngx_strncmp(value.data, ngx_http_vmess_api_links_forms[form],
                           value.len)
               == 0)
        {
            *code = form;
            return NGX_OK;
        }
    }

    *code = form;

    return rc == NGX_OK ? NGX_ERROR : NGX_OK;
}


/*
 * Pictures of codes of all links in that form, where there is one: the others
 * have no data.  NULL: no memory.
 */

static ngx_str_t *
ngx_http_vmess_api_links_codes(ngx_http_request_t *r, ngx_array_t *shares,
    u_char *buf, ngx_uint_t form)
{
    ngx_str_t           link, *codes;
    ngx_uint_t          i;
    ngx_vmess_share_t  *share;

    codes = ngx_pcalloc(r->pool, (shares->nelts + 1) * sizeof(ngx_str_t));

    if (codes == NULL || ngx_http_vmess_api_links_forms[form] == NULL) {
        return codes;
    }

    share = shares->elts;

    for (i = 0; i < shares->nelts; i++) {

        if (ngx_http_vmess_api_links_form(form, &share[i], buf, &link) == NGX_OK
            && ngx_http_vmess_api_links_code(r, &link, &codes[i]) != NGX_OK)
        {
            return NULL;
        }
    }

    return codes;
}


/* a link that is too long for a code has none */

static ngx_int_t
ngx_http_vmess_api_links_code(ngx_http_request_t *r, ngx_str_t *link,
    ngx_str_t *code)
{
    u_char          *p;
    ngx_str_t        label;
    ngx_vmess_qr_t   qr;

    if (ngx_vmess_qr_create(&qr, NGX_VMESS_QR_L, link) != NGX_OK) {
        return NGX_OK;
    }

    ngx_str_set(&label, NGX_HTTP_VMESS_API_LINKS_LABEL);

    p = ngx_pnalloc(r->pool, ngx_vmess_qr_svg_len(&qr, &label));

    if (p) {
        code->data = p;
        code->len = ngx_vmess_qr_svg(p, &qr, &label) - p;
    }

    ngx_explicit_memzero(&qr, sizeof(ngx_vmess_qr_t));

    return p ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_vmess_api_links_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_array_t *shares, u_char *buf, ngx_str_t *codes)
{
    size_t                 size;
    u_char                *start;
    ngx_uint_t             i;
    ngx_vmess_share_t     *share;
    ngx_vmess_json_out_t   jo;

    size = ngx_http_vmess_api_links_size(shares, buf);

    for (i = 0; i < shares->nelts; i++) {
        size += NGX_HTTP_VMESS_API_LINKS_OBJECT + codes[i].len;
    }

    start = ngx_http_vmess_api_writer(ctx->request, &jo, size);
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_open(&jo, "links", '[');

    share = shares->elts;

    for (i = 0; i < shares->nelts; i++) {
        ngx_http_vmess_api_links_write(&jo, &share[i], buf, &codes[i]);
    }

    ngx_vmess_json_out_close(&jo, ']');
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}


/* room for all of them, without codes */

static size_t
ngx_http_vmess_api_links_size(ngx_array_t *shares, u_char *buf)
{
    size_t              size;
    ngx_str_t           link;
    ngx_uint_t          i, form;
    ngx_vmess_share_t  *share;

    share = shares->elts;
    size = NGX_HTTP_VMESS_API_LINKS_OBJECT;

    for (i = 0; i < shares->nelts; i++) {

        size += NGX_HTTP_VMESS_API_LINKS_OBJECT + 6 * share[i].name.len;

        for (form = 0; ngx_http_vmess_api_links_forms[form]; form++) {
            (void) ngx_http_vmess_api_links_form(form, &share[i], buf, &link);
            size += link.len;
        }
    }

    return size;
}


static void
ngx_http_vmess_api_links_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share, u_char *buf, ngx_str_t *code)
{
    ngx_str_t    link;
    ngx_uint_t   form;
    const char  *key;

    ngx_vmess_json_out_open(jo, NULL, '{');

    ngx_vmess_json_out_string(jo, "name", &share->name);
    ngx_vmess_json_out_string(jo, "transport",
                              &ngx_vmess_share_transports[share->transport]);

    for (form = 0; ngx_http_vmess_api_links_forms[form]; form++) {

        key = ngx_http_vmess_api_links_forms[form];

        if (ngx_http_vmess_api_links_form(form, share, buf, &link) == NGX_OK) {
            ngx_vmess_json_out_string(jo, key, &link);

        } else {
            ngx_vmess_json_out_null(jo, key);
        }
    }

    if (code->len) {
        ngx_vmess_json_out_string(jo, "qr", code);
    }

    ngx_vmess_json_out_close(jo, '}');
}


static ngx_int_t
ngx_http_vmess_api_links_form(ngx_uint_t form, ngx_vmess_share_t *share,
    u_char *buf, ngx_str_t *link)
{
    ngx_int_t              rc;
    ngx_vmess_text_out_t   to;

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = buf;
    to.last = buf + NGX_VMESS_SHARE_TEXT_MAX;

    rc = ngx_vmess_share_link_write(&to, form, share);

    link->data = buf;
    link->len = to.pos - buf;

    return rc;
}
