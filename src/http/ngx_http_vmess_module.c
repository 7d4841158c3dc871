
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_session.h"


typedef ngx_int_t (*ngx_http_vmess_transport_pt)(ngx_http_request_t *r,
    ngx_http_vmess_ctx_t *ctx);

typedef struct {
    ngx_uint_t                   mask;
    ngx_http_vmess_transport_pt  handler;
} ngx_http_vmess_transport_t;


static ngx_int_t ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph);
static ngx_http_vmess_ctx_t *ngx_http_vmess_create_ctx(ngx_http_request_t *r);
static ngx_int_t ngx_http_vmess_handler(ngx_http_request_t *r);
static void ngx_http_vmess_read_handler(ngx_http_request_t *r);
static void ngx_http_vmess_closed_handler(ngx_event_t *ev);

static ngx_int_t ngx_http_vmess_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_vmess_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_vmess_init_process(ngx_cycle_t *cycle);
static void *ngx_http_vmess_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_vmess_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_vmess_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_vmess_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_bitmask_t  ngx_http_vmess_transport_masks[] = {
    { ngx_string("websocket"), NGX_HTTP_VMESS_WEBSOCKET },
    { ngx_string("httpupgrade"), NGX_HTTP_VMESS_HTTPUPGRADE },
    { ngx_string("xhttp"), NGX_HTTP_VMESS_XHTTP },
    { ngx_string("grpc"), NGX_HTTP_VMESS_GRPC },
    { ngx_string("http"), NGX_HTTP_VMESS_HTTP },
    { ngx_null_string, 0 }
};


static ngx_http_vmess_transport_t  ngx_http_vmess_transports[] = {
    { NGX_HTTP_VMESS_WEBSOCKET, ngx_http_vmess_ws_handler },
    { NGX_HTTP_VMESS_HTTPUPGRADE, ngx_http_vmess_upgrade_handler },
    { NGX_HTTP_VMESS_XHTTP, ngx_http_vmess_xhttp_handler },
    { NGX_HTTP_VMESS_GRPC, ngx_http_vmess_grpc_handler },
    { NGX_HTTP_VMESS_HTTP, ngx_http_vmess_h2_handler },
    { 0, NULL }
};


static ngx_command_t  ngx_http_vmess_commands[] = {

    { ngx_string("vmess_pass"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_vmess_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_vmess_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_vmess_init,                   /* postconfiguration */

    ngx_http_vmess_create_main_conf,       /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_vmess_create_loc_conf,        /* create location configuration */
    ngx_http_vmess_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_vmess_module = {
    NGX_MODULE_V1,
    &ngx_http_vmess_module_ctx,            /* module context */
    ngx_http_vmess_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_vmess_init_module,            /* init module */
    ngx_http_vmess_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * In the place of ngx_http_core_rewrite_phase() for locations: a request that
 * may be VMess passes by "return" and others of the rewrite module, and comes
 * back to them if it is not.
 */

static ngx_int_t
ngx_http_vmess_rewrite_phase(ngx_http_request_t *r,
    ngx_http_phase_handler_t *ph)
{
    ngx_http_vmess_ctx_t       *ctx;
    ngx_http_vmess_loc_conf_t  *vlcf;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->listen == NULL || r != r->main
        || ngx_http_get_module_ctx(r, ngx_http_vmess_module)
        || !(r->headers_in.upgrade || r->headers_in.chunked
             || r->method == NGX_HTTP_PUT
             || ngx_http_vmess_xhttp_candidate(r)))
    {
        return ngx_http_core_rewrite_phase(r, ph);
    }

    ctx = ngx_http_vmess_create_ctx(r);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_OK;
    }

    ctx->rewrite = r->phase_handler;

    r->phase_handler = ph->next;

    return NGX_AGAIN;
}


static ngx_http_vmess_ctx_t *
ngx_http_vmess_create_ctx(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_ctx_t));

    if (ctx) {
        ctx->request = r;
        ngx_http_set_ctx(r, ctx, ngx_http_vmess_module);
    }

    return ctx;
}


/* before the content phase: what is not VMess goes on to the ordinary content */

