
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_stream_vmess_rule.h"
#include "ngx_stream_vmess_private.h"
#include "ngx_vmess_param.h"


typedef enum {
    NGX_STREAM_VMESS_RULE_ALL = 0,
    NGX_STREAM_VMESS_RULE_PRIVATE,
    NGX_STREAM_VMESS_RULE_CIDR,
    NGX_STREAM_VMESS_RULE_NAME,
    NGX_STREAM_VMESS_RULE_SUFFIX,
    NGX_STREAM_VMESS_RULE_REGEX
} ngx_stream_vmess_rule_e;


typedef struct {
    in_port_t                  from;
    in_port_t                  to;
} ngx_stream_vmess_rule_ports_t;


typedef struct {
    ngx_stream_vmess_rule_e    type;
    ngx_uint_t                 allow;
    ngx_array_t               *ports;      /* NULL: any */
    ngx_cidr_t                 cidr;
    ngx_str_t                  name;       /* lower case, without the dot */
#if (NGX_PCRE)
    ngx_regex_t               *regex;
#endif
} ngx_stream_vmess_rule_t;


static char *ngx_stream_vmess_rule_target(ngx_conf_t *cf,
    ngx_stream_vmess_rule_t *rule, ngx_str_t *value);
static char *ngx_stream_vmess_rule_name(ngx_conf_t *cf,
    ngx_stream_vmess_rule_t *rule, ngx_str_t *value);
static void ngx_stream_vmess_rule_unmap(ngx_cidr_t *cidr);
static ngx_uint_t ngx_stream_vmess_rule_reached(ngx_array_t *rules,
    ngx_stream_vmess_rule_t *rule);
static char *ngx_stream_vmess_rule_ports(ngx_conf_t *cf,
    ngx_stream_vmess_rule_t *rule, ngx_str_t *value);
static ngx_uint_t ngx_stream_vmess_rule_port_matches(
    ngx_stream_vmess_rule_t *rule, in_port_t port);
static ngx_uint_t ngx_stream_vmess_rule_name_matches(
    ngx_stream_vmess_rule_t *rule, ngx_str_t *host);
static ngx_int_t ngx_stream_vmess_rule_regex_matches(
    ngx_stream_vmess_rule_t *rule, ngx_str_t *host, ngx_log_t *log);


char *
ngx_stream_vmess_rule(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_vmess_srv_conf_t *vscf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_stream_vmess_rule_t  *rule;

    if (ngx_vmess_param_args(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (vscf->rules == NGX_CONF_UNSET_PTR) {
        vscf->rules = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_stream_vmess_rule_t));
        if (vscf->rules == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    rule = ngx_array_push(vscf->rules);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_stream_vmess_rule_t));

    rule->allow = (value[0].data[sizeof("vmess_") - 1] == 'a');

    rv = ngx_stream_vmess_rule_target(cf, rule, &value[1]);

    if (rv == NGX_CONF_OK && cf->args->nelts == 3) {
        rv = ngx_stream_vmess_rule_ports(cf, rule, &value[2]);
    }

    if (rv == NGX_CONF_OK
        && !ngx_stream_vmess_rule_reached(vscf->rules, rule))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V %V\" can never match, put it before the rule "
                           "for \"all\"", &value[0], &value[1]);
        return NGX_CONF_ERROR;
    }

    return rv;
}


/* whether the first rule for all leaves something to the rule, the last one */

static ngx_uint_t
ngx_stream_vmess_rule_reached(ngx_array_t *rules, ngx_stream_vmess_rule_t *rule)
{
    ngx_uint_t                named;
    ngx_stream_vmess_rule_t  *prev;

    named = 0;

    for (prev = rules->elts; prev < rule; prev++) {

        if (prev->type == NGX_STREAM_VMESS_RULE_ALL && prev->ports == NULL) {

            /* addresses of names that were allowed before */

            return named && (rule->type == NGX_STREAM_VMESS_RULE_CIDR
                             || rule->type == NGX_STREAM_VMESS_RULE_PRIVATE);
        }

        if (prev->allow && prev->type >= NGX_STREAM_VMESS_RULE_NAME) {
            named = 1;
        }
    }

    return 1;
}


