
/*
 * Copyright (C) ngx_vmess authors
 *
 * What is written of users in rounds that others change them amid.
 */

#include "test.h"
#include "event/ngx_vmess_state_user.h"
#include "event/ngx_vmess_table_find.h"
#include "event/ngx_vmess_table_remove.h"
#include "event/ngx_vmess_table_set.h"
#include "proto/ngx_vmess_crypto.h"

#include <stdio.h>
#include <string.h>


#define TEST_SIZE  (64 * 1024)


static ngx_vmess_zone_t         zone;
static ngx_vmess_zone_sh_t      sh;
static ngx_vmess_table_t       *table;

static u_char                   buf[8 * NGX_VMESS_JOURNAL_RECORD_MAX];
static u_char                  *last = buf;
static ngx_vmess_state_round_t  round_now;
static ngx_uint_t               come_again;
static ngx_uint_t               origin = NGX_VMESS_ORIGIN_API;


static void test_again(void);
static void test_again_here(void);
static void test_gone(void);
static void test_origin(void);
static void test_load(void);
static void test_begin(void);
static void test_set(char *name, u_char id);
static void test_remove(char *name);
static void test_get(ngx_uint_t i);
static void test_is_text(const char *text, const char *name);


/* somebody else may have had the lock before */

ngx_vmess_table_t *
ngx_vmess_users_lock(ngx_vmess_zone_t *z)
{
    if (come_again) {
        come_again = 0;
        test_set("ann", 1);
    }

    ngx_vmess_table_begin(z->sh->table);

    return z->sh->table;
}


void
ngx_vmess_users_unlock(ngx_vmess_zone_t *z)
{
    ngx_vmess_table_end(z->sh->table);
}


int
main(void)
{
    if (ngx_vmess_crypto_init() != NGX_OK) {
        return 1;
    }

    zone.sh = &sh;

    test_again();
    test_again_here();
    test_gone();
    test_origin();
    test_load();

    return test_done();
}


static void
test_begin(void)
{
    static u_char  memory[TEST_SIZE] __attribute__((aligned(4096)));

    ngx_memzero(memory, TEST_SIZE);

    table = ngx_vmess_table_create(memory, TEST_SIZE);
    sh.table = table;

    ngx_memzero(&round_now, sizeof(ngx_vmess_state_round_t));
}


/*
 * A round begins after a user was removed, and so tells that this is saved.  The
 * user comes again amid it, under a number that the round looks at before.
 */

static void
test_again(void)
{
    ngx_uint_t  written;

    for (written = 0; written < 2; written++) {

        test_begin();

        test_set("ann", 1);
        test_set("bob", 2);
        test_get(0);
        test_get(1);
        test_is_text("user ann 1, user bob 2", "users");

        test_remove("ann");
        ngx_vmess_table_reap(table, 0, 0);
        test_get(0);
        test_is_text("removed ann", "one is removed");

        test_remove("bob");
        ngx_current_msec += NGX_VMESS_USER_GRACE;
        test_set("bob", 4);

        if (written) {
            test_get(0);
            test_is_text("user bob 4", "another comes again as the first");
        }

        test_get(1);
        test_is_text("removed bob, user bob 4",
                     "a removal is before who has come again");

        test_get(0);
        test_get(1);
        test_is_text("", "they are not written twice");
    }
}


/* so soon that it is the same user */

static void
test_again_here(void)
{
    test_begin();

    test_set("ann", 1);
    test_get(0);
    test_is_text("user ann 1", "a user");

    test_remove("ann");
    come_again = 1;
    test_get(0);
    test_is_text("removed ann, user ann 1",
                 "who comes again after it was looked is written");

    test_remove("ann");
    test_get(0);
    test_is_text("removed ann", "and removed again");
}


/* of whom nothing is left but the hash of the name */

static void
test_gone(void)
{
    test_begin();

    test_set("ann", 1);
    test_get(0);
    test_remove("ann");
    ngx_vmess_table_reap(table, 0, 0);
    ngx_current_msec += NGX_VMESS_USER_GRACE;
    test_set("bob", 2);
    test_is_text("user ann 1", "a user");

    test_get(0);
    test_ok(round_now.lost, "who has the place of another one");
    test_is_text("user bob 2", "is written");

    round_now.lost = 0;

    test_remove("bob");
    ngx_vmess_table_reap(table, 0, 0);
    ngx_current_msec += NGX_VMESS_USER_GRACE;
    test_set("carol", 3);
    test_remove("carol");

    test_get(0);
    test_ok(round_now.lost, "and if that one has gone, too");
    test_is_text("", "nothing is written");
}


/* the configuration defines one who is copied into a snapshot, or was */

