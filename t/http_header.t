# The disguise of raw TCP as HTTP: heads of requests and of responses, and the
# site that answers all others.

use lib "t/lib";
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();


# what v2ray and Xray send if nothing is configured, with own headers, and what
# mihomo sends (its length is that of the first write)

our $browser = "GET / HTTP/1.1\r\nHost: www.baidu.com\r\n"
    . "User-Agent: Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36\r\n"
    . "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    . "Pragma: no-cache\r\n\r\n";
our $short = "GET /a HTTP/1.1\r\nHost: h.example\r\n\r\n";
our $go = "POST /b HTTP/1.1\r\nHost: h.example\r\nContent-Length: 77\r\n"
    . "Connection: keep-alive\r\nUser-Agent: Go\r\n\r\n";

sub get {
    my ($path, $host) = @_;
    return "GET $path HTTP/1.1\r\nHost: " . ($host // 'h.example') . "\r\n\r\n";
}


# "ok" if a client with this head is served, else what the site said

sub try_head {
    my ($head, %o) = @_;
    my $s = delete $o{via} // tcp();
    my $v = vmess(to => 'echo', http => $head, %o);
    my $wire = $head . $v->header . $v->chunk('hello');
    put($s, $wire);
    my $got = read_n($s, 5);
    if ($got eq 'site:') {
        return read_n($s, length $wire) eq $wire ? 'site' : 'damaged';
    }
    $v->connect($s, quiet => 1);
    $v->feed($got);
    return $v->read(5) eq 'hello' ? 'ok' : 'broken';
}


# an answer of nginx to a request, as anybody sees it

sub answer {
    my ($bytes, $port) = @_;
    my $s = tcp($port);
    put($s, $bytes);
    my $got = slurp($s);
    $got =~ s/^Date: .*$/Date: now/m;
    return $got;
}

run_tests();

__DATA__

=== TEST 1: heads of clients, and the response
--- servers
echo echo
silent silent
--- stream_config
vmess_users main:2m { alice %%ALICE%% alter_id=8; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none zero;
--- stream_server_config
vmess main;
vmess_http_header on;
proxy_pass vmess_target;
--- stream_client
for my $head ($browser, $short, $go) {
    for my $sec (qw(aes-128-cfb aes-128-gcm chacha20-poly1305 none zero)) {
        my ($what) = $head =~ /^(\S+ \S+)/;
        is(try_head($head, sec => $sec), 'ok', "$what, $sec, AEAD");
        is(try_head($head, sec => $sec, alter => 8), 'ok', 'the old header');
    }
}

# of any length, both ways
my $v = flow(http => $short, to => 'echo');
my $data = pattern(3_000_000);
is(sha256_hex($v->exchange($data, length $data)), sha256_hex($data), 'data');
$v->end;
is($v->read_eof, '', 'and an end');
is($v->{ended}, 1, 'of its own');

like($v->{http_response}, qr{^HTTP/1\.1\ 200\ OK\r\n
     Content-Type:\ application/octet-stream\r\n
     Transfer-Encoding:\ chunked\r\nConnection:\ keep-alive\r\n
     Pragma:\ no-cache\r\nCache-Control:\ private,\ no-cache\r\n
     Date:\ \w{3},\ \d\d\ \w{3}\ 20\d\d\ \d\d:\d\d:\d\d\ GMT\r\n\r\n\z}x,
     'the head of the response');

# it comes with the first data of the target, and not before
$v = vmess(to => 'echo', http => $short);
my $s = tcp();
put($s, $short . $v->header);
my $quiet = flow(to => 'silent', http => $short, data => 'hello');
is(try_head($short), 'ok', 'what was before it was seen');
is(IO::Select->new($_)->can_read(0), undef, 'nothing yet')
    for $s, $quiet->{sock};
put($s, $v->chunk('hello'));
IO::Select->new($s)->can_read(10);
sysread($s, my $first, 4096);
like($first, qr/^HTTP\/1\.1 200 .*?\r\n\r\n./s, 'with what follows');
$v->feed($first);
$v->{in};
--- stream_response: hello
--- no_error_log
client sent


=== TEST 2: byte by byte
--- servers
echo echo
--- stream_config
vmess_users main:2m { alice %%ALICE%% alter_id=8; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_http_header on path=/ path=/a path=/b;
proxy_pass vmess_target;
--- stream_client
my @f;
for my $head ($browser, $short, $go) {
    push @f, map { vmess(http => $head, to => 'echo', @$_) } [], [alter => 2];
}
my @s = map { tcp() } @f;
setsockopt($_, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) for @s;
my @wire = map { $_->{http} . $_->header . $_->chunk('hello') } @f;
for my $n (0 .. 600) {
    $n < length $wire[$_] && put($s[$_], substr($wire[$_], $n, 1)) for 0 .. $#f;
    select undef, undef, undef, 0.001;
}
$f[$_]->connect($s[$_], quiet => 1) for 0 .. $#f;
join ' ', map { $_->read(5) } @f;
--- stream_response: hello hello hello hello hello hello


=== TEST 3: paths and hosts, and what is not one of them
--- servers
echo echo
site tag site
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%site%%;
    vmess_http_header on host=h.example host=A.example host=[::1];
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_http_header on path=/a path=/b/c;
proxy_pass vmess_target;
--- stream_client
my $to = sub {
    my ($want, $name, $head, $n) = @_;
    is(try_head($head, via => tcp(stream_port() + $n)), $want, $name);
};

$to->('ok', $_, get($_), 0) for qw(/a /b/c /a? /a?x=/y /a?a?b);
$to->('ok', $_, get('/a') =~ s/GET/$_/r, 0) for qw(POST PUT HEAD X);
$to->('ok', 'any host', get('/a', $_), 0) for 'x', 'y:80', '';
$to->('ok', 'no host', "GET /a HTTP/1.1\r\n\r\n", 0);
$to->('ok', 'HTTP/1.0', "GET /a HTTP/1.0\r\n\r\n", 0);

$to->('site', $_, get($_), 0)
    for qw(/ /A /b /a/ /aa /b/c/ /?/a /a%20 /%61 a * http://h.example/a);
$to->('site', $_ =~ s/\r\n.*//sr, $_, 0)
    for "GET /a\r\n\r\n", "GET /a HTTP/2.0\r\n\r\n", "GET  /a HTTP/1.1\r\n\r\n",
        "GET /a  HTTP/1.1\r\n\r\n", "get /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\n\n", " GET /a HTTP/1.1\r\n\r\n", "\r\n$short",
        "GET /a HTTP/1.12\r\n\r\n", "GET /a\tHTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\0" x 100;

$to->('ok', $_, get('/any', $_), 2)
    for 'h.example', 'H.Example', 'h.example:8080', 'a.example', '[::1]',
        '[::1]:443', '   h.example ';
$to->('ok', 'another name of the field',
      "GET / HTTP/1.1\r\nX: y\r\nhOST: h.example\r\n\r\n", 2);
$to->('site', $_, get('/any', $_), 2)
    for 'b.example', 'h.example.', 'x.h.example', 'h.example.x', '::1', '',
        'h.example:x', 'x' x 300;
$to->('site', 'no host', "GET / HTTP/1.1\r\nX-Host: h.example\r\n\r\n", 2);
--- error_log
client sent no request of "vmess_http_header": no HTTP request
client sent no request of "vmess_http_header": other HTTP request
client sent no request of "vmess_http_header": other host in HTTP request


=== TEST 4: others see the site, byte for byte
--- servers
echo echo
--- stream_config
vmess_users main:2m { alice %%ALICE%% alter_id=8; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%PORT_3%%;
vmess_http_header on path=/a wait=50ms;
proxy_pass vmess_target;
--- http_config
server {
    listen 127.0.0.1:%%PORT_3%%;
    keepalive_timeout 0;
    location = / { return 200 "It works\n"; }
    location = /a { return 302 /login; }
}
--- stream_client
my $used = vmess(http => $short, to => 'echo');
$used->connect(tcp(), data => 'hello');
is($used->read(5), 'hello', 'a session');

# the last ones: of the right path, and nothing, or something else, behind it
my @requests = (
    get('/'), get('/x'), get('/x?' . 'y' x 6000), "GET /\r\n", "X\r\n\r\n",
    "HEAD / HTTP/1.0\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00",
    "GET http://a/ HTTP/1.1\r\n\r\n", "AB\x01", "A" . "\xff" x 20,
    "GET /\x01", "_a",
    'x' x 100, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", $short =~ s/a/%61/r,
    $short, "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", get('/a?b'),
    "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a\r\nx y\r\n\r\n",
    $short . "\xff" x 200, $short . 'x' x 10, $short . get('/'),
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    $short . vmess(user => 'mallory', port => 9)->header,
    $short . vmess(skew => 999, port => 9)->header,
    $short . vmess(bad => 'tag', port => 9)->header,
    $short . vmess(alter => 1, bad => 'sum', port => 9)->header,
    $short . substr(vmess(alter => 2, port => 9)->header, 0, 30),
    $short . $used->header,
);
for my $i (0 .. $#requests) {
    my $r = $requests[$i];
    is(answer($r), answer($r, stream_port() + 3),
       "request $i, " . (length $r) . ' bytes');
}
--- error_log
client timed out while sending VMess header


=== TEST 5: what the site gets is all
--- servers
echo echo
site tag site
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_http_header on wait=50ms;
proxy_pass vmess_target;
--- stream_client
my @probes = (
    (map { $short . 'x' x $_ } 0, 1, 15, 16, 17, 41, 42, 60, 3000, 20_000),
    (map { $short . substr(vmess(port => 9)->header, 0, $_) } 1, 16, 42, 90),
    'GET /' . 'x' x 8187, 'GET /' . 'x' x 8188, 'GET /' . 'x' x 20_000,
    $browser x 100,
    # a head of 8192 bytes is one, of one more it is not
    map { "GET / HTTP/1.1\r\nX: " . 'x' x ($_ - 23) . "\r\n\r\n" } 8192, 8193,
);
my @bad;
for my $i (0 .. $#probes) {
    my $s = tcp();
    put($s, $probes[$i]);
    push @bad, $i if read_n($s, 5 + length $probes[$i]) ne "site:$probes[$i]";
    put($s, 'more');
    push @bad, "$i, more" if read_n($s, 4) ne 'more';
}
is("@bad", '', 'every byte, of each of ' . @probes);

my $head = sub { "GET / HTTP/1.1\r\nX: " . 'x' x ($_[0] - 23) . "\r\n\r\n" };
is(try_head($head->(8191)), 'ok', 'a head of 8191 bytes');
is(try_head($head->(8192)), 'ok', 'of 8192 bytes');
is(try_head($head->(8193)), 'site', 'of 8193 bytes');
--- error_log
client sent no request of "vmess_http_header": too long HTTP request


=== TEST 6: a header that comes later than the head, but not too late
--- servers
echo echo
site tag site
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_http_header on wait=60s;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(http => $short, to => 'echo');
my $s = tcp();
my @p = ($short, substr($v->header, 0, 20), substr($v->header, 20));
for (@p) {
    put($s, $_);
    is(try_head($short), 'ok', 'what was before it was seen');
}
$v->connect($s, quiet => 1);
$v->send('hello');
$v->read(5);
--- stream_response: hello


=== TEST 7: without a fallback nothing is said
--- servers
echo echo
--- stream_server_config
vmess main;
vmess_handshake_timeout 500ms;
vmess_http_header on path=/a wait=50ms;
proxy_pass vmess_target;
--- stream_client
my @s = map { my $s = tcp(); put($s, $_); $s }
            '', 'GET ', get('/'), get('/a'), $short . 'x' x 30, "\0" x 50,
            $short . substr(vmess(port => 9)->header, 0, 50);
is(join(' ', map { sysread($_, my $b, 1) // "$!" } @s), '0 0 0 0 0 0 0',
   'closed, not reset');
is(log_count(qr/client timed out while sending VMess header/), 4,
   'when the time was over');

# those that were refused, also when they go on
for my $p (get('/'), $short . vmess(skew => 999, port => 9)->header) {
    my $s = tcp();
    put($s, $p . 'x' x 12_000);
    is(sysread($s, my $b, 1), 0, 'closed at the limit');
}
--- error_log
client sent no request of "vmess_http_header": other HTTP request


=== TEST 8: TLS, datagrams, sub-connections, and carriers of http
--- servers
echo echo
dgram udp_echo
--- stream_config
log_format l '$vmess_carrier $vmess_command $vmess_status';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_http_header on path=/a;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    vmess_listen ray;
    vmess main;
    vmess_http_header on path=/a;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_http_header on path=/a;
proxy_pass vmess_target;
--- config
location = /ray { vmess_pass ray; }
--- stream_client
for my $via (sub { tcp() }, sub { tls(port => stream_port() + 2) }) {
    my $data = pattern(300_000);
    my $v = flow(via => $via->(), http => $short, to => 'echo');
    is($v->exchange($data, length $data) eq $data, 1, 'data');

    $v = flow(via => $via->(), http => $short, cmd => 'udp', to => 'dgram',
              data => ['one', 'two']);
    my @got = ($v->receive, $v->receive);
    is(join(' ', sort @got), 'one two', 'datagrams');
    like($v->{http_response}, qr/^HTTP\/1.1 200 OK\r\n/, 'with a response');

    my $m = VMess::Mux->new($v = flow(via => $via->(), http => $short,
                                      cmd => 'mux'));
    $m->open($_, port => port('echo'), data => "hello $_") for 1 .. 9;
    is(join(' ', map { $m->read($_, 7) } 1 .. 9),
       join(' ', map { "hello $_" } 1 .. 9), 'sub-connections');
    like($v->{http_response}, qr/^HTTP\/1.1 200 OK\r\n/, 'with a response');
}

# http has its requests of its own
is(flow(via => ws(), to => 'echo', data => 'hello')->read(5), 'hello',
   'WebSocket');
wait_for(sub { access_log() =~ /^websocket tcp ok$/m
                      && access_log() =~ /^tls udp ok$/m });
like(access_log(), qr/^tls udp ok$/m, 'logged');
--- stream_response: 1
--- no_error_log
client sent
