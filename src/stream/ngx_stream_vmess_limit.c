
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_limit.h"


static ngx_module_t *ngx_stream_vmess_limit_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_stream_vmess_limit_command(ngx_conf_t *cf,
    ngx_module_t *module, void *conf, char *name, char *key, char *value);
static void ngx_stream_vmess_limit_marked(void *data);


/* a function of nginx, the same for all configurations */

static ngx_pool_cleanup_pt  ngx_stream_vmess_limit_cleanup;


ngx_int_t
ngx_stream_vmess_limit_init(ngx_conf_t *cf)
{
    char                          zone[sizeof("zone=vmess_fallback:")
                                       + NGX_SIZE_T_LEN];
    void                         *conf;
    ngx_array_t                  *handlers;
    ngx_module_t                 *module;
    ngx_stream_module_t          *m;
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;
    ngx_stream_vmess_main_conf_t *vmcf;

    module = ngx_stream_vmess_limit_module(cf->cycle);

    if (module == NULL) {
        return NGX_OK;
    }

    m = module->ctx;

    conf = m->create_srv_conf(cf);
    if (conf == NULL) {
        return NGX_ERROR;
    }

    /* the least size that the directive takes */

    *ngx_sprintf((u_char *) zone, "zone=vmess_fallback:%uz", 8 * ngx_pagesize)
        = '\0';

    if (ngx_stream_vmess_limit_command(cf, module, NULL, "limit_conn_zone",
                                       "vmess", zone)
        != NGX_OK
        || ngx_stream_vmess_limit_command(cf, module, conf, "limit_conn",
                                          "vmess_fallback", "65535")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the phase handler, which the module adds */

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    handlers = &cmcf->phases[NGX_STREAM_PREACCESS_PHASE].handlers;

    if (m->postconfiguration(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    h = handlers->elts;
    handlers->nelts--;

    vmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_vmess_module);

    vmcf->limit_handler = h[handlers->nelts];

    vmcf->limit_conf = ngx_pcalloc(cf->pool,
                                   sizeof(void *) * ngx_stream_max_module);
    if (vmcf->limit_conf == NULL) {
        return NGX_ERROR;
    }

    vmcf->limit_conf[module->ctx_index] = conf;

    return NGX_OK;
}


/* NULL if nginx was built without it */

static ngx_module_t *
ngx_stream_vmess_limit_module(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    for (i = 0; cycle->modules[i]; i++) {
        if (ngx_strcmp(cycle->modules[i]->name, "ngx_stream_limit_conn_module")
            == 0)
        {
            return cycle->modules[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_stream_vmess_limit_command(ngx_conf_t *cf, ngx_module_t *module,
    void *conf, char *name, char *key, char *value)
{
    char           *rv;
    ngx_str_t      *args;
    ngx_uint_t      i;
    ngx_conf_t      save;
    ngx_array_t     array;
    ngx_command_t  *cmd;

    for (cmd = module->commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            break;
        }
    }

    if (cmd->name.len == 0
        || ngx_array_init(&array, cf->pool, 3, sizeof(ngx_str_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    args = ngx_array_push_n(&array, 3);

    args[0] = cmd->name;
    args[1].data = (u_char *) key;
    args[2].data = (u_char *) value;

    for (i = 1; i < 3; i++) {
        args[i].len = ngx_strlen(args[i].data);
        args[i].data = ngx_pstrdup(cf->pool, &args[i]);

        if (args[i].data == NULL) {
            return NGX_ERROR;
        }
    }

    save = *cf;
    cf->args = &array;

    rv = cmd->set(cf, cmd, conf);

    *cf = save;

    if (rv == NGX_CONF_OK) {
        return NGX_OK;
    }

    if (rv != NGX_CONF_ERROR) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s %s\" for \"vmess_fallback\" %s", name, key, rv);
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_stream_vmess_limit_init_process(ngx_cycle_t *cycle)
{
    ngx_pool_t                    *pool;
    ngx_connection_t               c;
    ngx_stream_session_t           s;
    ngx_stream_vmess_main_conf_t  *vmcf;

    vmcf = ngx_stream_cycle_get_module_main_conf(cycle,
                                                 ngx_stream_vmess_module);

    if (vmcf == NULL || vmcf->limit_handler == NULL) {
        return NGX_OK;
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&c, sizeof(ngx_connection_t));
    ngx_memzero(&s, sizeof(ngx_stream_session_t));

    c.pool = pool;
    c.log = cycle->log;

    s.connection = &c;
    s.srv_conf = vmcf->limit_conf;

    (void) vmcf->limit_handler(&s);

    if (pool->cleanup) {
        ngx_stream_vmess_limit_cleanup = pool->cleanup->handler;
    }

    ngx_destroy_pool(pool);

    if (ngx_stream_vmess_limit_cleanup == NULL) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "\"limit_conn\" of servers with \"vmess_fallback\" will "
                      "count what went to the fallback");
    }

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_limit_mark(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_stream_vmess_limit_marked;

    return NGX_OK;
}


static void
ngx_stream_vmess_limit_marked(void *data)
{
    /* found by its address */
}


void
ngx_stream_vmess_limit_undo(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln, **p;

    if (ngx_stream_vmess_limit_cleanup == NULL) {
        return;
    }

    p = &pool->cleanup;

    while (*p && (*p)->handler != ngx_stream_vmess_limit_marked) {
        cln = *p;

        if (cln->handler != ngx_stream_vmess_limit_cleanup) {
            p = &cln->next;
            continue;
        }

        *p = cln->next;

        cln->handler(cln->data);
    }
}
