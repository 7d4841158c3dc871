
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_pending.h"
#include "ngx_vmess_log.h"
#include "proto/ngx_vmess_address.h"


#define NGX_VMESS_PENDING_ADDR  16


struct ngx_vmess_pending_source_s {
    ngx_str_node_t               node;
    u_char                       addr[NGX_VMESS_PENDING_ADDR];
    ngx_queue_t                  queue;
    ngx_uint_t                   n;
};


static ngx_vmess_pending_source_t *ngx_vmess_pending_source(
    struct sockaddr *sockaddr, ngx_log_t *log);
static void ngx_vmess_pending_evict(ngx_queue_t *q, size_t offset,
    ngx_log_t *log);


/* of the worker */

static ngx_queue_t        ngx_vmess_pending_queue;
static ngx_uint_t         ngx_vmess_pending_n;
static ngx_rbtree_t       ngx_vmess_pending_sources;
static ngx_rbtree_node_t  ngx_vmess_pending_sentinel;


ngx_int_t
ngx_vmess_pending_add(ngx_vmess_pending_t *pending, struct sockaddr *sockaddr,
    ngx_uint_t weight, ngx_log_t *log)
{
    ngx_uint_t                   max;
    ngx_vmess_conf_t            *vcf;
    ngx_vmess_pending_source_t  *source;

    if (ngx_vmess_pending_sources.root == NULL) {
        ngx_queue_init(&ngx_vmess_pending_queue);
        ngx_rbtree_init(&ngx_vmess_pending_sources,
                        &ngx_vmess_pending_sentinel,
                        ngx_str_rbtree_insert_value);
    }

    source = ngx_vmess_pending_source(sockaddr, log);
    if (source == NULL) {
        return NGX_ERROR;
    }

    /* from now on evictions cannot free it */

    source->n += weight;
    ngx_vmess_pending_n += weight;

    vcf = (ngx_vmess_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                            ngx_vmess_module);

    /* the greater part of connections is left to those of others */

    max = vcf->handshakes ? vcf->handshakes : ngx_cycle->connection_n / 4;

    while (ngx_vmess_pending_n > max
           && !ngx_queue_empty(&ngx_vmess_pending_queue))
    {
        ngx_vmess_pending_evict(ngx_queue_head(&ngx_vmess_pending_queue),
                                offsetof(ngx_vmess_pending_t, queue), log);
    }

    max = vcf->address_handshakes ? vcf->address_handshakes : (max + 1) / 2;

    /* of who is behind a Unix socket nothing is known */

    while (sockaddr->sa_family != AF_UNIX
           && source->n > max && !ngx_queue_empty(&source->queue))
    {
        ngx_vmess_pending_evict(ngx_queue_head(&source->queue),
                                offsetof(ngx_vmess_pending_t, siblings), log);
    }

    pending->source = source;
    pending->weight = weight;

    ngx_queue_insert_tail(&ngx_vmess_pending_queue, &pending->queue);
    ngx_queue_insert_tail(&source->queue, &pending->siblings);

    return NGX_OK;
}


void
ngx_vmess_pending_remove(ngx_vmess_pending_t *pending)
{
    ngx_vmess_pending_source_t  *source;

    if (pending->weight == 0) {
        return;
    }

    source = pending->source;

    ngx_queue_remove(&pending->queue);
    ngx_queue_remove(&pending->siblings);

    ngx_vmess_pending_n -= pending->weight;
    source->n -= pending->weight;

    if (source->n == 0) {
        ngx_rbtree_delete(&ngx_vmess_pending_sources, &source->node.node);
        ngx_free(source);
    }

    pending->weight = 0;
}


static ngx_vmess_pending_source_t *
ngx_vmess_pending_source(struct sockaddr *sockaddr, ngx_log_t *log)
{
    uint32_t                     hash;
    ngx_str_t                    key;
    u_char                       addr[NGX_VMESS_PENDING_ADDR];
    ngx_vmess_pending_source_t  *source;

    /* AF_UNIX: all are one */

    ngx_memzero(addr, NGX_VMESS_PENDING_ADDR);

    (void) ngx_vmess_address_network(sockaddr, addr);

    key.data = addr;
    key.len = NGX_VMESS_PENDING_ADDR;
    hash = ngx_crc32_short(addr, NGX_VMESS_PENDING_ADDR);

    /* nodes start with that of the tree */

    source = (ngx_vmess_pending_source_t *)
                 ngx_str_rbtree_lookup(&ngx_vmess_pending_sources, &key, hash);

    if (source) {
        return source;
    }

    source = ngx_alloc(sizeof(ngx_vmess_pending_source_t), log);
    if (source == NULL) {
        return NULL;
    }

    ngx_memcpy(source->addr, addr, NGX_VMESS_PENDING_ADDR);

    source->node.node.key = hash;
    source->node.str.data = source->addr;
    source->node.str.len = NGX_VMESS_PENDING_ADDR;
    source->n = 0;

    ngx_queue_init(&source->queue);
    ngx_rbtree_insert(&ngx_vmess_pending_sources, &source->node.node);

    return source;
}


static void
ngx_vmess_pending_evict(ngx_queue_t *q, size_t offset, ngx_log_t *log)
{
    ngx_vmess_pending_t           *pending;
    static ngx_vmess_log_limit_t   limit = {
        1, NGX_LOG_WARN, "clients had to go by \"vmess_handshakes\"", 0, 0
    };

    pending = (ngx_vmess_pending_t *) ((u_char *) q - offset);

    if (ngx_vmess_log_allowed(&limit, log)) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "too many clients that are not authentic yet, %ui of "
                      "this worker and %ui of an address, the oldest has to go "
                      "by \"vmess_handshakes\"",
                      ngx_vmess_pending_n, pending->source->n);
    }

    ngx_vmess_pending_remove(pending);

    pending->evict(pending);
}
