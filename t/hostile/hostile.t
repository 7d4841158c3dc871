# Clients that mean harm: what they send is random but plausible, on each
# carrier, with ids that are known and that are not; they go at any moment.
# Meanwhile nginx is reloaded, its logs are reopened and its workers killed.
#
#   VMESS_HOSTILE_SECONDS   how long, 20 by default
#   VMESS_HOSTILE_SEED      the seed of an earlier run
#   VMESS_HOSTILE_CLIENTS   processes, 4 by default
#   VMESS_FAIL_ALLOC        one in so many allocations fails (see failing.c);
#                           then only crashes, hangs and leaks are faults
#
# A fault is: a crash, a report of a sanitizer, an answer that the site alone
# would not have given or data that did not come back, a site that does not
# answer, connections or descriptors that do not come back.

use v5.20;

our $seconds;

BEGIN {
    $seconds = $ENV{VMESS_HOSTILE_SECONDS} || 20;
    $ENV{TEST_VMESS_ALARM} ||= $seconds + 300;

    # that of the distribution, for its own nginx

    our @njs = !$ENV{TEST_NGINX_LOAD_MODULES} ? ()
               : grep { -e } map { "/usr/lib/nginx/modules/ngx_${_}_js_module.so" } qw(http stream);
    $ENV{TEST_NGINX_LOAD_MODULES} .= " @njs" if @njs;
}

use lib "t/lib";
use TestVMess;
use Fcntl qw(SEEK_SET);
use List::Util qw(shuffle);
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::Mux;
use VMess::Site qw(answer);
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
worker_connections(2048);
workers(2);

our $failing = $ENV{VMESS_FAIL_ALLOC};
our $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
our $modules = `$nginx -V 2>&1`;
our @njs;
our $v3 = $modules =~ /--with-http_v3_module/;
our $python = '';

if ($v3) {
    chomp($python = `t/tools/quic-client`);
    die "no aioquic\n" if !$python && $ENV{CI};
    $v3 = '' if !$python;
}

# a further listen of a server, where there is QUIC
sub over_udp { return $v3 ? $_[0] : '' }



# ---- the site: what nginx offers beside vmess_pass, each in a location

our @location = (
    files => 'root html;',
    ret => 'return 404;',
    text => 'return 200 "text\n";',
    proxy => 'proxy_pass http://127.0.0.1:%%app%%;',
    stream => 'proxy_pass http://127.0.0.1:%%app%%; proxy_http_version 1.1;'
              . ' proxy_request_buffering off; proxy_buffering off;',
    abort => 'proxy_pass http://127.0.0.1:%%app%%; proxy_ignore_client_abort on;',
    grpc => 'grpc_pass grpc://127.0.0.1:%%PORT_9%%;',
    try => 'root html; try_files $uri /index.html @app;',
    named => 'root html; try_files $uri @app;',
    error => 'root html; error_page 400 404 405 412 413 416 = @app;',
    small => 'proxy_pass http://127.0.0.1:%%app%%; client_max_body_size 1k;'
             . ' client_body_buffer_size 1k; error_page 413 = @app;'
             . ' proxy_ignore_client_abort on;',
    if => 'set $x $arg_x; if ($http_if_match) { return 403; }'
          . ' if ($request_method = PUT) { set $x 1; } root html;',
    limit => 'limit_except GET POST { deny all; } root html;',
    basic => 'auth_basic "x"; auth_basic_user_file %%DIR%%/../html/users; root html;',
    deny => 'deny all; return 404;',
    refuse => 'deny all; root html;',
    mirror => 'mirror /mirrored; proxy_pass http://127.0.0.1:%%app%%;',
    ssi => 'ssi on; ssi_types *; root html;',
    rate => 'limit_req zone=rate burst=5 nodelay; limit_conn addr 3; root html;',
    gzip => 'gzip on; gzip_types *; gzip_min_length 1; root html;',
    inner => 'rewrite ^/inner/(.*) /files/$1 last;',
    spread => 'error_page 404 405 412 = /files/; root html;',
    $modules =~ /http_sub_module/
        ? (sub => 'sub_filter_types *; sub_filter a b; sub_filter_once off; root html;')
        : (),
    $modules =~ /http_auth_request_module/
        ? (auth => 'auth_request /auth; root html;') : (),
    $modules =~ /http_addition_module/
        ? (add => 'addition_types *; add_after_body /text/; root html;') : (),
    $modules =~ /http_dav_module/ ? (dav => 'dav_methods PUT DELETE; create_full_put_path on; root html;') : (),
    $modules =~ /http_slice_module/
        ? (slice => 'slice 10; proxy_set_header Range $slice_range;'
                    . ' proxy_pass http://127.0.0.1:%%app%%;') : (),
    @njs == 2 ? (js => 'set $v $js; limit_conn js 100; js_content main.content;') : (),
);

