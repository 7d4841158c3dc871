
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_rewrite.h"
#include "ngx_http_vmess_compat.h"


typedef struct {
    ngx_uint_t                   index;
    ngx_http_variable_value_t    value;
} ngx_http_vmess_variable_t;


/* what was there when a request passed by */

struct ngx_http_vmess_saved_s {
    ngx_array_t                  variables;  /* ngx_http_vmess_variable_t */

#if (NGX_PCRE)
    ngx_uint_t                   ncaptures;
    int                         *captures;
    u_char                      *captures_data;
#endif
};


static ngx_int_t ngx_http_vmess_rewrite_run(ngx_http_request_t *r,
    u_char *codes, ngx_array_t *saved);
static ngx_uint_t ngx_http_vmess_rewrite_known(ngx_http_script_code_pt code);


ngx_int_t
ngx_http_vmess_rewrite_set(ngx_http_vmess_ctx_t *ctx)
{
    u_char                     *codes;
    ngx_http_request_t         *r;
    ngx_http_vmess_saved_t     *saved;
#if (NGX_PCRE)
    ngx_http_core_main_conf_t  *cmcf;
#endif

    r = ctx->request;

    saved = ngx_pcalloc(r->pool, sizeof(ngx_http_vmess_saved_t));
    if (saved == NULL) {
        return NGX_ERROR;
    }

    ctx->saved = saved;

#if (NGX_PCRE)

    /* regular expressions of "map" in limits write into r->captures */

    saved->ncaptures = r->ncaptures;
    saved->captures_data = r->captures_data;

    /* without groups there is no memory */

    if (r->captures) {
        cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

        saved->captures = ngx_palloc(r->pool, cmcf->ncaptures * sizeof(int));
        if (saved->captures == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(saved->captures, r->captures, r->ncaptures * sizeof(int));
    }

#endif

    codes = ngx_http_vmess_compat_rewrite_codes(r);

    if (codes == NULL) {
        return NGX_OK;
    }

    if (ngx_array_init(&saved->variables, r->pool, 4,
                       sizeof(ngx_http_vmess_variable_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_vmess_rewrite_run(r, codes, &saved->variables);
}


/*
 * A "set" is a value and the code that stores it, and nothing runs beyond the
 * first code that is anything else: what else is there may answer the request,
 * or change what the client has sent, as "set $args" does.
 */

static ngx_int_t
ngx_http_vmess_rewrite_run(ngx_http_request_t *r, u_char *codes,
    ngx_array_t *saved)
{
    ngx_http_script_code_pt      code;
    ngx_http_script_engine_t     e;
    ngx_http_variable_value_t    value;
    ngx_http_vmess_variable_t   *v;
    ngx_http_script_var_code_t  *set;

    ngx_memzero(&e, sizeof(ngx_http_script_engine_t));
    ngx_memzero(&value, sizeof(ngx_http_variable_value_t));

    e.ip = codes;
    e.sp = &value;
    e.request = r;
    e.quote = 1;

    while (*(uintptr_t *) e.ip) {

        code = *(ngx_http_script_code_pt *) e.ip;

        if (code == ngx_http_script_set_var_code) {

            if (e.sp == &value) {
                break;
            }

            set = (ngx_http_script_var_code_t *) e.ip;

            v = ngx_array_push(saved);
            if (v == NULL) {
                return NGX_ERROR;
            }

            v->index = set->index;
            v->value = r->variables[set->index];

        } else if (code == ngx_http_script_value_code
                   || code == ngx_http_script_complex_value_code)
        {
            /* there is room for one */

            if (e.sp != &value) {
                break;
            }

        } else if (!ngx_http_vmess_rewrite_known(code)) {
            break;
        }

        code(&e);
    }

    return e.status ? NGX_ERROR : NGX_OK;
}


/* the codes in a value with variables */

static ngx_uint_t
ngx_http_vmess_rewrite_known(ngx_http_script_code_pt code)
{
    return code == ngx_http_script_copy_code
           || code == ngx_http_script_copy_var_code
#if (NGX_PCRE)
           || code == ngx_http_script_copy_capture_code
#endif
           || code == ngx_http_script_complex_value_end_code;
}


void
ngx_http_vmess_rewrite_restore(ngx_http_vmess_ctx_t *ctx)
{
    ngx_uint_t                  i;
    ngx_http_request_t         *r;
    ngx_http_vmess_saved_t     *saved;
    ngx_http_vmess_variable_t  *v;

    saved = ctx->saved;

    if (saved == NULL) {
        return;
    }

    ctx->saved = NULL;

    r = ctx->request;

    /* the first value of one that was set twice comes last */

    v = saved->variables.elts;

    for (i = saved->variables.nelts; i > 0; i--) {
        r->variables[v[i - 1].index] = v[i - 1].value;
    }

#if (NGX_PCRE)

    r->ncaptures = saved->ncaptures;
    r->captures_data = saved->captures_data;

    if (saved->captures) {
        r->captures = saved->captures;
    }

#endif
}
