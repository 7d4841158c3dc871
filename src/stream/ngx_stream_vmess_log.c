
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_log.h"
#include "ngx_stream_vmess_loop.h"
#include "ngx_stream_vmess_visitor.h"
#include "event/ngx_vmess_handshake.h"
#include "event/ngx_vmess_output.h"


static void ngx_stream_vmess_log_count(ngx_stream_session_t *s,
    ngx_stream_vmess_ctx_t *ctx);


ngx_int_t
ngx_stream_vmess_log_handler(ngx_stream_session_t *s)
{
    ngx_log_handler_pt       handler;
    ngx_connection_t        *c;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL) {
        return NGX_OK;
    }

    if (ctx->visit) {

        /* the site has closed the connection before there was a verdict */

        if (ctx->vc->status == NGX_VMESS_STATUS_NONE) {
            ngx_vmess_handshake_refuse(ctx->vc, NGX_VMESS_STATUS_TIMEOUT);
        }

        /* its events must not come while TLS is being shut down */

        ngx_stream_vmess_visitor_stop(s);
    }

    ngx_stream_vmess_loop_leave(ctx);

    if (ctx->status) {
        s->status = ctx->status;
    }

    if (!ctx->vc->account.opened && ctx->vc->mux == NULL) {

        /* it may have been closed before its flow was opened */

        ngx_vmess_account_leave(&ctx->vc->account);

        return NGX_OK;
    }

    /* datagrams of this turn of the event loop */

    if (ctx->udp && ctx->vc->sealed.start && !s->connection->error) {
        (void) ngx_vmess_output_flush(ctx->vc);
    }

    ngx_stream_vmess_log_count(s, ctx);

    c = s->connection;
    handler = c->log->handler;
    c->log->handler = NULL;

    ngx_vmess_account_log(&ctx->vc->account, c->log);

    c->log->handler = handler;

    /* a client may leave TLS waiting for its end for seconds */

    ngx_vmess_account_leave(&ctx->vc->account);

    return NGX_OK;
}


/*
 * The access log has each byte once: what a sub-connection has received or
 * sent is in its line, and the rest is in that of the connection.
 */

static void
ngx_stream_vmess_log_count(ngx_stream_session_t *s, ngx_stream_vmess_ctx_t *ctx)
{
    ngx_connection_t            *c;
    ngx_vmess_mux_flow_t        *flow;
    ngx_vmess_mux_connection_t  *mux;

    c = s->connection;
    mux = ctx->vc->mux;

    if (mux) {
        s->received = ngx_max(mux->received - mux->taken, 0);
        c->sent = ngx_max(c->sent - mux->output.sent, 0);
        return;
    }

    flow = ngx_vmess_mux_flow_get(c);

    if (flow) {
        c->sent -= flow->discarded;
    }
}
