
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_STREAM_VMESS_QUIC_STREAM_H_INCLUDED_
#define _NGX_STREAM_VMESS_QUIC_STREAM_H_INCLUDED_


#include "ngx_stream_vmess.h"


/* callbacks of the TLS handshake look for a session in c->data */

typedef struct {
    ngx_stream_session_t         session;
    ngx_event_t                  timer;
    ngx_uint_t                   streams;
    unsigned                     authentic:1; /* one of the streams was */
} ngx_stream_vmess_quic_connection_t;


/*
 * Starts a stream of a QUIC connection, whose data is
 * ngx_stream_vmess_quic_connection_t, as a virtual connection.
 */
void ngx_stream_vmess_quic_stream_init(ngx_connection_t *c);

/* frees a stream that has ended, or a connection without any */
void ngx_stream_vmess_quic_stream_free(ngx_connection_t *c);


#endif /* _NGX_STREAM_VMESS_QUIC_STREAM_H_INCLUDED_ */
