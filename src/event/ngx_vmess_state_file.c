
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_file.h"
#include "ngx_vmess_state_dir.h"


/* seconds between attempts when one after the other fails */

#define NGX_VMESS_STATE_PAUSE     15


static void ngx_vmess_state_file_check_base(ngx_vmess_state_t *st,
    ngx_array_t *snapshots);
static ngx_fd_t ngx_vmess_state_file_create(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, off_t *size);
static void ngx_vmess_state_file_delete(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, char *suffix);


/* a journal and a snapshot, of which parts are written in events that follow */

ngx_int_t
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

    return NGX_OK;
}


/*
 * Begins the next journal.  It is given its name when it has a header, so that
 * a file without one is never right.
 */

ngx_int_t
ngx_vmess_state_file_begin(ngx_vmess_state_t *st)
{
    ngx_fd_t                   fd;
    uint64_t                  *n;
    ngx_int_t                  rc;
    ngx_pool_t                *pool;
    ngx_vmess_state_files_t    files;

    /* a worker that died may have left something that takes room */

    (void) ngx_vmess_state_dir_clean(&st->path.name, 0);

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return ngx_vmess_state_file_failed(st, "reading");
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
    st->kept = 0;

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
        (void) ngx_delete_file(path);
        return NGX_INVALID_FILE;
    }

    return fd;
}


/* a file that is whole and on the disk gets its name, and the name is, too */

ngx_int_t
ngx_vmess_state_file_publish(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, ngx_fd_t fd)
{
    u_char  tmp[NGX_MAX_PATH], path[NGX_MAX_PATH];

    ngx_vmess_state_dir_name(tmp, &st->path.name, kind, st->number, ".tmp");
    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, "");

    if (fsync(fd) == -1 || ngx_rename_file(tmp, path) == NGX_FILE_ERROR) {
        return ngx_vmess_state_file_failed(st, "saving a file in");
    }

    /* a snapshot that is on the disk is not read without its journal */

    st->kept |= (kind == NGX_VMESS_JOURNAL_SNAPSHOT);

    if (ngx_vmess_state_dir_sync(&st->path.name) != NGX_OK) {
        (void) ngx_vmess_state_file_failed(st, "saving a file in");
        (void) ngx_delete_file(path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
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

ngx_int_t
ngx_vmess_state_file_failed(ngx_vmess_state_t *st, char *what)
{
    ngx_vmess_state_file_complain(st, what);

    st->needed = 1;

    st->skip = st->pause;
    st->pause = ngx_min(2 * st->pause + 1, NGX_VMESS_STATE_PAUSE);

    /* who waits is told */

    st->zone->sh->unsaved = st->zone->sh->asked;

    /* a journal without anything would stay for each attempt */

    if (st->journal != NGX_INVALID_FILE && !st->kept) {
        ngx_vmess_state_file_delete(st, NGX_VMESS_JOURNAL_CHANGES, ".tmp");
        ngx_vmess_state_file_delete(st, NGX_VMESS_JOURNAL_CHANGES, "");
    }

    ngx_vmess_state_file_close(st);

    return NGX_ERROR;
}


void
ngx_vmess_state_file_complain(ngx_vmess_state_t *st, char *what)
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
}


/* if it stays, it is deleted with the next snapshot */

static void
ngx_vmess_state_file_delete(ngx_vmess_state_t *st,
    ngx_vmess_journal_kind_e kind, char *suffix)
{
    u_char  path[NGX_MAX_PATH];

    ngx_vmess_state_dir_name(path, &st->path.name, kind, st->number, suffix);

    (void) ngx_delete_file(path);
}


void
ngx_vmess_state_file_works(ngx_vmess_state_t *st)
{
    st->pause = 0;

    if (st->failed) {
        st->failed = 0;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "vmess_users \"%V\": \"%V\" is written to again",
                      &st->zone->name, &st->path.name);
    }
}


void
ngx_vmess_state_file_close(ngx_vmess_state_t *st)
{
    st->writing = 0;
    st->open = 0;
    st->wanted = 0;

    if (st->journal != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->journal);
        st->journal = NGX_INVALID_FILE;
    }

    if (st->snapshot != NGX_INVALID_FILE) {
        ngx_vmess_state_file_delete(st, NGX_VMESS_JOURNAL_SNAPSHOT, ".tmp");

        (void) ngx_close_file(st->snapshot);
        st->snapshot = NGX_INVALID_FILE;
    }
}
