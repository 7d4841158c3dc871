
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_write.h"
#include "ngx_vmess_state_dir.h"
#include "ngx_vmess_state_lock.h"
#include "ngx_vmess_state_user.h"


/* users looked at in one event, and bytes written */

#define NGX_VMESS_STATE_STEP      4096
#define NGX_VMESS_STATE_BUFFER    NGX_VMESS_JOURNAL_PART_MAX


static ngx_int_t ngx_vmess_state_write_flush(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_sync(ngx_vmess_state_t *st);
static void ngx_vmess_state_write_tell(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_finish(ngx_vmess_state_t *st);
static u_char *ngx_vmess_state_write_users(ngx_vmess_state_t *st,
    ngx_uint_t *next, ngx_vmess_state_round_t *round);
static u_char *ngx_vmess_state_write_end(u_char *p);


static u_char  ngx_vmess_state_write_buffer[NGX_VMESS_STATE_BUFFER];


void
ngx_vmess_state_write_last(ngx_vmess_state_t *st)
{
    u_char  *p;

    st->closing = 1;

    /* an end behind the last one tells that this is on the disk */

    if (ngx_vmess_state_write_flush(st) == NGX_OK
        && st->journal != NGX_INVALID_FILE)
    {
        p = ngx_vmess_state_write_end(ngx_vmess_state_write_buffer);

        (void) ngx_vmess_state_file_write(st, st->journal,
                                          ngx_vmess_state_write_buffer, p,
                                          &st->size);
    }

    st->closing = 0;
}


/*
 * A journal is enough, unless files lack something, or it would not tell who
 * has gone: then a snapshot is finished, or made.
 */

static ngx_int_t
ngx_vmess_state_write_flush(ngx_vmess_state_t *st)
{
    ngx_int_t   rc;
    ngx_uint_t  n;

    for (n = 0; n < 2; n++) {

        if (st->needed && st->snapshot == NGX_INVALID_FILE
            && ngx_vmess_state_file_start(st) != NGX_OK)
        {
            return NGX_ERROR;
        }

        while (st->needed && !st->copied_all) {
            if (ngx_vmess_state_write_copy(st) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        st->user = 0;

        do {
            rc = ngx_vmess_state_write_count(st);
        } while (rc == NGX_AGAIN);

        if (rc != NGX_OK || ngx_vmess_state_write_commit(st) != NGX_OK) {
            return NGX_ERROR;
        }

        if (!st->lost) {
            break;
        }

        st->needed = 1;

        ngx_vmess_state_file_close(st);
    }

    return NGX_OK;
}


/*
 * What has changed of some users; NGX_AGAIN if there are more.  All of a round
 * is one group, and the round goes on until there was a pass over all users in
 * which no list was applied.  Each part is on the disk before the next, so that
 * none of the calls takes long, and what a crash leaves has no holes.
 */

ngx_int_t
ngx_vmess_state_write_count(ngx_vmess_state_t *st)
{
    u_char                   *p;
    ngx_uint_t                last;
    ngx_vmess_zone_sh_t      *sh;
    ngx_vmess_state_round_t   round;

    sh = st->zone->sh;

    ngx_memzero(&round, sizeof(ngx_vmess_state_round_t));

    if (st->user == 0) {
        st->asked = sh->asked;
        st->quick = !st->counters && !st->closing;
        st->counters = 0;

        sh->unclean = 1;

        ngx_vmess_memory_barrier();
    }

    round.quick = st->quick;

    p = ngx_vmess_state_write_users(st, &st->user, &round);

    st->lost |= round.lost;

    ngx_vmess_memory_barrier();

    last = (st->user == 0
            && (st->closing || st->begun == sh->begun
                || ngx_current_msec - st->wanted >= NGX_VMESS_STATE_LISTS));

    if (round.count || (last && st->open)) {

        /* none is begun for nothing */

        if (st->journal == NGX_INVALID_FILE
            && ngx_vmess_state_file_begin(st) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (last) {
            p = ngx_vmess_state_write_end(p);
        }

        if (ngx_vmess_state_file_write(st, st->journal,
                                       ngx_vmess_state_write_buffer, p,
                                       &st->size)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_vmess_state_write_sync(st) != NGX_OK) {
            return NGX_ERROR;
        }

        st->open = !last;

        /* before a snapshot that is needed, nobody is told to be saved */

        st->kept |= !st->needed;
    }

    return last ? NGX_OK : NGX_AGAIN;
}


/* what is on the disk in a file without a name is lost with the process */

static ngx_int_t
ngx_vmess_state_write_sync(ngx_vmess_state_t *st)
{
    ngx_file_info_t  fi;

    if (fdatasync(st->journal) == -1) {
        return ngx_vmess_state_file_failed(st, "fdatasync() of a journal in");
    }

    if (ngx_fd_info(st->journal, &fi) != NGX_FILE_ERROR && fi.st_nlink == 0) {
        ngx_set_errno(NGX_ENOENT);

        return ngx_vmess_state_file_failed(st, "finding a journal in");
    }

    return NGX_OK;
}


/* a round has ended: what was changed before it is saved, and told to be */

ngx_int_t
ngx_vmess_state_write_commit(ngx_vmess_state_t *st)
{
    st->writing = 0;
    st->wanted = 0;

    ngx_vmess_state_write_tell(st);

    /* half of a list that the snapshot may have is whole in the journal now */

    if (st->copied_all) {

        if (ngx_vmess_state_write_finish(st) != NGX_OK) {
            return NGX_ERROR;
        }

        st->copied_all = 0;
        st->needed = 0;

        ngx_vmess_state_file_works(st);
        ngx_vmess_state_write_tell(st);
    }

    return NGX_OK;
}


/* nothing to those whose change a later memory may not have */

static void
ngx_vmess_state_write_tell(ngx_vmess_state_t *st)
{
    ngx_vmess_zone_sh_t  *sh;

    sh = st->zone->sh;

    if (st->needed || st->lost || ngx_vmess_state_lock_elsewhere(st)) {
        return;
    }

    sh->unclean = 0;

    ngx_vmess_memory_barrier();

    if (ngx_vmess_state_lock_outdated(st)) {
        sh->unsaved = st->asked;
        return;
    }

    sh->saved = st->asked;
}


/* some users of a snapshot */

ngx_int_t
ngx_vmess_state_write_copy(ngx_vmess_state_t *st)
{
    u_char                   *p;
    ngx_vmess_state_round_t   round;

    ngx_memzero(&round, sizeof(ngx_vmess_state_round_t));

    round.copy = 1;
    round.note = st->needed;

    p = ngx_vmess_state_write_users(st, &st->copied, &round);
    p = ngx_vmess_state_write_end(p);

    st->count += round.count;

    /* little by little, so that none of the calls takes long */

    if (ngx_vmess_state_file_write(st, st->snapshot,
                                   ngx_vmess_state_write_buffer, p, &st->last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fdatasync(st->snapshot) == -1) {
        return ngx_vmess_state_file_failed(st, "fdatasync() of a snapshot in");
    }

    st->copied_all = (st->copied == 0);

    /* until there is one that is needed, a round helps nobody */

    st->writing = (st->copied_all
                   || (!st->needed && (st->counters
                                       || st->zone->sh->asked != st->asked)));

    return NGX_OK;
}


/*
 * The last snapshot that was read or made, and what followed, is kept: it is
 * used if this one cannot be read.
 */

static ngx_int_t
ngx_vmess_state_write_finish(ngx_vmess_state_t *st)
{
    u_char                      *p;
    ngx_vmess_journal_record_t   record;

    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    record.kind = NGX_VMESS_JOURNAL_FINISH;
    record.count = st->count;

    p = ngx_vmess_journal_create_record(ngx_vmess_state_write_buffer, &record);

    if (ngx_vmess_state_file_write(st, st->snapshot,
                                   ngx_vmess_state_write_buffer, p, &st->last)
        != NGX_OK
        || ngx_vmess_state_file_publish(st, NGX_VMESS_JOURNAL_SNAPSHOT,
                                        st->snapshot)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    (void) ngx_close_file(st->snapshot);
    st->snapshot = NGX_INVALID_FILE;

    /* what is left is deleted with the next one */

    if (ngx_vmess_state_dir_clean(&st->path.name, st->zone->sh->base)
        != NGX_OK
        && ngx_time() - st->complained >= NGX_VMESS_STATE_COMPLAIN)
    {
        st->complained = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "vmess_users \"%V\": deleting old files in \"%V\" "
                      "failed", &st->zone->name, &st->path.name);
    }

    st->zone->sh->base = st->number;

    return NGX_OK;
}


/*
 * Makes records of users in the buffer; "next" is the user to begin with, and
 * gets the next one, 0 after the last.  Returns the end of them, behind which
 * that of a group has room.
 */

static u_char *
ngx_vmess_state_write_users(ngx_vmess_state_t *st, ngx_uint_t *next,
    ngx_vmess_state_round_t *round)
{
    u_char      *p, *last;
    ngx_uint_t   i, n, max;

    p = ngx_vmess_state_write_buffer;
    last = p + NGX_VMESS_STATE_BUFFER - NGX_VMESS_STATE_USER_MAX
           - NGX_VMESS_JOURNAL_RECORD_MAX;

    i = *next;
    max = ngx_vmess_table_max(st->zone->sh->table);

    for (n = 0; n < NGX_VMESS_STATE_STEP && i < max && p < last; n++) {
        p = ngx_vmess_state_user_get(st->zone, i++, p, round);
    }

    *next = (i < max) ? i : 0;

    return p;
}


static u_char *
ngx_vmess_state_write_end(u_char *p)
{
    ngx_vmess_journal_record_t  record;

    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    record.kind = NGX_VMESS_JOURNAL_END;

    return ngx_vmess_journal_create_record(p, &record);
}
