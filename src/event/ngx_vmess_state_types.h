
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_TYPES_H_INCLUDED_
#define _NGX_VMESS_STATE_TYPES_H_INCLUDED_


#include "ngx_vmess_zone.h"


/* what a worker has of the "state" of a zone */

struct ngx_vmess_state_s {
    ngx_vmess_zone_t          *zone;
    ngx_path_t                 path;

    uint32_t                   directory;  /* hash of its name */
    ngx_uint_t                 configuration;  /* number of this one */
    ngx_fd_t                   wake;       /* an eventfd of all workers */

    /* of a worker */

    ngx_connection_t          *connection; /* of it, while the lock is held */
    ngx_uint_t                 asked;      /* what this pass will have saved */
    ngx_uint_t                 begun;      /* lists, when it began */
    ngx_msec_t                 since;      /* the last of them, or the round */
    ngx_msec_t                 wanted;     /* this round is, 0: none is */
    ngx_fd_t                   lock;
    ngx_fd_t                   journal;    /* NGX_INVALID_FILE: to be begun */
    ngx_fd_t                   snapshot;   /* or none is being made */
    uint64_t                   number;
    off_t                      size;       /* of the journal */
    off_t                      last;       /* of the snapshot */
    uint64_t                   count;      /* records of the snapshot */
    ngx_uint_t                 user;       /* next of a round over all users */
    ngx_uint_t                 copied;     /* next of the snapshot */
    ngx_uint_t                 seconds;    /* the lock was nobody's */
    time_t                     complained;
    ngx_uint_t                 pause;      /* after the next failure, seconds */
    ngx_uint_t                 skip;       /* of them, before an attempt */
    ngx_event_t                timer;
    ngx_event_t                step;
    unsigned                   began:1;
    unsigned                   held:1;
    unsigned                   writing:1;  /* a round */
    unsigned                   counters:1; /* are due as well */
    unsigned                   quick:1;    /* this pass leaves them out */
    unsigned                   closing:1;  /* the last one */
    unsigned                   open:1;     /* a group has no end yet */
    unsigned                   copied_all:1; /* into the snapshot */
    unsigned                   needed:1;   /* a snapshot: files lack something
                                              that users say they have */
    unsigned                   kept:1;     /* the journal has what no other file
                                              has, or a snapshot goes with it */
    unsigned                   failed:1;
    unsigned                   lost:1;     /* who has gone, by name */
};


#endif /* _NGX_VMESS_STATE_TYPES_H_INCLUDED_ */
