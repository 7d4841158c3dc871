
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_JSON_OUT_H_INCLUDED_
#define _NGX_VMESS_JSON_OUT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * A writer of JSON (RFC 8259) into memory of the caller.  What does not fit
 * sets "full", and nothing is written from then on: a caller keeps a copy of
 * the structure, writes an object, and if it did not fit goes back to the copy
 * and goes on with the same object in the next buffer.
 */

typedef struct {
    u_char                    *pos;        /* where the next byte goes */
    u_char                    *last;       /* the end of the memory */

    unsigned                   comma:1;    /* before the next value */
    unsigned                   full:1;
} ngx_vmess_json_out_t;


/*
 * Values.  The key is that of a member of an object; in arrays, and at the
 * start, it is NULL.  Keys are written as they are, without escapes.
 */

/* an object with '{', an array with '[' */
void ngx_vmess_json_out_open(ngx_vmess_json_out_t *jo, const char *key,
    u_char ch);

/* '}' or ']' */
void ngx_vmess_json_out_close(ngx_vmess_json_out_t *jo, u_char ch);

/* a string; what is not UTF-8 is replaced by U+FFFD */
void ngx_vmess_json_out_string(ngx_vmess_json_out_t *jo, const char *key,
    ngx_str_t *value);

void ngx_vmess_json_out_integer(ngx_vmess_json_out_t *jo, const char *key,
    int64_t value);

void ngx_vmess_json_out_flag(ngx_vmess_json_out_t *jo, const char *key,
    ngx_uint_t value);

void ngx_vmess_json_out_null(ngx_vmess_json_out_t *jo, const char *key);


#endif /* _NGX_VMESS_JSON_OUT_H_INCLUDED_ */
