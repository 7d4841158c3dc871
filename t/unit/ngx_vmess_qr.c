
/*
 * Copyright (C) ngx_vmess authors
 */

#include "test.h"
#include "ngx_vmess_qr.h"
#include "qr_read.h"


#define TEST_LABEL                                                            \
    "\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\""


typedef u_char  test_matrix_t[QR_READ_SIZE][QR_READ_SIZE];


static ngx_vmess_qr_t  qr;


static ngx_int_t
test_create(ngx_vmess_qr_level_e level, const void *text, size_t len)
{
    u_char     *copy;
    ngx_int_t   rc;
    ngx_str_t   s;

    s.len = len;
    s.data = copy = test_copy(text, len);

    /* what was there is of no use */

    test_fill((u_char *) &qr, sizeof(ngx_vmess_qr_t));

    rc = ngx_vmess_qr_create(&qr, level, &s);

    free(copy);

    return rc;
}


/* the same code as qrencode 4.1.1 makes of it: qrencode -8 -l M -v 1 */

static void
test_known(void)
{
    int         ok;
    ngx_uint_t  x, y;

    static const char  *code[21] = {
        "####### ###   #######",
        "#     # ## ## #     #",
        "# ### #  #  # # ### #",
        "# ### # #   # # ### #",
        "# ### #    #  # ### #",
        "#     #  # ## #     #",
        "####### # # # #######",
        "        # ###        ",
        "# ## ### # ## #  # ##",
        "## #   #  ########  #",
        "# ######  ## #     ##",
        "## ##  # ###   # # ##",
        " #   ##  ## # # #  # ",
        "        #  #  # #  # ",
        "####### #####   ##   ",
        "#     # ###  # ######",
        "# ### #   # # # # #  ",
        "# ### # ##   # #   # ",
        "# ### # ##  #  # #   ",
        "#     #    ######   #",
        "####### ###  ## ###  "
    };

    ok = test_create(NGX_VMESS_QR_L, "vmess://a@b", 11) == NGX_OK
         && qr.version == 1 && qr.size == 21 && qr.level == NGX_VMESS_QR_M
         && qr.mask == 3;

    for (y = 0; y < 21; y++) {
        for (x = 0; x < 21; x++) {
            ok = ok && ngx_vmess_qr_dark(&qr, x, y) == (code[y][x] == '#');
        }
    }

    test_ok(ok, "a code as another encoder makes it");
}


/* the smallest version, in it the better level, as the tables have it */

static int
test_choice(ngx_vmess_qr_level_e level, size_t len)
{
    ngx_uint_t  version, found;

    for (version = 1; version <= 40; version++) {
        if (len <= qr_read_versions[version].room[level]) {
            break;
        }
    }

    if (len <= qr_read_versions[version].room[NGX_VMESS_QR_M]) {
        found = NGX_VMESS_QR_M;

    } else {
        found = level;
    }

    return qr.version == version && qr.level == found
           && qr.size == 17 + 4 * version;
}


static void
test_versions(void)
{
    int          ok;
    u_char       text[NGX_VMESS_QR_L_MAX + 1];
    size_t       len;
    ngx_uint_t   version, level;
    const char  *name;

    test_fill(text, sizeof(text));

    for (level = NGX_VMESS_QR_L; level <= NGX_VMESS_QR_M; level++) {

        name = (level == NGX_VMESS_QR_L) ? "L" : "M";

        for (version = 1; version <= 40; version++) {

            /* all there is room for, and a byte more, for the next version */

            len = qr_read_versions[version].room[level];

            test_ok(test_create(level, text, len) == NGX_OK
                    && qr.version == version && qr.level == level
                    && qr_read(&qr, text, len),
                    "version %d %s, full", (int) version, name);

            if (version == 40) {
                break;
            }

            test_ok(test_create(level, text, len + 1) == NGX_OK
                    && qr.version == version + 1
                    && test_choice(level, len + 1)
                    && qr_read(&qr, text, len + 1),
                    "version %d %s, padded", (int) version + 1, name);
        }

        len = (level == NGX_VMESS_QR_L) ? NGX_VMESS_QR_L_MAX
                                        : NGX_VMESS_QR_M_MAX;

        test_ok(qr_read_versions[40].room[level] == len
                && test_create(level, text, len + 1) == NGX_DECLINED,
                "level %s: too long", name);
    }

    /* M where it costs nothing */

    for (ok = 1, len = 0; len <= 300; len++) {
        ok = ok && test_create(NGX_VMESS_QR_L, text, len) == NGX_OK
             && test_choice(NGX_VMESS_QR_L, len) && qr_read(&qr, text, len);
    }

    test_ok(ok, "each length up to 300, and none");
}


static int
test_alike(test_matrix_t m, int size, int x, int y)
{
    return x > 0 && x < size && m[y][x] == m[y][x - 1];
}


/*
 * The rules of ISO/IEC 18004, 7.8.3.1, for rows: a finder pattern counts if
 * four modules before or after it are light, or are outside.
 */

