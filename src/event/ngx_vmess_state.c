
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state.h"
#include "ngx_vmess_state_dir.h"
#include "ngx_vmess_state_load.h"
#include "ngx_vmess_state_user.h"


#define NGX_VMESS_STATE_INTERVAL  1000   /* ms */

/* a snapshot is made when the journal is larger than this, and than the last */

#define NGX_VMESS_STATE_JOURNAL   (1024 * 1024)

/* users looked at in one event, and bytes written */

#define NGX_VMESS_STATE_STEP      4096
#define NGX_VMESS_STATE_BUFFER    (64 * 1024)

/* seconds between complaints, and that a later master is given to come back */

#define NGX_VMESS_STATE_COMPLAIN  60
#define NGX_VMESS_STATE_GRACE     5


struct ngx_vmess_state_s {
    ngx_vmess_zone_t          *zone;
    ngx_path_t                 path;

    /* of a worker */

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
    ngx_event_t                timer;
    ngx_event_t                step;
    unsigned                   held:1;
    unsigned                   writing:1;  /* a round */
    unsigned                   failed:1;
    unsigned                   lost:1;     /* who has gone, by name */
};


static ngx_int_t ngx_vmess_state_init_zone(ngx_vmess_zone_t *zone,
    ngx_uint_t live, ngx_log_t *log);
static void ngx_vmess_state_timer_handler(ngx_event_t *ev);
static void ngx_vmess_state_step_handler(ngx_event_t *ev);
static ngx_int_t ngx_vmess_state_lock(ngx_vmess_state_t *st);
static uint64_t ngx_vmess_state_claimed(ngx_vmess_state_t *st);
static void ngx_vmess_state_claim(ngx_vmess_state_t *st);
static void ngx_vmess_state_unlock(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_flush(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_start(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_begin(ngx_vmess_state_t *st);
static void ngx_vmess_state_check_base(ngx_vmess_state_t *st,
    ngx_array_t *snapshots);
static ngx_fd_t ngx_vmess_state_create(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, off_t *size);
static ngx_int_t ngx_vmess_state_publish(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, ngx_fd_t fd);
static ngx_int_t ngx_vmess_state_count(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_copy(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_finish(ngx_vmess_state_t *st);
static u_char *ngx_vmess_state_group(ngx_vmess_state_t *st, ngx_uint_t *next,
    ngx_vmess_state_round_t *round);
static ngx_int_t ngx_vmess_state_write(ngx_vmess_state_t *st, ngx_fd_t fd,
    u_char *p, u_char *last, off_t *size);
static ngx_int_t ngx_vmess_state_failed(ngx_vmess_state_t *st, char *what);
static void ngx_vmess_state_close(ngx_vmess_state_t *st);


static u_char  ngx_vmess_state_buffer[NGX_VMESS_STATE_BUFFER];


ngx_int_t
ngx_vmess_state_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone, ngx_str_t *name)
{
    ngx_path_t         *path;
    ngx_vmess_state_t  *st;

    st = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_state_t));
    if (st == NULL) {
        return NGX_ERROR;
    }

    path = &st->path;

    path->name = *name;

    if (path->name.len > 1 && path->name.data[path->name.len - 1] == '/') {
        path->name.len--;
    }

    if (ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (path->name.len + NGX_VMESS_STATE_NAME_LEN > NGX_MAX_PATH
        || zone->name.len > 255)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of vmess_users \"%V\" or of its \"state\" is "
                           "too long, the longest are of 255 and of %uz bytes",
                           &zone->name,
                           NGX_MAX_PATH - NGX_VMESS_STATE_NAME_LEN);
        return NGX_ERROR;
    }

    /* one that anybody else uses is refused */

    path->data = st;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (ngx_add_path(cf, &path) != NGX_OK) {
        return NGX_ERROR;
    }

    st->zone = zone;

    zone->state = st;
    zone->load = ngx_vmess_state_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_state_init_zone(ngx_vmess_zone_t *zone, ngx_uint_t live,
    ngx_log_t *log)
{
    /* the zone has it already */

    if (zone->sh->claim) {
        return NGX_OK;
    }

    return ngx_vmess_state_load(zone, &zone->state->path.name, !live, log);
}


void
ngx_vmess_state_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t           i;
    ngx_vmess_conf_t    *vcf;
    ngx_vmess_zone_t   **zone;
    ngx_vmess_state_t   *st;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        st = zone[i]->state;

        if (st == NULL) {
            continue;
        }

        st->lock = NGX_INVALID_FILE;
        st->journal = NGX_INVALID_FILE;
        st->snapshot = NGX_INVALID_FILE;

        st->step.handler = ngx_vmess_state_step_handler;
        st->step.data = st;
        st->step.log = cycle->log;

        st->timer.handler = ngx_vmess_state_timer_handler;
        st->timer.data = st;
        st->timer.log = cycle->log;
        st->timer.cancelable = 1;

        ngx_add_timer(&st->timer, 1);
    }
}


