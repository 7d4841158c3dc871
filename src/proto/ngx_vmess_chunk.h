
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CHUNK_H_INCLUDED_
#define _NGX_VMESS_CHUNK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"
#include "ngx_vmess_aead.h"
#include "ngx_vmess_cfb.h"
#include "ngx_vmess_header.h"
#include "ngx_vmess_shake.h"


/* codec of one direction of the data section (VMess, "Body") */

typedef struct {
    ngx_vmess_aead_t     aead;
    ngx_vmess_aead_t     length_aead;
    ngx_vmess_cfb_t      cfb;

    u_char               nonce[NGX_VMESS_NONCE_LEN];
    u_char               length_nonce[NGX_VMESS_NONCE_LEN];

    ngx_vmess_shake_t    shake;

    /* the chunk being opened, once its length is known */

    size_t               length;        /* payload and padding */
    size_t               padding;

    size_t               overhead;      /* of a tag or a check sum */

    uint64_t             count;         /* of chunks opened or sealed */

    unsigned             raw:1;         /* no chunks: bytes as they are */
    unsigned             stream:1;      /* no chunks: AES-128-CFB of bytes */
    unsigned             end:1;         /* an end chunk is due at the end */
    unsigned             masked:1;
    unsigned             padded:1;
    unsigned             auth_length:1;
    unsigned             known:1;       /* length and padding are set */

    const char          *err;
} ngx_vmess_chunk_t;


/*
 * Prepares a zeroed codec of any security but 0.
 *
 * h        of the request
 * key, iv  of the direction: those of h, or ngx_vmess_response_keys()
 * seal     1 to seal, 0 to open
 *
 * NGX_OK or NGX_ERROR (libcrypto failed).  Call ngx_vmess_chunk_cleanup()
 * after either.
 */
ngx_int_t ngx_vmess_chunk_init(ngx_vmess_chunk_t *cc,
    const ngx_vmess_header_t *h, const u_char *key, const u_char *iv,
    ngx_uint_t seal);

/* frees the contexts and wipes keys and nonces */
void ngx_vmess_chunk_cleanup(ngx_vmess_chunk_t *cc);

/*
 * Opens the next chunk.
 *
 * b    wire bytes in b->pos .. b->last
 * out  on call, out->data and out->len give room for plaintext elsewhere (or
 *      are NULL and 0); on NGX_OK out->data is that room, if the plaintext
 *      fits into it, else it points into b, where the chunk was opened in
 *      place and which must then not be reused while out is needed
 *
 * NGX_OK     one chunk opened, out->len > 0, b->pos is past its padding
 * NGX_AGAIN  not whole yet: call again with the same bytes and more;
 *            ngx_vmess_chunk_need() tells how many a whole one takes
 * NGX_DONE   end chunk, b->pos is past it (without chunks: never)
 * NGX_ERROR  cc->err says what the peer did wrong, NULL if libcrypto failed
 *
 * An empty chunk before any other is skipped: Xray 26.3 sends one when the
 * application is silent at first.
 */
ngx_int_t ngx_vmess_chunk_open(ngx_vmess_chunk_t *cc, ngx_buf_t *b,
    ngx_str_t *out);

/*
 * Wire bytes of the current chunk, with its length field, as far as known:
 * before that is decoded, those of the length field alone.
 */
size_t ngx_vmess_chunk_need(ngx_vmess_chunk_t *cc);

/*
 * Seals len bytes, at most NGX_VMESS_CHUNK_DATA, as one chunk at *out and
 * moves *out past it: room for len + NGX_VMESS_CHUNK_OVERHEAD bytes.  len 0
 * makes the end chunk.  in must not overlap the room.
 *
 * random  NGX_VMESS_PADDING_MAX fresh random bytes, used if cc->padded
 *
 * NGX_OK or NGX_ERROR (libcrypto failed).  Without chunks the bytes are
 * copied or encrypted, and there is no end chunk.
 */
ngx_int_t ngx_vmess_chunk_seal(ngx_vmess_chunk_t *cc, const u_char *in,
    size_t len, const u_char *random, u_char **out);


#endif /* _NGX_VMESS_CHUNK_H_INCLUDED_ */
