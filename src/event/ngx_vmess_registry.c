
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_registry.h"


/* of those that ended, so many are forgotten when one is added */

#define NGX_VMESS_REGISTRY_EXPIRE  4


/* numbers of entries are indices plus one, zero is none */

struct ngx_vmess_registry_s {
    uint32_t                   changing;   /* between begin() and end() */
    uint32_t                   bits;       /* of the number of buckets */
    uint32_t                   n;          /* entries */
    uint32_t                   used;       /* entries ever used */
    uint32_t                   count;      /* in use now */
    uint32_t                   free;       /* list of entries not in use */
    uint32_t                   first;      /* that ended, the oldest */
    uint32_t                   last;
    uint32_t                   buckets[];
};


static void ngx_vmess_registry_recover(ngx_vmess_registry_t *r);
static void ngx_vmess_registry_link(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e);
static void ngx_vmess_registry_append(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e);
static void ngx_vmess_registry_forget(ngx_vmess_registry_t *r);
static void ngx_vmess_registry_free(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e);


static ngx_inline ngx_vmess_registry_entry_t *
ngx_vmess_registry_entries(ngx_vmess_registry_t *r)
{
    return (ngx_vmess_registry_entry_t *) &r->buckets[(size_t) 1 << r->bits];
}


/* ids are digests with a secret key: nobody can choose his bucket */

static ngx_inline uint32_t *
ngx_vmess_registry_bucket(ngx_vmess_registry_t *r, const u_char *id)
{
    uint32_t  hash;

    ngx_memcpy(&hash, id, sizeof(uint32_t));

    return &r->buckets[hash & (((uint32_t) 1 << r->bits) - 1)];
}


ngx_vmess_registry_t *
ngx_vmess_registry_create(void *p, size_t size)
{
    size_t                 n;
    ngx_vmess_registry_t  *r;

    r = p;

    ngx_memzero(r, size);

    /* as many buckets as a power of two makes from about n entries */

    n = (size - sizeof(ngx_vmess_registry_t))
        / (sizeof(ngx_vmess_registry_entry_t) + sizeof(uint32_t));

    for (r->bits = 1; ((size_t) 2 << r->bits) <= n; r->bits++) { /* void */ }

    size -= sizeof(ngx_vmess_registry_t) + (sizeof(uint32_t) << r->bits);

    r->n = size / sizeof(ngx_vmess_registry_entry_t);

    return r;
}


/*
 * The barriers are for the compiler: whatever a process stored before it died
 * is there when its death is known.
 */

void
ngx_vmess_registry_begin(ngx_vmess_registry_t *r)
{
    if (r->changing) {
        ngx_vmess_registry_recover(r);
    }

    r->changing = 1;

    ngx_memory_barrier();
}


void
ngx_vmess_registry_end(ngx_vmess_registry_t *r)
{
    ngx_memory_barrier();

    r->changing = 0;
}


/* the order of those that ended is lost: some are remembered longer */

static void
ngx_vmess_registry_recover(ngx_vmess_registry_t *r)
{
    uint32_t                     i;
    ngx_vmess_registry_entry_t  *e;

    ngx_memzero(r->buckets, sizeof(uint32_t) << r->bits);

    r->count = 0;
    r->free = 0;
    r->first = 0;
    r->last = 0;

    e = ngx_vmess_registry_entries(r);

    for (i = 0; i < r->used; i++, e++) {

        if (e->pid == 0 && e->expires == 0) {
            e->next = r->free;
            r->free = i + 1;
            continue;
        }

        ngx_vmess_registry_link(r, e);

        if (e->pid == 0) {
            ngx_vmess_registry_append(r, e);
        }
    }
}


static void
ngx_vmess_registry_link(ngx_vmess_registry_t *r, ngx_vmess_registry_entry_t *e)
{
    uint32_t  *bucket;

    bucket = ngx_vmess_registry_bucket(r, e->id);

    e->next = *bucket;
    *bucket = e - ngx_vmess_registry_entries(r) + 1;

    r->count++;
}


static void
ngx_vmess_registry_append(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e)
{
    uint32_t                     i;
    ngx_vmess_registry_entry_t  *entry;

    entry = ngx_vmess_registry_entries(r);
    i = e - entry + 1;

    e->ended = 0;

    if (r->last) {
        entry[r->last - 1].ended = i;

    } else {
        r->first = i;
    }

    r->last = i;
}


