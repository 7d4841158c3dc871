# Datagrams: the command UDP of VMess, a chunk for each.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Mux;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();

# a flow of datagrams

sub udp { return flow(cmd => 'udp', @_) }


# a new socket of each carrier, with the servers below; small => 1: the client
# takes little before it reads

our $Stream = <<'END';
log_format l '$vmess_carrier $protocol $vmess_status';
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
server {
    vmess_listen ray;
    vmess main;
    proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
END

our $HTTP = <<'END';
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
    location = /h2 { vmess_pass ray; }
    location /x/ { vmess_pass ray; }
}
END

our @carriers = (qw(tcp tls websocket httpupgrade grpc http),
                 map { "xhttp $_" } qw(packet-up stream-up stream-one));

sub carrier {
    my ($name, %o) = @_;

    my %port = (websocket => http_port(), httpupgrade => http_port(),
                tls => stream_port() + 2, map { $_ => stream_port() + 3 }
                                              qw(http grpc xhttp));
    my ($kind, $mode) = split ' ', $name;
    my $s = tcp($port{$kind});
    setsockopt($s, Socket::SOL_SOCKET, Socket::SO_RCVBUF, 20_000) if $o{small};

    return $s if $name eq 'tcp';
    return tls(sock => $s) if $name eq 'tls';
    return ws(via => $s, upgrade => $name eq 'httpupgrade')
        if $name =~ /^(?:websocket|httpupgrade)$/;

    my $c = VMess::HTTP2->new($s, $o{small} ? (window => 65535) : ());

    return VMess::XHTTP->new(connect => sub { $c }, mode => $mode) if $mode;
    return $c->request('PUT', '/h2') if $name eq 'http';
    return $c->request('POST', '/svc/Tun', codec => VMess::GRPC->new,
                       headers => [ 'content-type' => 'application/grpc',
                                    te => 'trailers' ]);
}


# exchanges what is made by number with a peer that echoes, some at a time

sub exchange {
    my ($f, @list) = @_;
    my (@got, @wait);
    while (@list) {
        push @wait, @list > 20 ? splice(@list, 0, 20) : splice(@list);
        $f->send(@wait);
        push @got, $f->receive(scalar @wait);
        @wait = ();
    }
    return @got;
}


sub lines { return scalar(my @l = split /\n/, access_log()) }

run_tests();

__DATA__

=== TEST 1: datagrams of every size, in every security with chunks
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @all = map { substr(pattern(3000), $_, $_) } 1 .. 1400;
my @large = map { pattern($_) } 8000, 16000, 1, 16000;
for my $sec (qw(aes-128-gcm chacha20-poly1305 none)) {
    for my $opt (qw(S SM SMP SMPA)) {
        my $f = udp(sec => $sec, opt => $opt, to => 'echo');
        my @got = exchange($f, @all);
        is(scalar @got, 1400, "$sec $opt");
        is(scalar(grep { $got[$_] ne $all[$_] } 0 .. 1399), 0, 'all alike');
        for (@large) {
            $f->send($_);
            is($f->receive, $_, length($_) . ' bytes');
        }
        $f->close;
    }
}
--- no_error_log
[error]


=== TEST 2: borders are kept, several datagrams in one segment or not
--- servers
tag udp_tag
sum udp_sum
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'tag', data => [ 'a', 'bb', 'ccc' ]);
is(join(' ', $f->receive(3)), ':a :bb :ccc', 'with the header');
$f->send('d' x $_) for 1 .. 5;
is(join(' ', $f->receive(5)), join(' ', map { ':' . 'd' x $_ } 1 .. 5), 'apart');
$f->send(map { 'e' x $_ } 1 .. 5);
is(join(' ', $f->receive(5)), join(' ', map { ':' . 'e' x $_ } 1 .. 5), 'at once');

# a segment may hold a chunk, and a part of the next
my $wire = $f->chunk('x' x 100, 'y' x 100);
my $half = int(length($wire) * 3 / 4);
$f->send_raw(substr($wire, 0, $half));
is($f->receive, ':' . 'x' x 100, 'the first');
$f->send_raw(substr($wire, $half));
is($f->receive, ':' . 'y' x 100, 'the rest of the second');

