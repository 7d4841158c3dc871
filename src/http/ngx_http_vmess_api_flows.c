
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_flows.h"
#include "ngx_http_vmess_api_stream.h"
#include "ngx_http_vmess_api_query.h"
#include "ngx_http_vmess_api_user.h"
#include "event/ngx_vmess_flows.h"
#include "event/ngx_vmess_table_find.h"


/* ms: a worker that says nothing for so long is left out */

#define NGX_HTTP_VMESS_API_FLOWS_TIMEOUT  1000


/* where a page begins, or ends */

typedef struct {
    ngx_uint_t                   slot;     /* of the worker, */
    ngx_pid_t                    pid;      /* which may be another one now */
    uint64_t                     number;   /* of the last flow before */
} ngx_http_vmess_api_place_t;


typedef struct {
    ngx_http_vmess_api_query_t   query;

    ngx_http_vmess_api_place_t   place;    /* of the last flow shown */
    ngx_uint_t                   slot;     /* of the worker to ask, or asked */
    ngx_pid_t                    pid;
    ngx_uint_t                   shown;
    ngx_uint_t                   missing;  /* workers */

    /* the worker that was asked, NULL: none, and what has come of a record */

    ngx_connection_t            *worker;
    ngx_vmess_flow_t             flow;
    size_t                       received;

    ngx_http_vmess_api_stream_t  stream;
} ngx_http_vmess_api_flows_t;


static ngx_int_t ngx_http_vmess_api_flows_after(ngx_str_t *after,
    ngx_http_vmess_api_place_t *place);
static ngx_int_t ngx_http_vmess_api_flows_start(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_flows_step(ngx_http_vmess_api_ctx_t *ctx);
static ngx_int_t ngx_http_vmess_api_flows_fill(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows);
static ngx_int_t ngx_http_vmess_api_flows_ask(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows);
static ngx_int_t ngx_http_vmess_api_flows_receive(
    ngx_http_vmess_api_flows_t *flows);
static void ngx_http_vmess_api_flows_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_vmess_api_flows_show(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows);
static void ngx_http_vmess_api_flows_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_flow_t *flow, ngx_uint_t target);
static void ngx_http_vmess_api_flows_end(ngx_http_vmess_api_flows_t *flows,
    ngx_uint_t more);
static void ngx_http_vmess_api_flows_leave(ngx_http_vmess_api_flows_t *flows,
    ngx_uint_t missing);
static void ngx_http_vmess_api_flows_cleanup(void *data);


ngx_int_t
ngx_http_vmess_api_flows_user(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_vmess_user_t            *user;
    ngx_http_vmess_api_error_t   err;

    user = ngx_vmess_table_find(ngx_vmess_users_lock(ctx->zone), &ctx->name);

    ngx_vmess_users_unlock(ctx->zone);

    if (user == NULL) {
        (void) ngx_http_vmess_api_user_none(ctx, &err);
        return ngx_http_vmess_api_send_error(ctx->request, &err);
    }

    return ngx_http_vmess_api_flows_all(ctx);
}


ngx_int_t
ngx_http_vmess_api_flows_all(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_http_request_t          *r;
    ngx_pool_cleanup_t          *cln;
    ngx_http_vmess_api_error_t   err;
    ngx_http_vmess_api_flows_t  *flows;

    r = ctx->request;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_vmess_api_flows_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    flows = cln->data;
    ngx_memzero(flows, sizeof(ngx_http_vmess_api_flows_t));

    cln->handler = ngx_http_vmess_api_flows_cleanup;

    if (ngx_http_vmess_api_query_page(ctx, &flows->query, &err) != NGX_OK) {
        return ngx_http_vmess_api_send_error(r, &err);
    }

    if (flows->query.after.len
        && ngx_http_vmess_api_flows_after(&flows->query.after, &flows->place)
           != NGX_OK)
    {
        (void) ngx_http_vmess_api_error(&err, NGX_HTTP_BAD_REQUEST,
                                        "InvalidArgument", "after",
                                        "must be \"next\" of the page before");
        return ngx_http_vmess_api_send_error(r, &err);
    }

    flows->slot = flows->place.slot;

    ctx->data = flows;
    ctx->step = ngx_http_vmess_api_flows_start;
    r->main->count++;

    ngx_http_vmess_api_run(ctx);

    return NGX_DONE;
}


/* "slot-pid-number" */

