
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_STATE_LOAD_H_INCLUDED_
#define _NGX_VMESS_STATE_LOAD_H_INCLUDED_


#include "ngx_vmess_zone.h"


/* the file that one worker has locked; its first 8 bytes are the last claim */

#define NGX_VMESS_STATE_LOCK      "/lock"


/*
 * Gives a zone what was kept in the directory, and notes in users that it is
 * there.  Writes nothing but the claim, and not even that for a test.
 *
 * apply  the memory of the zone is new; otherwise files are checked only
 *
 * NGX_OK     users and counters are what they were, or there is nothing
 * NGX_ERROR  a file cannot be read, is damaged, of another zone or of a newer
 *            version, which was logged
 */
ngx_int_t ngx_vmess_state_load(ngx_vmess_zone_t *zone, ngx_str_t *dir,
    ngx_uint_t apply, ngx_log_t *log);

/* the claim in that file, 0 if there is none */
uint64_t ngx_vmess_state_load_claim(ngx_fd_t fd);

/*
 * Writes a claim into it.
 *
 * fi  times that it shall have, or NULL
 *
 * NGX_OK, or NGX_ERROR with ngx_errno
 */
ngx_int_t ngx_vmess_state_load_set_claim(ngx_fd_t fd, uint64_t claim,
    ngx_file_info_t *fi);


#endif /* _NGX_VMESS_STATE_LOAD_H_INCLUDED_ */
