
/*
 * Copyright (C) ngx_vmess authors
 */

#include "fuzz.h"
#include "ngx_vmess_json.h"
#include "ngx_vmess_json_out.h"


/*
 * Reads a text in pieces and writes what was read.  Returns the last code, the
 * text in jo, and the number of events.
 */

static ngx_int_t
fuzz_read(ngx_vmess_json_t *js, const uint8_t *data, size_t size, size_t step,
    size_t room, ngx_vmess_json_out_t *jo, size_t *events)
{
    char        key[256];
    u_char     *copy, *buf;
    size_t      n, from, depth;
    ngx_buf_t   b;
    ngx_int_t   rc;
    const char *k;

    buf = malloc(room ? room : 1);
    ngx_vmess_json_init(js, buf, room);
    ngx_memzero(&b, sizeof(ngx_buf_t));

    *events = 0;
    depth = 0;
    k = NULL;

    for (from = 0, n = ngx_min(step, size); /* void */ ; /* void */ ) {

        copy = fuzz_copy(data + from, n - from);
        b.pos = copy;
        b.last = copy + (n - from);

        while ((rc = ngx_vmess_json_read(js, &b, n == size)) == NGX_OK) {

            (*events)++;

            switch (js->event) {

            case NGX_VMESS_JSON_OBJECT:
                depth++;
                ngx_vmess_json_out_open(jo, k, '{');
                break;

            case NGX_VMESS_JSON_ARRAY:
                depth++;
                ngx_vmess_json_out_open(jo, k, '[');
                break;

            case NGX_VMESS_JSON_OBJECT_END:
                depth--;
                ngx_vmess_json_out_close(jo, '}');
                break;

            case NGX_VMESS_JSON_ARRAY_END:
                depth--;
                ngx_vmess_json_out_close(jo, ']');
                break;

            case NGX_VMESS_JSON_STRING:
                fuzz_check(js->value.len <= room);
                ngx_vmess_json_out_string(jo, k, &js->value);
                break;

            case NGX_VMESS_JSON_INTEGER:
                ngx_vmess_json_out_integer(jo, k, js->integer);
                break;

            case NGX_VMESS_JSON_NUMBER:
                fuzz_check(js->value.len <= room);
                ngx_vmess_json_out_null(jo, k);
                break;

            case NGX_VMESS_JSON_NULL:
                ngx_vmess_json_out_null(jo, k);
                break;

            case NGX_VMESS_JSON_KEY:
                fuzz_check(js->value.len <= room);

                /* keys of the writer are constants without escapes */

                snprintf(key, sizeof(key), "k%zu", js->value.len);
                k = key;
                continue;

            default:
                ngx_vmess_json_out_flag(jo, k,
                                        js->event == NGX_VMESS_JSON_TRUE);
            }

            k = NULL;

            fuzz_check(js->depth == depth);
            fuzz_check(depth <= NGX_VMESS_JSON_DEPTH_MAX);
        }

        fuzz_check((rc == NGX_ERROR) == (js->err != NULL));
        fuzz_check(rc == NGX_ERROR || b.pos == b.last);

        free(copy);

        if (rc != NGX_AGAIN) {
            break;
        }

        fuzz_check(n < size);

        from = n;
        n = ngx_min(n + step, size);
    }

    free(buf);

    return rc;
}


/* the first byte says how many bytes come at a time, and how long texts may be */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                *first, *second;
    size_t                 events, again, room, len;
    ngx_int_t              rc;
    ngx_vmess_json_t       whole, pieces;
    ngx_vmess_json_out_t   a, b;

    if (size < 1) {
        return 0;
    }

    room = (data[0] & 1) ? 8 : 4096;

    /* a byte becomes six at most, and a key may be longer than it was */

    len = 16 * size;

    first = malloc(len);
    second = malloc(len);
    fuzz_check(first != NULL && second != NULL);

    ngx_memzero(&a, sizeof(ngx_vmess_json_out_t));
    a.pos = first;
    a.last = first + len;

    b = a;
    b.pos = second;
    b.last = second + len;

    /* at once and in pieces: the same */

    rc = fuzz_read(&whole, data + 1, size - 1, size, room, &a, &events);

    fuzz_check(fuzz_read(&pieces, data + 1, size - 1, 1 + (data[0] >> 1), room,
                         &b, &again)
               == rc);
    fuzz_check(events == again);
    fuzz_check(whole.offset == pieces.offset && whole.err == pieces.err);
    fuzz_check(whole.offset <= (off_t) (size - 1));
    fuzz_check(a.pos - first == b.pos - second);
    fuzz_check(ngx_memcmp(first, second, a.pos - first) == 0);
    fuzz_check(!a.full);

    if (rc == NGX_DONE) {

        /* what was written is the same once more */

        size = a.pos - first;
        b.pos = second;
        b.comma = 0;

        fuzz_check(fuzz_read(&pieces, first, size, size + 1, 4096, &b, &again)
                   == NGX_DONE);
        fuzz_check(again == events);
    }

    free(first);
    free(second);

    return 0;
}
