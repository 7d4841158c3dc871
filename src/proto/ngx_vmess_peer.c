
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_peer.h"


ngx_int_t
ngx_vmess_peer_parse(ngx_vmess_peer_t *peer, ngx_buf_t *b)
{
    sa_family_t       family, want;
    ngx_vmess_peer_t  got;

    if ((size_t) (b->last - b->pos) < sizeof(ngx_vmess_peer_t)) {
        return NGX_DECLINED;
    }

    ngx_memcpy(&got, b->pos, sizeof(ngx_vmess_peer_t));
    ngx_memcpy(&family, got.sockaddr + offsetof(struct sockaddr, sa_family),
               sizeof(sa_family_t));

    switch (got.socklen) {

    case 0:
        want = family;
        break;

    case sizeof(struct sockaddr_in):
        want = AF_INET;
        break;

#if (NGX_HAVE_INET6)
    case sizeof(struct sockaddr_in6):
        want = AF_INET6;
        break;
#endif

    default:
        return NGX_DECLINED;
    }

    if (family != want) {
        return NGX_DECLINED;
    }

    *peer = got;
    b->pos += sizeof(ngx_vmess_peer_t);

    return NGX_OK;
}


void
ngx_vmess_peer_create(ngx_vmess_peer_t *peer, ngx_sockaddr_t *sa,
    socklen_t socklen)
{
    ngx_memzero(peer, sizeof(ngx_vmess_peer_t));

    peer->socklen = (u_char) socklen;
    ngx_memcpy(peer->sockaddr, sa, socklen);
}
