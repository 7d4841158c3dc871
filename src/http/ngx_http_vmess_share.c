
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_share.h"
#include "event/ngx_vmess_offer.h"


/* a "vmess_share", and where it stands */

typedef struct {
    ngx_vmess_offer_t         *offer;
    ngx_http_vmess_loc_conf_t *vlcf;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;
} ngx_http_vmess_share_place_t;


static ngx_int_t ngx_http_vmess_share_derive(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place);
static ngx_int_t ngx_http_vmess_share_transport(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place);
static ngx_int_t ngx_http_vmess_share_path(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place);
static void ngx_http_vmess_share_service(ngx_http_core_loc_conf_t *clcf,
    ngx_vmess_share_t *share);
static ngx_int_t ngx_http_vmess_share_tls(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place);


/* words of "vmess_pass" */

static struct {
    ngx_uint_t                 mask;
    ngx_uint_t                 transport;
} ngx_http_vmess_share_transports[] = {
    { NGX_HTTP_VMESS_WEBSOCKET, NGX_VMESS_SHARE_WS },
    { NGX_HTTP_VMESS_HTTPUPGRADE, NGX_VMESS_SHARE_HTTPUPGRADE },
    { NGX_HTTP_VMESS_GRPC, NGX_VMESS_SHARE_GRPC },
    { NGX_HTTP_VMESS_HTTP, NGX_VMESS_SHARE_H2 },
    { NGX_HTTP_VMESS_XHTTP, NGX_VMESS_SHARE_XHTTP },
    { 0, 0 }
};


