
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATUS_H_INCLUDED_
#define _NGX_VMESS_STATUS_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * Why a client was refused; what is said of each is in the table of
 * ngx_vmess_status.c, in the same order.
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


ngx_vmess_status_t *ngx_vmess_status(ngx_vmess_status_e status);


#endif /* _NGX_VMESS_STATUS_H_INCLUDED_ */
