# VMess over gRPC, Tun and TunMulti.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Site;

plan "no_plan";
no_shuffle();


# a call: path, type, method; codec => options of the messages, raw => 1 for
# none; further ones as of request()

sub call {
    my ($c, %o) = @_;
    my $type = exists $o{type} ? delete $o{type} : 'application/grpc';
    my @headers = (defined $type ? ('content-type' => $type) : (),
                   te => 'trailers', 'user-agent' => 'grpc-go/1.60.0',
                   @{ delete $o{headers} // [] });
    $o{codec} = VMess::GRPC->new(%{ $o{codec} // {} }) unless $o{raw};
    return $c->request(delete $o{method} // 'POST',
                       delete $o{path} // '/svc/Tun', headers => \@headers,
                       %o, raw => undef);
}


# a flow on a new stream; grpc => options of the call

sub on {
    my ($c, %o) = @_;
    my $s = call($c, path => delete $o{path} // '/svc/Tun',
                 %{ delete $o{grpc} // {} });
    return flow(via => $s, %o);
}


# bytes in a message, or in several

sub message { return VMess::GRPC::message(VMess::GRPC::field($_[0])) }


# what a call is after its answer: the code and the data after it

sub is_good {
    my ($s, $name) = @_;
    is($s->status, 200, "$name: status");
    is($s->header('content-type'), 'application/grpc', 'Content-Type');
    ok(!exists $s->headers->{$_}, "no $_")
        for qw(content-length content-encoding grpc-status);
}


run_tests();

__DATA__

=== TEST 1: Tun and TunMulti, with each security
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_security $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$status $request_method $uri $body_bytes_sent $bytes_sent';
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    access_log %%DIR%%/http.log h;
    location /svc { vmess_pass ray; }
    location = /exact/Tun { vmess_pass ray; }
    location = /own { vmess_pass ray grpc; }
    location /a/b/ { vmess_pass ray grpc; }
    location = /Tun { vmess_pass ray; }
    location "/a name" { vmess_pass ray; }
}
server {
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location / { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(1_000_000);
my $n = 0;
for my $tls (0, 1) {
    my $c = h2($tls ? (n => 3, tls => 1) : ());
    for my $path (qw(/svc/Tun /svc/TunMulti)) {
        for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
            my $f = on($c, sec => $sec, to => 'echo', path => $path, grpc => {
                codec => { fields => $path =~ /Multi/ ? 3 : 1 } });
            is($f->exchange('x', 1), 'x', 'a byte');
            is(sha256_hex($f->exchange($data, length $data)),
               sha256_hex($data), "$path, $sec, TLS $tls");
            is_good($f->{sock}, 'the answer');
            $f->close;
            $n++;
        }
    }
    is($c->ping, 1, 'the connection goes on');
}
wait_for(sub { my @l = split /\n/, access_log(); @l == $n });
my %seen = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %seen), join(', ', map { "grpc $_ ok 200" }
   sort qw(aes-128-gcm chacha20-poly1305 none zero)), 'log of stream');
my ($body, $all) = access_log('http.log')
                       =~ m{^200 POST /svc/Tun (\d+) (\d+)$}m;
cmp_ok($body, '>', 1_000_000, 'log of http: bytes of the body');
cmp_ok($all, '>', $body, 'and of the header');

# names of services and methods, types
my $c = h2();
for my $path (qw(/svc/Tun /svc/TunMulti /svc/deep/Tun /exact/Tun /own
                 /a/b/Tun /a/b/TunMulti //Tun /a%20name/Tun)) {
    my $f = on($c, to => 'echo', data => 'hello', path => $path);
    is($f->read(5), 'hello', $path);
    is_good($f->{sock}, $path);
    $f->close;
}
for my $type ('application/grpc', 'application/grpc+proto',
              'Application/GRPC', 'application/grpc;charset=x')
{
    my $f = on($c, to => 'echo', data => 'hello', grpc => { type => $type });
    is($f->read(5), 'hello', $type);
    $f->close;
}
--- no_error_log
[error]


=== TEST 2: how messages are cut
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $data = pattern(60_000);
my %how = (
    'a byte in a message' => { codec => { hunk => 1 } },
    'a byte in a field' => { codec => { hunk => 1, fields => 1000 } },
    'empty messages' => { codec => { hunk => 500, empty => 1 } },
    'fields of 127 and 128 bytes' => { codec => { hunk => 127, fields => 2 } },
    'fields of 128 bytes' => { codec => { hunk => 128 } },
    'fields of 16383 bytes' => { codec => { hunk => 16_383 } },
    'fields of 16384 bytes' => { codec => { hunk => 16_384, fields => 3 } },
    'frames of a byte' => { split => sub { split //, $_[0] },
                            frame_max => 3000 },
    'frames of 1 to 999 bytes' => { codec => { hunk => 333 }, split => sub {
        my ($d, $n, @p) = ($_[0], 1);
        while (length $d) { push @p, substr $d, 0, $n++ % 1000, '' }
        @p } },
    'empty frames' => { split => sub { ('', $_[0], '') } },
    padding => { pad => 100 },
);
for my $name (sort keys %how) {
    for my $path (qw(/svc/Tun /svc/TunMulti)) {
        my $f = on($c, to => 'echo', path => $path, grpc => $how{$name});
        is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
           "$name, $path");
        $f->close;
    }
}

# each place where two frames may meet
my $bad = 0;
my $n = length(vmess(to => 'echo', pad => 3)->header);
for my $cut (1 .. 20, $n .. $n + 25) {
    my $v = vmess(to => 'echo', pad => 3);
    my $b = message($v->header) . message('') . VMess::GRPC::message('')
            . message($v->chunk('hello'));
    my $s = call($c);
    $s->put(substr $b, 0, $cut);
    select undef, undef, undef, 0.001;
    $s->put(substr $b, $cut);
    $bad++ if $v->connect($s, quiet => 1)->read(5) ne 'hello';
    $s->reset;
}
is($bad, 0, 'two frames');

# messages as long as they may be; unknown fields
my $f = on($c, sec => 'zero', to => 'echo');
my $long = pattern((4 << 20) - 5);
$f->{sock}->put(message($long));
is(sha256_hex($f->read(length $long)), sha256_hex($long), 'a long message');
$f->{sock}->put(VMess::GRPC::message("\x10\x05\x0a\x02he\x12\x03xyz\x0a\x03llo"
                                     . "\x1d1234"));
is($f->read(5), 'hello', 'unknown fields');
--- no_error_log
[error]


=== TEST 3: the answer waits for the VMess header
--- servers
silent silent
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $v = vmess(to => 'silent');
my $s = call($c);
my $nothing = sub {
    is($c->ping, 1, 'ping') for 1 .. 3;
    ok(!$s->h->{head} && !$s->ended && !defined $s->rst, "@_: no answer");
};
$nothing->('no data');
$s->put(VMess::GRPC::message(''));
$nothing->('an empty message');
my @part = unpack '(a10)*', $v->header;
my $last = pop @part;
for my $part (@part) {
    $s->send($part);
    $c->ping;
}
$nothing->('almost all of it');

# and for nothing else
$s->send($last);
is_good($s, 'then');
ok(!$s->ended, 'no end');
--- no_error_log
[error]


=== TEST 4: ends
--- servers
echo echo
banner banner bye
sink sink
src source 10000000
dead dead
--- stream_config
log_format l '$vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
server {
    vmess_listen half; vmess main; proxy_pass vmess_target;
    proxy_half_close on;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$status $uri';
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    access_log %%DIR%%/http.log h;
    location /svc { vmess_pass ray; }
    location /half { vmess_pass half; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $c = h2();
my $n = 0;
my $logged = sub {
    my ($name, $more) = @_;
    $n += $more // 1;
    is(wait_for(sub { my @l = split /\n/, access_log();
                      my @h = split /\n/, access_log('http.log');
                      @l == $n && @h == $n }), 1, "$name: logged");
};
my $good = { 'grpc-status' => 0, 'grpc-message' => '' };

# the target ends: end chunk, trailers
my $f = on($c, to => 'banner', data => 'x');
is($f->read_eof, "bye\n", 'the end of the target');
is($f->{ended}, 1, 'the end chunk');
is($f->{sock}->ended, 1, 'END_STREAM');
is_deeply($f->{sock}->trailers, $good, 'trailers');
$logged->('the target ends');

# the client ends: end chunk, END_STREAM, and with proxy_half_close the answer
# still comes
$f = on($c, to => 'sink', path => '/half/Tun');
$f->send('hello')->end;
$f->{sock}->end;
is($f->read_eof, '5 ' . sha256_hex('hello') . "\n", 'the client ends');
is($f->{ended}, 1, 'the end chunk');
is_deeply($f->{sock}->trailers, $good, 'trailers');
$logged->('the client ends');

# all in one: header, data, end chunk, END_STREAM
my $v = vmess(to => 'sink');
my $s = call($c, path => '/half/TunMulti', end => 1,
             data => $v->header . $v->chunk('hello') . $v->finish);
is($v->connect($s, quiet => 1)->read_eof, '5 ' . sha256_hex('hello') . "\n",
   'all at once');
is_deeply($s->trailers, $good, 'trailers');
$logged->('all at once');

# END_STREAM
$f = on($c, to => 'echo', data => 'hello');
$f->read(5);
$f->{sock}->end;
$f->read_eof;
is_deeply($f->{sock}->trailers, $good, 'trailers after END_STREAM');
$logged->('END_STREAM');

# RST_STREAM
$f = on($c, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
$f->{sock}->reset;
$logged->('RST_STREAM');
$f = on($c, to => 'src');
$f->read(1000);
$f->{sock}->reset;
$logged->('RST_STREAM while data comes');
call($c)->reset;
$logged->('RST_STREAM before a header');
call($c, data => substr vmess(to => 'echo')->header, 0, 20)->reset;
$logged->('RST_STREAM in a header');
is($c->ping, 1, 'the connection lives');

# the target is not there, or must not be reached
$f = on($c, to => 'dead', data => 'hello');
is($f->read_eof, '', 'no target');
is_deeply($f->{sock}->trailers, $good, 'trailers');
$logged->('no target');

# the client's connection ends
$f = on($c, to => 'echo', data => 'hello');
my $g = on($c, to => 'src');
$f->read(5);
$g->read(10);
$c->close;
$logged->('the connection ends', 2);
is(wait_for(sub { active() == $start }), 1, 'all have gone');
$f = on(h2(), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'another');
$f->close;
$logged->('another');
like((grep { /vmess user "alice": / } split /\n/, error_log())[-1],
     qr/ flows:[01] /, 'no flow is left');
--- error_log
connect() failed


=== TEST 5: messages that are wrong end the flow
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my @case = (
    ['compressed', 'message is compressed',
     VMess::GRPC::message(VMess::GRPC::field('x'), 1)],
    ['a flag', 'invalid message flag',
     VMess::GRPC::message(VMess::GRPC::field('x'), 2)],
    ['too long', 'message is too long', pack 'C N', 0, (4 << 20) + 1],
    ['a field beyond', 'field is longer than its message',
     VMess::GRPC::message("\x0a\x05x")],
    ['a tag alone', 'field is longer than its message',
     VMess::GRPC::message("\x0a")],
    ['a group', 'invalid field type', VMess::GRPC::message("\x0b\x0c")],
    ['field 0', 'invalid field number', VMess::GRPC::message("\x02\x00")],
    ['text', 'invalid message flag', 'hello'],
);
my $n = 0;
for (@case) {
    my ($name, $error, $bytes) = @$_;
    my $f = on($c, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', "$name: a flow");
    my $s = $f->{sock};
    $s->put($bytes);
    $s->put(message('more')) unless $s->ended || defined $s->rst;
    $f->read_eof;
    ok($s->ended || defined $s->rst, 'the end');
    is(wait_log(qr/client sent invalid gRPC message: \Q$error\E/), 1, $error);
    $n++;
    is(wait_log(qr/client sent invalid gRPC message: /, $n), 1, 'once more');
}
is($c->ping, 1, 'the connection lives');
log_count(qr/client sent invalid gRPC message/) - $n;
--- stream_response: 0
--- no_error_log
[error]


=== TEST 6: what does not authenticate is the site's
--- servers
app app
--- stream_config
log_format l '$vmess_carrier $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config eval
VMess::Site::twice(<<'END') . <<'END';
    listen 127.0.0.1:%%PORT_2%% http2;
    server_name site;
    log_not_found off;
    client_max_body_size 2m;
    keepalive_requests 10000;
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location /file { alias html/page; add_header X-A b always;
                     vmess_pass ray grpc; }
    location /limit { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray;
                      client_max_body_size 20k; }
    location /grpc { grpc_pass 127.0.0.1:%%PORT_4%%; vmess_pass ray grpc; }
END
server {
    # somebody else's service
    listen 127.0.0.1:%%PORT_4%% http2;
    client_max_body_size 0;
    location / {
        proxy_pass http://127.0.0.1:%%app%%;
        add_trailer grpc-status 0;
    }
}
END
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my @c = map { h2(n => $_) } 2, 3;
my $bad = message(vmess(user => 'mallory')->header);
my %seen;

my $same = sub {
    my ($name, $call, @piece) = @_;
    $seen{ same("$name " . join(' ', %$call), \@c,
                sub { call(shift, %$call, raw => 1, @_) }, @piece) }++;
};

for my $path (qw(/app/Tun /file/TunMulti /limit/Tun /grpc/Tun)) {
    my %p = (path => $path);
    $same->('no body', { %p, method => $_ }, '')
        for qw(GET HEAD PUT POST OPTIONS);
    $same->("type " . ($_ // 'none'), { %p, type => $_ }, $bad)
        for 'application/grp', 'text/plain', undef;
    $same->('GET with a body', { %p, method => 'GET' }, $bad);
    $same->('PUT', { %p, method => 'PUT' }, $bad);
    $same->('a path below', { path => "$path/x" }, $bad);
    $same->('another method', { path => $path =~ s/Tun/Other/r }, $bad);

    for my $n (1, 5, 16, 100, 5000, 65536, 100_000, 1_500_000) {
        my $noise = pattern($n);
        $same->("$n bytes of noise", \%p, $noise);
        $same->("$n bytes of messages", \%p,
                VMess::GRPC->new(hunk => 1000)->encode($noise));
        $same->("$n bytes in two", \%p, message($noise), '');
    }

    $same->('an empty message', \%p, VMess::GRPC::message(''));
    $same->('empty messages', \%p, VMess::GRPC::message('') x 1000);
    $same->('a flag', \%p, VMess::GRPC::message($bad, 1));
    $same->('a bad header', \%p, $bad);
    $same->('a bad header and more', \%p, $bad, 'x' x 1000, message('x'));
    $same->('half a header', \%p, message(substr vmess()->header, 0, 40), '');
}
$same->('too much', { path => $_ }, pattern(2_200_000))
    for qw(/app/Tun /limit/Tun /grpc/Tun);

$same->($_->[0], { path => '/app/Tun' }, message($_->[1])) for halves();
is(join(' ', sort keys %seen), '200 404 405 413', 'many answers');

# the connections are still there
is($_->ping, 1, 'ping') for @c;
my %status = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort grep { /^grpc \w/ } keys %status), 'grpc header, grpc tag, '
   . 'grpc time, grpc truncated, grpc unknown', 'what the log says');
--- no_error_log
[alert]


=== TEST 7: big transfers, both ways, at once
--- servers
src source 30000000
sink sink
echo echo
slow sink 1
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $tls (0, 1) {
    my $c = h2($tls ? (n => 3, tls => 1) : ());
    my $f = on($c, to => 'src');
    is(sha256_hex($f->read_eof), sha256_hex(pattern(30_000_000)), 'down');
    is($f->{ended}, 1, 'the end chunk');
    my $up = pattern(20_000_000);
    $f = on($c, to => 'sink', path => '/svc/TunMulti',
            grpc => { codec => { hunk => 10_000, fields => 5 } });
    $f->send($up)->end;
    is($f->read_all, '20000000 ' . sha256_hex($up) . "\n", 'up');
    my $data = pattern(5_000_000);
    $f = on($c, to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'both');
    $f->close;
}
my $up = pattern(8_000_000);
my $f = on(h2(), to => 'slow');
$f->send($up)->end;
is($f->read_all, '8000000 ' . sha256_hex($up) . "\n", 'a slow target');
--- no_error_log
[error]


=== TEST 8: slow readers and slow targets hold the other side
--- servers
src source 40000000
deaf deaf
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2(window => 60_000, give => 0);
my @f = map { on($c, to => 'src') } 1 .. 8;
my @got = map { $_->read(5_000) } @f;
my $before = rss();
$c->run(sub { !grep { $_->{sock}->h->{bytes} < 60_000 } @f });
is(idle(), 1, 'the targets are held');
is($c->ping, 1, 'ping');
is(join(' ', map { $_->{sock}->h->{bytes} } @f), join(' ', (60_000) x 8),
   'no more than the windows');

my $up = h2();
my $bytes = pattern(20_000_000);
my @up = map { on($up, sec => 'zero', to => 'deaf') } 1 .. 6;
for my $f (@up) {
    cmp_ok($f->{sock}->offer($bytes, 0.3), '>', 1_000_000,
           'the client is held');
}
is(idle(), 1, 'nothing moves');
grown_less($before, 14 * 1000);

is(length(on($up, to => 'src')->read(3_000_000)), 3_000_000, 'beside them');
$f[3]->{sock}->give(50_000_000);
is(sha256_hex($got[3] . $f[3]->read_eof), sha256_hex(pattern(40_000_000)),
   'one goes on');
is($f[4]->{sock}->h->{bytes}, 60_000, 'another waits');
is($_->ping, 1, 'ping') for $c, $up;
stop_server('deaf');
$_->close for @f, @up;
--- no_error_log
[alert]


=== TEST 9: limits of http do not cut a flow
--- servers
echo echo
sink sink
src source 8000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    keepalive_requests 3;
    keepalive_timeout 1s;
    keepalive_time 1s;
    client_header_timeout 1s;
    client_body_timeout 1s;
    send_timeout 1s;
    grpc_read_timeout 1s;
    grpc_send_timeout 1s;
    client_max_body_size 1k;
    client_body_buffer_size 1;
    lingering_close always;
    lingering_time 1s;
    lingering_timeout 1s;
    reset_timedout_connection on;
    output_buffers 1 1;
    postpone_output 100000;
    location /svc { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2(window => 60_000);
my $f = on($c, to => 'echo', data => 'hello');
my $g = on($c, to => 'src');
my $idle = call($c);
is($f->read(5), 'hello', 'a flow');
my $got = $g->read(1000);

# limits of a second must not be at work
select undef, undef, undef, 3;

is($c->ping, 1, 'ping');
$f->send('again');
is($f->read(5), 'again', 'goes on');
my $data = pattern(1_000_000);
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
   'a million bytes');
is(sha256_hex($got . $g->read_eof), sha256_hex(pattern(8_000_000)),
   'a client that paused');
is(flow(via => $idle, to => 'echo', data => 'late')->read(4), 'late',
   'a late header');

$f = on(h2(), to => 'sink');
$f->send($data)->end;
is($f->read_all, '1000000 ' . sha256_hex($data) . "\n", 'a million up');
--- no_error_log
[error]


=== TEST 10: 200 flows at once on a connection
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    http2_max_concurrent_streams 256;
    location /svc { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
edit_conf(sub { s/worker_connections\s+\d+/worker_connections 2000/ });
reload();
my $start = active();
my $c = h2();
my @f = map { on($c, to => 'echo', data => "n$_",
                 path => $_ % 2 ? '/svc/Tun' : '/svc/TunMulti') } 1 .. 200;
my $bad = 0;
for my $i (reverse 1 .. 200) {
    $bad++ if $f[$i - 1]->read(1 + length $i) ne "n$i";
}
is($bad, 0, 'all of them');
my $data = pattern(30_000);
$_->send($data) for @f;
for my $f (@f) {
    $bad++ if $f->read(length $data) ne $data;
}
is($bad, 0, 'all again');
for my $i (0 .. $#f) {
    $i % 3 ? $f[$i]->close : $i % 2 ? $f[$i]->{sock}->end : $f[$i]->end;
}
is($c->ping, 1, 'ping');
$c->close;
wait_for(sub { active() == $start });
--- stream_response: 1
--- no_error_log
[error]


=== TEST 11: streams that end anywhere leave nothing
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
    location /svc { vmess_pass ray; root html; }
}
--- config
location = /status { stub_status; }
--- stream_client
srand 7;
my $start = active();
for my $connection (1 .. 10) {
    my $c = h2(window => 100_000, give => int rand 2);
    my @open;
    for (1 .. 40) {
        my $v = vmess(to => (qw(echo src banner dead))[rand 4],
                      user => (qw(alice alice mallory))[rand 3]);
        my $b = VMess::GRPC->new(hunk => 5000)->encode(
            $v->header . $v->chunk(pattern(1 + int rand 50_000)) . $v->finish);
        my $cut = rand 3 < 1 ? length $b : int rand length $b;
        my $n = int rand $cut;
        my $s = call($c, raw => 1, data => substr $b, 0, $n);
        $s->offer(substr($b, $n, $cut - $n), 0) if $cut > $n;
        $c->turn;
        if (rand 3 < 1) { $s->reset }
        elsif (rand 2 < 1) { $s->end if !$s->offer('', 0) }
        else { push @open, $s }
        splice(@open, rand @open, 1)->reset if @open > 8;
    }
    $c->close;
}
wait_for(sub { active() == $start }, 20);
--- stream_response: 1


=== TEST 12: reload, quit and worker_shutdown_timeout
--- servers
src source 20000000
echo echo
--- main_config
worker_shutdown_timeout 20s;
--- stream_config
log_format l '$remote_addr $vmess_carrier $vmess_user';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location /svc {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        vmess_pass ray;
    }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $address = { headers => ['x-forwarded-for' => '192.0.2.7'] };
my $down = on($c, to => 'src', grpc => $address);
my $echo = on($c, to => 'echo', data => 'hello', grpc => $address);
my $got = $down->read(1_000_000);
is($echo->read(5), 'hello', 'before');
reload();
is(on(h2(), to => 'echo', data => 'new')->read(3), 'new', 'the new worker');
is($echo->exchange('again', 5), 'again', 'the old one');
$got .= $down->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'nothing is lost');
$echo->close;
is(wait_for(sub { workers_alive() == 1 }), 1, 'the old one leaves');
like(access_log(), qr/^192\.0\.2\.7 grpc alice$/m, 'an address');

my $f = on(h2(), to => 'src');
$got = $f->read(1_000_000);
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
$got .= $f->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'quit waits');
is_deeply($f->{sock}->trailers, { 'grpc-status' => 0, 'grpc-message' => '' },
          'trailers');
$f->close;
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
--- quits
--- no_error_log
[error]
