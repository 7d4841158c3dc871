
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_kcp_segment.h"


ngx_int_t
ngx_vmess_kcp_segment_parse(ngx_vmess_kcp_segment_t *seg, u_char **p,
    u_char *last)
{
    size_t   rest;
    u_char  *s;

    s = *p;
    rest = last - s;

    if (rest < NGX_VMESS_KCP_COMMAND_LEN) {
        return NGX_DECLINED;
    }

    ngx_memzero(seg, sizeof(ngx_vmess_kcp_segment_t));

    seg->conv = (ngx_uint_t) s[0] << 8 | s[1];
    seg->command = s[2];
    seg->opt = s[3];

    switch (seg->command) {

    case NGX_VMESS_KCP_DATA:

        if (rest < NGX_VMESS_KCP_DATA_LEN) {
            return NGX_DECLINED;
        }

        seg->timestamp = ngx_vmess_kcp_segment_get32(s + 4);
        seg->number = ngx_vmess_kcp_segment_get32(s + 8);
        seg->sending_next = ngx_vmess_kcp_segment_get32(s + 12);

        seg->data.len = (size_t) s[16] << 8 | s[17];
        seg->data.data = s + NGX_VMESS_KCP_DATA_LEN;
        break;

    case NGX_VMESS_KCP_ACK:

        if (rest < NGX_VMESS_KCP_ACK_LEN) {
            return NGX_DECLINED;
        }

        seg->receiving_window = ngx_vmess_kcp_segment_get32(s + 4);
        seg->receiving_next = ngx_vmess_kcp_segment_get32(s + 8);
        seg->timestamp = ngx_vmess_kcp_segment_get32(s + 12);

        seg->data.len = (size_t) s[16] * NGX_VMESS_KCP_NUMBER_LEN;
        seg->data.data = s + NGX_VMESS_KCP_ACK_LEN;
        break;

    default:
        seg->sending_next = ngx_vmess_kcp_segment_get32(s + 4);
        seg->receiving_next = ngx_vmess_kcp_segment_get32(s + 8);
        seg->rto = ngx_vmess_kcp_segment_get32(s + 12);

        seg->data.data = s + NGX_VMESS_KCP_COMMAND_LEN;
        break;
    }

    if ((size_t) (last - seg->data.data) < seg->data.len) {
        return NGX_DECLINED;
    }

    *p = seg->data.data + seg->data.len;

    return NGX_OK;
}


u_char *
ngx_vmess_kcp_segment_create(u_char *p, ngx_vmess_kcp_segment_t *seg)
{
    p = ngx_vmess_kcp_segment_put16(p, seg->conv);

    *p++ = (u_char) seg->command;
    *p++ = (u_char) seg->opt;

    switch (seg->command) {

    case NGX_VMESS_KCP_DATA:
        p = ngx_vmess_kcp_segment_put32(p, seg->timestamp);
        p = ngx_vmess_kcp_segment_put32(p, seg->number);
        p = ngx_vmess_kcp_segment_put32(p, seg->sending_next);
        p = ngx_vmess_kcp_segment_put16(p, seg->data.len);
        break;

    case NGX_VMESS_KCP_ACK:
        p = ngx_vmess_kcp_segment_put32(p, seg->receiving_window);
        p = ngx_vmess_kcp_segment_put32(p, seg->receiving_next);
        p = ngx_vmess_kcp_segment_put32(p, seg->timestamp);
        *p++ = (u_char) (seg->data.len / NGX_VMESS_KCP_NUMBER_LEN);
        break;

    default:
        p = ngx_vmess_kcp_segment_put32(p, seg->sending_next);
        p = ngx_vmess_kcp_segment_put32(p, seg->receiving_next);
        return ngx_vmess_kcp_segment_put32(p, seg->rto);
    }

    if (seg->data.len && seg->data.data != p) {
        ngx_memcpy(p, seg->data.data, seg->data.len);
    }

    return p + seg->data.len;
}
