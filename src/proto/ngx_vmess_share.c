
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_utf8.h"
#include "ngx_vmess_share.h"


#define NGX_VMESS_SHARE_BAD_PATH                                              \
    "an invalid path, \"path=\" must be written as in a request, and "        \
    "begin with \"/\" but for gRPC"


typedef struct {
    size_t         offset;
    size_t         max;        /* bytes */
    const char    *other;      /* characters beside letters and digits, NULL:
                                  all that can be printed but blanks */
    const char    *err;
} ngx_vmess_share_field_t;


static ngx_uint_t ngx_vmess_share_is_one_of(ngx_str_t *s, const char **words);
static ngx_uint_t ngx_vmess_share_is_made_of(ngx_str_t *s, const char *other);
static ngx_uint_t ngx_vmess_share_is_utf8(ngx_str_t *s);
static ngx_uint_t ngx_vmess_share_is_path(ngx_str_t *s);
static const char *ngx_vmess_share_check_transport(ngx_vmess_share_t *share);


ngx_str_t  ngx_vmess_share_securities[NGX_VMESS_SHARE_SECURITIES] = {
    ngx_string("auto"),
    ngx_string("aes-128-gcm"),
    ngx_string("chacha20-poly1305"),
    ngx_string("none"),
    ngx_string("zero")
};


ngx_str_t  ngx_vmess_share_transports[NGX_VMESS_SHARE_TRANSPORTS] = {
    ngx_string("tcp"),
    ngx_string("http"),
    ngx_string("ws"),
    ngx_string("httpupgrade"),
    ngx_string("grpc"),
    ngx_string("h2"),
    ngx_string("xhttp"),
    ngx_string("kcp"),
    ngx_string("quic")
};


static ngx_vmess_share_field_t  ngx_vmess_share_fields[] = {

    { offsetof(ngx_vmess_share_t, host), NGX_VMESS_SHARE_FIELD_MAX, "-._:",
      "an invalid host" },

    { offsetof(ngx_vmess_share_t, http_host), NGX_VMESS_SHARE_FIELD_MAX,
      "-._:[]", "an invalid Host" },

    { offsetof(ngx_vmess_share_t, sni), NGX_VMESS_SHARE_FIELD_MAX, "-._:",
      "an invalid SNI" },

    { offsetof(ngx_vmess_share_t, path), NGX_VMESS_SHARE_PATH_MAX, NULL,
      NGX_VMESS_SHARE_BAD_PATH },

    { offsetof(ngx_vmess_share_t, alpn), NGX_VMESS_SHARE_FIELD_MAX, "-./,",
      "an invalid ALPN" }
};


/* a word that a client does not know makes it refuse all of a profile */

static const char  *ngx_vmess_share_modes_grpc[] = {
    "gun", "multi", NULL
};


static const char  *ngx_vmess_share_modes_xhttp[] = {
    "auto", "packet-up", "stream-up", "stream-one", NULL
};


static const char  *ngx_vmess_share_headers[] = {
    "none", "srtp", "utp", "wechat-video", "dtls", "wireguard", "dns", NULL
};


static const char  *ngx_vmess_share_fingerprints[] = {
    "chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq",
    "random", "randomized", NULL
};


const char *
ngx_vmess_share_check(ngx_vmess_share_t *share)
{
    u_char                   *p;
    ngx_str_t                *s, name;
    ngx_uint_t                i;
    ngx_vmess_share_field_t  *field;

    for (i = 0;
         i < sizeof(ngx_vmess_share_fields)
             / sizeof(ngx_vmess_share_fields[0]);
         i++)
    {
        field = &ngx_vmess_share_fields[i];
        s = (ngx_str_t *) ((u_char *) share + field->offset);

        if (s->len > field->max
            || !ngx_vmess_share_is_made_of(s, field->other))
        {
            return field->err;
        }
    }

    if (share->host.len == 0) {
        return "no host";
    }

    if (share->port == 0) {
        return "no port";
    }

    if (share->seed.len > NGX_VMESS_SHARE_FIELD_MAX
        || !ngx_vmess_share_is_utf8(&share->seed))
    {
        return "an invalid seed";
    }

    for (p = NULL; ngx_vmess_share_alpn(share, &p, &name) == NGX_OK; ) {
        if (name.len == 0) {
            return "an invalid ALPN";
        }
    }

    if (p && p[-1] == ',') {
        return "an invalid ALPN";
    }

    if (!ngx_vmess_share_is_one_of(&share->fp, ngx_vmess_share_fingerprints)) {
        return "an unknown fingerprint, \"fingerprint=\" must be \"chrome\", "
               "\"firefox\", \"safari\", \"ios\", \"android\", \"edge\", "
               "\"360\", \"qq\", \"random\" or \"randomized\"";
    }

    return ngx_vmess_share_check_transport(share);
}


/* a word of a list, or none */

static ngx_uint_t
ngx_vmess_share_is_one_of(ngx_str_t *s, const char **words)
{
    for ( /* void */ ; s->len && *words; words++) {

        if (s->len == ngx_strlen(*words)
            && ngx_memcmp(s->data, *words, s->len) == 0)
        {
            return 1;
        }
    }

    return s->len == 0;
}


