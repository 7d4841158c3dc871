# XHTTP: packets, streamed uploads, both in one request, over HTTP/1.1 and
# HTTP/2.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();

# connections to a server: n => of %%PORT_n%%, by default that of "config", or
# of HTTP/2

sub h1 {
    my ($n) = @_;
    return VMess::XHTTP::H1->new(tcp(defined $n ? stream_port() + $n
                                                : http_port()));
}

sub h2 {
    my ($n, %o) = @_;
    return VMess::HTTP2->new(tcp(stream_port() + ($n // 2)), %o);
}


# a client; h2 => 1 for one connection of HTTP/2, n => of %%PORT_n%%

sub x {
    my (%o) = @_;
    my ($h2, $n) = delete @o{qw(h2 n)};
    my $c = $h2 && h2($n);
    return VMess::XHTTP->new(connect => sub { $c || h1($n) }, %o);
}


# the response to a request and all of its body, as text

sub answer {
    my ($s) = @_;
    my %h = %{ $s->headers };
    my $body = $s->rest;
    delete $h{date};
    s/:\d+\b//g for values %h;
    return join "\n", (map { "$_: $h{$_}" } sort keys %h), '',
                      $body, $s->ended ? 'end' : 'cut';
}


# the answer to what the site does not get

sub is_good {
    my ($s, $name, $down) = @_;
    is($s->status, 200, "$name: status");
    my $h = $s->headers;
    like($h->{'x-padding'}, qr/^X{100,1000}$/, 'X-Padding');
    is($h->{'access-control-allow-origin'}, '*', 'Access-Control-Allow-Origin');
    ok(!exists $h->{$_}, "no $_") for qw(content-encoding last-modified etag);
    return unless $down;
    is($h->{'cache-control'}, 'no-store', 'Cache-Control');
    is($h->{'x-accel-buffering'}, 'no', 'X-Accel-Buffering');
    ok(!exists $h->{'content-length'}, 'no Content-Length');
    is($h->{'content-type'}, 'text/event-stream', 'Content-Type')
        if $down eq 'down';
}


# a web application that tells what it was sent

$TestVMess::Kind{app} = sub {
    my ($s) = @_;
    my ($head, $body) = ('', '');
    while ($head !~ /\r\n\r\n/ && sysread($s, my $b, 4096)) { $head .= $b }
    ($head, $body) = split /\r\n\r\n/, $head, 2;
    if ($head =~ /^Content-Length: (\d+)/mi) {
        $body .= read_n($s, $1 - length $body);
    }
    $head =~ s/:\d+\b//g;
    $body = "$head\n" . length($body) . ' ' . sha256_hex($body) . "\n";
    put($s, "HTTP/1.1 200 OK\r\nContent-Length: " . length($body)
            . "\r\nConnection: close\r\n\r\n$body");
};


sub active {
    my $s = tcp(http_port());
    put($s, "GET /status HTTP/1.0\r\n\r\n");
    my ($n) = slurp($s) =~ /Active connections: (\d+)/;
    return $n;
}


# processor time of the worker: none is used once all is held

sub idle {
    my ($worker) = TestVMess::children();
    my ($last, $same) = ('', 0);
    return wait_for(sub {
        my $now = (split ' ', TestVMess::file_text("/proc/$worker/schedstat")
                  )[0];
        select undef, undef, undef, 0.1;
        $same = $now eq $last ? $same + 1 : 0;
        $last = $now;
        $same >= 2;
    });
}

sub rss {
    my ($worker) = TestVMess::children();
    my ($n) = TestVMess::file_text("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/;
    return $n;
}

run_tests();

__DATA__

=== TEST 1: each mode and security
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_security $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { vmess_pass ray; }
}
--- config
location /x/ { vmess_pass ray; }
--- stream_client
my $data = pattern(1_000_000);
my $n = 0;
for my $mode (qw(packet-up stream-up stream-one)) {
    for my $h2 (0, 1) {
        my $name = "$mode, HTTP/" . (1 + $h2);
        for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
            my $x = x(mode => $mode, h2 => $h2);
            my $f = flow(via => $x, sec => $sec, to => 'echo');
            is($f->exchange('x', 1), 'x', 'a byte');
            is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
               "$name, $sec");
            is(join(' ', $x->bad), '', 'packets') if $mode eq 'packet-up';
            is_good($x->down, 'the download', 'down') if $sec eq 'zero';
            is_good($x->up, 'the upload', 'up') if $mode eq 'stream-up';
            $f->close;
            $n++;
        }
    }
}
wait_for(sub { my @l = split /\n/, access_log(); @l == $n });
my %seen = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %seen), join(', ', map { "xhttp $_ ok 200" }
   sort qw(aes-128-gcm chacha20-poly1305 none zero)), 'log of stream');
