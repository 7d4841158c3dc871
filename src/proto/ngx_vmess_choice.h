
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_CHOICE_H_INCLUDED_
#define _NGX_VMESS_CHOICE_H_INCLUDED_


#include "ngx_vmess_profile.h"


/* the page for people, behind the formats of profiles */

#define NGX_VMESS_CHOICE_PAGE  NGX_VMESS_PROFILE_FORMATS


/*
 * What a client is to get of a subscription.  The first of these that tells is
 * taken; a client that says nothing gets links of v2rayN, which most can read.
 *
 * format  the argument "format": one of the names below, of any case; empty or
 *         anything else tells nothing
 * accept  the header "Accept", in which "text/html" asks for the page
 * agent   the header "User-Agent", in which names of clients are looked for
 *
 * A ngx_vmess_profile_format_e, or NGX_VMESS_CHOICE_PAGE.
 */
ngx_uint_t ngx_vmess_choice_format(ngx_str_t *format, ngx_str_t *accept,
    ngx_str_t *agent);


#endif /* _NGX_VMESS_CHOICE_H_INCLUDED_ */
