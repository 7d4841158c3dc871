
/*
 * Copyright (C) ngx_vmess authors
 *
 * Sessions: what is said in each state, and two machines over a bad link.
 * More of the latter by environment: KCP_SEEDS of any links and KCP_PLAIN of
 * usual ones, from KCP_FIRST on, KCP_SIZE bytes (ten times that, if usual).
 */

#include "test.h"
#include "ngx_vmess_kcp.h"


#define TEST_CONV      0xfedc
#define TEST_OVERHEAD  6
#define TEST_SEEDS     20
#define TEST_SIZE      (1024 * 1024)
#define TEST_STEPS     50000000              /* of a simulation */
#define TEST_RANDOM    0x12345678            /* timestamp at the start */
#define TEST_LOG       65536
#define TEST_OUTPUT    10000                 /* datagrams at once */


/* a datagram on its way; ordered by time in a heap */

typedef struct {
    uint64_t               time;
    uint64_t               order;
    ngx_uint_t             side;             /* that it goes to */
    size_t                 len;
    u_char                *data;
} test_datagram_t;


typedef struct {
    ngx_vmess_kcp_t        kcp;
    ngx_vmess_kcp_conf_t   conf;

    size_t                 used;             /* memory */
    size_t                 most;
    size_t                 bound;
    ngx_uint_t             fail;             /* one of that many fails */

    uint64_t               written;
    uint64_t               read;
    uint64_t               sleep;            /* reads nothing until then */
    ngx_uint_t             eof;
    uint64_t               datagrams;
    uint64_t               bytes;            /* in them, of segments */
} test_side_t;


typedef struct {
    test_side_t            side[2];

    uint64_t               seed;
    uint64_t               now;
    uint64_t               order;

    ngx_uint_t             loss;             /* of 100 */
    ngx_uint_t             twice;
    ngx_uint_t             delay;            /* ms */
    ngx_uint_t             jitter;
    ngx_uint_t             lazy;             /* readers pause */
    uint64_t               size;             /* to send, each way */

    test_datagram_t       *heap;
    ngx_uint_t             n;
    ngx_uint_t             max;

    const char            *err;
} test_link_t;


static void test_start(void);
static void test_end(const char *name);
static void test_data(uint32_t number, uint32_t una, size_t len);
static void test_ack(uint32_t next, uint32_t edge, uint32_t age,
    const char *list);
static void test_command(ngx_uint_t command, uint32_t una, uint32_t next,
    uint32_t rto);
static void test_say(ngx_vmess_kcp_segment_t *seg);
static void test_write(size_t len);
static ssize_t test_read(size_t len);
static void test_wait(uint64_t ms);
static void test_output(void);
static void test_expect(const char *name, const char *text);
static void test_receive(void);
static void test_receive_limits(void);
static void test_send(void);
static void test_resend(void);
static void test_probe(void);
static void test_rtt(void);
static void test_pace(void);
static void test_congestion(void);
static void test_idle(void);
static void test_states(void);
static void test_spoofed(void);
static void test_small(void);
static void test_mute(void);
static void test_input(void);
static void test_links(const char *name, ngx_uint_t loss, ngx_uint_t plain,
    uint64_t size);
static void test_link_init(test_link_t *link, ngx_uint_t loss, uint64_t seed,
    uint64_t size);
static void test_link_vary(test_link_t *link);
static uint64_t test_link_run(test_link_t *link);
static void test_link_turn(test_link_t *link, ngx_uint_t i);
static void test_link_send(test_link_t *link, ngx_uint_t to, u_char *p,
    size_t len);
static void test_link_push(test_link_t *link, ngx_uint_t to, u_char *p,
    size_t len);
static test_datagram_t test_link_pop(test_link_t *link);
static uint32_t test_link_random(test_link_t *link, uint32_t n);
static u_char test_byte(ngx_uint_t side, uint64_t n);
static void *test_alloc(void *data, size_t size);
static void test_free(void *data, void *p, size_t size);
static void test_conf(test_side_t *side);
static void test_bound(test_side_t *side);
static uint64_t test_env(const char *name, uint64_t value);


static test_link_t  *test_now;               /* whose memory may fail */

/* a session with a scripted peer, and what it has sent */

static test_side_t   test_side;
static uint64_t      test_time;
static uint64_t      test_began;
static ngx_uint_t    test_wakeups;
static ngx_uint_t    test_opt;               /* of what the peer says */
static char          test_log[TEST_LOG];
static size_t        test_log_len;


int
main(void)
{
    uint64_t     size;
    ngx_uint_t   i;

    static ngx_uint_t  losses[] = { 0, 5, 20, 40 };

    test_receive();
    test_receive_limits();
    test_send();
    test_resend();
    test_probe();
    test_rtt();
    test_pace();
    test_congestion();
    test_idle();
    test_states();
    test_spoofed();
    test_small();
    test_mute();
    test_input();

    size = test_env("KCP_SIZE", TEST_SIZE);

    for (i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
        test_links("usual link", losses[i], 1, 10 * size);
        test_links("any link", losses[i], 0, size);
    }

    return test_done();
}


/*
 * A log has "@ms" of each datagram since the start, then its segments:
 *
 *     data number una=number len=bytes
 *     ack next=number edge=number [number ...]
 *     ping una=number next=number rto=ms, terminate
 */

static void
test_receive(void)
{
    test_start();

    test_data(0, 0, 10);
    test_wait(0);
    test_expect("the first number is acknowledged at once",
                "@0 ack next=0 edge=776 [0]");

    test_wait(10);
    test_data(1, 0, 10);
    test_data(2, 0, 10);
    test_wait(39);
    test_expect("others wait for a tti", "");
    test_wait(1);
    test_expect("and the last of them is listed",
                "@50 ack next=2 edge=776 [2]");

    test_ok(test_read(100) == 30 && test_read(100) == NGX_AGAIN, "read all");

    test_data(5, 3, 10);
    test_data(4, 3, 10);
    test_data(8, 3, 10);
    test_wait(50);
    test_expect("numbers out of order are listed",
                "@100 ack next=2 edge=779 [2 4 5 8]");

    test_ok(test_read(100) == NGX_AGAIN, "nothing to read behind a hole");

    test_data(3, 3, 10);
    test_data(4, 3, 10);
    test_wait(50);
    test_expect("a hole is filled", "@150 ack next=5 edge=779 [5 8]");

    test_ok(test_read(15) == 15 && test_read(100) == 15, "read in parts");

    test_wait(50);
    test_expect("not confirmed, repeated", "@200 ack next=5 edge=782 [5 8]");

    test_wait(100);
    test_expect("again, later", "@300 ack next=5 edge=782 [5 8]");

    test_command(NGX_VMESS_KCP_PING, 6, 0, 100);
    test_wait(200);
    test_expect("confirmed in part, again", "@500 ack next=5 edge=782 [5 8]");

    test_data(6, 6, 0);
    test_data(7, 6, 1);
    test_wait(50);
    test_expect("no more holes", "@550 ack next=8 edge=782 [8]");

    test_command(NGX_VMESS_KCP_PING, 9, 0, 100);
    test_wait(5000);
    test_expect("all is confirmed", "");

    test_ok(test_read(100) == 11, "read the rest");

    test_data(8, 9, 10);
    test_wait(0);
    test_expect("an old number is acknowledged",
                "@5550 ack next=8 edge=785 [8] + ping una=0 next=9 rto=100");

    test_end("receive");

    /* what it tells of cannot be, and is as far as numbers can be apart */

    test_start();
    test_command(NGX_VMESS_KCP_PING, 0x80000000, 0, 100);
    test_wait(2000);
    test_expect("a peer that tells of data it has not sent",
                "@0 ack next=0 edge=776 []; @100 ack next=0 edge=776 []; "
                "@300 ack next=0 edge=776 []; @700 ack next=0 edge=776 []; "
                "@1500 ack next=0 edge=776 []");
    test_end("not sent");
}


