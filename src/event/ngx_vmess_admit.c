
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_admit.h"


static ngx_int_t ngx_vmess_admit_count(ngx_vmess_account_t *account);
static ngx_int_t ngx_vmess_admit_enter(ngx_vmess_account_t *account,
    ngx_connection_t *c);


ngx_vmess_status_e
ngx_vmess_admit_check(ngx_vmess_account_t *account, ngx_uint_t flow)
{
    ngx_vmess_limits_t  *limits;

    limits = &account->limits;

    if (ngx_vmess_hit_knows(account->user, account->serial, ngx_time(),
                              limits)
        != NGX_OK)
    {
        return NGX_VMESS_STATUS_UNKNOWN;
    }

    if (flow && limits->max_conns
        && *ngx_vmess_account_flows(account) >= limits->max_conns)
    {
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    if (account->limits.max_ips
        && ngx_vmess_clients_check(account->zone->sh->clients,
                                   account->user->serial,
                                   account->connection->sockaddr,
                                   account->limits.max_ips,
                                   account->zone->epoch & 1)
           == NGX_DECLINED)
    {
        return NGX_VMESS_STATUS_MAX_IPS;
    }

    return ngx_vmess_account_limit(account->user, limits);
}


ngx_vmess_status_e
ngx_vmess_admit_client(ngx_vmess_account_t *account, ngx_uint_t flow)
{
    ngx_vmess_status_e  status;

    status = ngx_vmess_admit_check(account, flow);

    if (status != NGX_VMESS_STATUS_OK) {
        return status;
    }

    if (flow && ngx_vmess_admit_count(account) != NGX_OK) {
        return NGX_VMESS_STATUS_MAX_CONNS;
    }

    /* the last one: an address that was silent is lost then */

    if (account->limits.max_ips
        && ngx_vmess_admit_enter(account, account->connection) != NGX_OK)
    {
        ngx_vmess_account_leave(account);
        return NGX_VMESS_STATUS_MAX_IPS;
    }

    account->admitted = 1;

    return NGX_VMESS_STATUS_OK;
}


/* workers may come here at once: none of them counts one too many */

static ngx_int_t
ngx_vmess_admit_count(ngx_vmess_account_t *account)
{
    ngx_uint_t          max;
    ngx_atomic_t       *flows;
    ngx_atomic_uint_t   n;

    flows = ngx_vmess_account_flows(account);
    max = account->limits.max_conns;

    do {
        n = *flows;

        if (max && n >= max) {
            return NGX_DECLINED;
        }

    } while (!ngx_atomic_cmp_set(flows, n, n + 1));

    /* the user has it already */

    ngx_vmess_counters_add(
                    ngx_vmess_account_counters(account)
                        ->open[account->zone->epoch & 1][account->carrier], 1);

    account->counted = 1;

    return NGX_OK;
}


/* holds the client's address as long as the flow is open */

static ngx_int_t
ngx_vmess_admit_enter(ngx_vmess_account_t *account, ngx_connection_t *c)
{
    ngx_int_t      rc;
    static time_t  full;

    rc = ngx_vmess_clients_enter(account->zone->sh->clients,
                                 account->user->serial, c->sockaddr,
                                 account->limits.max_ips,
                                 account->zone->epoch & 1, &account->client);

    if (rc == NGX_BUSY && full != ngx_time()) {
        full = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "vmess_users \"%V\": no room for more addresses of "
                      "users with \"max_ips=\", use a larger size",
                      &account->zone->name);
    }

    return rc;
}


ngx_int_t
ngx_vmess_admit_move(ngx_vmess_account_t *account, ngx_vmess_account_t *to)
{
    ngx_int_t             rc;
    ngx_vmess_clients_t  *clients;

    clients = account->zone->sh->clients;

    ngx_vmess_clients_leave(clients, &account->client,
                            account->zone->epoch & 1);

    account->limits = to->limits;

    rc = account->limits.max_ips
         ? ngx_vmess_admit_enter(account, to->connection) : NGX_OK;

    ngx_vmess_clients_keep(clients, &account->client);

    return rc;
}