static void
test_origin(void)
{
    ngx_uint_t  note;

    for (note = 0; note < 2; note++) {

        test_begin();

        test_set("ann", 1);

        round_now.copy = 1;
        round_now.note = note;
        test_get(0);
        test_is_text("user ann 1", "a user in a snapshot");

        origin = NGX_VMESS_ORIGIN_CONF;
        test_set("ann", 1);
        origin = NGX_VMESS_ORIGIN_API;

        round_now.copy = 0;
        test_get(0);
        test_is_text("user ann 1 of the configuration",
                     "who becomes one of the configuration is written");

        test_get(0);
        test_is_text("", "once");
    }
}


/* a journal has more users who came and went than there is room for */

static void
test_load(void)
{
    char                         name[sizeof("user1000")];
    u_char                       id[NGX_VMESS_ID_LEN];
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_vmess_journal_record_t   record;

    test_begin();

    rc = NGX_OK;

    for (i = 0; i < 1000 && rc == NGX_OK; i++) {

        ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));
        ngx_memzero(id, NGX_VMESS_ID_LEN);

        id[0] = i & 255;
        id[1] = i >> 8;

        record.name.data = (u_char *) name;
        record.name.len = sprintf(name, "user%d", (int) i);
        record.id.data = id;
        record.id.len = NGX_VMESS_ID_LEN;
        record.origin = NGX_VMESS_ORIGIN_API;

        record.kind = NGX_VMESS_JOURNAL_USER;
        rc = ngx_vmess_state_user_put(&zone, &record);

        if (rc == NGX_OK && i < 999) {
            record.kind = NGX_VMESS_JOURNAL_REMOVED;
            rc = ngx_vmess_state_user_put(&zone, &record);
        }
    }

    test_ok(rc == NGX_OK && ngx_vmess_table_count(table) == 1
            && ngx_vmess_table_find(table, &record.name) != NULL,
            "who has gone leaves room for the last one");
}


static void
test_set(char *name, u_char id)
{
    ngx_vmess_value_t  value;

    ngx_memzero(&value, sizeof(ngx_vmess_value_t));

    value.name.data = (u_char *) name;
    value.name.len = strlen(name);
    value.ids = 1;
    value.id[NGX_VMESS_USER_OWN][0] = id;
    value.origin = origin;

    if (ngx_vmess_table_set(table, &value, NULL, NULL)
        > NGX_VMESS_TABLE_CHANGED)
    {
        test_ok(0, "user %s is not made", name);
    }
}


static void
test_remove(char *name)
{
    ngx_str_t  s;

    s.data = (u_char *) name;
    s.len = strlen(name);

    ngx_vmess_table_remove(table, ngx_vmess_table_find(table, &s));
}


static void
test_get(ngx_uint_t i)
{
    last = ngx_vmess_state_user_get(&zone, i, last, &round_now);
}


/* what was written since the last time */

static void
test_is_text(const char *text, const char *name)
{
    char                         got[256], *p;
    u_char                       file[sizeof(buf) + 64], *end;
    ngx_vmess_journal_t          j;
    ngx_vmess_journal_header_t   header;
    ngx_vmess_journal_record_t   record;

    ngx_memzero(&header, sizeof(ngx_vmess_journal_header_t));
    ngx_memzero(&record, sizeof(ngx_vmess_journal_record_t));

    header.kind = NGX_VMESS_JOURNAL_CHANGES;
    ngx_str_set(&header.zone, "main");

    end = ngx_vmess_journal_create_header(file, &header);
    end = ngx_cpymem(end, buf, last - buf);

    record.kind = NGX_VMESS_JOURNAL_END;
    end = ngx_vmess_journal_create_record(end, &record);

    p = got;
    *p = '\0';

    if (ngx_vmess_journal_open(&j, file, end - file, &header.zone) == NGX_OK
        && ngx_vmess_journal_group(&j) == NGX_OK)
    {
        while (ngx_vmess_journal_next(&j, &record) == NGX_OK) {

            p += sprintf(p, "%s%s %.*s", p == got ? "" : ", ",
                         record.kind == NGX_VMESS_JOURNAL_USER ? "user"
                                                               : "removed",
                         (int) record.name.len, (char *) record.name.data);

            if (record.id.len) {
                p += sprintf(p, " %d%s", record.id.data[0],
                             record.origin == NGX_VMESS_ORIGIN_CONF
                             ? " of the configuration" : "");
            }
        }
    }

    last = buf;

    if (strcmp(got, text) != 0) {
        printf("# \"%s\", not \"%s\"\n", got, text);
    }

    test_ok(strcmp(got, text) == 0, "%s", name);
}
