
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_HTTP_H_INCLUDED_
#define _NGX_VMESS_HTTP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* TCP with HTTP disguise: the longest head of a request that peers accept */

#define NGX_VMESS_HTTP_MAX           8192

/* room for the head of a response */

#define NGX_VMESS_HTTP_RESPONSE_MAX  256


/* what a request has to be like */

typedef struct {
    ngx_str_t      method;     /* empty: any */
    ngx_array_t   *paths;      /* of ngx_str_t, NULL: any */
    ngx_array_t   *hosts;      /* of ngx_str_t in lower case, NULL: any */
} ngx_vmess_http_conf_t;

typedef struct {
    size_t         scanned;    /* bytes that need not be looked at again */
    unsigned       line:1;     /* the request line is there and right */
    const char    *err;
} ngx_vmess_http_t;


/*
 * Reads the head of a disguised request.  VMess starts behind it, whatever
 * Content-Length it has.  Start with *ht zeroed and call again with the same
 * bytes and more; nothing of b is changed and b->pos moves on NGX_OK alone, so
 * that all of it can go to a fallback.
 *
 * NGX_OK        b->pos is behind the head.  There may be no more bytes yet, as
 *               v2ray and Xray write the head and what follows separately
 * NGX_AGAIN     right so far, more bytes are needed
 * NGX_DECLINED  ht->err says why it is not ours, as soon as that is clear: at
 *               the first byte of another protocol, at the end of the request
 *               line if method or path differ, at the end of the head if Host
 *               does
 *
 * As in Xray, the query is not part of the path, and other header fields are
 * ignored.  A port is not part of the host.
 */
ngx_int_t ngx_vmess_http_read(ngx_vmess_http_t *ht,
    const ngx_vmess_http_conf_t *conf, ngx_buf_t *b);

/*
 * Creates the head of the response, to be sent with the first bytes of VMess.
 * Those are not in chunks of HTTP, though the head says so.
 *
 * p     room for NGX_VMESS_HTTP_RESPONSE_MAX bytes
 * date  as ngx_cached_http_time, at most 29 bytes are used
 *
 * Returns the end of it.
 */
u_char *ngx_vmess_http_response(u_char *p, const ngx_str_t *date);


#endif /* _NGX_VMESS_HTTP_H_INCLUDED_ */