static void
ngx_vmess_state_timer_handler(ngx_event_t *ev)
{
    ngx_vmess_state_t *st = ev->data;

    /* new workers see to what old ones count */

    if (ngx_exiting) {
        ngx_vmess_state_unlock(st);
        return;
    }

    ngx_add_timer(ev, NGX_VMESS_STATE_INTERVAL);

    if (!st->held && ngx_vmess_state_lock(st) != NGX_OK) {
        return;
    }

    if (ngx_vmess_state_claimed(st) > st->zone->sh->claim) {
        ngx_vmess_state_unlock(st);
        return;
    }

    /* when the zone was last in use */

    (void) futimens(st->lock, NULL);

    if (st->journal == NGX_INVALID_FILE
        && ngx_vmess_state_start(st) != NGX_OK)
    {
        return;
    }

    /*
     * A journal is read after its snapshot, so it must not say what was before
     * that looked at a user.
     */

    if (st->snapshot == NGX_INVALID_FILE) {
        st->writing = 1;
    }

    ngx_vmess_state_step_handler(&st->step);
}


/* a bounded part of what there is to be written */

static void
ngx_vmess_state_step_handler(ngx_event_t *ev)
{
    ngx_vmess_state_t *st = ev->data;

    ngx_int_t  rc;

    if (!st->held || st->journal == NGX_INVALID_FILE) {
        return;
    }

    rc = NGX_OK;

    if (st->writing) {
        rc = ngx_vmess_state_count(st);

    } else if (st->snapshot != NGX_INVALID_FILE) {
        rc = ngx_vmess_state_copy(st);
    }

    if (rc != NGX_ERROR
        && (st->writing || st->snapshot != NGX_INVALID_FILE))
    {
        ngx_post_event(ev, &ngx_posted_next_events);
        return;
    }

    /* who is not in the snapshot is not there */

    if (rc == NGX_OK
        && (st->lost
            || st->size > ngx_max(NGX_VMESS_STATE_JOURNAL, st->last)))
    {
        ngx_vmess_state_close(st);
        (void) ngx_vmess_state_start(st);
    }
}


/*
 * Gets the lock, which a worker of the same master may have.  That of another
 * master, which was started later, is not disturbed: this is an old worker.  If
 * an earlier master has it, the claim tells it to give way.
 */

static ngx_int_t
ngx_vmess_state_lock(ngx_vmess_state_t *st)
{
    u_char         path[NGX_MAX_PATH];
    struct flock   fl;

    if (st->lock == NGX_INVALID_FILE) {

        ngx_sprintf(path, "%V" NGX_VMESS_STATE_LOCK "%Z", &st->path.name);

        st->lock = ngx_open_file(path, NGX_FILE_RDWR|O_CLOEXEC|O_NOFOLLOW,
                                 NGX_FILE_CREATE_OR_OPEN,
                                 NGX_FILE_OWNER_ACCESS);

        if (st->lock == NGX_INVALID_FILE) {
            return ngx_vmess_state_failed(st, "opening the lock in");
        }
    }

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    if (ngx_vmess_state_claimed(st) > st->zone->sh->claim) {

        /* unless it is gone */

        if (fcntl(st->lock, F_OFD_GETLK, &fl) == -1 || fl.l_type != F_UNLCK) {
            st->seconds = 0;
            return NGX_DECLINED;
        }

        if (st->seconds++ < NGX_VMESS_STATE_GRACE) {
            return NGX_DECLINED;
        }

        fl.l_type = F_WRLCK;
    }

    if (fcntl(st->lock, F_OFD_SETLK, &fl) == -1) {
        ngx_vmess_state_claim(st);
        return NGX_DECLINED;
    }

    st->held = 1;
    st->seconds = 0;

    /* what one who died had taken for written may be in no file */

    st->lost = st->zone->sh->writing;
    st->zone->sh->writing = 1;

    ngx_vmess_state_claim(st);

    return NGX_OK;
}


