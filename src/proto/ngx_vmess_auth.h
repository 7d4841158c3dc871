
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_AUTH_H_INCLUDED_
#define _NGX_VMESS_AUTH_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/*
 * The AES-128 key of one user, made ready for the scan: the eleven round keys
 * of the equivalent inverse cipher where the CPU has AES instructions, else
 * the plain key in the first 16 bytes.  Contiguous arrays of these are
 * scanned, aligned to 16 bytes.
 */

typedef struct {
    u_char  round[11][16];
} ngx_vmess_auth_key_t;

typedef struct {
    /* makes *key ready from the CmdKey of a user */
    ngx_int_t  (*init)(ngx_vmess_auth_key_t *key, const u_char *cmd_key);

    /*
     * Index of the first key in keys[start] .. keys[n - 1] that EAuID was
     * made with, n if there is none.  *t gets the time stamped, in seconds.
     * Times outside 0 .. 2^32 - 1 are never matched, which lets the scan
     * drop a key by one comparison before the CRC.
     */
    ngx_uint_t (*scan)(const ngx_vmess_auth_key_t *keys, ngx_uint_t start,
                       ngx_uint_t n, const u_char *eauid, int64_t *t);
} ngx_vmess_auth_method_t;


extern const ngx_vmess_auth_method_t  ngx_vmess_auth_openssl;

#if (__x86_64__)
extern const ngx_vmess_auth_method_t  ngx_vmess_auth_aesni;
#endif

/* the fastest method of this CPU */
const ngx_vmess_auth_method_t *ngx_vmess_auth_method(void);

/*
 * NGX_OK        the time is within NGX_VMESS_TIME_WINDOW of now
 * NGX_DECLINED  it is not; any value of t is allowed
 */
ngx_int_t ngx_vmess_auth_check_time(int64_t t, time_t now);


#endif /* _NGX_VMESS_AUTH_H_INCLUDED_ */
