
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_offer.h"
#include "ngx_vmess_param.h"


static ngx_int_t ngx_vmess_offer_string(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);
static ngx_int_t ngx_vmess_offer_address(ngx_conf_t *cf,
    ngx_vmess_offer_t *offer, ngx_str_t *value);
static ngx_int_t ngx_vmess_offer_name(ngx_conf_t *cf,
    ngx_vmess_offer_t *offer);
static size_t ngx_vmess_offer_variable(u_char *p, u_char *last);
static ngx_int_t ngx_vmess_offer_name_add(ngx_vmess_offer_t *offer,
    u_char *data, size_t len);
static ngx_int_t ngx_vmess_offer_default_name(ngx_conf_t *cf,
    ngx_vmess_offer_t *offer);


static ngx_conf_enum_t  ngx_vmess_offer_transports[] = {
    { ngx_string("tcp"), NGX_VMESS_SHARE_TCP },
    { ngx_string("http_header"), NGX_VMESS_SHARE_TCP_HTTP },
    { ngx_string("websocket"), NGX_VMESS_SHARE_WS },
    { ngx_string("httpupgrade"), NGX_VMESS_SHARE_HTTPUPGRADE },
    { ngx_string("grpc"), NGX_VMESS_SHARE_GRPC },
    { ngx_string("http"), NGX_VMESS_SHARE_H2 },
    { ngx_string("xhttp"), NGX_VMESS_SHARE_XHTTP },
    { ngx_string("kcp"), NGX_VMESS_SHARE_KCP },
    { ngx_string("quic"), NGX_VMESS_SHARE_QUIC },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_vmess_offer_ciphers[] = {
    { ngx_string("auto"), NGX_VMESS_SHARE_AUTO },
    { ngx_string("aes-128-gcm"), NGX_VMESS_SHARE_AES_128_GCM },
    { ngx_string("chacha20-poly1305"), NGX_VMESS_SHARE_CHACHA20 },
    { ngx_string("none"), NGX_VMESS_SHARE_NONE },
    { ngx_string("zero"), NGX_VMESS_SHARE_ZERO },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_vmess_offer_flags[] = {
    { ngx_string("on"), 1 },
    { ngx_string("off"), 0 },
    { ngx_null_string, 0 }
};


static ngx_vmess_param_t  ngx_vmess_offer_params[] = {

    { ngx_string("name="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, text), 0, NGX_VMESS_SHARE_NAME_MAX,
      "a text of 1 to 255 bytes", NULL, 0 },

    { ngx_string("transport="), ngx_vmess_param_enum,
      offsetof(ngx_vmess_offer_t, transport), 0, 0,
      "\"tcp\", \"http_header\", \"websocket\", \"httpupgrade\", \"http\", "
      "\"grpc\", \"xhttp\", \"kcp\" or \"quic\"",
      ngx_vmess_offer_transports, 0 },

    { ngx_string("path="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.path), 0, NGX_VMESS_SHARE_PATH_MAX,
      "a text of 1 to 1024 bytes", NULL, 0 },

    { ngx_string("host="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.http_host), 0,
      NGX_VMESS_SHARE_FIELD_MAX, "the value of a header", NULL, 0 },

    { ngx_string("mode="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.mode), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "a word as \"multi\" or \"packet-up\"", NULL, 0 },

    { ngx_string("header="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.header), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "a word as in \"vmess_kcp\"", NULL, 0 },

    { ngx_string("seed="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.seed), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "a text of 1 to 255 bytes", NULL, 0 },

    { ngx_string("early_data="), ngx_vmess_param_number,
      offsetof(ngx_vmess_offer_t, share.early_data), 1, 65535,
      "a number from 1 to 65535", NULL, 0 },

    { ngx_string("tls="), ngx_vmess_param_enum,
      offsetof(ngx_vmess_offer_t, tls), 0, 0, "\"on\" or \"off\"",
      ngx_vmess_offer_flags, 0 },

    { ngx_string("sni="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.sni), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "a name of a server", NULL, 0 },

    { ngx_string("alpn="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.alpn), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "names as \"h2,http/1.1\"", NULL, 0 },

    { ngx_string("fingerprint="), ngx_vmess_offer_string,
      offsetof(ngx_vmess_offer_t, share.fp), 0, NGX_VMESS_SHARE_FIELD_MAX,
      "a word as \"chrome\"", NULL, 0 },

    { ngx_string("cipher="), ngx_vmess_param_enum,
      offsetof(ngx_vmess_offer_t, security), 0, 0,
      "\"auto\", \"aes-128-gcm\", \"chacha20-poly1305\", \"none\" or \"zero\"",
      ngx_vmess_offer_ciphers, 0 },

    { ngx_string("external"), ngx_vmess_param_word,
      offsetof(ngx_vmess_offer_t, external), 1, 0, NULL, NULL, 0 },

      ngx_vmess_null_param
};


ngx_vmess_offer_t *
ngx_vmess_offer_add(ngx_conf_t *cf)
{
    ngx_str_t          *value;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_offer_t  *offer, **offerp;
    static ngx_str_t    where = ngx_string("in \"vmess_share\"");

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NULL;
    }

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    offer = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_offer_t));
    offerp = ngx_array_push(&vcf->offers);

    if (offer == NULL || offerp == NULL
        || ngx_array_init(&offer->name, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    *offerp = offer;

    offer->transport = NGX_CONF_UNSET_UINT;
    offer->tls = NGX_CONF_UNSET_UINT;
    offer->security = NGX_VMESS_SHARE_AUTO;
    offer->file_name = cf->conf_file->file.name.data;
    offer->line = cf->conf_file->line;

    value = cf->args->elts;

    if (ngx_vmess_offer_address(cf, offer, &value[1]) != NGX_OK
        || ngx_vmess_param_parse(cf, 2, ngx_vmess_offer_params, offer, &where,
                                 NULL)
           != NGX_OK)
    {
        return NULL;
    }

    offer->share.security = offer->security;

    if (offer->text.len && ngx_vmess_offer_name(cf, offer) != NGX_OK) {
        return NULL;
    }

    return offer;
}


static ngx_int_t
ngx_vmess_offer_string(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_str_t  *s = field;

    if (value->len == 0 || value->len > (size_t) param->max) {
        return NGX_DECLINED;
    }

    *s = *value;

    return NGX_OK;
}


/* nothing is resolved: it is for clients */

static ngx_int_t
ngx_vmess_offer_address(ngx_conf_t *cf, ngx_vmess_offer_t *offer,
    ngx_str_t *value)
{
    u_char     *p, *last, *colon;
    ngx_int_t   port;
    ngx_str_t  *host;

    p = value->data;
    last = p + value->len;
    host = &offer->share.host;

    for (colon = last; colon > p && colon[-1] != ':'; colon--) {
        /* void */
    }

    port = ngx_atoi(colon, last - colon);

    if (colon == p || port < 1 || port > 65535) {
        goto invalid;
    }

    host->data = p;
    host->len = colon - 1 - p;

    if (host->len > 1 && *p == '[' && colon[-2] == ']') {
        host->data++;
        host->len -= 2;

    } else if (ngx_strlchr(p, colon - 1, ':')) {
        goto invalid;
    }

    if (host->len == 0) {
        goto invalid;
    }

    offer->share.port = (in_port_t) port;

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid address \"%V\" in \"vmess_share\", it must be "
                       "that which clients connect to: a name, or an address "
                       "(of IPv6 in brackets), and a port", value);

    return NGX_ERROR;
}


