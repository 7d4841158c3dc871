
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_LOG_H_INCLUDED_
#define _NGX_VMESS_LOG_H_INCLUDED_


#include "ngx_vmess.h"


/* messages that others can cause at will: of each worker so many a second */

typedef struct {
    ngx_uint_t                 rate;
    ngx_uint_t                 level;
    const char                *what;         /* more of them were left out */
    time_t                     sec;
    ngx_uint_t                 n;
} ngx_vmess_log_limit_t;


/* 1 if one more may be logged; says how many were left out before */
ngx_uint_t ngx_vmess_log_allowed(ngx_vmess_log_limit_t *limit,
    ngx_log_t *log);


#endif /* _NGX_VMESS_LOG_H_INCLUDED_ */
