
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_token.h"
#include "proto/ngx_vmess_proto.h"


/*
 * Seconds in the ring, and how many of them are filled ahead of now: the
 * window behind now and these have to fit.
 */

#define NGX_VMESS_TOKEN_SECONDS  256
#define NGX_VMESS_TOKEN_AHEAD    (NGX_VMESS_TIME_WINDOW + 8)

/* seconds after which a worker that refreshes is replaced */

#define NGX_VMESS_TOKEN_LEASE    2


typedef struct {
    ngx_vmess_legacy_key_t     key;
    uint32_t                   user;
} ngx_vmess_token_id_t;


struct ngx_vmess_tokens_s {
    ngx_uint_t                 worker;     /* that refreshes */
    volatile time_t            seen;       /* the last time it did */

    uint32_t                   n;          /* ids */
    uint32_t                   max;
    uint32_t                   bits;       /* of an entry that number an id */
    uint32_t                   size;       /* entries of a second */

    time_t                     second;     /* being filled, 0: none */
    uint32_t                   done;       /* its ids so far */

    /* what the tables are of, if they are whole */

    volatile time_t            seconds[NGX_VMESS_TOKEN_SECONDS];

    ngx_vmess_token_id_t       ids[];
};


static ngx_int_t ngx_vmess_token_step(ngx_vmess_tokens_t *tt, time_t now,
    ngx_uint_t n, ngx_uint_t worker);
static time_t ngx_vmess_token_due(ngx_vmess_tokens_t *tt, time_t now);
static void ngx_vmess_token_insert(ngx_vmess_tokens_t *tt, ngx_uint_t i);


#define ngx_vmess_token_has(tt, t)                                            \
    ((tt)->seconds[(t) % NGX_VMESS_TOKEN_SECONDS] == (t))


/* one entry in four stays free, and so does at least one */

static ngx_inline size_t
ngx_vmess_token_entries(ngx_uint_t n)
{
    return n + n / 3 + 1;
}


static ngx_inline volatile uint32_t *
ngx_vmess_token_table(ngx_vmess_tokens_t *tt, time_t t)
{
    return (uint32_t *) &tt->ids[tt->max]
           + (size_t) tt->size * (t % NGX_VMESS_TOKEN_SECONDS);
}


/*
 * Where the search for a token starts, and what its entry has in its upper
 * bits.  Tokens are digests with secret keys: nobody can choose them to share
 * a place.
 */

static ngx_inline uint32_t
ngx_vmess_token_hash(ngx_vmess_tokens_t *tt, const u_char *token,
    uint32_t *upper)
{
    uint32_t  a, b;

    ngx_memcpy(&a, token, 4);
    ngx_memcpy(&b, token + 4, 4);

    *upper = b >> tt->bits;

    return (uint64_t) a * tt->size >> 32;
}


size_t
ngx_vmess_token_size(ngx_uint_t n)
{
    return sizeof(ngx_vmess_tokens_t) + n * sizeof(ngx_vmess_token_id_t)
           + ngx_vmess_token_entries(n) * NGX_VMESS_TOKEN_SECONDS
             * sizeof(uint32_t);
}


ngx_vmess_tokens_t *
ngx_vmess_token_create(void *p, ngx_uint_t n)
{
    ngx_vmess_tokens_t  *tt;

    tt = p;

    ngx_memzero(tt, sizeof(ngx_vmess_tokens_t));

    tt->max = n;
    tt->size = ngx_vmess_token_entries(n);

    /* numbers are indices plus one, zero is a free entry */

    while (n >> tt->bits) {
        tt->bits++;
    }

    return tt;
}


void
ngx_vmess_token_add(ngx_vmess_tokens_t *tt, const u_char *id, ngx_uint_t user)
{
    ngx_vmess_token_id_t  *ti;

    ti = &tt->ids[tt->n++];

    ngx_vmess_legacy_key(&ti->key, id);
    ti->user = user;
}


ngx_int_t
ngx_vmess_token_refresh(ngx_vmess_tokens_t *tt, ngx_shmtx_t *mutex, time_t now,
    ngx_uint_t n, ngx_uint_t worker)
{
    ngx_int_t  rc;

    /*
     * A worker that stops within a step, for however long, keeps the lock:
     * nobody else announces a second that it will go on to empty.
     */

    if (mutex && !ngx_shmtx_trylock(mutex)) {
        return NGX_DECLINED;
    }

    rc = ngx_vmess_token_step(tt, now, n, worker);

    if (mutex) {
        ngx_shmtx_unlock(mutex);
    }

    return rc;
}