char *
ngx_http_vmess_share(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_vmess_offer_t             *offer;
    ngx_http_vmess_main_conf_t    *vmcf;
    ngx_http_vmess_share_place_t  *place;

    offer = ngx_vmess_offer_add(cf);
    if (offer == NULL) {
        return NGX_CONF_ERROR;
    }

    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    if (vmcf->shares == NULL) {
        vmcf->shares = ngx_array_create(cf->pool, 4,
                                        sizeof(ngx_http_vmess_share_place_t));
        if (vmcf->shares == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    place = ngx_array_push(vmcf->shares);
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    place->offer = offer;
    place->vlcf = conf;
    place->clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    place->cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_vmess_share_init(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_vmess_offer_t             *offer;
    ngx_http_vmess_main_conf_t    *vmcf;
    ngx_http_vmess_share_place_t  *place;

    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    if (vmcf->shares == NULL) {
        return NGX_OK;
    }

    place = vmcf->shares->elts;

    for (i = 0; i < vmcf->shares->nelts; i++) {

        offer = place[i].offer;
        offer->listen = place[i].vlcf->listen;

        if (offer->listen == NULL) {
            return ngx_vmess_offer_error(cf, offer, "needs \"vmess_pass\" in "
                                         "its location, which tells the users");
        }

        if (!offer->external
            && ngx_http_vmess_share_derive(cf, &place[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (offer->transport == NGX_CONF_UNSET_UINT) {
            return ngx_vmess_offer_error(cf, offer, "is \"external\" and "
                                         "needs \"transport=\"");
        }

        if (offer->tls == NGX_CONF_UNSET_UINT) {
            offer->tls = (offer->transport != NGX_VMESS_SHARE_KCP);
        }

        if (ngx_vmess_offer_complete(cf, offer) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_share_derive(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place)
{
    if (ngx_http_vmess_share_transport(cf, place) != NGX_OK
        || ngx_http_vmess_share_path(cf, place) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_share_tls(cf, place);
}


/* the only one of "vmess_pass", or one of them */

static ngx_int_t
ngx_http_vmess_share_transport(ngx_conf_t *cf,
    ngx_http_vmess_share_place_t *place)
{
    ngx_uint_t          i, n, transport;
    ngx_vmess_offer_t  *offer;

    offer = place->offer;
    transport = NGX_CONF_UNSET_UINT;
    n = 0;

    for (i = 0; ngx_http_vmess_share_transports[i].mask; i++) {

        if (!(place->vlcf->transports
              & ngx_http_vmess_share_transports[i].mask))
        {
            continue;
        }

        transport = ngx_http_vmess_share_transports[i].transport;

        if (transport == offer->transport) {
            return NGX_OK;
        }

        n++;
    }

    if (offer->transport != NGX_CONF_UNSET_UINT) {
        return ngx_vmess_offer_error(cf, offer, "has a \"transport=\" that "
                                     "\"vmess_pass\" of its location has not");
    }

    if (n > 1) {
        return ngx_vmess_offer_error(cf, offer, "needs \"transport=\", as "
                                     "\"vmess_pass\" of its location has "
                                     "several");
    }

    offer->transport = transport;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_share_path(ngx_conf_t *cf, ngx_http_vmess_share_place_t *place)
{
    ngx_vmess_offer_t         *offer;
    ngx_http_core_loc_conf_t  *clcf;

    offer = place->offer;
    clcf = place->clcf;

    if (offer->share.path.len) {
        return NGX_OK;
    }

#if (NGX_PCRE)

    if (clcf->regex) {
        return ngx_vmess_offer_error(cf, offer, "needs \"path=\", its location "
                                     "is a regular expression");
    }

#endif

    if (clcf->named || clcf->noname) {
        return ngx_vmess_offer_error(cf, offer, "needs \"path=\", its location "
                                     "has no path");
    }

    if (offer->transport == NGX_VMESS_SHARE_GRPC) {
        ngx_http_vmess_share_service(clcf, &offer->share);
        return NGX_OK;
    }

    offer->share.path = clcf->name;

    return NGX_OK;
}


/*
 * What clients put before "/Tun"; in "/" any name will do.  An exact one is
 * the path of a method, which clients take instead of a name if it is another.
 */

static void
ngx_http_vmess_share_service(ngx_http_core_loc_conf_t *clcf,
    ngx_vmess_share_t *share)
{
    ngx_str_t  name;

    name = clcf->name;

    if (!clcf->exact_match) {

        if (name.len == 1) {
            ngx_str_set(&share->path, "GunService");
            return;
        }

        if (name.data[name.len - 1] == '/') {
            name.len--;
        }

    } else if (name.len >= 9
               && ngx_strncmp(name.data + name.len - 9, "/TunMulti", 9) == 0)
    {
        name.len -= 9;

        if (share->mode.len == 0) {
            ngx_str_set(&share->mode, "multi");
        }

    } else if (name.len >= 4
               && ngx_strncmp(name.data + name.len - 4, "/Tun", 4) == 0)
    {
        name.len -= 4;

    } else {
        share->path = name;
        return;
    }

    share->path.data = name.data + 1;
    share->path.len = name.len ? name.len - 1 : 0;
}


/* by "listen" of that port, or of all others */

static ngx_int_t
ngx_http_vmess_share_tls(ngx_conf_t *cf, ngx_http_vmess_share_place_t *place)
{
    ngx_uint_t                  kinds;
    ngx_vmess_offer_t          *offer;
    ngx_http_core_main_conf_t  *cmcf;

    offer = place->offer;

    if (offer->tls != NGX_CONF_UNSET_UINT) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    kinds = ngx_http_vmess_compat_listens(cmcf, place->cscf,
                                          offer->share.port);
    if (kinds == 0) {
        kinds = ngx_http_vmess_compat_listens(cmcf, place->cscf, 0);
    }

    if (kinds == (NGX_HTTP_VMESS_LISTEN_SSL|NGX_HTTP_VMESS_LISTEN_PLAIN)) {
        return ngx_vmess_offer_error(cf, offer, "needs \"tls=\", the server "
                                     "listens with \"ssl\" and without, and "
                                     "not on that port");
    }

    offer->tls = (kinds == NGX_HTTP_VMESS_LISTEN_SSL);

    return NGX_OK;
}