static void
test_receive_limits(void)
{
    char         list[TEST_LOG], number[16];
    uint32_t     i;
    ngx_uint_t   first;

    test_start();

    test_data(776, 0, 10);
    test_wait(0);
    test_expect("a number behind the window is not taken",
                "@0 ack next=0 edge=776 []");

    test_data(775, 0, 10);
    test_data(0xffffffff, 0, 10);
    test_data(0x80000000, 0, 10);
    test_wait(50);
    test_expect("the last of the window", "@50 ack next=0 edge=776 [775]");

    /* every other number: more than an Ack can have */

    for (i = 1; i < 775; i += 2) {
        test_data(i, 0, 1);
    }

    test_wait(50);

    (void) strcpy(list, "@100 ack next=0 edge=776 [1");

    for (i = 3; i < 775; i += 2) {
        first = (i == 257 || i == 513 || i == 647);

        if (first) {
            (void) strcat(list, (i == 647) ? "]; @100 " : "] + ");
            (void) strcat(list, "ack next=0 edge=776 [");
        }

        (void) sprintf(number, first ? "%d" : " %d", (int) i);
        (void) strcat(list, number);
    }

    (void) strcat(list, " 775]");

    test_expect("four Acks, all but the last are full", list);
    test_end("windows");

    /* bytes: what is out of order is dropped, but not what can be read next */

    test_start();
    test_side.conf.read_buffer = 10000;

    for (i = 1; i < 8; i++) {
        test_data(i, 0, 2000);
    }

    test_data(0, 0, 2000);
    test_wait(0);
    test_expect("a full read buffer", "@0 ack next=5 edge=776 [5]");

    test_ok(test_read(20000) == 12000, "read");

    test_data(6, 0, 2000);
    test_data(7, 0, 2000);
    test_wait(50);
    test_expect("goes on", "@50 ack next=7 edge=782 [7]");

    /* in order as well, if the reader is slow */

    for (i = 8; i < 12; i++) {
        test_data(i, 0, 2000);
    }

    test_wait(50);
    test_expect("a reader that is slow", "@100 ack next=10 edge=782 [10]");

    test_ok(test_side.used <= test_side.bound, "memory");

    test_end("read buffer");

    /* a window that opens is announced */

    test_start();
    test_side.conf.receive_max = 8;

    for (i = 0; i < 8; i++) {
        test_data(i, 0, 100);
    }

    test_wait(0);
    test_command(NGX_VMESS_KCP_PING, 8, 0, 100);
    test_wait(1000);
    test_expect("a closed window", "@0 ack next=7 edge=8 [7]");

    test_ok(test_read(100) == 100, "read");
    test_wait(1000);
    test_expect("is not announced for a little", "");

    test_ok(test_read(100) == 100, "read");
    test_wait(1000);
    test_expect("but for a quarter", "@2000 ack next=7 edge=10 [7]");

    test_end("window update");
}


static void
test_send(void)
{
    test_start();

    test_write(10);
    test_wait(0);
    test_expect("data is sent at once", "@0 data 0 una=0 len=10");

    test_write(10);
    test_write(10);
    test_wait(0);
    test_expect("and together", "@0 data 1 una=0 len=20");

    test_write(2 * 1326 + 1);
    test_wait(0);
    test_expect("cut into segments", "@0 data 2 una=0 len=1326; "
                "@0 data 3 una=0 len=1326; @0 data 4 una=0 len=1");

    test_wait(70);
    test_ack(0, 776, 70, "0 1 2 3 4");
    test_wait(0);
    test_expect("confirmed", "@70 ping una=5 next=0 rto=262");

    test_wait(5000);
    test_expect("once", "");

    test_write(10);
    test_wait(0);
    test_expect("a ping goes along after a while",
                "@5070 data 5 una=5 len=10 + ping una=5 next=0 rto=262");

    test_end("send");

    /* so many segments, and no byte more */

    test_start();
    test_side.conf.send_max = 8;

    test_write(20 * 1326);
    test_ok(test_side.kcp.send_last - test_side.kcp.send_una == 8
            && !ngx_vmess_kcp_send_ready(&test_side.kcp), "a full buffer");
    test_wait(0);
    test_log_len = 0;

    test_ack(1, 776, 0, "0");
    test_write(20 * 1326);
    test_ok(test_side.kcp.send_last - test_side.kcp.send_una == 8
            && test_side.kcp.send_last == 9, "one more");
    test_log_len = 0;
    test_end("write buffer");
}


/* what the others say of a segment that is lost */

static void
test_resend(void)
{
    test_start();

    test_write(10);
    test_wait(0);
    test_expect("sent", "@0 data 0 una=0 len=10");

    test_wait(250);
    test_expect("RTO before it is measured",
                "@100 data 0 una=0 len=10; @200 data 0 una=0 len=10");

    test_ack(1, 776, 50, "0");
    test_wait(50);
    test_expect("it came", "@250 ping una=1 next=0 rto=187");

    test_write(3 * 1326);
    test_wait(0);
    test_expect("three segments", "@300 data 1 una=1 len=1326; "
                "@300 data 2 una=1 len=1326; @300 data 3 una=1 len=1326");
    test_wait(50);
    test_write(1);
    test_wait(0);
    test_expect("another", "@350 data 4 una=1 len=1");

    test_wait(10);
    test_ack(1, 776, 60, "2");
    test_wait(5);
    test_expect("an Ack without a number, a part may be on its way", "");
    test_wait(1);
    test_expect("fast resend", "@366 data 1 una=1 len=1326");

    test_wait(10);
    test_ack(1, 776, 76, "1");
    test_wait(14);
    test_expect("the first copy was late", "");

    test_ack(3, 776, 40, "4");
    test_write(1);
    test_wait(39);
    test_expect("and so one Ack is not enough", "@390 data 5 una=3 len=1");

    test_wait(1);
    test_ack(3, 776, 40, "5");
    test_wait(5);
    test_expect("but another is", "");
    test_wait(1);
    test_expect("fast resend", "@436 data 3 una=3 len=1326");

    test_wait(44);
    test_ack(6, 776, 44, "3");
    test_wait(0);
    test_expect("all is well", "@480 ping una=6 next=0 rto=137");

    /* a peer that is gone */

    test_wait(520);
    test_write(5 * 1326);
    test_wait(0);
    test_expect("five segments", "@1000 data 6 una=6 len=1326; "
                "@1000 data 7 una=6 len=1326; @1000 data 8 una=6 len=1326; "
                "@1000 data 9 una=6 len=1326; @1000 data 10 una=6 len=1326");

    test_wait(710);
    test_log_len = 0;
    test_wait(3000);
    test_expect("a silent peer gets one in a second",
                "@1822 data 6 una=6 len=1326; @2822 data 7 una=6 len=1326; "
                "@3822 data 8 una=6 len=1326");

    test_end("resend");
}


static void
test_probe(void)
{
    test_start();

    test_write(34 * 1326);
    test_wait(0);

    test_ok(strstr(test_log, "data 31 ")
            && strstr(test_log, "data 32 ") == NULL,
            "32 segments before the first Ack");

    test_log_len = 0;

    test_wait(50);
    test_ack(32, 32, 50, "31");
    test_wait(0);
    test_expect("the next one tries", "@50 data 32 una=32 len=1326");

    test_wait(747);
    test_expect("for four RTO", "");
    test_wait(1);
    test_expect("again", "@798 data 32 una=32 len=1326");

    test_ack(32, 33, 0, "");
    test_wait(186);
    test_expect("the window opens", "");
    test_wait(1);
    test_expect("it is usual", "@985 data 32 una=32 len=1326");

    test_wait(15);
    test_ack(33, 100, 15, "32");
    test_wait(0);
    test_expect("it came", "@1000 data 33 una=33 len=1326");

    test_end("probe");
}