static ngx_int_t
ngx_vmess_token_step(ngx_vmess_tokens_t *tt, time_t now, ngx_uint_t n,
    ngx_uint_t worker)
{
    ngx_uint_t  other;

    other = tt->worker;

    if (other != worker) {

        if (other && now >= tt->seen
            && now - tt->seen <= NGX_VMESS_TOKEN_LEASE)
        {
            return NGX_DECLINED;
        }

        tt->worker = worker;

        /* the other may have ended amid a step */

        tt->second = 0;
    }

    tt->seen = now;

    for ( ;; ) {

        if (tt->second < now - NGX_VMESS_TIME_WINDOW
            || tt->second > now + NGX_VMESS_TOKEN_AHEAD)
        {
            tt->second = ngx_vmess_token_due(tt, now);
            tt->done = 0;

            if (tt->second == 0) {
                return NGX_OK;
            }
        }

        if (tt->done == 0) {
            tt->seconds[tt->second % NGX_VMESS_TOKEN_SECONDS] = 0;

            ngx_vmess_memory_barrier();

            ngx_memzero((void *) ngx_vmess_token_table(tt, tt->second),
                        tt->size * sizeof(uint32_t));
        }

        while (tt->done < tt->n) {

            if (n == 0) {
                return NGX_AGAIN;
            }

            ngx_vmess_token_insert(tt, tt->done++);
            n--;
        }

        ngx_vmess_memory_barrier();

        tt->seconds[tt->second % NGX_VMESS_TOKEN_SECONDS] = tt->second;
        tt->second = 0;
    }
}


/* the second next to now that is not there, 0 if all are */

static time_t
ngx_vmess_token_due(ngx_vmess_tokens_t *tt, time_t now)
{
    time_t  d;

    for (d = 0; d <= NGX_VMESS_TOKEN_AHEAD; d++) {

        if (!ngx_vmess_token_has(tt, now + d)) {
            return now + d;
        }

        if (d <= NGX_VMESS_TIME_WINDOW && !ngx_vmess_token_has(tt, now - d)) {
            return now - d;
        }
    }

    return 0;
}


static void
ngx_vmess_token_insert(ngx_vmess_tokens_t *tt, ngx_uint_t i)
{
    u_char              token[NGX_VMESS_EAUID_LEN];
    uint32_t            k, n, upper;
    volatile uint32_t  *table;

    table = ngx_vmess_token_table(tt, tt->second);

    ngx_vmess_legacy_token(&tt->ids[i].key, tt->second, token);

    k = ngx_vmess_token_hash(tt, token, &upper);

    for (n = tt->size; n && table[k]; n--) {
        k = (k + 1 < tt->size) ? k + 1 : 0;
    }

    table[k] = upper << tt->bits | (i + 1);
}


ngx_int_t
ngx_vmess_token_find(ngx_vmess_tokens_t *tt, const u_char *token, time_t now,
    ngx_uint_t *user, int64_t *t)
{
    u_char              made[NGX_VMESS_EAUID_LEN];
    time_t              s, first, last;
    uint32_t            i, k, n, e, hash, upper, mask;
    ngx_int_t           rc;
    ngx_uint_t          tried;
    volatile uint32_t  *table;

    if (tt->n == 0) {
        return NGX_DECLINED;
    }

    hash = ngx_vmess_token_hash(tt, token, &upper);
    mask = ((uint32_t) 1 << tt->bits) - 1;

    first = now - NGX_VMESS_TIME_WINDOW;
    last = now + NGX_VMESS_TIME_WINDOW;

    /* a cache line of each table: all of them at once take half the time */

    for (s = first; s <= last; s++) {
        __builtin_prefetch((void *) &ngx_vmess_token_table(tt, s)[hash]);
    }

    rc = NGX_DECLINED;
    tried = 0;

    for (s = first; s <= last; s++) {

        if (!ngx_vmess_token_has(tt, s)) {
            continue;
        }

        table = ngx_vmess_token_table(tt, s);
        k = hash;

        for (n = tt->size; n; n--) {
            e = table[k];

            if (e == 0) {
                break;
            }

            i = (e & mask) - 1;

            if (e >> tt->bits == upper && i < tt->n) {
                tried++;

                ngx_vmess_legacy_token(&tt->ids[i].key, s, made);

                if (ngx_vmess_equal(made, token, NGX_VMESS_EAUID_LEN)) {
                    *user = tt->ids[i].user;
                    *t = s;
                    rc = NGX_OK;
                }
            }

            k = (k + 1 < tt->size) ? k + 1 : 0;
        }
    }

    /* what is not there takes as long */

    if (tried == 0) {
        ngx_vmess_legacy_token(&tt->ids[0].key, now, made);
        (void) ngx_vmess_equal(made, token, NGX_VMESS_EAUID_LEN);
    }

    return rc;
}
