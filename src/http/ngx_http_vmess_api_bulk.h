
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_BULK_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_BULK_H_INCLUDED_


#include "ngx_http_vmess_api_change.h"


/* users that are checked, set or removed in one go: others wait for the lock */

#define NGX_HTTP_VMESS_API_BULK_SLICE  32


/* a user of the body */

typedef struct {
    ngx_str_node_t                name;
    ngx_str_node_t                id[NGX_VMESS_USER_IDS];
    ngx_str_node_t                token;     /* in text */
    u_char                        text[NGX_VMESS_SUBSCRIPTION_MAX];
    ngx_uint_t                    number;    /* in the body */
    ngx_http_vmess_api_change_t   change;
    ngx_vmess_value_keys_t       *keys;      /* NULL: the ids are not new */
    unsigned                      users:1;   /* room that it needs */
    unsigned                      slots:4;
} ngx_http_vmess_api_item_t;


typedef struct {
    ngx_list_t                    items;
    ngx_uint_t                    nitems;
    ngx_rbtree_t                  names;
    ngx_rbtree_t                  ids;
    ngx_rbtree_t                  tokens;
    ngx_rbtree_node_t             sentinel;

    /* reading */

    ngx_uint_t                    state;
    ngx_http_vmess_api_reader_t   reader;
    ngx_http_vmess_api_item_t    *item;

    /* where a walk over the items, or over the table, is */

    ngx_list_part_t              *part;
    ngx_uint_t                    i;

    /* room for what is not set yet: there will be slots of users that go */

    ngx_uint_t                    users;
    ngx_uint_t                    slots;
    ngx_uint_t                    spare;
    ngx_uint_t                    freed;

    ngx_http_vmess_api_ctx_t     *ctx;       /* of the edit, NULL: none */
    ngx_http_vmess_api_step_pt    change;    /* goes on, NULL: not begun */
    ngx_uint_t                    changes;   /* of the table, until others */
    ngx_uint_t                    others;    /* made some as well */
    ngx_uint_t                    left;      /* users who found no room */

    ngx_uint_t                    added;
    ngx_uint_t                    changed;
    ngx_uint_t                    removed;
    ngx_uint_t                    unchanged;
} ngx_http_vmess_api_bulk_t;


/* an empty list in ctx->data, of the request's memory; NULL: there is none */
ngx_http_vmess_api_bulk_t *ngx_http_vmess_api_bulk_create(
    ngx_http_vmess_api_ctx_t *ctx);

/*
 * Reads the body into it, then the step begins, or the body is refused.
 * Returns what a content handler returns.
 */
ngx_int_t ngx_http_vmess_api_bulk_read(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_step_pt begin);

/* a user of the body by name, NULL: it has no such user */
ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_find(
    ngx_http_vmess_api_bulk_t *bulk, ngx_str_t *name);

/* puts the number of a user of the body before the text of an error */
void ngx_http_vmess_api_bulk_where(ngx_uint_t number,
    ngx_http_vmess_api_error_t *err);

/* a walk over the users of the body: NULL after the last one */
void ngx_http_vmess_api_bulk_rewind(ngx_http_vmess_api_bulk_t *bulk);
ngx_http_vmess_api_item_t *ngx_http_vmess_api_bulk_next(
    ngx_http_vmess_api_bulk_t *bulk);

/*
 * A walk over users that go with the list.  NGX_OK and such a user, or NULL if
 * the next one to look at stays; NGX_DONE after the last.  The table is locked.
 */
ngx_int_t ngx_http_vmess_api_bulk_next_to_go(ngx_http_vmess_api_ctx_t *ctx,
    ngx_vmess_table_t *t, ngx_vmess_user_t **user);

/*
 * Keeps room for what is not set yet; the table is locked.  NGX_OK, or
 * NGX_DECLINED: there is not as much.
 */
ngx_int_t ngx_http_vmess_api_bulk_keep(ngx_http_vmess_api_bulk_t *bulk,
    ngx_vmess_table_t *t);


#endif /* _NGX_HTTP_VMESS_API_BULK_H_INCLUDED_ */
