
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ACCOUNT_H_INCLUDED_
#define _NGX_VMESS_ACCOUNT_H_INCLUDED_


#include "ngx_vmess_users.h"
#include "ngx_vmess_counters.h"
#include "ngx_vmess_history.h"


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
    ngx_uint_t                 carrier;    /* number of ngx_vmess_counters.h */
    ngx_vmess_history_flow_t   history;
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

/* ms until a limit ends flows, if there is one */

#define NGX_VMESS_ACCOUNT_LIMIT   250


/* of the user, in the present epoch */

#define ngx_vmess_account_refs(account)                                       \
    (&(account)->user->refs[(account)->zone->epoch & 1])

#define ngx_vmess_account_flows(account)                                      \
    (&(account)->user->flows[(account)->zone->epoch & 1])


/* the counters of this worker */

#define ngx_vmess_account_counters(account)                                   \
    ngx_vmess_counters((account)->zone->rows)

/* a flow was let in, or left: it is open, or not */
void ngx_vmess_account_add_flow(ngx_vmess_account_t *account, ngx_int_t n);

/*
 * counts that a flow was refused, whose header, or that of its connection, is
 * good
 */
void ngx_vmess_account_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status);

/*
 * Counts the account, of which the user and the serial were set, as one of this
 * worker, until ngx_vmess_account_close().
 */
void ngx_vmess_account_hold(ngx_vmess_account_t *account);

/*
 * Whether limits that end flows as well let the user in: NGX_VMESS_STATUS_OK,
 * _DISABLED, _EXPIRED or _LIMITED.
 */
ngx_vmess_status_e ngx_vmess_account_limit(ngx_vmess_user_t *user,
    ngx_vmess_limits_t *limits);

/* closes the connection by an event, for a reason that the log is told */
void ngx_vmess_account_end(ngx_vmess_account_t *account,
    ngx_vmess_status_e status);

/*
 * There may be a limit that ends the account's flow: the worker is to look for
 * it when it is due
 */
void ngx_vmess_account_watch(ngx_vmess_account_t *account);

/*
 * Opens what was admitted: it cannot be refused any more.  The address of a
 * connection with sub-connections is held as after a flow, and by these.
 */
void ngx_vmess_account_open(ngx_vmess_account_t *account);

/* makes it that of a sub-connection, not admitted yet, of one with "from" */
void ngx_vmess_account_copy(ngx_vmess_account_t *account,
    ngx_vmess_account_t *from);

/*
 * Counts bytes from the client and to it.  With those that use up the quota the
 * connection is closed by an event, and soon all of the user.
 */
void ngx_vmess_account_count(ngx_vmess_account_t *account, off_t up,
    off_t down);

/*
 * The flow has read or written: it is not silent.  If its address was taken
 * over by another one, it is closed by an event.
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

/* logs the user's counters */
void ngx_vmess_account_log(ngx_vmess_account_t *account, ngx_log_t *log);

/*
 * The flow is over, or will not be opened: it is not counted any more, though
 * it is not closed yet.
 */
void ngx_vmess_account_leave(ngx_vmess_account_t *account);

/* closes the flow, if there is one, and gives the user back */
void ngx_vmess_account_close(ngx_vmess_account_t *account);


#endif /* _NGX_VMESS_ACCOUNT_H_INCLUDED_ */