static void
test_rtt(void)
{
    char              number[16];
    ngx_uint_t        i;
    ngx_vmess_kcp_t  *kcp;

    static const struct {
        uint32_t  rtt;
        uint32_t  srtt;
        uint32_t  rttvar;
        uint32_t  rto;
    } samples[] = {
        { 80, 80, 40, 300 },
        { 80, 80, 30, 250 },
        { 120, 85, 32, 266 },
        { 10, 75, 42, 303 },
        { 9999, 1315, 2512, 12500 },
        { 10000, 1315, 2512, 12500 }         /* too old */
    };

    test_start();
    kcp = &test_side.kcp;

    test_command(NGX_VMESS_KCP_PING, 0, 0, 700);
    test_ok(kcp->rto == 700, "RTO of the peer");

    test_command(NGX_VMESS_KCP_PING, 0, 0, 1);
    test_ok(kcp->rto == 100, "RTO of the peer, too short");

    test_command(NGX_VMESS_KCP_PING, 0, 0, 0xffffffff);
    test_ok(kcp->rto == 10000, "RTO of the peer, too long");

    for (i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        test_write(1);
        test_output();

        /* others are not of interest */

        test_time += samples[i].rtt;
        (void) sprintf(number, "%d", (int) i);
        test_ack(i, 776, samples[i].rtt, number);

        test_ok(kcp->srtt == samples[i].srtt
                && kcp->rttvar == samples[i].rttvar
                && kcp->rto == samples[i].rto,
                "RTT of %d ms: %d, %d, RTO %d", (int) samples[i].rtt,
                (int) kcp->srtt, (int) kcp->rttvar, (int) kcp->rto);

        test_ok(kcp->send_una == i + 1, "RTT: acknowledged");
    }

    test_command(NGX_VMESS_KCP_PING, 0, 0, 700);
    test_ok(kcp->rto == 12500, "RTO of the peer is not better");

    for (i = 6; i < 60; i++) {
        test_write(1);
        test_output();

        test_time += 3;
        (void) sprintf(number, "%d", (int) i);
        test_ack(i, 776, 3, number);
    }

    test_ok(kcp->srtt < 11 && kcp->rto == 125, "RTO of a fast link: %d, %d",
            (int) kcp->srtt, (int) kcp->rto);

    test_log_len = 0;
    test_end("RTT");
}


/* what there is room for is sent in the time of a round trip */

static void
test_pace(void)
{
    ngx_vmess_kcp_t  *kcp;

    test_start();

    kcp = &test_side.kcp;

    test_write(1);
    test_wait(60);
    test_ack(1, 777, 60, "0");
    test_write(450 * 1326);
    test_wait(0);
    test_ok(kcp->flying == 2 * 970 / 50, "of two ms at once: %d",
            (int) kcp->flying);

    test_ok(ngx_vmess_kcp_wakeup(kcp, test_time) == 1, "then it waits");

    test_wakeups = 0;
    test_wait(2);
    test_ok(kcp->flying >= 75 && kcp->flying <= 78, "and sends: %d",
            (int) kcp->flying);

    test_wait(20);
    test_ok(kcp->flying == 450 && test_wakeups < 25, "until all is sent");

    test_log_len = 0;
    test_end("pace");
}


static void
test_congestion(void)
{
    ngx_uint_t        i;
    ngx_vmess_kcp_t  *kcp;

    test_start();

    kcp = &test_side.kcp;
    test_side.conf.congestion = 1;

    test_ok(kcp->conf->in_flight == 194 && kcp->control == 194, "capacity");

    test_write(1);
    test_output();
    test_time += 60;
    test_ack(1, 100000, 60, "0");
    test_log_len = 0;

    test_write(400 * 1326);
    test_wait(0);
    test_ok(kcp->flying == 32, "a burst of %d", (int) kcp->flying);

    test_wait(50);
    test_ok(kcp->flying >= 194 && kcp->flying < 194 * 5 / 4 + 40,
            "%d in a tti", (int) kcp->flying);

    for (i = 0; i < 20; i++) {
        test_write(400 * 1326);
        test_time += 50;
        test_output();
        test_command(NGX_VMESS_KCP_PING, 0, kcp->send_next, 100);
    }

    test_ok(kcp->control == 2 * 194, "no loss: a larger window");

    while (kcp->send_una != kcp->send_last) {
        test_time += 50;
        test_output();
        test_command(NGX_VMESS_KCP_PING, 0, kcp->send_next, 100);
    }

    test_write(100 * 1326);

    for (i = 0; i < 20; i++) {
        test_output();
        test_time += kcp->rto;
        test_command(NGX_VMESS_KCP_PING, 0, 0, 100);
    }

    test_ok(kcp->control == 16, "loss: a smaller window");

    test_log_len = 0;
    test_end("congestion");
}


static void
test_idle(void)
{
    ngx_uint_t  i;

    test_start();

    test_data(0, 0, 10);
    test_write(10);
    test_wait(0);
    test_command(NGX_VMESS_KCP_PING, 1, 1, 100);
    (void) test_read(100);
    test_wait(60);
    test_log_len = 0;

    /* as v2ray does */

    test_wakeups = 0;

    for (i = 0; i < 10; i++) {
        test_wait(5000);
        test_command(NGX_VMESS_KCP_PING, 1, 1, 100);
    }

    test_wait(0);
    test_expect("a ping for a ping",
                "@5060 ping una=1 next=1 rto=100; "
                "@10060 ping una=1 next=1 rto=100; "
                "@15060 ping una=1 next=1 rto=100; "
                "@20060 ping una=1 next=1 rto=100; "
                "@25060 ping una=1 next=1 rto=100; "
                "@30060 ping una=1 next=1 rto=100; "
                "@35060 ping una=1 next=1 rto=100; "
                "@40060 ping una=1 next=1 rto=100; "
                "@45060 ping una=1 next=1 rto=100; "
                "@50060 ping una=1 next=1 rto=100");

    test_ok(test_wakeups == 0, "no timer has fired: %d", (int) test_wakeups);
    test_ok(test_side.used == 0, "no memory: %d", (int) test_side.used);

    test_command(NGX_VMESS_KCP_PING, 1, 1, 100);
    test_wait(29999);
    test_expect("a peer that pings not",
                "@60060 ping una=1 next=1 rto=100; "
                "@70060 ping una=1 next=1 rto=100");

    test_ok(test_read(10) == NGX_AGAIN, "is waited for");
    test_wait(1);
    test_expect("and is gone", "@80060 terminate una=1 next=1 rto=100");

    test_ok(test_read(10) == NGX_ERROR && test_side.kcp.err != NULL,
            "an error");

    test_wait(8000);
    test_ok(test_side.kcp.state == ngx_vmess_kcp_terminated, "terminated");
    test_expect("it is told",
                "@81060 terminate una=1 next=1 rto=100; "
                "@82060 terminate una=1 next=1 rto=100; "
                "@83060 terminate una=1 next=1 rto=100; "
                "@84060 terminate una=1 next=1 rto=100; "
                "@85060 terminate una=1 next=1 rto=100; "
                "@86060 terminate una=1 next=1 rto=100; "
                "@87060 terminate una=1 next=1 rto=100");

    test_end("idle");
}


