
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_users.h"
#include "event/ngx_vmess_state.h"
#include "event/ngx_vmess_publish.h"
#include "proto/ngx_vmess_hash.h"
#include "proto/ngx_vmess_id.h"
#include "proto/ngx_vmess_name.h"


/* an id of fewer bytes, or of fewer different ones, is easily guessed */

#define NGX_STREAM_VMESS_ID_TEXT   16
#define NGX_STREAM_VMESS_ID_BYTES  6


typedef struct {
    ngx_vmess_zone_t          *zone;
    u_char                    *file_name;  /* of the last line */
    ngx_uint_t                 seen;       /* parameters, warned of */
} ngx_stream_vmess_users_t;


static ngx_vmess_zone_t *ngx_stream_vmess_users_zone(ngx_conf_t *cf,
    ngx_str_t *value);
static char *ngx_stream_vmess_users_line(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);
static ngx_int_t ngx_stream_vmess_users_line_check(ngx_conf_t *cf);
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
static ngx_int_t ngx_stream_vmess_users_line_skip_mark(ngx_conf_t *cf,
    ngx_stream_vmess_users_t *ctx);
static ngx_int_t ngx_stream_vmess_users_line_check_name(ngx_conf_t *cf,
    char *what, ngx_str_t *name);
static ngx_int_t ngx_stream_vmess_users_add(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static ngx_int_t ngx_stream_vmess_users_add_token(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static ngx_int_t ngx_stream_vmess_users_add_ids(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static ngx_vmess_user_conf_t *ngx_stream_vmess_users_add_owner(
    ngx_str_node_t *node);
static void ngx_stream_vmess_users_drain_size(ngx_vmess_zone_t *zone);
static void ngx_stream_vmess_users_line_wipe(void *data);
static ngx_int_t ngx_stream_vmess_users_state(ngx_conf_t *cf,
    ngx_vmess_param_t *param, ngx_str_t *value, void *field);


static ngx_vmess_param_t  ngx_stream_vmess_users_params[] = {

    { ngx_string("state="), ngx_stream_vmess_users_state, 0, 0, 0,
      "the name of a directory", NULL, 0 },

      ngx_vmess_null_param
};


char *
ngx_stream_vmess_users(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                      *rv;
    ngx_str_t                 *value;
    ngx_conf_t                 save;
    ngx_vmess_zone_t          *zone;
    ngx_stream_vmess_users_t   ctx;
    static ngx_str_t           where = ngx_string("in \"vmess_users\"");

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    zone = ngx_stream_vmess_users_zone(cf, &value[1]);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 3
        && ngx_parse_size(&value[2]) != NGX_ERROR && value[2].len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"vmess_users\", a "
                           "size stands behind the name: \"%V:%V\"",
                           &value[2], &zone->name, &value[2]);
        return NGX_CONF_ERROR;
    }

    if (ngx_vmess_param_parse(cf, 2, ngx_stream_vmess_users_params, zone,
                              &where, NULL)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ctx.zone = zone;
    ctx.file_name = cf->conf_file->file.name.data;
    ctx.seen = 0;

    save = *cf;
    cf->handler = ngx_stream_vmess_users_line;
    cf->handler_conf = (char *) &ctx;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (zone->users.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "vmess_users \"%V\" has no users, "
                           "a line must be \"name id [parameters];\"",
                           &zone->name);
    }

    if (zone->nlegacy > NGX_VMESS_TOKEN_IDS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%ui ids by \"alter_id\" in vmess_users \"%V\", "
                           "there may be %ui in all",
                           zone->nlegacy, &zone->name,
                           (ngx_uint_t) NGX_VMESS_TOKEN_IDS);
        return NGX_CONF_ERROR;
    }

    ngx_stream_vmess_users_drain_size(zone);

    if (ngx_vmess_alter_add(cf, zone) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* name[:size] */

static ngx_vmess_zone_t *
ngx_stream_vmess_users_zone(ngx_conf_t *cf, ngx_str_t *value)
{
    u_char     *p;
    ssize_t     size;
    ngx_shm_t   shm;
    ngx_str_t   name, s;

    name = *value;
    size = NGX_VMESS_ZONE_SIZE;

    p = (u_char *) ngx_strchr(name.data, ':');

    if (p) {
        s.data = p + 1;
        s.len = name.data + name.len - s.data;
        name.len = p - name.data;

        size = ngx_parse_size(&s);

        if (size == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid size \"%V\" of vmess_users, "
                               "it must be like \"16m\"", &s);
            return NULL;
        }

        if (size < (ssize_t) NGX_VMESS_ZONE_SIZE_MIN) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "vmess_users \"%V\" is too small, "
                               "the least size is 1m", &name);
            return NULL;
        }
    }

    if (name.len == 0
        || (name.len == 3 && ngx_strncmp(name.data, "off", 3) == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name in \"vmess_users %V\", it must not "
                           "be empty or \"off\"", value);
        return NULL;
    }

    if (ngx_stream_vmess_users_line_check_name(cf, "vmess_users", &name)
        != NGX_OK)
    {
        return NULL;
    }

    /* nginx would not say which one does not fit */

    ngx_memzero(&shm, sizeof(ngx_shm_t));

    shm.size = size;
    shm.name = name;
    shm.log = cf->log;

    if (ngx_shm_alloc(&shm) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no memory for the size of \"vmess_users %V\", "
                           "give it a smaller one", value);
        return NULL;
    }

    ngx_shm_free(&shm);

    return ngx_vmess_publish_add(cf, &name, size);
}


/* one line of the block: name id [parameter ...]; */

