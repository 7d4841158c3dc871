
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PROCESS_H_INCLUDED_
#define _NGX_VMESS_PROCESS_H_INCLUDED_


#include "ngx_vmess.h"


/*
 * Processes of a master, those of before a reload included: which of them live,
 * and a bell that all of them hear.  Both are descriptors that the master makes
 * once, and its processes have from it; nothing of a process that dies stays.
 */


/*
 * For a configuration, in whose pool it is; the first one makes the descriptors
 * and the last one closes them.  NGX_OK, or NGX_ERROR, which was logged.
 */
ngx_int_t ngx_vmess_process_create(ngx_cycle_t *cycle);

/*
 * A process starts: others see from now on that it lives, before it tells them
 * its pid.  NGX_OK, or NGX_ERROR, which was logged.
 */
ngx_int_t ngx_vmess_process_init(ngx_cycle_t *cycle);

/*
 * Whether that process lives, and is this one, its master, or another of that.
 * A stranger that has got the pid of who died does not count.
 */
ngx_uint_t ngx_vmess_process_alive(ngx_pid_t pid);

/*
 * The handler is called in this worker after each ring of any process, or some
 * that came together.  NGX_OK, or NGX_ERROR, which was logged.
 */
ngx_int_t ngx_vmess_process_listen(ngx_cycle_t *cycle,
    ngx_event_handler_pt handler);
void ngx_vmess_process_ring(ngx_log_t *log);


#endif /* _NGX_VMESS_PROCESS_H_INCLUDED_ */
