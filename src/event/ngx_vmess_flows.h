
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_FLOWS_H_INCLUDED_
#define _NGX_VMESS_FLOWS_H_INCLUDED_


#include "ngx_vmess_account.h"
#include "ngx_vmess_worker.h"


/*
 * The flows of a zone that are open now.  Each worker knows its own, and tells
 * them to one that asks on its socket, one record after the other as fast as
 * they are taken; thus nothing is done for them as long as nobody asks.
 */


/* "domain:port", or an address, which is shorter */

#define NGX_VMESS_FLOWS_TARGET   (255 + sizeof(":65535") - 1)
#define NGX_VMESS_FLOWS_CARRIER  16

#define NGX_VMESS_FLOWS_TEXT                                                  \
    (NGX_VMESS_USER_NAME_MAX + NGX_VMESS_FLOWS_CARRIER + NGX_SOCKADDR_STRLEN  \
     + NGX_VMESS_FLOWS_TARGET)


/* what is sent of a flow */

typedef struct {
    uint64_t                   number;     /* at its worker; 0: no more flows */
    uint64_t                   connection; /* of its client, 0: that is gone */
    int64_t                    since;
    int64_t                    up;         /* bytes */
    int64_t                    down;
    uint32_t                   mux_id;
    uint32_t                   mux;        /* it is a sub-connection */
    uint32_t                   udp;

    /* lengths of texts, which stand in this order */

    uint32_t                   user;
    uint32_t                   carrier;
    uint32_t                   client;
    uint32_t                   target;
    u_char                     text[NGX_VMESS_FLOWS_TEXT];
} ngx_vmess_flow_t;


/* other workers will ask for flows */
void ngx_vmess_flows_init(void);

/*
 * Asks a worker for the flows of a zone, in the order of their numbers, those
 * above the number "after".
 *
 * user  name of the user whose flows they are, and of few others, as it is
 *       found by a hash; empty for all
 *
 * Returns a connection as ngx_vmess_worker_connect() does, which yields records
 * and then one of number 0, or ends before that if the worker could not tell
 * all; or NULL, which was logged.
 */
ngx_connection_t *ngx_vmess_flows_ask(ngx_vmess_zone_t *zone,
    ngx_vmess_owner_t *owner, ngx_str_t *user, uint64_t after, ngx_log_t *log);


#endif /* _NGX_VMESS_FLOWS_H_INCLUDED_ */
