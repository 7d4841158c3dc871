
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_ADDRESS_H_INCLUDED_
#define _NGX_VMESS_ADDRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


#define NGX_VMESS_ADDR_IPV4    1
#define NGX_VMESS_ADDR_DOMAIN  2
#define NGX_VMESS_ADDR_IPV6    3

/*
 * Port and address as in the request header, Mux.Cool and XUDP.  A domain that
 * is an address in text, if it starts with a digit or a bracket or has a
 * colon, becomes that address, and an IPv4-mapped IPv6 address becomes IPv4,
 * as with Go peers.  One trailing dot of a domain is dropped, letters become
 * lower case, and an empty label is refused.
 */

typedef struct {
    ngx_uint_t        type;       /* NGX_VMESS_ADDR_... after the above */
    in_port_t         port;       /* host byte order */
    ngx_str_t         domain;     /* in data below, not terminated */
    u_char            addr[16];   /* network byte order, 4 or 16 bytes */
    u_char            data[255];
    const char       *err;
} ngx_vmess_address_t;


/*
 * Parses port, type and address at *p, of which last - *p bytes are there;
 * on NGX_OK moves *p past them.
 *
 * NGX_OK     whole and valid
 * NGX_AGAIN  more bytes are needed
 * NGX_ERROR  address->err says what is wrong; address->domain is the domain
 *            that is invalid, or empty
 */
ngx_int_t ngx_vmess_address_parse(ngx_vmess_address_t *address, u_char **p,
    u_char *last);

/* of an invalid domain, for a log */

#define NGX_VMESS_ADDRESS_ESCAPED  (4 * 255)

/*
 * Writes the domain with bytes other than visible ASCII as "\xHH".
 *
 * dst  room for NGX_VMESS_ADDRESS_ESCAPED bytes
 *
 * Returns the end of it.
 */
u_char *ngx_vmess_address_escape(const ngx_vmess_address_t *address,
    u_char *dst);

/* as the address of a socket; its length.  It must not be a domain */
socklen_t ngx_vmess_address_sockaddr(ngx_vmess_address_t *address,
    ngx_sockaddr_t *sa);

/*
 * Size of the address of a socket, 4 or 16 bytes, or 0 if sa is NULL or of a
 * family that peers do not know.  A socket of both families yields IPv4-mapped
 * addresses, which peers do not know either: they become IPv4.  port is in
 * host byte order.
 */
size_t ngx_vmess_address_bytes(struct sockaddr *sa, u_char **addr,
    in_port_t *port);

/*
 * Writes the address of a socket as one of IPv6, 16 bytes: IPv4 is mapped.
 * NGX_OK, or NGX_DECLINED: it is of another family, and addr is not changed.
 */
ngx_int_t ngx_vmess_address_mapped(struct sockaddr *sa, u_char *addr);

/* the same of the network that a client may have: of IPv6 its /64 */
ngx_int_t ngx_vmess_address_network(struct sockaddr *sa, u_char *addr);


#endif /* _NGX_VMESS_ADDRESS_H_INCLUDED_ */
