
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ACCOUNT_H_INCLUDED_
#define _NGX_VMESS_ACCOUNT_H_INCLUDED_


#include "ngx_vmess_users.h"


/*
 * Why a client was refused; what is said of each is in the table of
 * ngx_vmess_account.c, in the same order.
 */

typedef enum {
    NGX_VMESS_STATUS_NONE = 0,
    NGX_VMESS_STATUS_OK,
    NGX_VMESS_STATUS_UNKNOWN,
    NGX_VMESS_STATUS_DISABLED,
    NGX_VMESS_STATUS_EXPIRED,
    NGX_VMESS_STATUS_LIMITED,
    NGX_VMESS_STATUS_KICKED,
    NGX_VMESS_STATUS_MAX_CONNS,
    NGX_VMESS_STATUS_MAX_IPS,
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
    NGX_VMESS_STATUS_UNRESOLVED,
    NGX_VMESS_STATUSES
} ngx_vmess_status_e;


typedef struct {
    ngx_str_t                  name;       /* $vmess_status */
    ngx_uint_t                 authentic;  /* the client's header was good */
    const char                *who;        /* says the log of the user */
} ngx_vmess_status_t;


/*
 * The user of a connection.  A connection has an account from its beginning, of
 * which zone and connection are set, and the user once its header was found to
 * be of one.
 *
 * References, which keep a user's counters, and flows are counted in shared
 * memory, and each worker has a list of what it counted there.  When one has
 * died, a new epoch begins, and all others count theirs anew.
 */

typedef struct {
    ngx_queue_t                queue;      /* in zone->accounts, if user */
    ngx_vmess_zone_t          *zone;
    ngx_connection_t          *connection;
    ngx_vmess_user_t          *user;
    u_char                     cmd_key[NGX_VMESS_KEY_LEN];
    uint32_t                   owner;      /* of ids in the replay filter */
    ngx_vmess_limits_t         limits;
    uint32_t                   serial;     /* of the id it was found by */
    uint32_t                   kicks;      /* of the user, when it was let in */
    ngx_int_t                  factor;     /* thousandths above 1.0 */
    ngx_int_t                  rest;       /* thousandths not counted yet */
    uint64_t                   number;     /* in zone->accounts, from 1 on */
    time_t                     since;      /* the flow was opened */
    off_t                      up;         /* bytes of the flow */
    off_t                      down;
    ngx_uint_t                 tried;      /* keys, before this was found */
    int64_t                    time;       /* stamped by the client */
    ngx_vmess_client_hold_t    client;     /* of a flow */
    unsigned                   legacy:1;   /* by a token */
    unsigned                   temporary:1;  /* by an id of "vmess_detour" */
    unsigned                   admitted:1; /* it was let in */
    unsigned                   opened:1;   /* a flow */
    unsigned                   counted:1;  /* in the user's flows */
    unsigned                   ended:1;    /* by a limit */
} ngx_vmess_account_t;


/* goes over the accounts of a zone at this worker, now and then */

typedef struct {
    ngx_queue_t                queue;      /* in zone->walks */
    ngx_queue_t               *next;
    ngx_vmess_zone_t          *zone;
} ngx_vmess_account_walk_t;


/* the factor of traffic that counts as it is */

#define NGX_VMESS_ACCOUNT_FACTOR  1000


ngx_vmess_status_t *ngx_vmess_account_status(ngx_vmess_status_e status);

/*
 * Finds the user of an EAuID, those last seen from that address first.  An id
 * that is too early, or of a user who is refused, is claimed, as no header with
 * it is read any more.
 *
 * account  gets what the configuration says of the user; account->user is set
 *          if the EAuID is of a known user, even if it is refused
 *
 * Returns NGX_VMESS_STATUS_OK, _UNKNOWN, _TIME, _REPLAY, _FULL or _CLOCK.
 * Refusals of all kinds take the time of a scan over all users.
 */
ngx_vmess_status_e ngx_vmess_account_auth(ngx_vmess_account_t *account,
    struct sockaddr *sockaddr, const u_char *eauid, ngx_log_t *log);

/*
 * Claims the id of a header, and the session, that is user, key and IV of its
 * body.  Called when the header is known to be good, which may be long after it
 * began: the id may be somebody else's by now, or too late.
 *
 * Returns NGX_VMESS_STATUS_OK, _TIME, _REPLAY, _FULL or _CLOCK.
 */
