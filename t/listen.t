# What VMess may come over.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: TLS, each version, each security
--- servers
echo echo
--- stream_config
log_format l '$vmess_carrier $ssl_protocol $vmess_status';
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
ssl_protocols TLSv1.2 TLSv1.3;
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(1_000_000);
for my $version (qw(TLSv1_2 TLSv1_3)) {
    for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
        my $f = flow(via => tls(SSL_version => $version), sec => $sec,
                     to => 'echo');
        is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
           "$version $sec");
        $f->close;
    }
}
wait_for(sub { my @l = split /\n/, access_log(); @l == 8 });
join ' ', sort keys %{{ map { $_ => 1 } split /\n/, access_log() }};
--- stream_response: tls TLSv1.2 ok tls TLSv1.3 ok


=== TEST 2: both ends of a flow in TLS
--- servers
sink sink
src source 2000000
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(via => tls(), to => 'sink', data => 'hello');
$f->end;
is($f->read_eof, '5 ' . sha256_hex('hello') . "\n", 'a late answer');
is($f->{ended}, 1, 'and the end chunk');
$f = flow(via => tls(), to => 'src');
is(sha256_hex($f->read_eof), sha256_hex(pattern(2_000_000)), 'a download');
$f->{ended};
--- stream_response: 1


=== TEST 3: a header in TLS records of one byte
--- servers
echo echo
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
my $s = tls();
put($s, $_) for split //, $v->header . $v->chunk('hello');
$v->connect($s, quiet => 1)->read(5);
--- stream_response: hello


=== TEST 4: TLS that asks for a certificate
--- may_alert
--- servers
echo echo
--- stream_config
log_format l '$ssl_server_name $ssl_cipher $vmess_user';
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
ssl_verify_client on;
ssl_client_certificate %%CERT%%;
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $dir = TestVMess::certificate();
my $f = flow(via => tls(SSL_cert_file => "$dir/cert.pem",
                        SSL_key_file => "$dir/key.pem",
                        SSL_use_cert => 1), to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'with the certificate');