--- no_error_log
[error]


=== TEST 2: packets in any order, before the GET and after it
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    http2_max_concurrent_streams 1000;
    keepalive_requests 10000;
    location /x { vmess_pass ray; }
}
--- config
location /x { vmess_pass ray; }
--- stream_client
my @order = ([]);
for my $n (0 .. 3) {
    @order = map { my $o = $_;
                   map { my @p = @$o; splice @p, $_, 0, $n; [@p] } 0 .. @$o
                 } @order;
}
is(scalar @order, 24, 'permutations');

# the VMess header is in packets 0 and 1, or in 0, the rest in 1 to 3
my $c = h2();
my %wrong;
for my $i (0 .. $#order) {
    for my $get (0 .. 4) {
        my $x = x(late => 1, connect => sub { $i % 2 ? h1() : $c });
        my $v = vmess(to => 'echo');
        my $n = $i % 3 ? length $v->header : 30;
        my $b = $v->header . $v->chunk('hello') . $v->chunk('world');
        my @data = map { substr $b, $_->[0], $_->[1] }
                       [0, $n], [$n, 21], [$n + 21, 1], [$n + 22, 1000];
        my @s;
        for my $k (0 .. 4) {
            $x->get if $k == $get;
            my $seq = $order[$i][$k] // next;
            push @s, $x->post($seq, $data[$seq]);
        }
        my $got = $v->connect($x, quiet => 1)->read(10);
        my $name = "@{ $order[$i] }, GET $get";
        $wrong{$name} = $got if $got ne 'helloworld';
        my $status = join ' ', map { $_->status } @s;
        $wrong{$name} = $status if $status ne '200 200 200 200';
        is_good($s[$_], "packet $_") for $i == $get ? 0 .. 3 : ();
        is($s[0]->header('content-length'), 0, 'empty') if $i == $get;
        $_->reset for @s;
        $x->leave;
    }
}
is_deeply(\%wrong, {}, 'all orders');
is($c->ping, 1, 'ping');
$c->close;

# many packets, shuffled
for my $h2 (0, 1) {
    for my $o ([packet => 1000, shuffle => 5], [packet => 30_000, shuffle => 8],
               [packet => 20_000, shuffle => 7, open => 30],
               [packet => 5000, shuffle => 20, open => 40, fresh => 1])
    {
        my $x = x(h2 => $h2, @$o);
        my $f = flow(via => $x, to => 'echo', data => 'x');
        is($f->read(1), 'x', "@$o");
        my $data = pattern(300_000);
        is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
           'as it was sent');
        is(join(' ', $x->bad), '', 'packets');
        $f->close;
    }
}
--- no_error_log
[error]