static uint64_t
ngx_vmess_state_claimed(ngx_vmess_state_t *st)
{
    u_char      buf[8];
    uint64_t    n;
    ngx_uint_t  i;

    if (pread(st->lock, buf, 8, 0) != 8) {
        return 0;
    }

    for (n = 0, i = 0; i < 8; i++) {
        n = n << 8 | buf[i];
    }

    return n;
}


static void
ngx_vmess_state_claim(ngx_vmess_state_t *st)
{
    u_char      buf[8];
    uint64_t    n;
    ngx_uint_t  i;

    n = st->zone->sh->claim;

    if (ngx_vmess_state_claimed(st) == n) {
        return;
    }

    for (i = 0; i < 8; i++) {
        buf[i] = (u_char) (n >> (56 - 8 * i));
    }

    if (pwrite(st->lock, buf, 8, 0) != 8) {
        (void) ngx_vmess_state_failed(st, "writing the lock in");
    }
}


/* what was counted until now is written before */

static void
ngx_vmess_state_unlock(ngx_vmess_state_t *st)
{
    if (st->held && ngx_vmess_state_flush(st) == NGX_OK) {
        st->zone->sh->writing = 0;
    }

    ngx_vmess_state_close(st);

    if (st->lock != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->lock);
        st->lock = NGX_INVALID_FILE;
    }

    st->held = 0;
}


/*
 * What is in a snapshot counts as written, so it is finished; and one is made
 * if a journal would not tell who has gone.
 */

