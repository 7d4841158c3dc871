
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_users.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_detour.h"
#include "proto/ngx_vmess_hash.h"
#include "proto/ngx_vmess_id.h"


#define NGX_VMESS_HINTS  8       /* of one address: a cache line */


static ngx_vmess_users_t *ngx_vmess_users_alloc(ngx_vmess_zone_t *zone,
    ngx_uint_t n);
static ngx_vmess_user_t *ngx_vmess_users_counters(ngx_vmess_zone_t *zone,
    ngx_str_node_t *name);
static void ngx_vmess_users_add_tokens(ngx_vmess_zone_t *zone,
    ngx_vmess_users_t *users);
static ngx_vmess_status_e ngx_vmess_account_known(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account, const u_char *eauid, time_t now,
    ngx_log_t *log);
static ngx_vmess_status_e ngx_vmess_account_status(ngx_vmess_zone_t *zone,
    ngx_int_t rc, ngx_log_t *log);
static void ngx_vmess_account_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log);
static uint64_t *ngx_vmess_account_hints(ngx_vmess_zone_sh_t *sh,
    struct sockaddr *sockaddr, uint32_t *tag);


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

    /* what no worker reads any more makes room */

    ngx_vmess_users_reclaim(zone);

    users = ngx_vmess_users_alloc(zone, n);
    if (users == NULL) {
        goto nomem;
    }

    for (i = 0; i < n; i++) {

        users->records[i].user = ngx_vmess_users_counters(zone, &conf[i]->name);

        if (users->records[i].user == NULL) {
            goto nomem;
        }
    }

    sh->pending = users;

    ngx_shmtx_unlock(&zone->shpool->mutex);

    /* nobody but us looks at what is pending: no lock for the keys */

    for (i = 0; i < n; i++) {

        ngx_memcpy(users->records[i].cmd_key, conf[i]->cmd_key,
                   NGX_VMESS_KEY_LEN);

        ngx_memcpy(&users->records[i].owner, conf[i]->cmd_key,
                   sizeof(uint32_t));
        users->records[i].owner |= 1;

        users->records[i].rate = conf[i]->rate;
        users->records[i].alter_id = conf[i]->alter_id;

        if (method->init(&users->keys[i], conf[i]->cmd_key) != NGX_OK) {
            ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                          "vmess_users \"%V\": key of user \"%V\" failed",
                          &zone->name, &conf[i]->name.str);
            return NGX_ERROR;
        }
    }

    /* no token may fit a key that is not in use yet */

    if (users->temporary
        && RAND_bytes((u_char *) users->temporary,
                      2 * n * sizeof(ngx_vmess_auth_key_t)) != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    if (users->tokens) {
        ngx_vmess_users_add_tokens(zone, users);
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
                  &zone->name, n, zone->size / 1024,
                  ngx_max(zone->size * 2,
                          n * 1536 + 4 * ngx_vmess_token_size(zone->nlegacy)
                          + (zone->refresh ? 8 * n
                             * sizeof(ngx_vmess_auth_key_t) : 0))
                  / 1024);

    return NGX_ERROR;
}


/* the tokens of all seconds that count, before anybody asks for them */

static void
ngx_vmess_users_add_tokens(ngx_vmess_zone_t *zone, ngx_vmess_users_t *users)
{
    u_char                   id[NGX_VMESS_ID_LEN];
    ngx_uint_t               i, n;
    ngx_vmess_user_conf_t  **conf;

    conf = zone->users.elts;

    for (i = 0; i < users->n; i++) {

        ngx_memcpy(id, conf[i]->uuid, NGX_VMESS_ID_LEN);

        for (n = conf[i]->alter_id; n; n--) {
            ngx_vmess_id_next(id, id);
            ngx_vmess_token_add(users->tokens, id, i);
        }
    }

    ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

    if (!ngx_test_config) {
        (void) ngx_vmess_token_refresh(users->tokens, NULL, ngx_time(),
                                       NGX_MAX_UINT32_VALUE, ngx_pid);
    }
}


/* called with the zone locked, as the two below */

