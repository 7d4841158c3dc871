
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_TOKEN_H_INCLUDED_
#define _NGX_VMESS_TOKEN_H_INCLUDED_


#include "ngx_vmess.h"
#include "proto/ngx_vmess_legacy.h"


/*
 * The tokens of legacy headers that are valid now: one for each alter id and
 * each second of the time window, and those of some seconds to come.
 *
 * It lives in one block of shared memory without pointers, so that it may be
 * mapped anywhere.  The seconds are a ring of small hash tables: a second that
 * enters the window replaces one that has left it.  One worker fills it ahead
 * of time, in small steps, while all workers look tokens up without a lock.
 * An entry has 32 bits: the number of the id, and as many bits of the token as
 * fit; the token that they match is computed again and compared.  That takes
 * 5.3 bytes a token, 1365 bytes an id.
 */


typedef struct ngx_vmess_tokens_s  ngx_vmess_tokens_t;


#define NGX_VMESS_TOKEN_IDS  (1024 * 1024)


/* bytes that the tokens of n ids take, at most NGX_VMESS_TOKEN_IDS */
size_t ngx_vmess_token_size(ngx_uint_t n);

/* makes a table for n ids, without any so far, at p */
ngx_vmess_tokens_t *ngx_vmess_token_create(void *p, ngx_uint_t n);

/*
 * Adds one of the n ids, of NGX_VMESS_ID_LEN bytes, and a number of its user.
 * Called before the first refresh.
 */
void ngx_vmess_token_add(ngx_vmess_tokens_t *tt, const u_char *id,
    ngx_uint_t user);

/*
 * Makes up to n tokens that are due at now, those of the nearest seconds
 * first.  Tokens are found once all of their second have been made.
 *
 * mutex   held meanwhile, if it is free; NULL: nobody else knows the table
 * worker  any number but 0 that no other worker has, such as ngx_pid: the first
 *         one goes on, and another takes over when it has not been here for
 *         some seconds
 *
 * NGX_OK        all are there: call again in the second after now
 * NGX_AGAIN     there are more to make
 * NGX_DECLINED  another worker does that, or has the mutex
 */
ngx_int_t ngx_vmess_token_refresh(ngx_vmess_tokens_t *tt, ngx_shmtx_t *mutex,
    time_t now, ngx_uint_t n, ngx_uint_t worker);

/*
 * Finds a token of NGX_VMESS_EAUID_LEN bytes in the window around now.  The
 * time this takes does not tell whether it is there.
 *
 * NGX_OK        user and t, the second that it was made for, are set
 * NGX_DECLINED  it is not valid now
 */
ngx_int_t ngx_vmess_token_find(ngx_vmess_tokens_t *tt, const u_char *token,
    time_t now, ngx_uint_t *user, int64_t *t);


#endif /* _NGX_VMESS_TOKEN_H_INCLUDED_ */
