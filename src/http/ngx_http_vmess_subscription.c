
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_subscription.h"
#include "event/ngx_vmess_offer.h"
#include "event/ngx_vmess_table_find.h"


static void ngx_http_vmess_subscription_usage(
    ngx_http_vmess_subscription_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_subscription_url(
    ngx_http_vmess_subscription_ctx_t *ctx, ngx_str_t *prefix);
static ngx_int_t ngx_http_vmess_subscription_userinfo(
    ngx_http_vmess_subscription_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_subscription_title(
    ngx_http_vmess_subscription_ctx_t *ctx);
static ngx_uint_t ngx_http_vmess_subscription_is_ascii(ngx_str_t *s);
static ngx_int_t ngx_http_vmess_subscription_disposition(
    ngx_http_vmess_subscription_ctx_t *ctx);


ngx_int_t
ngx_http_vmess_subscription_load(ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_http_vmess_subscription_loc_conf_t *slcf)
{
    ngx_int_t           rc;
    ngx_vmess_user_t   *user;
    ngx_vmess_table_t  *t;
    ngx_vmess_value_t  *value;

    rc = NGX_DECLINED;

    t = ngx_vmess_users_lock(ctx->zone);

    user = ngx_vmess_table_find_token(t, &ctx->token);

    if (user) {
        rc = ngx_vmess_table_get(t, ngx_vmess_table_number(t, user),
                                 &ctx->info);
    }

    ngx_vmess_users_unlock(ctx->zone);

    if (rc != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_vmess_subscription_usage(ctx);

    /* who has used up or expired is told so, and may come again */

    if (ctx->status == NGX_VMESS_USAGE_DISABLED) {
        return NGX_DECLINED;
    }

    value = &ctx->info.value;

    ctx->title = slcf->title;

    if (ctx->title.len == 0) {
        ctx->title.len = value->name.len;
        ctx->title.data = ngx_pstrdup(ctx->request->pool, &value->name);

        if (ctx->title.data == NULL) {
            return NGX_ERROR;
        }
    }

    ctx->interval = slcf->interval;

    if (ngx_http_vmess_subscription_url(ctx, &slcf->url) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->shares = ngx_vmess_offer_shares(ctx->zone, &value->name,
                                         value->id[NGX_VMESS_USER_OWN],
                                         ctx->request->pool);

    return ctx->shares ? NGX_OK : NGX_ERROR;
}


/* clients add both directions, so they have to be what counts */

static void
ngx_http_vmess_subscription_usage(ngx_http_vmess_subscription_ctx_t *ctx)
{
    off_t                      used;
    time_t                     now;
    ngx_vmess_usage_t         *usage;
    ngx_vmess_limits_t        *limits;
    ngx_vmess_usage_period_t   period;

    now = ngx_time();
    usage = &ctx->info.usage;
    limits = &ctx->info.value.limits;

    ngx_vmess_usage_period(usage, &period);

    used = ngx_vmess_usage_used(usage, limits, now);

    ctx->up = ngx_min((off_t) (usage->up - period.up), used);
    ctx->down = used - ctx->up;
    ctx->quota = limits->quota;
    ctx->expires = ngx_vmess_usage_expires(usage, limits);
    ctx->status = ngx_vmess_usage_status(usage, limits, now);
}


static ngx_int_t
ngx_http_vmess_subscription_url(ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_str_t *prefix)
{
    u_char              *p;
    size_t               len;
    ngx_str_t            host, path;
    const char          *scheme;
    ngx_http_request_t  *r;

    r = ctx->request;
    path = ctx->prefix;
    scheme = "http://";

    host = r->headers_in.host ? r->headers_in.host->value
                              : r->headers_in.server;

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        scheme = "https://";
    }

#endif

    len = sizeof("https://") - 1 + prefix->len + ctx->token.len
          + 3 * (host.len + path.len);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->url.data = p;

    if (prefix->len) {
        p = ngx_cpymem(p, prefix->data, prefix->len);

    } else {
        p = ngx_cpymem(p, scheme, ngx_strlen(scheme));
        p = (u_char *) ngx_escape_uri(p, host.data, host.len, NGX_ESCAPE_URI);
        p = (u_char *) ngx_escape_uri(p, path.data, path.len, NGX_ESCAPE_URI);
    }

    p = ngx_cpymem(p, ctx->token.data, ctx->token.len);

    ctx->url.len = p - ctx->url.data;

    return NGX_OK;
}


void
ngx_http_vmess_subscription_wipe(ngx_http_vmess_subscription_ctx_t *ctx)
{
    ngx_uint_t          i;
    ngx_vmess_share_t  *share;

    ngx_explicit_memzero(&ctx->info, sizeof(ngx_vmess_user_info_t));

    if (ctx->shares) {
        share = ctx->shares->elts;

        for (i = 0; i < ctx->shares->nelts; i++) {
            ngx_explicit_memzero(share[i].id, NGX_VMESS_ID_LEN);
        }
    }
}


ngx_int_t
ngx_http_vmess_subscription_header(ngx_http_request_t *r, char *key,
    ngx_str_t *value)
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
ngx_http_vmess_subscription_headers(ngx_http_vmess_subscription_ctx_t *ctx)
{
    u_char              *p;
    ngx_str_t            hours;
    ngx_http_request_t  *r;

    static ngx_str_t     no_store = ngx_string("no-store");
    static ngx_str_t     nosniff = ngx_string("nosniff");
    static ngx_str_t     no_referrer = ngx_string("no-referrer");

    r = ctx->request;

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    hours.data = p;
    hours.len = ngx_sprintf(p, "%T", ctx->interval / 3600) - p;

    if (ngx_http_vmess_subscription_header(r, "Cache-Control", &no_store)
        != NGX_OK
        || ngx_http_vmess_subscription_header(r, "X-Content-Type-Options",
                                              &nosniff)
           != NGX_OK
        || ngx_http_vmess_subscription_header(r, "Referrer-Policy",
                                              &no_referrer)
           != NGX_OK
        || ngx_http_vmess_subscription_userinfo(ctx) != NGX_OK
        || ngx_http_vmess_subscription_header(r, "Profile-Update-Interval",
                                              &hours)
           != NGX_OK
        || ngx_http_vmess_subscription_title(ctx) != NGX_OK
        || ngx_http_vmess_subscription_header(r, "Profile-Web-Page-Url",
                                              &ctx->url)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->format == NGX_VMESS_CHOICE_PAGE) {
        return NGX_OK;
    }

    return ngx_http_vmess_subscription_disposition(ctx);
}


/* some clients ignore it if a key is missing */

static ngx_int_t
ngx_http_vmess_subscription_userinfo(ngx_http_vmess_subscription_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t   value;

    p = ngx_pnalloc(ctx->request->pool,
                    sizeof("upload=; download=; total=; expire=") - 1
                    + 3 * NGX_OFF_T_LEN + NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "upload=%O; download=%O; total=%O; expire=%T",
                            ctx->up, ctx->down, ctx->quota, ctx->expires)
                - p;

    return ngx_http_vmess_subscription_header(ctx->request,
                                              "Subscription-Userinfo", &value);
}


static ngx_int_t
ngx_http_vmess_subscription_title(ngx_http_vmess_subscription_ctx_t *ctx)
{
    ngx_str_t  value, text;

    if (ngx_http_vmess_subscription_is_ascii(&ctx->title)) {
        return ngx_http_vmess_subscription_header(ctx->request, "Profile-Title",
                                                  &ctx->title);
    }

    value.data = ngx_pnalloc(ctx->request->pool,
                             sizeof("base64:") - 1
                             + ngx_base64_encoded_length(ctx->title.len));
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    text.data = ngx_cpymem(value.data, "base64:", sizeof("base64:") - 1);
    ngx_encode_base64(&text, &ctx->title);

    value.len = text.data + text.len - value.data;

    return ngx_http_vmess_subscription_header(ctx->request, "Profile-Title",
                                              &value);
}


static ngx_uint_t
ngx_http_vmess_subscription_is_ascii(ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] & 0x80) {
            return 0;
        }
    }

    return 1;
}


