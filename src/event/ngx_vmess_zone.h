
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ZONE_H_INCLUDED_
#define _NGX_VMESS_ZONE_H_INCLUDED_


#include "ngx_vmess.h"
#include "ngx_vmess_clients.h"
#include "ngx_vmess_table.h"
#include "ngx_vmess_token.h"


#define NGX_VMESS_SECRET_LEN  16


/* a worker that counts flows, by its process slot, and where it does */

typedef struct {
    volatile uint32_t          pid;        /* 0: none */
    volatile uint32_t          epoch;
} ngx_vmess_worker_sh_t;


/* what all workers share */

typedef struct {
    ngx_vmess_table_t         *table;             /* of users */

    /* of the zone, known to nobody else */

    u_char                     secret[NGX_VMESS_SECRET_LEN];

    uint64_t                  *hints;
    ngx_uint_t                 hints_mask;

    ngx_vmess_clients_t       *clients;           /* addresses of users */

    /*
     * Of two sets of counters that workers give back, one is in use: that of
     * the epoch.  Lost: some were not given back.
     */

    volatile uint32_t          epoch;
    volatile uint32_t          lost;

    ngx_atomic_t               exhausted;         /* quotas, how often */

    volatile ngx_msec_t        reaped;            /* users, the last time */
    volatile ngx_msec_t        rung;              /* workers were woken */
    volatile ngx_uint_t        reaping;           /* there are more */

    /* of the newest configuration; read and written with the table locked */

    ngx_vmess_limits_t         defaults;
    ngx_uint_t                 replaced;          /* by other memory */

    /* of "state": ids of up to "started" may have been used */

    time_t                     started;           /* 0: they are known */
    uint64_t                   claim;             /* to be who writes */
    uint64_t                   base;              /* the last good snapshot */
    ngx_atomic_t               leaving;           /* workers, how often */

    /*
     * Where what is noted as saved is, and the configuration that has said so:
     * each has a number, and another directory is that of the later one.
     */

    volatile uint32_t          directory;         /* hash of it, 0: none yet */
    volatile ngx_uint_t        writer;
    ngx_uint_t                 configurations;

    /*
     * Who changes users takes the next number, and waits until that is saved,
     * or writing has failed.  Unclean: more is noted as saved than is.
     */

    ngx_atomic_t               asked;
    ngx_atomic_t               saved;
    ngx_atomic_t               unsaved;
    volatile ngx_uint_t        unclean;

    /* who changes many users together, see ngx_vmess_edit.h */

    volatile ngx_pid_t         editor;            /* 0: nobody */
    volatile ngx_int_t         editor_slot;       /* of processes */
    volatile ngx_uint_t        applied;           /* its list is now */
    volatile ngx_uint_t        begun;             /* lists, how often */

    ngx_vmess_worker_sh_t      workers[NGX_MAX_PROCESSES];
} ngx_vmess_zone_sh_t;


/* the user of a legacy header: his own id */

typedef struct {
    uint32_t                   slot;
    uint32_t                   serial;     /* 0: he is not there */
} ngx_vmess_legacy_user_t;


/* where a zone is named in a directive of http */

typedef struct {
    ngx_str_t                  name;
    ngx_vmess_zone_t         **zone;
    ngx_str_t                  directive;
    u_char                    *file_name;
    ngx_uint_t                 line;
} ngx_vmess_zone_ref_t;


/*
 * Gives a zone the users it had before a restart.
 *
 * live  there are users already, which are newer
 *
 * NGX_OK or NGX_ERROR
 */
typedef ngx_int_t (*ngx_vmess_zone_load_pt)(ngx_vmess_zone_t *zone,
    ngx_uint_t live, ngx_log_t *log);


/* a zone of users as one configuration has it */

