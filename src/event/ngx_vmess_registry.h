
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_REGISTRY_H_INCLUDED_
#define _NGX_VMESS_REGISTRY_H_INCLUDED_


#include "ngx_vmess.h"


#define NGX_VMESS_REGISTRY_ID_LEN  20


/*
 * Which worker has which session, in one block of shared memory.  The caller
 * holds its lock, which somebody releases if the caller is killed.
 *
 * Entries are changed by single stores, and everything else (buckets, lists)
 * can be rebuilt from them: begin() does so if the last holder of the lock did
 * not reach its end().
 */

typedef struct {
    u_char                     id[NGX_VMESS_REGISTRY_ID_LEN];
    uint32_t                   pid;        /* 0: ended, or free */
    uint32_t                   expires;    /* of one that ended, 0: free */
    uint32_t                   next;       /* in a bucket or the free list */
    uint32_t                   ended;      /* the next of those that ended */
    uint64_t                   socket;     /* of the worker */
} ngx_vmess_registry_entry_t;

typedef struct ngx_vmess_registry_s  ngx_vmess_registry_t;


/* makes an empty registry of size bytes at p, which are all written to */
ngx_vmess_registry_t *ngx_vmess_registry_create(void *p, size_t size);

/* frame everything below, as one lock and one unlock do */
void ngx_vmess_registry_begin(ngx_vmess_registry_t *r);
void ngx_vmess_registry_end(ngx_vmess_registry_t *r);

/* the entry of an id, or NULL */
ngx_vmess_registry_entry_t *ngx_vmess_registry_find(ngx_vmess_registry_t *r,
    const u_char *id);

/*
 * Adds an id that is not there, for a worker.  If there is no room, the
 * session that ended first is forgotten; NULL if none has ended.
 */
ngx_vmess_registry_entry_t *ngx_vmess_registry_add(ngx_vmess_registry_t *r,
    const u_char *id, ngx_pid_t pid, uint64_t socket, time_t now);

/* makes it another worker's */
void ngx_vmess_registry_take(ngx_vmess_registry_entry_t *e, ngx_pid_t pid,
    uint64_t socket);

/*
 * The session has ended.  It is remembered while now < expires, if there is
 * room; with 0 it is forgotten.
 */
void ngx_vmess_registry_release(ngx_vmess_registry_t *r,
    ngx_vmess_registry_entry_t *e, time_t expires);

/* forgets the sessions of workers for which alive() is 0 */
void ngx_vmess_registry_sweep(ngx_vmess_registry_t *r,
    ngx_uint_t (*alive)(ngx_pid_t pid));

/* the number of ids that fit, and of those that are in it */
ngx_uint_t ngx_vmess_registry_capacity(ngx_vmess_registry_t *r);
ngx_uint_t ngx_vmess_registry_count(ngx_vmess_registry_t *r);


#endif /* _NGX_VMESS_REGISTRY_H_INCLUDED_ */
