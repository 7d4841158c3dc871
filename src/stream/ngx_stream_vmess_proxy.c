
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_proxy.h"


static ssize_t ngx_stream_vmess_proxy_recv(ngx_connection_t *pc, u_char *buf,
    size_t size);
static ngx_command_t *ngx_stream_vmess_proxy_command(char *name);


extern ngx_module_t  ngx_stream_proxy_module;


ngx_int_t
ngx_stream_vmess_proxy_init(ngx_conf_t *cf)
{
    void                          *srv_conf[2];
    ngx_str_t                      address = ngx_string("$remote_addr");
    ngx_stream_module_t           *module;
    ngx_stream_conf_ctx_t          ctx;
    ngx_stream_core_srv_conf_t    *cscf;
    ngx_stream_vmess_main_conf_t  *vmcf;

    /* a server that nobody gets to */

    ctx.main_conf = ((ngx_stream_conf_ctx_t *) cf->ctx)->main_conf;
    ctx.srv_conf = ngx_pcalloc(cf->pool,
                               sizeof(void *) * ngx_stream_max_module);

    module = ngx_stream_core_module.ctx;
    srv_conf[0] = module->create_srv_conf(cf);

    module = ngx_stream_proxy_module.ctx;
    srv_conf[1] = module->create_srv_conf(cf);

    if (ctx.srv_conf == NULL || srv_conf[0] == NULL || srv_conf[1] == NULL) {
        return NGX_ERROR;
    }

    ctx.srv_conf[ngx_stream_core_module.ctx_index] = srv_conf[0];
    ctx.srv_conf[ngx_stream_proxy_module.ctx_index] = srv_conf[1];

    if (ngx_stream_vmess_proxy_pass(cf, &ctx, &address) != NGX_CONF_OK) {
        return NGX_ERROR;
    }

    cscf = srv_conf[0];
    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    vmcf->proxy_handler = cscf->handler;

    return NGX_OK;
}


/* proxy_pass address; */

char *
ngx_stream_vmess_proxy_pass(ngx_conf_t *cf, ngx_stream_conf_ctx_t *ctx,
    ngx_str_t *address)
{
    char           *rv;
    ngx_str_t      *value;
    ngx_conf_t      save;
    ngx_array_t     args;
    ngx_command_t  *cmd;

    cmd = ngx_stream_vmess_proxy_command("proxy_pass");

    if (cmd == NULL
        || ngx_array_init(&args, cf->pool, 2, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = ngx_array_push_n(&args, 2);
    value[0] = cmd->name;
    value[1] = *address;

    save = *cf;
    cf->ctx = ctx;
    cf->cmd_type = NGX_STREAM_SRV_CONF;
    cf->args = &args;

    rv = cmd->set(cf, cmd, ctx->srv_conf[ngx_stream_proxy_module.ctx_index]);

    *cf = save;

    return rv;
}


ngx_int_t
ngx_stream_vmess_proxy_half_close(ngx_connection_t *c)
{
    u_char                  *pscf;
    ngx_command_t           *cmd;
    ngx_connection_t        *pc;
    ngx_stream_session_t    *s;
    ngx_stream_upstream_t   *u;
    ngx_stream_vmess_ctx_t  *ctx;

    s = c->data;
    u = s->upstream;

    pscf = ngx_stream_get_module_srv_conf(s, ngx_stream_proxy_module);
    cmd = ngx_stream_vmess_proxy_command("proxy_half_close");

    if (cmd && *(ngx_flag_t *) (pscf + cmd->offset)) {
        return NGX_DECLINED;
    }

    /*
     * The proxy module reads from the client after it has written to the
     * upstream, so it asks again when it could write more.
     */

    if (u == NULL) {

        /* preread: there is no more to wait for; the proxy asks again */

        ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
        ctx->preread_ended = 1;

        return NGX_AGAIN;
    }

    if (!u->connected || u->upstream_out || u->upstream_busy) {
        return NGX_AGAIN;
    }

    pc = u->peer.connection;

    if (pc->buffered) {
        return NGX_AGAIN;
    }

#if (NGX_STREAM_SSL || NGX_SSL)

    /*
     * There is no end over TLS that all peers take for a half-close: without
     * it, at least the answer comes.
     */

    if (pc->ssl) {
        return NGX_OK;
    }

#endif

    ngx_log_debug1(NGX_LOG_DEBUG_STREAM, c->log, 0,
                   "vmess half-close of upstream: %d", pc->fd);

    if (ngx_shutdown_socket(pc->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_connection_error(c, ngx_socket_errno,
                             ngx_shutdown_socket_n " failed");
    }

    return NGX_OK;
}


/*
 * As "proxy_upload_rate" and "proxy_download_rate" do: the proxy neither reads
 * nor counts the time of "proxy_timeout" meanwhile.  Layers ask before they
 * read from a client; from the upstream, the proxy reads, and asks in recv().
 */

ngx_int_t
ngx_stream_vmess_proxy_delay(void *data, ngx_uint_t down, ngx_msec_t delay)
{
    ngx_stream_session_t *s = data;

    ngx_event_t             *rev;
    ngx_connection_t        *c, *pc;
    ngx_stream_upstream_t   *u;
    ngx_stream_vmess_ctx_t  *ctx;

    c = s->connection;
    u = s->upstream;

    /* somebody else has the connection, or it is read before it is proxied */

    if (c->data != s || u == NULL
        || (down && (!u->connected || u->peer.connection == NULL)))
    {
        return NGX_DECLINED;
    }

    rev = c->read;

    if (down) {
        pc = u->peer.connection;
        rev = pc->read;

        if (pc->recv != ngx_stream_vmess_proxy_recv) {
            ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);
            ctx->recv = pc->recv;
            pc->recv = ngx_stream_vmess_proxy_recv;
        }
    }

    /* the longer one of both is that of the proxy */

    if (rev->delayed && rev->timer_set
        && (ngx_msec_int_t) (rev->timer.key - ngx_current_msec)
           > (ngx_msec_int_t) delay)
    {
        return NGX_OK;
    }

    rev->delayed = 1;

    ngx_add_timer(rev, delay);

    return NGX_OK;
}


static ssize_t
ngx_stream_vmess_proxy_recv(ngx_connection_t *pc, u_char *buf, size_t size)
{
    ngx_stream_session_t    *s;
    ngx_stream_vmess_ctx_t  *ctx;

    s = pc->data;
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_vmess_module);

    if (ngx_vmess_rate_write(&ctx->vc->rate, &ctx->vc->account) != NGX_OK) {
        return NGX_AGAIN;
    }

    return ctx->recv(pc, buf, size);
}


/* the configuration of the proxy module is private, its directives are not */

static ngx_command_t *
ngx_stream_vmess_proxy_command(char *name)
{
    ngx_command_t  *cmd;

    for (cmd = ngx_stream_proxy_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            return cmd;
        }
    }

    return NULL;
}
