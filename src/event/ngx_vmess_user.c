
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_user.h"
#include "proto/ngx_vmess_crypto.h"


#define NGX_VMESS_HINTS  8       /* of one address: a cache line */


static ngx_vmess_users_t *ngx_vmess_users_alloc(ngx_vmess_zone_t *zone,
    ngx_uint_t n);
static ngx_vmess_user_t *ngx_vmess_user_get(ngx_vmess_zone_t *zone,
    ngx_str_node_t *name);
static ngx_vmess_users_t *ngx_vmess_users_acquire(ngx_vmess_zone_sh_t *sh);
static uint64_t *ngx_vmess_user_hints(ngx_vmess_zone_sh_t *sh,
    struct sockaddr *sockaddr, uint32_t *tag);
static ngx_int_t ngx_vmess_user_claim(ngx_vmess_zone_t *zone,
    const u_char *key, time_t expires, ngx_log_t *log);


ngx_int_t
ngx_vmess_users_create(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t                      i, n;
    ngx_vmess_users_t              *users;
    ngx_vmess_zone_sh_t            *sh;
    ngx_vmess_user_conf_t         **conf;
    const ngx_vmess_auth_method_t  *method;

    sh = zone->sh;
    conf = zone->users.elts;
    n = zone->users.nelts;

    method = ngx_vmess_auth_method();

    ngx_shmtx_lock(&zone->shpool->mutex);

    /* of a configuration that failed later */

    if (sh->pending) {
        ngx_vmess_users_free(zone, sh->pending);
        sh->pending = NULL;
    }

    users = ngx_vmess_users_alloc(zone, n);
    if (users == NULL) {
        goto nomem;
    }

    for (i = 0; i < n; i++) {

        users->accounts[i].user = ngx_vmess_user_get(zone, &conf[i]->name);

        if (users->accounts[i].user == NULL) {
            goto nomem;
        }
    }

    sh->pending = users;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    /* nobody but us looks at what is pending: no lock for the keys */

    for (i = 0; i < n; i++) {

        ngx_memcpy(users->accounts[i].cmd_key, conf[i]->cmd_key,
                   NGX_VMESS_KEY_LEN);

        users->accounts[i].rate = conf[i]->rate;

        if (method->init(&users->keys[i], conf[i]->cmd_key) != NGX_OK) {
            ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                          "vmess_users \"%V\": key of user \"%V\" failed",
                          &zone->name, &conf[i]->name.str);
            return NGX_ERROR;
        }
    }

    return NGX_OK;

nomem:

    if (users) {
        ngx_vmess_users_free(zone, users);
    }

    ngx_shmtx_unlock(&zone->shpool->mutex);

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "vmess_users \"%V\": %ui users do not fit into %uzk of shared "
                  "memory (half of it is the replay filter, and a reload "
                  "needs room for the old users and the new), "
                  "use a size of %uzk or more",
                  &zone->name, n, zone->shm_zone->shm.size / 1024,
                  ngx_max(zone->shm_zone->shm.size * 2, n * 1536) / 1024);

    return NGX_ERROR;
}


/* called with the zone locked, as the two below */

static ngx_vmess_users_t *
ngx_vmess_users_alloc(ngx_vmess_zone_t *zone, ngx_uint_t n)
{
    ngx_vmess_users_t  *users;

    users = ngx_slab_calloc_locked(zone->shpool, sizeof(ngx_vmess_users_t));
    if (users == NULL) {
        return NULL;
    }

    users->n = n;

    if (n == 0) {
        return users;
    }

    users->keys = ngx_slab_alloc_locked(zone->shpool,
                                        n * sizeof(ngx_vmess_auth_key_t));
    users->accounts = ngx_slab_alloc_locked(zone->shpool,
                                            n * sizeof(ngx_vmess_account_t));

    if (users->keys == NULL || users->accounts == NULL) {
        ngx_vmess_users_free(zone, users);
        return NULL;
    }

    return users;
}


