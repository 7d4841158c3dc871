
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state.h"
#include "ngx_vmess_state_dir.h"
#include "ngx_vmess_state_load.h"
#include "ngx_vmess_state_user.h"
#include <sys/eventfd.h>


#define NGX_VMESS_STATE_INTERVAL  1000   /* ms */

/* a snapshot is made when the journal is larger than this, and than the last */

#define NGX_VMESS_STATE_JOURNAL   (1024 * 1024)

/* users looked at in one event, and bytes written */

#define NGX_VMESS_STATE_STEP      4096
#define NGX_VMESS_STATE_BUFFER    NGX_VMESS_JOURNAL_PART_MAX

/* seconds between complaints, and that a later master is given to come back */

#define NGX_VMESS_STATE_COMPLAIN  60
#define NGX_VMESS_STATE_GRACE     5

/* ms: until it is looked again whether a list is applied, and how long it may */

#define NGX_VMESS_STATE_SOON      20
#define NGX_VMESS_STATE_PATIENCE  5000


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
    ngx_msec_t                 since;      /* this round is to be, 0: none is */
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
    unsigned                   counters:1; /* are due as well */
    unsigned                   quick:1;    /* this pass leaves them out */
    unsigned                   closing:1;  /* the last one */
    unsigned                   open:1;     /* a group has no end yet */
    unsigned                   copied_all:1; /* into the snapshot */
    unsigned                   needed:1;   /* a snapshot: files lack something
                                              that users say they have */
    unsigned                   failed:1;
    unsigned                   lost:1;     /* who has gone, by name */
};


static ngx_int_t ngx_vmess_state_init_zone(ngx_vmess_zone_t *zone,
    ngx_uint_t live, ngx_log_t *log);
