
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PACKETADDR_H_INCLUDED_
#define _NGX_VMESS_PACKETADDR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_address.h"


/* packetaddr: type, address and port before each datagram */

#define NGX_VMESS_PACKETADDR_IPV4_LEN  (1 + 4 + 2)
#define NGX_VMESS_PACKETADDR_MAX       (1 + 16 + 2)


/*
 * Parses the prefix of a datagram (packetaddr) at *p, of which last - *p bytes
 * are there; on NGX_OK moves *p past it.
 *
 * NGX_OK     valid
 * NGX_ERROR  address->err says what is wrong with the datagram
 */
ngx_int_t ngx_vmess_packetaddr_parse(ngx_vmess_address_t *address,
    u_char **p, u_char *last);

/*
 * Creates the prefix of a datagram right before last, at most
 * NGX_VMESS_PACKETADDR_MAX bytes; returns its start, or NULL if sa is neither
 * IPv4 nor IPv6.
 */
u_char *ngx_vmess_packetaddr_create(u_char *last, struct sockaddr *sa);


#endif /* _NGX_VMESS_PACKETADDR_H_INCLUDED_ */
