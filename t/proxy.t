# What nginx can do with any connection, it can do with a decoded flow.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

# a TLS server that takes an end without close_notify for truncation, as most
# do; it looks for that when the file "go" is there, and answers then

$TestVMess::Kind{strict} = sub {
    my ($fh) = @_;
    require IO::Socket::SSL;
    my $dir = TestVMess::certificate();
    my $s = IO::Socket::SSL->start_SSL(
        IO::Socket::INET->new_from_fd(fileno $fh, 'r+'), SSL_server => 1,
        SSL_cert_file => "$dir/cert.pem", SSL_key_file => "$dir/key.pem")
        or return;
    my $in = '';
    while ($in !~ /hello/) { sysread($s, $in, 100, length $in) or return }
    wait_for(sub { -e "$Dir/go" }) or return;
    if (IO::Select->new($s)->can_read(0)) {
        sysread($s, $in, 100, length $in) or return;
    }
    syswrite($s, "late answer to $in");
    $s->close(SSL_fast_shutdown => 0);
};

run_tests();

__DATA__

=== TEST 1: a map of the host chooses an upstream of two servers
--- servers
one   tag one
two   tag two
other tag other
--- stream_config
upstream pair { server 127.0.0.1:%%one%%; server 127.0.0.1:%%two%%; }
upstream rest { server 127.0.0.1:%%other%%; }
map $vmess_host $route {
    hostnames;
    .pair.test pair;
    default    rest;
}
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass $route;
--- stream_client
my %n;
$n{ flow(host => 'a.pair.test', port => 80, data => '!')->read(4) }++ for 1 .. 6;
is($n{'one:'}, 3, 'half of the flows');
is($n{'two:'}, 3, 'and the other half');
flow(host => 'x.test', port => 80, data => '!')->read(7);
--- stream_response: other:!


=== TEST 2: vmess_target as a value of a map
--- servers
one tag one
dir tag direct
--- stream_config
upstream one { server 127.0.0.1:%%one%%; }
map $vmess_port $route { 80 one; default vmess_target; }
--- stream_server_config
vmess main;
proxy_pass $route;
--- stream_client
flow(port => 80, data => '!')->read(5) . ' '
. flow(to => 'dir', data => '!')->read(8);
--- stream_response: one:! direct:!


=== TEST 3: a map of the user
--- servers
one tag one
two tag two
--- stream_config
map $vmess_user $route { alice 127.0.0.1:%%one%%; bob 127.0.0.1:%%two%%; }
--- stream_server_config
vmess main;
proxy_pass $route;
--- stream_client
join ' ', map { flow(user => $_, port => 80, data => '!')->read(5) } qw(bob alice);
--- stream_response: two:! one:!


=== TEST 4: a server of the upstream that is dead is passed over
--- servers
one  tag one
dead dead
--- stream_config
upstream u { server 127.0.0.1:%%dead%% max_fails=0; server 127.0.0.1:%%one%%; }
--- stream_server_config
vmess main;
proxy_pass u;
--- stream_client
join ' ', map { flow(port => 80, data => '!')->read(5) } 1 .. 4;
--- stream_response: one:! one:! one:! one:!


=== TEST 5: proxy_bind
--- servers
peer peer
--- stream_config
map $vmess_user $from { alice 127.0.0.5; bob 127.0.0.6; }
--- stream_server_config
vmess main;
proxy_bind $from;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(user => $_, to => 'peer', data => '!')->read_eof }
          qw(alice bob);
--- stream_response: 127.0.0.5 127.0.0.6


=== TEST 6: the PROXY protocol to the target
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_protocol on;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
my $expect = sprintf "PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\nhello",
                     $s->sockport, stream_port();
my $f = flow(via => $s, to => 'echo', data => 'hello');
is($f->read(length $expect), $expect, 'with the data');
$s = tcp();
$f = flow(via => $s, to => 'echo');
$f->read(length($expect) - 5) =~ /^PROXY TCP4 .*\r\n$/;
--- stream_response: 1


