
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PROFILE_H_INCLUDED_
#define _NGX_VMESS_PROFILE_H_INCLUDED_


#include "ngx_vmess_share.h"
#include "ngx_vmess_text_out.h"


/* what a subscription answers */

typedef enum {
    NGX_VMESS_PROFILE_V2RAYN = 0,      /* lists of links in Base64 */
    NGX_VMESS_PROFILE_URI,
    NGX_VMESS_PROFILE_SHADOWROCKET,
    NGX_VMESS_PROFILE_MIHOMO,          /* YAML */
    NGX_VMESS_PROFILE_CLASH,           /* the old one, and Stash */
    NGX_VMESS_PROFILE_SING_BOX,        /* JSON with "outbounds" */
    NGX_VMESS_PROFILE_SURGE,           /* lines of fields */
    NGX_VMESS_PROFILE_QUANTUMULT_X,
    NGX_VMESS_PROFILE_LOON,
    NGX_VMESS_PROFILE_FORMATS
} ngx_vmess_profile_format_e;


/*
 * A buffer with as much room takes at least one more part: an entry in a list
 * is in Base64.
 */

#define NGX_VMESS_PROFILE_ROOM  (2 * NGX_VMESS_SHARE_TEXT_MAX)


/* what is written of a profile: the copy is a place to go back to */

typedef struct {
    ngx_vmess_profile_format_e     format;
    ngx_vmess_share_t             *shares;     /* checked; of the caller */
    ngx_uint_t                     nshares;

    ngx_uint_t                     step;       /* of the format */
    ngx_uint_t                     index;      /* of the share */
    ngx_vmess_text_out_t           to;
} ngx_vmess_profile_t;


/* the type of the content, as in Content-Type */
ngx_str_t *ngx_vmess_profile_type(ngx_vmess_profile_format_e format);

/*
 * Begins a profile.  The shares and their texts stay until it is written; names
 * that are there twice get numbers, as clients refuse them.
 */
void ngx_vmess_profile_init(ngx_vmess_profile_t *pr,
    ngx_vmess_profile_format_e format, ngx_vmess_share_t *shares,
    ngx_uint_t nshares);

/*
 * Writes the next part from *pos on, which is moved, and not beyond last.
 *
 * NGX_OK     that was all
 * NGX_AGAIN  call again with another buffer; it had less room than
 *            NGX_VMESS_PROFILE_ROOM left, if nothing was written
 */
ngx_int_t ngx_vmess_profile_write(ngx_vmess_profile_t *pr, u_char **pos,
    u_char *last);

/*
 * Why a share is not in profiles of this format: a text for people, "it has no
 * XHTTP" for instance, or NULL if it is.
 */
const char *ngx_vmess_profile_lacks(ngx_vmess_profile_format_e format,
    ngx_vmess_share_t *share);


#endif /* _NGX_VMESS_PROFILE_H_INCLUDED_ */
