
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_wake.h"
#include "ngx_vmess_process.h"


/* ms */

#define NGX_VMESS_WAKE_PAUSE      50


static void ngx_vmess_wake_ring(ngx_vmess_zone_t *zone);
static void ngx_vmess_wake_timer_handler(ngx_event_t *ev);
static void ngx_vmess_wake_handler(ngx_event_t *ev);


ngx_int_t
ngx_vmess_wake_init_worker(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_event_t        *ev;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {

        /* a worker that quits waits for it */

        ev = &zone[i]->waker;

        ev->handler = ngx_vmess_wake_timer_handler;
        ev->data = zone[i];
        ev->log = cycle->log;
    }

    /* without edges the bell would ring for ever; who is alone needs none */

    if (vcf->zones.nelts == 0
        || ngx_process == NGX_PROCESS_SINGLE
        || !(ngx_event_flags & NGX_USE_CLEAR_EVENT))
    {
        return NGX_OK;
    }

    return ngx_vmess_process_listen(cycle, ngx_vmess_wake_handler);
}


void
ngx_vmess_wake_workers(ngx_vmess_zone_t *zone)
{
    ngx_event_t     *ev;
    ngx_msec_int_t   since;

    ev = &zone->waker;

    if (ev->handler == NULL || ev->timer_set) {
        return;
    }

    /* below 0 if the process that has rung is ahead of this one */

    since = (ngx_msec_int_t) (ngx_current_msec - zone->sh->rung);

    if (ngx_abs(since) < NGX_VMESS_WAKE_PAUSE) {
        ngx_add_timer(ev, NGX_VMESS_WAKE_PAUSE);
        return;
    }

    ngx_vmess_wake_ring(zone);
}


static void
ngx_vmess_wake_ring(ngx_vmess_zone_t *zone)
{
    zone->sh->rung = ngx_current_msec;

    ngx_vmess_process_ring(zone->waker.log);

    /* whether or not this worker hears it */

    ngx_post_event(&zone->ticker, &ngx_posted_events);
}


static void
ngx_vmess_wake_timer_handler(ngx_event_t *ev)
{
    ngx_vmess_wake_ring(ev->data);
}


/* of which zone is not known */

static void
ngx_vmess_wake_handler(ngx_event_t *ev)
{
    ngx_uint_t          i;
    ngx_vmess_conf_t   *vcf;
    ngx_vmess_zone_t  **zone;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                            ngx_vmess_module);

    zone = vcf->zones.elts;

    for (i = 0; i < vcf->zones.nelts; i++) {
        ngx_post_event(&zone[i]->ticker, &ngx_posted_events);
    }
}