=== TEST 7: TLS to the target
--- servers
tag tag here
--- stream_config
server {
    listen 127.0.0.1:%%PORT_1%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
proxy_ssl on;
proxy_pass vmess_target;
--- stream_client
flow(port => stream_port() + 1, data => 'hello')->read(10);
--- stream_response: here:hello


=== TEST 8: a rate of download
--- servers
src source 3000
--- stream_server_config
vmess main;
proxy_download_rate 1000;
proxy_buffer_size 1k;
proxy_pass vmess_target;
--- stream_client
my $start = time;
my $f = flow(to => 'src');
is($f->read_eof, pattern(3000), 'all arrives');
# 3 kB at 1 kB/s take two seconds, however fast the machine is
cmp_ok(time - $start, '>=', 1.5, 'not faster than that');
1;
--- stream_response: 1


=== TEST 9: a rate of upload
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_upload_rate 1000;
proxy_buffer_size 1k;
proxy_pass vmess_target;
--- stream_client
my $start = time;
my $f = flow(to => 'sink');
$f->send(pattern(3000))->end;
is($f->read_eof, '3000 ' . sha256_hex(pattern(3000)) . "\n", 'all arrives');
cmp_ok(time - $start, '>=', 1.5, 'not faster than that');
1;
--- stream_response: 1


=== TEST 10: the rate of a user
--- servers
src source 3000
--- stream_config
vmess_users main:1m { alice %%ALICE%% rate=1k; bob %%BOB%%; }
--- stream_server_config
vmess main;
proxy_download_rate $vmess_rate;
proxy_buffer_size 1k;
proxy_pass vmess_target;
--- stream_client
my $start = time;
is(flow(to => 'src')->read_eof, pattern(3000), 'all arrives');
cmp_ok(time - $start, '>=', 1.5, 'not faster than that');
flow(user => 'bob', to => 'src')->read_eof eq pattern(3000);
--- stream_response: 1


=== TEST 11: proxy_timeout ends idle flows only
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_timeout 600ms;
proxy_pass vmess_target;
--- stream_client
# a pause of this process would be the end of a flow that is idle
my ($f, $longest, $kept);
for (1 .. 5) {
    $f = flow(to => 'echo', data => 'a');
    $f->read(1);
    ($longest, $kept) = (0, 0);
    my $last = time;
    for (1 .. 10) {
        select undef, undef, undef, 0.1;
        $longest = time - $last if time - $last > $longest;
        $last = time;
        $f->send('b');
        $kept++ if $f->read(1) eq 'b';
    }
    last if $longest < 0.5;
}
is($kept, 10, "a flow is kept while it is used, pauses of up to $longest s");
$f->read_eof;
is(wait_log(qr/timed out.*proxying connection/), 1, 'and is ended when it is not');
$f->{eof};
--- stream_response: 1


=== TEST 12: proxy_timeout after the client's end
--- servers
quiet deaf
--- stream_server_config
vmess main;
proxy_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
my $f = flow(via => $s, to => 'quiet', data => 'hello');
$f->end;
$f->read_eof;
is(wait_log(qr/timed out/), 1, 'the time is up');
$f->{eof};
--- stream_response: 1


=== TEST 13: a late answer after the client's end
--- servers
slow sink 20
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(300_000);
my $f = flow(to => 'slow');
$f->send($data)->end;
$f->read_eof eq '300000 ' . sha256_hex($data) . "\n";
--- stream_response: 1


=== TEST 14: preread of the decoded flow
--- servers
one tag one
two tag two
--- stream_config
map $ssl_preread_server_name $route {
    one.test 127.0.0.1:%%one%%;
    default  127.0.0.1:%%two%%;
}
--- stream_server_config
vmess main;
ssl_preread on;
proxy_pass $route;
--- stream_client
# a ClientHello with a server name
my $sni = pack('n n n C n/a*', 0, 3 + 2 + 8, 3 + 8, 0, 'one.test');
my $hello = pack('n a32 C', 0x303, 'r' x 32, 0) . pack('n n', 2, 0x1301)
            . pack('C C', 1, 0) . pack('n/a*', $sni);
my $record = pack('C n n/a*', 22, 0x301,
                  pack('C C n/a*', 1, 0, $hello));
my @got;
for my $data ($record, "no TLS at all") {
    my $f = flow(port => 80, data => $data);
    push @got, substr($f->read(4 + length $data), 0, 4);
}
# the ClientHello in pieces
my $f = flow(port => 80);
for (unpack '(a7)*', $record) {
    $f->send($_);
    select undef, undef, undef, 0.005;
}
push @got, substr($f->read(4 + length $record), 0, 4);
"@got";
--- stream_response: one: two: one:


=== TEST 15: preread, and VMess over TLS
--- servers
one tag one
two tag two
--- stream_config
map $ssl_preread_protocol $route {
    ''      127.0.0.1:%%two%%;
    default 127.0.0.1:%%one%%;
}
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
ssl_preread on;
preread_timeout 2s;
proxy_pass $route;
--- stream_client
flow(via => tls(), port => 80, data => "GET / HTTP/1.1\r\n\r\n")->read(4);
--- stream_response: two:


=== TEST 16: return instead of a target
--- stream_server_config
vmess main;
return "$vmess_user to $vmess_host:$vmess_port\n";
--- stream_client
flow(host => 'a.test', port => 80, data => '!')->read_eof;
--- stream_response
alice to a.test:80


=== TEST 17: access rules see the address of the client
--- servers
echo echo
--- stream_server_config
vmess main;
deny 127.0.0.1;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello');
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log
access forbidden by rule


=== TEST 18: limit_conn counts flows of an address
--- servers
echo echo
--- stream_config
limit_conn_zone $binary_remote_addr zone=addr:1m;
--- stream_server_config
vmess main;
limit_conn addr 2;
proxy_pass vmess_target;
--- stream_client
my @f = map { flow(to => 'echo', data => 'hello') } 1 .. 2;
is($_->read(5), 'hello', 'within the limit') for @f;
my $f = flow(to => 'echo', data => 'hello');
is($f->read_eof, '', 'above it');
(shift @f)->close;
wait_for(sub { flow(to => 'echo', data => 'hello')->read(5) eq 'hello' });
--- stream_response: 1
--- error_log
limiting connections by zone "addr"


=== TEST 19: variables in set and in geo
--- servers
one tag one
two tag two
--- stream_config
geo $vmess_addr $route { 127.0.0.9/32 127.0.0.1:%%two%%; default 127.0.0.1:%%one%%; }
--- stream_server_config
vmess main;
proxy_pass $route;
--- stream_client
join ' ', map { flow(host => $_, port => 80, data => '!')->read(5) }
          '127.0.0.9', '127.0.0.1';
--- stream_response: two:! one:!


=== TEST 20: proxy_connect_timeout and proxy_next_upstream off
--- servers
one  tag one
dead dead
dns  dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
log_format l '$status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_next_upstream off;
proxy_pass vmess_target;
--- stream_client
flow(host => 'a.test', to => 'dead', data => '!')->read_eof;
wait_for(sub { access_log() });
access_log() eq '502 127.0.0.1:' . port('dead') . "\n";
--- stream_response: 1


=== TEST 21: the client's end, and an answer over TLS after it
--- servers
strict strict
echo echo
--- stream_config
server { listen 127.0.0.1:%%PORT_1%%; vmess main; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_ssl on;
proxy_ssl_trusted_certificate %%CERT%%;
proxy_pass vmess_target;
--- stream_client
unlink "$Dir/go";
for my $sec (qw(aes-128-gcm none)) {
    my $f = flow(to => 'strict', sec => $sec, data => 'hello');
    $f->end;
    # what comes later was done: the one worker has seen the end
    for (1 .. 3) {
        my $g = flow(via => tcp(stream_port() + 1), to => 'echo', data => 'x');
        $g->read(1);
        $g->close;
    }
    open my $go, '>', "$Dir/go" or die $!;
    close $go;
    is($f->read_eof, 'late answer to hello', $sec);
    is($f->{ended}, 1, 'with its end');
    unlink "$Dir/go";
}
1;
--- stream_response: 1


=== TEST 22: a connection that fails under TLS after the end chunk ends, and the worker goes on
--- servers
deaf deaf
echo echo
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $sec (qw(aes-128-gcm chacha20-poly1305)) {
    my $v = vmess(to => 'deaf', sec => $sec);
    my $f = $v->connect(my $s = tls(), data => 'hello');
    $f->end;
    is(flow(via => tls(), to => 'echo', data => 'x')->read(1), 'x', "$sec");
    my $n = log_count(qr/disconnected, bytes/);
    break_tls($s);
    ok(wait_log(qr/disconnected, bytes/, $n + 1), 'the session has ended');
    is(flow(via => tls(), to => 'echo', data => 'hello')->read(5), 'hello',
       'and the worker goes on');
}
1;
--- stream_response: 1
--- may_alert


=== TEST 23: proxy_ssl with an address that does not answer, beside others
--- servers
tag tag here
dns dns two.test=127.0.0.2,127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
server {
    listen 127.0.0.1:%%PORT_1%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
proxy_ssl on;
proxy_connect_timeout 1s;
proxy_pass vmess_target;
--- stream_client
# it takes connections, but knows nothing of TLS: no other address is tried
# while it may, which was tried first in half of the flows
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => stream_port() + 1,
                              Proto => 'tcp', Listen => 16, ReuseAddr => 1) or die $!;
my @f = map { flow(host => 'two.test', port => stream_port() + 1, data => $_) } 0 .. 7;
join ' ', map { $f[$_]->read(6) } 0 .. 7;
--- stream_response: here:0 here:1 here:2 here:3 here:4 here:5 here:6 here:7
--- no_error_log
[alert]
