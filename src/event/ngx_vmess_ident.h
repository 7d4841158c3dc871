
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_IDENT_H_INCLUDED_
#define _NGX_VMESS_IDENT_H_INCLUDED_


#include "ngx_vmess_account.h"


/*
 * Whose header it is, and whether it is good: once, in its time, whatever zones
 * and workers have seen it.
 */


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
ngx_vmess_status_e ngx_vmess_ident_auth(ngx_vmess_account_t *account,
    struct sockaddr *sockaddr, const u_char *eauid, ngx_log_t *log);

/*
 * Claims the id of a header, and the session, that is user, key and IV of its
 * body.  Called when the header is known to be good, which may be long after it
 * began: the id may be somebody else's by now, or too late.
 *
 * Returns NGX_VMESS_STATUS_OK, _TIME, _REPLAY, _FULL or _CLOCK.
 */
ngx_vmess_status_e ngx_vmess_ident_claim(ngx_vmess_account_t *account,
    const u_char *eauid, const u_char *key, const u_char *iv, ngx_log_t *log);

/*
 * Takes the time that trying the keys not tried takes: for a client refused
 * after its user was found.
 */
void ngx_vmess_ident_try_rest(ngx_vmess_account_t *account,
    const u_char *eauid);

/*
 * Counts that the user was refused something.
 *
 * eauid  of a header that was refused: it is claimed when the header was whole,
 *        be it good or bad, and the token of a legacy header by any refusal;
 *        NULL of a good one
 */
void ngx_vmess_ident_refuse(ngx_vmess_account_t *account,
    ngx_vmess_status_e status, const u_char *eauid);


#endif /* _NGX_VMESS_IDENT_H_INCLUDED_ */
