
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_STATUS_SAMPLE_H_INCLUDED_
#define _NGX_HTTP_VMESS_STATUS_SAMPLE_H_INCLUDED_


#include "ngx_http_vmess_status.h"
#include "proto/ngx_vmess_text_out.h"


/*
 * Lines of metrics in the text formats of Prometheus and OpenMetrics: the head
 * of a family, and its samples.
 */


/* types: which suffix a name has */

#define NGX_HTTP_VMESS_STATUS_GAUGE      0
#define NGX_HTTP_VMESS_STATUS_COUNTER    1
#define NGX_HTTP_VMESS_STATUS_HISTOGRAM  2
#define NGX_HTTP_VMESS_STATUS_INFO       3


typedef struct ngx_http_vmess_status_family_s  ngx_http_vmess_status_family_t;


/* where a sample is written */

typedef struct {
    ngx_http_vmess_status_t         *st;
    ngx_http_vmess_status_family_t  *family;
    ngx_uint_t                       labels;
    ngx_vmess_text_out_t             to;
} ngx_http_vmess_status_metric_t;


/*
 * writes sample "n", if there is something to tell; NGX_DECLINED: that is all
 */

typedef ngx_int_t (*ngx_http_vmess_status_sample_pt)(
    ngx_http_vmess_status_metric_t *m, ngx_uint_t n);


struct ngx_http_vmess_status_family_s {
    const char                       *name;
    ngx_uint_t                        type;
    const char                       *unit;    /* NULL: none */
    const char                       *help;
    ngx_http_vmess_status_sample_pt   sample;
    size_t                            offset;  /* in the status, or a user */
    ngx_uint_t                        down;    /* a direction alone */
};


/* writes what stands before the samples of a family */
void ngx_http_vmess_status_sample_head(ngx_http_vmess_status_metric_t *m);

/*
 * A sample: _begin(), labels, which are text, a word of ours or a number, and
 * then its value.
 *
 * suffix  of the name; NULL: that of the family's type
 */
void ngx_http_vmess_status_sample_begin(ngx_http_vmess_status_metric_t *m,
    const char *suffix);
void ngx_http_vmess_status_sample_label(ngx_http_vmess_status_metric_t *m,
    const char *key, ngx_str_t *value);
void ngx_http_vmess_status_sample_word(ngx_http_vmess_status_metric_t *m,
    const char *key, const char *value);
void ngx_http_vmess_status_sample_number(ngx_http_vmess_status_metric_t *m,
    const char *key, ngx_uint_t value);
void ngx_http_vmess_status_sample_value(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t value);


#endif /* _NGX_HTTP_VMESS_STATUS_SAMPLE_H_INCLUDED_ */