# nginx gets it whole, too
my $data = pattern(16000);
udp(to => 'sum', data => $data)->receive eq '16000 ' . sha256_hex($data);
--- stream_response: 1


=== TEST 3: a byte at a time
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
for ([ 'aes-128-gcm', 'SMPA' ], [ 'chacha20-poly1305', 'SMP' ], [ 'none', 'S' ]) {
    my ($sec, $opt) = @$_;
    my $v = vmess(sec => $sec, opt => $opt, cmd => 'udp', to => 'echo');
    my $s = tcp();
    setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
    $v->connect($s, quiet => 1);
    for (split //, $v->header . $v->chunk('first', 'second')) {
        $v->send_raw($_);
        select undef, undef, undef, 0.001;
    }
    push @bad, "$sec $opt" if join(' ', $v->receive(2)) ne 'first second';
}
"@bad";
--- stream_response:


=== TEST 4: the first datagram comes long after the header
--- servers
echo udp_echo
--- stream_config
log_format l '$vmess_status $bytes_received $bytes_sent $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @f = map { udp(to => 'echo') } 1 .. 3;

# a second flow: what came before it was read
is(udp(to => 'echo', data => 'x')->receive, 'x', 'another flow');
is(IO::Select->new(map { $_->{sock} } @f)->can_read(0) // 0, 0, 'they wait');
is(error_log() =~ /connected to/g, 1, 'no socket for them yet');

$f[0]->send('hello', 'again');
is(join(' ', $f[0]->receive(2)), 'hello again', 'the first');
$f[0]->send('more');
is($f[0]->receive, 'more', 'and one more');

# an empty chunk is no datagram, and no end when it is the first
$f[1]->send_raw($f[1]{up}->seal(''));
$f[1]->send('hello');
is($f[1]->receive, 'hello', 'after an empty chunk');

# a client that changes its mind
my $n = lines();
$f[2]->shut;
is($f[2]->read_eof, '', 'closed');
wait_for(sub { lines() > $n });
access_log() =~ /^(ok 0 0 \d+)$/m && $1;
--- stream_response: ok 0 0 200


=== TEST 5: no datagram within vmess_handshake_timeout
--- servers
echo udp_echo
--- stream_server_config
vmess main;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'echo');
$f->read_eof;
is($f->{received}, 0, 'closed without a byte');

# it is not for those that have sent one: another flow begins later, and ends
$f = udp(to => 'echo', data => 'x');
is($f->receive, 'x', 'one that has sent one');
my $later = udp(to => 'echo');
is($later->read_eof, '', 'a later one is closed');
$f->send('still here');
$f->receive;
--- stream_response: still here


=== TEST 6: a datagram that is too large is dropped, and no other
--- servers
sum udp_sum
echo udp_echo
--- stream_server_config
vmess main;
proxy_buffer_size 2k;
proxy_pass vmess_target;
--- stream_client
# with v2ray and Xray a chunk holds no more than this
for my $first (20_000, 65_000, 65_535 - 16 - 63) {
    my $f = udp(to => 'sum', data => [ 'x' x $first, 'later' ]);
    is($f->receive, '5 ' . sha256_hex('later'), "the first of $first bytes");
}

my $f = udp(to => 'sum', data => 'first');
$f->receive;
for my $size (2049, 5000, 60_000) {
    $f->send('x' x 10, 'x' x $size, 'x' x 20);
    is(join(' ', $f->receive(2)),
       '10 ' . sha256_hex('x' x 10) . ' 20 ' . sha256_hex('x' x 20),
       "$size of 2048");
}
$f->send('x' x 2048);
is($f->receive, '2048 ' . sha256_hex('x' x 2048), 'what just fits');

$f = udp(to => 'sum', sec => 'none', opt => 'S', data => 'first');
$f->receive;
$f->send('x' x 65_535, 'later');
$f->receive eq '5 ' . sha256_hex('later');
--- stream_response: 1


=== TEST 7: an answer that is too large for a chunk is dropped, not cut
--- servers
source udp_source
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_buffer_size 64k;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $n (0, 2) {
    my $f = udp(via => tcp(stream_port() + $n), to => 'source', data => '1 16304');
    is($f->receive, numbered(1, 16304), 'the most that it holds');
    $f->send(map { "1 $_" } 16305, 16384, 16385, 65000, 100);
    is($f->receive, numbered(1, 100), 'larger ones do not come');
}