static ngx_uint_t
ngx_vmess_share_is_made_of(ngx_str_t *s, const char *other)
{
    u_char   ch;
    size_t   i;

    for (i = 0; i < s->len; i++) {

        ch = s->data[i];

        if (ch <= ' ' || ch >= 0x7f) {
            return 0;
        }

        if (other == NULL || (ch >= '0' && ch <= '9')
            || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z'))
        {
            continue;
        }

        if (ngx_strchr(other, ch) == NULL) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_vmess_share_is_utf8(ngx_str_t *s)
{
    size_t             i;
    ngx_int_t          rc;
    ngx_vmess_utf8_t   u;

    ngx_memzero(&u, sizeof(ngx_vmess_utf8_t));

    rc = NGX_OK;

    for (i = 0; i < s->len && rc != NGX_ERROR; i++) {
        rc = ngx_vmess_utf8_check(&u, s->data[i]);
    }

    return rc == NGX_OK;
}


/* clients would take what follows "#" for a fragment */

static ngx_uint_t
ngx_vmess_share_is_path(ngx_str_t *s)
{
    return s->len && s->data[0] == '/'
           && ngx_strlchr(s->data, s->data + s->len, '#') == NULL;
}


static const char *
ngx_vmess_share_check_transport(ngx_vmess_share_t *share)
{
    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP_HTTP:
    case NGX_VMESS_SHARE_WS:
    case NGX_VMESS_SHARE_HTTPUPGRADE:
    case NGX_VMESS_SHARE_H2:
    case NGX_VMESS_SHARE_XHTTP:

        if (!ngx_vmess_share_is_path(&share->path)) {
            return NGX_VMESS_SHARE_BAD_PATH;
        }

        if (share->transport == NGX_VMESS_SHARE_XHTTP
            && !ngx_vmess_share_is_one_of(&share->mode,
                                          ngx_vmess_share_modes_xhttp))
        {
            return "an unknown mode, \"mode=\" must be \"auto\", "
                   "\"packet-up\", \"stream-up\" or \"stream-one\"";
        }

        break;

    case NGX_VMESS_SHARE_GRPC:

        if (!ngx_vmess_share_is_one_of(&share->mode,
                                       ngx_vmess_share_modes_grpc))
        {
            return "an unknown mode, \"mode=\" must be \"gun\" or "
                   "\"multi\"";
        }

        break;

    case NGX_VMESS_SHARE_KCP:

        if (share->tls) {
            return "TLS over mKCP";
        }

        if (!ngx_vmess_share_is_one_of(&share->header,
                                       ngx_vmess_share_headers))
        {
            return "an unknown header, \"header=\" must be \"none\", "
                   "\"srtp\", \"utp\", \"wechat-video\", \"dtls\", "
                   "\"wireguard\" or \"dns\"";
        }

        break;

    case NGX_VMESS_SHARE_QUIC:

        if (!share->tls) {
            return "no TLS over QUIC";
        }

        break;

    default: /* TCP */
        break;
    }

    return NULL;
}


void
ngx_vmess_share_trim(ngx_vmess_share_t *share)
{
    ngx_str_t  *name;

    name = &share->name;

    while (name->len && name->data[0] <= ' ') {
        name->data++;
        name->len--;
    }

    if (name->len > NGX_VMESS_SHARE_NAME_MAX) {
        name->len = NGX_VMESS_SHARE_NAME_MAX;

        /* back to where a character begins */

        while (name->len && (name->data[name->len] & 0xc0) == 0x80) {
            name->len--;
        }
    }

    while (name->len && name->data[name->len - 1] <= ' ') {
        name->len--;
    }

    if (name->len == 0) {
        *name = share->host;
    }
}


ngx_uint_t
ngx_vmess_share_has_method(ngx_vmess_share_t *share)
{
    return share->transport == NGX_VMESS_SHARE_GRPC && share->path.len
           && share->path.data[0] == '/';
}


ngx_str_t *
ngx_vmess_share_sni(ngx_vmess_share_t *share)
{
    return share->sni.len ? &share->sni : &share->host;
}


/* an address of IPv6 would need brackets, and clients make a Host of it */

ngx_str_t *
ngx_vmess_share_host(ngx_vmess_share_t *share)
{
    ngx_str_t  *host;

    static ngx_str_t  empty = ngx_null_string;

    if (share->http_host.len) {
        return &share->http_host;
    }

    host = share->tls ? ngx_vmess_share_sni(share) : &share->host;

    return ngx_strlchr(host->data, host->data + host->len, ':') ? &empty : host;
}


ngx_int_t
ngx_vmess_share_alpn(ngx_vmess_share_t *share, u_char **p, ngx_str_t *name)
{
    u_char  *last, *comma;

    if (share->alpn.len == 0) {
        return NGX_DONE;
    }

    last = share->alpn.data + share->alpn.len;

    if (*p == NULL) {
        *p = share->alpn.data;
    }

    if (*p == last) {
        return NGX_DONE;
    }

    comma = ngx_strlchr(*p, last, ',');

    name->data = *p;
    name->len = (comma ? comma : last) - *p;

    *p = comma ? comma + 1 : last;

    return NGX_OK;
}
