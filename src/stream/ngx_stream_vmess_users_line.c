
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_users_line.h"
#include "ngx_stream_vmess_users_add.h"
#include "proto/ngx_vmess_id.h"
#include "proto/ngx_vmess_name.h"


/* an id of fewer bytes, or of fewer different ones, is easily guessed */

#define NGX_STREAM_VMESS_ID_TEXT   16
#define NGX_STREAM_VMESS_ID_BYTES  6


static ngx_int_t ngx_stream_vmess_users_line_check(ngx_conf_t *cf);
static ngx_int_t ngx_stream_vmess_users_line_skip_mark(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx);
static ngx_int_t ngx_stream_vmess_users_line_id(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text, u_char *id);
static char *ngx_stream_vmess_users_line_defaults(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx);
static ngx_int_t ngx_stream_vmess_users_line_also(ngx_conf_t *cf,
    ngx_vmess_user_conf_t *user);
static ngx_int_t ngx_stream_vmess_users_line_set_params(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx, ngx_vmess_user_conf_t *user);
static void ngx_stream_vmess_users_line_warn(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx, ngx_vmess_limits_t *limits,
    ngx_str_t *where);
static void ngx_stream_vmess_users_line_wipe(void *data);


/* one line of the block: name id [parameter ...]; */

char *
ngx_stream_vmess_users_line(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_stream_vmess_users_t *ctx = (ngx_stream_vmess_users_t *) conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_pool_cleanup_t     *cln;
    ngx_vmess_user_conf_t  *user;

    if (ngx_stream_vmess_users_line_skip_mark(cf, ctx) != NGX_OK
        || ngx_vmess_param_args(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[0].len == sizeof("include") - 1
        && ngx_strcmp(value[0].data, "include") == 0)
    {
        if (cf->args->nelts != 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"include\" in \"vmess_users\" takes one "
                               "file or mask, parameters stand behind the id "
                               "of a user");
            return NGX_CONF_ERROR;
        }

        rv = ngx_conf_include(cf, dummy, conf);

        ctx->file_name = cf->conf_file->file.name.data;

        return rv;
    }

    if (value[0].len == sizeof("vmess_user_defaults") - 1
        && ngx_strcmp(value[0].data, "vmess_user_defaults") == 0)
    {
        return ngx_stream_vmess_users_line_defaults(cf, ctx);
    }

    if (ngx_stream_vmess_users_line_check(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    user = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_user_conf_t));
    if (user == NULL) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_stream_vmess_users_line_wipe;
    cln->data = user;

    user->name.str = value[0];

    user->value.name = value[0];
    user->value.origin = NGX_VMESS_ORIGIN_CONF;

    user->file_name = cf->conf_file->file.name.data;
    user->line = cf->conf_file->line;

    if (ngx_stream_vmess_users_line_id(cf, &value[0], &value[1],
                                       user->value.id[NGX_VMESS_USER_OWN])
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    user->value.ids = 1;

    ngx_vmess_id_cmd_key(user->cmd_key[NGX_VMESS_USER_OWN],
                         user->value.id[NGX_VMESS_USER_OWN]);

    if (ngx_stream_vmess_users_line_also(cf, user) != NGX_OK
        || ngx_stream_vmess_users_line_set_params(cf, ctx, user) != NGX_OK
        || ngx_stream_vmess_users_add(cf, ctx->zone, user) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* the name, and that an id follows */

static ngx_int_t
ngx_stream_vmess_users_line_check(ngx_conf_t *cf)
{
    u_char              id[NGX_VMESS_ID_LEN];
    ngx_str_t          *value;
    ngx_vmess_param_t  *param;

    value = cf->args->elts;

    /* an id in the place of a name is a secret, too, and not shown */

    if (value[0].len >= 32
        && ngx_vmess_id_parse(id, &value[0]) == NGX_OK)
    {
        ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of user is a UUID, "
                           "a line must be \"name id [parameters];\"");
        return NGX_ERROR;
    }

    if (cf->args->nelts < 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user \"%V\" has no id, "
                           "a line must be \"name id [parameters];\"",
                           &value[0]);
        return NGX_ERROR;
    }

    param = ngx_vmess_param_find(ngx_vmess_limits_params, &value[1]);

    if (param) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is in the place of the id of user \"%V\", "
                           "a line must be \"name id [parameters];\"",
                           &param->name, &value[0]);
        return NGX_ERROR;
    }

    if (value[0].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "user has an empty name, "
                           "a line must be \"name id [parameters];\"");
        return NGX_ERROR;
    }

    if (value[0].len > NGX_VMESS_USER_NAME_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of user \"%V\" is longer than %d bytes",
                           &value[0], NGX_VMESS_USER_NAME_MAX);
        return NGX_ERROR;
    }

    return ngx_stream_vmess_users_line_check_name(cf, "user", &value[0]);
}