static void
test_states(void)
{
    u_char            *wire;
    ngx_uint_t         i, j;
    ngx_vmess_kcp_t   *kcp;

    /* what comes in each state, and the state after it */

    enum { peer_close = 0, peer_terminate, our_close, nothing };

    static const struct {
        ngx_vmess_kcp_state_e  state;
        ngx_vmess_kcp_state_e  after[4];
        ngx_uint_t             ms;           /* until the last one */
        ssize_t                read;
        ssize_t                write;
    } states[] = {
        { ngx_vmess_kcp_active,
          { ngx_vmess_kcp_peer_closed, ngx_vmess_kcp_peer_terminating,
            ngx_vmess_kcp_closing, ngx_vmess_kcp_terminating }, 30000,
          NGX_AGAIN, 1 },
        { ngx_vmess_kcp_closing,
          { ngx_vmess_kcp_terminating, ngx_vmess_kcp_terminating,
            ngx_vmess_kcp_closing, ngx_vmess_kcp_terminating }, 15000,
          0, NGX_ERROR },
        { ngx_vmess_kcp_peer_closed,
          { ngx_vmess_kcp_peer_closed, ngx_vmess_kcp_peer_terminating,
            ngx_vmess_kcp_terminating, ngx_vmess_kcp_terminating }, 30000,
          NGX_AGAIN, NGX_ERROR },
        { ngx_vmess_kcp_peer_terminating,
          { ngx_vmess_kcp_peer_terminating, ngx_vmess_kcp_peer_terminating,
            ngx_vmess_kcp_terminated, ngx_vmess_kcp_terminating }, 4000,
          0, NGX_ERROR },
        { ngx_vmess_kcp_terminating,
          { ngx_vmess_kcp_terminating, ngx_vmess_kcp_terminated,
            ngx_vmess_kcp_terminating, ngx_vmess_kcp_terminated }, 8000,
          0, NGX_ERROR },
        { ngx_vmess_kcp_terminated,
          { ngx_vmess_kcp_terminated, ngx_vmess_kcp_terminated,
            ngx_vmess_kcp_terminated, ngx_vmess_kcp_terminated }, 100000,
          0, NGX_ERROR }
    };

    kcp = &test_side.kcp;

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {

        for (j = 0; j < 4; j++) {
            test_start();
            test_write(10);
            test_wait(0);

            switch (states[i].state) {

            case ngx_vmess_kcp_closing:
                ngx_vmess_kcp_close(kcp, test_time);
                break;

            case ngx_vmess_kcp_peer_closed:
                test_opt = NGX_VMESS_KCP_OPT_CLOSE;
                test_command(NGX_VMESS_KCP_PING, 0, 0, 100);
                break;

            case ngx_vmess_kcp_peer_terminating:
                test_command(NGX_VMESS_KCP_TERMINATE, 0, 0, 100);
                break;

            case ngx_vmess_kcp_terminating:
            case ngx_vmess_kcp_terminated:
                ngx_vmess_kcp_close(kcp, test_time);
                test_command(NGX_VMESS_KCP_TERMINATE, 0, 0, 100);

                if (states[i].state == ngx_vmess_kcp_terminated) {
                    test_command(NGX_VMESS_KCP_TERMINATE, 0, 0, 100);
                }

                break;

            default:
                break;
            }

            test_opt = 0;
            test_ok(kcp->state == states[i].state, "in state %d", (int) i);

            if (j == 0) {
                test_ok(test_read(1) == states[i].read
                        && ngx_vmess_kcp_recv_ready(kcp)
                           == (states[i].read != NGX_AGAIN)
                        && ngx_vmess_kcp_send_ready(kcp)
                        && ngx_vmess_kcp_send(kcp, (u_char *) "", 1)
                           == states[i].write,
                        "read and write in state %d", (int) i);
            }

            switch (j) {

            case peer_close:
                test_opt = NGX_VMESS_KCP_OPT_CLOSE;
                test_data(0, 0, 1);
                break;

            case peer_terminate:
                test_command(NGX_VMESS_KCP_TERMINATE, 0, 0, 100);
                break;

            case our_close:
                ngx_vmess_kcp_close(kcp, test_time);
                break;

            case nothing:
                test_wait(states[i].ms - 1);
                test_ok(kcp->state == states[i].state, "state %d stays for "
                        "%d ms", (int) i, (int) states[i].ms);
                test_wait(1);
                break;
            }

            test_ok(kcp->state == states[i].after[j], "state %d, event %d: %d",
                    (int) i, (int) j, (int) kcp->state);

            test_log_len = 0;
            test_end("states");
        }
    }

    /* what is not sent yet is sent with the option, then Terminate */

    test_start();
    test_write(10);
    ngx_vmess_kcp_close(kcp, test_time);
    test_wait(0);
    test_expect("closing", "@0 data 0 una=0 len=10 close");
    test_data(0, 0, 10);
    test_wait(50);
    test_expect("nobody reads", "");
    test_ack(1, 776, 50, "");
    test_wait(0);
    test_expect("closed", "@50 terminate una=1 next=0 rto=100");
    test_wait(999);
    test_expect("for a second", "");
    test_wait(1);
    test_expect("again", "@1050 terminate una=1 next=0 rto=100");
    test_command(NGX_VMESS_KCP_TERMINATE, 0, 1, 100);
    test_wait(10000);
    test_expect("the peer as well", "");
    test_end("our close");

    /* what came before Terminate is read after it */

    test_start();
    test_data(0, 0, 10);
    test_data(1, 0, 10);
    test_command(NGX_VMESS_KCP_TERMINATE, 2, 0, 100);
    test_wait(20000);
    test_ok(kcp->state == ngx_vmess_kcp_terminated && test_read(15) == 15
            && test_read(15) == 5 && test_read(15) == 0,
            "read after the end");
    test_log_len = 0;
    test_end("read after the end");

    /* and what did not come is an error */

    test_start();
    test_data(0, 0, 10);
    test_data(2, 0, 10);
    test_command(NGX_VMESS_KCP_TERMINATE, 3, 0, 100);
    test_ok(test_read(15) == 10 && test_read(15) == NGX_ERROR && kcp->err,
            "an end that is too early");
    test_log_len = 0;
    test_end("early end");

    /* a peer that is slow gets all that was written, if it goes on */

    test_start();
    test_write(30 * test_side.conf.mss);
    test_wait(1000);
    ngx_vmess_kcp_close(kcp, test_time);

    for (i = 1; i < 30; i++) {
        test_wait(14000);
        test_ack(i, 1000, 0, "");

        if (kcp->state != ngx_vmess_kcp_closing) {
            break;
        }
    }

    test_ok(i == 22, "closing of a slow peer");
    test_log_len = 0;
    test_end("closing");

    /* a list of Acks that is not finished, and the end of the window */

    test_start();
    test_write(10);

    for (i = 0; i < 500; i++) {
        test_data(1 + 2 * i, 0, 1);
    }

    wire = malloc(test_side.conf.size);
    test_ok(ngx_vmess_kcp_output(kcp, wire, test_time)
            > NGX_VMESS_KCP_ACK_LEN + 300 * NGX_VMESS_KCP_NUMBER_LEN,
            "a list of Acks");
    free(wire);

    ngx_vmess_kcp_close(kcp, test_time);
    test_wait(100);
    test_ok(kcp->state == ngx_vmess_kcp_closing, "the end of its window");
    test_log_len = 0;
    test_end("list");

    /* windows that no peer has, and then there is something to send */

    test_start();
    test_ack(0, 0x7fffffff, 0, "");
    test_ack(0, 0xfffffffe, 0, "");
    test_ack(0, 0, 0, "");
    test_write(10);
    test_wait(1);
    test_expect("a window of 2^31 and more", "@0 data 0 una=0 len=10");
    test_end("window");
}


/* a spoofed source gets no more than it sends */

