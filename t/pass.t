# "pass" of nginx 1.25.5 and later: a session goes on to another listener.

use lib "t/lib";
use TestVMess;

my (undef, $out) = nginx_t('server { listen 127.0.0.1:%%PORT_1%%; '
                           . 'pass 127.0.0.1:1; }');
plan skip_all => 'there is no "pass" in this nginx'
    if $out =~ /unknown directive "pass"/;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: the fallback passes to a server with VMess
--- servers
echo echo
--- stream_config
server {
    vmess_listen site;
    pass 127.0.0.1:%%PORT_1%%;
}
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my ($worker) = TestVMess::children();
for my $n (1, 16, 100, 5000) {
    my $s = tcp();
    put($s, 'x' x $n);
    shutdown $s, 1;
    $s->blocking(0);
    is(slurp($s), '', "a probe of $n bytes");
}
is(log_count(qr/\[error\].* VMess inside of VMess is not possible/), 4, 'is refused');
is(flow(via => tcp(stream_port() + 1), to => 'echo', data => 'hello')->read(5),
   'hello', 'the other listener works');
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'so does the first');
my ($now) = TestVMess::children();
$now == $worker;
--- stream_response: 1
--- error_log
VMess inside of VMess is not possible


=== TEST 2: a flow passed to a server with VMess
--- servers
echo echo
--- stream_config
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
pass 127.0.0.1:%%PORT_1%%;
--- stream_client
my ($worker) = TestVMess::children();
my $inner = vmess(to => 'echo');
my $f = flow(port => 80, data => $inner->header . $inner->chunk('hello'));
is($f->read_eof, '', 'is refused');
my ($now) = TestVMess::children();
$now == $worker;
--- stream_response: 1
--- error_log
VMess inside of VMess is not possible


=== TEST 3: the fallback passes to a listener of http
--- config
location /x { return 200 "the site, $request_uri"; }
--- stream_config
server { vmess_listen site; pass $TEST_NGINX_SERVER_PORT; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*\r\n\r\nthe site, /x$


=== TEST 4: a flow passed to a listener of http, two requests
--- config
location /big { root html; sendfile off; }
--- user_files eval
">>> big\n" . main::pattern(300_000)
--- stream_server_config
vmess main;
pass $TEST_NGINX_SERVER_PORT;
--- stream_client
my @bad;
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $f = flow(port => 80, sec => $sec);
    for my $n (1, 2) {
        $f->send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
        my $head = '';
        $head .= $f->read(1) while $head !~ /\r\n\r\n/ && length $head < 1000;
        push @bad, "$sec $n: $head" if $head !~ /200 OK.*Content-Length: 300000\r/s;
        push @bad, "$sec $n" if $f->read(300_000) ne pattern(300_000);
    }
    $f->close;
}
join '; ', @bad;
--- stream_response:


=== TEST 5: with sendfile it fails loudly
--- config
location /big { root html; sendfile on; }
--- user_files eval
">>> big\n" . main::pattern(300_000)
--- stream_server_config
vmess main;
pass $TEST_NGINX_SERVER_PORT;
--- stream_client
my $f = flow(port => 80, data => "GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n");
my $got = $f->read_eof;
is(index($got, substr(pattern(300_000), 0, 100)), -1, 'no part of the file');
is($f->{ended}, 0, 'and no end that would be taken for a good one');
1;
--- stream_response: 1
--- may_alert
--- error_log eval
[qr/\[alert\].* "sendfile" is not possible over VMess/]


=== TEST 6: limit_rate of http, over a carrier and without chunks
--- config
location /big { root html; sendfile off; limit_rate 1k; }
location /ws { vmess_pass flows; }
--- user_files eval
">>> big\n" . main::pattern(300_000)
--- stream_config
server { vmess_listen flows; vmess main; pass $TEST_NGINX_SERVER_PORT; }
--- stream_server_config
return unused;
--- stream_client
my $f = flow(via => ws(path => '/ws'), port => 80, sec => 'zero',
             data => "GET /big HTTP/1.0\r\nHost: localhost\r\n\r\n");
is(length $f->read(3000), 3000, 'sent several times');
idle();
my $n = length $f->{in};
$n += length $b while sysread $f->{sock}, $b, 65536;
cmp_ok($n, '<', 20_000, 'of which each time is limited');
1;
--- stream_response: 1