/* texts, and places for the name of the user */

static ngx_int_t
ngx_vmess_offer_name(ngx_conf_t *cf, ngx_vmess_offer_t *offer)
{
    u_char  *p, *last, *start;
    size_t   len;

    p = offer->text.data;
    last = p + offer->text.len;

    for (start = p; p < last; /* void */ ) {

        if (*p != '$') {
            p++;
            continue;
        }

        len = ngx_vmess_offer_variable(p, last);

        if (len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"name=%V\" in "
                               "\"vmess_share\", the only variable there is "
                               "$vmess_user", &offer->text);
            return NGX_ERROR;
        }

        if (ngx_vmess_offer_name_add(offer, start, p - start) != NGX_OK
            || ngx_vmess_offer_name_add(offer, NULL, 0) != NGX_OK)
        {
            return NGX_ERROR;
        }

        p += len;
        start = p;
    }

    return ngx_vmess_offer_name_add(offer, start, p - start);
}


/* bytes of the variable, 0: it is another one, or none */

static size_t
ngx_vmess_offer_variable(u_char *p, u_char *last)
{
    size_t      i, len;
    ngx_uint_t  next;

    static ngx_str_t  names[] = {
        ngx_string("${vmess_user}"),
        ngx_string("$vmess_user")
    };

    for (i = 0; i < 2; i++) {

        len = names[i].len;

        if ((size_t) (last - p) < len
            || ngx_memcmp(p, names[i].data, len) != 0)
        {
            continue;
        }

        next = (i == 1 && p + len < last) ? p[len] : ' ';

        if (next != '_' && !(next >= 'a' && next <= 'z')
            && !(next >= 'A' && next <= 'Z') && !(next >= '0' && next <= '9'))
        {
            return len;
        }
    }

    return 0;
}


