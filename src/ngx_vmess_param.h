
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_PARAM_H_INCLUDED_
#define _NGX_VMESS_PARAM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_vmess_param_s  ngx_vmess_param_t;


/*
 * Sets the field of a parameter.
 *
 * value  what follows "=", empty for a word
 *
 * NGX_OK; NGX_DECLINED the value is invalid; NGX_ERROR no memory, or another
 * failure, which was logged.
 */
typedef ngx_int_t (*ngx_vmess_param_pt)(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


/* a parameter of a directive: "name=value", or a word */

struct ngx_vmess_param_s {
    ngx_str_t                  name;       /* with "=" if it has a value */
    ngx_vmess_param_pt         set;
    size_t                     offset;     /* in the configuration */
    ssize_t                    min;
    ssize_t                    max;
    char                      *text;       /* what the value must be */
    void                      *post;
    ngx_uint_t                 repeated;   /* may be given several times */
};


#define ngx_vmess_null_param                                                  \
    { ngx_null_string, NULL, 0, 0, 0, NULL, NULL, 0 }


/*
 * Sets parameters, the arguments of a directive from "first" on.
 *
 * where  for messages: in "vmess_kcp"
 * seen   on NGX_OK the bits of those given, in the order of the table; may be
 *        NULL
 *
 * NGX_OK; NGX_ERROR after an error that was logged: of a parameter unknown,
 * duplicate, or invalid.  The value of one unknown is not shown, as it may be
 * a secret.
 */
ngx_int_t ngx_vmess_param_parse(ngx_conf_t *cf, ngx_uint_t first,
    ngx_vmess_param_t *params, void *conf, ngx_str_t *where,
    ngx_uint_t *seen);

/*
 * Says that there is no such parameter, and which ones there are: those of the
 * table and "more", such as ", \"id=\"".
 */
void ngx_vmess_param_unknown(ngx_conf_t *cf, ngx_vmess_param_t *params,
    ngx_str_t *arg, ngx_str_t *where, char *more);

/* the parameter of the table that an argument is, NULL if there is none */
ngx_vmess_param_t *ngx_vmess_param_find(ngx_vmess_param_t *params,
    ngx_str_t *arg);

/*
 * Refuses a zero byte in any argument of a directive: strings are compared up
 * to it.  For those that have more than parameters.  NGX_OK, or NGX_ERROR
 * after an error that was logged.
 */
ngx_int_t ngx_vmess_param_args(ngx_conf_t *cf);

/* a slot for a number, size or time; "post" of the command is a parameter */
char *ngx_vmess_param_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/* setters: fields are size_t or of its size, except for time_t with "sec" */

ngx_int_t ngx_vmess_param_number(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);
ngx_int_t ngx_vmess_param_size(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);
ngx_int_t ngx_vmess_param_msec(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);
ngx_int_t ngx_vmess_param_sec(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);

/*
 * a day or a time of RFC 3339, or seconds since 1970, of which it is after:
 * time_t
 */
ngx_int_t ngx_vmess_param_time(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);

/* one of the names in "post", an array of ngx_conf_enum_t */
ngx_int_t ngx_vmess_param_enum(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);

/* a word, which sets the bits of "min" */
ngx_int_t ngx_vmess_param_word(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field);


#endif /* _NGX_VMESS_PARAM_H_INCLUDED_ */
