
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_USER_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_USER_H_INCLUDED_


#include "ngx_http_vmess_api_field.h"


/*
 * Finds a user of the zone by its name.  NGX_OK, and info is the user as it is;
 * NGX_DECLINED: there is none.
 */
ngx_int_t ngx_http_vmess_api_user_find(ngx_vmess_zone_t *zone,
    ngx_str_t *name, ngx_http_vmess_api_info_t *info);

/* says that there is no user ctx->name; returns NGX_ERROR */
ngx_int_t ngx_http_vmess_api_user_none(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_error_t *err);

/*
 * Says why a user could not be set, but for NGX_VMESS_TABLE_TAKEN; returns
 * NGX_ERROR.
 */
ngx_int_t ngx_http_vmess_api_user_error(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_e rc, ngx_str_t *name, ngx_http_vmess_api_error_t *err);

/* says which id of a value is that of another user; returns NGX_ERROR */
ngx_int_t ngx_http_vmess_api_user_id_taken(ngx_vmess_value_t *value,
    ngx_vmess_value_t *other, ngx_http_vmess_api_error_t *err);

/*
 * The user who has the token of a value already, other than one of its name, or
 * who has its id, which comes first; NULL: nobody.  The table is locked.
 */
ngx_vmess_user_t *ngx_http_vmess_api_user_token_owner(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value);

/* says that the token of user name is that of user other; returns NGX_ERROR */
ngx_int_t ngx_http_vmess_api_user_token_taken(ngx_str_t *name, ngx_str_t *other,
    ngx_http_vmess_api_error_t *err);

/* says that a reload gave the zone another size; returns NGX_ERROR */
ngx_int_t ngx_http_vmess_api_user_replaced(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_error_t *err);

/* content handlers of what is about one user, ctx->name */

ngx_int_t ngx_http_vmess_api_user_get(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_user_change(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_user_delete(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_user_kick(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_user_reset(ngx_http_vmess_api_ctx_t *ctx);
ngx_int_t ngx_http_vmess_api_user_token(ngx_http_vmess_api_ctx_t *ctx);


#endif /* _NGX_HTTP_VMESS_API_USER_H_INCLUDED_ */
