
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_USERS_H_INCLUDED_
#define _NGX_VMESS_USERS_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_zone.h"
#include "ngx_vmess_table.h"
#include "ngx_vmess_token.h"


/* a user as configured */

typedef struct {
    ngx_str_node_t             name;       /* in zone->names */
    ngx_str_node_t             id;         /* in zone->ids */
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    u_char                     uuid[NGX_VMESS_ID_LEN];

    ngx_vmess_limits_t         limits;
} ngx_vmess_user_conf_t;


/* the speed of a user in a direction, see ngx_vmess_rate.c */

typedef struct {
    ngx_atomic_t               time;
    ngx_atomic_t               flows;
} ngx_vmess_bucket_t;


/* a user by its name, with counters that outlive a reload */

struct ngx_vmess_user_s {
    ngx_str_node_t             name;       /* in sh->names */

    ngx_atomic_t               up;         /* bytes from the client */
    ngx_atomic_t               down;       /* bytes to the client */
    ngx_atomic_t               flows[2];   /* open now */
    ngx_atomic_t               total;      /* opened ever */
    ngx_atomic_t               refused;    /* headers refused */

    ngx_atomic_t               refs[2];    /* connections that point here */

    ngx_vmess_bucket_t        *buckets;    /* from the client, and to it */

    ngx_vmess_limits_t         limits;     /* as published */
    ngx_uint_t                 generation; /* of the last configuration that
                                              has the user */
    uint32_t                   changed;    /* of that which gave it its key */
    uint32_t                   number;     /* of its record */
};


/* the users of one configuration, in shared memory and never changed there */

typedef struct {
    ngx_vmess_user_t          *user;
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t                   owner;      /* of ids in the replay filter */
} ngx_vmess_record_t;


struct ngx_vmess_users_s {
    ngx_vmess_users_t         *next;       /* in sh->retired */
    ngx_uint_t                 n;
    ngx_uint_t                 generation;
    ngx_vmess_auth_key_t      *keys;
    ngx_vmess_record_t        *records;

    ngx_vmess_tokens_t        *tokens;     /* of alter ids, or NULL */
    size_t                     tokens_size;

    ngx_vmess_auth_key_t      *temporary;  /* see ngx_vmess_detour.h */
    time_t                    *until;
    time_t                     refresh;
};


/*
 * Adds a zone to the configuration, whose users are to be put into zone->users;
 * NULL after an error that was logged
 */
ngx_vmess_zone_t *ngx_vmess_users_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size);

/*
 * Makes the users of a new configuration those of the zone.  Called when
 * the configuration cannot fail any more.
 */
void ngx_vmess_users_publish(ngx_vmess_zone_t *zone, ngx_cycle_t *cycle);

/*
 * The table of a zone, locked until it is unlocked: others wait meanwhile, so
 * not for long, and nothing is read, written or logged
 */
ngx_vmess_table_t *ngx_vmess_users_lock(ngx_vmess_zone_t *zone);
void ngx_vmess_users_unlock(ngx_vmess_zone_t *zone);

/* the table of a zone, for what needs no lock */
ngx_vmess_table_t *ngx_vmess_users_table(ngx_vmess_zone_t *zone);

/*
 * Where the user of the configuration is defined, for messages: NGX_OK, or
 * NGX_DECLINED, it is not known to this worker's
 */
ngx_int_t ngx_vmess_users_where(ngx_vmess_zone_t *zone, ngx_str_t *name,
    ngx_str_t *file, ngx_uint_t *line);

/* starts what a worker does for zones from time to time */
void ngx_vmess_users_init_worker(ngx_cycle_t *cycle);

/*
 * The tables of users, kept from being freed until they are released: one at a
 * time, and not across events
 */
ngx_vmess_users_t *ngx_vmess_users_acquire(ngx_vmess_zone_sh_t *sh);
void ngx_vmess_users_release(ngx_vmess_zone_sh_t *sh);

/* logs whose ids are most of the replay filter, which is full */
void ngx_vmess_users_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log);


#endif /* _NGX_VMESS_USERS_H_INCLUDED_ */
