
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_lock.h"
#include "ngx_vmess_state_file.h"
#include "ngx_vmess_state_load.h"


/* seconds that a later master is given to come back */

#define NGX_VMESS_STATE_GRACE     5


static ngx_int_t ngx_vmess_state_lock_settle(ngx_vmess_state_t *st);
static void ngx_vmess_state_lock_claim(ngx_vmess_state_t *st, ngx_uint_t gone);


/*
 * Gets the lock, which a worker of the same master may have.  That of another
 * master, which was started later, is not disturbed: this is an old worker.  If
 * an earlier master has it, the claim tells it to give way.
 */

ngx_int_t
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
            ngx_vmess_state_file_complain(st, "opening the lock in");
            return NGX_ERROR;
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


ngx_uint_t
ngx_vmess_state_lock_elsewhere(ngx_vmess_state_t *st)
{
    return st->zone->sh->directory != st->directory;
}


/* a later memory has read files, or will: then it is who writes */

ngx_uint_t
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


void
ngx_vmess_state_lock_release(ngx_vmess_state_t *st)
{
    if (st->lock != NGX_INVALID_FILE) {
        (void) ngx_close_file(st->lock);
        st->lock = NGX_INVALID_FILE;
    }

    st->held = 0;
}