static char *
ngx_stream_vmess_rule_target(ngx_conf_t *cf, ngx_stream_vmess_rule_t *rule,
    ngx_str_t *value)
{
    ngx_int_t   rc;
    ngx_str_t  *name;

    name = cf->args->elts;

    if (ngx_strcmp(value->data, "all") == 0) {
        rule->type = NGX_STREAM_VMESS_RULE_ALL;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "private") == 0) {
        rule->type = NGX_STREAM_VMESS_RULE_PRIVATE;
        return NGX_CONF_OK;
    }

    if (value->len > 1 && value->data[0] == '~') {
#if (NGX_PCRE)
        ngx_regex_compile_t  rc;
        u_char               errstr[NGX_MAX_CONF_ERRSTR];

        ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

        rc.pattern.len = value->len - 1;
        rc.pattern.data = value->data + 1;
        rc.options = NGX_REGEX_CASELESS;
        rc.pool = cf->pool;
        rc.err.len = NGX_MAX_CONF_ERRSTR;
        rc.err.data = errstr;

        if (ngx_regex_compile(&rc) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid regular expression in \"%V %V\": %V",
                               name, value, &rc.err);
            return NGX_CONF_ERROR;
        }

        rule->type = NGX_STREAM_VMESS_RULE_REGEX;
        rule->regex = rc.regex;

        return NGX_CONF_OK;
#else
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V %V\" needs an nginx built with PCRE",
                           name, value);
        return NGX_CONF_ERROR;
#endif
    }

    rc = ngx_ptocidr(value, &rule->cidr);

    if (rc == NGX_ERROR) {
        return ngx_stream_vmess_rule_name(cf, rule, value);
    }

    if (rc == NGX_DONE) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "low address bits of %V in \"%V\" are meaningless",
                           value, name);
    }

    rule->type = NGX_STREAM_VMESS_RULE_CIDR;

    ngx_stream_vmess_rule_unmap(&rule->cidr);

    return NGX_CONF_OK;
}


