
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_clients.h"
#include "ngx_vmess_process.h"
#include "proto/ngx_vmess_address.h"


/* ms after which it is noted again that a flow is not silent */

#define NGX_VMESS_CLIENTS_TOUCH   500

/* ms for which an address is held without flows, and with silent ones */

#define NGX_VMESS_CLIENTS_HOLD    60000
#define NGX_VMESS_CLIENTS_SILENT  (15000 + NGX_VMESS_CLIENTS_TOUCH)

/* an address of a user is one of so many entries, of all if it may have more */

#define NGX_VMESS_CLIENTS_WINDOW  256

/* ms for which the lock is waited for, whatever is known of who has it */

#define NGX_VMESS_CLIENTS_STEAL   1000


struct ngx_vmess_client_s {
    uint64_t                   network;
    volatile ngx_msec_t        seen;       /* not silent, or left */
    volatile uint32_t          user;       /* written last; 0: free */
    volatile uint32_t          flows[2];
    volatile uint32_t          turn;       /* of those who hold it */
    volatile uint32_t          kept;       /* by one of them */
};


struct ngx_vmess_clients_s {
    ngx_atomic_t               lock;       /* pid of who has it */
    ngx_uint_t                 n;
    ngx_vmess_client_t         clients[1];
};


static ngx_int_t ngx_vmess_clients_find(ngx_vmess_clients_t *clients,
    uint32_t user, uint64_t network, ngx_uint_t max, ngx_uint_t set,
    ngx_vmess_client_t **found);
static ngx_uint_t ngx_vmess_clients_held(ngx_vmess_client_t *client,
    ngx_uint_t set);
static ngx_int_t ngx_vmess_clients_network(struct sockaddr *sockaddr,
    uint64_t *network);
static void ngx_vmess_clients_lock(ngx_vmess_clients_t *clients);
static void ngx_vmess_clients_unlock(ngx_vmess_clients_t *clients);


ngx_vmess_clients_t *
ngx_vmess_clients_create(void *p, size_t size)
{
    ngx_vmess_clients_t *clients = p;

    ngx_memzero(p, size);

    clients->n = (size - offsetof(ngx_vmess_clients_t, clients))
                 / sizeof(ngx_vmess_client_t);

    return clients;
}


ngx_int_t
ngx_vmess_clients_enter(ngx_vmess_clients_t *clients, uint32_t user,
    struct sockaddr *sockaddr, ngx_uint_t max, ngx_uint_t set,
    ngx_vmess_client_hold_t *hold)
{
    uint64_t             network;
    ngx_int_t            rc;
    ngx_vmess_client_t  *client;

    if (ngx_vmess_clients_network(sockaddr, &network) != NGX_OK) {
        return NGX_OK;
    }

    ngx_vmess_clients_lock(clients);

    rc = ngx_vmess_clients_find(clients, user, network, max, set, &client);

    if (rc == NGX_DONE) {

        /* until all is written, it is nobody's */

        client->user = 0;

        ngx_vmess_memory_barrier();

        client->network = network;
        client->flows[0] = 0;
        client->flows[1] = 0;
        client->seen = ngx_current_msec;
        client->kept = 0;
        client->turn++;

        rc = NGX_OK;
    }

    if (rc == NGX_OK) {
        client->flows[set]++;

        ngx_vmess_memory_barrier();

        client->user = user;

        hold->client = client;
        hold->turn = client->turn;
        hold->kept = 0;
    }

    ngx_vmess_clients_unlock(clients);

    return rc;
}


void
ngx_vmess_clients_keep(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold)
{
    if (hold->client == NULL) {
        return;
    }

    hold->kept = 1;

    ngx_vmess_clients_lock(clients);

    if (hold->client->turn == hold->turn) {
        hold->client->seen = ngx_current_msec;
        hold->client->kept = 1;
    }

    ngx_vmess_clients_unlock(clients);
}


ngx_int_t
ngx_vmess_clients_check(ngx_vmess_clients_t *clients, uint32_t user,
    struct sockaddr *sockaddr, ngx_uint_t max, ngx_uint_t set)
{
    uint64_t             network;
    ngx_int_t            rc;
    ngx_vmess_client_t  *client;

    if (ngx_vmess_clients_network(sockaddr, &network) != NGX_OK) {
        return NGX_OK;
    }

    rc = ngx_vmess_clients_find(clients, user, network, max, set, &client);

    return (rc == NGX_DONE) ? NGX_OK : rc;
}


/*
 * NGX_OK: it is there, NGX_DONE: it may be put there, in place of what is free
 * or may be taken over; NGX_DECLINED or NGX_BUSY
 */

