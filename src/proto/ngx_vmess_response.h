
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_RESPONSE_H_INCLUDED_
#define _NGX_VMESS_RESPONSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_header.h"
#include "ngx_vmess_cfb.h"


/* VMess, "Response header": command to switch to another account */

typedef struct {
    ngx_str_t              host;        /* IPv6 in brackets; empty: the same */
    in_port_t              port;        /* host byte order */
    u_char                 id[NGX_VMESS_ID_LEN];
    uint16_t               alter_id;    /* 0: the client has the AEAD header */
    u_char                 level;
    u_char                 minutes;     /* for which it is valid */
} ngx_vmess_switch_t;


/* keys of the response: hashes of those of the request */
void ngx_vmess_response_keys(const ngx_vmess_header_t *h, u_char *key,
    u_char *iv);

/*
 * Creates the response header.
 *
 * key, iv  of the response, as above
 * command  content of a command, as of ngx_vmess_response_switch(), NULL: none
 * cfb      cipher of the codec that seals the response, with or without a
 *          context: if h->legacy, this header is the start of its stream
 * out      out->data is room for NGX_VMESS_RESPONSE_LEN bytes and the command,
 *          at most NGX_VMESS_RESPONSE_MAX; out->len is set
 *
 * NGX_OK or NGX_ERROR (libcrypto failed).
 */
ngx_int_t ngx_vmess_response_create(const ngx_vmess_header_t *h,
    const u_char *key, const u_char *iv, const ngx_str_t *command,
    ngx_vmess_cfb_t *cfb, ngx_str_t *out);

/*
 * Creates the content of that command in out, room for NGX_VMESS_COMMAND_MAX
 * bytes.  Returns its length, 0 if the host is too long for it.
 */
size_t ngx_vmess_response_switch(const ngx_vmess_switch_t *sw, u_char *out);


#endif /* _NGX_VMESS_RESPONSE_H_INCLUDED_ */
