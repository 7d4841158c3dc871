
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_vmess_api_change.h"
#include "proto/ngx_vmess_id.h"
#include "proto/ngx_vmess_name.h"


#define NGX_HTTP_VMESS_API_ID_TEXT                                            \
    "must be a UUID, or a text of 1 to 30 bytes"

#define NGX_HTTP_VMESS_API_TIME_TEXT                                          \
    "must be a time such as \"2027-01-31T18:00:00Z\", seconds since 1970, or " \
    "null"


/* in "ids" of what was read: the second id is one, not null */

#define NGX_HTTP_VMESS_API_ALSO_GIVEN  2


static ngx_int_t ngx_http_vmess_api_change_key(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_value(
    ngx_http_vmess_api_reader_t *rd, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_name(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_id(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_until(
    ngx_http_vmess_api_reader_t *rd, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_tags(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_limit(
    ngx_http_vmess_api_reader_t *rd, ngx_vmess_json_t *js,
    ngx_http_vmess_api_error_t *err);
static ngx_int_t ngx_http_vmess_api_change_invalid(
    ngx_http_vmess_api_reader_t *rd, ngx_http_vmess_api_error_t *err,
    const char *fmt, ...);
static ngx_int_t ngx_http_vmess_api_change_unknown(ngx_str_t *name,
    ngx_http_vmess_api_error_t *err);


static ngx_str_t  ngx_http_vmess_api_change_token = ngx_string("token");


ngx_int_t
ngx_http_vmess_api_change_event(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    if (!rd->open) {

        if (js->event != NGX_VMESS_JSON_OBJECT) {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter", NULL,
                                            "a user must be an object");
        }

        rd->open = 1;

        return NGX_AGAIN;
    }

    if (rd->removal) {

        if (js->event != NGX_VMESS_JSON_TRUE
            && js->event != NGX_VMESS_JSON_FALSE)
        {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                            "remove", "must be true or false");
        }

        rd->removal = 0;
        rd->change->remove = (js->event == NGX_VMESS_JSON_TRUE);

        return NGX_AGAIN;
    }

    if (rd->field) {
        return ngx_http_vmess_api_change_value(rd, js, err);
    }

    if (js->event == NGX_VMESS_JSON_OBJECT_END) {
        return NGX_OK;
    }

    return ngx_http_vmess_api_change_key(rd, js, err);
}


static ngx_int_t
ngx_http_vmess_api_change_key(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    uint32_t  bit;

    if (rd->many && js->value.len == sizeof("remove") - 1
        && ngx_memcmp(js->value.data, "remove", js->value.len) == 0)
    {
        if (rd->removed) {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                            "remove", "is there twice");
        }

        rd->removal = 1;
        rd->removed = 1;

        return NGX_AGAIN;
    }

    rd->field = ngx_http_vmess_api_field(&js->value);

    if (rd->field == NULL) {
        return ngx_http_vmess_api_change_unknown(&js->value, err);
    }

    bit = ngx_http_vmess_api_field_bit(rd->field);

    if (rd->change->given & bit) {
        return ngx_http_vmess_api_change_invalid(rd, err, "is there twice");
    }

    rd->change->given |= bit;

    return NGX_AGAIN;
}


/* what GET gave may be sent back: what cannot be set is ignored */

static ngx_int_t
ngx_http_vmess_api_change_value(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_int_t  rc;

    switch (rd->field->kind) {

    case NGX_HTTP_VMESS_API_NAME:
        rc = ngx_http_vmess_api_change_name(rd, js, err);
        break;

    case NGX_HTTP_VMESS_API_ID:
    case NGX_HTTP_VMESS_API_ALSO:
        rc = ngx_http_vmess_api_change_id(rd, js, err);
        break;

    case NGX_HTTP_VMESS_API_UNTIL:
        rc = ngx_http_vmess_api_change_until(rd, js, err);
        break;

    case NGX_HTTP_VMESS_API_TAGS:
        return ngx_http_vmess_api_change_tags(rd, js, err);

    default:

        if (!ngx_http_vmess_api_is_read_only(rd->field)) {
            rc = ngx_http_vmess_api_change_limit(rd, js, err);
            break;
        }

        if (js->event == NGX_VMESS_JSON_OBJECT
            || js->event == NGX_VMESS_JSON_ARRAY)
        {
            return ngx_http_vmess_api_change_invalid(rd, err,
                                                "is read-only, leave it out");
        }

        rc = NGX_AGAIN;
    }

    rd->field = NULL;

    return rc;
}


static ngx_int_t
ngx_http_vmess_api_change_name(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_http_vmess_api_change_t  *change;

    change = rd->change;

    if (js->event != NGX_VMESS_JSON_STRING || js->value.len == 0
        || js->value.len > NGX_VMESS_USER_NAME_MAX)
    {
        return ngx_http_vmess_api_change_invalid(rd, err,
                                         "must be a string of 1 to %d bytes",
                                         NGX_VMESS_USER_NAME_MAX);
    }

    if (ngx_vmess_name_check(&js->value) != NGX_OK) {
        return ngx_http_vmess_api_change_invalid(rd, err,
                                     "has an invalid character, "
                                     NGX_VMESS_NAME_TEXT);
    }

    ngx_memcpy(change->name, js->value.data, js->value.len);

    change->value.name.data = change->name;
    change->value.name.len = js->value.len;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_change_id(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_uint_t          i;
    ngx_vmess_value_t  *value;

    value = &rd->change->value;

    i = (rd->field->kind == NGX_HTTP_VMESS_API_ID) ? NGX_VMESS_USER_OWN
                                                   : NGX_VMESS_USER_ALSO;

    if (i == NGX_VMESS_USER_ALSO && js->event == NGX_VMESS_JSON_NULL) {
        return NGX_AGAIN;
    }

    if (js->event != NGX_VMESS_JSON_STRING
        || ngx_strlchr(js->value.data, js->value.data + js->value.len, '\0')
        || ngx_vmess_id_parse(value->id[i], &js->value) != NGX_OK)
    {
        return ngx_http_vmess_api_change_invalid(rd, err,
                                         i == NGX_VMESS_USER_OWN
                                         ? NGX_HTTP_VMESS_API_ID_TEXT
                                         : NGX_HTTP_VMESS_API_ID_TEXT
                                           ", or null");
    }

    ngx_explicit_memzero(js->value.data, js->value.len);

    if (i == NGX_VMESS_USER_ALSO) {
        value->ids = NGX_HTTP_VMESS_API_ALSO_GIVEN;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_change_until(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    if (js->event == NGX_VMESS_JSON_NULL) {
        return NGX_AGAIN;
    }

    if ((js->event != NGX_VMESS_JSON_STRING
         && js->event != NGX_VMESS_JSON_INTEGER)
        || ngx_vmess_param_time(NULL, NULL, &js->value,
                                &rd->change->value.until)
           != NGX_OK)
    {
        return ngx_http_vmess_api_change_invalid(rd, err,
                                                 NGX_HTTP_VMESS_API_TIME_TEXT);
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_change_tags(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    if (!rd->tags) {

        if (js->event == NGX_VMESS_JSON_NULL) {
            rd->field = NULL;
            return NGX_AGAIN;
        }

        if (js->event == NGX_VMESS_JSON_ARRAY) {
            rd->tags = 1;
            return NGX_AGAIN;
        }

    } else if (js->event == NGX_VMESS_JSON_ARRAY_END) {
        rd->tags = 0;
        rd->field = NULL;
        return NGX_AGAIN;

    } else if (js->event == NGX_VMESS_JSON_INTEGER
               && js->integer >= 0 && js->integer < 64)
    {
        rd->change->value.tags |= (uint64_t) 1 << js->integer;
        return NGX_AGAIN;
    }

    return ngx_http_vmess_api_change_invalid(rd, err,
                          "must be a list of numbers from 0 to 63, or null");
}


static ngx_int_t
ngx_http_vmess_api_change_limit(ngx_http_vmess_api_reader_t *rd,
    ngx_vmess_json_t *js, ngx_http_vmess_api_error_t *err)
{
    ngx_str_t   *value;
    const char  *text;

    value = &js->value;

    if (rd->field->kind == NGX_HTTP_VMESS_API_FLAG) {

        if (js->event == NGX_VMESS_JSON_FALSE
            || js->event == NGX_VMESS_JSON_NULL)
        {
            value = NULL;

        } else if (js->event != NGX_VMESS_JSON_TRUE) {
            return ngx_http_vmess_api_change_invalid(rd, err,
                                                     "must be true or false");
        }

    } else if (js->event == NGX_VMESS_JSON_NULL) {
        value = NULL;

    } else if (js->event != NGX_VMESS_JSON_STRING
               && (js->event != NGX_VMESS_JSON_INTEGER
                   || rd->field->kind == NGX_HTTP_VMESS_API_PERIOD
                   || rd->field->kind == NGX_HTTP_VMESS_API_TOKEN
                   || rd->field->kind == NGX_HTTP_VMESS_API_WORD))
    {
        /* what is no value at all */

        value->len = 0;
    }

    if (ngx_vmess_limits_set(&rd->change->value.limits, &rd->field->name,
                             value, &text)
        != NGX_OK)
    {
        return ngx_http_vmess_api_change_invalid(rd, err,
                                                 "must be %s, or null", text);
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_vmess_api_change_invalid(ngx_http_vmess_api_reader_t *rd,
    ngx_http_vmess_api_error_t *err, const char *fmt, ...)
{
    u_char   text[sizeof(err->text)];
    va_list  args;

    va_start(args, fmt);
    *ngx_vslprintf(text, text + sizeof(text) - 1, fmt, args) = '\0';
    va_end(args);

    return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                    (char *) rd->field->name.data, "%s", text);
}


static ngx_int_t
ngx_http_vmess_api_change_unknown(ngx_str_t *name,
    ngx_http_vmess_api_error_t *err)
{
    u_char                      *p, *last, text[sizeof(err->text)];
    ngx_http_vmess_api_field_t  *field;

    p = text;
    last = text + sizeof(text);

    for (field = ngx_http_vmess_api_fields; field->name.len; field++) {

        if (!ngx_http_vmess_api_is_read_only(field)) {
            p = ngx_slprintf(p, last, "%s%V", p == text ? "" : ", ",
                             &field->name);
        }
    }

    return ngx_http_vmess_api_error(err, 422, "UnknownParameter", NULL,
                                    "there is no \"%V\", parameters are %*s",
                                    name, (size_t) (p - text), text);
}


void
ngx_http_vmess_api_change_clear(ngx_vmess_value_t *value)
{
    ngx_vmess_limits_t  limits;

    limits = value->limits;

    ngx_memzero(value, sizeof(ngx_vmess_value_t));

    ngx_vmess_limits_copy(&value->limits, &limits,
                          &ngx_http_vmess_api_change_token);

    ngx_explicit_memzero(&limits, sizeof(ngx_vmess_limits_t));
}


void
ngx_http_vmess_api_change_merge(ngx_http_vmess_api_change_t *change,
    ngx_vmess_value_t *value)
{
    ngx_vmess_value_t           *from;
    ngx_http_vmess_api_field_t  *field;

    from = &change->value;

    for (field = ngx_http_vmess_api_fields; field->name.len; field++) {

        if (!(change->given & ngx_http_vmess_api_field_bit(field))) {
            continue;
        }

        switch (field->kind) {

        case NGX_HTTP_VMESS_API_ID:
            ngx_memcpy(value->id[NGX_VMESS_USER_OWN],
                       from->id[NGX_VMESS_USER_OWN], NGX_VMESS_ID_LEN);
            value->ids = ngx_max(value->ids, 1);
            break;

        case NGX_HTTP_VMESS_API_ALSO:

            /* without an id of its own it has none at all */

            value->ids = ngx_min(value->ids, 1);

            ngx_memcpy(value->id[NGX_VMESS_USER_ALSO],
                       from->id[NGX_VMESS_USER_ALSO], NGX_VMESS_ID_LEN);

            if (from->ids & NGX_HTTP_VMESS_API_ALSO_GIVEN) {
                value->ids *= 2;

            } else {
                value->until = 0;
            }

            break;

        case NGX_HTTP_VMESS_API_UNTIL:
            value->until = from->until;
            break;

        case NGX_HTTP_VMESS_API_TAGS:
            value->tags = from->tags;
            break;

        default:

            if (ngx_http_vmess_api_is_limit(field)) {
                ngx_vmess_limits_copy(&value->limits, &from->limits,
                                      &field->name);
            }
        }
    }
}


ngx_int_t
ngx_http_vmess_api_change_check(ngx_vmess_value_t *value,
    ngx_http_vmess_api_error_t *err)
{
    u_char       token[NGX_VMESS_TOKEN_LEN];
    const char  *text;

    if (value->ids == 0) {
        return ngx_http_vmess_api_error(err, 422, "MissingParameter", "id",
                                        "is missing: "
                                        NGX_HTTP_VMESS_API_ID_TEXT);
    }

    if (value->ids == 1) {

        if (value->until) {
            return ngx_http_vmess_api_error(err, 422, "InvalidParameter",
                                            "until", "has no effect without "
                                            "\"also\", give the second id, "
                                            "too");
        }

    } else if (ngx_memcmp(value->id[NGX_VMESS_USER_OWN],
                          value->id[NGX_VMESS_USER_ALSO], NGX_VMESS_ID_LEN)
               == 0)
    {
        return ngx_http_vmess_api_error(err, 422, "InvalidParameter", "also",
                                        "must be another id than \"id\"");
    }

    ngx_memzero(token, NGX_VMESS_TOKEN_LEN);
    ngx_vmess_subscription_derive(token, value->id[NGX_VMESS_USER_OWN]);

    if (ngx_vmess_equal(token, value->limits.token, NGX_VMESS_TOKEN_LEN)) {
        (void) ngx_vmess_limits_set(&value->limits,
                                    &ngx_http_vmess_api_change_token, NULL,
                                    &text);
    }

    text = ngx_vmess_limits_check(&value->limits);

    if (text) {
        return ngx_http_vmess_api_error(err, 422, "InvalidParameter", NULL,
                                        "%s", text);
    }

    return NGX_OK;
}