/* some editors start a file with U+FEFF, the byte order mark */

static ngx_int_t
ngx_stream_vmess_users_line_skip_mark(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx)
{
    ngx_str_t      *value;
    static u_char   mark[] = { 0xef, 0xbb, 0xbf };

    if (cf->conf_file->file.name.data == ctx->file_name) {
        return NGX_OK;
    }

    ctx->file_name = cf->conf_file->file.name.data;

    value = cf->args->elts;

    if (value[0].len < sizeof(mark)
        || ngx_memcmp(value[0].data, mark, sizeof(mark)) != 0)
    {
        return NGX_OK;
    }

    value[0].data += sizeof(mark);
    value[0].len -= sizeof(mark);

    /* to nginx this was no comment, and its words are our arguments */

    if (value[0].len && value[0].data[0] == '#') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a comment follows the byte order mark at the start "
                           "of a file in \"vmess_users\", save the file "
                           "without the mark");
        return NGX_ERROR;
    }

    /* the mark stood on a line of its own */

    if (value[0].len == 0 && cf->args->nelts > 1) {
        cf->args->nelts--;
        ngx_memmove(value, value + 1, cf->args->nelts * sizeof(ngx_str_t));
    }

    return NGX_OK;
}


ngx_int_t
ngx_stream_vmess_users_line_check_name(ngx_conf_t *cf, char *what,
    ngx_str_t *name)
{
    if (ngx_vmess_name_check(name) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of %s \"%V\" has an invalid character, "
                           NGX_VMESS_NAME_TEXT, what, name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the id is a secret and not shown */

static ngx_int_t
ngx_stream_vmess_users_line_id(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text,
    u_char *id)
{
    u_char      ch, seen[256];
    ngx_uint_t  i, n, hex, bytes;

    if (ngx_vmess_id_parse(id, text) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid id of user \"%V\", it must be a UUID, "
                           "or a text of 1 to 30 bytes", name);
        return NGX_ERROR;
    }

    ngx_memzero(seen, sizeof(seen));

    n = 0;
    hex = 1;

    for (i = 0; i < text->len; i++) {
        ch = ngx_tolower(text->data[i]);

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f') && ch != '-') {
            hex = 0;
        }

        n += !seen[ch];
        seen[ch] = 1;
    }

    ngx_explicit_memzero(seen, sizeof(seen));

    /* a longer one is a UUID, with or without hyphens; of that only 0..0 */

    bytes = (text->len > 30) ? 3 : NGX_STREAM_VMESS_ID_BYTES;

    if (text->len < NGX_STREAM_VMESS_ID_TEXT || n < bytes) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "id of user \"%V\" is easily guessed, it should be "
                           "a random UUID, as /proc/sys/kernel/random/uuid "
                           "has", name);

    } else if (hex && text->len >= 20 && text->len <= 30) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "id of user \"%V\" looks like a part of a UUID, "
                           "and is taken as text", name);
    }

    ngx_explicit_memzero(text->data, text->len);

    return NGX_OK;
}


/* vmess_user_defaults [parameter ...]; */

static char *
ngx_stream_vmess_users_line_defaults(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx)
{
    ngx_uint_t           seen;
    const char          *text;
    ngx_vmess_zone_t    *zone;
    static ngx_str_t     where = ngx_string("in \"vmess_user_defaults\"");

    zone = ctx->zone;

    if (zone->defaults.given) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"vmess_user_defaults\" is duplicate in "
                           "vmess_users \"%V\", put all parameters into one",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (zone->users.nelts) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"vmess_user_defaults\" stands behind users of "
                           "vmess_users \"%V\", put it before all of them",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"vmess_user_defaults\" has no parameters, it "
                           "must be like "
                           "\"vmess_user_defaults max_conns=64;\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_vmess_param_parse(cf, 1, ngx_vmess_limits_params, &zone->defaults,
                              &where, &seen)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (seen & NGX_VMESS_LIMITS_TOKEN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"token=\" is in \"vmess_user_defaults\", but "
                           "each user needs one of its own, give it behind the "
                           "id of the user");
        return NGX_CONF_ERROR;
    }

    zone->defaults.given = seen;

    text = ngx_vmess_limits_check(&zone->defaults);

    if (text) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &where, text);
        return NGX_CONF_ERROR;
    }

    ngx_stream_vmess_users_line_warn(cf, ctx, &zone->defaults, &where);

    return NGX_CONF_OK;
}


/*
 * also=id [until=time]: takes them out of the arguments, which are limits then
 */

