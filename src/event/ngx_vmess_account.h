
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ACCOUNT_H_INCLUDED_
#define _NGX_VMESS_ACCOUNT_H_INCLUDED_


#include "ngx_vmess_users.h"


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


/* its name, for variables and logs */
ngx_str_t *ngx_vmess_account_status_name(ngx_vmess_status_e status);

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
 * Claims the id of a header, and the session, that is user, key and IV of its
 * body.  Called when the header is known to be good, which may be long after it
 * began: the id may be somebody else's by now, or too late.
 *
 * Returns NGX_VMESS_STATUS_OK, _TIME, _REPLAY, _FULL or _CLOCK.
 */
ngx_vmess_status_e ngx_vmess_account_claim(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid, const u_char *key,
    const u_char *iv, ngx_log_t *log);

/* claims the id of a header that was refused, or its token */
void ngx_vmess_account_taint(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid);

/*
 * Takes the time that trying the keys not tried takes: for a client refused
 * after its user was found.
 */
void ngx_vmess_account_try_rest(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid);

/*
 * Whether a user with an open connection may begin something new: NGX_OK, with
 * what is configured now, or NGX_DECLINED if the user is gone, or the id
 */
ngx_int_t ngx_vmess_account_check(ngx_vmess_zone_t *zone,
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


#endif /* _NGX_VMESS_ACCOUNT_H_INCLUDED_ */
