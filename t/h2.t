# VMess over HTTP/2, and sing-box's form of it over HTTP/1.1.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::Site;

plan "no_plan";
no_shuffle();


# a flow on a new stream; h2 => options of the request

sub on {
    my ($c, %o) = @_;
    my $h2 = delete $o{h2} // {};
    my $s = $c->request(PUT => delete $o{path} // '/ray', %$h2);
    return flow(via => $s, %o);
}


# the same with the VMess header and data behind the request at once

sub at_once {
    my ($c, %o) = @_;
    my $h2 = delete $o{h2} // {};
    my ($path, $data) = (delete $o{path} // '/ray', delete $o{data} // '');
    my $v = vmess(%o);
    my $s = $c->request(PUT => $path, data => $v->header . $v->chunk($data),
                        %$h2);
    return $v->connect($s, quiet => 1);
}


# sing-box's form: the bytes behind the request, the socket, and the head of
# the answer

sub h1 {
    my ($bytes, %o) = @_;
    my $s = $o{via} // tcp(http_port());
    put($s, ($o{method} // 'PUT') . ' ' . ($o{path} // '/ray')
            . " HTTP/1.1\r\nHost: site\r\n\r\n$bytes");
    my $head = '';
    $head .= read_n($s, 1) // '' until $head =~ /\r\n\r\n/ || !defined $s
                                       || length $head > 5000;
    return ($s, $head);
}


sub h1_flow {
    my (%o) = @_;
    my ($data, $via) = (delete $o{data} // '', delete $o{via});
    my $v = vmess(%o);
    my ($s, $head) = h1($v->header . $v->chunk($data), via => $via);
    return ($v->connect($s, quiet => 1), $head);
}


run_tests();

__DATA__

=== TEST 1: the answer, and flows of each security
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_security $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$status $request_method $uri $server_protocol '
             '$body_bytes_sent $bytes_sent';
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    access_log %%DIR%%/http.log h;
    location = /ray { vmess_pass ray; }
    location = /only { vmess_pass ray http; }
    location /pre { vmess_pass ray; root html; }
}
server {
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(1_000_000);
my $n = 0;
for my $tls (0, 1) {
    my $c = h2($tls ? (n => 3, tls => 1) : ());
    for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
        my $f = on($c, sec => $sec, to => 'echo');
        is($f->exchange('x', 1), 'x', 'a byte');
        is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
           "$sec, TLS $tls");
        $f->close;
        $n++;
    }
    is($c->ping, 1, 'the connection goes on');
}
wait_for(sub { my @l = split /\n/, access_log(); @l == $n });
my %seen = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %seen), join(', ', map { "http $_ ok 200" }
   sort qw(aes-128-gcm chacha20-poly1305 none zero)), 'log of stream');

# the answer does not wait for anything
my $c = h2();
for my $path (qw(/ray /only /pre /pre/x)) {
    my $s = $c->request(PUT => $path);
    is($s->status, 200, "$path: status");
    is($s->header('cache-control'), 'no-store', 'Cache-Control');
    ok(!exists $s->headers->{$_}, "no $_")
        for qw(content-length content-encoding last-modified etag
               accept-ranges transfer-encoding);
    is($c->ping, 1, 'ping');
    ok(!$s->ended, 'no end');
    my $f = flow(via => $s, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'a flow behind the answer');
    $s->reset;
}

# other methods where no other transport is, and the VMess header with the
# request
for my $method (qw(PUT POST PATCH DELETE)) {
    my $v = vmess(to => 'echo');
    my $s = $c->request($method, '/only',
                        data => $v->header . $v->chunk('hello'));
    is($s->status, 200, "$method: status");
    is($v->connect($s, quiet => 1)->read(5), 'hello', 'the flow');
    $s->reset;
}
my $f = at_once($c, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'at once');
is($f->{sock}->header('cache-control'), 'no-store', 'Cache-Control');
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'and on');
$f->close;
my ($body, $all);
wait_for(sub { ($body, $all) = access_log('http.log')
                   =~ m{^200 PUT /ray HTTP/2\.0 (1\d{6}) (\d+)$}m });