static int
test_penalty_rows(test_matrix_t m, int size)
{
    int   x, y, run, penalty;
    char  line[4 + QR_READ_SIZE + 4 + 1], *p;

    penalty = 0;

    for (y = 0; y < size; y++) {

        for (x = 0; x < size; x += run) {
            for (run = 1; test_alike(m, size, x + run, y); run++) { /* void */ }

            penalty += (run < 5) ? 0 : run - 2;
        }

        ngx_memset(line, '0', sizeof(line));

        for (x = 0; x < size; x++) {
            line[4 + x] = '0' + m[y][x];
        }

        line[4 + size + 4] = '\0';

        for (p = line; (p = strstr(p, "1011101")); p++) {
            if (strncmp(p - 4, "0000", 4) == 0
                || strncmp(p + 7, "0000", 4) == 0)
            {
                penalty += 40;
            }
        }
    }

    return penalty;
}


static int
test_penalty(test_matrix_t m, int size)
{
    int            x, y, dark, percent, penalty;
    test_matrix_t  turned;

    penalty = 0;
    dark = 0;

    for (y = 0; y < size; y++) {
        for (x = 0; x < size; x++) {
            turned[x][y] = m[y][x];
            dark += m[y][x];

            if (y > 0 && test_alike(m, size, x, y)
                && test_alike(m, size, x, y - 1) && m[y][x] == m[y - 1][x])
            {
                penalty += 3;
            }
        }
    }

    for (percent = 5; percent <= 50; percent += 5) {
        if (100 * dark >= (50 + percent) * size * size
            || 100 * dark <= (50 - percent) * size * size)
        {
            penalty += 10;
        }
    }

    return penalty + test_penalty_rows(m, size)
           + test_penalty_rows(turned, size);
}


/* a code as it would be with another mask */

static void
test_masked(qr_read_t *r, test_matrix_t m, int mask)
{
    int  i, x, y, format;

    for (y = 0; y < r->size; y++) {
        for (x = 0; x < r->size; x++) {
            m[y][x] = ngx_vmess_qr_dark(&qr, x, y);

            if (!r->seen[y][x]) {
                m[y][x] ^= qr_read_mask(qr.mask, y, x)
                           ^ qr_read_mask(mask, y, x);
            }
        }
    }

    format = qr_read_formats[qr.level][mask]
             ^ qr_read_formats[qr.level][qr.mask];

    for (i = 0; i < 8; i++) {
        m[8][r->size - 1 - i] ^= format >> i & 1;
        m[i + (i >= 6)][8] ^= format >> i & 1;
    }

    for ( /* void */ ; i < 15; i++) {
        m[r->size - 15 + i][8] ^= format >> i & 1;
        m[8][i == 8 ? 7 : 14 - i] ^= format >> i & 1;
    }
}


static void
test_masks(void)
{
    int                   ok, n, mask, penalty, least, seen;
    u_char                text[400];
    size_t                len;
    static qr_read_t      r;
    static test_matrix_t  m;

    ok = 1;
    seen = 0;

    for (n = 0; n < 200; n++) {
        len = test_random() % (n < 190 ? 60 : sizeof(text));
        test_fill(text, len);

        /* all the same, so that much is dark, or light */

        if (n % 2) {
            ngx_memset(text, text[0], len);
        }

        ok = ok && test_create(NGX_VMESS_QR_L, text, len) == NGX_OK;

        ngx_memzero(r.seen, sizeof(r.seen));
        r.qr = &qr;
        r.size = qr.size;
        r.ok = 1;

        qr_read_patterns(&r);
        qr_read_information(&r);

        least = 0;

        for (mask = 0; mask < 8; mask++) {
            test_masked(&r, m, mask);
            penalty = test_penalty(m, r.size);

            /* of the same penalty, the first one */

            if (mask == 0 || penalty < least) {
                least = penalty;
                r.ok = qr.mask == (ngx_uint_t) mask;
            }
        }

        ok = ok && r.ok;
        seen |= 1 << qr.mask;
    }

    test_ok(ok, "the mask of the least penalty");
    test_ok(seen == 0xff, "each mask is that sometimes");
}


/* what is drawn is the code and nothing else, in memory of the exact size */

static int
test_drawn(ngx_str_t *label)
{
    int             ok, dx, dy, len, n, x, y;
    char           *p, *last;
    size_t          size;
    test_matrix_t   m;

    size = ngx_vmess_qr_svg_len(&qr, label);
    p = (char *) test_copy("", 0);
    p = realloc(p, size);

    last = (char *) ngx_vmess_qr_svg((u_char *) p, &qr, label);

    ok = last < p + size;
    *last = '\0';

    ngx_memzero(m, sizeof(m));
    last = strstr(p, " d=\"M4 4.5");
    ok = ok && last;

    last += ok ? sizeof(" d=\"M4 4.5") - 1 : 0;
    x = 0;
    y = 0;

    while (ok && sscanf(last, "m%d %dh%d%n", &dx, &dy, &len, &n) == 3) {
        last += n;
        x += dx;
        y += dy;

        ok = len > 0 && x >= 0 && x + len <= (int) qr.size
             && y >= 0 && y < (int) qr.size;

        while (ok && len--) {
            ok = m[y][x]++ == 0;
            x++;
        }
    }

    ok = ok && strcmp(last, "\"/></svg>") == 0;

    for (y = 0; y < (int) qr.size; y++) {
        for (x = 0; x < (int) qr.size; x++) {
            ok = ok && m[y][x] == ngx_vmess_qr_dark(&qr, x, y);
        }
    }

    free(p);

    return ok;
}


