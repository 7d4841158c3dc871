
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_json_out.h"
#include "ngx_vmess_share_link.h"
#include "ngx_vmess_share_yaml.h"
#include "ngx_vmess_share_json.h"
#include "ngx_vmess_share_line.h"
#include "ngx_vmess_profile.h"


/* a name, a space and a number */

#define NGX_VMESS_PROFILE_NAME_MAX                                            \
    (NGX_VMESS_SHARE_NAME_MAX + 1 + NGX_INT_T_LEN)

/* a byte may become U+FFFD */

#define NGX_VMESS_PROFILE_LABEL_MAX  (3 * NGX_VMESS_SHARE_NAME_MAX)

#define NGX_VMESS_PROFILE_BIT(name)  (1 << NGX_VMESS_SHARE_ ## name)

#define NGX_VMESS_PROFILE_TRANSPORTS  ((1 << NGX_VMESS_SHARE_TRANSPORTS) - 1)
#define NGX_VMESS_PROFILE_SECURITIES  ((1 << NGX_VMESS_SHARE_SECURITIES) - 1)

#define NGX_VMESS_PROFILE_BASE64    0x01    /* all of it */
#define NGX_VMESS_PROFILE_LINE      0x02    /* of fields without escapes */
#define NGX_VMESS_PROFILE_ONE_HOST  0x04    /* Host is the SNI */
#define NGX_VMESS_PROFILE_METHOD    0x08    /* of gRPC, any */
#define NGX_VMESS_PROFILE_SERVICE   0x10    /* of gRPC, not empty */


typedef void (*ngx_vmess_profile_pt)(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);


/* a part of a profile: a text, or what is written for each share */

typedef struct {
    const char                    *text;
    ngx_vmess_profile_pt           write;
} ngx_vmess_profile_step_t;


typedef struct {
    ngx_vmess_profile_step_t      *steps;      /* the last is empty */
    ngx_str_t                      type;

    /* bits of what clients can do */
    ngx_uint_t                     transports;
    ngx_uint_t                     tls_only;   /* transports only with TLS */
    ngx_uint_t                     plain_only; /* transports only without */
    ngx_uint_t                     securities;

    ngx_uint_t                     flags;
} ngx_vmess_profile_desc_t;


static const char *ngx_vmess_profile_lacks_service(
    ngx_vmess_profile_desc_t *desc, ngx_vmess_share_t *share);
static const char *ngx_vmess_profile_lacks_path(
    ngx_vmess_profile_desc_t *desc, ngx_vmess_share_t *share);
static void ngx_vmess_profile_share(ngx_vmess_profile_t *pr,
    ngx_vmess_profile_pt write);
static ngx_uint_t ngx_vmess_profile_is_taken(ngx_vmess_profile_t *pr,
    ngx_str_t *name);
static size_t ngx_vmess_profile_label(ngx_str_t *name, u_char *buf);
static void ngx_vmess_profile_comment(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share, const char *lacks);

static void ngx_vmess_profile_link(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);

static void ngx_vmess_profile_yaml_proxy(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);
static void ngx_vmess_profile_yaml_name(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);

static void ngx_vmess_profile_json_name(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);
static void ngx_vmess_profile_json_outbound(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);

static void ngx_vmess_profile_line(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share);


/* a list has no comments */

static ngx_vmess_profile_step_t  ngx_vmess_profile_links[] = {
    { NULL, ngx_vmess_profile_link },
    { "", NULL },
    { NULL, NULL }
};


/* a group must not be empty */

static ngx_vmess_profile_step_t  ngx_vmess_profile_yamls[] = {
    { "proxies:\n", NULL },
    { NULL, ngx_vmess_profile_yaml_proxy },
    { "proxy-groups:\n"
      "- {name: Proxy, type: select, proxies: [", NULL },
    { NULL, ngx_vmess_profile_yaml_name },
    { "DIRECT]}\n"
      "rules:\n"
      "- MATCH,Proxy\n", NULL },
    { NULL, NULL }
};


/* the first outbound is what sing-box takes by default */

