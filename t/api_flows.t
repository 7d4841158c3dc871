# The API: flows that are open now, of all workers.

use lib "t/lib";
use TestVMess;
use VMess::API;
use VMess::HTTP2;
use VMess::Mux;

plan "no_plan";
no_shuffle();
workers(4);
worker_connections(2048);

our $config = <<'END';
location /api/ { vmess_api main write; }
location /read/ { vmess_api main; }
END

our $ray = 'location = /ray { vmess_pass ray; }';

our $stream = <<'END';
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
}
server {
    vmess_listen ray;
    vmess main;
    proxy_pass vmess_target;
}
END

our $users = "vmess_users main:1m { alice $User{alice}; bob $User{bob}; }\n";

our $api;

# a call, whose answer is as the document says

sub api {
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    return $api->checked(@_);
}

# those of all workers: one that has no time for a second is left out

sub flows {
    my ($path) = @_;
    my $json;
    wait_for(sub { $json = api(GET => $path // 'flows')->{json}; !$json->{missing} });
    return @{ $json->{flows} };
}

# waits until there are so many

sub wait_flows {
    my ($n, $path) = @_;
    my $got;
    wait_for(sub { ($got = flows($path)) == $n });
    return $got;
}

# all flows by pages of that size: the workers that have each, by targets

sub pages {
    my ($limit) = @_;
    my (%worker, $next);
    do {
        my $json;
        wait_for(sub {
            $json = api(GET => "flows?limit=$limit" . ($next ? "&after=$next" : ''))->{json};
            !$json->{missing};
        });
        $next = $json->{next};
        is(scalar @{ $json->{flows} }, $limit, 'a page') if $next && @{ $json->{flows} } != $limit;
        my ($pid) = ($next // '') =~ /^\d+-(\d+)-\d+$/;
        push @{ $worker{ $_->{target} . ' ' . $_->{connection} } }, $pid // 'last'
            for @{ $json->{flows} };
    } while $next;
    return \%worker;
}

# so many flows at all workers

sub open_flows {
    my ($n, %o) = @_;
    return map { my $f = flow(to => 'echo', data => 'hello', %o);
                 is($f->read(5), 'hello', 'a flow') if $_ == 1;
                 $f } 1 .. $n;
}

sub text {
    my ($f) = @_;
    return join ' ', map { $f->{$_} // 'null' } qw(user carrier mux_id network target client up down);
}

run_tests();

__DATA__

=== TEST 1: each flow is told once, on every carrier, and not when it has ended
--- listen: reuseport
--- config eval: $::config . $::ray
--- servers
echo echo
udp udp_echo
peer udp_peer
dns dns echo.test=127.0.0.1
--- stream_config eval: $::users . $::stream
--- stream_server_config
vmess main;
resolver 127.0.0.1:%%dns%%;
proxy_pass vmess_target;
--- stream_client
my $none;
wait_for(sub { $none = api(GET => 'flows')->{json}; !$none->{missing} });
is_deeply($none, { flows => [], next => undef, missing => 0 }, 'there is none');
my ($e, $u, $p) = map { '127.0.0.1:' . port($_) } qw(echo udp peer);

my @f = map { flow(to => 'echo', data => 'hello', via => $_) }
        tcp(), tls(port => stream_port() + 2), ws();
is($_->read(5), 'hello', 'a flow') for @f;
push @f, flow(to => 'udp', data => 'abc', cmd => 'udp', user => 'bob');
is($f[-1]->receive, 'abc', 'one of datagrams');

my $m = VMess::Mux->new(flow(cmd => 'mux', via => ws()));
$m->open(7, port => port('echo'), data => 'mux');
$m->open(8, net => 'udp', port => port('udp'), data => 'xy');
is($m->read(7, 3), 'mux', 'a sub-connection');
is($m->receive(8), 'xy', 'and one of datagrams');

my $name = flow(data => 'name', host => "echo.test", to => 'echo');
is($name->read(4), 'name', 'one to a name');
my $x = VMess::Mux->new(flow(cmd => 'mux'));
$x->open(0, net => 'udp', port => port('peer'), data => '?', global_id => 'ABCDEFGH');
ok($x->receive(0), 'a session of XUDP');

my @all = sort map { text($_) } flows();
my %want = map { $_ => 1 } "alice tcp null tcp $e 127.0.0.1 5 5", "alice tls null tcp $e 127.0.0.1 5 5",
                           "alice tcp null tcp echo.test:@{[ port('echo') ]} 127.0.0.1 4 4",
                           "bob tcp null udp $u 127.0.0.1 3 3", "alice websocket 7 tcp $e 127.0.0.1 3 3",
                           "alice websocket 8 udp $u 127.0.0.1 2 2", "alice websocket null tcp $e 127.0.0.1 5 5";
is(scalar(grep { $want{$_} } @all), 7, 'each flow, once') or diag join "\n", @all;
is(scalar(grep { /^alice tcp 0 udp \Q$p\E 127.0.0.1 1 \d+$/ } @all), 1, 'XUDP too');
is(scalar @all, 8, 'and nothing else');

my ($mux, $sub) = map { $_->{connection} } grep { defined $_->{mux_id} && $_->{mux_id} > 6 } flows();
is($mux, $sub, 'sub-connections name their connection');
is(join(' ', map { $_->{network} } flows('users/bob/flows')), 'udp', "bob's");
is(wait_flows(7, 'users/alice/flows'), 7, "alice's");

{
    local $api->{base} = '/read/';
    unlike(api(GET => 'flows')->{text}, qr{target|echo\.test}, 'no targets without "write"');
    is(scalar(flows()), 8, 'but all flows');
    is(api(HEAD => 'flows')->{text}, '', 'HEAD');
    is(api(POST => 'flows')->{header}{allow}, 'GET, HEAD', 'nothing else may be done');
    is(api(DELETE => 'users/bob/flows')->{header}{allow}, 'GET, HEAD', 'here as well');
}

like(api(GET => 'users/carol/flows')->{json}{error}{text}, qr/^there is no user "carol"/, 'nobody');
for my $bad (qw(limit=0 limit=x after= after=1 after=1-2 after=1-2- after=a-1-1 after=1-2-3-4)) {
    my $a = api(GET => "flows?$bad");
    is("$a->{status} $a->{json}{error}{field}", '400 ' . $bad =~ s/=.*//r, $bad);
}

is(api(GET => 'flows?status=active')->{json}{error}{text},
   'there is no such argument, there are limit, after', 'an argument of other lists');

# the client of XUDP goes, its session stays for a minute
$x->close;
is(wait_for(sub { grep { !defined $_->{carrier} && !defined $_->{connection} } flows() }), 1,
   'a session without a client');

$m->end(7);
is(wait_flows(7), 7, 'a sub-connection has ended');
$m->close;
is(wait_flows(6), 6, 'and all of them');
$_->close for @f, $name;
is(wait_flows(1), 1, 'and the others');
--- stream_response: 1


=== TEST 2: pages
--- listen: reuseport
--- config eval: $::config
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%;
                      user4362 7c9e6679-7425-40de-944b-e07fc1f90ae7;
                      user25026 8c9e6679-7425-40de-944b-e07fc1f90ae7; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @f = (open_flows(40), open_flows(10, user => 'bob'));
is(wait_flows(50), 50, 'all');
for my $limit (1, 7, 50, 1000) {
    my $worker = pages($limit);
    is(scalar keys %$worker, 50, "all flows in pages of $limit");
    is(scalar(grep { @$_ > 1 } values %$worker), 0, 'each once');
    my %pid = map { $_->[0] => 1 } values %$worker;
    ok(keys %pid > 2, 'of several workers') if $limit == 1;
}
is(scalar @{ api(GET => 'users/bob/flows?limit=4')->{json}{flows} }, 4, "a page of bob's");

# what comes and goes between pages
my $json = api(GET => 'flows?limit=25')->{json};
my %seen = map { $_->{connection} => 1 } @{ $json->{flows} };
$_->close for splice @f, 0, 40;
is(wait_flows(10), 10, 'many go');
push @f, open_flows(5);
$json = api(GET => "flows?after=$json->{next}")->{json};
is($json->{next}, undef, 'the last page');
is(scalar(grep { $seen{ $_->{connection} } } @{ $json->{flows} }), 0, 'nothing twice');

# names of the same hash
my @twins = map { open_flows(1, uuid => "${_}c9e6679-7425-40de-944b-e07fc1f90ae7") } 7, 8;
is(join(' ', map { $_->{user} } flows("users/$_/flows")), $_, $_) for qw(user4362 user25026);
$_->close for @twins;
is(wait_flows(15), 15, 'they go');

# there is no such worker any more
is(scalar @{ api(GET => 'flows?after=0-1-1000')->{json}{flows} }, 15, 'all of those that came in its place');
is(scalar @{ api(GET => 'flows?after=1023-1-1')->{json}{flows} }, 0, 'nobody comes behind');
is(scalar @{ api(GET => 'flows?after=5000-1-1')->{json}{flows} }, 0, 'nor there');
$_->close for @f;
is(wait_flows(0), 0, 'none is left');
--- stream_response: 1


=== TEST 3: a worker that is stopped, killed or to quit
--- listen: reuseport
--- config eval: $::config
--- servers
echo echo
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @f = open_flows(40);
is(wait_flows(40), 40, 'all');
my %n;
$n{ $_->[0] }++ for values %{ pages(1) };
my ($pid) = sort { $n{$b} <=> $n{$a} } grep { /^\d+$/ } keys %n;

halt('STOP', $pid);
my $json;
ok(wait_for(sub { $json = api(GET => 'flows')->{json}; $json->{missing} == 1 }), 'one worker is silent');
my $rest = @{ $json->{flows} };
ok($rest < 40 && $rest > 0, 'the flows of others are told');
is(@{ api(GET => 'users/alice/flows?limit=1000')->{json}{flows} } + 0, $rest, 'to a user as well');
kill 'CONT', $pid;
ok(wait_for(sub { $json = api(GET => 'flows')->{json}; !$json->{missing} }), 'it goes on');
is(scalar @{ $json->{flows} }, 40, 'with its flows');

# the master does not see that its worker has died, but others do, and have no
# flows of it to miss
halt('STOP', TestVMess::master_pid());
halt('KILL', $pid);
ok(wait_for(sub { $json = api(GET => 'flows')->{json}; @{ $json->{flows} } == $rest }), 'it is not there');
is($json->{missing}, 0, 'nor asked');
is(scalar @{ $json->{flows} }, $rest, 'the others are');
kill 'CONT', TestVMess::master_pid();
ok(wait_for(sub { my @p = children(); @p == 4 && !grep { $_ == $pid } @p }), 'another one comes');
ok(wait_for(sub { $json = api(GET => 'flows')->{json};
                  !$json->{missing} && @{ $json->{flows} } == $rest }), 'its flows are gone');

reload();
push @f, open_flows(4);
is(wait_flows($rest + 4), $rest + 4, 'flows of workers that are to quit are told');

edit_conf(sub { s/main:1m/main:2m/ });
reload();
is(wait_flows($rest + 4, 'users/alice/flows'), $rest + 4, 'in memory of another size as well');

edit_conf(sub { s/(vmess\w*) main/$1 more/g });
reload();
ok(wait_for(sub { $json = api(GET => 'flows')->{json};
                  !$json->{missing} && !@{ $json->{flows} } }), 'of another zone there are none');
is(open_flows(1), 1, 'there is one');
--- stream_response: 1
--- may_alert


=== TEST 4: many flows, and a client that takes its time
--- config eval: $::config
--- http_config
server { listen 127.0.0.1:%%PORT_1%% sndbuf=8k; location /api/ { vmess_api main write; } }
--- servers
udp udp_echo
--- stream_config eval: $::users
--- stream_server_config
vmess main;
vmess_mux_streams 1000;
proxy_pass vmess_target;
--- stream_client
# most of them at one worker, more than its socket takes
my @m = map {
    my $m = VMess::Mux->new(flow(cmd => 'mux'));
    $m->write(join '', map { $m->expect($_); VMess::Mux::opening($_, net => 'udp', port => port('udp'), data => 'x') }
                       1 .. $_);
} 850, 50;
is(wait_flows(900), 900, 'all in one answer');

my $slow = sub {
    my $s = IO::Socket::IP->new(
        PeerHost => '127.0.0.1', PeerPort => stream_port() + 1, Type => Socket::SOCK_STREAM(),
        Sockopts => [[Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096]]) or die "connect: $!";
    put($s, "GET /api/flows HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    read_n($s, 1000);
    return $s;
};

# all that can be is on its way, then the rest comes; flows that go meanwhile are left out
my ($s, $gone) = map { $slow->() } 1, 2;
CORE::close $gone;
is(scalar(flows()), 900, 'another one is not held up');
$m[0]->close;
is(wait_flows(50), 50, 'most of them go');
my $text = slurp($s);
my $n = () = $text =~ /"user"/g;
ok($n >= 50 && $n < 900, "$n flows");
like($text, qr/"next":null,"missing":0\}\r\n0\r\n\r\n$/, 'to the end');
$m[1]->close;
is(wait_flows(0), 0, 'none is left');
--- stream_response: 1


=== TEST 5: flows of workers that died are not counted, though nobody comes
--- may_alert
--- config eval: $::config
--- servers
echo echo
--- listen: reuseport
--- stream_config eval: $::users
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $count = sub { undef $api; api(GET => 'users/alice')->{json}{flows} };
my @f = map { flow(to => 'echo', data => 'x') } 1 .. 8;
$_->read(1) for @f;
is($count->(), 8, 'flows');
halt('KILL', children());
wait_for(sub { workers_alive() == 4 });
wait_for(sub { $count->() == 0 }) ? 0 : 'they stay';
--- stream_response: 0


=== TEST 6: a client of HTTP/2 leaves in the middle of an answer: nginx leaves, too
--- http_config
server { listen 127.0.0.1:%%PORT_1%% http2; location /api/ { vmess_api main write; } }
--- stream_config eval: $::users =~ s/1m/4m/r
--- stream_client
my @c = map { VMess::HTTP2->new(tcp(stream_port() + 1), window => 3000) } 1 .. 2;
my $list = join ',', map { sprintf '{"name":"u%d","id":"%08x-0000-4000-8000-000000000000"}', $_, $_ } 1 .. 1000;
my $s = $c[0]->request('PUT', '/api/users', headers => ['content-type' => 'application/json']);
$s->send(qq({"users":[$list]}));
$s->end;
is($s->status, 200, 'many users');

# more than the window, and than nginx and the kernel keep
my @s = map { my $c = $_; map { $c->request('GET', '/api/users', give => 0) } 1 .. 4 } @c;
$_->end for @s;
is($_->status, 200, 'an answer begins') for @s;
$_->reset for @s[0 .. 3];
$c[1]->close;
1;
--- stream_response: 1


=== TEST 7: answers that have no body, to a client of HTTP/2 that does not read
--- http_config
server { listen 127.0.0.1:%%PORT_1%% http2 sndbuf=8k; location /api/ { vmess_api main write; } }
--- stream_config eval: $::users =~ s/1m/4m/r
--- stream_client
my $list = join ',', map { sprintf '{"name":"u%d","id":"%08x-0000-4000-8000-000000000000"}', $_, $_ } 1 .. 1000;
my $c = VMess::HTTP2->new(IO::Socket::IP->new(
    PeerHost => '127.0.0.1', PeerPort => stream_port() + 1, Type => Socket::SOCK_STREAM(),
    Sockopts => [[Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096]]));
my $s = $c->request('PUT', '/api/users', headers => ['content-type' => 'application/json']);
$s->send(qq({"users":[$list]}));
$s->end;
is($s->status, 200, 'many users');

# the lists are more than the sockets take, so the headers behind them wait
$c->{cork} = 1;
my @list = map { $c->request('GET', '/api/users', end => 1) } 1 .. 4;
my @s = map { $c->request(@$_, end => 1) }
            ['DELETE', '/api/users/u1'], ['HEAD', '/api/users'], ['HEAD', '/api/flows'],
            ['HEAD', '/api/users/u1000'], ['HEAD', '/api/users/none'], ['DELETE', '/api/users/u2'];
syswrite $c->{sock}, delete $c->{out};
is(wait_for(sub { VMess::HTTP2->new(tcp(stream_port() + 1))->request('GET', '/api/users/u2', end => 1)->status == 404 }), 1,
   'all was done');
@$c{qw(cork out)} = (0, '');
is(join(' ', map { $_->status } @s), '204 200 200 200 404 204', 'and is told');
$_->rest for @s, @list;
is(join(' ', map { $_->ended ? 'ended' : 'not' } @s, @list), join(' ', ('ended') x 10), 'to the end');
--- stream_response: 1


=== TEST 8: one who does not read does not keep a worker that is to quit
--- config eval: $::config
--- main_config
worker_shutdown_timeout 3s;
--- http_config
server { listen 127.0.0.1:%%PORT_1%% sndbuf=8k; location /api/ { vmess_api main write; } }
--- servers
udp udp_echo
--- stream_config eval: $::users
--- stream_server_config
vmess main;
vmess_mux_streams 1000;
proxy_pass vmess_target;
--- quits
--- may_alert
--- stream_client
my $m = VMess::Mux->new(flow(cmd => 'mux'));
$m->write(join '', map { $m->expect($_); VMess::Mux::opening($_, net => 'udp', port => port('udp'), data => 'x') }
                   1 .. 900);
is(wait_flows(900), 900, 'more than a socket takes');
my %old = map { $_ => 1 } children();
reload();

# one of the new workers asks the old one
my $s = IO::Socket::IP->new(
    PeerHost => '127.0.0.1', PeerPort => stream_port() + 1, Type => Socket::SOCK_STREAM(),
    Sockopts => [[Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096]]) or die "connect: $!";
put($s, "GET /api/flows HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
read_n($s, 1000);
is(wait_for(sub { !grep { $old{$_} } children() }), 1, 'old workers go');
my $end = substr slurp($s), -40;
like($end, qr/"next":null,"missing":\d\}\r\n0\r\n\r\n$/, 'the answer has an end');
--- stream_response: 1
