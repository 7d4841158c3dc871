
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_FIELD_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_FIELD_H_INCLUDED_


#include "ngx_http_vmess_api_request.h"


/* what a field of a user is, and so how it is read and written */

typedef enum {
    NGX_HTTP_VMESS_API_NAME = 0,
    NGX_HTTP_VMESS_API_ID,
    NGX_HTTP_VMESS_API_ALSO,
    NGX_HTTP_VMESS_API_UNTIL,
    NGX_HTTP_VMESS_API_TAGS,

    /* of limits */

    NGX_HTTP_VMESS_API_TIME,
    NGX_HTTP_VMESS_API_SECONDS,
    NGX_HTTP_VMESS_API_BYTES,
    NGX_HTTP_VMESS_API_RATE,
    NGX_HTTP_VMESS_API_NUMBER,
    NGX_HTTP_VMESS_API_FLAG,
    NGX_HTTP_VMESS_API_PERIOD,
    NGX_HTTP_VMESS_API_TOKEN,
    NGX_HTTP_VMESS_API_WORD,

    /* read-only */

    NGX_HTTP_VMESS_API_STATUS,
    NGX_HTTP_VMESS_API_ORIGIN,
    NGX_HTTP_VMESS_API_UP,
    NGX_HTTP_VMESS_API_DOWN,
    NGX_HTTP_VMESS_API_USED,
    NGX_HTTP_VMESS_API_COUNTER,
    NGX_HTTP_VMESS_API_SEEN,
    NGX_HTTP_VMESS_API_BEGUN,
    NGX_HTTP_VMESS_API_ENDS
} ngx_http_vmess_api_kind_e;


/* a user as it is at one moment */

typedef struct {
    ngx_vmess_user_info_t      user;
    ngx_uint_t                 flows;      /* open now */
    ngx_uint_t                 addresses;  /* held, with max_ips */
} ngx_http_vmess_api_info_t;


#define ngx_http_vmess_api_is_limit(field)                                    \
    ((field)->kind >= NGX_HTTP_VMESS_API_TIME                                 \
     && (field)->kind <= NGX_HTTP_VMESS_API_WORD)

#define ngx_http_vmess_api_is_read_only(field)                                \
    ((field)->kind >= NGX_HTTP_VMESS_API_STATUS)


typedef struct {
    ngx_str_t                  name;
    ngx_uint_t                 kind;
    size_t                     offset;     /* in the limits, or the info */
} ngx_http_vmess_api_field_t;


/* how many words there are for "status" */

#define NGX_HTTP_VMESS_API_STATUSES  (NGX_VMESS_USAGE_ON_HOLD + 1)


/* fields of a user; a set of them has a bit for each, in this order */

extern ngx_http_vmess_api_field_t  ngx_http_vmess_api_fields[];

extern ngx_str_t  ngx_http_vmess_api_statuses[];   /* by ngx_vmess_usage_e */
extern ngx_str_t  ngx_http_vmess_api_origins[];    /* by ngx_vmess_origin_e */

/* finds a field by its name; NULL if there is none */
ngx_http_vmess_api_field_t *ngx_http_vmess_api_field(ngx_str_t *name);

/* the bit of a field */
#define ngx_http_vmess_api_field_bit(field)                                   \
    ((uint32_t) 1 << ((field) - ngx_http_vmess_api_fields))

/*
 * Gets the user of a number in the table; NGX_OK, or NGX_DECLINED: there is
 * none
 */
ngx_int_t ngx_http_vmess_api_field_load(ngx_vmess_zone_t *zone, ngx_uint_t n,
    ngx_http_vmess_api_info_t *info);

/* the set of all fields that may be shown */
uint32_t ngx_http_vmess_api_field_all(ngx_http_vmess_api_ctx_t *ctx);

/* the status of a user at this time */
ngx_vmess_usage_e ngx_http_vmess_api_field_status(
    ngx_http_vmess_api_info_t *info);

/*
 * what a user has in a field that is a number or a time, 0 if it has no number
 */
int64_t ngx_http_vmess_api_field_key(ngx_http_vmess_api_field_t *field,
    ngx_http_vmess_api_info_t *info);

/* writes a user as an object with a set of fields */
void ngx_http_vmess_api_field_write(ngx_vmess_json_out_t *jo,
    ngx_http_vmess_api_info_t *info, uint32_t fields);


/* writes a time as in RFC 3339, or null for 0 */
void ngx_http_vmess_api_field_time(ngx_vmess_json_out_t *jo, const char *key,
    time_t t);


/* an object with all fields takes less */

#define NGX_HTTP_VMESS_API_USER_SIZE  2048


#endif /* _NGX_HTTP_VMESS_API_FIELD_H_INCLUDED_ */
