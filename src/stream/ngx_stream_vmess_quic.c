
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_quic.h"
#include "ngx_stream_vmess_quic_stream.h"
#include "ngx_stream_vmess_compat.h"
#include "ngx_vmess_param.h"


#if (NGX_VMESS_QUIC)

#include <ngx_stream_ssl_module.h>

#if (NGX_QUIC_OPENSSL_COMPAT)
#include <ngx_event_quic_openssl_compat.h>
#endif


/* without "ssl_alpn": what clients offer by default */

#define NGX_STREAM_VMESS_QUIC_ALPN  "\x02h3\x02h2\x08http/1.1"


/* of streams that are not to be, or not to go on; clients do not look at it */

#define NGX_STREAM_VMESS_QUIC_CODE  1


/* how often an old worker looks whether its connections are gone, in ms */

#define NGX_STREAM_VMESS_QUIC_CLOSE  500


struct ngx_stream_vmess_quic_conf_s {
    ngx_quic_conf_t              quic;
};


static int ngx_stream_vmess_quic_alpn(ngx_ssl_conn_t *ssl_conn,
    const unsigned char **out, unsigned char *outlen, const unsigned char *in,
    unsigned int inlen, void *arg);
static void ngx_stream_vmess_quic_recvmsg(ngx_event_t *ev);
static void ngx_stream_vmess_quic_close_socket(ngx_event_t *ev);
static void ngx_stream_vmess_quic_handler(ngx_connection_t *c);
static ngx_int_t ngx_stream_vmess_quic_init_connection(ngx_connection_t *c);
static u_char *ngx_stream_vmess_quic_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_stream_vmess_quic_init_streams(ngx_connection_t *c);
static void ngx_stream_vmess_quic_timer_handler(ngx_event_t *ev);
static void ngx_stream_vmess_quic_cleanup(void *data);
static void ngx_stream_vmess_quic_shutdown(ngx_connection_t *c);


static ngx_conf_enum_t  ngx_stream_vmess_quic_flags[] = {
    { ngx_string("off"), 0 },
    { ngx_string("on"), 1 },
    { ngx_null_string, 0 }
};


static ngx_vmess_param_t  ngx_stream_vmess_quic_params[] = {

    { ngx_string("streams="), ngx_vmess_param_number,
      offsetof(ngx_quic_conf_t, max_concurrent_streams_bidi), 1, 65535,
      "a number from 1 to 65535", NULL, 0 },

    { ngx_string("buffer="), ngx_vmess_param_size,
      offsetof(ngx_quic_conf_t, stream_buffer_size),
      64 * 1024, 16 * 1024 * 1024,
      "a size from \"64k\" to \"16m\"", NULL, 0 },

    { ngx_string("timeout="), ngx_vmess_param_msec,
      offsetof(ngx_quic_conf_t, idle_timeout), 1000, 3600 * 1000,
      "a time from \"1s\" to \"1h\"", NULL, 0 },

    { ngx_string("gso="), ngx_vmess_param_enum,
      offsetof(ngx_quic_conf_t, gso_enabled), 0, 0,
      "\"on\" or \"off\"", ngx_stream_vmess_quic_flags, 0 },

      ngx_vmess_null_param
};


/* those of v2ray that hide packets of QUIC, which nginx's engine cannot */

static char  *ngx_stream_vmess_quic_hidden[] = {
    "security=", "key=", "header=", NULL
};


