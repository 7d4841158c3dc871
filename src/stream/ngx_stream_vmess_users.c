
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_module.h"
#include "event/ngx_vmess_zone.h"
#include "proto/ngx_vmess_crypto.h"
#include "proto/ngx_vmess_kdf.h"


typedef struct {
    ngx_vmess_zone_t          *zone;

    /* parameters used, of which this version makes nothing yet */

    ngx_uint_t                 unenforced;
} ngx_stream_vmess_users_t;


/* sets a field of a user; returns NULL, or what the value must be */

typedef char *(*ngx_stream_vmess_param_pt)(void *field, ngx_str_t *value);

typedef struct {
    ngx_str_t                  name;       /* with "=" */
    ngx_stream_vmess_param_pt  set;
    size_t                     offset;     /* in ngx_vmess_user_conf_t */
    char                      *unenforced; /* what nginx -t says of it */
} ngx_stream_vmess_param_t;


static char *ngx_stream_vmess_user(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);
static ngx_int_t ngx_stream_vmess_add_user(ngx_conf_t *cf,
    ngx_vmess_zone_t *zone, ngx_vmess_user_conf_t *user);
static void ngx_stream_vmess_drain_size(ngx_vmess_zone_t *zone);
static void ngx_stream_vmess_wipe_user(void *data);
static char *ngx_stream_vmess_alter_id(void *field, ngx_str_t *value);
static char *ngx_stream_vmess_expires(void *field, ngx_str_t *value);
static char *ngx_stream_vmess_quota(void *field, ngx_str_t *value);
static char *ngx_stream_vmess_rate(void *field, ngx_str_t *value);
static char *ngx_stream_vmess_max(void *field, ngx_str_t *value);


static ngx_stream_vmess_param_t  ngx_stream_vmess_params[] = {

    { ngx_string("alter_id="), ngx_stream_vmess_alter_id,
      offsetof(ngx_vmess_user_conf_t, alter_id),
      NULL },

    { ngx_string("expires="), ngx_stream_vmess_expires,
      offsetof(ngx_vmess_user_conf_t, expires),
      "it is not enforced" },

    { ngx_string("quota="), ngx_stream_vmess_quota,
      offsetof(ngx_vmess_user_conf_t, quota),
      "it is not enforced" },

    { ngx_string("rate="), ngx_stream_vmess_rate,
      offsetof(ngx_vmess_user_conf_t, rate),
      "it only sets $vmess_rate, for \"proxy_download_rate\"" },

    { ngx_string("max_conns="), ngx_stream_vmess_max,
      offsetof(ngx_vmess_user_conf_t, max_conns),
      "it is not enforced" },

    { ngx_string("max_ips="), ngx_stream_vmess_max,
      offsetof(ngx_vmess_user_conf_t, max_ips),
      "it is not enforced" },

    { ngx_null_string, NULL, 0, NULL }
};


char *
ngx_stream_vmess_users(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                      *rv;
    u_char                    *p;
    ssize_t                    size;
    ngx_str_t                 *value, name, s;
    ngx_uint_t                 i;
    ngx_conf_t                 save;
    ngx_vmess_zone_t          *zone;
    ngx_stream_vmess_users_t   ctx;
    ngx_stream_vmess_param_t  *param;

    value = cf->args->elts;

    name = value[1];
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
            return NGX_CONF_ERROR;
        }

        if (size < (ssize_t) NGX_VMESS_ZONE_SIZE_MIN) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "vmess_users \"%V\" is too small, "
                               "the least size is 1m", &name);
            return NGX_CONF_ERROR;
        }
    }

    if (name.len == 0
        || (name.len == 3 && ngx_strncmp(name.data, "off", 3) == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name in \"vmess_users %V\", it must not "
                           "be empty or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    zone = ngx_vmess_zone_add(cf, &name, size);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "state=", 6) == 0
            && value[i].len > 6)
        {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "\"state\" of vmess_users \"%V\" has no effect "
                               "in this version: nothing is saved", &name);
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of vmess_users, "
                           "only \"state=file\" is known, and a size stands "
                           "behind the name: \"%V:16m\"", &value[i], &name);
        return NGX_CONF_ERROR;
    }

    ctx.zone = zone;
    ctx.unenforced = 0;

    save = *cf;
    cf->handler = ngx_stream_vmess_user;
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

    for (i = 0; ngx_stream_vmess_params[i].set; i++) {

        param = &ngx_stream_vmess_params[i];

        if (!(ctx.unenforced & ((ngx_uint_t) 1 << i))
            || param->unenforced == NULL)
        {
            continue;
        }

        s.data = param->name.data;
        s.len = param->name.len - 1;

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "parameter \"%V\" of users in vmess_users \"%V\": "
                           "in this version %s",
                           &s, &zone->name, param->unenforced);
    }

    if (zone->nlegacy) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "users with \"alter_id\" in vmess_users \"%V\" may "
                           "use the original header, which is weaker than that "
                           "of current clients", &zone->name);
    }

    if (zone->nlegacy > NGX_VMESS_TOKEN_IDS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%ui ids by \"alter_id\" in vmess_users \"%V\", "
                           "there may be %ui in all",
                           zone->nlegacy, &zone->name,
                           (ngx_uint_t) NGX_VMESS_TOKEN_IDS);
        return NGX_CONF_ERROR;
    }

    ngx_stream_vmess_drain_size(zone);

    return NGX_CONF_OK;
}


