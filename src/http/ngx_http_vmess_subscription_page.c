
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_subscription_page.h"
#include "proto/ngx_vmess_hash.h"
#include "proto/ngx_vmess_qr.h"


/* texts of the page, and what an address or a name may become in one place */

#define NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_TEXT  8192
#define NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_GROW  6

/* places where they stand */

#define NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_USES  24

#define NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_STYLE                                \
    ":root{color-scheme:light dark}"                                          \
    "body{font:16px/1.5 system-ui,sans-serif;margin:0}"                       \
    "main{max-width:34rem;margin:0 auto;padding:1rem;"                        \
    "overflow-wrap:anywhere}"                                                 \
    "h1{font-size:1.5rem}h2{font-size:1.1rem}"                                \
    "progress{width:100%}"                                                    \
    "dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem}"         \
    "dt{opacity:.75}dd{margin:0}"                                             \
    "figure{margin:1rem 0;text-align:center}"                                 \
    "svg{width:min(100%,20rem);height:auto;background:#fff}"                  \
    "input{box-sizing:border-box;width:100%;font:inherit;padding:.5rem}"      \
    "ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.5rem}"     \
    "a{display:block;padding:.6rem 1rem;border:1px solid;border-radius:.5rem}"


/* how a client wants its address */

typedef enum {
    NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RAW = 0,
    NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT,
    NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_BASE64,
    NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RESOURCE
} ngx_http_vmess_subscription_page_form_e;


typedef struct {
    const char                *client;
    const char                *before;     /* the address */
    ngx_uint_t                 form;
    const char                *name;       /* before it, NULL: there is none */
} ngx_http_vmess_subscription_page_link_t;


static void ngx_http_vmess_subscription_page_write(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to,
    ngx_vmess_qr_t *qr);
static void ngx_http_vmess_subscription_page_status(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to);
static void ngx_http_vmess_subscription_page_bytes(ngx_vmess_text_out_t *to,
    const char *key, off_t n);
static void ngx_http_vmess_subscription_page_time(ngx_vmess_text_out_t *to,
    const char *key, time_t t);
static void ngx_http_vmess_subscription_page_links(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to);
static void ngx_http_vmess_subscription_page_address(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to,
    ngx_uint_t form);
static void ngx_http_vmess_subscription_page_servers(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to);
static void ngx_http_vmess_subscription_page_html(ngx_vmess_text_out_t *to,
    ngx_str_t *s);