cmp_ok($body, '>', 1_000_000, 'log of http: bytes of the body');
cmp_ok($all, '>', $body, 'and of the header');
--- no_error_log
[error]


=== TEST 2: how the data is cut
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $data = pattern(60_000);
my %how = (
    'frames of 1 to 999 bytes' => { split => sub {
        my ($d, $n, @p) = ($_[0], 1);
        while (length $d) { push @p, substr $d, 0, $n++ % 1000, '' }
        @p } },
    'empty frames' => { split => sub { ('', $_[0], '') } },
    padding => { pad => 255 },
    'single bytes' => { split => sub { split //, $_[0] }, frame_max => 3000 },
);
for my $name (sort keys %how) {
    my $f = on($c, to => 'echo', h2 => $how{$name});
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), $name);
    $f->close;
}

# the VMess header in two frames, in one write and in two
my $n = length vmess(to => 'echo', pad => 3)->header;
my $bad = 0;
for my $cut (1 .. $n + 20) {
    for my $write (0, 1) {
        my $v = vmess(to => 'echo', pad => 3);
        my $b = $v->header . $v->chunk('hello');
        my $s = $c->request(PUT => '/ray', $write ? (data => $b, split => sub {
            (substr($_[0], 0, $cut), substr $_[0], $cut) })
            : (data => substr $b, 0, $cut));
        $s->send(substr $b, $cut) unless $write;
        $bad++ if $v->connect($s, quiet => 1)->read(5) ne 'hello';
        $s->reset;
    }
}
$bad;
--- stream_response: 0
--- no_error_log
[error]