char *
ngx_stream_vmess_quic(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    char             **name;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_quic_conf_t   *quic;
    static ngx_str_t   where = ngx_string("in \"vmess_quic\"");

    if (vscf->quic) {
        return "is duplicate";
    }

    vscf->quic = ngx_pcalloc(cf->pool, sizeof(ngx_stream_vmess_quic_conf_t));
    if (vscf->quic == NULL) {
        return NGX_CONF_ERROR;
    }

    /*
     * set by ngx_pcalloc(): no unidirectional streams, no retry
     */

    quic = &vscf->quic->quic;

    quic->max_concurrent_streams_bidi = 128;
    quic->stream_buffer_size = 128 * 1024;
    quic->idle_timeout = 60000;
    quic->active_connection_id_limit = 2;
    quic->stream_close_code = NGX_STREAM_VMESS_QUIC_CODE;
    quic->stream_reject_code_uni = NGX_STREAM_VMESS_QUIC_CODE;
    quic->stream_reject_code_bidi = NGX_STREAM_VMESS_QUIC_CODE;
    quic->init = ngx_stream_vmess_quic_init_streams;
    quic->shutdown = ngx_stream_vmess_quic_shutdown;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (name = ngx_stream_vmess_quic_hidden; *name; name++) {

            if (ngx_strncmp(value[i].data, *name, ngx_strlen(*name)) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" in "
                                   "\"vmess_quic\": there is no packet cipher "
                                   "and no packet disguise, clients must have "
                                   "\"none\" for \"security\" and for the "
                                   "type of \"header\"", &value[i]);
                return NGX_CONF_ERROR;
            }
        }
    }

    if (ngx_vmess_param_parse(cf, 1, ngx_stream_vmess_quic_params, quic, &where,
                              NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_stream_vmess_quic_server(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    u_char                        key[NGX_QUIC_DEFAULT_HOST_KEY_LEN];
    ngx_str_t                     secret, salt;
    ngx_int_t                     rc;
    ngx_quic_conf_t              *quic;
    ngx_stream_ssl_srv_conf_t    *sscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    if (sscf->certificates == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"ssl_certificate\" is defined for \"vmess_quic\" in "
                      "the server in %s:%ui", cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (!(sscf->protocols & NGX_SSL_TLSv1_3)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"ssl_protocols\" must enable TLSv1.3 for "
                      "\"vmess_quic\" in the server in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    if (sscf->verify) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"ssl_verify_client\" cannot be used with "
                      "\"vmess_quic\" in the server in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

#if (NGX_QUIC_OPENSSL_COMPAT)
    if (ngx_quic_compat_init(cf, sscf->ssl.ctx) != NGX_OK) {
        return NGX_ERROR;
    }
#endif

    if (sscf->alpn.len == 0) {
        SSL_CTX_set_alpn_select_cb(sscf->ssl.ctx, ngx_stream_vmess_quic_alpn,
                                   NULL);
    }

    quic = &vscf->quic->quic;

    quic->ssl = &sscf->ssl;
    quic->handshake_timeout = sscf->handshake_timeout;

    /* of address validation and of stateless resets, for all workers */

    if (RAND_bytes(key, sizeof(key)) != 1) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    secret.data = key;
    secret.len = sizeof(key);
    ngx_str_set(&salt, "ngx_vmess_quic");

    rc = NGX_OK;

    if (ngx_quic_derive_key(cf->log, "av_token_key", &secret, &salt,
                            quic->av_token_key, NGX_QUIC_AV_KEY_LEN)
        != NGX_OK
        || ngx_quic_derive_key(cf->log, "sr_token_key", &secret, &salt,
                               quic->sr_token_key, NGX_QUIC_SR_KEY_LEN)
           != NGX_OK)
    {
        rc = NGX_ERROR;
    }

    ngx_explicit_memzero(key, sizeof(key));

    return rc;
}


static int
ngx_stream_vmess_quic_alpn(ngx_ssl_conn_t *ssl_conn, const unsigned char **out,
    unsigned char *outlen, const unsigned char *in, unsigned int inlen,
    void *arg)
{
    ngx_connection_t  *c;

    c = ngx_ssl_get_connection(ssl_conn);

    if (c->type != SOCK_DGRAM) {

        /* TCP has what it would have without us */

        return SSL_TLSEXT_ERR_NOACK;
    }

    if (SSL_select_next_proto((unsigned char **) out, outlen,
                              (unsigned char *) NGX_STREAM_VMESS_QUIC_ALPN,
                              sizeof(NGX_STREAM_VMESS_QUIC_ALPN) - 1, in, inlen)
        != OPENSSL_NPN_NEGOTIATED)
    {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    return SSL_TLSEXT_ERR_OK;
}


void
ngx_stream_vmess_quic_listen(ngx_cycle_t *cycle)
{
    ngx_uint_t                    i;
    ngx_listening_t              *ls;
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].type != SOCK_DGRAM
            || ls[i].handler != ngx_stream_init_connection)
        {
            continue;
        }

        cscf = ngx_vmess_listening_server(&ls[i]);
        vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

        if (vscf->zone && vscf->quic) {
            ls[i].quic = 1;
            ls[i].handler = ngx_stream_vmess_quic_handler;
        }
    }
}


void
ngx_stream_vmess_quic_init(ngx_cycle_t *cycle)
{
    ngx_uint_t         i;
    ngx_listening_t   *ls;
    ngx_connection_t  *c;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].handler != ngx_stream_vmess_quic_handler) {
            continue;
        }

        if (ls[i].worker != ngx_worker) {

            /* one that its worker closes has to be closed in all */

            if (ngx_process == NGX_PROCESS_WORKER) {

                if (ngx_close_socket(ls[i].fd) == -1) {
                    ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno,
                                  ngx_close_socket_n " %V failed",
                                  &ls[i].addr_text);
                }

                ls[i].fd = (ngx_socket_t) -1;
            }

            continue;
        }

        c = ls[i].connection;

        if (c == NULL) {
            continue;
        }

        c->idle = 1;
        c->read->handler = ngx_stream_vmess_quic_recvmsg;
    }
}