static ngx_int_t
ngx_stream_vmess_users_line_also(ngx_conf_t *cf, ngx_vmess_user_conf_t *user)
{
    ngx_str_t          *value, s;
    ngx_uint_t          i, n;
    ngx_vmess_value_t  *uv;

    value = cf->args->elts;
    uv = &user->value;

    for (i = 2, n = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "also=", 5) == 0) {

            if (uv->ids == NGX_VMESS_USER_IDS) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate parameter \"also=\" of user "
                                   "\"%V\"", &value[0]);
                return NGX_ERROR;
            }

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_stream_vmess_users_line_id(cf, &value[0], &s,
                                               uv->id[NGX_VMESS_USER_ALSO])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            ngx_vmess_id_cmd_key(user->cmd_key[NGX_VMESS_USER_ALSO],
                                 uv->id[NGX_VMESS_USER_ALSO]);

            uv->ids = NGX_VMESS_USER_IDS;

            continue;
        }

        if (ngx_strncmp(value[i].data, "until=", 6) == 0) {

            s.data = value[i].data + 6;
            s.len = value[i].len - 6;

            if (uv->until) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate parameter \"until=\" of user "
                                   "\"%V\"", &value[0]);
                return NGX_ERROR;
            }

            if (ngx_vmess_param_time(cf, NULL, &s, &uv->until) != NGX_OK) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid parameter \"%V\" of user \"%V\", "
                                   "it must be a time as in \"expires=\"",
                                   &value[i], &value[0]);
                return NGX_ERROR;
            }

            continue;
        }

        value[n++] = value[i];
    }

    cf->args->nelts = n;

    if (uv->until && uv->ids < NGX_VMESS_USER_IDS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user \"%V\": \"until\" has no effect without a "
                           "second id, give \"also=\" as well, or use "
                           "\"expires=\"", &value[0]);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_users_line_set_params(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx, ngx_vmess_user_conf_t *user)
{
    u_char                         where[sizeof("of user \"\"")
                                         + NGX_VMESS_USER_NAME_MAX];
    ngx_str_t                     *value, s;
    const char                    *text;
    ngx_uint_t                     i, seen;

    value = cf->args->elts;

    s.data = where;
    s.len = ngx_sprintf(where, "of user \"%V\"", &value[0]) - where;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_vmess_param_find(ngx_vmess_limits_params, &value[i])) {
            continue;
        }

        /* it may be an id, and is not shown */

        if (ngx_strchr(value[i].data, '=') == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "a word without \"=\" follows the id of user "
                               "\"%V\", is the semicolon missing? parameters "
                               "are like \"quota=100g\"", &value[0]);
            return NGX_ERROR;
        }

        ngx_vmess_param_unknown(cf, ngx_vmess_limits_params, &value[i], &s,
                                ", \"also=\", \"until=\"");
        return NGX_ERROR;
    }

    if (ngx_vmess_param_parse(cf, 2, ngx_vmess_limits_params,
                              &user->value.limits, &s, &seen)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    user->value.limits.given = seen;

    ngx_vmess_limits_inherit(&user->value.limits, &ctx->zone->defaults);

    text = ngx_vmess_limits_check(&user->value.limits);

    if (text) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "user \"%V\": %s", &value[0],
                           text);
        return NGX_ERROR;
    }

    ngx_stream_vmess_users_line_warn(cf, ctx, &user->value.limits, &s);

    if ((seen & NGX_VMESS_LIMITS_RESET) && user->value.limits.quota == 0
        && user->value.limits.quota_reset.unit != NGX_VMESS_PERIOD_NEVER)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"quota_reset\" %V has no effect without a "
                           "\"quota\"", &s);
    }

    return NGX_OK;
}


/* once for all users of the zone, at the line of the first that has it */

static void
ngx_stream_vmess_users_line_warn(ngx_conf_t *cf, ngx_stream_vmess_users_t *ctx,
    ngx_vmess_limits_t *limits, ngx_str_t *where)
{
    ngx_uint_t  seen;

    seen = limits->given & ~ctx->seen;

    /* "alter_id=0" is nothing to warn of */

    if (limits->alter_id == 0) {
        seen &= ~NGX_VMESS_LIMITS_ALTER_ID;
    }

    if (seen & NGX_VMESS_LIMITS_ALTER_ID) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"alter_id\" %V in vmess_users \"%V\" permits "
                           "the original header, which is weaker than that of "
                           "current clients", where, &ctx->zone->name);
    }

    ctx->seen |= seen;
}


static void
ngx_stream_vmess_users_line_wipe(void *data)
{
    ngx_vmess_user_conf_t *user = data;

    ngx_explicit_memzero(user->cmd_key, sizeof(user->cmd_key));
    ngx_explicit_memzero(user->value.id, sizeof(user->value.id));
    ngx_explicit_memzero(user->value.limits.token, NGX_VMESS_TOKEN_LEN);
}