static ngx_int_t
ngx_http_vmess_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_http_vmess_ctx_t        *ctx;
    ngx_http_vmess_loc_conf_t   *vlcf;
    ngx_http_vmess_transport_t  *transport;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    if (vlcf->listen == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    if (ctx == NULL) {
        ctx = ngx_http_vmess_create_ctx(r);

        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ctx->tried) {
        return NGX_DECLINED;
    }

    ctx->tried = 1;

    rc = NGX_DECLINED;

    for (transport = ngx_http_vmess_transports; transport->mask; transport++) {

        if (vlcf->transports & transport->mask) {
            rc = transport->handler(r, ctx);

            if (rc != NGX_DECLINED || ctx->declined) {
                break;
            }
        }
    }

    if (rc == NGX_DECLINED && ctx->rewrite) {

        /* the phase engine adds one */

        r->phase_handler = ctx->rewrite - 1;
    }

    return rc;
}


ngx_int_t
ngx_http_vmess_start(ngx_http_vmess_ctx_t *ctx,
    const ngx_vmess_carrier_t *carrier)
{
    u_char                     *pos;
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_cleanup_t         *cln;
    ngx_vmess_vconn_addrs_t     addrs;
    ngx_http_vmess_loc_conf_t  *vlcf;

    r = ctx->request;
    c = r->connection;

    vlcf = ngx_http_get_module_loc_conf(r, ngx_http_vmess_module);

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_vmess_cleanup;
    cln->data = ctx;

    ctx->closed.handler = ngx_http_vmess_closed_handler;
    ctx->closed.data = ctx;
    ctx->closed.log = c->log;

    pos = r->header_in->pos;

    ctx->vconn = ngx_vmess_vconn_addrs(&addrs, c) == NGX_OK
                 ? ngx_vmess_vconn_create(&addrs, carrier, ctx, *vlcf->listen)
                 : NULL;

    if (ctx->vconn) {
        ngx_vmess_vconn_start(ctx->vconn);
    }

    /* refused, or closed by the server, or there is no connection */

    if (ctx->declined || (ctx->vconn == NULL && !ctx->answered)) {

        ctx->declined = 1;

        if (ctx->closed.posted) {
            ngx_delete_posted_event((&ctx->closed));
        }

        if (ctx->closed.timer_set) {
            ngx_del_timer(&ctx->closed);
        }

        if (ctx->body) {
            return ngx_http_vmess_body_restore(ctx);
        }

        r->header_in->pos = pos;

        return NGX_DECLINED;
    }

    r->read_event_handler = ngx_http_vmess_read_handler;
    r->write_event_handler = ngx_http_vmess_write_handler;

    /* the client may have gone already: there is no other event of that */

    if (ctx->body && c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return NGX_DONE;
}


ngx_int_t
ngx_http_vmess_verdict(void *data, ngx_uint_t authentic)
{
    ngx_http_vmess_ctx_t *ctx = data;

    if (authentic) {
        return ctx->answered ? NGX_OK : ctx->answer(ctx);
    }

    if (ctx->answered) {
        return NGX_DECLINED;
    }

    ctx->declined = 1;

    return NGX_OK;
}


/* the virtual connection is going; the request must not go before it is gone */

void
ngx_http_vmess_close(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    ctx->vconn = NULL;

    ngx_post_event(&ctx->closed, &ngx_posted_events);
}


static void
ngx_http_vmess_closed_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_http_request_t    *r;
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "http vmess session closed, answered:%ui",
                   (ngx_uint_t) ctx->answered);

    if (ctx->answered && ctx->body) {
        ngx_http_vmess_body_close(ctx);

    } else if (ctx->answered) {

        if (ctx->finish) {
            ctx->finish(ctx);
        }

        ngx_http_finalize_request(r, NGX_OK);

    } else if (c->error) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);

    } else {
        ngx_http_vmess_decline(ctx);
    }

    ngx_http_run_posted_requests(c);
}