struct ngx_vmess_zone_s {
    ngx_str_t                  name;
    ngx_array_t                users;      /* of ngx_vmess_user_conf_t */
    ngx_vmess_limits_t         defaults;   /* "vmess_user_defaults" */
    ngx_uint_t                 nlegacy;    /* alter ids of all of them */
    ngx_rbtree_t               names;
    ngx_rbtree_t               ids;
    ngx_rbtree_t               subscriptions;  /* tokens that were given */
    ngx_rbtree_node_t          sentinel;

    ngx_vmess_conf_t          *conf;

    ngx_cycle_t               *cycle;
    ngx_uint_t                 reserved;   /* room in the table */
    ngx_uint_t                 tight;      /* for old users or new ones */
    ngx_vmess_value_keys_t    *keys;       /* of new ids, until published */
    ngx_uint_t                 nkeys;

    size_t                     size;       /* half of it is for the filter */
    ngx_shm_zone_t            *shm_zone;
    ngx_slab_pool_t           *shpool;
    ngx_vmess_zone_sh_t       *sh;

    /* what has happened, in memory of their own that lasts as long */

    ngx_vmess_rows_t          *rows;
    ngx_vmess_history_t       *history;

    time_t                     refresh;    /* of temporary ids, 0: none */

    /* "state", NULL: nothing outlives a restart; called before users are set */

    ngx_vmess_state_t         *state;
    ngx_vmess_zone_load_pt     load;

    ngx_uint_t                 drain;      /* VMess, "Failure behavior" */

    /* of alter ids, in memory of their own, or NULL */

    ngx_shm_zone_t            *tokens_zone;
    ngx_vmess_tokens_t        *tokens;
    ngx_vmess_legacy_user_t   *legacy;     /* by numbers of the tokens' users */
    ngx_event_t                refresher;

    /* of this worker */

    ngx_queue_t                accounts;   /* counted in sh */
    ngx_queue_t                walks;      /* over them */
    uint64_t                   naccounts;  /* ever */
    void                     (*finish)(void *data);  /* the edit, or NULL */
    void                      *finish_data;
    uint32_t                   epoch;
    ngx_uint_t                 registered;
    ngx_uint_t                 generation; /* of configurations */
    ngx_event_t                ticker;
    ngx_event_t                waker;
    ngx_uint_t                 ends;       /* as the table was locked */
    ngx_msec_t                 settled;

    /*
     * Limits were enforced for these.  The first account to expire, 0: none;
     * limited: some have a limit; absent: some may come again.
     */

    ngx_uint_t                 enforced;   /* ends in the table */
    ngx_atomic_uint_t          exhausted;
    time_t                     expires;
    ngx_uint_t                 limited;
    ngx_uint_t                 absent;
};


#define NGX_VMESS_ZONE_SIZE      (16 * 1024 * 1024)
#define NGX_VMESS_ZONE_SIZE_MIN  (1024 * 1024)


/*
 * Adds a zone to the configuration; init is called when its memory is there.
 * NULL after an error that was logged.
 */
ngx_vmess_zone_t *ngx_vmess_zone_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, ngx_shm_zone_init_pt init);

/*
 * Names a zone in a directive: returns where it will be once all was read, as
 * http may stand before stream; NULL: no memory
 */
ngx_vmess_zone_t **ngx_vmess_zone_refer(ngx_conf_t *cf, ngx_str_t *name);

/* sets all of those: NGX_OK, or NGX_ERROR after an error that was logged */
ngx_int_t ngx_vmess_zone_resolve(ngx_cycle_t *cycle, ngx_vmess_conf_t *vcf);

/* finds a zone of the configuration by name, NULL if there is none */
ngx_vmess_zone_t *ngx_vmess_zone_lookup(ngx_cycle_t *cycle, ngx_str_t *name);

/* lays out new memory of a zone; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_zone_create(ngx_vmess_zone_t *zone, ngx_log_t *log);

/* the configuration before that of the cycle, NULL if there was none */
ngx_vmess_conf_t *ngx_vmess_zone_old_conf(ngx_cycle_t *cycle);


#endif /* _NGX_VMESS_ZONE_H_INCLUDED_ */