void
ngx_vmess_users_free(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    if (users->keys) {
        ngx_explicit_memzero(users->keys,
                             users->n * sizeof(ngx_vmess_auth_key_t));
        ngx_slab_free_locked(zone->shpool, users->keys);
    }

    if (users->accounts) {
        ngx_explicit_memzero(users->accounts,
                             users->n * sizeof(ngx_vmess_account_t));
        ngx_slab_free_locked(zone->shpool, users->accounts);
    }

    ngx_slab_free_locked(zone->shpool, users);
}


static ngx_vmess_user_t *
ngx_vmess_user_get(ngx_vmess_zone_t *zone, ngx_str_node_t *name)
{
    ngx_vmess_user_t  *user;

    user = (ngx_vmess_user_t *) ngx_str_rbtree_lookup(&zone->sh->names,
                                                      &name->str,
                                                      name->node.key);
    if (user) {
        return user;
    }

    user = ngx_slab_calloc_locked(zone->shpool,
                                  sizeof(ngx_vmess_user_t) + name->str.len);
    if (user == NULL) {
        return NULL;
    }

    user->name.node.key = name->node.key;
    user->name.str.len = name->str.len;
    user->name.str.data = (u_char *) &user[1];

    ngx_memcpy(user->name.str.data, name->str.data, name->str.len);

    ngx_rbtree_insert(&zone->sh->names, &user->name.node);

    return user;
}


ngx_vmess_status_e
ngx_vmess_user_auth(ngx_vmess_zone_t *zone, struct sockaddr *sockaddr,
    const u_char *eauid, ngx_vmess_account_t *account, int64_t *skew,
    ngx_log_t *log)
{
    int64_t                         t;
    time_t                          now;
    uint32_t                        tag;
    uint64_t                       *hint, h;
    ngx_uint_t                      i, k, n;
    ngx_vmess_users_t              *users;
    ngx_vmess_status_e              status;
    ngx_vmess_zone_sh_t            *sh;
    const ngx_vmess_auth_method_t  *method;

    sh = zone->sh;
    now = ngx_time();
    method = ngx_vmess_auth_method();

    users = ngx_vmess_users_acquire(sh);

    n = users->n;
    i = n;
    k = 0;
    tag = 0;

    hint = ngx_vmess_user_hints(sh, sockaddr, &tag);

    if (hint) {

        for (k = 0; k < NGX_VMESS_HINTS; k++) {
            h = hint[k];

            if ((uint32_t) (h >> 32) != tag || (uint32_t) h >= n) {
                continue;
            }

            i = (uint32_t) h;

            if (method->scan(users->keys, i, i + 1, eauid, &t) == i) {
                break;
            }

            i = n;
        }
    }

    if (i == n) {
        k = NGX_VMESS_HINTS;
        i = method->scan(users->keys, 0, n, eauid, &t);
    }

    if (i == n) {
        status = NGX_VMESS_STATUS_UNKNOWN;
        goto done;
    }

    *account = users->accounts[i];
    account->tried = (k < NGX_VMESS_HINTS) ? 0 : i + 1;

    *skew = t - now;

    (void) ngx_atomic_fetch_add(&account->user->refs, 1);

    if (ngx_vmess_auth_check_time(t, now) != NGX_OK) {
        status = NGX_VMESS_STATUS_TIME;
        goto done;
    }

    if (ngx_vmess_user_claim(zone, eauid, (time_t) t + NGX_VMESS_TIME_WINDOW,
                             log)
        != NGX_OK)
    {
        status = NGX_VMESS_STATUS_REPLAY;
        goto done;
    }

    status = NGX_VMESS_STATUS_OK;

    if (hint && k == NGX_VMESS_HINTS) {

        /* the newest first, the oldest falls out */

        for (k = NGX_VMESS_HINTS - 1; k > 0; k--) {
            hint[k] = hint[k - 1];
        }

        hint[0] = (uint64_t) tag << 32 | i;
    }

done:

    ngx_vmess_memory_barrier();

    sh->readers[ngx_process_slot] = NULL;

    if (status == NGX_VMESS_STATUS_TIME || status == NGX_VMESS_STATUS_REPLAY) {
        ngx_vmess_user_try_rest(zone, account, eauid);
    }

    return status;
}


