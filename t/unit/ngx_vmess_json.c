
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_json.h"


#define TEST_SIZE   64
#define TEST_TRACE  4096


/*
 * What a reader tells of a text given in pieces that end at "first" and from
 * there on after "step" bytes each, as one string: brackets, "k" and "s" with
 * a string in quotes, "i" and "n" with a number, "t", "f", "0", at the end "."
 * or the error with its place.
 */

static const char *
test_trace_json(const char *text, size_t len, size_t first, size_t step,
    size_t size)
{
    char              *p, *end;
    u_char            *piece, *buf;
    size_t             n, from;
    ngx_buf_t          b;
    ngx_int_t          rc;
    ngx_vmess_json_t   js;
    static char        trace[TEST_TRACE];
    static const char  events[] = "{}[]ksintf0";

    buf = malloc(size ? size : 1);
    ngx_vmess_json_init(&js, buf, size);
    ngx_memzero(&b, sizeof(ngx_buf_t));

    p = trace;
    end = trace + sizeof(trace) - TEST_SIZE - 100;
    *p = '\0';

    for (from = 0, n = ngx_min(first, len); /* void */ ; /* void */ ) {

        piece = test_copy(text + from, n - from);
        b.pos = piece;
        b.last = piece + (n - from);

        do {
            rc = ngx_vmess_json_read(&js, &b, n == len);

            if (rc != NGX_OK || p > end) {
                break;
            }

            *p++ = events[js.event];

            switch (js.event) {

            case NGX_VMESS_JSON_KEY:
            case NGX_VMESS_JSON_STRING:
                p += sprintf(p, "'%.*s'", (int) js.value.len, js.value.data);
                break;

            case NGX_VMESS_JSON_INTEGER:
                p += sprintf(p, "%lld", (long long) js.integer);
                break;

            case NGX_VMESS_JSON_NUMBER:
                p += sprintf(p, "%.*s", (int) js.value.len, js.value.data);
                break;

            default:
                break;
            }

        } while (rc == NGX_OK);

        if (rc != NGX_AGAIN || b.pos != b.last || n == len) {
            free(piece);
            break;
        }

        free(piece);

        from = n;
        n = ngx_min(n + step, len);
    }

    free(buf);

    if (rc == NGX_DONE && js.offset == (off_t) len) {
        sprintf(p, ".");

    } else if (rc == NGX_ERROR) {
        sprintf(p, "!%d %s", (int) js.offset, js.err);

    } else {
        sprintf(p, "?%d", (int) rc);
    }

    return trace;
}


/* the same at once, byte by byte, and split at any place */

static void
test_read(const char *text, size_t len, const char *expected, size_t size,
    const char *title)
{
    int         ok;
    size_t      n;
    const char *trace;

    trace = test_trace_json(text, len, len, 1, size);
    ok = (strcmp(trace, expected) == 0);

    if (!ok) {
        printf("# %.*s: %s\n", (int) len, text, trace);
    }

    for (n = 0; n < len; n++) {
        ok = ok && strcmp(test_trace_json(text, len, n, len, size), expected)
                   == 0;
    }

    ok = ok && strcmp(test_trace_json(text, len, 0, 1, size), expected) == 0;

    test_ok(ok, "%s", title);
}