static ngx_vmess_users_t *
ngx_vmess_users_alloc(ngx_vmess_zone_t *zone, ngx_uint_t n)
{
    void               *p;
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
    users->records = ngx_slab_alloc_locked(zone->shpool,
                                           n * sizeof(ngx_vmess_record_t));

    if (zone->nlegacy) {
        users->tokens_size = ngx_vmess_token_size(zone->nlegacy);

        p = ngx_slab_alloc_locked(zone->shpool, users->tokens_size);
        if (p) {
            users->tokens = ngx_vmess_token_create(p, zone->nlegacy);
        }
    }

    if (users->keys == NULL || users->records == NULL
        || (zone->nlegacy && users->tokens == NULL)
        || ngx_vmess_users_add_temporary(zone, users) != NGX_OK)
    {
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

    if (users->records) {
        ngx_explicit_memzero(users->records,
                             users->n * sizeof(ngx_vmess_record_t));
        ngx_slab_free_locked(zone->shpool, users->records);
    }

    if (users->tokens) {
        ngx_explicit_memzero(users->tokens, users->tokens_size);
        ngx_slab_free_locked(zone->shpool, users->tokens);
    }

    ngx_vmess_users_free_temporary(zone, users);

    ngx_slab_free_locked(zone->shpool, users);
}


static ngx_vmess_user_t *
ngx_vmess_users_counters(ngx_vmess_zone_t *zone, ngx_str_node_t *name)
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
ngx_vmess_account_auth(ngx_vmess_zone_t *zone, struct sockaddr *sockaddr,
    const u_char *eauid, ngx_vmess_account_t *account, ngx_log_t *log)
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

    hint = ngx_vmess_account_hints(sh, sockaddr, &tag);

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

    if (i < n) {
        ngx_vmess_account_set(users, i, account);
        account->tried = (k < NGX_VMESS_HINTS) ? 0 : i + 1;

    } else {
        i = ngx_vmess_detour_scan(zone, users, eauid, account, &t);

        if (i < n) {
            account->tried = n;

        } else if (users->tokens
                   && ngx_vmess_token_find(users->tokens, eauid, now, &i, &t)
                      == NGX_OK)
        {
            ngx_vmess_account_set(users, i, account);
            account->legacy = 1;
            account->tried = n;

        } else {
            ngx_vmess_users_release(sh);
            return NGX_VMESS_STATUS_UNKNOWN;
        }
    }

    account->time = t;

    ngx_vmess_account_hold(zone, account);

    ngx_vmess_users_release(sh);

    status = ngx_vmess_account_known(zone, account, eauid, now, log);

    if (status != NGX_VMESS_STATUS_OK) {
        ngx_vmess_account_try_rest(zone, account, eauid);
        return status;
    }

    if (hint && k == NGX_VMESS_HINTS && !account->temporary
        && !account->legacy)
    {
        /* the newest first, the oldest falls out */

        for (k = NGX_VMESS_HINTS - 1; k > 0; k--) {
            hint[k] = hint[k - 1];
        }

        hint[0] = (uint64_t) tag << 32 | i;
    }

    return NGX_VMESS_STATUS_OK;
}


/*
 * Whether the id was used.  It is not claimed yet: a client that sends no more
 * leaves nothing behind.
 */

static ngx_vmess_status_e
ngx_vmess_account_known(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *eauid, time_t now, ngx_log_t *log)
{
    time_t     expires;
    ngx_int_t  rc;

    if (ngx_vmess_auth_check_time(account->time, now) != NGX_OK) {

        /* its time may come, and then it must not be good any more */

        if (account->time > now && account->time <= now + NGX_VMESS_EARLY) {
            ngx_vmess_account_taint(zone, account, eauid);
        }

        return NGX_VMESS_STATUS_TIME;
    }

    expires = account->time + NGX_VMESS_TIME_WINDOW;

    rc = ngx_vmess_filter_find(zone->conf, eauid, account->owner, expires);

    return ngx_vmess_account_status(zone, rc, log);
}


void
ngx_vmess_account_set(ngx_vmess_users_t *users, ngx_uint_t i,
    ngx_vmess_account_t *account)
{
    ngx_vmess_record_t  *record;

    record = &users->records[i];

    ngx_memzero(account, sizeof(ngx_vmess_account_t));

    account->user = record->user;
    ngx_memcpy(account->cmd_key, record->cmd_key, NGX_VMESS_KEY_LEN);
    account->owner = record->owner;
    account->rate = record->rate;
    account->alter_id = record->alter_id;
    account->number = i;
    account->generation = users->generation;
}