static void
test_spoofed(void)
{
    size_t       in, out;
    uint32_t     i;
    ngx_uint_t   bad;

    test_start();
    test_side.kcp.validated = 0;

    test_data(0, 0, 1);
    test_wait(1000);
    test_expect("a datagram for a datagram", "");

    test_data(1, 0, 1);
    test_wait(0);
    test_expect("when there is enough", "@1000 ack next=1 edge=776 [1]");

    test_wait(40000);
    test_ok(test_side.kcp.state == ngx_vmess_kcp_terminated
            && test_side.bytes + TEST_OVERHEAD <= 50,
            "nothing else, until the session ends");
    test_end("spoofed");

    /* no time of ours is what is in memory before there is one */

    test_start();
    test_side.kcp.validated = 0;

    test_ack(0, 1000, TEST_RANDOM, "");
    test_ok(!test_side.kcp.validated, "nothing was sent yet");

    test_data(0, 0, 1000);
    test_write(10);
    test_wait(0);

    test_ack(0, 1000, TEST_RANDOM, "");
    test_ok(!test_side.kcp.validated, "nor at the time 0");

    test_ack(0, 1000, 0, "");
    test_ok(test_side.kcp.validated, "but just now");

    test_log_len = 0;
    test_end("times");

    /* a time of ours, after too many that are not */

    for (i = 255; i < 257; i++) {
        test_start();
        test_side.kcp.validated = 0;

        test_data(0, 0, 1000);
        test_write(10);
        test_output();

        for (bad = 0; bad < i; bad++) {
            test_ack(0, 1000, 1000 + (uint32_t) bad, "");
        }

        test_ack(0, 1000, 0, "");
        test_ok(test_side.kcp.validated == (i == 255), "%d guesses", (int) i);
        test_log_len = 0;
        test_end("guesses");
    }

    /* everything that it can guess, and data that would like to go */

    test_start();
    test_side.kcp.validated = 0;

    bad = 0;
    in = 0;

    for (i = 0; i < 200; i++) {
        test_data(i, i, i * 4);
        in += NGX_VMESS_KCP_DATA_LEN + TEST_OVERHEAD + i * 4;

        test_ack(i, 1000000, 0x100000 * (i + 1), "0 1 2 3 4 5 6 7 8");
        in += NGX_VMESS_KCP_ACK_LEN + TEST_OVERHEAD
              + 9 * NGX_VMESS_KCP_NUMBER_LEN;

        test_command(NGX_VMESS_KCP_PING, i, i, 0);
        in += NGX_VMESS_KCP_COMMAND_LEN + TEST_OVERHEAD;

        if (ngx_vmess_kcp_send_ready(&test_side.kcp)) {
            test_write(100000);
        }

        test_wait(77);
        test_log_len = 0;

        out = test_side.bytes + test_side.datagrams * TEST_OVERHEAD;

        if (out > in || test_side.kcp.validated) {
            bad++;
        }
    }

    test_wait(60000);
    out = test_side.bytes + test_side.datagrams * TEST_OVERHEAD;

    test_ok(bad == 0 && out <= in && out > in / 20,
            "spoofed: %d bytes in, %d out", (int) in, (int) out);

    test_log_len = 0;
    test_end("spoofed");

    /* a source that has a flow, and never acknowledges what it is sent */

    test_start();
    test_side.kcp.validated = 0;

    bad = 0;
    in = 0;

    for (i = 0; i < 100; i++) {
        test_data(i, 0, 1 + i * 13 % 1326);
        in += NGX_VMESS_KCP_DATA_LEN + TEST_OVERHEAD + 1 + i * 13 % 1326;

        test_write(100000);
        test_wait(i * 7 % 400);
        (void) test_read(20000);
        test_log_len = 0;

        out = test_side.bytes + test_side.datagrams * TEST_OVERHEAD;
        bad += (out > in);
    }

    test_wait(60000);
    out = test_side.bytes + test_side.datagrams * TEST_OVERHEAD;

    test_ok(bad == 0 && out <= in, "no Acks: %d bytes in, %d out", (int) in,
            (int) out);

    test_log_len = 0;
    test_end("no Acks");

    /* an Ack that credit has cut short, and then nobody reads */

    test_start();
    test_side.kcp.validated = 0;

    for (i = 10; i < 20; i++) {
        test_data(i, 0, 1);
    }

    test_side.kcp.credit = TEST_OVERHEAD + NGX_VMESS_KCP_ACK_LEN
                           + 3 * NGX_VMESS_KCP_NUMBER_LEN;
    test_wait(0);
    test_expect("what credit is enough for",
                "@0 ack next=0 edge=776 [10 11 12]");

    test_write(10);
    ngx_vmess_kcp_close(&test_side.kcp, test_time);
    test_side.kcp.credit += 50;
    test_wait(0);
    test_expect("the rest is not acknowledged",
                "@0 data 0 una=0 len=1 close");
    test_end("an Ack cut short");

    /* all answers get lost but the last: a byte is what is sent again */

    test_start();
    test_side.kcp.validated = 0;

    test_data(0, 0, 300);
    test_write(10000);
    test_wait(0);
    test_expect("what credit is enough for", "@0 ack next=0 edge=776 [0] + "
                "data 0 una=0 len=1 + data 1 una=0 len=98");

    test_write(10000);
    test_wait(4000);
    test_expect("copies of the first", "@100 data 0 una=0 len=1; "
                "@200 data 0 una=0 len=1; @400 data 0 una=0 len=1; "
                "@600 data 0 una=0 len=1; @1000 data 0 una=0 len=1; "
                "@1400 data 0 una=0 len=1");

    test_command(NGX_VMESS_KCP_PING, 1, 1, 100);
    test_ok(!test_side.kcp.validated, "a ping proves nothing");
    test_wait(5000);
    test_expect("but is credit", "@4000 data 0 una=0 len=1");

    test_command(NGX_VMESS_KCP_PING, 1, 2, 100);
    test_wait(0);
    test_expect("each time", "@9000 data 0 una=0 len=1");

    /* what it could guess, and what it cannot */

    test_wait(60);
    test_ack(2, 776, 61, "0 1");
    test_ack(2, 776, 59, "0 1");
    test_ack(2, 776, 9061, "0 1");
    test_ok(!test_side.kcp.validated && test_side.kcp.send_una == 0,
            "an Ack with another time");

    test_ack(1, 776, 60, "0");
    test_ok(test_side.kcp.validated && test_side.kcp.send_una == 1
            && test_side.kcp.srtt == 60
            && ngx_vmess_kcp_send_ready(&test_side.kcp), "an Ack is a proof");

    test_write(1000);
    test_wait(8);
    test_ok(strstr(test_log, "@9060 data 1 una=1 len=98")
            && strstr(test_log, "@9060 data 2 una=1 len=1326")
            && strstr(test_log, "@9060 data 16 una=1 len=1000"),
            "then what waited is sent");
    test_log_len = 0;
    test_end("a proof");

    /* an Ack of the first copy */

    test_start();
    test_side.kcp.validated = 0;
    test_data(0, 0, 300);
    test_write(10000);
    test_wait(350);
    test_ack(2, 776, 350, "0 1");
    test_ok(test_side.kcp.validated && test_side.kcp.send_una == 2,
            "an Ack of the first copy");
    test_log_len = 0;
    test_end("a proof");
}


static void
test_small(void)
{
    size_t      used;
    uint32_t    i;
    ngx_uint_t  k;

    static const size_t  sizes[] = { 100, 1300, 2000 };

    /* whatever the size of segments: peers may have another mtu */

    for (k = 0; k < 3; k++) {

        test_start();
        test_side.kcp.small = 1;

        for (i = 1; i < 2000; i++) {
            test_data(i, 0, sizes[k]);
        }

        test_ok(test_side.used <= NGX_VMESS_KCP_SMALL + 16384,
                "memory of segments of %d: %d", (int) sizes[k],
                (int) test_side.used);

        used = test_side.used;

        test_write(NGX_VMESS_KCP_SMALL * 4);
        test_ok(test_side.used - used <= NGX_VMESS_KCP_SMALL + 16384,
                "memory of what is written: %d",
                (int) (test_side.used - used));

        test_log_len = 0;
        test_end("small");
    }

    /* the large window is told to a peer that has nothing else to hear */

    test_start();
    test_side.kcp.small = 1;

    test_data(0, 0, 100);
    test_wait(0);
    test_expect("all of it has come", "@0 ack next=0 edge=48 [0]");

    test_command(NGX_VMESS_KCP_PING, 1, 0, 100);
    test_wait(1000);
    test_expect("and the peer knows", "");

    ngx_vmess_kcp_accept(&test_side.kcp);
    test_wait(50);
    test_expect("a larger window", "@1000 ack next=0 edge=776 [0]");
    test_end("announced");

    test_start();
    test_side.kcp.small = 1;

    test_data(0, 0, 100);
    test_data(48, 0, 100);
    test_data(47, 0, 100);
    test_wait(0);
    test_expect("a small window", "@0 ack next=0 edge=48 [0 47]");

    ngx_vmess_kcp_accept(&test_side.kcp);
    test_wait(50);
    test_expect("a large one", "@50 ack next=0 edge=776 [0 47]");

    test_data(48, 0, 100);
    test_wait(50);
    test_expect("and it is so", "@100 ack next=0 edge=776 [0 47 48]");
    test_end("accepted");
}