static ngx_vmess_profile_step_t  ngx_vmess_profile_jsons[] = {
    { "{\"outbounds\":[{\"type\":\"selector\",\"tag\":\"proxy\","
      "\"outbounds\":[", NULL },
    { NULL, ngx_vmess_profile_json_name },
    { "\"direct\"]}", NULL },
    { NULL, ngx_vmess_profile_json_outbound },
    { ",{\"type\":\"direct\",\"tag\":\"direct\"}]}\n", NULL },
    { NULL, NULL }
};


static ngx_vmess_profile_step_t  ngx_vmess_profile_lines[] = {
    { NULL, ngx_vmess_profile_line },
    { NULL, NULL }
};


static ngx_vmess_profile_desc_t
    ngx_vmess_profile_descs[NGX_VMESS_PROFILE_FORMATS] =
{
    /* NGX_VMESS_PROFILE_V2RAYN */

    { ngx_vmess_profile_links, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_TRANSPORTS, 0, 0,
      NGX_VMESS_PROFILE_SECURITIES,
      NGX_VMESS_PROFILE_BASE64|NGX_VMESS_PROFILE_METHOD },

    /* NGX_VMESS_PROFILE_URI */

    { ngx_vmess_profile_links, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_TRANSPORTS, 0, 0,
      NGX_VMESS_PROFILE_SECURITIES,
      NGX_VMESS_PROFILE_BASE64|NGX_VMESS_PROFILE_METHOD },

    /* NGX_VMESS_PROFILE_SHADOWROCKET */

    { ngx_vmess_profile_links, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_TRANSPORTS
      & ~(NGX_VMESS_PROFILE_BIT(KCP) | NGX_VMESS_PROFILE_BIT(QUIC)), 0, 0,
      NGX_VMESS_PROFILE_SECURITIES,
      NGX_VMESS_PROFILE_BASE64 },

    /* NGX_VMESS_PROFILE_MIHOMO */

    { ngx_vmess_profile_yamls, ngx_string("text/yaml; charset=utf-8"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(TCP_HTTP)
      | NGX_VMESS_PROFILE_BIT(WS) | NGX_VMESS_PROFILE_BIT(HTTPUPGRADE)
      | NGX_VMESS_PROFILE_BIT(GRPC) | NGX_VMESS_PROFILE_BIT(H2),
      NGX_VMESS_PROFILE_BIT(GRPC) | NGX_VMESS_PROFILE_BIT(H2), 0,
      NGX_VMESS_PROFILE_SECURITIES,
      NGX_VMESS_PROFILE_SERVICE },

    /* NGX_VMESS_PROFILE_CLASH */

    { ngx_vmess_profile_yamls, ngx_string("text/yaml; charset=utf-8"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(TCP_HTTP)
      | NGX_VMESS_PROFILE_BIT(WS) | NGX_VMESS_PROFILE_BIT(GRPC)
      | NGX_VMESS_PROFILE_BIT(H2),
      NGX_VMESS_PROFILE_BIT(GRPC) | NGX_VMESS_PROFILE_BIT(H2), 0,
      NGX_VMESS_PROFILE_BIT(AUTO) | NGX_VMESS_PROFILE_BIT(AES_128_GCM)
      | NGX_VMESS_PROFILE_BIT(CHACHA20) | NGX_VMESS_PROFILE_BIT(NONE),
      NGX_VMESS_PROFILE_SERVICE },

    /* NGX_VMESS_PROFILE_SING_BOX */

    { ngx_vmess_profile_jsons, ngx_string("application/json"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(WS)
      | NGX_VMESS_PROFILE_BIT(HTTPUPGRADE) | NGX_VMESS_PROFILE_BIT(GRPC)
      | NGX_VMESS_PROFILE_BIT(H2) | NGX_VMESS_PROFILE_BIT(QUIC), 0, 0,
      NGX_VMESS_PROFILE_SECURITIES,
      0 },

    /* NGX_VMESS_PROFILE_SURGE */

    { ngx_vmess_profile_lines, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(WS), 0, 0,
      NGX_VMESS_PROFILE_BIT(AUTO) | NGX_VMESS_PROFILE_BIT(AES_128_GCM)
      | NGX_VMESS_PROFILE_BIT(CHACHA20),
      NGX_VMESS_PROFILE_LINE },

    /* NGX_VMESS_PROFILE_QUANTUMULT_X */

    { ngx_vmess_profile_lines, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(TCP_HTTP)
      | NGX_VMESS_PROFILE_BIT(WS), 0, NGX_VMESS_PROFILE_BIT(TCP_HTTP),
      NGX_VMESS_PROFILE_BIT(AUTO) | NGX_VMESS_PROFILE_BIT(AES_128_GCM)
      | NGX_VMESS_PROFILE_BIT(CHACHA20) | NGX_VMESS_PROFILE_BIT(NONE),
      NGX_VMESS_PROFILE_LINE|NGX_VMESS_PROFILE_ONE_HOST },

    /* NGX_VMESS_PROFILE_LOON */

    { ngx_vmess_profile_lines, ngx_string("text/plain; charset=utf-8"),
      NGX_VMESS_PROFILE_BIT(TCP) | NGX_VMESS_PROFILE_BIT(TCP_HTTP)
      | NGX_VMESS_PROFILE_BIT(WS), 0, 0,
      NGX_VMESS_PROFILE_BIT(AUTO) | NGX_VMESS_PROFILE_BIT(AES_128_GCM)
      | NGX_VMESS_PROFILE_BIT(CHACHA20) | NGX_VMESS_PROFILE_BIT(NONE),
      NGX_VMESS_PROFILE_LINE }
};


/*
 * Names of what is there already: ours, and what clients have by themselves.
 * Clash refuses a whole profile with a name that is there twice, and so does
 * sing-box.
 */

static ngx_str_t  ngx_vmess_profile_reserved[] = {
    ngx_string("Proxy"),
    ngx_string("DIRECT"),
    ngx_string("REJECT"),
    ngx_string("REJECT-DROP"),
    ngx_string("PASS"),
    ngx_string("COMPATIBLE"),
    ngx_string("GLOBAL"),
    ngx_string("proxy"),
    ngx_string("direct")
};


ngx_str_t *
ngx_vmess_profile_type(ngx_vmess_profile_format_e format)
{
    return &ngx_vmess_profile_descs[format].type;
}


void
ngx_vmess_profile_init(ngx_vmess_profile_t *pr,
    ngx_vmess_profile_format_e format, ngx_vmess_share_t *shares,
    ngx_uint_t nshares)
{
    ngx_memzero(pr, sizeof(ngx_vmess_profile_t));

    pr->format = format;
    pr->shares = shares;
    pr->nshares = nshares;

    if (ngx_vmess_profile_descs[format].flags & NGX_VMESS_PROFILE_BASE64) {
        ngx_vmess_text_out_base64(&pr->to);
    }
}


ngx_int_t
ngx_vmess_profile_write(ngx_vmess_profile_t *pr, u_char **pos, u_char *last)
{
    ngx_uint_t                 n;
    ngx_vmess_profile_t        save;
    ngx_vmess_profile_desc_t  *desc;
    ngx_vmess_profile_step_t  *step;

    pr->to.pos = *pos;
    pr->to.last = last;

    desc = &ngx_vmess_profile_descs[pr->format];

    for (step = &desc->steps[pr->step]; step->text || step->write; step++) {

        n = step->write ? pr->nshares : 1;

        while (pr->index < n) {

            save = *pr;

            if (step->write) {
                ngx_vmess_profile_share(pr, step->write);

            } else {
                ngx_vmess_text_out_word(&pr->to, step->text);

                if (desc->flags & NGX_VMESS_PROFILE_BASE64) {
                    ngx_vmess_text_out_base64_end(&pr->to);
                }
            }

            if (pr->to.full) {
                *pr = save;
                *pos = pr->to.pos;

                return NGX_AGAIN;
            }

            pr->index++;
        }

        pr->index = 0;
        pr->step++;
    }

    *pos = pr->to.pos;

    return NGX_OK;
}


const char *
ngx_vmess_profile_lacks(ngx_vmess_profile_format_e format,
    ngx_vmess_share_t *share)
{
    ngx_uint_t                 bit;
    ngx_vmess_profile_desc_t  *desc;

    desc = &ngx_vmess_profile_descs[format];
    bit = 1 << share->transport;

    if (!(desc->transports & bit)) {
        return "this client does not have the transport";
    }

    if (!share->tls && (desc->tls_only & bit)) {
        return "this client has the transport with TLS only";
    }

    if (share->tls && (desc->plain_only & bit)) {
        return "this client has the transport without TLS only";
    }

    if (!(desc->securities & (1 << share->security))) {
        return "this client does not have the cipher";
    }

    if (share->transport == NGX_VMESS_SHARE_GRPC) {
        return ngx_vmess_profile_lacks_service(desc, share);
    }

    if (share->transport != NGX_VMESS_SHARE_TCP) {
        return ngx_vmess_profile_lacks_path(desc, share);
    }

    return NULL;
}


static const char *
ngx_vmess_profile_lacks_service(ngx_vmess_profile_desc_t *desc,
    ngx_vmess_share_t *share)
{
    if (ngx_vmess_share_has_method(share)
        && !(desc->flags & NGX_VMESS_PROFILE_METHOD))
    {
        return "this client does not take the name of a method of gRPC";
    }

    if (share->path.len == 0 && (desc->flags & NGX_VMESS_PROFILE_SERVICE)) {
        return "this client does not take an empty name of a service of gRPC";
    }

    return NULL;
}


static const char *
ngx_vmess_profile_lacks_path(ngx_vmess_profile_desc_t *desc,
    ngx_vmess_share_t *share)
{
    ngx_str_t  *host, *sni;

    if ((desc->flags & NGX_VMESS_PROFILE_LINE)
        && !ngx_vmess_share_line_fits(share))
    {
        return "this format cannot hold the path";
    }

    host = &share->http_host;

    if (!(desc->flags & NGX_VMESS_PROFILE_ONE_HOST) || !share->tls
        || host->len == 0)
    {
        return NULL;
    }

    sni = ngx_vmess_share_sni(share);

    if (host->len != sni->len
        || ngx_memcmp(host->data, sni->data, sni->len) != 0)
    {
        return "this client takes the host for the SNI";
    }

    return NULL;
}


/*
 * The next share, with a name of its own: one that is there already gets the
 * number of the share.
 */

static void
ngx_vmess_profile_share(ngx_vmess_profile_t *pr, ngx_vmess_profile_pt write)
{
    u_char                 buf[NGX_VMESS_PROFILE_NAME_MAX];
    ngx_vmess_share_t      share;
    ngx_vmess_text_out_t   to;

    share = pr->shares[pr->index];
    ngx_vmess_share_trim(&share);

    if (ngx_vmess_profile_is_taken(pr, &share.name)) {

        ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

        to.pos = buf;
        to.last = buf + NGX_VMESS_PROFILE_NAME_MAX;

        ngx_vmess_text_out_string(&to, &share.name);
        ngx_vmess_text_out_word(&to, " ");
        ngx_vmess_text_out_number(&to, pr->index + 1);

        share.name.data = buf;
        share.name.len = to.pos - buf;
    }

    write(pr, &share);
}


/* names are the same if they look so in any format */

static ngx_uint_t
ngx_vmess_profile_is_taken(ngx_vmess_profile_t *pr, ngx_str_t *name)
{
    u_char              mine[NGX_VMESS_PROFILE_LABEL_MAX];
    u_char              other[NGX_VMESS_PROFILE_LABEL_MAX];
    size_t              len;
    ngx_uint_t          i;
    ngx_vmess_share_t   share;

    len = ngx_vmess_profile_label(name, mine);

    for (i = 0;
         i < sizeof(ngx_vmess_profile_reserved) / sizeof(ngx_str_t);
         i++)
    {
        if (ngx_vmess_profile_reserved[i].len == len
            && ngx_memcmp(ngx_vmess_profile_reserved[i].data, mine, len) == 0)
        {
            return 1;
        }
    }

    for (i = 0; i < pr->index; i++) {

        share = pr->shares[i];
        ngx_vmess_share_trim(&share);

        if (ngx_vmess_profile_label(&share.name, other) == len
            && ngx_memcmp(other, mine, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static size_t
ngx_vmess_profile_label(ngx_str_t *name, u_char *buf)
{
    ngx_vmess_text_out_t  to;

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));

    to.pos = buf;
    to.last = buf + NGX_VMESS_PROFILE_LABEL_MAX;

    ngx_vmess_text_out_label(&to, name);

    return to.pos - buf;
}


static void
ngx_vmess_profile_comment(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share,
    const char *lacks)
{
    ngx_vmess_text_out_word(&pr->to, "# without ");
    ngx_vmess_text_out_label(&pr->to, &share->name);
    ngx_vmess_text_out_word(&pr->to, ": ");
    ngx_vmess_text_out_word(&pr->to, lacks);
    ngx_vmess_text_out_word(&pr->to, "\n");
}


/* a list has no comments */

static void
ngx_vmess_profile_link(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share)
{
    ngx_int_t               rc;
    ngx_vmess_share_link_e  form;

    form = pr->format == NGX_VMESS_PROFILE_URI ? NGX_VMESS_SHARE_LINK_URI
           : pr->format == NGX_VMESS_PROFILE_SHADOWROCKET
             ? NGX_VMESS_SHARE_LINK_SHADOWROCKET
             : NGX_VMESS_SHARE_LINK_V2RAYN;

    rc = ngx_vmess_share_link_write(&pr->to, form, share);

    if (rc == NGX_OK) {
        ngx_vmess_text_out_word(&pr->to, "\n");
    }
}


static void
ngx_vmess_profile_yaml_proxy(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share)
{
    const char  *lacks;

    lacks = ngx_vmess_profile_lacks(pr->format, share);

    if (lacks) {
        ngx_vmess_profile_comment(pr, share, lacks);
        return;
    }

    ngx_vmess_share_yaml_write(&pr->to, share,
                               pr->format == NGX_VMESS_PROFILE_MIHOMO);
}


static void
ngx_vmess_profile_yaml_name(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share)
{
    if (ngx_vmess_profile_lacks(pr->format, share) == NULL) {
        ngx_vmess_text_out_quoted(&pr->to, &share->name);
        ngx_vmess_text_out_word(&pr->to, ", ");
    }
}


static void
ngx_vmess_profile_json_name(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share)
{
    if (ngx_vmess_profile_lacks(pr->format, share) == NULL) {
        ngx_vmess_text_out_quoted(&pr->to, &share->name);
        ngx_vmess_text_out_word(&pr->to, ",");
    }
}


static void
ngx_vmess_profile_json_outbound(ngx_vmess_profile_t *pr,
    ngx_vmess_share_t *share)
{
    ngx_vmess_json_out_t  jo;

    if (ngx_vmess_profile_lacks(pr->format, share)) {
        return;
    }

    ngx_memzero(&jo, sizeof(ngx_vmess_json_out_t));

    jo.pos = pr->to.pos;
    jo.last = pr->to.last;
    jo.comma = 1;    /* behind the selector */

    ngx_vmess_share_json_write(&jo, share);

    pr->to.pos = jo.pos;
    pr->to.full = jo.full;
}


static void
ngx_vmess_profile_line(ngx_vmess_profile_t *pr, ngx_vmess_share_t *share)
{
    const char  *lacks;

    lacks = ngx_vmess_profile_lacks(pr->format, share);

    if (lacks) {
        ngx_vmess_profile_comment(pr, share, lacks);
        return;
    }

    switch (pr->format) {

    case NGX_VMESS_PROFILE_SURGE:
        ngx_vmess_share_line_surge(&pr->to, share);
        break;

    case NGX_VMESS_PROFILE_QUANTUMULT_X:
        ngx_vmess_share_line_qx(&pr->to, share);
        break;

    default: /* NGX_VMESS_PROFILE_LOON */
        ngx_vmess_share_line_loon(&pr->to, share);
        break;
    }
}
