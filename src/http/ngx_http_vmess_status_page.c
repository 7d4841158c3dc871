
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status_page.h"
#include "proto/ngx_vmess_hash.h"
#include "ngx_http_vmess_status_page_text.h"


#define NGX_HTTP_VMESS_STATUS_PAGE_PARTS   5
#define NGX_HTTP_VMESS_STATUS_PAGE_STYLE   1
#define NGX_HTTP_VMESS_STATUS_PAGE_SCRIPT  3

/* bytes of a digest that make an ETag */

#define NGX_HTTP_VMESS_STATUS_PAGE_ETAG    16

/* of the policy */

#define NGX_HTTP_VMESS_STATUS_PAGE_HASH                                       \
    (sizeof("'sha256-'") - 1 + ngx_base64_encoded_length(32))


static u_char *ngx_http_vmess_status_page_etag(u_char *p);
static u_char *ngx_http_vmess_status_page_hash(u_char *p, ngx_uint_t n);
static ngx_int_t ngx_http_vmess_status_page_header(ngx_http_request_t *r,
    ngx_http_vmess_status_page_t *page);


/* what is before, in and behind the style and the script */

static ngx_str_t  ngx_http_vmess_status_page_parts[] = {
    ngx_string(ngx_http_vmess_status_page_head),
    ngx_string(ngx_http_vmess_status_page_style),
    ngx_string(ngx_http_vmess_status_page_body),
    ngx_string(ngx_http_vmess_status_page_script),
    ngx_string(ngx_http_vmess_status_page_tail)
};


/*
 * Nothing comes from elsewhere, or goes there.  Codes of links are pictures in
 * "data:".  "require-trusted-types-for" lets no text become markup or a script.
 */

static char  ngx_http_vmess_status_page_policy[] =
    "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";


static ngx_keyval_t  ngx_http_vmess_status_page_headers[] = {
    { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") },
    { ngx_string("X-Frame-Options"), ngx_string("DENY") },
    { ngx_string("Referrer-Policy"), ngx_string("no-referrer") },
    { ngx_string("Cache-Control"), ngx_string("no-cache") },
    { ngx_string("Vary"), ngx_string("Accept") },
    { ngx_null_string, ngx_null_string }
};


ngx_http_vmess_status_page_t *
ngx_http_vmess_status_page_create(ngx_conf_t *cf)
{
    u_char                        *p;
    ngx_http_vmess_status_page_t  *page;

    page = ngx_palloc(cf->pool, sizeof(ngx_http_vmess_status_page_t));
    if (page == NULL) {
        return NULL;
    }

    p = ngx_pnalloc(cf->pool, NGX_HTTP_VMESS_STATUS_PAGE_ETAG * 2 + 2
                              + sizeof(ngx_http_vmess_status_page_policy)
                              + sizeof("; style-src ") + sizeof("; script-src ")
                              + 2 * NGX_HTTP_VMESS_STATUS_PAGE_HASH);
    if (p == NULL) {
        return NULL;
    }

    page->etag.data = p;
    p = ngx_http_vmess_status_page_etag(p);
    page->etag.len = p - page->etag.data;

    page->policy.data = p;

    p = ngx_cpymem(p, ngx_http_vmess_status_page_policy,
                   sizeof(ngx_http_vmess_status_page_policy) - 1);

    p = ngx_cpymem(p, "; style-src ", sizeof("; style-src ") - 1);
    p = ngx_http_vmess_status_page_hash(p, NGX_HTTP_VMESS_STATUS_PAGE_STYLE);

    p = ngx_cpymem(p, "; script-src ", sizeof("; script-src ") - 1);
    p = ngx_http_vmess_status_page_hash(p, NGX_HTTP_VMESS_STATUS_PAGE_SCRIPT);

    page->policy.len = p - page->policy.data;

    return page;
}


/* a hash of the hashes of all parts */

static u_char *
ngx_http_vmess_status_page_etag(u_char *p)
{
    u_char       all[NGX_HTTP_VMESS_STATUS_PAGE_PARTS * 32], digest[32];
    ngx_str_t   *part;
    ngx_uint_t   i;

    part = ngx_http_vmess_status_page_parts;

    for (i = 0; i < NGX_HTTP_VMESS_STATUS_PAGE_PARTS; i++) {
        ngx_vmess_hash_sha256(&all[i * 32], part[i].data, part[i].len);
    }

    ngx_vmess_hash_sha256(digest, all, sizeof(all));

    *p++ = '"';
    p = ngx_hex_dump(p, digest, NGX_HTTP_VMESS_STATUS_PAGE_ETAG);
    *p++ = '"';

    return p;
}


/* Content Security Policy Level 3, 2.3.1.  Source Lists, "hash-source" */

static u_char *
ngx_http_vmess_status_page_hash(u_char *p, ngx_uint_t n)
{
    u_char      digest[32];
    ngx_str_t   hash, text, *part;

    part = &ngx_http_vmess_status_page_parts[n];

    ngx_vmess_hash_sha256(digest, part->data, part->len);

    p = ngx_cpymem(p, "'sha256-", sizeof("'sha256-") - 1);

    hash.len = 32;
    hash.data = digest;
    text.data = p;

    ngx_encode_base64(&text, &hash);

    p += text.len;
    *p++ = '\'';

    return p;
}


ngx_int_t
ngx_http_vmess_status_page_send(ngx_http_request_t *r,
    ngx_http_vmess_status_page_t *page)
{
    off_t         len;
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_uint_t    i;
    ngx_chain_t   out[NGX_HTTP_VMESS_STATUS_PAGE_PARTS];

    b = ngx_pcalloc(r->pool,
                    NGX_HTTP_VMESS_STATUS_PAGE_PARTS * sizeof(ngx_buf_t));
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = 0;

    for (i = 0; i < NGX_HTTP_VMESS_STATUS_PAGE_PARTS; i++) {
        b[i].pos = ngx_http_vmess_status_page_parts[i].data;
        b[i].last = b[i].pos + ngx_http_vmess_status_page_parts[i].len;
        b[i].memory = 1;

        out[i].buf = &b[i];
        out[i].next = &out[i + 1];

        len += ngx_http_vmess_status_page_parts[i].len;
    }

    b[i - 1].last_buf = (r == r->main);
    b[i - 1].last_in_chain = 1;
    out[i - 1].next = NULL;

    if (ngx_http_vmess_status_page_header(r, page) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.content_length_n = len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    rc = ngx_http_output_filter(r, out);

    /* what is not sent yet nginx sends on its own */

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


static ngx_int_t
ngx_http_vmess_status_page_header(ngx_http_request_t *r,
    ngx_http_vmess_status_page_t *page)
{
    ngx_keyval_t     *header;
    ngx_table_elt_t  *h;

    r->headers_out.status = NGX_HTTP_OK;

    /* the length is that of the type alone: it has its own charset */

    ngx_str_set(&r->headers_out.content_type, "text/html; charset=utf-8");
    r->headers_out.content_type_len = sizeof("text/html") - 1;
    r->headers_out.content_type_lowcase = NULL;

    for (header = ngx_http_vmess_status_page_headers;
         header->key.len;
         header++)
    {
        if (ngx_http_vmess_api_header(r, (char *) header->key.data,
                                      &header->value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_vmess_api_header(r, "Content-Security-Policy", &page->policy)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    ngx_str_set(&h->key, "ETag");
    h->value = page->etag;

    r->headers_out.etag = h;

    return NGX_OK;
}
