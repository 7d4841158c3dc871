# Datagrams in sub-connections, XUDP and packetaddr: each datagram has a peer.

use lib "t/lib";
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();


# a connection with sub-connections

sub mux { return VMess::Mux->new(flow(cmd => 'mux', @_)) }


# XUDP: the one session of its connection has the id 0; then a datagram to a
# server

sub xudp {
    my (%o) = @_;
    my $m = mux(map { exists $o{$_} ? ($_ => delete $o{$_}) : () } qw(via sec user));
    $o{port} = port(delete $o{to}) if $o{to};
    return $m->open(0, net => 'udp', %o);
}


sub send_to {
    my ($m, $name, $data) = @_;
    $m->keep(0, $data, to => ref $name ? $name : [ '127.0.0.1', port($name) ]);
    return $m;
}


sub at { return '127.0.0.1:' . port($_[0]) }


# packetaddr: a flow of datagrams, their peer in front

sub packetaddr {
    my (%o) = @_;
    my @data = @{ delete $o{data} };
    return flow(cmd => 'udp', host => 'sp.packet-addr.v2fly.arpa', port => 0,
                %o, data => \@data);
}


sub pa {
    my ($host, $port, $data) = @_;
    return pack('C a* n a*', $host =~ /:/ ? (2, inet_pton(AF_INET6, $host))
                                          : (1, inet_aton($host)), $port, $data);
}


sub lines { return scalar(my @l = split /\n/, access_log()) }

run_tests();

__DATA__

