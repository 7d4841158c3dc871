
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_DIR_H_INCLUDED_
#define _NGX_VMESS_STATE_DIR_H_INCLUDED_


#include "ngx_vmess.h"
#include "proto/ngx_vmess_journal.h"


/*
 * The directory of a state:
 *
 *     snapshot.N   all there was, made after journal.N was begun
 *     journal.N    what changed since, until journal.N+1 was begun
 *     *.tmp        a file that is not to be read yet
 *     lock         who has it locked, writes
 */

/* bytes that a name of a file adds to that of the directory, with a zero */

#define NGX_VMESS_STATE_NAME_LEN  (sizeof("/snapshot.") - 1 + NGX_INT64_LEN   \
                                   + sizeof(".tmp"))


/* numbers of files, uint64_t in ascending order */

typedef struct {
    ngx_array_t                snapshots;
    ngx_array_t                journals;
} ngx_vmess_state_files_t;


/*
 * The name of a file, which ends with a zero, at p.
 *
 * suffix  ".tmp" or ""
 */
void ngx_vmess_state_dir_name(u_char *p, ngx_str_t *dir,
    ngx_vmess_journal_kind_e kind, uint64_t number, char *suffix);

/* whether it is there and has files, but none of a state */
ngx_uint_t ngx_vmess_state_dir_foreign(ngx_str_t *dir);

/* lists the files; NGX_OK, or NGX_ERROR with ngx_errno */
ngx_int_t ngx_vmess_state_dir_list(ngx_str_t *dir,
    ngx_vmess_state_files_t *files, ngx_pool_t *pool);

/*
 * Deletes files of numbers below that, and all that are not to be read; NGX_OK,
 * or NGX_ERROR with ngx_errno if one of them stays.
 */
ngx_int_t ngx_vmess_state_dir_clean(ngx_str_t *dir, uint64_t number);

/* has the kernel write names of files to the disk; as above */
ngx_int_t ngx_vmess_state_dir_sync(ngx_str_t *dir);


#endif /* _NGX_VMESS_STATE_DIR_H_INCLUDED_ */
