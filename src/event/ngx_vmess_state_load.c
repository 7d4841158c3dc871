
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_load.h"
#include "ngx_vmess_state_dir.h"
#include "ngx_vmess_state_user.h"


/* how often the files are listed anew, as a worker may delete old ones */

#define NGX_VMESS_STATE_TRIES   5

/*
 * An id may be used until this many seconds after it was sent: it may be ahead
 * of the clock as far as behind it.  The time of the lock is a minute late at
 * most, be it that of a file system that writes it lazily.
 */

#define NGX_VMESS_STATE_WINDOW  (2 * NGX_VMESS_TIME_WINDOW + 60)


typedef struct {
    u_char                    *data;
    size_t                     len;
} ngx_vmess_state_content_t;


typedef struct {
    ngx_vmess_zone_t          *zone;
    ngx_str_t                 *dir;
    ngx_pool_t                *pool;
    ngx_log_t                 *log;
    ngx_vmess_state_files_t    files;
    ngx_array_t                contents;   /* of those that are good */
    u_char                     path[NGX_MAX_PATH];
} ngx_vmess_state_load_t;


static ngx_int_t ngx_vmess_state_load_files(ngx_vmess_state_load_t *load);
static ngx_int_t ngx_vmess_state_load_snapshot(ngx_vmess_state_load_t *load,
    uint64_t *first);
static ngx_int_t ngx_vmess_state_load_journals(ngx_vmess_state_load_t *load,
    uint64_t first);
static ngx_int_t ngx_vmess_state_load_file(ngx_vmess_state_load_t *load,
    ngx_vmess_journal_kind_e kind, uint64_t number);
static ngx_int_t ngx_vmess_state_load_content(ngx_vmess_state_load_t *load,
    ngx_vmess_state_content_t *content);
static ngx_int_t ngx_vmess_state_load_check(ngx_vmess_state_load_t *load,
    ngx_vmess_state_content_t *content, ngx_vmess_journal_kind_e kind,
    uint64_t number);
static ngx_int_t ngx_vmess_state_load_error(ngx_vmess_state_load_t *load,
    const char *err, off_t offset);
static ngx_int_t ngx_vmess_state_load_apply(ngx_vmess_state_load_t *load);
static ngx_int_t ngx_vmess_state_load_lock(ngx_vmess_state_load_t *load);


ngx_int_t
ngx_vmess_state_load(ngx_vmess_zone_t *zone, ngx_str_t *dir, ngx_uint_t apply,
    ngx_log_t *log)
{
    ngx_int_t                rc;
    ngx_uint_t               tries;
    ngx_vmess_state_load_t   load;

    ngx_memzero(&load, offsetof(ngx_vmess_state_load_t, path));

    load.zone = zone;
    load.dir = dir;
    load.log = log;

    tries = NGX_VMESS_STATE_TRIES;

    do {
        load.pool = ngx_create_pool(4096, log);
        if (load.pool == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_vmess_state_load_files(&load);

        if (rc == NGX_OK && apply) {
            rc = ngx_vmess_state_load_apply(&load);
        }

        ngx_destroy_pool(load.pool);

    } while (rc == NGX_AGAIN && --tries);

    if (rc == NGX_AGAIN) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "vmess_users \"%V\": \"%s\" is missing, restore "
                      "\"%V\" from a copy, or move it away to begin without "
                      "it", &zone->name, load.path, dir);
    }

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


/* NGX_AGAIN: a file is not there any more */

