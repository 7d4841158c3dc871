# XUDP: a session goes on when its client comes to another worker.

use lib "t/lib";
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();
workers(4);


sub xudp {
    my (%o) = @_;
    my @via = $o{via} ? (via => delete $o{via}) : ();
    return VMess::Mux->new(flow(cmd => 'mux', @via))
                     ->open(0, net => 'udp', port => port(delete $o{to}), %o);
}


sub pids { my %pid = map { $_ => 1 } access_log() =~ /^udp (\d+)$/mg; return scalar keys %pid }

run_tests();

__DATA__

=== TEST 1: the same socket, whichever worker has the client
--- listen: reuseport
--- servers
a udp_peer
b udp_peer
--- stream_config
log_format l '$vmess_network $pid';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $how ('the old connection is there', 'it has gone') {
    my ($source, @old);
    for my $n (1 .. 30) {
        my $m = xudp(to => $n % 2 ? 'a' : 'b', data => '?', global_id => 'ABCDEFGH');
        my @got = $m->receive(0);
        $source //= $got[0];
        is("@got", "$source 127.0.0.1:" . port($n % 2 ? 'a' : 'b'), "$how, $n");

        # what is under way is not lost, nor sent twice
        $m->keep(0, '?', to => [ '127.0.0.1', port('b') ]);
        is(($m->receive(0))[0], $source, 'goes on');

        if ($how =~ /gone/) {
            $m->close;
        } else {
            is($old[-1]->ended(0), 0, 'End in the old connection') if @old;
            push @old, $m;
        }
    }
    $_->close for @old;
}
ok(wait_for(sub { pids() > 1 }), 'several workers had it');
--- no_error_log
[error]
[alert]


=== TEST 2: answers that came in between are not lost
--- listen: reuseport
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $peer = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1');
my $m = xudp(to => 'a', data => '?', global_id => 'ABCDEFGH');
my ($source) = $m->receive(0);
my $to = Socket::pack_sockaddr_in($source =~ /:(\d+)/, inet_aton('127.0.0.1'));
for my $n (1 .. 20) {
    my $new = xudp(to => 'a', data => '?', global_id => 'ABCDEFGH');
    is(($new->receive(0))[0], $source, 'the same socket');
    send $peer, "packet $n", 0, $to;
    is(($new->receive(0))[0], "packet $n", 'of the latest client');
    $m = $new;
}
--- no_error_log
[error]


=== TEST 3: many at once, at all workers
--- listen: reuseport
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my %source;
for my $round (1 .. 4) {
    my @m = map { VMess::Mux->new(flow(cmd => 'mux')) } 1 .. 8;
    $_->expect(1 .. 10) for @m;
    for my $id (1 .. 80) {
        my $m = $m[($id * 7 + $round) % 8];
        $m->open(1 + int(($id - 1) / 8), net => 'udp', port => port('a'), data => '?',
                 global_id => sprintf '%08d', $id);
    }
    my @bad;
    for my $id (1 .. 80) {
        my $m = $m[($id * 7 + $round) % 8];
        my ($got) = $m->receive(1 + int(($id - 1) / 8));
        $source{$id} //= $got;
        push @bad, $id if $got ne $source{$id};
    }
    is("@bad", '', "round $round");
}
--- no_error_log
[error]


=== TEST 4: one that has died
--- listen: reuseport
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = xudp(to => 'a', data => '?', global_id => 'ABCDEFGH');
my ($source) = $m->receive(0);
my @pids = children();
kill 'KILL', @pids;
wait_for(sub { my %old = map { $_ => 1 } @pids; !grep { $old{$_} } children() });
wait_for(sub { children() == 4 });
my $new = xudp(to => 'a', data => '?', global_id => 'ABCDEFGH');
my ($other) = $new->receive(0);
isnt($other, $source, 'another socket');
for (1 .. 10) {
    $new = xudp(to => 'a', data => '?', global_id => 'ABCDEFGH');
    is(($new->receive(0))[0], $other, 'which is kept');
}
--- may_alert


=== TEST 5: across a reload
--- listen: reuseport
--- servers
a udp_peer
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# an old worker ends its session of datagrams at the next event, as any of UDP
my @m = map { xudp(to => 'a', data => '?', global_id => "ABCDEFG$_") } 1 .. 3;
$_->receive(0) for @m;
reload();
my @new = map { xudp(to => 'a', data => '?', global_id => "ABCDEFG$_") } 1 .. 3;
my @source = map { scalar $_->receive(0) } @new;
for my $i (0 .. 2) {
    is($m[$i]->ended(0), 0, 'End in the old connection');
    $new[$i]->keep(0, '?');
    is(($new[$i]->receive(0))[0], $source[$i], 'the session goes on');
}
--- no_error_log
[error]