static void
test_texts(void)
{
    char        title[32];
    ngx_uint_t  i;

    static const struct {
        const char  *text;
        const char  *trace;
    } texts[] = {

        /* values */

        { "{}", "{}." },
        { "[]", "[]." },
        { " \t\r\n[ ] \n", "[]." },
        { "true", "t." },
        { "false", "f." },
        { "null", "0." },
        { "\"\"", "s''." },
        { "0", "i0." },
        { " -0 ", "i0." },
        { "[1,2]", "[i1i2]." },
        { "[ 1 , 2 ]", "[i1i2]." },
        { "{\"a\":1}", "{k'a'i1}." },
        { "{ \"a\" : { } , \"b\" : [ [ ] ] }", "{k'a'{}k'b'[[]]}." },
        { "{\"\":null,\"\":true}", "{k''0k''t}." },
        { "[{\"name\":\"a\",\"up\":0,\"disabled\":false},{}]",
          "[{k'name's'a'k'up'i0k'disabled'f}{}]." },

        /* numbers */

        { "9223372036854775807", "i9223372036854775807." },
        { "-9223372036854775808", "i-9223372036854775808." },
        { "9223372036854775808", "n9223372036854775808." },
        { "-9223372036854775809", "n-9223372036854775809." },
        { "92233720368547758070", "n92233720368547758070." },
        { "[9007199254740993]", "[i9007199254740993]." },
        { "1.0", "n1.0." },
        { "-0.5e-10", "n-0.5e-10." },
        { "1E+2", "n1E+2." },
        { "[0e0]", "[n0e0]." },
        { "12.50 ", "n12.50." },
        { "01", "!1 invalid number" },
        { "-", "!1 unexpected end" },
        { "-a", "!1 invalid number" },
        { "-01", "!2 invalid number" },
        { "+1", "!0 unexpected character" },
        { ".5", "!0 unexpected character" },
        { "1.", "!2 unexpected end" },
        { "1.e", "!2 invalid number" },
        { "1e", "!2 unexpected end" },
        { "1e+", "!3 unexpected end" },
        { "1e+-1", "!3 invalid number" },
        { "1-", "!1 invalid number" },
        { "1.5.", "!3 invalid number" },
        { "1x", "i1!1 data behind the end" },
        { "[1x", "[i1!2 no comma in an array" },

        /* strings */

        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "s'\"\\/\b\f\n\r\t'." },
        { "\"\\u0041\\u00e9\\u20AC\\uD83D\\ude00\"",
          "s'A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80'." },
        { "\"\\udbff\\udfff\\ud800\\udc00\"",
          "s'\xf4\x8f\xbf\xbf\xf0\x90\x80\x80'." },
        { "\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
          "s'\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf'." },
        { "\"\x7f\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80"
          "\xf4\x8f\xbf\xbf\"",
          "s'\x7f\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xf0\x90\x80\x80"
          "\xf4\x8f\xbf\xbf'." },
        { "\"\\x\"", "!2 invalid escape sequence" },
        { "\"\\u00g0\"", "!5 invalid escape sequence" },
        { "\"\\u00\"", "!5 invalid escape sequence" },
        { "\"\\ud800\"", "!7 half of a surrogate pair" },
        { "\"\\ud800\\n\"", "!8 half of a surrogate pair" },
        { "\"\\ud800\\u0041\"", "!12 half of a surrogate pair" },
        { "\"\\ud800\\ud800\"", "!12 half of a surrogate pair" },
        { "\"\\udc00\"", "!6 half of a surrogate pair" },
        { "\"a\nb\"", "!2 control character in a string" },
        { "\"a", "!2 unexpected end" },
        { "\"a\\", "!3 unexpected end" },
        { "\"\x80\"", "!1 string is not UTF-8" },
        { "\"\xc0\x80\"", "!1 string is not UTF-8" },
        { "\"\xe0\x9f\xbf\"", "!2 string is not UTF-8" },
        { "\"\xed\xa0\x80\"", "!2 string is not UTF-8" },
        { "\"\xf0\x8f\xbf\xbf\"", "!2 string is not UTF-8" },
        { "\"\xf4\x90\x80\x80\"", "!2 string is not UTF-8" },
        { "\"\xf5\"", "!1 string is not UTF-8" },
        { "\"\xe2\x82\"", "!3 string is not UTF-8" },
        { "\"\xe2\x82\\n\"", "!3 string is not UTF-8" },

        /* what is no JSON */

        { "", "!0 unexpected end" },
        { " ", "!1 unexpected end" },
        { "\xef\xbb\xbf{}", "!0 unexpected character" },
        { "tru", "!3 unexpected end" },
        { "truE", "!3 unexpected character" },
        { "nul]", "!3 unexpected character" },
        { "None", "!0 unexpected character" },
        { "'a'", "!0 unexpected character" },
        { "}", "!0 unexpected character" },
        { "[", "[!1 unexpected end" },
        { "[1", "[i1!2 unexpected end" },
        { "[1,]", "[i1!3 unexpected character" },
        { "[,1]", "[!1 unexpected character" },
        { "[1 2]", "[i1!3 no comma in an array" },
        { "[1}", "[i1!2 no comma in an array" },
        { "[}", "[!1 unexpected character" },
        { "{]", "{!1 no key in double quotes" },
        { "{a:1}", "{!1 no key in double quotes" },
        { "{1:1}", "{!1 no key in double quotes" },
        { "{,}", "{!1 no key in double quotes" },
        { "{\"a\"}", "{k'a'!4 no colon behind a key" },
        { "{\"a\":}", "{k'a'!5 unexpected character" },
        { "{\"a\":1,}", "{k'a'i1!7 no key in double quotes" },
        { "{\"a\":1 \"b\":2}", "{k'a'i1!7 no comma in an object" },
        { "{\"a\":1]", "{k'a'i1!6 no comma in an object" },
        { "{} {}", "{}!3 data behind the end" },
        { "[]]", "[]!2 data behind the end" },
        { "1 // one", "i1!2 data behind the end" },
    };

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sprintf(title, "text %d", (int) i);

        test_read(texts[i].text, strlen(texts[i].text), texts[i].trace,
                  TEST_SIZE, title);
    }

    test_read("\"\0\"", 3, "!1 control character in a string", TEST_SIZE,
              "a zero byte in a string");
    test_read("[\0]", 3, "[!1 unexpected character", TEST_SIZE,
              "a zero byte");
    test_read("\"\\\0\"", 4, "!2 invalid escape sequence", TEST_SIZE,
              "a zero byte after a backslash");
}


