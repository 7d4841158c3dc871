# WebSocket: handshake, frames, transfers.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: the handshake
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $head = ws()->head;
like($head, qr{^HTTP/1\.1 101 Switching Protocols\r\n}, 'status');
like($head, qr{\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n},
     'the example of RFC 6455');
like($head, qr{\r\nUpgrade: websocket\r\n}i, 'Upgrade');
like($head, qr{\r\nConnection: upgrade\r\n}i, 'Connection');
unlike($head, qr{Transfer-Encoding|Content-Length|Content-Type|Keep-Alive
                 |Sec-WebSocket-(Protocol|Extensions)}xi, 'nothing else');
like(ws(key => 'x3JJHMbDL1EzLkh9GBhXDw==')->head,
     qr{\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n},
     'another key');

# what clients and proxies make of the request
my @good = (
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket",
    "connection: upgrade\r\nupgrade: WebSocket",
    "Connection: UPGRADE,x\r\nUpgrade: WEBSOCKET\r\nOrigin: http://a.example",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    . "Sec-WebSocket-Extensions: permessage-deflate",
);
for my $h (@good) {
    my $s = tcp(http_port());
    put($s, "GET /ray?ed=2048 HTTP/1.1\r\nHost: a\r\n$h\r\n"
            . "Sec-WebSocket-Version: 13\r\n"
            . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    my $ws = VMess::WebSocket->new($s, quiet => 1);
    is($ws->status, 101, join ' ', $h =~ /(\S+)/g);
    unlike($ws->head, qr/Extensions/i, 'no extension');
}
--- no_error_log
[error]


=== TEST 2: a flow of each security
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_security $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $data = pattern(1_000_000);
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $f = flow(via => ws(), sec => $sec, to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), $sec);
    $f->close;
}
wait_for(sub { my @l = split /\n/, access_log(); @l == 4 });
join ', ', sort split /\n/, access_log();
--- stream_response_like: ^websocket aes-128-gcm ok 200, websocket chacha20-poly1305 ok 200, websocket none ok 200, websocket zero ok 200$
--- no_error_log
[error]


=== TEST 3: lengths of frames, fragments, text
--- servers
echo echo
sink sink
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $up = pattern(200_000);

# a header takes some bytes of the first frame
my $f = flow(via => ws(), sec => 'zero', to => 'sink');
my $ws = $f->{sock};
my ($sum, $total) = (Digest::SHA->new(256), 0);
for my $n (0 .. 130, 65534 .. 65537, 65536 * 2 + 1, 0) {
    my $d = substr($up, 0, $n);
    $ws->put($ws->frame(2, $d));
    $sum->add($d);
    $total += $n;
}
# lengths in more bytes than needed
for my $case ([5, 16], [5, 64], [300, 64], [0, 16], [0, 64]) {
    my $d = substr($up, 0, $case->[0]);
    $ws->put($ws->frame(2, $d, form => $case->[1]));
    $sum->add($d);
    $total += length $d;
}
$ws->put($ws->frame(8, pack 'n', 1000));
is($ws->rest, 1, 'all lengths');
wait_for(sub { access_log('access.log') ne '' });

