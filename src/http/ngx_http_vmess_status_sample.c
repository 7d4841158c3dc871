
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_status_sample.h"


static void ngx_http_vmess_status_sample_line(
    ngx_http_vmess_status_metric_t *m, const char *keyword, const char *text);
static void ngx_http_vmess_status_sample_name(
    ngx_http_vmess_status_metric_t *m, const char *suffix);


/* by ngx_http_vmess_status_names_e */

static const char  *ngx_http_vmess_status_prefixes[] = {
    "nginx_vmess_",
    "xray_",
    "v2ray_"
};


static const char  *ngx_http_vmess_status_types[] = {
    "gauge",
    "counter",
    "histogram",
    "info"
};


static const char  *ngx_http_vmess_status_suffixes[] = {
    "",
    "_total",
    "",
    "_info"
};


/* in OpenMetrics a family has no suffix, and its type is what it is */

void
ngx_http_vmess_status_sample_head(ngx_http_vmess_status_metric_t *m)
{
    ngx_uint_t  type;

    type = m->family->type;

    if (!m->st->format->variant && type == NGX_HTTP_VMESS_STATUS_INFO) {
        type = NGX_HTTP_VMESS_STATUS_GAUGE;
    }

    ngx_http_vmess_status_sample_line(m, "# HELP ", m->family->help);
    ngx_http_vmess_status_sample_line(m, "# TYPE ",
                                      ngx_http_vmess_status_types[type]);

    if (m->st->format->variant && m->family->unit) {
        ngx_http_vmess_status_sample_line(m, "# UNIT ", m->family->unit);
    }
}


static void
ngx_http_vmess_status_sample_line(ngx_http_vmess_status_metric_t *m,
    const char *keyword, const char *text)
{
    ngx_vmess_text_out_word(&m->to, keyword);
    ngx_http_vmess_status_sample_name(m,
                          m->st->format->variant
                          ? ""
                          : ngx_http_vmess_status_suffixes[m->family->type]);
    ngx_vmess_text_out_word(&m->to, " ");
    ngx_vmess_text_out_word(&m->to, text);
    ngx_vmess_text_out_word(&m->to, "\n");
}


static void
ngx_http_vmess_status_sample_name(ngx_http_vmess_status_metric_t *m,
    const char *suffix)
{
    ngx_vmess_text_out_word(&m->to,
                            ngx_http_vmess_status_prefixes[m->st->names]);
    ngx_vmess_text_out_word(&m->to, m->family->name);
    ngx_vmess_text_out_word(&m->to, suffix);
}


/* begins a sample; of ours each one has the zone */

void
ngx_http_vmess_status_sample_begin(ngx_http_vmess_status_metric_t *m,
    const char *suffix)
{
    m->labels = 0;

    ngx_http_vmess_status_sample_name(m, suffix
                          ? suffix
                          : ngx_http_vmess_status_suffixes[m->family->type]);

    if (m->st->names == NGX_HTTP_VMESS_STATUS_NGINX) {
        ngx_http_vmess_status_sample_label(m, "zone", &m->st->zone->name);
    }
}


void
ngx_http_vmess_status_sample_label(ngx_http_vmess_status_metric_t *m,
    const char *key, ngx_str_t *value)
{
    ngx_vmess_text_out_word(&m->to, m->labels++ ? "," : "{");
    ngx_vmess_text_out_word(&m->to, key);
    ngx_vmess_text_out_word(&m->to, "=");
    ngx_vmess_text_out_metric(&m->to, value);
}


void
ngx_http_vmess_status_sample_word(ngx_http_vmess_status_metric_t *m,
    const char *key, const char *value)
{
    ngx_str_t  s;

    s.data = (u_char *) value;
    s.len = ngx_strlen(value);

    ngx_http_vmess_status_sample_label(m, key, &s);
}


void
ngx_http_vmess_status_sample_number(ngx_http_vmess_status_metric_t *m,
    const char *key, ngx_uint_t value)
{
    u_char     text[NGX_INT_T_LEN];
    ngx_str_t  s;

    s.data = text;
    s.len = ngx_sprintf(text, "%ui", value) - text;

    ngx_http_vmess_status_sample_label(m, key, &s);
}


void
ngx_http_vmess_status_sample_value(ngx_http_vmess_status_metric_t *m,
    ngx_uint_t value)
{
    ngx_vmess_text_out_word(&m->to, m->labels ? "} " : " ");
    ngx_vmess_text_out_number(&m->to, value);
    ngx_vmess_text_out_word(&m->to, "\n");
}