=== TEST 3: what packets are like
--- servers
echo echo
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    http2_max_concurrent_streams 1000;
    keepalive_requests 10000;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
}
--- config
location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
--- stream_client
my $big = pattern(1_000_000);
my $posts = 0;
for my $h2 (0, 1) {
    my $x = x(h2 => $h2);
    my $v = vmess(to => 'echo', sec => 'zero');
    my $seq = 0;

    # a byte each, with empty packets between
    my @s;
    for my $byte (split //, $v->header . 'hello') {
        push @s, $x->post($seq++, '') if $seq % 5 == 0;
        push @s, $x->post($seq++, $byte);
    }
    is($v->connect($x, quiet => 1)->read(5), 'hello', 'single bytes');
    is(scalar(grep { $_->status ne 200 } @s), 0, 'answers');
    $_->reset for @s;

    # a packet is echoed and answered
    my $echoed = sub {
        my ($s, $data, $name) = @_;
        is(sha256_hex($v->read(length $data)), sha256_hex($data), $name);
        is($s->status, 200, 'its answer');
        is($s->rest, '', 'which is empty');
        $s->reset;
    };

    # other methods, a GET is none of them
    for my $method (qw(PUT PATCH DELETE FOO)) {
        $echoed->($x->post($seq++, $method, method => $method), $method, $method);
    }
    my $s = $x->request(POST => $x->sid . '/' . $seq++, end => 1);
    is($s->status, 200, 'no body');
    $s->reset;
    $s = $x->request(GET => $x->sid . "/$seq", end => 1);
    like($s->rest, qr/^GET /, 'a GET');
    $s->reset;
    $echoed->($x->post('000' . $seq++ . '/', 'zeros'), 'zeros', 'zeros');

    # with and without a length, at once and in pieces
    for my $chunked (0, 1) {
        $echoed->($x->post($seq++, $big, chunked => $chunked), $big,
                  "a big packet, chunked: $chunked");
        $s = $x->post($seq++, '', partial => 1, chunked => $chunked,
                      $chunked ? () : (length => 10));
        $s->send($_) for split //, 'in pieces';
        is($v->read(9), 'in pieces', "in pieces, chunked: $chunked");
        is($s->h->{head}, undef, 'no answer yet');
        $s->send('!', end => 1);
        $echoed->($s, '!', 'the last one');
        $echoed->($x->post($seq++, 'abc' x 300, chunked => $chunked,
                           split => sub { split //, $_[0] }), 'abc' x 300,
                  'split');
    }

    # what came already is dropped
    for my $old (0, 3, $seq - 1) {
        for my $data ('twice', '') {
            my $s = $x->post($old, $data);
            is($s->status, 200, "packet $old again");
            is($s->rest, '', 'its answer');
            $s->reset;
        }
    }
    $echoed->($x->post($seq++, 'once'), 'once', 'only what is new');

    # what waits already is the site's, and one too far, and no number
    my $wait = $x->post($seq + 1, 'later');
    $x->post(0, '')->status;                    # the one before was seen
    for my $bad ($seq + 1, 'x', '-1', '1x', '+1', '1.0', '0x10', ' 1', '1e3',
                 '9223372036854775808', '9' x 30)
    {
        my $s = $x->post($bad =~ s/ /%20/r, 'hello');
        like($s->rest, qr/^POST .*\n5 @{[ sha256_hex('hello') ]}\n/s,
             "seq $bad: the site has all");
        is($s->status, 200, 'its status');
        $s->reset;
    }
    is($wait->h->{head}, undef, 'the other still waits');
    my $now = $x->post($seq, 'now');
    is($v->read(8), 'nowlater', 'the one between');
    is($_->status, 200, 'its answer') for $now, $wait;
    $_->reset for $now, $wait;
    $v->close;
}
--- no_error_log
[error]


=== TEST 4: packets on a connection, one behind another
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    keepalive_requests 10000;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(200_000);
for my $chunked (0, 1) {
    for my $size (97, 9973, 70_000) {
        my $x = x(n => 2);
        my $v = vmess(to => 'echo', sec => 'zero');
        my $c = h1(2);

        # all in one write, which the server reads as it likes
        $c->{cork} = 1;
        my @s = $x->post(0, $v->header . 'x', via => $c, chunked => $chunked);
        my $bytes = $size < 100 ? substr $data, 0, 20_000 : $data;
        for my $i (0 .. length($bytes) / $size) {
            push @s, $x->post($i + 1, substr($bytes, $i * $size, $size),
                              via => $c, chunked => $chunked);
        }
        $c->{cork} = 0;
        my $end = $c->request(GET => '/other', end => 1);

        is(sha256_hex($v->connect($x, quiet => 1)->read(1 + length $bytes)),
           sha256_hex("x$bytes"), "chunked: $chunked, packets of $size");
        is(scalar(grep { $_->status ne 200 } @s), 0, 'all answers');
        is($end->status, 404, 'what is behind');
        $v->close;
        $c->close;
    }
}
