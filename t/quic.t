# QUIC, by a client of aioquic: streams that end anyhow, in the session, in the
# handshake, and at the fallback.

use lib "t/lib";
use TestVMess;

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
plan skip_all => 'no QUIC in this nginx'
    if `$nginx -V 2>&1` !~ /--with-http_v3_module/;

chomp(my $python = `t/tools/quic-client`);
if (!$python) {
    die "no aioquic\n" if $ENV{CI};
    plan skip_all => 'no aioquic';
}

my ($client, $pid);

# starts the client of a block; servers of the next ones hold its input, too

sub quic_client {
    my $path = "$Dir/quic.sock";
    unlink $path;
    quic_end();
    $pid = open $client, '|-', $python, 't/lib/quic.py', $path, stream_port()
        or die "$python: $!";
    return;
}

sub quic_end {
    kill 'TERM', $pid if $pid;
    close $client if $client;
    undef $pid;
}

sub quic_ask {
    my $s = unix_sock("$Dir/quic.sock");
    put($s, "@_\n");
    chomp(my $answer = <$s>);
    return $answer;
}

# a stream with a name, of a connection

sub quic {
    my ($conn, $name, $kind) = @_;
    my $s = unix_sock("$Dir/quic.sock");
    put($s, ($kind // 'stream') . " $conn $name\n");
    my $answer = read_n($s, 3);
    die "$answer\n" if $answer ne "ok\n";
    return $s;
}

# until the server has done that with a stream

sub quic_state {
    my ($name, $re) = @_;
    return wait_for(sub { quic_ask('state', $name) =~ $re });
}

plan "no_plan";
no_shuffle();

run_tests();

quic_end();

__DATA__

=== TEST 1: flows in streams of one connection
--- servers
echo echo
--- listen: udp reuseport
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_quic;
proxy_pass vmess_target;
--- stream_client
quic_client();
my @f = map { flow(via => quic('c', "s$_"), to => 'echo', data => "hello $_") }
            1 .. 9;
is($f[$_ - 1]->read(7), "hello $_", "flow $_") for 1 .. 9;
my $data = pattern(3_000_000);
is(sha256_hex($f[4]->exchange($data, length $data)), sha256_hex($data),
   'and much of it');
$_->end for @f;
is($_->read_eof, '', 'an end') for @f;
1;
--- stream_response: 1


=== TEST 2: a stream that is reset at the fallback ends there, and the worker goes on
--- servers
site tag site
echo echo
--- listen: udp reuseport
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_quic;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
quic_client();
for my $i (1 .. 3) {
    my $s = quic('c', "s$i");
    put($s, 'no VMess, and more than a header has');
    is(read_n($s, 5), 'site:', 'the fallback was reached');
    my $n = log_count(qr/disconnected, bytes/);
    quic_ask('reset', "s$i", 7);
    ok(wait_log(qr/disconnected, bytes/, $n + 1), 'the session has ended');
    is(flow(via => quic('c', "f$i"), to => 'echo', data => 'x')->read(1), 'x',
       'the worker goes on');
}
1;
--- stream_response: 1


=== TEST 3: a stream that is reset after the end chunk
--- servers
deaf deaf
echo echo
--- listen: udp reuseport
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_quic;
proxy_pass vmess_target;
--- stream_client
quic_client();
for my $sec (qw(aes-128-gcm chacha20-poly1305 none)) {
    my $f = flow(via => quic('c', $sec), to => 'deaf', sec => $sec, data => 'hello');
    $f->end;
    is(flow(via => quic('c', "a$sec"), to => 'echo', data => 'x')->read(1), 'x',
       'the end was seen');
    my $n = log_count(qr/disconnected, bytes/);
    quic_ask('reset', $sec, 7);
    ok(wait_log(qr/disconnected, bytes/, $n + 1), 'the session has ended');
    is(flow(via => quic('c', "b$sec"), to => 'echo', data => 'x')->read(1), 'x',
       'the worker goes on');
}
1;
--- stream_response: 1


=== TEST 4: streams that are not authentic leave connections to others
--- servers
echo echo
site tag site
--- stream_config
vmess_handshakes worker=16;
--- listen: udp reuseport
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_quic;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
quic_client();
# of 8 connections of an address, that is 4 streams
my @s;
for my $i (1 .. 12) {
    my $s = quic('c' . $i % 3, "s$i");
    put($s, $i % 2 ? 'x' : 'no VMess, and more than a header has');
    is(read_n($s, 5), 'site:', 'at the fallback') if $i % 2 == 0;
    push @s, $s;
}
ok(quic_state("s$_", qr/^(?!open)/), "stream $_ had to go") for 1 .. 8;
is(quic_ask('state', "s$_"), 'open', "stream $_ was left") for 9 .. 12;
is(flow(via => quic('c', 'f'), to => 'echo', data => 'x')->read(1), 'x', 'a flow');
my @f = map { flow(via => quic('c', "f$_"), to => 'echo', data => 'x') } 1 .. 20;
is(join('', map { $_->read(1) } @f), 'x' x 20, 'many of them');
is(join('', map { $_->exchange('y', 1) } @f), 'y' x 20, 'that stay');
quic_ask('close', $_) for qw(c c0 c1 c2);
ok(wait_for(sub { active() == 1 }), 'nothing is left');
1;
--- stream_response: 1
