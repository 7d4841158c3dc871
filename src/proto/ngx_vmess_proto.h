
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PROTO_H_INCLUDED_
#define _NGX_VMESS_PROTO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* VMess, "Account" */

#define NGX_VMESS_ID_LEN              16
#define NGX_VMESS_KEY_LEN             16
#define NGX_VMESS_IV_LEN              16
#define NGX_VMESS_TAG_LEN             16
#define NGX_VMESS_NONCE_LEN           12

/* VMess, "Request, AEAD header" */

#define NGX_VMESS_EAUID_LEN           16
#define NGX_VMESS_ALENGTH_LEN         (2 + NGX_VMESS_TAG_LEN)
#define NGX_VMESS_HEADER_NONCE_LEN    8

#define NGX_VMESS_PREFIX_LEN                                                  \
    (NGX_VMESS_EAUID_LEN + NGX_VMESS_ALENGTH_LEN + NGX_VMESS_HEADER_NONCE_LEN)

#define NGX_VMESS_HEADER_MIN          42
#define NGX_VMESS_HEADER_MAX          2048

/* VMess, "Request, legacy header": the longest, of a domain and full padding */

#define NGX_VMESS_LEGACY_SECTION_MAX  (38 + 3 + 1 + 255 + 15 + 4)
#define NGX_VMESS_LEGACY_MAX                                                  \
    (NGX_VMESS_EAUID_LEN + NGX_VMESS_LEGACY_SECTION_MAX)

#define NGX_VMESS_TIME_WINDOW         120    /* seconds, either way */
#define NGX_VMESS_SESSION_WINDOW      180    /* seconds */

/* an id that is ahead of the window by less is used up when it is refused */

#define NGX_VMESS_EARLY               3600   /* seconds */

/* VMess, "Response header" */

#define NGX_VMESS_RESPONSE_LEN        (2 + NGX_VMESS_TAG_LEN                  \
                                       + 4 + NGX_VMESS_TAG_LEN)

#define NGX_VMESS_COMMAND_MAX         255
#define NGX_VMESS_RESPONSE_MAX                                                \
    (NGX_VMESS_RESPONSE_LEN + NGX_VMESS_COMMAND_MAX)

#define NGX_VMESS_OPT_CHUNK           0x01   /* S */
#define NGX_VMESS_OPT_MASK            0x04   /* M */
#define NGX_VMESS_OPT_PADDING         0x08   /* P */
#define NGX_VMESS_OPT_AUTH_LENGTH     0x10   /* A */

#define NGX_VMESS_SEC_AES_128_CFB     1
#define NGX_VMESS_SEC_AES_128_GCM     3
#define NGX_VMESS_SEC_CHACHA20        4
#define NGX_VMESS_SEC_NONE            5

#define NGX_VMESS_CMD_TCP             1
#define NGX_VMESS_CMD_UDP             2
#define NGX_VMESS_CMD_MUX             3

/* VMess, "Body" */

#define NGX_VMESS_PADDING_MAX         63
#define NGX_VMESS_CHUNK_MAX           65535  /* length value */

/*
 * The plaintext of a chunk that we write: sing-box reads at most 16384 bytes
 * of payload and padding.
 */

#define NGX_VMESS_CHUNK_DATA                                                  \
    (16384 - NGX_VMESS_TAG_LEN - NGX_VMESS_PADDING_MAX - 1)

/* the most that sealing adds to one chunk */

#define NGX_VMESS_CHUNK_OVERHEAD                                              \
    (2 + 2 * NGX_VMESS_TAG_LEN + NGX_VMESS_PADDING_MAX)

/* 1 if equal; the time depends on len alone */

#define ngx_vmess_equal(a, b, len)  (CRYPTO_memcmp(a, b, len) == 0)


#endif /* _NGX_VMESS_PROTO_H_INCLUDED_ */