void
ngx_http_vmess_decline(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = ctx->request;
    rc = ctx->body ? ngx_http_vmess_body_restore(ctx) : NGX_DECLINED;

    if (rc == NGX_DECLINED) {
        ngx_http_vmess_go_on(ctx);

    } else if (rc != NGX_DONE) {
        ngx_http_finalize_request(r, rc);
    }
}


void
ngx_http_vmess_go_on(ngx_http_vmess_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;
    r->phase_handler = ctx->rewrite ? ctx->rewrite : r->phase_handler + 1;

    ngx_http_core_run_phases(r);
}


void
ngx_http_vmess_cleanup(void *data)
{
    ngx_http_vmess_ctx_t *ctx = data;

    if (ctx->session) {
        ngx_http_vmess_session_close(ctx->session);
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_abort(ctx->vconn);
        ctx->vconn = NULL;
    }

    if (ctx->link) {
        ngx_http_vmess_link_close(ctx->link);
    }

    ngx_http_vmess_upload_abort(&ctx->upload);

    if (ctx->closed.posted) {
        ngx_delete_posted_event((&ctx->closed));
    }

    if (ctx->closed.timer_set) {
        ngx_del_timer(&ctx->closed);
    }

    if (ctx->late.posted) {
        ngx_delete_posted_event((&ctx->late));
    }

    if (ctx->late.timer_set) {
        ngx_del_timer(&ctx->late);
    }
}


static void
ngx_http_vmess_read_handler(ngx_http_request_t *r)
{
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    if (ctx->body) {

        if (r->connection->error) {
            ngx_http_vmess_client_gone(r);
            return;
        }

        /* all of the body is read: what else may come is an end */

        if (!r->reading_body && r->request_body->bufs == NULL) {
            ngx_http_test_reading(r);
            return;
        }
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_wake(ctx->vconn, 0);
    }
}


void
ngx_http_vmess_client_gone(ngx_http_request_t *r)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client prematurely closed stream");

    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}


void
ngx_http_vmess_write_handler(ngx_http_request_t *r)
{
    ngx_int_t              rc;
    ngx_http_vmess_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_vmess_module);

    if (ctx->body) {

        rc = ngx_http_vmess_body_flush(ctx);

        if (rc == NGX_AGAIN) {
            return;
        }

        /* the only event of a stream with output, when its connection goes */

        if (rc == NGX_ERROR) {
            ngx_http_vmess_client_gone(r);
            return;
        }

    } else if (ngx_http_vmess_ws_send_control(ctx) == NGX_ERROR) {
        ctx->error = 1;
    }

    if (ctx->vconn) {
        ngx_vmess_vconn_wake(ctx->vconn, 1);
    }
}


ngx_int_t
ngx_http_vmess_send_header(ngx_http_vmess_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;

    ctx->answered = 1;

    ngx_http_vmess_body_forget(ctx);

#if (NGX_HTTP_GZIP)
    r->gzip_tested = 1;
    r->gzip_ok = 0;
#endif

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR
        || ngx_http_vmess_flush_header(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_vmess_add_header(ngx_list_t *headers, char *name, char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_vmess_header_next(h);
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


ngx_str_t *
ngx_http_vmess_header(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.len == name->len
            && ngx_strncasecmp(header[i].key.data, name->data, name->len) == 0)
        {
            return &header[i].value;
        }
    }
}


static ngx_int_t
ngx_http_vmess_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_vmess_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_init_module(ngx_cycle_t *cycle)
{
    ngx_http_phase_handler_t    *ph;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_vmess_module);

    if (vmcf == NULL || !vmcf->passes) {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);

    for (ph = &cmcf->phase_engine.handlers[
                                      cmcf->phase_engine.location_rewrite_index];
         ph->checker == ngx_http_core_rewrite_phase;
         ph++)
    {
        ph->checker = ngx_http_vmess_rewrite_phase;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_vmess_init_process(ngx_cycle_t *cycle)
{
    ngx_http_vmess_main_conf_t  *vmcf;

    vmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_vmess_module);

    if (vmcf && vmcf->zone
        && (ngx_process == NGX_PROCESS_WORKER
            || ngx_process == NGX_PROCESS_SINGLE))
    {
        ngx_http_vmess_session_init(vmcf->zone);
        ngx_http_vmess_link_init(cycle);
    }

    return NGX_OK;
}


static void *
ngx_http_vmess_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_main_conf_t));
}