ngx_vmess_registry_entry_t *
ngx_vmess_registry_find(ngx_vmess_registry_t *r, const u_char *id)
{
    uint32_t                     i;
    ngx_vmess_registry_entry_t  *entry, *e;

    entry = ngx_vmess_registry_entries(r);

    for (i = *ngx_vmess_registry_bucket(r, id); i; i = e->next) {
        e = &entry[i - 1];

        if (ngx_memcmp(e->id, id, NGX_VMESS_REGISTRY_ID_LEN) == 0) {
            return e;
        }
    }

    return NULL;
}


ngx_vmess_registry_entry_t *
ngx_vmess_registry_add(ngx_vmess_registry_t *r, const u_char *id,
    ngx_pid_t pid, uint64_t socket, time_t now)
{
    ngx_uint_t                   n;
    ngx_vmess_registry_entry_t  *entry, *e;

    entry = ngx_vmess_registry_entries(r);

    for (n = 0; n < NGX_VMESS_REGISTRY_EXPIRE; n++) {

        if (r->first == 0 || (time_t) entry[r->first - 1].expires > now) {
            break;
        }

        ngx_vmess_registry_forget(r);
    }

    if (r->free == 0 && r->used == r->n && r->first) {
        ngx_vmess_registry_forget(r);
    }

    if (r->free) {
        e = &entry[r->free - 1];
        r->free = e->next;

    } else if (r->used < r->n) {
        e = &entry[r->used++];

    } else {
        return NULL;
    }

    ngx_memcpy(e->id, id, NGX_VMESS_REGISTRY_ID_LEN);
    e->socket = socket;
    e->expires = 0;

    ngx_memory_barrier();

    e->pid = (uint32_t) pid;

    ngx_vmess_registry_link(r, e);

    return e;
}


void
ngx_vmess_registry_take(ngx_vmess_registry_entry_t *e, ngx_pid_t pid,
    uint64_t socket)
{
    e->pid = (uint32_t) pid;

    ngx_memory_barrier();

    e->socket = socket;
}


void
ngx_vmess_registry_release(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e, time_t expires)
{
    if (expires == 0) {
        ngx_vmess_registry_free(r, e);
        return;
    }

    e->expires = (uint32_t) expires;

    ngx_memory_barrier();

    e->pid = 0;

    ngx_vmess_registry_append(r, e);
}


/* the one that ended first */

static void
ngx_vmess_registry_forget(ngx_vmess_registry_t *r)
{
    ngx_vmess_registry_entry_t  *e;

    e = &ngx_vmess_registry_entries(r)[r->first - 1];

    r->first = e->ended;

    if (r->first == 0) {
        r->last = 0;
    }

    ngx_vmess_registry_free(r, e);
}


static void
ngx_vmess_registry_free(ngx_vmess_registry_t *r, ngx_vmess_registry_entry_t *e)
{
    uint32_t                    *p, i;
    ngx_vmess_registry_entry_t  *entry;

    entry = ngx_vmess_registry_entries(r);
    i = e - entry + 1;

    p = ngx_vmess_registry_bucket(r, e->id);

    while (*p != i) {
        p = &entry[*p - 1].next;
    }

    *p = e->next;

    e->pid = 0;
    e->expires = 0;

    e->next = r->free;
    r->free = i;

    r->count--;
}


void
ngx_vmess_registry_sweep(ngx_vmess_registry_t *r,
    ngx_uint_t (*alive)(ngx_pid_t pid))
{
    uint32_t                     i;
    ngx_vmess_registry_entry_t  *e;

    e = ngx_vmess_registry_entries(r);

    for (i = 0; i < r->used; i++, e++) {

        if (e->pid && !alive((ngx_pid_t) e->pid)) {
            ngx_vmess_registry_free(r, e);
        }
    }
}


ngx_uint_t
ngx_vmess_registry_capacity(ngx_vmess_registry_t *r)
{
    return r->n;
}


ngx_uint_t
ngx_vmess_registry_count(ngx_vmess_registry_t *r)
{
    return r->count;
}
