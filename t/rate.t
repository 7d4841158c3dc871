# The rate of a user: of all its flows together, on all carriers and workers.
#
#   TEST_VMESS_SECONDS   if it is set, what one flow and what 50 flows get of a
#                        rate, in so many seconds after the burst, is printed

use lib "t/lib";
use TestVMess;
use Time::HiRes qw(time);
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::Mux;
use VMess::XHTTP;

our $SECONDS = $ENV{TEST_VMESS_SECONDS} || 0;

plan "no_plan";
no_shuffle();
workers(4);

sub users {
    my ($alice, $bob) = (@_, '');
    return "vmess_users main:1m {\nalice $User{alice} $alice;\nbob $User{bob} $bob;\n}\n";
}

our $servers = <<'END';
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_4%% udp reuseport;
    vmess main;
    vmess_kcp;
    proxy_pass vmess_target;
}
server {
    vmess_listen ray;
    vmess main;
    proxy_pass vmess_target;
}
END

our $http = <<'END';
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
}
END

our $config = <<'END';
location = /ray { vmess_pass ray; }
location /x/ { vmess_pass ray xhttp; }
END

our @carriers = (
    [ tcp => sub { tcp() } ],
    [ tls => sub { tls(port => stream_port() + 2) } ],
    [ mkcp => sub { VMess::KCP::connect(stream_port() + 4) } ],
    [ websocket => sub { ws() } ],
    [ grpc => sub {
        VMess::HTTP2->new(tcp(stream_port() + 3))->request('POST', '/svc/Tun',
            codec => VMess::GRPC->new,
            headers => [ 'content-type' => 'application/grpc', te => 'trailers' ]);
    } ],
    [ xhttp => sub {
        VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                          path => '/x/', mode => 'packet-up');
    } ],
);

# n bytes take as long as they have to: but for a burst of a second, and what
# is read in one go

sub takes {
    my ($start, $n, $rate, $name) = @_;
    cmp_ok(time - $start, '>=', ($n - 32768) / $rate - 1, $name);
}

sub mux { return VMess::Mux->new(flow(cmd => 'mux', @_)) }

run_tests();

__DATA__

=== TEST 1: what a client gets, on each carrier
--- servers
src source 600000
--- stream_config eval: $::servers . main::users('rate=500m rate_down=400k')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
my $start = time;
my $n = 0;
for (@main::carriers) {
    my ($name, $via) = @$_;
    my $t = time;
    is(flow(to => 'src', via => $via->())->read(600000), pattern(600000), $name);
    main::takes($t, 600000, 400 << 10, 'not faster');
    $n += 600000;
}
my $m = main::mux();
my $t = time;
$m->open(1, port => port('src'));
is($m->read_all(1), pattern(600000), 'mux');
main::takes($t, 600000, 400 << 10, 'not faster');
main::takes($start, $n + 600000, 400 << 10, 'all together');
--- stream_response: 1


=== TEST 2: what a client sends, on each carrier
--- servers
sink sink
after after 600000
--- stream_config eval: $::servers . main::users('rate_up=400k')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
my $start = time;
my $n = 0;
for (@main::carriers) {
    my ($name, $via) = @$_;
    my $t = time;
    my $f = flow(to => 'sink', via => $via->());
    $f->send(pattern(600000));
    $f->end;
    is($f->read(6 + 1 + 64), '600000 ' . sha256_hex(pattern(600000)), $name);
    main::takes($t, 600000, 400 << 10, 'not faster');
    $n += 600000;
}
my $m = main::mux();
my $t = time;
$m->open(1, port => port('after'));
$m->write(VMess::Mux::run(1, pattern(600000)));
is($m->read_all(1), "got 600000\n", 'mux');
main::takes($t, 600000, 400 << 10, 'not faster');
main::takes($start, $n + 600000, 400 << 10, 'all together');
--- stream_response: 1


=== TEST 3: datagrams wait, either way
--- servers
udp udp_echo
--- stream_config eval: main::users('rate_up=20k', 'rate_down=20k')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $user (qw(alice bob)) {
    my $t = time;
    my $f = flow(user => $user, to => 'udp', cmd => 'udp');
    $f->send(map { numbered($_, 1000) } 1 .. 60);
    is(scalar(grep { defined } $f->receive(60)), 60, "$user, all of them");
    main::takes($t, 60000, 20 << 10, 'not faster');

    $t = time;
    my $m = main::mux(user => $user);
    $m->open(1, net => 'udp', port => port('udp'), data => numbered(0, 1000));
    $m->keep(1, numbered($_, 1000)) for 1 .. 59;
    my %got;
    $got{number_of($m->receive(1), 1000)} = 1 for 1 .. 60;
    is(scalar keys %got, 60, "$user, of a sub-connection");
    main::takes($t, 60000, 20 << 10, 'not faster');
}
1;
--- stream_response: 1