=== TEST 8: the end of the client's data ends the session at once
--- servers
echo udp_echo
--- stream_config
log_format l '$vmess_status $bytes_received $bytes_sent $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for ([ 'aes-128-gcm', 'SMP' ], [ 'chacha20-poly1305', 'SMPA' ], [ 'none', 'S' ]) {
    my ($sec, $opt) = @$_;
    for my $how (qw(end shut both close)) {
        my $f = udp(sec => $sec, opt => $opt, to => 'echo', data => 'hello');
        is($f->receive, 'hello', "$sec $opt");
        $f->end if $how =~ /end|both/;
        $f->shut if $how =~ /shut|both/;
        is($f->read_eof, '', "$how ends it") if $how ne 'close';
        $f->close;
        $n++;
        wait_for(sub { lines() == $n });
    }
}
is(lines(), $n, 'each has ended');

# a datagram and the end in one segment
my $f = udp(to => 'echo');
$f->send_raw($f->chunk('one', 'two') . $f->finish);
$f->read_eof;
wait_for(sub { lines() == $n + 1 });
my %seen = map { $_ => 1 } split /\n/, access_log();
join ', ', grep { !/^ok 5 5 200$/ } keys %seen;
--- stream_response_like: ^ok 6 [036] 200$


=== TEST 9: what is no chunk ends the session
--- servers
sum udp_sum
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $opt (qw(S SM SMPA)) {
    for my $at (-1, -20) {
        for my $first (0, 1) {
            my $f = udp(opt => $opt, to => 'sum', $first ? () : (data => 'x'));
            $f->receive unless $first;
            my $bad = $f->{up}->seal('y' x 100);
            substr($bad, $at - ($f->{up}{padding} ? 64 : 0), 1) ^= "\x01";
            eval { $f->send_raw($bad . 'x' x 70_000); };
            eval { $f->read_eof };
            push @got, scalar @{ $f->{packets} };
        }
    }
}
my $f = udp(opt => 'S', to => 'sum');
eval { $f->send_raw(pack('n', 7) . 'x' x 100); $f->read_eof };
push @got, scalar @{ $f->{packets} };
"@got";
--- stream_response: 0 0 0 0 0 0 0 0 0 0 0 0 0
--- error_log
client sent invalid VMess chunk


=== TEST 10: datagrams without chunks are refused
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for ([ sec => 'zero' ], [ sec => 'none', opt => '' ], [ sec => 'none', opt => 'M' ]) {
    my $f = udp(@$_, to => 'echo', data => 'hello');
    $f->read_eof;
    push @got, $f->{received};
}
"@got";
--- stream_response: 0 0 0
--- error_log
client sent invalid VMess header of user "alice": UDP without chunk framing


=== TEST 11: vmess_commands
--- servers
echo udp_echo
tcp echo
--- stream_config
log_format l '$vmess_status $vmess_command $vmess_network';
vmess_commands tcp;
server {
    listen 127.0.0.1:%%PORT_2%%;
    access_log %%DIR%%/stream.log l;
    vmess main;
    vmess_commands udp;
    proxy_pass vmess_target;
}
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $port (stream_port(), stream_port() + 2) {
    my $f = flow(via => tcp($port), to => 'tcp', data => 'hello');
    push @got, $f->read(5);
    $f->close;
    wait_for(sub { lines() == @got });
    $f = udp(via => tcp($port), to => 'echo', data => 'hello');
    push @got, $f->receive // '';
    $f->close;
    wait_for(sub { lines() == @got });
}
join(' ', map { $_ || 'refused' } @got) . "\n" . access_log();
--- stream_response
hello refused refused hello
ok tcp tcp
command udp udp
command tcp tcp
ok udp udp
--- error_log
client of user "alice" requested command "udp", which is not allowed
client of user "alice" requested command "tcp", which is not allowed


