
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_flows.h"
#include "ngx_vmess_mux_flow.h"


/* in one turn: accounts looked at, and records written */
#define NGX_VMESS_FLOWS_SLICE    256
#define NGX_VMESS_FLOWS_RECORDS  32

/* for the one who asked to take some of them, in ms */
#define NGX_VMESS_FLOWS_TIMEOUT  60000


/* an answer to one who asked */

typedef struct {
    ngx_vmess_account_walk_t   walk;
    int64_t                    user;       /* hash of the name, -1: all */
    uint64_t                   after;
    ngx_uint_t                 done;       /* all is in the buffer */
    u_char                    *pos;        /* what was not sent yet */
    u_char                    *last;
    ngx_vmess_flow_t           records[NGX_VMESS_FLOWS_RECORDS];
} ngx_vmess_flows_answer_t;


static void ngx_vmess_flows_id(u_char *id, ngx_vmess_zone_t *zone);
static void ngx_vmess_flows_accept(ngx_connection_t *c,
    ngx_vmess_greeting_t *greeting);
static ngx_vmess_zone_t *ngx_vmess_flows_zone(u_char *id);
static void ngx_vmess_flows_read_handler(ngx_event_t *rev);
static void ngx_vmess_flows_write_handler(ngx_event_t *wev);
static void ngx_vmess_flows_fill(ngx_vmess_flows_answer_t *answer);
static void ngx_vmess_flows_record(ngx_vmess_flow_t *flow,
    ngx_vmess_account_t *account);
static size_t ngx_vmess_flows_target(ngx_vmess_address_t *address, u_char *p);
static void ngx_vmess_flows_close(ngx_connection_t *c);


void
ngx_vmess_flows_init(void)
{
    ngx_vmess_worker_set_handler(NGX_VMESS_WORKER_FLOWS,
                                 ngx_vmess_flows_accept);
}


static void
ngx_vmess_flows_id(u_char *id, ngx_vmess_zone_t *zone)
{
    ngx_vmess_worker_id(id, NGX_VMESS_WORKER_FLOWS, &zone->name, 1);
}


ngx_connection_t *
ngx_vmess_flows_ask(ngx_vmess_zone_t *zone, ngx_vmess_owner_t *owner,
    ngx_str_t *user, uint64_t after, ngx_log_t *log)
{
    ngx_vmess_greeting_t  greeting;

    ngx_memzero(&greeting, sizeof(ngx_vmess_greeting_t));

    greeting.kind = NGX_VMESS_WORKER_FLOWS;
    greeting.number = -1;
    greeting.start = after;

    if (user->len) {
        greeting.number = ngx_murmur_hash2(user->data, user->len);
    }

    ngx_vmess_flows_id(greeting.id, zone);

    return ngx_vmess_worker_connect(owner, &greeting, log);
}


static void
ngx_vmess_flows_accept(ngx_connection_t *c, ngx_vmess_greeting_t *greeting)
{
    ngx_vmess_zone_t          *zone;
    ngx_vmess_flows_answer_t  *answer;

    zone = ngx_vmess_flows_zone(greeting->id);

    answer = ngx_alloc(sizeof(ngx_vmess_flows_answer_t), c->log);
    if (answer == NULL) {
        ngx_close_connection(c);
        return;
    }

    answer->user = greeting->number;
    answer->after = greeting->start;
    answer->done = 0;
    answer->pos = (u_char *) answer->records;
    answer->last = answer->pos;

    if (zone == NULL) {

        /* it has no flows in a zone that it does not have */

        answer->done = 1;
        ngx_memzero(&answer->records[0], sizeof(ngx_vmess_flow_t));
        answer->last += sizeof(ngx_vmess_flow_t);

        ngx_queue_init(&answer->walk.queue);

    } else {
        ngx_vmess_account_walk_start(&answer->walk, zone);
    }

    c->data = answer;
    c->read->handler = ngx_vmess_flows_read_handler;
    c->write->handler = ngx_vmess_flows_write_handler;

    ngx_vmess_flows_write_handler(c->write);
}


static ngx_vmess_zone_t *
ngx_vmess_flows_zone(u_char *id)
{
    u_char              own[NGX_VMESS_WORKER_ID_LEN];
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                            ngx_vmess_module);
    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        ngx_vmess_flows_id(own, zone[i]);

        if (ngx_memcmp(own, id, NGX_VMESS_WORKER_ID_LEN) == 0) {
            return zone[i];
        }
    }

    return NULL;
}


/*
 * Nothing else is to come: the one who asked has gone.  Or this worker is to
 * quit at last, for which nginx calls all handlers.
 */

