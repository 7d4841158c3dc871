
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess.h"
#include "ngx_vmess_process.h"
#include "ngx_vmess_vconn.h"
#include "ngx_vmess_offer.h"
#include "ngx_vmess_publish.h"
#include "ngx_vmess_edit.h"
#include "ngx_vmess_state.h"
#include "ngx_vmess_filter.h"
#include "ngx_vmess_worker.h"
#include "proto/ngx_vmess_crypto.h"


static void *ngx_vmess_create_conf(ngx_cycle_t *cycle);
static char *ngx_vmess_init_conf(ngx_cycle_t *cycle, void *conf);
static ngx_int_t ngx_vmess_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_vmess_init_process(ngx_cycle_t *cycle);
static void ngx_vmess_exit_process(ngx_cycle_t *cycle);


static ngx_core_module_t  ngx_vmess_module_ctx = {
    ngx_string("vmess"),
    ngx_vmess_create_conf,
    ngx_vmess_init_conf
};


ngx_module_t  ngx_vmess_module = {
    NGX_MODULE_V1,
    &ngx_vmess_module_ctx,                 /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_vmess_init_module,                 /* init module */
    ngx_vmess_init_process,                /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_vmess_exit_process,                /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_vmess_create_conf(ngx_cycle_t *cycle)
{
    ngx_vmess_conf_t  *vcf;

    if (ngx_vmess_crypto_init() != NGX_OK) {
        ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0,
                      "libcrypto lacks an algorithm that VMess needs");
        return NULL;
    }

    if (ngx_vmess_process_create(cycle) != NGX_OK) {
        return NULL;
    }

    vcf = ngx_pcalloc(cycle->pool, sizeof(ngx_vmess_conf_t));
    if (vcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&vcf->zones, cycle->pool, 4,
                       sizeof(ngx_vmess_zone_t *))
        != NGX_OK
        || ngx_array_init(&vcf->listens, cycle->pool, 4,
                          sizeof(ngx_vmess_listen_t))
           != NGX_OK
        || ngx_array_init(&vcf->passes, cycle->pool, 4,
                          sizeof(ngx_vmess_pass_t))
           != NGX_OK
        || ngx_array_init(&vcf->filters, cycle->pool, 2,
                          sizeof(ngx_vmess_filter_t *))
           != NGX_OK
        || ngx_array_init(&vcf->refs, cycle->pool, 2,
                          sizeof(ngx_vmess_zone_ref_t))
           != NGX_OK
        || ngx_array_init(&vcf->hooks, cycle->pool, 2,
                          sizeof(ngx_vmess_hook_pt))
           != NGX_OK
        || ngx_array_init(&vcf->offers, cycle->pool, 2,
                          sizeof(ngx_vmess_offer_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return vcf;
}


/* http may stand before stream: names are looked up when both are read */

static char *
ngx_vmess_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_vmess_conf_t *vcf = conf;

    ngx_uint_t          i;
    ngx_vmess_pass_t   *pass;
    ngx_vmess_hook_pt  *hook;

    pass = vcf->passes.elts;

    for (i = 0; i < vcf->passes.nelts; i++) {

        *pass[i].listen = ngx_vmess_vconn_lookup(cycle, &pass[i].name);

        if (*pass[i].listen == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "unknown name \"%V\" in \"vmess_pass\" in %s:%ui, "
                          "it must be that of a stream server with "
                          "\"vmess_listen %V\"",
                          &pass[i].name, pass[i].file_name, pass[i].line,
                          &pass[i].name);
            return NGX_CONF_ERROR;
        }

        if (!(*pass[i].listen)->vmess) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "\"vmess_pass %V\" in %s:%ui leads to a stream "
                          "server without \"vmess\", which would let anybody "
                          "pass",
                          &pass[i].name, pass[i].file_name, pass[i].line);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_vmess_zone_resolve(cycle, vcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_vmess_offer_resolve(cycle, vcf);

    hook = vcf->hooks.elts;

    for (i = 0; i < vcf->hooks.nelts; i++) {
        hook[i](cycle);
    }

    if (ngx_vmess_filter_init_conf(cycle, vcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* runs when a new configuration cannot fail any more */

static ngx_int_t
ngx_vmess_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_vmess_publish(zone[i], cycle);
    }

    ngx_vmess_filter_publish(vcf, cycle);

    /* old workers have flows of users that are not there any more */

    ngx_vmess_process_ring(cycle->log);

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    if (ngx_vmess_process_init(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_vmess_epoch_init_process(zone[i]);
        ngx_vmess_edit_init_process(zone[i]);
    }

    return NGX_OK;
}


static void
ngx_vmess_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_vmess_edit_exit_process(zone[i]);
    }

    ngx_vmess_state_exit_worker(cycle);

    ngx_vmess_worker_exit();

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_vmess_epoch_exit_process(zone[i]);
    }
}
