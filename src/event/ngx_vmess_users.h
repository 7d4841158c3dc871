
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_USERS_H_INCLUDED_
#define _NGX_VMESS_USERS_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_zone.h"
#include "proto/ngx_vmess_proto.h"
#include "ngx_vmess_token.h"
#include "proto/ngx_vmess_auth.h"


#define NGX_VMESS_USER_NAME_MAX   64


/* a user as configured */

typedef struct {
    ngx_str_node_t             name;       /* in zone->names */
    ngx_str_node_t             id;         /* in zone->ids */
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    u_char                     uuid[NGX_VMESS_ID_LEN];

    ngx_uint_t                 alter_id;
    time_t                     expires;    /* 0: never */
    off_t                      quota;      /* bytes, 0: unlimited */
    size_t                     rate;       /* bytes per second, 0: unlimited */
    ngx_uint_t                 max_conns;  /* 0: unlimited */
    ngx_uint_t                 max_ips;    /* 0: unlimited */
} ngx_vmess_user_conf_t;


/* counters of a user, which outlive a reload; found by name */

struct ngx_vmess_user_s {
    ngx_str_node_t             name;       /* in sh->names */

    ngx_atomic_t               up;         /* bytes from the client */
    ngx_atomic_t               down;       /* bytes to the client */
    ngx_atomic_t               flows[2];   /* open now */
    ngx_atomic_t               total;      /* opened ever */
    ngx_atomic_t               refused;    /* headers refused */

    ngx_atomic_t               refs[2];    /* connections that point here */

    ngx_uint_t                 generation; /* of the last configuration that
                                              has the user */
    ngx_uint_t                 changed;    /* of that which gave it its key */
    ngx_uint_t                 number;     /* of its record */
};


/* the users of one configuration, in shared memory and never changed there */

typedef struct {
    ngx_vmess_user_t          *user;
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t                   owner;      /* of ids in the replay filter */
    size_t                     rate;
    ngx_uint_t                 alter_id;   /* 0: AEAD header only */
} ngx_vmess_record_t;


/* the user of a connection */

typedef struct {
    ngx_queue_t                queue;      /* in zone->accounts, if user */
    ngx_vmess_user_t          *user;
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t                   owner;
    size_t                     rate;
    ngx_uint_t                 alter_id;
    ngx_uint_t                 number;     /* of its record */
    ngx_uint_t                 generation; /* of the users it was found in */
    ngx_uint_t                 tried;      /* keys, before this was found */
    ngx_uint_t                 tried_temporary;
    int64_t                    time;       /* stamped by the client */
    unsigned                   legacy:1;   /* by a token */
    unsigned                   temporary:1;  /* by an id of "vmess_detour" */
    unsigned                   counted:1;  /* in the user's flows */
} ngx_vmess_account_t;


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


/* why a header was refused; the names are those of $vmess_status */

typedef enum {
    NGX_VMESS_STATUS_NONE = 0,
    NGX_VMESS_STATUS_OK,
    NGX_VMESS_STATUS_UNKNOWN,
    NGX_VMESS_STATUS_TIME,
    NGX_VMESS_STATUS_REPLAY,
    NGX_VMESS_STATUS_FULL,
    NGX_VMESS_STATUS_CLOCK,
    NGX_VMESS_STATUS_TAG,
    NGX_VMESS_STATUS_HEADER,
    NGX_VMESS_STATUS_TIMEOUT,
    NGX_VMESS_STATUS_TRUNCATED,
    NGX_VMESS_STATUS_CIPHER,
    NGX_VMESS_STATUS_COMMAND,
    NGX_VMESS_STATUS_DENIED,
    NGX_VMESS_STATUS_UNRESOLVED
} ngx_vmess_status_e;


/*
 * Allocates the tables of the zone's users in shared memory, not yet in use.
 * NGX_OK or NGX_ERROR (logged: the zone is too small).
 */
ngx_int_t ngx_vmess_users_create(ngx_vmess_zone_t *zone, ngx_log_t *log);

/*
 * The tables of users, kept from being freed until they are released: one at a
 * time, and not across events
 */
ngx_vmess_users_t *ngx_vmess_users_acquire(ngx_vmess_zone_sh_t *sh);
void ngx_vmess_users_release(ngx_vmess_zone_sh_t *sh);

/* fills in an account by a record, but for how it was found */
void ngx_vmess_account_set(ngx_vmess_users_t *users, ngx_uint_t i,
    ngx_vmess_account_t *account);

/*
 * Stamps the users of a new configuration, and those whose key is another one
 * than in the configuration before.  Called with the zone locked, before the
 * tables and sh->generation become those of the new configuration.
 */
void ngx_vmess_users_stamp(ngx_vmess_zone_sh_t *sh, ngx_vmess_users_t *users);

/*
 * Whether a user with an open connection may begin something new: NGX_OK, with
 * what is configured now, or NGX_DECLINED if the user is gone, or the id
 */
ngx_int_t ngx_vmess_account_check(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account);

/* frees tables that no worker reads; called with the zone locked */
void ngx_vmess_users_free(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users);

/*
 * Finds the user of an EAuID, those last seen from that address first.  An id
 * that is too early is claimed, as no header with it is read any more.
 *
 * account  copy of what the configuration says of the user; account->user is
 *          set if the EAuID is of a known user, even if it is refused, and
 *          is to be given back by ngx_vmess_account_release()
 *
 * Returns NGX_VMESS_STATUS_OK, _UNKNOWN, _TIME, _REPLAY, _FULL or _CLOCK.
 * Refusals of all kinds take the time of a scan over all users.
 */
ngx_vmess_status_e ngx_vmess_account_auth(ngx_vmess_zone_t *zone,
    struct sockaddr *sockaddr, const u_char *eauid,
    ngx_vmess_account_t *account, ngx_log_t *log);

/*
 * Flows, and references that keep a user's counters, are counted in shared
 * memory, and each worker has a list of what it counted there.  When one has
 * died, ngx_vmess_account_settle() begins a new epoch, and all others count
 * theirs anew.
 */

/* counts the account, of which the user was set, as one of this worker */
void ngx_vmess_account_hold(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account);

/* makes an account the same as another one, and counts it */
void ngx_vmess_account_copy(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, ngx_vmess_account_t *from);

/* a flow is opened; it is closed by ngx_vmess_account_release() */
void ngx_vmess_account_open(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account);

void ngx_vmess_account_release(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account);

/* flows of the user */
ngx_atomic_uint_t ngx_vmess_account_flows(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account);

/* counts all accounts of this worker in the present epoch */
void ngx_vmess_account_recount(ngx_vmess_zone_t *zone);

/*
 * Takes the time that trying the keys not tried takes: for a client refused
 * after its user was found.
 */
void ngx_vmess_account_try_rest(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid);

/* claims the id of a header that was refused, or its token */
void ngx_vmess_account_taint(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid);

/*
 * Claims the id of a header, and the session, that is user, key and IV of its
 * body.  Called when the header is known to be good, which may be long after it
 * began: the id may be somebody else's by now, or too late.
 *
 * Returns NGX_VMESS_STATUS_OK, _TIME, _REPLAY, _FULL or _CLOCK.
 */
ngx_vmess_status_e ngx_vmess_account_claim(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid, const u_char *key,
    const u_char *iv, ngx_log_t *log);


#endif /* _NGX_VMESS_USERS_H_INCLUDED_ */
