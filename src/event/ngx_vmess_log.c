
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_log.h"


ngx_uint_t
ngx_vmess_log_allowed(ngx_vmess_log_limit_t *limit, ngx_log_t *log)
{
    if (limit->sec != ngx_time()) {

        if (limit->n > limit->rate) {
            ngx_log_error(limit->level, log, 0, "%ui more %s",
                          limit->n - limit->rate, limit->what);
        }

        limit->sec = ngx_time();
        limit->n = 0;
    }

    return (++limit->n <= limit->rate);
}