static ngx_int_t
ngx_http_vmess_api_flows_after(ngx_str_t *after,
    ngx_http_vmess_api_place_t *place)
{
    u_char      *p, *last, *end;
    ngx_int_t    n[3];
    ngx_uint_t   i;

    p = after->data;
    last = p + after->len;

    for (i = 0; i < 3; i++) {

        end = (i < 2) ? ngx_strlchr(p, last, '-') : last;

        if (end == NULL) {
            return NGX_ERROR;
        }

        n[i] = ngx_atoi(p, end - p);

        if (n[i] == NGX_ERROR) {
            return NGX_ERROR;
        }

        p = end + 1;
    }

    place->slot = n[0];
    place->pid = n[1];
    place->number = n[2];

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_api_flows_start(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_vmess_api_flows_t  *flows;

    flows = ctx->data;

    rc = ngx_http_vmess_api_stream_start(ctx, &flows->stream);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    ngx_vmess_json_out_open(&flows->stream.jo, NULL, '{');
    ngx_vmess_json_out_open(&flows->stream.jo, "flows", '[');

    ctx->step = ngx_http_vmess_api_flows_step;

    return ctx->step(ctx);
}


static ngx_int_t
ngx_http_vmess_api_flows_step(ngx_http_vmess_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_vmess_api_flows_t  *flows;

    flows = ctx->data;

    if (ngx_buf_size(flows->stream.buf) == 0) {

        rc = ngx_http_vmess_api_flows_fill(ctx, flows);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_vmess_api_stream_output(ctx->request, &flows->stream);
}


/*
 * NGX_OK     the buffer is full, or all is done
 * NGX_AGAIN  it was a slice
 * NGX_DONE   a worker is to tell more
 */

static ngx_int_t
ngx_http_vmess_api_flows_fill(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_VMESS_API_SLICE; i++) {

        if (flows->worker == NULL) {

            if (ngx_http_vmess_api_flows_ask(ctx, flows) != NGX_OK) {
                ngx_http_vmess_api_flows_end(flows, 0);
                return NGX_OK;
            }

            continue;
        }

        rc = ngx_http_vmess_api_flows_receive(flows);

        if (rc == NGX_AGAIN) {
            return NGX_DONE;
        }

        if (rc != NGX_OK) {
            continue;
        }

        if (ctx->name.len
            && (flows->flow.user != ctx->name.len
                || ngx_memcmp(flows->flow.text, ctx->name.data, ctx->name.len)
                   != 0))
        {
            /* another one of that hash */

            flows->received = 0;
            continue;
        }

        if (flows->query.limit && flows->shown == flows->query.limit) {
            ngx_http_vmess_api_flows_end(flows, 1);
            return NGX_OK;
        }

        if (ngx_http_vmess_api_flows_show(ctx, flows) != NGX_OK) {
            flows->stream.full = 1;
            return NGX_OK;
        }
    }

    return NGX_AGAIN;
}


/* the next worker; NGX_DECLINED: there is none */

static ngx_int_t
ngx_http_vmess_api_flows_ask(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows)
{
    uint64_t            after;
    ngx_uint_t          slot;
    ngx_connection_t   *c;
    ngx_vmess_owner_t   owner;

    slot = flows->slot;

    if (ngx_vmess_worker_next(&slot, &owner) != NGX_OK) {
        return NGX_DECLINED;
    }

    flows->slot = slot;
    flows->pid = owner.pid;

    after = (slot == flows->place.slot && owner.pid == flows->place.pid)
            ? flows->place.number : 0;

    c = ngx_vmess_flows_ask(ctx->zone, &owner, &ctx->name, after,
                            ctx->request->connection->log);

    flows->worker = c;

    if (c == NULL) {
        ngx_http_vmess_api_flows_leave(flows, 1);
        return NGX_OK;
    }

    flows->received = 0;

    c->data = ctx;
    c->read->handler = ngx_http_vmess_api_flows_read_handler;

    return NGX_OK;
}


/*
 * NGX_OK        a record is there
 * NGX_AGAIN     it is not
 * NGX_DECLINED  the worker was left
 */

static ngx_int_t
ngx_http_vmess_api_flows_receive(ngx_http_vmess_api_flows_t *flows)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = flows->worker;

    if (flows->received < sizeof(ngx_vmess_flow_t)) {

        n = c->recv(c, (u_char *) &flows->flow + flows->received,
                    sizeof(ngx_vmess_flow_t) - flows->received);

        if (n == NGX_AGAIN && !c->read->timedout) {

            if (!c->read->timer_set) {
                ngx_add_timer(c->read, NGX_HTTP_VMESS_API_FLOWS_TIMEOUT);
            }

            return NGX_AGAIN;
        }

        if (n <= 0) {
            ngx_http_vmess_api_flows_leave(flows, 1);
            return NGX_DECLINED;
        }

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        c->read->timedout = 0;

        flows->received += n;

        if (flows->received < sizeof(ngx_vmess_flow_t)) {
            return NGX_DECLINED;
        }
    }

    if (flows->flow.number == 0) {
        ngx_http_vmess_api_flows_leave(flows, 0);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_vmess_api_flows_read_handler(ngx_event_t *rev)
{
    ngx_connection_t          *c;
    ngx_http_vmess_api_ctx_t  *ctx;

    c = rev->data;
    ctx = c->data;

    /* a turn is to come */

    if (ctx->event.posted) {
        return;
    }

    c = ctx->request->connection;

    ngx_http_vmess_api_run(ctx);

    ngx_http_run_posted_requests(c);
}


/* NGX_AGAIN: it does not fit; the end always does */

static ngx_int_t
ngx_http_vmess_api_flows_show(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_flows_t *flows)
{
    ngx_vmess_json_out_t  *jo, save;

    jo = &flows->stream.jo;
    save = *jo;

    jo->last -= 256;

    ngx_http_vmess_api_flows_write(jo, &flows->flow, ctx->write);

    if (jo->full) {
        *jo = save;
        return NGX_AGAIN;
    }

    jo->last = save.last;

    flows->place.slot = flows->slot;
    flows->place.pid = flows->pid;
    flows->place.number = flows->flow.number;

    flows->received = 0;
    flows->shown++;

    return NGX_OK;
}


static void
ngx_http_vmess_api_flows_write(ngx_vmess_json_out_t *jo,
    ngx_vmess_flow_t *flow, ngx_uint_t target)
{
    ngx_str_t  s;

    ngx_vmess_json_out_open(jo, NULL, '{');

    s.data = flow->text;
    s.len = flow->user;
    ngx_vmess_json_out_string(jo, "user", &s);

    ngx_http_vmess_api_field_time(jo, "since", flow->since);

    s.data += s.len;
    s.len = flow->carrier;

    if (flow->connection) {
        ngx_vmess_json_out_string(jo, "carrier", &s);
        ngx_vmess_json_out_integer(jo, "connection", flow->connection);

    } else {
        ngx_vmess_json_out_null(jo, "carrier");
        ngx_vmess_json_out_null(jo, "connection");
    }

    if (flow->mux) {
        ngx_vmess_json_out_integer(jo, "mux_id", flow->mux_id);

    } else {
        ngx_vmess_json_out_null(jo, "mux_id");
    }

    s.data += s.len;
    s.len = flow->client;
    ngx_vmess_json_out_string(jo, "client", &s);

    s.data += s.len;

    if (target) {
        s.len = flow->target;
        ngx_vmess_json_out_string(jo, "target", &s);
    }

    s.data = (u_char *) (flow->udp ? "udp" : "tcp");
    s.len = 3;
    ngx_vmess_json_out_string(jo, "network", &s);

    ngx_vmess_json_out_integer(jo, "up", flow->up);
    ngx_vmess_json_out_integer(jo, "down", flow->down);

    ngx_vmess_json_out_close(jo, '}');
}


static void
ngx_http_vmess_api_flows_end(ngx_http_vmess_api_flows_t *flows, ngx_uint_t more)
{
    u_char                 text[3 * NGX_INT64_LEN + 2];
    ngx_str_t              next;
    ngx_vmess_json_out_t  *jo;

    jo = &flows->stream.jo;

    ngx_vmess_json_out_close(jo, ']');

    if (more) {
        next.data = text;
        next.len = ngx_sprintf(text, "%ui-%P-%uL", flows->place.slot,
                               flows->place.pid, flows->place.number)
                   - text;

        ngx_vmess_json_out_string(jo, "next", &next);

    } else {
        ngx_vmess_json_out_null(jo, "next");
    }

    ngx_vmess_json_out_integer(jo, "missing", flows->missing);
    ngx_vmess_json_out_close(jo, '}');

    flows->stream.done = 1;
}


/* goes on with the next worker */

static void
ngx_http_vmess_api_flows_leave(ngx_http_vmess_api_flows_t *flows,
    ngx_uint_t missing)
{
    ngx_http_vmess_api_flows_cleanup(flows);

    flows->missing += missing;
    flows->slot++;
}


static void
ngx_http_vmess_api_flows_cleanup(void *data)
{
    ngx_http_vmess_api_flows_t *flows = data;

    if (flows->worker) {
        ngx_close_connection(flows->worker);
        flows->worker = NULL;
    }
}
