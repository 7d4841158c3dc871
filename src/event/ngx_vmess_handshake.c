
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_handshake.h"
#include "ngx_vmess_admit.h"
#include "ngx_vmess_ident.h"
#include "ngx_vmess_log.h"
#include "ngx_vmess_output.h"
#include "ngx_vmess_packet.h"
#include "proto/ngx_vmess_guess.h"
#include "proto/ngx_vmess_legacy.h"
#include "proto/ngx_vmess_response.h"


#define NGX_VMESS_HEADER_BUFFER  4096

#define NGX_VMESS_DRAIN_EXTRA    (128 * 1024)


static ngx_int_t ngx_vmess_handshake_header(ngx_vmess_connection_t *vc);
static ngx_int_t ngx_vmess_handshake_auth(ngx_vmess_connection_t *vc);
static ngx_vmess_status_e ngx_vmess_handshake_claim(ngx_vmess_connection_t *vc);
static void ngx_vmess_handshake_count(ngx_vmess_connection_t *vc);
static ngx_uint_t ngx_vmess_handshake_guess(ngx_vmess_connection_t *vc);
static void ngx_vmess_handshake_log(ngx_vmess_connection_t *vc);
static void ngx_vmess_handshake_log_refused(ngx_vmess_connection_t *vc);


/* probes must not fill the log of a worker */

static ngx_vmess_log_limit_t  ngx_vmess_handshake_limit = {
    100, NGX_LOG_INFO, "VMess headers were refused", 0, 0
};


ngx_int_t
ngx_vmess_handshake_read(ngx_vmess_connection_t *vc)
{
    ngx_int_t  rc;

    rc = ngx_vmess_handshake_header(vc);

    if (rc != NGX_AGAIN) {
        ngx_vmess_pending_remove(&vc->pending);
    }

    return rc;
}


static ngx_int_t
ngx_vmess_handshake_header(ngx_vmess_connection_t *vc)
{
    ssize_t              n;
    size_t               size;
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_vmess_status_e   status;

    c = vc->connection;

    if (vc->raw.start == NULL) {
        size = NGX_VMESS_HEADER_BUFFER
               + (vc->disguise ? NGX_VMESS_HTTP_MAX : 0);

        vc->raw.start = ngx_alloc(size, c->log);
        if (vc->raw.start == NULL) {
            return NGX_ERROR;
        }

        vc->raw.pos = vc->raw.start;
        vc->raw.last = vc->raw.start;
        vc->raw.end = vc->raw.start + size;
    }

    for ( ;; ) {

        n = vc->recv(c, vc->raw.last, vc->raw.end - vc->raw.last);

        if (n == NGX_AGAIN) {

            /*
             * VMess, "Failure behavior": a fallback is given other clients
             * as soon as they have sent the bytes of a token
             */

            if (vc->header.legacy && vc->prompt) {
                vc->header.err = "not whole";
                ngx_vmess_handshake_refuse(vc, NGX_VMESS_STATUS_HEADER);
                return NGX_DECLINED;
            }

            return NGX_AGAIN;
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == 0) {
            vc->eof = 1;
            ngx_vmess_handshake_refuse(vc, NGX_VMESS_STATUS_TRUNCATED);
            return NGX_DECLINED;
        }

        vc->raw.last += n;

        if (vc->disguise && !vc->disguised) {

            rc = ngx_vmess_http_read(&vc->http, vc->disguise, &vc->raw);

            if (rc == NGX_AGAIN) {
                continue;
            }

            if (rc == NGX_DECLINED) {
                ngx_vmess_handshake_refuse(vc, NGX_VMESS_STATUS_UNKNOWN);
                return NGX_DECLINED;
            }

            vc->disguised = 1;
        }

        do {
            rc = vc->header.legacy
                 ? ngx_vmess_legacy_read(&vc->header, &vc->raw)
                 : ngx_vmess_header_read(&vc->header, &vc->raw);

            if (rc == NGX_DONE) {
                rc = ngx_vmess_handshake_auth(vc);
            }

        } while (rc == NGX_DONE);

        if (rc != NGX_AGAIN) {
            break;
        }
    }

    if (rc == NGX_OK) {

        status = ngx_vmess_handshake_claim(vc);

        if (status == NGX_VMESS_STATUS_OK) {
            ngx_vmess_handshake_count(vc);
            return NGX_OK;
        }

        ngx_vmess_ident_try_rest(&vc->account, vc->header.eauid);

        ngx_vmess_handshake_refuse(vc, status);
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR && vc->header.err == NULL) {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "reading VMess header failed");
        return NGX_ERROR;
    }

    if (vc->status == NGX_VMESS_STATUS_NONE) {

        if (rc == NGX_DECLINED) {
            ngx_vmess_ident_try_rest(&vc->account, vc->header.eauid);
        }

        ngx_vmess_handshake_refuse(vc, vc->header.bad_tag
                                       ? NGX_VMESS_STATUS_TAG
                                       : NGX_VMESS_STATUS_HEADER);
    }

    return rc;
}


