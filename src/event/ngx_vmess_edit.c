
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_edit.h"
#include "ngx_vmess_process.h"
#include "ngx_vmess_table_room.h"


ngx_int_t
ngx_vmess_edit_begin(ngx_vmess_zone_t *zone, ngx_vmess_edit_pt finish,
    void *data)
{
    ngx_vmess_edit_bury(zone);

    if (zone->sh->editor) {
        return NGX_BUSY;
    }

    zone->finish = finish;
    zone->finish_data = data;

    zone->sh->editor_slot = ngx_process_slot;

    ngx_vmess_memory_barrier();

    zone->sh->editor = ngx_pid;

    return NGX_OK;
}


/* it is seen to be applied before the number is another one */

void
ngx_vmess_edit_apply(ngx_vmess_zone_t *zone)
{
    zone->sh->applied = 1;

    ngx_vmess_memory_barrier();

    zone->sh->begun++;

    ngx_vmess_memory_barrier();
}


ngx_uint_t
ngx_vmess_edit_is_applied(ngx_vmess_zone_t *zone)
{
    return zone->sh->applied && ngx_vmess_edit_is_open(zone);
}


void
ngx_vmess_edit_end(ngx_vmess_zone_t *zone)
{
    zone->finish = NULL;

    (void) ngx_vmess_table_room_keep(zone->sh->table, 0, 0);

    ngx_vmess_memory_barrier();

    zone->sh->applied = 0;

    ngx_vmess_memory_barrier();

    zone->sh->editor = 0;
}


ngx_uint_t
ngx_vmess_edit_is_open(ngx_vmess_zone_t *zone)
{
    ngx_pid_t               pid;
    ngx_vmess_worker_sh_t  *worker;

    pid = zone->sh->editor;

    /* if it is known to have died, the pid may be that of another worker */

    worker = &zone->sh->workers[zone->sh->editor_slot];

    return pid != 0 && worker->pid == (uint32_t) pid
           && ngx_vmess_process_alive(pid);
}


void
ngx_vmess_edit_bury(ngx_vmess_zone_t *zone)
{
    if (zone->sh->editor && !ngx_vmess_edit_is_open(zone)) {
        ngx_vmess_edit_end(zone);
    }
}


/* by then the pid of who died may be that of another process */

void
ngx_vmess_edit_init_process(ngx_vmess_zone_t *zone)
{
    if (zone->sh->editor == 0 || zone->sh->editor_slot != ngx_process_slot) {
        return;
    }

    (void) ngx_vmess_users_lock(zone);

    if (zone->sh->editor && zone->sh->editor_slot == ngx_process_slot) {
        ngx_vmess_edit_end(zone);
    }

    ngx_vmess_users_unlock(zone);
}


void
ngx_vmess_edit_exit_process(ngx_vmess_zone_t *zone)
{
    if (zone->finish) {
        zone->finish(zone->finish_data);
    }
}