/*
 * RFC 6266: some clients read the quoted form only, in which what is not ASCII
 * has no place; others prefer that of RFC 5987.
 */

static ngx_int_t
ngx_http_vmess_subscription_disposition(ngx_http_vmess_subscription_ctx_t *ctx)
{
    u_char                *p, ch;
    size_t                 len, i;
    ngx_str_t              value;
    ngx_vmess_text_out_t   to;

    len = sizeof("attachment; filename=\"\"; filename*=UTF-8''") - 1
          + 10 * ctx->title.len;

    p = ngx_pnalloc(ctx->request->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    p = ngx_cpymem(p, "attachment; filename=\"",
                   sizeof("attachment; filename=\"") - 1);

    for (i = 0; i < ctx->title.len; i++) {
        ch = ctx->title.data[i];

        /* one for each character */

        if ((ch & 0xc0) == 0x80) {
            continue;
        }

        *p++ = (ch < 0x80 && ch != '"' && ch != '\\' && ch != '/') ? ch : '_';
    }

    p = ngx_cpymem(p, "\"; filename*=UTF-8''",
                   sizeof("\"; filename*=UTF-8''") - 1);

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = p;
    to.last = value.data + len;

    ngx_vmess_text_out_percent(&to, &ctx->title);

    value.len = to.pos - value.data;

    return ngx_http_vmess_subscription_header(ctx->request,
                                              "Content-Disposition", &value);
}


ngx_chain_t *
ngx_http_vmess_subscription_profile(ngx_http_vmess_subscription_ctx_t *ctx)
{
    ngx_buf_t            *b;
    ngx_int_t             rc;
    ngx_chain_t          *out, *cl, **ll;
    ngx_vmess_profile_t   pr;

    ngx_vmess_profile_init(&pr, ctx->format, ctx->shares->elts,
                           ctx->shares->nelts);

    out = NULL;
    ll = &out;

    do {
        b = ngx_create_temp_buf(ctx->request->pool, NGX_VMESS_PROFILE_ROOM);
        cl = ngx_alloc_chain_link(ctx->request->pool);

        if (b == NULL || cl == NULL) {
            return NULL;
        }

        rc = ngx_vmess_profile_write(&pr, &b->last, b->end);

        cl->buf = b;
        cl->next = NULL;

        *ll = cl;
        ll = &cl->next;

    } while (rc == NGX_AGAIN);

    b->last_buf = 1;
    b->last_in_chain = 1;

    return out;
}
