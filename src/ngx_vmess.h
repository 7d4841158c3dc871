
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_H_INCLUDED_
#define _NGX_VMESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_vmess_compat.h"


#define NGX_VMESS_VERSION  "0.2.0"


typedef struct ngx_vmess_mux_connection_s  ngx_vmess_mux_connection_t;
typedef struct ngx_vmess_connection_s  ngx_vmess_connection_t;
typedef struct ngx_vmess_history_s     ngx_vmess_history_t;
typedef struct ngx_vmess_replay_s      ngx_vmess_replay_t;
typedef struct ngx_vmess_rows_s        ngx_vmess_rows_t;
typedef struct ngx_vmess_state_s       ngx_vmess_state_t;
typedef struct ngx_vmess_user_s        ngx_vmess_user_t;
typedef struct ngx_vmess_vconn_s       ngx_vmess_vconn_t;
typedef struct ngx_vmess_zone_s        ngx_vmess_zone_t;


/* called when all was read, and before sockets are opened */
typedef void (*ngx_vmess_hook_pt)(ngx_cycle_t *cycle);


/* configuration of the core module: what both subsystems share */

typedef struct {
    ngx_array_t                zones;     /* of ngx_vmess_zone_t * */
    ngx_array_t                listens;   /* of ngx_vmess_listen_t */
    ngx_array_t                passes;    /* of ngx_vmess_pass_t */
    ngx_array_t                refs;      /* of ngx_vmess_zone_ref_t */
    ngx_array_t                hooks;     /* of ngx_vmess_hook_pt */
    ngx_array_t                offers;    /* of ngx_vmess_offer_t * */

    /* of a worker, and of an address in it; 0: by worker_connections */
    ngx_uint_t                 handshakes;
    ngx_uint_t                 address_handshakes;
    ngx_shm_zone_t            *sessions;  /* see ngx_vmess_worker.h */
    ngx_array_t                filters;   /* of ngx_vmess_filter_t * */
    ngx_uint_t                 forget;    /* the latest is not the only one */
} ngx_vmess_conf_t;


extern ngx_module_t  ngx_vmess_module;


#endif /* _NGX_VMESS_H_INCLUDED_ */
