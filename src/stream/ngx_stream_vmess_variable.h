
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_VARIABLE_H_INCLUDED_
#define _NGX_STREAM_VMESS_VARIABLE_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* adds the variables; NGX_OK or NGX_ERROR */
ngx_int_t ngx_stream_vmess_variable_init(ngx_conf_t *cf);


#endif /* _NGX_STREAM_VMESS_VARIABLE_H_INCLUDED_ */
