
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HEADER_H_INCLUDED_
#define _NGX_VMESS_HEADER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"
#include "ngx_vmess_address.h"


typedef struct {
    ngx_uint_t             state;
    size_t                 length;      /* of the instruction section */

    u_char                 eauid[NGX_VMESS_EAUID_LEN];
    u_char                 cmd_key[NGX_VMESS_KEY_LEN];  /* set by the caller */

    u_char                 iv[NGX_VMESS_IV_LEN];
    u_char                 key[NGX_VMESS_KEY_LEN];
    u_char                 v;
    u_char                 opt;
    u_char                 security;
    u_char                 command;
    ngx_vmess_address_t    address;     /* not for NGX_VMESS_CMD_MUX */

    int64_t                time;        /* of a legacy header */

    unsigned               legacy:1;    /* see ngx_vmess_legacy_read() */
    unsigned               bad_tag:1;   /* why NGX_DECLINED was returned */

    const char            *err;
} ngx_vmess_header_t;


/*
 * Reads a request up to its body (VMess, "Request, AEAD header" and
 * "Instruction header").  Start with *h zeroed and call again with the same
 * bytes and more; nothing of b is changed and b->pos moves on NGX_OK alone,
 * so that all of it can go to a fallback.
 *
 * NGX_DONE      EAuID is whole, in h->eauid: set h->cmd_key and call again
 * NGX_OK        h is filled in, b->pos is at the body
 * NGX_AGAIN     more bytes are needed
 * NGX_DECLINED  not authentic; h->err says why
 * NGX_ERROR     authentic, but h->err is wrong with it; h->err is NULL if
 *               libcrypto failed
 */
ngx_int_t ngx_vmess_header_read(ngx_vmess_header_t *h, ngx_buf_t *b);

/*
 * Parses an opened instruction section of len bytes; NGX_OK, NGX_DECLINED or
 * NGX_ERROR as above
 */
ngx_int_t ngx_vmess_header_parse(ngx_vmess_header_t *h, u_char *p, size_t len);


#endif /* _NGX_VMESS_HEADER_H_INCLUDED_ */
