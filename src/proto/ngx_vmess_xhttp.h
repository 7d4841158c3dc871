
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_XHTTP_H_INCLUDED_
#define _NGX_VMESS_XHTTP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_VMESS_XHTTP_SID_MAX  128         /* bytes */
#define NGX_VMESS_XHTTP_NO_SEQ   -1


/*
 * Takes apart what the path of a request, decoded, has after the base path and
 * its slash.
 *
 *     ""                       stream-one: sid->len is 0
 *     "sid", "sid/"            a session: *seq is NGX_VMESS_XHTTP_NO_SEQ
 *     "sid/seq", "sid/seq/"    its packet number *seq, never negative
 *
 * What may follow another slash is ignored, as Xray does.  sid points into
 * rest, and is any text of at most NGX_VMESS_XHTTP_SID_MAX bytes.
 *
 * NGX_OK        sid and *seq are valid
 * NGX_DECLINED  a path of something else
 */
ngx_int_t ngx_vmess_xhttp_path(ngx_str_t *rest, ngx_str_t *sid, int64_t *seq);

/*
 * Returns the length of padding, the value of x_padding in a query, once
 * decoded, 0 if there is none: in the query of referer, an URL, unless it is
 * NULL or empty, and only then in args, without the question mark, which may
 * be NULL as well.
 */
size_t ngx_vmess_xhttp_padding(ngx_str_t *referer, ngx_str_t *args);


#endif /* _NGX_VMESS_XHTTP_H_INCLUDED_ */
