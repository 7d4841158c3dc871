
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_text_out.h"
#include "ngx_vmess_utf8.h"


typedef void (*test_write_pt)(ngx_vmess_text_out_t *to, const ngx_str_t *s);


/* in exactly as much memory as it needs, and in any less */

static int
test_is_written(test_write_pt write, ngx_str_t *s, const char *want, size_t len)
{
    int                    ok;
    u_char                *buf, *text;
    size_t                 n;
    ngx_str_t              copy;
    ngx_vmess_text_out_t   to;

    ok = 1;

    text = test_copy(s->data, s->len);
    copy.data = text;
    copy.len = s->len;

    for (n = 0; n <= len; n++) {
        buf = malloc(n ? n : 1);

        ngx_memzero(&to, sizeof(ngx_vmess_text_out_t));
        to.pos = buf;
        to.last = buf + n;

        write(&to, &copy);

        ok = ok && to.full == (n < len)
             && ngx_memcmp(buf, want, to.pos - buf) == 0
             && (n < len || to.pos == to.last);

        free(buf);
    }

    free(text);

    return ok;
}


static void
test_escapes(void)
{
    ngx_str_t   value, want;
    ngx_uint_t  i;

    static const struct {
        test_write_pt   write;
        ngx_str_t       value;
        ngx_str_t       want;
    } cases[] = {
        { ngx_vmess_text_out_string, ngx_string("a\0b"), ngx_string("a\0b") },

        { ngx_vmess_text_out_percent, ngx_string("aZ09-._~"),
          ngx_string("aZ09-._~") },
        { ngx_vmess_text_out_percent, ngx_string("/?#%&=+ \n\"<@"),
          ngx_string("%2F%3F%23%25%26%3D%2B%20%0A%22%3C%40") },
        { ngx_vmess_text_out_percent, ngx_string("\xc3\xa9\xff"),
          ngx_string("%C3%A9%EF%BF%BD") },

        { ngx_vmess_text_out_metric, ngx_string(""), ngx_string("\"\"") },
        { ngx_vmess_text_out_metric, ngx_string("a'b}{,=#</script>"),
          ngx_string("\"a'b}{,=#</script>\"") },
        { ngx_vmess_text_out_metric, ngx_string("\"\\\n\r\\n"),
          ngx_string("\"\\\"\\\\\\n\r\\\\n\"") },
        { ngx_vmess_text_out_metric, ngx_string("\xc3\xa9\xff\xf0\x9f\x98\x80"),
          ngx_string("\"\xc3\xa9\xef\xbf\xbd\xf0\x9f\x98\x80\"") },

        { ngx_vmess_text_out_quoted, ngx_string(""), ngx_string("\"\"") },
        { ngx_vmess_text_out_quoted, ngx_string("a'b: #{}/"),
          ngx_string("\"a'b: #{}/\"") },
        { ngx_vmess_text_out_quoted, ngx_string("\"\\\0\n\x1f\x7f"),
          ngx_string("\"\\\"\\\\\\u0000\\u000a\\u001f\\u007f\"") },
        { ngx_vmess_text_out_quoted,
          ngx_string("\xc2\x85\xc2\xa0\xe2\x80\xa8\xe2\x80\xa9"),
          ngx_string("\"\\u0085\xc2\xa0\\u2028\\u2029\"") },
        { ngx_vmess_text_out_quoted,
          ngx_string("\xef\xbb\xbf\xef\xbf\xbe\xef\xbf\xbf\xf0\x9f\x98\x80"),
          ngx_string("\"\\ufeff\\ufffe\\uffff\xf0\x9f\x98\x80\"") },
        { ngx_vmess_text_out_quoted, ngx_string("\x80z\xe2\x82\"\xc3"),
          ngx_string("\"\xef\xbf\xbdz\xef\xbf\xbd\\\"\xef\xbf\xbd\"") },

        { ngx_vmess_text_out_label, ngx_string("a b@/c/"),
          ngx_string("a b@/c/") },
        { ngx_vmess_text_out_label, ngx_string("\n\0\x7f\xc2\x85"),
          ngx_string("  \xef\xbf\xbd\xef\xbf\xbd") },
        { ngx_vmess_text_out_label, ngx_string(",=//"),
          ngx_string("\xef\xbc\x8c\xef\xbc\x9d\xef\xbc\x8f/") },
        { ngx_vmess_text_out_label, ngx_string("\"'#;[]\\"),
          ngx_string("\xef\xbc\x82\xef\xbc\x87\xef\xbc\x83\xef\xbc\x9b"
                     "\xef\xbc\xbb\xef\xbc\xbd\xef\xbc\xbc") },
        { ngx_vmess_text_out_label, ngx_string("\xe2\x80\xa8\xef\xbb\xbf\xe2"),
          ngx_string("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd") }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        value = cases[i].value;
        want = cases[i].want;

        test_ok(test_is_written(cases[i].write, &value, (char *) want.data,
                                want.len),
                "text %d", (int) i);
    }
}