=== TEST 3: big transfers
--- servers
src source 30000000
sink sink
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location = /ray { vmess_pass ray; }
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
    $f = on($c, to => 'sink');
    $f->send($up)->end;
    is($f->read_all, '20000000 ' . sha256_hex($up) . "\n", 'up');
    my $data = pattern(5_000_000);
    $f = on($c, to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'both');
    $f->close;
}
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
    location = /ray { vmess_pass ray; }
    location = /half { vmess_pass half; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $c = h2();
my $logged = sub {
    my ($n, $name) = @_;
    is(wait_for(sub { my @l = split /\n/, access_log();
                      my @h = split /\n/, access_log('http.log');
                      @l == $n && @h == $n }), 1, "$name: logged");
};

# the target ends: end chunk, END_STREAM
my $f = on($c, to => 'banner', data => 'x');
is($f->read_eof, "bye\n", 'the end of the target');
is($f->{ended}, 1, 'the end chunk');
is($f->{sock}->ended, 1, 'END_STREAM');
is_deeply($f->{sock}->trailers, {}, 'no trailers');
$logged->(1, 'the target ends');

# the client ends: end chunk, END_STREAM, and with proxy_half_close the answer
# still comes
$f = on($c, to => 'sink', path => '/half');
$f->send('hello')->end;
$f->{sock}->end;
is($f->read_eof, '5 ' . sha256_hex('hello') . "\n", 'the client ends');
is($f->{ended}, 1, 'the end chunk');
is($f->{sock}->ended, 1, 'END_STREAM');
$logged->(2, 'the client ends');

# all in one: header, data, end chunk, END_STREAM
my $v = vmess(to => 'sink');
my $s = $c->request(PUT => '/half', end => 1, data => $v->header
                    . $v->chunk('hello') . $v->finish);
is($v->connect($s, quiet => 1)->read_eof, '5 ' . sha256_hex('hello') . "\n",
   'all at once');
is($s->ended, 1, 'END_STREAM');
$logged->(3, 'all at once');

# END_STREAM without an end chunk
$f = on($c, to => 'sink', data => 'hello');
$f->{sock}->end;
$f->read_eof;
ok($f->{sock}->ended || defined $f->{sock}->rst, 'END_STREAM alone');
$logged->(4, 'END_STREAM alone');

# RST_STREAM
$f = on($c, to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
$f->{sock}->reset;
$logged->(5, 'RST_STREAM');
$f = on($c, to => 'src');
$f->read(1000);
$f->{sock}->reset;
$logged->(6, 'RST_STREAM while data comes');
$s = $c->request(PUT => '/ray');
is($s->status, 200, 'an answer');
$s->reset;
$logged->(7, 'RST_STREAM before a header');
$s = $c->request(PUT => '/ray', data => substr vmess(to => 'echo')->header,
                                              0, 20);
$s->reset;
$logged->(8, 'RST_STREAM in a header');
is($c->ping, 1, 'the connection lives');

# the target is not there
$f = on($c, to => 'dead', data => 'hello');
is($f->read_eof, '', 'no target');
ok($f->{sock}->ended || defined $f->{sock}->rst, 'the end');
$logged->(9, 'no target');

# the client's connection ends
$f = on($c, to => 'echo', data => 'hello');
my $g = on($c, to => 'src');
$f->read(5);
$g->read(10);
$c->close;
$logged->(11, 'the connection ends');
is(wait_for(sub { active() == $start }), 1, 'all have gone');
$f = on(h2(), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'another');
$f->close;
$logged->(12, 'another');
like((grep { /vmess user "alice": / } split /\n/, error_log())[-1],
     qr/ flows:[01] /, 'no flow is left');
--- error_log
connect() failed


=== TEST 5: what does not authenticate is the site's
--- servers
app app Content-Length Transfer-Encoding
--- stream_config
log_format l '$vmess_carrier $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%% http2;
    listen 127.0.0.1:%%PORT_4%%;
    server_name site;
    log_not_found off;
    client_max_body_size 2m;
    keepalive_requests 10000;
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location /chunked {
        proxy_pass http://127.0.0.1:%%app%%; proxy_http_version 1.1;
        proxy_request_buffering off; proxy_set_header Host a; vmess_pass ray;
    }
    location /file { alias html/page; add_header X-A b always; vmess_pass ray; }
    location /text { return 202 text; vmess_pass ray; }
    location /tiny { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray http;
                     client_body_buffer_size 1; }
    location /limit { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray;
                      client_max_body_size 20k; }
    location / { root html; vmess_pass ray; }
END
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my @c = map { h2(n => $_) } 2, 3;
my @path = qw(/app /chunked /file /text /tiny /limit /none /page);
my $bad = vmess(user => 'mallory')->header;
my %seen;

my $same = sub {
    my ($name, $method, $path, $headers, @piece) = @_;
    $seen{ same("$method $path: $name", \@c, sub {
        shift->request($method, $path, headers => $headers, @_) }, @piece) }++;
};

for my $path (@path) {
    for my $method (qw(GET HEAD PUT POST OPTIONS)) {
        $same->('no body', $method, $path, [], '');
    }

    for my $n (1, 10, 16, 61, 100, 5000, 16384, 65536, 100_000, 1_500_000) {
        my $noise = pattern($n);
        my $length = ['content-length' => $n];
        $same->("$n bytes", PUT => $path, [], $noise);
        $same->("$n bytes and their length", POST => $path, $length, $noise);
        $same->("$n bytes in two", PUT => $path, [],
                substr($noise, 0, 100), substr $noise, 100) if $n > 100;
        $same->("$n bytes, the end alone", PUT => $path, [], $noise, '')
            if $n > 15;
    }

    $same->('too much', PUT => $path, [], pattern(2_200_000));
    $same->('a bad header', PUT => $path, [], $bad . 'x' x 1000);
    $same->('a bad header alone', PUT => $path, [], $bad);
    $same->('half a header', PUT => $path, [],
            substr vmess()->header, 0, 40);
}

$same->($_->[0], PUT => '/app', [], $_->[1]) for halves();
is(join(' ', sort keys %seen), '200 202 404 405 413', 'many answers');

# the connections are still there, and so are flows
is($_->ping, 1, 'ping') for @c;
my %status = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %status), 'http header, http tag, http time, '
   . 'http truncated, http unknown', 'what the log says');
--- no_error_log
[alert]