static char *
ngx_stream_vmess_rule_name(ngx_conf_t *cf, ngx_stream_vmess_rule_t *rule,
    ngx_str_t *value)
{
    u_char       *p, *last;
    ngx_str_t    *name;
    ngx_uint_t    dot, number;
    char        **word;
    static char  *words[] = { "all", "private", "on", "off", "any", "none",
                              "default", NULL };

    rule->type = NGX_STREAM_VMESS_RULE_NAME;
    rule->name = *value;

    for (word = words; *word; word++) {

        if (ngx_strcasecmp(value->data, (u_char *) *word) == 0) {
            name = cf->args->elts;

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid target \"%V\" in \"%V\", words are "
                               "\"private\" and \"all\", in lower case",
                               value, name);
            return NGX_CONF_ERROR;
        }
    }

    if (value->len > 1 && value->data[0] == '.') {
        rule->type = NGX_STREAM_VMESS_RULE_SUFFIX;
        rule->name.data++;
        rule->name.len--;
    }

    p = rule->name.data;
    last = p + rule->name.len;

    ngx_strlow(p, p, rule->name.len);

    number = 0;
    dot = 1;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.' && !dot) {
            dot = 1;
            continue;
        }

        if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
            || *p == '-' || *p == '_')
        {
            number = (*p >= '0' && *p <= '9') && (dot || number);
            dot = 0;
            continue;
        }

        number = 0;
        dot = 1;
        break;
    }

    /* "10.0.0.256": the last label is a number */

    if (dot || number) {
        name = cf->args->elts;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid target \"%V\" in \"%V\", it must be an "
                           "address, a CIDR block, \"domain\", \".suffix\", "
                           "\"~regex\", \"private\" or \"all\"; ports are a "
                           "parameter of their own", value, name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* a block of IPv4 mapped into IPv6: targets are compared as IPv4 */

static void
ngx_stream_vmess_rule_unmap(ngx_cidr_t *cidr)
{
#if (NGX_HAVE_INET6)
    u_char  addr[4], mask[4];

    if (cidr->family != AF_INET6
        || !IN6_IS_ADDR_V4MAPPED(&cidr->u.in6.addr)
        || cidr->u.in6.mask.s6_addr[11] != 0xff)
    {
        return;
    }

    ngx_memcpy(addr, &cidr->u.in6.addr.s6_addr[12], 4);
    ngx_memcpy(mask, &cidr->u.in6.mask.s6_addr[12], 4);

    cidr->family = AF_INET;
    ngx_memcpy(&cidr->u.in.addr, addr, 4);
    ngx_memcpy(&cidr->u.in.mask, mask, 4);
#endif
}


static char *
ngx_stream_vmess_rule_ports(ngx_conf_t *cf, ngx_stream_vmess_rule_t *rule,
    ngx_str_t *value)
{
    u_char                         *p, *last, *end, *dash;
    ngx_int_t                       from, to;
    ngx_stream_vmess_rule_ports_t  *ports;

    rule->ports = ngx_array_create(cf->pool, 1,
                                   sizeof(ngx_stream_vmess_rule_ports_t));
    if (rule->ports == NULL) {
        return NGX_CONF_ERROR;
    }

    last = value->data + value->len;

    for (p = value->data; p <= last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        dash = ngx_strlchr(p, end, '-');

        from = ngx_atoi(p, (dash ? dash : end) - p);
        to = dash ? ngx_atoi(dash + 1, end - dash - 1) : from;

        if (from < 1 || to < from || to > 65535) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid ports \"%V\" in \"%V\", they must be "
                               "like \"443\" or \"80,443,8000-8100\"", value,
                               (ngx_str_t *) cf->args->elts);
            return NGX_CONF_ERROR;
        }

        ports = ngx_array_push(rule->ports);
        if (ports == NULL) {
            return NGX_CONF_ERROR;
        }

        ports->from = (in_port_t) from;
        ports->to = (in_port_t) to;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_stream_vmess_rule_check(ngx_stream_session_t *s, ngx_str_t *host,
    struct sockaddr *sockaddr, in_port_t port)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i, matches, named, later;
    ngx_array_t                   cidrs, *rules;
    ngx_stream_vmess_rule_t      *rule;
    ngx_stream_vmess_srv_conf_t  *vscf;

    vscf = ngx_stream_get_module_srv_conf(s, ngx_stream_vmess_module);
    rules = vscf->rules;

    named = 0;
    later = 0;

    rule = rules ? rules->elts : NULL;

    for (i = 0; rules && i < rules->nelts; i++) {

        if (!ngx_stream_vmess_rule_port_matches(&rule[i], port)) {
            continue;
        }

        switch (rule[i].type) {

        case NGX_STREAM_VMESS_RULE_ALL:

            /* decided by name: no longer a matter of "all" */

            if (named) {
                continue;
            }

            /* an address of the name may match a rule before this one */

            if (sockaddr == NULL && later) {
                return NGX_OK;
            }

            return rule[i].allow ? NGX_OK : NGX_DECLINED;

        case NGX_STREAM_VMESS_RULE_PRIVATE:
        case NGX_STREAM_VMESS_RULE_CIDR:

            if (sockaddr == NULL) {
                later |= rule[i].allow;
                continue;
            }

            if (rule[i].type == NGX_STREAM_VMESS_RULE_PRIVATE) {
                matches = ngx_stream_vmess_private(s, sockaddr);

            } else {
                cidrs.elts = &rule[i].cidr;
                cidrs.nelts = 1;

                matches = (ngx_cidr_match(sockaddr, &cidrs) == NGX_OK);
            }

            if (!matches) {
                continue;
            }

            return rule[i].allow ? NGX_OK : NGX_DECLINED;

        default: /* names */

            if (host == NULL) {
                continue;
            }

            if (rule[i].type == NGX_STREAM_VMESS_RULE_REGEX) {
                rc = ngx_stream_vmess_rule_regex_matches(&rule[i], host,
                                                         s->connection->log);

                if (rc == NGX_ERROR) {
                    return NGX_ERROR;
                }

                matches = (rc == NGX_OK);

            } else {
                matches = ngx_stream_vmess_rule_name_matches(&rule[i], host);
            }

            if (!matches || named) {
                continue;
            }

            if (!rule[i].allow) {
                return NGX_DECLINED;
            }

            named = 1;
        }
    }

    if (sockaddr && ngx_stream_vmess_private(s, sockaddr)) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_stream_vmess_rule_port_matches(ngx_stream_vmess_rule_t *rule,
    in_port_t port)
{
    ngx_uint_t                      i;
    ngx_stream_vmess_rule_ports_t  *ports;

    if (rule->ports == NULL) {
        return 1;
    }

    ports = rule->ports->elts;

    for (i = 0; i < rule->ports->nelts; i++) {
        if (port >= ports[i].from && port <= ports[i].to) {
            return 1;
        }
    }

    return 0;
}


/* as in "server_name", ".example.com" is "example.com" and all below */

static ngx_uint_t
ngx_stream_vmess_rule_name_matches(ngx_stream_vmess_rule_t *rule,
    ngx_str_t *host)
{
    u_char  *p;

    if (host->len < rule->name.len) {
        return 0;
    }

    p = host->data + host->len - rule->name.len;

    if (ngx_memcmp(p, rule->name.data, rule->name.len) != 0) {
        return 0;
    }

    if (host->len == rule->name.len) {
        return 1;
    }

    return (rule->type == NGX_STREAM_VMESS_RULE_SUFFIX && p[-1] == '.');
}


static ngx_int_t
ngx_stream_vmess_rule_regex_matches(ngx_stream_vmess_rule_t *rule,
    ngx_str_t *host, ngx_log_t *log)
{
#if (NGX_PCRE)
    ngx_int_t  n;

    n = ngx_regex_exec(rule->regex, host, NULL, 0);

    if (n >= 0) {
        return NGX_OK;
    }

    if (n != NGX_REGEX_NO_MATCHED) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      ngx_regex_exec_n " failed: %i on \"%V\"", n, host);
        return NGX_ERROR;
    }
#endif

    return NGX_DECLINED;
}