# in the other direction an echo shows what got through
my %how = (
    fragments => { split => sub { $_[0] =~ /(.{1,1000})/gs } },
    'single bytes' => { split => sub { split //, $_[0] }, frame_max => 5000 },
    'fragments that are empty' => { split => sub { ('', $_[0], '') } },
    text => { text => 1 },
    'pings between' => { split => sub { $_[0] =~ /(.{1,3000})/gs },
        between => sub { VMess::WebSocket->frame(9, 'inside')
                         . VMess::WebSocket->frame(10, 'unasked') } },
);
for my $name (sort keys %how) {
    my $w = ws(%{ $how{$name} });
    my $e = flow(via => $w, to => 'echo');
    my $d = substr($up, 0, 60_000);
    is(sha256_hex($e->exchange($d, length $d)), sha256_hex($d), $name);
    ok(scalar(grep { "@$_" eq '10 inside' } $w->seen), 'pongs')
        if $name =~ /ping/;
    $e->close;
}

# keys that do nothing, or everything
for my $key ("\0\0\0\0", "\xff\xff\xff\xff", "\1\2\3\4") {
    my $v = vmess(to => 'echo');
    my $w = ws();
    $w->put($w->frame(2, $v->header . $v->chunk('hello'), key => $key));
    is($v->connect($w, quiet => 1)->read(5), 'hello',
       'key ' . unpack 'H*', $key);
}
--- no_error_log
[error]


=== TEST 4: what arrives is what was sent, in all lengths
--- servers
sink sink
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $f = flow(via => ws(), to => 'sink', data_max => 8000);
my $ws = $f->{sock};
my ($sum, $total) = (Digest::SHA->new(256), 0);
for my $n (1 .. 130, 65500 .. 65540, 140_000) {
    my $d = pattern($n);
    $sum->add($d);
    $total += $n;
    $ws->put($ws->frame(2, $f->chunk($d)));
}
$f->end;
is($f->read_all, "$total " . $sum->hexdigest . "\n", 'the sum');
--- no_error_log
[error]


=== TEST 5: one byte a segment, and the request with it
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
use Socket qw(IPPROTO_TCP TCP_NODELAY);
my $s = tcp(http_port());
setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);
my $v = vmess(to => 'echo');
my $ws = VMess::WebSocket->new($s, quiet => 1);
my $bytes = VMess::WebSocket::request()
            . $ws->frame(2, '') . $ws->frame(9, 'are you there')
            . $ws->frame(2, $v->header, fin => 0)
            . $ws->frame(0, $v->chunk('hel'), form => 64)
            . $ws->frame(1, $v->chunk('lo'), form => 16);
for my $byte (split //, $bytes) {
    $ws->put($byte);
    select undef, undef, undef, 0.0005;
}
is($v->connect($ws, quiet => 1)->read(5), 'hello', 'every byte alone');
is(join(',', map { "@$_" } $ws->seen), '10 are you there', 'the pong');

# each place where two segments may meet
my $n = length VMess::WebSocket->frame(2, $v->header);
my $bad = 0;
for my $cut (1 .. 20, $n - 1 .. $n + 20) {
    my $v = vmess(to => 'echo');
    my $w = ws();
    my $b = $w->frame(2, $v->header) . $w->frame(9, 'x')
            . $w->frame(2, $v->chunk('hello'));
    $w->put(substr $b, 0, $cut);
    select undef, undef, undef, 0.001;
    $w->put(substr $b, $cut);
    $bad++ if $v->connect($w, quiet => 1)->read(5) ne 'hello';
}
is($bad, 0, 'two segments');

# all at once: frames behind the request, before its answer
$v = vmess(to => 'echo');
$ws = ws(behind => VMess::WebSocket->frame(2, $v->header . $v->chunk('early')));
$v->connect($ws, quiet => 1)->read(5);
--- stream_response: early
--- no_error_log
[error]


=== TEST 6: ping, pong and close
--- servers
echo echo
banner banner bye
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $ws = ws();
for my $n (0, 1, 125) {
    $ws->put($ws->frame(9, 'p' x $n));
    is($ws->wait(sub { $ws->seen }), 1, 'an answer');
    is(join(',', map { "@$_" } splice @{ $ws->h->{seen} }), '10 ' . 'p' x $n,
       "a pong of $n bytes, before the VMess header");
}
$ws->put($ws->frame(10, 'unasked'));

my $f = flow(via => $ws, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow after that');
$ws->put($ws->frame(9, 'more'));
$ws->wait(sub { $ws->seen });
is(join(',', map { "@$_" } splice @{ $ws->h->{seen} }), '10 more', 'inside');
$f->send('again');
is($f->read(5), 'again', 'and on');

# close: nothing more is read, and answered with close
$ws->put($ws->frame(8, pack('n', 1001) . 'going') . $ws->frame(2, 'late'));
is($ws->rest, 1, 'the connection ends');
is(join(',', map { join ' ', $_->[0], unpack 'n', $_->[1] } $ws->seen),
   '8 1000', 'close for close');
ok(!$ws->h->{reset}, 'without a reset');

# close without a code, before any header
$ws = ws();
$ws->put($ws->frame(8, ''));
$ws->rest;
is(scalar(grep { $_->[0] == 8 } $ws->seen), 1, 'close at once');

# the target ends: end chunk, then close
$ws = ws();
$f = flow(via => $ws, to => 'banner', data => 'hello');
is($f->read_eof, "bye\n", 'the end of the target');
is($f->{ended}, 1, 'the end chunk');
is(join(',', map { join ' ', $_->[0], unpack 'n', $_->[1] } $ws->seen),
   '8 1000', 'the close');

# the client's connection ends without a close
$ws = ws();
$f = flow(via => $ws, to => 'echo', data => 'hello');
$f->read(5);
shutdown($ws->h->{sock}, 1);
is($ws->rest, 1, 'after a FIN');
--- no_error_log
[error]


=== TEST 7: invalid frames end the session
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $w = 'VMess::WebSocket';
my @case = (
    ['unmasked', 'frame is not masked', $w->frame(2, 'x', mask => 0)],
    ['unmasked ping', 'frame is not masked', $w->frame(9, 'x', mask => 0)],
    (map { ["reserved bits $_", 'reserved bits are set',
            $w->frame(2, 'x', rsv => $_)] } 1 .. 7),
    (map { ["opcode $_", 'unknown opcode', $w->frame($_, 'x')] }
         3 .. 7, 11 .. 15),
    ['a long ping', 'control frame is fragmented or too long',
     $w->frame(9, 'x' x 126)],
    ['a fragment of a ping', 'control frame is fragmented or too long',
     $w->frame(9, 'x', fin => 0)],
    ['a continuation', 'continuation of no message', $w->frame(0, 'x')],
    ['a new message', 'new message inside of another',
     $w->frame(2, 'x', fin => 0) . $w->frame(2, 'y')],
    ['a huge length', 'invalid length',
     "\x82\xff\x80\0\0\0\0\0\0\1" . 'mask'],
);
my $n = 0;
for (@case) {
    my ($name, $err, $bytes) = @$_;
    for my $inside (0, 1) {
        my $ws = ws();
        if ($inside) {
            my $f = flow(via => $ws, to => 'echo', data => 'hello');
            $f->read(5);
        }
        $ws->put($bytes);
        is($ws->rest, 1, "$name: the end");
        is(join(',', map { join ' ', $_->[0], unpack 'n', $_->[1] }
                         $ws->seen), '8 1002', 'code') if $inside;
        wait_log(qr/invalid WebSocket frame: \Q$err\E/, 1) or fail("$name: $err");
    }
    $n += 2;
}
is(wait_log(qr/client sent invalid WebSocket frame: /, $n), 1, 'all logged');
log_count(qr/client sent invalid WebSocket frame: /) - $n;
--- stream_response: 0
--- no_error_log
[error]


=== TEST 8: big transfers, both ways, at once
--- servers
src source 30000000
sink sink
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $f = flow(via => ws(), to => 'src');
is(sha256_hex($f->read_eof), sha256_hex(pattern(30_000_000)), 'down');
is($f->{ended}, 1, 'the end');
my $up = pattern(20_000_000);
$f = flow(via => ws(), to => 'sink');
$f->send($up)->end;
is($f->read_all, '20000000 ' . sha256_hex($up) . "\n", 'up');
my $data = pattern(5_000_000);
$f = flow(via => ws(), to => 'echo');
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'both');
--- no_error_log
[error]


=== TEST 9: TLS
--- servers
src source 5000000
echo echo
banner banner bye
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_buffer_size 4k;
    location = /ray { vmess_pass ray; }
}
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- stream_client
my $data = pattern(3_000_000);
for my $version (qw(TLSv1_2 TLSv1_3)) {
    my $ws = sub { ws(via => tls(port => stream_port() + 2,
                                 SSL_version => $version)) };
    my $f = flow(via => $ws->(), to => 'src');
    is(sha256_hex($f->read_eof), sha256_hex(pattern(5_000_000)), 'down');
    is($f->{ended}, 1, 'the end');
    $f = flow(via => $ws->(), to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'both');

    $f = flow(via => my $w = $ws->(), to => 'banner', data => 'x');
    is($f->read_eof, "bye\n", 'a banner');
    is(join(',', map { join ' ', $_->[0], unpack 'n', $_->[1] } $w->seen),
       '8 1000', 'the close');
}
--- no_error_log
[error]


