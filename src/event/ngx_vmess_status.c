
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_status.h"


static ngx_vmess_status_t  ngx_vmess_statuses[NGX_VMESS_STATUSES] = {
    { ngx_string(""), 0, NULL },
    { ngx_string("ok"), 1, NULL },
    { ngx_string("unknown"), 0, "is gone or has another id" },
    { ngx_string("disabled"), 0, "is disabled" },
    { ngx_string("expired"), 0, "has expired" },
    { ngx_string("limited"), 0, "has used up the quota" },
    { ngx_string("kicked"), 0, "was kicked" },
    { ngx_string("max_conns"), 0, "has as many flows as allowed" },
    { ngx_string("max_ips"), 0, "comes from as many addresses as allowed" },
    { ngx_string("time"), 0, NULL },
    { ngx_string("replay"), 0, NULL },
    { ngx_string("full"), 0, NULL },
    { ngx_string("clock"), 0, NULL },
    { ngx_string("tag"), 0, NULL },
    { ngx_string("header"), 0, NULL },
    { ngx_string("timeout"), 0, NULL },
    { ngx_string("truncated"), 0, NULL },
    { ngx_string("cipher"), 1, NULL },
    { ngx_string("command"), 1, NULL },
    { ngx_string("denied"), 1, NULL },
    { ngx_string("unresolved"), 1, NULL }
};


ngx_vmess_status_t *
ngx_vmess_status(ngx_vmess_status_e status)
{
    return &ngx_vmess_statuses[status];
}
