
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_address.h"


static ngx_int_t ngx_vmess_address_domain(ngx_vmess_address_t *address,
    u_char *p, size_t len);
static ngx_int_t ngx_vmess_address_text(ngx_vmess_address_t *address);
static void ngx_vmess_address_ipv6(ngx_vmess_address_t *address,
    const u_char *addr);


ngx_int_t
ngx_vmess_address_parse(ngx_vmess_address_t *address, u_char **p,
    u_char *last)
{
    u_char     *pos;
    size_t      len;
    ngx_int_t   rc;

    pos = *p;
    address->err = NULL;
    ngx_str_null(&address->domain);

    /* VMess, "Instruction header": port, type, address */

    if (last - pos < 3) {
        return NGX_AGAIN;
    }

    address->port = (in_port_t) (pos[0] << 8 | pos[1]);
    address->type = pos[2];

    pos += 3;

    switch (address->type) {

    case NGX_VMESS_ADDR_IPV4:
        len = 4;
        break;

    case NGX_VMESS_ADDR_IPV6:
        len = 16;
        break;

    case NGX_VMESS_ADDR_DOMAIN:
        if (pos == last) {
            return NGX_AGAIN;
        }

        len = *pos++;
        break;

    default:
        address->err = "unknown address type";
        return NGX_ERROR;
    }

    if ((size_t) (last - pos) < len) {
        return NGX_AGAIN;
    }

    switch (address->type) {

    case NGX_VMESS_ADDR_IPV4:
        ngx_memcpy(address->addr, pos, 4);
        break;

    case NGX_VMESS_ADDR_IPV6:
        ngx_vmess_address_ipv6(address, pos);
        break;

    default: /* NGX_VMESS_ADDR_DOMAIN */
        rc = ngx_vmess_address_domain(address, pos, len);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    *p = pos + len;

    return NGX_OK;
}


static ngx_int_t
ngx_vmess_address_domain(ngx_vmess_address_t *address, u_char *p, size_t len)
{
    u_char      c, *d;
    ngx_uint_t  dot;

    if (len > 1 && p[len - 1] == '.') {
        len--;
    }

    if (len == 0) {
        address->err = "empty domain";
        return NGX_ERROR;
    }

    address->domain.data = address->data;
    address->domain.len = len;

    ngx_strlow(address->data, p, len);

    if (ngx_vmess_address_text(address) == NGX_OK) {
        return NGX_OK;
    }

    /* the characters that Go peers allow, and no empty label */

    dot = 1;

    for (d = address->data; len; d++, len--) {
        c = *d;

        if (c == '.' && !dot) {
            dot = 1;
            continue;
        }

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
            || c == '-' || c == '_')
        {
            dot = 0;
            continue;
        }

        address->err = "invalid domain";
        return NGX_ERROR;
    }

    if (dot) {
        address->err = "invalid domain";
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Go peers read a domain as an address if it starts with a digit or a bracket;
 * no name has a colon either, so "::1" is an address as well.  Only the
 * spelling that all software agrees on is accepted: ngx_inet_addr() reads
 * "0177.0.0.1" as decimal, others read it as octal.
 */

static ngx_int_t
ngx_vmess_address_text(ngx_vmess_address_t *address)
{
    char     text[NGX_INET6_ADDRSTRLEN + 1];
    u_char  *p, addr[16];
    size_t   len;

    p = address->domain.data;
    len = address->domain.len;

    if (*p != '[' && (*p < '0' || *p > '9')
        && ngx_strlchr(p, p + len, ':') == NULL)
    {
        return NGX_DECLINED;
    }

    if (len > 2 && *p == '[' && p[len - 1] == ']') {
        p++;
        len -= 2;
    }

    if (len >= sizeof(text)) {
        return NGX_DECLINED;
    }

    ngx_memcpy(text, p, len);
    text[len] = '\0';

    if (ngx_strlen(text) != len) {
        return NGX_DECLINED;
    }

    if (inet_pton(AF_INET, text, addr) == 1) {
        address->type = NGX_VMESS_ADDR_IPV4;
        ngx_memcpy(address->addr, addr, 4);
        ngx_str_null(&address->domain);

        return NGX_OK;
    }

    if (inet_pton(AF_INET6, text, addr) == 1) {
        ngx_vmess_address_ipv6(address, addr);
        ngx_str_null(&address->domain);

        return NGX_OK;
    }

    return NGX_DECLINED;
}


static void
ngx_vmess_address_ipv6(ngx_vmess_address_t *address, const u_char *addr)
{
    static const u_char  mapped[12] = { 0, 0, 0, 0, 0, 0,
                                        0, 0, 0, 0, 0xff, 0xff };

    if (ngx_memcmp(addr, mapped, 12) == 0) {
        address->type = NGX_VMESS_ADDR_IPV4;
        ngx_memcpy(address->addr, addr + 12, 4);
        return;
    }

    address->type = NGX_VMESS_ADDR_IPV6;
    ngx_memcpy(address->addr, addr, 16);
}


u_char *
ngx_vmess_address_escape(const ngx_vmess_address_t *address, u_char *dst)
{
    u_char  *p, *last;

    static const u_char  hex[] = "0123456789abcdef";

    p = address->domain.data;
    last = p + address->domain.len;

    for ( /* void */ ; p < last; p++) {

        if (*p > ' ' && *p < 0x7f && *p != '"' && *p != '\\') {
            *dst++ = *p;
            continue;
        }

        *dst++ = '\\';
        *dst++ = 'x';
        *dst++ = hex[*p >> 4];
        *dst++ = hex[*p & 0xf];
    }

    return dst;
}


socklen_t
ngx_vmess_address_sockaddr(ngx_vmess_address_t *address, ngx_sockaddr_t *sa)
{
    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

#if (NGX_HAVE_INET6)

    if (address->type == NGX_VMESS_ADDR_IPV6) {
        sa->sockaddr_in6.sin6_family = AF_INET6;
        sa->sockaddr_in6.sin6_port = htons(address->port);
        ngx_memcpy(&sa->sockaddr_in6.sin6_addr, address->addr, 16);

        return sizeof(struct sockaddr_in6);
    }

#endif

    sa->sockaddr_in.sin_family = AF_INET;
    sa->sockaddr_in.sin_port = htons(address->port);
    ngx_memcpy(&sa->sockaddr_in.sin_addr, address->addr, 4);

    return sizeof(struct sockaddr_in);
}


size_t
ngx_vmess_address_bytes(struct sockaddr *sa, u_char **addr, in_port_t *port)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (sa == NULL) {
        return 0;
    }

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        *addr = (u_char *) &sin->sin_addr;
        *port = ntohs(sin->sin_port);

        return 4;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        *addr = sin6->sin6_addr.s6_addr;
        *port = ntohs(sin6->sin6_port);

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            *addr += 12;
            return 4;
        }

        return 16;
#endif

    default:
        return 0;
    }
}


ngx_int_t
ngx_vmess_address_mapped(struct sockaddr *sa, u_char *addr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        ngx_memzero(addr, 10);
        ngx_memset(addr + 10, 0xff, 2);
        ngx_memcpy(addr + 12, &sin->sin_addr, 4);

        return NGX_OK;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        ngx_memcpy(addr, &sin6->sin6_addr, 16);

        return NGX_OK;
#endif

    default:
        return NGX_DECLINED;
    }
}


ngx_int_t
ngx_vmess_address_network(struct sockaddr *sa, u_char *addr)
{
    if (ngx_vmess_address_mapped(sa, addr) != NGX_OK) {
        return NGX_DECLINED;
    }

#if (NGX_HAVE_INET6)

    /* hosts change the lower half of their addresses */

    if (sa->sa_family == AF_INET6
        && !IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *) sa)->sin6_addr))
    {
        ngx_memzero(addr + 8, 8);
    }

#endif

    return NGX_OK;
}
