
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_EDIT_H_INCLUDED_
#define _NGX_VMESS_EDIT_H_INCLUDED_


#include "ngx_vmess_users.h"


/*
 * An edit of a zone: many users that are changed together, in several turns of
 * the event loop of a worker.  While it is open, nobody else changes users but
 * for the configuration, which does not wait: thus what was found to be
 * possible when it began is so to its end.  That of a worker who dies is over.
 */


/* does what is left of an edit: the worker goes */
typedef void (*ngx_vmess_edit_pt)(void *data);

/*
 * Begins an edit, with the table locked: NGX_OK; or NGX_BUSY, somebody else has
 * one open
 */
ngx_int_t ngx_vmess_edit_begin(ngx_vmess_zone_t *zone,
    ngx_vmess_edit_pt finish, void *data);

/* from now on users are changed by it, who are to be saved together */
void ngx_vmess_edit_apply(ngx_vmess_zone_t *zone);

/* whether they are, by a worker that lives; takes no lock */
ngx_uint_t ngx_vmess_edit_is_applied(ngx_vmess_zone_t *zone);

/* ends it, and gives back room that was kept for it; the table is locked */
void ngx_vmess_edit_end(ngx_vmess_zone_t *zone);

/* whether there is one, of any worker that lives */
ngx_uint_t ngx_vmess_edit_is_open(ngx_vmess_zone_t *zone);

/* ends that of a worker who died; the table is locked */
void ngx_vmess_edit_bury(ngx_vmess_zone_t *zone);

/* a worker starts, maybe in the place of one that died, or ends as it should */
void ngx_vmess_edit_init_process(ngx_vmess_zone_t *zone);
void ngx_vmess_edit_exit_process(ngx_vmess_zone_t *zone);


#endif /* _NGX_VMESS_EDIT_H_INCLUDED_ */
