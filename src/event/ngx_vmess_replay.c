
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_replay.h"


/*
 * Adding a key examines this many entries for expired keys.  Thus at most one
 * entry in NGX_VMESS_REPLAY_SWEEP + 1 is counted for its owner in vain.
 */

#define NGX_VMESS_REPLAY_SWEEP   8

/*
 * A part of the set is reserved for owners with few keys.  In the rest, an
 * owner may have this many times as many keys as there is room.
 */

#define NGX_VMESS_REPLAY_RESERVE 16
#define NGX_VMESS_REPLAY_SHARE   8

/* keys kept longer, in seconds, get the share of the room */

#define NGX_VMESS_REPLAY_LONG    600

/*
 * The times of keys that were forgotten, in units of 16 seconds.  They cover
 * more than two hours, as keys may be one hour ahead.
 */

#define NGX_VMESS_REPLAY_SPAN    4
#define NGX_VMESS_REPLAY_SPANS   512

/* no key is kept longer, unless the clock was put back since it was added */

#define NGX_VMESS_REPLAY_AHEAD   7200


/*
 * An entry without "expires" is free.  One without an owner has expired and is
 * not counted: it may be forgotten.
 */

typedef struct {
    u_char                     key[NGX_VMESS_REPLAY_KEY_LEN];
    uint32_t                   expires;
    uint32_t                   owner;
    uint32_t                   next;       /* in a bucket or the free list */
} ngx_vmess_replay_entry_t;


/*
 * Entries are numbered from one, zero is none.  The entries alone tell what is
 * in the set: everything else but the spans is derived from them.
 */

struct ngx_vmess_replay_s {
    volatile uint32_t          busy;       /* not in order */
    uint32_t                   closed;
    uint64_t                   random;
    uint32_t                   bits;       /* of the number of buckets */
    uint32_t                   n;          /* entries */
    uint32_t                   live;       /* of them with an owner */
    uint32_t                   owners;
    uint32_t                   free;       /* list of free ones */
    uint32_t                   nfree;
    uint32_t                   cursor;     /* of the sweep */
    uint32_t                   most;       /* the owner that has most */
    uint32_t                   full;       /* the second of the last full
                                              sweep */
    uint32_t                   floor;      /* all spans up to this, and */
    uint32_t                   spans[NGX_VMESS_REPLAY_SPANS];
    uint32_t                   buckets[];
};


static uint32_t *ngx_vmess_replay_lookup(ngx_vmess_replay_t *r,
    const u_char *key);
static ngx_int_t ngx_vmess_replay_check(ngx_vmess_replay_t *r, uint32_t i,
    uint32_t owner, time_t expires, time_t now);
static ngx_uint_t ngx_vmess_replay_allowed(ngx_vmess_replay_t *r,
    uint32_t owner, time_t expires, time_t now);
static void ngx_vmess_replay_sweep(ngx_vmess_replay_t *r, ngx_uint_t n,
    time_t now);
static void ngx_vmess_replay_drop(ngx_vmess_replay_t *r, uint32_t i);
static void ngx_vmess_replay_count(ngx_vmess_replay_t *r, uint32_t owner);
static void ngx_vmess_replay_uncount(ngx_vmess_replay_t *r, uint32_t owner);
static void ngx_vmess_replay_enter(ngx_vmess_replay_t *r);
static void ngx_vmess_replay_rebuild(ngx_vmess_replay_t *r);


#define ngx_vmess_replay_span(t)  ((uint32_t) ((t) >> NGX_VMESS_REPLAY_SPAN))

#define ngx_vmess_replay_leave(r)                                             \
    ngx_memory_barrier();                                                     \
    (r)->busy = 0


/* numbers of keys, by owner: some owners share one, and what it allows */

static ngx_inline uint32_t *
ngx_vmess_replay_owned(ngx_vmess_replay_t *r, uint32_t owner)
{
    return &r->buckets[((size_t) 1 << r->bits)
                       + ((uint32_t) (owner * r->random >> 32)
                          & (((uint32_t) 1 << (r->bits - 2)) - 1))];
}


static ngx_inline ngx_vmess_replay_entry_t *
ngx_vmess_replay_entries(ngx_vmess_replay_t *r)
{
    return (ngx_vmess_replay_entry_t *)
               &r->buckets[((size_t) 1 << r->bits)
                           + ((size_t) 1 << (r->bits - 2))];
}


/*
 * Only users can choose keys; with a secret multiplier nobody can tell which
 * keys share a bucket.
 */

static ngx_inline uint32_t *
ngx_vmess_replay_bucket(ngx_vmess_replay_t *r, const u_char *key)
{
    uint64_t  a, b;

    ngx_memcpy(&a, key, 8);
    ngx_memcpy(&b, key + 8, 8);

    a = (a ^ (a >> 32) ^ b) * r->random;

    return &r->buckets[a >> (64 - r->bits)];
}


