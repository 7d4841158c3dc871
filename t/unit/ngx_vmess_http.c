
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_http.h"


static ngx_int_t test_read(const char *head, size_t len, const char *method,
    const char *paths, const char *hosts, size_t *end);


/* a list of words as an array of strings */

static ngx_array_t *
test_array(ngx_array_t *a, ngx_str_t *s, const char *words)
{
    size_t  len;

    if (words == NULL) {
        return NULL;
    }

    a->elts = s;
    a->nelts = 0;

    for ( ;; ) {
        len = strcspn(words, " ");

        s[a->nelts].data = (u_char *) words;
        s[a->nelts].len = len;
        a->nelts++;

        if (words[len] == '\0') {
            return a;
        }

        words += len + 1;
    }
}


/*
 * The verdict and the number of bytes after which it is given, found by each
 * number of bytes alone and by one after the other.
 */

static ngx_int_t
test_read(const char *head, size_t len, const char *method, const char *paths,
    const char *hosts, size_t *end)
{
    u_char                 *copy;
    size_t                  n;
    ngx_buf_t               b;
    ngx_int_t               rc, one;
    ngx_str_t               p[8], h[8];
    ngx_array_t             pa, ha;
    ngx_vmess_http_t        ht, resumed;
    ngx_vmess_http_conf_t   conf;

    conf.method.data = (u_char *) method;
    conf.method.len = strlen(method);
    conf.paths = test_array(&pa, p, paths);
    conf.hosts = test_array(&ha, h, hosts);

    ngx_memzero(&b, sizeof(ngx_buf_t));
    ngx_memzero(&resumed, sizeof(ngx_vmess_http_t));

    rc = NGX_AGAIN;

    for (n = 0; n <= len; n++) {
        copy = test_copy(head, n);

        b.pos = copy;
        b.last = copy + n;

        rc = ngx_vmess_http_read(&resumed, &conf, &b);

        ngx_memzero(&ht, sizeof(ngx_vmess_http_t));

        if ((rc == NGX_OK) != (b.pos > copy)
            || (rc == NGX_OK && b.pos != b.last)
            || (rc == NGX_DECLINED) != (resumed.err != NULL)
            || ngx_memcmp(copy, head, n) != 0)
        {
            rc = NGX_ERROR;
        }

        b.pos = copy;
        one = ngx_vmess_http_read(&ht, &conf, &b);

        free(copy);

        if (rc != one) {
            rc = NGX_ERROR;
        }

        if (rc != NGX_AGAIN) {
            break;
        }
    }

    *end = n;

    if (rc == NGX_ERROR || n >= len) {
        return rc;
    }

    /* what follows changes nothing */

    copy = test_copy(head, len);
    ngx_memzero(&ht, sizeof(ngx_vmess_http_t));

    b.pos = copy;
    b.last = copy + len;

    if (ngx_vmess_http_read(&ht, &conf, &b) != rc
        || b.pos != copy + (rc == NGX_OK ? n : 0))
    {
        rc = NGX_ERROR;
    }

    free(copy);

    return rc;
}


/* a request of a real client, and what follows it */

static void
test_captured(void)
{
    char        path[64];
    size_t      end;
    ngx_str_t   head, rest;
    u_char     *whole;

    head = test_bin("head");
    rest = test_bin("rest");

    whole = malloc(head.len + rest.len);
    ngx_memcpy(whole, head.data, head.len);
    ngx_memcpy(whole + head.len, rest.data, rest.len);

    snprintf(path, sizeof(path), "/other %s", test_str("path"));

    test_ok(test_read((char *) whole, head.len + rest.len, "", path, NULL,
                      &end)
            == NGX_OK
            && end == head.len,
            "%s", test_str("name"));

    test_ok(test_read((char *) whole, head.len + rest.len, "", path,
                      test_str("host"), &end)
            == NGX_OK
            && end == head.len,
            "%s, with its host", test_str("name"));

    test_ok(test_read((char *) whole, head.len + rest.len, "", path,
                      "not.example", &end)
            == NGX_DECLINED
            && end == head.len,
            "%s, another host", test_str("name"));

    test_ok(test_read((char *) whole, head.len + rest.len, "", "/other",
                      test_str("host"), &end)
            == NGX_DECLINED
            && end == strcspn((char *) whole, "\n") + 1,
            "%s, another path", test_str("name"));

    free(whole);
}


