
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_WORKER_H_INCLUDED_
#define _NGX_VMESS_WORKER_H_INCLUDED_


#include "ngx_vmess_registry.h"


/*
 * What workers know of each other: a registry of the sessions whose clients
 * may come to any of them, and a Unix socket of each worker, where others ask
 * for a session.  The kernel chooses the name of the socket, in the abstract
 * namespace, and the registry tells it.  Anybody may connect to such a name:
 * workers are recognized by their credentials.
 */

#define NGX_VMESS_WORKER_ID_LEN  NGX_VMESS_REGISTRY_ID_LEN


typedef enum {
    NGX_VMESS_WORKER_XHTTP = 0,
    NGX_VMESS_WORKER_XUDP,
    NGX_VMESS_WORKER_FLOWS,
    NGX_VMESS_WORKER_KINDS
} ngx_vmess_worker_kind_e;


/* the worker that has a session, or another one */

typedef struct {
    ngx_pid_t                  pid;          /* 0: the session has ended */
    uint64_t                   socket;
} ngx_vmess_owner_t;


/* the first that is sent on a connection of two workers */

typedef struct {
    uint32_t                   magic;
    uint32_t                   kind;
    int64_t                    number;       /* as the kind has them */
    int64_t                    start;
    u_char                     id[NGX_VMESS_WORKER_ID_LEN];
} ngx_vmess_greeting_t;


/* a session of this worker, known to others or not, in its owner's memory */

typedef struct {
    ngx_str_node_t             node;
    u_char                     id[NGX_VMESS_WORKER_ID_LEN];
} ngx_vmess_session_node_t;


typedef void (*ngx_vmess_worker_handler_pt)(ngx_connection_t *c,
    ngx_vmess_greeting_t *greeting);


/* adds the zone of the registry to the configuration; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_worker_add_zone(ngx_conf_t *cf);

/*
 * Opens the socket of this worker, and forgets the sessions of workers that
 * are gone.  Without a socket, which was logged, sessions stay at one worker.
 */
void ngx_vmess_worker_init(ngx_cycle_t *cycle);

/* the worker ends: others do not find its socket any more */
void ngx_vmess_worker_exit(void);

/*
 * Finds a worker that has a socket, this one included.
 *
 * slot  in the table of processes: where to begin, and where it was found
 *
 * NGX_OK, or NGX_DECLINED: there are no more
 */
ngx_int_t ngx_vmess_worker_next(ngx_uint_t *slot, ngx_vmess_owner_t *owner);

/* who gets connections of other workers, which are his to close */
void ngx_vmess_worker_set_handler(ngx_vmess_worker_kind_e kind,
    ngx_vmess_worker_handler_pt handler);

/*
 * The id of a session, of NGX_VMESS_WORKER_ID_LEN bytes: a digest of a secret,
 * the kind and n names.
 */
void ngx_vmess_worker_id(u_char *id, ngx_vmess_worker_kind_e kind,
    ngx_str_t *names, ngx_uint_t n);

/* sessions of this worker, by their id; find returns NULL if there is none */
void ngx_vmess_worker_insert(ngx_vmess_session_node_t *node);
void ngx_vmess_worker_delete(ngx_vmess_session_node_t *node);
ngx_vmess_session_node_t *ngx_vmess_worker_find(u_char *id);

/*
 * Makes a session this worker's.
 *
 * NGX_OK        it is, and was nobody's
 * NGX_DECLINED  it is the owner's, or it has ended; with take set it is this
 *               worker's now, unless it has ended, and was the owner's
 * NGX_ERROR     the registry is full
 */
ngx_int_t ngx_vmess_worker_claim(u_char *id, ngx_uint_t take,
    ngx_vmess_owner_t *owner);

/* NGX_OK, or NGX_DECLINED if it is nobody's */
ngx_int_t ngx_vmess_worker_owner(u_char *id, ngx_vmess_owner_t *owner);

/* this worker's session has ended, which is remembered for so many seconds */
void ngx_vmess_worker_release(u_char *id, time_t keep);

/*
 * Connects to a worker and sends a greeting, of which kind, number and id are
 * set; NULL if it is not there, which was logged.  The connection, and those
 * that handlers get, is in epoll and has no pool and no handlers.
 */
ngx_connection_t *ngx_vmess_worker_connect(ngx_vmess_owner_t *owner,
    ngx_vmess_greeting_t *greeting, ngx_log_t *log);


#endif /* _NGX_VMESS_WORKER_H_INCLUDED_ */
