# XHTTP: packets, streamed uploads, both in one request, over HTTP/1.1 and
# HTTP/2.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::Site qw(answer);
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
vmess_handshakes worker=1000 address=1000;
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


=== TEST 5: a streamed upload, and both in one
--- servers
echo echo
sink sink
banner banner bye
src source 3000000
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
server {
    vmess_listen half; vmess main; proxy_pass vmess_target;
    proxy_half_close on;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    keepalive_requests 10000;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
    location /half { vmess_pass half; }
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
    location /half { vmess_pass half; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(1_000_000);
for my $h2 (0, 1) {
    for my $mode (qw(stream-up stream-one)) {
        my $name = "$mode, HTTP/" . (1 + $h2);
        my %o = (mode => $mode, h2 => $h2, n => $h2 ? 2 : 3);

        # no answer before the whole VMess header is there
        for my $referer (0, 1) {
            my $x = x(%o, padding_in => $referer ? '' : 'query');
            my $v = vmess(to => 'echo');
            my $b = $v->header;
            $x->up->send(substr $b, 0, -1);
            is(idle(), 1, "$name: idle");
            $_->h->{c}->turn for $x->up, $x->down;
            is($_->h->{head}, undef, 'no answer yet') for $x->up, $x->down;
            $x->up->send(substr($b, -1) . $v->chunk('hello'));
            is($v->connect($x, quiet => 1)->read(5), 'hello', 'a flow');
            is_good($x->down, 'the download', 'down');
            if ($mode eq 'stream-up') {
                is_good($x->up, 'the upload', 'up');
                $x->up->wait(sub { length $x->up->h->{in} >= 100 })
                    if $referer;
                my $max = $referer ? 1000 : 0;
                like($x->up->h->{in}, qr/^X{0,$max}$/, 'padding');
            }
            is(sha256_hex($v->exchange($data, length $data)),
               sha256_hex($data), 'and on');

            # there can be only one
            if ($mode eq 'stream-up') {
                my $s = $x->request(POST => $x->sid, data => 'hello',
                                    end => 1);
                like($s->rest, qr/\n5 @{[ sha256_hex('hello') ]}\n/,
                     'another is the site\'s');
                $s->reset;
                $s = $x->get(via => $h2 ? $x->connection : h1(3));
                like($s->rest, qr/^GET /, 'another download, too');
                $s->reset;
                $x->h->{down} = $x->up;
            }
            $v->close;
        }

        # ends: of the client, of the target
        my $x = x(%o, path => '/half/');
        my $f = flow(via => $x, to => 'sink');
        $f->send($data)->end;
        $x->up->end;
        is($f->read_eof, '1000000 ' . sha256_hex($data) . "\n",
           "$name: the client ends");
        is($f->{ended}, 1, 'the end chunk');
        is($x->down->ended, 1, 'the end of the response');
        $x->up->rest;
        is($x->up->ended, 1, 'that of the upload') if $mode eq 'stream-up';
        $f->close;

        $x = x(%o);
        $f = flow(via => $x, to => 'banner', data => 'x');
        is($f->read_eof, "bye\n", 'the target ends');
        is($f->{ended}, 1, 'the end chunk');
        is($x->down->ended, 1, 'the end of the response');
        $x->up->rest;
        ok($x->up->ended || defined $x->up->rst, 'that of the upload');
        $f->close;

        $x = x(%o);
        $f = flow(via => $x, to => 'src');
        is(sha256_hex($f->read_eof), sha256_hex(pattern(3_000_000)), 'down');
        is($f->{ended}, 1, 'the end chunk');
        is($x->down->ended, 1, 'the end of the response');
        $f->close;

        # how it is cut
        $x = x(%o);
        my $v = vmess(to => 'echo');
        $x->up->send($_) for split //, $v->header . $v->chunk('hello');
        is($v->connect($x, quiet => 1)->read(5), 'hello', 'single bytes');
        $x->up->h->{split} = sub { split //, $_[0] };
        my $part = substr $data, 0, 20_000;
        is(sha256_hex($v->exchange($part, length $part)), sha256_hex($part),
           'pieces of single bytes');
        $v->close;
    }

    # other methods, paths
    my $n = $h2 ? 2 : 3;
    for my $case (['PUT', ''], ['PATCH', ''], ['GET', ''], ['DELETE', ''],
                  ['PUT', 'sid'], ['FOO', 'sid'], ['POST', 'sid/'],
                  ['POST', 'sid//'], ['POST', 'sid:@%20%C3%A9'])
    {
        my ($method, $rest) = @$case;
        my $c = h2();
        my $new = sub { $h2 ? $c : h1(3) };
        my $x = x(connect => $new, late => 1);
        $rest =~ s/^sid/$x->sid/e;
        my $s = $x->request($method => $rest, data => '');
        $x->h->{up} = $s;
        $x->h->{down} = $rest eq '' ? $s : $x->request(GET => $rest, end => 1);
        is(flow(via => $x, to => 'echo', data => 'hello')->read(5), 'hello',
           "$method $rest");
        $x->leave;
    }

    # both in one needs a body without a length
    my $x = x(h2 => $h2, n => $n, late => 1);
    my $c = $h2 ? h2() : h1(3);
    my $v = vmess(to => 'echo');
    my $s = $x->request(POST => '', via => $c, length => length $v->header,
                        data => $v->header, end => 1);
    like($s->rest, qr/\n\d+ @{[ sha256_hex($v->header) ]}\n/, 'a length');
    $s = $x->request(GET => '', via => $c, end => 1);
    like($s->rest, qr/^GET /, 'no body');
    $s->reset;
}
--- no_error_log
[error]


=== TEST 6: padding, and what has none is the site's
--- servers
echo echo
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_4%%;
    server_name site;
    log_not_found off;
    client_max_body_size 100k;
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
    location /text { return 202 text; vmess_pass ray xhttp; }
    location /file { alias html/page; add_header X-A b always;
                     vmess_pass ray xhttp; }
    location / { root html; vmess_pass ray xhttp; }
END
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my $x = 'x_padding=';
my $r = 'http://site/page';
my @query = (
    [$x . 'X' x 100, 1], [$x . 'X' x 1000, 1], ["a=b&$x" . 'y' x 500, 1],
    [$x . '%58' x 100, 1], ['%78_padding=' . 'X' x 100, 1],
    [$x . '%20+' x 50, 1], [$x . 'X' x 100 . "&$x", 1],
    [$x . 'X' x 99, 0], [$x . 'X' x 1001, 0], [$x, 0], ['', 0],
    ['x_padding', 0], ['x_Padding=' . 'X' x 100, 0],
    ['xx_padding=' . 'X' x 100, 0], ["$x;" . 'X' x 100, 0],
    [$x . '%5' . 'X' x 100, 0], ["$x&$x" . 'X' x 100, 0],
    [$x . '%58' x 99, 0], [$x . '%58' x 1001, 0],
);
my @case = (
    (map { [ "?$_->[0]", undef, $_->[1] ] } @query),
    (map { [ '', "$r?$_->[0]", $_->[1] ] } @query),
    ['?' . $x . 'X' x 200, $r, 0], ['?' . $x . 'X' x 200, "$r?", 0],
    ['?' . $x . 'X' x 200, "$r?" . $x . 'X' x 99, 0],
    ['?' . $x . 'X' x 99, "$r?" . $x . 'X' x 200, 1],
    ['', "$r?a#" . $x . 'X' x 200, 0], ['', "$r?" . $x . 'X' x 200 . '#a', 1],
    ['', $x . 'X' x 200, 0], ['', '?' . $x . 'X' x 200, 1],
);
my (@ok, @wrong, %status, $same);
my $sid = 0;
my @c = (h2(2), h2(3));

for my $case (@case) {
    my ($query, $referer, $valid) = @$case;
    my @headers = defined $referer ? (referer => $referer) : ();
    my $name = substr("$query " . ($referer // '-'), 0, 40) . ' '
               . length("$query@headers");

    # what is valid is for a flow
    if ($valid) {
        my $b = vmess(to => 'echo');
        my $c = h1(5);
        my $s = $c->request(POST => "/app/$query", headers => \@headers,
                            data => $b->header . $b->chunk('hello'));
        is($b->connect($s, quiet => 1)->read(5), 'hello', "$name: flow");
        $b->close;
        next;
    }

    for my $path (qw(/app/ /app /app/sid /app/sid/0 /text/sid/1 /file/
                     /page/sid /page/sid/2 /))
    {
        for my $method (qw(GET POST PUT HEAD)) {
            next if $path !~ /app/ && $method eq 'PUT';
            for my $data (undef, vmess()->header, pattern(30_000)) {
                next if defined $data && $method =~ /GET|HEAD/
                        || length($data // '') > 1000 && $path !~ /app/;
                for my $h2 (0, 1) {
                    my ($site, $ours) = map {
                        my $c = $h2 ? $c[$_] : h1(4 + $_);
                        answer($c->request($method, "$path$query",
                            headers => \@headers, data => $data, end => 1));
                    } 0, 1;
                    $site =~ /^:status: (\d+)/m and $status{$1}++;
                    $same++;
                    push @wrong, "$method $path $name $h2:\n$ours\n$site"
                        if $ours ne $site;
                }
            }
        }
    }
}
is(join("\n", @wrong), '', 'the same answers');
cmp_ok($same, '>', 1000, "$same of them");
is(join(' ', sort keys %status), '200 202 404 405', 'of many kinds');
--- no_error_log
[alert]


=== TEST 7: a bad VMess header: all requests of the session are the site's
--- servers
app app
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    vmess_handshake_timeout 1s;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_4%%;
    server_name site;
    client_max_body_size 400k;
    keepalive_requests 10000;
    location /x { proxy_pass http://127.0.0.1:%%app%%; }
    location /file { alias html/page; add_header X-A b always; }
    location /tiny { proxy_pass http://127.0.0.1:%%app%%;
                     client_body_buffer_size 1k; }
}
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    listen 127.0.0.1:%%PORT_5%%;
    server_name site;
    client_max_body_size 400k;
    keepalive_requests 10000;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
    location /file { alias html/page; add_header X-A b always;
                     vmess_pass ray xhttp; }
    location /tiny { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp;
                     client_body_buffer_size 1k; }
}
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my $noise = pattern(300_000);
my %bad = (
    unknown => sub { vmess(user => 'mallory')->header },
    time => sub { vmess(skew => -3600)->header },
    tag => sub { vmess(bad => 'tag')->header },
    header => sub { vmess(fnv => 1)->header },
    noise => sub { substr $noise, 0, 60_000 },
    short => sub { substr $noise, 0, 16 },
    truncated => sub { substr vmess()->header, 0, 30 },
);
my @h2 = (h2(2), h2(3));
my $n = 0;

# the requests, in their order: "g", a packet by its number, "s" the streamed
# upload, "o" both in one
for my $path (qw(/x/ /file/ /tiny/)) {
    for my $h2 (0, 1) {
        for my $kind (sort keys %bad) {
            for my $order (qw(g0 0g 1g0 021g g31240 gs sg o)) {
                next if $kind eq 'truncated' && $order =~ /\d/
                        && ($order ne '0g' || $path ne '/x/');
                my $b = $bad{$kind}->();
                my @data = ($b, substr($noise, 0, 1000),
                            substr($noise, 0, $h2 ? 60_000 : 250_000), '',
                            substr($noise, 0, 5000));
                if ($order eq '021g') {
                    @data[0, 1] = (substr($b, 0, 10), substr $b, 10);
                }

                # the same requests to both, with the same session's name
                my $sid = "s$$-" . ++$n;
                my ($site, $ours) = map {
                    my $i = $_;
                    my $x = x(late => 1, path => $path, sid => $sid,
                              connect => sub { $h2 ? $h2[$i] : h1(4 + $i) });
                    my @s = map {
                        my $o = $_;
                        $o eq 'g' ? $x->get
                        : $o eq 's' ? $x->request(POST => $sid, data => $b,
                                                  end => 1)
                        : $o eq 'o' ? $x->request(POST => '', data => $b,
                                                  end => 1)
                        : $x->post($o, $data[$o], chunked => $n % 2);
                    } split //, $order;
                    my $text = join "\n", map { answer($_) } @s;
                    $_->reset for @s;
                    $text;
                } 0, 1;
                is($ours, $site, "$path $h2 $kind $order");
            }
        }
    }
}
is($_->ping, 1, 'ping') for @h2;
my %seen = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %seen), join(', ', map { "xhttp $_" }
   qw(header tag time timeout truncated unknown)), 'what the log says');
--- no_error_log
[alert]


=== TEST 8: ends of sessions, and what comes after them
--- servers
echo echo
once tag one
count sink
app app
banner banner bye
dead dead
--- stream_config
log_format l '$vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    keepalive_requests 10000;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $logged = 0;
my $ended = sub {
    my ($name) = @_;
    $logged++;
    is(wait_for(sub { my @l = split /\n/, access_log(); @l == $logged }), 1,
       "$name: the session ends");
};
my $late = sub {
    my ($x, $name) = @_;
    for my $case (['POST', '/9', 'late'], ['POST', '', 'late'], ['GET', '']) {
        my ($method, $rest, $data) = @$case;
        my $s = $x->request($method => $x->sid . $rest, data => $data,
                            end => 1);
        my $n = length($data || '');
        like($s->rest, qr/^$method .*\n$n [0-9a-f]+\n/s,
             "$name: then $method $rest is the site's");
        $s->reset;
    }
};

for my $h2 (0, 1) {
    for my $mode (qw(packet-up stream-up stream-one)) {
        my $name = "$mode, HTTP/" . (1 + $h2);
        my $new = sub {
            my $x = x(mode => $mode, h2 => $h2, n => $h2 ? 2 : 3);
            my $f = flow(via => $x, @_);
            return ($x, $f);
        };

        # the client leaves: its download ends
        my ($x, $f) = $new->(to => 'echo', data => 'hello');
        is($f->read(5), 'hello', "$name: a flow");
        my $wait = $mode eq 'packet-up' ? $x->post(7, 'x') : undef;
        $x->down->reset;
        $ended->('the download is closed');
        if ($wait) {
            is($wait->status, 200, 'a packet that waits');
            $wait->reset;
        } elsif ($mode eq 'stream-up') {
            $x->up->rest;
            ok($x->up->ended || defined $x->up->rst, 'the upload ends, too');
        }
        $late->($x, $name) if $mode ne 'stream-one';
        $x->leave;

        # the target ends
        ($x, $f) = $new->(to => 'banner', data => 'hello');
        is($f->read_eof, "bye\n", 'the target ends');
        is($f->{ended}, 1, 'the end chunk');
        $ended->('the target ends');
        $late->($x, $name) if $mode ne 'stream-one';
        $x->leave;

        # no target
        ($x, $f) = $new->(to => 'dead', data => 'hello');
        is($f->read_eof, '', 'no target');
        $ended->('no target');
        $late->($x, $name) if $mode ne 'stream-one';
        $x->leave;

        # the upload is cut
        ($x, $f) = $new->(to => 'echo', data => 'hello');
        is($f->read(5), 'hello', 'a flow');
        if ($mode eq 'packet-up') {
            my $s = $x->post($x->h->{seq}, 'half of ', partial => 1,
                             length => 100);
            is(idle(), 1, 'half a packet');
            $s->reset;

        } elsif ($mode eq 'stream-up') {
            $x->up->reset;

        } else {
            $x->leave;
        }
        $ended->('the upload is cut');
        $late->($x, $name) if $mode ne 'stream-one';
        $x->leave;

        next if $mode ne 'packet-up';

        # a packet that is not needed yet: a part of it may come again, and all
        # of it counts over HTTP/1.1, as clients may close the connection then
        for my $whole (0, 1) {
            ($x, $f) = $new->(to => 'echo', data => 'hello', sec => 'zero');
            is($f->read(5), 'hello', 'a flow');
            my $seq = $x->h->{seq};
            my $open = active();
            my $s = $x->post($seq + 1, $whole ? 'later' : 'late', length => 5,
                             partial => !$whole, via => $x->h->{connect}->());
            idle();
            $s->reset;
            is(wait_for(sub { active() <= $open }), 1, 'one that is gone')
                unless $whole;
            my $again = $x->post($seq + 1, 'again');
            my $now = $x->post($seq, 'now');
            is($f->read(8), $whole && !$h2 ? 'nowlater' : 'nowagain', "whole: $whole");
            $_->reset for $again, $now;
            $x->leave;
            $ended->('the client leaves');
        }

        # the server reads no more once the client has ended
        ($x, $f) = $new->(to => 'echo', data => 'hello');
        $f->read(5);
        $f->end;
        is($f->read_eof, '', 'the client ends');
        is($f->{ended}, 1, 'the end chunk');
        $ended->('the client ends');
        $x->leave;
    }
}
is(wait_for(sub { active() == $start }), 1, 'all have gone');
like((split /\n/, error_log())[-1] . join('', grep { /flows:/ } split /\n/,
     error_log()), qr/flows:[01] /, 'no flow is left');
--- error_log
connect() failed


=== TEST 9: slow targets hold the client
--- servers
deaf deaf
echo echo
slow sink 1
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { vmess_pass ray; }
}
--- config
location /x { vmess_pass ray; }
--- stream_client
my $bytes = pattern(1_000_000);
my $before = rss();
my (@x, @f);
for my $h2 (0, 1) {
    for my $mode (qw(packet-up stream-up stream-one)) {
        my $x = x(mode => $mode, h2 => $h2);
        my $f = flow(via => $x, sec => 'zero', to => 'deaf');
        push @x, $x;
        push @f, $f;

        if ($mode ne 'packet-up') {
            cmp_ok($x->up->offer($bytes x 30, 0.3), '>', 1_000_000,
                   "$mode: the client is held");
            next;
        }

        is($x->sent, 1, 'the first packet');
        my ($seq, $answered) = (1, 1);
        while ($seq < 30 && $answered) {
            my $s = $x->post($seq++, '', partial => 1, length => 1_000_000);
            push @f, $s;
            $s->offer($bytes, 0.3, end => 1);
            idle();
            $s->h->{c}->turn;
            $answered = $s->h->{head};
        }
        ok(!$answered, "$mode: no answer");

        # further ones wait, all of them
        my @s = map { $x->post($seq++, 'x' x 10_000) } 1 .. 30;
        is(idle(), 1, 'nothing moves');
        $_->h->{c}->turn for @s;
        is(scalar(grep { $_->h->{head} } @s), 0, 'no answers');
        push @f, @s;
    }
}
is(idle(), 1, 'nothing moves');
grown_less($before, 6 * 1000 + 60 * 40);

# others are served
my $data = pattern(300_000);
my $f = flow(via => x(), to => 'echo');
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'another');
$f->close;
stop_server('deaf');
$_->leave for @x;
$_->isa('VMess') ? $_->close : $_->reset for @f;

my $up = pattern(6_000_000);
for my $h2 (0, 1) {
    for my $o (['packet-up', shuffle => 4], ['stream-up'], ['stream-one']) {
        my $x = x(h2 => $h2, mode => @$o);
        $f = flow(via => $x, to => 'slow');
        $f->send($up)->end;
        is($f->read_all, '6000000 ' . sha256_hex($up) . "\n",
           "a slow target: $o->[0]");
        $f->close;
    }
}
--- no_error_log
[alert]


=== TEST 10: slow readers hold the target
--- servers
src source 40000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { vmess_pass ray; }
}
--- config
location /x { vmess_pass ray; }
--- stream_client
for my $mode (qw(packet-up stream-up stream-one)) {
    for my $h2 (0, 1) {
        my $c = $h2 && h2(2, window => 60_000);
        my @f = map { flow(to => 'src', via => VMess::XHTTP->new(
                           mode => $mode, connect => sub { $c || h1() })) }
                    1 .. 4;
        my @got = map { $_->read(40_000) } @f;
        my $before = rss();
        is(idle(), 1, "$mode, HTTP/@{[ 1 + $h2 ]}: the targets are held");
        grown_less($before, 4 * 500);
        is(sha256_hex($got[2] . $f[2]->read_eof),
           sha256_hex(pattern(40_000_000)), 'one goes on');
        $_->close for @f;
    }
}
--- no_error_log
[error]


