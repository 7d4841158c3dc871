
/*
 * Copyright (C) ngx_vmess authors
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_hash.h"

#include <openssl/md5.h>
#include <openssl/sha.h>


#define NGX_VMESS_FNV1A_BASIS  0x811c9dc5
#define NGX_VMESS_FNV1A_PRIME  0x01000193


/*
 * The one-shot functions of libcrypto 3.0 fetch the algorithm on each call;
 * those below never fail.
 */

void
ngx_vmess_hash_md5(u_char *out, const u_char *data, size_t len)
{
    MD5_CTX  md5;

    MD5_Init(&md5);
    MD5_Update(&md5, data, len);
    MD5_Final(out, &md5);

    ngx_explicit_memzero(&md5, sizeof(MD5_CTX));
}


void
ngx_vmess_hash_sha1(u_char *out, const u_char *data, size_t len)
{
    SHA_CTX  sha1;

    SHA1_Init(&sha1);
    SHA1_Update(&sha1, data, len);
    SHA1_Final(out, &sha1);

    ngx_explicit_memzero(&sha1, sizeof(SHA_CTX));
}


void
ngx_vmess_hash_sha256(u_char *out, const u_char *data, size_t len)
{
    SHA256_CTX  sha256;

    SHA256_Init(&sha256);
    SHA256_Update(&sha256, data, len);
    SHA256_Final(out, &sha256);

    ngx_explicit_memzero(&sha256, sizeof(SHA256_CTX));
}


uint32_t
ngx_vmess_hash_fnv1a(const u_char *data, size_t len)
{
    uint32_t  hash;

    hash = NGX_VMESS_FNV1A_BASIS;

    while (len--) {
        hash = (hash ^ *data++) * NGX_VMESS_FNV1A_PRIME;
    }

    return hash;
}


void
ngx_vmess_hash_fnv1a_sum(u_char *sum, const u_char *data, size_t len)
{
    uint32_t  hash;

    hash = ngx_vmess_hash_fnv1a(data, len);

    sum[0] = (u_char) (hash >> 24);
    sum[1] = (u_char) (hash >> 16);
    sum[2] = (u_char) (hash >> 8);
    sum[3] = (u_char) hash;
}