=== TEST 12: a session without data ends by proxy_timeout
--- servers
silent udp_silent
echo udp_echo
--- stream_server_config
vmess main;
proxy_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my @f = map { udp(to => $_, data => 'hello') } qw(silent echo);
is($f[1]->receive, 'hello', 'an answer');
$_->read_eof for @f;
join ' ', map { $_->{received} > 0 ? 'answer' : 'nothing' } @f;
--- stream_response: nothing answer
--- error_log
udp timed out, packets from/to client:1/0
udp timed out, packets from/to client:1/1


=== TEST 13: proxy_responses and proxy_requests
--- servers
echo udp_echo
silent udp_silent
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_responses 1;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    vmess main;
    proxy_responses 0;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_4%%;
    vmess main;
    proxy_requests 2;
    proxy_responses 1;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_5%%;
    vmess main;
    proxy_requests 1;
    proxy_pass vmess_target;
}
--- stream_client
my $on = sub { my $n = shift; udp(via => tcp(stream_port() + $n), @_) };

my $f = $on->(2, to => 'echo', data => 'hello');
is($f->receive, 'hello', 'one answer');
is($f->receive, undef, 'that was all');

$f = $on->(3, to => 'echo', data => 'hello');
is($f->receive, undef, 'no answer is waited for');

# with proxy_requests a session goes on until so many have come
$f = $on->(4, to => 'echo', data => 'one');
is($f->receive, 'one', 'one request');
$f->send('two');
is($f->receive, 'two', 'two');
is($f->receive, undef, 'that was all');

# alone it has no effect: what is behind cannot become another session
$f = $on->(5, to => 'echo', data => [ 'one', 'two' ]);
is(join(' ', $f->receive(2)), 'one two', 'more than proxy_requests');
$f->send('three');
is($f->receive, 'three', 'and later');
--- error_log
udp done, packets from/to client:1/1, bytes from/to client:5/5, bytes from/to upstream:5/5
udp done, packets from/to client:1/0
udp done, packets from/to client:2/2, bytes from/to client:6/6, bytes from/to upstream:6/6


=== TEST 14: proxy_bind, and one port for all of a flow
--- servers
peer udp_peer
--- stream_config
map $vmess_user $from { alice 127.0.0.5; bob 127.0.0.6; }
--- stream_server_config
vmess main;
proxy_bind $from;
proxy_pass vmess_target;
--- stream_client
my @f = map { udp(user => $_, to => 'peer', data => '?') } qw(alice bob alice);
my @first = map { $_->receive } @f;
$_->send('?') for @f;
my @second = map { $_->receive } @f;
is("@second", "@first", 'the same port');
isnt($first[0], $first[2], 'of each flow its own');
join ' ', map { s/:.*//r } @first;
--- stream_response: 127.0.0.5 127.0.0.6 127.0.0.5


=== TEST 15: rules for targets
--- no_defaults
--- servers
one udp_tag one
two udp_tag two
dns dns loop.test=127.0.0.1 rfc1918.test=10.1.2.3 one.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_status $status $vmess_network $upstream_addr';
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_deny 127.0.0.1 %%two%%;
    vmess_allow private;
    proxy_pass vmess_target;
}
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
# nothing private without a rule
my $n = 0;
for ('127.0.0.1', '10.0.0.1', 'loop.test', 'rfc1918.test', '::1', '[::1]', '127.1',
     'nx.test')
{
    my $f = udp(host => $_, to => 'one', data => [ 'hello', 'again' ]);
    is($f->receive, undef, "$_ is not reached");
    $n++;
}
wait_for(sub { lines() == $n });
my %seen = map { $_ => 1 } split /\n/, access_log();
is(join(', ', sort keys %seen), 'denied 403 udp -, unresolved 502 udp -', 'log');

# by port, by address and by name
join ' ', map {
    my $f = udp(via => tcp(stream_port() + 2), @$_, data => '!');
    $f->receive // 'refused';
} [ to => 'one' ], [ to => 'two' ], [ host => 'one.test', to => 'one' ],
  [ host => 'one.test', to => 'two' ];
--- stream_response: one:! refused one:! refused
--- error_log
target "127.0.0.1:
target "loop.test:
is forbidden, address "10.1.2.3"


=== TEST 16: a name is resolved while datagrams come
--- servers
echo udp_echo
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$vmess_host $vmess_addr $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = udp(host => 'a.test', to => 'echo',
            data => [ map { numbered($_, 500) } 1 .. 10 ]);