static void
test_mute(void)
{
    test_start();
    test_side.kcp.validated = 0;
    test_side.kcp.mute = 1;

    test_data(0, 0, 1000);
    test_write(10);
    test_command(NGX_VMESS_KCP_PING, 0, 0, 100);
    test_wait(20000);
    test_expect("nothing", "");

    test_data(1, 0, 1000);
    test_wait(0);

    ngx_vmess_kcp_accept(&test_side.kcp);
    test_wait(0);
    test_ok(strstr(test_log, "ack next=1") && strstr(test_log, "data 0"),
            "all that waited: %s", test_log);
    test_log_len = 0;
    test_end("mute");

    /* nor the end, neither of ours nor by itself */

    test_start();
    test_side.kcp.mute = 1;

    test_data(0, 0, 1000);
    ngx_vmess_kcp_close(&test_side.kcp, test_time);
    test_data(1, 0, 1000);
    test_wait(10000);
    test_expect("no end", "");
    test_ok(test_side.kcp.state == ngx_vmess_kcp_terminated, "terminated");
    test_end("mute, closed");

    test_start();
    test_side.kcp.mute = 1;

    test_data(0, 0, 1000);
    test_wait(40000);
    test_expect("no end of time", "");
    test_ok(test_side.kcp.state == ngx_vmess_kcp_terminated, "terminated");
    test_end("mute, idle");
}


static void
test_input(void)
{
    u_char                   wire[256], *p;
    ngx_vmess_kcp_segment_t   seg;

    test_start();

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));
    seg.conv = TEST_CONV + 1;
    seg.command = NGX_VMESS_KCP_DATA;
    ngx_str_set(&seg.data, "data");

    p = ngx_vmess_kcp_segment_create(wire, &seg);

    test_time += 1000;

    test_ok(ngx_vmess_kcp_input(&test_side.kcp, wire, p - wire, test_time)
            == NGX_DECLINED
            && test_side.kcp.in_time != (uint32_t) test_time, "another conv");

    seg.conv = TEST_CONV;
    p = ngx_vmess_kcp_segment_create(p, &seg);

    test_ok(ngx_vmess_kcp_input(&test_side.kcp, wire, p - wire, test_time)
            == NGX_DECLINED, "another conv first");

    p = ngx_vmess_kcp_segment_create(wire, &seg);
    seg.conv++;
    seg.number = 1;
    p = ngx_vmess_kcp_segment_create(p, &seg);
    seg.conv--;
    p = ngx_vmess_kcp_segment_create(p, &seg);

    test_ok(ngx_vmess_kcp_input(&test_side.kcp, wire, p - wire, test_time)
            == NGX_OK && test_side.kcp.receive_last == 1,
            "another conv then");

    seg.number = 2;
    p = ngx_vmess_kcp_segment_create(wire, &seg);
    seg.number = 1;
    p = ngx_vmess_kcp_segment_create(p, &seg);

    test_ok(ngx_vmess_kcp_input(&test_side.kcp, wire, p - wire - 1, test_time)
            == NGX_OK && test_side.kcp.receive_next == 1
            && test_side.kcp.receive_last == 3, "the second is cut");

    test_ok(ngx_vmess_kcp_input(&test_side.kcp, wire, 0, test_time)
            == NGX_DECLINED, "nothing");

    test_end("input");
}


static void
test_start(void)
{
    ngx_memzero(&test_side, sizeof(test_side_t));

    test_conf(&test_side);

    /* times go round within a second */

    test_time = 0xffffffff - 500;
    test_began = test_time;
    test_opt = 0;
    test_log_len = 0;

    ngx_vmess_kcp_init(&test_side.kcp, &test_side.conf, TEST_CONV,
                       TEST_RANDOM, test_time);

    test_side.kcp.validated = 1;
}


static void
test_end(const char *name)
{
    ngx_vmess_kcp_cleanup(&test_side.kcp);

    test_ok(test_side.used == 0, "%s: memory is freed", name);
}


static void
test_data(uint32_t number, uint32_t una, size_t len)
{
    u_char                    data[2048];
    ngx_vmess_kcp_segment_t   seg;

    ngx_memzero(data, sizeof(data));
    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = NGX_VMESS_KCP_DATA;
    seg.timestamp = (uint32_t) test_time;
    seg.number = number;
    seg.sending_next = una;
    seg.data.data = data;
    seg.data.len = len;

    test_say(&seg);
}


/* of a segment that was sent age ms ago */

static void
test_ack(uint32_t next, uint32_t edge, uint32_t age, const char *list)
{
    char                     *end;
    u_char                    numbers[1024], *p;
    ngx_vmess_kcp_segment_t   seg;

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = NGX_VMESS_KCP_ACK;
    seg.receiving_next = next;
    seg.receiving_window = edge;
    seg.timestamp = TEST_RANDOM + (uint32_t) (test_time - test_began) - age;

    for (p = numbers; *list; list = end) {
        p = ngx_vmess_kcp_segment_put32(p, strtoul(list, &end, 10));
    }

    seg.data.data = numbers;
    seg.data.len = p - numbers;

    test_say(&seg);
}


static void
test_command(ngx_uint_t command, uint32_t una, uint32_t next, uint32_t rto)
{
    ngx_vmess_kcp_segment_t  seg;

    ngx_memzero(&seg, sizeof(ngx_vmess_kcp_segment_t));

    seg.command = command;
    seg.sending_next = una;
    seg.receiving_next = next;
    seg.rto = rto;

    test_say(&seg);
}


static void
test_say(ngx_vmess_kcp_segment_t *seg)
{
    u_char  wire[4096], *p, *copy;

    seg->conv = TEST_CONV;
    seg->opt = test_opt;

    p = ngx_vmess_kcp_segment_create(wire, seg);
    copy = test_copy(wire, p - wire);

    if (ngx_vmess_kcp_input(&test_side.kcp, copy, p - wire, test_time)
        != NGX_OK)
    {
        test_ok(0, "input");
    }

    free(copy);
}


/* as much as there is room for */

static void
test_write(size_t len)
{
    static u_char  data[600 * 1024];

    (void) ngx_vmess_kcp_send(&test_side.kcp, data, len);
}


static ssize_t
test_read(size_t len)
{
    u_char  data[20000];

    return ngx_vmess_kcp_recv(&test_side.kcp, data, len);
}


/* lets the machine do what it wants for that time */

static void
test_wait(uint64_t ms)
{
    uint64_t    end;
    ngx_msec_t  wait;

    end = test_time + ms;

    test_output();

    for ( ;; ) {
        wait = ngx_vmess_kcp_wakeup(&test_side.kcp, test_time);

        if (wait == (ngx_msec_t) -1 || test_time + wait > end) {
            break;
        }

        test_time += wait;
        test_wakeups++;

        test_output();
    }

    test_time = end;
}


