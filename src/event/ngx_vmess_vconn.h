
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_VCONN_H_INCLUDED_
#define _NGX_VMESS_VCONN_H_INCLUDED_


#include "ngx_vmess.h"
#include "proto/ngx_vmess_proto.h"


/*
 * A virtual connection: a carrier, its owner, has the bytes of a client, and a
 * stream server takes them from an ordinary ngx_connection_t.  It is in the
 * pool of that connection, so the owner must forget it in its close handler.
 *
 * recv and send get the virtual connection and return as those of any
 * connection do, with the flags of its events set.  In front of what send is
 * given there are NGX_VMESS_HEADROOM bytes to write to.
 */

#define NGX_VMESS_HEADROOM  16


/* the most that is read from a client, or sealed for it, in one go */

#define NGX_VMESS_BURST     (128 * 1024)

#define NGX_VMESS_SCRATCH                                                     \
    (NGX_VMESS_HEADROOM + NGX_VMESS_BURST                                     \
     + NGX_VMESS_CHUNK_MAX + NGX_VMESS_CHUNK_OVERHEAD)


typedef struct {
    ngx_str_t                  name;         /* for $vmess_carrier */

    ngx_recv_pt                recv;
    ngx_send_pt                send;

    /*
     * The client was found authentic or not.  For one that is not, NGX_OK
     * means that the owner takes the client back, and the session is closed;
     * NGX_DECLINED that it cannot.
     */
    ngx_int_t                (*verdict)(void *data, ngx_uint_t authentic);

    /* the virtual connection is being closed */
    void                     (*close)(void *data);
} ngx_vmess_carrier_t;


struct ngx_vmess_vconn_s {
    const ngx_vmess_carrier_t *carrier;
    ngx_connection_t          *connection;
    void                      *data;         /* owner, NULL if it is gone */
};


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
    ngx_uint_t                 vmess;        /* the server terminates VMess */
} ngx_vmess_listen_t;


/* a use of such a name, resolved when the whole configuration is read */

typedef struct {
    ngx_str_t                  name;
    ngx_vmess_listen_t       **listen;
    u_char                    *file_name;
    ngx_uint_t                 line;
} ngx_vmess_pass_t;


/* the server of that name, NULL if there is none */
ngx_vmess_listen_t *ngx_vmess_listen_lookup(ngx_cycle_t *cycle,
    ngx_str_t *name);

/*
 * Creates a virtual connection with the addresses of the connection given.
 * NULL if there is no memory, descriptor or connection, which was logged.
 */
ngx_vmess_vconn_t *ngx_vmess_vconn_create(ngx_connection_t *parent,
    const ngx_vmess_carrier_t *carrier, void *data,
    ngx_vmess_listen_t *listen);

/* hands it to its server, which may close it before this returns */
void ngx_vmess_vconn_start(ngx_vmess_vconn_t *vconn);

/*
 * What we know of a connection of this worker, found by its number, as there
 * is no field for it in ngx_connection_t.  ngx_vmess_init_slots() comes before
 * all others; NGX_OK or NGX_ERROR.
 */

typedef struct {
    ngx_vmess_connection_t    *layer;
    ngx_vmess_vconn_t         *vconn;
} ngx_vmess_slot_t;

ngx_int_t ngx_vmess_init_slots(ngx_log_t *log);
ngx_vmess_slot_t *ngx_vmess_slot(ngx_connection_t *c);

/* NGX_VMESS_SCRATCH bytes of the worker, in which no call leaves anything */
extern u_char  *ngx_vmess_scratch;

/* the virtual connection that c is, or NULL */
ngx_vmess_vconn_t *ngx_vmess_get_vconn(ngx_connection_t *c);

/* reports an event of the owner's to the virtual connection, later */
void ngx_vmess_vconn_wake(ngx_vmess_vconn_t *vconn, ngx_uint_t write);

/* the owner is going: ends the virtual connection, later */
void ngx_vmess_vconn_abort(ngx_vmess_vconn_t *vconn);


#endif /* _NGX_VMESS_VCONN_H_INCLUDED_ */