/* one line of the block: name id [parameter ...]; */

static char *
ngx_stream_vmess_user(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_stream_vmess_users_t *ctx = (ngx_stream_vmess_users_t *) conf;

    char                      *err;
    u_char                     ch, *p, id[NGX_VMESS_ID_LEN];
    ngx_str_t                 *value, s;
    ngx_uint_t                 i, k, seen;
    ngx_pool_cleanup_t        *cln;
    ngx_vmess_user_conf_t     *user;
    ngx_stream_vmess_param_t  *param;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[0].data, "include") == 0) {
        return ngx_conf_include(cf, dummy, conf);
    }

    /* an id in the place of a name is a secret, too, and not shown */

    if (value[0].len >= 32
        && ngx_vmess_id_parse(id, &value[0]) == NGX_OK)
    {
        ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of user is a UUID, "
                           "a line must be \"name id [parameters];\"");
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user \"%V\" has no id, "
                           "a line must be \"name id [parameters];\"",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    if (value[0].len > NGX_VMESS_USER_NAME_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "name of user \"%V\" is longer than %d characters",
                           &value[0], NGX_VMESS_USER_NAME_MAX);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[0].len; i++) {
        ch = value[0].data[i];

        if (ch <= ' ' || ch == 0x7f || ch == '"' || ch == '\\') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "name of user \"%V\" has an invalid character, "
                               "spaces, quotes, backslashes and control "
                               "characters are not allowed", &value[0]);
            return NGX_CONF_ERROR;
        }
    }

    if (value[0].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "user has an empty name");
        return NGX_CONF_ERROR;
    }

    if (ngx_vmess_id_parse(id, &value[1]) != NGX_OK) {

        /* the id is a secret and not shown */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid id of user \"%V\", it must be a UUID, "
                           "or a text of 1 to 30 bytes", &value[0]);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {
        ch = ngx_tolower(value[1].data[i]);

        if ((ch < '0' || ch > '9') && (ch < 'a' || ch > 'f') && ch != '-') {
            break;
        }
    }

    if (i == value[1].len && i >= 20 && i <= 30) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "id of user \"%V\" looks like a part of a UUID, "
                           "and is taken as text", &value[0]);
    }

    ngx_explicit_memzero(value[1].data, value[1].len);

    user = ngx_pcalloc(cf->pool, sizeof(ngx_vmess_user_conf_t));
    if (user == NULL) {
        return NGX_CONF_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_stream_vmess_wipe_user;
    cln->data = user;

    ngx_vmess_cmd_key(user->cmd_key, id);
    ngx_memcpy(user->uuid, id, NGX_VMESS_ID_LEN);
    ngx_explicit_memzero(id, NGX_VMESS_ID_LEN);

    user->name.str = value[0];
    seen = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        for (k = 0; ngx_stream_vmess_params[k].set; k++) {
            param = &ngx_stream_vmess_params[k];

            if (value[i].len >= param->name.len
                && ngx_strncmp(value[i].data, param->name.data,
                               param->name.len)
                   == 0)
            {
                break;
            }
        }

        param = &ngx_stream_vmess_params[k];

        if (param->set == NULL) {
            p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

            s.data = value[i].data;
            s.len = p ? p - value[i].data : 0;

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" of user \"%V\", known "
                               "are alter_id, expires, quota, rate, max_conns "
                               "and max_ips, each with \"=\" and a value",
                               &s, &value[0]);
            return NGX_CONF_ERROR;
        }

        if (seen & ((ngx_uint_t) 1 << k)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%V\" of user \"%V\"",
                               &value[i], &value[0]);
            return NGX_CONF_ERROR;
        }

        seen |= (ngx_uint_t) 1 << k;

        s.data = value[i].data + param->name.len;
        s.len = value[i].len - param->name.len;

        err = param->set((u_char *) user + param->offset, &s);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of user \"%V\", "
                               "it must be %s", &value[i], &value[0], err);
            return NGX_CONF_ERROR;
        }
    }

    ctx->unenforced |= seen;

    if (ngx_stream_vmess_add_user(cf, ctx->zone, user) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_vmess_add_user(ngx_conf_t *cf, ngx_vmess_zone_t *zone,
    ngx_vmess_user_conf_t *user)
{
    ngx_str_node_t          *node;
    ngx_vmess_user_conf_t  **userp, *other;

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

    /* the same id gives the same CmdKey */

    user->id.str.len = NGX_VMESS_KEY_LEN;
    user->id.str.data = user->cmd_key;
    user->id.node.key = ngx_crc32_short(user->cmd_key, NGX_VMESS_KEY_LEN);

    node = ngx_str_rbtree_lookup(&zone->ids, &user->id.str,
                                 user->id.node.key);
    if (node) {
        other = (ngx_vmess_user_conf_t *)
                    ((u_char *) node - offsetof(ngx_vmess_user_conf_t, id));

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "users \"%V\" and \"%V\" in vmess_users \"%V\" "
                           "have the same id, give each one of its own",
                           &other->name.str, &user->name.str, &zone->name);
        return NGX_ERROR;
    }

    userp = ngx_array_push(&zone->users);
    if (userp == NULL) {
        return NGX_ERROR;
    }

    *userp = user;

    zone->nlegacy += user->alter_id;

    ngx_rbtree_insert(&zone->names, &user->name.node);
    ngx_rbtree_insert(&zone->ids, &user->id.node);

    return NGX_OK;
}