static void
test_output(void)
{
    u_char                   *wire, *p, *q;
    size_t                    n;
    ngx_uint_t                count;
    ngx_vmess_kcp_segment_t   seg;

#define test_print(...)                                                       \
    test_log_len += snprintf(test_log + test_log_len,                         \
                             TEST_LOG - test_log_len, __VA_ARGS__)

    wire = malloc(test_side.conf.size);

    for (count = 0; /* void */ ; count++) {
        n = ngx_vmess_kcp_output(&test_side.kcp, wire, test_time);

        if (n == 0) {
            break;
        }

        if (count == TEST_OUTPUT) {
            test_ok(0, "output without an end");
            exit(test_done());
        }

        test_side.datagrams++;
        test_side.bytes += n;

        if (TEST_LOG - test_log_len < 2048) {
            continue;
        }

        test_print("%s@%d", test_log_len ? "; " : "",
                   (int) (test_time - test_began));

        for (p = wire; p < wire + n; /* void */) {

            test_print("%s", (p == wire) ? " " : " + ");

            if (ngx_vmess_kcp_segment_parse(&seg, &p, wire + n) != NGX_OK
                || seg.conv != TEST_CONV)
            {
                test_print("wrong");
                break;
            }

            switch (seg.command) {

            case NGX_VMESS_KCP_DATA:
                test_print("data %d una=%d len=%d", (int) seg.number,
                           (int) seg.sending_next, (int) seg.data.len);
                break;

            case NGX_VMESS_KCP_ACK:
                test_print("ack next=%d edge=%d [", (int) seg.receiving_next,
                           (int) seg.receiving_window);

                for (q = seg.data.data; q < p; q += 4) {
                    test_print("%s%d", (q == seg.data.data) ? "" : " ",
                               (int) ngx_vmess_kcp_segment_get32(q));
                }

                test_print("]");
                break;

            default:
                test_print("%s una=%d next=%d rto=%d",
                           (seg.command == NGX_VMESS_KCP_PING) ? "ping"
                                                               : "terminate",
                           (int) seg.sending_next, (int) seg.receiving_next,
                           (int) seg.rto);
                break;
            }

            if (seg.opt) {
                test_print(" close");
            }
        }
    }

    free(wire);
}


static void
test_expect(const char *name, const char *text)
{
    test_log[test_log_len] = '\0';

    test_ok(strcmp(test_log, text) == 0, "%s", name);

    if (strcmp(test_log, text) != 0) {
        fprintf(stderr, "     got: %s\nexpected: %s\n", test_log, text);
    }

    test_log_len = 0;
}


static uint64_t
test_env(const char *name, uint64_t value)
{
    const char  *p;

    p = getenv(name);

    return p ? strtoul(p, NULL, 10) : value;
}


static void
test_links(const char *name, ngx_uint_t loss, ngx_uint_t plain, uint64_t size)
{
    size_t        most;
    double        rate, sum, least, overhead;
    uint64_t      seed, first, time, longest;
    test_link_t   link;
    ngx_uint_t    failed, seeds;

    first = test_env("KCP_FIRST", 1);
    seeds = plain ? test_env("KCP_PLAIN", 1)
                  : test_env("KCP_SEEDS", TEST_SEEDS);

    sum = 0;
    overhead = 0;
    least = 1e9;
    longest = 0;
    most = 0;
    failed = 0;

    for (seed = first; seed < first + seeds; seed++) {

        test_link_init(&link, loss, seed, size);

        if (!plain) {
            test_link_vary(&link);
        }

        time = test_link_run(&link);

        if (link.err) {
            fprintf(stderr, "%s, loss %d%%, seed %llu: %s after %llu ms: "
                    "%llu/%llu %llu/%llu bytes, states %d %d\n", name,
                    (int) loss, (unsigned long long) seed, link.err,
                    (unsigned long long) time,
                    (unsigned long long) link.side[0].read,
                    (unsigned long long) link.side[1].written,
                    (unsigned long long) link.side[1].read,
                    (unsigned long long) link.side[0].written,
                    link.side[0].kcp.state, link.side[1].kcp.state);
            failed++;
            continue;
        }

        rate = size / 1048.576 / time;

        sum += rate;
        least = ngx_min(least, rate);
        longest = ngx_max(longest, time);
        most = ngx_max(most, link.side[0].most);
        most = ngx_max(most, link.side[1].most);
        overhead += (link.side[0].bytes + link.side[1].bytes) / (2.0 * size);
    }

    test_ok(failed == 0, "%s, loss of %d%%: %d x %.1f MiB each way, "
            "%.2f MiB/s, at least %.2f, bytes sent %.2f, longest %.1f s, "
            "memory %d K", name, (int) loss, (int) seeds, size / 1048576.0,
            sum / seeds, least, overhead / seeds, longest / 1000.0,
            (int) (most / 1024));
}


/* as usual: defaults, and 30 to 50 ms to the peer */

static void
test_link_init(test_link_t *link, ngx_uint_t loss, uint64_t seed,
    uint64_t size)
{
    ngx_uint_t    i;
    test_side_t  *side;

    ngx_memzero(link, sizeof(test_link_t));

    link->seed = seed * 0x9e3779b97f4a7c15 + 1;
    link->now = 1000;
    link->size = size;
    link->loss = loss;
    link->delay = 30;
    link->jitter = 20;
    link->twice = 1;

    for (i = 0; i < 2; i++) {
        side = &link->side[i];

        test_conf(side);

        ngx_vmess_kcp_init(&side->kcp, &side->conf, TEST_CONV,
                           test_link_random(link, 0x7fffffff), link->now);

        side->kcp.validated = 1;
    }
}


/* all depends on the seed, and everything goes round soon */

static void
test_link_vary(test_link_t *link)
{
    ngx_uint_t    i;
    test_side_t  *side;

    static ngx_uint_t  ttis[] = { 10, 20, 50, 50, 50, 100 };

    link->twice = test_link_random(link, 3);
    link->delay = 1 + test_link_random(link, 60);
    link->jitter = test_link_random(link, 2) ? test_link_random(link, 50) : 0;
    link->lazy = test_link_random(link, 4) == 0;

    link->now = 0xffffffff - test_link_random(link, 10000);

    for (i = 0; i < 2; i++) {
        side = &link->side[i];

        side->conf.tti = ttis[test_link_random(link, 6)];
        side->conf.mtu = 1200 + test_link_random(link, 260);
        side->conf.congestion = test_link_random(link, 3) == 0;

        if (test_link_random(link, 4) == 0) {
            side->conf.uplink = 1 + test_link_random(link, 3);
            side->conf.downlink = 1 + test_link_random(link, 3);
        }

        if (test_link_random(link, 8) == 0) {
            side->conf.read_buffer = 65536;
            side->conf.write_buffer = 65536;
        }

        if (test_link_random(link, 8) == 0) {
            side->fail = 50;
        }

        test_bound(side);

        ngx_vmess_kcp_init(&side->kcp, &side->conf, TEST_CONV,
                           0x7fffffff - test_link_random(link, 10000),
                           link->now);

        /* the address is proved later than the data is there */

        side->kcp.validated = test_link_random(link, 2) || i == 0;
    }

    if (test_link_random(link, 2)) {
        for (i = 0; i < 2; i++) {
            side = &link->side[i];

            side->kcp.send_una = 0 - test_link_random(link, 500);
            side->kcp.send_next = side->kcp.send_una;
            side->kcp.send_last = side->kcp.send_una;
            side->kcp.send_edge += side->kcp.send_una;

            side = &link->side[!i];

            side->kcp.receive_una = link->side[i].kcp.send_una;
            side->kcp.receive_read = link->side[i].kcp.send_una;
            side->kcp.receive_next = link->side[i].kcp.send_una;
            side->kcp.receive_last = link->side[i].kcp.send_una;
            side->kcp.receive_edge = link->side[i].kcp.send_edge;
        }
    }
}


/* returns the time in ms in which all arrived; side 0 closes then */