void
ngx_vmess_user_try_rest(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *eauid)
{
    int64_t             t;
    ngx_uint_t          i;
    ngx_vmess_users_t  *users;

    users = ngx_vmess_users_acquire(zone->sh);

    /* the key that fits ends a scan: go on behind it */

    for (i = account->tried; i < users->n; i++) {
        i = ngx_vmess_auth_method()->scan(users->keys, i, users->n, eauid, &t);
    }

    ngx_vmess_memory_barrier();

    zone->sh->readers[ngx_process_slot] = NULL;
}


/*
 * Names the table of users as being read by this worker, which keeps it from
 * being freed, without a lock that anybody would wait for.
 */

static ngx_vmess_users_t *
ngx_vmess_users_acquire(ngx_vmess_zone_sh_t *sh)
{
    ngx_vmess_users_t  *users;

    do {
        users = sh->users;
        sh->readers[ngx_process_slot] = users;

        /* the name must be seen by others before the check is made */

        ngx_vmess_memory_barrier();

    } while (users != sh->users);

    return users;
}


void
ngx_vmess_user_release(ngx_vmess_user_t *user)
{
    (void) ngx_atomic_fetch_add(&user->refs, -1);
}


/*
 * The hints of an address: numbers of users, each with a tag of the address.
 * Written without a lock; a hint that is wrong or torn only costs the time to
 * try one key.
 */

static uint64_t *
ngx_vmess_user_hints(ngx_vmess_zone_sh_t *sh, struct sockaddr *sockaddr,
    uint32_t *tag)
{
    u_char               *p;
    size_t                len;
    uint32_t              hash;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:

        /* hosts change the lower half of their addresses */

        sin6 = (struct sockaddr_in6 *) sockaddr;
        p = (u_char *) &sin6->sin6_addr;
        len = IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr) ? 16 : 8;
        break;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        p = (u_char *) &sin->sin_addr;
        len = 4;
        break;

    default: /* AF_UNIX */
        return NULL;
    }

    hash = ngx_murmur_hash2(p, len);
    *tag = ngx_crc32_short(p, len);

    return &sh->hints[(hash & sh->hints_mask) & ~(NGX_VMESS_HINTS - 1)];
}


ngx_int_t
ngx_vmess_user_session(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *key, const u_char *iv, ngx_log_t *log)
{
    u_char     data[3 * 16], digest[32];
    ngx_int_t  rc;

    ngx_memcpy(data, account->cmd_key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 16, key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 32, iv, NGX_VMESS_IV_LEN);

    ngx_vmess_sha256(digest, data, sizeof(data));

    rc = ngx_vmess_user_claim(zone, digest,
                              ngx_time() + NGX_VMESS_SESSION_WINDOW, log);

    ngx_explicit_memzero(data, sizeof(data));

    return rc;
}


static ngx_int_t
ngx_vmess_user_claim(ngx_vmess_zone_t *zone, const u_char *key, time_t expires,
    ngx_log_t *log)
{
    time_t          now;
    ngx_int_t       rc;
    static time_t   logged;

    now = ngx_time();

    if (zone->old_replay && now <= zone->old_until) {
        rc = ngx_vmess_replay_add(zone->old_replay, key, expires, now);

        if (rc != NGX_OK) {
            goto refused;
        }
    }

    rc = ngx_vmess_replay_add(zone->sh->replay, key, expires, now);

refused:

    if (rc == NGX_BUSY) {

        if (logged != now) {
            logged = now;
            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": replay filter is full",
                          &zone->name);
        }

        return NGX_DECLINED;
    }

    return rc;
}
