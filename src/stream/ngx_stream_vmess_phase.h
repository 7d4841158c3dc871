
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_PHASE_H_INCLUDED_
#define _NGX_STREAM_VMESS_PHASE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* adds our handlers to the phases of nginx; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_phase_add(ngx_conf_t *cf);

/* moves ours to its place, once the phases are laid out; NGX_OK */
ngx_int_t ngx_stream_vmess_phase_init(ngx_cycle_t *cycle);


#endif /* _NGX_STREAM_VMESS_PHASE_H_INCLUDED_ */