ngx_vmess_replay_t *
ngx_vmess_replay_create(void *p, size_t size, uint64_t random, time_t now)
{
    size_t               n;
    ngx_vmess_replay_t  *r;

    r = p;

    /* all of the memory is touched here, and none for the first time later */

    ngx_memzero(r, size);

    /* as many buckets as a power of two makes from about n entries */

    size -= sizeof(ngx_vmess_replay_t);
    n = size / (sizeof(ngx_vmess_replay_entry_t) + sizeof(uint32_t) * 5 / 4);

    for (r->bits = 2; ((size_t) 2 << r->bits) <= n; r->bits++) { /* void */ }

    size -= (sizeof(uint32_t) << r->bits) + (sizeof(uint32_t) << (r->bits - 2));

    r->n = size / sizeof(ngx_vmess_replay_entry_t);
    r->random = random | 1;

    ngx_vmess_replay_forget(r, now);
    ngx_vmess_replay_rebuild(r);

    return r;
}


ngx_int_t
ngx_vmess_replay_add(ngx_vmess_replay_t *r, const u_char *key, uint32_t owner,
    time_t expires, time_t now)
{
    uint32_t                  *bucket, i;
    ngx_int_t                  rc;
    ngx_vmess_replay_entry_t  *e;

    ngx_vmess_replay_enter(r);

    ngx_vmess_replay_sweep(r, NGX_VMESS_REPLAY_SWEEP, now);

    i = *ngx_vmess_replay_lookup(r, key);

    rc = ngx_vmess_replay_check(r, i, owner, expires, now);

    if (rc != NGX_OK) {
        goto done;
    }

    if (i) {

        /* its time has passed, and it comes anew */

        e = &ngx_vmess_replay_entries(r)[i - 1];

        if (e->owner) {
            ngx_vmess_replay_uncount(r, e->owner);
        }

    } else {

        if (r->free == 0 && r->full != (uint32_t) now) {
            r->full = (uint32_t) now;
            ngx_vmess_replay_sweep(r, r->n, now);
        }

        if (r->free == 0) {
            rc = NGX_BUSY;
            goto done;
        }

        i = r->free;
        e = &ngx_vmess_replay_entries(r)[i - 1];
        r->free = e->next;
        r->nfree--;

        bucket = ngx_vmess_replay_bucket(r, key);

        ngx_memcpy(e->key, key, NGX_VMESS_REPLAY_KEY_LEN);
        e->next = *bucket;
        *bucket = i;
    }

    e->owner = owner;

    ngx_memory_barrier();

    e->expires = (uint32_t) expires;

    ngx_vmess_replay_count(r, owner);

done:

    ngx_vmess_replay_leave(r);

    return rc;
}


ngx_int_t
ngx_vmess_replay_find(ngx_vmess_replay_t *r, const u_char *key, uint32_t owner,
    time_t expires, time_t now)
{
    ngx_int_t  rc;

    ngx_vmess_replay_enter(r);

    rc = ngx_vmess_replay_check(r, *ngx_vmess_replay_lookup(r, key), owner,
                                expires, now);

    ngx_vmess_replay_leave(r);

    return rc;
}


/* where the number of a key's entry is, or the 0 at the end of its bucket */

static uint32_t *
ngx_vmess_replay_lookup(ngx_vmess_replay_t *r, const u_char *key)
{
    uint32_t                  *p;
    ngx_vmess_replay_entry_t  *entry;

    entry = ngx_vmess_replay_entries(r);

    for (p = ngx_vmess_replay_bucket(r, key); *p; p = &entry[*p - 1].next) {

        if (ngx_memcmp(entry[*p - 1].key, key, NGX_VMESS_REPLAY_KEY_LEN) == 0) {
            break;
        }
    }

    return p;
}


/* whether a key may be added; i is the number of its entry, if it has one */

static ngx_int_t
ngx_vmess_replay_check(ngx_vmess_replay_t *r, uint32_t i, uint32_t owner,
    time_t expires, time_t now)
{
    uint32_t  span;

    if (i && (time_t) ngx_vmess_replay_entries(r)[i - 1].expires >= now) {
        return NGX_DECLINED;
    }

    span = ngx_vmess_replay_span(expires);

    if (span <= r->floor || r->spans[span % NGX_VMESS_REPLAY_SPANS] == span) {
        return NGX_ABORT;
    }

    if (r->closed) {
        return NGX_BUSY;
    }

    if (ngx_vmess_replay_allowed(r, owner, expires, now)) {
        return NGX_OK;
    }

    /* it may be that keys have expired, and are counted yet */

    if (r->full != (uint32_t) now) {
        r->full = (uint32_t) now;

        ngx_vmess_replay_sweep(r, r->n, now);

        if (ngx_vmess_replay_allowed(r, owner, expires, now)) {
            return NGX_OK;
        }
    }

    return NGX_BUSY;
}


static ngx_uint_t
ngx_vmess_replay_allowed(ngx_vmess_replay_t *r, uint32_t owner, time_t expires,
    time_t now)
{
    uint64_t  n, room, rest, reserve;

    n = *ngx_vmess_replay_owned(r, owner);
    room = r->n - r->live;
    reserve = r->n / NGX_VMESS_REPLAY_RESERVE;

    rest = room > reserve ? room - reserve : 0;

    if (expires - now > NGX_VMESS_REPLAY_LONG) {
        return n < rest / NGX_VMESS_REPLAY_SHARE;
    }

    return n < rest * NGX_VMESS_REPLAY_SHARE || n < room / (r->owners + 1);
}


