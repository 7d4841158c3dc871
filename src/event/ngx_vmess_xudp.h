
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_XUDP_H_INCLUDED_
#define _NGX_VMESS_XUDP_H_INCLUDED_


#include "ngx_vmess_users.h"
#include "ngx_vmess_vconn.h"
#include "ngx_vmess_worker.h"


/*
 * Sessions of datagrams that clients name, to come back on another connection
 * (XUDP, "Global ID").  A session at another worker is ended there, and its
 * socket, with the mapping that its peers know, is passed on.
 */

typedef struct {
    ngx_vmess_session_node_t   name;         /* by user and Global ID */
    ngx_event_t                timer;
    ngx_connection_t          *socket;       /* connected to no peer, or NULL */
    ngx_connection_t          *claim;        /* not started: asks for it */
    ngx_socket_t               adopted;      /* of the session before, or -1 */

    /* set by the flow that it is in, and zero the rest, but for "adopted" */

    ngx_vmess_listen_t        *listen;       /* its server */
    void                      *data;         /* the flow, which is */
    void                     (*start)(void *data);
    void                     (*close)(void *data);

    unsigned                   named:1;
    unsigned                   orphan:1;     /* without a client */
} ngx_vmess_xudp_t;


/* other workers will ask for sessions */
void ngx_vmess_xudp_init(void);

/* the session of that name of a user, in this worker, or NULL */
ngx_vmess_xudp_t *ngx_vmess_xudp_find(ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *global_id);

/*
 * Names a session whose flow is not yet started.  NGX_OK, or NGX_AGAIN: another
 * worker is asked for its socket, and "start" will be called.
 */
ngx_int_t ngx_vmess_xudp_set_name(ngx_vmess_xudp_t *x, ngx_vmess_zone_t *zone,
    ngx_vmess_user_t *user, u_char *global_id);

/* forgets its name, if it has one */
void ngx_vmess_xudp_unname(ngx_vmess_xudp_t *x);

/*
 * Its client has begun another session: it loses its name, and if it waits for
 * that client, "close" is called
 */
void ngx_vmess_xudp_replace(ngx_vmess_xudp_t *x);

/*
 * Keeps a session without client for some time, after which "close" is called,
 * and forgets that again.  NGX_OK, or NGX_DECLINED.
 */
ngx_int_t ngx_vmess_xudp_orphan(ngx_vmess_xudp_t *x);
void ngx_vmess_xudp_adopt(ngx_vmess_xudp_t *x);

/* of a flow that goes: name, timer, and a socket that it did not use */
void ngx_vmess_xudp_close(ngx_vmess_xudp_t *x);


#endif /* _NGX_VMESS_XUDP_H_INCLUDED_ */