static void
ngx_vmess_flows_read_handler(ngx_event_t *rev)
{
    u_char             byte;
    ngx_connection_t  *c;

    c = rev->data;

    if (c->close || c->recv(c, &byte, 1) != NGX_AGAIN) {
        ngx_vmess_flows_close(c);
    }
}


static void
ngx_vmess_flows_write_handler(ngx_event_t *wev)
{
    ssize_t                    n;
    ngx_connection_t          *c;
    ngx_vmess_flows_answer_t  *answer;

    c = wev->data;
    answer = c->data;

    if (wev->timedout) {
        ngx_vmess_flows_close(c);
        return;
    }

    if (answer->pos == answer->last) {
        ngx_vmess_flows_fill(answer);
    }

    if (answer->pos < answer->last) {

        n = c->send(c, answer->pos, answer->last - answer->pos);

        if (n == NGX_ERROR) {
            ngx_vmess_flows_close(c);
            return;
        }

        if (n > 0) {
            answer->pos += n;
        }

        if (answer->pos == answer->last && answer->done) {
            ngx_vmess_flows_close(c);
            return;
        }
    }

    /* a worker that is to quit waits for it as well */

    ngx_add_timer(wev, NGX_VMESS_FLOWS_TIMEOUT);

    if (wev->ready) {
        ngx_post_event(wev, &ngx_posted_next_events);
    }
}


static void
ngx_vmess_flows_fill(ngx_vmess_flows_answer_t *answer)
{
    ngx_str_t            *name;
    ngx_uint_t            i, n;
    ngx_vmess_account_t  *account;

    n = 0;

    /* the last one is for the end */

    for (i = 0;
         i < NGX_VMESS_FLOWS_SLICE && n < NGX_VMESS_FLOWS_RECORDS - 1;
         i++)
    {
        account = ngx_vmess_account_walk_next(&answer->walk);

        if (account == NULL) {
            answer->done = 1;
            ngx_memzero(&answer->records[n++], sizeof(ngx_vmess_flow_t));
            break;
        }

        name = &account->user->name;

        if (account->counted && account->opened
            && account->number > answer->after
            && (answer->user == -1
                || answer->user == ngx_murmur_hash2(name->data, name->len)))
        {
            ngx_vmess_flows_record(&answer->records[n++], account);
        }
    }

    answer->pos = (u_char *) answer->records;
    answer->last = (u_char *) &answer->records[n];
}


static void
ngx_vmess_flows_record(ngx_vmess_flow_t *flow, ngx_vmess_account_t *account)
{
    u_char                  *p;
    ngx_str_t                name;
    ngx_connection_t        *c, *carrier;
    ngx_vmess_mux_flow_t    *mux;
    ngx_vmess_connection_t  *vc;

    c = account->connection;
    vc = ngx_vmess_connection_get(c);
    mux = ngx_vmess_mux_flow_get(c);

    ngx_memzero(flow, sizeof(ngx_vmess_flow_t));

    flow->number = account->number;
    flow->since = account->since;
    flow->up = account->up;
    flow->down = account->down;
    flow->udp = (c->type == SOCK_DGRAM);

    carrier = c;

    if (mux) {
        flow->mux = 1;
        flow->mux_id = mux->id;

        carrier = mux->mux ? mux->mux->connection : NULL;
    }

    p = flow->text;

    flow->user = account->user->name.len;
    p = ngx_cpymem(p, account->user->name.data, flow->user);

    if (carrier) {
        flow->connection = carrier->number;

        ngx_vmess_connection_carrier(carrier, &name);

        flow->carrier = ngx_min(name.len, NGX_VMESS_FLOWS_CARRIER);
        p = ngx_cpymem(p, name.data, flow->carrier);
    }

    flow->client = ngx_min(c->addr_text.len, NGX_SOCKADDR_STRLEN);
    p = ngx_cpymem(p, c->addr_text.data, flow->client);

    flow->target = ngx_vmess_flows_target(&vc->header.address, p);
}


static size_t
ngx_vmess_flows_target(ngx_vmess_address_t *address, u_char *p)
{
    socklen_t       socklen;
    ngx_sockaddr_t  sa;

    if (address->type == NGX_VMESS_ADDR_DOMAIN) {
        return ngx_sprintf(p, "%V:%d", &address->domain, (int) address->port)
               - p;
    }

    socklen = ngx_vmess_address_sockaddr(address, &sa);

    return ngx_sock_ntop(&sa.sockaddr, socklen, p, NGX_VMESS_FLOWS_TARGET, 1);
}


static void
ngx_vmess_flows_close(ngx_connection_t *c)
{
    ngx_vmess_flows_answer_t  *answer;

    answer = c->data;

    ngx_vmess_account_walk_stop(&answer->walk);

    ngx_close_connection(c);

    ngx_free(answer);
}
