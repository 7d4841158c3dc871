
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_LEGACY_H_INCLUDED_
#define _NGX_VMESS_LEGACY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"
#include "ngx_vmess_header.h"


/*
 * Reads a request with the original header (VMess, "Request, legacy header")
 * up to its body.  To be called instead of ngx_vmess_header_read() after that
 * has returned NGX_DONE, when h->eauid is a token valid now: set h->cmd_key,
 * h->legacy, and h->time to the second of the token.  Call again with the same
 * bytes and more; nothing of b is changed and b->pos moves on NGX_OK alone.
 *
 * NGX_OK        h is filled in, b->pos is at the body
 * NGX_AGAIN     not whole and right so far, in less than NGX_VMESS_LEGACY_MAX
 *               bytes
 * NGX_DECLINED  not whole and right in that many bytes
 * NGX_ERROR     its check sum is right, but h->err is wrong with it; h->err is
 *               NULL if libcrypto failed
 *
 * The section has no length and nothing authenticates it: whoever holds a
 * captured request can change any bit of it, that of the length of padding
 * among them.  A server that gives up at a place that depends on such bits
 * tells what it has decrypted; that is how it was probed in 2020.  Hence there
 * is one verdict on all that is wrong, given after a constant number of bytes,
 * and until then nothing tells a wrong section from a short one.  It is for the
 * caller to keep that:
 *
 * - NGX_DECLINED, and NGX_AGAIN at the end of input or of the time for the
 *   header, are to end as an unknown EAuID does.  A silent drain has to take
 *   NGX_VMESS_LEGACY_MAX bytes or more in all.  A fallback is given the bytes
 *   of an unknown EAuID as soon as it is whole: where it may answer to them,
 *   NGX_AGAIN in the same event has to be a refusal as well, which costs only
 *   clients that send less than the header at first; none is known to.
 * - The token of every refused request, and that of a replayed session, is
 *   tainted: it is not looked up again, as long as it is valid.  Then a
 *   captured request is good for one try.
 * - A session is remembered as long as its token is valid, which is up to
 *   2 * NGX_VMESS_TIME_WINDOW.  The token itself may come again: sessions that
 *   start within a second share it.
 */
ngx_int_t ngx_vmess_legacy_read(ngx_vmess_header_t *h, ngx_buf_t *b);

/* an id made ready for tokens: MD5 after the inner and the outer key of HMAC */

typedef struct {
    uint32_t  inner[4];
    uint32_t  outer[4];
} ngx_vmess_legacy_key_t;

void ngx_vmess_legacy_key(ngx_vmess_legacy_key_t *key, const u_char *id);

/* the token of an id in the second t, NGX_VMESS_EAUID_LEN bytes */
void ngx_vmess_legacy_token(const ngx_vmess_legacy_key_t *key, int64_t t,
    u_char *token);


#endif /* _NGX_VMESS_LEGACY_H_INCLUDED_ */
