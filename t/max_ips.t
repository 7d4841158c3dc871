# max_ips= of a user.  The monotonic time is set, so that a minute passes at once.

use lib "t/lib";
use VMess::Clock;
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();
workers(4);

my $passed = 0;

sub clock {
    my ($seconds) = @_;
    set_clock(monotonic => $passed += $seconds);
}

sub users {
    my ($alice) = @_;
    return "vmess_users main:1m {\nalice $User{alice} $alice;\nbob $User{bob};\n}\n"
           . "log_format status '\$vmess_status';\naccess_log %%DIR%%/stream.log status;\n";
}

our $site = <<'END';
server {
    vmess_listen site;
    proxy_pass 127.0.0.1:%%site%%;
}
END

our $server = <<'END';
vmess main;
vmess_fallback site;
set_real_ip_from 127.0.0.1;
proxy_pass vmess_target;
END

# a connection from an address

sub from {
    my ($addr) = @_;
    my $s = tcp();
    my $v = $addr =~ /:/ ? "TCP6 $addr ::1" : "TCP4 $addr 192.0.2.1";
    put($s, "PROXY $v 1024 10086\r\n");
    return $s;
}

# the first bytes from nginx

sub answer {
    my ($s) = @_;
    my $in = '';
    $s->blocking(0);
    while (length $in < 5) {
        IO::Select->new($s)->can_read(20) or last;
        sysread($s, $in, 4096, length $in) or last;
    }
    return $in;
}

# a flow from there with a byte that came back, undef if it is at the site

sub try {
    my ($addr, @o) = @_;
    my $v = vmess(to => 'echo', @o);
    my $s = from($addr);
    my $f = $v->connect($s, quiet => 1);
    put($s, $v->header . $v->chunk('a'));
    my $in = answer($s);
    return undef if $in =~ /^site:/;
    $f->feed($in);
    return $f->read(1) eq 'a' ? $f : undef;
}

clock(0);
run_tests();

__DATA__

=== TEST 1: another address is refused as an unknown user is
--- servers
echo echo
site tag site
udp udp_echo
--- stream_config eval: $::site . main::users('max_ips=2')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my @in = map { main::try($_) } '10.0.0.1', '2001:db8:0:1::1';
is(scalar(grep { $_ } @in), 2, 'two addresses');
push @in, main::try('10.0.0.1'), main::try('2001:db8:0:1:ffff::2');
is(scalar(grep { $_ } @in), 4, 'again, and of the same network');
ok(!main::try($_), $_) for '10.0.0.2', '2001:db8:0:2::1';
for my $user (qw(alice mallory)) {
    my $s = main::from('10.0.0.3');
    my $bytes = vmess(user => $user, to => 'echo')->header . 'x' x 3000;
    put($s, $bytes);
    is(read_n($s, 5 + length $bytes), "site:$bytes", "$user is at the site");
}
ok(main::try('10.0.0.2', user => 'bob'), 'bob may come from everywhere');
is(wait_log(qr/client opened a flow of user "alice", who comes from as many addresses as allowed/),
   1, 'the log says why');

my $s = main::from('10.0.0.4');
my $v = vmess(cmd => 'mux');
put($s, $v->header . 'x' x 5000);
like(read_n($s, 20), qr/^site:/, 'a connection of mux');

my $m = VMess::Mux->new(flow(cmd => 'mux', via => main::from('10.0.0.1')));
$m->open(1, port => port('echo'), data => 'm');
$m->open(2, net => 'udp', port => port('udp'), data => 'm');
is($m->read(1, 1) . $m->receive(2), 'mm', 'one from an address that is there');
$m->close;
$_->send('b') for @in;
is(join('', map { $_->read(1) } @in), 'bbbb', 'nobody is banned');
$_->close for @in;
wait_for(sub { access_log() =~ /max_ips/ });
--- stream_response: 1


=== TEST 2: never more, at four workers at once
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=3')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my ($wrong, $closed, $n) = (0, 0, 0);
for my $round (1 .. 3) {
    my %in;
    my @try = map {
        my ($addr, $v) = ("10.$round.0." . (1 + $_ % 12), vmess(to => 'echo'));
        my $s = main::from($addr);
        $v->connect($s, quiet => 1);
        [ $addr, $v, $s, $v->header . $v->chunk('a') ]
    } 1 .. 36;
    put($_->[2], $_->[3]) for @try;
    for (@try) {
        my ($addr, $v, $s) = @$_;
        my $answer = main::answer($s);
        $closed++ if $answer eq '';
        $in{$addr} = 1, $n++ if $answer !~ /^(?:site:|$)/;
    }
    $wrong++ if keys %in != 3;
    close $_->[2] for @try;
    wait_log(qr/vmess user "alice": /, $n);
    main::clock(61);
}
is($closed, 0, 'who is late for the last place is at the site');
$wrong;
--- stream_response: 0


