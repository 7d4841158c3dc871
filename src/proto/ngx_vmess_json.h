
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_JSON_H_INCLUDED_
#define _NGX_VMESS_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_utf8.h"


#define NGX_VMESS_JSON_DEPTH_MAX  16


/* what a reader may tell */

typedef enum {
    NGX_VMESS_JSON_OBJECT = 0,
    NGX_VMESS_JSON_OBJECT_END,
    NGX_VMESS_JSON_ARRAY,
    NGX_VMESS_JSON_ARRAY_END,
    NGX_VMESS_JSON_KEY,                    /* value follows */
    NGX_VMESS_JSON_STRING,                 /* value */
    NGX_VMESS_JSON_INTEGER,                /* integer, and value as written */
    NGX_VMESS_JSON_NUMBER,                 /* any other, value as written */
    NGX_VMESS_JSON_TRUE,
    NGX_VMESS_JSON_FALSE,
    NGX_VMESS_JSON_NULL
} ngx_vmess_json_event_e;


/*
 * A reader of one JSON text (RFC 8259) that comes in any pieces.  It has no
 * memory but the caller's buffer, for one string or number at a time.  What
 * keys there are, and whether twice, is the caller's business.
 */

typedef struct {
    ngx_uint_t                 token;
    ngx_uint_t                 state;
    ngx_uint_t                 depth;      /* objects and arrays open */
    uint32_t                   objects;    /* a bit a level, 0: an array */

    u_char                    *buf;        /* set by the caller */
    size_t                     size;

    ngx_vmess_utf8_t           utf8;
    uint32_t                   ch;         /* of an escape sequence */
    uint32_t                   high;       /* surrogate before it, or 0 */
    ngx_uint_t                 n;
    const char                *word;       /* what is left of true, .. */
    ngx_uint_t                 key;        /* the string is one */

    ngx_vmess_json_event_e     event;
    ngx_str_t                  value;      /* in buf, until the next read */
    int64_t                    integer;

    off_t                      offset;     /* bytes taken; of an error */
    const char                *err;
} ngx_vmess_json_t;


/*
 * Prepares a reader.  Strings and numbers of more than size bytes, once
 * decoded, are errors; buf stays the caller's, who wipes it if need be.
 */
void ngx_vmess_json_init(ngx_vmess_json_t *js, u_char *buf, size_t size);

/*
 * Takes bytes of b up to the next event.
 *
 * last  nothing follows what is in b
 *
 * NGX_OK     js->event, with js->value, js->integer; js->depth includes the
 *            object or array that begins, and not the one that ended
 * NGX_AGAIN  all of b was taken: more bytes are needed
 * NGX_DONE   the text is whole; only with last
 * NGX_ERROR  js->err says what is wrong at byte js->offset, counted from 0;
 *            the reader is of no more use
 */
ngx_int_t ngx_vmess_json_read(ngx_vmess_json_t *js, ngx_buf_t *b,
    ngx_uint_t last);


#endif /* _NGX_VMESS_JSON_H_INCLUDED_ */
