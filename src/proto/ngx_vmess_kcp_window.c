
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_window.h"


#define NGX_VMESS_KCP_SLOTS  16              /* of a window, the first time */


static ngx_int_t ngx_vmess_kcp_window_grow(ngx_vmess_kcp_t *kcp,
    ngx_vmess_kcp_window_t *window, uint32_t first, uint32_t n);


ngx_vmess_kcp_data_t *
ngx_vmess_kcp_window_alloc(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t first, uint32_t number, size_t size)
{
    ngx_vmess_kcp_data_t  *data;

    if (ngx_vmess_kcp_window_grow(kcp, window, first, number - first + 1)
        != NGX_OK)
    {
        return NULL;
    }

    size += sizeof(ngx_vmess_kcp_data_t);

    data = kcp->conf->alloc(kcp->conf->data, size);
    if (data == NULL) {
        return NULL;
    }

    data->number = number;
    data->size = size;

    ngx_vmess_kcp_slot(window, number) = data;

    return data;
}


void
ngx_vmess_kcp_window_free(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t number)
{
    ngx_vmess_kcp_data_t  *data;

    data = ngx_vmess_kcp_slot(window, number);
    ngx_vmess_kcp_slot(window, number) = NULL;

    kcp->conf->free(kcp->conf->data, data, data->size);
}


void
ngx_vmess_kcp_window_clear(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window)
{
    uint32_t  i;

    for (i = 0; i < window->size; i++) {
        if (window->slot[i]) {
            ngx_vmess_kcp_window_free(kcp, window, i);
        }
    }

    if (window->size) {
        kcp->conf->free(kcp->conf->data, window->slot,
                        window->size * sizeof(void *));
    }

    window->slot = NULL;
    window->size = 0;
}


static ngx_int_t
ngx_vmess_kcp_window_grow(ngx_vmess_kcp_t *kcp, ngx_vmess_kcp_window_t *window,
    uint32_t first, uint32_t n)
{
    uint32_t                 i;
    ngx_vmess_kcp_window_t   larger;

    if (n <= window->size) {
        return NGX_OK;
    }

    larger.size = ngx_max(window->size, NGX_VMESS_KCP_SLOTS);

    while (larger.size < n) {
        larger.size *= 2;
    }

    larger.slot = kcp->conf->alloc(kcp->conf->data,
                                   larger.size * sizeof(void *));
    if (larger.slot == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(larger.slot, larger.size * sizeof(void *));

    for (i = 0; i < window->size; i++) {
        ngx_vmess_kcp_slot(&larger, first + i) =
                                        ngx_vmess_kcp_slot(window, first + i);
    }

    if (window->size) {
        kcp->conf->free(kcp->conf->data, window->slot,
                        window->size * sizeof(void *));
    }

    *window = larger;

    return NGX_OK;
}
