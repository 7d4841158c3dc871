
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HEADER_H_INCLUDED_
#define _NGX_VMESS_HEADER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"
#include "ngx_vmess_address.h"
#include "ngx_vmess_crypto.h"


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

/* VMess, "Response header": command to switch to another account */

typedef struct {
    ngx_str_t              host;        /* IPv6 in brackets; empty: the same */
    in_port_t              port;        /* host byte order */
    u_char                 id[NGX_VMESS_ID_LEN];
    uint16_t               alter_id;    /* 0: the client has the AEAD header */
    u_char                 level;
    u_char                 minutes;     /* for which it is valid */
} ngx_vmess_switch_t;

/*
 * Creates the content of that command in out, room for NGX_VMESS_COMMAND_MAX
 * bytes.  Returns its length, 0 if the host is too long for it.
 */
size_t ngx_vmess_response_switch(const ngx_vmess_switch_t *sw, u_char *out);


#endif /* _NGX_VMESS_HEADER_H_INCLUDED_ */