static void ngx_vmess_state_cleanup(void *data);
static void ngx_vmess_state_timer_handler(ngx_event_t *ev);
static void ngx_vmess_state_wake_handler(ngx_event_t *ev);
static void ngx_vmess_state_round(ngx_vmess_state_t *st);
static void ngx_vmess_state_step_handler(ngx_event_t *ev);
static ngx_uint_t ngx_vmess_state_ready(ngx_vmess_state_t *st);
static void ngx_vmess_state_next(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_lock(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_lock_get(ngx_vmess_state_t *st);
static void ngx_vmess_state_lock_release(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_lock_settle(ngx_vmess_state_t *st);
static ngx_uint_t ngx_vmess_state_lock_elsewhere(ngx_vmess_state_t *st);
static void ngx_vmess_state_listen(ngx_vmess_state_t *st);
static ngx_uint_t ngx_vmess_state_lock_outdated(ngx_vmess_state_t *st);
static void ngx_vmess_state_lock_claim(ngx_vmess_state_t *st, ngx_uint_t gone);
static void ngx_vmess_state_unlock(ngx_vmess_state_t *st);
static void ngx_vmess_state_write_last(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_flush(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_file_start(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_file_begin(ngx_vmess_state_t *st);
static void ngx_vmess_state_file_check_base(ngx_vmess_state_t *st,
    ngx_array_t *snapshots);
static ngx_fd_t ngx_vmess_state_file_create(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, off_t *size);
static ngx_int_t ngx_vmess_state_file_publish(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, ngx_fd_t fd);
static ngx_int_t ngx_vmess_state_write_count(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_commit(ngx_vmess_state_t *st);
static void ngx_vmess_state_write_tell(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_copy(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_write_finish(ngx_vmess_state_t *st);
static u_char *ngx_vmess_state_write_users(ngx_vmess_state_t *st,
    ngx_uint_t *next, ngx_vmess_state_round_t *round);
static u_char *ngx_vmess_state_write_end(u_char *p);
static ngx_int_t ngx_vmess_state_file_write(ngx_vmess_state_t *st, ngx_fd_t fd,
    u_char *p, u_char *last, off_t *size);
static ngx_int_t ngx_vmess_state_file_failed(ngx_vmess_state_t *st, char *what);
static void ngx_vmess_state_file_close(ngx_vmess_state_t *st);


static u_char  ngx_vmess_state_write_buffer[NGX_VMESS_STATE_BUFFER];


ngx_int_t
ngx_vmess_state_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone, ngx_str_t *name)
{
    ngx_path_t          *path;
    ngx_vmess_state_t   *st;
    ngx_pool_cleanup_t  *cln;

    st = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_state_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (st == NULL || cln == NULL) {
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

    /* workers have it from the master, whoever of them will write */

    st->wake = eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK);

    if (st->wake == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "eventfd() failed");
        return NGX_ERROR;
    }

    cln->handler = ngx_vmess_state_cleanup;
    cln->data = st;

    st->zone = zone;

    zone->state = st;
    zone->load = ngx_vmess_state_init_zone;

    return NGX_OK;
}


static void
ngx_vmess_state_cleanup(void *data)
{
    ngx_vmess_state_t *st = data;

    (void) close(st->wake);
}


static ngx_int_t
ngx_vmess_state_init_zone(ngx_vmess_zone_t *zone, ngx_uint_t live,
    ngx_log_t *log)
{
    ngx_vmess_state_t  *st;

    st = zone->state;

    st->directory = ngx_crc32_long(st->path.name.data, st->path.name.len);
    st->configuration = ++zone->sh->configurations;

    /* the zone has it already */

    if (zone->sh->claim) {
        return NGX_OK;
    }

    /* users of another memory do not know what of them is in files */

    zone->sh->unclean = live;

    return ngx_vmess_state_load(zone, &st->path.name, !live, log);
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

        /* of a worker that died in this slot */

        zone[i]->sh->workers[ngx_process_slot].changing = 0;

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

        if (st->held && !ngx_vmess_state_ready(st)) {
            ngx_add_timer(ev, NGX_VMESS_STATE_SOON);
            return;
        }

        ngx_vmess_state_unlock(st);
        return;
    }

    ngx_add_timer(ev, NGX_VMESS_STATE_INTERVAL);

    if (!st->held && ngx_vmess_state_lock(st) != NGX_OK) {
        return;
    }

    if (ngx_vmess_state_lock_outdated(st)
        || ngx_vmess_state_lock_elsewhere(st))
    {
        ngx_vmess_state_unlock(st);
        return;
    }

    /* when the zone was last in use */

    (void) futimens(st->lock, NULL);

    st->counters = 1;

    ngx_vmess_state_round(st);
}


/* somebody waits for what was changed to be saved */

static void
ngx_vmess_state_wake_handler(ngx_event_t *ev)
{
    uint64_t             n;
    ngx_connection_t    *c;
    ngx_vmess_state_t   *st;

    c = ev->data;
    st = c->data;

    if (read(c->fd, &n, sizeof(uint64_t)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, ngx_errno,
                      "read() of an eventfd failed");
    }

    /* a round that is being made is followed by another one */

    if (!st->writing && st->zone->sh->asked != st->zone->sh->saved) {
        ngx_vmess_state_round(st);
    }
}


static void
ngx_vmess_state_round(ngx_vmess_state_t *st)
{
    if (ngx_vmess_state_lock_elsewhere(st)
        || (st->journal == NGX_INVALID_FILE
            && ngx_vmess_state_file_start(st) != NGX_OK))
    {
        return;
    }

    /*
     * A journal is read after its snapshot, so it must not say what was before
     * that looked at a user.
     */

    if (st->snapshot == NGX_INVALID_FILE || st->copied_all) {
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

    if (!st->held || st->journal == NGX_INVALID_FILE
        || ngx_vmess_state_lock_elsewhere(st))
    {
        return;
    }

    rc = NGX_OK;

    if (st->writing) {

        if (st->user == 0 && !ngx_vmess_state_ready(st)) {
            st->writing = 0;
            ngx_add_timer(&st->timer, NGX_VMESS_STATE_SOON);
            return;
        }

        rc = ngx_vmess_state_write_count(st);

        if (rc == NGX_OK) {
            rc = ngx_vmess_state_write_commit(st);
        }

    } else if (st->snapshot != NGX_INVALID_FILE) {
        rc = ngx_vmess_state_write_copy(st);
    }

    if (rc != NGX_ERROR) {
        ngx_vmess_state_next(st);
    }
}


/*
 * A list that is applied in several turns is to be in one group: none is begun
 * amid it, for some time.
 */

static ngx_uint_t
ngx_vmess_state_ready(ngx_vmess_state_t *st)
{
    uint32_t              pid;
    ngx_uint_t            i;
    ngx_vmess_zone_sh_t  *sh;

    sh = st->zone->sh;

    if (st->since == 0) {
        st->since = ngx_current_msec;
    }

    st->begun = sh->begun;

    ngx_vmess_memory_barrier();

    if (ngx_current_msec - st->since >= NGX_VMESS_STATE_PATIENCE) {
        return 1;
    }

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {

        pid = sh->workers[i].changing;

        if (pid && (kill((ngx_pid_t) pid, 0) == 0 || ngx_errno != NGX_ESRCH)) {
            return 0;
        }
    }

    return 1;
}


/* rounds for those who wait and parts of a snapshot take turns */

static void
ngx_vmess_state_next(ngx_vmess_state_t *st)
{
    if (!st->writing) {

        if (st->snapshot == NGX_INVALID_FILE
            && (st->lost
                || st->size > ngx_max(NGX_VMESS_STATE_JOURNAL, st->last)))
        {
            /* who is not in the snapshot is not there */

            st->needed |= st->lost;

            ngx_vmess_state_file_close(st);

            if (ngx_vmess_state_file_start(st) != NGX_OK) {
                return;
            }

        } else if (st->snapshot == NGX_INVALID_FILE
                   && (st->counters || st->zone->sh->asked != st->asked))
        {
            st->writing = 1;
        }
    }

    if (st->writing || st->snapshot != NGX_INVALID_FILE) {
        ngx_post_event(&st->step, &ngx_posted_next_events);
    }
}


static ngx_int_t
ngx_vmess_state_lock(ngx_vmess_state_t *st)
{
    if (ngx_vmess_state_lock_get(st) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_vmess_state_listen(st);

    return NGX_OK;
}


/*
 * Gets the lock, which a worker of the same master may have.  That of another
 * master, which was started later, is not disturbed: this is an old worker.  If
 * an earlier master has it, the claim tells it to give way.
 */

static ngx_int_t
ngx_vmess_state_lock_get(ngx_vmess_state_t *st)
{
    u_char         path[NGX_MAX_PATH];
    ngx_uint_t     gone;
    struct flock   fl;

    if (st->lock == NGX_INVALID_FILE) {

        ngx_sprintf(path, "%V" NGX_VMESS_STATE_LOCK "%Z", &st->path.name);

        st->lock = ngx_open_file(path, NGX_FILE_RDWR|O_CLOEXEC|O_NOFOLLOW,
                                 NGX_FILE_CREATE_OR_OPEN,
                                 NGX_FILE_OWNER_ACCESS);

        if (st->lock == NGX_INVALID_FILE) {
            return ngx_vmess_state_file_failed(st, "opening the lock in");
        }
    }

    ngx_memzero(&fl, sizeof(struct flock));

    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    gone = ngx_vmess_state_lock_outdated(st);

    if (gone) {

        /* or has the lock */

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
        ngx_vmess_state_lock_claim(st, 0);
        return NGX_DECLINED;
    }

    if (ngx_vmess_state_lock_settle(st) != NGX_OK) {
        return NGX_DECLINED;
    }

    st->held = 1;
    st->seconds = 0;

    /* one who died may have taken for written what is in no file */

    st->needed = st->zone->sh->unclean;

    ngx_vmess_state_lock_claim(st, gone);

    return NGX_OK;
}


/*
 * Notes in users are about one directory.  If a later configuration has another
 * one, the notes are worth nothing there, and old workers make no more of them:
 * those are waited for.
 */

static ngx_int_t
ngx_vmess_state_lock_settle(ngx_vmess_state_t *st)
{
    uint32_t              last;
    ngx_vmess_zone_sh_t  *sh;

    sh = st->zone->sh;
    last = sh->directory;

    if (last && last != st->directory && st->configuration < sh->writer) {
        ngx_vmess_state_lock_release(st);
        return NGX_DECLINED;
    }

    sh->writer = ngx_max(sh->writer, st->configuration);

    if (last == st->directory) {
        return NGX_OK;
    }

    sh->unclean |= (last != 0);

    ngx_vmess_memory_barrier();

    sh->directory = st->directory;

    return (last == 0 || ngx_exiting || ngx_terminate) ? NGX_OK : NGX_AGAIN;
}


static ngx_uint_t
ngx_vmess_state_lock_elsewhere(ngx_vmess_state_t *st)
{
    return st->zone->sh->directory != st->directory;
}


/* who writes hears of those who wait; without that, once a second */

static void
ngx_vmess_state_listen(ngx_vmess_state_t *st)
{
    ngx_connection_t  *c;

    if (ngx_exiting) {
        return;
    }

    c = ngx_get_connection(st->wake, ngx_cycle->log);
    if (c == NULL) {
        return;
    }

    c->data = st;
    c->read->handler = ngx_vmess_state_wake_handler;
    c->read->log = ngx_cycle->log;
    c->read->channel = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        return;
    }

    st->connection = c;
}


/* a later memory has read files, or will: then it is who writes */

static ngx_uint_t
ngx_vmess_state_lock_outdated(ngx_vmess_state_t *st)
{
    return ngx_vmess_state_load_claim(st->lock) > st->zone->sh->claim;
}


/* that of a later memory stays, unless it is gone */

static void
ngx_vmess_state_lock_claim(ngx_vmess_state_t *st, ngx_uint_t gone)
{
    uint64_t  n, last;

    n = st->zone->sh->claim;
    last = ngx_vmess_state_load_claim(st->lock);

    if ((last < n || (last > n && gone))
        && ngx_vmess_state_load_set_claim(st->lock, n, NULL) != NGX_OK)
    {
        (void) ngx_vmess_state_file_failed(st, "writing the lock in");
    }
}


/* what was counted until now is written before */

static void
ngx_vmess_state_unlock(ngx_vmess_state_t *st)
{
    ngx_connection_t  *c;

    if (st->held && !ngx_vmess_state_lock_elsewhere(st)) {
        ngx_vmess_state_write_last(st);
    }

    ngx_vmess_state_file_close(st);

    c = st->connection;

    if (c) {
        st->connection = NULL;

        (void) ngx_del_event(c->read, NGX_READ_EVENT, 0);

        if (c->read->posted) {
            ngx_delete_posted_event(c->read);
        }

        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
    }

    ngx_vmess_state_lock_release(st);
}


static void
ngx_vmess_state_lock_release(ngx_vmess_state_t *st)
{
    if (st->lock != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->lock);
        st->lock = NGX_INVALID_FILE;
    }

    st->held = 0;
}


static void
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


/* a journal and a snapshot, of which parts are written in events that follow */

static ngx_int_t
ngx_vmess_state_file_start(ngx_vmess_state_t *st)
{
    if (ngx_vmess_state_file_begin(st) != NGX_OK) {
        return NGX_ERROR;
    }

    st->snapshot = ngx_vmess_state_file_create(st, NGX_VMESS_JOURNAL_SNAPSHOT,
                                          &st->last);

    if (st->snapshot == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    /* users are noted as saved when they are copied */

    if (st->needed) {
        st->zone->sh->unclean = 1;
    }

    st->copied = 0;
    st->copied_all = 0;
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
ngx_vmess_state_file_begin(ngx_vmess_state_t *st)
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

        ngx_vmess_state_file_check_base(st, &files.snapshots);

        if (files.journals.nelts) {
            n = files.journals.elts;
            st->number = ngx_max(st->number,
                                 n[files.journals.nelts - 1] + 1);
        }
    }

    ngx_destroy_pool(pool);

    if (rc != NGX_OK) {
        return ngx_vmess_state_file_failed(st, "reading");
    }

    fd = ngx_vmess_state_file_create(st, NGX_VMESS_JOURNAL_CHANGES, &st->size);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    st->journal = fd;

    if (ngx_vmess_state_file_publish(st, NGX_VMESS_JOURNAL_CHANGES, fd)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* after a reload the directory may be another one, with numbers of its own */

static void
ngx_vmess_state_file_check_base(ngx_vmess_state_t *st, ngx_array_t *snapshots)
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
ngx_vmess_state_file_create(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, off_t *size)
{
    u_char                       path[NGX_MAX_PATH], *p;
    u_char                       buf[NGX_VMESS_JOURNAL_HEADER_MAX];
    ngx_fd_t                     fd;
    ngx_vmess_journal_header_t   header;

    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, ".tmp");

    fd = ngx_open_file(path, NGX_FILE_WRONLY|O_CLOEXEC|O_NOFOLLOW,
                       NGX_FILE_TRUNCATE, NGX_FILE_OWNER_ACCESS);

    if (fd == NGX_INVALID_FILE) {
        (void) ngx_vmess_state_file_failed(st, "creating a file in");
        return NGX_INVALID_FILE;
    }

    header.kind = kind;
    header.number = st->number;
    header.time = ngx_time();
    header.zone = st->zone->name;

    p = ngx_vmess_journal_create_header(buf, &header);

    *size = 0;

    if (ngx_vmess_state_file_write(st, fd, buf, p, size) != NGX_OK) {
        (void) ngx_close_file(fd);
        return NGX_INVALID_FILE;
    }

    return fd;
}


/* a file that is whole and on the disk gets its name, and the name is, too */

static ngx_int_t
ngx_vmess_state_file_publish(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, ngx_fd_t fd)
{
    u_char  tmp[NGX_MAX_PATH], path[NGX_MAX_PATH];

    ngx_vmess_state_dir_name(tmp, &st->path.name, kind, st->number, ".tmp");
    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, "");

    if (fsync(fd) == -1
        || ngx_rename_file(tmp, path) == NGX_FILE_ERROR
        || ngx_vmess_state_dir_sync(&st->path.name) != NGX_OK)
    {
        return ngx_vmess_state_file_failed(st, "saving a file in");
    }

    return NGX_OK;
}


/*
 * What has changed of some users; NGX_AGAIN if there are more.  All of a round
 * is one group, and the round goes on until there was a pass over all users in
 * which no list was applied.  Each part is on the disk before the next, so that
 * none of the calls takes long, and what a crash leaves has no holes.
 */

static ngx_int_t
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
                || ngx_current_msec - st->since >= NGX_VMESS_STATE_PATIENCE));

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

        if (fdatasync(st->journal) == -1) {
            return ngx_vmess_state_file_failed(st, "fdatasync() of a journal in");
        }

        st->open = !last;
    }

    return last ? NGX_OK : NGX_AGAIN;
}


/* a round has ended: what was changed before it is saved, and told to be */

static ngx_int_t
ngx_vmess_state_write_commit(ngx_vmess_state_t *st)
{
    st->writing = 0;
    st->since = 0;

    ngx_vmess_state_write_tell(st);

    /* half of a list that the snapshot may have is whole in the journal now */

    if (st->copied_all) {

        if (ngx_vmess_state_write_finish(st) != NGX_OK) {
            return NGX_ERROR;
        }

        st->copied_all = 0;
        st->needed = 0;

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

static ngx_int_t
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

    /* until there is a snapshot, a round does not help those who wait */

    st->writing = (st->copied_all
                   || (!st->needed && st->zone->sh->asked != st->asked));

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


static ngx_int_t
ngx_vmess_state_file_write(ngx_vmess_state_t *st, ngx_fd_t fd, u_char *p,
    u_char *last, off_t *size)
{
    ssize_t  n;

    while (p < last) {

        n = ngx_write_fd(fd, p, last - p);

        if (n == -1) {
            return ngx_vmess_state_file_failed(st, "writing a file in");
        }

        *size += n;
        p += n;
    }

    return NGX_OK;
}


/* nothing more is written to a file that may end within a record */

static ngx_int_t
ngx_vmess_state_file_failed(ngx_vmess_state_t *st, char *what)
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
    st->needed = 1;

    /* who waits is told */

    st->zone->sh->unsaved = st->zone->sh->asked;

    ngx_vmess_state_file_close(st);

    return NGX_ERROR;
}


static void
ngx_vmess_state_file_close(ngx_vmess_state_t *st)
{
    st->writing = 0;
    st->open = 0;
    st->since = 0;

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


void
ngx_vmess_state_begin_list(ngx_vmess_zone_t *zone)
{
    if (zone->lists++ == 0) {
        zone->sh->workers[ngx_process_slot].changing = ngx_pid;
    }

    /* seen before the number is another one */

    ngx_vmess_memory_barrier();

    (void) ngx_atomic_fetch_add(&zone->sh->begun, 1);
}


void
ngx_vmess_state_end_list(ngx_vmess_zone_t *zone)
{
    ngx_vmess_memory_barrier();

    if (--zone->lists == 0) {
        zone->sh->workers[ngx_process_slot].changing = 0;
    }
}


ngx_uint_t
ngx_vmess_state_ask(ngx_vmess_zone_t *zone)
{
    uint64_t    n;
    ngx_uint_t  number;

    if (zone->state == NULL) {
        return 0;
    }

    number = ngx_atomic_fetch_add(&zone->sh->asked, 1) + 1;

    n = 1;

    if (write(zone->state->wake, &n, sizeof(uint64_t)) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "write() to an eventfd failed");
    }

    return number;
}


ngx_int_t
ngx_vmess_state_saved(ngx_vmess_zone_t *zone, ngx_uint_t number)
{
    ngx_vmess_state_t    *st;
    ngx_vmess_zone_sh_t  *sh;

    st = zone->state;
    sh = zone->sh;

    if (number == 0 || sh->saved >= number) {
        return NGX_OK;
    }

    if (sh->unsaved >= number) {
        return NGX_DECLINED;
    }

    /* who has the lock may have gone for ever */

    if (ngx_exiting && !st->held) {
        st->seconds = 0;

        if (ngx_vmess_state_lock(st) == NGX_OK) {
            ngx_vmess_state_unlock(st);
        }
    }

    return sh->saved >= number ? NGX_OK : NGX_AGAIN;
}
