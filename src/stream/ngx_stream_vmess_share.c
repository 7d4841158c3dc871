
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_share.h"
#include "ngx_stream_vmess_compat.h"
#include "event/ngx_vmess_offer.h"


static ngx_int_t ngx_stream_vmess_share_derive(ngx_conf_t *cf,
    ngx_stream_vmess_srv_conf_t *vscf, ngx_vmess_offer_t *offer,
    ngx_uint_t kinds);
static ngx_int_t ngx_stream_vmess_share_kcp(ngx_conf_t *cf,
    ngx_vmess_kcp_socket_conf_t *kcp, ngx_vmess_offer_t *offer);
static void ngx_stream_vmess_share_disguise(ngx_vmess_http_conf_t *disguise,
    ngx_vmess_offer_t *offer);


/* names of NGX_VMESS_KCP_HEADER_... */

static ngx_str_t  ngx_stream_vmess_share_headers[] = {
    ngx_string("none"),
    ngx_string("srtp"),
    ngx_string("utp"),
    ngx_string("wechat-video"),
    ngx_string("dtls"),
    ngx_string("wireguard"),
    ngx_string("dns")
};


char *
ngx_stream_vmess_share(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    ngx_vmess_offer_t  *offer, **offerp;

    offer = ngx_vmess_offer_add(cf);
    if (offer == NULL) {
        return NGX_CONF_ERROR;
    }

    if (vscf->offers == NULL) {
        vscf->offers = ngx_array_create(cf->pool, 1,
                                        sizeof(ngx_vmess_offer_t *));
        if (vscf->offers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    offerp = ngx_array_push(vscf->offers);
    if (offerp == NULL) {
        return NGX_CONF_ERROR;
    }

    *offerp = offer;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_stream_vmess_share_check_server(ngx_conf_t *cf,
    ngx_stream_vmess_srv_conf_t *vscf, ngx_uint_t kinds)
{
    ngx_uint_t           i;
    ngx_vmess_offer_t  **offer;

    if (vscf->offers == NULL) {
        return NGX_OK;
    }

    offer = vscf->offers->elts;

    for (i = 0; i < vscf->offers->nelts; i++) {

        offer[i]->zone = vscf->zone;

        if (!offer[i]->external
            && ngx_stream_vmess_share_derive(cf, vscf, offer[i], kinds)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (offer[i]->transport == NGX_CONF_UNSET_UINT) {
            return ngx_vmess_offer_error(cf, offer[i], "is \"external\" and "
                                         "needs \"transport=\"");
        }

        if (offer[i]->tls == NGX_CONF_UNSET_UINT) {
            offer[i]->tls = (offer[i]->transport != NGX_VMESS_SHARE_KCP);
        }

        if (ngx_vmess_offer_complete(cf, offer[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_share_derive(ngx_conf_t *cf,
    ngx_stream_vmess_srv_conf_t *vscf, ngx_vmess_offer_t *offer,
    ngx_uint_t kinds)
{
    ngx_uint_t  transport;

    if (kinds == 0) {
        return ngx_vmess_offer_error(cf, offer, "is in a server without "
                                     "\"listen\", it belongs into the location "
                                     "with \"vmess_pass\"");
    }

    transport = vscf->kcp ? NGX_VMESS_SHARE_KCP
                : vscf->quic ? NGX_VMESS_SHARE_QUIC
                : vscf->disguise ? NGX_VMESS_SHARE_TCP_HTTP
                : NGX_VMESS_SHARE_TCP;

    if (offer->transport != NGX_CONF_UNSET_UINT
        && offer->transport != transport)
    {
        return ngx_vmess_offer_error(cf, offer, "has a \"transport=\" that the "
                                     "server has not, use \"external\" for "
                                     "another server");
    }

    offer->transport = transport;

    if (offer->tls == NGX_CONF_UNSET_UINT) {
        offer->tls = (transport == NGX_VMESS_SHARE_QUIC
                      || (kinds & NGX_VMESS_LISTEN_SSL));
    }

    if (vscf->kcp) {
        return ngx_stream_vmess_share_kcp(cf, vscf->kcp, offer);
    }

    if (transport == NGX_VMESS_SHARE_TCP_HTTP) {
        ngx_stream_vmess_share_disguise(vscf->disguise, offer);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_share_kcp(ngx_conf_t *cf, ngx_vmess_kcp_socket_conf_t *kcp,
    ngx_vmess_offer_t *offer)
{
    if (kcp->seal == NGX_VMESS_KCP_SEAL_NONE) {
        return ngx_vmess_offer_error(cf, offer, "is in a server with "
                                     "\"seal=none\", which links cannot tell");
    }

    offer->share.header = ngx_stream_vmess_share_headers[kcp->header];
    offer->share.seed = kcp->seed;
    offer->share.http_host = kcp->domain;

    return NGX_OK;
}


/* the first of what requests may have */

static void
ngx_stream_vmess_share_disguise(ngx_vmess_http_conf_t *disguise,
    ngx_vmess_offer_t *offer)
{
    if (offer->share.path.len == 0) {

        if (disguise->paths) {
            offer->share.path = *(ngx_str_t *) disguise->paths->elts;

        } else {
            ngx_str_set(&offer->share.path, "/");
        }
    }

    if (offer->share.http_host.len == 0 && disguise->hosts) {
        offer->share.http_host = *(ngx_str_t *) disguise->hosts->elts;
    }
}