void
ngx_vmess_users_stamp(ngx_vmess_zone_sh_t *sh, ngx_vmess_users_t *users)
{
    ngx_uint_t           i, generation;
    ngx_vmess_user_t    *user;
    ngx_vmess_record_t  *record, *old;

    generation = sh->generation + 1;
    users->generation = generation;

    for (i = 0; i < users->n; i++) {

        record = &users->records[i];
        user = record->user;

        /* those in use have a number there */

        old = (sh->users && user->generation == sh->generation)
              ? &sh->users->records[user->number] : NULL;

        if (old == NULL
            || ngx_vmess_equal(old->cmd_key, record->cmd_key,
                               NGX_VMESS_KEY_LEN) == 0)
        {
            user->changed = generation;
        }

        user->number = i;
        user->generation = generation;
    }
}


ngx_int_t
ngx_vmess_account_check(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account)
{
    ngx_vmess_user_t   *user;
    ngx_vmess_users_t  *users;

    user = account->user;

    /* the stamp of a user may be ahead for a moment */

    if (user->generation < zone->sh->generation
        || user->changed > account->generation)
    {
        return NGX_DECLINED;
    }

    users = ngx_vmess_users_acquire(zone->sh);

    if (user->number < users->n && users->records[user->number].user == user) {
        account->rate = users->records[user->number].rate;
    }

    ngx_vmess_users_release(zone->sh);

    return NGX_OK;
}


void
ngx_vmess_account_taint(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *eauid)
{
    (void) ngx_vmess_filter_add(zone->conf, eauid, account->owner,
                                account->time + NGX_VMESS_TIME_WINDOW);
}


void
ngx_vmess_account_try_rest(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *eauid)
{
    int64_t             t;
    ngx_uint_t          i, n;
    ngx_vmess_users_t  *users;

    /* a token is looked for when all keys were tried */

    if (account->legacy) {
        return;
    }

    users = ngx_vmess_users_acquire(zone->sh);

    /* the key that fits ends a scan: go on behind it */

    for (i = account->tried; i < users->n; i++) {
        i = ngx_vmess_auth_method()->scan(users->keys, i, users->n, eauid, &t);
    }

    n = users->temporary ? 2 * users->n : 0;

    for (i = account->tried_temporary; i < n; i++) {
        i = ngx_vmess_auth_method()->scan(users->temporary, i, n, eauid, &t);
    }

    if (users->tokens) {
        (void) ngx_vmess_token_find(users->tokens, eauid, ngx_time(), &i, &t);
    }

    ngx_vmess_users_release(zone->sh);
}


/*
 * Names the table of users as being read by this worker, which keeps it from
 * being freed, without a lock that anybody would wait for.
 */

ngx_vmess_users_t *
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
ngx_vmess_users_release(ngx_vmess_zone_sh_t *sh)
{
    ngx_vmess_memory_barrier();

    sh->readers[ngx_process_slot] = NULL;
}


#define ngx_vmess_account_refs(zone, account)                                 \
    &(account)->user->refs[(zone)->epoch & 1]

#define ngx_vmess_account_nflows(zone, account)                               \
    &(account)->user->flows[(zone)->epoch & 1]


void
ngx_vmess_account_hold(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account)
{
    if (!zone->registered) {
        ngx_vmess_account_register(zone);
    }

    ngx_queue_insert_tail(&zone->accounts, &account->queue);

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(zone, account), 1);
}


void
ngx_vmess_account_copy(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    ngx_vmess_account_t *from)
{
    *account = *from;
    account->counted = 0;

    ngx_vmess_account_hold(zone, account);
}


void
ngx_vmess_account_open(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account)
{
    account->counted = 1;

    (void) ngx_atomic_fetch_add(ngx_vmess_account_nflows(zone, account), 1);
    (void) ngx_atomic_fetch_add(&account->user->total, 1);
}


void
ngx_vmess_account_release(ngx_vmess_zone_t *zone,
    ngx_vmess_account_t *account)
{
    if (account->counted) {
        (void) ngx_atomic_fetch_add(ngx_vmess_account_nflows(zone, account),
                                    -1);
    }

    (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(zone, account), -1);

    ngx_queue_remove(&account->queue);
}


ngx_atomic_uint_t
ngx_vmess_account_flows(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account)
{
    return *ngx_vmess_account_nflows(zone, account);
}


