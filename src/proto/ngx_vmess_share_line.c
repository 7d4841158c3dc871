
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_share_line.h"


static void ngx_vmess_share_line_begin(ngx_vmess_text_out_t *to,
    ngx_vmess_share_t *share, const char *separator);
static void ngx_vmess_share_line_field(ngx_vmess_text_out_t *to,
    const char *key, ngx_str_t *value);


void
ngx_vmess_share_line_surge(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    ngx_vmess_share_line_begin(to, share, ", ");
    ngx_vmess_text_out_word(to, ", username=");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_text_out_word(to, ", vmess-aead=true");

    /* there is no word for "auto" */

    if (share->security == NGX_VMESS_SHARE_AES_128_GCM) {
        ngx_vmess_text_out_word(to, ", encrypt-method=aes-128-gcm");

    } else if (share->security == NGX_VMESS_SHARE_CHACHA20) {
        ngx_vmess_text_out_word(to, ", encrypt-method=chacha20-ietf-poly1305");
    }

    if (share->tls) {
        ngx_vmess_text_out_word(to, ", tls=true");
        ngx_vmess_share_line_field(to, ", sni=", ngx_vmess_share_sni(share));
    }

    if (share->transport == NGX_VMESS_SHARE_WS) {
        ngx_vmess_share_line_field(to, ", ws=true, ws-path=", &share->path);
        ngx_vmess_share_line_field(to, ", ws-headers=Host:",
                                   ngx_vmess_share_host(share));
    }

    ngx_vmess_text_out_word(to, "\n");
}


void
ngx_vmess_share_line_qx(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    ngx_uint_t   ipv6;
    ngx_str_t   *host;

    static const char  *methods[NGX_VMESS_SHARE_SECURITIES] = {
        "chacha20-poly1305", "aes-128-gcm", "chacha20-poly1305", "none", NULL
    };

    host = &share->host;
    ipv6 = (ngx_strlchr(host->data, host->data + host->len, ':') != NULL);

    ngx_vmess_text_out_word(to, ipv6 ? "vmess=[" : "vmess=");
    ngx_vmess_text_out_string(to, host);
    ngx_vmess_text_out_word(to, ipv6 ? "]:" : ":");
    ngx_vmess_text_out_number(to, share->port);
    ngx_vmess_text_out_word(to, ", method=");
    ngx_vmess_text_out_word(to, methods[share->security]);
    ngx_vmess_text_out_word(to, ", password=");
    ngx_vmess_text_out_uuid(to, share->id);

    switch (share->transport) {

    case NGX_VMESS_SHARE_TCP:

        if (share->tls) {
            ngx_vmess_share_line_field(to, ", obfs=over-tls, obfs-host=",
                                       ngx_vmess_share_sni(share));
        }

        break;

    default: /* WebSocket, the HTTP disguise */

        ngx_vmess_text_out_word(to,
                  share->transport == NGX_VMESS_SHARE_TCP_HTTP ? ", obfs=http"
                  : share->tls ? ", obfs=wss" : ", obfs=ws");
        ngx_vmess_share_line_field(to, ", obfs-host=",
                                   ngx_vmess_share_host(share));
        ngx_vmess_share_line_field(to, ", obfs-uri=", &share->path);
        break;
    }

    ngx_vmess_text_out_word(to, ", udp-relay=true, aead=true, tag=");
    ngx_vmess_text_out_label(to, &share->name);
    ngx_vmess_text_out_word(to, "\n");
}


void
ngx_vmess_share_line_loon(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share)
{
    static const char  *methods[NGX_VMESS_SHARE_SECURITIES] = {
        "auto", "aes-128-gcm", "chacha20-ietf-poly1305", "none", NULL
    };

    ngx_vmess_share_line_begin(to, share, ",");
    ngx_vmess_text_out_word(to, ",");
    ngx_vmess_text_out_word(to, methods[share->security]);
    ngx_vmess_text_out_word(to, ",\"");
    ngx_vmess_text_out_uuid(to, share->id);
    ngx_vmess_text_out_word(to, "\"");

    if (share->transport == NGX_VMESS_SHARE_TCP) {
        ngx_vmess_text_out_word(to, ",transport=tcp");

    } else {
        ngx_vmess_share_line_field(to,
                           share->transport == NGX_VMESS_SHARE_WS
                           ? ",transport=ws,path=" : ",transport=http,path=",
                           &share->path);
        ngx_vmess_share_line_field(to, ",host=", ngx_vmess_share_host(share));
    }

    if (share->tls) {
        ngx_vmess_share_line_field(to, ",over-tls=true,tls-name=",
                                   ngx_vmess_share_sni(share));
    }

    ngx_vmess_text_out_word(to, ",alterId=0,udp=true\n");
}


ngx_uint_t
ngx_vmess_share_line_fits(ngx_vmess_share_t *share)
{
    size_t  i;

    for (i = 0; i < share->path.len; i++) {
        if (ngx_strchr(",;\"'|\\", share->path.data[i])) {
            return 0;
        }
    }

    return 1;
}


/* "NAME = vmess, HOST, PORT" */

static void
ngx_vmess_share_line_begin(ngx_vmess_text_out_t *to, ngx_vmess_share_t *share,
    const char *separator)
{
    ngx_vmess_text_out_label(to, &share->name);
    ngx_vmess_text_out_word(to, " = vmess");
    ngx_vmess_text_out_word(to, separator);
    ngx_vmess_text_out_string(to, &share->host);
    ngx_vmess_text_out_word(to, separator);
    ngx_vmess_text_out_number(to, share->port);
}


/* nothing of an empty one */

static void
ngx_vmess_share_line_field(ngx_vmess_text_out_t *to, const char *key,
    ngx_str_t *value)
{
    if (value->len) {
        ngx_vmess_text_out_word(to, key);
        ngx_vmess_text_out_string(to, value);
    }
}
