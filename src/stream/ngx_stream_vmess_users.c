
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_users.h"
#include "ngx_stream_vmess_users_line.h"
#include "event/ngx_vmess_state.h"
#include "event/ngx_vmess_publish.h"
#include "proto/ngx_vmess_hash.h"


static ngx_vmess_zone_t *ngx_stream_vmess_users_zone(ngx_conf_t *cf,
    ngx_str_t *value);
static void ngx_stream_vmess_users_drain_size(ngx_vmess_zone_t *zone);
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
