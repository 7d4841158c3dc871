
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_HTTP_VMESS_API_REQUEST_H_INCLUDED_
#define _NGX_HTTP_VMESS_API_REQUEST_H_INCLUDED_


#include "ngx_http_vmess_compat.h"
#include "event/ngx_vmess_state.h"
#include "event/ngx_vmess_edit.h"
#include "proto/ngx_vmess_json_out.h"


/* users that are looked at in one go: it takes less than a millisecond */

#define NGX_HTTP_VMESS_API_SLICE      256


typedef struct {
    ngx_vmess_zone_t         **zone;       /* NULL: no vmess_api here */
    ngx_uint_t                 write;
} ngx_http_vmess_api_loc_conf_t;


typedef struct ngx_http_vmess_api_ctx_s  ngx_http_vmess_api_ctx_t;

/*
 * One slice of a long work.
 *
 * NGX_AGAIN  more is to be done in the next turn of the event loop
 * NGX_BUSY   it is to be called again in ctx->delay ms
 * NGX_DONE   it waits, and what it waits for calls ngx_http_vmess_api_run()
 * other      what the request is finalized with
 */
typedef ngx_int_t (*ngx_http_vmess_api_step_pt)(ngx_http_vmess_api_ctx_t *ctx);


/* a request of the API */

struct ngx_http_vmess_api_ctx_s {
    ngx_http_request_t          *request;
    ngx_vmess_zone_t            *zone;
    ngx_uint_t                   write;    /* the location has "write" */
    ngx_str_t                    name;     /* of the user in the path */

    ngx_http_vmess_api_step_pt   step;
    void                        *data;     /* of the step */
    ngx_event_t                  event;    /* the next turn */
    ngx_msec_t                   delay;    /* until that */

    ngx_msec_t                   since;    /* it waits */

    /* of changes that are made */

    ngx_http_vmess_api_step_pt   answer;   /* when they are saved */
    ngx_uint_t                   number;   /* of ngx_vmess_state_ask() */
};


/* what is wrong with a request */

typedef struct {
    ngx_uint_t                 status;     /* of http */
    const char                *code;       /* a word for programs */
    const char                *field;      /* that is meant, or NULL */
    size_t                     len;
    u_char                     text[512];  /* what would be right */
} ngx_http_vmess_api_error_t;


/* sets an error; returns NGX_ERROR */
ngx_int_t ngx_http_vmess_api_error(ngx_http_vmess_api_error_t *err,
    ngx_uint_t status, const char *code, const char *field, const char *fmt,
    ...);

/* answers with the error; returns what the request is finalized with */
ngx_int_t ngx_http_vmess_api_send_error(ngx_http_request_t *r,
    ngx_http_vmess_api_error_t *err);

/* the same for an error without a field */
ngx_int_t ngx_http_vmess_api_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *fmt, ...);

/*
 * Answers with JSON: the text that was written, from start on; or without a
 * body if jo is NULL.  Returns what the request is finalized with.
 */
ngx_int_t ngx_http_vmess_api_send(ngx_http_request_t *r, ngx_uint_t status,
    u_char *start, ngx_vmess_json_out_t *jo);

/*
 * Sends the header; NGX_OK also if it is on its way, other: what the request is
 * finalized with
 */
ngx_int_t ngx_http_vmess_api_send_header(ngx_http_request_t *r);

/* prepares headers of an answer, whose length is not known if len < 0 */
void ngx_http_vmess_api_prepare(ngx_http_request_t *r, ngx_uint_t status,
    off_t len);

/* a writer with memory of the request; NULL if there is none */
u_char *ngx_http_vmess_api_writer(ngx_http_request_t *r,
    ngx_vmess_json_out_t *jo, size_t size);

/* adds a header to the answer; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_api_header(ngx_http_request_t *r, char *key,
    ngx_str_t *value);

/* sets ETag to that of a number of changes; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_vmess_api_set_etag(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t n);

/*
 * Whether If-Match of the request holds.
 *
 * exists  whether there is what it is about, whose last change is n
 *
 * NGX_OK, also if there is none; NGX_DECLINED
 */
ngx_int_t ngx_http_vmess_api_if_match(ngx_http_vmess_api_ctx_t *ctx,
    ngx_uint_t exists, ngx_uint_t n);

/*
 * Does work by steps, the first one at once.  To be called with a reference to
 * the request (r->main->count), which is given back when it is finalized.
 */
void ngx_http_vmess_api_run(ngx_http_vmess_api_ctx_t *ctx);

/*
 * A step, or the last of them, is done and has changed users: the next one,
 * which answers, is called when that is saved, if it is to be.  Returns what a
 * step returns.
 */
ngx_int_t ngx_http_vmess_api_save(ngx_http_vmess_api_ctx_t *ctx,
    ngx_http_vmess_api_step_pt answer);

/*
 * A step has to wait until others have changed many users, see
 * ngx_vmess_edit.h: returns what it returns then.
 */
ngx_int_t ngx_http_vmess_api_wait(ngx_http_vmess_api_ctx_t *ctx);

/* prepares a context for steps: NGX_OK, or NGX_ERROR */
ngx_int_t ngx_http_vmess_api_init(ngx_http_vmess_api_ctx_t *ctx);


extern ngx_module_t  ngx_http_vmess_api_module;


#endif /* _NGX_HTTP_VMESS_API_REQUEST_H_INCLUDED_ */
