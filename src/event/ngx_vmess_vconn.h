
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_VCONN_H_INCLUDED_
#define _NGX_VMESS_VCONN_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_pending.h"
#include "proto/ngx_vmess_proto.h"


/*
 * A virtual connection: a carrier, its owner, has the bytes of a client, and a
 * stream server takes them from an ordinary ngx_connection_t.  It is in the
 * pool of that connection, so the owner must forget it in its close handler.
 *
 * The contract of carriers.  All functions get the owner, "data".
 *
 * recv     bytes, 1 .. size; 0 at the end of the client's data; NGX_AGAIN,
 *          after which the owner wakes the virtual connection when there is
 *          more; or NGX_ERROR, after which it is not asked again
 * send     bytes taken, 1 .. size, and size is not 0; NGX_AGAIN, after which
 *          the owner wakes the virtual connection when it takes more; or
 *          NGX_ERROR.  In front of buf there are NGX_VMESS_HEADROOM bytes to
 *          write to, and what is in buf may be changed
 * verdict  the client was found authentic or not.  For one that is not, NGX_OK
 *          means that the owner takes the client back, and the session is
 *          closed; NGX_DECLINED that it cannot.  NULL where clients have no
 *          header, as they were found authentic before
 * close    the virtual connection is being closed; the owner must not end what
 *          the call may have come from, but post an event
 *
 * None of them touches the events of the virtual connection, nor c->sent: the
 * flags ready, eof and error are set in ngx_vmess_vconn.c, for all carriers and
 * for each return.  ready is 1 after bytes, as only the next call tells if
 * there are more, and 0 after anything else, unless the owner has woken the
 * virtual connection meanwhile.  pending_eof is never set.  What reads or
 * writes asks until it gets NGX_AGAIN.  An owner that has gone is as one that
 * returns NGX_ERROR.
 *
 * The scratch area of the worker, ngx_vmess_scratch, is for whoever calls recv
 * or send of a connection, which may be given a part of it as buf.  So neither
 * a carrier nor a layer below may use it but for buf, and nobody may expect to
 * find there what was left before a call of any function that reads, writes,
 * or runs handlers.
 */

#define NGX_VMESS_HEADROOM  16


/* the most that is read from a client, or sealed for it, in one go */

#define NGX_VMESS_BURST     (128 * 1024)

#define NGX_VMESS_SCRATCH                                                     \
    (NGX_VMESS_HEADROOM + NGX_VMESS_BURST                                     \
     + NGX_VMESS_CHUNK_MAX + NGX_VMESS_CHUNK_OVERHEAD)


typedef struct {
    ngx_str_t                  name;         /* for $vmess_carrier */

    ssize_t                  (*recv)(void *data, u_char *buf, size_t size);
    ssize_t                  (*send)(void *data, u_char *buf, size_t size);
    ngx_int_t                (*verdict)(void *data, ngx_uint_t authentic);
    void                     (*close)(void *data);

    /*
     * Connections of the worker that are taken for a client before it is known
     * to be authentic, or 0 if clients are, or are bounded by the carrier
     */
    ngx_uint_t                 weight;
} ngx_vmess_carrier_t;


struct ngx_vmess_vconn_s {
    const ngx_vmess_carrier_t *carrier;
    ngx_connection_t          *connection;
    void                      *data;         /* owner, NULL if it is gone */
    ngx_vmess_pending_t        pending;
    ngx_uint_t                 evicted;
};


/* whose client it is, which is copied, and the log until it has its own */

typedef struct {
    struct sockaddr           *sockaddr;
    socklen_t                  socklen;
    struct sockaddr           *local_sockaddr;
    socklen_t                  local_socklen;
    ngx_str_t                  text;         /* of sockaddr */
    ngx_proxy_protocol_t      *proxy_protocol;
    ngx_log_t                 *log;
} ngx_vmess_vconn_addrs_t;


/*
 * A server that takes virtual connections, "vmess_listen name": filled in by
 * the stream module, found by name by carriers.
 */

typedef struct {
    ngx_str_t                  name;
    ngx_listening_t           *listening;
#if (NGX_HAVE_INET6)
    ngx_listening_t           *listening6;
#endif
    ngx_str_t                  server;       /* where it is configured */
    ngx_uint_t                 vmess;        /* the server terminates VMess */
    ngx_str_t                  zone;         /* of its users, if it does */
} ngx_vmess_listen_t;


/* a use of such a name, resolved when the whole configuration is read */

typedef struct {
    ngx_str_t                  name;
    ngx_vmess_listen_t       **listen;
    u_char                    *file_name;
    ngx_uint_t                 line;
} ngx_vmess_pass_t;


/* the server of that name, NULL if there is none */
ngx_vmess_listen_t *ngx_vmess_vconn_lookup(ngx_cycle_t *cycle,
    ngx_str_t *name);

/* the addresses of a connection: NGX_OK, or NGX_ERROR, which was logged */
ngx_int_t ngx_vmess_vconn_addrs(ngx_vmess_vconn_addrs_t *addrs,
    ngx_connection_t *c);

/*
 * Creates a virtual connection.  NULL if there is no memory, descriptor or
 * connection, which was logged.
 */
ngx_vmess_vconn_t *ngx_vmess_vconn_create(ngx_vmess_vconn_addrs_t *addrs,
    const ngx_vmess_carrier_t *carrier, void *data,
    ngx_vmess_listen_t *listen);

/* hands it to its server, which may close it before this returns */
void ngx_vmess_vconn_start(ngx_vmess_vconn_t *vconn);

/*
 * What we know of a connection of this worker, found by its number, as there
 * is no field for it in ngx_connection_t.  ngx_vmess_vconn_init_slots() comes
 * before all others; NGX_OK or NGX_ERROR.
 */

typedef struct {
    ngx_vmess_connection_t    *layer;
    ngx_vmess_vconn_t         *vconn;
} ngx_vmess_vconn_slot_t;

ngx_int_t ngx_vmess_vconn_init_slots(ngx_log_t *log);
ngx_vmess_vconn_slot_t *ngx_vmess_vconn_slot(ngx_connection_t *c);

/* NGX_VMESS_SCRATCH bytes of the worker, see above */
extern u_char  *ngx_vmess_scratch;

/* the virtual connection that c is, or NULL */
ngx_vmess_vconn_t *ngx_vmess_vconn_get(ngx_connection_t *c);

/*
 * Sets the flags of c->read for what c->recv returns, and returns it; of layers
 * above, too.  With bytes, ready is set if there is more that no event will
 * tell of, and left alone if not; with NGX_AGAIN it is left alone.
 */
ssize_t ngx_vmess_vconn_received(ngx_connection_t *c, ssize_t n,
    ngx_uint_t more);

/*
 * Asks the owner, if there is one: NGX_OK, NGX_DECLINED or NGX_ERROR.  The
 * client counts as not authentic as long as it was not found to be.
 */
ngx_int_t ngx_vmess_vconn_verdict(ngx_vmess_vconn_t *vconn,
    ngx_uint_t authentic);

/* reports an event of the owner's to the virtual connection, later */
void ngx_vmess_vconn_wake(ngx_vmess_vconn_t *vconn, ngx_uint_t write);

/*
 * recv has done enough in one go, and returns NGX_AGAIN: it will be called
 * again when others had their turn
 */
void ngx_vmess_vconn_yield(ngx_vmess_vconn_t *vconn);

/* the owner is going: ends the virtual connection, later */
void ngx_vmess_vconn_abort(ngx_vmess_vconn_t *vconn);


#endif /* _NGX_VMESS_VCONN_H_INCLUDED_ */
