# Limits of users: who has reached one is refused as if unknown, and flows that
# are open end.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::KCP;
use VMess::Mux;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();
workers(2);

our $ray = <<'END';
log_format status '$vmess_status $vmess_user';
access_log %%DIR%%/stream.log status;
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
location = /alive { return 200; }
END

our $variables = "log_format l '\$vmess_status \$vmess_expires \$vmess_quota_left';";

our $site = $ray . <<'END';
server {
    vmess_listen site;
    proxy_pass 127.0.0.1:%%site%%;
}
END

# alice and bob, with limits

sub users {
    my ($alice, $bob) = (@_, '');
    return "vmess_users main:1m {\nalice $User{alice} $alice;\nbob $User{bob} $bob;\n}\n";
}

# the status of all flows, of so many lines that are waited for

sub statuses {
    my ($n) = @_;
    wait_for(sub { (my @l = split /\n/, access_log()) >= $n });
    return join "\n", sort split /\n/, access_log();
}

# open flows of a user on several carriers, each with a byte that came back

sub flows {
    my @o = @_;
    my $m = VMess::Mux->new(flow(cmd => 'mux', @o));
    $m->open(1, port => port('echo'), data => 'm');
    $m->open(2, net => 'udp', port => port('udp'), data => 'm');
    is($m->read(1, 1), 'm', 'a sub-connection');
    is($m->receive(2), 'm', 'and one of datagrams');

    my @flows = (flow(@o, to => 'echo', data => 'a'),
                 map({ flow(@o, to => 'echo', data => 'a', via => $_) }
                     ws(), tls(port => stream_port() + 2),
                     VMess::KCP::connect(stream_port() + 4), grpc(), xhttp()));
    is($_->read(1), 'a', 'a flow') for @flows;

    push @flows, flow(@o, to => 'udp', data => 'a', cmd => 'udp');
    is($flows[-1]->receive, 'a', 'and one of datagrams');
    return ($m, @flows);
}

# headers on these connections, but for the last byte

sub late {
    return map { my $v = vmess(to => 'echo');
                 my $bytes = $v->header;
                 my $s = $_;
                 put($s, substr $bytes, 0, -1);
                 { v => $v, s => $s, bytes => $bytes } } @_;
}

# the last bytes, which the workers find all at once: what comes, and those that
# were let in

sub at_once {
    my @late = @_;
    my @workers = children();
    halt('STOP', @workers);
    for (@late) {
        my $rest = $_->{v}->chunk('a');
        $_->{bytes} .= $rest;
        put($_->{s}, substr $_->{bytes}, -1 - length $rest);
    }
    kill 'CONT', @workers;

    my @in;
    for my $l (@late) {
        $l->{in} = '';
        $l->{s}->blocking(0);
        wait_for(sub {
            my $n = sysread($l->{s}, $l->{in}, 4096, length $l->{in});
            return defined $n && $n == 0 || length $l->{in} >= 5
                   && ($l->{in} !~ /^site:/ || length $l->{in} >= 5 + length $l->{bytes});
        });
        next if $l->{in} eq '' || $l->{in} =~ /^site:/;
        my $f = $l->{v}->connect($l->{s}, quiet => 1);
        $f->feed($l->{in});
        push @in, $f if $f->read(1) eq 'a';
    }
    return @in;
}

sub grpc {
    return VMess::HTTP2->new(tcp(stream_port() + 3))->request('POST', '/svc/Tun',
        codec => VMess::GRPC->new,
        headers => [ 'content-type' => 'application/grpc', te => 'trailers' ]);
}

sub xhttp {
    return VMess::XHTTP->new(connect => sub { VMess::XHTTP::H1->new(tcp(http_port())) },
                             path => '/x/', mode => 'packet-up');
}

# ends without an error of the wire

sub over {
    my ($f) = @_;
    return $f->closed if $f->isa('VMess::Mux');
    $f->read_eof;
    return $f->{eof};
}

run_tests();

__DATA__

=== TEST 1: who has expired is refused as if unknown
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('expires=2001-09-09T03:46:40+02:00', 'expires=32503680000')
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
for my $user (qw(alice mallory)) {
    my $s = tcp();
    my $bytes = vmess(user => $user, to => 'echo')->header . 'x' x 3000;
    put($s, $bytes);
    is(read_n($s, 5 + length $bytes), "site:$bytes", "$user is at the site");
}
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello', 'bob is not');
is(wait_log(qr/client opened a flow of user "alice", who has expired/), 1, 'the log says why');
statuses(3);
--- stream_response chop
expired -
ok bob
unknown -


=== TEST 2: open flows end as they expire
--- servers
echo echo
udp udp_echo
--- stream_config eval: $::ray
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
my @bob = flows(user => 'bob');
my @old = flows();
reload();
my @new = flows();
my $until = int(Time::HiRes::time()) + 3;
edit_conf(sub { s/alice \S+\K;/ expires=$until;/ });
reload();
is(scalar(grep { !over($_) } @old, @new), 0, 'all ended');
cmp_ok(Time::HiRes::time(), '>=', $until, 'not before');
is(flow(to => 'echo', data => 'x' x 5000)->read_eof, '', 'and new ones are refused');
cmp_ok(log_count(qr/flow of user "alice", who has expired, is closed/), '>=', 12, 'they are told');