/*
 * After a reload nginx leaves sockets of QUIC open in the old worker.  The new
 * one has them, too, and each would get packets of the other's connections; or
 * it has others ("quic_bpf"), and the kernel would go on to give clients to the
 * old ones.  So the old worker reads no more, closes them, and tells clients.
 */

static void
ngx_stream_vmess_quic_recvmsg(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (!c->close) {
        ngx_quic_recvmsg(ev);
        return;
    }

    c->close = 0;
    c->idle = 0;

    if (ev->active && ngx_del_event(ev, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, 0,
                      "removing the event of a QUIC socket failed");
    }

    /* its connections send through it until they have ended */

    ev->handler = ngx_stream_vmess_quic_close_socket;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_STREAM_VMESS_QUIC_CLOSE);
}


static void
ngx_stream_vmess_quic_close_socket(ngx_event_t *ev)
{
    ngx_listening_t   *ls;
    ngx_connection_t  *c;

    c = ev->data;
    ls = c->listening;

    ev->timedout = 0;

    if (ls->rbtree.root != ls->rbtree.sentinel) {
        ngx_add_timer(ev, NGX_STREAM_VMESS_QUIC_CLOSE);
        return;
    }

    ls->connection = NULL;
    ls->fd = (ngx_socket_t) -1;

    ngx_close_connection(c);
}


/* called for connections, and again for each of their streams */

static void
ngx_stream_vmess_quic_handler(ngx_connection_t *c)
{
    ngx_stream_core_srv_conf_t   *cscf;
    ngx_stream_vmess_srv_conf_t  *vscf;

    if (c->quic) {
        ngx_stream_vmess_quic_stream_init(c);
        return;
    }

    if (ngx_stream_vmess_quic_init_connection(c) != NGX_OK) {
        ngx_stream_vmess_quic_stream_free(c);
        return;
    }

    cscf = ngx_vmess_listening_server(c->listening);
    vscf = cscf->ctx->srv_conf[ngx_stream_vmess_module.ctx_index];

    ngx_quic_run(c, &vscf->quic->quic);
}


