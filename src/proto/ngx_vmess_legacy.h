
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
 * Reads a request with the legacy header (VMess, "Request, legacy header") up
 * to its body.  To be called instead of ngx_vmess_header_read() after that has
 * returned NGX_DONE, if h->eauid is a token valid now: set h->cmd_key,
 * h->legacy, and h->time to the second of the token.  Call again with the same
 * bytes and more; nothing of b is changed and b->pos moves on NGX_OK alone.
 *
 * NGX_OK        h is filled in, b->pos is at the body
 * NGX_AGAIN     not whole and right so far, in fewer than NGX_VMESS_LEGACY_MAX
 *               bytes
 * NGX_DECLINED  not whole and right in that many bytes
 * NGX_ERROR     its check sum is right, but h->err is wrong with it; h->err is
 *               NULL if libcrypto failed
 *
 * The section has no length, and nothing authenticates it: whoever holds a
 * captured request can change any bit of it, including the length of padding.
 * A server that gives up at a place that depends on such bits reveals what it
 * has decrypted; that is how servers were probed in 2020.  Hence there is one
 * verdict on everything that is wrong, given after a constant number of bytes,
 * and until then nothing tells a wrong section from a short one.  The caller
 * has to preserve this:
 *
 * - NGX_DECLINED, and NGX_AGAIN at the end of input or of the time for the
 *   header, must end as an unknown EAuID does.  A silent drain must take at
 *   least NGX_VMESS_LEGACY_MAX bytes in all.  A fallback gets the bytes of an
 *   unknown EAuID as soon as it is whole: where it may answer them, NGX_AGAIN
 *   in the same event must be a refusal as well.  This costs only clients that
 *   send less than the header at first; none is known to.
 * - The token of every refused request, and of a replayed session, is claimed
 *   for the rest of its time.  So a captured request is good for one try.
 * - A session is remembered as long as its token is valid, which is up to
 *   2 * NGX_VMESS_TIME_WINDOW.  The token itself may come again: sessions that
 *   start within one second share it.
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
