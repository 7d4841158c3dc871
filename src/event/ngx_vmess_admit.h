
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ADMIT_H_INCLUDED_
#define _NGX_VMESS_ADMIT_H_INCLUDED_


#include "ngx_vmess_account.h"


/*
 * Whether a user whose header is good is let in, as limits are, and how many
 * flows and addresses there are.
 */


/*
 * Whether the user may begin something new: NGX_VMESS_STATUS_OK, and
 * account->limits are what is configured now; or why not: _UNKNOWN if the user
 * is gone, or the id, _DISABLED, _EXPIRED, _LIMITED, _MAX_IPS, or, if a flow
 * is to be opened, _MAX_CONNS.  Another worker may be faster: see below.
 */
ngx_vmess_status_e ngx_vmess_admit_check(ngx_vmess_account_t *account,
    ngx_uint_t flow);

/*
 * Lets the user in: the last thing a client may be refused by, called as long
 * as it can be sent elsewhere.  The flow and the client's address are counted,
 * by steps of which each looks and counts at once, so there are never more.
 * ngx_vmess_account_leave() gives them back, and without
 * ngx_vmess_account_open() before it nothing is left of them.
 *
 * flow  whether it is for a flow: a connection with sub-connections is none,
 *       and has an address
 *
 * Returns NGX_VMESS_STATUS_OK; or why the user is refused, as above: nothing
 * is counted then.
 */
ngx_vmess_status_e ngx_vmess_admit_client(ngx_vmess_account_t *account,
    ngx_uint_t flow);

/*
 * The client of a flow goes on at a connection that has the account "to": the
 * flow holds the address of that one.  NGX_OK, or, with none held,
 * NGX_DECLINED or NGX_BUSY.
 */
ngx_int_t ngx_vmess_admit_move(ngx_vmess_account_t *account,
    ngx_vmess_account_t *to);


#endif /* _NGX_VMESS_ADMIT_H_INCLUDED_ */