static ngx_int_t
ngx_vmess_state_load_files(ngx_vmess_state_load_t *load)
{
    uint64_t   first;
    ngx_int_t  rc;

    if (ngx_array_init(&load->contents, load->pool, 8,
                       sizeof(ngx_vmess_state_content_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what others confirm from here on they do knowing of this */

    if (ngx_vmess_state_load_lock(load) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_vmess_state_dir_list(load->dir, &load->files, load->pool)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, load->log, ngx_errno,
                      "vmess_users \"%V\": reading directory \"%V\" failed",
                      &load->zone->name, load->dir);
        return NGX_ERROR;
    }

    rc = ngx_vmess_state_load_snapshot(load, &first);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_vmess_state_load_journals(load, first);
}


/* the newest good one, or none if all that happened is in journals */

static ngx_int_t
ngx_vmess_state_load_snapshot(ngx_vmess_state_load_t *load, uint64_t *first)
{
    uint64_t    *number, *journal;
    ngx_int_t    rc;
    ngx_uint_t   n;

    number = load->files.snapshots.elts;
    journal = load->files.journals.elts;

    for (n = load->files.snapshots.nelts; n; n--) {

        rc = ngx_vmess_state_load_file(load, NGX_VMESS_JOURNAL_SNAPSHOT,
                                       number[n - 1]);

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_ALERT, load->log, 0,
                          "vmess_users \"%V\": \"%s\" is not whole, that "
                          "before it is used",
                          &load->zone->name, load->path);
            continue;
        }

        if (rc == NGX_OK) {
            *first = number[n - 1];
            load->zone->sh->base = *first;
        }

        return rc;
    }

    *first = 1;

    if (load->files.snapshots.nelts
        && (load->files.journals.nelts == 0 || journal[0] != 1))
    {
        ngx_log_error(NGX_LOG_EMERG, load->log, 0,
                      "vmess_users \"%V\": there is no good snapshot in "
                      "\"%V\", restore it from a copy, or move it away to "
                      "begin without it", &load->zone->name, load->dir);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* all from that number on, to the last of any kind of file */

static ngx_int_t
ngx_vmess_state_load_journals(ngx_vmess_state_load_t *load, uint64_t first)
{
    uint64_t    n, last, *number;
    ngx_int_t   rc;

    last = 0;

    if (load->files.snapshots.nelts) {
        number = load->files.snapshots.elts;
        last = number[load->files.snapshots.nelts - 1];
    }

    if (load->files.journals.nelts) {
        number = load->files.journals.elts;
        last = ngx_max(last, number[load->files.journals.nelts - 1]);
    }

    for (n = first; n <= last; n++) {

        rc = ngx_vmess_state_load_file(load, NGX_VMESS_JOURNAL_CHANGES, n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/*
 * Reads a file and looks at all of it.
 *
 * NGX_OK        it is good, and now one of load->contents
 * NGX_DECLINED  a snapshot is damaged
 * NGX_AGAIN     it is not there
 * NGX_ERROR     anything else, which was logged
 */

static ngx_int_t
ngx_vmess_state_load_file(ngx_vmess_state_load_t *load,
    ngx_vmess_journal_kind_e kind, uint64_t number)
{
    ngx_int_t                   rc;
    ngx_vmess_state_content_t  *content, c;

    ngx_vmess_state_dir_name(load->path, load->dir, kind, number, "");

    rc = ngx_vmess_state_load_content(load, &c);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_vmess_state_load_check(load, &c, kind, number);

    if (rc != NGX_OK) {
        return rc;
    }

    content = ngx_array_push(&load->contents);
    if (content == NULL) {
        return NGX_ERROR;
    }

    *content = c;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_state_load_content(ngx_vmess_state_load_t *load,
    ngx_vmess_state_content_t *content)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_err_t         err;
    ngx_file_info_t   fi;

    fd = ngx_open_file(load->path, NGX_FILE_RDONLY|O_CLOEXEC, NGX_FILE_OPEN,
                       0);

    if (fd == NGX_INVALID_FILE) {
        err = ngx_errno;

        if (err == NGX_ENOENT) {
            return NGX_AGAIN;
        }

        goto failed;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        err = ngx_errno;
        goto failed;
    }

    content->len = 0;
    content->data = ngx_palloc(load->pool, ngx_file_size(&fi) + 1);

    if (content->data == NULL) {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    /* what another process writes meanwhile does not matter */

    while (content->len < (size_t) ngx_file_size(&fi)) {

        n = ngx_read_fd(fd, content->data + content->len,
                        ngx_file_size(&fi) - content->len);

        if (n == -1) {
            err = ngx_errno;
            goto failed;
        }

        if (n == 0) {
            break;
        }

        content->len += n;
    }

    (void) ngx_close_file(fd);

    return NGX_OK;

failed:

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    ngx_log_error(NGX_LOG_EMERG, load->log, err,
                  "vmess_users \"%V\": reading \"%s\" failed",
                  &load->zone->name, load->path);

    return NGX_ERROR;
}


static ngx_int_t
ngx_vmess_state_load_check(ngx_vmess_state_load_t *load,
    ngx_vmess_state_content_t *content, ngx_vmess_journal_kind_e kind,
    uint64_t number)
{
    ngx_int_t                    rc;
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_record_t   record;

    if (ngx_vmess_journal_open(&j, content->data, content->len,
                               &load->zone->name)
        != NGX_OK)
    {
        return ngx_vmess_state_load_error(load, j.err, 0);
    }

    if (j.header.kind != kind || j.header.number != number) {
        return ngx_vmess_state_load_error(load, "was given another name", 0);
    }

    while ((rc = ngx_vmess_journal_group(&j)) == NGX_OK) {

        while ((rc = ngx_vmess_journal_next(&j, &record)) == NGX_OK) {
            /* void */
        }

        if (rc == NGX_ERROR) {
            break;
        }
    }

    if (kind == NGX_VMESS_JOURNAL_SNAPSHOT) {
        return (rc == NGX_DONE && j.finished) ? NGX_OK : NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        return ngx_vmess_state_load_error(load, j.err, j.offset);
    }

    if (rc == NGX_AGAIN) {
        ngx_log_error(NGX_LOG_WARN, load->log, 0,
                      "vmess_users \"%V\": the end of \"%s\" was not written, "
                      "it is left out from offset %O on",
                      &load->zone->name, load->path, j.offset);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_state_load_error(ngx_vmess_state_load_t *load, const char *err,
    off_t offset)
{
    ngx_log_error(NGX_LOG_EMERG, load->log, 0,
                  "vmess_users \"%V\": \"%s\" %s, at offset %O; restore "
                  "\"%V\" from a copy, use the zone and the version that wrote "
                  "it, or move it away to begin without it",
                  &load->zone->name, load->path, err, offset, load->dir);

    return NGX_ERROR;
}


/* the snapshot, if there is one, and the journals in their order */

static ngx_int_t
ngx_vmess_state_load_apply(ngx_vmess_state_load_t *load)
{
    ngx_uint_t                   i;
    ngx_vmess_journal_t          j;
    ngx_vmess_state_content_t   *content;
    ngx_vmess_journal_record_t   record;

    content = load->contents.elts;

    for (i = 0; i < load->contents.nelts; i++) {

        (void) ngx_vmess_journal_open(&j, content[i].data, content[i].len,
                                      &load->zone->name);

        while (ngx_vmess_journal_group(&j) == NGX_OK) {
            while (ngx_vmess_journal_next(&j, &record) == NGX_OK) {

                if (ngx_vmess_state_user_put(load->zone, &record) == NGX_OK) {
                    continue;
                }

                ngx_log_error(NGX_LOG_EMERG, load->log, 0,
                              "vmess_users \"%V\": no room for user \"%V\" of "
                              "\"%V\", give it a larger size",
                              &load->zone->name, &record.name, load->dir);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/*
 * Its time tells whether the zone was in use just now: then ids of before may
 * have been used, and nobody knows which.  The claim tells workers of another
 * master, or of memory that is replaced, that what they write from now on may
 * not have been read here: they confirm nothing any more.
 */

static ngx_int_t
ngx_vmess_state_load_lock(ngx_vmess_state_load_t *load)
{
    ngx_fd_t              fd;
    ngx_time_t           *tp;
    ngx_file_info_t       fi;
    ngx_vmess_zone_sh_t  *sh;

    sh = load->zone->sh;

    tp = ngx_timeofday();
    sh->claim = (uint64_t) tp->sec * 1000 + tp->msec;

    ngx_sprintf(load->path, "%V" NGX_VMESS_STATE_LOCK "%Z", load->dir);

    /* whoever has that directory may have put anything there */

    fd = ngx_open_file(load->path,
                       (ngx_test_config ? NGX_FILE_RDONLY : NGX_FILE_RDWR)
                       |O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {

        /* nobody writes then */

        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_EISDIR
            || ngx_errno == EROFS)
        {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, load->log, ngx_errno,
                      "vmess_users \"%V\": opening \"%s\" failed",
                      &load->zone->name, load->path);
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == 0 && ngx_is_file(&fi)) {

        sh->claim = ngx_max(sh->claim, ngx_vmess_state_load_claim(fd) + 1);

        if (ngx_time() - ngx_file_mtime(&fi) <= NGX_VMESS_STATE_WINDOW
            && ngx_is_init_cycle(ngx_cycle))
        {
            sh->started = ngx_time();
        }

        if (!ngx_test_config && fi.st_nlink == 1) {
            (void) ngx_vmess_state_load_set_claim(fd, sh->claim, &fi);
        }
    }

    (void) ngx_close_file(fd);

    return NGX_OK;
}


uint64_t
ngx_vmess_state_load_claim(ngx_fd_t fd)
{
    u_char      buf[8];
    uint64_t    n;
    ngx_uint_t  i;

    if (pread(fd, buf, 8, 0) != 8) {
        return 0;
    }

    for (n = 0, i = 0; i < 8; i++) {
        n = n << 8 | buf[i];
    }

    return n;
}


ngx_int_t
ngx_vmess_state_load_set_claim(ngx_fd_t fd, uint64_t claim,
    ngx_file_info_t *fi)
{
    u_char            buf[8];
    ngx_uint_t        i;
    struct timespec   times[2];

    for (i = 0; i < 8; i++) {
        buf[i] = (u_char) (claim >> (56 - 8 * i));
    }

    if (pwrite(fd, buf, 8, 0) != 8) {
        return NGX_ERROR;
    }

    if (fi) {
        times[0] = fi->st_atim;
        times[1] = fi->st_mtim;

        (void) futimens(fd, times);
    }

    return NGX_OK;
}