static void
test_write_base64(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    ngx_vmess_text_out_word(to, "b:");
    ngx_vmess_text_out_base64(to);
    ngx_vmess_text_out_string(to, s);
    ngx_vmess_text_out_base64_end(to);
    ngx_vmess_text_out_word(to, ".");
}


static void
test_write_twice(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    ngx_vmess_text_out_base64(to);
    ngx_vmess_text_out_base64(to);
    ngx_vmess_text_out_string(to, s);
    ngx_vmess_text_out_base64_end(to);
    ngx_vmess_text_out_word(to, "\n");
    ngx_vmess_text_out_base64_end(to);
}


/* RFC 4648, 10.  Test Vectors */

static void
test_base64(void)
{
    ngx_str_t    s;
    ngx_uint_t   i;

    static const struct {
        const char  *value;
        const char  *want;
    } cases[] = {
        { "", "b:." }, { "f", "b:Zg==." }, { "fo", "b:Zm8=." },
        { "foo", "b:Zm9v." }, { "foob", "b:Zm9vYg==." },
        { "fooba", "b:Zm9vYmE=." }, { "foobar", "b:Zm9vYmFy." },
        { "\xfb\xff\xbf", "b:+/+/." }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s.data = (u_char *) cases[i].value;
        s.len = strlen(cases[i].value);

        test_ok(test_is_written(test_write_base64, &s, cases[i].want,
                                strlen(cases[i].want)),
                "Base64 %d", (int) i);
    }

    ngx_str_set(&s, "foob");
    test_ok(test_is_written(test_write_twice, &s, "Wm05dllnPT0K", 12),
            "Base64 of Base64");
}


static void
test_write_numbers(ngx_vmess_text_out_t *to, const ngx_str_t *s)
{
    ngx_vmess_text_out_number(to, 0);
    ngx_vmess_text_out_word(to, " ");
    ngx_vmess_text_out_number(to, 65535);
    ngx_vmess_text_out_word(to, " ");
    ngx_vmess_text_out_number(to, (ngx_uint_t) -1);
    ngx_vmess_text_out_word(to, " ");
    ngx_vmess_text_out_uuid(to, (u_char *) "\0\1\2\3\4\5\6\7\x88\x99\xaa\xbb"
                                           "\xcc\xdd\xee\xff");
}


static void
test_numbers(void)
{
    char       want[128];
    ngx_str_t  s;

    ngx_str_set(&s, "");

    sprintf(want, "0 65535 %llu 00010203-0405-0607-8899-aabbccddeeff",
            (unsigned long long) (ngx_uint_t) -1);

    test_ok(test_is_written(test_write_numbers, &s, want, strlen(want)),
            "numbers and a UUID");
}


int
main(void)
{
    test_escapes();
    test_base64();
    test_numbers();

    return test_done();
}