=== TEST 3: an address is held for a minute after its last flow
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=1')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my $f = main::try('10.0.0.1');
$f->close;
wait_log(qr/vmess user "alice": up:1 /);
ok(!main::try('10.0.0.2'), 'at once');
main::clock(55);
ok(!main::try('10.0.0.2'), 'soon');
main::clock(10);
ok(main::try('10.0.0.2'), 'after a minute');
ok(!main::try('10.0.0.1'), 'the first one is free');
1;
--- stream_response: 1


=== TEST 4: of silent flows it may be taken over
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=2')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my @old = map { main::try('10.0.0.1') } 1 .. 2;
my $m = VMess::Mux->new(flow(cmd => 'mux', via => main::from('10.0.0.1')));
$m->open(1, port => port('echo'), data => 'm');
is($m->read(1, 1), 'm', 'a sub-connection');
my $talks = main::try('10.0.0.2');
main::clock(10);
$talks->send('b');
is($talks->read(1), 'b', 'one that talks');
main::clock(10);
my $new = main::try('10.0.0.3');
ok($new, 'in place of the silent one');
ok(!main::try('10.0.0.4'), 'and no other');
$_->send('b') for @old, $talks, $new;
is($_->read_eof, '', 'a flow of the first ends') for @old;
$m->keep(1, 'b');
is($m->read_all(1), '', 'and a sub-connection');
is($_->read(1), 'b', 'others go on') for $talks, $new;
log_count(qr/flow of user "alice", who comes from as many addresses as allowed, is closed/);
--- stream_response: 3


=== TEST 5: what a killed worker held is free again
--- servers
echo echo
site tag site
--- may_alert
--- stream_config eval: $::site . main::users('max_ips=1 max_conns=12')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my @f = map { main::try('10.0.0.1') } 1 .. 12;
ok(!main::try('10.0.0.1'), 'as many flows as allowed');

# the one that has most of them: the place of one is not enough

