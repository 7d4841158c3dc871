
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_FILE_H_INCLUDED_
#define _NGX_VMESS_STATE_FILE_H_INCLUDED_


#include "ngx_vmess_zone.h"
#include "proto/ngx_vmess_journal.h"


/* seconds between complaints */

#define NGX_VMESS_STATE_COMPLAIN  60


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
    ngx_uint_t                 skip;       /* of them, before the next attempt */
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


/*
 * Files of the worker that has the lock.  After NGX_ERROR, which was logged,
 * none is open, those who wait are told, and a snapshot is needed.  What was
 * begun is deleted if it is worth nothing: a disk that is full or fails does
 * not get fuller by attempts.
 */

/* begins the next journal and a snapshot of its number; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_state_file_start(ngx_vmess_state_t *st);

/* begins the next journal; NGX_OK or NGX_ERROR */
ngx_int_t ngx_vmess_state_file_begin(ngx_vmess_state_t *st);

/*
 * A file that is whole is written to the disk, and gets its name; NGX_OK or
 * NGX_ERROR
 */
ngx_int_t ngx_vmess_state_file_publish(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, ngx_fd_t fd);

/*
 * Writes what is from p to last; NGX_OK or NGX_ERROR
 *
 * size  gets so many bytes more
 */
ngx_int_t ngx_vmess_state_file_write(ngx_vmess_state_t *st, ngx_fd_t fd,
    u_char *p, u_char *last, off_t *size);

/*
 * Something has failed, by ngx_errno: logs that once a minute; NGX_ERROR
 *
 * what  "writing a file in"
 */
ngx_int_t ngx_vmess_state_file_failed(ngx_vmess_state_t *st, char *what);

/* only logs it: this worker does not write, and maybe another one does */
void ngx_vmess_state_file_complain(ngx_vmess_state_t *st, char *what);

/* a snapshot is finished: if something had failed, it does not any more */
void ngx_vmess_state_file_works(ngx_vmess_state_t *st);

/* closes both; a snapshot that is not finished is deleted */
void ngx_vmess_state_file_close(ngx_vmess_state_t *st);


#endif /* _NGX_VMESS_STATE_FILE_H_INCLUDED_ */
