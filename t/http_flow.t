# Flows of http locations: logs, addresses, limits of http, counts, ends.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: logs on both sides
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $vmess_user $remote_addr $server_addr $server_port '
             '$protocol $status $bytes_received $bytes_sent $upstream_addr';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- http_config
log_format h '$status $request_method $uri $http_upgrade $connection_requests '
             '$bytes_sent $body_bytes_sent $request_completion.';
server {
    listen %%PORT_2%%;
    access_log %%DIR%%/http.log h;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $upgrade (0, 1) {
    my $f = flow(via => ws(upgrade => $upgrade,
                           via => tcp(stream_port() + 2)), to => 'echo',
                 data => 'hello');
    is($f->read(5), 'hello', 'a flow');
    $f->close;
    wait_for(sub { access_log() =~ /\n/ && access_log('http.log') =~ /\n/ });
    my $port = stream_port() + 2;
    my $name = $upgrade ? 'httpupgrade' : 'websocket';
    is(access_log(), "$name alice 127.0.0.1 127.0.0.1 $port TCP 200 5 5 "
                     . '127.0.0.1:' . port('echo') . "\n", 'stream');
    like(access_log('http.log'), qr{^101 GET /ray websocket 1 \d+ \d+ }, 'http');
    my ($sent, $body) = access_log('http.log') =~ / 1 (\d+) (\d+) /;
    cmp_ok($body, '>', 5 + 18 * 2, 'with the bytes of the flow');
    cmp_ok($sent, '>', $body, 'and those of the header');
    truncate "$Dir/$_", 0 for 'stream.log', 'http.log';
}
--- no_error_log
[error]


=== TEST 2: real_ip reaches the other side
--- servers
echo echo
--- stream_config
log_format l '$remote_addr $binary_remote_addr';
log_format a '$remote_addr $vmess_status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    deny 192.0.2.66;
    access_log %%DIR%%/stream.log a;
}
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% proxy_protocol;
    location = /ray { vmess_pass ray; }
}
--- config
location = /ray {
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    vmess_pass ray;
}
--- stream_client
for my $addr ('192.0.2.7', '2001:db8::7') {
    my $f = flow(via => ws(headers => ["X-Forwarded-For: $addr"]),
                 to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'a flow');
    $f->close;
    is(wait_for(sub { access_log() =~ /^\Q$addr\E ok$/m }), 1, $addr);
}
my $ws = ws(headers => ['X-Forwarded-For: 192.0.2.66']);
ok($ws->status ne 101, 'an address that is denied');
my $s = tcp(stream_port() + 2);
put($s, "PROXY TCP4 192.0.2.9 192.0.2.8 1234 443\r\n");
is(flow(via => ws(via => $s), to => 'echo', data => 'hello')->read(5), 'hello',
   'PROXY protocol, which alone changes nothing');


=== TEST 3: limits of http do not cut a flow
--- servers
echo echo
src source 8000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    keepalive_requests 1;
    keepalive_time 1s;
    keepalive_timeout 0;
    client_header_timeout 1s;
    client_body_timeout 1s;
    send_timeout 1s;
    client_max_body_size 1;
    client_body_buffer_size 1;
    lingering_close always;
    lingering_time 1s;
    lingering_timeout 1s;
    reset_timedout_connection on;
    limit_rate 1000;
    output_buffers 1 1;
    postpone_output 100000;
    gzip on;
    sendfile on;
    tcp_nopush on;
    location = /ray { vmess_pass ray; }
}
--- config
location = /alive { return 200; }
--- stream_client
for my $upgrade (0, 1) {
    my $new = sub { ws(via => tcp(stream_port() + 2), upgrade => $upgrade) };
    my $f = flow(via => $new->(), to => 'echo', data => 'hello');
    my $g = flow(via => $new->(), to => 'src');
    my $idle = $new->();
    is($f->read(5), 'hello', 'a flow');
    my $got = $g->read(1000);

    # no limit of a second may be at work, so this must be longer
    select undef, undef, undef, 2.5;

    $f->send('again');
    is($f->read(5), 'again', 'goes on');
    my $data = pattern(1_000_000);
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       'a million bytes');
    is(sha256_hex($got . $g->read_eof), sha256_hex(pattern(8_000_000)),
       'a client that paused');
    is(flow(via => $idle, to => 'echo', data => 'late')->read(4), 'late',
       'a late header');
}
--- no_error_log
[error]


=== TEST 4: vmess_handshake_timeout, proxy_timeout
--- servers
echo echo
--- stream_config
log_format l '$vmess_status $status';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    vmess_handshake_timeout 300ms; proxy_timeout 300ms;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
is(ws(upgrade => $_)->rest, 1, 'no header') for 0, 1;
my $f = flow(via => ws(), to => 'echo', data => 'hello');
$f->read_eof;
wait_for(sub { my @l = split /\n/, access_log(); @l == 3 });
join ', ', split /\n/, access_log();
--- stream_response: timeout 400, timeout 400, ok 200


