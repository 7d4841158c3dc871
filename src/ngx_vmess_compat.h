
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_COMPAT_H_INCLUDED_
#define _NGX_VMESS_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* ngx_memory_barrier() is for the compiler alone on some platforms */

#define ngx_vmess_memory_barrier()  __sync_synchronize()


/*
 * Since 1.25.5 the preread phase looks at a plain connection by MSG_PEEK, if
 * epoll reports EPOLLRDHUP; with a layer in c->recv it would see the bytes
 * below.  Without that flag it reads through c->recv as before.
 */

#if (nginx_version >= 1025005 && NGX_HAVE_EPOLLRDHUP)

#define ngx_vmess_preread_by_recv(rc, call)                                   \
    do {                                                                      \
        ngx_uint_t  rdhup = ngx_use_epoll_rdhup;                              \
                                                                              \
        ngx_use_epoll_rdhup = 0;                                              \
        rc = call;                                                            \
        ngx_use_epoll_rdhup = rdhup;                                          \
    } while (0)

#else

#define ngx_vmess_preread_by_recv(rc, call)  rc = call

#endif


/* ngx_stream_addr_conf_t: virtual servers came with 1.25.5 */

#if (nginx_version >= 1025005)

#define ngx_vmess_set_addr_server(conf, cscf)  (conf)->default_server = cscf
#define ngx_vmess_set_addr_text(conf, text)

#else

#define ngx_vmess_set_addr_server(conf, cscf)  (conf)->ctx = (cscf)->ctx
#define ngx_vmess_set_addr_text(conf, text)    (conf)->addr_text = text

#endif


/* ngx_table_elt_t: chained since 1.23.0 */

#if (nginx_version >= 1023000)
#define ngx_vmess_header_next(h)  (h)->next = NULL
#else
#define ngx_vmess_header_next(h)
#endif


/* ngx_proxy_protocol_t: TLVs came with 1.23.2 */

#if (nginx_version >= 1023002)
#define ngx_vmess_proxy_protocol_tlvs(pp)  (&(pp)->tlvs)
#else
#define ngx_vmess_proxy_protocol_tlvs(pp)  NULL
#endif


#endif /* _NGX_VMESS_COMPAT_H_INCLUDED_ */