=== TEST 10: a slow reader and a slow target hold the other side
--- servers
src source 60000000
deaf deaf
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my ($worker) = TestVMess::children();

# processor time of the worker: none is used once all is held
my $idle = sub {
    my ($last, $same) = ('', 0);
    return wait_for(sub {
        my $now = join ' ', (split ' ',
            TestVMess::file_text("/proc/$worker/schedstat"))[0];
        select undef, undef, undef, 0.1;
        $same = $now eq $last ? $same + 1 : 0;
        $last = $now;
        $same >= 2;
    });
};

# eight clients that do not read
my @f = map { flow(via => ws(), to => 'src') } 1 .. 8;
my @got = map { $_->read(100_000) } @f;
my $before = rss();
is($idle->(), 1, 'the upstreams are stopped');

# eight that write to a target that does not read
my @up = map { flow(via => ws(), sec => 'zero', to => 'deaf') } 1 .. 8;
my $bytes = pattern(50_000_000);     # more than tcp_rmem allows
for my $f (@up) {
    my $off = 0;
    while ($off < length $bytes) {
        $off += syswrite($f->{sock}, substr $bytes, $off, 30_000) // 0;
        last unless IO::Select->new($f->{sock})->can_write(0.3);
    }
    cmp_ok($off, '<', length $bytes, 'the client is stopped');
}
is($idle->(), 1, 'nothing moves');