/*
 * Examines n entries for keys that have expired and, as long as few entries
 * are free, for keys to be forgotten.  The span of their time must be over, so
 * that no new key belongs to it.
 */

static void
ngx_vmess_replay_sweep(ngx_vmess_replay_t *r, ngx_uint_t n, time_t now)
{
    ngx_uint_t                 ahead;
    ngx_vmess_replay_entry_t  *e;

    for ( /* void */ ; n; n--) {

        if (r->cursor >= r->n) {
            r->cursor = 0;
        }

        e = &ngx_vmess_replay_entries(r)[r->cursor++];

        ahead = (time_t) e->expires > now + NGX_VMESS_REPLAY_AHEAD;

        if (e->expires == 0 || ((time_t) e->expires >= now && !ahead)) {
            continue;
        }

        if (e->owner) {
            ngx_vmess_replay_uncount(r, e->owner);
            e->owner = 0;
        }

        if (r->nfree <= r->n / 16
            && (ahead || ngx_vmess_replay_span(e->expires)
                         < ngx_vmess_replay_span(now)))
        {
            ngx_vmess_replay_drop(r, r->cursor);
        }
    }
}


/* forgets a key that is not counted any more, but not of what time it was */

static void
ngx_vmess_replay_drop(ngx_vmess_replay_t *r, uint32_t i)
{
    uint32_t                  *p, *span, n;
    ngx_vmess_replay_entry_t  *e;

    e = &ngx_vmess_replay_entries(r)[i - 1];

    n = ngx_vmess_replay_span(e->expires);
    span = &r->spans[n % NGX_VMESS_REPLAY_SPANS];

    if (*span < n) {
        r->floor = ngx_max(r->floor, *span);

        ngx_memory_barrier();

        *span = n;

    } else if (*span > n) {

        /* of a time more than two hours before */

        r->floor = ngx_max(r->floor, n);
    }

    p = ngx_vmess_replay_lookup(r, e->key);
    *p = e->next;

    ngx_memory_barrier();

    e->expires = 0;
    e->next = r->free;
    r->free = i;
    r->nfree++;
}


static void
ngx_vmess_replay_count(ngx_vmess_replay_t *r, uint32_t owner)
{
    uint32_t  *n;

    n = ngx_vmess_replay_owned(r, owner);

    r->live++;
    r->owners += (*n == 0);
    (*n)++;

    if (*n > *ngx_vmess_replay_owned(r, r->most)) {
        r->most = owner;
    }
}


static void
ngx_vmess_replay_uncount(ngx_vmess_replay_t *r, uint32_t owner)
{
    uint32_t  *n;

    n = ngx_vmess_replay_owned(r, owner);

    r->live--;
    (*n)--;
    r->owners -= (*n == 0);
}


static void
ngx_vmess_replay_enter(ngx_vmess_replay_t *r)
{
    if (r->busy) {

        /* the last one that was here has died amid its work */

        ngx_vmess_replay_rebuild(r);
    }

    r->busy = 1;

    ngx_memory_barrier();
}


static void
ngx_vmess_replay_rebuild(ngx_vmess_replay_t *r)
{
    uint32_t                  *bucket, i;
    ngx_vmess_replay_entry_t  *e;

    r->busy = 1;

    ngx_memory_barrier();

    ngx_memzero(r->buckets, (u_char *) ngx_vmess_replay_entries(r)
                            - (u_char *) r->buckets);
    r->live = 0;
    r->owners = 0;
    r->free = 0;
    r->nfree = 0;
    r->most = 0;

    /* from the last, so that those never used are taken in order */

    for (i = r->n; i; i--) {
        e = &ngx_vmess_replay_entries(r)[i - 1];

        if (e->expires == 0) {
            e->next = r->free;
            r->free = i;
            r->nfree++;
            continue;
        }

        bucket = ngx_vmess_replay_bucket(r, e->key);
        e->next = *bucket;
        *bucket = i;

        if (e->owner) {
            ngx_vmess_replay_count(r, e->owner);
        }
    }

    ngx_vmess_replay_leave(r);
}


void
ngx_vmess_replay_close(ngx_vmess_replay_t *r)
{
    r->closed = 1;
}


void
ngx_vmess_replay_forget(ngx_vmess_replay_t *r, time_t now)
{
    uint32_t  span;

    span = ngx_vmess_replay_span(now);

    if (r->floor + 1 < span) {
        r->floor = span - 1;
    }
}


ngx_uint_t
ngx_vmess_replay_capacity(ngx_vmess_replay_t *r)
{
    return r->n;
}


ngx_uint_t
ngx_vmess_replay_most(ngx_vmess_replay_t *r, uint32_t *owner)
{
    *owner = r->most;

    return *ngx_vmess_replay_owned(r, r->most);
}


ngx_uint_t
ngx_vmess_replay_keys(ngx_vmess_replay_t *r)
{
    return r->live;
}
