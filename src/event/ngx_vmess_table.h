
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_H_INCLUDED_
#define _NGX_VMESS_TABLE_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_limits.h"
#include "proto/ngx_vmess_auth.h"


/*
 * The users of a zone: one table in shared memory, changed in place, by one
 * family of functions for configuration, state and API alike.
 *
 * Readers take no lock.  Those who change it, or look for a user by name or id,
 * have it locked: by ngx_vmess_users_lock(), for 256 users or so at a time.  A
 * process may die at any instruction: each user is whole, as before a change or
 * as after it, and the next one to lock the table repairs the rest.
 */


#define NGX_VMESS_USER_NAME_MAX   64

/* ids of a user: its own, and the second one ("also=") */

#define NGX_VMESS_USER_OWN        0
#define NGX_VMESS_USER_ALSO       1
#define NGX_VMESS_USER_IDS        2


/* where a user is defined */

typedef enum {
    NGX_VMESS_ORIGIN_CONF = 1,
    NGX_VMESS_ORIGIN_API
} ngx_vmess_origin_e;


typedef enum {
    NGX_VMESS_TABLE_SAME = 0,  /* the user is like that already */
    NGX_VMESS_TABLE_ADDED,
    NGX_VMESS_TABLE_CHANGED,
    NGX_VMESS_TABLE_FULL,      /* there is no room */
    NGX_VMESS_TABLE_TAKEN,     /* an id is that of another user */
    NGX_VMESS_TABLE_FOREIGN,   /* the user is of the configuration */
    NGX_VMESS_TABLE_FAILED     /* of libcrypto: use ngx_ssl_error() */
} ngx_vmess_table_e;


typedef struct ngx_vmess_table_s  ngx_vmess_table_t;


/*
 * All that is configured of a user: what is given to ngx_vmess_table_set() and
 * what ngx_vmess_table_get() gives.  The name is in memory of the caller.
 */

typedef struct {
    ngx_str_t                  name;
    u_char                     id[NGX_VMESS_USER_IDS][NGX_VMESS_ID_LEN];
    ngx_uint_t                 ids;        /* 1, or 2: there is a second one */
    time_t                     until;      /* of the second, 0: for ever */
    ngx_vmess_limits_t         limits;
    uint64_t                   tags;
    ngx_uint_t                 origin;     /* ngx_vmess_origin_e */
} ngx_vmess_value_t;


/* what is made of the ids of a value, as long as the table is not locked */

typedef struct {
    u_char                     cmd_key[NGX_VMESS_USER_IDS][NGX_VMESS_KEY_LEN];
    ngx_vmess_auth_key_t       key[NGX_VMESS_USER_IDS];
} ngx_vmess_value_keys_t;


/* a user as it is at one moment, for lists; the times are 0 if never */

typedef struct {
    u_char                     name[NGX_VMESS_USER_NAME_MAX];
    ngx_vmess_value_t          value;      /* value.name is in name */
    ngx_uint_t                 stamp;      /* of its last change */
    ngx_atomic_uint_t          up;         /* since the last reset */
    ngx_atomic_uint_t          down;
    ngx_atomic_uint_t          total_up;   /* ever */
    ngx_atomic_uint_t          total_down;
    ngx_atomic_uint_t          flows;      /* open now */
    ngx_atomic_uint_t          total;      /* flows ever */
    ngx_atomic_uint_t          refused;
    time_t                     first;      /* flow of the user */
    time_t                     seen;       /* last time a flow was there */
} ngx_vmess_user_info_t;


/*
 * Makes the keys of a value's ids, which takes some microseconds for each.
 * NGX_OK, or NGX_ERROR: use ngx_ssl_error().  Wipe them after use.
 */
ngx_int_t ngx_vmess_table_keys(ngx_vmess_value_t *value,
    ngx_vmess_value_keys_t *keys);

/*
 * Creates a user, or makes it what the value says; the table is locked.  The
 * counters of a user that is there stay, flows stay if their id does.  A user
 * of the API becomes one of the configuration if the value is of that, not the
 * other way round.  A user added again within 500 ms after it was removed is the
 * same, with counters and, by the same id, with its flows.
 *
 * keys   made of the value; NULL: they are made here, if they are needed
 * userp  gets the user after _SAME, _ADDED, _CHANGED, and _FOREIGN, and the one
 *        that has the id after _TAKEN; may be NULL
 *
 * After any other answer than _ADDED and _CHANGED nothing is changed.
 */
ngx_vmess_table_e ngx_vmess_table_set(ngx_vmess_table_t *t,
    ngx_vmess_value_t *value, ngx_vmess_value_keys_t *keys,
    ngx_vmess_user_t **userp);

/*
 * Removes a user, whose flows end within a second or so; the table is locked.
 * Who may do so is for the caller to say.
 */
void ngx_vmess_table_remove(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/* ends the flows that the user has now; the table is locked */
void ngx_vmess_table_kick(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/*
 * Counters that are shown, and what counts towards the quota, begin at zero; the
 * totals stay.  The table is locked.
 */
void ngx_vmess_table_reset(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/* find a user by name, or by any of its ids; NULL: none.  The table is locked */
ngx_vmess_user_t *ngx_vmess_table_find(ngx_vmess_table_t *t, ngx_str_t *name);
ngx_vmess_user_t *ngx_vmess_table_find_id(ngx_vmess_table_t *t,
    const u_char *id);

/*
 * A list of users goes through numbers from 0 to below ngx_vmess_table_max(), in
 * steps of any size, without a lock.  A user keeps its number as long as it is
 * there; another one may have it later.
 *
 * NGX_OK        info is the user as it is or was a moment ago
 * NGX_DECLINED  there is no user of that number
 */
ngx_uint_t ngx_vmess_table_max(ngx_vmess_table_t *t);
ngx_int_t ngx_vmess_table_get(ngx_vmess_table_t *t, ngx_uint_t i,
    ngx_vmess_user_info_t *info);

/* the number of a user, for ngx_vmess_table_get() */
ngx_uint_t ngx_vmess_table_number(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/*
 * The number of changes so far, never the same after something was changed: of
 * any user (an ETag of lists).  That of one is the stamp in its info (an ETag of
 * it): the number when it was changed last.  Traffic is no change.
 */
ngx_uint_t ngx_vmess_table_changes(ngx_vmess_table_t *t);

/* users there are */
ngx_uint_t ngx_vmess_table_count(ngx_vmess_table_t *t);


#endif /* _NGX_VMESS_TABLE_H_INCLUDED_ */