/* NGX_DONE: go on reading the header; NGX_DECLINED: refused and logged */

static ngx_int_t
ngx_vmess_handshake_auth(ngx_vmess_connection_t *vc)
{
    ngx_connection_t   *c;
    ngx_vmess_status_e  status;

    c = vc->connection;

    status = ngx_vmess_ident_auth(&vc->account, c->sockaddr,
                                  vc->header.eauid, c->log);

    if (status == NGX_VMESS_STATUS_OK) {
        ngx_memcpy(vc->header.cmd_key, vc->account.cmd_key, NGX_VMESS_KEY_LEN);

        vc->header.legacy = vc->account.legacy;
        vc->header.time = vc->account.time;

        return NGX_DONE;
    }

    ngx_vmess_handshake_refuse(vc, status);

    return NGX_DECLINED;
}


/*
 * The header is good.  Refused from here on, a client would be told from an
 * unknown one, so all that a limit refuses is refused here.
 */

static ngx_vmess_status_e
ngx_vmess_handshake_claim(ngx_vmess_connection_t *vc)
{
    ngx_uint_t           flow;
    ngx_vmess_header_t  *h;
    ngx_vmess_status_e   status;

    h = &vc->header;

    status = ngx_vmess_ident_claim(&vc->account, h->eauid, h->key, h->iv,
                                   vc->connection->log);

    if (status != NGX_VMESS_STATUS_OK) {
        return status;
    }

    flow = (h->command != NGX_VMESS_CMD_MUX);

    /* one that will be closed takes no place of others */

    vc->status = vc->allowed(vc);

    return vc->status == NGX_VMESS_STATUS_OK
           ? ngx_vmess_admit_client(&vc->account, flow)
           : ngx_vmess_admit_check(&vc->account, flow);
}


void
ngx_vmess_handshake_refuse(ngx_vmess_connection_t *vc,
    ngx_vmess_status_e status)
{
    vc->status = status;

    ngx_vmess_pending_remove(&vc->pending);

    ngx_vmess_handshake_count(vc);

    if (vc->account.user) {
        ngx_vmess_ident_refuse(&vc->account, status, vc->header.eauid);
    }

    if (ngx_vmess_log_allowed(&ngx_vmess_handshake_limit, vc->connection->log))
    {
        ngx_vmess_handshake_log(vc);
    }
}


/* counts the verdict, which is in vc->status: there is one of each client */

static void
ngx_vmess_handshake_count(ngx_vmess_connection_t *vc)
{
    ngx_vmess_account_t   *account;
    ngx_vmess_counters_t  *row;

    account = &vc->account;
    row = ngx_vmess_account_counters(account);

    ngx_vmess_counters_add(row->headers[account->carrier][vc->status], 1);

    if (account->user == NULL) {
        ngx_vmess_counters_add(row->guesses[ngx_vmess_handshake_guess(vc)], 1);

    } else if (ngx_vmess_status(vc->status)->authentic && !account->legacy) {

        /* a legacy header may have any time within 30 seconds */

        ngx_vmess_counters_skew(row, account->time - (int64_t) ngx_time());
    }
}


static ngx_uint_t
ngx_vmess_handshake_guess(ngx_vmess_connection_t *vc)
{
    return ngx_vmess_guess(vc->raw.start, vc->raw.last - vc->raw.start);
}