static void *
ngx_http_vmess_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_vmess_loc_conf_t));
}


/* as "proxy_pass", inherited by "if" blocks, and not by locations inside */

static char *
ngx_http_vmess_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_vmess_loc_conf_t *prev = parent;
    ngx_http_vmess_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->listen == NULL) {
        *conf = *prev;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_vmess_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_vmess_loc_conf_t *vlcf = conf;

    ngx_str_t           *value, s;
    ngx_uint_t           i, k;
    ngx_vmess_conf_t    *vcf;
    ngx_vmess_pass_t    *pass;
    ngx_conf_bitmask_t  *mask;

    ngx_http_vmess_main_conf_t  *vmcf;
#if (NGX_PCRE)
    ngx_http_core_loc_conf_t    *clcf;
#endif

    if (vlcf->transports) {
        return "is duplicate";
    }

    value = cf->args->elts;
    mask = ngx_http_vmess_transport_masks;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                            ngx_vmess_module);

    vlcf->listen = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_listen_t *));
    pass = ngx_array_push(&vcf->passes);

    if (vlcf->listen == NULL || pass == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_strchr(value[1].data, ':') || ngx_strchr(value[1].data, '/')) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"vmess_pass\", it must be "
                           "that of a stream server with \"vmess_listen\", and "
                           "no address", &value[1]);
        return NGX_CONF_ERROR;
    }

    pass->name = value[1];
    pass->listen = vlcf->listen;
    pass->file_name = cf->conf_file->file.name.data;
    pass->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "early_data=", 11) == 0
            && value[i].len > 11)
        {
            vlcf->early_data.data = value[i].data + 11;
            vlcf->early_data.len = value[i].len - 11;

            if (ngx_atoi(vlcf->early_data.data, vlcf->early_data.len)
                != NGX_ERROR)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\" in \"vmess_pass\", it must "
                                   "be the name of a header, any size is taken",
                                   &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "heartbeat=", 10) == 0) {
            s.data = value[i].data + 10;
            s.len = value[i].len - 10;

            vlcf->heartbeat = ngx_parse_time(&s, 0);

            if (vlcf->heartbeat == (ngx_msec_t) NGX_ERROR
                || vlcf->heartbeat == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid \"%V\" in \"vmess_pass\", it must "
                                   "be a time as \"heartbeat=30s\"", &value[i]);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        for (k = 0; mask[k].name.len; k++) {

            if (mask[k].name.len == value[i].len
                && ngx_strcmp(mask[k].name.data, value[i].data) == 0)
            {
                vlcf->transports |= mask[k].mask;
                break;
            }
        }

        if (mask[k].name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown transport \"%V\" in \"vmess_pass\", it "
                               "must be \"websocket\", \"httpupgrade\", "
                               "\"xhttp\", \"grpc\" or \"http\"; parameters "
                               "are \"early_data=header\" and "
                               "\"heartbeat=time\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

#if (NGX_PCRE)

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if ((vlcf->transports & NGX_HTTP_VMESS_XHTTP) && clcf->regex) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"xhttp\" in \"vmess_pass\" has no effect in the "
                           "location \"%V\", it needs one that is a prefix",
                           &clcf->name);
    }

#endif

    if (vlcf->transports == 0) {
        vlcf->transports = NGX_CONF_BITMASK_SET
                           |NGX_HTTP_VMESS_WEBSOCKET
                           |NGX_HTTP_VMESS_HTTPUPGRADE
                           |NGX_HTTP_VMESS_XHTTP
                           |NGX_HTTP_VMESS_GRPC
                           |NGX_HTTP_VMESS_HTTP;
    }

    vmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_vmess_module);

    vmcf->passes = 1;

    if ((vlcf->transports & NGX_HTTP_VMESS_XHTTP)
        && vmcf->zone == NULL
        && ngx_http_vmess_session_add_zone(cf, vmcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