=== TEST 11: limits of http do not cut a session
--- servers
echo echo
sink sink
src source 8000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_3%%;
    keepalive_requests 3;
    keepalive_timeout 1s;
    keepalive_time 1s;
    client_header_timeout 1s;
    client_body_timeout 1s;
    send_timeout 1s;
    client_max_body_size 1k;
    client_body_buffer_size 1k;
    lingering_close always;
    lingering_time 1s;
    lingering_timeout 1s;
    reset_timedout_connection on;
    limit_rate 0;
    output_buffers 1 1k;
    postpone_output 100000;
    gzip on;
    gzip_types *;
    gzip_min_length 0;
    sendfile on;
    tcp_nopush on;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(1_000_000);
my @case;
for my $h2 (0, 1) {
    for my $mode (qw(packet-up stream-up stream-one)) {
        my $name = "$mode, HTTP/" . (1 + $h2);

        # keepalive_requests bounds the packets of a connection
        my $new = sub {
            return VMess::XHTTP->new(mode => $mode, packet => 200_000,
                connect => sub { $h2 ? h2() : h1(3) }, chunked => $_[0],
                headers => ['accept-encoding' => 'gzip']);
        };
        my $x = $new->(1);
        my $f = flow(via => $x, to => 'echo', data => 'hello');
        my $y = $new->(0);
        my $g = flow(via => $y, to => 'src');
        my $late = $new->(0);
        is($f->read(5), 'hello', "$name: a flow");
        is($x->sent, 1, 'the packet');

        # a packet that begins, and goes on late
        my ($slow, $rest);
        if ($mode eq 'packet-up') {
            my $part = $f->chunk('slow');
            $slow = $x->post($x->h->{seq}++, substr($part, 0, 10),
                             partial => 1, chunked => 1);
            $rest = substr $part, 10;
        }
        push @case, [$name, $x, $f, $g, $g->read(1000), $late, $slow, $rest];
    }
}