# where two requests alike need not have one answer
our %varies = map { $_ => 1 } qw(rate dav js mirror);

our @name = map { $location[$_ * 2] } 0 .. $#location / 2;

sub locations {
    my ($pass) = @_;
    my %l = @location;
    return join '',
        map({ "location /$_/ { $pass $l{$_} }\n" } @name),
        "location \@app { proxy_pass http://127.0.0.1:%%app%%; }\n",
        "location = /mirrored { internal; return 200; }\n",
        "location = /auth { internal; return 200; }\n",
        "location = /ray { $pass root html; }\n",
        "location /svc { $pass root html; }\n";
}

our $pass = 'vmess_pass ray websocket httpupgrade xhttp grpc http'
            . ' early_data=Sec-WebSocket-Protocol;';

our $config = "keepalive_timeout 20s;\n" . locations($pass) . 'location = /status { stub_status; }';

our $http = (@njs == 2 ? 'js_import main from %%DIR%%/../html/main.js; js_set $js main.value;'
                    . ' limit_conn_zone $js zone=js:1m;' : '') . <<'END'
limit_req_zone $binary_remote_addr zone=rate:1m rate=50r/s;
limit_conn_zone $binary_remote_addr zone=addr:1m;
client_header_timeout 3s;
client_body_timeout 3s;
send_timeout 3s;
lingering_timeout 1s;
proxy_read_timeout 5s;
grpc_read_timeout 5s;
keepalive_requests 50;
END
. join '', map({ my ($port, $h2, $p) = @$_;
    "server { listen 127.0.0.1:%%PORT_$port%% $h2;\nkeepalive_timeout 20s;\n"
    . over_udp($h2 ? "listen 127.0.0.1:%%PORT_$port%% quic reuseport;\n"
                     . "ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;\n" : '')
     . locations($p) . "}\n" }
    [ 1, '', '' ], [ 2, 'http2', $pass ], [ 3, 'http2', '' ]), <<'END';
server {
    listen 127.0.0.1:%%PORT_9%% http2;
    location / { return 200 "grpc\n"; }
}
END

our $stream = (@njs == 2 ? 'js_import main from %%DIR%%/../html/main.js; js_set $js main.value;'
                          . ' limit_conn_zone $js zone=flows_js:1m; limit_conn flows_js 1000;' : '') . <<'END'