=== TEST 6: beside a site, flows
--- servers
echo echo
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location / { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location /grpc { proxy_pass http://127.0.0.1:%%app%%;
                     vmess_pass ray grpc; }
    location /no { proxy_pass http://127.0.0.1:%%app%%; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my @f = map { at_once($c, to => 'echo', data => "hello $_", path => "/x/$_") }
            1 .. 20;
my $noise = pattern(300_000);
for my $i (1 .. 20) {
    my $s = $c->request(POST => "/y/$i", data => $noise, end => 1);
    like($s->rest, qr{^POST /y/$i HTTP/1\.\d\r.*\n300000 }s, 'the site');
    is($f[$i - 1]->read(6 + length $i), "hello $i", 'a flow');
    is($f[$i - 1]->exchange("again", 5), 'again', 'and on');
}

# not among the transports: the site gets the VMess header, too
for my $path (qw(/grpc /no)) {
    my $bytes = vmess(to => 'echo')->header;
    like($c->request(PUT => $path, data => $bytes, end => 1)->rest,
         qr/@{[ length $bytes ]} @{[ sha256_hex($bytes) ]}/, $path);
}
--- no_error_log
[error]


=== TEST 7: slow readers hold the target
--- servers
src source 40000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
# windows that are not opened
my $c = h2(window => 60_000, give => 0);
my $other = h2();
my @f = map { on($c, to => 'src') } 1 .. 8;
my @got = map { $_->read(40_000) } @f;
$c->run(sub { !grep { $_->{sock}->h->{bytes} < 60_000 } @f });
my $before = rss();
is(idle(), 1, 'the targets are held');
grown_less($before, 8 * 500);
is($c->ping, 1, 'ping');
is(join(' ', map { $_->{sock}->h->{bytes} } @f), join(' ', (60_000) x 8),
   'no more than the windows');
is(length(on($other, to => 'src')->read(3_000_000)), 3_000_000,
   'another connection');

# one goes on, the others wait
$f[3]->{sock}->give(50_000_000);
is(sha256_hex($got[3] . $f[3]->read_eof), sha256_hex(pattern(40_000_000)),
   'one goes on');
is($f[4]->{sock}->h->{bytes}, 60_000, 'another waits');
$f[4]->{sock}->give(1) for 1 .. 50;
$c->run(sub { $f[4]->{sock}->h->{bytes} == 60_050 });
is($f[4]->{sock}->h->{bytes}, 60_050, 'byte by byte');
$f[4]->{sock}->give(50_000_000);
is(sha256_hex($got[4] . $f[4]->read_eof), sha256_hex(pattern(40_000_000)),
   'goes on');

# the window of the connection, and a connection that is not read
$c = h2(connection => 0);
my $g = on($c, to => 'src');
my $start = $g->read(40_000);
$c->run(sub { $g->{sock}->h->{bytes} == 65_535 });
is(idle(), 1, 'held');
is($c->ping, 1, 'ping');
is($g->{sock}->h->{bytes}, 65_535, 'by the window of the connection');
$c->give(100_000_000);
is(sha256_hex($start . $g->read_eof), sha256_hex(pattern(40_000_000)),
   'goes on');
$c = h2(window => 100_000_000);
$g = on($c, to => 'src');
is(idle(), 1, 'held by the socket');
is(sha256_hex($g->read_eof), sha256_hex(pattern(40_000_000)), 'goes on');
--- no_error_log
[error]


=== TEST 8: slow targets hold the client
--- servers
deaf deaf
echo echo
slow sink 1
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $bytes = pattern(20_000_000);
my @f = map { on($c, sec => 'zero', to => 'deaf') } 1 .. 6;
my $before = rss();
for my $f (@f) {
    cmp_ok($f->{sock}->offer($bytes, 0.3), '>', 1_000_000,
           'the client is held');
}
is(idle(), 1, 'nothing moves');
grown_less($before, 6 * 1000);
is($c->ping, 1, 'ping');

# other streams of the connection are not
my $f = on($c, to => 'echo');
my $data = pattern(3_000_000);
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'another');
$f->close;
stop_server('deaf');
$_->close for @f;

my $up = pattern(8_000_000);
$f = on($c, to => 'slow');
$f->send($up)->end;
is($f->read_all, '8000000 ' . sha256_hex($up) . "\n", 'a slow target');
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
    client_max_body_size 1k;
    client_body_buffer_size 1;
    lingering_close always;
    lingering_time 1s;
    lingering_timeout 1s;
    reset_timedout_connection on;
    output_buffers 1 1;
    postpone_output 100000;
    sendfile on;
    tcp_nopush on;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $how ('behind', 'at once') {
    my $new = $how eq 'behind' ? \&on : \&at_once;
    my $c = h2(window => 60_000);
    my $f = $new->($c, to => 'echo', data => 'hello');
    my $g = $new->($c, to => 'src');
    my $idle = $c->request(PUT => '/ray');
    is($f->read(5), 'hello', 'a flow');
    my $got = $g->read(1000);

    # limits of a second must not be at work: the reader of one does not read,
    # the others are silent
    select undef, undef, undef, 3;

    is($c->ping, 1, "$how: ping");
    $f->send('again');
    is($f->read(5), 'again', 'goes on');
    my $data = pattern(1_000_000);
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'a million bytes');
    is(sha256_hex($got . $g->read_eof), sha256_hex(pattern(8_000_000)),
       'a client that paused');
    is(flow(via => $idle, to => 'echo', data => 'late')->read(4), 'late',
       'a late header');
    $_->close for $f, $g;
    $idle->reset;
}