static ngx_http_vmess_subscription_page_link_t
    ngx_http_vmess_subscription_page_clients[] =
{
    { "Clash, mihomo", "clash://install-config?url=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT, "&amp;name=" },

    { "sing-box", "sing-box://import-remote-profile?url=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT, "#" },

    { "Hiddify", "hiddify://import/",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RAW, "#" },

    { "v2rayNG", "v2rayng://install-sub?url=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT, "#" },

    { "Shadowrocket", "shadowrocket://add/sub://",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_BASE64, "?remark=" },

    { "Stash", "stash://install-config?url=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT, "&amp;name=" },

    { "Loon", "loon://import?sub=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT, NULL },

    { "Quantumult X", "quantumult-x:///add-resource?remote-resource=",
      NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RESOURCE, NULL },

    { NULL, NULL, 0, NULL }
};


/* by ngx_vmess_usage_e */

static const char  *ngx_http_vmess_subscription_page_statuses[] = {
    "active",
    "disabled",
    "the traffic is used up",
    "expired",
    "active, the time begins with the first connection"
};


/* the style is allowed by its hash, and nothing else is */

ngx_int_t
ngx_http_vmess_subscription_page_headers(ngx_http_request_t *r)
{
    u_char     *p, digest[32];
    ngx_str_t   value, hash, text;

    static ngx_str_t  style =
                          ngx_string(NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_STYLE);
    static ngx_str_t  before = ngx_string("default-src 'none'; "
                                          "style-src 'sha256-");
    static ngx_str_t  behind = ngx_string("'; base-uri 'none'; "
                                          "form-action 'none'; "
                                          "frame-ancestors 'none'");

    ngx_vmess_hash_sha256(digest, style.data, style.len);

    hash.data = digest;
    hash.len = sizeof(digest);

    p = ngx_pnalloc(r->pool, before.len + behind.len
                             + ngx_base64_encoded_length(sizeof(digest)));
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    text.data = ngx_cpymem(p, before.data, before.len);
    ngx_encode_base64(&text, &hash);

    p = ngx_cpymem(text.data + text.len, behind.data, behind.len);
    value.len = p - value.data;

    return ngx_http_vmess_subscription_header(r, "Content-Security-Policy",
                                              &value);
}


ngx_chain_t *
ngx_http_vmess_subscription_page(ngx_http_vmess_subscription_ctx_t *ctx)
{
    size_t                 size;
    ngx_buf_t             *b;
    ngx_str_t              label;
    ngx_uint_t             i;
    ngx_chain_t           *cl;
    ngx_vmess_qr_t        *qr;
    ngx_vmess_share_t     *share;
    ngx_vmess_text_out_t   to;

    size = NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_TEXT
           + NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_USES
             * NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_GROW
             * (ctx->url.len + ctx->title.len);

    share = ctx->shares->elts;

    for (i = 0; i < ctx->shares->nelts; i++) {
        ngx_vmess_share_trim(&share[i]);

        size += sizeof("<li></li>") - 1
                + NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_GROW * share[i].name.len;
    }

    qr = ngx_palloc(ctx->request->pool, sizeof(ngx_vmess_qr_t));
    if (qr == NULL) {
        return NULL;
    }

    /* a longer address than one that fits is shown as text only */

    if (ngx_vmess_qr_create(qr, NGX_VMESS_QR_L, &ctx->url) == NGX_OK) {
        ngx_str_set(&label, "");
        size += ngx_vmess_qr_svg_len(qr, &label) + 64;

    } else {
        qr = NULL;
    }

    b = ngx_create_temp_buf(ctx->request->pool, size);
    cl = ngx_alloc_chain_link(ctx->request->pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = b->last;
    to.last = b->end;

    ngx_http_vmess_subscription_page_write(ctx, &to, qr);

    b->last = to.pos;
    b->last_buf = 1;
    b->last_in_chain = 1;

    cl->buf = b;
    cl->next = NULL;

    return cl;
}


static void
ngx_http_vmess_subscription_page_write(ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_vmess_text_out_t *to, ngx_vmess_qr_t *qr)
{
    static ngx_str_t  label = ngx_string("QR code of the address");

    ngx_vmess_text_out_word(to, "<!DOCTYPE html>\n"
        "<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" "
        "content=\"width=device-width, initial-scale=1\">"
        "<meta name=\"robots\" content=\"noindex\"><title>");
    ngx_http_vmess_subscription_page_html(to, &ctx->title);
    ngx_vmess_text_out_word(to, "</title><style>"
        NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_STYLE
        "</style></head>\n<body><main><h1>");
    ngx_http_vmess_subscription_page_html(to, &ctx->title);
    ngx_vmess_text_out_word(to, "</h1>\n");

    ngx_http_vmess_subscription_page_status(ctx, to);

    ngx_vmess_text_out_word(to, "<h2><label for=\"address\">Address</label>"
        "</h2>\n<p>It is a secret: who has it can use this account.</p>\n"
        "<input id=\"address\" readonly value=\"");
    ngx_http_vmess_subscription_page_html(to, &ctx->url);
    ngx_vmess_text_out_word(to, "\">\n");

    if (qr) {
        ngx_vmess_text_out_word(to, "<figure>");
        to->pos = ngx_vmess_qr_svg(to->pos, qr, &label);
        ngx_vmess_text_out_word(to, "</figure>\n");
    }

    ngx_http_vmess_subscription_page_links(ctx, to);
    ngx_http_vmess_subscription_page_servers(ctx, to);

    ngx_vmess_text_out_word(to, "</main></body></html>\n");
}


static void
ngx_http_vmess_subscription_page_status(ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_vmess_text_out_t *to)
{
    off_t                      used;
    ngx_vmess_usage_period_t   period;

    used = ctx->up + ctx->down;

    if (ctx->quota) {
        ngx_vmess_text_out_word(to, "<progress aria-label=\"used\" value=\"");
        ngx_vmess_text_out_number(to, ngx_min(used, ctx->quota));
        ngx_vmess_text_out_word(to, "\" max=\"");
        ngx_vmess_text_out_number(to, ctx->quota);
        ngx_vmess_text_out_word(to, "\"></progress>\n");
    }

    ngx_vmess_text_out_word(to, "<dl><dt>Status</dt><dd>");
    ngx_vmess_text_out_word(to,
                      ngx_http_vmess_subscription_page_statuses[ctx->status]);
    ngx_vmess_text_out_word(to, "</dd>");

    ngx_http_vmess_subscription_page_bytes(to, "Used", used);

    if (ctx->quota) {
        ngx_http_vmess_subscription_page_bytes(to, "Of", ctx->quota);
    }

    ngx_http_vmess_subscription_page_bytes(to, "Sent", ctx->up);
    ngx_http_vmess_subscription_page_bytes(to, "Received", ctx->down);

    ngx_vmess_usage_period(&ctx->info.usage, &period);

    if (ctx->quota && period.next > ngx_time()) {
        ngx_http_vmess_subscription_page_time(to, "Begins anew", period.next);
    }

    ngx_http_vmess_subscription_page_time(to, "Expires", ctx->expires);

    ngx_vmess_text_out_word(to, "</dl>\n");
}


static void
ngx_http_vmess_subscription_page_bytes(ngx_vmess_text_out_t *to,
    const char *key, off_t n)
{
    u_char      buf[NGX_OFF_T_LEN + sizeof(".0 TiB")];
    ngx_uint_t  unit, tenths;

    static const char  *units[] = { "B", "KiB", "MiB", "GiB", "TiB" };

    tenths = 0;

    for (unit = 0; n >= 1024 && unit < 4; unit++) {
        tenths = (n % 1024) * 10 / 1024;
        n /= 1024;
    }

    if (unit) {
        *ngx_sprintf(buf, "%O.%ui %s", n, tenths, units[unit]) = '\0';

    } else {
        *ngx_sprintf(buf, "%O B", n) = '\0';
    }

    ngx_vmess_text_out_word(to, "<dt>");
    ngx_vmess_text_out_word(to, key);
    ngx_vmess_text_out_word(to, "</dt><dd>");
    ngx_vmess_text_out_word(to, (const char *) buf);
    ngx_vmess_text_out_word(to, "</dd>");
}


static void
ngx_http_vmess_subscription_page_time(ngx_vmess_text_out_t *to,
    const char *key, time_t t)
{
    u_char    buf[NGX_TIME_T_LEN + sizeof("-01-31 18:00 UTC")];
    ngx_tm_t  tm;

    ngx_vmess_text_out_word(to, "<dt>");
    ngx_vmess_text_out_word(to, key);
    ngx_vmess_text_out_word(to, "</dt><dd>");

    if (t == 0) {
        ngx_vmess_text_out_word(to, "never</dd>");
        return;
    }

    ngx_gmtime(t, &tm);

    *ngx_sprintf(buf, "%4d-%02d-%02d %02d:%02d UTC", tm.ngx_tm_year,
                 tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour, tm.ngx_tm_min)
        = '\0';

    ngx_vmess_text_out_word(to, (const char *) buf);
    ngx_vmess_text_out_word(to, "</dd>");
}


static void
ngx_http_vmess_subscription_page_links(ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_vmess_text_out_t *to)
{
    ngx_http_vmess_subscription_page_link_t  *link;

    ngx_vmess_text_out_word(to, "<h2>Add it to</h2>\n<ul>");

    for (link = ngx_http_vmess_subscription_page_clients; link->client; link++)
    {
        ngx_vmess_text_out_word(to, "<li><a href=\"");
        ngx_vmess_text_out_word(to, link->before);

        ngx_http_vmess_subscription_page_address(ctx, to, link->form);

        if (link->name) {
            ngx_vmess_text_out_word(to, link->name);
            ngx_vmess_text_out_percent(to, &ctx->title);
        }

        ngx_vmess_text_out_word(to, "\">");
        ngx_vmess_text_out_word(to, link->client);
        ngx_vmess_text_out_word(to, "</a></li>\n");
    }

    ngx_vmess_text_out_word(to, "</ul>\n");
}


static void
ngx_http_vmess_subscription_page_address(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to,
    ngx_uint_t form)
{
    ngx_str_t  s;

    switch (form) {

    case NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RAW:
        ngx_http_vmess_subscription_page_html(to, &ctx->url);
        break;

    case NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_PERCENT:
        ngx_vmess_text_out_percent(to, &ctx->url);
        break;

    case NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_BASE64:

        if ((size_t) (to->last - to->pos)
            < ngx_base64_encoded_length(ctx->url.len))
        {
            to->full = 1;
            break;
        }

        s.data = to->pos;
        ngx_encode_base64url(&s, &ctx->url);
        to->pos += s.len;

        break;

    default: /* NGX_HTTP_VMESS_SUBSCRIPTION_PAGE_RESOURCE */

        /* {"server_remote":["..."]}: the address has no quotes */

        ngx_vmess_text_out_word(to, "%7B%22server_remote%22%3A%5B%22");
        ngx_vmess_text_out_percent(to, &ctx->url);
        ngx_vmess_text_out_word(to, "%22%5D%7D");
    }
}


static void
ngx_http_vmess_subscription_page_servers(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_vmess_text_out_t *to)
{
    ngx_uint_t          i;
    ngx_vmess_share_t  *share;

    ngx_vmess_text_out_word(to, "<h2>Servers</h2>\n<ul>");

    share = ctx->shares->elts;

    for (i = 0; i < ctx->shares->nelts; i++) {
        ngx_vmess_text_out_word(to, "<li>");
        ngx_http_vmess_subscription_page_html(to, &share[i].name);
        ngx_vmess_text_out_word(to, "</li>");
    }

    ngx_vmess_text_out_word(to, "</ul>\n");
}


static void
ngx_http_vmess_subscription_page_html(ngx_vmess_text_out_t *to, ngx_str_t *s)
{
    size_t  len;

    len = s->len + ngx_escape_html(NULL, s->data, s->len);

    if ((size_t) (to->last - to->pos) < len) {
        to->full = 1;
        return;
    }

    to->pos = (u_char *) ngx_escape_html(to->pos, s->data, s->len);
}