grown_less($before, 16 * 500);

# others are served meanwhile, and those that waited go on
is(length(flow(via => ws(), to => 'src')->read(3_000_000)), 3_000_000,
   'a flow beside them');
is(sha256_hex($got[0] . $f[0]->read_eof), sha256_hex(pattern(60_000_000)),
   'goes on');
stop_server('deaf');
$_->close for @f, @up;


=== TEST 11: a slow target
--- servers
slow sink 1
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $up = pattern(8_000_000);
my $f = flow(via => ws(), to => 'slow');
$f->send($up)->end;
$f->read_all eq '8000000 ' . sha256_hex($up) . "\n";
--- stream_response: 1
--- no_error_log
[error]


=== TEST 12: pings while the client does not read
--- servers
src source 20000000
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location = /ray { vmess_pass ray; }
}
--- stream_config
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    proxy_buffer_size 100k;
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
for my $tls (0, 1) {
    for my $sec (qw(aes-128-gcm zero)) {
        my $ws = ws(via => $tls ? tls(port => stream_port() + 2)
                                : tcp(http_port()));
        my $f = flow(via => $ws, sec => $sec, to => 'src');
        my $got = '';
        for my $i (1 .. 60) {
            $ws->put($ws->frame(9, "ping $i" . 'x' x ($i % 100)));
            $got .= $f->read(200_000) if $i % 20 == 0;
            select undef, undef, undef, 0.005;
        }
        $got .= $f->read_eof;
        is(sha256_hex($got), sha256_hex(pattern(20_000_000)),
           "$sec, " . ($tls ? 'TLS' : 'plain'));
        my @pong = grep { $_->[0] == 10 } $ws->seen;
        ok(@pong > 0, scalar(@pong) . ' pongs');
        is(scalar(grep { $_->[1] !~ /^ping \d+x+$/ } @pong), 0, 'whole ones');
        is(($ws->seen)[-1][0], 8, 'and a close');
    }
}
--- no_error_log
[error]


