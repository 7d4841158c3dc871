
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_history.h"


/* an entry of a user is one of so many, which are looked at in one go */

#define NGX_VMESS_HISTORY_WINDOW  16

/*
 * A minute of an entry is one word, changed by compare and swap: the last bits
 * of the hour, and units up and down
 */

#define NGX_VMESS_HISTORY_BITS    26
#define NGX_VMESS_HISTORY_MAX     (((uint64_t) 1 << NGX_VMESS_HISTORY_BITS) - 1)

#define ngx_vmess_history_hour(minute)                                        \
    ((uint64_t) ((minute) / NGX_VMESS_HISTORY_MINUTES)                        \
     << 2 * NGX_VMESS_HISTORY_BITS)

#define ngx_vmess_history_is_hour(word, minute)                               \
    (((word) ^ ngx_vmess_history_hour(minute))                                \
     < (uint64_t) 1 << 2 * NGX_VMESS_HISTORY_BITS)


/* who has an entry is a user, or a process that makes it a user's */

typedef struct {
    ngx_atomic_t               user;       /* 0: nobody */
    volatile ngx_uint_t        minute;     /* the last one with traffic */
} ngx_vmess_history_owner_t;


struct ngx_vmess_history_s {
    ngx_uint_t                 n;
    ngx_vmess_history_owner_t *owners;
    ngx_atomic_t             (*minutes)[NGX_VMESS_HISTORY_MINUTES];
};


static ngx_uint_t ngx_vmess_history_find(ngx_vmess_history_t *history,
    uint32_t user);
static ngx_uint_t ngx_vmess_history_add(ngx_vmess_history_t *history,
    uint32_t user, ngx_uint_t now);


#define ngx_vmess_history_maker()                                             \
    (((ngx_atomic_uint_t) 1 << 32) + ngx_pid)

#define ngx_vmess_history_entry(history, user, k)                             \
    (((ngx_uint_t) (user) * 2654435761u + (k)) % (history)->n)


ngx_vmess_history_t *
ngx_vmess_history_create(void *p, size_t size)
{
    ngx_vmess_history_t *history = p;

    history->n = (size - sizeof(ngx_vmess_history_t))
                 / (sizeof(ngx_vmess_history_owner_t)
                    + sizeof(history->minutes[0]));

    history->owners = (ngx_vmess_history_owner_t *) &history[1];
    history->minutes = (void *) &history->owners[history->n];

    return history;
}


void
ngx_vmess_history_enter(ngx_vmess_history_t *history, uint32_t user,
    ngx_vmess_history_flow_t *flow)
{
    ngx_uint_t                  now;
    ngx_vmess_history_owner_t  *owner;

    now = ngx_time() / 60;

    flow->user = user;
    flow->entry = ngx_vmess_history_find(history, user);

    if (flow->entry) {
        owner = &history->owners[flow->entry - 1];

        /* it is not another one's from now on */

        if (owner->minute != now) {
            owner->minute = now;
        }

        return;
    }

    if (ngx_vmess_history_add(history, user, now)) {

        /* if two workers came at once, the first entry is that of both */

        ngx_vmess_memory_barrier();

        flow->entry = ngx_vmess_history_find(history, user);
    }
}


/* returns the number of the entry plus one, or zero */

static ngx_uint_t
ngx_vmess_history_find(ngx_vmess_history_t *history, uint32_t user)
{
    ngx_uint_t  i, k;

    for (k = 0; k < NGX_VMESS_HISTORY_WINDOW; k++) {

        i = ngx_vmess_history_entry(history, user, k);

        if (history->owners[i].user == user) {
            return i + 1;
        }
    }

    return 0;
}


/*
 * Takes the first entry that has nothing to show.  Who dies in between leaves
 * it as that of a process, and it is taken like any other in an hour.
 */

