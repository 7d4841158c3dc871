
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_links.h"
#include "event/ngx_vmess_offer.h"
#include "proto/ngx_vmess_share_link.h"


/* an object without its texts */

#define NGX_HTTP_VMESS_API_LINKS_OBJECT  256


static ngx_int_t ngx_http_vmess_api_links_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_array_t *shares, u_char *buf);
static size_t ngx_http_vmess_api_links_size(ngx_array_t *shares, u_char *buf);
static void ngx_http_vmess_api_links_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_share_t *share, u_char *buf);
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
    ngx_str_t                    user;
    ngx_uint_t                   i;
    ngx_array_t                 *shares;
    ngx_vmess_share_t           *share;
    ngx_http_vmess_api_info_t    info;
    ngx_http_vmess_api_error_t   err;

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

    rc = ngx_http_vmess_api_links_send(ctx, shares, buf);

    share = shares->elts;

    for (i = 0; i < shares->nelts; i++) {
        ngx_explicit_memzero(share[i].id, NGX_VMESS_ID_LEN);
    }

    ngx_explicit_memzero(buf, NGX_VMESS_SHARE_TEXT_MAX);

    return rc;
}


static ngx_int_t
ngx_http_vmess_api_links_send(ngx_http_vmess_api_ctx_t *ctx,
    ngx_array_t *shares, u_char *buf)
{
    u_char                *start;
    ngx_uint_t             i;
    ngx_vmess_share_t     *share;
    ngx_vmess_json_out_t   jo;

    start = ngx_http_vmess_api_writer(ctx->request, &jo,
                                      ngx_http_vmess_api_links_size(shares,
                                                                    buf));
    if (start == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_vmess_json_out_open(&jo, NULL, '{');
    ngx_vmess_json_out_open(&jo, "links", '[');

    share = shares->elts;

    for (i = 0; i < shares->nelts; i++) {
        ngx_http_vmess_api_links_write(&jo, &share[i], buf);
    }

    ngx_vmess_json_out_close(&jo, ']');
    ngx_vmess_json_out_close(&jo, '}');

    return ngx_http_vmess_api_send(ctx->request, NGX_HTTP_OK, start, &jo);
}


/* room for all of them; names get ready to be written */

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

        ngx_vmess_share_trim(&share[i]);

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
    ngx_vmess_share_t *share, u_char *buf)
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