=== TEST 5: 200 flows that end anywhere leave nothing
--- servers
echo echo
src source 2000000
banner banner bye
dead dead
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
location = /status { stub_status; }
--- stream_client
srand 7;
my $start = main::active();
my $frame = sub { VMess::WebSocket->frame(@_) };
my @open;
for my $i (1 .. 200) {
    my $to = (qw(echo src banner dead))[rand 4];
    my $upgrade = rand 2 < 1 ? 1 : 0;
    my $v = vmess(to => $to);
    my $b = $v->header . $v->chunk(pattern(1 + int rand 5000)) . $v->finish;
    my $r;
    if ($upgrade) {
        $r = VMess::WebSocket::request(upgrade => 1) . $b;
    } elsif (rand 2 < 1) {
        my $n = int rand 300;
        $r = VMess::WebSocket::request(early => substr($b, 0, $n))
             . $frame->(2, length $b > $n ? substr($b, $n) : '');
    } else {
        $r = VMess::WebSocket::request()
             . join '', map { $frame->(2, $_) } $b =~ /(.{1,500})/gs;
    }
    $r .= $frame->(9, 'x') . $frame->(8, '') if !$upgrade && rand 3 < 1;

    my $s = tcp(http_port());
    my $cut = rand 3 < 1 ? length $r : int rand length $r;
    put($s, substr $r, 0, $cut);
    read_n($s, 1 + int rand 20000) if rand 3 < 1 && $cut > length($r) - 1;
    if (rand 3 < 1) {
        setsockopt($s, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
                   pack 'ii', 1, 0);
    }
    if (rand 2 < 1) { close $s } else { push @open, $s }
    close splice @open, rand @open, 1 if @open > 20;
}
close $_ for @open;
is(wait_for(sub { main::active() == $start }, 20), 1, 'all have gone');
log_count(qr/\[(?:alert|crit|emerg)\]/);
--- stream_response: 0


=== TEST 6: too few connections
--- servers
echo echo
--- stream_config
vmess_handshakes worker=1000 address=1000;
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; root html; log_not_found off; }
location = /status { stub_status; }
--- stream_client
my $start = main::active();
edit_conf(sub { s/worker_connections\s+\d+/worker_connections 40/ });
reload();
my @f;
my %seen;
for (1 .. 30) {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                  PeerPort => http_port()) or last;
    my $ws = VMess::WebSocket->new($s);
    $seen{$ws->status || 'closed'}++;
    push @f, $ws;
}
cmp_ok($seen{101}, '>', 5, 'some requests');
is(join(' ', grep { !/^(101|404|closed)$/ } keys %seen), '',
   'others are the site\'s');
ok($seen{404} || $seen{closed}, 'there were some');
@f = ();
is(wait_for(sub { (main::active() // 0) == $start }), 1, 'all have gone');
my $f = flow(via => ws(), to => 'echo', data => 'hello');
$f->read(5);
--- may_alert
--- stream_response: hello


=== TEST 7: reload with a flow
--- servers
src source 20000000
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $down = flow(via => ws(), to => 'src');
my $echo = flow(via => ws(upgrade => 1), to => 'echo', data => 'hello');
my $got = $down->read(1_000_000);
is($echo->read(5), 'hello', 'before');
reload();
reload();
$got .= $down->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'nothing is lost');
$echo->send('again');
is($echo->read(5), 'again', 'the old worker');
is(flow(via => ws(), to => 'echo', data => 'new')->read(3), 'new', 'the new one');
$echo->close;
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1
--- no_error_log
[error]


=== TEST 8: quit waits for a flow
--- servers
src source 20000000
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my $f = flow(via => ws(), to => 'src');
my $got = $f->read(1_000_000);
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
$got .= $f->read_eof;
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'nothing is lost');
$f->close;
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
--- quits


=== TEST 9: worker_shutdown_timeout ends flows and those without a header
--- servers
echo echo
deaf deaf
--- main_config
worker_shutdown_timeout 300ms;
--- stream_config
log_format l '$remote_addr $server_addr $vmess_carrier';
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my @f = map { flow(via => ws(upgrade => $_ % 2), to => 'echo',
                   data => 'hello') } 1 .. 10;
$_->read(5) for @f;
push @f, map { flow(via => ws(), to => 'deaf', data => 'hello') } 1 .. 3;
my @idle = map { ws(upgrade => $_ % 2) } 1 .. 4;
$_->status for @idle;
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
is(wait_for(sub { !kill 0, $pid }), 1, 'nginx left');
my @l = split /\n/, access_log();
is(scalar(@l), 17, 'all are logged');
join ',', sort keys %{{ map { $_ => 1 } @l }};
--- stream_response: 127.0.0.1 127.0.0.1 httpupgrade,127.0.0.1 127.0.0.1 websocket
--- quits
--- no_error_log
[alert]


=== TEST 10: an if block of the location does not lose it
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray {
    vmess_pass ray;
    if ($http_upgrade) { set $x 1; }
}
--- stream_client
flow(via => ws(), to => 'echo', data => 'hello')->read(5);
--- stream_response: hello
