
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_SUBSCRIPTION_H_INCLUDED_
#define _NGX_HTTP_VMESS_SUBSCRIPTION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "event/ngx_vmess_users.h"
#include "proto/ngx_vmess_choice.h"


typedef struct {
    ngx_vmess_zone_t         **zone;       /* NULL: no subscriptions here */
    ngx_str_t                  title;      /* empty: the user's name */
    ngx_str_t                  url;        /* before a token; empty: that of
                                              the request */
    time_t                     interval;   /* between updates */
} ngx_http_vmess_subscription_loc_conf_t;


/* a request with a token of a user, in memory of the request */

typedef struct {
    ngx_http_request_t        *request;
    ngx_vmess_zone_t          *zone;
    ngx_str_t                  prefix;     /* of the path, before the token */
    ngx_str_t                  token;
    ngx_uint_t                 format;     /* of ngx_vmess_choice_format() */

    ngx_vmess_user_info_t      info;
    ngx_vmess_usage_e          status;
    time_t                     expires;    /* 0: never, or not known yet */
    off_t                      quota;      /* 0: none */
    off_t                      up;         /* in the period of the quota: */
    off_t                      down;       /* they sum up to what counts */
    ngx_str_t                  title;
    ngx_str_t                  url;        /* of the subscription */
    time_t                     interval;

    ngx_array_t               *shares;     /* of ngx_vmess_share_t */
} ngx_http_vmess_subscription_ctx_t;


/*
 * Finds the user of the token, and all there is to tell.
 *
 * NGX_OK
 * NGX_DECLINED  it is none of a user who is to know of it
 * NGX_ERROR     no memory
 */
ngx_int_t ngx_http_vmess_subscription_load(
    ngx_http_vmess_subscription_ctx_t *ctx,
    ngx_http_vmess_subscription_loc_conf_t *slcf);

/* wipes ids and the token */
void ngx_http_vmess_subscription_wipe(ngx_http_vmess_subscription_ctx_t *ctx);

/* adds a header that tells clients something; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_subscription_header(ngx_http_request_t *r, char *key,
    ngx_str_t *value);

/* adds all headers of a profile, or those that a page has as well */
ngx_int_t ngx_http_vmess_subscription_headers(
    ngx_http_vmess_subscription_ctx_t *ctx);

/* the profile as a chain of buffers; NULL: no memory */
ngx_chain_t *ngx_http_vmess_subscription_profile(
    ngx_http_vmess_subscription_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_SUBSCRIPTION_H_INCLUDED_ */