# nginx ends datagrams of old workers
my ($m, $tcp, $ws) = @bob;
$_->send('b') for $tcp, $ws;
$m->keep(1, 'b');
is($tcp->read(1) . $ws->read(1) . $m->read(1, 1), 'bbb', 'others go on');
$_->close for @bob;
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 3: open flows end when their quota is used up
--- servers
echo echo
udp udp_echo
src source 300000000
--- stream_config eval: $::ray . main::users('quota=20m')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config eval: $::config
--- stream_client
my @idle = flows();
my @src = map { flow(to => 'src') } 1 .. 4;
my $got = 0;
for my $f (@src) {
    $got += length $f->read_eof;
}
cmp_ok($got, '<', (20 + 4) << 20, 'at most 1m more for each flow');
cmp_ok($got, '>', 15 << 20, 'nearly all of it');
is(scalar(grep { !over($_) } @idle), 0, 'those without data end, too');
is(flow(to => 'echo', data => 'x' x 5000)->read_eof, '', 'new ones are refused');
is(wait_log(qr/client opened a flow of user "alice", who has used up the quota/), 1, 'it is told');
is(flow(user => 'bob', to => 'echo', data => 'hello')->read(5), 'hello', 'bob is let in');

edit_conf(sub { s/quota=20m/quota=40m/ });
reload();
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'a greater quota');
like(statuses(14), qr/^limited -$/m, 'a status');
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 4: as many flows as allowed, and never more
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_conns=3')
--- listen: reuseport
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
for my $round (1 .. 5) {
    my @try;
    for (1 .. 20) {
        my $v = vmess(to => 'echo');
        my $s = tcp();
        push @try, $v->connect($s, data => 'hello');
    }
    my @in;
    for my $v (@try) {
        $v->{in} = '';
        my $answer = eval { $v->read(5) } // '';
        $answer eq 'hello' ? push(@in, $v) : $v->close;
    }
    is(scalar @in, 3, 'three of twenty');
    my $m = VMess::Mux->new(flow(cmd => 'mux'));
    $m->open(1, port => port('echo'), data => 'm');
    $m->ended(1);
    is($m->{sub}{1}{end}, 2, 'no sub-connection more');
    (shift @in)->close;
    my $id = 1;
    is(wait_for(sub {
        $m->open(++$id, port => port('echo'), data => 'm');
        return $m->read($id, 1) eq 'm';
    }), 1, 'but for one that ended');
    $_->close for @in, $m;
    wait_for(sub { flow(user => 'bob', to => 'echo', data => 'b')->read(1) eq 'b' });
    wait_for(sub { my @f = map { flow(to => 'echo', data => 'f') } 1 .. 3;
                   my $n = grep { (eval { $_->read(1) } // '') eq 'f' } @f;
                   $_->close for @f;
                   $n == 3 });
}
is(wait_log(qr/client opened a flow of user "alice", who has as many flows as allowed/), 1, 'told');
like(access_log(), qr/^max_conns -$/m, 'a status');
log_count(qr/\[alert\]/);
--- stream_response: 0


=== TEST 5: who expires while his header is half sent, and others end
--- servers
echo echo
udp udp_echo
--- stream_config eval: $::ray
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_client
my $until = int(Time::HiRes::time()) + 10 * ($Scale > 2 ? 2 : 1);
edit_conf(sub { s/alice \S+\K;/ expires=$until;/ });
reload();

# at both workers there are some of them when others end
my @half = map { my $v = vmess(to => 'echo'); my $s = tcp();
                 my $header = $v->header;
                 put($s, substr $header, 0, 30);
                 [ $v, $s, substr $header, 30 ] } 1 .. 8;
my @bob = map { flow(user => 'bob', to => 'echo', data => 'b') } 1 .. 8;
is($_->read(1), 'b', 'bob') for @bob;
edit_conf(sub { s/bob \S+\K;/ expires=2001-01-01;/ });
reload();
is(scalar(grep { !over($_) } @bob), 0, 'bob has no flow any more');

my @whole = map {
    my ($v, $s, $rest) = @$_;
    put($s, $rest . $v->chunk('a'));
    $v->connect($s, quiet => 1);
} @half;
is(join('', map { $_->read(1) } @whole), 'a' x 8, 'the others are let in');
is(scalar(grep { !over($_) } @whole), 0, 'and end');
cmp_ok(Time::HiRes::time(), '>=', $until, 'as they expire');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 6: who is disabled; variables
--- servers
echo echo
--- stream_config eval: main::users('quota=1000 expires=32503680000', 'disabled') . $::variables
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
is(flow(user => 'bob', to => 'echo', data => 'x' x 5000)->read_eof, '', 'bob is disabled');
is(wait_log(qr/client opened a flow of user "bob", who is disabled/), 1, 'it is told');
my $f = flow(to => 'echo', data => 'x' x 100);
is(length $f->read(100), 100, 'alice is not');
$f->close;
my @l;
wait_for(sub { (@l = split /\n/, access_log()) == 2 });
is(join(', ', sort @l), 'disabled - -, ok 32503680000 800', 'what is left of the quota');

$f = flow(to => 'echo', data => 'a');
is($f->read(1), 'a', 'a flow');
edit_conf(sub { s/alice \S+\K/ disabled/ });
reload();
is(over($f), 1, 'it ends');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 7: a flow in preread ends
--- servers
echo echo
--- stream_server_config
vmess main;
ssl_preread on;
preread_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => "\x16\x03\x01");
idle();
edit_conf(sub { s/alice [\w-]+\K/ disabled/ });
reload();
is(over($f), 1, 'it ends');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 8: flows in a zone of another size end, too
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'a');
is($f->read(1), 'a', 'a flow');
edit_conf(sub { s/main:1m/main:3m/; s/alice [\w-]+\K/ expires=2001-01-01/ });
reload();
is(over($f), 1, 'it ends');
wait_for(sub { workers_alive() == 2 });
--- stream_response: 1


