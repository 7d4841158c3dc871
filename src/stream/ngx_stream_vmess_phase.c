
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_phase.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_stream_vmess_fallback.h"
#include "ngx_stream_vmess_handler.h"
#include "ngx_stream_vmess_log.h"


static ngx_int_t ngx_stream_vmess_phase_first(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph);
static ngx_int_t ngx_stream_vmess_phase_preread(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph);


ngx_int_t
ngx_stream_vmess_phase_add(ngx_conf_t *cf)
{
    ngx_array_t                  *log;
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_vmess_handler;

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_vmess_fallback_mark_handler;

    log = &cmcf->phases[NGX_STREAM_LOG_PHASE].handlers;

    if (ngx_array_push(log) == NULL) {
        return NGX_ERROR;
    }

    h = log->elts;

    ngx_memmove(&h[1], &h[0], (log->nelts - 1) * sizeof(ngx_stream_handler_pt));

    h[0] = ngx_stream_vmess_log_handler;

    return NGX_OK;
}


/*
 * Makes our handler the first of the preread phase and gives it and the
 * others the checkers they need: a handler cannot be put behind that of TLS
 * in its own phase, as that one ends the phase even without TLS.
 */

ngx_int_t
ngx_stream_vmess_phase_init(ngx_cycle_t *cycle)
{
    ngx_stream_handler_pt         handler;
    ngx_stream_phase_handler_t   *ph, *first;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                 ngx_stream_core_module);

    if (cmcf == NULL) {
        return NGX_OK;
    }

    first = NULL;

    for (ph = cmcf->phase_engine.handlers; ph->checker; ph++) {

        if (ph->checker != ngx_stream_core_preread_phase) {
            continue;
        }

        ph->checker = ngx_stream_vmess_phase_preread;

        if (first == NULL) {
            first = ph;
        }

        if (ph->handler != ngx_stream_vmess_handler) {
            continue;
        }

        for ( /* void */ ; ph > first; ph--) {
            handler = ph[-1].handler;
            ph[-1].handler = ph->handler;
            ph->handler = handler;
        }

        first->checker = ngx_stream_vmess_phase_first;
    }

    return NGX_OK;
}


/* checker of our handler */

static ngx_int_t
ngx_stream_vmess_phase_first(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph)
{
    ngx_int_t  rc;

    rc = ph->handler(s);

    switch (rc) {

    case NGX_DECLINED:
        s->phase_handler++;
        return NGX_AGAIN;

    case NGX_DONE:

        /* the phases of the other server, from the first on */

        return NGX_AGAIN;

    case NGX_AGAIN:
        return NGX_OK;

    case NGX_ERROR:
        rc = NGX_STREAM_INTERNAL_SERVER_ERROR;
        break;
    }

    ngx_stream_finalize_session(s, rc);

    return NGX_OK;
}


/* checker of the other preread handlers */

static ngx_int_t
ngx_stream_vmess_phase_preread(ngx_stream_session_t *s,
    ngx_stream_phase_handler_t *ph)
{
    ngx_int_t                rc;
    ngx_connection_t        *c;
    ngx_stream_vmess_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ctx == NULL && ngx_vmess_vconn_get(s->connection) == NULL) {
        return ngx_stream_core_preread_phase(s, ph);
    }

    c = s->connection;

    if (ctx) {
        ctx->preread_ended = 0;
    }

    ngx_vmess_preread_by_recv(rc, ngx_stream_core_preread_phase(s, ph));

    /*
     * The end of the client's data is not that of the session: nginx would
     * wait for more, and then close it.
     */

    if (rc == NGX_OK && ctx && c->fd != (ngx_socket_t) -1
        && ctx->preread_ended)
    {
        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        c->read->ready = 1;

        s->phase_handler++;

        return NGX_AGAIN;
    }

    return rc;
}