static ngx_int_t
ngx_stream_vmess_quic_init_connection(ngx_connection_t *c)
{
    ngx_stream_session_t                *s;
    ngx_stream_core_srv_conf_t          *cscf;
    ngx_stream_core_main_conf_t         *cmcf;
    ngx_stream_vmess_quic_connection_t  *qc;

    qc = ngx_pcalloc(c->pool, sizeof(ngx_stream_vmess_quic_connection_t));
    if (qc == NULL) {
        return NGX_ERROR;
    }

    s = &qc->session;

    cscf = ngx_vmess_listening_server(c->listening);

    s->signature = NGX_STREAM_MODULE;
    s->connection = c;
    s->main_conf = cscf->ctx->main_conf;
    s->srv_conf = cscf->ctx->srv_conf;

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    s->ctx = ngx_pcalloc(c->pool, sizeof(void *) * ngx_stream_max_module);
    s->variables = ngx_pcalloc(c->pool, cmcf->variables.nelts
                                        * sizeof(ngx_stream_variable_value_t));

    if (s->ctx == NULL || s->variables == NULL) {
        return NGX_ERROR;
    }

    c->data = qc;

    ngx_set_connection_log(c, cscf->error_log);

    c->log->connection = c->number;
    c->log->handler = ngx_stream_vmess_quic_log_error;
    c->log->data = c;
    c->log->action = "handshaking over QUIC";
    c->log_error = NGX_ERROR_INFO;

    return NGX_OK;
}


static u_char *
ngx_stream_vmess_quic_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char            *p;
    ngx_connection_t  *c;

    c = log->data;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    return ngx_snprintf(buf, len, ", quic client: %V, server: %V",
                        &c->addr_text, &c->listening->addr_text);
}


/*
 * The handshake is done.  A client keeps a connection open as long as it sends
 * anything, so there is a limit for who opens no stream of VMess.
 */

static ngx_int_t
ngx_stream_vmess_quic_init_streams(ngx_connection_t *c)
{
    ngx_pool_cleanup_t                  *cln;
    ngx_stream_vmess_srv_conf_t         *vscf;
    ngx_stream_vmess_quic_connection_t  *qc;

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    qc = c->data;

    cln->handler = ngx_stream_vmess_quic_cleanup;
    cln->data = qc;

    qc->timer.handler = ngx_stream_vmess_quic_timer_handler;
    qc->timer.data = qc;
    qc->timer.log = c->log;
    qc->timer.cancelable = 1;

    vscf = ngx_stream_get_module_srv_conf(&qc->session,
                                          ngx_stream_vmess_module);

    ngx_add_timer(&qc->timer, vscf->handshake_timeout);

    ngx_vmess_quic_allow_frames(c);

    return NGX_OK;
}


static void
ngx_stream_vmess_quic_timer_handler(ngx_event_t *ev)
{
    ngx_connection_t                    *c;
    ngx_stream_vmess_srv_conf_t         *vscf;
    ngx_stream_vmess_quic_connection_t  *qc;

    qc = ev->data;
    c = qc->session.connection;

    if (qc->authentic) {
        return;
    }

    if (qc->streams) {

        /* which have limits of their own */

        vscf = ngx_stream_get_module_srv_conf(&qc->session,
                                              ngx_stream_vmess_module);
        ngx_add_timer(ev, vscf->handshake_timeout);

        return;
    }

    ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                  "client opened no stream of VMess");

    ngx_quic_finalize_connection(c, 0, "");
}


static void
ngx_stream_vmess_quic_cleanup(void *data)
{
    ngx_stream_vmess_quic_connection_t *qc = data;

    if (qc->timer.timer_set) {
        ngx_del_timer(&qc->timer);
    }
}


/* the worker quits */

static void
ngx_stream_vmess_quic_shutdown(ngx_connection_t *c)
{
    ngx_quic_finalize_connection(c, 0, "server is shutting down");
}


#else /* !NGX_VMESS_QUIC */


char *
ngx_stream_vmess_quic(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return "needs QUIC, which nginx has since version 1.25.5 if it is built "
           "with \"--with-http_v3_module\"";
}


ngx_int_t
ngx_stream_vmess_quic_server(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf)
{
    return NGX_ERROR;
}


void
ngx_stream_vmess_quic_listen(ngx_cycle_t *cycle)
{
}


void
ngx_stream_vmess_quic_init(ngx_cycle_t *cycle)
{
}


#endif
