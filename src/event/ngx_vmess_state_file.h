
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_FILE_H_INCLUDED_
#define _NGX_VMESS_STATE_FILE_H_INCLUDED_


#include "ngx_vmess_state_types.h"
#include "proto/ngx_vmess_journal.h"


/* seconds between complaints */

#define NGX_VMESS_STATE_COMPLAIN  60


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