static void
test_limits(void)
{
    char  text[64], trace[64];

    test_read("\"abcd\"", 6, "s'abcd'.", 4, "a string that fits");
    test_read("\"abcde\"", 7, "!5 too long a string or number", 4,
              "a string that does not fit");
    test_read("\"abc\\u00e9\"", 11, "!9 too long a string or number", 4,
              "half of its last character fits");
    test_read("12345", 5, "!4 too long a string or number", 4,
              "a number that does not fit");
    test_read("1", 1, "!0 too long a string or number", 0, "no memory");
    test_read("[{\"\":[]}]", 9, "[{k''[]}].", 0, "without strings");

    ngx_memset(text, '[', NGX_VMESS_JSON_DEPTH_MAX + 1);
    ngx_memset(trace, '[', NGX_VMESS_JSON_DEPTH_MAX);
    sprintf(trace + NGX_VMESS_JSON_DEPTH_MAX, "!%d too many levels",
            NGX_VMESS_JSON_DEPTH_MAX);

    test_read(text, NGX_VMESS_JSON_DEPTH_MAX + 1, trace, TEST_SIZE,
              "an array too deep");

    ngx_memset(text + NGX_VMESS_JSON_DEPTH_MAX, ']',
               NGX_VMESS_JSON_DEPTH_MAX);
    ngx_memset(trace + NGX_VMESS_JSON_DEPTH_MAX, ']',
               NGX_VMESS_JSON_DEPTH_MAX);
    strcpy(trace + 2 * NGX_VMESS_JSON_DEPTH_MAX, ".");

    test_read(text, 2 * NGX_VMESS_JSON_DEPTH_MAX, trace, TEST_SIZE,
              "the deepest array");
}


int
main(void)
{
    test_texts();
    test_limits();

    return test_done();
}
