
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
 * Parses what the decoded path of a request has after the base path and its
 * slash.
 *
 *     ""                       stream-one: sid->len is 0
 *     "sid", "sid/"            a session: *seq is NGX_VMESS_XHTTP_NO_SEQ
 *     "sid/seq", "sid/seq/"    its packet number *seq, never negative
 *
 * Anything behind another slash is ignored, as in Xray.  sid points into rest,
 * and is any text of at most NGX_VMESS_XHTTP_SID_MAX bytes.
 *
 * NGX_OK        sid and *seq are valid
 * NGX_DECLINED  it is another path
 */
ngx_int_t ngx_vmess_xhttp_path(ngx_str_t *rest, ngx_str_t *sid, int64_t *seq);

/*
 * Returns the length of padding, the decoded value of x_padding in a query, or
 * 0 if there is none.  The query is that of referer, a URL, unless referer is
 * NULL or empty; only then it is args, without the question mark, which may be
 * NULL as well.
 */
size_t ngx_vmess_xhttp_padding(ngx_str_t *referer, ngx_str_t *args);


#endif /* _NGX_VMESS_XHTTP_H_INCLUDED_ */
