
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_VISITOR_H_INCLUDED_
#define _NGX_STREAM_VMESS_VISITOR_H_INCLUDED_


#include "ngx_stream_vmess.h"


/*
 * A client that has not sent a whole header in a short time is taken to the
 * fallback, so that the site's timeout runs for it.  What it sends is given to
 * the site and looked at as before: with an authentic header, the session
 * comes back.  What the site sends is held until there is a verdict, or the
 * site has closed.
 */

/* ms in which the header of nearly every client has come */

#define NGX_STREAM_VMESS_SOON  500


/* 1 if the session may be such a visitor's */
ngx_uint_t ngx_stream_vmess_visitor_may(ngx_stream_session_t *s);

/* moves the session to the fallback; as ngx_stream_vmess_handler() */
ngx_int_t ngx_stream_vmess_visitor_start(ngx_stream_session_t *s);

/* ends its time for a header */
void ngx_stream_vmess_visitor_expire(ngx_stream_session_t *s);

/* forgets that the session is a visitor's: it is the site's, or ends */
void ngx_stream_vmess_visitor_stop(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_VMESS_VISITOR_H_INCLUDED_ */