limit_conn_zone $remote_addr zone=flows:1m;
vmess_users main:2m { alice %%ALICE%%; bob %%BOB%% alter_id=2; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none zero;
vmess_allow 127.0.0.0/8;
vmess_handshake_timeout 2s;
proxy_timeout 5s;
proxy_connect_timeout 5s;
proxy_buffer_size 64k;
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
server { vmess_listen site; limit_conn flows 100; proxy_pass 127.0.0.1:%%site%%; }
server {
    listen 127.0.0.1:%%PORT_4%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_5%% proxy_protocol;
    vmess main;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_6%%;
    vmess main;
    vmess_http_header on;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_7%% udp reuseport;
    vmess main;
    vmess_kcp;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_8%%;
    limit_conn flows 100;
    vmess main;
    vmess_fallback site;
    proxy_pass vmess_target;
}
END
. over_udp(<<'END');
server {
    listen 127.0.0.1:%%PORT_4%% udp reuseport;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_quic timeout=5s;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
END


our ($kind, @bad);              # what this process does, and what was wrong


# ---- chance

sub one { return $_[rand @_] }
sub maybe { return rand() < $_[0] }
sub size { return int 2 ** rand($_[0] // 14) }
sub junk { return join '', map { chr int rand 256 } 1 .. $_[0] }


# bytes with some changed, cut, doubled or put in

sub mutated {
    my ($b) = @_;

    for (1 .. 1 + rand 3) {
        my $at = int rand(1 + length $b);
        one(sub { substr($b, $at, 1) = chr int rand 256 if $at < length $b },
            sub { vec($b, 8 * $at + int rand 8, 1) ^= 1 if $at < length $b },
            sub { substr($b, $at) = '' },
            sub { substr($b, $at, 0) = junk(1 + rand 20) },
            sub { substr($b, $at, 0) = substr $b, int rand(1 + length $b), 1 + rand 50 })->();
    }

    return $b;
}


# ---- what is sent: bytes; with them a client and the data, if all are right

our @past;                      # headers that were sent

sub client {
    return vmess(to => one(qw(echo echo echo gone)), user => one(qw(alice bob)),
                 sec => one(qw(aes-128-gcm chacha20-poly1305 none zero)), @_);
}

sub with_data { return $_[0]->header . $_[0]->chunk(@_[1 .. $#_]) }

our @payload = (
    sub { junk(size()) },
    sub { 'GET /' . junk(size(6)) . " HTTP/1.1\r\nHost: x\r\n\r\n" },
    sub { "\x16\x03\x01" . pack('n/a*', "\1\0" . junk(200)) },
    sub { client(user => 'mallory')->header . junk(size()) },
    sub { client(skew => one(-3600, 3600, 200, -200))->header . junk(size()) },
    sub { client(bad => one(qw(crc ltag lbody tag body nonce)))->header . junk(size()) },
    sub { mutated(with_data(client(), junk(size(12)))) },
    sub { @past ? one(@past) . junk(size()) : '' },
    sub { client(cmd => int rand 8, sec => int rand 16, opt => int rand 256)->header . junk(size()) },
    sub { client()->header . junk(size()) },
    sub { substr client()->header, 0, 1 + rand 80 },
    sub {
        my $v = client(user => 'bob', alter => int rand 3,
                       sec => one(qw(aes-128-cfb aes-128-gcm none)));
        maybe(.5) ? mutated($v->header) : with_data($v, junk(size(12)));
    },
    sub {
        my $frames = join '', map { mux_frame() } 1 .. 1 + rand 20;
        with_data(client(cmd => 'mux'), maybe(.5) ? mutated($frames) : $frames);
    },
    sub {
        with_data(client(cmd => 'udp', to => one(qw(echo_udp gone)), sec => 'aes-128-gcm'),
                  map { junk(size(10)) } 1 .. 1 + rand 5);
    },
);

sub payload {
    return one(@payload)->() if maybe(.7);

    my $v = client(to => 'echo');
    my $data = junk(size(12));

    push @past, $v->header if @past < 50;

    return (with_data($v, $data), $v, $data);
}


sub mux_frame {
    my $id = int rand 5;
    return one(
        sub { VMess::Mux::opening($id, port => port('echo'), data => junk(size(8))) },
        sub { VMess::Mux::opening($id, net => 'udp', port => port('echo_udp'),
                                  data => junk(size(8)),
                                  maybe(.5) ? (global_id => pack 'Q', int rand 3) : ()) },
        sub { VMess::Mux::keeping($id, junk(size(8))) },
        sub { VMess::Mux::keeping($id, junk(size(8)), to => [ '127.0.0.1', port('echo_udp') ]) },
        sub { VMess::Mux::ending($id, int rand 3) },
        sub { VMess::Mux::frame(int rand 65536, int rand 6, data => junk(size(6))) },
    )->();
}


# ---- carriers: a name, and a function that gives a handle to write to and read
# from, and the socket below it

sub at { return stream_port() + $_[0] }

sub plain {
    my ($n, $head) = @_;
    my $t = tcp(at($n));
    put($t, $head) if defined $head;
    return ($t, $t);
}

our $place = '';                # a location

sub place { return $place = '/' . one(@name) . '/' }

sub web {
    my (%o) = @_;
    my $t = tcp(http_port());
    return (ws(via => $t, path => place(), %o), $t);
}

sub xhttp {
    my ($h2) = @_;
    my $t = tcp($h2 ? at(2) : http_port());
    my $c = $h2 && VMess::HTTP2->new($t);
    return (VMess::XHTTP->new(
        connect => sub { $c || VMess::XHTTP::H1->new(tcp(http_port())) },
        path => place(), mode => one(qw(packet-up stream-up stream-one)),
        padding => one(100, 200, 200, 200, 1000), chunked => maybe(.3)), $t);
}

our $proxied = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" . "\x7f\0\0\1" x 3;


# a stream of QUIC, by the process of this attacker; the server ends connections
# that were idle for 5 seconds, and tells nobody

our ($streams, $quic) = 0;

sub quic {
    my $s = unix_sock($quic);
    $streams++;
    put($s, ($kind =~ /flow/ || maybe(.8) ? 'stream' : 'uni') . ' c'
            . join('.', epoch_of('killed'), epoch_of('reloaded'), int time / 3)
            . " s$streams\n");
    read_n($s, 3) eq "ok\n" or die "no connection of QUIC\n";
    return ($s, $s);
}

our @carrier = (
    $v3 ? [ 'QUIC', \&quic ] : (),
    [ 'TCP', sub { plain(0) } ],
    [ 'TCP with a site', sub { plain(8) } ],
    [ 'TLS', sub { my $t = tcp(at(4)); (tls(sock => $t), $t) } ],
    [ 'PROXY protocol', sub { plain(5, one($proxied, "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")) } ],
    [ 'mKCP', sub { my $s = VMess::KCP::connect(at(7)); ($s, $s) } ],
    [ 'WebSocket', \&web ],
    [ 'HTTPUpgrade', sub { web(upgrade => 1) } ],
    [ 'XHTTP', sub { xhttp(0) } ],
    [ 'XHTTP over HTTP/2', sub { xhttp(1) } ],
    [ 'HTTP/2', sub {
        my $t = tcp(at(2));
        (VMess::HTTP2->new($t)->request('PUT', place()), $t);
    } ],
    [ 'gRPC', sub {
        my $t = tcp(at(2));
        (VMess::HTTP2->new($t)->request('POST', '/svc/' . one(qw(Tun TunMulti)),
            codec => VMess::GRPC->new,
            headers => [ 'content-type' => 'application/grpc', te => 'trailers' ]), $t);
    } ],

    # over these a flow is not tried: what is in front of it may be wrong

    [ 'a wrong PROXY protocol', sub { plain(5, mutated($proxied)) } ],
    [ 'HTTP disguise', sub { plain(6, "GET /" . junk(size(5)) . " HTTP/1.1\r\nHost: x\r\n\r\n") } ],
    [ 'early data', sub { web(early => (payload())[0]) } ],
    [ 'frames', sub {
        my ($h, $t) = web();
        $h->put($h->frame(int rand 16, junk(one(0, 0, size(9))), fin => int rand 2,
                          rsv => one(0, 0, 0, 1 + int rand 7), mask => one(1, 1, 1, 0)))
            for 1 .. 1 + rand 30;
        ($h, $t);
    } ],
);

our $flows = 10 + !!$v3;        # of these, the last that takes flows

# these have a location in front that may refuse what is a flow
our %refused = map { $_ => 1 } qw(deny refuse limit basic rate if);


our $files = join '', map { ">>> $_->[0]\n$_->[1]\n" }
    [ 'users', 'x:{PLAIN}x' ],
    [ 'main.js', "export default { value: r => 'a', content: r => r.return(200, 'b') };" ],
    map { [ "$_/index.html", "a page <!--# echo var='request_method' --> at $_" ] } @name;



sub bad { push @bad, "$kind: $_[0]" if @bad < 20 }

sub reset_it { setsockopt($_[0], SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) }


# a flow whose bytes come back

sub flow_of_client {
    my $n = int rand 1 + $flows;

    # in a location that has nothing in front of the flow

    local @name = grep { !$refused{$_} } @name;

    $kind = "$carrier[$n][0], a flow";

    my $v = client(to => 'echo');
    my $data = junk(size(16));
    my ($h, $t) = $carrier[$n][1]->();

    $v->connect($h, data => $data);

    my $got = $v->read(length $data);

    bad(length($got) . ' of ' . length($data) . " bytes came back at $place"
        . ($v->{error} ? ", $v->{error}" : '')) if $got ne $data;

    push @past, $v->header if @past < 50;

    one(sub { reset_it($t) }, sub { $v->end }, sub { })->();
}


# any bytes over any carrier, in pieces; and goes

sub attack {
    my ($name, $carrier) = @{ one(@carrier) };
    my ($bytes, $v) = payload();

    $kind = $name;

    my ($h, $t) = $carrier->();
    my $step = maybe(.1) ? 1 : maybe(.3) ? size(8) : 1 + length $bytes;

    while (length $bytes) {
        my $n = syswrite($h, $bytes, $step) // last;
        substr $bytes, 0, $n, '';
        select undef, undef, undef, 0.001 if maybe(.05);
    }

    my $end = int rand 5;

    return reset_it($t) if $end == 0;
    return if $end == 1;
    shutdown $t, 1 if $end == 2;

    my $in = '';
    my $limit = Time::HiRes::time() + rand .3;

    while (Time::HiRes::time() < $limit && length $in < 100_000) {
        my $n = sysread $h, my $b, 1 << 16;
        last if defined $n && !$n;
        $in .= $b // '';
        select undef, undef, undef, 0.01 if !defined $n;
    }

    reset_it($t) if maybe(.2);
}


# what is no client sees the site, all of it, and nothing else

sub stranger {
    my $n = one(0, 8, 4, 5);
    my $bytes = one(@payload[0 .. 5])->();

    $kind = "a stranger at $n";

    my $t = tcp(at($n));
    put($t, $proxied) if $n == 5;
    $t = tls(sock => $t) if $n == 4;
    put($t, $bytes);
    shutdown $t, 1 if $n != 4 && maybe(.5);

    my $want = $n && length $bytes ? "site:$bytes" : '';
    my $got = read_n($t, $n ? length $want : 1);

    bad('got ' . length($got) . ' bytes for ' . length $want) if $got ne $want;
}


# ---- requests that are no client's: the same answer as without vmess_pass

sub request {
    my $at = one(@name);
    my $path = "/$at/" . one('', 'index.html', 'none', 'a/0', 'x' x size(6))
               . one('', '', '?x=1', '?x_padding=' . 'X' x one(1, 99, 100, 1000, 1001));
    my $method = one(qw(GET GET HEAD POST POST PUT PUT OPTIONS DELETE PATCH PROPFIND X));
    my $etag = one('"x"', '*', 'W/"1"', 'x');
    my @h;

    push @h, 'If-Match' => $etag if maybe(.15);
    push @h, 'If-None-Match' => $etag if maybe(.1);
    push @h, 'If-Modified-Since' => one('Thu, 01 Jan 2032 00:00:00 GMT', 'x') if maybe(.1);
    push @h, 'If-Unmodified-Since' => 'Thu, 01 Jan 1970 00:00:01 GMT' if maybe(.1);
    push @h, Range => one('bytes=0-3', 'bytes=9-1', 'bytes=0-0,2-3,-1', 'x') if maybe(.1);
    push @h, 'Accept-Encoding' => 'gzip' if maybe(.2);
    push @h, 'Content-Type' => one('application/grpc', 'text/plain', 'application/grpc+x')
        if maybe(.3);
    push @h, te => 'trailers' if maybe(.2);
    push @h, Referer => 'http://x/?x_padding=' . 'X' x one(99, 100, 1000) if maybe(.2);
    push @h, Authorization => 'Basic eDp4' if maybe(.1);
    push @h, 'X-Long' => 'x' x size(11) if maybe(.05);

    my $body = $method =~ /GET|HEAD/ && maybe(.9) ? undef
               : maybe(.3) ? '' : maybe(.2) ? one(@payload)->() : junk(size(one(4, 10, 17)));

    return ($at, $method, $path, \@h, $body);
}


# is it an answer to a client, who waits for it before he tells his id, or none?

sub early {
    my ($answer) = @_;
    return !length $answer || $answer =~ m{^HTTP/1.1 101 |^x-padding:|^content-type: application/grpc|^cache-control: no-store}mi;
}


sub same_h1 {
    my ($at, $method, $path, $h, $body) = request();
    my @h = @$h;

    push @h, Expect => '100-continue' if defined $body && maybe(.1);
    push @h, Connection => one('close', 'keep-alive', 'Upgrade', 'keep-alive, upgrade')
        if maybe(.2);
    push @h, Upgrade => one(qw(foo h2c websocket)) if maybe(.1);
    push @h, 'Sec-WebSocket-Version' => one(13, 8) if maybe(.05);
    push @h, 'Sec-WebSocket-Key' => one('dGhlIHNhbXBsZSBub25jZQ==', 'x') if maybe(.05);
    push @h, 'Sec-WebSocket-Protocol' => one('chat', 'x' x 50) if maybe(.05);

    my $chunked = defined $body && maybe(.4);
    push @h, 'Transfer-Encoding' => 'chunked' if $chunked;
    push @h, 'Content-Length' => length $body if defined $body && !$chunked;

    my $head = "$method $path HTTP/1.1\r\nHost: localhost\r\n";
    $head .= shift(@h) . ': ' . shift(@h) . "\r\n" while @h;
    $head .= "\r\n";

    my $rest = $body // '';
    $rest = join('', map { sprintf("%x\r\n%s\r\n", length, $_) }
                     $rest =~ /(.{1,5000})/gs) . "0\r\n\r\n" if $chunked;

    $kind = "HTTP/1.1 $method /$at/";

    return aborted($head . $rest, http_port()) if maybe(.3);

    my $pieces = maybe(.5);
    my ($site, $ours) = map { answer_h1($_, $head, $rest, $method, $pieces) }
                        at(1), http_port();

    return if $varies{$at} || early($ours);

    bad("$head(" . length($rest) . " bytes)\n--- the site\n$site\n--- ours\n$ours\n")
        if $ours ne $site;
}


sub aborted {
    my ($wire, $port) = @_;

    my $s = tcp($port);
    syswrite $s, substr $wire, 0, maybe(.3) ? length $wire : int rand length $wire;
    syswrite $s, $wire if maybe(.1);
    shutdown $s, 1 if maybe(.3);
    select undef, undef, undef, rand .02 if maybe(.5);
    reset_it($s) if maybe(.5);
}


# status, headers but for those that vary, and the body

sub answer_h1 {
    my ($port, $head, $rest, $method, $pieces) = @_;

    my $s = tcp($port);
    put($s, $pieces ? $head : $head . $rest);
    put($s, $rest) if $pieces;

    $s->blocking(0);
    my ($in, $limit) = ('', Time::HiRes::time() + 10 * $Scale);

    until (complete($in, $method)) {
        if (Time::HiRes::time() > $limit) {

            die "no answer from $port to $head\n" unless $head =~ /x_padding=X{100,1000}\b/;
            last;
        }
        IO::Select->new($s)->can_read(1) or next;
        my $n = sysread $s, my $b, 1 << 16;
        last if defined $n ? !$n : !$!{EAGAIN};
        $in .= $b // '';
    }

    $in =~ s/^(?:Date|Last-Modified|ETag): .*\r\n//gmi;
    $in =~ s/:\d+\b//g;
    $in =~ s/^Connection: .*\r\n//mi if epoch('reloaded');   # old workers close it
    $in =~ s/boundary=\d+|\r\n--\d+//g;         # of ranges
    return $in;
}


sub complete {
    my ($in, $method) = @_;

    $in =~ s{^HTTP/1.1 100 .*?\r\n\r\n}{}s;
    my ($head, $body) = split /\r\n\r\n/, $in, 2;

    return !defined $body ? 0
           : $method eq 'HEAD' || $head =~ m{^HTTP/1.1 (?:101|204|304)} ? 1
           : $head =~ /^Content-Length: (\d+)/mi ? length $body >= $1
           : $head =~ /^Transfer-Encoding: chunked/mi ? $body =~ /(?:^|\r\n)0\r\n\r\n$/
           : 0;
}


sub same_h2 {
    my @c = map { VMess::HTTP2->new(tcp(at($_))) } 3, 2;

    for (1 .. 1 + rand 5) {
        my ($at, $method, $path, $h, $body) = request();

        $kind = "HTTP/2 $method $path @$h, " . length($body // "");

        my @headers = map { $_ % 2 ? $h->[$_] : lc $h->[$_] } 0 .. $#$h;
        push @headers, 'content-length' => length $body if defined $body && maybe(.5);
        my %o = (headers => \@headers);

        if (maybe(.3)) {
            my $s = $c[1]->request($method, $path, %o, data => substr($body // '', 0, 1000));
            maybe(.5) ? $s->reset : $c[1]->turn;
            next;
        }

        my $step = maybe(.3) ? 1 + size(14) : 1 << 20;
        my ($site, $ours) = map {
            $kind =~ s/ at \d+$//;
            $kind .= ' at ' . $_->{sock}->peerport if $_->{sock}->can('peerport');
            my $s = $_->request($method, $path, %o, end => !length($body // ''));
            my $left = $body // '';
            while (length $left && !$s->ended) {
                my $piece = substr $left, 0, $step, '';
                $s->send($piece, end => !length $left);
            }
            answer($s) =~ s/^(?:last-modified|etag): .*\n//gmr =~ s/boundary=\d+|\r\n--\d+//gr;
        } @c;

        next if $varies{$at} || early($ours);

        # the time of a connection may be over

        last if $site =~ /\Acut|\A\s+cut/ || grep { $_->{eof} || $_->{goaway} } @c;

        bad("$method $path @headers (" . length($body // '') . " bytes)\n"
            . "--- the site\n$site\n--- ours\n$ours\n") if $ours ne $site;
    }

    $_->close for @c;
}


# datagrams at the socket of mKCP

sub datagrams {
    $kind = 'datagrams';

    my $s = VMess::KCP::udp(at(7));
    my $conv = 1 + int rand 65534;
    my $left = with_data(client(), junk(size(11)));

    for my $n (0 .. size(5)) {
        my $seg = one(
            sub { VMess::KCP::data($conv, one($n, int rand 100, 2 ** 31, 4294967295),
                                   substr($left, 0, 500, '')) },
            sub { VMess::KCP::ack($conv, int rand 10, int rand 2 ** 32,
                                  map { int rand 20 } 1 .. rand 130) },
            sub { VMess::KCP::command($conv, int rand 5, int rand 9, int rand 9) },
            sub { junk(size(9)) })->();
        my $sealed = VMess::KCP::seal($seg);
        send $s, one($sealed, $sealed, mutated($sealed), junk(size(10))), 0;
    }
}


# ---- processes that attack until the time is over; what was wrong goes to a
# file.  The parent tells when it kills a worker, or reloads.

sub epoch { return -e "$Dir/$_[0].odd" ? -1 : epoch_of($_[0]) }

sub epoch_of { return -s "$Dir/$_[0]" || 0 }

sub same_epoch { return $_[1] >= 0 && $_[1] == epoch($_[0]) }

our @act = (\&attack, \&attack, \&attack, \&flow_of_client, \&flow_of_client, \&stranger,
            \&same_h1, \&same_h1, \&same_h2, \&datagrams);

sub attacker {
    my ($number, $end) = @_;
    my $done = 0;

    while (Time::HiRes::time() < $end) {
        my %before = map { $_ => epoch($_) } qw(killed reloaded);
        my $count = @bad;

        eval {
            local $SIG{ALRM} = sub { die "it hangs\n" };
            alarm 30 * $Scale;
            one(@act)->();
        };
        alarm 0;

        # a connection that ends is an answer, none is a fault, but for an upload of
        # XHTTP, which waits for the download of its session

        bad($@) if $@ && $@ =~ /hangs|timed out|no answer/
                   && !($kind =~ /x_padding=X{100,1000}\b/ && $@ =~ /timed out/);

        # but for what was open when a worker was killed, and what a reload ends

        $#bad = $count - 1
            if $failing || !same_epoch(killed => $before{killed})
               || $kind =~ /QUIC|mKCP/ && !same_epoch(reloaded => $before{reloaded});
        $done++;
    }

    write_file("bad.$number", join "\0", @bad);
    write_file("done.$number", $done);
}


sub write_file {
    my ($name, $text) = @_;
    open my $fh, '>', "$Dir/$name" or die "$name: $!";
    print $fh $text;
    CORE::close $fh;
}


# the client of QUIC of an attacker, which goes with it

sub quic_client {
    $quic = "$Dir/quic.$_[0]";
    unlink $quic;
    return open our $input, '|-', $python, 't/lib/quic.py', $quic, at(4);
}


# a client of HTTP/3, which compares answers, too

sub h3_client {
    my ($seed, $time) = @_;

    write_file('payloads', join '', map { unpack('H*', one(@payload)->()) . "\n" } 1 .. 100);

    my @command = ($python, 't/hostile/h3.py', int $time, $seed, at(3), at(2), "$Dir/payloads",
                   grep { !$varies{$_} } @name);
    return open our $answers, '-|', @command;
}


sub attackers {
    my ($end, $seed, $count) = @_;

    return map {
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            $SIG{$_} = 'DEFAULT' for qw(TERM INT ALRM CHLD);
            $SIG{PIPE} = 'IGNORE';
            srand $seed + $_;
            my $client = quic_client($_) if $v3;
            eval { attacker($_, $end) };
            kill 'KILL', $client if $client;
            POSIX::_exit(0);
        }
        $pid;
    } 1 .. $count;
}


# ---- the site answers meanwhile

sub answers {
    my $s = tcp(http_port());
    put($s, "GET /text/ HTTP/1.0\r\n\r\n");
    return IO::Select->new($s)->can_read(10 * $Scale) && slurp($s) =~ /text\n$/;
}


sub sockets {
    return scalar grep { (readlink($_) // '') =~ /^socket:/ }
                  map { glob "/proc/$_/fd/*" } children();
}


# attacks for some time, with or without signals; returns what was wrong

our ($done, %killed) = 0;

sub rounds {
    my ($time, $seed, $signals) = @_;

    my $end = Time::HiRes::time() + $time;
    my $count = $ENV{VMESS_HOSTILE_CLIENTS} || 4;
    my %pid = map { $_ => 1 } attackers($end, $seed, $count);
    my $h3 = $v3 && h3_client($seed, $time);
    my $next = 0;
    my @wrong;

    while (%pid && Time::HiRes::time() < $end + 60 * $Scale) {

        delete @pid{grep { waitpid($_, POSIX::WNOHANG()) == $_ } keys %pid};

        select undef, undef, undef, 0.1;
        next if Time::HiRes::time() < $next;
        $next = Time::HiRes::time() + 1;

        # an allocation that fails may be that request's

        push @wrong, 'the site does not answer'
            unless grep { eval { answers() } } 1 .. ($failing ? 5 : 1);

        next if !$signals || Time::HiRes::time() > $end;

        one(sub { signal_nginx('USR1') }, sub { during(reloaded => \&reload) },
            sub { during(killed => \&kill_worker) }, sub { }, sub { }, sub { })->();
    }

    push @wrong, 'a client hangs' if %pid;
    kill 'KILL', keys %pid;
    waitpid $_, 0 for keys %pid;

    for my $number (1 .. $count) {
        push @wrong, split /\0/, TestVMess::file_text("$Dir/bad.$number");
        $done += TestVMess::file_text("$Dir/done.$number") || 0;
    }

    # with connections of old workers, or of one that was killed, there is nothing to compare

    if ($h3) {
        my $out = do { local $/; readline our $answers };
        $out =~ s/^requests (\d+)\n\z//m or push @wrong, 'the client of HTTP/3 died';
        $done += $1 // 0;
        push @wrong, $out if length $out && !$failing && !$signals;
        CORE::close our $answers;
    }

    return join "\n", @wrong;
}


# tells the clients of it, by a file of that name

sub during {
    my ($name, $code) = @_;

    write_file("$name.odd", '');
    eval { $code->() };
    write_file($name, 'x' x (1 + epoch_of($name)));
    unlink "$Dir/$name.odd";
}

sub kill_worker {
    my $pid = one(children()) // return;

    $killed{$pid} = 1;
    kill 'KILL', $pid;
    wait_for(sub { !kill(0, $pid) && children() >= 2 });
}

run_tests();

__DATA__

=== TEST 1: nothing that a client sends crashes, hangs, locks out or tells
--- main_config
worker_rlimit_nofile 8192;
env VMESS_FAIL_ALLOC;
--- may_alert
--- servers
echo echo
gone dead
app app brief
site tag site
echo_udp udp_echo
--- stream_config eval: $::stream
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- user_files eval: $::files
--- stream_client
my $seed = $ENV{VMESS_HOSTILE_SEED} // int rand 1e9;
srand $seed;
Test::More::note("VMESS_HOSTILE_SEED=$seed");

my $active = active();
my $sockets = sockets();

is(rounds($seconds / 2, $seed), '', 'answers');
is(wait_for(sub { active() <= $active && sockets() <= $sockets }, 90), 1,
   'connections come back')
    or Test::More::diag(active(), " for $active, ", sockets(), " for $sockets");

is(rounds($seconds / 2, $seed + 1000, 1), '', 'answers, with signals');
is(wait_for(sub { workers_alive() == 2 && answers() }, 90), 1, 'old workers leave');

Test::More::note("$done attacks, " . keys(%killed) . ' workers killed');
cmp_ok($done, '>', $seconds, 'there was something to do');

# njs sends two headers where the client sends a body that it does not read;
# before 1.23 nginx took data behind a close notify for a fault of its own
my $fault = $failing ? qr/\[alert\]|\[crit\]/
            : qr/\[(?:alert|emerg|crit)\]|exited with code [1-9]/;
join '', grep { !/header already sent, .*"\w+ \/js\/|application data after close notify/ }
         grep { !/process (\d+) exited on signal 9/ || !$killed{$1} }
         grep { /$fault/ } split /^/, error_log();
--- stream_response:
