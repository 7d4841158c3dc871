
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TABLE_H_INCLUDED_
#define _NGX_VMESS_TABLE_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_slot.h"
#include "ngx_vmess_usage.h"


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


/* ms in which a user who was removed may come again by an id of before */

#define NGX_VMESS_USER_GRACE      500


/* states: one that was removed may have references yet */

#define NGX_VMESS_USER_FREE       0
#define NGX_VMESS_USER_USED       1
#define NGX_VMESS_USER_REMOVED    2


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


/* the speed of a user in a direction, see ngx_vmess_rate.c */

typedef struct {
    ngx_atomic_t               time;
    ngx_atomic_t               flows;
} ngx_vmess_bucket_t;


/*
 * What is configured of a user.  A change is written to memory that is not in
 * use, and one store makes it the user's.
 */

typedef struct {
    u_char                     id[NGX_VMESS_USER_IDS][NGX_VMESS_ID_LEN];
    uint32_t                   slot[NGX_VMESS_USER_IDS];
    uint32_t                   serial[NGX_VMESS_USER_IDS];  /* 0: no id */
    u_char                     token[NGX_VMESS_SUBSCRIPTION_DIGEST];
    uint32_t                   user;       /* the number of the user */
    uint32_t                   origin;
    time_t                     until;
    uint64_t                   tags;
    ngx_vmess_limits_t         limits;
} ngx_vmess_user_set_t;


/*
 * A user.  This memory always is a user's, and may be another's once nobody
 * has a reference.  Serial numbers are not used again: that of a user, and
 * those of ids, which are the same as long as the user has that id.
 */

struct ngx_vmess_user_s {
    ngx_str_t                  name;       /* in text */
    u_char                     text[NGX_VMESS_USER_NAME_MAX];
    uint32_t                   serial;
    uint32_t                   hash;
    uint32_t                   next;       /* of its hash */
    uint32_t                   next_token; /* of that of the token */
    uint32_t                   link;       /* in the list of its state */
    uint16_t                   listed;     /* as one that was removed */
    volatile uint16_t          state;

    ngx_vmess_user_set_t      *volatile conf;  /* of any user */
    ngx_vmess_user_set_t       memory;
    volatile uint32_t          version;    /* changes with it */

    volatile uint32_t          kicks;
    volatile uint32_t          temporary[2];  /* slots of ngx_vmess_detour.h */
    volatile ngx_msec_t        removed;    /* when */
    volatile ngx_uint_t        stamp;      /* of the last change */

    ngx_vmess_usage_t          usage;
    ngx_vmess_bucket_t         buckets[2]; /* from the client, and to it */

    /* what of the user is in files, see ngx_vmess_state_user.h */

    uint32_t                   saved_name; /* hash of it, 0: nothing */
    uint32_t                   saved_stamp;
    uint32_t                   saved_usage;

    /* what workers give back, in two epochs: see ngx_vmess_epoch.h */

    ngx_atomic_t               flows[2];   /* open now */
    ngx_atomic_t               refs[2];    /* connections that point here */
};


/* without a lock good for one value only, as it may change the next moment */

#define ngx_vmess_user_limits(user)  (&(user)->conf->limits)


/* a user as it is at one moment, for lists */

typedef struct {
    u_char                     name[NGX_VMESS_USER_NAME_MAX];
    ngx_vmess_value_t          value;      /* value.name is in name */
    ngx_vmess_usage_t          usage;
    ngx_uint_t                 stamp;      /* of its last change */
} ngx_vmess_user_info_t;


/*
 * Makes an empty table of memory at p, aligned as pages are, which is used
 * whole as users come.  NULL after an error of libcrypto: use ngx_ssl_error().
 */
ngx_vmess_table_t *ngx_vmess_table_create(void *p, size_t size);

/* bytes for so many users with so many ids in all */
size_t ngx_vmess_table_size(ngx_uint_t users, ngx_uint_t ids);

/*
 * Around all that needs the lock.  If somebody died in between, _begin() makes
 * lists and chains anew from the users, which takes some ms for 100,000.
 */