=== TEST 9: a session that goes to another worker is no flow more
--- servers
a udp_peer
--- stream_config eval: main::users('max_conns=1')
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $open = sub { VMess::Mux->new(flow(cmd => 'mux'))
                     ->open(1, net => 'udp', port => port('a'), data => '?',
                            global_id => $_[0]) };
my $m;
for my $n (1 .. 16) {
    my $old = $m;
    my $got;

    # the other worker may be late to count it no more
    for (1 .. 3) {
        $m = $open->('ABCDEFGH');
        last if $got = ($m->receive(1))[0];
    }
    ok($got, "session $n");
    $old->close if $old;
}
$m = $open->('HGFEDCBA');
is(($m->receive(1))[0], undef, 'another one is refused');
is($m->{sub}{1}{end}, 2, 'as a sub-connection without a name is');
--- stream_response: 1


=== TEST 10: a flow that is over is none while TLS waits for the client
--- servers
echo echo
src source 1000
--- stream_config eval: $::ray . main::users('max_conns=1')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config eval: $::http
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_client
my $tls = flow(to => 'src', via => tls(port => stream_port() + 2));
is(length $tls->read(1000), 1000, 'a flow over TLS');
is(wait_log(qr/vmess user "alice"/), 1, 'it is over');
is(flow(to => 'echo', data => 'a')->read(1), 'a', 'there is room for another one');
--- stream_response: 1


=== TEST 11: who is late for the last place stays at the site
--- servers
echo echo
site tag site
--- stream_config eval: $::site . main::users('max_conns=1')
--- listen: reuseport
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
edit_conf(sub { s/^worker_processes\s+\K\d+/1/m });
reload();
wait_for(sub { workers_alive() == 1 });
my @late = late(map { tcp() } 1 .. 4);
is(wait_log(qr/proxy \S+ connected to/, 4), 1, 'they are at the site');
my @in = at_once(@late);
is(scalar @in, 1, 'one is let in');
is(scalar(grep { $_->{in} eq "site:$_->{bytes}" } @late), 3, 'the site gets all bytes of the others');
$_->close for @in;
is(wait_log(qr/vmess user "alice": up:1 down:1 flows:1 total:1 refused:3/), 1, 'and one was counted');
statuses(1);
--- stream_response chomp
ok alice


=== TEST 12: whichever worker and carrier they come by
--- servers
echo echo
site tag site
--- stream_config eval
($::site . main::users('max_conns=2')) =~ s/vmess_listen ray;\n\K/vmess_fallback site;\n/r
--- listen: reuseport
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my ($n, $closed, $wrong) = (0, 0, 0);
for my $round (1 .. 8) {
    my @late = late(map { $_ % 2 ? ws() : tcp() } 1 .. 16);
    my @in = at_once(@late);
    $closed += grep { $_->{in} eq '' } @late;
    $wrong++ if @in != 2 || 14 != grep { $_->{in} eq "site:$_->{bytes}" } @late;
    $_->close for @in;
    wait_log(qr/vmess user "alice": /, $n += 2);
}
is($closed, 0, 'none is closed');
$wrong;
--- stream_response: 0


=== TEST 13: two sub-connections for the last place
--- servers
echo echo
--- stream_config eval: main::users('max_conns=1')
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = VMess::Mux->new(flow(cmd => 'mux'));
$m->expect(1, 2);
$m->write(join '', map { VMess::Mux::opening($_, port => port('echo'), data => 'm') } 1, 2);
is($m->read(1, 1), 'm', 'the first one');
$m->ended(2);
$m->{sub}{2}{end};
--- stream_response: 2