# an upload without a length
my $c = h2();
my $up = pattern(1_000_000);
my $f = on($c, to => 'sink');
$f->send($up)->end;
is($f->read_all, '1000000 ' . sha256_hex($up) . "\n", 'a million up');
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
    location = /ray { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
edit_conf(sub { s/worker_connections\s+\d+/worker_connections 2000/ });
reload();
my $start = active();
my $c = h2();
my @f = map { ($_ % 2 ? \&on : \&at_once)->($c, to => 'echo', data => "n$_") }
        1 .. 200;
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
    location /ray { vmess_pass ray; root html; }
}
--- config
location = /status { stub_status; }
--- stream_client
srand 7;
my @open;
my $start = active();
for my $connection (1 .. 10) {
    my $c = h2(window => 100_000, give => int rand 2);
    for (1 .. 40) {
        my $v = vmess(to => (qw(echo src banner dead))[rand 4],
                      user => (qw(alice alice mallory))[rand 3]);
        my $b = $v->header . $v->chunk(pattern(1 + int rand 50_000))
                . $v->finish;
        my $cut = rand 3 < 1 ? length $b : int rand length $b;
        my $n = int rand $cut;
        my $s = $c->request((qw(PUT POST))[rand 2], '/ray/x',
                            data => substr $b, 0, $n);
        $s->status if rand 3 < 1 && $n == 0;
        $s->offer(substr($b, $n, $cut - $n), 0) if $cut > $n;
        $c->turn;
        if (rand 3 < 1) { $s->reset }
        elsif (rand 2 < 1) { $s->end if !$s->offer('', 0) }
        else { push @open, $s }
        splice(@open, rand @open, 1)->reset if @open > 8;
    }
    @open = ();
    $c->close;
}
is(wait_for(sub { active() == $start }, 20), 1, 'all have gone');
--- stream_response: 1


=== TEST 12: reload and quit with flows
--- servers
src source 20000000
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $down = on($c, to => 'src');
my $echo = on($c, to => 'echo', data => 'hello');
my $got = $down->read(1_000_000);
is($echo->read(5), 'hello', 'before');
reload();
reload();
is(on(h2(), to => 'echo', data => 'new')->read(3), 'new', 'the new worker');
is($echo->exchange('again', 5), 'again', 'the old one');
$got .= $down->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'nothing is lost');
is($echo->exchange('again', 5), 'again', 'the old one still');
$echo->close;
is(wait_for(sub { workers_alive() == 1 }), 1, 'the old one leaves');

my $f = on(h2(), to => 'src');
$got = $f->read(1_000_000);
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
$got .= $f->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'quit waits');
$f->close;
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
--- quits
--- no_error_log
[error]