void ngx_vmess_table_begin(ngx_vmess_table_t *t);
void ngx_vmess_table_end(ngx_vmess_table_t *t);

/*
 * Frees users that were removed, if nobody refers to them in the epoch; the
 * table is locked.
 *
 * grace  ms in which they stay
 */
void ngx_vmess_table_reap(ngx_vmess_table_t *t, ngx_uint_t epoch,
    ngx_msec_t grace);

/*
 * The same, little by little: looks at n of them, the next call goes on with
 * the next ones.  Returns 1 if there are more, 0 after the last.
 */
ngx_uint_t ngx_vmess_table_reap_some(ngx_vmess_table_t *t, ngx_uint_t epoch,
    ngx_msec_t grace, ngx_uint_t n);

/* whether there are such users */
ngx_uint_t ngx_vmess_table_has_removed(ngx_vmess_table_t *t);

/*
 * Makes the keys of a value's ids, which takes some microseconds for each.
 * NGX_OK, or NGX_ERROR: use ngx_ssl_error().  Wipe them after use.
 */
ngx_int_t ngx_vmess_table_keys(ngx_vmess_value_t *value,
    ngx_vmess_value_keys_t *keys);

/* ends the flows that the user has now; the table is locked */
void ngx_vmess_table_kick(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/*
 * a period of the user begins now, see ngx_vmess_usage.h; the table is locked
 */
void ngx_vmess_table_reset(ngx_vmess_table_t *t, ngx_vmess_user_t *user);

/*
 * The token of a user as a text at p, at most NGX_VMESS_SUBSCRIPTION_MAX bytes;
 * returns the end of it
 */
u_char *ngx_vmess_table_token(u_char *p, ngx_vmess_value_t *value);

/*
 * A list of users goes through numbers from 0 to below ngx_vmess_table_max(),
 * in steps of any size, without a lock.  A user keeps its number as long as it
 * is there; another one may have it later.
 *
 * NGX_OK        info is the user as it is or was a moment ago
 * NGX_DECLINED  there is no user of that number
 */
ngx_uint_t ngx_vmess_table_max(ngx_vmess_table_t *t);
ngx_int_t ngx_vmess_table_get(ngx_vmess_table_t *t, ngx_uint_t i,
    ngx_vmess_user_info_t *info);

/* its keys, for those who read them */
ngx_vmess_slots_t *ngx_vmess_table_slots(ngx_vmess_table_t *t);

/* the number of a user, and the user of a number below the largest */
ngx_uint_t ngx_vmess_table_number(ngx_vmess_table_t *t, ngx_vmess_user_t *user);
ngx_vmess_user_t *ngx_vmess_table_user(ngx_vmess_table_t *t, ngx_uint_t i);

/* ms since it was removed, below 0 if that process is ahead of this one */
#define ngx_vmess_table_absent(user)                                          \
    ((ngx_msec_int_t) (ngx_current_msec - (user)->removed))

/* whether it is there: for those who have the table locked */
#define ngx_vmess_table_used(user)                                            \
    ((user)->state == NGX_VMESS_USER_USED)

/*
 * The number of changes so far, never the same after something was changed: of
 * any user (an ETag of lists).  That of one is the stamp in its info (an ETag
 * of it): the number when it was changed last.  Traffic is no change.
 */
ngx_uint_t ngx_vmess_table_changes(ngx_vmess_table_t *t);

/*
 * The number of changes so far that may end flows, or call off an end: of users
 * who are there, or were removed; seen after the change is made.
 */
ngx_uint_t ngx_vmess_table_ends(ngx_vmess_table_t *t);

/* users there are */
ngx_uint_t ngx_vmess_table_count(ngx_vmess_table_t *t);

/* bytes for users and their ids, and those in use */
size_t ngx_vmess_table_fill(ngx_vmess_table_t *t, size_t *used);


#endif /* _NGX_VMESS_TABLE_H_INCLUDED_ */