# limits of a second must not be at work
select undef, undef, undef, 3;

for (@case) {
    my ($name, $x, $f, $g, $got, $late, $slow, $rest) = @$_;
    if ($slow) {
        $slow->send($rest, end => 1);
        is($f->read(4), 'slow', "$name: a slow packet");
        is($slow->status, 200, 'its answer');
        $slow->reset;
    }
    is($f->exchange('again', 5), 'again', "$name: goes on");
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'a million bytes');
    is(join(' ', $x->bad), '', 'packets');
    is(sha256_hex($got . $g->read_eof), sha256_hex(pattern(8_000_000)),
       'a client that paused');
    is(flow(via => $late, to => 'echo', data => 'late')->read(4), 'late',
       'a late header');
    is($x->down->header('content-encoding'), undef, 'no gzip');
    $_->close for $f, $g;
    $late->leave;
}
--- no_error_log
[error]


=== TEST 12: whose session it is
--- servers
echo echo
app app
--- stream_config
log_format l '$server_addr $server_port $remote_addr $vmess_carrier '
             '$bytes_received $bytes_sent';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/one.log l;
}
server {
    vmess_listen other; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/two.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { vmess_pass other; }
    location /z { vmess_pass ray; }
}
--- config
set_real_ip_from 127.0.0.1;
real_ip_header X-Forwarded-For;
location /x { vmess_pass ray; }
location /y { vmess_pass other; }
location = /exact { vmess_pass ray; proxy_pass http://127.0.0.1:%%app%%; }
location ~ ^/re { vmess_pass ray; proxy_pass http://127.0.0.1:%%app%%; }
location /ws { vmess_pass ray websocket; proxy_pass http://127.0.0.1:%%app%%; }
--- stream_client
my $c = h2();

# the same name in two lists of sessions
my @x = (x(sid => 'same'), x(sid => 'same', path => '/y/'));
my @f = map { flow(via => $x[$_], to => 'echo', data => "mine $_") } 0, 1;
is($f[$_]->read(6), "mine $_", 'its own') for 0, 1;
is($f[$_]->exchange('again', 5), 'again', 'and on') for 1, 0;
$_->close for @f;

# one list for all that pass to a server: the upload goes another way
my $x = x(headers => ['X-Forwarded-For' => '192.0.2.7']);
my $v = vmess(to => 'echo');
for my $i (0 .. 9) {
    my $path = ('/x/', '/z/')[$i % 2];
    my $data = $i ? $v->chunk("data $i") : $v->header;
    my $y = VMess::XHTTP->new(late => 1, path => $path, sid => $x->sid,
                              connect => sub { $i % 2 ? $c : h1() });
    my $s = $y->post($i, $data);
    $v->connect($x, quiet => 1) unless $i;
    is($v->read(6), "data $i", 'through another location') if $i;
    is($s->status, 200, 'its answer');
    $s->reset;
}
my $stream = x(late => 1, path => '/z/', h2 => 1);
$stream->request(GET => $x->sid, end => 1)->status;
$v->close;

# it is the download's address and port
wait_for(sub { access_log('one.log') =~ /\n.*\n/ });
my $port = http_port();
is(access_log('one.log'), "127.0.0.1 $port 127.0.0.1 xhttp 11 11\n"
   . "127.0.0.1 $port 192.0.2.7 xhttp 54 54\n", 'the log');
is(access_log('two.log'), "127.0.0.1 $port 127.0.0.1 xhttp 11 11\n",
   'the other');

# where there are none
for my $path (qw(/re /ws)) {
    my $y = x(path => "$path/");
    like($y->down->rest, qr{^GET $path/}, $path);
    like($y->post(0, 'x')->rest, qr{^POST $path/.*\n1 }s, $path);
    $y->leave;
}
my $y = x(mode => 'stream-one', path => '/exact');
is(flow(via => $y, to => 'echo', data => 'hello')->read(5), 'hello', 'exact');
$y->leave;
$y = x(mode => 'stream-one', path => '/x');
is(flow(via => $y, to => 'echo', data => 'hello')->read(5), 'hello',
   'without a slash');
$y->leave;
$c->close;


=== TEST 13: 200 sessions that end anywhere leave nothing
--- servers
echo echo
src source 2000000
banner banner bye
dead dead
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    keepalive_requests 10000;
    location /x { vmess_pass ray; root html; log_not_found off; }
}
--- config
log_not_found off;
# nginx keeps a connection that is reset while it discards a body
keepalive_timeout 1s;
location /x { vmess_pass ray; root html; }
location = /status { stub_status; }
--- stream_client
srand 7;
my $start = active();
my $c;
my @open;
for my $i (1 .. 200) {
    $c = h2(2, window => 100_000) if $i % 20 == 1;
    my $h2 = rand 2 < 1;
    my $v = vmess(to => (qw(echo src banner dead))[rand 4],
                  user => (qw(alice alice mallory))[rand 3]);
    my $b = $v->header . $v->chunk(pattern(1 + int rand 50_000)) . $v->finish;
    my $mode = (qw(packet-up stream-up stream-one))[rand 3];
    my $x = x(late => 1, connect => sub { $h2 ? $c : h1() });
    my @s;

    if ($mode eq 'packet-up') {
        my $n = 1 + int rand 5;
        my $size = 1 + int(length($b) / $n);
        my @seq = sort { rand 2 <=> 1 } 'get', 0 .. $n - 1;
        for my $seq (@seq) {
            next if rand 8 < 1;                 # it never comes
            if ($seq eq 'get') {
                push @s, $x->get;
                next;
            }
            my $part = substr $b, $seq * $size, $size;
            my $cut = rand 4 < 1 ? int rand length $part : length $part;
            push @s, $x->post($seq, '', partial => 1, rand 2 < 1
                              ? (chunked => 1) : (length => length $part));
            $s[-1]->offer(substr($part, 0, $cut), 0,
                          end => $cut == length $part);
            $s[-1]->end if $cut == length $part && $h2 && !$s[-1]->h->{wait};
        }

    } else {
        $x->h->{mode} = $mode;
        my $get = int rand 3;
        push @s, $x->get if $mode eq 'stream-up' && $get == 0;
        push @s, $x->stream;
        my $cut = rand 3 < 1 ? length $b : int rand length $b;
        $s[-1]->offer(substr($b, 0, $cut), 0);
        push @s, $x->get if $mode eq 'stream-up' && $get == 1;
    }

    $_->h->{c}->turn for @s;
    push @open, sort { rand 2 <=> 1 } @s;
    $open[rand @open]->h->{c}->turn if @open;
    (splice @open, rand @open, 1)->reset while @open > 40;
}
$_->reset for @open;
@open = ();
$c->close;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
log_count(qr/\[(?:alert|crit|emerg)\]/);
--- stream_response: 0


=== TEST 14: a download that never comes, or too late
--- servers
app app
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
}
--- config
location /x { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray xhttp; }
location = /status { stub_status; }
--- stream_client
$VMess::Timeout = 50 * $Scale;
my $start = active();
my $noise = pattern(1_500_000);
my $x = x(late => 1);
my $y = x(late => 1, h2 => 1);
my @s = ($x->post(0, vmess(to => 'echo')->header),
         $x->post(1, $noise, chunked => 1), $y->post(3, 'hello'));
my @z = map { $_->request(POST => $_->sid, data => 'stream', end => 1) }
            map { x(late => 1, h2 => $_) } 0, 1;

# the site has all of them
is(idle(), 1, 'they wait');
like($s[1]->rest, qr/^POST .*\n1500000 @{[ sha256_hex($noise) ]}\n/s,
     'a packet');
like($_->rest, qr/^POST /, 'another') for $s[0], $s[2];
like($_->rest, qr/^POST .*\n6 /s, 'a stream') for @z;

# it may be used then
my $f = flow(via => x(sid => $x->sid), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'the session is new');
$f->close;
$_->reset for @s, @z;
@s = @z = ();
undef $_ for $x, $y, $f;
is(wait_for(sub { active() == $start }), 1, 'all have gone');
--- no_error_log
[error]


=== TEST 15: a client that has gone before its request is handled
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /x/ { vmess_pass ray; }
location = /status { stub_status; }
--- stream_client
my $start = active();
my $rest = " HTTP/1.1\r\nHost: a\r\nReferer: http://a/?x_padding="
           . 'X' x 200 . "\r\n";
for my $i (1 .. 20) {
    for my $text ("GET /x/get$i$rest\r\n", "POST /x/post$i/0$rest"
                  . "Content-Length: 5\r\n\r\n" . substr 'whole', $i % 6)
    {
        my $s = tcp(http_port());
        put($s, $text);
        close $s;
    }
}
wait_for(sub { active() == $start });
--- stream_response: 1


=== TEST 16: too few connections
--- servers
echo echo
--- stream_config
vmess_handshakes worker=1000 address=1000;
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /x { vmess_pass ray; root html; log_not_found off; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
edit_conf(sub { s/worker_connections\s+\d+/worker_connections 40/ });
reload();
my $c = h2();
my $new = sub { x(mode => $_[0], connect => sub { $c }, late => 1) };
my $header = sub { vmess(to => 'echo')->header };

# all that there are, with half of a header
my @s = map { my $s = $new->('stream-one')->up;
              $s->send(substr $header->(), 0, 20);
              $s } 1 .. 40;
is($s[-1]->status, 404, 'the last one is the site\'s');
is($s[0]->h->{head}, undef, 'the first is not');

my $x = $new->('stream-one');
push @s, $x->up;
$s[-1]->send($header->(), end => 1);
is($s[-1]->status, 404, 'stream-one');
$x = $new->('packet-up');
push @s, $x->get, $x->post(0, $header->());
is($s[-2]->status, 404, 'packet-up: GET');
is($s[-1]->status, 404, 'POST');
$_->reset for @s;
$c->close;
is(wait_for(sub { (active() // 0) == $start }), 1, 'all have gone');
--- may_alert


=== TEST 17: a connection with packets of a live session is not closed
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    keepalive_timeout 1s;
    keepalive_requests 3;
    location /x { vmess_pass ray; }
    location /other { return 404; }
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    keepalive_timeout 0;
    location /x { vmess_pass ray; }
    location /other { keepalive_timeout 1s; return 404; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $n (2, 3) {
    my $x = x(n => $n);
    my $v = vmess(to => 'echo', sec => 'zero');
    my $c = h1($n);
    is($x->post(0, $v->header . 'x', via => $c)->status, 200, 'the first');
    $v->connect($x, quiet => 1);
    is($v->read(1), 'x', 'a flow');
    for my $i (1 .. 6) {
        if ($i % 3 == 1) {
            # as long as an idle connection is kept
            my $idle = h1($n);
            is($idle->request(GET => '/other', end => 1)->status, 404, 'another one');
            $idle->run(sub { 0 });
            is($idle->{eof}, 1, 'which is closed');
        }
        my $s = $x->post($i, "packet $i", via => $c);
        is($v->read(8), "packet $i", 'goes on');
        is($s->status, 200, 'and is answered');
    }
    # a request of the site's is nothing else
    is($c->request(GET => '/other', end => 1)->status, 404, 'the site') if $n == 3;
    $v->close;
    $c->run(sub { 0 });
    is($c->{eof}, 1, 'closed behind the session');
}
--- no_error_log
[error]


=== TEST 18: the old worker keeps connections with packets while the session lives
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    location /x { vmess_pass ray; }
    location /other { return 404; }
}
--- config
location = /alive { return 200; }
--- stream_client
my @old = children();
my $x = x(n => 2);
my $v = vmess(to => 'echo', sec => 'zero');
my ($c, $idle) = (h1(2), h1(2));
is($x->post(0, $v->header . 'x', via => $c)->status, 200, 'the first');
$v->connect($x, quiet => 1);
is($v->read(1), 'x', 'a flow');
is($idle->request(GET => '/other', end => 1)->status, 404, 'another connection');
reload();
$idle->run(sub { 0 });
is($idle->{eof}, 1, 'which the old worker closes');
for my $i (1 .. 5) {
    my $s = $x->post($i, "packet $i", via => $c);
    is($v->read(8), "packet $i", 'goes on');
    is($s->status, 200, 'and is answered');
}
my %now = map { $_ => 1 } children();
is(scalar(grep { $now{$_} } @old), 1, 'the old worker is there');
$v->close;
$c->run(sub { 0 });
is($c->{eof}, 1, 'closed behind the session');
is(wait_for(sub { %now = map { $_ => 1 } children(); !grep { $now{$_} } @old }), 1, 'it leaves');
--- no_error_log
[error]


=== TEST 19: a packet that is missing for too long ends the session
--- servers
echo echo
--- stream_config
log_format l '$bytes_received $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    client_body_timeout 1s;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $x = x(n => 2);
my $v = vmess(to => 'echo', sec => 'zero');
is($x->post(0, $v->header . 'x')->status, 200, 'the first');
$v->connect($x, quiet => 1);
is($v->read(1), 'x', 'a flow');
my @s = map { $x->post($_, "packet $_") } 2, 3;
is($v->read_eof, '', 'the end of the flow');
is($_->status, 200, 'what waited is answered') for @s;
ok(wait_for(sub { access_log() =~ /ok$/m }), 'a session in the log');
--- error_log
client sent 2 packets of XHTTP session behind packet 1, which is missing


=== TEST 20: a packet that comes again is read before it is answered
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    client_body_timeout 2s;
    location /x { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $size (5, 600_000) {
    my $x = x(n => 2);
    my $v = vmess(to => 'echo', sec => 'zero');
    my $c = h1(2);
    is($x->post(0, $v->header . 'x', via => $c)->status, 200, 'the first');
    $v->connect($x, quiet => 1);
    is($v->read(1), 'x', 'a flow');
    is($x->post(1, '1', via => $c)->status, 200, 'the second');
    is($v->read(1), '1', 'too');

    # its body, and others behind it, when the header was read
    my $again = $x->post(1, '', via => $c, partial => 1, length => $size);
    is(h1()->request(GET => '/alive', end => 1)->status, 200, 'some time');
    $again->send('x' x $size, end => 1);
    my @s = map { $x->post($_, $_, via => $c) } 2, 3;
    is($v->read(2), '23', 'what is behind');
    is($_->status, 200, 'is answered') for $again, @s;

    # it does not wait for ever
    $again = $x->post(1, '', via => $c, partial => 1, length => $size);
    $c->run(sub { 0 });
    is($c->{eof}, 1, 'a body that does not come');
    $v->close;
}
--- no_error_log
[error]


=== TEST 21: up to 256 packets wait for one
--- servers
echo echo
--- stream_config
vmess_handshakes worker=1000 address=1000;
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /x { vmess_pass ray; return 404; }
location = /status { stub_status; }
--- stream_client
my $writing = sub {
    my $s = tcp(http_port());
    put($s, "GET /status HTTP/1.0\r\n\r\n");
    my ($n) = slurp($s) =~ /Writing: (\d+)/;
    return $n;
};

for my $authentic (0, 1) {
    my $x = x(late => 1);
    my $v = vmess(to => 'echo', sec => 'zero');
    if ($authentic) {
        $x->get;
        is($x->post(0, $v->header . 'x')->status, 200, 'the first');
        $v->connect($x, quiet => 1);
        is($v->read(1), 'x', 'a flow');
    }
    my $from = $writing->();
    my @s = map { $x->post($_, sprintf('%08d', $_), via => h1()) } 2 .. 257;
    ok(wait_for(sub { $writing->() >= $from + 256 }), '256 of them');
    is($x->post(258, 'one too many', via => h1())->status, 404, 'one more is the site\'s');

    # those before them are none too many
    push @s, $x->post(0, $v->header . 'x') if !$authentic;
    push @s, $x->post(1, '00000001') if $authentic;
    if (!$authentic) {
        $x->get;
        $v->connect($x, quiet => 1);
        is($v->read(1), 'x', 'a flow');
        push @s, $x->post(1, '00000001');
    }
    is(sha256_hex($v->read(8 * 257)), sha256_hex(join '', map { sprintf '%08d', $_ } 1 .. 257),
       'in order');
    is(scalar(grep { $_->status ne 200 } @s), 0, 'all are answered');
    $v->close;
    CORE::close $_ for @s;
}
--- no_error_log
[error]


=== TEST 22: a packet that waits, and comes again
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /x { vmess_pass ray; return 404; }
--- stream_client
my $x = x(late => 1);
my $v = vmess(to => 'echo', sec => 'zero');
$x->get;
is($x->post(0, $v->header . 'x', via => h1())->status, 200, 'the first');
$v->connect($x, quiet => 1);
is($v->read(1), 'x', 'a flow');

# only one of them has a place
my @s = map { $x->post(2, '2', via => h1()) } 1, 2;
push @s, map { $x->post($_, $_, via => h1()) } 1, 3;
is($v->read(3), '123', 'in order, once');
is(join(' ', sort map { $_->status } @s), '200 200 200 404', 'one of two is the site\'s');
$v->close;
1;
--- stream_response: 1
--- no_error_log
[error]