static void
ngx_vmess_handshake_log(ngx_vmess_connection_t *vc)
{
    u_char             *p, domain[NGX_VMESS_ADDRESS_ESCAPED];
    ngx_log_t          *log;
    ngx_str_t          *user;
    const char         *guess, *early;
    ngx_vmess_vconn_t  *vconn;

    log = vc->connection->log;
    user = vc->account.user ? &vc->account.user->name : NULL;

    guess = ngx_vmess_guesses[ngx_vmess_handshake_guess(vc)];
    vconn = ngx_vmess_vconn_get(vc->connection);

    /* what is between may have dropped the field of a request that has it */

    early = (vconn
             && ngx_strcmp(vconn->carrier->name.data, "websocket") == 0
             && (ngx_strcmp(guess, "random bytes") == 0
                 || ngx_strcmp(guess, "nothing") == 0))
            ? ", or early data was lost on the way" : "";

    switch (vc->status) {

    case NGX_VMESS_STATUS_UNKNOWN:

        if (vc->disguise && !vc->disguised) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "client sent no request of \"vmess_http_header\": "
                          "%s", vc->http.err);
            break;
        }

        if (user) {
            ngx_vmess_handshake_log_refused(vc);
            break;
        }

        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent no VMess header of a known user: %s%s",
                      guess, early);
        break;

    case NGX_VMESS_STATUS_TIME:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent VMess header of user \"%V\" with bad time, "
                      "clock skew is %L s", user,
                      vc->account.time - (int64_t) ngx_time());
        break;

    case NGX_VMESS_STATUS_REPLAY:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent replayed VMess header of user \"%V\"", user);
        break;

    case NGX_VMESS_STATUS_FULL:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent VMess header of user \"%V\", for which the "
                      "replay filter has no room", user);
        break;

    case NGX_VMESS_STATUS_CLOCK:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent VMess header of user \"%V\" of a time "
                      "before the clock was put back", user);
        break;

    case NGX_VMESS_STATUS_TAG:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent VMess header of user \"%V\" with bad tag",
                      user);
        break;

    case NGX_VMESS_STATUS_HEADER:

        if (vc->header.err == vc->header.address.err
            && vc->header.address.domain.len)
        {
            p = ngx_vmess_address_escape(&vc->header.address, domain);

            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "client sent invalid VMess header of user \"%V\": "
                          "%s \"%*s\"",
                          user, vc->header.err, (size_t) (p - domain), domain);
            break;
        }

        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client sent invalid VMess header of user \"%V\": %s",
                      user, vc->header.err);
        break;

    case NGX_VMESS_STATUS_TIMEOUT:
        ngx_log_error(NGX_LOG_INFO, log, NGX_ETIMEDOUT,
                      "client timed out while sending VMess header: %s%s",
                      guess, early);
        break;

    case NGX_VMESS_STATUS_TRUNCATED:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client closed connection while sending VMess header: "
                      "%s%s", guess, early);
        break;

    default:
        ngx_vmess_handshake_log_refused(vc);
        break;
    }
}


/* the client knows the id, but its user is not let in */

static void
ngx_vmess_handshake_log_refused(ngx_vmess_connection_t *vc)
{
    ngx_log_error(NGX_LOG_INFO, vc->connection->log, 0,
                  "client opened a flow of user \"%V\", who %s",
                  &vc->account.user->name,
                  ngx_vmess_status(vc->status)->who);
}