$f->send(map { numbered($_, 500) } 11 .. 20);
is(join(' ', map { number_of($_) } $f->receive(20)), join(' ', 1 .. 20), 'in order');
$f->close;
wait_for(sub { access_log() });
access_log() eq 'a.test 127.0.0.1 127.0.0.1:' . port('echo') . "\n";
--- stream_response: 1


=== TEST 17: an upstream of servers of UDP, chosen by a map
--- servers
one  udp_tag one
two  udp_tag two
dns  udp_tag dns
--- stream_config
upstream pair { server 127.0.0.1:%%one%%; server 127.0.0.1:%%two%%; }
map $vmess_network:$vmess_port $route {
    udp:53  127.0.0.1:%%dns%%;
    default pair;
}
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass $route;
--- stream_client
my %n;
for (1 .. 6) {
    my $f = udp(host => 'a.test', port => 80, data => [ 'a', 'b' ]);
    my ($x, $y) = map { s/:.*//r } $f->receive(2);
    is($x, $y, 'one server a flow');
    $n{$x}++;
}
"$n{one} $n{two} " . udp(host => 'ns.test', port => 53, data => '?')->receive;
--- stream_response: 3 3 dns:?


=== TEST 18: a port that refuses hurts nobody else
--- servers
dead udp_dead
echo udp_echo
--- stream_server_config
vmess main;
proxy_timeout 1s;
proxy_pass vmess_target;
--- stream_client
my $good = udp(to => 'echo', data => 'hello');
is($good->receive, 'hello', 'a flow');
my @dead = map { udp(to => 'dead', data => "to nobody $_") } 1 .. 3;
for (1 .. 5) {
    $good->send("packet $_");
    is($good->receive, "packet $_", 'goes on');
}
$dead[0]->send('again');
$_->read_eof for @dead;
join ' ', map { scalar @{ $_->{packets} } } @dead;
--- stream_response: 0 0 0
--- no_error_log
[error]


=== TEST 19: what is logged
--- servers
echo udp_echo
silent udp_silent
--- stream_config
log_format l '$protocol $vmess_carrier $vmess_security $vmess_command $vmess_network $vmess_user $vmess_status $vmess_host:$vmess_port $bytes_received $bytes_sent $upstream_bytes_sent $upstream_bytes_received $status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $want = '';
for ([ 'aes-128-gcm', 'SMPA', 'alice' ], [ 'chacha20-poly1305', 'SMP', 'bob' ],
     [ 'none', 'S', 'alice' ])
{
    my ($sec, $opt, $user) = @$_;
    for my $to (qw(echo silent)) {
        my $f = udp(sec => $sec, opt => $opt, user => $user, to => $to,
                    data => 'x' x 100);
        my $down = 0;
        if ($to eq 'echo') {
            $f->receive;
            exchange($f, ('y' x 1000) x 50);
            $down = 50_100;
        }
        $f->end;
        $f->read_eof;
        my $up = $down || 100;
        my $p = port($to);
        $want .= "UDP tcp $sec udp udp $user ok 127.0.0.1:$p $up $down $up $down "
                 . "200 127.0.0.1:$p\n";
        wait_for(sub { lines() == $want =~ tr/\n// });
    }
}
is(access_log(), $want, 'lines');
my ($l) = error_log() =~ /.*(vmess user "bob"[^\n]*refused:\d+)/s;
$l;
--- stream_response: vmess user "bob": up:50200 down:50100 flows:1 total:2 refused:0


=== TEST 20: over each carrier
--- servers
echo udp_echo
source udp_source
--- stream_config eval: $main::Stream
--- http_config eval: $main::HTTP
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
my @sizes = (1, 2, 100, 1399, 1400, 8000, 16000, 3);
for my $name (@carriers) {
    for ([ 'aes-128-gcm', 'SMPA' ], [ 'chacha20-poly1305', 'SMP' ], [ 'none', 'SM' ]) {
        my ($sec, $opt) = @$_;
        my $f = udp(via => carrier($name), sec => $sec, opt => $opt, to => 'echo',
                    data => 'hello');
        is($f->receive, 'hello', "$name, $sec");
        for my $size (@sizes) {
            $f->send(numbered(7, $size));
            is($f->receive, numbered(7, $size), "$size bytes");
        }
        my @list = map { numbered($_, 300) } 1 .. 100;
        is(join('', exchange($f, @list)), join('', @list), 'borders');
        $f->end;
        $f->read_eof;
        is($f->{eof}, 1, 'its end');
        $f->close;
        $n++;
        wait_for(sub { lines() == $n });
    }
    # as many as a socket holds
    my $f = udp(via => carrier($name), to => 'source', data => '60 1200');
    my @got = map { number_of($_) } $f->receive(60);
    is("@got", join(' ', 1 .. 60), "$name, many down");
    $f->close;
    $n++;
}
wait_for(sub { lines() == $n });
my %seen = map { $_ => 1 } split /\n/, access_log();
join ', ', sort keys %seen;
--- stream_response: grpc UDP ok, http UDP ok, httpupgrade UDP ok, tcp UDP ok, tls UDP ok, websocket UDP ok, xhttp UDP ok
--- no_error_log
[error]


=== TEST 21: the header and datagrams as early data of a WebSocket
--- servers
echo udp_echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_client
my ($f) = ws_early(cmd => 'udp', to => 'echo', data => 'hello');
is($f->receive, 'hello', 'the first');
$f->send('more');
$f->receive;
--- stream_response: more


=== TEST 22: to a client that does not read datagrams are dropped, whole
--- servers
source udp_source
echo udp_echo
--- listen: sndbuf=32k
--- stream_config eval: $main::Stream
--- http_config eval: $main::HTTP
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $count = 12_000;
my $size = 1400;
my $i = 0;
# stream-up has the download of packet-up
for my $name (grep { !/stream-up/ } @carriers) {
    my $sec = $i++ % 2 ? 'none' : 'aes-128-gcm';
    unlink "$Dir/sent";
    my $f = udp(via => carrier($name, small => 1), sec => $sec, to => 'source',
                data => "1 $size");
    is(number_of($f->receive), 1, "$name, $sec");
    my $before = rss();
    unlink "$Dir/sent" if wait_for(sub { -e "$Dir/sent" });
    $f->send("$count $size");
    ok(wait_for(sub { -e "$Dir/sent" }, 60), 'all was sent to nginx');
    is(idle(), 1, 'nothing moves');

    # others are served meanwhile
    is(udp(to => 'echo', data => 'hello')->receive, 'hello', 'another flow');
    grown_less($before, 4000);

    # the flow goes on: when nothing is left, one of another size comes
    my ($n, $last, $asked, $end, @bad) = (0, 0, 0, 0);
    while ($asked < 20) {
        if (!@{ $f->{packets} } && !IO::Select->new($f->{sock})->can_read(0.3)) {
            $asked++;
            $f->send('1 77');
        }
        my $d = $f->receive // last;
        my $i = number_of($d);
        $end = $i == 1 && length $d == 77;
        last if $end;
        push @bad, length($d) . ':' . substr($d, 0, 8)
            if length $d != $size || $i <= $last;
        $last = $i;
        $n++;
    }
    is("@bad", '', 'each is whole, in order and no duplicate');
    is($end, 1, 'the flow goes on');
    cmp_ok($n, '>', 0, "some came, $n");
    cmp_ok($n, '<', $count, 'others did not');
    $f->close;
}
--- no_error_log
[error]


=== TEST 23: 1,000 datagrams each way
--- servers
echo udp_echo
source udp_source
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $opt (qw(S SMP SMPA)) {
    for my $sec (qw(aes-128-gcm chacha20-poly1305 none)) {
        my $f = udp(sec => $sec, opt => $opt, to => 'echo');
        my @list = map { numbered($_, 10 + $_ * 37 % 1390) } 1 .. 1000;
        is(join(' ', map { number_of($_) } exchange($f, @list)),
           join(' ', 1 .. 1000), "$sec $opt");
    }
}

# in bursts that sockets just hold
my $f = udp(to => 'echo');
my @bad;
for my $round (1 .. 20) {
    my @n = map { $round * 100 + $_ } 1 .. 60;
    $f->send(map { numbered($_, 1400) } @n);
    my @got = map { number_of($_) } $f->receive(60);
    push @bad, "@got" if "@got" ne "@n";
}
is("@bad", '', 'bursts');
--- no_error_log
[error]


=== TEST 24: more datagrams than the counter of nonces holds
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = udp(opt => 'S', sec => 'aes-128-gcm', to => 'echo');
my $bad = 0;
for my $round (1 .. 660) {
    my @list = map { $round * 100 + $_ } 1 .. 100;
    $f->send(@list);
    $bad++ if join(' ', $f->receive(100)) ne "@list";
}
$bad;
--- stream_response: 0


=== TEST 25: 40 flows at once, beside flows of TCP
--- servers
echo udp_echo
tcp echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @sec = qw(aes-128-gcm chacha20-poly1305 none);
my @f = map { udp(sec => $sec[$_ % 3], to => 'echo', user => $_ % 2 ? 'bob' : 'alice') }
        0 .. 39;
my @t = map { flow(sec => $sec[$_ % 3], to => 'tcp') } 0 .. 9;
for my $round (1 .. 5) {
    $f[$_]->send(map { numbered($_, 700) } $_ + 1, $round) for 0 .. $#f;
    $t[$_]->send("$round " . pattern(20_000)) for 0 .. $#t;
    for (0 .. $#f) {
        my @got = map { number_of($_) } $f[$_]->receive(2);
        my $want = ($_ + 1) . " $round";
        fail("flow $_ round $round: @got") if "@got" ne $want;
    }
    for (0 .. $#t) {
        my $want = "$round " . pattern(20_000);
        fail("stream $_ round $round") if $t[$_]->read(length $want) ne $want;
    }
}
1;
--- stream_response: 1


=== TEST 26: many short flows
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for (1 .. 300) {
    my $f = udp(to => 'echo', data => "flow $_");
    $n++ if $f->receive eq "flow $_";
    $f->end if $_ % 3 == 0;
    $f->shut if $_ % 3 == 1;
    $f->close;
}
$n;
--- stream_response: 300


=== TEST 27: a rate
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_upload_rate 20k;
proxy_download_rate 20k;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'echo');
my @list = map { numbered($_, 1000) } 1 .. 40;
$f->send(@list);
join(' ', map { number_of($_) } $f->receive(40)) eq join(' ', 1 .. 40);
--- stream_response: 1


=== TEST 28: "return" answers with a datagram
--- stream_server_config
vmess main;
return "to $vmess_host by $protocol";
--- stream_client
my $f = udp(host => 'a.test', port => 53, data => 'hello');
my $got = $f->receive;
$f->receive;
$got;
--- stream_response: to a.test by UDP


=== TEST 29: ssl_preread is not for datagrams
--- servers
echo udp_echo
--- stream_server_config
vmess main;
ssl_preread on;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'echo', data => "\x16\x03\x01\x02\x00\x01");
$f->send('more');
join ' ', map { length } $f->receive(2);
--- stream_response: 6 4


=== TEST 30: a reload ends sessions of datagrams, and new ones work
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'echo', data => 'hello');
is($f->receive, 'hello', 'before');
my $idle = udp(to => 'echo');
reload();
# nginx leaves none to old workers
$f->send('again');
is($f->receive, undef, 'closed, not left without an answer');
is(udp(to => 'echo', data => 'hello')->receive, 'hello', 'after');
$idle->close;
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1
--- error_log
disconnected on shutdown