static uint64_t
test_link_run(test_link_t *link)
{
    uint64_t          start, end, next, whole;
    ngx_uint_t        i, n;
    ngx_msec_t        wait;
    test_side_t      *side;
    test_datagram_t   datagram;

    test_now = link;
    start = link->now;
    end = start + 60000 + link->size / 10;
    whole = 0;

    for (n = 0; n < TEST_STEPS && link->err == NULL; n++) {

        test_link_turn(link, 0);
        test_link_turn(link, 1);

        if (whole == 0
            && link->side[0].read == link->size
            && link->side[1].read == link->size)
        {
            whole = link->now;
            end = whole + 60000;

            ngx_vmess_kcp_close(&link->side[0].kcp, link->now);
            continue;
        }

        if (link->side[0].kcp.state == ngx_vmess_kcp_terminated
            && link->side[1].kcp.state == ngx_vmess_kcp_terminated)
        {
            break;
        }

        if (link->now > end) {
            link->err = whole ? "does not close" : "deadlock";
            break;
        }

        next = link->n ? link->heap[0].time : end + 1;

        for (i = 0; i < 2; i++) {
            side = &link->side[i];
            wait = ngx_vmess_kcp_wakeup(&side->kcp, link->now);

            if (wait != (ngx_msec_t) -1) {
                next = ngx_min(next, link->now + wait);
            }

            if (side->sleep > link->now) {
                next = ngx_min(next, side->sleep);
            }
        }

        link->now = next;

        while (link->n && link->heap[0].time <= link->now) {
            datagram = test_link_pop(link);

            (void) ngx_vmess_kcp_input(&link->side[datagram.side].kcp,
                                       datagram.data, datagram.len, link->now);
            free(datagram.data);
        }
    }

    if (n == TEST_STEPS) {
        link->err = "too many steps";
    }

    for (i = 0; i < 2; i++) {
        side = &link->side[i];

        ngx_vmess_kcp_cleanup(&side->kcp);

        if (side->used) {
            link->err = "memory is left";
        }

        if (!side->eof && link->err == NULL) {
            link->err = "no end";
        }
    }

    while (link->n) {
        free(test_link_pop(link).data);
    }

    free(link->heap);

    return (whole ? whole : link->now) - start;
}


/* reads, writes and sends what is possible */

static void
test_link_turn(test_link_t *link, ngx_uint_t i)
{
    size_t        len, n;
    u_char        buf[8192], datagram[NGX_VMESS_KCP_MTU_MAX], *p;
    ssize_t       rc;
    test_side_t  *side;

    side = &link->side[i];

    if (link->now >= side->sleep && !side->eof) {

        for ( ;; ) {
            len = 1 + test_link_random(link, sizeof(buf));
            rc = ngx_vmess_kcp_recv(&side->kcp, buf, len);

            if (rc <= 0) {
                break;
            }

            for (n = 0; n < (size_t) rc; n++) {
                if (buf[n] != test_byte(!i, side->read + n)) {
                    link->err = "wrong data";
                    return;
                }
            }

            side->read += rc;

            if (link->lazy && test_link_random(link, 200) == 0) {
                side->sleep = link->now + test_link_random(link, 3000);
                break;
            }
        }

        if (rc == 0 || rc == NGX_ERROR) {
            side->eof = 1;

            if (side->read != link->size) {
                link->err = "early end";
            }

            /* eight Terminates may be lost */

            if (rc == NGX_ERROR && link->loss < 20) {
                link->err = side->kcp.err;
            }

            ngx_vmess_kcp_close(&side->kcp, link->now);
        }
    }

    while (side->written < link->size && side->kcp.state == 0) {

        len = 1 + test_link_random(link, sizeof(buf));
        len = ngx_min(len, link->size - side->written);

        for (n = 0; n < len; n++) {
            buf[n] = test_byte(i, side->written + n);
        }

        rc = ngx_vmess_kcp_send(&side->kcp, buf, len);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc == NGX_ERROR) {
            link->err = "cannot write";
            return;
        }

        side->written += rc;
    }

    for ( ;; ) {
        p = test_copy(datagram, side->conf.size);
        n = ngx_vmess_kcp_output(&side->kcp, p, link->now);

        if (n == 0) {
            free(p);
            break;
        }

        side->datagrams++;
        side->bytes += n;

        test_link_send(link, !i, p, n);
        free(p);
    }

    if (ngx_vmess_kcp_wakeup(&side->kcp, link->now) == 0) {
        link->err = "busy loop";
    }

    if (side->most > side->bound) {
        link->err = "too much memory";
    }
}


static void
test_link_send(test_link_t *link, ngx_uint_t to, u_char *p, size_t len)
{
    if (test_link_random(link, 100) >= link->loss) {
        test_link_push(link, to, p, len);
    }

    if (test_link_random(link, 100) < link->twice) {
        test_link_push(link, to, p, len);
    }
}


static void
test_link_push(test_link_t *link, ngx_uint_t to, u_char *p, size_t len)
{
    ngx_uint_t        i, parent;
    test_datagram_t   datagram;

    datagram.time = link->now + link->delay;
    datagram.order = link->order++;
    datagram.side = to;
    datagram.len = len;
    datagram.data = test_copy(p, len);

    if (link->jitter) {
        datagram.time += test_link_random(link, link->jitter);
    }

    if (link->n == link->max) {
        link->max = link->max ? 2 * link->max : 1024;
        link->heap = realloc(link->heap, link->max * sizeof(test_datagram_t));
    }

    for (i = link->n++; i; i = parent) {
        parent = (i - 1) / 2;

        if (link->heap[parent].time <= datagram.time) {
            break;
        }

        link->heap[i] = link->heap[parent];
    }

    link->heap[i] = datagram;
}


/* those of the same time stay in order */

static test_datagram_t
test_link_pop(test_link_t *link)
{
    ngx_uint_t        i, child;
    test_datagram_t   first, last;

    first = link->heap[0];
    last = link->heap[--link->n];

    for (i = 0; 2 * i + 1 < link->n; i = child) {
        child = 2 * i + 1;

        if (child + 1 < link->n
            && (link->heap[child + 1].time < link->heap[child].time
                || (link->heap[child + 1].time == link->heap[child].time
                    && link->heap[child + 1].order < link->heap[child].order)))
        {
            child++;
        }

        if (last.time < link->heap[child].time
            || (last.time == link->heap[child].time
                && last.order < link->heap[child].order))
        {
            break;
        }

        link->heap[i] = link->heap[child];
    }

    link->heap[i] = last;

    return first;
}


static uint32_t
test_link_random(test_link_t *link, uint32_t n)
{
    link->seed = link->seed * 6364136223846793005u + 1442695040888963407u;

    return (link->seed >> 33) % n;
}


static u_char
test_byte(ngx_uint_t side, uint64_t n)
{
    return (u_char) (n * 131 + (n >> 8) * 7 + (n >> 16) + side);
}


static void *
test_alloc(void *data, size_t size)
{
    test_side_t  *side = data;

    if (side->fail && test_link_random(test_now, side->fail) == 0) {
        return NULL;
    }

    side->used += size;
    side->most = ngx_max(side->most, side->used);

    return malloc(size);
}


static void
test_free(void *data, void *p, size_t size)
{
    test_side_t  *side = data;

    side->used -= size;

    free(p);
}


static void
test_conf(test_side_t *side)
{
    side->conf.mtu = 1350;
    side->conf.overhead = TEST_OVERHEAD;
    side->conf.tti = 50;
    side->conf.uplink = 5;
    side->conf.downlink = 20;
    side->conf.read_buffer = 2 * 1024 * 1024;
    side->conf.write_buffer = 2 * 1024 * 1024;
    side->conf.congestion = 0;
    side->conf.alloc = test_alloc;
    side->conf.free = test_free;
    side->conf.data = side;

    test_bound(side);
}


/* windows of pointers double when they grow */

static void
test_bound(test_side_t *side)
{
    ngx_vmess_kcp_conf_init(&side->conf);

    side->bound = side->conf.read_buffer + side->conf.mtu
                  + side->conf.receive_max * sizeof(ngx_vmess_kcp_data_t)
                  + side->conf.send_max * (side->conf.mss
                                           + sizeof(ngx_vmess_kcp_data_t))
                  + 3 * sizeof(void *) * (side->conf.send_max
                                          + side->conf.receive_max + 32);
}
