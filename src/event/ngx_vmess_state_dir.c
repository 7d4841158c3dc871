
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_state_dir.h"


static ngx_int_t ngx_vmess_state_dir_parse(ngx_str_t *name,
    ngx_vmess_journal_kind_e *kind, uint64_t *number, ngx_uint_t *tmp);
static int ngx_libc_cdecl ngx_vmess_state_dir_cmp(const void *one,
    const void *two);


static ngx_str_t  ngx_vmess_state_dir_kinds[] = {
    ngx_null_string,
    ngx_string("snapshot."),
    ngx_string("journal.")
};


void
ngx_vmess_state_dir_name(u_char *p, ngx_str_t *dir,
    ngx_vmess_journal_kind_e kind, uint64_t number, char *suffix)
{
    ngx_sprintf(p, "%V/%V%uL%s%Z", dir, &ngx_vmess_state_dir_kinds[kind],
                number, suffix);
}


/* NGX_DECLINED: a file of something else */

static ngx_int_t
ngx_vmess_state_dir_parse(ngx_str_t *name, ngx_vmess_journal_kind_e *kind,
    uint64_t *number, ngx_uint_t *tmp)
{
    off_t        n;
    ngx_str_t    s, *prefix;
    ngx_uint_t   k;

    s = *name;

    *tmp = (s.len > 4 && ngx_strncmp(s.data + s.len - 4, ".tmp", 4) == 0);

    if (*tmp) {
        s.len -= 4;
    }

    for (k = NGX_VMESS_JOURNAL_SNAPSHOT; k <= NGX_VMESS_JOURNAL_CHANGES; k++) {

        prefix = &ngx_vmess_state_dir_kinds[k];

        if (s.len <= prefix->len
            || ngx_strncmp(s.data, prefix->data, prefix->len) != 0)
        {
            continue;
        }

        n = ngx_atoof(s.data + prefix->len, s.len - prefix->len);

        if (n > 0) {
            *kind = k;
            *number = n;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_uint_t
ngx_vmess_state_dir_foreign(ngx_str_t *dir)
{
    uint64_t                  number;
    ngx_dir_t                 d;
    ngx_str_t                 name;
    ngx_uint_t                tmp, foreign;
    ngx_vmess_journal_kind_e  kind;

    if (ngx_open_dir(dir, &d) == NGX_ERROR) {
        return 0;
    }

    foreign = 0;

    while (ngx_read_dir(&d) == NGX_OK) {

        name.data = ngx_de_name(&d);
        name.len = ngx_de_namelen(&d);

        if (ngx_strcmp(name.data, "lock") == 0
            || ngx_vmess_state_dir_parse(&name, &kind, &number, &tmp) == NGX_OK)
        {
            foreign = 0;
            break;
        }

        /* a file system of its own has the last of these */

        if (ngx_strcmp(name.data, ".") != 0
            && ngx_strcmp(name.data, "..") != 0
            && ngx_strcmp(name.data, "lost+found") != 0)
        {
            foreign = 1;
        }
    }

    (void) ngx_close_dir(&d);

    return foreign;
}


ngx_int_t
ngx_vmess_state_dir_list(ngx_str_t *dir, ngx_vmess_state_files_t *files,
    ngx_pool_t *pool)
{
    uint64_t                  *p, number;
    ngx_dir_t                  d;
    ngx_str_t                  name;
    ngx_uint_t                 tmp;
    ngx_array_t               *list;
    ngx_vmess_journal_kind_e   kind;

    if (ngx_array_init(&files->snapshots, pool, 4, sizeof(uint64_t)) != NGX_OK
        || ngx_array_init(&files->journals, pool, 4, sizeof(uint64_t))
           != NGX_OK
        || ngx_open_dir(dir, &d) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    for ( ;; ) {

        ngx_set_errno(0);

        if (ngx_read_dir(&d) == NGX_ERROR) {
            break;
        }

        name.data = ngx_de_name(&d);
        name.len = ngx_de_namelen(&d);

        if (ngx_vmess_state_dir_parse(&name, &kind, &number, &tmp) != NGX_OK
            || tmp)
        {
            continue;
        }

        list = (kind == NGX_VMESS_JOURNAL_SNAPSHOT) ? &files->snapshots
                                                    : &files->journals;

        p = ngx_array_push(list);
        if (p == NULL) {
            ngx_set_errno(NGX_ENOMEM);
            break;
        }

        *p = number;
    }

    if (ngx_errno != 0 && ngx_errno != NGX_ENOMOREFILES) {
        (void) ngx_close_dir(&d);
        return NGX_ERROR;
    }

    (void) ngx_close_dir(&d);

    ngx_qsort(files->snapshots.elts, files->snapshots.nelts, sizeof(uint64_t),
              ngx_vmess_state_dir_cmp);
    ngx_qsort(files->journals.elts, files->journals.nelts, sizeof(uint64_t),
              ngx_vmess_state_dir_cmp);

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_vmess_state_dir_cmp(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(uint64_t *) one;
    b = *(uint64_t *) two;

    return (a > b) - (a < b);
}


ngx_int_t
ngx_vmess_state_dir_clean(ngx_str_t *dir, uint64_t number)
{
    u_char                     path[NGX_MAX_PATH];
    uint64_t                   n;
    ngx_dir_t                  d;
    ngx_str_t                  name;
    ngx_err_t                  err;
    ngx_uint_t                 tmp;
    ngx_vmess_journal_kind_e   kind;

    if (ngx_open_dir(dir, &d) == NGX_ERROR) {
        return NGX_ERROR;
    }

    err = 0;

    while (ngx_read_dir(&d) == NGX_OK) {

        name.data = ngx_de_name(&d);
        name.len = ngx_de_namelen(&d);

        if (ngx_vmess_state_dir_parse(&name, &kind, &n, &tmp) != NGX_OK
            || (n >= number && !tmp))
        {
            continue;
        }

        ngx_vmess_state_dir_name(path, dir, kind, n, tmp ? ".tmp" : "");

        if (ngx_delete_file(path) == NGX_FILE_ERROR) {
            err = ngx_errno;
        }
    }

    (void) ngx_close_dir(&d);

    ngx_set_errno(err);

    return err ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_vmess_state_dir_sync(ngx_str_t *dir)
{
    ngx_fd_t  fd;

    fd = open((char *) dir->data, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    if (fsync(fd) == -1) {
        (void) ngx_close_file(fd);
        return NGX_ERROR;
    }

    (void) ngx_close_file(fd);

    return NGX_OK;
}