=== TEST 31: a nonsense of a target
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for ([ port => 0 ], [ host => 'no.resolver.test', port => 53 ]) {
    my $f = udp(@$_, data => 'hello');
    push @got, defined $f->receive ? 1 : 0;
}
"@got";
--- stream_response: 0 0


=== TEST 32: datagrams do not wait for each other in the socket
--- log_level: debug
--- servers
echo udp_echo
--- stream_config eval: $main::Stream
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @n;
for my $name (qw(tcp tls)) {
    my $n = log_count(qr/ tcp_nodelay$/m);
    my $f = udp(via => carrier($name), to => 'echo', data => 'hello');
    is($f->receive, 'hello', $name);
    $f->close;
    push @n, log_count(qr/ tcp_nodelay$/m) - $n;
}
"@n";
--- stream_response: 1 1


=== TEST 33: a part of a datagram costs nothing while it waits
--- servers
echo udp_echo
--- stream_config eval: $main::Stream
--- http_config eval: $main::HTTP
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $name (@carriers) {
    my $f = udp(via => carrier($name), to => 'echo', data => 'hello');
    is($f->receive, 'hello', $name);
    my $wire = $f->chunk('x' x 1000);
    $f->send_raw(substr($wire, 0, 500));
    is(idle(), 1, 'half of it');
    $f->send_raw(substr($wire, 500));
    is($f->receive, 'x' x 1000, 'all of it');
    is(idle(), 1, 'none');
    $f->close;
}
--- no_error_log
[error]


