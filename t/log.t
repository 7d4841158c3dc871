# What is logged and what the variables hold.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: user, target, bytes and duration
--- servers
echo echo
--- stream_config
log_format l '$vmess_user $vmess_host:$vmess_port $bytes_received $bytes_sent $upstream_bytes_sent $upstream_bytes_received $session_time $status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(100_000);
my $f = flow(user => 'bob', to => 'echo');
is($f->exchange($data, length $data), $data, 'a flow');
$f->end;
$f->read_eof;
wait_for(sub { access_log() });
my $p = port('echo');
my $n = 100_000;
access_log() =~ /^bob 127\.0\.0\.1:$p (\d+) $n $n $n \d\.\d{3} 200 127\.0\.0\.1:$p\n$/
    or diag access_log();
# what came from the client is counted as the proxy does: plain bytes
$1 >= $n && $1 < $n + 1000;
--- stream_response: 1


=== TEST 2: every variable
--- servers
echo echo
--- stream_config
log_format l '$vmess_user|$vmess_status|$vmess_carrier|$vmess_security|$vmess_command|$vmess_network|$vmess_host|$vmess_port|$vmess_addr|$vmess_connection|$connection|$vmess_rate';
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% rate=2m; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
for (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $f = flow(user => $_ eq 'zero' ? 'bob' : 'alice', sec => $_, to => 'echo',
                 data => 'x');
    $f->read(1);
    $f->close;
    wait_for(sub { access_log() =~ /\|$_\|/ });
}
my $p = port('echo');
my @l = split /\n/, access_log();
my @s = qw(aes-128-gcm chacha20-poly1305 none zero);
for (0 .. 3) {
    my ($user, $rate) = $_ == 3 ? ('bob', '2097152') : ('alice', '0');
    like($l[$_], qr/^$user\|ok\|tcp\|$s[$_]\|tcp\|tcp\|127\.0\.0\.1\|$p\|127\.0\.0\.1\|(\d+)\|\1\|$rate$/,
         $s[$_]);
}
0 + @l;
--- stream_response: 4


=== TEST 3: hosts and addresses
--- servers
echo echo
six echo@::1
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$vmess_host $vmess_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
for ([ host => 'a.test', to => 'echo' ], [ host => 'A.Test', to => 'echo' ],
     [ host => '::1', to => 'six' ],
     [ address => pack('n C a16', port('echo'), 3, "\0" x 10 . "\xff\xff\x7f\0\0\1") ])
{
    my $n = () = access_log() =~ /\n/g;
    my $f = flow(@$_, data => 'x');
    $f->read(1);
    $f->close;
    wait_for(sub { (() = access_log() =~ /\n/g) > $n });
}
lc access_log();
--- stream_response
a.test 127.0.0.1
a.test 127.0.0.1
::1 ::1
127.0.0.1 127.0.0.1


=== TEST 4: the status of those who do not authenticate
--- stream_config
log_format l '$vmess_status $vmess_user $vmess_host $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_ciphers aes-128-gcm;
vmess_commands tcp mux;
vmess_handshake_timeout 700ms;
proxy_pass vmess_target;
--- stream_client
my $lines = 0;
my $wait = sub {
    $lines++;
    wait_for(sub { (() = access_log() =~ /\n/g) == $lines });
};
my $junk = 'x' x 5000;
my $bad = sub { my $f = flow(@_, port => 9); eval { $f->send_raw($junk) };
                $f->read_eof; $wait->() };
$bad->(user => 'mallory');
$bad->(skew => 3600);
$bad->(bad => 'tag');
$bad->(fnv => 1);
$bad->(key => 'k' x 16, iv => 'i' x 16, fnv => 1);
$bad->(sec => 'none');
$bad->(cmd => 'udp');
$bad->(host => '10.0.0.1');
my $s = tcp(); put($s, 'x'); slurp($s); $wait->();
$s = tcp(); put($s, 'x'); shutdown $s, 1; slurp($s); $wait->();
access_log();
--- stream_response_like eval
'^unknown - - \d+
time \S+ - \d+
tag \S+ - \d+
header \S+ \S+ \d+
header \S+ \S+ \d+
cipher alice \S+ \d+
command alice \S+ \d+
denied alice 10\.0\.0\.1 403
timeout - - \d+
truncated - - \d+
$'