=== TEST 1: a sub-connection of datagrams
--- servers
echo udp_echo
tag udp_tag t
tcp echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $m = mux(sec => $sec);
    $m->open(1, net => 'udp', port => port('echo'), data => 'with New');
    is($m->receive(1), 'with New', "$sec, New with data");
    $m->open(2, net => 'udp', port => port('tag'));
    $m->open(3, port => port('tcp'), data => 'tcp');
    is($m->read(3, 3), 'tcp', 'beside TCP');

    # borders, whatever the chunk has
    $m->expect(4);
    $m->write(join '', map { VMess::Mux::keeping($_ % 2 + 1, numbered($_, 10 + $_)) }
                           1 .. 40);
    my @two = map { scalar $m->receive(2) } 1 .. 20;
    my @one = map { scalar $m->receive(1) } 1 .. 20;
    is(join(' ', map { number_of(s/^t://r) } @two), join(' ', map { $_ * 2 - 1 } 1 .. 20), 'odd');
    is(join(' ', map { number_of($_) } @one), join(' ', map { $_ * 2 } 1 .. 20), 'even');

    # a byte at a time
    my $f = $m->{flow};
    $f->send($_) for split //, VMess::Mux::keeping(1, 'a byte at a time')
                               . VMess::Mux::keeping(1, '!');
    is($m->receive(1) . $m->receive(1), 'a byte at a time!', 'cut anywhere');

    # End, and the id again
    $m->end(1);
    $m->open(1, net => 'udp', port => port('tag'), data => 'x');
    is($m->receive(1), 't:x', 'the id again');
}
--- no_error_log
[error]


=== TEST 2: sizes
--- servers
echo udp_echo
sum udp_sum
source udp_source
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $id (0, 1) {
    my $m = mux();
    $m->open($id, net => 'udp', port => port('echo'));
    my @bad;
    for my $size (1, 2, 3, 100, 1400, 1472, 4000, 8000, 8191, 8192) {
        $m->keep($id, numbered(7, $size));
        push @bad, $size if $m->receive($id) ne numbered(7, $size);
    }
    for my $first (1, 8192) {
        my $n = mux();
        $n->open($id, net => 'udp', port => port('echo'), data => numbered(7, $first));
        push @bad, $first if $n->receive($id) ne numbered(7, $first);
    }
    is("@bad", '', "id $id, 1 to 8192 bytes");

    # an answer that is too large for a frame is dropped, whole; then what the
    # buffers of the proxy module do not hold
    $m = mux();
    $m->open($id, net => 'udp', port => port('source'), data => '1 8192');
    is($m->receive($id), numbered(1, 8192), 'the largest');
    $m->keep($id, $_) for '1 8193', '1 16000', '1 30000', '1 100';
    is($m->receive($id), numbered(1, 100), 'none larger, nothing cut');

    $m = mux();
    $m->open($id, net => 'udp', port => port('sum'), data => 'x');
    $m->receive($id);
    $m->keep($id, 'x' x $_) for 20_000, 65_000, 65_535, 10;
    is($m->receive($id), '10 ' . sha256_hex('x' x 10), 'to the target');

    # none without bytes
    $m->write(VMess::Mux::keeping($id, '') . VMess::Mux::keeping($id, undef)
              . VMess::Mux::keeping($id, 'y'));
    is($m->receive($id), '1 ' . sha256_hex('y'), 'empty frames');
}
--- no_error_log
[error]


=== TEST 3: XUDP: one socket for all peers, answers have their peer
--- servers
a udp_peer
b udp_peer
c udp_peer
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $id ('', "\0" x 8, "\1\2\3\4\5\6\7\10") {
    my $m = xudp(to => 'a', data => '?', global_id => $id);
    my ($source, $peer) = $m->receive(0);
    is($peer, at('a'), 'the first peer');
    like($source, qr/^127\.0\.0\.1:\d+$/, 'its client');
    for my $name (qw(b c a c)) {
        send_to($m, $name, '?');
        my ($got, $from) = $m->receive(0);
        is("$got $from", "$source " . at($name), "$name sees the same port");
    }

    # no address: the peer of New
    $m->keep(0, '?');
    is(($m->receive(0))[1], at('a'), 'no address');
    $m->keep(0, '?', meta => "\0padding");
    is(($m->receive(0))[1], at('a'), 'padding');

    # a stranger: nothing was sent to it
    my $stranger = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.9');
    my ($port) = $source =~ /:(\d+)$/;
    $stranger->send('hello', 0, Socket::pack_sockaddr_in($port, inet_aton('127.0.0.1')));
    is(join(' ', $m->receive(0)), 'hello 127.0.0.9:' . $stranger->sockport, 'a fourth');

    # and an answer to it
    send_to($m, [ '127.0.0.9', $stranger->sockport ], 'and you');
    recv($stranger, my $got, 100, 0);
    is($got, 'and you', 'the answer');
}

# another session has another port
my ($x, $y) = map { xudp(to => 'a', data => '?')->receive(0) } 1, 2;
isnt($x, $y, 'of each session its own');

# one that has a Global ID may be one of many
my $m = mux();
$m->open($_, net => 'udp', port => port('a'), data => '?', global_id => "abcdefg$_")
    for 5, 6;
my ($five, $six) = map { scalar $m->receive($_) } 5, 6;
isnt($five, $six, 'two in a connection');
$m->keep(5, '?', to => [ '127.0.0.1', port('b') ]);
my ($got, $from) = $m->receive(5);
"$got $from" eq "$five " . at('b');
--- stream_response: 1
--- no_error_log
[error]


=== TEST 4: the first datagram is that of Keep
--- servers
a udp_peer
b udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(to => 'a');
$m->keep(0, '?');
is(($m->receive(0))[1], at('a'), 'no address');

$m = xudp(to => 'a');
send_to($m, 'a', '?');
is(($m->receive(0))[1], at('a'), 'the same');

# another one comes after it
send_to($m, 'b', '?');
($m->receive(0))[1] eq at('b');
--- stream_response: 1


=== TEST 5: answers of many peers, in any order
--- servers
a udp_tag a
b udp_tag b
c udp_tag c
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(to => 'a', data => 'first');
is(join(' ', $m->receive(0)), 'a:first ' . at('a'), 'the first');
my %seen;
for my $round (1 .. 30) {
    $m->write(join '', map {
        VMess::Mux::keeping(0, "$round", to => [ '127.0.0.1', port($_) ])
    } qw(a b c b));
    for (1 .. 4) {
        my ($data, $peer) = $m->receive(0);
        $seen{"$data $peer"}++;
    }
}
join ' ', scalar(keys %seen), map { $seen{"$_:30 " . at($_)} } qw(a b c);
--- stream_response: 90 1 2 1


=== TEST 6: rules are for each datagram
--- no_defaults
--- servers
good udp_tag good
bad udp_tag bad
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_deny 127.0.0.1 %%bad%%;
vmess_allow 127.0.0.1;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(to => 'good', data => 1);
is($m->receive(0), 'good:1', 'allowed');
for (1 .. 5) {
    send_to($m, 'bad', "x$_");
    send_to($m, [ '10.0.0.1', 53 ], 'x');
    send_to($m, [ '127.0.0.1', 0 ], 'x');
    send_to($m, [ '224.0.0.1', 53 ], 'x');
    send_to($m, 'good', "y$_");
    is($m->receive(0), "good:y$_", 'others are dropped');
}
is(log_count(qr/datagrams of user "alice" to forbidden targets are dropped/), 1,
   'logged once');

# the target of New, as anywhere
$m = xudp(to => 'bad', data => 'x', user => 'bob');
is(defined $m->ended(0), 1, 'End');
ok(wait_log(qr/target "127.0.0.1:\d+" of user "bob" is forbidden/), 'log');

# packetaddr
my $f = packetaddr(user => 'bob', data => [ pa('127.0.0.1', port('good'), 'a') ]);
is($f->receive, pa('127.0.0.1', port('good'), 'good:a'), 'packetaddr');
$f->send(pa('127.0.0.1', port('bad'), 'x'), pa('127.0.0.1', port('good'), 'b'));
is($f->receive, pa('127.0.0.1', port('good'), 'good:b'), 'dropped');
log_count(qr/datagrams of user "bob" to forbidden targets are dropped/);
--- stream_response: 1


=== TEST 7: a bad address of a datagram ends its sub-connection alone
--- servers
echo udp_echo
tcp echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(0, net => 'udp', port => port('echo'), data => 'one');
$m->open(1, port => port('tcp'), data => 'two');
$m->open(2, net => 'udp', port => port('echo'), data => 'three');
is($m->receive(0) . $m->read(1, 3) . $m->receive(2), 'onetwothree', 'before');
$m->keep(0, 'x', meta => pack('C n C a4', 2, 53, 9, 'abcd'));
is(defined $m->ended(0), 1, 'a type that is unknown');
$m->keep(2, 'x', meta => pack('C n C a2', 2, 53, 1, 'ab'));
is(defined $m->ended(2), 1, 'an address that is cut');
$m->keep(1, 'again');
is($m->read(1, 5), 'again', 'the other goes on');
$m->open(0, net => 'udp', port => port('echo'), data => 'new');
$m->receive(0);
--- stream_response: new
--- error_log
client sent invalid peer of a datagram in sub-connection 0:
client sent invalid peer of a datagram in sub-connection 2:


=== TEST 8: a name as target
--- servers
echo udp_echo
peer udp_peer
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $p = port('echo');
my $m = xudp(host => 'a.test', to => 'echo', data => 'one');
$m->keep(0, 'two');
$m->keep(0, 'three', to => [ 'a.test', $p ]);
$m->keep(0, 'four', to => [ '127.0.0.1', $p ]);
is(join(' ', map { $m->receive(0) } 1 .. 4),
   join(' ', map { "$_ 127.0.0.1:$p" } qw(one two three four)), 'the peer is an address');

# other names than that of the session cannot be found
send_to($m, [ 'b.test', $p ], 'lost');
send_to($m, [ 'a.test', port('peer') ], 'lost');
send_to($m, 'echo', 'five');
is($m->receive(0), 'five', 'others are dropped');

$m = xudp(host => 'nx.test', to => 'echo', data => 'x');
defined $m->ended(0);
--- stream_response: 1


=== TEST 9: upstreams of the configuration get datagrams as they are
--- servers
one udp_tag one
two udp_tag two
--- stream_config
upstream pair { server 127.0.0.1:%%one%%; server 127.0.0.1:%%two%%; }
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass pair;
--- stream_client
my @got;
for (1, 2) {
    my $m = xudp(host => 'a.test', port => 53, data => 'a');
    $m->keep(0, 'b', to => [ '192.0.2.1', 53 ]);
    $m->keep(0, 'c', to => [ 'b.test', 53 ]);
    $m->keep(0, 'd', to => [ 'a.test', 53 ]);
    my @d = map { scalar $m->receive(0) } 1 .. 3;
    push @got, "@d";
}
my $f = packetaddr(data => [ pa('192.0.2.1', 53, 'x') ]);
push @got, $f->receive eq pa('192.0.2.1', 53, 'one:x') ? 'packetaddr' : 'wrong';
join ', ', @got;
--- stream_response: one:a one:b one:d, two:a two:b two:d, packetaddr


=== TEST 10: packetaddr
--- servers
a udp_peer
b udp_peer
c udp_peer
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $opt (qw(S SM SMP SMPA)) {
    for my $sec (qw(aes-128-gcm chacha20-poly1305 none)) {
        my $f = packetaddr(sec => $sec, opt => $opt,
                           data => [ map { pa('127.0.0.1', port($_), '?') } qw(a b c) ]);
        my %got = map { unpack('x a4 n', $_) . unpack('x5 n', $_)
                        => substr($_, 7) } $f->receive(3);
        my @source = sort values %got;
        is(scalar(keys %got), 3, "$sec $opt: three peers");
        is($source[0], $source[2], 'one port');

        # a stranger
        my $stranger = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.9');
        $stranger->send('hello', 0, Socket::pack_sockaddr_in($source[0] =~ /:(\d+)$/,
                                                             inet_aton('127.0.0.1')));
        is($f->receive, pa('127.0.0.9', $stranger->sockport, 'hello'), 'a fourth');
    }
}

# what has no address is dropped, and nothing else
my $f = packetaddr(data => [ "\0abcdef12", "\3" . 'x' x 30, "\1abc", "\2abc", 'x',
                             pa('127.0.0.1', port('echo'), 'good') ]);
is($f->receive, pa('127.0.0.1', port('echo'), 'good'), 'first');
for my $bad ("\0" . 'x' x 20, "\5" . 'x' x 20, "\1abcde", "\2" . 'x' x 17,
             pa('127.0.0.1', 0, 'x'), pa('::1', port('echo'), 'x'))
{
    $f->send($bad, pa('127.0.0.1', port('echo'), 'good'));
    is($f->receive, pa('127.0.0.1', port('echo'), 'good'), 'dropped');
}

# sizes
for my $size (1, 1400, 8000, 8192, 16_000) {
    $f->send(pa('127.0.0.1', port('echo'), numbered(3, $size)));
    is($f->receive, pa('127.0.0.1', port('echo'), numbered(3, $size)), "$size bytes");
}
$f->end;
$f->read_eof;
--- stream_response:
--- no_error_log
[error]


=== TEST 11: IPv6
--- servers
a udp_tag@::1 a
b udp_tag@::1 b
four udp_tag four
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(host => '::1', to => 'a', data => 'x');
is(join(' ', $m->receive(0)), 'a:x [::1]:' . port('a'), 'XUDP');
send_to($m, [ '::1', port('b') ], 'y');
is(join(' ', $m->receive(0)), 'b:y [::1]:' . port('b'), 'another peer');

# of the other family, from the same socket
send_to($m, 'four', '4');
is(join(' ', $m->receive(0)), 'four:4 ' . at('four'), 'IPv4');
$m->keep(0, 'z');
is($m->receive(0), 'a:z', 'goes on');

my $four = xudp(to => 'four', data => 'x');
is(join(' ', $four->receive(0)), 'four:x ' . at('four'), 'IPv4 first');
send_to($four, [ '::1', port('b') ], 'y');
is(join(' ', $four->receive(0)), 'b:y [::1]:' . port('b'), 'then IPv6');

my $f = packetaddr(data => [ pa('::1', port('a'), 'x') ]);
is($f->receive, pa('::1', port('a'), 'a:x'), 'packetaddr');
$f->send(pa('::1', port('b'), 'y'));
is($f->receive, pa('::1', port('b'), 'b:y'), 'another peer');
$f->send(pa('127.0.0.1', port('four'), 'y'));
$f->receive eq pa('127.0.0.1', port('four'), 'four:y');
--- stream_response: 1


=== TEST 12: proxy_timeout
--- servers
echo udp_echo
silent udp_silent
tcp echo
--- stream_server_config
vmess main;
proxy_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(0, net => 'udp', port => port('silent'), data => 'x');
$m->open(1, net => 'udp', port => port('echo'), data => 'x');
is(defined $m->ended($_), 1, 'End') for 0, 1;
$m->open(2, net => 'udp', port => port('echo'), data => 'later');
is($m->receive(2), 'later', 'the connection is there');

# a datagram starts the time again
for (1 .. 6) {
    select undef, undef, undef, 0.2;
    $m->keep(2, "round $_");
    is($m->receive(2), "round $_", 'kept alive');
}
my $f = packetaddr(data => [ pa('127.0.0.1', port('echo'), 'x') ]);
is($f->receive, pa('127.0.0.1', port('echo'), 'x'), 'packetaddr');
$f->read_eof;
--- stream_response:
--- error_log
udp timed out


=== TEST 13: what is logged
--- servers
echo udp_echo
two udp_echo
--- stream_config
log_format l '$vmess_mux_id $protocol $vmess_command $vmess_network $vmess_host:$vmess_port $bytes_received $bytes_sent $upstream_bytes_sent $upstream_bytes_received $status $upstream_addr $vmess_datagrams_received $vmess_datagrams_sent';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
my $m = xudp(to => 'echo', data => 'x' x 100);
$m->receive(0);
for (1 .. 10) {
    send_to($m, 'two', 'y' x 50);
    $m->receive(0);
}
$m->end(0);
ok(wait_for(sub { lines() == 1 }), 'XUDP');
$m->open(1, net => 'udp', port => port('echo'), data => 'x' x 10);
$m->receive(1);
$m->end(1);
ok(wait_for(sub { lines() == 2 }), 'a sub-connection');
$m->close;
ok(wait_for(sub { lines() == 3 }), 'its connection');
my $f = packetaddr(data => [ pa('127.0.0.1', port('echo'), 'x' x 100) ]);
$f->receive;
$f->send(pa('127.0.0.1', port('two'), 'x' x 100));
$f->receive;
$f->end;
$f->read_eof;
ok(wait_for(sub { lines() == 4 }), 'packetaddr');
my $log = access_log();
my $e = at('echo');
$log =~ s/\Q$e\E/ECHO/g;
$log =~ s/^- TCP.*\n//m;
$log;
--- stream_response
0 UDP mux udp ECHO 600 600 600 600 200 ECHO 11 11
1 UDP mux udp ECHO 10 10 10 10 200 ECHO 1 1
- UDP udp udp ECHO 200 200 200 200 200 ECHO 2 2


=== TEST 14: a port that refuses hurts no other peer
--- servers
dead udp_dead
echo udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(to => 'echo', data => 'first');
is($m->receive(0), 'first', 'the first');
for (1 .. 20) {
    send_to($m, 'dead', 'x');
    send_to($m, 'echo', "round $_");
    is($m->receive(0), "round $_", 'goes on');
}

# the first one as well
$m = xudp(to => 'dead', data => 'x');
for (1 .. 5) {
    $m->keep(0, 'x');
    send_to($m, 'echo', "round $_");
    is($m->receive(0), "round $_", 'goes on');
}
1;
--- stream_response: 1


=== TEST 15: End, and the end of the connection, close the socket
--- servers
peer udp_peer
--- stream_config
log_format l '$vmess_mux_id';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for my $how (qw(end abort close)) {
    my $m = xudp(to => 'peer', data => '?');
    my ($port) = $m->receive(0) =~ /:(\d+)$/;
    my $bind = sub { IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                           LocalPort => $port) };
    is($bind->(), undef, 'the port is in use');
    $m->end(0) if $how eq 'end';
    $m->end(0, 2) if $how eq 'abort';
    $m->close if $how eq 'close';
    ok(wait_for($bind), "$how: free again");
    $m->close;
    $n += 2;
    ok(wait_for(sub { lines() == $n }), 'all is logged');
}
--- no_error_log
[error]


=== TEST 16: a target that is not told: datagrams while it is resolved
--- servers
echo udp_echo
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
vmess_mux_buffer 64k;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->expect(0, 3);
$m->write(VMess::Mux::opening(0, net => 'udp', host => 'a.test', port => port('echo'),
                              data => numbered(1, 500))
          . VMess::Mux::opening(3, net => 'udp', host => 'a.test', port => port('echo'),
                                data => numbered(1, 500))
          . join '', map { VMess::Mux::keeping($_ % 2 ? 0 : 3, numbered($_, 500)) }
                         2 .. 41);
is(join(' ', map { number_of($m->receive(0)) } 1 .. 21),
   join(' ', 1, map { $_ * 2 + 1 } 1 .. 20), 'XUDP');
join(' ', map { number_of($m->receive(3)) } 1 .. 21)
    eq join(' ', 1, map { $_ * 2 } 1 .. 20);
--- stream_response: 1


=== TEST 17: more datagrams than the target's buffer are dropped, siblings go on
--- servers
slow udp_silent
echo echo
--- stream_config
map $vmess_port $rate { %%slow%% 1000; default 0; }
--- stream_server_config
vmess main;
proxy_upload_rate $rate;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(0, net => 'udp', port => port('slow'), data => 'x');
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'a sibling');
for (1 .. 20) {
    $m->write(VMess::Mux::run(0, pattern(100_000), 1000));
    $m->keep(1, "round $_;");
    is($m->read(1, length "round $_;"), "round $_;", 'goes on');
}
1;
--- stream_response: 1


=== TEST 18: 100 sessions of each kind at once
--- servers
echo udp_echo
two udp_echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
my @id = 1 .. 60;
my @f = map { packetaddr(data => [ pa('127.0.0.1', port('echo'), "flow $_") ]) } 1 .. 20;
$m->open($_, net => 'udp', port => port('echo'), data => "new $_",
         $_ % 2 ? (global_id => sprintf '%08d', $_) : ()) for @id;
my @bad = grep { $m->receive($_) ne "new $_" } @id;
for my $round (1 .. 10) {
    $m->write(join '', map {
        VMess::Mux::keeping($_, numbered($_ + $round, 300),
                            $_ % 2 ? (to => [ '127.0.0.1', port('two') ]) : ())
    } @id);
    for (@id) {
        my ($data, $peer) = $m->receive($_);
        push @bad, "$_:$peer" if number_of($data) != $_ + $round
                                 || $_ % 2 && $peer ne at('two');
    }
}
push @bad, grep { $f[$_ - 1]->receive ne pa('127.0.0.1', port('echo'), "flow $_") } 1 .. 20;
"@bad";
--- stream_response:
--- no_error_log
[error]


=== TEST 19: Global ID: the session goes on when its client comes again
--- servers
a udp_peer
b udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $id = 'ABCDEFGH';
my $old = xudp(to => 'a', data => '?', global_id => $id);
my ($source, $peer) = $old->receive(0);

# while the old connection is there
my $new = xudp(to => 'a', data => '?', global_id => $id);
is(join(' ', $new->receive(0)), "$source $peer", 'the same port');
is($old->ended(0), 0, 'End in the old connection');
send_to($old, 'a', '?');
$old->{late} = 1;
send_to($new, 'b', '?');
is(join(' ', $new->receive(0)), "$source " . at('b'), 'another peer');
$old->close;
send_to($new, 'b', '?');
is(($new->receive(0))[0], $source, 'without the old connection');

# and when it has gone; the address in the new frame may be another
$new->close;
my $third = xudp(to => 'b', data => '?', global_id => $id);
is(join(' ', $third->receive(0)), "$source " . at('b'), 'the target of the new frame');
$third->keep(0, '?');
is(join(' ', $third->receive(0)), "$source " . at('b'), 'Keep without an address');

# ids of another user, and other ids, are other sessions
my $bob = xudp(to => 'a', data => '?', global_id => $id, user => 'bob');
isnt($bob->receive(0), $source, 'another user');
my $other = xudp(to => 'a', data => '?', global_id => 'ABCDEFGI');
isnt($other->receive(0), $source, 'another id');
$third->keep(0, '?');
is(($third->receive(0))[0], $source, 'it goes on');

# End is the end of it
$third->end(0);
$third->open(0, net => 'udp', port => port('a'), data => '?', global_id => $id);
isnt($third->receive(0), $source, 'after End');
$_->end(0) for $third, $bob, $other;
--- no_error_log
[error]


=== TEST 20: sessions that were taken over count
--- listen: sndbuf=32k
--- servers
echo udp_echo
src source 100000000
--- stream_server_config
vmess main;
vmess_mux_streams 2;
proxy_timeout 1s;
proxy_pass vmess_target;
--- stream_client
my @old;
for (1 .. 40) {
    my $m = mux();
    $m->open(1, net => 'udp', port => port('echo'), data => 'x',
             global_id => sprintf '%08d', $_);
    is($m->receive(1), 'x', "session $_");
    push @old, $m;
}
my $s = tcp();
setsockopt($s, Socket::SOL_SOCKET, Socket::SO_RCVBUF, 20_000);
my $m = mux(via => $s);
$m->expect(1 .. 40);
$m->write(join '', map {
    VMess::Mux::opening($_, net => 'udp', port => port('echo'), data => 'x',
                        global_id => sprintf '%08d', $_)
} 1 .. 40);
my $n = grep { defined $m->receive($_) } 1 .. 40;
cmp_ok($n, '<=', 2, 'no more than vmess_mux_streams');

# all end while the client does not read
$m->end(1) if $n;
$m->open(99, port => port('src'));
is(wait_log(qr/udp timed out/, 40 - $n, 5), 1, 'the sessions end');
is(join(' ', map { $m->ended($_) // 'none' } 3 .. 40), join(' ', (2) x 38),
   'the others were refused');
my $f = mux(data => VMess::Mux::opening(1, net => 'udp', port => port('echo'), data => 'y'));
$f->expect(1)->receive(1);
--- stream_response: y


=== TEST 21: a session waits 60 s for its client
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @m = map { xudp(to => 'a', data => '?', global_id => "ABCDEFG$_") } 1 .. 3;
my @source = map { scalar $_->receive(0) } @m;
$_->close for @m;
select undef, undef, undef, 62;
@m = map { xudp(to => 'a', data => '?', global_id => "ABCDEFG$_") } 1 .. 3;
my @new = map { scalar $_->receive(0) } @m;
isnt($new[$_], $source[$_], 'a new session') for 0 .. 2;
$_->end(0) for @m;
--- no_error_log
[error]
exited on signal


=== TEST 22: sessions without clients do not keep a worker
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @m = map { xudp(to => 'a', data => '?', global_id => "ABCDEFG$_") } 1 .. 3;
$_->receive(0) for @m;
$m[0]->close;
reload();
$m[1]->close;
$m[2]->close;
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1


=== TEST 23: vmess_udp_filter
--- servers
a udp_peer
--- stream_server_config
vmess main;
vmess_udp_filter on;
proxy_pass vmess_target;
--- stream_client
my ($other, $stranger) = map {
    IO::Socket::INET->new(Proto => 'udp', LocalAddr => $_)
} '127.0.0.1', '127.0.0.9';
my @stranger = ('127.0.0.9', $stranger->sockport);

for my $kind ('XUDP', 'packetaddr') {
    my ($m, $send, $receive);

    if ($kind eq 'XUDP') {
        $m = xudp(to => 'a', data => '?');
        $send = sub { $m->keep(0, $_[2], to => [ @_[0, 1] ]) };
        $receive = sub { ($m->receive(0))[0] };

    } else {
        $m = packetaddr(data => [ pa('127.0.0.1', port('a'), '?') ]);
        $send = sub { $m->send(pa(@_)) };
        $receive = sub { substr $m->receive, 7 };
    }

    my ($port) = $receive->() =~ /:(\d+)$/;
    my $to = Socket::pack_sockaddr_in($port, inet_aton('127.0.0.1'));

    send $stranger, "lost", 0, $to for 1 .. 200;
    send $other, 'another port', 0, $to;
    is($receive->(), 'another port', "$kind: no address to which nothing was sent");

    $send->(@stranger, 'x');
    recv $stranger, my $b, 100, 0;
    is($b, 'x', 'then it was');
    send $stranger, 'found', 0, $to;
    is($receive->(), 'found', 'and it may answer');
}
--- no_error_log
[error]


=== TEST 24: a session whose client comes to another server ends
--- servers
a udp_peer
--- stream_config
log_format l '$vmess_mux_id';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @to = (to => 'a', data => '?', global_id => 'ABCDEFGH');
my $old = xudp(@to);
my $source = $old->receive(0);
$old->close;
wait_for(sub { lines() == 1 });        # that of its connection
my $new = xudp(@to, via => tcp(stream_port() + 2));
isnt(scalar $new->receive(0), $source, 'a new session');
is(wait_for(sub { lines() == 2 }), 1, 'the old one has ended');

# one with a client keeps it
my $third = xudp(@to);
isnt($third->receive(0), $new->keep(0, '?')->receive(0), 'two sessions');
$_->end(0) for $new, $third;
--- no_error_log
[error]


=== TEST 25: vmess_udp_filter knows the last 1024 addresses
--- servers
a udp_peer
--- stream_server_config
vmess main;
vmess_udp_filter on;
proxy_pass vmess_target;
--- stream_client
my @peer = map { IO::Socket::INET->new(Proto => 'udp', LocalAddr => "127.0.0.$_") } 8, 9;
my $m = xudp(to => 'a', data => '?');
my ($port) = ($m->receive(0))[0] =~ /:(\d+)$/;
my $to = Socket::pack_sockaddr_in($port, inet_aton('127.0.0.1'));

# a datagram to each, as many as given
my $next = 0;
my $meet = sub {
    for (1 .. $_[0]) {
        $m->keep(0, 'x', to => [ '127.1.' . ($next >> 8) . '.' . ($next & 255), 9 ]);
        $next++;
        next if $next % 50 && $_ < $_[0];
        $m->keep(0, '?');
        $m->receive(0);
    }
};

# what comes of one peer, and then of the target
my $heard = sub {
    send $_[0], 'a peer', 0, $to;
    $m->keep(0, '?');
    my ($got) = $m->receive(0);
    $m->receive(0) if $got eq 'a peer';
    return $got eq 'a peer' ? 1 : 0;
};

for (@peer) {
    $m->keep(0, 'x', to => [ $_->sockhost, $_->sockport ]);
    recv $_, my $b, 10, 0;
}

# beside these two and the target
$meet->(1021);
is(join(' ', map { $heard->($_) } @peer), '1 1', '1024 addresses');
$meet->(1);
is(join(' ', map { $heard->($_) } @peer), '0 1', 'another one: the oldest is forgotten');

# one that is used is not old
$m->keep(0, 'x', to => [ $peer[1]->sockhost, $peer[1]->sockport ]);
$meet->(1022);
is($heard->($peer[1]), 1, 'used again, and 1022 others');
$meet->(1);
is($heard->($peer[1]), 0, 'one more');

# and it may come again
$m->keep(0, 'x', to => [ $peer[0]->sockhost, $peer[0]->sockport ]);
recv $peer[0], my $b, 10, 0;
$heard->($peer[0]);
--- stream_response: 1
--- no_error_log
[error]


=== TEST 26: datagrams that wait hold up nobody, and are bounded with what each costs
--- servers
echo udp_echo
other udp_echo
sum udp_sum
sibling echo
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
resolver_timeout 100s;
--- stream_server_config
vmess main;
vmess_mux_buffer 16k;
proxy_buffer_size 64k;
proxy_pass vmess_target;
--- stream_client
pause_server('dns');
my $m = mux();
$m->open(1, port => port('sibling'), data => 'a');
is($m->read(1, 1), 'a', 'a sibling');

my %o = (net => 'udp', host => 'a.test', port => port('echo'));
$m->open(2, %o, data => numbered(1, 184));
$m->open(3, %o, port => port('other'), data => numbered(1, 150), global_id => 'ABCDEFGH');
$m->open(4, %o, port => port('sum'), data => 'first');
for my $id (2, 3) {
    my $size = $id == 2 ? 184 : 150;
    $m->write(join '', map { VMess::Mux::keeping($id, numbered($_, $size)) } 2 .. 3000);
    $m->keep(1, 'b');
    is($m->read(1, 1), 'b', 'goes on');
}

# held if it is the next one, and not behind it
$m->keep(4, $_) for pattern(40_000), pattern(30_000), 'x';
$m->keep(1, 'c');
is($m->read(1, 1), 'c', 'and on');

# the session has the first, and then the next one; 64 of 256 bytes fit, and
# 73 of 222
resume_server('dns');
for my $id (2, 3) {
    my $n = $id == 2 ? 66 : 75;
    my @got = map { number_of($m->receive($id)) } 1 .. $n;
    is("@got", join(' ', 1 .. $n), 'those that fit');
    $m->keep($id, 'last');
    is(scalar $m->receive($id), 'last', 'and no more');
}
$m->receive(4);
is(scalar $m->receive(4), '40000 ' . sha256_hex(pattern(40_000)), 'the next one');
is(scalar $m->receive(4), '1 ' . sha256_hex('x'), 'and one that fits behind it');
$m->keep(4, 'last');
scalar $m->receive(4);
--- stream_response eval: '4 ' . main::sha256_hex('last')
--- no_error_log
[error]


=== TEST 27: a datagram that is cut by the end of its session
--- servers
echo udp_echo
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_responses 1;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux(via => tcp(stream_port() + 2));
for my $id (0, 1) {
    my $half = VMess::Mux::keeping($id, 'x' x 1000);
    $m->expect($id);
    $m->write(VMess::Mux::opening($id, net => 'udp', port => port('echo'), data => 'one')
              . substr($half, 0, 500, ''));
    is(scalar $m->receive($id), 'one', 'an answer');
    is($m->ended($id), 0, 'the end, in the middle of a datagram');

    # what is left of it is nobody's
    $m->expect($id + 10);
    $m->write($half . VMess::Mux::opening($id + 10, net => 'udp', port => port('echo'),
                                          data => 'two'));
    is(scalar $m->receive($id + 10), 'two', 'another one is whole');
}

# by the client's own End there is none: it would be data
my $m2 = mux();
$m2->open(1, net => 'udp', port => port('echo'));
my $end = VMess::Mux::ending(1);
$m2->write(substr(VMess::Mux::keeping(1, 'x' x length $end), 0, - length $end) . $end);
is(scalar $m2->receive(1), $end, 'End within a datagram');
--- stream_response: 1
--- no_error_log
[error]