=== TEST 4: flows at four workers share the rate fairly
--- servers
src source 1000000000
--- stream_config eval: main::users('rate=512k')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $rate = 512 << 10;
for my $n ($main::SECONDS ? (1, 50) : (12)) {
    my $start = time;
    my %flow = map { $_->{sock} => $_ } map { flow(to => 'src') } 1 .. $n;
    my $set = IO::Select->new(map { $_->{sock} } values %flow);
    my %got = map { $_ => 0 } keys %flow;
    my ($all, $since, %since) = (0);
    while ($all < 6 * $rate || $since && time < $since + $main::SECONDS) {
        for my $s ($set->can_read(20)) {
            my $f = $flow{$s};
            my $once = 0;
            $f->_pump('', sub { $once++ });
            $got{$s} += length $f->{in};
            $all += length $f->{in};
            $f->{in} = '';
        }
        if (!%since && $all > 2 * $rate) {
            %since = (%got, all => $all);
            $since = time;
        }
    }
    main::takes($start, $all, $rate, 'together not faster');
    my @n = sort { $a <=> $b } map { $got{$_} - $since{$_} } keys %got;
    cmp_ok($n[-1] / $n[0], '<=', 1.5, "@n");
    diag(sprintf 'flows: %d, %.2f %% of the rate, from %.2f to %.2f of an equal share', $n,
         100 * ($all - $since{all}) / (time - $since) / $rate,
         map { $_ * $n / ($all - $since{all}) } @n[0, -1]) if $main::SECONDS;
    $_->close for values %flow;
}
1;
--- stream_response: 1


=== TEST 5: others go on
--- servers
src source 1000000000
echo echo
--- stream_config eval: main::users('rate=20k')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = main::mux();
$m->open(1, port => port('src'));
is(length $m->read(1, 50000), 50000, 'one that waits');
$m->open(2, port => port('echo'), data => 'hello');
is($m->read(2, 5), 'hello', 'a new one beside it');
$m->keep(2, 'again');
is($m->read(2, 5), 'again', 'and once more');
cmp_ok(length $m->{sub}{1}{in}, '<', 200000, 'the first one still waits');
my $f = flow(user => 'bob', to => 'echo', data => 'x' x 500000);
is(length $f->read(500000), 500000, 'a user without a rate');
$m->close;
1;
--- stream_response: 1


=== TEST 6: a reload changes the rate of open flows
--- servers
src source 3000000
sink sink
--- stream_config eval: main::users('rate=20k')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $down = flow(to => 'src');
my $up = flow(to => 'sink');
is($down->read(40000), pattern(40000), 'it is slow');
$up->send(substr pattern(2000000), 0, 100000);
edit_conf(sub { s/rate=20k/rate=500m/ });
reload();
is(sha256_hex($down->read_all), sha256_hex(substr pattern(3000000), 40000), 'now it is fast');
edit_conf(sub { s/ rate=500m// });
reload();
$up->send(substr pattern(2000000), 100000);
$up->end;
is($up->read(7 + 1 + 64), '2000000 ' . sha256_hex(pattern(2000000)), 'and without a rate');
--- stream_response: 1


=== TEST 7: limits end flows that wait
--- servers
src source 1000000000
sink sink
--- stream_config eval: main::users('rate=20k')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $down = flow(to => 'src');
$down->read(40000);
my $up = flow(to => 'sink');
$up->send('x' x 100000);
edit_conf(sub { s/rate=20k/rate=20k disabled/ });
reload();
for ($down, $up) {
    $_->read_eof;
    is($_->{eof}, 1, 'ended');
}
wait_log(qr/flow of user "alice", who is disabled, is closed/);
--- stream_response: 1


=== TEST 8: proxy_timeout does not count what a flow waits
--- servers
src source 60000
sink sink
--- stream_config eval: main::users('rate=20k')
--- stream_server_config
vmess main;
proxy_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
is(flow(to => 'src')->read_all, pattern(60000), 'down');
my $f = flow(to => 'sink');
$f->send(pattern(60000));
$f->end;
is($f->read(5 + 1 + 64), '60000 ' . sha256_hex(pattern(60000)), 'up');
log_count(qr/timed out/);
--- stream_response: 0


=== TEST 9: with the lower one of proxy_download_rate
--- servers
src source 60000
--- stream_config eval: main::users('rate=200k')
--- stream_server_config
vmess main;
proxy_download_rate 20k;
proxy_pass vmess_target;
--- stream_client
my $t = time;
is(flow(to => 'src')->read_all, pattern(60000), 'all arrives');
main::takes($t, 60000, 20 << 10, 'not faster');
--- stream_response: 1


=== TEST 10: what is not proxied is not held up
--- stream_config eval: main::users('rate=1')
--- stream_server_config
vmess main;
return "hello";
--- stream_client
flow(host => '192.0.2.1', port => 80, data => 'x' x 1000)->read_all;
--- stream_response: hello


=== TEST 11: flows whose part is less than what is read in one go
--- servers
src source 1000000000
--- stream_config eval: main::users('rate=256k')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $rate = 256 << 10;
my $start = time;
my %flow = map { $_->{sock} => $_ } map { flow(to => 'src') } 1 .. 50;
my $set = IO::Select->new(map { $_->{sock} } values %flow);
my $all = 0;
while ($all < 6 * $rate) {
    for my $s ($set->can_read(20)) {
        my $once = 0;
        $flow{$s}->_pump('', sub { $once++ });
        $all += length $flow{$s}{in};
        $flow{$s}{in} = '';
    }
}
main::takes($start, $all, $rate, 'together not faster');
$_->close for values %flow;
1;
--- stream_response: 1