static ngx_int_t
ngx_vmess_state_flush(ngx_vmess_state_t *st)
{
    ngx_int_t  rc;

    while (st->snapshot != NGX_INVALID_FILE) {
        if (ngx_vmess_state_copy(st) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    st->user = 0;
    st->writing = 1;

    do {
        rc = ngx_vmess_state_count(st);
    } while (rc == NGX_AGAIN);

    if (rc == NGX_OK && st->journal != NGX_INVALID_FILE
        && fdatasync(st->journal) == -1)
    {
        rc = ngx_vmess_state_failed(st, "fdatasync() of a journal in");
    }

    if (rc != NGX_OK || !st->lost) {
        return rc;
    }

    ngx_vmess_state_close(st);

    rc = ngx_vmess_state_start(st);

    while (st->snapshot != NGX_INVALID_FILE) {
        rc = ngx_vmess_state_copy(st);
    }

    return rc;
}


/* a journal and a snapshot, of which parts are written in events that follow */

static ngx_int_t
ngx_vmess_state_start(ngx_vmess_state_t *st)
{
    if (ngx_vmess_state_begin(st) != NGX_OK) {
        return NGX_ERROR;
    }

    st->snapshot = ngx_vmess_state_create(st, NGX_VMESS_JOURNAL_SNAPSHOT,
                                          &st->last);

    if (st->snapshot == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    st->copied = 0;
    st->count = 0;
    st->user = 0;
    st->writing = 0;
    st->lost = 0;

    if (st->failed) {
        st->failed = 0;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "vmess_users \"%V\": \"%V\" is written to again",
                      &st->zone->name, &st->path.name);
    }

    return NGX_OK;
}


/*
 * Begins the next journal.  It is given its name when it has a header, so that
 * a file without one is never right.
 */

static ngx_int_t
ngx_vmess_state_begin(ngx_vmess_state_t *st)
{
    ngx_fd_t                   fd;
    uint64_t                  *n;
    ngx_int_t                  rc;
    ngx_pool_t                *pool;
    ngx_vmess_state_files_t    files;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_vmess_state_dir_list(&st->path.name, &files, pool);

    st->number = 1;

    if (rc == NGX_OK) {

        if (files.snapshots.nelts) {
            n = files.snapshots.elts;
            st->number = n[files.snapshots.nelts - 1] + 1;
        }

        ngx_vmess_state_check_base(st, &files.snapshots);

        if (files.journals.nelts) {
            n = files.journals.elts;
            st->number = ngx_max(st->number,
                                 n[files.journals.nelts - 1] + 1);
        }
    }

    ngx_destroy_pool(pool);

    if (rc != NGX_OK) {
        return ngx_vmess_state_failed(st, "reading");
    }

    fd = ngx_vmess_state_create(st, NGX_VMESS_JOURNAL_CHANGES, &st->size);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    st->journal = fd;

    if (ngx_vmess_state_publish(st, NGX_VMESS_JOURNAL_CHANGES, fd) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* after a reload the directory may be another one, with numbers of its own */

static void
ngx_vmess_state_check_base(ngx_vmess_state_t *st, ngx_array_t *snapshots)
{
    uint64_t    *n;
    ngx_uint_t   i;

    n = snapshots->elts;

    for (i = 0; i < snapshots->nelts; i++) {
        if (n[i] == st->zone->sh->base) {
            return;
        }
    }

    st->zone->sh->base = 0;
}


static ngx_fd_t
ngx_vmess_state_create(ngx_vmess_state_t *st, ngx_vmess_journal_kind_e kind,
    off_t *size)
{
    u_char                       path[NGX_MAX_PATH], *p;
    u_char                       buf[NGX_VMESS_JOURNAL_HEADER_MAX];
    ngx_fd_t                     fd;
    ngx_vmess_journal_header_t   header;

    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, ".tmp");

    fd = ngx_open_file(path, NGX_FILE_WRONLY|O_CLOEXEC|O_NOFOLLOW,
                       NGX_FILE_TRUNCATE, NGX_FILE_OWNER_ACCESS);

    if (fd == NGX_INVALID_FILE) {
        (void) ngx_vmess_state_failed(st, "creating a file in");
        return NGX_INVALID_FILE;
    }

    header.kind = kind;
    header.number = st->number;
    header.time = ngx_time();
    header.zone = st->zone->name;

    p = ngx_vmess_journal_create_header(buf, &header);

    *size = 0;

    if (ngx_vmess_state_write(st, fd, buf, p, size) != NGX_OK) {
        (void) ngx_close_file(fd);
        return NGX_INVALID_FILE;
    }

    return fd;
}


/* a file that is whole and on the disk gets its name, and the name is, too */

static ngx_int_t
ngx_vmess_state_publish(ngx_vmess_state_t *st, ngx_vmess_journal_kind_e kind,
    ngx_fd_t fd)
{
    u_char  tmp[NGX_MAX_PATH], path[NGX_MAX_PATH];

    ngx_vmess_state_dir_name(tmp, &st->path.name, kind, st->number, ".tmp");
    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, "");

    if (fsync(fd) == -1
        || ngx_rename_file(tmp, path) == NGX_FILE_ERROR
        || ngx_vmess_state_dir_sync(&st->path.name) != NGX_OK)
    {
        return ngx_vmess_state_failed(st, "saving a file in");
    }

    return NGX_OK;
}


/* counters that moved, of some users; NGX_AGAIN if there are more */

static ngx_int_t
ngx_vmess_state_count(ngx_vmess_state_t *st)
{
    u_char                   *p;
    ngx_vmess_state_round_t   round;

    ngx_memzero(&round, sizeof(ngx_vmess_state_round_t));

    round.all = st->failed;

    p = ngx_vmess_state_group(st, &st->user, &round);

    if (st->user == 0) {
        st->writing = 0;
    }

    st->lost |= round.lost;

    if (round.count) {

        /* none is begun for nothing */

        if (st->journal == NGX_INVALID_FILE
            && ngx_vmess_state_begin(st) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_vmess_state_write(st, st->journal, ngx_vmess_state_buffer, p,
                                  &st->size)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return st->writing ? NGX_AGAIN : NGX_OK;
}


/* some users of a snapshot */

static ngx_int_t
ngx_vmess_state_copy(ngx_vmess_state_t *st)
{
    u_char                   *p;
    ngx_vmess_state_round_t   round;

    ngx_memzero(&round, sizeof(ngx_vmess_state_round_t));

    round.all = 1;

    p = ngx_vmess_state_group(st, &st->copied, &round);

    st->count += round.count;
    st->lost |= round.lost;

    /* little by little, so that none of the calls takes long */

    if (ngx_vmess_state_write(st, st->snapshot, ngx_vmess_state_buffer, p,
                              &st->last)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (fdatasync(st->snapshot) == -1) {
        return ngx_vmess_state_failed(st, "fdatasync() of a snapshot in");
    }

    return st->copied ? NGX_AGAIN : ngx_vmess_state_finish(st);
}


/*
 * The last snapshot that was read or made, and what followed, is kept: it is
 * used if this one cannot be read.
 */

static ngx_int_t
ngx_vmess_state_finish(ngx_vmess_state_t *st)
{
    u_char                      *p;
    ngx_vmess_journal_record_t   record;

    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    record.kind = NGX_VMESS_JOURNAL_FINISH;
    record.count = st->count;

    p = ngx_vmess_journal_create_record(ngx_vmess_state_buffer, &record);

    if (ngx_vmess_state_write(st, st->snapshot, ngx_vmess_state_buffer, p,
                              &st->last)
        != NGX_OK
        || ngx_vmess_state_publish(st, NGX_VMESS_JOURNAL_SNAPSHOT,
                                   st->snapshot)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    (void) ngx_close_file(st->snapshot);
    st->snapshot = NGX_INVALID_FILE;

    if (ngx_vmess_state_dir_clean(&st->path.name, st->zone->sh->base)
        != NGX_OK)
    {
        return ngx_vmess_state_failed(st, "deleting files in");
    }

    st->zone->sh->base = st->number;

    return NGX_OK;
}


/*
 * Makes a group of records in the buffer; "next" is the user to begin with, and
 * gets the next one, 0 after the last.  Returns the end of the group.
 */

static u_char *
ngx_vmess_state_group(ngx_vmess_state_t *st, ngx_uint_t *next,
    ngx_vmess_state_round_t *round)
{
    u_char                      *p, *last;
    ngx_uint_t                   i, n, max;
    ngx_vmess_journal_record_t   end;

    p = ngx_vmess_state_buffer;
    last = p + NGX_VMESS_STATE_BUFFER - 2 * NGX_VMESS_JOURNAL_RECORD_MAX;

    i = *next;
    max = ngx_vmess_table_max(st->zone->sh->table);

    for (n = 0; n < NGX_VMESS_STATE_STEP && i < max && p < last; n++) {
        p = ngx_vmess_state_user_get(st->zone, i++, p, round);
    }

    *next = (i < max) ? i : 0;

    ngx_memzero(&end, sizeof(ngx_vmess_journal_record_t));

    end.kind = NGX_VMESS_JOURNAL_END;

    return ngx_vmess_journal_create_record(p, &end);
}


static ngx_int_t
ngx_vmess_state_write(ngx_vmess_state_t *st, ngx_fd_t fd, u_char *p,
    u_char *last, off_t *size)
{
    ssize_t  n;

    while (p < last) {

        n = ngx_write_fd(fd, p, last - p);

        if (n == -1) {
            return ngx_vmess_state_failed(st, "writing a file in");
        }

        *size += n;
        p += n;
    }

    return NGX_OK;
}


/* nothing more is written to a file that may end within a record */

static ngx_int_t
ngx_vmess_state_failed(ngx_vmess_state_t *st, char *what)
{
    ngx_err_t  err;

    err = ngx_errno;

    if (!st->failed || ngx_time() - st->complained >= NGX_VMESS_STATE_COMPLAIN)
    {
        st->complained = ngx_time();

        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, err,
                      "vmess_users \"%V\": %s \"%V\" failed, users and "
                      "counters are not saved until it succeeds",
                      &st->zone->name, what, &st->path.name);
    }

    st->failed = 1;

    ngx_vmess_state_close(st);

    return NGX_ERROR;
}


static void
ngx_vmess_state_close(ngx_vmess_state_t *st)
{
    if (st->journal != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->journal);
        st->journal = NGX_INVALID_FILE;
    }

    if (st->snapshot != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->snapshot);
        st->snapshot = NGX_INVALID_FILE;
    }
}


/*
 * What a worker counted is in memory that others share, so if one of them holds
 * the lock it will see to it; unless it has done so just now, to end as well:
 * therefore it looks again when somebody has come here meanwhile.
 */

void
ngx_vmess_state_exit_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    ngx_vmess_conf_t     *vcf;
    ngx_atomic_uint_t     leaving;
    ngx_vmess_zone_t    **zone;
    ngx_vmess_state_t    *st;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        st = zone[i]->state;

        if (st == NULL || st->timer.handler == NULL) {
            continue;
        }

        (void) ngx_atomic_fetch_add(&zone[i]->sh->leaving, 1);

        while (st->held || ngx_vmess_state_lock(st) == NGX_OK) {

            leaving = zone[i]->sh->leaving;

            ngx_vmess_state_unlock(st);

            if (leaving == zone[i]->sh->leaving) {
                break;
            }
        }
    }
}
