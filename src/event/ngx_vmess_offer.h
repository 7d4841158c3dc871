
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_OFFER_H_INCLUDED_
#define _NGX_VMESS_OFFER_H_INCLUDED_


#include "ngx_vmess_vconn.h"
#include "ngx_vmess_zone.h"
#include "proto/ngx_vmess_share.h"


/*
 * A "vmess_share": what users are told of a way to this server or to another
 * one.  A configuration has a list of them, conf->offers.
 */

typedef struct {
    ngx_vmess_share_t          share;      /* but for name and id */
    ngx_array_t                name;       /* of ngx_str_t; without data: the
                                              user's name */

    /* parameters, NGX_CONF_UNSET_UINT: not there */

    ngx_uint_t                 transport;
    ngx_uint_t                 security;
    ngx_uint_t                 tls;
    ngx_uint_t                 external;

    ngx_str_t                  text;       /* "name=" */

    ngx_vmess_zone_t          *zone;       /* whose users are told */
    ngx_vmess_listen_t       **listen;     /* of http: where the zone is known,
                                              or NULL */
    u_char                    *file_name;
    ngx_uint_t                 line;
} ngx_vmess_offer_t;


/*
 * The directive: adds an offer to the list of the configuration.  NULL after an
 * error that was logged.
 */
ngx_vmess_offer_t *ngx_vmess_offer_add(ngx_conf_t *cf);

/* says what is wrong with an offer, and returns NGX_ERROR */
ngx_int_t ngx_vmess_offer_error(ngx_conf_t *cf, ngx_vmess_offer_t *offer,
    const char *what);

/*
 * When all is known: takes what has to be the default, and checks the rest.
 * NGX_OK, or NGX_ERROR after an error that was logged.
 */
ngx_int_t ngx_vmess_offer_complete(ngx_conf_t *cf, ngx_vmess_offer_t *offer);

/* finds the zones of offers of http, once listen is set */
void ngx_vmess_offer_resolve(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf);

/*
 * What a user of a zone is told.
 *
 * user  the name, which stays as long as the shares do
 * id    the user's id
 *
 * An array of ngx_vmess_share_t in memory of the pool, in the order of the
 * configuration; NULL: no memory.
 */
ngx_array_t *ngx_vmess_offer_shares(ngx_vmess_zone_t *zone, ngx_str_t *user,
    const u_char *id, ngx_pool_t *pool);


#endif /* _NGX_VMESS_OFFER_H_INCLUDED_ */