=== TEST 13: worker_shutdown_timeout
--- servers
echo echo
deaf deaf
--- main_config
worker_shutdown_timeout 300ms;
--- stream_config
log_format l '$remote_addr $vmess_carrier';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my @f = map { on($c, to => 'echo', data => 'hello') } 1 .. 10;
$_->read(5) for @f;
push @f, map { on($c, to => 'deaf', data => 'hello') } 1 .. 3;
my @idle = map { $c->request(PUT => '/ray') } 1 .. 4;
$_->status for @idle;
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
my @l = split /\n/, access_log();
is(scalar(@l), 17, 'all are logged');
join ',', sort keys %{{ map { $_ => 1 } @l }};
--- stream_response: 127.0.0.1 http
--- quits
--- no_error_log
[alert]


=== TEST 14: addresses, variables, timeouts of stream
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_user $remote_addr $server_port '
             '$bytes_received $bytes_sent $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    vmess_handshake_timeout 500ms; proxy_timeout 500ms;
    access_log %%DIR%%/stream.log l;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        vmess_pass ray;
    }
}
--- config
location = /alive { return 200; }
--- stream_client
my $c = h2();
my $line = sub {
    my ($name, $want) = @_;
    wait_for(sub { access_log() =~ /\n/ });
    is(access_log(), "$want\n", $name);
    truncate "$Dir/stream.log", 0;
};
my $port = stream_port() + 2;

my $f = on($c, to => 'echo', data => 'hello', h2 => {
    headers => ['x-forwarded-for' => '192.0.2.7'] });
is($f->read(5), 'hello', 'a flow');
$f->close;
$line->('its line', "http alice 192.0.2.7 $port 5 5 ok");

$f = on($c, to => 'echo', data => 'hello');
is($f->read_eof, 'hello', 'proxy_timeout');
ok($f->{sock}->ended || defined $f->{sock}->rst, 'the end');
$line->('its line', "http alice 127.0.0.1 $port 5 5 ok");

my $s = $c->request(PUT => '/ray');
is($s->status, 200, 'no header');
$s->wait(sub { 0 });
ok($s->ended || defined $s->rst, 'the end');
wait_for(sub { access_log() =~ /timeout$/m });
like(access_log(), qr/^http - 127.0.0.1 .* timeout$/, 'its line');
is($c->ping, 1, 'the connection lives');
--- no_error_log
[error]


=== TEST 15: the form of HTTP/1.1
--- servers
echo echo
sink sink
banner banner bye
src source 20000000
--- stream_config
log_format l '$vmess_carrier $vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$status $request_method $uri $server_protocol $body_bytes_sent';
server {
    listen 127.0.0.1:%%PORT_2%%;
    listen 127.0.0.1:%%PORT_3%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    access_log %%DIR%%/http.log h;
    keepalive_requests 1;
    keepalive_timeout 0;
    client_header_timeout 1s;
    client_body_timeout 1s;
    send_timeout 1s;
    client_max_body_size 1;
    location = /ray { vmess_pass ray; }
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $data = pattern(1_000_000);
my ($f, $head) = h1_flow(to => 'echo', data => 'hello');
like($head, qr{^HTTP/1\.1 200 OK\r\n}, 'status');
unlike($head, qr/^(?:Transfer-Encoding|Content-Length|Content-Encoding):/mi,
       'raw');
like($head, qr/^Cache-Control: no-store\r$/m, 'Cache-Control');
is($f->read(5), 'hello', 'a flow');
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'more');
$f->close;
wait_for(sub { access_log() =~ /\n/ });
is(access_log(), "http ok 200\n", 'the log');