static ngx_int_t
ngx_vmess_offer_name_add(ngx_vmess_offer_t *offer, u_char *data, size_t len)
{
    ngx_str_t  *part;

    if (data && len == 0) {
        return NGX_OK;
    }

    part = ngx_array_push(&offer->name);
    if (part == NULL) {
        return NGX_ERROR;
    }

    part->data = data;
    part->len = len;

    return NGX_OK;
}


ngx_int_t
ngx_vmess_offer_error(ngx_conf_t *cf, ngx_vmess_offer_t *offer,
    const char *what)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"vmess_share %V:%d\" in %s:%ui %s", &offer->share.host,
                  (int) offer->share.port, offer->file_name, offer->line, what);

    return NGX_ERROR;
}


ngx_int_t
ngx_vmess_offer_complete(ngx_conf_t *cf, ngx_vmess_offer_t *offer)
{
    const char  *err;

    offer->share.transport = offer->transport;
    offer->share.tls = offer->tls;

    err = ngx_vmess_share_check(&offer->share);

    if (err) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"vmess_share %V:%d\" in %s:%ui has %s",
                      &offer->share.host, (int) offer->share.port,
                      offer->file_name, offer->line, err);
        return NGX_ERROR;
    }

    if (offer->text.len) {
        return NGX_OK;
    }

    return ngx_vmess_offer_default_name(cf, offer);
}


/* the server and the transport */

static ngx_int_t
ngx_vmess_offer_default_name(ngx_conf_t *cf, ngx_vmess_offer_t *offer)
{
    u_char     *p;
    size_t      len;
    ngx_str_t  *transport;

    transport = &ngx_vmess_share_transports[offer->share.transport];
    len = offer->share.host.len + 1 + transport->len;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(p, "%V %V", &offer->share.host, transport);

    return ngx_vmess_offer_name_add(offer, p, len);
}


void
ngx_vmess_offer_resolve(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf)
{
    ngx_uint_t           i;
    ngx_vmess_offer_t  **offer;

    offer = vcf->offers.elts;

    for (i = 0; i < vcf->offers.nelts; i++) {

        if (offer[i]->listen) {
            offer[i]->zone = ngx_vmess_zone_lookup(cycle,
                                                   &(*offer[i]->listen)->zone);
        }
    }
}


ngx_array_t *
ngx_vmess_offer_shares(ngx_vmess_zone_t *zone, ngx_str_t *user,
    const u_char *id, ngx_pool_t *pool)
{
    u_char              *p;
    size_t               len;
    ngx_str_t           *part;
    ngx_uint_t           i, n;
    ngx_array_t         *shares;
    ngx_vmess_offer_t  **offer;
    ngx_vmess_share_t   *share;

    shares = ngx_array_create(pool, 4, sizeof(ngx_vmess_share_t));
    if (shares == NULL) {
        return NULL;
    }

    offer = zone->conf->offers.elts;

    for (i = 0; i < zone->conf->offers.nelts; i++) {

        if (offer[i]->zone != zone) {
            continue;
        }

        part = offer[i]->name.elts;
        len = 0;

        for (n = 0; n < offer[i]->name.nelts; n++) {
            len += part[n].data ? part[n].len : user->len;
        }

        share = ngx_array_push(shares);
        p = ngx_pnalloc(pool, len);

        if (share == NULL || p == NULL) {
            return NULL;
        }

        *share = offer[i]->share;
        ngx_memcpy(share->id, id, NGX_VMESS_ID_LEN);

        share->name.data = p;
        share->name.len = len;

        for (n = 0; n < offer[i]->name.nelts; n++) {
            p = part[n].data ? ngx_cpymem(p, part[n].data, part[n].len)
                             : ngx_cpymem(p, user->data, user->len);
        }
    }

    return shares;
}