void
ngx_vmess_account_recount(ngx_vmess_zone_t *zone)
{
    ngx_queue_t          *q;
    ngx_vmess_account_t  *account;

    zone->epoch = zone->sh->epoch;

    for (q = ngx_queue_head(&zone->accounts);
         q != ngx_queue_sentinel(&zone->accounts);
         q = ngx_queue_next(q))
    {
        account = ngx_queue_data(q, ngx_vmess_account_t, queue);

        (void) ngx_atomic_fetch_add(ngx_vmess_account_refs(zone, account), 1);

        if (account->counted) {
            (void) ngx_atomic_fetch_add(ngx_vmess_account_nflows(zone, account),
                                        1);
        }
    }

    ngx_vmess_memory_barrier();

    zone->sh->slots[ngx_process_slot].epoch = zone->epoch;
}


/*
 * The hints of an address: numbers of users, each with a tag of the address.
 * Written without a lock; a hint that is wrong or torn only costs the time to
 * try one key.
 */

static uint64_t *
ngx_vmess_account_hints(ngx_vmess_zone_sh_t *sh, struct sockaddr *sockaddr,
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


ngx_vmess_status_e
ngx_vmess_account_claim(ngx_vmess_zone_t *zone, ngx_vmess_account_t *account,
    const u_char *eauid, const u_char *key, const u_char *iv, ngx_log_t *log)
{
    u_char     data[3 * 16], digest[32];
    ngx_int_t  rc;

    if (!account->legacy) {

        if (ngx_vmess_auth_check_time(account->time, ngx_time()) != NGX_OK) {
            return NGX_VMESS_STATUS_TIME;
        }

        rc = ngx_vmess_filter_add(zone->conf, eauid, account->owner,
                                  account->time + NGX_VMESS_TIME_WINDOW);

        if (rc != NGX_OK) {
            return ngx_vmess_account_status(zone, rc, log);
        }
    }

    ngx_memcpy(data, account->cmd_key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 16, key, NGX_VMESS_KEY_LEN);
    ngx_memcpy(data + 32, iv, NGX_VMESS_IV_LEN);

    ngx_vmess_hash_sha256(digest, data, sizeof(data));

    ngx_explicit_memzero(data, sizeof(data));

    /* counted from the client's time, as the clock here may be set meanwhile */

    rc = ngx_vmess_filter_add(zone->conf, digest, account->owner,
                              account->time + NGX_VMESS_SESSION_WINDOW);

    return ngx_vmess_account_status(zone, rc, log);
}


/* what an answer of the replay filter means for the header */

static ngx_vmess_status_e
ngx_vmess_account_status(ngx_vmess_zone_t *zone, ngx_int_t rc, ngx_log_t *log)
{
    static time_t  full, clock;

    switch (rc) {

    case NGX_OK:
        return NGX_VMESS_STATUS_OK;

    case NGX_DECLINED:
        return NGX_VMESS_STATUS_REPLAY;

    case NGX_ABORT:

        if (clock != ngx_time()) {
            clock = ngx_time();

            ngx_log_error(NGX_LOG_ALERT, log, 0,
                          "vmess_users \"%V\": the clock was put back, ids of "
                          "a time that has been before are refused",
                          &zone->name);
        }

        return NGX_VMESS_STATUS_CLOCK;

    default: /* NGX_BUSY */

        if (full != ngx_time()) {
            full = ngx_time();
            ngx_vmess_account_log_full(zone, log);
        }

        return NGX_VMESS_STATUS_FULL;
    }
}


static void
ngx_vmess_account_log_full(ngx_vmess_zone_t *zone, ngx_log_t *log)
{
    u_char              buf[NGX_VMESS_USER_NAME_MAX];
    uint32_t            owner;
    ngx_str_t           name;
    ngx_uint_t          i, k, n, capacity;
    ngx_vmess_users_t  *users;
    ngx_vmess_zone_t  **zones;

    owner = ngx_vmess_filter_most(zone->conf, &n, &capacity);

    ngx_str_set(&name, "that is gone");

    zones = zone->conf->zones.elts;

    for (k = 0; k < zone->conf->zones.nelts; k++) {

        users = ngx_vmess_users_acquire(zones[k]->sh);

        for (i = 0; i < users->n; i++) {
            if (users->records[i].owner == owner) {
                name = users->records[i].user->name.str;
                ngx_memcpy(buf, name.data, name.len);
                name.data = buf;
                break;
            }
        }

        ngx_vmess_users_release(zones[k]->sh);
    }

    ngx_log_error(NGX_LOG_ALERT, log, 0,
                  "vmess_users \"%V\": replay filter is full, "
                  "user \"%V\" has %ui of its %ui entries",
                  &zone->name, &name, n, capacity);
}