static void
test_svg(void)
{
    int         ok;
    u_char      text[32], out[8192], *last;
    ngx_str_t   label = ngx_string("QR"), none = ngx_string("");
    ngx_uint_t  i, x, y, version;

    static const char  head[] =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 29 29"
        TEST_LABEL "QR\"><path fill=\"#fff\" d=\"M0 0h29v29H0z\"/>"
        "<path stroke=\"#000\" d=\"M4 4.5m0 0h7m";

    test_fill(text, sizeof(text));
    test_create(NGX_VMESS_QR_L, text, 10);

    last = ngx_vmess_qr_svg(out, &qr, &label);

    test_ok((size_t) (last - out) > sizeof(head)
            && ngx_memcmp(out, head, sizeof(head) - 1) == 0,
            "svg: what is before the modules");

    test_ok(test_drawn(&label) && test_drawn(&none), "svg: a code");

    /* modules that no code has; 1 byte of a row is 8 of them */

    for (i = 0; i < 256; i++) {

        version = (i % 2) ? 40 : 1;
        qr.size = 17 + 4 * version;

        ngx_memzero(qr.modules, sizeof(qr.modules));

        for (y = 0; y < qr.size; y++) {
            for (x = 0; x < qr.size; x++) {
                if (i >> x % 8 & 1) {
                    qr.modules[y * NGX_VMESS_QR_ROW + x / 8] |= 0x80 >> x % 8;
                }
            }
        }

        ok = test_drawn(&none);

        if (!ok) {
            break;
        }
    }

    test_ok(ok, "svg: %d patterns of modules fit and are drawn", (int) i);

    ngx_memzero(qr.modules, sizeof(qr.modules));
    qr.modules[176 * NGX_VMESS_QR_ROW] = 0x80;

    test_ok(test_drawn(&none), "svg: rows without a dark module");
}


static void
test_labels(void)
{
    u_char     *copy, *out, *last, *p;
    size_t      len;
    ngx_str_t   s, head = ngx_string(TEST_LABEL), got;
    ngx_uint_t  i;

    static const struct {
        ngx_str_t  label;
        ngx_str_t  text;
    } labels[] = {
        { ngx_string(""), ngx_string("") },
        { ngx_string("a 'b'\t\r\n\x7f"), ngx_string("a 'b'\t\r\n\x7f") },
        { ngx_string("\"\"\"\"\"\"\"\""),
          ngx_string("&quot;&quot;&quot;&quot;&quot;&quot;&quot;&quot;") },
        { ngx_string("</svg><script>&amp;"),
          ngx_string("&lt;/svg&gt;&lt;script&gt;&amp;amp;") },
        { ngx_string("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"),
          ngx_string("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80") },
        { ngx_string("\0\x1f\x0b"),
          ngx_string("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd") },
        { ngx_string("\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf"),
          ngx_string("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd") },
        { ngx_string("\x80\xff\""),
          ngx_string("\xef\xbf\xbd\xef\xbf\xbd&quot;") },
        { ngx_string("\xe2\x82\"\xc3\xc3\xa9"),
          ngx_string("\xef\xbf\xbd&quot;\xef\xbf\xbd\xc3\xa9") },
        { ngx_string("a\xf0\x9f\x98"), ngx_string("a\xef\xbf\xbd") }
    };

    test_create(NGX_VMESS_QR_M, "x", 1);

    for (i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {

        s.len = labels[i].label.len;
        s.data = copy = test_copy(labels[i].label.data, s.len);

        len = ngx_vmess_qr_svg_len(&qr, &s);
        out = malloc(len);
        last = ngx_vmess_qr_svg(out, &qr, &s);

        free(copy);

        got.data = out + sizeof("<svg xmlns=\"http://www.w3.org/2000/svg\""
                                " viewBox=\"0 0 29 29") - 1;
        got.len = head.len;

        p = got.data + head.len;

        test_ok((size_t) (last - out) <= len
                && test_equal(got, head.data, head.len)
                && ngx_memcmp(p, labels[i].text.data, labels[i].text.len) == 0
                && ngx_memcmp(p + labels[i].text.len, "\"><path ", 8) == 0,
                "label %d", (int) i);

        free(out);
    }
}


int
main(void)
{
    test_known();
    test_versions();
    test_masks();
    test_svg();
    test_labels();

    return test_done();
}
