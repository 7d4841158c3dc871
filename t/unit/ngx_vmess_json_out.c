
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_json.h"
#include "ngx_vmess_json_out.h"


/* writes all kinds of values */

static void
test_write(ngx_vmess_json_out_t *jo)
{
    ngx_str_t  s;

    ngx_vmess_json_out_open(jo, NULL, '{');
    ngx_vmess_json_out_open(jo, "users", '[');
    ngx_vmess_json_out_open(jo, NULL, '{');

    ngx_str_set(&s, "alice");
    ngx_vmess_json_out_string(jo, "name", &s);
    ngx_vmess_json_out_integer(jo, "up", 1);
    ngx_vmess_json_out_flag(jo, "disabled", 0);
    ngx_vmess_json_out_null(jo, "expires");

    ngx_vmess_json_out_close(jo, '}');
    ngx_vmess_json_out_open(jo, NULL, '{');
    ngx_vmess_json_out_close(jo, '}');
    ngx_vmess_json_out_flag(jo, NULL, 1);
    ngx_vmess_json_out_close(jo, ']');
    ngx_vmess_json_out_integer(jo, "n", -20);
    ngx_vmess_json_out_close(jo, '}');
}


static void
test_values(void)
{
    int                    ok;
    u_char                *p;
    size_t                 n, len;
    ngx_vmess_json_out_t   jo;

    static const char  text[] =
        "{\"users\":[{\"name\":\"alice\",\"up\":1,\"disabled\":false,"
        "\"expires\":null},{},true],\"n\":-20}";

    len = sizeof(text) - 1;
    ok = 1;

    for (n = 0; n <= len; n++) {
        p = malloc(n ? n : 1);

        ngx_memzero(&jo, sizeof(ngx_vmess_json_out_t));
        jo.pos = p;
        jo.last = p + n;

        test_write(&jo);

        ok = ok && jo.full == (n < len) && jo.pos <= jo.last
             && ngx_memcmp(p, text, jo.pos - p) == 0
             && (n < len || jo.pos == jo.last);

        free(p);
    }

    test_ok(ok, "values, and any room less than what they need");
}


/* one of two objects does not fit, and goes into the next buffer */

static void
test_resume_out(void)
{
    u_char                 first[20], second[20];
    ngx_vmess_json_out_t   jo, save;

    ngx_memzero(&jo, sizeof(ngx_vmess_json_out_t));
    jo.pos = first;
    jo.last = first + sizeof(first);

    ngx_vmess_json_out_open(&jo, NULL, '[');
    ngx_vmess_json_out_integer(&jo, NULL, 1234567890);

    save = jo;
    ngx_vmess_json_out_integer(&jo, NULL, 1234567890);
    test_ok(jo.full, "what does not fit");

    jo = save;
    test_ok(jo.pos - first == 11, "is not written");

    jo.pos = second;
    jo.last = second + sizeof(second);

    ngx_vmess_json_out_integer(&jo, NULL, 1234567890);
    ngx_vmess_json_out_close(&jo, ']');

    test_ok(!jo.full && jo.pos - second == 12
            && ngx_memcmp(second, ",1234567890]", 12) == 0,
            "but in the next buffer");
}


static void
test_integers(void)
{
    u_char                 out[64];
    char                   text[64];
    ngx_uint_t             i;
    ngx_vmess_json_out_t   jo;

    static const int64_t  integers[] = {
        0, 9, 10, -1, 4294967296, INT64_MAX, INT64_MIN
    };

    for (i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        ngx_memzero(&jo, sizeof(ngx_vmess_json_out_t));
        jo.pos = out;
        jo.last = out + sizeof(out);

        ngx_vmess_json_out_integer(&jo, NULL, integers[i]);

        sprintf(text, "%lld", (long long) integers[i]);

        test_ok((size_t) (jo.pos - out) == strlen(text)
                && ngx_memcmp(out, text, jo.pos - out) == 0, "%s", text);
    }
}


/* what the reader reads is what was written */

static void
test_strings(void)
{
    u_char                 out[256], buf[256], *copy;
    ngx_buf_t              b;
    ngx_str_t              s;
    ngx_uint_t             i;
    ngx_vmess_json_t       js;
    ngx_vmess_json_out_t   jo;

    static const struct {
        ngx_str_t  value;
        ngx_str_t  text;       /* without quotes */
        ngx_str_t  back;       /* empty: the same as the value */
    } strings[] = {
        { ngx_string("a b/c"), ngx_string("a b/c"), ngx_null_string },
        { ngx_string("\"\\\x7f"), ngx_string("\\\"\\\\\x7f"),
          ngx_null_string },
        { ngx_string("\0\n\x1f"), ngx_string("\\u0000\\u000a\\u001f"),
          ngx_null_string },
        { ngx_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
          ngx_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
          ngx_null_string },
        { ngx_string("\x80z"), ngx_string("\xef\xbf\xbdz"),
          ngx_string("\xef\xbf\xbdz") },
        { ngx_string("a\xe2\x82"), ngx_string("a\xef\xbf\xbd"),
          ngx_string("a\xef\xbf\xbd") },
        { ngx_string("\xe2\x82\"\xc3\xc3\xa9"),
          ngx_string("\xef\xbf\xbd\\\"\xef\xbf\xbd\xc3\xa9"),
          ngx_string("\xef\xbf\xbd\"\xef\xbf\xbd\xc3\xa9") }
    };

    for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        ngx_memzero(&jo, sizeof(ngx_vmess_json_out_t));
        jo.pos = out;
        jo.last = out + sizeof(out);

        s.len = strings[i].value.len;
        s.data = copy = test_copy(strings[i].value.data, s.len);

        ngx_vmess_json_out_string(&jo, NULL, &s);

        free(copy);

        s.data = out + 1;
        s.len = jo.pos - out - 2;

        test_ok(out[0] == '"' && jo.pos[-1] == '"'
                && test_equal(s, strings[i].text.data, strings[i].text.len),
                "string %d: escapes", (int) i);

        ngx_memzero(&b, sizeof(ngx_buf_t));
        b.pos = out;
        b.last = jo.pos;

        ngx_vmess_json_init(&js, buf, sizeof(buf));

        s = strings[i].back.len ? strings[i].back : strings[i].value;

        test_ok(ngx_vmess_json_read(&js, &b, 1) == NGX_OK
                && js.event == NGX_VMESS_JSON_STRING
                && test_equal(js.value, s.data, s.len)
                && ngx_vmess_json_read(&js, &b, 1) == NGX_DONE,
                "string %d: read back", (int) i);
    }
}


int
main(void)
{
    test_values();
    test_resume_out();
    test_integers();
    test_strings();

    return test_done();
}
