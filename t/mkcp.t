# mKCP: what comes as datagrams, and sessions.

use lib "t/lib";
use TestVMess;
use VMess::KCP;

plan "no_plan";
no_shuffle();

# a flow over a session of its own, and its socket

sub kcp { return VMess::KCP::connect(shift // stream_port(), @_) }
sub kflow { return flow(via => kcp(), @_) }

# a socket, a datagram, what comes back: a list of segments

sub udp { return VMess::KCP::udp(shift // stream_port(), @_) }
sub first { return VMess::KCP::data($_[0], $_[1] // 0, $_[2] // 'x' x 100) }

sub say_to {
    my ($s, $segments) = @_;
    my $d = VMess::KCP::seal($segments);
    send $s, $d, 0;
    return length $d;
}

sub hear {
    my ($s, $seconds) = @_;
    IO::Select->new($s)->can_read($seconds // 10 * $Scale) or return;
    recv $s, my $d, 65536, 0;
    return length $d, VMess::KCP::parse(VMess::KCP::open($d));
}

# does a new session start?

sub answered {
    my $s = udp(undef, undef, shift);
    say_to($s, first(1 + int rand 65000));
    my (undef, $seg) = hear($s, shift);
    return $seg && $seg->{command} == VMess::KCP::ACK ? $s : undef;
}

run_tests();

__DATA__

=== TEST 1: configurations that cannot be
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $id = $User{alice};
my $try = sub {
    my ($listen, $kcp) = @_;
    return nginx_t("vmess_users main:1m { alice $id; }\nvmess_allow all;\n"
        . "server { listen 127.0.0.1:%%PORT_1%% $listen; vmess main; $kcp"
        . " proxy_pass vmess_target; }");
};
for ('mtu=575', 'mtu=1461', 'mtu=', 'mtu=x', 'tti=9', 'tti=1001', 'uplink=0',
     'uplink=1001', 'downlink=0', 'downlink=1.5', 'read_buffer=63k',
     'read_buffer=65m', 'write_buffer=1', 'write_buffer=x', 'sessions=0',
     'sessions=1000001', 'source_sessions=0', 'header=quic', 'header=',
     'header=dtls2', 'seed=', 'seal=', 'seal=aes', 'congestion=1', 'nothing',
     'domain=a.b', 'header=srtp domain=a.b',
     'header=dns domain=' . 'a' x 64, 'seed=a seal=none', 'seal=none seed=a',
     'seed=a seed=b', 'seed="a"', 'mtu=1350;vmess_kcp')
{
    my ($rc, $out) = $try->('udp reuseport', "vmess_kcp $_;");
    is($rc, 1, $_);
    like($out, qr/\[emerg\].*vmess_kcp/, 'names the directive');
}
for (['udp reuseport', ''], ['udp', 'vmess_kcp;'], ['', 'vmess_kcp;']) {
    my ($rc, $out) = $try->(@$_);
    is($rc, 1, "listen $_->[0]; $_->[1]");
    like($out, qr/\[emerg\].*(?:vmess_kcp|reuseport)/, 'says why');
}
for ('', 'seed=s header=wechat-video', 'seal=none', 'header=dns domain=a.b',
     'header=dns', 'mtu=576 tti=10 uplink=1 downlink=1000 congestion'
     . ' read_buffer=64k write_buffer=64m sessions=1 source_sessions=1')
{
    my ($rc, $out) = $try->('udp reuseport', "vmess_kcp $_;");
    is($rc, 0, "vmess_kcp $_") or diag $out;
}
1;
--- stream_response: 1


=== TEST 2: flows
--- servers
echo echo
banner banner bye
src source 1000000
sink sink
--- listen: udp reuseport
--- stream_config
log_format l '$vmess_carrier $protocol $vmess_status $status $bytes_received';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $f = kflow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'echo');
is(active(), $start + 1, 'one connection');
my $data = pattern(100_000);
$f->send($data);
is(sha256_hex($f->read(100_000)), sha256_hex($data), 'and more');
$f->close;
is(wait_for(sub { active() == $start }, 20), 1, 'the client closes');

is(kflow(to => 'banner', data => 'x')->read_eof, "bye\n", 'the target closes');
is(sha256_hex(kflow(to => 'src')->read_eof), sha256_hex(pattern(1_000_000)), 'down');
$f = kflow(to => 'sink', data => $data);
$f->end;
is($f->read_eof, '100000 ' . sha256_hex($data) . "\n", 'up');

my @f = map { kflow(to => 'echo', data => "flow $_") } 1 .. 20;
is(join(' ', map { $f[$_]->read(6 + ($_ > 8)) } 0 .. 19),
   join(' ', map { "flow $_" } 1 .. 20), '20 at once');
$_->close for @f;
is(wait_for(sub { active() == $start }, 20), 1, 'all have gone');
my @log = split /\n/, access_log();
is(scalar(grep { /^mkcp TCP ok 200 \d/ } @log), 24, 'logged') or diag @log;
1;
--- stream_response: 1
--- no_error_log
[error]
[alert]


=== TEST 3: what is no first segment of a session gets no answer, and no session
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $good = VMess::KCP::seal(first(7));
my @bad = ((map { pattern($_) } 0 .. 40, 500, 1400, 9000),
           (map { substr $good, 0, $_ } 1 .. length($good) - 1),
           "$good ");
for (0 .. length($good) - 1) {
    my $d = $good;
    substr($d, $_, 1) ^= "\x10";
    push @bad, $d;
}
push @bad, map { VMess::KCP::seal($_) }
    VMess::KCP::command(7, VMess::KCP::TERMINATE),
    VMess::KCP::command(7, VMess::KCP::PING), VMess::KCP::command(7, 9),
    VMess::KCP::ack(7, 1, 0), VMess::KCP::ack(7, 1, 0, 0 .. 20),
    first(7, 32), first(7, 0xffffffff), '', "\0\7\1\0",
    VMess::KCP::command(7, VMess::KCP::PING) . first(7),
    VMess::KCP::command(7, VMess::KCP::TERMINATE) . first(7);
my $s = udp();
my $n = 0;
for (@bad) {
    send $s, $_, 0;

    # datagrams come in their order: those before are done with
    next if ++$n % 50 && $n < @bad;
    my $other = answered() // die 'no answer';
    is(IO::Select->new($s)->can_read(0) // 0, 0, "$n datagrams");
}
is(active() - $start, POSIX::ceil(@bad / 50), 'only the good are sessions');
say_to($s, first(7));
my (undef, $ack) = hear($s);
is("$ack->{conv} $ack->{command} @{ $ack->{numbers} }", '7 0 0', 'a good one');
1;
--- stream_response: 1


=== TEST 4: sessions of an address and of all
--- servers
echo echo
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=20 source_sessions=6;
vmess_handshake_timeout 60s;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my @flows = map { kflow(to => 'echo', data => 'x') } 1 .. 3;
is($_->read(1), 'x', 'a flow') for @flows;
my $start = active() - 6;              # with their targets

my @s = map { udp(undef, undef, '127.0.0.2') } 1 .. 8;
say_to($s[$_], first($_ + 1)) for 0 .. $#s;
is(join(' ', grep { hear($s[$_], $_ < 6 ? 10 : 1) } 0 .. $#s), '0 1 2 3 4 5',
   'an address has so many');

# a session that ends makes room for another; its conv is 1
say_to($s[0], VMess::KCP::command(1, VMess::KCP::TERMINATE));
is(wait_for(sub { answered('127.0.0.2', 0.2) }, 30) ? 1 : 0, 1, 'room');

# when there are too many, the oldest that nobody has proved to be his ends
for my $source (3 .. 40) {
    for (1 .. 8) {
        my $s = udp(undef, undef, "127.0.0.$source");
        say_to($s, first($_));
        push @s, $s;
    }
    ok(answered("127.0.1.$source", 10), "127.0.1.$source");
}
is(active() - $start, 20 + 3, 'so many in all');

for my $f (@flows) {
    $f->send('hello');
    is($f->read(5), 'hello', 'the flow goes on');
}
$_->close for @flows;
1;
--- stream_response: 1


=== TEST 5: a source that never answers gets no more than it sent
--- servers
src source 1000000
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp source_sessions=1;
vmess_handshake_timeout 300ms;
proxy_timeout 1s;
proxy_pass vmess_target;
--- stream_client
my @case = (['a byte', 'x'], ['garbage', 'x' x 1000],
            ['an authentic header', vmess(to => 'src')->header]);
my @run = map {
    my $s = udp(undef, undef, '127.0.0.' . (50 + $_));
    { socket => $s, sent => say_to($s, first(5, 0, $case[$_][1])), got => 0 }
} 0 .. $#case;

# their sessions have ended when others can start
my $s;
for my $i (0 .. $#case) {
    my $r = $run[$i];
    my $new;
    wait_for(sub {
        my $n = 0;
        $r->{got} += $n while ($n) = hear($r->{socket}, 0);
        $new = answered('127.0.0.' . (50 + $i), 0.2);
    }, 60);
    is($new ? 1 : 0, 1, "$case[$i][0]: the session ended");
    my $n;
    $r->{got} += $n while ($n) = hear($r->{socket}, 0);
    cmp_ok($r->{got}, '<=', $r->{sent},
           "$case[$i][0]: $r->{got} bytes for $r->{sent}");
}

# one that goes on to send, and does not acknowledge; or with a guess
my ($sent, $got, $data, $bad) = (0, 0, 0, 0);
$s = udp(undef, undef, '127.0.0.60');
for my $n (0 .. 60) {
    $sent += say_to($s, $n ? VMess::KCP::data(5, $n, 'x' x ($n * 11 % 300))
                           : first(5, 0, vmess(to => 'src')->header));
    $sent += say_to($s, VMess::KCP::ack(5, 1, $n << 8, 0 .. 7))
             + say_to($s, VMess::KCP::command(5, VMess::KCP::PING, $n, 1));
    while (my ($len, @seg) = hear($s, 0.1)) {
        $got += $len;
        $data += grep { $_->{command} == VMess::KCP::DATA } @seg;
        $bad++ if $got > $sent;
    }
}
is($bad, 0, "$got bytes for $sent");
cmp_ok($data, '>', 1, 'among them data');
1;
--- stream_response: 1


=== TEST 6: a session that has ended, but for its client, is not one of an address
--- servers
banner banner bye
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=2 source_sessions=1;
vmess_handshake_timeout 60s;
proxy_pass vmess_target;
--- stream_client
local $VMess::KCP::Silent = 1;
is(kflow(to => 'banner', data => 'x')->read_eof, "bye\n", 'a flow ends');
ok(answered('127.0.0.1', 10), 'another session of the address');
ok(!answered('127.0.0.1', 1), 'no third one');
ok(answered('127.0.0.2', 10), 'another address takes the place of the first');
ok(answered('127.0.0.3', 10), 'and a third one that of the oldest');
ok(answered('127.0.0.1', 10), 'which is gone');
1;
--- stream_response: 1


=== TEST 7: the first answers get lost
--- servers
echo echo
src source 300000
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- stream_client
for my $lost (1 .. 4) {
    local $VMess::KCP::Lost = $lost;
    my $f = kflow(to => 'echo', data => 'hello');
    is($f->read(5), "hello", "$lost lost");
    $f->send('world');
    is($f->read(5), 'world', 'and goes on');
}
$VMess::KCP::Lost = 3;
is(sha256_hex(kflow(to => 'src', data => 'x')->read_eof),
   sha256_hex(pattern(300_000)), 'much');
1;
--- stream_response: 1
--- no_error_log
[error]
[alert]


=== TEST 8: who does not authenticate
--- servers
site http a site
--- listen: udp reuseport
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%% udp reuseport;
    vmess main;
    vmess_kcp;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_kcp;
vmess_handshake_timeout 500ms;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $s = kcp();
put($s, 'x' x 5000);
is(slurp($s), '', 'drained, and closed without a byte');

$s = kcp(stream_port() + 2);
put($s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" . ' ' x 100);
like(slurp($s), qr{^HTTP/1.1 200 OK\r\n.*a site\n$}s, 'the fallback');
close $s;
wait_for(sub { active() == $start }, 20);
--- stream_response: 1


=== TEST 9: reload
--- servers
echo echo
--- listen: udp reuseport
--- stream_config
log_format l '$pid $vmess_carrier';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- stream_client
my $f = kflow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a flow');
my $s = answered();

edit_conf(sub { s/worker_processes +\d+/worker_processes 4/ });
reload();

my @seg;
while (my (undef, @more) = hear($s)) {
    push @seg, grep { $_->{command} == VMess::KCP::TERMINATE } @more;
    last if @seg;
}
is(scalar @seg, 1, 'Terminate');
is($f->read_eof, '', 'the flow ends');
is(wait_for(sub { workers_alive() == 4 }), 1, 'the old worker leaves');

# 4 workers, each with a socket of its own
my @f = map { kflow(to => 'echo', data => 'x' x 3000) } 1 .. 40;
is(scalar(grep { $_->read(3000) eq 'x' x 3000 } @f), 40, '40 flows at once');
$_->send('more') for @f;
is(scalar(grep { $_->read(4) eq 'more' } @f), 40, 'each stays where it is');
$_->close for @f;
wait_for(sub { scalar(my @l = split /\n/, access_log()) == 42 }, 20);
my %pid = map { (split)[0] => 1 } split /\n/, access_log();
cmp_ok(scalar keys %pid, '>=', 4, 'by several workers');
1;
--- stream_response: 1
--- no_error_log
[alert]


=== TEST 10: answers come from the address that was asked, IPv6
--- servers
echo echo
--- stream_config
server {
    listen 0.0.0.0:%%PORT_2%% udp reuseport;
    listen [::1]:%%PORT_3%% udp reuseport;
    listen [::]:%%PORT_4%% udp reuseport;
    vmess main;
    vmess_kcp;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for ([2, '127.0.0.1'], [2, '127.0.0.77'], [3, '::1'], [4, '::1']) {
    my ($n, $host) = @$_;
    my $f = flow(via => kcp(stream_port() + $n, $host), to => 'echo',
                 data => 'hello');
    is($f->read(5), 'hello', "$host, $n");
    $f->close;
}
is(flow(to => 'echo', data => 'x')->read(1), 'x', 'TCP beside it');
1;
--- stream_response: 1


=== TEST 11: memory
--- servers
echo echo
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $round = sub {
    my @f = map { kflow(to => 'echo', data => 'x' x 30_000) } 1 .. 20;
    $_->read(30_000) for @f;
    $_->close for @f;
    is(wait_for(sub { active() == $start }, 30), 1, 'all have gone');
    return rss();
};
$round->();
my $before = $round->();
$round->() for 1 .. 3;
$round->();
grown_less($before, 1000);
--- stream_response: 1


=== TEST 12: what came before the end of a session is read, however slowly
--- servers
dst silent
--- stream_config
log_format l '$vmess_host $upstream_bytes_sent';
--- listen: udp reuseport
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_kcp;
proxy_upload_rate 12k;
proxy_pass vmess_target;
--- stream_client
my $f = kflow(to => 'dst', data => pattern(240_000));
$f->close;
wait_for(sub { access_log() =~ /^127/m }, 60);
access_log();
--- stream_response
127.0.0.1 240000
--- no_error_log
[error]
[alert]


=== TEST 13: with a seed nothing is answered before a header is authentic
--- servers
echo echo
site tag here
--- listen: udp reuseport
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%% udp reuseport;
    vmess main;
    vmess_kcp seed=s;
    vmess_fallback 127.0.0.1:%%site%%;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_kcp seed=s;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
local $VMess::KCP::Seed = 's';
my $start = active();
my @quiet;
for my $port (stream_port(), stream_port() + 2) {
    my $v = vmess(to => 'echo');
    my $captured = VMess::KCP::seal(first(7, 0, $v->header . $v->chunk('x')));
    my $s = udp($port);
    send $s, $captured, 0;
    my (undef, @seg) = hear($s);
    is($seg[0]{command}, VMess::KCP::ACK, 'a client is answered');

    for my $d ($captured, map { VMess::KCP::seal($_) } first(7), first(7, 0, 'x'),
         first(7, 0, "GET / HTTP/1.1\r\n\r\n"),
         first(7, 0, 'x' x 1000) . VMess::KCP::command(7, VMess::KCP::PING),
         first(7, 0, vmess(user => 'mallory', port => 9)->header))
    {
        my $q = udp($port);
        send $q, $d, 0 for 1 .. 3;
        push @quiet, $q;
    }
}

# datagrams come in their order, and so do ends of sessions
is(flow(via => kcp(stream_port() + $_), to => 'echo', data => 'x')->read(1),
   'x', 'a flow beside them') for 0, 2;
wait_log(qr/client timed out while sending VMess header/);
is(flow(via => kcp(), to => 'echo', data => 'x')->read(1), 'x', 'and later');
reload();
wait_for(sub { workers_alive() == 1 });
my @heard = IO::Select->new(@quiet)->can_read(0);
is(scalar @heard, 0, 'not a datagram');
1;
--- stream_response: 1
--- error_log
client sent replayed VMess header


=== TEST 14: little is held for who has not authenticated
--- servers
echo echo
sink sink
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- stream_client
my $ack = sub {
    my ($s) = @_;
    while (my (undef, @seg) = hear($s)) {
        my ($seg) = grep { $_->{command} == VMess::KCP::ACK } @seg;
        return $seg if $seg;
    }
};
my $s = udp();
say_to($s, first(5, 0, 'x' x 10));
my $seg = $ack->($s);
cmp_ok($seg->{window}, '>=', 32, 'a window as peers have it at first');
cmp_ok($seg->{window}, '<=', 1 + 65536 / 1350, 'of 64k');
say_to($s, VMess::KCP::data(5, 40, 'x' x 300));
$seg = $ack->($s);
ok((grep { $_ == 40 } @{ $seg->{numbers} }), 'taken');
say_to($s, VMess::KCP::data(5, 60, 'x' x 300));
$seg = $ack->($s);
is(scalar(grep { $_ == 60 } @{ $seg->{numbers} }), 0, 'not taken') if $seg;

$s = udp();
say_to($s, first(6, 0, vmess(to => 'echo')->header));
cmp_ok($ack->($s)->{window}, '>', 500, 'that of a client');
my $f = kflow(to => 'sink');
$f->send($_) for unpack '(a10000)*', pattern(500_000);
$f->end;
is($f->read_eof, '500000 ' . sha256_hex(pattern(500_000)) . "\n", 'a flow');
1;
--- stream_response: 1


=== TEST 15: who is authentic takes the place of who is not
--- servers
echo echo
site tag here
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=3;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
my $visit = sub {
    my $s = kcp();
    put($s, 'x' x 20);
    is(read_n($s, 25), 'here:' . 'x' x 20, 'a visitor');
    put($s, 'y' x 5000);
    is(read_n($s, 5000), 'y' x 5000, 'at an address that is proved');
    return $s;
};
my @v = map { $visit->() } 1 .. 3;
my @f = map { kflow(to => 'echo', data => 'hello') } 1 .. 3;
is($_->read(5), 'hello', 'a client') for @f;
$_->send('more') for @f;
is($_->read(4), 'more', 'clients stay') for @f;
$_->close for @f;
1;
--- stream_response: 1


=== TEST 16: who may be anybody goes before who is proved
--- servers
echo echo
site tag here
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=3;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
my $v = kcp();
put($v, 'x' x 20);
is(read_n($v, 25), 'here:' . 'x' x 20, 'a visitor');
put($v, 'y' x 5000);
is(read_n($v, 5000), 'y' x 5000, 'at an address that is proved');
ok(answered('127.0.0.2', 10), 'one who may be anybody') for 1 .. 2;
my $f = kflow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'a client');
put($v, 'z');
is(read_n($v, 1), 'z', 'in place of one who is not proved');
1;
--- stream_response: 1


=== TEST 17: an address that has too many ends no session of others
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=3 source_sessions=2;
proxy_pass vmess_target;
--- stream_client
my $b = udp(undef, undef, '127.0.0.3');
say_to($b, first(9, 0, 'x' x 10));
my (undef, $ack) = hear($b);
ok($ack, 'a session');
ok(answered('127.0.0.2', 10), "one of another address") for 1 .. 2;
ok(!answered('127.0.0.2', 0.1), 'not a third') for 1 .. 3;
say_to($b, VMess::KCP::data(9, 1, 'x' x 10));
(undef, $ack) = hear($b);
cmp_ok($ack->{next}, '>', 0, 'it knows what came before');
1;
--- stream_response: 1


=== TEST 18: an end that credit does not reach for is not told
--- servers
echo echo
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp;
proxy_pass vmess_target;
--- stream_client
my @s = map {
    my $s = udp();
    my $sent = say_to($s, first(5, 0, 'x' x $_));
    my ($got, $ack) = hear($s);
    is($ack->{command}, VMess::KCP::ACK, 'an Ack');
    [ $s, $sent - $got ];
} 3, 10, 23, 25, 30, 100;
reload();
is(wait_for(sub { workers_alive() == 1 }), 1, 'the old worker leaves');
for (@s) {
    my ($s, $credit) = @$_;
    my ($got) = hear($s, 0.1);
    is($got // 0, $credit < 22 ? 0 : 22, "with $credit bytes left");
}
1;
--- stream_response: 1


=== TEST 19: sessions leave half of the connections to others
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=1000000 source_sessions=1000000;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $s = udp();
for (1 .. 400) {
    say_to($s, first($_));
    next if $_ % 50;
    my $last = $_;
    is(wait_for(sub {
        my (undef, $ack) = hear($s);
        $ack && $ack->{conv} == $last;
    }), 1, "$_ sessions");
}
active() - $start;
--- stream_response: 256


=== TEST 20: a network of IPv6 is one address
--- stream_config
server {
    listen [::1]:%%PORT_3%% udp reuseport;
    vmess main;
    vmess_kcp source_sessions=2;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $from = sub {
    socket(my $s, AF_INET6, Socket::SOCK_DGRAM(), 0) or die "socket: $!";

    # IPV6_FREEBIND: no answer comes there, but sessions are counted
    setsockopt($s, 41, 78, pack 'i', 1) or die "setsockopt: $!";
    bind($s, Socket::pack_sockaddr_in6(0, inet_pton(AF_INET6, shift))) or die "bind: $!";
    send($s, VMess::KCP::seal(first(5)), 0,
         Socket::pack_sockaddr_in6(stream_port() + 3, inet_pton(AF_INET6, '::1')))
        or die "send: $!";
};
$from->("fd00:0:0:1::$_") for 1 .. 5;
$from->("fd00:0:0:${_}::1") for 2 .. 5;

# datagrams come in their order
is(wait_for(sub { active() - $start >= 6 }), 1, 'two of a network, four others');
active() - $start;
--- stream_response: 6


=== TEST 21: first who has ended, then the oldest who may be anybody
--- servers
banner banner bye
--- listen: udp reuseport
--- stream_server_config
vmess main;
vmess_kcp sessions=3 source_sessions=1;
vmess_handshake_timeout 60s;
proxy_pass vmess_target;
--- stream_client
my $new = sub {
    my $s = answered("127.0.0.$_[0]", 10);
    ok($s, "a session of 127.0.0.$_[0]");
    return $s;
};

# the session is there if it knows what came before
my $lives = sub {
    my $s = udp(undef, undef, $_[0]);
    say_to($s, first(7, 0, 'x' x 10));
    hear($s);
    return sub {
        say_to($s, VMess::KCP::data(7, 1, 'x' x 10));
        my (undef, $ack) = hear($s);
        return $ack && $ack->{next} > 0 ? 1 : 0;
    };
};
local $VMess::KCP::Silent = 1;
my ($b, $c) = map { $lives->("127.0.0.$_") } 3, 4;
is(kflow(to => 'banner', data => 'x')->read_eof, "bye\n", 'a flow ends');
$new->(1);
is($b->() . $c->(), '11', 'in the place of the flow');
$new->(5);
is($c->(), 1, 'in the place of the oldest');
is($b->(), 0, 'which is gone');
1;
--- stream_response: 1