static char *
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
                           "name of user \"%V\" is longer than %d characters",
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


static ngx_int_t
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


static ngx_int_t
ngx_stream_vmess_users_add(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_vmess_user_conf_t  **userp;

    user->name.node.key = ngx_crc32_long(user->name.str.data,
                                         user->name.str.len);

    if (ngx_str_rbtree_lookup(&zone->names, &user->name.str,
                              user->name.node.key))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate user \"%V\" in vmess_users \"%V\"",
                           &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    if (ngx_stream_vmess_users_add_ids(cf, zone, user) != NGX_OK
        || ngx_stream_vmess_users_add_token(cf, zone, user) != NGX_OK)
    {
        return NGX_ERROR;
    }

    userp = ngx_array_push(&zone->users);
    if (userp == NULL) {
        return NGX_ERROR;
    }

    *userp = user;

    zone->nlegacy += user->value.limits.alter_id;

    ngx_rbtree_insert(&zone->names, &user->name.node);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_vmess_users_add_token(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_str_node_t         *token, *node;
    ngx_vmess_user_conf_t  *other;

    token = &user->token;

    token->str.data = user->value.limits.token;
    token->str.len = ngx_strlen(token->str.data);

    if (token->str.len == 0) {
        return NGX_OK;
    }

    token->node.key = ngx_crc32_short(token->str.data, token->str.len);

    node = ngx_str_rbtree_lookup(&zone->subscriptions, &token->str,
                                 token->node.key);

    if (node) {
        other = (ngx_vmess_user_conf_t *)
                    ((u_char *) node - offsetof(ngx_vmess_user_conf_t, token));

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "users \"%V\" and \"%V\" in vmess_users \"%V\" "
                           "have the same \"token=\", give each one of its own",
                           &other->name.str, &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    ngx_rbtree_insert(&zone->subscriptions, &token->node);

    return NGX_OK;
}


/* the same id gives the same CmdKey */

static ngx_int_t
ngx_stream_vmess_users_add_ids(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_uint_t              k;
    ngx_str_node_t         *id, *node;
    ngx_vmess_user_conf_t  *other;

    for (k = 0; k < user->value.ids; k++) {

        id = &user->id[k];

        id->str.len = NGX_VMESS_KEY_LEN;
        id->str.data = user->cmd_key[k];
        id->node.key = ngx_crc32_short(id->str.data, NGX_VMESS_KEY_LEN);

        node = ngx_str_rbtree_lookup(&zone->ids, &id->str, id->node.key);

        if (node == NULL) {
            ngx_rbtree_insert(&zone->ids, &id->node);
            continue;
        }

        other = ngx_stream_vmess_users_add_owner(node);

        if (other == user) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"also=\" of user \"%V\" is the id that the "
                               "user has, give another one", &user->name.str);
            return NGX_ERROR;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "users \"%V\" and \"%V\" in vmess_users \"%V\" "
                           "have the same id, give each one of its own",
                           &other->name.str, &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* whose one of the ids is */

static ngx_vmess_user_conf_t *
ngx_stream_vmess_users_add_owner(ngx_str_node_t *node)
{
    ngx_vmess_user_conf_t  *user;

    user = (ngx_vmess_user_conf_t *)
               ((u_char *) node - offsetof(ngx_vmess_user_conf_t, id));

    if (node->str.data != user->cmd_key[NGX_VMESS_USER_OWN]) {
        user = (ngx_vmess_user_conf_t *)
                   ((u_char *) (node - NGX_VMESS_USER_ALSO)
                    - offsetof(ngx_vmess_user_conf_t, id));
    }

    return user;
}


/*
 * VMess, "Failure behavior": how many bytes are swallowed from a client that
 * does not authenticate is constant for one set of users.
 */

static void
ngx_stream_vmess_users_drain_size(ngx_vmess_zone_t *zone)
{
    u_char                  data[16 + NGX_VMESS_KEY_LEN], digest[32];
    ngx_uint_t              i;
    ngx_vmess_user_conf_t **user;

    ngx_memzero(data, sizeof(data));
    ngx_memcpy(data, "VMess drain", sizeof("VMess drain") - 1);

    user = zone->users.elts;

    for (i = 0; i < zone->users.nelts; i++) {
        ngx_memcpy(data + 16, user[i]->cmd_key[NGX_VMESS_USER_OWN],
                   NGX_VMESS_KEY_LEN);
        ngx_vmess_hash_sha256(digest, data, sizeof(data));
        ngx_memcpy(data, digest, 16);
    }

    zone->drain = 54 + (data[0] << 8 | data[1]) % 3266;

    /* not less than what it may take to find a legacy header wrong */

    if (zone->nlegacy && zone->drain < NGX_VMESS_LEGACY_MAX) {
        zone->drain += NGX_VMESS_LEGACY_MAX;
    }

    ngx_explicit_memzero(data, sizeof(data));
}


static void
ngx_stream_vmess_users_line_wipe(void *data)
{
    ngx_vmess_user_conf_t *user = data;

    ngx_explicit_memzero(user->cmd_key, sizeof(user->cmd_key));
    ngx_explicit_memzero(user->value.id, sizeof(user->value.id));
    ngx_explicit_memzero(user->value.limits.token, NGX_VMESS_TOKEN_LEN);
}


static ngx_int_t
ngx_stream_vmess_users_state(ngx_conf_t *cf, ngx_vmess_param_t *param,
    ngx_str_t *value, void *field)
{
    ngx_vmess_zone_t *zone = field;

    if (value->len == 0) {
        return NGX_DECLINED;
    }

    return ngx_vmess_state_add(cf, zone, value);
}
