# Users with many flows at all workers: each way in which they end, on each
# carrier, what their clients see, and how far a quota is exceeded.
#
#   TEST_VMESS_FLOWS   flows of a user, 100 by default; if it is set, how long
#                      it took and how far the quota was exceeded is printed

use v5.20;

BEGIN { $ENV{TEST_VMESS_ALARM} ||= 600 if $ENV{TEST_VMESS_FLOWS} }

use lib "t/lib";
use VMess::Clock;
use TestVMess;
use POSIX ();
use Time::HiRes qw(time sleep);
use VMess::API;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::Mux;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
workers(4);
worker_connections(4096);

our $FLOWS = $ENV{TEST_VMESS_FLOWS} || 100;
our $ALICE = { id => $User{alice}, max_ips => 10 };

our $users = "vmess_users main:1m { bob $User{bob}; }\n";

our $servers = <<'END';
server {
    listen 127.0.0.1:%%PORT_2%% ssl reuseport;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_mux_streams 1000;
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
    vmess_mux_streams 1000;
    proxy_pass vmess_target;
}
END

our $http = <<'END';
server {
    listen 127.0.0.1:%%PORT_3%% http2 reuseport;
    location = /svc/Tun { vmess_pass ray; }
}
END

our $config = <<'END';
location /api/ { vmess_api main write; }
location = /ray { vmess_pass ray; }
location /x/ { vmess_pass ray xhttp; }
END

our %via = (
    tcp => sub { tcp() },
    tls => sub { tls(port => stream_port() + 2) },
    websocket => sub { ws() },
    mkcp => sub { VMess::KCP::connect(stream_port() + 4) },
    grpc => sub {
        VMess::HTTP2->new(tcp(stream_port() + 3))->request('POST', '/svc/Tun',
            codec => VMess::GRPC->new,
            headers => [ 'content-type' => 'application/grpc', te => 'trailers' ]);
    },
    xhttp => sub {
        VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                          path => '/x/', mode => 'packet-up');
    },
);

# QUIC, if nginx has it: each flow is a stream of the same connection

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $python = `$nginx -V 2>&1` =~ /--with-http_v3_module/ ? `t/tools/quic-client` : '';
chomp $python;
my ($client, $pid, $streams);

if ($python) {
    $servers .= <<'END';
server {
    listen 127.0.0.1:%%PORT_5%% udp reuseport;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_quic;
    proxy_pass vmess_target;
}
END

    $via{quic} = sub {
        my $s = unix_sock("$Dir/quic.sock");
        put($s, 'stream c s' . ++$streams . "\n");
        my $answer = read_n($s, 3);
        die "$answer\n" if $answer ne "ok\n";
        return $s;
    };
}

sub quic_client {
    return unless $python;
    unlink "$Dir/quic.sock";
    $pid = open $client, '|-', $python, 't/lib/quic.py', "$Dir/quic.sock", stream_port() + 5
        or die "$python: $!";
}

sub quic_end {
    kill 'TERM', $pid if $pid;
    CORE::close $client if $client;
    undef $pid;
}

our $api;

sub api {
    my ($method, $path, @o) = @_;
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    my $a = $api->call($method, $path, @o);
    is($a->{status} =~ /^20/ ? '' : $a->{text}, '', "$method $path");
    return $a->{json};
}

sub alice { return $api->request(GET => 'users/alice')->{json} }

# whether she has no flow at any worker, removed or not

sub none_of_alice {
    my $s = tcp(http_port());
    put($s, "GET /api/flows?limit=1000 HTTP/1.0\r\n\r\n");
    my $text = slurp($s);
    return $text =~ /"next":null,"missing":0\}/ && $text !~ /"user":"(?!bob)/;
}

# a flow, or a connection with so many sub-connections; all are told "hello"

sub one {
    my ($user, $carrier, $subs) = @_;
    my %o = (user => $user, via => $via{$carrier eq 'udp' ? 'tcp' : $carrier}->());
    my $f = $subs ? VMess::Mux->new(flow(%o, cmd => 'mux'))
          : $carrier eq 'udp' ? flow(%o, to => 'udp', cmd => 'udp', data => 'hello')
          : flow(%o, to => 'echo', data => 'hello');
    $f->write(join '', map { $f->expect($_); $_ % 2
                  ? VMess::Mux::opening($_, net => 'udp', port => port('udp'), data => 'hello')
                  : VMess::Mux::opening($_, port => port('echo'), data => 'hello') } 1 .. $subs)
        if $subs;
    return { flow => $f, carrier => $carrier, subs => $subs };
}

# what comes back

sub echo {
    my ($o, $text) = @_;
    my $f = $o->{flow};
    return $o->{carrier} eq 'udp' ? $f->receive : $f->read(length $text) if !$o->{subs};
    return join '', map { $_ % 2 ? $f->receive($_) : $f->read($_, length $text) } 1 .. $o->{subs};
}

