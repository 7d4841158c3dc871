
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_STATUS_H_INCLUDED_
#define _NGX_HTTP_VMESS_STATUS_H_INCLUDED_


#include "ngx_http_vmess_api_field.h"
#include "ngx_http_vmess_api_stream.h"
#include "event/ngx_vmess_counters.h"
#include "event/ngx_vmess_history.h"


/*
 * The status of a zone: it is collected some users at a time, and then written
 * in one of several formats, as fast as the client takes it.
 */


/* a user that is shown: one of those with most traffic, if there are more */

typedef struct {
    size_t                     len;
    u_char                     name[NGX_VMESS_USER_NAME_MAX];
    int64_t                    traffic;    /* up and down */
    int64_t                    up;
    int64_t                    down;
    int64_t                    used;
    int64_t                    quota;      /* 0: none */
    time_t                     expires;    /* 0: never */
    ngx_uint_t                 flows;
    ngx_uint_t                 addresses;
    ngx_uint_t                 status;     /* ngx_vmess_usage_e */
} ngx_http_vmess_status_user_t;


/* of what there is room for some only */

typedef struct {
    ngx_uint_t                 used;
    ngx_uint_t                 size;
} ngx_http_vmess_status_fill_t;


/* whose names metrics have: ours, or those of exporters */

typedef enum {
    NGX_HTTP_VMESS_STATUS_NGINX = 0,
    NGX_HTTP_VMESS_STATUS_XRAY,
    NGX_HTTP_VMESS_STATUS_V2RAY
} ngx_http_vmess_status_names_e;


/* where the page finds what is not of the status; empty: it is not told */

typedef struct {
    ngx_str_t                  api;
    ngx_str_t                  subscription;
} ngx_http_vmess_status_places_t;


typedef struct ngx_http_vmess_status_s  ngx_http_vmess_status_t;

/*
 * Writes item st->item of part st->part to st->stream.jo.
 *
 * NGX_OK        the next item is to be written; nothing was, if it did not fit
 * NGX_DECLINED  there is no such item: the next part is to be written
 * NGX_DONE      there is no such part
 */
typedef ngx_int_t (*ngx_http_vmess_status_write_pt)(
    ngx_http_vmess_status_t *st);


typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        type;   /* Content-Type */
    ngx_http_vmess_status_write_pt   write;
    ngx_uint_t                       variant;
} ngx_http_vmess_status_format_t;


struct ngx_http_vmess_status_s {
    ngx_http_vmess_status_format_t  *format;
    ngx_uint_t                       names;
    ngx_http_vmess_status_places_t  *places;
    ngx_vmess_zone_t                *zone;
    time_t                           now;

    ngx_uint_t                       n;      /* the next user to look at, */
    ngx_uint_t                       client; /* and address of users */

    ngx_vmess_counters_t             sum;
    ngx_uint_t                       set;    /* of flows open in it */
    ngx_http_vmess_status_fill_t     bytes;  /* for users and ids */
    ngx_http_vmess_status_fill_t     replay;
    ngx_http_vmess_status_fill_t     addresses;
    ngx_http_vmess_status_fill_t     history;

    /* all users */

    ngx_uint_t                       total;
    ngx_uint_t                       statuses[NGX_HTTP_VMESS_API_STATUSES];
    int64_t                          up;
    int64_t                          down;
    int64_t                          flows;

    /* those shown: a heap once there are as many as may be */

    ngx_http_vmess_status_user_t    *users;
    ngx_uint_t                       nusers;
    ngx_uint_t                       max;

    ngx_uint_t                       part;
    ngx_uint_t                       item;
    ngx_http_vmess_api_stream_t      stream;
};


/*
 * Content handler: collects, and answers in that format.
 *
 * names   of metrics: one of ngx_http_vmess_status_names_e
 * max     users to show
 * places  that are told in JSON
 */
ngx_int_t ngx_http_vmess_status(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_status_format_t *format, ngx_uint_t names, ngx_uint_t max,
    ngx_http_vmess_status_places_t *places);

/* content handler: the last hour of the user ctx->name, in JSON */
ngx_int_t ngx_http_vmess_status_history(ngx_http_vmess_api_ctx_t *ctx);

/* writers of formats; variant: 1 for OpenMetrics */
ngx_int_t ngx_http_vmess_status_json(ngx_http_vmess_status_t *st);
ngx_int_t ngx_http_vmess_status_metrics(ngx_http_vmess_status_t *st);


#endif /* _NGX_HTTP_VMESS_STATUS_H_INCLUDED_ */