static ngx_uint_t
ngx_vmess_history_add(ngx_vmess_history_t *history, uint32_t user,
    ngx_uint_t now)
{
    ngx_uint_t                  i, k;
    ngx_atomic_uint_t           old, maker;
    ngx_vmess_history_owner_t  *owner;

    maker = ngx_vmess_history_maker();

    for (k = 0; k < NGX_VMESS_HISTORY_WINDOW; k++) {

        i = ngx_vmess_history_entry(history, user, k);
        owner = &history->owners[i];

        old = owner->user;

        if (old && now - owner->minute < NGX_VMESS_HISTORY_MINUTES) {
            continue;
        }

        if (!ngx_atomic_cmp_set(&owner->user, old, maker)) {
            continue;
        }

        owner->minute = now;

        ngx_memzero((void *) history->minutes[i], sizeof(history->minutes[i]));

        return ngx_atomic_cmp_set(&owner->user, maker, user);
    }

    return 0;
}


void
ngx_vmess_history_count(ngx_vmess_history_t *history,
    ngx_vmess_history_flow_t *flow, off_t up, off_t down)
{
    uint64_t                    old, units[2];
    ngx_uint_t                  minute;
    ngx_atomic_t               *word;
    ngx_vmess_history_owner_t  *owner;

    if (flow->entry == 0) {
        return;
    }

    units[0] = (flow->rest[0] + up) / NGX_VMESS_HISTORY_UNIT;
    units[1] = (flow->rest[1] + down) / NGX_VMESS_HISTORY_UNIT;

    flow->rest[0] = (flow->rest[0] + up) % NGX_VMESS_HISTORY_UNIT;
    flow->rest[1] = (flow->rest[1] + down) % NGX_VMESS_HISTORY_UNIT;

    if (units[0] == 0 && units[1] == 0) {
        return;
    }

    owner = &history->owners[flow->entry - 1];

    if (owner->user != flow->user) {

        /* the flow was silent for an hour */

        ngx_vmess_history_enter(history, flow->user, flow);

        if (flow->entry == 0) {
            return;
        }

        owner = &history->owners[flow->entry - 1];
    }

    minute = ngx_time() / 60;
    word = &history->minutes[flow->entry - 1]
                            [minute % NGX_VMESS_HISTORY_MINUTES];

    if (owner->minute != minute) {
        owner->minute = minute;
    }

    up = units[0];
    down = units[1];

    do {
        old = *word;

        units[0] = up;
        units[1] = down;

        if (ngx_vmess_history_is_hour(old, minute)) {
            units[0] += old >> NGX_VMESS_HISTORY_BITS & NGX_VMESS_HISTORY_MAX;
            units[1] += old & NGX_VMESS_HISTORY_MAX;
        }

    } while (!ngx_atomic_cmp_set(word, old,
                   ngx_vmess_history_hour(minute)
                   | ngx_min(units[0], NGX_VMESS_HISTORY_MAX)
                     << NGX_VMESS_HISTORY_BITS
                   | ngx_min(units[1], NGX_VMESS_HISTORY_MAX)));
}


ngx_int_t
ngx_vmess_history_get(ngx_vmess_history_t *history, uint32_t user, time_t now,
    off_t bytes[NGX_VMESS_HISTORY_MINUTES][2])
{
    uint64_t    word;
    ngx_uint_t  entry, i, minute;

    ngx_memzero(bytes, NGX_VMESS_HISTORY_MINUTES * sizeof(bytes[0]));

    entry = ngx_vmess_history_find(history, user);

    if (entry == 0) {
        return NGX_DECLINED;
    }

    for (i = 0; i < NGX_VMESS_HISTORY_MINUTES; i++) {

        minute = now / 60 - (NGX_VMESS_HISTORY_MINUTES - 1) + i;
        word = history->minutes[entry - 1][minute % NGX_VMESS_HISTORY_MINUTES];

        if (ngx_vmess_history_is_hour(word, minute)) {
            bytes[i][0] = (word >> NGX_VMESS_HISTORY_BITS
                           & NGX_VMESS_HISTORY_MAX)
                          * NGX_VMESS_HISTORY_UNIT;
            bytes[i][1] = (word & NGX_VMESS_HISTORY_MAX)
                          * NGX_VMESS_HISTORY_UNIT;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_vmess_history_fill(ngx_vmess_history_t *history, time_t now,
    ngx_uint_t *used)
{
    ngx_uint_t                  i;
    ngx_vmess_history_owner_t  *owner;

    *used = 0;

    for (i = 0; i < history->n; i++) {
        owner = &history->owners[i];

        *used += (owner->user
                  && now / 60 - owner->minute < NGX_VMESS_HISTORY_MINUTES);
    }

    return history->n;
}