my %n = map { $_ => log_count(qr/\[info\] $_#.* proxy .* connected/) } children();
halt('KILL', (sort { $n{$b} <=> $n{$a} } keys %n)[0]);
wait_for(sub { workers_alive() == 4 });
my $new;
wait_for(sub { $new = main::try('10.0.0.1') });
ok($new, 'its flows are not counted any more');
ok(!main::try('10.0.0.2'), 'the others hold their address');
main::clock(20);
ok(main::try('10.0.0.2'), 'as long as they are not silent');

halt('KILL', children());
wait_for(sub { workers_alive() == 4 });
ok(!main::try('10.0.0.3'), 'that of all is held');
main::clock(61);
wait_for(sub { main::try('10.0.0.3') ? 1 : 0 });
--- stream_response: 1


=== TEST 6: a zone that has no room
--- servers
echo echo
site tag site
--- may_alert
--- stream_config eval: $::site . main::users('max_ips=2000')
--- stream_server_config eval: $::server
--- listen: reuseport proxy_protocol
--- stream_client
my $refused;
for (0 .. 1199) {
    my $f = main::try('10.1.' . int($_ / 250) . '.' . $_ % 250);
    $refused = $_, last if !$f;
    $f->close;
}
cmp_ok($refused, '>', 700, "after $refused");
wait_log(qr/\[alert\] .*vmess_users "main": no room for more addresses of users with "max_ips="/);
--- stream_response: 1


=== TEST 7: addresses of a user who was removed are not those of the next one
--- servers
echo echo
site tag site
--- config: location /api/ { vmess_api main write; }
--- stream_config eval: $::site . main::users('max_ips=1')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my $api = sub {
    my ($method, $user, $body) = @_;
    my $s = tcp(http_port());
    put($s, "$method /api/users/$user HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
    my $answer = slurp($s);
    return $answer =~ m{^HTTP/1.1 (\d+)} && "$1 " . ($answer =~ /"addresses":(\d+)/ ? $1 : '');
};
my $body = '{"id":"%s","max_ips":1}';
is($api->('PUT', 'carol', sprintf $body, $User{mallory}), '201 0', 'carol');
my $f = main::try('10.0.0.1', user => 'mallory');
ok($f, 'has an address');
$f->close;
is($api->('DELETE', 'carol', ''), '204 ', 'and goes');
wait_log(qr/vmess user "carol"/);
main::clock(2);
my $dave = '8c9e6679-7425-40de-944b-e07fc1f90ae7';
is($api->('PUT', 'dave', sprintf $body, $dave), '201 0', 'dave has none yet');
local $User{dave} = $dave;
ok(main::try('10.0.0.2', user => 'dave'), 'and comes from where he likes');
1;
--- stream_response: 1


=== TEST 8: at one worker, two that are late for the last place
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=2')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
edit_conf(sub { s/^worker_processes\s+\K\d+/1/m });
reload();
wait_for(sub { workers_alive() == 1 });

my @late = map { my $v = vmess(to => 'echo');
                 my $header = $v->header;
                 my $s = main::from($_);
                 put($s, substr $header, 0, -1);
                 [ $s, $v, $header ] } map { "10.0.0.$_" } 1 .. 4;

is(wait_log(qr/proxy \S+ connected to/, 4), 1, 'they are at the site');

# the worker sees them at once

my @workers = children();
halt('STOP', @workers);
put($_->[0], substr($_->[2], -1) . $_->[1]->chunk('a')) for @late;
kill 'CONT', @workers;

my @in;
my $site = 0;

for (@late) {
    my ($s, $v, $header) = @$_;
    my $f = $v->connect($s, quiet => 1);
    my $in = main::answer($s);
    if ($in =~ /^site:/) {
        $site++;
        next;
    }
    $f->feed($in);
    push @in, $f if $f->read(1) eq 'a';
}
is(scalar @in, 2, 'two are let in');
is($site, 2, 'the others stay where they are');
wait_log(qr/client opened a flow of user "alice", who comes from as many addresses as allowed/, 2);
--- stream_response: 1


=== TEST 9: who is refused by something else leaves nothing behind
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=1') . 'limit_conn_zone $remote_addr zone=one:1m;'
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server . 'limit_conn one 1; vmess_ciphers aes-128-gcm; vmess_commands tcp mux;'
--- stream_client
my $f = main::try('10.0.0.1');
ok($f, 'an address');
main::clock(20);

my $refused = sub {
    my ($addr, %o) = @_;
    my $v = vmess(to => 'echo', %o);
    my $s = main::from($addr);
    put($s, $v->header);
    is(sysread($s, my $b, 1), 0, "refused: $o{what}");
};

$refused->('10.0.0.2', what => 'cipher', sec => 'chacha20-poly1305');
$refused->('10.0.0.2', what => 'command', cmd => 'udp');
$f->send('b');
is($f->read(1), 'b', 'a silent one loses nothing by that');
$f->close;
wait_log(qr/vmess user "alice": up:2 /);
main::clock(61);

my $v = vmess(to => 'echo');
my $header = $v->header;
my $s = main::from('10.0.0.3');
put($s, substr $header, 0, -1);
is(wait_log(qr/proxy \S+ connected to 127\.0\.0\.1:@{[ port('site') ]}/), 1, 'one is at the site');
my $bob = main::try('10.0.0.3', user => 'bob');
ok($bob, 'another one comes from there');
put($s, substr $header, -1);
is(sysread($s, my $b, 1), 0, 'refused: limit_conn');
main::try('10.0.0.4') ? 1 : 0;
--- stream_response: 1


=== TEST 10: a connection that was let in has a place for its first sub-connection
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=1')
--- listen: reuseport proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
my $m = VMess::Mux->new(flow(cmd => 'mux', via => main::from('10.0.0.1')));

# what is for no sub-connection is answered by an end
$m->expect(9)->keep(9, 'x');
$m->ended(9);

ok(!main::try('10.0.0.2'), 'another address');
$m->open(1, port => port('echo'), data => 'm');
is($m->read(1, 1), 'm', 'the sub-connection');
$m->end(1);
wait_log(qr/vmess user "alice": up:/);
main::clock(61);
main::try('10.0.0.2') ? 1 : 0;
--- stream_response: 1


=== TEST 11: a session of XUDP that goes on from another address holds that
--- servers
udp udp_echo
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_ips=1')
--- listen: proxy_protocol
--- stream_server_config eval: $::server
--- stream_client
edit_conf(sub { s/^worker_processes\s+\K\d+/1/m });
reload();
wait_for(sub { workers_alive() == 1 });

my $open = sub {
    VMess::Mux->new(flow(cmd => 'mux', via => main::from($_[0])))
        ->open(1, net => 'udp', port => port('udp'), data => $_[0], global_id => 'ABCDEFGH');
};
my $old = $open->('10.0.0.1');
is($old->receive(1), '10.0.0.1', 'a session');
main::clock(20);
my $new = $open->('10.0.0.2');
is($new->receive(1), '10.0.0.2', 'goes on elsewhere');
$old->close;

for my $data (qw(a b)) {
    $new->keep(1, $data);
    is($new->receive(1), $data, 'it talks');
}
ok(!main::try('10.0.0.3'), 'another address');
main::clock(20);
ok(main::try('10.0.0.3'), 'when it is silent');
log_count(qr/flow of user "alice", who .*, is closed/);
--- stream_response: 0