static ngx_int_t
ngx_vmess_clients_find(ngx_vmess_clients_t *clients, uint32_t user,
    uint64_t network, ngx_uint_t max, ngx_uint_t set,
    ngx_vmess_client_t **found)
{
    ngx_msec_int_t       silent, longest;
    ngx_uint_t           i, k, n, window;
    ngx_vmess_client_t  *client, *free, *old;

    window = (max < NGX_VMESS_CLIENTS_WINDOW / 2)
             ? ngx_min(NGX_VMESS_CLIENTS_WINDOW, clients->n) : clients->n;

    i = ngx_murmur_hash2((u_char *) &user, sizeof(uint32_t)) % clients->n;

    free = NULL;
    old = NULL;
    longest = NGX_VMESS_CLIENTS_SILENT;
    n = 0;

    for (k = 0; k < window; k++) {

        client = &clients->clients[(i + k) % clients->n];

        if (!ngx_vmess_clients_held(client, set)) {
            if (free == NULL) {
                free = client;
            }

            continue;
        }

        if (client->user != user) {
            continue;
        }

        if (client->network == network) {
            *found = client;
            return NGX_OK;
        }

        n++;

        silent = ngx_current_msec - client->seen;

        /* the clocks of workers differ a little */

        if (client->flows[set] && silent > longest) {
            longest = silent;
            old = client;
        }
    }

    if (n < max) {
        *found = free;
        return free ? NGX_DONE : NGX_BUSY;
    }

    *found = old;

    return (n == max && old) ? NGX_DONE : NGX_DECLINED;
}


ngx_uint_t
ngx_vmess_clients_number(ngx_vmess_clients_t *clients, uint32_t user,
    ngx_uint_t set)
{
    ngx_uint_t           i, k, n;
    ngx_vmess_client_t  *client;

    i = ngx_murmur_hash2((u_char *) &user, sizeof(uint32_t)) % clients->n;
    n = 0;

    for (k = 0; k < ngx_min(NGX_VMESS_CLIENTS_WINDOW, clients->n); k++) {

        client = &clients->clients[(i + k) % clients->n];

        n += (client->user == user && ngx_vmess_clients_held(client, set));
    }

    return n;
}


ngx_uint_t
ngx_vmess_clients_fill(ngx_vmess_clients_t *clients, ngx_uint_t from,
    ngx_uint_t to, ngx_uint_t set, ngx_uint_t *used)
{
    *used = 0;

    for ( /* void */ ; from < ngx_min(to, clients->n); from++) {
        *used += (ngx_vmess_clients_held(&clients->clients[from], set) != 0);
    }

    return clients->n;
}


/* by flows, or after them */

static ngx_uint_t
ngx_vmess_clients_held(ngx_vmess_client_t *client, ngx_uint_t set)
{
    return client->user
           && (client->flows[set]
               || (client->kept
                   && (ngx_msec_int_t) (ngx_current_msec - client->seen)
                      <= NGX_VMESS_CLIENTS_HOLD));
}


/* what tells networks from each other: the upper half, or an IPv4 address */

static ngx_int_t
ngx_vmess_clients_network(struct sockaddr *sockaddr, uint64_t *network)
{
    u_char  addr[16];

    if (ngx_vmess_address_network(sockaddr, addr) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_memcpy(network, addr, 8);

    if (*network == 0) {
        ngx_memcpy(network, addr + 8, 8);
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_clients_touch(ngx_vmess_client_hold_t *hold)
{
    ngx_vmess_client_t  *client;

    client = hold->client;

    if (client->turn != hold->turn) {
        return NGX_DECLINED;
    }

    if (ngx_current_msec - client->seen > NGX_VMESS_CLIENTS_TOUCH) {
        client->seen = ngx_current_msec;
    }

    return NGX_OK;
}


void
ngx_vmess_clients_leave(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold, ngx_uint_t set)
{
    ngx_vmess_client_t  *client;

    client = hold->client;

    if (client == NULL) {
        return;
    }

    hold->client = NULL;

    ngx_vmess_clients_lock(clients);

    if (client->turn == hold->turn && client->flows[set]) {
        client->flows[set]--;

        if (hold->kept) {
            client->seen = ngx_current_msec;
        }
    }

    ngx_vmess_clients_unlock(clients);
}


void
ngx_vmess_clients_clear(ngx_vmess_clients_t *clients, ngx_uint_t set)
{
    ngx_uint_t  i;

    for (i = 0; i < clients->n; i++) {
        clients->clients[i].flows[set] = 0;
    }
}


void
ngx_vmess_clients_count(ngx_vmess_clients_t *clients,
    ngx_vmess_client_hold_t *hold, ngx_uint_t set)
{
    if (hold->client == NULL) {
        return;
    }

    ngx_vmess_clients_lock(clients);

    if (hold->client->turn == hold->turn) {
        hold->client->flows[set]++;
    }

    ngx_vmess_clients_unlock(clients);
}


/*
 * Held for some microseconds.  A zone of another size takes the place of one
 * that flows still have, and the master would not know the lock of that.
 */

static void
ngx_vmess_clients_lock(ngx_vmess_clients_t *clients)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  pid;

    for (i = 0; /* void */ ; i++) {

        if (ngx_atomic_cmp_set(&clients->lock, 0, ngx_pid)) {
            return;
        }

        if (i < 1000) {
            ngx_sched_yield();
            continue;
        }

        ngx_msleep(1);

        pid = clients->lock;

        if (pid
            && (i > 1000 + NGX_VMESS_CLIENTS_STEAL
                || !ngx_vmess_process_alive(pid))
            && ngx_atomic_cmp_set(&clients->lock, pid, ngx_pid))
        {
            return;
        }
    }
}


static void
ngx_vmess_clients_unlock(ngx_vmess_clients_t *clients)
{
    ngx_vmess_memory_barrier();

    (void) ngx_atomic_cmp_set(&clients->lock, ngx_pid, 0);
}
