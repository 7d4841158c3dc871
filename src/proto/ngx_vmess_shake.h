
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SHAKE_H_INCLUDED_
#define _NGX_VMESS_SHAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* FIPS 202, SHAKE128, squeezed 16 bits at a time */

typedef struct {
    uint64_t     state[25];
    ngx_uint_t   pos;          /* bytes of the block already squeezed */
} ngx_vmess_shake_t;


/* absorbs len bytes of data, at most 167 */
void ngx_vmess_shake_init(ngx_vmess_shake_t *shake, const u_char *data,
    size_t len);

/* the next two bytes of output, big-endian */
ngx_uint_t ngx_vmess_shake_next(ngx_vmess_shake_t *shake);


#endif /* _NGX_VMESS_SHAKE_H_INCLUDED_ */