=== TEST 5: a line for the user at the end of each flow
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'x' x 1000);
$f->read(1000);
my $g = flow(to => 'echo', data => 'y' x 10);
$g->read(10);
$g->close;
wait_log(qr/vmess user "alice": up:\d+ down:\d+ flows:[12] total:2/);
$f->close;
wait_log(qr/vmess user "alice"/, 2);
my @l = error_log() =~ /(vmess user "\w+": up:\d+ down:\d+ flows:\d+ total:\d+ refused:\d+)/g;
$l[1];
--- stream_response_like: vmess user "alice": up:1010 down:1010 flows:[01] total:2 refused:0


=== TEST 6: no key, no id and no data in any log
--- log_level: debug
--- servers
echo echo
--- stream_server_config
access_log %%DIR%%/stream.log basic;
vmess main;
proxy_pass vmess_target;
--- stream_config
log_format basic '$remote_addr $status';
--- stream_client
my @v = (vmess(to => 'echo'), vmess(to => 'echo', skew => 3600),
         vmess(to => 'echo', bad => 'tag'));
my $secret = 'a very secret text of the payload';
for (@v) {
    $_->connect(tcp(), data => $secret);
    eval { $_->send_raw('x' x 5000) } if $_ != $v[0];
    $_ == $v[0] ? $_->read(length $secret) : $_->read_eof;
    $_->close;
}
wait_log(qr/vmess user "alice"/);
my $log = lc(error_log() . access_log());
for my $v (@v) {
    for (qw(uuid key iv resp_key auth_id)) {
        my $hex = hexdump($v->{$_});
        is(index($log, $hex), -1, "$_ is not there");
    }
}
is(index($log, 'b831381d'), -1, 'nor the id in text');
index($log, 'very secret');
--- stream_response: -1


=== TEST 7: bytes that were refused are not the user's
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for ([ skew => 3600 ], [ bad => 'tag' ]) {
    my $f = flow(@$_, to => 'echo', data => 'x' x 5000);
    $f->read_eof;
}
my $f = flow(to => 'echo', data => 'hello');
$f->read(5);
$f->close;
wait_log(qr/vmess user "alice"/);
error_log() =~ /(vmess user "alice".*refused:\d+)/ && $1;
--- stream_response_like: up:5 down:5 flows:[01] total:1 refused:2


=== TEST 8: $protocol and the addresses of nginx
--- servers
echo echo
--- stream_config
log_format l '$protocol $remote_addr $server_addr $server_port';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello');
$f->read(5);
$f->close;
wait_for(sub { access_log() });
access_log() eq 'TCP 127.0.0.1 127.0.0.1 ' . stream_port() . "\n";
--- stream_response: 1


=== TEST 9: the status does not tell of a target that was not needed
--- servers
one tag one
dns dns in.test=10.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$vmess_host $vmess_status $status';
map $vmess_port $route { 80 127.0.0.1:%%one%%; default vmess_target; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass $route;
--- stream_client
for my $port (80, 81) {
    for my $host ('nx.test', 'in.test', '10.0.0.1') {
        my $n = () = access_log() =~ /\n/g;
        my $f = flow(host => $host, port => $port, data => '!');
        is($f->read(5), $port == 80 ? 'one:!' : '', "$host:$port");
        $f->close;
        wait_for(sub { (() = access_log() =~ /\n/g) > $n });
    }
}
access_log();
--- stream_response
nx.test ok 200
in.test ok 200
10.0.0.1 ok 200
nx.test unresolved 502
in.test denied 403
10.0.0.1 denied 403


=== TEST 10: what the first bytes of others look like is told
--- stream_server_config
vmess main;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my @s;
for ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-client\r\n",
     "\x16\x03\x01" . 'x' x 20, 'hello, hello, hello',
     vmess(user => 'mallory', port => 9)->header, '', "\x16\x03\x01", 'HELO')
{
    my $s = tcp();
    put($s, $_);
    push @s, $s;
}
my $t = tcp();
put($t, 'GET / HTTP');
shutdown $t, 1;
my @seen = map { wait_log(qr{client $_ (?:while|\()}, 1, 3) } (
    map({ "sent no VMess header of a known user: $_" }
        'HTTP', 'SSH', 'TLS', 'text', 'random bytes'),
    map({ "timed out while sending VMess header: $_" }
        'nothing', 'TLS', 'text'),
    'closed connection while sending VMess header: HTTP');
"@seen";
--- stream_response: 1 1 1 1 1 1 1 1 1
