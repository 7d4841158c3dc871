
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_LIMITS_H_INCLUDED_
#define _NGX_VMESS_LIMITS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_param.h"
#include "proto/ngx_vmess_period.h"
#include "proto/ngx_vmess_subscription.h"


/* with a zero behind it */

#define NGX_VMESS_CLASS_LEN       24
#define NGX_VMESS_TOKEN_LEN       (NGX_VMESS_SUBSCRIPTION_MAX + 1)


/*
 * What is configured of a user beside its name and its ids, copied whole to
 * where it is needed.  Whatever is added here needs no more for the table, the
 * state, or a change of the configuration to have it; zeroed bytes are the
 * default, and there are no pointers, as it lives in shared memory.
 */

typedef struct {
    uint32_t                   given;      /* bits of the user's own parameters,
                                              others are those of the zone */
    uint32_t                   alter_id;   /* 0: AEAD header only */
    uint32_t                   disabled;
    uint32_t                   max_conns;  /* 0: unlimited */
    uint32_t                   max_ips;    /* 0: unlimited */
    ngx_vmess_period_t         quota_reset;
    time_t                     expires;    /* 0: never */
    time_t                     hold;       /* seconds from the first flow */
    time_t                     hold_until; /* 0: as long as there is no flow */
    off_t                      quota;      /* bytes a period, 0: unlimited */
    size_t                     rate;       /* bytes per second, 0: unlimited */
    size_t                     rate_up;    /* 0: as rate, or _RATE_OFF */
    size_t                     rate_down;
    u_char                     class[NGX_VMESS_CLASS_LEN];
    u_char                     token[NGX_VMESS_TOKEN_LEN];  /* empty: made of
                                                               the id */
} ngx_vmess_limits_t;


/* of one direction, which has no limit, whatever the other has */

#define NGX_VMESS_LIMITS_RATE_OFF  NGX_MAX_SIZE_T_VALUE

/* bytes per second of what comes from the client, and of what goes to it */

#define ngx_vmess_limits_rate_up(limits)                                      \
    ngx_vmess_limits_rate_of((limits)->rate_up, (limits)->rate)

#define ngx_vmess_limits_rate_down(limits)                                    \
    ngx_vmess_limits_rate_of((limits)->rate_down, (limits)->rate)

#define ngx_vmess_limits_rate_of(one, both)                                   \
    ((one) == 0 ? (both) : (one) == NGX_VMESS_LIMITS_RATE_OFF ? 0 : (one))


/*
 * The parameters of a user, in the order of bits of "given", which must not
 * change, as they are kept.  The setters need no ngx_conf_t, and fail with
 * NGX_DECLINED only: "text" says what would be right then.
 */
extern ngx_vmess_param_t  ngx_vmess_limits_params[];

/* the bits of those that nginx -t looks at */

#define NGX_VMESS_LIMITS_ALTER_ID  0x01
#define NGX_VMESS_LIMITS_RESET     0x200
#define NGX_VMESS_LIMITS_TOKEN     0x2000

/* and those of which one may stand for others */

#define NGX_VMESS_LIMITS_RATE      0x02
#define NGX_VMESS_LIMITS_RATES     0x0e
#define NGX_VMESS_LIMITS_HOLD      0x40
#define NGX_VMESS_LIMITS_HOLDS     0xc0


/*
 * Sets a limit by the name of its parameter.
 *
 * name   as "expires" and "disabled", without "="
 * value  as in the configuration; of a word it does not matter; NULL: as if the
 *        parameter was not given, see ngx_vmess_limits_inherit()
 * text   on NGX_ERROR what the value must be: "must be a number ..."
 *
 * NGX_OK; NGX_DECLINED there is no such parameter; NGX_ERROR the value is
 * invalid.
 */
ngx_int_t ngx_vmess_limits_set(ngx_vmess_limits_t *limits, ngx_str_t *name,
    ngx_str_t *value, const char **text);

/* makes one limit that of others, by the name of its parameter, as above */
void ngx_vmess_limits_copy(ngx_vmess_limits_t *to, ngx_vmess_limits_t *from,
    ngx_str_t *name);

/* gives the limits what is not their own by defaults of a zone */
void ngx_vmess_limits_inherit(ngx_vmess_limits_t *limits,
    ngx_vmess_limits_t *defaults);

/*
 * Whether a limit is none by a word, "off" or "never", which a default would
 * replace if it was not there.  The name is that of a parameter, as above.
 */
ngx_uint_t ngx_vmess_limits_lifted(ngx_vmess_limits_t *limits,
    ngx_str_t *name);

/* what is wrong with parameters that do not go together, or NULL */
const char *ngx_vmess_limits_check(ngx_vmess_limits_t *limits);


#endif /* _NGX_VMESS_LIMITS_H_INCLUDED_ */
