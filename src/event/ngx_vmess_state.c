
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state.h"
#include "ngx_vmess_edit.h"
#include "ngx_vmess_state_dir.h"
#include "ngx_vmess_state_load.h"
#include "ngx_vmess_state_lock.h"
#include "ngx_vmess_state_write.h"
#include <sys/eventfd.h>


/* ms; and until the second time, when workers of before a reload are to quit */

#define NGX_VMESS_STATE_INTERVAL  1000
#define NGX_VMESS_STATE_SECOND    200

/* a snapshot is made when the journal is larger than this, and than the last */

#define NGX_VMESS_STATE_JOURNAL   (1024 * 1024)

/* ms, until it is looked again whether a list is applied */

#define NGX_VMESS_STATE_SOON      20


static ngx_int_t ngx_vmess_state_init_zone(ngx_vmess_zone_t *zone,
    ngx_uint_t live, ngx_log_t *log);
static void ngx_vmess_state_cleanup(void *data);
static void ngx_vmess_state_timer_handler(ngx_event_t *ev);
static void ngx_vmess_state_wake_handler(ngx_event_t *ev);
static void ngx_vmess_state_begin_round(ngx_vmess_state_t *st);
static void ngx_vmess_state_step_handler(ngx_event_t *ev);
static ngx_uint_t ngx_vmess_state_ready(ngx_vmess_state_t *st);
static void ngx_vmess_state_next(ngx_vmess_state_t *st);
static ngx_int_t ngx_vmess_state_acquire(ngx_vmess_state_t *st);
static void ngx_vmess_state_listen(ngx_vmess_state_t *st);
static void ngx_vmess_state_give_up(ngx_vmess_state_t *st);


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

    /* workers get to own it */

    if (ngx_vmess_state_dir_foreign(&path->name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"state\" of vmess_users \"%V\": the directory "
                           "\"%V\" has other files, name one of its own",
                           &zone->name, &path->name);
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
        ngx_vmess_state_give_up(st);
        return;
    }

    ngx_add_timer(ev, st->began ? NGX_VMESS_STATE_INTERVAL
                                : NGX_VMESS_STATE_SECOND);
    st->began = 1;

    if (!st->held && ngx_vmess_state_acquire(st) != NGX_OK) {
        return;
    }

    if (ngx_vmess_state_lock_outdated(st)
        || ngx_vmess_state_lock_elsewhere(st))
    {
        ngx_vmess_state_give_up(st);
        return;
    }

    /* when the zone was last in use */

    (void) futimens(st->lock, NULL);

    st->counters = 1;

    if (st->skip) {
        st->skip--;
        return;
    }

    ngx_vmess_state_begin_round(st);
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

    /* the worker is to quit */

    if (c->close) {
        ngx_vmess_state_timer_handler(&st->timer);
        return;
    }

    if (read(c->fd, &n, sizeof(uint64_t)) == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, ev->log, ngx_errno,
                      "read() of an eventfd failed");
    }

    /* after a failure, the timer tries again */

    if (st->failed && st->journal == NGX_INVALID_FILE) {
        st->zone->sh->unsaved = st->zone->sh->asked;
        return;
    }

    /* a round that is being made is followed by another one */

    if (!st->writing && st->zone->sh->asked != st->zone->sh->saved) {
        ngx_vmess_state_begin_round(st);
    }
}


static void
ngx_vmess_state_begin_round(ngx_vmess_state_t *st)
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
    ngx_uint_t  begun;

    begun = st->zone->sh->begun;

    ngx_vmess_memory_barrier();

    if (st->wanted == 0) {
        st->wanted = ngx_current_msec;
        st->since = ngx_current_msec;
    }

    /* each list has time of its own */

    if (st->begun != begun) {
        st->begun = begun;
        st->since = ngx_current_msec;
    }

    if (ngx_current_msec - st->since >= NGX_VMESS_STATE_PATIENCE
        || ngx_current_msec - st->wanted >= NGX_VMESS_STATE_LISTS)
    {
        return 1;
    }

    return !ngx_vmess_edit_is_applied(st->zone);
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
ngx_vmess_state_acquire(ngx_vmess_state_t *st)
{
    if (ngx_vmess_state_lock_get(st) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_vmess_state_listen(st);

    return NGX_OK;
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
    c->idle = 1;
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


/*
 * What was counted until now is written before.  If a list is being applied,
 * the worker that does so writes all when it has, or who gets the lock then.
 */

static void
ngx_vmess_state_give_up(ngx_vmess_state_t *st)
{
    ngx_connection_t  *c;

    if (st->held && !ngx_vmess_state_lock_elsewhere(st)
        && ngx_vmess_state_ready(st))
    {
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

        while (st->held || ngx_vmess_state_acquire(st) == NGX_OK) {

            leaving = zone[i]->sh->leaving;

            ngx_vmess_state_give_up(st);

            if (leaving == zone[i]->sh->leaving) {
                break;
            }
        }
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
    ngx_uint_t            seconds;
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

    /* who had the lock may have gone just now, or for ever */

    if (!st->held) {
        seconds = st->seconds;

        if (ngx_vmess_state_acquire(st) != NGX_OK) {
            st->seconds = seconds;

        } else if (ngx_exiting) {
            ngx_vmess_state_give_up(st);

        } else {
            ngx_vmess_state_begin_round(st);
        }
    }

    return sh->saved >= number ? NGX_OK : NGX_AGAIN;
}