/*
 * VMess, "Failure behaviour": how many bytes are swallowed from a client that
 * does not authenticate is constant for one set of users.
 */

static void
ngx_stream_vmess_drain_size(ngx_vmess_zone_t *zone)
{
    u_char                  data[16 + NGX_VMESS_KEY_LEN], digest[32];
    ngx_uint_t              i;
    ngx_vmess_user_conf_t **user;

    ngx_memzero(data, sizeof(data));
    ngx_memcpy(data, "VMess drain", sizeof("VMess drain") - 1);

    user = zone->users.elts;

    for (i = 0; i < zone->users.nelts; i++) {
        ngx_memcpy(data + 16, user[i]->cmd_key, NGX_VMESS_KEY_LEN);
        ngx_vmess_sha256(digest, data, sizeof(data));
        ngx_memcpy(data, digest, 16);
    }

    zone->drain = 54 + (data[0] << 8 | data[1]) % 3266;

    /* not less than what it may take to find an original header wrong */

    if (zone->nlegacy && zone->drain < NGX_VMESS_LEGACY_MAX) {
        zone->drain += NGX_VMESS_LEGACY_MAX;
    }

    ngx_explicit_memzero(data, sizeof(data));
}


static void
ngx_stream_vmess_wipe_user(void *data)
{
    ngx_vmess_user_conf_t *user = data;

    ngx_explicit_memzero(user->cmd_key, NGX_VMESS_KEY_LEN);
    ngx_explicit_memzero(user->uuid, NGX_VMESS_ID_LEN);
}


static char *
ngx_stream_vmess_alter_id(void *field, ngx_str_t *value)
{
    ngx_uint_t *alter_id = field;

    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n > 256) {
        return "a number from 0 to 256";
    }

    *alter_id = n;

    return NULL;
}


/* YYYY-MM-DD, the first second of that day in UTC */

static char *
ngx_stream_vmess_expires(void *field, ngx_str_t *value)
{
    time_t *expires = field;

    u_char       *p, text[sizeof("Sun, 06 Nov 1994 08:49:37 GMT")];
    size_t        len;
    ngx_int_t     month;
    static char   err[] = "a date such as \"2027-01-31\", "
                          "the day (UTC) from which the user is refused";
    static char  *months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

    p = value->data;

    if (value->len != sizeof("2027-01-31") - 1 || p[4] != '-' || p[7] != '-') {
        return err;
    }

    month = ngx_atoi(p + 5, 2);

    if (month < 1 || month > 12) {
        return err;
    }

    len = ngx_sprintf(text, "Sun, %*s %s %*s 00:00:00 GMT", (size_t) 2, p + 8,
                      months[month - 1], (size_t) 4, p)
          - text;

    *expires = ngx_parse_http_time(text, len);

    if (*expires == NGX_ERROR) {
        return err;
    }

    return NULL;
}


static char *
ngx_stream_vmess_quota(void *field, ngx_str_t *value)
{
    off_t *quota = field;

    *quota = ngx_parse_offset(value);

    if (*quota == NGX_ERROR || *quota == 0) {
        return "a size such as \"100g\"";
    }

    return NULL;
}


static char *
ngx_stream_vmess_rate(void *field, ngx_str_t *value)
{
    size_t *rate = field;

    ssize_t  size;

    size = ngx_parse_size(value);

    if (size == NGX_ERROR || size == 0) {
        return "bytes per second such as \"2m\"";
    }

    *rate = size;

    return NULL;
}


static char *
ngx_stream_vmess_max(void *field, ngx_str_t *value)
{
    ngx_uint_t *max = field;

    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n == 0) {
        return "a number from 1 on";
    }

    *max = n;

    return NULL;
}