ngx_int_t
ngx_vmess_handshake_finish(ngx_vmess_connection_t *vc)
{
    u_char            *p, key[NGX_VMESS_KEY_LEN], iv[NGX_VMESS_IV_LEN];
    size_t             size;
    ngx_int_t          rc;
    ngx_str_t          response;
    ngx_connection_t  *c;

    c = vc->connection;

    size = NGX_VMESS_RESPONSE_LEN + vc->command.len;

    if (vc->disguised) {
        size += NGX_VMESS_HTTP_RESPONSE_MAX;
    }

    p = ngx_pnalloc(c->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    vc->response.data = p;

    if (vc->disguised) {
        p = ngx_vmess_http_response(p, (ngx_str_t *) &ngx_cached_http_time);
    }

    response.data = p;

    ngx_vmess_response_keys(&vc->header, key, iv);

    rc = ngx_vmess_chunk_init(&vc->in, &vc->header, vc->header.key,
                              vc->header.iv, 0);

    if (rc == NGX_OK) {
        rc = ngx_vmess_chunk_init(&vc->out, &vc->header, key, iv, 1);
    }

    if (rc == NGX_OK) {
        rc = ngx_vmess_response_create(&vc->header, key, iv,
                                       vc->command.len ? &vc->command : NULL,
                                       &vc->out.cfb, &response);

        vc->response.len = p + response.len - vc->response.data;
    }

    ngx_explicit_memzero(key, sizeof(key));
    ngx_explicit_memzero(iv, sizeof(iv));
    ngx_explicit_memzero(vc->header.key, sizeof(vc->header.key));
    ngx_explicit_memzero(vc->header.iv, sizeof(vc->header.iv));
    ngx_explicit_memzero(vc->header.cmd_key, sizeof(vc->header.cmd_key));
    ngx_explicit_memzero(vc->account.cmd_key, sizeof(vc->account.cmd_key));

    if (vc->command.len) {
        ngx_explicit_memzero(vc->command.data, vc->command.len);
    }

    if (rc != NGX_OK) {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "starting VMess failed");
        return NGX_ERROR;
    }

    if (vc->header.command == NGX_VMESS_CMD_UDP) {
        c->type = SOCK_DGRAM;
        c->recv = ngx_vmess_packet_recv;
        c->send = ngx_vmess_output_send;
        c->send_chain = ngx_vmess_packet_send_chain;

    } else {
        c->recv = ngx_vmess_connection_recv;
        c->send = ngx_vmess_output_send;
        c->send_chain = ngx_vmess_output_send_chain;

        /* the last buffer must come here, for the end chunk */

        c->need_last_buf = 1;
    }

    c->sendfile = 0;

#if (NGX_SSL)

    /* what TLS could not take goes on from another place in memory */

    if (c->ssl) {
        SSL_set_mode(c->ssl->connection, SSL_MODE_ENABLE_PARTIAL_WRITE
                                         |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

#endif

    if (vc->raw.pos == vc->raw.last) {
        ngx_vmess_connection_free_buf(&vc->raw);

    } else {
        c->read->ready = 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_vmess_handshake_admit(ngx_vmess_connection_t *vc)
{
    vc->status = ngx_vmess_admit_client(&vc->account, 1);

    if (vc->status == NGX_VMESS_STATUS_OK) {
        return NGX_OK;
    }

    ngx_vmess_account_refuse(&vc->account, vc->status);

    if (ngx_vmess_log_allowed(&ngx_vmess_handshake_limit, vc->connection->log))
    {
        ngx_vmess_handshake_log_refused(vc);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_vmess_handshake_drain(ngx_vmess_connection_t *vc)
{
    ssize_t            n;
    ngx_connection_t  *c;
    u_char             buf[4096];

    c = vc->connection;

    if (vc->drain == 0) {

        /*
         * VMess, "Failure behavior": a constant of the configuration, and
         * some jitter
         */

        vc->drain = vc->account.zone->drain + ngx_random() % 64;
        vc->drained = vc->raw.last - vc->raw.start;

        ngx_vmess_connection_free_buf(&vc->raw);
    }

    if (vc->eof) {
        return NGX_DONE;
    }

    /*
     * All that has arrived is read, even beyond the limit: closed with input
     * unread, the kernel would send a reset.
     */

    for ( ;; ) {
        n = vc->recv(c, buf, sizeof(buf));

        if (n == 0 || n == NGX_ERROR) {
            return NGX_DONE;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        vc->drained += n;

        if (vc->drained > vc->drain + NGX_VMESS_DRAIN_EXTRA) {
            break;
        }
    }

    return vc->drained >= vc->drain ? NGX_DONE : NGX_AGAIN;
}


ngx_str_t *
ngx_vmess_handshake_security_name(ngx_vmess_header_t *h)
{
    static ngx_str_t  cfb = ngx_string("aes-128-cfb");
    static ngx_str_t  gcm = ngx_string("aes-128-gcm");
    static ngx_str_t  chacha20 = ngx_string("chacha20-poly1305");
    static ngx_str_t  none = ngx_string("none");
    static ngx_str_t  zero = ngx_string("zero");

    switch (h->security) {

    case NGX_VMESS_SEC_AES_128_CFB:
        return &cfb;

    case NGX_VMESS_SEC_AES_128_GCM:
        return &gcm;

    case NGX_VMESS_SEC_CHACHA20:
        return &chacha20;

    default: /* NGX_VMESS_SEC_NONE */
        return (h->opt & NGX_VMESS_OPT_CHUNK) ? &none : &zero;
    }
}


ngx_str_t *
ngx_vmess_handshake_command_name(ngx_vmess_header_t *h)
{
    static ngx_str_t  names[] = {
        ngx_string(""),
        ngx_string("tcp"),
        ngx_string("udp"),
        ngx_string("mux")
    };

    return &names[h->command];
}
