
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HASH_H_INCLUDED_
#define _NGX_VMESS_HASH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* one-shot hashes; out is 16, 20 and 32 bytes */
void ngx_vmess_hash_md5(u_char *out, const u_char *data, size_t len);
void ngx_vmess_hash_sha1(u_char *out, const u_char *data, size_t len);
void ngx_vmess_hash_sha256(u_char *out, const u_char *data, size_t len);

/* 32-bit FNV-1a */
uint32_t ngx_vmess_hash_fnv1a(const u_char *data, size_t len);

/* the same as it is on the wire, NGX_VMESS_FNV1A_LEN bytes */

#define NGX_VMESS_FNV1A_LEN  4

void ngx_vmess_hash_fnv1a_sum(u_char *sum, const u_char *data, size_t len);


#endif /* _NGX_VMESS_HASH_H_INCLUDED_ */
