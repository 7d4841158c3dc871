
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_profile.h"
#include "ngx_vmess_share_link.h"


#define TEST_SHARES  64


static ngx_uint_t          test_nshares;
static ngx_vmess_share_t   test_shares[TEST_SHARES];
static u_char              test_whole[1 << 20], test_parts[1 << 20];


static ngx_str_t
test_text(const char *name)
{
    ngx_str_t  s, copy;

    ngx_str_null(&copy);

    if (!test_has(name)) {
        return copy;
    }

    s = test_bin(name);

    copy.len = s.len;
    copy.data = test_copy(s.data, s.len);

    return copy;
}


static void
test_read_share(ngx_vmess_share_t *share)
{
    ngx_str_t  id;

    ngx_memzero(share, sizeof(ngx_vmess_share_t));

    id = test_bin("id");
    ngx_memcpy(share->id, id.data, sizeof(share->id));

    share->name = test_text("name");
    share->host = test_text("host");
    share->port = (in_port_t) test_num("port");
    share->security = test_num("security");
    share->transport = test_num("transport");
    share->path = test_text("path");
    share->http_host = test_text("http_host");
    share->mode = test_text("mode");
    share->header = test_text("header");
    share->seed = test_text("seed");
    share->early_data = test_num("early_data");
    share->sni = test_text("sni");
    share->alpn = test_text("alpn");
    share->fp = test_text("fp");
    share->tls = test_num("tls");
}


static void
test_free_share(ngx_vmess_share_t *share)
{
    free(share->name.data);
    free(share->host.data);
    free(share->path.data);
    free(share->http_host.data);
    free(share->mode.data);
    free(share->header.data);
    free(share->seed.data);
    free(share->sni.data);
    free(share->alpn.data);
    free(share->fp.data);
}


/* what a reader in Perl gets */

static void
test_print(const char *what, ngx_uint_t n, u_char *p, size_t len)
{
    printf("out %s%d ", what, (int) n);

    while (len--) {
        printf("%02x", *p++);
    }

    printf("\n");
}


/* what fits, then what fits of the rest: the same as at once */

static ssize_t
test_write_parts(ngx_vmess_profile_format_e format, size_t room)
{
    u_char               *buf, *p, *out;
    ngx_int_t             rc;
    ngx_vmess_profile_t   pr;

    ngx_vmess_profile_init(&pr, format, test_shares, test_nshares);

    out = test_parts;

    do {
        buf = malloc(room);
        p = buf;

        rc = ngx_vmess_profile_write(&pr, &p, buf + room);

        /* a part that has no room in the whole buffer would never be written */

        if (rc == NGX_AGAIN && p == buf) {
            free(buf);
            return NGX_ERROR;
        }

        out = ngx_cpymem(out, buf, p - buf);
        free(buf);

    } while (rc == NGX_AGAIN);

    return out - test_parts;
}


static void
test_profile(void)
{
    int                           ok;
    u_char                       *p;
    size_t                        room, n;
    ssize_t                       len, parts;
    ngx_str_t                    *type;
    ngx_vmess_profile_t           pr;
    ngx_vmess_profile_format_e    format;

    format = test_num("format");

    ngx_vmess_profile_init(&pr, format, test_shares, test_nshares);

    p = test_whole;
    ok = ngx_vmess_profile_write(&pr, &p, test_whole + sizeof(test_whole))
         == NGX_OK;
    len = p - test_whole;

    /* some rooms are too small, and none that is large enough is */

    n = 0;

    for (room = 1; room <= NGX_VMESS_PROFILE_ROOM; room += 1 + room / 7) {

        parts = test_write_parts(format, room);

        if (parts != NGX_ERROR) {
            n++;
            ok = ok && parts == len
                 && ngx_memcmp(test_parts, test_whole, len) == 0;
        }
    }

    parts = test_write_parts(format, NGX_VMESS_PROFILE_ROOM);
    type = ngx_vmess_profile_type(format);

    test_ok(ok && n && parts == len, "%s: at once and in parts",
            test_str("title"));
    test_ok(type->len && ngx_strlchr(type->data, type->data + type->len, '/'),
            "%s: has a type", test_str("title"));

    test_print("profile", test_num("n"), test_whole, len);
}


static void
test_links(void)
{
    u_char                  *buf;
    size_t                   room;
    ngx_int_t                rc;
    ngx_vmess_share_t        share;
    ngx_vmess_text_out_t     to;
    ngx_vmess_share_link_e   form;

    share = test_shares[test_nshares - 1];
    ngx_vmess_share_trim(&share);

    form = test_num("form");
    room = NGX_VMESS_SHARE_TEXT_MAX;
    buf = malloc(room);

    ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));
    to.pos = buf;
    to.last = buf + room;

    rc = ngx_vmess_share_link_write(&to, form, &share);

    test_ok(!to.full && rc == (test_num("declined") ? NGX_DECLINED : NGX_OK)
            && (rc == NGX_OK || to.pos == buf), "link %s", test_str("title"));

    if (rc == NGX_OK) {
        test_print("link", test_num("n"), buf, to.pos - buf);
    }

    free(buf);
}


static void
test_check(void)
{
    const char         *err;
    ngx_str_t           want;
    ngx_vmess_share_t   share;

    test_read_share(&share);

    want = test_text("want");
    err = ngx_vmess_share_check(&share);

    test_ok(err ? test_equal(want, err, strlen(err)) : want.len == 0,
            "check: %s", err ? err : "good");

    free(want.data);
    test_free_share(&share);
}


int
main(void)
{
    ngx_uint_t  i;

    while (test_next()) {

        if (test_is("share")) {
            test_read_share(&test_shares[test_nshares]);
            test_ok(ngx_vmess_share_check(&test_shares[test_nshares]) == NULL,
                    "share %d is good", (int) test_nshares);
            test_nshares++;

        } else if (test_is("profile")) {
            test_profile();

        } else if (test_is("link")) {
            test_links();

        } else if (test_is("check")) {
            test_check();

        } else if (test_is("forget")) {

            for (i = 0; i < test_nshares; i++) {
                test_free_share(&test_shares[i]);
            }

            test_nshares = 0;
        }
    }

    return test_done();
}
