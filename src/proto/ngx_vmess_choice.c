
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_choice.h"


/* bytes of a header that are looked at */

#define NGX_VMESS_CHOICE_MAX  512


typedef struct {
    ngx_str_t                  name;       /* in lower case */
    ngx_uint_t                 format;
} ngx_vmess_choice_name_t;


static ngx_uint_t ngx_vmess_choice_has(ngx_str_t *text, ngx_str_t *name);


static ngx_vmess_choice_name_t  ngx_vmess_choice_formats[] = {
    { ngx_string("v2rayn"), NGX_VMESS_PROFILE_V2RAYN },
    { ngx_string("base64"), NGX_VMESS_PROFILE_V2RAYN },
    { ngx_string("uri"), NGX_VMESS_PROFILE_URI },
    { ngx_string("shadowrocket"), NGX_VMESS_PROFILE_SHADOWROCKET },
    { ngx_string("mihomo"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash-meta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash"), NGX_VMESS_PROFILE_CLASH },
    { ngx_string("stash"), NGX_VMESS_PROFILE_CLASH },
    { ngx_string("sing-box"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("singbox"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("surge"), NGX_VMESS_PROFILE_SURGE },
    { ngx_string("quantumult-x"), NGX_VMESS_PROFILE_QUANTUMULT_X },
    { ngx_string("quantumultx"), NGX_VMESS_PROFILE_QUANTUMULT_X },
    { ngx_string("loon"), NGX_VMESS_PROFILE_LOON },
    { ngx_string("html"), NGX_VMESS_CHOICE_PAGE },
    { ngx_null_string, 0 }
};


/*
 * The first that is there.  Some clients name others, as
 * "HiddifyNext/2.0 (android) like ClashMeta v2ray sing-box", so they come
 * first, and what is a part of other names comes last.
 */

static ngx_vmess_choice_name_t  ngx_vmess_choice_agents[] = {
    { ngx_string("hiddify"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("karing"), NGX_VMESS_PROFILE_SING_BOX },

    { ngx_string("shadowrocket"), NGX_VMESS_PROFILE_SHADOWROCKET },
    { ngx_string("quantumult%20x"), NGX_VMESS_PROFILE_QUANTUMULT_X },
    { ngx_string("quantumult x"), NGX_VMESS_PROFILE_QUANTUMULT_X },
    { ngx_string("stash"), NGX_VMESS_PROFILE_CLASH },

    { ngx_string("mihomo"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash-verge"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash verge"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash-nyanpasu"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash nyanpasu"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash-meta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash.meta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clashmeta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clashx meta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clashx%20meta"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("flclash"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("koala-clash"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("flowvy"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("murge"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("prizrak-box"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("nekobox"), NGX_VMESS_PROFILE_MIHOMO },
    { ngx_string("clash"), NGX_VMESS_PROFILE_CLASH },

    { ngx_string("sing-box"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("singbox"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("sfa/"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("sfi/"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("sfm/"), NGX_VMESS_PROFILE_SING_BOX },
    { ngx_string("sft/"), NGX_VMESS_PROFILE_SING_BOX },

    { ngx_string("surge"), NGX_VMESS_PROFILE_SURGE },
    { ngx_string("loon/"), NGX_VMESS_PROFILE_LOON },
    { ngx_null_string, 0 }
};


static ngx_str_t  ngx_vmess_choice_html = ngx_string("text/html");


ngx_uint_t
ngx_vmess_choice_format(ngx_str_t *format, ngx_str_t *accept, ngx_str_t *agent)
{
    ngx_vmess_choice_name_t  *n;

    for (n = ngx_vmess_choice_formats; n->name.len; n++) {

        if (format->len == n->name.len
            && ngx_vmess_choice_has(format, &n->name))
        {
            return n->format;
        }
    }

    if (ngx_vmess_choice_has(accept, &ngx_vmess_choice_html)) {
        return NGX_VMESS_CHOICE_PAGE;
    }

    for (n = ngx_vmess_choice_agents; n->name.len; n++) {

        if (ngx_vmess_choice_has(agent, &n->name)) {
            return n->format;
        }
    }

    return NGX_VMESS_PROFILE_V2RAYN;
}


static ngx_uint_t
ngx_vmess_choice_has(ngx_str_t *text, ngx_str_t *name)
{
    size_t  i, k, len;

    len = ngx_min(text->len, NGX_VMESS_CHOICE_MAX);

    for (i = 0; name->len <= len - i && i < len; i++) {

        for (k = 0; k < name->len; k++) {

            if (ngx_tolower(text->data[i + k]) != name->data[k]) {
                break;
            }
        }

        if (k == name->len) {
            return 1;
        }
    }

    return 0;
}
