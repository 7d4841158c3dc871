
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_LINK_H_INCLUDED_
#define _NGX_HTTP_VMESS_LINK_H_INCLUDED_


#include "ngx_http_vmess_session.h"


/* uploads of other workers' requests come here */
void ngx_http_vmess_link_init(void);

/*
 * Sends the upload of a request to the worker that has the session; the
 * upload is told what that session says.
 */
void ngx_http_vmess_link_connect(ngx_http_vmess_upload_t *upload,
    ngx_http_request_t *r, ngx_vmess_owner_t *owner, u_char *sid);

/* there may be more of the body to send */
void ngx_http_vmess_link_pump(ngx_http_vmess_link_t *link);

/* the upload ends: closes the connection to the other worker */
void ngx_http_vmess_link_close(ngx_http_vmess_link_t *link);


#endif /* _NGX_HTTP_VMESS_LINK_H_INCLUDED_ */
