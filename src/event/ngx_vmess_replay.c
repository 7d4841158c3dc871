
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_replay.h"


/*
 * Each added key examines so many entries for expired keys.  Thus at most
 * one entry in NGX_VMESS_REPLAY_SWEEP + 1 holds a key that could be dropped.
 */

#define NGX_VMESS_REPLAY_SWEEP  8


typedef struct {
    u_char                     key[NGX_VMESS_REPLAY_KEY_LEN];
    uint32_t                   expires;    /* 0: free */
    uint32_t                   next;       /* in a bucket or the free list */
} ngx_vmess_replay_entry_t;


/* numbers of entries are indices plus one, zero is none */

struct ngx_vmess_replay_s {
    ngx_atomic_t               lock;
    uint64_t                   random;
    uint32_t                   bits;       /* of the number of buckets */
    uint32_t                   n;          /* entries */
    uint32_t                   free;       /* list of entries dropped */
    uint32_t                   used;       /* entries ever used */
    uint32_t                   cursor;     /* of the sweep */
    uint32_t                   dropped;    /* latest expires of those dropped */
    uint32_t                   full;       /* the second of the last full
                                              sweep that found nothing */
    uint32_t                   buckets[];
};


static void ngx_vmess_replay_sweep(ngx_vmess_replay_t *r, ngx_uint_t n,
    time_t now);


static ngx_inline ngx_vmess_replay_entry_t *
ngx_vmess_replay_entries(ngx_vmess_replay_t *r)
{
    return (ngx_vmess_replay_entry_t *) &r->buckets[(size_t) 1 << r->bits];
}


/*
 * Only users can choose keys; with a secret multiplier none can tell which
 * of them share a bucket.
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
ngx_vmess_replay_create(void *p, size_t size, uint64_t random)
{
    size_t               n;
    ngx_vmess_replay_t  *r;

    r = p;

    ngx_memzero(r, sizeof(ngx_vmess_replay_t));

    /* as many buckets as a power of two makes from about n entries */

    n = (size - sizeof(ngx_vmess_replay_t))
        / (sizeof(ngx_vmess_replay_entry_t) + sizeof(uint32_t));

    for (r->bits = 1; ((size_t) 2 << r->bits) <= n; r->bits++) { /* void */ }

    size -= sizeof(ngx_vmess_replay_t) + (sizeof(uint32_t) << r->bits);

    r->n = size / sizeof(ngx_vmess_replay_entry_t);
    r->random = random | 1;

    ngx_memzero(r->buckets, sizeof(uint32_t) << r->bits);

    return r;
}


ngx_int_t
ngx_vmess_replay_add(ngx_vmess_replay_t *r, const u_char *key, time_t expires,
    time_t now)
{
    uint32_t                  *bucket, i;
    ngx_int_t                  rc;
    ngx_vmess_replay_entry_t  *entry, *e;

    entry = ngx_vmess_replay_entries(r);
    bucket = ngx_vmess_replay_bucket(r, key);

    rc = NGX_DECLINED;

    ngx_rwlock_wlock(&r->lock);

    if (expires <= (time_t) r->dropped) {
        goto done;
    }

    for (i = *bucket; i; i = e->next) {
        e = &entry[i - 1];

        if (ngx_memcmp(e->key, key, NGX_VMESS_REPLAY_KEY_LEN) == 0) {

            if ((time_t) e->expires < now) {
                e->expires = (uint32_t) expires;
                rc = NGX_OK;
            }

            goto done;
        }
    }

    ngx_vmess_replay_sweep(r, NGX_VMESS_REPLAY_SWEEP, now);

    if (r->free == 0 && r->used == r->n && r->full != (uint32_t) now) {
        ngx_vmess_replay_sweep(r, r->n, now);
    }

    if (r->free) {
        i = r->free;
        e = &entry[i - 1];
        r->free = e->next;

    } else if (r->used < r->n) {
        i = ++r->used;
        e = &entry[i - 1];

    } else {
        r->full = (uint32_t) now;
        rc = NGX_BUSY;
        goto done;
    }

    ngx_memcpy(e->key, key, NGX_VMESS_REPLAY_KEY_LEN);
    e->expires = (uint32_t) expires;
    e->next = *bucket;
    *bucket = i;

    rc = NGX_OK;

done:

    ngx_rwlock_unlock(&r->lock);

    return rc;
}


ngx_int_t
ngx_vmess_replay_find(ngx_vmess_replay_t *r, const u_char *key, time_t now)
{
    uint32_t                   i;
    ngx_int_t                  rc;
    ngx_vmess_replay_entry_t  *entry, *e;

    entry = ngx_vmess_replay_entries(r);

    rc = NGX_DECLINED;

    ngx_rwlock_wlock(&r->lock);

    for (i = *ngx_vmess_replay_bucket(r, key); i; i = e->next) {
        e = &entry[i - 1];

        if (ngx_memcmp(e->key, key, NGX_VMESS_REPLAY_KEY_LEN) == 0) {

            if ((time_t) e->expires >= now) {
                rc = NGX_OK;
            }

            break;
        }
    }

    ngx_rwlock_unlock(&r->lock);

    return rc;
}


/* called with the set locked */

static void
ngx_vmess_replay_sweep(ngx_vmess_replay_t *r, ngx_uint_t n, time_t now)
{
    uint32_t                  *p;
    ngx_vmess_replay_entry_t  *entry, *e;

    entry = ngx_vmess_replay_entries(r);

    for (n = ngx_min(n, r->used); n; n--) {

        if (r->cursor >= r->used) {
            r->cursor = 0;
        }

        e = &entry[r->cursor++];

        if (e->expires == 0 || (time_t) e->expires >= now) {
            continue;
        }

        if (e->expires > r->dropped) {
            r->dropped = e->expires;
        }

        p = ngx_vmess_replay_bucket(r, e->key);

        while (*p != r->cursor) {
            p = &entry[*p - 1].next;
        }

        *p = e->next;

        e->expires = 0;
        e->next = r->free;
        r->free = r->cursor;
    }
}


void
ngx_vmess_replay_copy(ngx_vmess_replay_t *r, ngx_vmess_replay_t *old,
    time_t now)
{
    ngx_uint_t                 i;
    ngx_vmess_replay_entry_t  *e;

    e = ngx_vmess_replay_entries(old);

    ngx_rwlock_wlock(&old->lock);

    for (i = 0; i < old->used; i++) {
        if ((time_t) e[i].expires >= now) {
            (void) ngx_vmess_replay_add(r, e[i].key, e[i].expires, now);
        }
    }

    r->dropped = ngx_max(r->dropped, old->dropped);

    ngx_rwlock_unlock(&old->lock);
}


ngx_uint_t
ngx_vmess_replay_capacity(ngx_vmess_replay_t *r)
{
    return r->n;
}