=== TEST 13: the server's heartbeat, also between frames of a busy flow
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray websocket heartbeat=1s; }
--- stream_client
my $ws = ws();
my $f = flow(via => $ws, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
ok($ws->wait(sub { (grep { $_->[0] == 9 } $ws->seen) >= 2 }), 'pings');
is(join('', map { $_->[1] } grep { $_->[0] == 9 } $ws->seen), '', 'empty');
my $n = $ws->seen;
my ($i, $bad) = (0, 0);
while ($ws->seen == $n && $i++ < 2000 * $Scale) {
    $f->send('x' x 100_000);
    $bad++ if $f->read(100_000) ne 'x' x 100_000;
    select undef, undef, undef, 0.01;
}
is($bad, 0, 'a busy flow');
ok($ws->seen > $n, 'pings in between');
$f->close;
--- no_error_log
[error]


=== TEST 14: of frames without data a bounded number is read before others have their turn
--- log_level: debug
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my @ws = map { ws() } 1 .. 2;

# of data, pongs, pings, and parts of a message
my $block = join '', map { "$_\x80abcd" } "\x82", "\x8a", "\x89", "\x02", "\x00", "\x80";
$block x= 160_000;
my @pid;
for my $ws (@ws) {
    my $pid = fork // die;
    if (!$pid) {
        put($ws->h->{sock}, $block) for 1 .. 3;
        POSIX::_exit(0);
    }
    push @pid, $pid;
}
waitpid $_, 0 for @pid;
flow(via => $_, to => 'echo', data => 'hello')->read(5) eq 'hello' or die for @ws;

open my $log, '<', "$Dir/error.log";
my ($n, $max, $all) = (0, 0, 0);
while (<$log>) {
    $n = 0 if /worker cycle/;
    next unless /recv: fd:\d+ (\d+) of/;
    $n += $1;
    $all += $1;
    $max = $n if $max < $n;
}
SKIP: {
    Test::More::skip('nginx has no debug log', 1) unless $all;
    cmp_ok($max, '<', 300_000, "of $all bytes");
}
--- no_error_log
[error]


=== TEST 15: a request that is nearly a client's leaves a line with the reason
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /ray { vmess_pass ray; return 404; }
location /plain { vmess_pass ray; try_files /none =404; }
location /ws { vmess_pass ray websocket; return 404; }
location /up { vmess_pass ray httpupgrade; return 404; }
location /other { return 404; }
--- stream_client
my $ask = sub {
    my ($line, @headers) = @_;
    my $s = tcp(http_port());
    put($s, join("\r\n", $line, 'Host: localhost', @headers, 'Connection: close') . "\r\n\r\n");
    my ($status) = slurp($s) =~ m{^HTTP/1\.\d (\d+)};
    return $status;
};
my @up = ('Upgrade: websocket', 'Connection: Upgrade');
my @key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
my @version = 'Sec-WebSocket-Version: 13';
my $id = '0123abcd-89ab-4cde-8f01-23456789abcd';
my $n = 0;
for my $case (
    ['GET /ray HTTP/1.1', [ @up, @key ], qr/"Sec-WebSocket-Version: 13" is missing/],
    ['GET /ray HTTP/1.1', [ @up, 'Sec-WebSocket-Key: short', @version ], qr/Sec-WebSocket-Key is invalid/],
    ['GET /ray HTTP/1.1', [ @key, @version ], qr/"Upgrade: websocket" is missing/],
    ['GET /ray HTTP/1.1', [ $up[0], @key, @version ], qr/"Connection: upgrade" is missing/],
    ['GET /ray/longer HTTP/1.1', [ @up, @key, @version ], qr/the path is longer/],
    ['GET /ws HTTP/1.1', [ @up ], qr/no Sec-WebSocket-Key, and "httpupgrade" is not/],
    ['GET /up/longer HTTP/1.1', [ @up ], qr/HTTPUpgrade needs the path/],
    ['POST /ray/svc/Tun HTTP/1.1', [ 'Content-Type: application/grpc', 'Content-Length: 0' ], qr/over gRPC .* HTTP\/1/],
    ["GET /ray/$id HTTP/1.1", [], qr/no x_padding/],
    ["POST /ray/$id/0 HTTP/1.1", [ 'Content-Length: 0', 'Referer: https://localhost/' ], qr/no x_padding/],
    ["GET /ray/$id HTTP/1.1", [ 'Referer: https://localhost/?x_padding=' . 'X' x 99 ], qr/less than 100/],
    ["GET /ray/$id?x_padding=" . 'X' x 1001 . ' HTTP/1.1', [], qr/more than 1000/],
    ["OPTIONS /ray/$id HTTP/1.1", [ 'Access-Control-Request-Method: POST' ], qr/OPTIONS/],
    ["OPTIONS /ray/$id HTTP/1.1", [ 'Referer: https://localhost/?x_padding=' . 'X' x 200 ], qr/OPTIONS/],
) {
    my ($line, $headers, $want) = @$case;
    for my $place ('/ray', '/plain') {
        (my $l = $line) =~ s{^(\S+) /ray}{$1 $place};
        is($ask->($l, @$headers), 404, $l);
        $n++;
        ok(wait_for(sub { log_count(qr/looks like VMess over/) == $n }), 'one line');
        my ($last) = error_log() =~ /.*(looks like VMess over[^\n]*)/s;
        like($last, $want, 'the reason');
        # at most ten in a second
        my $second = time;
        wait_for(sub { time > $second + 1 }) if $n % 8 == 0;
        last if $l eq $line && $place eq '/ray' && $line !~ m{ /ray};
    }
}

# what is nothing of a client leaves none
$ask->('GET /ray HTTP/1.1');
$ask->('GET /ray/page.html HTTP/1.1', 'Referer: https://localhost/');
$ask->('POST /ray HTTP/1.1', 'Content-Length: 0');
$ask->('OPTIONS /ray HTTP/1.1', 'Access-Control-Request-Method: POST');
$ask->('GET /other HTTP/1.1', @up, @key);
$ask->('GET /up HTTP/1.1', 'Upgrade: h2c', 'Connection: Upgrade');
is(log_count(qr/looks like VMess over/), $n, 'no more lines');

# two lines are one list
my $early = vmess(to => 'echo')->header;
my $ws = ws(path => '/ray', headers => [ 'Connection: Upgrade' ], quiet => 1);
$ws->put(VMess::WebSocket::request(path => '/ray') =~ s/(?=Connection: Upgrade)/Connection: keep-alive\r\n/r);
my $f = flow(via => $ws, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'Connection in two lines');
--- no_error_log
[alert]


=== TEST 16: HTTPUpgrade with a key, where WebSocket is not named
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location /up { vmess_pass ray httpupgrade; }
location /both { vmess_pass ray httpupgrade websocket; }
--- stream_client
for my $path ('/up', '/both') {
    for my $key (0, 1) {
        next if $key && $path eq '/both';
        my $ws = ws(upgrade => 1, path => $path,
                    headers => [ ('Sec-WebSocket-Version: 13',
                                  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==') x $key ]);
        my $f = flow(via => $ws, to => 'echo', data => 'hello');
        is($f->read(5), 'hello', "$path, with $key keys");
        $f->close;
    }
}
my $f = flow(via => ws(path => '/both'), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a WebSocket');
$f->close;
wait_for(sub { (my @l = access_log() =~ /^\w+$/mg) == 4 });
join ' ', sort split /\n/, access_log();
--- stream_response: httpupgrade httpupgrade httpupgrade websocket
--- no_error_log
[error]


=== TEST 17: early data that was lost on the way is named
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /ray { vmess_pass ray; }
--- stream_client
# frames with what is behind the early data
my $bytes = vmess(to => 'echo')->header;
my $ws = ws();
$ws->put($ws->frame(2, substr($bytes, 20) . 'x' x 100));
ok(wait_for(sub { log_count(qr/came without early data/) == 1 }), 'without it');

# with some that is of nobody
$ws = ws(early => pattern(100));
$ws->head;
ok(wait_for(sub { log_count(qr/client sent no VMess header/) == 2 }), 'with it');
log_count(qr/came without early data/);
--- stream_response: 1