for my $case (['plain', sub { tcp(stream_port() + 2) }],
              ['TLS', sub { tls(port => stream_port() + 3) }])
{
    my ($name, $via) = @$case;
    ($f) = h1_flow(to => 'banner', data => 'x', via => $via->());
    is($f->read_eof, "bye\n", "$name: the end of the target");
    is($f->{ended}, 1, 'the end chunk');
    ($f) = h1_flow(to => 'src', via => $via->());
    is(sha256_hex($f->read_eof), sha256_hex(pattern(20_000_000)), 'down');
    ($f) = h1_flow(to => 'sink', via => $via->());
    $f->send(pattern(20_000_000))->end;
    is($f->read_all, '20000000 ' . sha256_hex(pattern(20_000_000)) . "\n",
       'up');

    # the answer does not wait for a whole VMess header
    my $v = vmess(to => 'echo');
    my ($s, $head) = h1(substr($v->header, 0, 10), via => $via->());
    like($head, qr{^HTTP/1\.1 200 OK\r\n}, 'at once');
    select undef, undef, undef, 2;
    $v->connect($s, quiet => 1);
    $v->send_raw(substr($v->header, 10) . $v->chunk('hello'));
    is($v->read(5), 'hello', 'a late flow');
    select undef, undef, undef, 2;
    is($v->exchange('again', 5), 'again', 'after a pause');
    $v->close;
}
--- no_error_log
[error]


=== TEST 16: the site's, over HTTP/1.1
--- servers
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_4%%;
    server_name site;
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location /file { alias html/page; add_header X-A b always; vmess_pass ray; }
    location /text { return 202 text; vmess_pass ray; }
    location / { root html; vmess_pass ray; }
END
--- user_files
>>> page
a page
--- config
location = /alive { return 200; }
--- stream_client
my $ask = sub {
    my ($port, @piece) = @_;
    my $s = tcp($port);
    put($s, $_) for @piece;
    my $all = slurp($s);
    $all =~ s/^Date: .*\r\n//mg;
    $all =~ s/:$port\b/:PORT/g;
    return $all;
};
my $last = "GET /page HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
my $bad = vmess(user => 'mallory')->header;

for my $path (qw(/app /file /text /page)) {
    for my $case (
        ['a bad header', 'PUT', '', $bad],
        ['a bad header and more', 'PUT', '', $bad . 'x' x 3000],
        ['a request behind it', 'PUT', '', $last],
        ['requests behind it', 'PUT', '', "GET /page HTTP/1.1\r\nHost: site"
                                          . "\r\n\r\n" x 2 . $last],
        ['noise', 'POST', '', pattern(500)],
        ['HTTP/1.0', 'PUT', '', $last, '1.0'],
        ['a length', 'PUT', "Content-Length: 61\r\n",
         substr($bad, 0, 61) . $last],
        ['a length, and what is authentic', 'PUT', "Content-Length: 10\r\n",
         'x' x 10 . $last],
        ['no body', 'PUT', "Content-Length: 0\r\n", $last],
        ['chunks', 'POST', "Transfer-Encoding: chunked\r\n",
         "a\r\n0123456789\r\n0\r\n\r\n$last"],
        ['GET', 'GET', '', $last],
        ['HEAD', 'HEAD', '', $last],
        ['OPTIONS', 'OPTIONS', "Connection: close\r\n", ''],
    ) {
        my ($name, $method, $headers, $rest, $version) = @$case;
        $version //= '1.1';
        my $head = "$method $path HTTP/$version\r\nHost: site\r\n$headers\r\n";
        my ($site, $ours) = map { $ask->(stream_port() + $_, "$head$rest") }
                                4, 5;
        is($ours, $site, "$method $path: $name");
    }
}
--- no_error_log
[alert]


