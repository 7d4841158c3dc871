
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_handshake.h"
#include "ngx_vmess_log.h"
#include "proto/ngx_vmess_guess.h"
#include "proto/ngx_vmess_legacy.h"


#define NGX_VMESS_HEADER_BUFFER  4096

#define NGX_VMESS_DRAIN_EXTRA    (128 * 1024)


static ngx_int_t ngx_vmess_handshake_header(ngx_vmess_connection_t *vc);
static ngx_int_t ngx_vmess_handshake_auth(ngx_vmess_connection_t *vc);


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
    ssize_t            n;
    size_t             size;
    ngx_int_t          rc;
    ngx_connection_t  *c;
    ngx_vmess_status_e  status;

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
             * VMess, "Failure behaviour": a fallback is given other clients
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

        if (rc == NGX_AGAIN) {
            continue;
        }

        break;
    }

    if (rc == NGX_OK) {

        status = ngx_vmess_account_claim(vc->zone, &vc->account,
                                         vc->header.eauid, vc->header.key,
                                         vc->header.iv, c->log);

        if (status == NGX_VMESS_STATUS_OK) {
            vc->status = NGX_VMESS_STATUS_OK;
            return NGX_OK;
        }

        ngx_vmess_account_try_rest(vc->zone, &vc->account, vc->header.eauid);

        ngx_vmess_handshake_refuse(vc, status);
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR && vc->header.err == NULL) {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "reading VMess header failed");
        return NGX_ERROR;
    }

    if (vc->status == NGX_VMESS_STATUS_NONE) {

        if (rc == NGX_DECLINED) {
            ngx_vmess_account_try_rest(vc->zone, &vc->account,
                                       vc->header.eauid);
        }

        ngx_vmess_handshake_refuse(vc, vc->header.bad_tag ? NGX_VMESS_STATUS_TAG
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

    status = ngx_vmess_account_auth(vc->zone, c->sockaddr, vc->header.eauid,
                                    &vc->account, c->log);

    if (status == NGX_VMESS_STATUS_OK) {
        ngx_memcpy(vc->header.cmd_key, vc->account.cmd_key, NGX_VMESS_KEY_LEN);

        vc->header.legacy = vc->account.legacy;
        vc->header.time = vc->account.time;

        return NGX_DONE;
    }

    ngx_vmess_handshake_refuse(vc, status);

    return NGX_DECLINED;
}


void
ngx_vmess_handshake_refuse(ngx_vmess_connection_t *vc,
    ngx_vmess_status_e status)
{
    u_char             *p, domain[NGX_VMESS_ADDRESS_ESCAPED];
    ngx_log_t          *log;
    ngx_str_t          *user;
    const char         *guess, *early;
    ngx_vmess_vconn_t  *vconn;

    vc->status = status;
    user = NULL;

    ngx_vmess_pending_remove(&vc->pending);

    if (vc->account.user) {
        user = &vc->account.user->name.str;
        (void) ngx_atomic_fetch_add(&vc->account.user->refused, 1);
    }

    log = vc->connection->log;

    /*
     * An id is claimed when its header is whole, good or bad.  Of the original
     * header, any refusal ends the token.
     */

    if (vc->account.user
        && (vc->account.legacy || status == NGX_VMESS_STATUS_TAG
            || status == NGX_VMESS_STATUS_HEADER))
    {
        ngx_vmess_account_taint(vc->zone, &vc->account, vc->header.eauid);
    }

    if (!ngx_vmess_log_allowed(&ngx_vmess_handshake_limit, log)) {
        return;
    }

    guess = ngx_vmess_guess(vc->raw.start, vc->raw.last - vc->raw.start);
    vconn = ngx_vmess_vconn_get(vc->connection);

    /* what is between may have dropped the field of a request that has it */

    early = (vconn
             && ngx_strcmp(vconn->carrier->name.data, "websocket") == 0
             && (ngx_strcmp(guess, "random bytes") == 0
                 || ngx_strcmp(guess, "nothing") == 0))
            ? ", or early data was lost on the way" : "";

    switch (status) {

    case NGX_VMESS_STATUS_UNKNOWN:

        if (vc->disguise && !vc->disguised) {
            ngx_log_error(NGX_LOG_INFO, log, 0,
                          "client sent no request of \"vmess_http_header\": "
                          "%s", vc->http.err);
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

    default: /* NGX_VMESS_STATUS_TRUNCATED */
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "client closed connection while sending VMess header: "
                      "%s%s", guess, early);
        break;
    }
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
         * VMess, "Failure behaviour": a constant of the configuration, and
         * some jitter
         */

        vc->drain = vc->zone->drain + ngx_random() % 64;
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
