
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_USERS_H_INCLUDED_
#define _NGX_VMESS_USERS_H_INCLUDED_


#include "ngx_vmess_epoch.h"
#include "ngx_vmess_hit.h"


/* a user of the configuration */

typedef struct {
    ngx_str_node_t             name;       /* in zone->names */
    ngx_str_node_t             token;      /* in zone->subscriptions, if it was
                                              given */
    ngx_str_node_t             id[NGX_VMESS_USER_IDS];  /* in zone->ids */
    u_char                     cmd_key[NGX_VMESS_USER_IDS][NGX_VMESS_KEY_LEN];

    ngx_vmess_value_t          value;
    ngx_vmess_value_keys_t    *keys;       /* of new ids, until published */

    u_char                    *file_name;  /* where it is defined */
    ngx_uint_t                 line;
} ngx_vmess_user_conf_t;


/*
 * The table of a zone, locked until it is unlocked: others wait meanwhile, so
 * not for long, and nothing is read, written or logged.  Users that were
 * removed are freed by this when there is nothing of theirs left.  If flows are
 * to end after what was changed, workers are woken.
 */
ngx_vmess_table_t *ngx_vmess_users_lock(ngx_vmess_zone_t *zone);
void ngx_vmess_users_unlock(ngx_vmess_zone_t *zone);

/* frees some of them; 1: there are more.  The lock is only tried */
ngx_uint_t ngx_vmess_users_reap(ngx_vmess_zone_t *zone);

/* a user of the configuration by name, NULL: there is none */
ngx_vmess_user_conf_t *ngx_vmess_users_lookup(ngx_vmess_zone_t *zone,
    ngx_str_t *name);

/*
 * Where the user of the configuration is defined, for messages: NGX_OK, or
 * NGX_DECLINED, it is not in that of this worker
 */
ngx_int_t ngx_vmess_users_where(ngx_vmess_zone_t *zone, ngx_str_t *name,
    ngx_str_t *file, ngx_uint_t *line);

/* logs whose ids are most of the replay filter, which is full */
void ngx_vmess_users_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log);


#endif /* _NGX_VMESS_USERS_H_INCLUDED_ */