ngx_vmess_status_e ngx_vmess_account_claim(ngx_vmess_account_t *account,
    const u_char *eauid, const u_char *key, const u_char *iv, ngx_log_t *log);

/*
 * Takes the time that trying the keys not tried takes: for a client refused
 * after its user was found.
 */
void ngx_vmess_account_try_rest(ngx_vmess_account_t *account,
    const u_char *eauid);

/*
 * Whether the user may begin something new: NGX_VMESS_STATUS_OK, and
 * account->limits are what is configured now; or why not: _UNKNOWN if the user
 * is gone, or the id, _DISABLED, _EXPIRED, _LIMITED, _MAX_IPS, or, if a flow is to
 * be opened, _MAX_CONNS.  Another worker may be faster: see below.
 */
ngx_vmess_status_e ngx_vmess_account_check(ngx_vmess_account_t *account,
    ngx_uint_t flow);

/*
 * Lets the user in: the last thing a client may be refused by, called as long as
 * it can be sent elsewhere.  The flow and the client's address are counted, by
 * steps of which each looks and counts at once, so there are never more.  They are
 * given back by _leave() or _close(), and nothing is left of them if there was no
 * _open() before.
 *
 * flow  whether it is for a flow: a connection with sub-connections is none, and
 *       has an address
 *
 * Returns NGX_VMESS_STATUS_OK; or why the user is refused, as by _check():
 * nothing is counted then.
 */
ngx_vmess_status_e ngx_vmess_account_admit(ngx_vmess_account_t *account,
    ngx_uint_t flow);

/*
 * Opens what was admitted: it cannot be refused any more.  The address of a
 * connection with sub-connections is held as after a flow, and by these.
 */
void ngx_vmess_account_open(ngx_vmess_account_t *account);

/* makes it that of a sub-connection, not admitted yet, of one that has "from" */
void ngx_vmess_account_copy(ngx_vmess_account_t *account,
    ngx_vmess_account_t *from);

/*
 * Counts bytes from the client and to it.  With those that use up the quota the
 * connection is closed by an event, and soon all of the user.
 */
void ngx_vmess_account_count(ngx_vmess_account_t *account, off_t up,
    off_t down);

/*
 * Counts that the user was refused something.
 *
 * eauid  of a header that was refused: it is claimed when the header was whole,
 *        be it good or bad, and the token of a legacy header by any refusal;
 *        NULL of a client that had been let in
 */
void ngx_vmess_account_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status, const u_char *eauid);

/*
 * The flow has read or written: it is not silent.  If its address was taken over
 * by another one, it is closed by an event.
 */
void ngx_vmess_account_touch(ngx_vmess_account_t *account);

/* counts bytes for the flow alone: those of mux count for the user elsewhere */

static ngx_inline void
ngx_vmess_account_count_flow(ngx_vmess_account_t *account, off_t up, off_t down)
{
    account->up += up;
    account->down += down;
}


/*
 * Goes over all accounts there are, and those that come meanwhile, by their
 * numbers; others may come and go between calls.  next returns NULL at the end.
 * The walk is to be stopped by whoever has started it.
 */
void ngx_vmess_account_walk_start(ngx_vmess_account_walk_t *walk,
    ngx_vmess_zone_t *zone);
ngx_vmess_account_t *ngx_vmess_account_walk_next(
    ngx_vmess_account_walk_t *walk);
void ngx_vmess_account_walk_stop(ngx_vmess_account_walk_t *walk);

/* a worker starts: from now on it looks after what is counted in its zones */
void ngx_vmess_account_init_worker(ngx_cycle_t *cycle);

/* logs the user's counters */
void ngx_vmess_account_log(ngx_vmess_account_t *account, ngx_log_t *log);

/*
 * The flow is over, or will not be opened: it is not counted any more, though it
 * is not closed yet.
 */
void ngx_vmess_account_leave(ngx_vmess_account_t *account);

/* closes the flow, if there is one, and gives the user back */
void ngx_vmess_account_close(ngx_vmess_account_t *account);


#endif /* _NGX_VMESS_ACCOUNT_H_INCLUDED_ */