static void
test_requests(void)
{
    size_t      end;
    ngx_int_t   rc;
    ngx_uint_t  i;

    static const struct {
        const char  *head;
        ngx_int_t    rc;
        size_t       end;      /* 0: that of the head */
    } heads[] = {
        { "GET /a HTTP/1.1\r\nHost: b.test\r\n\r\n", NGX_OK, 0 },
        { "GET /b?ed=2048 HTTP/1.0\r\nhOST:b.test\r\n\r\n", NGX_OK, 0 },
        { "POST /a? HTTP/1.1\r\nX: y\r\nHOST:  B.Test:8443 \r\n\r\n",
          NGX_OK, 0 },
        { "GET /a HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", NGX_OK, 0 },
        { "GET /a HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", NGX_OK, 0 },

        /* a byte that no site takes, in the path and behind it */

        { "GET /a\x7f HTTP/1.1\r\n", NGX_DECLINED, 7 },
        { "GET /a HTTP/1.1\x7f", NGX_DECLINED, 16 },

        /* mihomo: a body, which is VMess all the same */

        { "GET /a HTTP/1.1\r\nHost: b.test\r\nUser-Agent: Mozilla/5.0\r\n"
          "Content-Length: 173\r\nConnection: keep-alive\r\n\r\n",
          NGX_OK, 0 },

        { "GET /c HTTP/1.1\r\nHost: b.test\r\n\r\n", NGX_DECLINED, 17 },
        { "GET /a/ HTTP/1.1\r\nHost: b.test\r\n\r\n", NGX_DECLINED, 18 },
        { "GET / HTTP/1.1\r\n\r\n", NGX_DECLINED, 16 },
        { "GET ?/a HTTP/1.1\r\n\r\n", NGX_DECLINED, 18 },
        { "GET /a HTTP/1.1\r\n\r\n", NGX_DECLINED, 0 },
        { "GET /a HTTP/1.1\r\nHost\r\n\r\n", NGX_DECLINED, 0 },
        { "GET /a HTTP/1.1\r\nHost: \r\n\r\n", NGX_DECLINED, 0 },
        { "GET /a HTTP/1.1\r\nHost: b.test.\r\n\r\n", NGX_DECLINED, 0 },
        { "GET /a HTTP/1.1\r\nHost: :1\r\n\r\n", NGX_DECLINED, 0 },
        { "GET /a HTTP/1.1\r\nXHost: b.test\r\n\r\n", NGX_DECLINED, 0 },
        { "GET  /a HTTP/1.1\r\n\r\n", NGX_DECLINED, 18 },
        { "GET /a  HTTP/1.1\r\n\r\n", NGX_DECLINED, 18 },
        { "GET /a b HTTP/1.1\r\n\r\n", NGX_DECLINED, 19 },
        { "GET /a HTTP/2.0\r\n\r\n", NGX_DECLINED, 17 },
        { "GET /a HTTP/1.x\r\n\r\n", NGX_DECLINED, 17 },
        { "GET /a\r\n\r\n", NGX_DECLINED, 8 },
        { "GET /a HTTP/1.1\nHost: b.test\n\n", NGX_DECLINED, 16 },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NGX_DECLINED, 16 },
        { "GeT /a HTTP/1.1\r\n\r\n", NGX_DECLINED, 2 },
        { "\n", NGX_DECLINED, 1 },
        { "A\n", NGX_DECLINED, 2 },
        { "get /a HTTP/1.1\r\n\r\n", NGX_DECLINED, 1 },
        { " GET /a HTTP/1.1\r\n\r\n", NGX_DECLINED, 1 },
        { "\x16\x03\x01", NGX_DECLINED, 1 },
        { "GET /a HTTP/1.1\r\nHost: b.test\r\n\r", NGX_AGAIN, 0 },
        { "GET /zzz", NGX_AGAIN, 0 },
        { "", NGX_AGAIN, 0 }
    };

    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        rc = test_read(heads[i].head, strlen(heads[i].head), "", "/a /b",
                       "b.test [2001:db8::1]", &end);

        test_ok(rc == heads[i].rc
                && (rc == NGX_AGAIN
                    || end == (heads[i].end ? heads[i].end
                                            : strlen(heads[i].head))),
                "request %d: %s", (int) i,
                rc == NGX_OK ? "ours" : "not ours");
    }

    test_ok(test_read("PUT /q HTTP/1.1\r\n\r\n", 19, "", NULL, NULL, &end)
            == NGX_OK
            && test_read("PUT /q HTTP/1.1\r\n\r\n", 19, "PUT", NULL, NULL,
                         &end)
               == NGX_OK
            && test_read("PUT /q HTTP/1.1\r\n\r\n", 19, "PU", NULL, NULL,
                         &end)
               == NGX_DECLINED
            && end == 17,
            "any method and path, or one method");
}


