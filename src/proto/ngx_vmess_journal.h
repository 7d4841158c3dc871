
/*
 * Copyright (C) ngx_vmess authors
 */

#ifndef _NGX_VMESS_JOURNAL_H_INCLUDED_
#define _NGX_VMESS_JOURNAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_vmess_proto.h"


/*
 * The format of files of "state": a header, then records, in groups that are
 * applied whole or not at all.  Records say what is, not what was added: to
 * apply them once more changes nothing.  Numbers are big endian.
 *
 *     header   magic 8, version 2, length of the header 2, CRC 4 of all else
 *              of it, kind of the file 1, length of the name 1, number 8,
 *              time 8, name of the zone
 *     record   CRC 4 of what follows, length 2 of what follows: kind 1, fields
 *     field    type 1, length 1, value: a string, or a number of up to 8 bytes
 *
 * Fields that are 0 or empty are left out.  A reader leaves out kinds and
 * types that it does not know if they have the bit 0x80, and refuses others:
 * so a later version may add either without a new number of the version.
 */

#define NGX_VMESS_JOURNAL_VERSION     1

#define NGX_VMESS_JOURNAL_HEADER_LEN  34     /* without the name */
#define NGX_VMESS_JOURNAL_HEADER_MAX  (NGX_VMESS_JOURNAL_HEADER_LEN + 255)

/*
 * Bytes that are written at once, behind which nothing is until they are on the
 * disk; a group ends with its last part
 */

#define NGX_VMESS_JOURNAL_PART_MAX    (64 * 1024)

/* of a record with its CRC and length */

#define NGX_VMESS_JOURNAL_RECORD_MAX  1024

#define NGX_VMESS_JOURNAL_NAME_MAX    64     /* of a user */
#define NGX_VMESS_JOURNAL_TEXT_MAX    64     /* class, token */


typedef enum {
    NGX_VMESS_JOURNAL_SNAPSHOT = 1,          /* all there was at a time */
    NGX_VMESS_JOURNAL_CHANGES                /* what happened since */
} ngx_vmess_journal_kind_e;


typedef enum {
    NGX_VMESS_JOURNAL_USER = 1,              /* name, id, all limits */
    NGX_VMESS_JOURNAL_REMOVED,               /* name */
    NGX_VMESS_JOURNAL_COUNTERS,              /* name, counters */
    NGX_VMESS_JOURNAL_ZONE,                  /* facts of the zone */
    NGX_VMESS_JOURNAL_END,                   /* of a group */
    NGX_VMESS_JOURNAL_FINISH                 /* of a snapshot: count */
} ngx_vmess_journal_record_e;


typedef struct {
    ngx_vmess_journal_kind_e   kind;
    uint64_t                   number;       /* journal N is what happened since
                                                snapshot N was begun */
    uint64_t                   time;         /* when it was made */
    ngx_str_t                  zone;         /* up to 255 bytes */
} ngx_vmess_journal_header_t;


/* a record of any kind; strings are in the caller's memory, or in the file */

typedef struct {
    ngx_vmess_journal_record_e  kind;

    ngx_str_t                  name;

    /* user: times in seconds since 1970, sizes and rates in bytes */

    ngx_str_t                  id;           /* 16 bytes */
    ngx_str_t                  also;         /* 16 bytes, or none */
    ngx_str_t                  class;
    ngx_str_t                  token;
    uint64_t                   until;        /* of also */
    uint64_t                   expires;
    uint64_t                   hold;         /* a length of time */
    uint64_t                   hold_until;
    uint64_t                   quota;
    uint64_t                   quota_reset;  /* unit << 32 | n of a period */
    uint64_t                   rate;
    uint64_t                   rate_up;
    uint64_t                   rate_down;
    uint64_t                   max_conns;
    uint64_t                   max_ips;
    uint64_t                   alter_id;
    uint64_t                   disabled;
    uint64_t                   given;        /* which of these are the user's */
    uint64_t                   tags;
    uint64_t                   origin;

    /* counters */

    uint64_t                   up;           /* bytes ever */
    uint64_t                   down;
    uint64_t                   reset_up;     /* as they were at a reset */
    uint64_t                   reset_down;
    uint64_t                   total;        /* flows ever */
    uint64_t                   refused;
    uint64_t                   extra;        /* counts beside up and down */
    uint64_t                   period;       /* when it began */
    uint64_t                   base;         /* what was used before it */
    uint64_t                   first;        /* use */
    uint64_t                   seen;         /* last */

    /* zone */

    ngx_str_t                  secret;
    uint64_t                   time;         /* when it was last in use */

    /* finish: records before it */

    uint64_t                   count;
} ngx_vmess_journal_record_t;


/* a file that is being read */

typedef struct {
    ngx_vmess_journal_header_t  header;
    u_char                    *start;
    u_char                    *pos;          /* the next record */
    u_char                    *group;        /* the end of this group */
    u_char                    *last;
    uint64_t                   count;        /* records of groups so far */
    ngx_uint_t                 finished;     /* a snapshot is whole */
    off_t                      offset;       /* of what err says */
    const char                *err;
} ngx_vmess_journal_t;


/*
 * Writes a header, or a record, at p, where NGX_VMESS_JOURNAL_HEADER_MAX or
 * _RECORD_MAX bytes must be free; returns the end of it.
 */
u_char *ngx_vmess_journal_create_header(u_char *p,
    ngx_vmess_journal_header_t *header);
u_char *ngx_vmess_journal_create_record(u_char *p,
    ngx_vmess_journal_record_t *record);

/*
 * Begins to read a file of len bytes at p, which stay while it is read.
 *
 * zone  the name that must be in it
 *
 * NGX_OK     j->header is set
 * NGX_ERROR  j->err says what is wrong with the header, j->offset is 0
 */
ngx_int_t ngx_vmess_journal_open(ngx_vmess_journal_t *j, u_char *p, size_t len,
    ngx_str_t *zone);

/*
 * Goes to the next group, when all records of the last were read.
 *
 * NGX_OK     it is whole
 * NGX_DONE   the file ends here
 * NGX_AGAIN  from j->offset on is a group that is not whole: its last part was
 *            not on the disk, so nobody was told that it is, and it is left out
 * NGX_ERROR  at j->offset is damage of what was on the disk, as more was
 *            written later; or something follows the end of a snapshot; j->err
 *            says which
 *
 * Damage of the last group of a file is taken for the former, and so is that of
 * the end before it.
 */
ngx_int_t ngx_vmess_journal_group(ngx_vmess_journal_t *j);

/*
 * The next record of the group.
 *
 * NGX_OK     it is in *record
 * NGX_DONE   the group ends here
 * NGX_ERROR  j->err says what is wrong with that at j->offset: it is of a newer
 *            version, or not what this one writes
 */
ngx_int_t ngx_vmess_journal_next(ngx_vmess_journal_t *j,
    ngx_vmess_journal_record_t *record);

/* CRC-32C of len bytes at p, going on from crc, 0 at first */
uint32_t ngx_vmess_journal_crc(uint32_t crc, const u_char *p, size_t len);


#endif /* _NGX_VMESS_JOURNAL_H_INCLUDED_ */