$f->close;
my $got = eval { flow(via => tls(), to => 'echo', data => 'hello')->read(5) };
is($got // '', '', 'without');
wait_for(sub { access_log() =~ /alice/ });
access_log();
--- stream_response_like: localhost \S+ alice


=== TEST 5: the PROXY protocol
--- servers
echo echo
--- stream_config
log_format l '$proxy_protocol_addr $vmess_user $vmess_carrier $vmess_status';
--- listen: proxy_protocol
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $line = "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n";
my $s = tcp();
put($s, $line);
is(flow(via => $s, to => 'echo', data => 'hello')->read(5), 'hello', 'apart');
close $s;

my $v = vmess(to => 'echo');
$s = tcp();
put($s, $line . $v->header . $v->chunk('hello'));
is($v->connect($s, quiet => 1)->read(5), 'hello', 'in one segment');
close $s;

$v = vmess(to => 'echo');
$s = tcp();
put($s, "\r\n\r\n\0\r\nQUIT\n\x21\x11" . pack('n', 12)
        . pack('C8 n2', 192, 0, 2, 9, 192, 0, 2, 8, 1234, 443)
        . $v->header . $v->chunk('hello'));
is($v->connect($s, quiet => 1)->read(5), 'hello', 'version 2');
$v->close;

wait_for(sub { access_log() =~ /192\.0\.2\.9/ });
join '', sort split /^/, access_log();
--- stream_response
192.0.2.7 alice tcp ok
192.0.2.7 alice tcp ok
192.0.2.9 alice tcp ok


=== TEST 6: the PROXY protocol, then TLS
--- servers
echo echo
--- listen: ssl proxy_protocol
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n");
flow(via => tls(sock => $s), to => 'echo', data => 'hello')->read(5);
--- stream_response: hello


=== TEST 7: the PROXY protocol and a fallback
--- servers
tag tag here
--- listen: proxy_protocol
--- stream_config
server {
    vmess_listen site;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n" . 'x' x 100);
read_n($s, 105) eq 'here:' . 'x' x 100;
--- stream_response: 1


=== TEST 8: a Unix socket
--- servers
echo echo
--- stream_config
server {
    listen unix:%%DIR%%/vmess.sock;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_client
my $f = flow(via => unix_sock("$TestVMess::Dir/vmess.sock"), to => 'echo',
             data => 'hello');
my $data = pattern(500_000);
$f->read(5) . ($f->exchange($data, length $data) eq $data);
--- stream_response: hello1


=== TEST 9: IPv6
--- servers
echo echo
--- stream_config
server {
    listen [::1]:%%PORT_1%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_client
flow(via => tcp(stream_port() + 1, '::1'), to => 'echo', data => 'hello')
    ->read(5);
--- stream_response: hello


=== TEST 10: a server without VMess beside one with it
--- servers
tag tag here
--- stream_config
vmess main;
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess off;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
proxy_pass vmess_target;
--- stream_client
is(flow(to => 'tag', data => 'hello')->read(10), 'here:hello', 'VMess');
my $s = tcp(stream_port() + 1);
put($s, 'hello');
read_n($s, 10);
--- stream_response: here:hello


=== TEST 11: without VMess nothing of nginx changes
--- servers
tag tag here
--- listen: ssl
--- stream_config
map $ssl_preread_server_name $to { default 127.0.0.1:%%tag%%; }
server {
    listen 127.0.0.1:%%PORT_1%%;
    ssl_preread on;
    proxy_pass $to;
}
server {
    listen 127.0.0.1:%%PORT_2%% proxy_protocol;
    set $vmess_nothing $proxy_protocol_addr;
    return $vmess_nothing$vmess_user$vmess_status;
}
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
proxy_pass 127.0.0.1:%%tag%%;
--- stream_client
my $s = tls();
put($s, 'hello');
is(read_n($s, 10), 'here:hello', 'TLS ends here');
$s = tcp(stream_port() + 1);
put($s, "\x16\x03\x01\0\5hello");
is(read_n($s, 15), "here:\x16\x03\x01\0\5hello", 'preread');
$s = tcp(stream_port() + 2);
put($s, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n");
slurp($s);
--- stream_response: 192.0.2.7


=== TEST 12: several workers and reuseport
--- main_config
worker_rlimit_nofile 4096;
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @f = map { flow(to => 'echo') } 1 .. 40;
$_->send('hello') for @f;
join '', sort keys %{{ map { $_->read(5) => 1 } @f }};
--- stream_response: hello


=== TEST 13: what must not be in the record of TLS that the end is read with
--- servers
small source 120000
large source 1000000
banner banner here
--- http_config
server {
    listen 127.0.0.1:%%PORT_1%% ssl sndbuf=8k;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    location = /ray { vmess_pass ray; }
}
--- stream_config
proxy_buffer_size 8m;
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- listen: ssl sndbuf=8k
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
sub client {
    my ($carrier, %o) = @_;
    my $s = tls(sock => IO::Socket::IP->new(
        PeerHost => '127.0.0.1', Type => Socket::SOCK_STREAM,
        PeerPort => stream_port() + ($carrier eq 'tls' ? 0 : 1),
        Sockopts => [[Socket::SOL_SOCKET, Socket::SO_RCVBUF, 16384]]));
    if ($carrier ne 'tls') {
        put($s, VMess::WebSocket::request(upgrade => 1));
        my $head = '';
        while ($head !~ /\r\n\r\n$/ && sysread $s, my $b, 1 << 16) { $head .= $b }
    }
    return flow(via => $s, %o);
}

# what there is of an answer after each record

sub records {
    my ($f) = @_;
    my @in;
    $f->{sock}->blocking(1);
    while (sysread $f->{sock}, my $b, 1 << 16) {
        $f->feed($b);
        push @in, [ length $f->{in}, $f->{ended} // 0 ];
    }
    return @in;
}

for my $carrier (qw(tls httpupgrade)) {
    for my $sec (qw(aes-128-gcm none)) {
        for (['small', 120_000], ['large', 1_000_000]) {
            my ($to, $n) = @$_;
            my $f = client($carrier, sec => $sec, opt => 'SM', to => $to);

            # nginx has read the end of the target, of which much is to be sent

            my $port = sprintf '%04X', port($to);
            ok(wait_for(sub {
                TestVMess::file_text('/proc/net/tcp')
                =~ / 0100007F:$port 08 \w{8}:0{8} /;
            }), 'the target has ended');
            idle();

            # what comes from the client meanwhile is the target's

            $f->send('hello');
            idle();

            my @in = records($f);
            is("@{$in[-2]}, @{$in[-1]}", "$n 0, $n 1",
               "$carrier, $sec, $to: a record for the end chunk");
            is(sha256_hex($f->{in}), sha256_hex(pattern($n)), 'the data');
        }
    }

    my @in = records(client($carrier, sec => 'zero', to => 'banner'));
    is("$in[0][0], $in[-1][0]", '0, 5', "$carrier, zero: one for the header");
}
--- no_error_log
[alert]
[error]