=== TEST 6: a session stays at its server, and ends if its client comes to another one
--- listen: reuseport
--- servers
a udp_peer
--- stream_config
log_format l '$vmess_network $pid';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_2%% reuseport;
    vmess main;
    proxy_bind 127.0.0.2;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_bind 127.0.0.3;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for my $with_client (0, 1) {
    for (1 .. 12) {
        my @to = (to => 'a', data => '?', global_id => sprintf('%08d', ++$n));
        my $old = xudp(@to);
        like(($old->receive(0))[0], qr/^127\.0\.0\.3:/, 'the socket of the first');
        $old->close if !$with_client;
        my $new = xudp(@to, via => tcp(stream_port() + 2));
        like(($new->receive(0))[0], qr/^127\.0\.0\.2:/, 'that of the other');
        if ($with_client) {
            like(($old->keep(0, '?')->receive(0))[0], qr/^127\.0\.0\.3:/, 'and the first goes on');
            $old->end(0);
            $old->close;
        }
        $new->end(0);
        $new->close;
    }
}
is(wait_for(sub { (my @l = access_log() =~ /^udp /mg) == 2 * $n }), 1, 'all have ended');
ok(pids() > 1, 'several workers had them');
--- no_error_log
[error]
[alert]


=== TEST 7: a session whose socket cannot be passed keeps its client
--- listen: reuseport
--- servers
a udp_peer
--- stream_config
resolver 127.0.0.1:%%PORT_2%% ipv6=off;
resolver_timeout 60s;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# it waits for an address, and has no socket yet
my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                LocalPort => stream_port() + 2) or die $!;
my (@held, @old, @new);
for my $n (1 .. 10) {
    my @to = (to => 'a', data => '?', global_id => sprintf('%08d', $n));
    push @old, xudp(@to, host => "host$n.example");
    my $from = recv $dns, my $query, 512, 0;
    push @held, [ $from, $query ];
    push @new, xudp(@to);

    # an answer at another worker, or an End at the same
    is(wait_for(sub { IO::Select->new(map { $_->{flow}{sock} } $old[-1], $new[-1])->can_read(0) }),
       1, 'a frame');
}
for (@held) {
    my ($from, $query) = @$_;
    my $answer = substr($query, 0, 2) . pack('n5', 0x8180, 1, 1, 0, 0) . substr($query, 12)
                 . pack('n3 N n', 0xc00c, 1, 1, 60, 4) . inet_aton('127.0.0.1');
    send $dns, $answer, 0, $from;
}
my $there = 0;
for my $m (@old) { $there++ if ($m->receive(0))[0] }
cmp_ok($there, '>', 0, 'sessions at other workers go on');
ok(($_->receive(0))[0], 'and so do the new ones') for @new;
$_->close for @old, @new;
--- no_error_log
[error]
[alert]


=== TEST 8: a session without client ends with it at another worker, whatever has become of that one
--- listen: reuseport
--- servers
a udp_peer
--- stream_config
resolver 127.0.0.1:%%PORT_2%% ipv6=off;
resolver_timeout 60s;
log_format l '$vmess_network $pid';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1',
                                LocalPort => stream_port() + 2) or die $!;
my $n = 0;
for my $socket (1, 0) {
    my @names = map { sprintf '%08d', ++$n } 1 .. 12;
    for my $name (@names) {
        my $old = xudp(to => 'a', data => '?', global_id => $name,
                       $socket ? () : (host => "host$n.example"));
        $socket ? $old->receive(0) : recv $dns, my $query, 512, 0;
        $old->close;
    }
    for my $name (@names) {

        # it is asked for, and not wanted any more
        my $new = VMess::Mux->new(flow(cmd => 'mux'));
        $new->expect(1);
        $new->write(VMess::Mux::opening(1, net => 'udp', port => port('a'),
                                        data => '?', global_id => $name)
                    . VMess::Mux::ending(1, 2));
        $new->{flow}->shut;
        $new->closed;
        $new->close;
    }
    is(wait_for(sub { (my @l = access_log() =~ /^udp /mg) == $n }), 1,
       $socket ? 'with a socket' : 'without one');
}
ok(pids() > 1, 'several workers had them');
--- no_error_log
[error]
[alert]