sub say_again {
    my ($o, $text) = @_;
    my $f = $o->{flow};
    $o->{subs} ? $f->write(join '', map { VMess::Mux::keeping($_, $text) } 1 .. $o->{subs})
               : $f->send($text);
    return echo($o, $text) eq $text x ($o->{subs} || 1);
}

# so many on each carrier; more than half of them are connections of their own

sub open_flows {
    my ($user, $n) = @_;
    my @single = (sort(keys %via), 'udp');
    my $each = int($n * 0.56 / @single) || 1;
    my $subs = int(($n - @single * $each) / 4) || 1;
    my @all = map { my $c = $_; map { one($user, $c, 0) } 1 .. $each } @single;
    push @all, map { one($user, $_, $subs) } qw(tcp tls websocket grpc);
    is(scalar(grep { echo($_, 'hello') ne 'hello' x ($_->{subs} || 1) } @all), 0, "flows of $user");
    return (@single * $each + 4 * $subs, @all);
}

# how a flow ended, as a client sees it: the end chunk, the end of the transport
# or an error of it, and what else the carrier has for it.  By the end chunk a
# client knows that it has got all.

sub end_of {
    my ($o) = @_;
    my $f = $o->{flow};

    # the server waits for five seconds, lest v2ray loses the last bytes
    $f->shut if $o->{carrier} eq 'quic';

    $o->{subs} ? $f->closed : $f->read_eof;
    $f = $f->{flow} if $o->{subs};

    my $s = $f->{sock};
    my @end = (map { "$_:" . ($f->{$_} // '') } qw(ended eof error));
    push @end, map { unpack 'H*', join ' ', @$_ } $s->seen if $s->isa('VMess::WebSocket');
    push @end, 'rst:' . ($s->rst // 0), map { "$_->[0]:$_->[1]" } trailers($s) if $s->isa('VMess::HTTP2::Stream');
    push @end, 'ended:' . ($s->down->ended // ''), 'rst:' . ($s->down->rst // '') if $s->isa('VMess::XHTTP');
    $f->close;
    return join ' ', @end;
}

sub trailers {
    my %t = %{ $_[0]->trailers };
    return map { [ $_, $t{$_} ] } sort keys %t;
}

# A child for each that downloads or sends as much as it can until the end.
# Returns when all have ended.

sub use_up {
    my @pids;

    for my $o (@_) {
        my $pid = fork // die "fork: $!";
        if ($pid) {
            push @pids, $pid;
            next;
        }
        $SIG{$_} = 'DEFAULT' for qw(TERM ALRM INT);
        $SIG{PIPE} = 'IGNORE';
        eval { $o->() };
        POSIX::_exit(0);
    }

    waitpid $_, 0 for @pids;
}

sub drain {
    my ($f) = @_;
    until ($f->{eof}) {
        my $once = 0;
        $f->_pump('', sub { $once++ });
        @$f{qw(in packets)} = ('', []);
    }
}

run_tests();

quic_end();

__DATA__

=== TEST 1: all flows of a user end in each way, and those of others do not
--- listen: reuseport
--- servers
echo echo
udp udp_echo
bye banner bye
src source 100000000
--- stream_config eval: $::users . $::servers
--- stream_server_config
vmess main;
vmess_mux_streams 1000;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
quic_client();
api(PUT => 'users/alice', $main::ALICE);

# what a client sees when the target ends
my %like;
for my $c (sort keys %main::via) {
    my $f = flow(to => 'bye', via => $main::via{$c}->());
    is($f->read(4), "bye\n", "$c, the target");
    my $end = main::end_of({ flow => $f, carrier => $c, subs => 0 });
    like($end, qr/^ended:1 eof:1 error:(?!\w)/, 'ends');
    $like{$c} = $end =~ s/ended:1/ended:0/r;
}
wait_for(sub { main::alice()->{flows} == 0 });

my (undef, @bob) = main::open_flows('bob', 20);

my @ways = (
    [ 'is removed', sub { api(DELETE => 'users/alice') } ],
    [ 'is kicked', sub { api(POST => 'users/alice/kick') } ],
    [ 'is disabled', sub { api(PATCH => 'users/alice', { disabled => \1 }) } ],
    [ 'has expired', sub {
        my $until = int(time) + 2;
        api(PATCH => 'users/alice', { expires => $until });
        select undef, undef, undef, $until - time while time < $until;
    } ],
    [ 'has used up the quota', sub {
        my @f = map { flow(to => 'src') } 1 .. 4;
        api(PATCH => 'users/alice', { quota => 10 << 20 });
        main::use_up(map { my $f = $_; sub { main::drain($f) } } @f);
        $_->close for @f;
    } ],
);

for my $way (@ways) {
    my ($title, $code) = @$way;
    my ($n, @flows) = main::open_flows('alice', $main::FLOWS);
    my $u = main::alice();
    is("$u->{flows} $u->{addresses}", "$n 1", "alice has $n flows");

    $code->();
    my $start = time;
    is(wait_for(\&main::none_of_alice), 1, "she $title: all are over");
    my $over = time - $start;

    # XHTTP takes a second to end a response
    my @bad;
    for my $o (@flows) {
        my $end = main::end_of($o);
        my $want = $o->{carrier} eq 'udp' ? $like{tcp} : $like{ $o->{carrier} };
        push @bad, "$o->{carrier} $o->{subs}: $end, not $want" if $end ne $want;
    }
    my $seen = time - $start;
    is(join("\n", @bad[0 .. ($#bad < 5 ? $#bad : 5)]), '', 'clients see the end of a target, but no end chunk');
    diag(sprintf '%-20s %d flows: over after %.2f s, seen by the last client after %.2f s',
                 $title, $n, $over, $seen)
        if $ENV{TEST_VMESS_FLOWS};

    is(wait_for(sub { main::alice()->{flows} == 0 }), 1, 'none is counted') if $title ne 'is removed';
    is(scalar(grep { !main::say_again($_, "after she $title") } @bob), 0, 'those of bob go on');

    api(PUT => 'users/alice', $main::ALICE);
    is(wait_for(sub { flow(to => 'echo', data => 'hello')->read(5) eq 'hello' }), 1, 'she comes again');
    is(wait_for(sub { main::alice()->{flows} == 0 }), 1, 'and goes');
}
$_->{flow}->close for @bob;
quic_end();
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 2: a quota is exceeded by a MiB for each flow at most
--- listen: reuseport
--- servers
echo echo
udp udp_echo
src source 1000000000
silent silent
us udp_source
--- stream_config eval: $::users . $::servers
--- stream_server_config
vmess main;
vmess_mux_streams 1000;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
my $quota = 32 << 20;
for my $round (1 .. ($ENV{TEST_VMESS_FLOWS} ? 10 : 1)) {
    api(PUT => 'users/alice', { %$main::ALICE, quota => $quota });
    my $n = 0;
    my @load;
    for my $c (qw(tcp websocket grpc)) {
        my $down = flow(to => 'src', via => $main::via{$c}->());
        my $up = flow(to => 'silent', via => $main::via{$c}->());
        push @load, sub { main::drain($down) },
                    sub { my $data = 'x' x 65536; $up->send($data) until $up->{eof} || $up->{error} };
        $n += 2;
    }
    my $m = VMess::Mux->new(flow(cmd => 'mux'));
    $m->open($_, port => port('src')) for 1 .. 4;
    push @load, sub { main::drain($m->{flow}) };
    $n += 4;
    my $u = flow(to => 'udp', cmd => 'udp', data => 'a');
    my @d = ('x' x 1400) x 40;
    push @load, sub {
        until ($u->{eof}) {
            $u->send(@d);
            my $once = 0;
            $u->_pump('', sub { $once++ });
            $u->{packets} = [];
        }
    };
    $n++;
    main::use_up(@load);
    is(wait_for(sub { main::alice()->{flows} == 0 }), 1, 'all flows have ended');
    my $used = main::alice()->{used};
    cmp_ok($used, '>=', $quota, 'the quota is used up');
    cmp_ok($used, '<=', $quota + ($n << 20), 'and not much more');
    diag(sprintf '%d flows, %.3f MiB more than the quota, %.3f for each',
                 $n, ($used - $quota) / (1 << 20), ($used - $quota) / (1 << 20) / $n)
        if $ENV{TEST_VMESS_FLOWS};
    api(DELETE => 'users/alice');
    wait_for(sub { $main::api->request(GET => 'users/alice')->{status} == 404 });
    select undef, undef, undef, 0.6 if $ENV{TEST_VMESS_FLOWS};
}
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 3: who has ended flows wakes all workers, which do not wait for a timer
--- listen: reuseport
--- servers
echo echo
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- config
location /api/ { vmess_api main write; }
--- stream_client
api(PUT => 'users/alice', $main::ALICE);
my @bob = map { flow(user => 'bob', to => 'echo', data => 'hello') } 1 .. 20;
is(join('', map { $_->read(5) } @bob), 'hello' x @bob, 'flows of bob');
my $seconds = 0;
for my $way ([ 'is kicked' => sub { api(POST => 'users/alice/kick') } ],
             [ 'is kicked again' => sub { api(POST => 'users/alice/kick') } ],
             [ 'is disabled' => sub { api(PATCH => 'users/alice', { disabled => \1 }) } ])
{
    my ($title, $code) = @$way;
    my @flows = map { flow(to => 'echo', data => 'hello') } 1 .. 20;
    is(join('', map { $_->read(5) } @flows), 'hello' x @flows, 'flows of alice');
    stop_clock($seconds += 2);
    TestVMess::idle();
    is(scalar(grep { !main::say_again({ flow => $_, carrier => 'tcp' }, 'again') } @flows, @bob), 0,
       'all go on');
    $code->();
    $_->read_eof for @flows;
    is(scalar(grep { !$_->{eof} } @flows), 0, "she $title: all are over");
    is(scalar(grep { !main::say_again({ flow => $_, carrier => 'tcp' }, 'hello') } @bob), 0, 'but those of bob');
}
stop_clock(undef);
$_->close for @bob;
1;
--- stream_response: 1