=== TEST 34: datagrams of any size, cut anywhere
--- servers
sum udp_sum
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
srand 5;
my @bad;
for ([ 'aes-128-gcm', 'SMPA' ], [ 'chacha20-poly1305', 'SMP' ], [ 'none', 'SM' ]) {
    my ($sec, $opt) = @$_;
    my $s = tcp();
    setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
    my $f = udp(via => $s, sec => $sec, opt => $opt, to => 'sum');
    for my $round (1 .. 40) {
        # every fourth is too large and dropped
        my @list = map { pattern($_ % 4 ? 1 + int rand 16_000 : 20_000 + int rand 40_000) }
                   1 .. 6;
        my $wire = $f->chunk(@list);
        while (length $wire) {
            $f->send_raw(substr($wire, 0, 1 + int rand 30_000, ''));
        }
        my @want = map { length($_) . ' ' . sha256_hex($_) }
                   grep { length($_) <= 16_000 } @list;
        my @got = $f->receive(scalar @want);
        push @bad, "$sec, round $round" if "@got" ne "@want";
    }
}
"@bad";
--- stream_response:


=== TEST 35: a target that refuses, and comes back
--- servers
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $port = port('echo');
stop_server('echo');
my $f = udp(port => $port, data => 'one');
is(wait_log(qr/udp proxy \S+ connected to/, 1), 1, 'sent');
my $s = IO::Socket::INET->new(Proto => 'udp', LocalAddr => "127.0.0.1:$port")
    or die $!;
