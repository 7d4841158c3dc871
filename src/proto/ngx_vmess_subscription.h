
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_SUBSCRIPTION_H_INCLUDED_
#define _NGX_VMESS_SUBSCRIPTION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/* a token that was given: at least and at most so many bytes */

#define NGX_VMESS_SUBSCRIPTION_MIN     16
#define NGX_VMESS_SUBSCRIPTION_MAX     47

/* one that is made: 128 bits in Base64 of URLs */

#define NGX_VMESS_SUBSCRIPTION_LEN     22
#define NGX_VMESS_SUBSCRIPTION_RANDOM  16

#define NGX_VMESS_SUBSCRIPTION_DIGEST  16
#define NGX_VMESS_SUBSCRIPTION_KEY     16


/* whether it is of letters, digits, "_" and "-", and of a good length */
ngx_uint_t ngx_vmess_subscription_check(ngx_str_t *token);

/* writes 16 bytes as a token at p, NGX_VMESS_SUBSCRIPTION_LEN bytes */
void ngx_vmess_subscription_text(u_char *p, const u_char *random);

/*
 * Writes the token of a user who was given none at p, as many bytes.  It is
 * made of the id, which nobody else knows: so it is the same after a restart,
 * and on another server.
 */
void ngx_vmess_subscription_derive(u_char *p, const u_char *id);

/*
 * By what a token is looked for: nobody can tell its bits without the key, so
 * how long a comparison takes says nothing.
 */
void ngx_vmess_subscription_digest(u_char *digest, const u_char *key,
    ngx_str_t *token);


#endif /* _NGX_VMESS_SUBSCRIPTION_H_INCLUDED_ */
