
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CONNECTION_H_INCLUDED_
#define _NGX_VMESS_CONNECTION_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_account.h"
#include "ngx_vmess_rate.h"
#include "ngx_vmess_vconn.h"
#include "proto/ngx_vmess_header.h"
#include "proto/ngx_vmess_chunk.h"
#include "proto/ngx_vmess_http.h"
#include "proto/ngx_vmess_peer.h"


/* in c->buffered, within NGX_LOWLEVEL_BUFFERED: TLS has 0x01, HTTP/2 0x02 */

#define NGX_VMESS_BUFFERED  0x04


/*
 * Passes the end of the client's data on to the peer of the flow.
 *
 * NGX_OK        done, the flow goes on the other way
 * NGX_AGAIN     data before it is still on its way: c->recv asks again
 * NGX_DECLINED  to be reported by c->recv as any other end of input
 */
typedef ngx_int_t (*ngx_vmess_half_close_pt)(ngx_connection_t *c);

/*
 * Whether what a good header asks for is allowed: NGX_VMESS_STATUS_OK, _CIPHER
 * or _COMMAND.  Nothing is done about it.
 */
typedef ngx_vmess_status_e (*ngx_vmess_allowed_pt)(ngx_vmess_connection_t *vc);


/*
 * The VMess layer of a connection.  It stands between c->recv, c->send and
 * those of the transport below, as TLS does.
 */

struct ngx_vmess_connection_s {
    ngx_connection_t          *connection;
    ngx_vmess_account_t        account;     /* account.user after EAuID */
    ngx_vmess_rate_t           rate;        /* of a flow */
    ngx_vmess_status_e         status;

    ngx_recv_pt                recv;
    ngx_send_pt                send;
    ngx_send_chain_pt          send_chain;

    /*
     * The owner of the flow, which is c->data as long as it has not given
     * the connection to somebody else, such as the http module by "pass"
     */

    void                      *data;
    ngx_vmess_allowed_pt       allowed;
    ngx_vmess_half_close_pt    half_close;

    ngx_vmess_mux_connection_t *mux;        /* if it is one, or NULL */
    ngx_vmess_peer_t           peer;        /* of the first datagram */

    ngx_uint_t                 received;    /* datagrams of a flow */
    ngx_uint_t                 sent;

    ngx_vmess_http_conf_t     *disguise;    /* of requests, or NULL */
    ngx_vmess_http_t           http;
    ngx_vmess_header_t         header;

    ngx_vmess_chunk_t          in;
    ngx_vmess_chunk_t          out;

    ngx_str_t                  command;     /* for the client, or empty */
    ngx_str_t                  response;    /* header of it */

    /*
     * Held between calls, in memory of their own, only while there is
     * something to hold: wire bytes read and plaintext opened, which lies
     * before them; and wire bytes sealed, but not sent yet.
     */

    ngx_buf_t                  raw;
    ngx_str_t                  plain;
    ngx_buf_t                  sealed;

    ngx_vmess_pending_t        pending;     /* until there is a verdict */

    size_t                     drained;
    size_t                     drain;

    unsigned                   prompt:1;    /* a fallback waits */
    unsigned                   disguised:1; /* the head of a request was read */
    unsigned                   packetaddr:1;
    unsigned                   cone:1;      /* datagrams have their peers */
    unsigned                   responded:1; /* response header was sealed */
    unsigned                   ended:1;     /* the client ended its data */
    unsigned                   passed:1;    /* its end was passed on */
    unsigned                   eof:1;       /* the transport ended */
    unsigned                   error:1;     /* to be reported by c->recv */
    unsigned                   ending:1;    /* our end is due */
    unsigned                   finished:1;  /* our end was sealed */
};


/*
 * Creates the layer of a connection, not yet in c->recv and c->send; freed
 * with the pool of the connection.  NULL if there is no memory.
 */
ngx_vmess_connection_t *ngx_vmess_connection_create(ngx_connection_t *c,
    ngx_vmess_zone_t *zone);

/* the layer of a connection, NULL if it has none */
ngx_vmess_connection_t *ngx_vmess_connection_get(ngx_connection_t *c);

/* what carries a connection, for $vmess_carrier: a constant */
void ngx_vmess_connection_carrier(ngx_connection_t *c, ngx_str_t *name);

/* c->recv of a connection with the VMess layer */
ssize_t ngx_vmess_connection_recv(ngx_connection_t *c, u_char *buf,
    size_t size);

/*
 * After a handshake that was not VMess, leaves the connection to a fallback.
 * The layer stays in c->recv, to give it all bytes read, and to keep the end
 * of the client's data from ending the session before the answer.
 */
void ngx_vmess_connection_pass(ngx_vmess_connection_t *vc);

/* frees the memory of a buffer of the layer, if it has any */
void ngx_vmess_connection_free_buf(ngx_buf_t *b);


#endif /* _NGX_VMESS_CONNECTION_H_INCLUDED_ */