static void
test_long(void)
{
    char    head[NGX_VMESS_HTTP_MAX + 100];
    size_t  end;

    static const char  line[] = "GET /a HTTP/1.1\r\nX: ";

    ngx_memset(head, 'a', sizeof(head));
    ngx_memcpy(head, line, sizeof(line) - 1);
    ngx_memcpy(head + NGX_VMESS_HTTP_MAX - 4, "\r\n\r\n", 4);

    test_ok(test_read(head, sizeof(head), "", "/a", NULL, &end) == NGX_OK
            && end == NGX_VMESS_HTTP_MAX, "the longest head");

    ngx_memset(head + NGX_VMESS_HTTP_MAX - 4, 'a', 4);
    ngx_memcpy(head + NGX_VMESS_HTTP_MAX - 3, "\r\n\r\n", 4);

    test_ok(test_read(head, sizeof(head), "", "/a", NULL, &end)
            == NGX_DECLINED
            && end == NGX_VMESS_HTTP_MAX, "a head that is too long");

    ngx_memset(head, 'A', sizeof(head));

    test_ok(test_read(head, sizeof(head), "", "/a", NULL, &end)
            == NGX_DECLINED
            && end == NGX_VMESS_HTTP_MAX, "a line that is too long");

    ngx_memcpy(head, "GET /a HTTP/1.1\r\nHost: ", 23);
    ngx_memcpy(head + 23 + 300, "\r\n\r\n", 4);

    test_ok(test_read(head, 327, "", "/a", "a", &end) == NGX_DECLINED
            && end == 327, "a host that is too long");
}


static void
test_response(void)
{
    u_char     *p, out[NGX_VMESS_HTTP_RESPONSE_MAX + 1];
    size_t      end;
    ngx_str_t   date;

    static char  expected[] =
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/octet-stream\r\n"
        "Transfer-Encoding: chunked\r\n"
        "Connection: keep-alive\r\n"
        "Pragma: no-cache\r\n"
        "Cache-Control: private, no-cache\r\n"
        "Date: Wed, 01 Jan 2025 00:00:00 GMT\r\n\r\n";

    ngx_memset(out, 0xa5, sizeof(out));

    date.data = (u_char *) "Wed, 01 Jan 2025 00:00:00 GMT";
    date.len = 29;

    p = ngx_vmess_http_response(out, &date);
    end = p - out;

    test_ok(end == sizeof(expected) - 1 && end <= NGX_VMESS_HTTP_RESPONSE_MAX
            && ngx_memcmp(out, expected, end) == 0 && *p == 0xa5, "response");
}


int
main(void)
{
    while (test_next()) {

        if (test_is("captured")) {
            test_captured();
        }
    }

    test_requests();
    test_long();
    test_response();

    return test_done();
}