$f->send('two');
my $peer;
my $b = 'one';
$peer = recv($s, $b, 100, 0) while $b eq 'one';
send($s, "answer to $b", 0, $peer);
$f->receive;
--- stream_response: answer to two
--- no_error_log
[error]


=== TEST 36: an answer that is larger than the proxy's buffer is not cut
--- servers
source udp_source
--- stream_server_config
vmess main;
proxy_buffer_size 2k;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'source', data => '1 2048');
is(length $f->receive, 2048, 'just fits');
$f->send('1 3000', '1 100');
length $f->receive;
--- stream_response: 100


=== TEST 37: nothing is sent to the client when nothing came from the target
--- servers
dead udp_dead
--- stream_server_config
vmess main;
proxy_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my $f = udp(to => 'dead', data => 'one');
$f->read_eof;
$f->{received};
--- stream_response: 0


=== TEST 38: answers from other ports and addresses of the target's host
--- servers
other udp_other 127.0.0.7 127.0.0.1
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_bind 127.0.0.5;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    vmess main;
    vmess_udp_filter on;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $n (0, 2, 3) {
    my $via = sub { tcp(stream_port() + $n) };
    my $filter = $n == 3;

    my $f = udp(via => $via->(), to => 'other', data => 'x');
    push @got, $f->receive($filter ? 1 : 2);
    $f->send('y');
    push @got, $f->receive($filter ? 1 : 2);

    my $m = VMess::Mux->new(flow(cmd => 'mux', via => $via->()));
    $m->open(1, net => 'udp', port => port('other'), data => 'x');
    push @got, map { scalar $m->receive(1) } 1 .. ($filter ? 1 : 2);
    $m->keep(1, 'y');
    push @got, map { scalar $m->receive(1) } 1 .. ($filter ? 1 : 2);
    push @got, "\n";
}
join ' ', @got;
--- stream_response eval
my $both = '127.0.0.7:x 127.0.0.1:x 127.0.0.7:y 127.0.0.1:y';
"$both $both \n $both $both \n 127.0.0.1:x 127.0.0.1:y 127.0.0.1:x 127.0.0.1:y \n";
--- no_error_log
[error]
