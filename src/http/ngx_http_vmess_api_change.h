
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_CHANGE_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_CHANGE_H_INCLUDED_


#include "ngx_http_vmess_api_field.h"
#include "proto/ngx_vmess_json.h"


/* what a request says of one user */

typedef struct {
    u_char                     name[NGX_VMESS_USER_NAME_MAX];
    ngx_vmess_value_t          value;      /* value.name is in name */
    uint32_t                   given;      /* the set of its fields */
    ngx_uint_t                 remove;     /* "remove": true */
} ngx_http_vmess_api_change_t;


/* a reader of the JSON object of one user; zeroed, but for "many" */

typedef struct {
    ngx_http_vmess_api_change_t  *change;
    ngx_http_vmess_api_field_t   *field;      /* whose value follows */
    unsigned                      open:1;     /* the object */
    unsigned                      tags:1;     /* the array of tags */
    unsigned                      removal:1;  /* that of "remove" follows */
    unsigned                      removed:1;  /* it was given */
    unsigned                      many:1;     /* of a list, with "remove" */
} ngx_http_vmess_api_reader_t;


/*
 * Takes an event of the JSON reader.
 *
 * NGX_AGAIN  more is to come
 * NGX_OK     the user is whole
 * NGX_ERROR  err says what is wrong
 */
ngx_int_t ngx_http_vmess_api_change_event(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);

/*
 * Makes a value that of a user of whom nothing is given yet, for PUT.  The
 * token stays: a list of users seldom has it, and would make good again an
 * address that was replaced.
 */
void ngx_http_vmess_api_change_clear(ngx_vmess_value_t *value);

/* puts the fields that were given into a value, whose name stays */
void ngx_http_vmess_api_change_merge(ngx_http_vmess_api_change_t *change,
    ngx_vmess_value_t *value);

/*
 * Whether a value is whole and its fields go together; NGX_OK or NGX_ERROR.  A
 * token that the user would have without it is dropped.
 */
ngx_int_t ngx_http_vmess_api_change_check(ngx_vmess_value_t *value,
    ngx_http_vmess_api_error_t *err);


#endif /* _NGX_HTTP_VMESS_API_CHANGE_H_INCLUDED_ */