=== TEST 17: a body that does not end
--- servers
app app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%% http2;
    client_body_timeout 1s;
    location /file { root html; vmess_pass ray; }
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
END
--- config
location = /alive { return 200; }
--- stream_client
my @c = map { h2(n => $_) } 2, 3;
for my $path (qw(/file /app)) {
    for my $n (100, 20_000, 300_000) {
        my ($site, $ours) = map {
            my $s = $_->request(PUT => $path, data => pattern($n));
            my $text = answer($s);
            $s->ended ? $text : "$text " . ($s->rst // 'none');
        } @c;
        is($ours, $site, "$path, $n bytes");
        like($site, qr/:status: 405/, 'an answer') if $path eq '/file';
    }
}
--- no_error_log
[alert]


=== TEST 18: requests that others delay or copy
--- servers
app app
sink sink
--- stream_config
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target; proxy_half_close on;
}
--- http_config
limit_req_zone $server_port zone=a:1m rate=20r/s;
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /delay { limit_req zone=a burst=100;
                        proxy_pass http://127.0.0.1:%%app%%; }
    location = /error { error_page 405 = @app; root html; }
    location = /try { try_files /none @app; }
    location = /mirror { mirror /copy; proxy_pass http://127.0.0.1:%%app%%; }
    location = /drop { proxy_pass http://127.0.0.1:%%app%%;
                       proxy_pass_request_body off;
                       proxy_set_header Content-Length ""; }
    location = /again { proxy_pass http://127.0.0.1:1;
                        error_page 502 = @app; }
    location = /disk { proxy_pass http://127.0.0.1:%%app%%;
                       client_body_in_file_only clean;
                       client_body_buffer_size 10; }
    location = /copy { proxy_pass http://127.0.0.1:%%app%%; }
    location @app { proxy_pass http://127.0.0.1:%%app%%; }
}
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /delay { limit_req zone=a burst=100;
                        proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location = /error { error_page 405 = @app; root html; vmess_pass ray; }
    location = /try { try_files /none @app; vmess_pass ray; }
    location = /mirror { mirror /copy; proxy_pass http://127.0.0.1:%%app%%;
                         vmess_pass ray; }
    location = /drop { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray;
                       proxy_pass_request_body off;
                       proxy_set_header Content-Length ""; }
    location = /again { proxy_pass http://127.0.0.1:1; vmess_pass ray;
                        error_page 502 = @app; }
    location = /disk { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray;
                       client_body_in_file_only clean;
                       client_body_buffer_size 10; }
    location = /copy { proxy_pass http://127.0.0.1:%%app%%; }
    location @app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my @c = map { h2(n => $_) } 2, 3;
for my $path (qw(/delay /error /try /mirror /drop /again /disk)) {
    for my $n (10, 20_000, 50_000, 300_000) {
        my ($site, $ours) = map {
            answer($_->request(PUT => $path, data => pattern($n), end => 1))
        } @c;
        is($ours, $site, "$path: $n bytes");
        like($site, $path eq '/drop' ? qr/\n0 / : qr/\n$n /, 'as sent');
    }

    # flows
    my $up = pattern(40_000);
    my $v = vmess(to => 'sink');
    my $s = $c[1]->request(PUT => $path, end => 1, data => $v->header
                           . $v->chunk($up) . $v->finish);
    is($v->connect($s, quiet => 1)->read_eof, '40000 ' . sha256_hex($up) . "\n",
       "$path: a flow");
}
--- no_error_log
[alert]


=== TEST 19: no compression
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    gzip on; gzip_types *; gzip_min_length 1;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(100_000);
my $f = on(h2(), to => 'echo', h2 => {
    headers => ['accept-encoding' => 'gzip'] });
ok(!$f->{sock}->header('content-encoding'), 'the answer');
is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), 'data');
--- no_error_log
[error]


=== TEST 20: a connection that goes while frames wait to be sent
--- servers
src source 40000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /ray { vmess_pass ray; }
}
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
for my $flows (1, 5) {
    my $c = h2(window => 100_000_000);
    my @f = map { on($c, to => 'src') } 1 .. $flows;
    is(idle(), 1, 'held by the socket');
    $c->close;
    undef $c;
    @f = ();
    is(wait_for(sub { active() == $start }), 1, 'all have gone');
}
--- no_error_log
[error]


=== TEST 21: the window of an upload is that of the location
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    http2_body_preread_size 20k;
    location = /ray { vmess_pass ray; }
    location = /wide { client_body_buffer_size 512k; vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for (['/ray', 64 * 1024], ['/wide', 512 * 1024]) {
    my ($path, $window) = @$_;
    my $c = h2();
    $c->ping;                   # the settings, which have the window
    my $f = on($c, path => $path, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', $path);
    is($f->exchange('again', 5), 'again', 'and on');
    $c->ping;
    cmp_ok($f->{sock}->h->{send_window}, '>', $window - 1000, 'the window');
    cmp_ok($f->{sock}->h->{send_window}, '<=', $window, 'and no more');
    $f->close;
}
--- no_error_log
[error]
